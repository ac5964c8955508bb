"""The user's program and a task's rows for it: loads the program, converts and scores the rows. A door of DSPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
from dspy.adapters.utils import serialize_for_json

from optimizer.errors import SpaceError, TaskError, one_of
from optimizer.events import Event
from optimizer.preparing import Plan, constraints, prepare
from optimizer.programs.rows import Rows
from optimizer.programs.runs import Judged, Runner
from optimizer.programs.search import ProgramSearch
from optimizer.scores import own_metric
from optimizer.scoring import feedback, score
from optimizer.task import Task
from search_spaces.opening import DimensionError, tables_of
from search_spaces.program import ProgramSpace


def prepare_program(task: Task) -> Plan:
    """Prepare a task for a program, to whose space [space] and [seed] then belong.

    Raises
    ------
    InputError
        If the task file or the data file cannot be used, or has settings that apply to prompts only.
    """
    plan = prepare(task.model_copy(update={"space": {}, "seed": {}}), allow_code=True)
    require_fit(plan)
    return replace(plan, task=task)


def program_search(
    plan: Plan,
    student: Any,  # noqa: ANN401 - DSPy has no types
    rows: Rows,
    runner: Runner,
    budget: int = 0,
    event: Callable[[Event], None] = lambda _: None,
) -> ProgramSearch:
    """Make the search for a program, in the space that the task names.

    Raises
    ------
    InputError
        If the program cannot be tuned, or the task names a dimension or value that it does not have.
    """
    task = plan.task
    asked = ProgramSearch(student, rows, runner, budget, task.search.seed, proposed=bool(task.proposing), event=event)
    try:
        asked.change(task.space, task.seed)
    except DimensionError as error:
        raise SpaceError(f"{task.file}: {error}" if task.file else str(error)) from None
    return asked


def space_of(plan: Plan, student: Any) -> tuple[ProgramSpace, str]:  # noqa: ANN401
    """Return the space of a program, as far as it is known before any call, and a note on settings without effect.

    Raises
    ------
    InputError
        As `program_search`.
    """
    rows, task = rows_of_task(plan), plan.task
    asked = program_search(plan, student, rows, Runner(Judged(scorer(plan, rows)), None, 1, 0))
    space = asked.possible()
    names = [dimension.name for dimension in space.dimensions]
    of_prompts = {**tables_of("every_kind"), **tables_of(task.task.kind)}
    for name in asked.others:
        if name not in of_prompts:
            raise SpaceError(f"{task.file or 'task'}: {one_of('dimension', name, names)}")
    passed = [*dict.fromkeys(asked.others), *(["templates"] if task.templates else [])]
    listed = "`phrasetune space TASK --program` lists its own"
    return space, f"{', '.join(passed)}: for prompts, without effect on a program; {listed}" if passed else ""


def require_fit(plan: Plan) -> None:
    """Refuse settings that apply to prompts only."""
    if plan.metric.judged or not plan.metric.mean:
        raise TaskError(
            f"metric {plan.metric.name!r} is one of a whole set or a judge's; a program's rows are scored one by one. "
            "Name another, such as accuracy, exact_match or a function of your own."
        )
    if constraints(plan.task) or plan.task.search.pareto:
        raise TaskError(
            "[search] pareto and [search.constraints] hold for prompts; what the steps of a program take is not told "
            "apart. Leave them out."
        )


def held_calls(plan: Plan, program: Any) -> int:  # noqa: ANN401 - DSPy has no types
    """Return the calls set aside for the verdict: two programs on the test rows, one call per predictor.

    Raises
    ------
    TaskError
        If the cap on calls leaves none for the search.
    """
    most, held = plan.task.search.max_calls, 2 * len(plan.data.test) * len(program.predictors())
    if most and most <= held:
        raise TaskError(f"max_calls = {most}: the test rows alone take {held} calls. Allow more.")
    return held


def load_program(name: str, folder: Path) -> tuple[Any, str]:
    """Load a program; return it with a digest of its source.

    Raises
    ------
    TaskError
        If there is none of that name, or it is not a program.
    """
    if not own_metric.is_own(name):
        raise TaskError(f"program {name!r}: must be module:name, such as programs:Sort. Name a module beside the task.")
    found, source = own_metric.find(name, folder, "program", "module of DSPy")
    try:
        program = found if isinstance(found, dspy.Module) else found()
    except Exception as error:
        raise TaskError(f"program {name!r}: failed ({type(error).__name__}: {error}). Mend it.") from error
    if not isinstance(program, dspy.Module):
        raise TaskError(f"program {name!r}: is {type(program).__name__}; allowed: a dspy.Module, or what makes one.")
    return program, hashlib.sha256(source).hexdigest()[:16]


def rows_of_task(plan: Plan) -> Rows:
    """Convert the rows of a task to examples: its inputs, and the target."""
    data, target = plan.data, plan.task.data.target
    rows = (*data.train, *data.dev, *data.test)
    names = [name for name, _ in rows[0].inputs]
    known = {row.id: dspy.Example({**dict(row.inputs), target: row.target}).with_inputs(*names) for row in rows}
    return Rows(data.train, data.dev, known)


def scorer(plan: Plan, rows: Rows) -> Any:  # noqa: ANN401
    """Make a program's metric of the task's metric."""
    metric, target, data = plan.metric, plan.task.data.target, plan.data
    by_example = {id(rows.known[row.id]): row for row in (*data.train, *data.dev, *data.test)}

    def scored(example: Any, prediction: Any) -> Any:  # noqa: ANN401
        if target not in prediction:
            raise TaskError(f"the program's prediction has no field {target!r}; it has {', '.join(prediction.keys())}")
        row = by_example[id(example)]
        answer = _as_text(prediction[target])
        value = score(metric, answer, row)[1]
        said = feedback(metric, answer, row) or ("" if value == 1 else f"wanted: {row.target}")
        return dspy.Prediction(score=value, feedback=said)

    return scored


def _as_text(value: object) -> str:
    """Return a field of a prediction as a model writes it: a list, a mapping or a pydantic model as JSON."""
    plain = serialize_for_json(value)
    if not isinstance(plain, dict | list):
        return str(plain)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))  # as rows hold it
