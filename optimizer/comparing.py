"""Comparing two prompts of a results.db on the rows that both answered: what the second gains, and on which rows.

Winners and seed prompts are compared on the sealed test rows if both runs have opened them, all others on dev rows.
Reads recorded outcomes only, and buys nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.contenders import BEST, SEED
from optimizer.errors import InputError
from optimizer.front import Measures, measures
from optimizer.phrases import counted
from optimizer.records import Comparison, Outcome, Run, Trial
from optimizer.report import Change, changes
from optimizer.scores.metrics import METRICS, Metric
from optimizer.scores.own_metric import is_own
from optimizer.scoring import compare, interval, summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, objective
from search_spaces.prompt import Example

LEAST_ROWS = 6  # on fewer rows no difference can be shown: the smallest p of the exact test on 5 rows is 0.06


@dataclass(frozen=True, slots=True)
class Named:
    """A prompt as the user names it: a trial of a run; without a trial, the winner or the best so far."""

    run: int
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One of two prompts: its text, and its score and measures on the rows that both answered."""

    run: Run
    trial: Trial
    prompt: str
    score: float
    interval: tuple[float, float]
    measures: Measures

    @property
    def name(self) -> str:
        """Its name, as RUN:TRIAL."""
        return f"{self.run.id}:{self.trial.number}"


@dataclass(frozen=True, slots=True)
class Compared:
    """Prompt `b` minus prompt `a`, on the `n` rows of a split on which both have a score.

    In `comparison`, as in a verdict, the minuend comes first: its `a` is the name of `b` here, and its `b` the name of
    `a`. `fixed` are the rows on which `b` scores higher, `broken` those on which it scores lower. `opened` is how many
    different runs have opened the test rows; 0 for dev rows.
    """

    a: Side
    b: Side
    metric: str
    split: str
    n: int
    opened: int
    comparison: Comparison
    fixed: Sequence[Change]
    broken: Sequence[Change]

    @property
    def params(self) -> dict[str, tuple[object, object]]:
        """The parameters that differ, including the model, with both values; None if one does not apply."""
        a, b = ({"model": side.run.model, **side.trial.params} for side in (self.a, self.b))
        return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def named(text: str, run: int | None = None) -> Named:
    """Read RUN or RUN:TRIAL; if `run` is given, a single number is one of its trials.

    Raises
    ------
    InputError
        If it is neither.
    """
    found = re.fullmatch(r"(?:(\d{1,9}):)?(\d{1,9})", text, re.ASCII)
    if found is None:
        raise InputError(
            f"{text!r} names no prompt; allowed: RUN for its winner, or RUN:TRIAL, such as 2 or 2:17; beside --run "
            "also a TRIAL. See `phrasetune history`."
        )
    first, last = found[1], int(found[2])
    if first is not None:
        return Named(int(first), last)
    return Named(last) if run is None else Named(run, last)


def side_by_side(db: str | Path, a: Named, b: Named) -> Compared:
    """Compare two prompts.

    Raises
    ------
    InputError
        If there is no such run or trial, if the runs differ in rows or metric, if both name the same trial of the same
        run, or if too few rows have a score from both.
    """
    with Store(db) as store:
        (first, second), split, answers = _answers(store, a, b)
        run = first[0]
        rows = {row.id: row for row in store.examples(run.data, split)}
        metric = recorded_metric(store, run)
        theirs, ours = _shared(*answers)
        if len(theirs) < LEAST_ROWS:
            both = counted(len(theirs), f"{split} row")
            raise InputError(
                f"{_called(first)} and {_called(second)} share {both} with a score; at least {LEAST_ROWS} are needed "
                "to show a difference. Compare prompts that were scored on more rows: "
                "`phrasetune history --state complete`."
            )
        names = (_called(second), _called(first))
        comparison = compare(metric, ours, theirs, rows, _rng(run), names)
        fixed, broken = changes(theirs, ours, rows)
        sides = _side(store, first, theirs, rows, metric), _side(store, second, ours, rows, metric)
        opened = store.opened(run.data) if split == "test" else 0
        return Compared(*sides, run.metric, split, len(theirs), opened, comparison, fixed, broken)


def recorded_metric(store: Store, run: Run) -> Metric:
    """Return the metric of a run for recorded outcomes; for the user's own code, which is not run, a mean of scores."""
    if is_own(run.metric):
        return METRICS["exact_match"]
    task = Task.model_validate(run.task)
    return objective(task, recorded_labels(store, run))


def recorded_labels(store: Store, run: Run) -> tuple[str, ...]:
    """Return the closed list of labels of a run's rows; empty for open answers."""
    rows = [row for split in ("train", "dev", "test") for row in store.examples(run.data, split)]
    return labels_of(Task.model_validate(run.task), rows)


_Whose = tuple[Run, Trial]


def _answers(store: Store, a: Named, b: Named) -> tuple[tuple[_Whose, _Whose], str, list[tuple[Outcome, ...]]]:
    """Find two prompts, and their outcomes on the test rows if both have them, else on the dev rows."""
    first, second = _find(store, a), _find(store, b)
    (one, trial), (other, another) = first, second
    if (one.id, trial.number) == (other.id, another.number):
        raise InputError(f"both are {_called(first)}. Name two prompts, such as 1 and 2, or 1:0 and 1:12.")
    if one.data != other.data:
        raise InputError(
            f"run {one.id} and run {other.id} were made on different rows or splits (digests {one.data[:8]} and "
            f"{other.data[:8]}), so nothing can be paired. Compare runs of the same data; `phrasetune history --all`."
        )
    if one.metric != other.metric:
        raise InputError(
            f"run {one.id} is judged by {one.metric}, run {other.id} by {other.metric}; one metric is needed. Tune "
            "again with the metric of the other, or compare runs that have the same."
        )
    sealed = [_sealed(store, whose) for whose in (first, second)]
    if all(sealed):
        return (first, second), "test", sealed
    return (first, second), "dev", [store.outcomes(run.id, trial.number) for run, trial in (first, second)]


def _find(store: Store, named: Named) -> _Whose:
    run = store.run(named.run)
    return run, store.trial(run, named.trial)


def _sealed(store: Store, whose: _Whose) -> tuple[Outcome, ...]:
    """Return a prompt's outcomes on the test rows; empty if they were not opened for it."""
    run, trial = whose
    name = SEED if trial.number == 0 else BEST if trial.number == run.winner else ""
    return store.contender_outcomes(run.id, name)


def _shared(a: Sequence[Outcome], b: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Return both sides' outcomes on the rows on which both have a score."""
    scored = [{outcome.example_id for outcome in side if outcome.score is not None} for side in (a, b)]
    both = scored[0] & scored[1]
    return [o for o in a if o.example_id in both], [o for o in b if o.example_id in both]


def _side(store: Store, whose: _Whose, outcomes: Sequence[Outcome], rows: dict[str, Example], metric: Metric) -> Side:
    run, trial = whose
    score = summarise(metric, outcomes, rows)
    assert score is not None
    limits = interval(metric, outcomes, rows, _rng(run))
    return Side(run, trial, store.prompt_text(run.id, trial.number), score, limits, measures(outcomes))


def _rng(run: Run) -> np.random.Generator:
    """Return a generator with the seed of a run, whose verdict has the same intervals and p-values then."""
    return np.random.default_rng(run.task["search"]["seed"])


def _called(whose: _Whose) -> str:
    run, trial = whose
    return f"{run.id}:{trial.number}"
