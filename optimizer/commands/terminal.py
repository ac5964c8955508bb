"""The terminal: lines, tables, JSON, CSV, the next step, and Ctrl-C. Part of the command line.

Control characters in the data are made visible, so that no row can move the cursor or colour the screen.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING

import click

from optimizer.errors import Interrupted
from optimizer.reports.grids import CONTROL, as_csv, visible

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.reports.grids import Grid

# In characters:
SHORT = 10  # columns with cells up to this width are not folded if wider ones can make room
FOLDED = 30  # width that longer cells keep; if that does not fit, headings are folded first
GAP = 2  # between two columns of a table
INDENT = 4  # before cells printed below their row
PIPED = 160  # least width of a table if the output is not a terminal


def out(text: str = "") -> None:
    """Write a line to stdout."""
    click.echo(visible(text))


def err(text: str) -> None:
    """Write a line to stderr."""
    click.echo(visible(text), err=True)


def out_json(value: object) -> None:
    """Write JSON to stdout, with control characters as escapes."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    click.echo(CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def out_data(text: str) -> None:
    """Write data to stdout: unchanged to a file or pipe, with visible control characters to a terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text, nl=False)


def out_grid(grid: Grid) -> None:
    """Print a table in the width of the terminal.

    If it does not fit, headings are folded before short cells; if long cells would have too little room, they are
    printed below their row, each after the name of its column.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPED)
    rows = [[visible(cell) for cell in row] for row in grid.rows]
    widths = [max((cell_len(row[at]) for row in rows), default=0) for at in range(len(grid.columns))]
    room = console.width - GAP * (len(widths) - 1)
    names = [cell_len(name) for name in grid.columns]
    least = [max(each) if each[0] <= SHORT else min(each[0], FOLDED) for each in zip(widths, names, strict=True)]
    wide = sum(least) > room
    tight = sum(min(width, SHORT) for width in widths) > room
    console.print(Text(grid.title, style="bold"))
    if wide and _out_stacked(console, grid.columns, rows, widths):
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, width in zip(grid.columns, widths, strict=True):
        short = width <= SHORT
        table.add_column(_folded(name, width) if wide and short else name, overflow="fold", no_wrap=short and not tight)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _folded(head: str, width: int) -> str:
    """Fold a heading to the width of its column's cells."""
    return fill(head, max(width, SHORT), break_long_words=False)


def _out_stacked(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> bool:
    """Print rows with their long cells below them if the other cells fit on one line; return whether they do."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    below = [at for at, width in enumerate(widths) if at and width > FOLDED]
    beside = [at for at in range(len(widths)) if at not in below]
    heads = [_folded(columns[at], widths[at]) for at in beside]
    sizes = [max(widths[at], *map(cell_len, head.splitlines())) for at, head in zip(beside, heads, strict=True)]
    if not below or sum(sizes) + GAP * (len(sizes) - 1) > console.width:
        return False

    def line(cells: Sequence[str], style: str = "") -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for size in sizes:
            table.add_column(width=size, style=style)
        table.add_row(*map(Text, cells))
        return table

    console.print(line(heads, "dim"))
    for row in rows:
        console.print(line([row[at] for at in beside]))
        for at in below:
            cell = Text.assemble((f"{columns[at]}: ", "dim"), row[at], overflow="fold")
            console.print(Padding(cell, (0, 0, 0, INDENT)))
    return True


def out_csv(grid: Grid) -> None:
    """Write a table as CSV."""
    out_data(as_csv(grid))


def next_step(*commands: str) -> None:
    """Print what to do next, as the end of an output."""
    out("\nNext: " + "\n      ".join(commands))


def same_again() -> str:
    """Return the command as it was given, with its options, which are needed to resume the same run."""
    return shlex.join(["phrasetune", *sys.argv[1:]])


@contextmanager
def resumable(db: str) -> Iterator[None]:
    """Raise Interrupted with the command that resumes the run if it is stopped."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as ended:
        left = "" if isinstance(ended, Interrupted) else ", and the calls in flight were left"
        raise Interrupted(f"stopped{left}; everything bought is in {db}. Resume with: {same_again()}") from None


def where(db: str, run: int | None = None) -> str:
    """Return the options with which the next command uses the same run and database; none for the default database."""
    chosen = "" if run is None else f" --run {run}"
    return chosen if db == "results.db" else f"{chosen} --db {shlex.quote(db)}"


@contextmanager
def stoppable(stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`, and the second raise KeyboardInterrupt."""

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        say("stopping: waiting for the calls in flight (Ctrl-C again to leave them)")

    held = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
