"""The command that writes results for other tools: `export`.

Parses its options, calls one function for each request and prints the results. `cli` adds it to the command line.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.options import db_option, env_option, run_option, trial_of
from optimizer.commands.terminal import err, next_step, out, stoppable, where
from optimizer.errors import ExportError, one_of

if TYPE_CHECKING:
    from optimizer.exports import Exported
    from optimizer.handover import Handover

SKOPS = "the trained baseline of the run, as a skops file"


@click.command()
@click.option("--format", "format_name", help="The format; see --list.")
@click.option("--list", "listing", is_flag=True, help="List the formats.")
@click.option("--trial", help="TRIAL, or RUN:TRIAL; the winner by default.")
@run_option
@db_option
@env_option
@click.option("--folder", type=click.Path(), default=".", show_default=True, help="Where to write.")
@click.option("-o", "--output", default="", help="Name of the file; it cannot leave the folder.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--rows", type=click.Path(), help="A file with rows for the formats that hold rows, not the run's own.")
@click.option(
    "--mask", is_flag=True, help="Put names in the place of mail addresses, phone numbers, keys and the like."
)
@click.option("--allow-findings", is_flag=True, help="Write it even with words of dev or test rows, or unfilled slots.")
@click.option("--verify", is_flag=True, help="Also load the file with the tool that the format is for.")
@click.option("--rescore", is_flag=True, help="Score the exported prompt on the run's own rows, and compare.")
@click.option(
    "--max-calls",
    metavar="N",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Of --rescore, the most; 0 is no cap.",
)
def export(format_name: str | None, listing: bool, trial: str | None, run: int | None, **given: Any) -> None:  # noqa: ANN401
    """Export a prompt to another tool's format.

    The winner, or TRIAL. Each file is loaded back and compared byte for byte before it counts as written.

    The format `skops` writes the trained baseline instead.
    """
    from optimizer.archive import History
    from optimizer.exports import FORMATS
    from optimizer.prompt_export import export as write_export

    number, run = trial_of(trial, run)
    at = where(given["db"], run)
    if listing or format_name is None:
        listed = [(name, entry.usual_name, f"{entry.about}; {entry.fidelity}") for name, entry in FORMATS.items()]
        listed.append(("skops", "baseline.skops", SKOPS))
        names, files = (max(len(row[at]) for row in listed) for at in range(2))
        for name, file, about in listed:
            out(f"{name:{names}}  {file:{files}}  {about}")
        next_step(f"phrasetune export --format python{at}")
        if listing:
            return
        raise ExportError(f"no format was named; allowed: {', '.join([*FORMATS, 'skops'])}. Name one with --format.")
    if format_name not in [*FORMATS, "skops"]:
        raise ExportError(one_of("export format", format_name, [*FORMATS, "skops"]))
    place = {"folder": Path(given["folder"]), "name": given["output"], "force": given["force"]}
    if format_name == "skops":
        _baseline(History(given["db"]), run, **place)
        next_step(f"phrasetune report{at}")
        return
    lint = {"mask": given["mask"], "allow_findings": given["allow_findings"]}
    done = write_export(format_name, trial=number, run=run, db=given["db"], rows=given["rows"], **place, **lint)
    say_written(done)
    if given["verify"] or given["rescore"]:
        told = History(given["db"]).handover(number, run)
        if given["verify"]:
            _verify(done, told)
        if given["rescore"]:
            _rescore(done, told, given["db"], given["max_calls"])
    next_step(f"phrasetune {'predict NEW_ROWS.csv' if number is None else 'report'}{at}")


def _baseline(records: Any, run: int | None, *, folder: Path, name: str, force: bool) -> None:  # noqa: ANN401
    from optimizer.exports import Target, write_bytes

    path = write_bytes(records.trained_model(run), Target(folder, name or "baseline.skops", force))
    out(f"{path}: written")
    if records.run(run, won=True).task["task"]["kind"] == "multilabel":
        out("It answers with every label whose decision_function is above 0, or the likeliest if none is.")


def say_written(written: Exported) -> None:
    """Print which files were written, and how faithful they are."""
    for path in written.files:
        out(f"{path}: written, loaded back: {written.fidelity}{f'; {written.source}' if written.source else ''}")
    if written.note:
        out(written.note)


def _verify(done: Exported, told: Handover) -> None:
    from optimizer.exports.readers import READERS

    reader = READERS.get(done.format)
    if reader is None:
        out(f"{done.format}: no other tool reads it; it was loaded back when it was written")
        return
    if not reader.installed:
        raise ExportError(
            f"{done.format} is loaded by {reader.needed}, which is not installed here; install it beside phrasetune to "
            "prove the file with it. The file stands, and was loaded back by ourselves."
        )
    if fault := reader.fault(done.path, done.draft, told.probes):
        raise ExportError(
            f"{reader.installed} does not read {done.path} as we do: {fault}. The file stands; choose another format, "
            "or another version of the tool."
        )
    out(f"{done.path}: proved with {reader.installed}")


def _rescore(done: Exported, told: Handover, db: str, max_calls: int) -> None:
    from optimizer.events import Destination
    from optimizer.phrases import agreed, counted
    from optimizer.report import percent, spread
    from optimizer.rescoring import rescore
    from optimizer.watch import Watch

    stop = threading.Event()

    def event(happened: object) -> None:
        if isinstance(happened, Destination):
            err(f"calls go to {happened}")

    with stoppable(stop, err):
        found = rescore(done, told, db=db, max_calls=max_calls, watch=Watch(event, stop))
    by = f", rendered by {found.reader}" if found.reader else ""
    out(f"{found.metric} on {found.n} {found.split} rows: {percent(found.score)} ({spread(found.interval)}){by}")
    if found.recorded is None:
        out(f"no score of this prompt on {found.split} rows is recorded")
    else:
        out(f"recorded: {percent(found.recorded)}; {agreed(found.turned, 'answer is another', 'answers are others')}")
    out(f"{counted(found.bought, 'completion')} bought, {found.reused:,} reused")
