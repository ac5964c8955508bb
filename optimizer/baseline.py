"""The trained rival: what every kind of it learns from, and what it can do once it is trained.

Its kinds are rooms of their own, from cheap to expensive: `linear`, `encoder`, `lora` and `provider_tuning`; `ladder`
chooses among them. All get the same rows and are scored by the same code as the prompts. Knows nothing of prompts or of
the test rows.
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
SERVES = "serves"  # parameter of a retrieving rival: whether it was shown to help
UNFIT = "; not shown to be better than the answer of any training row"


class Minimal(Protocol):
    """Searches hyperparameters; `studies.best_hyperparameters` fits."""

    def __call__(
        self, objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int
    ) -> dict[str, Value]:
        """Return the best parameters found."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a rival's hyperparameter search, which ends when either is reached, and its seed."""

    trials: int = 15
    seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a rival is trained with.

    Parameters
    ----------
    rows, dev
        Training and dev rows: those that the prompts draw their demos from, and those that they are chosen on.
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
        """Whether there are at least two classes to tell apart."""
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
    """Return the error for a stored rival that is damaged or forged."""
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
    """A trained rival, ready to answer.

    Parameters
    ----------
    trained
        Its record.
    answer
        Texts, shape (n,) -> answers, shape (n,).
    confidence
        Texts, shape (n,) -> its probability of each of those answers, shape (n,), in [0, 1].
    paid
        Texts, shape (n,) -> what was bought for each, shape (n,): tokens, US dollars and seconds. None if answers cost
        nothing; each then takes the mean time of its batch.
    refit
        Training rows, and rows to answer -> a function that retrains the rival on parts of the former; None if that
        costs too much.
    draws
        Most times that it is retrained on the same number of rows; low if training takes long.
    anew
        Training rows, and dev rows to watch -> a rival tuned on the former for money, with the same hyperparameters;
        None for kinds that cost nothing to train.
    priced
        Whether the price of its answers is known.
    retrain
        A lesson -> a rival of its kind trained on it; None if that takes too long.
    kin
        Training rows, shape (m,), and texts, shape (n,) -> the similarity of each text and row by its features, and the
        probability it gives to the row's answer for the text, both of shape (n, m); None if it has no features.
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
        """What a verdict says about it: that no linear model serves, or that no baseline does; else empty."""
        if self.trained.curve:
            return ""
        return RETRIEVES if self.serves else NONE_SERVES

    @property
    def serves(self) -> bool:
        """Whether the dev rows show that it is worth comparing with."""
        return bool(self.trained.params.get(SERVES, not self.trained.detail.endswith(UNFIT)))  # old records

    def outcomes(self, examples: Sequence[Example], metric: Metric, judge: Grader | None = None) -> tuple[Outcome, ...]:
        """Score it on examples with the same code as the prompts."""
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
