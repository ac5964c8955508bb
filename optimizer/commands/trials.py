"""The commands that list things: `history`, `wordings`, `schema`.

Each parses its options, calls one function and prints the result. `cli` adds them to the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.options import db_option, json_option, run_option
from optimizer.commands.terminal import next_step, out, out_csv, out_data, out_grid, out_json, where
from optimizer.errors import InputError, one_of
from optimizer.phrases import counted

if TYPE_CHECKING:
    from optimizer.archive import History
    from optimizer.database.slots import Lineage
    from optimizer.records import Run, Trial
    from optimizer.reports.grids import Grid

SHOWN = 30  # trials that `history` lists by default: most trials of a search were evaluated on a few rows only
SORTS = ("number", "score", "estimate", "rows", "calls", "cost", "seconds")
FORMATS = ("text", "json", "csv", "markdown")


@click.command()
@db_option
@run_option
@click.option("--all", "everything", is_flag=True, help="List the runs only.")
@click.option("--state", type=click.Choice(["running", "complete", "pruned", "failed"]), help="Only such trials.")
@click.option(
    "--min-score", metavar="X", type=click.FloatRange(0, 1), help="Only trials of at least this score: 0.47 for 47 %."
)
@click.option("--where", default="", help="Only trials of this condition in SQL on the view `history` and parameters.")
@click.option("--front", is_flag=True, help="Only the front: what no other prompt beats in score, cost and latency.")
@click.option("--sort", type=click.Choice(SORTS), default="score", show_default=True, help="The best, or most, first.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), help=f"At most so many trials; {SHOWN}, or all as JSON or CSV."
)
@click.option("--columns", metavar="A,B,…", help="These columns of the view `history`, or parameters, as they are.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to write it; text if nothing is said.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.")
def history(db: str, run: int | None, everything: bool, **asked: Any) -> None:  # noqa: ANN401
    """List runs, and the trials of one.

    Of each trial the parameters, the score with rows and interval, the cost, the state and why it ended.

    --where "score > 0.5 AND template = 'chat'" and --columns trial,score,template,k name columns of the view
    `history` of results.db (`phrasetune schema` explains it) and parameters of the run.
    """
    from optimizer.archive import History
    from optimizer.report import runs_grid
    from optimizer.reports.plain import run_record

    form, records = _form(asked.pop("form"), as_json=asked.pop("as_json"), as_csv=asked.pop("as_csv")), History(db)
    runs = records.runs()
    if (everything or asked["front"]) and (asked["where"] or asked["columns"]):
        raise InputError("--where and --columns are about the trials of a run. Leave them out, or --all and --front.")
    if not runs or everything:
        if form == "json":
            out_json([run_record(r) for r in runs])
            return
        _draw(runs_grid(runs), form)
        if form == "text":
            next_step(f"phrasetune history --run N{where(db)}" if runs else "phrasetune tune TASK")
        return
    chosen = records.run(run)
    if asked["front"]:
        _front(records, chosen, form)
    elif asked["columns"]:
        _columns(records, chosen, form, asked)
    else:
        _trials(records, chosen, form, asked, latest=run is None)


def _form(given: str | None, *, as_json: bool, as_csv: bool) -> str:
    """Return the requested output format; --json and --csv are short for two of them."""
    asked = {form for form in (given, "json" if as_json else "", "csv" if as_csv else "") if form}
    if len(asked) > 1:
        raise InputError(f"asked for {' and '.join(sorted(asked))} at once. Give one of them.")
    return asked.pop() if asked else "text"


def _draw(grid: Grid, form: str) -> None:
    """Print a table as text, CSV or Markdown."""
    if form == "csv":
        out_csv(grid)
    elif form == "markdown":
        from optimizer.reports.markdown import table

        out_data("\n".join(table(grid)) + "\n")
    else:
        out_grid(grid)


def _trials(records: History, run: Run, form: str, asked: Mapping[str, Any], *, latest: bool) -> None:
    """Print the trials of a run; as text also its verdict, and all runs if this one is the `latest` by default."""
    from optimizer.report import runs_grid, trials_grid
    from optimizer.reports.front_tables import constraints_record
    from optimizer.reports.plain import run_record, trial_record, trials_csv, verdict_record

    costs, every = records.costs(run.id), records.trials(run.id)
    trials, limit = _chosen(records, run, every, asked), asked["limit"]
    if form == "json":
        verdict = verdict_record(records.verdict(run.id))
        listed = [trial_record(trial, costs.get(trial.number, (0, 0.0))) for trial in trials[:limit]]
        kept = constraints_record(records.constraints(run=run.id) if run.winner is not None else {})
        told = {"run": run.id, "trials": listed, "verdict": verdict, "constraints": kept}
        out_json({"runs": [run_record(r) for r in records.runs()], **told})
        return
    if form == "csv":
        out_csv(trials_csv(trials[:limit], costs))
        return
    shown = trials[: limit or SHOWN]
    grid = trials_grid(run, shown, costs, every[0].params if every else {})
    if form == "markdown":
        _draw(grid, form)
        return
    if latest:
        out_grid(runs_grid(records.runs()))
        out()
    out_grid(grid)
    if len(shown) < len(trials):
        out(f"… and {len(trials) - len(shown)} more: --limit {len(trials)}")
    if found := records.verdict(run.id):
        out(f"\nVerdict: {found.sentence}")
    if not every:
        _nothing_tried(records, run)
        return
    best = run.winner if run.winner is not None else 0
    next_step(f"phrasetune show {best}" + where(records.db, run.id))


def _nothing_tried(records: History, run: Run) -> None:
    """Print that a run has no trials, and how to see those of the latest run with a winner."""
    at = records.db
    out(f"run {run.id} ({run.status}) has tried no prompt" + (f": {run.reason}" if run.reason else ""))
    others = [other.id for other in records.runs() if other.winner is not None]
    next_step(*(f"phrasetune history{where(at, number)}" for number in others[:1]), "phrasetune tune TASK")


def _columns(records: History, run: Run, form: str, asked: Mapping[str, Any]) -> None:
    """Print the requested columns with their raw values."""
    from optimizer.report import task_text
    from optimizer.reports.grids import Grid

    names = [name.strip() for name in asked["columns"].split(",")]
    known = {fact["trial"]: fact for fact in records.facts(run.id)}
    if not known:
        fix = "Name a run that has some with --run; `phrasetune history --all` lists them."
        raise InputError(f"run {run.id} ({run.status}) has tried no prompt, so that there are no columns. {fix}")
    columns = list(next(iter(known.values())))
    for name in names:
        if name not in columns:
            raise InputError(one_of("column", name, columns))
    trials = _chosen(records, run, records.trials(run.id), asked)
    shown = trials[: asked["limit"] or (SHOWN if form in {"text", "markdown"} else None)]
    rows = [{name: known[trial.number].get(name) for name in names} for trial in shown]
    if form == "json":
        out_json({"run": run.id, "trials": rows})
        return
    cells = tuple(tuple("" if row[name] is None else str(row[name]) for name in names) for row in rows)
    _draw(Grid(f"Run {run.id}: {task_text(run)} on {run.model}", tuple(names), cells), form)
    if len(shown) < len(trials) and form == "text":
        out(f"… and {len(trials) - len(shown)} more: --limit {len(trials)}")


def _front(records: History, run: Run, form: str) -> None:
    from optimizer.reports.front_tables import front_grid, front_record

    held = records.front(run.id)
    if form == "json":
        out_json({"run": run.id, "front": front_record(held)})
        return
    seed = next((trial.params for trial in records.trials(run.id) if trial.number == 0), {})
    _draw(front_grid(run, held, seed), form)


def _chosen(records: History, run: Run, trials: Sequence[Trial], asked: Mapping[str, Any]) -> list[Trial]:
    """Return the trials that match the options, in the requested order."""
    from optimizer.report import best_first

    state, least = asked["state"], asked["min_score"]
    held = {fact["trial"] for fact in records.facts(run.id, asked["where"])} if asked["where"] else None
    chosen = [
        trial
        for trial in trials
        if (state is None or trial.state == state)
        and (least is None or (trial.score is not None and trial.score >= least))
        and (held is None or trial.number in held)
    ]
    by = asked["sort"]
    if by == "score":
        return sorted(chosen, key=best_first)
    costs = records.costs(run.id)
    measures = {
        "number": lambda trial: -trial.number,
        "estimate": lambda trial: -1.0 if trial.estimate is None else trial.estimate,
        "rows": lambda trial: trial.n,
        "calls": lambda trial: costs.get(trial.number, (0, 0.0))[0],
        "cost": lambda trial: costs.get(trial.number, (0, 0.0))[1] or 0.0,
        "seconds": lambda trial: trial.seconds,
    }
    return sorted(chosen, key=measures[by], reverse=True)


@click.command()
@run_option
@db_option
@click.option("--dimension", help="Only the wordings of this part of the prompt.")
@json_option
def wordings(run: int | None, db: str, dimension: str | None, as_json: bool) -> None:
    """List the wordings of a run.

    Where each comes from, when and why it came, and the best trial with it.
    """
    from dataclasses import asdict

    from optimizer.archive import History
    from optimizer.report import dollars, percent
    from optimizer.reports.grids import Grid

    records = History(db)
    chosen = records.run(run)
    lineage = records.lineage(chosen.id)
    known = list(dict.fromkeys(wording.dimension for wording in lineage))
    if dimension is not None and dimension not in known:
        raise InputError(one_of("dimension with wordings", dimension, known))
    lineage = [wording for wording in lineage if dimension in {None, wording.dimension}]
    if as_json:
        out_json({"run": chosen.id, "wordings": [asdict(wording) for wording in lineage]})
        return
    rows = tuple(
        (
            w.dimension,
            w.id,
            w.origin + (f", from {w.parent}" if w.parent else ""),
            _arrived(w, over=chosen.winner is not None),
            str(w.trials),
            "–" if w.best is None else f"{percent(w.score)} on {counted(w.rows, 'row')} (trial {w.best})",
            w.reason or "–",
            "–" if w.cost is None else dollars(w.cost),
            w.text or "(nothing)",
        )
        for w in lineage
    )
    columns = ("dimension", "id", "origin", "arrived (UTC)", "trials", f"best {chosen.metric}", "why", "cost", "text")
    out_grid(Grid(f"Wordings of run {chosen.id}: {chosen.name} on {chosen.model}", columns, rows))
    next_step("phrasetune history" + where(records.db, chosen.id))


def _arrived(wording: Lineage, *, over: bool) -> str:
    if wording.arrived is None:
        return "–"
    entered = f"step {wording.step}" if wording.step is not None else "never tried" if over else "waits"
    return f"{wording.arrived[:16].replace('T', ' ')}, {entered}"


@click.command()
def schema() -> None:
    """Explain the tables and views of results.db."""
    from optimizer.database.schema import markdown

    out_data(markdown())
