"""The board of a search: which prompts were opened, what each answered on which row, and how each trial ended.

Knows no model and no Optuna, and decides nothing: searchers read it and say which cells to ask for next.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.phrases import agreed, counted
from optimizer.records import Outcome, State, Trial
from optimizer.scoring import Metric, summarise
from optimizer.scoring import interval as interval_of
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space, Value

Floats = NDArray[np.float64]

ERRORS = 0.2  # a trial with a larger share of failed calls is not scored at all
FEW = 5  # least number of failed calls for that: a passing fault should not cost a prompt
CALLS_A_ROW = 8  # a search uses one dev row per so many calls …
FEWEST_ROWS = 20  # … but at least this many, if there are so many
ATTEMPTS = 2  # a row whose call failed is asked once more: a passing fault should not cost a row


@dataclass(frozen=True, slots=True)
class Pick:
    """The rows that a prompt is asked next: its trial's number, and the rows' positions on the board."""

    trial: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a search: answers on dev rows, prompts, and rows that a prompt is asked at a time."""

    calls: int
    trials: int
    block: int


@dataclass
class Card:
    """A prompt that was opened. `answers` holds the latest outcome of each row, in the order asked."""

    number: int
    params: dict[str, Value]
    prompt: Prompt
    state: State = State.RUNNING
    reason: str = ""
    answers: dict[int, Outcome] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    estimate: float | None = None
    credible: tuple[float, float] | None = None
    gain: float = 0.0
    gain_credible: tuple[float, float] = (-1.0, 1.0)
    told: bool = False  # whether its end was announced

    @property
    def open(self) -> bool:
        """Whether it may be asked further rows."""
        return self.state is State.RUNNING

    @property
    def failing(self) -> bool:
        """Whether the share of failed calls is above `ERRORS` by more than chance (two standard errors)."""
        n = len(self.answers)
        failed = sum(outcome.score is None for outcome in self.answers.values())
        return failed >= FEW and failed > ERRORS * n + 2 * math.sqrt(n * ERRORS * (1 - ERRORS))

    @property
    def lacking(self) -> bool:
        """Whether the share of failed calls is above `ERRORS`, without an allowance for chance."""
        failed = sum(outcome.score is None for outcome in self.answers.values())
        return failed > ERRORS * len(self.answers)

    def failure(self) -> str:
        """Describe the failed calls: how many, and the first one's error."""
        failed = [outcome for outcome in self.answers.values() if outcome.score is None]
        return f"{len(failed)} of {len(self.answers)} calls failed ({failed[0].text})"


