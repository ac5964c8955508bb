"""Reserving the cost of the verdict while a search spends, and warning when a cap is nearly reached.

Knows what the calls of each trial took, and a budget; not what the verdict does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from optimizer.budget import Spent, larger, most
from optimizer.holding import NOTHING, PerRow, dearest, keep_back, per_row
from optimizer.ledger import Ledger
from optimizer.preparing import Plan, held_calls
from optimizer.records import Request, Trial
from optimizer.scores.judge import Judge

WARN_AT = (0.5, 0.8)  # spent shares of a cap at which to warn


@dataclass
class Reserve:
    """Reserves what the verdict of a search may cost.

    Parameters
    ----------
    plan, ledger
        The run's plan, and its ledger, in whose budget the cost is reserved.
    judge
        The judge that scores, if there is one.
    notice
        Called with messages for the user.
    """

    plan: Plan
    ledger: Ledger
    judge: Judge | None
    notice: Callable[[str], None]
    asked: set[int] = field(default_factory=set, init=False)  # trials that may lead after another block
    _costs: dict[int, PerRow] = field(default_factory=dict, init=False)
    _last: Spent = field(default=NOTHING, init=False)  # the most that one call of a trial so far can take
    _warned: set[float] = field(default_factory=set, init=False)

    def learn(self, trial: Trial) -> None:
        """Take in what the calls of a trial took."""
        if trial.number not in self._costs:
            self._last = larger(self._last, self._most(trial))
        self._costs[trial.number] = per_row(trial)
        if len(trial.outcomes) >= self.plan.task.search.block:
            self.asked.add(trial.number)

    def _most(self, trial: Trial) -> Spent:
        """Return the most that a call of a trial can take, by the longest dev row."""
        row = max(self.plan.data.dev, key=lambda row: len(row.text))
        request = Request(self.plan.renderer.messages(trial.prompt, row), trial.prompt.settings)
        return most(request, self.ledger.model.price)

    def hold(self, winners: Collection[int]) -> None:
        """Reserve what the verdict may cost: the test rows with the seed prompt and the dearest possible winner."""
        dear = dearest([self._costs[number] for number in winners])
        contenders = [each.times(1, self.ledger.workers) for each in (self._costs[0], dear)]
        if self.judge:  # it judges both prompts and the rival
            reply = self.judge.mean
            each = PerRow(reply.cost, reply.prompt_tokens + reply.completion_tokens, reply.seconds)
            contenders.append(each.times(3, self.judge.ledger.workers))
        budget = self.ledger.budget
        keep_back(budget, self.plan.sealed, contenders, budget.foreseen(held_calls(self.plan)), self._last)

    def warn(self) -> None:
        """Notify the user when half and four fifths of a cap are spent."""
        share = self.ledger.budget.share()
        passed = [mark for mark in WARN_AT if share >= mark and mark not in self._warned]
        if passed:
            self._warned |= set(passed)
            spent = self.ledger.budget.spent
            cost = f"${spent.usd:.4g}" if self.ledger.model.price else "dollars unknown"
            self.notice(f"{share:.0%} of the budget is spent: {spent.calls:,} calls, {spent.tokens:,} tokens, {cost}")
