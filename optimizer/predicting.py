"""Answering new rows with the winner of a run, or another of its trials, through the same ledger.

Rows need no target; those that have one are scored by the same code as in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimizer.budget import Budget
from optimizer.calling import capped, may_cost, open_ledger
from optimizer.errors import BudgetSpent, InputError, Interrupted
from optimizer.evaluate import Answered, Evaluator, failed
from optimizer.events import Event
from optimizer.handover import renderer_for, require_prompt
from optimizer.ledger import NOT_BOUGHT
from optimizer.models import Model, destination
from optimizer.phrases import counted
from optimizer.preparing import caps as task_caps
from optimizer.preparing import run_model
from optimizer.records import Run, Trial
from optimizer.report import percent
from optimizer.rows.handed import NAME
from optimizer.rows.overlap import same_inputs
from optimizer.rows.tables import Table
from optimizer.scores import label_sets
from optimizer.scores.own_metric import is_handed, is_own
from optimizer.scoring import METRICS, Metric, interval, summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, new_rows, objective, several_of, strange
from optimizer.watch import Watch
from search_spaces.prompt import Example


@dataclass(frozen=True, slots=True)
class Predicted:
    """What `predict` returns: an answer for each row, in order, and the score on the rows with a target.

    An answer is None if there is none; one that may name several labels has those that were read, written as in the
    rows of the run. `table` has all columns of the given rows as text, and the answers in a last column,
    `<target>_predicted`, empty if there is none. `seen` counts the scored rows that are in the run's own data, for
    which the score does not show how well new rows are answered. `unscored` says why rows with a target have no score:
    the metric is a judge or the user's own code. `usd` is what the completions cost, None if no price is known. `ended`
    is what ended the calls before all rows were answered; `unasked` counts the rows that were then not asked or failed,
    and those without a text. `failures` has the reason for each row that was asked but got no answer.
    """

    rows: tuple[Example, ...]
    answers: tuple[str | None, ...]
    table: Table
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
    failures: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a summary without the rows, which would fill the screen."""
        found = sum(answer is not None for answer in self.answers)
        score = f", {self.metric} {percent(self.score)}" if self.score is not None else ""
        ended = f"; {self.ended}" if self.ended else ""
        answers = f"{counted(found, 'answer')} to {counted(len(self.rows), 'row')}"
        return f"<Predicted: {answers}{score}; {self.bought:,} bought{ended}>"


def predict(  # noqa: PLR0913 - each names one thing
    rows: object,
    run: Run | int | None = None,
    *,
    trial: int | None = None,
    db: str | Path = "results.db",
    model: Model | str | None = None,
    max_calls: int | None = None,
    max_usd: float | None = None,
    watch: Watch | Callable[[Event], None] | None = None,
) -> Predicted:
    """Answer rows with the winner of a run, or another of its prompts; no answer is bought twice.

    If a cap or the watch ends it, the answers so far are returned, and the same call continues from there. Rows need no
    target. A judge or your own metric does not score them.

    Parameters
    ----------
    rows
        The path of a file, or rows as `make_task` takes them: a list of dicts, a data frame, a data set, DSPy examples.
        Their columns include the inputs of the prompt.
    run, trial
        Which prompt; by default the winner of the latest run that has one. `tuned.run` is a run, too.
    db
        The results database.
    model
        A model object to use instead of opening the run's model; it must have the same name.
    max_calls, max_usd
        Caps on calls bought and US dollars, instead of the task's; 0 means no cap.
    watch
        Follows the calls, and can stop them.

    Raises
    ------
    InputError
        If the run has no winner or no such trial, if it used another model, or if the rows lack an input of its prompt.
    ProviderError
        If the provider refuses every call.
    """
    watch = Watch.of(watch)
    with Store(db) as store:
        chosen = run if isinstance(run, Run) else store.run(run, won=trial is None)
    if chosen.winner is None and trial is None:
        raise InputError(f"run {chosen.id} has no winner ({chosen.status}). Finish it with `phrasetune tune`.")
    task = Task.model_validate(chosen.task)
    opened = run_model(chosen, task, model)
    table, examples = new_rows(rows, task)
    if place := destination(opened):
        watch.event(place)
    with Store(db, create=True, paid=may_cost(opened)) as store:
        asked = require_prompt(chosen, store.trial(chosen, trial))
        asked = replace(asked, outcomes=store.outcomes(chosen.id, asked.number))
        known = [row for name in ("train", "dev", "test") for row in store.examples(chosen.data, name)]
        judging = _judging(chosen, task, known, examples)
        if judging.said:
            watch.notice(f"{rows if isinstance(rows, str | Path) else NAME}: {judging.said}")
        budget = Budget(capped(task_caps(task), max_calls, max_usd))
        ledger = open_ledger(opened, task.model, store, chosen.id, budget, watch)
        with closing(ledger):
            evaluate = Evaluator(ledger, renderer_for(asked, chosen.task), judging.metric)
            return _predicted(evaluate, asked, table, examples, judging, watch)


