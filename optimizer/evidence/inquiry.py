"""What a verdict finds besides the scores: combines `cascade`, `elsewhere`, `quality`, `fairness` and `robustness`.

Buys answers to rows of other files, to rows with swapped terms, under changes, with hints and with picked demos, and
runs the search of a prompt for a tuned model; all other answers exist already. A judge scores these, too, and the
baseline's answers to dev and training rows, as far as it has further judgements for analyses that were not requested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from optimizer.baseline import Rival
from optimizer.budget import Spent
from optimizer.contenders import BEST, CASCADE, DISTILLED, HINTED, PICKED, RIVAL, SEED, TUNED
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Cell, Evaluator
from optimizer.evidence import cascade, elsewhere, fairness, quality, robustness, together
from optimizer.evidence.cascade import Answered, Chosen
from optimizer.evidence.elsewhere import DEV, OOD, TRAIN
from optimizer.evidence.reckoning import Reckoning
from optimizer.evidence.tuned_prompt import TunedPrompt
from optimizer.findings import Cascade, Changed, Elsewhere, Findings, Flips, Steadiness, Suspect
from optimizer.phrases import counted
from optimizer.preparing import Plan
from optimizer.records import Outcome, Trial, Verdict
from optimizer.rows.overlap import audit
from optimizer.scoring import Grader, of_rows
from optimizer.task_rows import reading
from optimizer.verdict import ERRORS, Entry
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space

T = TypeVar("T")

NOBODY = Answered((), (), (), np.zeros(0))


@dataclass
class Inquiry:
    """The analyses of one run whose search is over. `lacking` says which were left out, and why.

    Parameters
    ----------
    plan, evaluate
        Those of the run.
    trials
        Contender -> trial: the seed prompt's and, if that is another, the best prompt's.
    rival
        The trained baseline.
    space
        The run's space, with the wordings that were added.
    """

    plan: Plan
    evaluate: Evaluator
    trials: dict[str, Trial]
    rival: Rival
    space: Space
    chosen: Chosen | None = field(init=False)
    lacking: list[str] = field(default_factory=list, init=False)
    pupil: Rival | None = field(default=None, init=False)
    tuned: TunedPrompt | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Choose the cascade's threshold, before the test rows are opened."""
        self.prompt = BEST if BEST in self.trials else SEED
        self.seed = self.plan.task.search.seed
        self.read = reading(self.plan.task, self.plan.labels)
        self.rng = np.random.default_rng(self.seed)
        dev, ours = self.plan.data.dev, self.trials[self.prompt].outcomes
        self.reckoning = Reckoning(self.evaluate, self.rival, dev, ours)
        self.beside = self.evaluate.judge and self.evaluate.judge.beside
        theirs = None
        if self.beside and not self.rival.serves:
            self.lacking.append("no cascade and no learning curve: no trained baseline serves, and the judge is spared")
        else:
            what = f"cascade and no dev score of the {RIVAL}"
            theirs = self._within(what, lambda: self._theirs(dev, judge=self.beside))
        self.dev = NOBODY if theirs is None else self._answered(dev, ours, theirs)
        self.chosen = None if theirs is None else cascade.choose(self.dev, self.evaluate.metric)

    def distil(self) -> None:
        """Let the winner label rows for the baseline, if the caps cover that in addition to the verdict."""
        rows, data = self.plan.unlabelled, self.plan.data
        if self.rival.retrain is None:
            self.lacking.append(f"no distillation: the {self.rival.trained.kind} baseline is not trained again")
            return
        labels = self.reckoning.prompt([(self._winner(), row) for row in rows], judged=False)
        # The pupil's answers are known only after its training, so each of them may have to be judged.
        more = self.evaluate.judge.each * len(data.test) if self.evaluate.judge and labels.calls else Spent()
        if lacking := self.reckoning.lacking(labels, self.reckoning.baseline(rows, judged=False), more):
            self.lacking.append(f"no distillation: {lacking}")
            return
        metric = self.plan.taught
        try:
            answers = [answer for _, _, answer in self.evaluate.answer(self._winner(), rows)]
            new = together.labelled(rows, answers, self.plan.labels)
            self.pupil = together.distil(self.rival, data, new, metric, self.plan.several, self.seed)
        except BudgetSpent as spent:
            self.lacking.append(f"no distillation: {spent}")
            return
        self.taught = len(new)

    def search_again(self, tuned: Evaluator | None) -> None:
        """Search for a prompt for the tuned model, if there is one."""
        if tuned:
            self.tuned = TunedPrompt(self.plan, tuned, self.trials[self.prompt].outcomes)
        said = self.tuned.search() if self.tuned else "no model was tuned"
        if said:
            self.lacking.append(f"no prompt for the tuned model: {said}")

    def entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return further contenders on the test rows: the requested combinations of both, and the cascade."""
        return [
            *self._distilled(),
            *self._hinted(entries),
            *self._picked(entries),
            *self._own(),
            *self._cascade(entries),
        ]

    def _distilled(self) -> list[Entry]:
        """Return the baseline trained on the winner's labels, if there is one and the caps cover its judgement."""
        pupil, test = self.pupil, self.plan.data.test
        if pupil is None:
            return []
        if self.beside and (lacking := self.reckoning.lacking(self.reckoning.baseline(test, pupil), self._ood())):
            self.lacking.append(f"no distillation: {lacking}")
            outcomes = None
        else:
            outcomes = self._within("distillation", lambda: self._theirs(test, pupil))
        if outcomes is None:
            self.pupil = None
            return []
        detail = f"{counted(self.taught, 'row')} labelled by the {self.prompt}"
        return [Entry(DISTILLED, outcomes, len(self.plan.data.train) + self.taught, detail, pupil.priced)]

    def _hinted(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the winner with the baseline's guess added to each input, if requested and covered by the caps."""
        if not self.plan.task.verdict.hint:
            return []
        data, given = self.plan.data, {entry.name: entry for entry in entries}
        if self.rival.refit is None:
            self.lacking.append(f"no hint: the {self.rival.trained.kind} baseline is not trained again for the demos")
            return []
        if not self.dev.baseline:
            self.lacking.append("no hint: how often the baseline is right on the dev rows was not judged")
            return []
        right = together.share_right(self.dev.baseline)
        refit = self.rival.refit(data.train, data.train)
        guessed = together.guesses(refit, data.train, self.seed)
        prompt = together.hinted(self._winner(), guessed, right)
        rows = together.with_hint(data.test, [str(o.answer) for o in given[RIVAL].outcomes], prompt.inputs[-1])
        return self._helped(HINTED, "hint", [(prompt, row) for row in rows], "the baseline's guess", given)

    def _picked(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the winner with demos that the baseline picks for each input, if requested and covered by the caps."""
        if not self.plan.task.verdict.picked_demos:
            return []
        data = self.plan.data
        if self.rival.kin is None:
            self.lacking.append(f"no picked demos: the {self.rival.trained.kind} baseline has no features of rows")
            return []
        prompts = together.picked(self._winner(), self.rival, data.train, data.test)
        shown = len(prompts[0].demos)
        detail = f"{counted(shown, 'demo')} that the baseline picks for each row"
        given = {entry.name: entry for entry in entries}
        return self._helped(PICKED, "picked demos", [*zip(prompts, data.test, strict=True)], detail, given)

    def _helped(
        self, name: str, what: str, cells: Sequence[Cell], detail: str, given: Mapping[str, Entry]
    ) -> list[Entry]:
        """Answer the test rows with the winner helped by the baseline, if the caps cover that."""
        if lacking := self.reckoning.lacking(self.reckoning.prompt(cells), self._ood()):
            self.lacking.append(f"no {what}: {lacking}")
            return []
        outcomes = self._within(what, lambda: self.evaluate(cells))
        if outcomes is None:
            return []
        failed = [outcome.text for outcome in outcomes if outcome.score is None]
        if len(failed) > ERRORS * len(outcomes):  # such as prompts that are now too long; the verdict goes on without
            self.lacking.append(f"no {what}: {len(failed)} of {len(outcomes)} calls failed ({failed[0]})")
            return []
        outcomes = together.after(outcomes, given[RIVAL].outcomes)
        # It uses all training rows, because the baseline was trained on them.
        return [
            Entry(name, outcomes, len(self.plan.data.train), f"the {self.prompt} with {detail}", self._priced(given))
        ]

    def _own(self) -> list[Entry]:
        """Return the tuned model with the prompt found for it, if there is one and the caps cover it."""
        if self.tuned is None:
            return []
        found, lacking = self.tuned.entry(self._ood())
        if lacking:
            self.lacking.append(f"no {TUNED}: {lacking}")
        return found

    def _ood(self) -> Spent:
        """Return what the out-of-domain rows will take, which the budget must cover besides further contenders."""
        rows, rivals = self.plan.ood, [self.rival, *([self.pupil] if self.pupil else [])]
        cells = [(self.evaluate.settle(trial), row) for trial in self.trials.values() for row in rows]
        return sum((self.reckoning.baseline(rows, rival) for rival in rivals), self.reckoning.prompt(cells))

    def _priced(self, given: Mapping[str, Entry]) -> bool:
        """Whether the cost of prompt and baseline together is known."""
        return given[self.prompt].priced and self.rival.priced

    def _cascade(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the cascade of prompt and baseline; none if no threshold was chosen."""
        if self.chosen is None:
            return []
        given = {entry.name: entry for entry in entries}
        test = self._answered(self.plan.data.test, given[self.prompt].outcomes, given[RIVAL].outcomes)
        used = max(given[self.prompt].train_rows, given[RIVAL].train_rows)
        detail = cascade.detail(self.chosen, test, self.prompt)
        known = cascade.known(test, self.chosen.least, (given[self.prompt].priced, self.rival.priced))
        return [Entry(CASCADE, test.mixed(self.chosen.least), used, detail, priced=known)]

    def findings(self, verdict: Verdict) -> tuple[Findings, str]:
        """Run all analyses; return their findings, and sentences on what matters most."""
        data, metric, test = self.plan.data, self.evaluate.metric, self._test(verdict)
        given = {contender.name: contender.outcomes for contender in verdict.contenders}
        found = Findings(
            self._front(verdict, test),
            self._elsewhere(verdict),
            quality.ranked([*self._suspects(DEV, self.dev), *self._suspects("test", test)]),
            quality.duplicates(data, audit(data)),
            quality.drifts(
                {TRAIN: data.train, DEV: data.dev, "test": data.test, OOD: self.plan.ood},
                self.rng,
                labelled=bool(self.plan.labels),
            ),
            fairness.group_scores(given, data.test, data.slices, metric, self.seed),
            fairness.group_gaps(given, data.slices, self.seed),
            self._within("swapped terms", lambda: self._flips(given)) or (),
            *(self._within("robustness", lambda: self._steadiness(given)) or ((), ())),
        )
        said = (
            cascade.sentence(found.cascade, verdict) if found.cascade else "",
            elsewhere.sentence(found.elsewhere),
            quality.sentence(found.drifts),
            fairness.sentence(found.gaps, found.flips, (self.prompt, RIVAL), of_rows(metric)),
            robustness.sentence(found.steadiness),
            together.sentence(verdict, self.prompt),
        )
        return found, " ".join(each for each in said if each)

    def _elsewhere(self, verdict: Verdict) -> tuple[Elsewhere, ...]:
        """Score the contenders on train, dev and out-of-domain rows; on dev, only rows that the prompt has answered."""
        data, metric = self.plan.data, self.evaluate.metric
        both = self.dev.scored()
        dev = {name: trial.outcomes for name, trial in self.trials.items()} | {RIVAL: both.baseline}
        if self.chosen:
            dev[CASCADE] = both.mixed(self.chosen.least)
        if (pupil := self.pupil) and both.rows:
            found = self._within(f"dev score of the {DISTILLED}", lambda: self._theirs(both.rows, pupil, self.beside))
            dev[DISTILLED] = found or ()
        # Judging or buying answers to rows that the baseline was trained on is not worth the price; see `learned`.
        train = {} if self.rival.paid or self.beside else {TRAIN: {RIVAL: self._theirs(data.train)}}
        given: dict[str, elsewhere.Given] = {**train, DEV: dev}
        near = elsewhere.measure(verdict, given, (*data.train, *data.dev), metric, self.seed)
        try:
            away = self._away()
        except BudgetSpent as spent:
            self.lacking.append(f"no score on the ood rows: {spent}")
            return near
        return *near, *elsewhere.measure(verdict, {OOD: away}, self.plan.ood, metric, self.seed)

    def learned(self, verdict: Verdict) -> tuple[Elsewhere, ...]:
        """Let a judge score the baseline's answers to training rows, as many as there are test rows.

        A baseline that retrieves answers returns the targets themselves, so this shows how the judge scores those.
        """
        data, beside = self.plan.data, self.beside
        if self.rival.paid or not self.rival.serves or beside is None:
            return ()
        some = data.train[: len(data.test)]
        found = self._within(f"train score of the {RIVAL}", lambda: self._theirs(some, judge=beside))
        given: dict[str, elsewhere.Given] = {TRAIN: {RIVAL: found or ()}}
        return elsewhere.measure(verdict, given, some, self.evaluate.metric, self.seed)

    def _flips(self, given: Mapping[str, Sequence[Outcome]]) -> tuple[Flips, ...]:
        """Answer the test rows with swapped terms with prompt and baseline, if the caps cover that."""
        rows, metric, winner = self.plan.swapped, self.evaluate.metric, self._winner()
        if not rows:
            if self.plan.task.verdict.swaps:
                self.lacking.append("no swapped terms: no test row holds one")
            return ()
        asked = self.reckoning.prompt([(winner, row) for row in rows])
        if lacking := self.reckoning.lacking(asked, self.reckoning.baseline(rows)):
            self.lacking.append(f"no swapped terms: {lacking}")
            return ()
        after = {
            self.prompt: self.evaluate.rows(winner, rows),
            RIVAL: self._theirs(rows),
        }
        turned = (
            fairness.flips(name, given[name], after[name], rows, metric, self.rng, read=self.read) for name in after
        )
        return tuple(each for each in turned if each)

    def _steadiness(self, given: Mapping[str, Sequence[Outcome]]) -> tuple[tuple[Changed, ...], tuple[Steadiness, ...]]:
        """Evaluate prompt and baseline under changes, if requested and covered by the caps."""
        if not self.plan.task.verdict.robustness:
            return (), ()
        rows, metric, winner = self.plan.data.test[: robustness.ROWS], self.evaluate.metric, self._winner()
        # A separate generator, so that the changes do not depend on other random draws, and no call is bought twice.
        rng = np.random.default_rng([self.seed, 1])
        noisy = robustness.noisy(rows, rng)
        reworked = robustness.reworked(winner, self.trials[self.prompt].params, self.space, rng)
        cells = {change: [(winner, row) for row in changed] for change, changed in noisy.items()}
        cells |= {change: [(prompt, row) for row in rows] for change, prompt in reworked.items()}
        asked = self.reckoning.prompt([cell for each in cells.values() for cell in each])
        if lacking := self.reckoning.lacking(asked, *(self.reckoning.baseline(changed) for changed in noisy.values())):
            self.lacking.append(f"no robustness: {lacking}")
            return (), ()
        after = {
            self.prompt: {change: self.evaluate(each) for change, each in cells.items()},
            RIVAL: {change: self._theirs(changed) for change, changed in noisy.items()},
        }
        found = [robustness.measure(name, given[name], after[name], rows, metric, self.rng) for name in after]
        return tuple(c for changed, _ in found for c in changed), tuple(steady for _, steady in found if steady)

    def _within(self, what: str, look: Callable[[], T]) -> T | None:
        """Run one optional analysis. If the budget does not cover it after all, note that and return None."""
        try:
            return look()
        except BudgetSpent as spent:
            self.lacking.append(f"no {what}: {spent}")
            return None

    def _winner(self) -> Prompt:
        return self.evaluate.settle(self.trials[self.prompt])

    def _theirs(
        self, rows: Sequence[Example], rival: Rival | None = None, judge: Grader | None = None
    ) -> tuple[Outcome, ...]:
        """Return the outcomes of the baseline, or of another one, on rows, scored as for all contenders."""
        return (rival or self.rival).outcomes(rows, self.evaluate.metric, judge or self.evaluate.judge)

    def _away(self) -> elsewhere.Given:
        """Answer the out-of-domain rows with every contender."""
        rows = self.plan.ood
        if not rows:
            return {}
        given: dict[str, Sequence[Outcome]] = {
            name: self.evaluate.rows(self.evaluate.settle(trial), rows) for name, trial in self.trials.items()
        }
        given[RIVAL] = self._theirs(rows)
        if self.pupil:
            given[DISTILLED] = self._theirs(rows, self.pupil)
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
        costs = {c.name: c.cost_per_1000 for c in verdict.contenders}
        priced = costs[self.prompt] is not None, costs[RIVAL] is not None
        names = (self.prompt, RIVAL)
        return cascade.front(self.chosen, test, names, self.evaluate.metric, self.seed, priced=priced)

    def _suspects(self, split: str, answered: Answered) -> list[Suspect]:
        if not quality.informed(answered.rows, answered.prompt):
            return []
        sure = self.chosen.calibrated(answered.confidence) if self.chosen else answered.confidence
        by_id = {row.id: float(each) for row, each in zip(answered.rows, sure, strict=True)}
        return quality.suspects(split, answered.rows, answered.prompt, answered.baseline, by_id, self.read)
