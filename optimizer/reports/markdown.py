"""Tables and texts in Markdown (CommonMark with tables): no text can end its place or act. Knows grids, no record."""

from __future__ import annotations

import re
from collections.abc import Iterator

from optimizer.reports.grids import Grid, visible


def table(grid: Grid) -> Iterator[str]:
    """Write a table, a line after the other."""
    for row in (grid.columns, ("---",) * len(grid.columns), *grid.rows):
        cells = row if row[0] == "---" else map(inline, row)
        yield f"| {' | '.join(cells)} |"


def inline(text: str) -> str:
    """Write a text into a line of Markdown: its signs are signs, and it has no end of line."""
    line = " ".join(visible(text).split())
    return re.sub(r"([\\`*\[\]<|~&])|(?<!\w)_|_(?!\w)", lambda found: f"\\{found.group()}", line)


def fenced(text: str) -> tuple[str, str, str]:
    """Fence a text with more backticks than stand in it one after the other."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text", text, fence