@dataclass(frozen=True, slots=True)
class _Judging:
    """How new rows are scored: `odd` are the ids of rows that cannot be scored, and `said` is a note on them.

    `unscored` says why no row is scored, if so; `several` are the labels, if an answer may name more than one; `own`
    are the run's own rows by id.
    """

    name: str
    metric: Metric
    several: tuple[str, ...]
    odd: Collection[str]
    said: str
    unscored: str
    own: Mapping[str, Example]


def _judging(run: Run, task: Task, known: Sequence[Example], rows: Sequence[Example]) -> _Judging:
    unscored, labels, several = why_unscored(run.metric), labels_of(task, known), several_of(task, known)
    metric = METRICS["exact_match"] if unscored else objective(task, labels)
    odd, said = (set[str](), "") if unscored else strange(rows, task, metric, labels)
    return _Judging(run.metric, metric, several, odd, said, unscored, {row.id: row for row in known})


def _predicted(
    evaluate: Evaluator, asked: Trial, table: Table, rows: tuple[Example, ...], judging: _Judging, watch: Watch
) -> Predicted:
    """Answer the rows that have a text, and score those whose target suits the task."""
    written = [row for row in rows if row.text.strip()]
    found, ended = _answers(evaluate, asked, judging.own, written, watch)
    answered = {row.id: answer for row, answer in zip(written, found, strict=True)}
    scored = [row for row in written if row.targets and not judging.unscored and row.id not in judging.odd]
    outcomes = evaluate.outcomes(scored, [answered[row.id] for row in scored])
    examples, metric, ledger = {row.id: row for row in rows}, judging.metric, evaluate.ledger
    own = {same_inputs(row) for row in judging.own.values()}
    several, given = judging.several, (answered[row.id][2] if row.id in answered else None for row in rows)
    answers = tuple(label_sets.reduced(answer, several) if several else answer for answer in given)
    return Predicted(
        rows,
        answers,
        table.with_column(f"{asked.prompt.output}_predicted", [answer or "" for answer in answers]),
        asked.prompt.inputs,
        asked.prompt.output,
        judging.name,
        summarise(metric, outcomes, examples),
        interval(metric, outcomes, examples, np.random.default_rng(0)),
        sum(same_inputs(row) in own for row in scored),
        ledger.bought,
        ledger.reused,
        ledger.budget.spent.usd if ledger.model.price else None,
        ended,
        judging.unscored if any(row.targets for row in rows) else "",
        len(rows) - (sum(not completion.error for _, completion, _ in found) if ended else len(written)),
        tuple(why[2] for _, done, _ in found if done.error != NOT_BOUGHT and (why := failed(done))),
    )


def _answers(
    evaluate: Evaluator, asked: Trial, known: Mapping[str, Example], rows: Sequence[Example], watch: Watch
) -> tuple[list[Answered], BudgetSpent | Interrupted | None]:
    """Answer all rows, after a notice on what it takes; if it ends early, return the cached answers and the reason."""
    prompt = evaluate.settle(asked)
    like = [((prompt, known[o.example_id]), o) for o in asked.outcomes if o.completion_key]
    takes = evaluate.foresee([(prompt, row) for row in rows], like)
    short = evaluate.ledger.budget.lacking(takes)
    where = f"trial {asked.number} of run {evaluate.ledger.run} on {counted(len(rows), 'row')}"
    watch.notice(f"{where}: {short or f'it takes {takes.said}'}")
    try:
        return evaluate.answer(prompt, rows), None
    except (BudgetSpent, Interrupted) as ended:
        return evaluate.recalled(prompt, rows), ended


def why_unscored(metric: str) -> str:
    """Return why new rows are not scored (no judge is paid here, and no user's code is run); empty if they are."""
    if is_own(metric):
        what = "a function that a program handed over" if is_handed(metric) else "code of your own"
        return f"not scored: {metric} is {what}, which only tune runs."
    return "not scored: only tune asks a judge." if METRICS[metric].judged else ""
