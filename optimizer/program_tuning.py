"""A program of the user's own, tuned on the rows of a task and judged on its sealed ones.

The program is code, so it is run only where that was allowed. Joins what `preparing` reads with what `teleprompter`
searches; a door of DSPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from optimizer import own_metric, search, verdict
from optimizer.contenders import BEST, SEED
from optimizer.errors import TaskError
from optimizer.journey import Watch
from optimizer.models import Model
from optimizer.preparing import Plan, prepare, task_model
from optimizer.records import Outcome, Run, Stage, Verdict
from optimizer.scoring import Metric, score
from optimizer.store import Store
from optimizer.task import Task
from optimizer.teleprompter import PromptSearch
from search_spaces.prompt import Example, digest


@dataclass(frozen=True, slots=True)
class TunedProgram:
    """What `tune_program` returns: its run in results.db, the program, how it was found, and its verdict."""

    run: int
    program: Any
    found: search.Found
    calls: int
    verdict: Verdict


def tune_program(
    task: Task, name: str, *, db: str | Path, model: Model | None = None, watch: Watch | None = None
) -> TunedProgram:
    """Tune a program of DSPy on a task.

    Its inputs are the task's input columns, and of its prediction the field that is named as the target is scored by
    the task's metric. The search may make as many calls as `search.calls` says, or as `max_calls` leaves when those for
    the test rows are kept back.

    Parameters
    ----------
    task
        Whose rows, metric and model they are.
    name
        module:name beside the task file: a module of DSPy, or what makes one when it is called.
    db
        The results.db that keeps the completions.
    model, watch
        Overrides the model that the task names, and follows the search.

    Raises
    ------
    TaskError
        If the program cannot be loaded, or the task has caps that are not kept here.
    """
    watch = watch or Watch()
    watch.event(Stage("reading", "the task and its rows"))
    plan = prepare(task, allow_code=True)
    student = _load(name, task.folder)
    model = model or task_model(task.model)
    target, data = task.data.target, plan.data
    train, dev, test = (_examples(rows, target) for rows in (data.train, data.dev, data.test))
    pairs = zip([*train, *dev, *test], [*data.train, *data.dev, *data.test], strict=True)
    search_of = PromptSearch(
        _scorer(plan.metric, target, {id(example): row for example, row in pairs}),
        model=model,
        budget=_budget(plan, len(student.predictors())),
        workers=task.model.workers,
        db=db,
        seed=task.search.seed,
        watch=watch,
    )
    best = search_of.compile(student, trainset=train, valset=dev)
    found = search_of.found
    with Store(db, create=True) as store:
        run = _write_down(store, plan, model.name, found)
        store.update_run(run, bought=search_of.bought)
        watch.event(Stage("verdict", f"opening the {len(test)} sealed test rows"))
        opened = store.open_test(plan.data_digest, run)
    judged = {SEED: (student, 0)} | ({BEST: (best, found.best.number)} if found.best.number else {})
    priced = model.price is not None
    entries = [
        verdict.Entry(
            who, _named(search_of.evaluate(one, test), data.test), len(train), f"trial {number}", priced=priced
        )
        for who, (one, number) in judged.items()
    ]
    ruling = verdict.decide(entries, data.test, plan.metric, opened=opened, seed=task.search.seed)
    with Store(db, create=True) as store:
        store.save_verdict(run, ruling)
    return TunedProgram(run, best, found, search_of.calls, ruling)


def _write_down(store: Store, plan: Plan, model: str, found: search.Found) -> int:
    """Write the search down as a run of the task, and return its number."""
    task, data = plan.task, plan.data
    store.add_examples(plan.data_digest, data)
    content = task.model_dump(mode="json")
    new = Run(0, task.task.name, content, model, task.metric, plan.data_digest, "running", "")
    with store.together():
        run = store.start_run(new, digest(["program", content, [trial.prompt.digest for trial in found.trials]]))
        for trial in found.trials:
            rows = [data.dev[int(outcome.example_id[1:]) - 1] for outcome in trial.outcomes]
            store.save_trial(run, replace(trial, outcomes=_named(trial.outcomes, rows)), trial.prompt.instruction)
        store.update_run(run, status="finished", winner=found.best.number, reason=found.reason)
    return run


def _load(name: str, folder: Path) -> Any:  # noqa: ANN401 - DSPy has no types
    if not own_metric.is_own(name):
        raise TaskError(f"program {name!r}: must be module:name, such as programs:Sort. Name a module beside the task.")
    found, _ = own_metric.find(name, folder, "program", "module of DSPy")
    try:
        program = found if isinstance(found, dspy.Module) else found()
    except Exception as error:
        raise TaskError(f"program {name!r}: failed ({type(error).__name__}: {error}). Mend it.") from error
    if not isinstance(program, dspy.Module):
        raise TaskError(f"program {name!r}: is {type(program).__name__}; allowed: a dspy.Module, or what makes one.")
    return program


def _budget(plan: Plan, predictors: int) -> int:
    """How many calls the search may make; refuses what is not kept or not known here."""
    if plan.metric.judged or not plan.metric.mean:
        raise TaskError(
            f"metric {plan.metric.name!r} is one of a whole set or a judge's; a program's rows are scored one by one. "
            "Name another, such as accuracy, exact_match or a function of your own."
        )
    options = plan.task.search
    if options.max_usd or options.max_tokens or options.max_minutes:
        raise TaskError("of the caps only max_calls is kept for a program. Leave the others out of [search].")
    kept = 2 * len(plan.data.test) * predictors
    if options.max_calls and options.max_calls <= kept:
        raise TaskError(f"max_calls = {options.max_calls}: the test rows alone take {kept} calls. Allow more.")
    return min(options.calls, options.max_calls - kept) if options.max_calls else options.calls


def _scorer(metric: Metric, target: str, rows: Mapping[int, Example]) -> Any:  # noqa: ANN401
    """Make a metric of a program of the task's; `rows` are those behind examples, by their identity."""

    def scored(example: Any, prediction: Any) -> Any:  # noqa: ANN401
        if target not in prediction:
            raise TaskError(f"the program's prediction has no field {target!r}; it has {', '.join(prediction.keys())}")
        row = rows[id(example)]
        value = score(metric, str(prediction[target]), row)[1]
        return dspy.Prediction(score=value, feedback="" if value == 1 else f"wanted: {row.target}")

    return scored


def _examples(rows: Sequence[Example], target: str) -> list[Any]:
    names = [name for name, _ in rows[0].inputs]
    return [dspy.Example({**dict(row.inputs), target: row.target}).with_inputs(*names) for row in rows]


def _named(outcomes: Sequence[Outcome], rows: Sequence[Example]) -> tuple[Outcome, ...]:
    return tuple(replace(outcome, example_id=row.id) for outcome, row in zip(outcomes, rows, strict=True))
