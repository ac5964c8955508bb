"""The main job as a function: a task made ready with the models that were brought to it, and walked through."""

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


def tune(  # noqa: PLR0913 - the models that may be brought
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
    """Search the best prompt for a task, compare it with a trained rival, and write everything down.

    An interrupted run of the same task, data and settings is resumed; a completion that results.db holds is
    never bought again.

    Parameters
    ----------
    task
        A task, or the path of its file.
    db
        The results database; made if it is missing.
    model
        Overrides the model that the task names: an opened one, or a name, which then stands in the task; so with those
        that follow.
    judge
        Stands for the judge that the task names; its metric must be a judge's.
    proposer
        Proposes wordings, instead of the model that the task names for it. Without either the model that the task names
        for its answers does, or `model` in its place, unless that is the embedded one.
    teacher
        Reasons about training rows for worked demos, as many as the task's search wants, instead of the model that the
        task names for it.
    watch
        Follows the run, and stops it; of a function, which is told of each event, the former alone.
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
