"""After the search: the rival is trained, the sealed rows are opened once, and a verdict is come to.

Hands the parts to each other. What they find is found by `baseline`, `verdict`, `curve`, `money` and `inquiry`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from optimizer import baseline, curve, money, search, verdict, wordings
from optimizer.budget import Spent
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Evaluator
from optimizer.inquiry import Inquiry
from optimizer.preparing import Plan
from optimizer.records import Outcome, Trial, Verdict
from optimizer.scoring import get_metric
from optimizer.store import Store
from optimizer.studies import best_hyperparameters


@dataclass
class Conclusion:
    """How a run ends.

    Parameters
    ----------
    plan, evaluate, store
        The run's own.
    run
        Its number in the store.
    stage
        Announces a part; stops the run if that is wanted.
    """

    plan: Plan
    evaluate: Evaluator
    store: Store
    run: int
    stage: Callable[[str, str], None]

    def reach(self, found: search.Found) -> tuple[Verdict | None, str]:
        """Come to a verdict, and say why the run ended; None if the budget does not cover the test rows."""
        worked = self.evaluate.ledger.budget.worked()
        trained = self.store.baseline(self.run)
        self.stage("baseline", "training the rival on the same rows")
        rival = baseline.load(trained) if trained else self._train()
        inquiry = Inquiry(
            self.plan,
            self.evaluate,
            self._trials(found),
            rival,
            wordings.entered(self.store, self.run, self.plan.space),
        )
        if more := len(self.plan.unlabelled):
            self.stage("distillation", f"labelling {more} rows for the baseline")
            inquiry.distil()
        self.stage("verdict", f"opening the {len(self.plan.data.test)} sealed test rows")
        try:
            ruling = self._decide(inquiry)
        except BudgetSpent as spent:
            return None, f"{found.reason}; no verdict: {spent}"
        # A run that is resumed has trained its rival in the time that it had worked before.
        ruling = self._weigh(ruling, found, rival, worked - (trained.seconds if trained else 0.0))
        self.stage("findings", "looking at other rows, and at what the rows are good for")
        noted, said, lacking = inquiry.findings(ruling)
        ruling = replace(ruling, findings=noted, sentence=f"{ruling.sentence} {said}".strip())
        self.store.save_verdict(self.run, ruling)
        return ruling, f"{found.reason}; {lacking}" if lacking else found.reason

    def _trials(self, found: search.Found) -> dict[str, Trial]:
        """The prompts that are judged."""
        seed, best = found.trials[0], found.best
        return {verdict.SEED: seed} | ({verdict.BEST: best} if best.number != seed.number else {})

    def _train(self) -> baseline.Rival:
        plan, options = self.plan, self.plan.task.baseline
        rival = baseline.train(
            plan.data.train,
            plan.data.dev,
            self.evaluate.metric,
            best_hyperparameters,
            labelled=bool(plan.labels),
            budget=baseline.Budget(options.trials, options.seconds, plan.task.search.seed),
        )
        self.store.save_baseline(self.run, rival.trained)
        return rival

    def _decide(self, inquiry: Inquiry) -> Verdict:
        """Open the test rows once, for all contenders."""
        plan, evaluate, budget, rival = self.plan, self.evaluate, self.evaluate.ledger.budget, inquiry.rival
        rows, metric = plan.data.test, get_metric(plan.task.metric)
        budget.held, budget.held_minutes = Spent(), 0.0
        opened = self.store.open_test(plan.data_digest, self.run)
        entries = [
            self._entry(name, trial, evaluate.rows(evaluate.settle(trial), rows))
            for name, trial in inquiry.trials.items()
        ]
        detail = rival.trained.detail
        entries.append(verdict.Entry(verdict.RIVAL, rival.outcomes(rows, metric), len(plan.data.train), detail))
        entries += inquiry.entries(entries)
        return verdict.decide(entries, rows, metric, opened=opened, seed=plan.task.search.seed)

    def _weigh(self, ruling: Verdict, found: search.Found, rival: baseline.Rival, searched: float) -> Verdict:
        """Add from how many labelled rows on training overtakes the prompt, and what both cost to find."""
        data, seed = self.plan.data, self.plan.task.search.seed
        self.stage("curve", "training the rival on fewer rows")
        refit = baseline.Refit(data.train, data.test, rival.trained, seed)
        targets = [row.target for row in data.train]
        metric, rng = self.evaluate.metric, np.random.default_rng(seed)
        grown = curve.measure(refit, targets, data.test, metric, ruling, rng)
        paid = sum(outcome.cost for trial in found.trials for outcome in trial.outcomes)
        took = {grown.prompt: (paid if self._priced else None, searched)}
        took[verdict.RIVAL] = (0.0, rival.trained.seconds)
        bills = tuple(
            money.bill(
                contender,
                spent=took[contender.name][0],
                seconds=took[contender.name][1],
                labelled=contender.train_rows + len(data.dev),
                label_cost=self.plan.task.baseline.label_cost,
            )
            for contender in ruling.contenders
            if contender.name in took
        )
        return replace(ruling, curve=grown, bills=bills, sentence=f"{ruling.sentence} {curve.sentence(grown)}")

    def _entry(self, name: str, trial: Trial, outcomes: tuple[Outcome, ...]) -> verdict.Entry:
        used = len(self.plan.data.train) if trial.params.get("labels") == "terms" else len(trial.prompt.demos)
        return verdict.Entry(name, outcomes, used, f"trial {trial.number}", priced=self._priced)

    @property
    def _priced(self) -> bool:
        return self.evaluate.ledger.model.price is not None
