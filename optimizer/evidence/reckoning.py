"""What it takes to ask prompt and baseline once more, counted before it is bought: answers, and what a judge asks.

What results.db holds already takes nothing, so that a run that was interrupted in the middle of a part finds the same
room for it as before. Buys nothing, but for the answers of a baseline on this machine, which are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from optimizer.baseline import Rival
from optimizer.budget import Spent, further, taken
from optimizer.evaluate import Cell, Evaluator
from optimizer.records import Outcome
from search_spaces.prompt import Example


@dataclass
class Reckoning:
    """Reckons for one run whose search is over.

    Parameters
    ----------
    evaluate
        The run's own.
    rival
        The trained baseline.
    dev
        Rows that it has answered.
    like
        What the winner answered: further answers are taken to cost as much.
    """

    evaluate: Evaluator
    rival: Rival
    dev: Sequence[Example]
    like: Sequence[Outcome]

    def lacking(self, *parts: Spent) -> str:
        """Say why the budget does not cover all of this, or nothing if it does."""
        return self.evaluate.ledger.budget.lacking(sum(parts, Spent()))

    def prompt(self, cells: Sequence[Cell], *, judged: bool = True) -> Spent:
        """What the winner, or a prompt like it, takes to answer these cells."""
        return self.evaluate.reckon(cells, self.like, judged=judged)

    def baseline(self, rows: Sequence[Example], rival: Rival | None = None, *, judged: bool = True) -> Spent:
        """What the baseline, or another in its place, takes to answer these rows."""
        rival, judge = rival or self.rival, self.evaluate.judge if judged else None
        if rival.paid:
            return (self._each + (judge.each if judge else Spent())) * len(rows)
        if judge is None or not rows:
            return Spent()
        return judge.each * judge.missing([*zip(rows, rival.answer([row.text for row in rows]), strict=True)])

    @cached_property
    def _each(self) -> Spent:
        """What an answer of a baseline takes that is paid for."""
        assert self.rival.paid is not None
        return further([taken(share) for share in self.rival.paid([row.text for row in self.dev])])
