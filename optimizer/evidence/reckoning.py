"""Estimating what further answers of prompt and baseline will take, with their judgements, before they are bought.

Cached calls take nothing, so that a resumed run makes the same decisions as before it was interrupted. Buys nothing;
only a baseline on this machine is asked, which is free.
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
    """Estimates for one run whose search is over.

    Parameters
    ----------
    evaluate
        That of the run.
    rival
        The trained baseline.
    dev
        Rows that the baseline has answered.
    like
        The winner's outcomes; further answers are assumed to cost as much.
    """

    evaluate: Evaluator
    rival: Rival
    dev: Sequence[Example]
    like: Sequence[Outcome]

    def lacking(self, *parts: Spent) -> str:
        """Return why the budget does not cover all of this; empty if it does."""
        return self.evaluate.ledger.budget.lacking(sum(parts, Spent()))

    def prompt(self, cells: Sequence[Cell], *, judged: bool = True) -> Spent:
        """Return what the winner, or a prompt like it, takes to answer these cells."""
        return self.evaluate.reckon(cells, self.like, judged=judged)

    def baseline(self, rows: Sequence[Example], rival: Rival | None = None, *, judged: bool = True) -> Spent:
        """Return what the baseline, or another one, takes to answer these rows."""
        rival, judge = rival or self.rival, self.evaluate.judge if judged else None
        if rival.paid:
            return (self._each + (judge.each if judge else Spent())) * len(rows)
        if judge is None or not rows:
            return Spent()
        return judge.each * judge.missing([*zip(rows, rival.answer([row.text for row in rows]), strict=True)])

    @cached_property
    def _each(self) -> Spent:
        """What one answer of a paid baseline takes."""
        assert self.rival.paid is not None
        return further([taken(share) for share in self.rival.paid([row.text for row in self.dev])])
