"""The command line: a command parses, calls one function, draws. The only room that prints.

Nothing heavy is imported before a command needs it: `--help` and `history` start at once.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.errors import ExportError, InputError, Interrupted, PhrasetuneError
from optimizer.version import __version__

if TYPE_CHECKING:
    from optimizer.journey import Plan, Tuned
    from optimizer.records import Trial
    from optimizer.report import Grid
    from optimizer.task import Task

# --- what commands share ----------------------------------------------------------------------------------

Command = Callable[..., Any]


def db_option(command: Command) -> Command:
    """Take --db."""
    return click.option("--db", default="results.db", show_default=True, help="The results database.")(command)


def run_option(command: Command) -> Command:
    """Take --run."""
    return click.option("--run", type=int, help="Number of the run; the latest by default.")(command)


def json_option(command: Command) -> Command:
    """Take --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable results on stdout.")(command)


def out(text: str = "") -> None:
    """Print a line, with control characters of the data made visible."""
    click.echo(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text))


def out_json(value: object) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def out_grid(grid: Grid) -> None:
    """Draw a table to the width of the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(
        title=Text(grid.title, style="bold"), title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    for name in grid.columns:
        table.add_column(name, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", cell)) for cell in row))
    console.print(table)


def out_csv(grid: Grid) -> None:
    """Print a table as CSV; a cell that a spreadsheet would take for a formula is quoted as text."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(grid.columns)
    for row in grid.rows:
        writer.writerow([f"'{cell}" if cell[:1] in {"=", "+", "@"} or cell[:2] == "-=" else cell for cell in row])


def next_step(*commands: str) -> None:
    """End an output with what to do next."""
    out()
    out("Next: " + "\n      ".join(commands))


