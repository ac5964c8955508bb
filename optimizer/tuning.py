"""The main job as a function: prepares a task with the models that were passed in, and runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optimizer.events import Event, Stage
from optimizer.journey import walk
from optimizer.models import Model
from optimizer.preparing import brought, open_models, prepare
from optimizer.task import Task
from optimizer.task_sections import JUDGE, MODEL, PROPOSER, TEACHER
from optimizer.tuned import Tuned
from optimizer.watch import Watch


def tune(  # noqa: PLR0913 - the models that may be passed
    task: Task | str | Path,
    *,
    db: str | Path = "results.db",
    model: Model | str | None = None,
    judge: Model | str | None = None,
    proposer: Model | str | None = None,
    teacher: Model | str | None = None,
    watch: Watch | Callable[[Event], None] | None = None,
    allow_code: bool = False,
) -> Tuned:
    """Search the best prompt for a task, compare it with a trained baseline, and store everything in results.db.

    An interrupted run of the same task, data and settings is resumed; a completion that results.db holds is never
    bought again.

    Parameters
    ----------
    task
        A task, or the path of its file.
    db
        The results database; created if it is missing.
    model
        Replaces the model that the task names. Like the following ones it is an opened model, or a name, which is then
        written into the task.
    judge
        Replaces the judge that the task names; the task's metric must be "judge".
    proposer
        Proposes wordings, instead of the model that the task names for it. If neither is given, the model that answers
        proposes as well, unless that is the embedded one.
    teacher
        Reasons about training rows for worked demos, instead of the model that the task names for it. The task's search
        says how many rows.
    watch
        Follows the run, and stops it. A function instead of a `Watch` is called with each event, and cannot stop the
        run.
    allow_code
        Whether a metric of the user's own, which is code, may be run.

    Raises
    ------
    InputError
        If something that was given cannot be used.
    ProviderError
        If the provider refuses every call.
    BudgetSpent
        If the budget does not cover even the seed prompt.
    Interrupted
        If the watch stopped the run; the same call resumes it.
    """
    watch, given = Watch.of(watch), {MODEL: model, JUDGE: judge, PROPOSER: proposer, TEACHER: teacher}
    task, models = brought(task, given)
    watch.event(Stage("reading", "the task and its rows"))
    plan = prepare(task, allow_code=allow_code)
    return walk(plan, *open_models(plan, models), db=db, watch=watch)
