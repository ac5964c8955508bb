"""Reserving part of a budget during a search, so that the verdict can be paid for. Numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from optimizer.budget import ROOM, Budget, Spent
from optimizer.records import Trial

NOTHING = Spent()


class PerRow(NamedTuple):
    """What a contender takes for a row on average: US dollars, tokens, and seconds."""

    usd: float
    tokens: float
    seconds: float

    def times(self, factor: float, at_once: int = 1) -> PerRow:
        """Multiply by a factor, with so many calls at once."""
        return PerRow(factor * self.usd, factor * self.tokens, factor * self.seconds / at_once)


def per_row(trial: Trial) -> PerRow:
    """Return what a trial has taken for a row on average."""
    n, outcomes = max(1, len(trial.outcomes)), trial.outcomes
    sums = (sum(o.cost for o in outcomes), sum(o.tokens for o in outcomes), sum(o.seconds for o in outcomes))
    return PerRow(*(each / n for each in sums))


def dearest(each: Sequence[PerRow]) -> PerRow:
    """Return the maximum of each field."""
    return PerRow(*(max(kind) for kind in zip(*each, strict=True)))


def keep_back(budget: Budget, rows: int, contenders: Sequence[PerRow], calls: int, last: Spent = NOTHING) -> None:
    """Keep back so many calls, and what the rows will take these contenders if attempts fail as others did before.

    `last` is the most that a single call can take: as much must be left when the last one goes out.
    """
    usd, tokens, seconds = (ROOM * rows * budget.attempts * sum(kind) for kind in zip(*contenders, strict=True))
    budget.held = Spent(calls, usd + last.usd, int(tokens) + last.tokens)
    budget.held_minutes = seconds / 60
