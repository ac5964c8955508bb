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
from optimizer.judge import Judge
from optimizer.preparing import Plan
from optimizer.records import Outcome, Trial, Verdict
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
    judge
        Scores all contenders, if it is not the metric that does.
    """

    plan: Plan
    evaluate: Evaluator
    store: Store
    run: int
    stage: Callable[[str, str], None]
    judge: Judge | None = None

    def reach(self, found: search.Found) -> tuple[Verdict | None, str]:
        """Come to a verdict, and say why the run ended; None if the budget does not cover the test rows."""
        worked = self.evaluate.ledger.budget.worked()
        judged = self.judge.paid if self.judge else 0.0
        trained = self.store.baseline(self.run)
        self.stage("baseline", "training the rival on the same rows")
        rival = baseline.load(trained) if trained else self._train()
        trials = self._trials(found)
        inquiry = None if self.judge else self._inquiry(trials, rival)
        if inquiry and (more := len(self.plan.unlabelled)):
            self.stage("distillation", f"labelling {more} rows for the baseline")
            inquiry.distil()
        self.stage("verdict", f"opening the {len(self.plan.data.test)} sealed test rows")
        try:
            ruling = self._decide(trials, rival, inquiry)
        except BudgetSpent as spent:
            return None, f"{found.reason}; no verdict: {spent}"
        # A run that is resumed has trained its rival in the time that it had worked before.
        ruling = self._weigh(ruling, found, rival, worked - (trained.seconds if trained else 0.0), judged)
        lacking = ""
        if inquiry:
            self.stage("findings", "looking at other rows, and at what the rows are good for")
            noted, said, lacking = inquiry.findings(ruling)
            ruling = replace(ruling, findings=noted, sentence=f"{ruling.sentence} {said}".strip())
        self.store.save_verdict(self.run, ruling)
        return ruling, "; ".join(filter(None, [found.reason, lacking]))

    def _inquiry(self, trials: dict[str, Trial], rival: baseline.Rival) -> Inquiry:
        """Prepare to look into what stands beside the scores; not under a judge, who would be asked too often."""
        space = wordings.entered(self.store, self.run, self.plan.space)
        return Inquiry(self.plan, self.evaluate, trials, rival, space)

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
            several=plan.several,
            budget=baseline.Budget(options.trials, options.seconds, plan.task.search.seed),
        )
        self.store.save_baseline(self.run, rival.trained)
        return rival

    def _decide(self, trials: dict[str, Trial], rival: baseline.Rival, inquiry: Inquiry | None) -> Verdict:
        """Open the test rows once, for all contenders."""
        plan, evaluate, budget = self.plan, self.evaluate, self.evaluate.ledger.budget
        rows, metric = plan.data.test, plan.metric
        budget.held, budget.held_minutes = Spent(), 0.0
        opened = self.store.open_test(plan.data_digest, self.run)
        entries = [
            self._entry(name, trial, evaluate.rows(evaluate.settle(trial), rows)) for name, trial in trials.items()
        ]
        outcomes, detail = rival.outcomes(rows, metric, self.judge), rival.trained.detail
        entries.append(verdict.Entry(verdict.RIVAL, outcomes, len(plan.data.train), detail, note=rival.note))
        entries += inquiry.entries(entries) if inquiry else []
        return verdict.decide(entries, rows, metric, opened=opened, seed=plan.task.search.seed)

    def _weigh(
        self, ruling: Verdict, found: search.Found, rival: baseline.Rival, searched: float, judged: float | None
    ) -> Verdict:
        """Add from how many labelled rows on training overtakes the prompt, and what both cost to find."""
        prompt = next(c.name for name in (verdict.BEST, verdict.SEED) for c in ruling.contenders if c.name == name)
        paid = sum(outcome.cost for trial in found.trials for outcome in trial.outcomes)
        spent = paid + judged if self._priced and judged is not None else None
        took = {prompt: (spent, searched), verdict.RIVAL: (0.0, rival.trained.seconds)}
        bills = tuple(
            money.bill(
                contender,
                spent=took[contender.name][0],
                seconds=took[contender.name][1],
                labelled=contender.train_rows + len(self.plan.data.dev),
                label_cost=self.plan.task.baseline.label_cost,
            )
            for contender in ruling.contenders
            if contender.name in took
        )
        ruling = replace(ruling, bills=bills)
        return ruling if self.judge else self._grown(ruling, rival)

    def _grown(self, ruling: Verdict, rival: baseline.Rival) -> Verdict:
        """Add the learning curve; not under a judge, who would be asked thousands of times for it."""
        data, seed = self.plan.data, self.plan.task.search.seed
        self.stage("curve", "training the rival on fewer rows")
        refit = baseline.Refit(data.train, data.test, rival.trained, seed)
        targets, rng = [row.target for row in data.train], np.random.default_rng(seed)
        grown = curve.measure(refit, targets, data.test, self.evaluate.metric, ruling, rng)
        said = f" {curve.sentence(grown)}" if rival.serves else ""
        return replace(ruling, curve=grown, sentence=ruling.sentence + said)

    def _entry(self, name: str, trial: Trial, outcomes: tuple[Outcome, ...]) -> verdict.Entry:
        used = len(self.plan.data.train) if trial.params.get("labels") == "terms" else len(trial.prompt.demos)
        return verdict.Entry(name, outcomes, used, f"trial {trial.number}", priced=self._priced)

    @property
    def _priced(self) -> bool:
        return self.evaluate.ledger.model.price is not None
