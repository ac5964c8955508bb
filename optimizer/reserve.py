"""What a search must leave: the price of the verdict is kept back while it spends, and a person is told how it goes.

Knows what calls of each trial took, and a budget; not what the verdict does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from optimizer.budget import ROOM, Spent
from optimizer.judge import Judge
from optimizer.ledger import Ledger
from optimizer.preparing import Plan
from optimizer.records import Trial

WARN_AT = (0.5, 0.8)  # shares of a cap


class _PerCall(NamedTuple):
    """What a call of a trial took on average."""

    usd: float
    tokens: float
    seconds: float


@dataclass
class Reserve:
    """Keeps back from one search what its verdict may cost.

    Parameters
    ----------
    plan, ledger
        The run's own; what is kept back is kept back in the budget of the ledger.
    judge
        Who scores, if it is not the metric that does.
    notice
        Is told what a person should know.
    """

    plan: Plan
    ledger: Ledger
    judge: Judge | None
    notice: Callable[[str], None]
    asked: set[int] = field(default_factory=set, init=False)  # trials that may lead after another block
    _costs: dict[int, _PerCall] = field(default_factory=dict, init=False)
    _warned: set[float] = field(default_factory=set, init=False)

    def learn(self, trial: Trial) -> None:
        """Take in what the calls of a trial took."""
        n, outcomes = max(1, len(trial.outcomes)), trial.outcomes
        sums = (sum(o.cost for o in outcomes), sum(o.tokens for o in outcomes), sum(o.seconds for o in outcomes))
        self._costs[trial.number] = _PerCall(*(each / n for each in sums))
        if len(outcomes) >= self.plan.task.search.block:
            self.asked.add(trial.number)

    def hold(self, winners: Collection[int]) -> None:
        """Keep back what the verdict may cost: sealed rows at the mean prices of the seed prompt and the dearest."""
        seed, budget = self._costs[0], self.ledger.budget
        every = [self._costs[number] for number in winners]
        usd = seed.usd + max(cost.usd for cost in every)
        tokens = seed.tokens + max(cost.tokens for cost in every)
        spare = ROOM * self.plan.sealed
        seconds = (seed.seconds + max(cost.seconds for cost in every)) / _workers(self.ledger)
        if self.judge:  # of both prompts and of the rival
            reply = self.judge.mean
            usd, tokens = usd + 3 * reply.cost, tokens + 3 * (reply.prompt_tokens + reply.completion_tokens)
            seconds += 3 * reply.seconds / _workers(self.judge.ledger)
        budget.held = Spent(budget.held.calls, usd * spare, int(tokens * spare))
        budget.held_minutes = seconds * spare / 60

    def warn(self) -> None:
        """Say when half and four fifths of a cap are spent."""
        share = self.ledger.budget.share()
        passed = [mark for mark in WARN_AT if share >= mark and mark not in self._warned]
        if passed:
            self._warned |= set(passed)
            spent = self.ledger.budget.spent
            cost = f"${spent.usd:.4g}" if self.ledger.model.price else "dollars unknown"
            self.notice(f"{share:.0%} of the budget is spent: {spent.calls:,} calls, {spent.tokens:,} tokens, {cost}")


def _workers(ledger: Ledger) -> int:
    return ledger.pace.workers if ledger.pace else 1
