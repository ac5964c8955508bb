"""The parts of `phrasetune tune` and `space` on a DSPy program: they parse options, call one function, print."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.commands.terminal import err, next_step, out, out_grid, out_json, resumable, same_again, stoppable, where
from optimizer.errors import InputError

if TYPE_CHECKING:
    from optimizer.programs.tuning import TunedProgram
    from optimizer.task import Task
    from search_spaces.space import Space


def program_space(task: str, name: str, *, allow_code: bool) -> Space:
    """Return the space of a program; print a note on settings of the task that have no effect on it."""
    from optimizer.programs.tasks import load_program, prepare_program, space_of
    from optimizer.scores.own_metric import require_allowed
    from optimizer.task import load_task

    require_allowed(f"program {name!r}", allowed=allow_code)
    plan = prepare_program(load_task(task))
    space, said = space_of(plan, load_program(name, plan.task.folder)[0])
    if said:
        err(f"note: {said}")
    return space


def tune_program(
    task: Task, name: str | None, db: str, *, allow_code: bool, quiet: bool, save: str | None
) -> TunedProgram:
    """Tune a program on a task, and save its state if `save` names a file."""
    if name is None:
        raise InputError("--save: no program is tuned. Name one with --program, or leave it out.")
    from optimizer.commands.live import LiveView
    from optimizer.programs.tuning import tune_program as run_tune
    from optimizer.scores.own_metric import require_allowed
    from optimizer.watch import Watch

    require_allowed(f"program {name!r}", allowed=allow_code)
    if save and (Path(save).exists() or Path(save).suffix != ".json"):
        raise InputError(f"--save {save}: must be a new file that ends in .json. Name another.")
    if save and not Path(save).parent.is_dir():
        raise InputError(f"--save {save}: no such folder. Make it, or name another.")
    stop = threading.Event()
    with resumable(db), LiveView(quiet=quiet) as view, stoppable(stop, view.say):
        tuned = run_tune(task, name, db=db, watch=Watch(view, stop))
    if save:
        tuned.program.save(save)
    return tuned


def tell_program(tuned: TunedProgram, save: str | None, db: str, *, as_json: bool) -> None:
    """Print the result."""
    if as_json:
        _json(tuned)
        return
    _text(tuned)
    at = where(db, tuned.run.id)
    saved = f"in Python: from optimizer import adapt; adapt(your_program).load({save!r})"
    again = f"{same_again()} --save program.json  # buys nothing again"
    next_step(saved if save else again, f"phrasetune show{at}", f"phrasetune report{at}")


def _json(tuned: TunedProgram) -> None:
    from dataclasses import asdict

    from optimizer.reports.plain import trial_record, verdict_record

    best = trial_record(tuned.found.best)
    told = {"notes": tuned.notes, "run": tuned.run.id, "best": best, "verdict": verdict_record(tuned.verdict)}
    beside = {role: asdict(each) for role, each in tuned.beside.items()}
    out_json(told | {"calls": tuned.calls, "bought": tuned.run.bought, "cost": tuned.run.cost, "beside": beside})


def _text(tuned: TunedProgram) -> None:
    from optimizer.report import comparisons_grid, dollars, on_dev, params_text, percent, run_failed, verdict_grid

    best, seed, run = tuned.found.best, tuned.found.trials[0], tuned.run
    for note in tuned.notes:
        out(f"note: {note}")
    out(f"run {run.id}: {run.program} on {run.model}, {len(tuned.found.trials)} programs tried; {run.reason}")
    bought = f"{run.bought:,} bought, {run.reused:,} reused from the ledger{run_failed(run)}"
    out(f"completions: {bought}; spent: {dollars(run.cost)}")
    for role, spent in tuned.beside.items():
        usd = None if run.cost is None else spent.usd
        out(f"of these of the {role}: {spent.calls:,} bought, {dollars(usd)}")
    out(
        f"best on dev: trial {best.number}, {on_dev(best)}; seed program {percent(seed.score)}\n"
        f"{params_text(best.params)}\n"
    )
    if tuned.verdict is None:
        return
    out_grid(verdict_grid(tuned.verdict))
    out()
    out_grid(comparisons_grid(tuned.verdict))
    out(f"\nVerdict: {tuned.verdict.sentence}")
