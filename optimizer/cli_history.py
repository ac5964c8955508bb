"""The commands that hold results against each other: compare, and what stands beside it.

Each parses, calls one function, draws. `cli` puts them into the command line.
"""

from __future__ import annotations

import click

from optimizer.options import db_option, json_option
from optimizer.terminal import next_step, out, out_grid, out_json


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--run", type=int, help="Number of the run whose trials A and B are.")
@db_option
@click.option("--rows", default=10, show_default=True, type=click.IntRange(0), help="Rows fixed and broken to list.")
@json_option
def compare(a: str, b: str, run: int | None, db: str, rows: int, as_json: bool) -> None:
    """Compare prompt B with prompt A on the rows that both have answered: what it gains, fixes and breaks.

    `compare 1 2` takes the winners of two runs, `compare 1:12 2:40` trials of them, `compare --run 1 12 40` trials of
    one. Winners and seed prompts are compared on the sealed test rows where both runs have opened them, others on dev
    rows.
    """
    from optimizer.comparing import named, side_by_side
    from optimizer.comparing_tables import diff, grids, record, sentence

    found = side_by_side(db, named(a, run), named(b, run))
    if as_json:
        out_json(record(found))
        return
    for grid in grids(found, rows):
        out_grid(grid) if grid.rows else out(grid.title)
        out()
    out(f"Difference of the prompts:\n\n{diff(found) or '(none in the text)'}\n")
    out(sentence(found))
    where = "" if db == "results.db" else f" --db {db}"
    next_step(f"phrasetune show {found.b.trial.number} --run {found.b.run.id}{where}")
