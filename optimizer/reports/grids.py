"""Tables and sections as texts, before anybody knows where they are shown; CSV of them. Knows no record."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

FORMULA = re.compile(r"[=+@\t\r]|-(?![\d.]+$)")  # how a cell begins that is worked out where it is opened; -5 is not
# What would act on a terminal, or move what stands beside it: control characters and directions of writing.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: a title, column names, and rows of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a text: names with what is said of them, tables, and a text that is kept as it is."""

    title: str
    facts: tuple[tuple[str, str], ...]
    grids: tuple[Grid, ...] = ()
    text: str = ""


def visible(text: str) -> str:
    """Put a sign in the place of each character that would act instead of being seen."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def as_csv(grid: Grid) -> str:
    """Write a table as CSV; a cell that a spreadsheet would take for a formula is marked as text."""
    text = io.StringIO()
    for row in (grid.columns, *grid.rows):
        cells = [f"'{cell}" if FORMULA.match(cell) else cell for cell in row]
        returns = any("\r" in cell for cell in cells)  # not quoted by itself, and the end of a row to many readers
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerow(cells)
    return text.getvalue()
