"""Tables and texts in Markdown (CommonMark with tables), escaped so that no text acts as markup. Knows no record."""

from __future__ import annotations

import re
from collections.abc import Iterator

from optimizer.reports.grids import Grid, visible


def table(grid: Grid) -> Iterator[str]:
    """Yield the lines of a table."""
    for row in (grid.columns, ("---",) * len(grid.columns), *grid.rows):
        cells = row if row[0] == "---" else map(inline, row)
        yield f"| {' | '.join(cells)} |"


def inline(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    line = " ".join(visible(text).split())
    return re.sub(r"([\\`*\[\]<|~&])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found.group()}", line)


def fenced(text: str) -> tuple[str, str, str]:
    """Return a text between fences of more backticks than any run of them in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text", text, fence
