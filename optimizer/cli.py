"""The command line: each command parses its options, calls one function and prints the result.

Heavy packages are imported only when a command needs them, so that `--help` and `history` start at once.
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.drafting import import_, init
from optimizer.commands.exports import export, say_written
from optimizer.commands.history import assert_, compare, recheck
from optimizer.commands.options import (
    changed,
    code_option,
    db_option,
    env_option,
    json_option,
    program_option,
    run_option,
    tune_options,
)
from optimizer.commands.programs import program_space, tell_program, tune_program
from optimizer.commands.results import card, predict, report, show, write_report
from optimizer.commands.service import dashboard, doctor, plan, serve_embedded
from optimizer.commands.terminal import err, next_step, out, out_grid, out_json, resumable, same_again, stoppable, where
from optimizer.commands.trials import history, schema, wordings
from optimizer.errors import InputError, Interrupted, PhrasetuneError, ProviderError, Upgraded
from optimizer.version import __version__

if TYPE_CHECKING:
    from optimizer.records import Verdict
    from optimizer.reports.grids import Grid
    from optimizer.task import Task
    from optimizer.tuned import Tuned
    from search_spaces.space import Space


SECTIONS = {
    "Begin": ("demo", "init", "import", "space", "doctor", "plan"),
    "Search": ("tune", "add-wording", "dashboard"),
    "Look at results": ("history", "show", "wordings", "compare", "report", "card", "schema"),
    "Use a prompt": ("predict", "export", "assert", "recheck", "serve-embedded"),
}


class Group(click.Group):
    """Turns expected errors into one clear line and an exit code; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run a command, with errors and upgrade warnings as single lines on stderr."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", Upgraded)
                others = warnings.showwarning
                warnings.showwarning = lambda said, kind, *where: (
                    err(f"note: {said}") if issubclass(kind, Upgraded) else others(said, kind, *where)
                )
                return super().invoke(ctx)
        except PhrasetuneError as error:
            err(f"phrasetune: {error}")
            if isinstance(error, ProviderError):
                err(f"Resume with: {same_again()}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            err("phrasetune: stopped")
            ctx.exit(Interrupted.exit_code)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands in the order of their use, each with its first sentence, wrapped instead of cut."""
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                said = {name.ljust(width): self.commands[name].get_short_help_str(sys.maxsize) for name in names}
                formatter.write_dl(list(said.items()))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names of the commands in the order of their use."""
        return [name for names in SECTIONS.values() for name in names]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="phrasetune")
def main() -> None:
    """Search prompts as hyperparameters, and learn whether to prompt or to fine-tune.

    A first run, with no key and no network:  phrasetune demo

    With your own rows:  phrasetune init rows.csv, then  phrasetune tune task.toml
    """


# --- before the search ------------------------------------------------------------------------------------


@main.command()
@click.argument("task", type=click.Path())
@click.option("--wordings", is_flag=True, help="Print the texts behind the names.")
@program_option
@code_option
@json_option
def space(task: str, wordings: bool, program: str | None, allow_code: bool, as_json: bool) -> None:
    """Print the search space and one rendered prompt.

    Of a program the space, and the instructions, layout and demos that its steps start with.
    """
    from optimizer.preparing import prepare

    if program:
        found = program_space(task, program, allow_code=allow_code)
        seed = found.build(found.seed())
        rendered: Any = json.loads(seed.instruction)
        told = f"programs at most. What the search starts from:\n\n{seed.instruction}"
    else:
        plan = prepare(task, allow_code=allow_code)
        found = plan.space
        messages = plan.renderer.messages(found.build(found.seed()), plan.data.train[0])
        rendered = [message.to_dict() for message in messages]
        texts = "\n".join(f"[{message.role}]\n{message.content}" for message in messages)
        told = f"prompts. The seed prompt, with its first training row as input:\n\n{texts}"
    if as_json:
        dimensions = {d.name: d.choices or {"low": d.low, "high": d.high} for d in found.dimensions}
        out_json({"size": found.size, "dimensions": dimensions, "seed": found.seed(), "rendered": rendered})
        return
    out_grid(_space_grid(found))
    for dimension in found.dimensions if wordings else ():
        for name, text in dimension.texts.items():
            out(f"{dimension.name} = {name}: {text or '(nothing)'}")
    out(f"\n{found.size:,.0f} {told}")
    next_step(f"phrasetune tune {task}" + (f" --program {program} --allow-code" if program else ""))


def _condition(space: Space, name: str, values: tuple[object, ...]) -> str:
    """Return a condition on a dimension's values in words: by those it has, or by those it lacks if they are fewer."""
    others = [value for value in space[name].choices if value not in values]
    if others and len(others) < len(values):
        return f"{name} is not {' or '.join(map(str, others))}"
    return f"{name} is {' or '.join(map(str, values))}"