class Group(click.Group):
    """Turns our errors into one clear line and an exit code; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PhrasetuneError as error:
            click.echo(f"phrasetune: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("phrasetune: stopped", err=True)
            ctx.exit(Interrupted.exit_code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="phrasetune")
def main() -> None:
    """Search prompts as hyperparameters, and learn whether to prompt or to fine-tune.

    A first run, with no key and no network:  phrasetune demo

    With your own rows:  phrasetune init rows.csv, then  phrasetune tune task.toml
    """


# --- before the search ------------------------------------------------------------------------------------


@main.command()
@click.argument("file", type=click.Path())
@click.option("-o", "--output", default="task.toml", show_default=True, help="The task file to write.")
@click.option("--force", is_flag=True, help="Replace an existing task file.")
def init(file: str, output: str, force: bool) -> None:
    """Write a task file for the rows in FILE (CSV, TSV, JSONL, JSON or Parquet) and say what the rows can show."""
    import os

    from optimizer.columns import guess
    from optimizer.drafting import draft
    from optimizer.scoring import METRICS
    from optimizer.tables import read_table

    path = Path(output)
    if path.exists() and not force:
        raise InputError(f"{output} exists already; it was left as it is. Use --force, or -o with another name.")
    guessed = guess(read_table(Path(file)))
    metrics = [name for name, metric in METRICS.items() if guessed.kind in metric.kinds]
    name = re.sub(r"[^\w.-]+", "-", Path(file).stem).strip("-") or "task"
    relative = os.path.relpath(Path(file).resolve(), path.resolve().parent)
    text = draft(guessed, file=Path(relative).as_posix(), path=output, name=name[:80], metrics=metrics)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error.strerror}). Name another file with -o.") from None
    out(f"{output}: {guessed.kind} of {' + '.join(guessed.inputs)} -> {guessed.target}, judged by {guessed.metric}")
    _audit(output)
    next_step(f"edit {output} (a description helps), then", f"phrasetune tune {output}")


def _audit(path: str) -> None:
    """Say what the splits hold, what is odd in them, and what they can show."""
    from collections import Counter

    from optimizer.journey import read_rows
    from optimizer.overlap import audit
    from optimizer.stats import smallest_gain
    from optimizer.task import load_task

    data, labels = read_rows(load_task(path))
    out(f"rows: {len(data.train)} train, {len(data.dev)} dev, {len(data.test)} test (sealed until the verdict)")
    for note in data.notes:
        out(f"note: {note}")
    found = audit(data)
    out(f"exact duplicates: {len(found.duplicates)} groups, each kept in one split; {len(found.conflicts)} disagree")
    out(f"near-duplicates: {len(found.near)} pairs; {len(found.leaks)} of them stand in two different splits")
    for one, other, likeness in found.leaks[:5]:
        out(f"  {one} ~ {other} ({100 * likeness:.0f} % alike)")
    rows = [*data.train, *data.dev, *data.test]
    if labels:
        counts = Counter(row.target for row in rows)
        balance = ", ".join(f"{label} {100 * counts[label] / len(rows):.0f} %" for label, _ in counts.most_common(12))
        more = f", and {len(labels) - 12} more" if len(labels) > 12 else ""
        out(f"labels: {len(labels)}: {balance}{more}")
    dev, test = 100 * smallest_gain(len(data.dev)), 100 * smallest_gain(len(data.test))
    out(
        f"power: {len(data.dev)} dev rows show gains from about {dev:.0f} points, {len(data.test)} test rows from "
        f"about {test:.0f} (80 % power, for two prompts that disagree on a quarter of the rows)"
    )


@main.command()
@click.argument("task", type=click.Path())
@json_option
def space(task: str, as_json: bool) -> None:
    """Print the search space of TASK, its size, and one rendered prompt."""
    from optimizer.journey import prepare

    plan = prepare(task)
    seed = plan.space.build(plan.space.seed())
    messages = plan.renderer.messages(seed, plan.data.train[0])
    if as_json:
        dimensions = {d.name: d.choices or {"low": d.low, "high": d.high} for d in plan.space.dimensions}
        rendered = [message.to_dict() for message in messages]
        out_json({"size": plan.space.size, "dimensions": dimensions, "seed": plan.space.seed(), "rendered": rendered})
        return
    out_grid(_space_grid(plan))
    out(f"\n{plan.space.size:,.0f} prompts. The seed prompt, with its first training row as input:\n")
    for message in messages:
        out(f"[{message.role}]\n{message.content}")
    next_step(f"phrasetune tune {task}")


def _space_grid(plan: Plan) -> Grid:
    from optimizer.report import Grid

    rows = []
    for d in plan.space.dimensions:
        values = ", ".join(map(str, d.choices)) or f"{d.low} to {d.high}"
        only = "; ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in d.when.items())
        rows.append((d.name, values, str(d.seed), d.about, only))
    return Grid("Search space", ("dimension", "values", "seed", "what it is", "only when"), tuple(rows))


# --- the search -------------------------------------------------------------------------------------------


def tune_options(command: Command) -> Command:
    """Take what overrides a task file."""
    options = [
        click.option("--model", help="Any LiteLLM model, or embedded."),
        click.option("--api-base", help="Address of an OpenAI-compatible server."),
        click.option("--trials", type=click.IntRange(1), help="Prompts to try."),
        click.option("--max-calls", type=click.IntRange(0), help="Hard cap on calls bought; 0 is none."),
        click.option("--max-usd", type=click.FloatRange(0), help="Hard cap on US dollars; 0 is none."),
        click.option("--sampler", help="tpe or random."),
        click.option("--seed", type=int, help="Seed of the search."),
        click.option("--workers", type=click.IntRange(1, 256), help="Calls at a time."),
        click.option("--quiet", is_flag=True, help="No live view."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("task", type=click.Path())
@tune_options
@db_option
@json_option
def tune(task: str, db: str, as_json: bool, quiet: bool, **changes: Any) -> None:  # noqa: ANN401
    """Search the best prompt for TASK and compare it with a trained baseline on sealed test rows.

    Ctrl-C stops after the calls in flight; the same command resumes.
    """
    from optimizer.task import load_task

    tuned = _tune(_changed(load_task(task), changes), db, again=f"phrasetune tune {task}", quiet=quiet or as_json)
    if as_json:
        _tuned_json(tuned)
        return
    _tuned_text(tuned)
    where = "" if db == "results.db" else f" --db {db}"
    number = tuned.best.number
    next_step(
        f"phrasetune show {number}{where}", f"phrasetune export --format python{where}", f"phrasetune report{where}"
    )


def _changed(task: Task, changes: dict[str, Any]) -> Task:
    """Apply the options that were given to a task, under the task file's own rules."""
    from optimizer.errors import TaskError
    from optimizer.task import check_task

    content = task.model_dump(mode="json", exclude_unset=True)
    sections = {"model": "model", "api_base": "model", "workers": "model"}
    for option, value in changes.items():
        if value is not None:
            key = "name" if option == "model" else option
            content.setdefault(sections.get(option, "search"), {})[key] = value
    try:
        return check_task(content, "options").model_copy(update={"folder": task.folder})
    except TaskError as error:
        raise InputError(str(error)) from None


