"""The trained rival: what every kind of it learns from, and what it can do once it is trained.

Its kinds are rooms of their own, from cheap to dear: `linear`, `encoder`, `lora` and `provider_tuning`; `ladder`
chooses among them. All see the same rows and are scored by the prompts' own code. Knows nothing of prompts or of the
test rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import StoreError
from optimizer.records import Completion, Outcome, TrainedModel
from optimizer.scoring import Grader, Metric, grader, score, summarise
from search_spaces.prompt import Example
from search_spaces.space import Chooser, Value

Texts = Sequence[str]
Refit = Callable[[Sequence[int]], list[str]]  # numbers of training rows -> the answers of a rival trained on them
Floats = NDArray[np.float64]


RETRIEVES = "No linear model serves open answers: the baseline is the answer of the nearest training row."
NONE_SERVES = (
    "No trained baseline serves this task: no linear model takes open answers, and the answer of the nearest training "
    "row is not shown to be better than that of any other."
)
SERVES = "serves"  # among the parameters of one that retrieves: whether that helps
UNFIT = "; not shown to be better than the answer of any training row"


class Minimal(Protocol):
    """Searches hyperparameters; `studies.best_hyperparameters` fits."""

    def __call__(
        self, objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int
    ) -> dict[str, Value]:
        """Return the best parameters found."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a rival's hyperparameters are searched: until either is used up."""

    trials: int = 15
    seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a rival is made from.

    Parameters
    ----------
    rows, dev
        Training and dev rows; the same that the prompts draw their demos from and are chosen on.
    metric
        The objective.
    search
        Searches the hyperparameters.
    labelled
        Whether the answers are a closed list.
    budget
        How long to search.
    several
        The closed list, if an answer may name several of its labels.
    """

    rows: Sequence[Example]
    dev: Sequence[Example]
    metric: Metric
    search: Minimal
    labelled: bool
    budget: Budget = Budget()
    several: Sequence[str] = ()

    @property
    def classes(self) -> bool:
        """Whether there are labels to tell apart."""
        return (self.labelled or len(self.several) > 1) and len({row.target for row in self.rows}) > 1

    def outcomes(self, answers: Sequence[str]) -> list[Outcome]:
        """Score answers to the dev rows, shape (n,)."""
        return [
            Outcome(row.id, *score(self.metric, answer, row), answer)
            for row, answer in zip(self.dev, answers, strict=True)
        ]

    def dev_score(self, answers: Sequence[str]) -> float:
        """Summarise answers to the dev rows, shape (n,), under the objective."""
        return summarise(self.metric, self.outcomes(answers), {row.id: row for row in self.dev}) or 0.0


def unreadable(error: Exception) -> StoreError:
    """Refuse a trained rival that was damaged or forged."""
    return StoreError(
        f"the trained baseline in the results database cannot be read ({type(error).__name__}). "
        "Start anew with another --db (db=)."
    )


@dataclass
class Counted:
    """A search of hyperparameters that counts its trials."""

    search: Minimal
    trials: int = field(default=0, init=False)

    def __call__(self, objective: Callable[[Chooser], float], budget: Budget) -> Mapping[str, Value]:
        """Search within a budget."""

        def counted(chooser: Chooser) -> float:
            self.trials += 1
            return objective(chooser)

        return self.search(counted, trials=budget.trials, seconds=budget.seconds, seed=budget.seed)


@dataclass(frozen=True, slots=True)
class Rival:
    """A trained rival at work.

    Parameters
    ----------
    trained
        What it is.
    answer
        Texts, shape (n,) -> answers, shape (n,).
    confidence
        Texts, shape (n,) -> the probability that it gives to each of those answers, shape (n,), in [0, 1].
    paid
        Texts, shape (n,) -> what was bought for each, shape (n,): tokens, US dollars and seconds, for a rival whose
        answers are bought; otherwise they cost nothing, and take the mean time of a batch.
    refit
        Training rows, and rows to answer -> a rival trained anew on parts of the former; None if that costs too much.
    draws
        How often it may be trained anew on as many rows, at most, where that takes long.
    anew
        Training rows, and dev rows to watch -> a rival tuned anew on the former for money, with the hyperparameters
        that were found; None if it costs none.
    priced
        Whether the price of its answers is known.
    retrain
        A lesson -> a rival of its kind that has learned it; None if that takes too long.
    kin
        Training rows, shape (m,), and texts, shape (n,) -> how like each row is to each text in its features, and how
        likely it holds the row's answer to be that of the text, both of shape (n, m); None if it has no features.
    """

    trained: TrainedModel
    answer: Callable[[Texts], list[str]]
    confidence: Callable[[Texts], list[float]]
    paid: Callable[[Texts], list[Completion]] | None = None
    refit: Callable[[Sequence[Example], Sequence[Example]], Refit] | None = None
    draws: int = 5
    anew: Callable[[Sequence[Example], Sequence[Example]], Rival] | None = None
    priced: bool = True
    retrain: Callable[[Lesson], Rival] | None = None
    kin: Callable[[Sequence[Example], Texts], tuple[Floats, Floats]] | None = None

    @property
    def note(self) -> str:
        """What a verdict has to say of it: that no linear model serves, or that no baseline does."""
        if self.trained.curve:
            return ""
        return RETRIEVES if self.serves else NONE_SERVES

    @property
    def serves(self) -> bool:
        """Whether it is worth comparing with, as far as the dev rows show."""
        return bool(self.trained.params.get(SERVES, not self.trained.detail.endswith(UNFIT)))  # once it was only said

    def outcomes(self, examples: Sequence[Example], metric: Metric, judge: Grader | None = None) -> tuple[Outcome, ...]:
        """Score it on examples as the prompts are."""
        texts, started = [example.text for example in examples], time.perf_counter()
        answers = self.answer(texts)
        each = (time.perf_counter() - started) / max(1, len(examples))
        paid = self.paid(texts) if self.paid else [Completion("", seconds=each)] * len(texts)
        grades = (judge or grader(metric))([*zip(examples, answers, strict=True)])
        return tuple(
            Outcome(
                example.id,
                kind,
                value,
                answer,
                tokens=share.prompt_tokens + share.completion_tokens,
                cost=share.cost,
                seconds=share.seconds,
                text=said,
                prompt_tokens=share.prompt_tokens,
            )
            for example, answer, (kind, value, said), share in zip(examples, answers, grades, paid, strict=True)
        )
