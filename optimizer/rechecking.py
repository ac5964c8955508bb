"""Buying a run's winner's answers again, on rows that it answered before, to see whether the provider's model changed.

Each recheck buys its calls anew through the ledger, with its own sample index; the rows are the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import numpy as np

from optimizer.budget import Budget, Caps
from optimizer.calling import capped, may_cost, open_ledger
from optimizer.comparing import recorded_labels, recorded_metric
from optimizer.contenders import BEST, SEED
from optimizer.database import rechecks
from optimizer.database.rechecks import Origins, Recheck
from optimizer.errors import BudgetSpent, InputError, Interrupted, ProviderError
from optimizer.evaluate import Evaluator
from optimizer.events import Event
from optimizer.evidence.repeats import Noise, noise
from optimizer.handover import renderer_for, require_prompt
from optimizer.models import Model, destination
from optimizer.preparing import run_model
from optimizer.records import Outcome, Run, Trial
from optimizer.scores.own_metric import is_own
from optimizer.scoring import METRICS, Metric, compare, summarise
from optimizer.stats import wilson
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import Reading, reading
from optimizer.watch import Watch
from search_spaces.prompt import Example

ROWS = 50  # rows by default


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What `recheck` returns: this recheck, all rechecks of the run, calls bought, and how many rows failed now.

    `noise` estimates how much a score on all rows of the split varies by chance alone; None if rows have no scores of
    their own, as with a metric of the whole set.
    """

    latest: Recheck
    all: tuple[Recheck, ...]
    bought: int
    failed: int
    temperature: float
    noise: Noise | None


def recheck(  # noqa: PLR0913 - each names one thing
    run: Run | int | None = None,
    *,
    rows: int = ROWS,
    max_calls: int | None = None,
    max_usd: float | None = None,
    db: str | Path = "results.db",
    model: Model | str | None = None,
    watch: Watch | Callable[[Event], None] | None = None,
) -> Rechecked:
    """Buy the answers of a run's winner again, and compare them with those before.

    Parameters
    ----------
    run
        A run that has a winner, or its number; by default the latest such run.
    rows
        How many rows to ask, at least 1; if it answered fewer, all of these.
    max_calls, max_usd
        Caps on calls bought and US dollars; 0 means no cap.
    db
        The results database.
    model
        A model object to use instead of opening the run's model; it must have the same name.
    watch
        Follows the calls, and can stop them.

    Raises
    ------
    InputError
        If the run has no winner, if it used another model, or if `rows` is less than 1.
    ProviderError
        If no call is answered.
    BudgetSpent, Interrupted
        If a cap is reached or the watch stops it; what was bought is kept, and within a day the same call continues.
    """
    if not (isinstance(rows, Integral) and rows >= 1):
        raise InputError(f"rows = {rows!r}: none would be asked; allowed: 1 or more, and {ROWS} if left out.")
    run, winner = _won(run, db)
    watch, task = Watch.of(watch), Task.model_validate(run.task)
    model = run_model(run, task, model)
    if place := destination(model):
        watch.event(place)
    with Store(db, create=True, paid=may_cost(model)) as store:
        trial = require_prompt(run, store.trial(run, winner))
        trial = replace(trial, outcomes=store.outcomes(run.id, trial.number))
        split, every_row = _answered(store, run, trial)
        then = random.Random("recheck").sample(every_row, len(every_row))[:rows]  # fewer rows are a subset of more
        examples = {row.id: row for row in store.examples(run.data, split)}
        number, started = rechecks.begin(store, run.id, trial.number, split, len(then))
        metric, read = _free_metric(store, run), reading(task, recorded_labels(store, run))
        budget = Budget(capped(Caps(), max_calls, max_usd))
        ledger = open_ledger(model, task.model, store, run.id, budget, watch)
        evaluate = Evaluator(ledger, renderer_for(trial, run.task), metric or METRICS["exact_match"], sample=number)
        then, now = _ask(evaluate, trial, [examples[outcome.example_id] for outcome in then], then)
        about = (number, run.id, trial.number, split, len(then), started)
        rechecks.finish(store, _compared(store, about, (then, now), examples, metric, read))
        every = {each.id: each for each in rechecks.rechecks(store, run.id)}
    failed, chance = sum(outcome.score is None for outcome in now), _noise(metric, (then, now), len(every_row))
    temperature = trial.prompt.settings.temperature
    return Rechecked(every[number], tuple(every.values()), ledger.bought, failed, temperature, chance)


