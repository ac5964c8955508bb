"""After the search: the rival is trained, the sealed test rows are opened once, and a verdict is reached.

Connects the parts that do the work: `ladder`, `verdict`, `money`, `inquiry` and `growing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from optimizer import search, verdict
from optimizer.baseline import Budget, Lesson, Rival
from optimizer.budget import ROOM, Spent
from optimizer.calling import pace
from optimizer.contenders import BEST, RIVAL, SEED, rivalled
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Evaluator
from optimizer.evidence import money
from optimizer.evidence.inquiry import Inquiry
from optimizer.ledger import Ledger
from optimizer.models import Model
from optimizer.phrases import counted
from optimizer.preparing import Plan, bounded
from optimizer.proposals import wordings
from optimizer.records import Outcome, Trial, Verdict
from optimizer.rivals import ladder
from optimizer.rivals.growing import Growth
from optimizer.rivals.provider_tuning import Means
from optimizer.scores.judge import Judge
from optimizer.store import Store


@dataclass
class Conclusion:
    """The end of a run.

    Parameters
    ----------
    plan, evaluate, store
        Those of the run.
    run
        Its number in the store.
    stage
        Announces a stage; raises if the run is to stop.
    judge
        The judge that scores all contenders, if there is one.
    helpers
        The ledgers, besides the judge's, that bought something for the search: proposed wordings, and reasoning about
        training rows.
    idle
        Seconds since the search that went into neither prompt nor baseline, such as those of the ablation.
    """

    plan: Plan
    evaluate: Evaluator
    store: Store
    run: int
    stage: Callable[[str, str], None]
    judge: Judge | None = None
    helpers: Sequence[Ledger] = ()
    idle: float = 0.0

    def reach(self, found: search.Found) -> tuple[Verdict | None, str]:
        """Reach a verdict, and return it with why the run ended; None if the budget does not cover the test rows."""
        with ExitStack() as ledgers:
            return self._reach(found, ledgers)

    def _reach(self, found: search.Found, ledgers: ExitStack) -> tuple[Verdict | None, str]:
        worked = self.evaluate.ledger.budget.worked() - self.idle
        aside = self._aside()
        known = self.store.ladder(self.run)
        # A resumed run trained these within the time that it had worked before, so that time was not searching.
        searched = max(0.0, worked - sum(rung.trained.seconds for rung in known if rung.trained))
        outside = self._outside(ledgers)
        rival = ladder.climb(self.plan.task, self._lesson(), known, outside)
        trials = self._trials(found)
        inquiry = self._inquiry(trials, rival)
        if more := len(self.plan.unlabelled):
            self.stage("distillation", f"labelling {counted(more, 'row')} for the baseline")
            inquiry.distil()
        if calls := self.plan.task.verdict.tuned_search:
            self.stage("tuned search", f"a prompt for the tuned model, by up to {calls:,} answers")
            inquiry.search_again(self._tuned(outside))
        if uncovered := self._uncovered(trials):
            return None, f"{found.reason}; no verdict: {uncovered}"
        self.stage("verdict", f"opening the {len(self.plan.data.test)} sealed test rows")
        try:
            ruling = self._decide(trials, rival, inquiry)
        except BudgetSpent as spent:
            return None, f"{found.reason}; no verdict: {spent}, after the test rows were opened"
        ruling = replace(self._weigh(ruling, found, (searched, aside)), ladder=self.store.weightless(self.run))
        ruling, lacking = self._look(ruling, rival, inquiry)
        self.store.save_verdict(self.run, ruling)
        return ruling, "; ".join([found.reason, *bounded(self.plan), *lacking])

    def _look(self, ruling: Verdict, rival: Rival, inquiry: Inquiry) -> tuple[Verdict, list[str]]:
        """Add the analyses besides the scores, and return which of them the budget did not cover.

        Those that the task requests come first; the learning curve may use what is left.
        """
        self.stage("findings", "looking at other rows, and at what the rows are good for")
        noted, said = inquiry.findings(ruling)
        growth = Growth(self.plan, self.evaluate, rival, self.stage)
        grown, overtakes = growth.measure(ruling)
        noted = replace(noted, elsewhere=(*noted.elsewhere, *inquiry.learned(ruling)))
        sentence = " ".join(filter(None, [ruling.sentence, overtakes, said]))
        return replace(ruling, findings=noted, curve=grown, sentence=sentence), [*inquiry.lacking, *growth.lacking]

    def _inquiry(self, trials: dict[str, Trial], rival: Rival) -> Inquiry:
        """Prepare the analyses besides the scores."""
        space = wordings.entered(self.store, self.run, self.plan.space)
        return Inquiry(self.plan, self.evaluate, trials, rival, space)

    def _trials(self, found: search.Found) -> dict[str, Trial]:
        """Return the trials to be judged: the seed prompt's, and the best one if that is another."""
        seed, best = found.trials[0], found.best
        return {SEED: seed} | ({BEST: best} if best.number != seed.number else {})

    def _outside(self, ledgers: ExitStack) -> ladder.Outside:
        """Return the means with which the kinds of rivals that cost money are bought from the run's budget."""
        ours = self.evaluate.ledger

        def buy(model: Model) -> Ledger:
            how = pace(model, self.plan.task.model)
            ledger = Ledger(model, ours.book, self.run, ours.budget, how, ours.stop, ours.notice)
            ledgers.callback(ledger.close)
            return ledger

        means = Means(self.store, self.run, ours.budget, ours.stop.wait, ours.notice)
        return ladder.Outside(self.stage, partial(self.store.save_rung, self.run), buy, means)

    def _tuned(self, outside: ladder.Outside) -> Evaluator | None:
        """Return an evaluator for the model that the provider has tuned; None if there is none."""
        tuned = [rung.trained for rung in self.store.weightless(self.run) if rung.kind == "provider" and rung.trained]
        if not tuned:
            return None
        buyer = ladder.tuned_ledgers(self.plan.task, outside)(str(tuned[0].params["tuned"]))
        return Evaluator(buyer, self.plan.renderer, self.plan.metric, judge=self.judge)

    def _lesson(self) -> Lesson:
        plan, options = self.plan, self.plan.task.baseline
        budget = Budget(options.trials, options.seconds, plan.task.search.seed)
        rows = (plan.data.train, plan.data.dev)
        return Lesson(*rows, plan.taught, best_hyperparameters, bool(plan.labels), budget, plan.several)

    def _uncovered(self, trials: dict[str, Trial]) -> str:
        """Return, before the test rows are opened, why the budget does not cover their calls; empty if it does."""
        evaluate, budget = self.evaluate, self.evaluate.ledger.budget
        budget.held, budget.held_minutes = Spent(), 0.0
        takes = Spent()
        for trial in trials.values():
            prompt = evaluate.settle(trial)
            takes += evaluate.reckon([(prompt, row) for row in self.plan.data.test], trial.outcomes)
        mean = Spent(takes.calls, takes.usd / ROOM, int(takes.tokens / ROOM))
        return budget.lacking(mean) if takes.calls else ""

    def _decide(self, trials: dict[str, Trial], rival: Rival, inquiry: Inquiry) -> Verdict:
        """Open the test rows once, for all contenders."""
        plan, evaluate = self.plan, self.evaluate
        rows, metric = plan.data.test, plan.metric
        opened = self.store.open_test(plan.data_digest, self.run)
        entries = [
            self._entry(name, trial, evaluate.rows(evaluate.settle(trial), rows)) for name, trial in trials.items()
        ]
        answered = rival.outcomes(rows, metric, self.judge)
        rows_used, detail = len(plan.data.train), rival.trained.detail
        entries.append(verdict.Entry(RIVAL, answered, rows_used, detail, priced=rival.priced, note=rival.note))
        entries += inquiry.entries(entries)
        return verdict.decide(entries, rows, metric, opened=opened, seed=plan.task.search.seed)

    def _aside(self) -> float | None:
        """Return what judge, helpers and failed answers have cost so far; None if a price is not known."""
        judged = self.judge.paid if self.judge else 0.0
        if judged is None or any(helper.model.price is None for helper in self.helpers):
            return None
        spent = self.store.spent_by_model(self.run)
        failed = self.store.failed(self.run, self.evaluate.ledger.buyer).usd
        return judged + failed + sum(spent.get(helper.buyer, Spent()).usd for helper in self.helpers)

    def _weigh(self, ruling: Verdict, found: search.Found, took_prompt: tuple[float, float | None]) -> Verdict:
        """Add what prompt and rival cost to find and to use."""
        aside = took_prompt[1]
        paid = sum(outcome.cost for trial in found.trials for outcome in trial.outcomes)
        spent = paid + aside if self._priced and aside is not None else None
        took = {rivalled(ruling).name: (spent, took_prompt[0])}
        # Finding the rival took training all kinds, just as finding the prompt took trying others.
        tried = [rung.trained for rung in self.store.weightless(self.run) if rung.trained]
        costs = [trained.cost for trained in tried]
        looked = len({outcome.example_id for trial in found.trials for outcome in trial.outcomes})
        known = None if None in costs else sum(cost or 0.0 for cost in costs)
        took[RIVAL] = (known, sum(trained.seconds for trained in tried))
        bills = tuple(
            money.bill(
                contender,
                spent=took[contender.name][0],
                seconds=took[contender.name][1],
                labelled=contender.train_rows + (len(self.plan.data.dev) if contender.name == RIVAL else looked),
                label_cost=self.plan.task.baseline.label_cost,
            )
            for contender in ruling.contenders
            if contender.name in took
        )
        return replace(ruling, bills=bills)

    def _entry(self, name: str, trial: Trial, outcomes: tuple[Outcome, ...]) -> verdict.Entry:
        whole = wordings.of_training_rows(self.store, self.run, self.plan.space, trial.params)
        used = len(self.plan.data.train) if whole else len(trial.prompt.demos)
        return verdict.Entry(name, outcomes, used, f"trial {trial.number}", priced=self._priced)

    @property
    def _priced(self) -> bool:
        return self.evaluate.ledger.model.price is not None
