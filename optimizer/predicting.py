"""The winner of a run on new rows, through the same ledger.

Rows need no wanted answer; those that have one are scored by the same code as in the run.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimizer.budget import Budget
from optimizer.errors import InputError
from optimizer.evaluate import Evaluator
from optimizer.handover import renderer_for
from optimizer.journey import Watch
from optimizer.ledger import Ledger
from optimizer.models import Model, destination
from optimizer.own_metric import is_own
from optimizer.preparing import caps, context, pace, task_model
from optimizer.records import Run
from optimizer.scoring import METRICS, interval, summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, new_rows, objective
from search_spaces.prompt import Example


@dataclass(frozen=True, slots=True)
class Predicted:
    """What `predict_file` returns: rows and answers, and the score over the rows that have a wanted answer.

    `seen` counts scored rows that stood in the run's own data: on those the score is not one of new rows. `unscored`
    says why rows with a wanted answer have no score, where the metric is neither ours nor free.
    """

    rows: tuple[Example, ...]
    answers: tuple[str | None, ...]
    inputs: tuple[str, ...]
    target: str
    metric: str
    score: float | None
    interval: tuple[float, float]
    seen: int
    bought: int
    reused: int
    unscored: str = ""


def predict_file(
    path: Path, run: Run, *, db: str | Path = "results.db", model: Model | None = None, watch: Watch | None = None
) -> Predicted:
    """Apply the winner of a run to the rows of a file, through the same ledger.

    An answer is None where none could be had.

    Raises
    ------
    InputError
        If the run has no winner, or the rows lack an input of its prompt.
    """
    if run.winner is None:
        raise InputError(f"run {run.id} has no winner ({run.status}). Finish it with `phrasetune tune`.")
    task = Task.model_validate(run.task)
    model = model or task_model(task.model)
    if model.name != run.model:
        raise InputError(f"run {run.id} was tuned on {run.model!r}, not {model.name!r}. Name that model.")
    rows = new_rows(path, task)
    watch = watch or Watch()
    if place := destination(model):
        watch.event(place)
    with Store(db, create=True, paid=model.price != (0.0, 0.0)) as store:
        trial = store.trials(run.id, outcomes=False)[run.winner]
        ledger = Ledger(
            model, store, run.id, Budget(caps(task)), pace(model, task.model), watch.stop, context=context(task.model)
        )
        known = [row for name in ("train", "dev", "test") for row in store.examples(run.data, name)]
        unscored = why_unscored(run.metric)
        metric = METRICS["exact_match"] if unscored else objective(task, labels_of(task, known))
        evaluate = Evaluator(ledger, renderer_for(trial, run.task), metric)
        asked = replace(trial, outcomes=store.outcomes(run.id, trial.number))
        with closing(ledger):
            answered = evaluate.answer(evaluate.settle(asked), rows)
    seen = {row.text for row in known}
    pairs = [(row, answer) for row, answer in zip(rows, answered, strict=True) if row.targets and not unscored]
    outcomes = evaluate.outcomes([row for row, _ in pairs], [answer for _, answer in pairs])
    examples = {row.id: row for row in rows}
    return Predicted(
        rows,
        tuple(answer for _, _, answer in answered),
        trial.prompt.inputs,
        trial.prompt.output,
        run.metric,
        summarise(metric, outcomes, examples),
        interval(metric, outcomes, examples, np.random.default_rng(0)),
        sum(row.text in seen for row, _ in pairs),
        ledger.bought,
        ledger.reused,
        unscored if any(row.targets for row in rows) else "",
    )


def why_unscored(metric: str) -> str:
    """Say why new rows are not scored: nothing is spent on a judge here, and no code of the user's is run."""
    if is_own(metric):
        return f"not scored: {metric} is code of your own, which only tune runs."
    return "not scored: only tune asks a judge." if METRICS[metric].judged else ""
