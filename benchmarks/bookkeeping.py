"""What the rival methods share: a record of answers that counts calls, random draws, the order of rows, Optuna's TPE.

Knows no true accuracy.
"""

from __future__ import annotations

import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import Floats, Params, Problem
from search_spaces.space import Dimension

Step = tuple[int, Params]
Method = Callable[[Problem, int, int], Iterator[Step]]
Rows = NDArray[np.intp]

REPEATS = 20  # proposals in a row of prompts seen before that a sampler is allowed: they teach it nothing new
DRAWS = 500  # random draws after which a space counts as exhausted


class SpentError(Exception):
    """The next answers would cost more calls than are left."""


@dataclass
class Seen:
    """A prompt and its answers so far: 0 or 1 for each row, NaN where not asked [rows]."""

    params: Params
    scores: Floats
    rows: int = 0
    right: float = 0.0

    @property
    def mean(self) -> float:
        """Its dev score so far."""
        return self.right / max(1, self.rows)


@dataclass
class Book:
    """Who was asked what, and what is left to spend."""

    problem: Problem
    limit: int
    calls: int = 0
    seen: dict[str, Seen] = field(default_factory=dict)

    @property
    def everything(self) -> Rows:
        """All rows."""
        return np.arange(len(self.problem.rows))

    def known(self, params: Params) -> bool:
        """Whether a prompt was asked anything."""
        return self.problem.space.key(params) in self.seen

    def ask(self, params: Params, rows: Rows) -> float:
        """Ask a prompt these rows, and return its mean score on them."""
        key = self.problem.space.key(params)
        seen = self.seen.get(key) or Seen(params, np.full(len(self.problem.rows), np.nan))
        new = rows[np.isnan(seen.scores[rows])]
        if self.calls + len(new) > self.limit:
            raise SpentError
        seen.scores[new] = self.problem.column(params)[new]
        seen.rows, seen.right = seen.rows + len(new), seen.right + float(seen.scores[new].sum())
        self.calls += len(new)
        self.seen[key] = seen
        return float(seen.scores[rows].mean())

    def leader(self) -> Params:
        """Find the best dev mean among the prompts that have answered the most rows."""
        most = max(seen.rows for seen in self.seen.values())
        return max((seen for seen in self.seen.values() if seen.rows == most), key=lambda seen: seen.mean).params

    def step(self) -> Step:
        """Report the calls so far and the leader."""
        return self.calls, self.leader()


def until_spent(method: Callable[[Book, int], Iterator[Step]]) -> Method:
    """End a method when the next step cannot be paid."""

    @wraps(method)
    def run(problem: Problem, calls: int, seed: int) -> Iterator[Step]:
        try:
            yield from method(Book(problem, calls), seed)
        except SpentError:
            return

    return run


# --- proposals ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dice:
    """A chooser that draws at random."""

    rng: random.Random

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401, ARG002 - a Chooser's form
        """Draw one of the choices."""
        return self.rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        """Draw a whole number."""
        return self.rng.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float) -> float:  # noqa: ARG002
        """Draw a number."""
        return self.rng.uniform(low, high)


def fresh(book: Book, rng: random.Random) -> Params | None:
    """Draw a prompt that was not asked yet; none where there is none."""
    space = book.problem.space
    if space.size <= DRAWS:
        left = [params for params in space.points() if not book.known(params)]
        return rng.choice(left) if left else None
    for _ in range(DRAWS):
        params = space.choose(Dice(rng))
        if not book.known(params):
            return params
    return None


class Tpe:
    """Optuna's TPE as it comes: multivariate, dimensions that apply only sometimes by themselves.

    Modelled in groups (`group=True`) those did no better on six landscapes of each family, at three times the time.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = problem.space
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.open: Any = None
        self.proposed: Params = {}
        self.states = optuna.trial.TrialState
        self.create = optuna.trial.create_trial
        self.distributions = {dimension.name: _distribution(dimension) for dimension in problem.space.dimensions}

    def propose(self) -> Params:
        """Propose a prompt; what is not learnt of it leaves no trace in the sampler's model."""
        self._forget()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.open = self.study.ask()
            self.proposed = self.space.choose(self.open)
        return self.proposed

    def learn(self, params: Params, score: float, rows: int = 0) -> None:
        """Add a result: of `rows` rows if the prompt was stopped there, else a final one."""
        state = self.states.PRUNED if rows else self.states.COMPLETE
        if self.open is not None and params is self.proposed:
            if rows:
                self.open.report(score, rows)
            self.study.tell(self.open, None if rows else score, state=state)
            self.open = None
            return
        self._forget()
        distributions = {name: self.distributions[name] for name in params}
        value, steps = (None, {rows: score}) if rows else (score, {})
        self.study.add_trial(
            self.create(
                state=state, params=dict(params), distributions=distributions, value=value, intermediate_values=steps
            )
        )

    def _forget(self) -> None:
        if self.open is not None:
            self.study.tell(self.open, state=self.states.FAIL)
            self.open = None


def _distribution(dimension: Dimension) -> Any:  # noqa: ANN401 - one of Optuna's
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    return IntDistribution(int(dimension.low), int(dimension.high))


def proposal(book: Book, tpe: Tpe, rng: random.Random) -> Params | None:
    """Let TPE propose a prompt that was not asked yet; where it insists on old ones, draw."""
    for _ in range(REPEATS):
        params = tpe.propose()
        if not book.known(params):
            return params
    return fresh(book, rng)


def in_turn(problem: Problem, rng: random.Random) -> Rows:
    """Shuffle the rows with the labels spread evenly [rows]."""
    by_label = defaultdict[str, list[int]](list)
    for place in rng.sample(range(len(problem.rows)), len(problem.rows)):
        by_label[problem.rows[place].target].append(place)
    order = [((i + rng.random()) / len(group), place) for group in by_label.values() for i, place in enumerate(group)]
    return np.array([place for _, place in sorted(order)])
