"""The commands that show and use a result: `show`, `predict`, `report`, `card`.

Each parses its options, calls one function and prints the result. `cli` adds them to the command line.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.options import db_option, env_option, json_option, run_option, trial_of
from optimizer.commands.terminal import err, next_step, out, out_data, out_grid, out_json, stoppable, where
from optimizer.errors import InputError

if TYPE_CHECKING:
    from optimizer.archive import Shown
    from optimizer.predicting import Predicted
    from optimizer.records import Verdict


@click.command()
@click.argument("trial", required=False)
@run_option
@db_option
@click.option(
    "--rows",
    default=5,
    show_default=True,
    metavar="N",
    type=click.IntRange(0),
    help="Rows fixed, broken or doubtful to list.",
)
@json_option
def show(trial: str | None, run: int | None, db: str, rows: int, as_json: bool) -> None:
    """Show a prompt, and the rows that it fixes and breaks.

    TRIAL, or the winner: its text, its scores, and how it differs from the seed prompt.

    `show 12` is a trial of the latest run or of --run, `show 2:12` one of run 2.
    """
    from dataclasses import asdict

    from optimizer.archive import History
    from optimizer.phrases import counted, save_program
    from optimizer.report import estimated, params_text, percent, spread, worth_grids
    from optimizer.reports.front_tables import constraints_grids, constraints_record, standing
    from optimizer.reports.plain import trial_record, verdict_record
    from search_spaces.program import PROGRAM

    records = History(db)
    shown = records.show(*trial_of(trial, run))
    t = shown.trial
    stands = standing(t, records.complete(shown.run.id))
    won = t.number == shown.run.winner
    verdict = records.verdict(shown.run.id) if won else None
    kept = records.constraints(t.number, shown.run.id)
    importances = records.importances(shown.run.id)
    ablations = records.ablations(shown.run.id) if won else []
    if as_json:
        cost = records.costs(shown.run.id).get(t.number, (0, 0.0))
        changed = {"fixed": [asdict(c) for c in shown.fixed], "broken": [asdict(c) for c in shown.broken]}
        changed["late"] = [asdict(w) for w in shown.late]
        worth = {"importances": [asdict(i) for i in importances], "ablations": [asdict(a) for a in ablations]}
        said = {**trial_record(t, cost), "standing": stands, "prompt": shown.prompt}
        ruled = {"verdict": verdict_record(verdict), "constraints": constraints_record(kept)}
        out_json({"run": shown.run.id, "program": shown.run.program, **said, **changed, **worth, **ruled})
        return
    score = f"{shown.run.metric} {percent(t.score)} ({spread(t.interval)}) on {counted(t.n, 'dev row')}"
    estimate = "" if t.estimate is None else f"; estimated at {estimated(t)} on new rows"
    of = f" of {shown.run.program}" if shown.run.program else ""
    out(f"run {shown.run.id}{of}, trial {t.number}: {score}{estimate}")
    out(f"{t.state.value}: {t.reason}" if t.reason else t.state.value)
    out(stands)
    out(params_text(t.params))
    for wording in shown.late:
        out(f"{wording.dimension} = {wording.id}, added by the {wording.origin}, entered at step {wording.step}")
    out()
    out(shown.prompt)
    for grid in [*constraints_grids(kept), *worth_grids(importances, ablations)]:
        out()
        out_grid(grid)
    if verdict:
        _findings_text(verdict, records.texts(shown.run.id), rows)
    if t.number:
        _difference_text(shown, rows)
    at = where(db, shown.run.id)
    if t.prompt.template == PROGRAM:  # a program cannot be exported as a prompt
        next_step(save_program(shown.run.program) + where(db), f"phrasetune report{at}")
    else:
        next_step(f"phrasetune export --format python --trial {t.number}{at}")


def _difference_text(shown: Shown, rows: int) -> None:
    """Print how a prompt differs from the seed prompt: in its text, and on which dev rows."""
    from optimizer.report import changes_grid, prompt_diff

    out("\nDifference to the seed prompt:\n")
    out(prompt_diff(shown.seed_prompt, shown.prompt) or "(none in the text)")
    out()
    for title, changed_rows in (("Dev rows fixed", shown.fixed), ("Dev rows broken", shown.broken)):
        grid = changes_grid(title, changed_rows, rows)
        out_grid(grid) if grid.rows else out(grid.title)
        out()


def _findings_text(verdict: Verdict, texts: Mapping[str, str], rows: int) -> None:
    from optimizer.reports import curve_tables, findings_tables

    for grid in [*curve_tables.grids(verdict), *findings_tables.grids(verdict, texts, rows)]:
        out()
        out_grid(grid)
    for tell in (curve_tables.pays_off, findings_tables.surer):
        if said := tell(verdict):
            out(said)


@click.command()
@click.argument("file", type=click.Path())
@click.option("--trial", metavar="TRIAL", help="Use this prompt, TRIAL or RUN:TRIAL, instead of the winner.")
@run_option
@click.option(
    "--max-calls",
    metavar="N",
    type=click.IntRange(0),
    help="Hard cap on calls bought, in place of the task's; 0: no cap.",
)
@click.option(
    "--max-usd",
    metavar="X",
    type=click.FloatRange(0),
    help="Hard cap on US dollars, in place of the task's; 0: no cap.",
)
@env_option
@db_option
@click.option("-o", "--output", type=click.Path(), help="CSV file to write; stdout by default.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def predict(
    file: str,
    trial: str | None,
    run: int | None,
    db: str,
    output: str | None,
    force: bool,
    **caps: Any,  # noqa: ANN401
) -> None:
    """Answer new rows with the best prompt.

    Writes FILE as CSV, all its columns and the answers in a last one, and scores the rows that have a target.

    What a cap or Ctrl-C ends is written as far as it went; the same command goes on from there, and buys nothing twice.
    """
    from optimizer.events import Destination, Notice
    from optimizer.exports import Target, write_bytes
    from optimizer.predicting import predict as ask
    from optimizer.reports.plain import table_csv
    from optimizer.watch import Watch

    target = Target(Path(output).parent, Path(output).name, force) if output else None
    if target:
        target.check()
        if output and os.path.realpath(output) == os.path.realpath(file):
            raise InputError(f"{output} is the file that is read; it was left as it is. Name another with -o.")
    stop = threading.Event()

    def event(told: object) -> None:
        if isinstance(told, Destination | Notice):
            err(told.text if isinstance(told, Notice) else f"calls go to {told}")

    number, named = trial_of(trial, run)
    with stoppable(stop, err):
        done = ask(file, named, trial=number, db=db, watch=Watch(event, stop), **caps)
    text = table_csv(done.table)
    if target:
        err(f"{write_bytes(text.encode(), target)}: written")
    else:
        out_data(text)
    if target and not done.ended:
        next_step(f"phrasetune report{where(db, named)}")
    _say_predicted(done)
    if done.ended:
        again = shlex.join(["phrasetune", *sys.argv[1:], *(["--force"] if target and not force else [])])
        raise type(done.ended)(
            f"{done.ended}; rows that were not asked have no answer. This goes on, and buys nothing twice (--max-calls "
            f"and --max-usd take the place of the task's caps): {again}"
        )


def _say_predicted(done: Predicted) -> None:
    """Print what was answered, what it cost, and how it scores."""
    from optimizer.phrases import counted
    from optimizer.report import dollars, percent, spread

    missing = sum(answer is None for answer in done.answers) - done.unasked
    bought = f"{counted(done.bought, 'completion')} bought ({dollars(done.usd)}), {done.reused:,} reused"
    unasked = f", {done.unasked:,} {'not asked' if done.ended else 'without a text'}" if done.unasked else ""
    err(f"{counted(len(done.rows), 'row')}, {missing:,} without a readable answer{unasked}; {bought}")
    if done.failures:
        first = ", the first" if len(done.failures) > 1 else ""
        err(f"{counted(len(done.failures), 'row')} got no answer{first}: {done.failures[0]}")
    if done.unscored:
        err(done.unscored)
    if done.score is not None:
        err(f"{done.metric}: {percent(done.score)} (95 % interval {spread(done.interval)})")
        if done.seen:
            err(f"{done.seen} of the scored rows stood in the run's own data: this is not a score on new rows.")


@click.command()
@run_option
@db_option
@click.option("-o", "--output", type=click.Path(), default="report.html", show_default=True)
@click.option("--static", type=click.Choice(["svg", "png"]), help="Write its pictures instead, into the folder of -o.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def report(run: int | None, db: str, output: str, static: str | None, force: bool) -> None:
    """Write a run as one HTML page.

    The page loads nothing from elsewhere and sends nothing.
    """
    if static:
        _write_pictures(db, run, Path(output).parent, static, force=force)
        return
    write_report(db, run, Path(output), force=force)
    next_step(f"open {output}", f"phrasetune dashboard{where(db)}")


def _write_pictures(db: str, run: int | None, folder: Path, form: str, *, force: bool) -> None:
    from optimizer.archive import History
    from optimizer.exports import Target, write_bytes
    from optimizer.pages.figures import figures

    for name, figure in figures(History(db).story(run)).items():
        drawn = figure.png() if form == "png" else figure.file().encode()
        out(f"{write_bytes(drawn, Target(folder, f'{name}.{form}', force))}: written")


def write_report(db: str, run: int | None, path: Path, *, force: bool) -> None:
    """Write the HTML report of a run."""
    from optimizer.archive import History
    from optimizer.exports import Target, write_bytes
    from optimizer.pages.page import page

    written = write_bytes(page(History(db).story(run)).encode(), Target(path.parent, path.name, force))
    out(f"{written}: written")


@click.command()
@click.argument("run", type=int, required=False)
@db_option
@json_option
@click.option("-o", "--output", type=click.Path(), help="File to write; stdout by default.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def card(run: int | None, db: str, as_json: bool, output: str | None, force: bool) -> None:
    """Write a prompt card, for those who approve the prompt.

    Markdown: what the winner is, what it was tuned on, what it scores, and what is not known of it.
    """
    import json

    from optimizer.archive import History
    from optimizer.exports import Target, write_bytes
    from optimizer.reports.card_text import markdown, record

    made = History(db).card(run)
    if output is None:
        out_json(record(made)) if as_json else out_data(markdown(made))
        return
    text = json.dumps(record(made), ensure_ascii=False, indent=2) + "\n" if as_json else markdown(made)
    path = Path(output)
    out(f"{write_bytes(text.encode(), Target(path.parent, path.name, force))}: written")
    next_step(f"phrasetune report{where(db)}")
