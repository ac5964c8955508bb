"""What a verdict finds beside the scores: joins `cascade`, `elsewhere` and `quality` for one run.

Buys answers to out-of-domain rows; everything else comes from what was answered already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from optimizer import baseline, cascade, elsewhere, quality
from optimizer.cascade import Answered, Chosen
from optimizer.elsewhere import DEV, OOD, TRAIN
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Evaluator
from optimizer.findings import Cascade, Findings, Suspect
from optimizer.overlap import audit
from optimizer.preparing import Plan
from optimizer.records import Outcome, Trial, Verdict
from optimizer.verdict import BEST, CASCADE, RIVAL, SEED, Entry
from search_spaces.prompt import Example


@dataclass
class Inquiry:
    """Looks into one run whose search is over.

    Parameters
    ----------
    plan, evaluate
        The run's own.
    trials
        Contender -> trial: the seed prompt's and, if that is another, the best prompt's.
    rival
        The trained baseline.
    """

    plan: Plan
    evaluate: Evaluator
    trials: dict[str, Trial]
    rival: baseline.Rival
    chosen: Chosen | None = field(init=False)

    def __post_init__(self) -> None:
        """Choose the cascade's threshold: before a test row is opened."""
        self.prompt = BEST if BEST in self.trials else SEED
        self.rng = np.random.default_rng(self.plan.task.search.seed)
        dev = self.plan.data.dev
        theirs = self.rival.outcomes(dev, self.evaluate.metric)
        self.dev = self._answered(dev, self.trials[self.prompt].outcomes, theirs)
        self.chosen = cascade.choose(self.dev, self.evaluate.metric)

    def entry(self, entries: Sequence[Entry]) -> list[Entry]:
        """The cascade as a contender, made of those on the test rows; none if no threshold was chosen."""
        if self.chosen is None:
            return []
        given = {entry.name: entry for entry in entries}
        test = self._answered(self.plan.data.test, given[self.prompt].outcomes, given[RIVAL].outcomes)
        used = max(given[self.prompt].train_rows, given[RIVAL].train_rows)
        detail = cascade.detail(self.chosen, test, self.prompt)
        return [Entry(CASCADE, test.mixed(self.chosen.least), used, detail, priced=given[self.prompt].priced)]

    def findings(self, verdict: Verdict) -> tuple[Findings, str, str]:
        """Look for all there is to find; say what matters most, and what the budget did not cover."""
        data, metric = self.plan.data, self.evaluate.metric
        dev = {name: trial.outcomes for name, trial in self.trials.items()} | {RIVAL: self.dev.baseline}
        given: dict[str, elsewhere.Given] = {TRAIN: {RIVAL: self.rival.outcomes(data.train, metric)}, DEV: dev}
        if self.chosen:
            given[DEV] = {**dev, CASCADE: self.chosen.dev.mixed(self.chosen.least)}
        lacking = ""
        try:
            given[OOD] = self._away()
        except BudgetSpent as spent:
            lacking = f"no score on the ood rows: {spent}"
        test = self._test(verdict)
        rows = (*data.train, *data.dev)
        found = Findings(
            self._front(verdict, test),
            (
                *elsewhere.measure(verdict, {k: v for k, v in given.items() if k != OOD}, rows, metric, self.rng),
                *elsewhere.measure(verdict, {OOD: given.get(OOD, {})}, self.plan.ood, metric, self.rng),
            ),
            quality.ranked([*self._suspects(DEV, self.dev), *self._suspects("test", test)]),
            quality.duplicates(data, audit(data)),
            quality.drifts(
                {TRAIN: data.train, DEV: data.dev, "test": data.test, OOD: self.plan.ood},
                self.rng,
                labelled=bool(self.plan.labels),
            ),
        )
        together = cascade.sentence(found.cascade, verdict) if found.cascade else ""
        said = (together, elsewhere.sentence(found.elsewhere), quality.sentence(found.drifts))
        return found, " ".join(each for each in said if each), lacking

    def _away(self) -> elsewhere.Given:
        """Ask every contender the out-of-domain rows."""
        rows, metric = self.plan.ood, self.evaluate.metric
        if not rows:
            return {}
        given: dict[str, Sequence[Outcome]] = {
            name: self.evaluate.rows(self.evaluate.settle(trial), rows) for name, trial in self.trials.items()
        }
        given[RIVAL] = self.rival.outcomes(rows, metric)
        if self.chosen:
            answered = self._answered(rows, given[self.prompt], given[RIVAL])
            given[CASCADE] = answered.mixed(self.chosen.least)
        return given

    def _answered(self, rows: Sequence[Example], ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Answered:
        return Answered(rows, ours, theirs, np.array(self.rival.confidence([row.text for row in rows])))

    def _test(self, verdict: Verdict) -> Answered:
        given = {contender.name: contender.outcomes for contender in verdict.contenders}
        return self._answered(self.plan.data.test, given[self.prompt], given[RIVAL])

    def _front(self, verdict: Verdict, test: Answered) -> Cascade | None:
        if self.chosen is None:
            return None
        priced = next(c for c in verdict.contenders if c.name == self.prompt).cost_per_1000 is not None
        names = (self.prompt, RIVAL)
        return cascade.front(self.chosen, test, names, self.evaluate.metric, self.rng, priced=priced)

    def _suspects(self, split: str, answered: Answered) -> list[Suspect]:
        sure = self.chosen.calibrated(answered.confidence) if self.chosen else answered.confidence
        by_id = {row.id: float(each) for row, each in zip(answered.rows, sure, strict=True)}
        return quality.suspects(split, answered.rows, answered.prompt, answered.baseline, by_id)