def _tune(task: Task, db: str, *, again: str, quiet: bool) -> Tuned:
    """Run a search with a live view; the first Ctrl-C stops it gently, the second at once."""
    from optimizer.journey import Watch
    from optimizer.journey import tune as run_tune
    from optimizer.live import LiveView

    stop = threading.Event()
    with LiveView(quiet=quiet) as view, _gently(stop, view.say):
        try:
            return run_tune(task, db=db, watch=Watch(view, stop))
        except Interrupted:
            where = "" if db == "results.db" else f" --db {db}"
            raise Interrupted(f"stopped; everything bought is in {db}. Resume with: {again}{where}") from None


@contextmanager
def _gently(stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set `stop`, and the second interrupt."""

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


def _tuned_text(tuned: Tuned) -> None:
    from optimizer.report import comparisons_grid, params_text, percent, spread, verdict_grid

    run, best = tuned.run, tuned.best
    out(f"run {run.id}: {run.name} on {run.model}, {len(tuned.trials)} trials; {run.reason}")
    out(f"completions: {run.bought:,} bought, {run.reused:,} reused from the ledger; ${run.cost:.4f} spent")
    out(
        f"best on dev: trial {best.number}, {run.metric} {percent(best.score)} ({spread(best.interval)}), seed prompt "
        f"{percent(tuned.trials[0].score)}; {params_text(best.params)}"
    )
    out()
    if tuned.verdict is None:
        out("no verdict: the budget did not cover the sealed test rows")
        return
    out_grid(verdict_grid(tuned.verdict))
    out()
    out_grid(comparisons_grid(tuned.verdict))
    if tuned.verdict.opened > 1:
        out(f"(these test rows were opened by {tuned.verdict.opened} runs so far)")
    out()
    out(f"Verdict: {tuned.verdict.sentence}")


def _tuned_json(tuned: Tuned) -> None:
    from optimizer.report import run_record, trial_record, verdict_record

    best, verdict = trial_record(tuned.best), verdict_record(tuned.verdict)
    out_json({"run": run_record(tuned.run), "best": best, "verdict": verdict})


@main.command()
@click.argument("folder", type=click.Path(), default="phrasetune-demo")
@db_option
@click.option("--quiet", is_flag=True, help="No live view.")
def demo(folder: str, db: str, quiet: bool) -> None:
    """Run the main job on bundled rows and the embedded model: search, verdict, report, export."""
    from importlib import resources

    from optimizer.archive import export as write_export
    from optimizer.task import load_task

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name in ("task.toml", "support.csv", "library.csv"):
        source = resources.files("optimizer").joinpath("demo", name)
        if not (place / name).exists():
            (place / name).write_bytes(source.read_bytes())
    out(f"{place / 'task.toml'}: 679 messages to a software company's support desk, 8 labels; model: embedded")
    task = place / "task.toml"
    tuned = _tune(load_task(task), db, again=f"phrasetune demo {folder}", quiet=quiet)
    _tuned_text(tuned)
    out()
    written = write_export("python", run=tuned.run.id, db=db, folder=place, force=True)
    _say_written(written)
    _write_report(db, tuned.run.id, place / "report.html", force=True)
    where = "" if db == "results.db" else f" --db {db}"
    next_step(f"phrasetune history{where}", f"phrasetune show {tuned.best.number}{where}", f"open {place}/report.html")


# --- after the search -------------------------------------------------------------------------------------


@main.command()
@db_option
@run_option
@click.option("--all", "everything", is_flag=True, help="List the runs only.")
@click.option("--state", type=click.Choice(["complete", "pruned", "failed"]), help="Only trials that ended so.")
@click.option("--min-score", type=float, help="Only trials of at least this score, in 0 to 1.")
@click.option("--sort", type=click.Choice(["number", "score", "cost"]), default="number", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="At most so many trials.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.")
def history(db: str, run: int | None, everything: bool, as_json: bool, as_csv: bool, **filters: Any) -> None:  # noqa: ANN401
    """List the runs, and the trials of one: parameters, score with n and interval, cost, state, why it ended."""
    from optimizer.archive import History
    from optimizer.report import run_record, runs_grid, trial_record, trials_grid, verdict_record

    records = History(db)
    runs = records.runs()
    if not runs or everything:
        draw = out_csv if as_csv else out_grid
        out_json([run_record(r) for r in runs]) if as_json else draw(runs_grid(runs))
        return
    chosen = records.run(run)
    costs = records.costs(chosen.id)
    trials = _filtered(records.trials(chosen.id), costs, **filters)
    if as_json:
        verdict = verdict_record(records.verdict(chosen.id))
        listed = [trial_record(trial, costs.get(trial.number, (0, 0.0))) for trial in trials]
        out_json({"runs": [run_record(r) for r in runs], "run": chosen.id, "trials": listed, "verdict": verdict})
        return
    if as_csv:
        out_csv(trials_grid(chosen, trials, costs))
        return
    if run is None:
        out_grid(runs_grid(runs))
        out()
    out_grid(trials_grid(chosen, trials, costs))
    found = records.verdict(chosen.id)
    if found:
        out(f"\nVerdict: {found.sentence}")
    best = chosen.winner if chosen.winner is not None else 0
    next_step(f"phrasetune show {best} --run {chosen.id}" + ("" if db == "results.db" else f" --db {db}"))


def _filtered(
    trials: Sequence[Trial],
    costs: Any,  # noqa: ANN401
    *,
    state: str | None,
    min_score: float | None,
    sort: str,
    limit: int | None,
) -> list[Trial]:
    kept = [
        trial
        for trial in trials
        if (state is None or trial.state == state)
        and (min_score is None or (trial.score is not None and trial.score >= min_score))
    ]
    if sort == "score":
        kept.sort(key=lambda trial: -(trial.score or 0.0))
    if sort == "cost":
        kept.sort(key=lambda trial: -costs.get(trial.number, (0, 0.0))[1])
    return kept[:limit]


@main.command()
@click.argument("trial", type=int, required=False)
@run_option
@db_option
@click.option("--rows", default=5, show_default=True, type=click.IntRange(0), help="Fixed and broken rows to list.")
@json_option
def show(trial: int | None, run: int | None, db: str, rows: int, as_json: bool) -> None:
    """Show TRIAL (the winner by default): its prompt, how it differs from the seed prompt, rows fixed and broken."""
    from dataclasses import asdict

    from optimizer.archive import History
    from optimizer.report import changes_grid, params_text, percent, prompt_diff, spread, trial_record

    shown = History(db).show(trial, run)
    t = shown.trial
    if as_json:
        changed = {"fixed": [asdict(c) for c in shown.fixed], "broken": [asdict(c) for c in shown.broken]}
        out_json({"run": shown.run.id, **trial_record(t), "prompt": shown.prompt, **changed})
        return
    score = f"{shown.run.metric} {percent(t.score)} ({spread(t.interval)}) on {t.n} dev rows"
    out(f"run {shown.run.id}, trial {t.number}: {score}")
    out(f"{t.state.value}: {t.reason}")
    out(f"{params_text(t.params)}\n")
    out(shown.prompt)
    if t.number:
        out("\nDifference to the seed prompt:\n")
        out(prompt_diff(shown.seed_prompt, shown.prompt) or "(none in the text)")
        out()
        out_grid(changes_grid("Rows fixed", shown.fixed, rows))
        out()
        out_grid(changes_grid("Rows broken", shown.broken, rows))
    where = "" if db == "results.db" else f" --db {db}"
    next_step(f"phrasetune export --format python --trial {t.number} --run {shown.run.id}{where}")


@main.command()
@click.option("--format", "format_name", help="The format; see --list.")
@click.option("--list", "listing", is_flag=True, help="List the formats.")
@click.option("--trial", type=int, help="Number of the trial; the winner by default.")
@run_option
@db_option
@click.option("--folder", type=click.Path(), default=".", show_default=True, help="Where to write.")
@click.option("-o", "--output", default="", help="Name of the file; it cannot leave the folder.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def export(format_name: str | None, listing: bool, trial: int | None, run: int | None, **where: Any) -> None:  # noqa: ANN401
    """Write the winner, or TRIAL, for other tools; each file is loaded back and compared byte for byte.

    The format `skops` writes the trained baseline instead.
    """
    from optimizer.archive import History
    from optimizer.archive import export as write_export
    from optimizer.exports import FORMATS, Target, write_bytes

    about = {name: entry.about for name, entry in FORMATS.items()}
    about["skops"] = "the trained baseline of the run, as a skops file"
    if listing or format_name is None:
        for name, text in about.items():
            out(f"{name:10} {text}")
        next_step("phrasetune export --format python")
        if listing:
            return
        raise ExportError(f"no format was named; allowed: {', '.join(about)}. Name one with --format.")
    folder, name, force, db = Path(where["folder"]), where["output"], where["force"], where["db"]
    if format_name == "skops":
        model = History(db).trained_model(run)
        path = write_bytes(model, Target(folder, name or "baseline.skops", force))
        out(f"{path}: written")
    else:
        _say_written(write_export(format_name, trial=trial, run=run, db=db, folder=folder, name=name, force=force))
    next_step("phrasetune predict NEW_ROWS.csv")


def _say_written(written: Any) -> None:  # noqa: ANN401
    for path in written.files:
        out(f"{path}: written; loaded back: {written.fidelity}{'; ' + written.note if written.note else ''}")


@main.command()
@click.argument("file", type=click.Path())
@run_option
@db_option
@click.option("-o", "--output", type=click.Path(), help="CSV file to write; stdout by default.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def predict(file: str, run: int | None, db: str, output: str | None, force: bool) -> None:
    """Apply the winner to the rows in FILE; a CSV of ids and answers, and the score where the rows have a target."""
    import csv
    import io

    from optimizer.archive import History
    from optimizer.journey import Watch, predict_file

    if output and Path(output).exists() and not force:
        raise InputError(f"{output} exists already; it was left as it is. Use --force, or another name.")
    stop = threading.Event()
    with _gently(stop, lambda text: click.echo(text, err=True)):
        done = predict_file(Path(file), History(db).run(run), db=db, watch=Watch(stop=stop))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *done.inputs, done.target])
    for example, answer in zip(done.rows, done.answers, strict=True):
        writer.writerow([example.id, *dict(example.inputs).values(), answer or ""])
    if output:
        Path(output).write_text(text.getvalue(), encoding="utf-8")
    else:
        click.echo(text.getvalue(), nl=False)
    missing = sum(answer is None for answer in done.answers)
    click.echo(
        f"{len(done.rows)} rows, {missing} without a readable answer; {done.bought} bought, {done.reused} reused",
        err=True,
    )
    if done.score is not None:
        low, high = done.interval
        click.echo(
            f"{done.metric}: {100 * done.score:.1f} % (95 % interval {100 * low:.1f}–{100 * high:.1f})", err=True
        )


@main.command()
@run_option
@db_option
@click.option("-o", "--output", type=click.Path(), default="report.html", show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def report(run: int | None, db: str, output: str, force: bool) -> None:
    """Write a run as one HTML page that loads nothing from elsewhere."""
    _write_report(db, run, Path(output), force=force)
    next_step(f"open {output}")


def _write_report(db: str, run: int | None, path: Path, *, force: bool) -> None:
    from optimizer.archive import History
    from optimizer.exports import Target, write_bytes
    from optimizer.report import page

    written = write_bytes(page(History(db).story(run)).encode(), Target(path.parent, path.name, force))
    out(f"{written}: written")


if __name__ == "__main__":
    main()
