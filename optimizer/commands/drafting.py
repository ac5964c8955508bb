"""The commands that write a first task file: `init` from rows, `import` from other tools' files.

Each parses its options, calls one function and prints the result. `cli` adds them to the command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from optimizer.commands.terminal import next_step, out
from optimizer.errors import DataError, InputError, TaskError

if TYPE_CHECKING:
    from optimizer.drafting import Start
    from optimizer.rows.columns import Guess
    from optimizer.rows.tables import Table


OF_LABELS = ("labels", "label_place")  # dimensions of tasks with a closed list of labels only


@click.command()
@click.argument("file", type=click.Path())
@click.option("--query", default="", metavar="SQL", help="Query for the rows, if FILE is an SQLite database.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="COLUMN",
    help="A column the model sees; repeatable. Guessed by default.",
)
@click.option("--target", default="", metavar="COLUMN", help="The column with the wanted answer. Guessed by default.")
@click.option("-o", "--output", default="task.toml", show_default=True, help="The task file to write.")
@click.option("--force", is_flag=True, help="Replace an existing task file.")
def init(file: str, query: str, inputs: tuple[str, ...], target: str, output: str, force: bool) -> None:
    """Write a task file for your rows.

    It also says what the rows can show: split sizes, duplicates, label balance, the smallest gain that they can detect.

    FILE is CSV, TSV, JSONL, JSON, Parquet, or an SQLite database with a --query.
    """
    from optimizer.drafting import Start
    from optimizer.rows.columns import guess
    from optimizer.rows.sampling import Draw
    from optimizer.rows.tables import read_table
    from optimizer.task_sections import MAX_ROWS

    _check_place(output, file)
    table = read_table(Path(file), Draw(MAX_ROWS), query)
    guessed = guess(table, inputs=inputs, target=target)
    if table.note:  # now that split and label columns are known, sample as the task will, and find every label
        label = guessed.target if guessed.kind == "classification" else ""
        table = read_table(Path(file), Draw(MAX_ROWS, split=guessed.split_column, label=label), query)
        guessed = guess(table, inputs=inputs, target=target)
    _write_task(table, guessed, Path(file), output, Start(query=query), force=force)


@click.command("import")
@click.argument("file", type=click.Path())
@click.option("--rows", type=click.Path(), help="The rows to tune on, in the place of those in FILE.")
@click.option("-o", "--output", default="task.toml", show_default=True, help="The task file; rows stand beside it.")
@click.option("--force", is_flag=True, help="Replace existing files.")
def import_(file: str, rows: str | None, output: str, force: bool) -> None:
    """Write a task file from another tool's file.

    FILE is a promptfoo configuration (prompts become wordings, tests rows), conversations or Evals samples of OpenAI
    (.jsonl), or a saved DSPy program (.json, with --rows): its instruction and demos become the seed prompt.
    """
    from optimizer.drafting import Start
    from optimizer.imports import as_csv, read_foreign
    from optimizer.rows.columns import guess
    from optimizer.rows.tables import read_table, table_from

    _check_place(output, file)
    table = read_table(Path(rows)) if rows else None
    found = read_foreign(Path(file), table.columns if table else None)
    folder, stem = Path(output).parent, Path(output).stem
    parts = {"rows": found.rows, "demos": found.demos}
    beside = {f"{stem}.{part}.csv": as_csv(held) for part, held in parts.items() if held}
    data = Path(rows) if rows else folder / f"{stem}.rows.csv"
    table = table or table_from(str(data), enumerate(found.rows, start=1))
    guessed = guess(table, inputs=found.inputs, target=found.target)
    closed = guessed.kind == "classification"
    start = Start(
        description=found.description,
        demos=f"{stem}.demos.csv" if found.demos else "",
        model=found.model or "embedded",
        wordings=found.wordings,
        seed={name: value for name, value in found.seed.items() if closed or name not in OF_LABELS},
    )
    out(f"{file}: {found.format}")
    for text in found.made:
        out(f"  {text}")
    for text in found.left_out:
        out(f"  left out: {text}")
    _write_task(table, guessed, data, output, start, force=force, beside=beside)


def _check_place(output: str, file: str) -> None:
    folder = Path(output).parent
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Make it, or name another file with -o.")
    # Not Path.resolve(), which fails on a link to itself.
    if os.path.realpath(output) == os.path.realpath(file):
        raise InputError(f"{output} is the data file; it was left as it is. Name another file with -o.")


def _write_task(  # noqa: PLR0913
    table: Table,
    guessed: Guess,
    file: Path,
    output: str,
    start: Start,
    *,
    force: bool,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Write the task file for the rows of a file, and other files `beside` it; print what the rows can show."""
    from optimizer.drafting import draft, facts, odd, unused
    from optimizer.exports import Target, write_bytes
    from optimizer.scoring import METRICS
    from optimizer.task import parse_task
    from optimizer.task_rows import read_rows

    path = Path(output)
    metrics = [name for name, metric in METRICS.items() if guessed.kind in metric.kinds]
    name = re.sub(r"[^\w.-]+", "-", file.stem.removesuffix(".rows")).strip("-") or "task"
    relative = Path(os.path.relpath(os.path.realpath(file), Path(os.path.realpath(path)).parent)).as_posix()
    text = draft(guessed, len(table.rows), file=relative, path=output, name=name[:80], metrics=metrics, start=start)
    try:
        drafted = parse_task(text, path)
    except TaskError as error:
        raise InputError(f"{file}: its names do not fit into a task file ({error}) Rename them.") from None
    whole = table.without(set(guessed.odd), odd(guessed, table)) if guessed.odd else table
    try:
        said = facts(*read_rows(drafted, whole), drafted.metric)
    except DataError as error:
        if not beside:
            raise
        said = [f"not ready to be tuned: {error}"]  # the file is still useful: rows can be added
    files = {**(beside or {}), path.name: text.encode()}
    for each in files:
        Target(path.parent, each, force).check()
    for each, held in files.items():
        write_bytes(held, Target(path.parent, each, force))
        if each != path.name:
            out(f"{path.parent / each}: written")
    out(f"{output}: {guessed.kind} of {' + '.join(guessed.inputs)} -> {guessed.target}, judged by {guessed.metric}")
    if without := unused(guessed):
        out(without)
    for fact in said:
        out(fact)
    helps = "" if start.description or start.wordings else " (a description helps)"
    next_step(f"edit {output}{helps}, then", f"phrasetune tune {output}")