def _space_grid(space: Space) -> Grid:
    from optimizer.reports.grids import Grid

    rows = []
    for d in space.dimensions:
        values = ", ".join(map(str, d.choices)) or f"{d.low} to {d.high}"
        only = "; ".join(_condition(space, name, values) for name, values in d.when.items())
        rows.append((d.name, values, str(d.seed), d.about, only))
    return Grid("Search space", ("dimension", "values", "seed", "what it is", "only when"), tuple(rows))


# --- the search -------------------------------------------------------------------------------------------


@main.command()
@click.argument("task", type=click.Path())
@tune_options
@program_option
@click.option("--save", type=click.Path(), help="Where to save the tuned program's state, as JSON.")
@code_option
@env_option
@db_option
@json_option
def tune(task: str, db: str, allow_code: bool, as_json: bool, quiet: bool, **changes: Any) -> None:  # noqa: ANN401
    """Search for the best prompt, and compare it with a baseline.

    Seed prompt, best prompt and trained baseline are compared on the sealed test rows of TASK.

    Ctrl-C stops after the calls in flight; the same command resumes.
    """
    from optimizer.task import load_task

    program, save = changes.pop("program"), changes.pop("save")
    if program or save:
        ours, still = changed(load_task(task), changes), quiet or as_json
        found = tune_program(ours, program, db, allow_code=allow_code, quiet=still, save=save)
        tell_program(found, save, db, as_json=as_json)
        return
    tuned = _tune(changed(load_task(task), changes), db, allow_code=allow_code, quiet=quiet or as_json)
    if as_json:
        _tuned_json(tuned, db)
        return
    _tuned_text(tuned, db)
    at, number = _at(tuned.run.id, db), tuned.best.number
    next_step(f"phrasetune show {number}{at}", f"phrasetune export --format python{at}", f"phrasetune report{at}")


def _at(run: int, db: str) -> str:
    """Return the options with which the next command uses this run; --run is needed only if it is not the latest."""
    from optimizer.archive import History

    return where(db, None if History(db).runs()[0].id == run else run)


def _tune(task: Task, db: str, *, quiet: bool, allow_code: bool = False) -> Tuned:
    """Run a search with a live view; the first Ctrl-C waits for the calls in flight, the second stops at once."""
    from optimizer.commands.live import LiveView
    from optimizer.tuning import tune as run_tune
    from optimizer.watch import Watch

    stop = threading.Event()
    with resumable(db), LiveView(quiet=quiet) as view, stoppable(stop, view.say):
        return run_tune(task, db=db, watch=Watch(view, stop), allow_code=allow_code)


def _beside(tuned: Tuned) -> list[str]:
    """Return lines on what was spent on the models other than the one that answers."""
    from optimizer.report import dollars

    judge = tuned.run.task["judge"]["model"]["name"] if tuned.judged else ""
    spent = (
        (f"the judge ({judge})", tuned.judged),
        ("for proposals", tuned.proposed),
        ("a teacher's, for worked demos", tuned.taught),
    )
    known = tuned.run.cost is not None
    told = ((who, each.calls, each.usd if known else None) for who, each in spent if each)
    return [f"of these {who}: {calls:,} bought, {dollars(usd)}" for who, calls, usd in told]


def _tuned_text(tuned: Tuned, db: str) -> None:
    from optimizer.archive import History
    from optimizer.report import dollars, on_dev, params_text, percent, run_failed
    from optimizer.reports.front_tables import constraints_grids, front_grid

    run, best = tuned.run, tuned.best
    for note in tuned.notes:
        if note not in tuned.said:
            out(f"note: {note}")
    trials = f"{len(tuned.trials)} trials" if len(tuned.trials) > 1 else "1 trial"
    out(f"run {run.id}: {run.name} on {run.model}, {trials}; {run.reason}")
    bought = f"{run.bought:,} bought, {run.reused:,} reused from the ledger{run_failed(run)}"
    out(f"completions: {bought}; spent: {dollars(run.cost)}")
    for line in _beside(tuned):
        out(line)
    out(
        f"best on dev: trial {best.number}, {run.metric} {on_dev(best)}; "
        f"seed prompt {percent(tuned.trials[0].score)}\n{params_text(best.params)}"
    )
    out()
    front = front_grid(run, tuned.trials, tuned.trials[0].params)
    out_grid(front) if front.rows else out("No front: too few calls to score a prompt on all dev rows.")
    out()
    if tuned.verdict is None:
        out("no verdict: the budget did not cover the sealed test rows")
    else:
        _verdict_text(tuned.verdict)
    for grid in constraints_grids(History(db).constraints(run=run.id)):
        out()
        out_grid(grid)


