"""Fine-tune, then search: a prompt for the model that its provider has tuned, as a separate contender.

It is the same search on the same dev rows, with the tuned model instead of the run's. Its trials are not recorded;
their answers are cached, so a resumed run, or `tune` with the tuned model, repeats the same search without buying them
again.
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
    """Searches for a prompt before the test rows are opened, and answers them with it afterwards.

    Parameters
    ----------
    plan
        That of the run.
    evaluate
        Evaluates with the tuned model, from the budget of the run.
    like
        Outcomes of a prompt of the same space, from which the cost of a call is estimated.
    """

    plan: Plan
    evaluate: Evaluator
    like: Sequence[Outcome]
    found: Found | None = field(default=None, init=False)

    def search(self) -> str:
        """Search for a prompt while reserving the calls for the test rows; return why there was no search, if so."""
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
        except PhrasetuneError as error:  # like a baseline that fails, it is left out of the verdict
            return str(error)
        finally:
            budget.held -= held
        return ""

    def _options(self, calls: int) -> Options:
        """Return the options of the run's search, with another number of calls."""
        said, metric = self.plan.task.search, self.evaluate.metric
        how = (said.sampler, said.pruner, calls, said.trials, said.block, said.seed)
        return Options(metric, *how, pareto=said.pareto, constraints=constraints(self.plan.task))

    def _each(self) -> Spent:
        """Estimate what an answer and its judgement take, from the run's tokens and the tuned model's price."""
        n, (reading, writing) = max(1, len(self.like)), self.evaluate.ledger.model.price or (0.0, 0.0)
        asked = ROOM * sum(outcome.prompt_tokens for outcome in self.like) / n
        written = ROOM * sum(outcome.tokens - outcome.prompt_tokens for outcome in self.like) / n
        each = Spent(1, asked * reading + written * writing, int(asked + written))
        return each + self.evaluate.judge.each if self.evaluate.judge else each

    def entry(self, kept: Spent) -> tuple[list[Entry], str]:
        """Answer the test rows if the caps cover that besides what is `kept` for others; else return why not."""
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
