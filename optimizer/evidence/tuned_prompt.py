"""Fine-tune, then search: a prompt for the model that its provider has tuned, as a contender of its own.

The same search on the same dev rows, with the tuned model in the place of the run's. Its trials are not written down:
the ledger has their answers, which lead a resumed run through the same search, and `tune` with the tuned model, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from optimizer.budget import ROOM, Spent
from optimizer.contenders import TUNED
from optimizer.errors import BudgetSpent, Interrupted, PhrasetuneError
from optimizer.evaluate import Evaluator
from optimizer.preparing import Plan, constraints
from optimizer.records import Outcome
from optimizer.search import Found, Options, run
from optimizer.verdict import ERRORS, Entry


@dataclass
class TunedPrompt:
    """Looks for a prompt, before the test rows are opened, and asks it those rows once they are.

    Parameters
    ----------
    plan
        The run's.
    evaluate
        Asks the tuned model, from the budget of the run.
    like
        Outcomes of a prompt of the same space: what a call takes is not known before.
    """

    plan: Plan
    evaluate: Evaluator
    like: Sequence[Outcome]
    found: Found | None = field(default=None, init=False)

    def search(self) -> str:
        """Look for a prompt, and say why none was looked for, if so. The calls for the test rows are held back."""
        calls, budget, rows = self.plan.task.verdict.tuned_search, self.evaluate.ledger.budget, len(self.plan.data.test)
        each = self._each()
        if lacking := budget.lacking(each * (calls + rows)):
            return lacking
        held = each * rows
        budget.held += held
        try:
            self.found = run(self.plan.space, self.evaluate.begin, self.plan.data.dev, self._options(calls))
        except Interrupted:
            raise
        except PhrasetuneError as error:  # as a baseline that fails, it is left out, and the verdict stands
            return str(error)
        finally:
            budget.held -= held
        return ""

    def _options(self, calls: int) -> Options:
        """The run's own, but for the number of calls."""
        said, metric = self.plan.task.search, self.evaluate.metric
        how = (said.sampler, said.pruner, calls, said.trials, said.block, said.seed)
        return Options(metric, *how, pareto=said.pareto, constraints=constraints(self.plan.task))

    def _each(self) -> Spent:
        """What an answer and its judgement may take, by what the run's model took and the tuned model's price."""
        n, (reading, writing) = max(1, len(self.like)), self.evaluate.ledger.model.price or (0.0, 0.0)
        asked = ROOM * sum(outcome.prompt_tokens for outcome in self.like) / n
        written = ROOM * sum(outcome.tokens - outcome.prompt_tokens for outcome in self.like) / n
        each = Spent(1, asked * reading + written * writing, int(asked + written))
        return each + self.evaluate.judge.each if self.evaluate.judge else each

    def entry(self, kept: Spent) -> tuple[list[Entry], str]:
        """Ask the test rows if the caps cover that beside what is `kept` for others; else say why not."""
        if self.found is None:
            return [], ""
        best, ledger, rows = self.found.best, self.evaluate.ledger, self.plan.data.test
        prompt = self.evaluate.settle(best)
        needed = self.evaluate.reckon([(prompt, row) for row in rows], best.outcomes)
        if lacking := ledger.budget.lacking(needed + kept):
            return [], lacking
        try:
            outcomes = self.evaluate.rows(prompt, rows)
        except BudgetSpent as spent:
            return [], str(spent)
        failed = [outcome.text for outcome in outcomes if outcome.score is None]
        if len(failed) > ERRORS * len(outcomes):
            return [], f"{len(failed)} of {len(outcomes)} calls failed ({failed[0]})"
        tried, priced = self.found.trials, ledger.model.price is not None
        took = f", for ${sum(o.cost for trial in tried for o in trial.outcomes):.4g}" if priced else ""
        asked = sum(len(trial.outcomes) for trial in tried)
        detail = f"{ledger.model.name}, trial {best.number} of {len(tried)}, chosen by {asked} answers on dev{took}"
        return [Entry(TUNED, outcomes, len(self.plan.data.train), detail, priced)], ""
