"""The part of `phrasetune tune` that tunes a program of DSPy. It parses, calls one function, draws."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.errors import InputError
from optimizer.terminal import next_step, out, out_grid, out_json, stoppable

if TYPE_CHECKING:
    from optimizer.program_tuning import TunedProgram
    from optimizer.task import Task


def tune_program(
    task: Task, name: str | None, db: str, *, allow_code: bool, quiet: bool, save: str | None
) -> TunedProgram:
    """Tune a program on a task, and save its state if that is wanted."""
    if name is None:
        raise InputError("--save: no program is tuned. Name one with --program, or leave it out.")
    if not allow_code:
        raise InputError(
            f"program {name!r} is code of your own, and is run only if that is allowed. Read it, then give "
            "--allow-code."
        )
    if save and (Path(save).exists() or Path(save).suffix != ".json"):
        raise InputError(f"--save {save}: must be a new file that ends in .json. Name another.")
    from optimizer.journey import Watch
    from optimizer.live import LiveView
    from optimizer.program_tuning import tune_program as run_tune

    stop = threading.Event()
    with LiveView(quiet=quiet) as view, stoppable(stop, view.say):
        tuned = run_tune(task, name, db=db, watch=Watch(view, stop))
    if save:
        tuned.program.save(save)
    return tuned


def tell_program(tuned: TunedProgram, save: str | None, *, as_json: bool) -> None:
    """Tell what came of it."""
    if as_json:
        _json(tuned)
        return
    _text(tuned)
    if save:
        next_step(f"in Python: from optimizer import adapt; adapt(your_program).load({save!r})")


def _json(tuned: TunedProgram) -> None:
    from optimizer.plain import trial_record, verdict_record

    best = trial_record(tuned.found.best)
    out_json({"run": tuned.run, "best": best, "calls": tuned.calls, "verdict": verdict_record(tuned.verdict)})


def _text(tuned: TunedProgram) -> None:
    from optimizer.report import comparisons_grid, params_text, percent, spread, verdict_grid

    best, seed = tuned.found.best, tuned.found.trials[0]
    out(f"run {tuned.run}: {len(tuned.found.trials)} programs tried with {tuned.calls:,} calls; {tuned.found.reason}")
    out(
        f"best on dev: trial {best.number}, {percent(best.score)} ({spread(best.interval)}), as it was given "
        f"{percent(seed.score)}; {params_text(best.params)}\n"
    )
    out_grid(verdict_grid(tuned.verdict))
    out()
    out_grid(comparisons_grid(tuned.verdict))
    out(f"\nVerdict: {tuned.verdict.sentence}")