def _verdict_text(verdict: Verdict) -> None:
    from optimizer.contenders import RIVAL
    from optimizer.report import comparisons_grid, verdict_grid
    from optimizer.reports import findings_tables
    from optimizer.reports.curve_tables import grids, pays_off
    from optimizer.reports.rungs import left_out

    for grid in [*grids(verdict), *findings_tables.grids(verdict)]:
        out_grid(grid)
        out()
    for tell in (pays_off, findings_tables.surer, findings_tables.to_look_at):
        if said := tell(verdict):
            out(f"{said}\n")
    # What matters most comes last, next to the shell's prompt.
    out_grid(verdict_grid(verdict))
    for contender in verdict.contenders:
        if contender.name == RIVAL:
            out("\n".join([f"{contender.name}: {contender.detail}", *left_out(verdict.ladder)]))
    out()
    out_grid(comparisons_grid(verdict))
    if verdict.opened > 1:
        out(f"(these test rows were opened by {verdict.opened} different runs so far)")
    out()
    out(f"Verdict: {verdict.sentence}")


def _tuned_json(tuned: Tuned, db: str) -> None:
    from dataclasses import asdict

    from optimizer.archive import History
    from optimizer.reports.front_tables import constraints_record, front_record
    from optimizer.reports.plain import run_record, trial_record, verdict_record

    best, verdict = trial_record(tuned.best), verdict_record(tuned.verdict)
    worth = {
        "importances": [asdict(importance) for importance in tuned.importances],
        "ablations": [asdict(ablation) for ablation in tuned.ablations],
    }
    kept = constraints_record(History(db).constraints(run=tuned.run.id))
    found = {"best": best, "front": front_record(tuned.trials), "verdict": verdict, "constraints": kept}
    beside = {"judged": tuned.judged, "proposed": tuned.proposed, "taught": tuned.taught}
    spent = {name: asdict(each) if each else None for name, each in beside.items()}
    out_json({"run": run_record(tuned.run), **spent, **found, **worth})


@main.command("add-wording")
@click.argument("text")
@click.option("--dimension", default="instruction", show_default=True, help="Which part of the prompt it words.")
@run_option
@db_option
@json_option
def add_wording(text: str, dimension: str, run: int | None, db: str, as_json: bool) -> None:
    """Add a wording to a running search.

    TEXT is tried next, or first when the run is resumed. The run is the latest whose search is not over, unless one is
    named.
    """
    from dataclasses import asdict

    from optimizer.proposals.wordings import add_wording as add
    from optimizer.proposals.wordings import searching, when

    chosen = searching(run, db)
    added = add(text, dimension=dimension, run=chosen.id, db=db)
    if as_json:
        out_json({"run": chosen.id, **asdict(added)})
        return
    out(f"run {chosen.id}, {chosen.name} on {chosen.model}: {added.dimension} = {added.id}")
    out(when(chosen, db))
    next_step(f"phrasetune wordings{where(db, chosen.id)}")


@main.command()
@click.argument("folder", type=click.Path(), default="phrasetune-demo")
@db_option
@click.option("--quiet", is_flag=True, help="No live view.")
def demo(folder: str, db: str, quiet: bool) -> None:
    """Run the main job on bundled rows: no key, no network.

    Search, verdict, report and export, with the embedded model.
    """
    from importlib import resources

    from optimizer.prompt_export import export as write_export
    from optimizer.task import load_task

    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in ("task.toml", "support.csv", "library.csv"):
            if not (place / name).exists():
                (place / name).write_bytes(resources.files("optimizer").joinpath("demo", name).read_bytes())
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror}). Name another folder.") from None
    out(f"{place / 'task.toml'}: 679 messages to a software company's support desk, 8 labels; model: embedded")
    task = place / "task.toml"
    tuned = _tune(load_task(task), db, quiet=quiet)
    _tuned_text(tuned, db)
    out()
    written = write_export("python", run=tuned.run.id, db=db, folder=place, force=True)
    say_written(written)
    write_report(db, tuned.run.id, place / "report.html", force=True)
    at = _at(tuned.run.id, db)
    next_step(f"phrasetune history{at}", f"phrasetune show {tuned.best.number}{at}", f"open {place}/report.html")


LOOKING = (history, show, wordings, compare, assert_, recheck, export, predict, report, card, schema)
for command in (init, import_, *LOOKING, plan, doctor, dashboard, serve_embedded):
    main.add_command(command)


if __name__ == "__main__":
    main()