class Board:
    """A search under way.

    Attributes
    ----------
    scores
        What each prompt scored on each row [trials, rows]; NaN where nothing is known.
    attempts
        How often each cell was asked [trials, rows].
    awaited
        Whether a cell was asked for and has not answered yet [trials, rows].
    calls
        Answers looked at, and calls that failed.
    """

    def __init__(self, space: Space, rows: Sequence[Example], metric: Metric, seed: int) -> None:
        self.space, self.metric, self.seed = space, metric, seed
        self.rows = in_turn(rows, seed)
        self.examples = {example.id: example for example in self.rows}
        self.cards: list[Card] = []
        self.by_digest: dict[str, int] = {}
        self.scores = np.full((0, len(self.rows)), np.nan)
        self.attempts = np.zeros(self.scores.shape, dtype=np.intp)
        self.awaited = np.zeros(self.scores.shape, dtype=bool)
        self.calls = 0

    def open(self, params: Mapping[str, Value]) -> int:
        """Open a prompt and return its number; if other parameters built the same prompt before, return that one's."""
        prompt = self.space.build(params)
        number = self.by_digest.setdefault(prompt.digest, len(self.cards))
        if number == len(self.cards):
            self.cards.append(Card(number, dict(params), prompt))
            self.scores = np.vstack([self.scores, np.full(len(self.rows), np.nan)])
            self.attempts = np.vstack([self.attempts, np.zeros(len(self.rows), dtype=np.intp)])
            self.awaited = np.vstack([self.awaited, np.zeros(len(self.rows), dtype=bool)])
        return number

    def left(self, number: int) -> list[int]:
        """List the rows that a prompt may still be asked, in the board's order."""
        found: list[int] = np.flatnonzero(self._free(number)).tolist()
        return found

    def _free(self, which: int | slice = slice(None)) -> NDArray[np.bool_]:
        known, often = ~np.isnan(self.scores[which]), self.attempts[which] >= ATTEMPTS
        free: NDArray[np.bool_] = ~(known | often | self.awaited[which])
        return free

    @property
    def due(self) -> int:
        """Count the answers that were asked for and have not come yet."""
        return int(self.awaited.sum())

    def askable(self) -> list[int]:
        """List the prompts that are open and have rows left to be asked."""
        left = self._free().sum(axis=1).tolist()
        return [card.number for card in self.cards if card.open and left[card.number]]

    def expect(self, picks: Sequence[Pick]) -> None:
        """Mark the picked cells as asked for."""
        for pick in picks:
            self.awaited[pick.trial, list(pick.rows)] = True

    def enter(self, step: int, picks: Sequence[Pick], outcomes: Sequence[Outcome]) -> None:
        """Record the outcomes of the picked cells, in the order of the picks."""
        answered = iter(outcomes)
        for pick in picks:
            card = self.cards[pick.trial]
            for row in pick.rows:
                outcome = next(answered)
                card.answers[row] = replace(outcome, step=step)
                self.attempts[pick.trial, row] += 1
                self.awaited[pick.trial, row] = False
                self.scores[pick.trial, row] = np.nan if outcome.score is None else outcome.score
                self.calls += 1
            if not np.isnan(self.scores[pick.trial]).all():
                card.steps[len(card.answers)] = self.score(pick.trial)

    def looked(self) -> str:
        """Say how many answers were looked at, and how many of the calls for them failed."""
        answers = int((~np.isnan(self.scores)).sum())
        said = f"{agreed(answers, 'answer was', 'answers were')} looked at"
        failed = self.calls - answers
        return f"{said} and {counted(failed, 'call')} failed" if failed else said

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Which cells were asked and have no score because their calls failed [trials, rows]."""
        lost: NDArray[np.bool_] = np.isnan(self.scores) & (self.attempts > 0) & ~self.awaited
        return lost

    @property
    def believed(self) -> Floats:
        """The scores that decisions are based on [trials, rows]: a failed call counts as a wrong answer.

        All answers of a failed trial count as wrong: it cannot get a verdict, nor can similar prompts, which fail
        likewise and would attract the search if they did well on other rows. Reported scores leave failed calls out.
        """
        failed = np.array([[card.state is State.FAILED] for card in self.cards], dtype=np.bool_)
        return np.where(self.lost | (failed & (self.attempts > 0)), 0.0, self.scores)

    def score(self, number: int) -> float:
        """Compute the metric over the rows that a prompt has answered; 0 without any."""
        scores = self.scores[number]
        if self.metric.mean:
            seen = scores[~np.isnan(scores)]
            return float(seen.mean()) if len(seen) else 0.0
        return summarise(self.metric, list(self.cards[number].answers.values()), self.examples) or 0.0

    def close(self, number: int, state: State, reason: str) -> None:
        """End a trial: set its state and reason and, unless it failed, its interval."""
        card = self.cards[number]
        lacking = sum(outcome.score is None for outcome in card.answers.values())
        note = f"; without {counted(lacking, 'failed call')}" if lacking and state is not State.FAILED else ""
        card.state, card.reason = state, reason + note
        if state is not State.FAILED:
            rng = np.random.default_rng(self.seed)  # as in the verdict: equal answers get equal intervals
            card.interval = interval_of(self.metric, list(card.answers.values()), self.examples, rng)

    def trial(self, number: int) -> Trial:
        """Return the record of a trial as it stands."""
        card = self.cards[number]
        outcomes = tuple(card.answers.values())
        trial = Trial(
            number,
            card.params,
            card.prompt,
            card.state,
            steps=dict(card.steps),
            outcomes=outcomes,
            reason=card.reason,
            seconds=sum(outcome.seconds for outcome in outcomes),
        )
        n = sum(outcome.score is not None for outcome in outcomes)
        if card.state is State.FAILED or not n:
            return replace(trial, steps={})
        return replace(
            trial,
            score=self.score(number),
            interval=card.interval,
            n=n,
            estimate=card.estimate,
            credible=card.credible,
        )


def searched(rows: Sequence[Example], calls: int, seed: int) -> list[Example]:
    """Return as many dev rows as a search of `calls` answers can use, in their order, with each target in proportion.

    The seed prompt and the winner answer all of them: with many rows and few calls, hardly any other prompt would be
    tried (benchmarks/LOG.md).
    """
    most = max(FEWEST_ROWS, calls // CALLS_A_ROW)
    taken = {row.id for row in in_turn(rows, seed)[:most]} if len(rows) > most else set()
    return [row for row in rows if not taken or row.id in taken]


def in_turn(rows: Sequence[Example], seed: int) -> list[Example]:
    """Shuffle the rows so that each target is spread evenly: every block holds it in about its overall share."""
    by_target: dict[str, list[Example]] = defaultdict(list)
    for row in random.Random(f"rows {seed}").sample(list(rows), len(rows)):
        by_target[row.target].append(row)
    # The i-th of m rows of a target goes to (i + 1/2) / m of the way.
    placed = [
        ((position + 0.5) / len(group), order, row)
        for order, group in enumerate(by_target.values())
        for position, row in enumerate(group)
    ]
    return [row for _, _, row in sorted(placed, key=lambda place: place[:2])]
