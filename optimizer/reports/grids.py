"""Tables and sections of texts, independent of where they are shown, and tables as CSV. Knows no record."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

FORMULA = re.compile(r"[=+@\t\r]|-(?![\d.]+$)")  # beginnings of cells that spreadsheets take for formulas; not -5
# Characters that act on a terminal or move the text around them: control characters and writing directions.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: a title, column names, and rows of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a document: names with statements, tables, and a verbatim text."""

    title: str
    facts: tuple[tuple[str, str], ...]
    grids: tuple[Grid, ...] = ()
    text: str = ""


def visible(text: str) -> str:
    """Replace control characters by a visible sign."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def as_csv(grid: Grid) -> str:
    """Return a table as CSV; cells that a spreadsheet would take for formulas are marked as text."""
    text = io.StringIO()
    for row in (grid.columns, *grid.rows):
        cells = [f"'{cell}" if FORMULA.match(cell) else cell for cell in row]
        returns = any("\r" in cell for cell in cells)  # csv does not quote it, but many readers end the row there
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerow(cells)
    return text.getvalue()