def _won(run: Run | int | None, db: str | Path) -> tuple[Run, int]:
    """Return the run that is meant, and its winner's number."""
    if not isinstance(run, Run):
        with Store(db) as store:
            run = store.run(run, won=True)
    if run.winner is None:
        raise InputError(f"run {run.id} has no winner ({run.status}). Finish it with `phrasetune tune`.")
    return run, run.winner


def _noise(metric: Metric | None, sides: tuple[Sequence[Outcome], Sequence[Outcome]], rows: int) -> Noise | None:
    if not metric or not metric.mean:
        return None
    scores = np.array([[outcome.score for outcome in side] for side in sides], dtype=np.float64)
    return noise(scores.T, rows, np.random.default_rng(0))


def _ask(
    evaluate: Evaluator, trial: Trial, rows: Sequence[Example], then: Sequence[Outcome]
) -> tuple[list[Outcome], tuple[Outcome, ...]]:
    """Return earlier and new outcomes; earlier answers are parsed again, in case an older version parsed otherwise."""
    with closing(evaluate.ledger):
        prompt = evaluate.settle(trial)
        try:
            return evaluate.reread(prompt, rows, then), evaluate.rows(prompt, rows)
        except (BudgetSpent, Interrupted) as ended:
            raise type(ended)(f"{ended}; what was bought is kept. Give the command again to go on.") from None


def _answered(store: Store, run: Run, trial: Trial) -> tuple[str, list[Outcome]]:
    """Return the split and the winner's outcomes: on the test rows if they were opened for it, else on dev rows."""
    sealed = store.contender_outcomes(run.id, BEST if trial.number else SEED)
    split, outcomes = ("test", sealed) if sealed else ("dev", trial.outcomes)
    return split, [outcome for outcome in outcomes if outcome.score is not None]


def _free_metric(store: Store, run: Run) -> Metric | None:
    """Return the run's metric; None if scoring would need a judge or the user's own code."""
    if is_own(run.metric) or METRICS[run.metric].judged:
        return None
    return recorded_metric(store, run)


def _compared(
    store: Store,
    about: tuple[int, int, int, str, int, str],
    sides: tuple[Sequence[Outcome], Sequence[Outcome]],
    rows: Mapping[str, Example],
    metric: Metric | None,
    read: Reading,
) -> Recheck:
    """Compare earlier and new answers on the rows that have a new one; `about` are the first fields of the recheck."""
    answered = {outcome.example_id for outcome in sides[1] if outcome.score is not None}
    if not answered:
        raise ProviderError(f"none of {len(sides[1])} calls was answered ({sides[1][0].text}). Give the command again.")
    then, now = ([outcome for outcome in side if outcome.example_id in answered] for side in sides)
    changed = sum(read(a.answer) != read(b.answer) for a, b in zip(then, now, strict=True))
    scores = compared = None
    if metric:
        scores = (summarise(metric, then, rows) or 0.0, summarise(metric, now, rows) or 0.0)
        compared = compare(metric, now, then, rows, np.random.default_rng(0), ("now", "then"))
    origins = _origins(store, then), _origins(store, now)
    return Recheck(*about, len(now), changed, wilson(changed, len(now)), scores, compared, *origins)


def _origins(store: Store, outcomes: Sequence[Outcome]) -> Origins:
    bought = store.find_completions([outcome.completion_key for outcome in outcomes])
    return tuple(sorted({(completion.version, completion.fingerprint) for completion in bought.values()}))
