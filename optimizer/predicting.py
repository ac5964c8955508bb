"""The winner of a run, or another of its trials, on new rows, through the same ledger.

Rows need no wanted answer; those that have one are scored by the same code as in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimizer import label_sets
from optimizer.budget import Budget, Caps
from optimizer.errors import BudgetSpent, InputError, Interrupted
from optimizer.evaluate import Answered, Evaluator
from optimizer.handover import renderer_for
from optimizer.journey import Watch
from optimizer.ledger import Ledger
from optimizer.models import Model, destination
from optimizer.overlap import same_inputs
from optimizer.own_metric import is_own
from optimizer.preparing import caps as task_caps
from optimizer.preparing import context, pace, task_model
from optimizer.records import Run, Trial
from optimizer.scoring import METRICS, Metric, interval, summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, new_rows, objective, several_of, strange
from search_spaces.prompt import Example


@dataclass(frozen=True, slots=True)
class Predicted:
    """What `predict_file` returns: rows and answers, and the score over the rows that have a wanted answer.

    Where an answer may name several labels, it is given as those that were read, as the rows of a run have them.
    `seen` counts scored rows that stood in the run's own data: on those the score is not one of new rows. `unscored`
    says why rows with a wanted answer have no score, where the metric is neither ours nor free. `usd` is what the
    completions cost, None where no price is known. `ended` is what ended it before all rows were asked: of the rows
    without an answer `unasked` were not asked, or hold no text.
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
    usd: float | None
    ended: BudgetSpent | Interrupted | None = None
    unscored: str = ""
    unasked: int = 0


def predict_file(
    path: Path,
    run: Run,
    *,
    trial: int | None = None,
    caps: Caps | None = None,
    db: str | Path = "results.db",
    watch: Watch | None = None,
) -> Predicted:
    """Apply a prompt of a run to the rows of a file, through the same ledger.

    The winner's, unless another `trial` is named; `caps` take the place of the task's. The watch is told where calls
    go and how many there are. An answer is None where none could be had. Where a cap or the watch ends it, what there
    is by then is returned, and the same call goes on from there.

    Raises
    ------
    InputError
        If the run has no winner or no such trial, or the rows lack an input of its prompt.
    """
    if run.winner is None and trial is None:
        raise InputError(f"run {run.id} has no winner ({run.status}). Finish it with `phrasetune tune`.")
    task, watch = Task.model_validate(run.task), watch or Watch()
    model = _opened(run, task)
    rows = new_rows(path, task)
    written = [row for row in rows if row.text.strip()]
    if place := destination(model):
        watch.event(place)
    with Store(db, create=True, paid=model.price != (0.0, 0.0)) as store:
        chosen = store.trial(run, trial)
        budget, how = Budget(caps or task_caps(task)), pace(model, task.model)
        ledger = Ledger(model, store, run.id, budget, how, watch.stop, watch.notice, context(task.model))
        known = [row for name in ("train", "dev", "test") for row in store.examples(run.data, name)]
        unscored, labels, several = why_unscored(run.metric), labels_of(task, known), several_of(task, known)
        metric = METRICS["exact_match"] if unscored else objective(task, labels)
        odd = set() if unscored else _strange(path, rows, task, metric, labels, watch)
        evaluate = Evaluator(ledger, renderer_for(chosen, run.task), metric)
        asked = replace(chosen, outcomes=store.outcomes(run.id, chosen.number))
        with closing(ledger):
            found, ended = _answers(evaluate, asked, written, watch)
    answered = {row.id: answer for row, answer in zip(written, found, strict=True)}
    pairs = [(row, answered[row.id]) for row in written if row.targets and not unscored and row.id not in odd]
    outcomes = evaluate.outcomes([row for row, _ in pairs], [answer for _, answer in pairs])
    examples, seen = {row.id: row for row in rows}, {same_inputs(row) for row in known}
    unasked = len(rows) - (sum(not completion.error for _, completion, _ in found) if ended else len(written))
    return Predicted(
        rows,
        tuple(_written(several, answered[row.id][2]) if row.id in answered else None for row in rows),
        chosen.prompt.inputs,
        chosen.prompt.output,
        run.metric,
        summarise(metric, outcomes, examples),
        interval(metric, outcomes, examples, np.random.default_rng(0)),
        sum(same_inputs(row) in seen for row, _ in pairs),
        ledger.bought,
        ledger.reused,
        budget.spent.usd if model.price else None,
        ended,
        unscored if any(row.targets for row in rows) else "",
        unasked,
    )


def _strange(
    path: Path, rows: Sequence[Example], task: Task, metric: Metric, labels: Sequence[str], watch: Watch
) -> set[str]:
    """Say which rows have an answer that the task does not know, before anything is bought."""
    found, said = strange(rows, task, metric, labels)
    if said:
        watch.notice(f"{path}: {said}")
    return found


def _written(several: tuple[str, ...], answer: str | None) -> str | None:
    """Write an answer as it was scored: of one that may name several labels, those that were read."""
    return label_sets.reduced(answer, several) if several else answer


def _opened(run: Run, task: Task) -> Model:
    """Open the model that a run was tuned on."""
    model = task_model(task.model)
    if model.name != run.model:
        raise InputError(f"run {run.id} was tuned on {run.model!r}, not {model.name!r}. Name that model.")
    return model


def _answers(
    evaluate: Evaluator, asked: Trial, rows: Sequence[Example], watch: Watch
) -> tuple[list[Answered], BudgetSpent | Interrupted | None]:
    """Ask all rows, after saying what that takes; if it ends early, look up what was bought by then, and say why."""
    prompt = evaluate.settle(asked)
    takes = evaluate.reckon([(prompt, row) for row in rows], asked.outcomes)
    short = evaluate.ledger.budget.lacking(takes)
    watch.notice(
        f"trial {asked.number} of run {evaluate.ledger.run} on {len(rows):,} rows: {short or f'it takes {takes.said}'}"
    )
    try:
        return evaluate.answer(prompt, rows), None
    except (BudgetSpent, Interrupted) as ended:
        return evaluate.recalled(prompt, rows), ended


def why_unscored(metric: str) -> str:
    """Say why new rows are not scored: nothing is spent on a judge here, and no code of the user's is run."""
    if is_own(metric):
        return f"not scored: {metric} is code of your own, which only tune runs."
    return "not scored: only tune asks a judge." if METRICS[metric].judged else ""
