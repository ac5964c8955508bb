"""The learning curve of a run: trains the baseline on fewer rows, has it scored, and notes what is left out.

A curve that is free is measured in full. A judge scores as much of it as it may be asked besides the verdict, and a
provider tunes on the numbers of rows that the task names, as far as the budget covers them. `curve` evaluates the
results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from optimizer.baseline import Rival
from optimizer.budget import Spent, further
from optimizer.contenders import RIVAL, rivalled
from optimizer.errors import BudgetSpent, ProviderError
from optimizer.evaluate import Evaluator
from optimizer.phrases import amount
from optimizer.preparing import Plan
from optimizer.records import LearningCurve, Outcome, Verdict
from optimizer.rivals import curve
from optimizer.rivals.curve import FEWEST_SIZES, Size
from optimizer.scores.judge import Judge
from optimizer.scoring import Grader, grader
from search_spaces.prompt import Example

Outcomes = Sequence[Outcome]
Answers = list[str]

HEARD = 0.5  # least share of the test rows that every rival on the curve has scored


@dataclass
class Growth:
    """Measures the learning curve of a run's trained baseline, after the verdict.

    Parameters
    ----------
    plan, evaluate, rival
        The run's own.
    stage
        Announces a step, and stops the run if the user asked for that.
    """

    plan: Plan
    evaluate: Evaluator
    rival: Rival
    stage: Callable[[str, str], None]
    lacking: list[str] = field(default_factory=list, init=False)
    jobs: list[float] = field(default_factory=list, init=False)  # US dollars of each

    def measure(self, verdict: Verdict) -> tuple[LearningCurve | None, str]:
        """Measure the learning curve; return it and what it shows in words, or None and why there is none."""
        data, judge, kind = self.plan.data, self.evaluate.judge, self.rival.trained.kind
        sizes = self.plan.task.baseline.provider.curve if self.rival.anew else []
        if self.rival.refit is None and not sizes:
            said = f"How the {kind} baseline grows with its rows was not measured: each size would be a job to pay for."
            return None, said
        if judge and not self.rival.serves:
            return None, ""
        rng = np.random.default_rng(self.plan.task.search.seed)
        grown = self._bought(sizes, verdict, rng) if sizes else self._trained(judge, rng)
        if grown is None:
            return None, ""
        if judge and not self._heard([rivalled(verdict).outcomes, *(each for size in grown for each in size.draws)]):
            self.lacking.append("no learning curve: the judge gave no score too often")
            return None, ""
        found = curve.measure(grown, len(data.train), data.test, self.evaluate.metric, verdict, rng)
        return found, f"{curve.sentence(found)}{self._took()}" if self.rival.serves else ""

    def _took(self) -> str:
        """Say what the fine-tuning jobs of a curve cost; empty without any."""
        jobs, usd = len(self.jobs), sum(self.jobs)
        said = f"{jobs} more fine-tuning job{'s' * (jobs > 1)}{f', {amount(usd)}' if usd else ''}"
        return f" It took {said}." if jobs else ""

    # --- trained here -----------------------------------------------------------------------------------------

    def _trained(self, judge: Judge | None, rng: np.random.Generator) -> list[Size[Outcomes]] | None:
        """Train on fewer rows, for at most the baseline's `seconds` again, and have the answers scored."""
        assert self.rival.refit is not None
        data, seconds = self.plan.data, self.plan.task.baseline.seconds
        until = time.perf_counter() + seconds

        def go_on(size: int) -> bool:
            self.stage("curve", f"training the rival on {size:,} rows")
            return time.perf_counter() < until

        refit, targets = self.rival.refit(data.train, data.test), [row.target for row in data.train]
        grown = curve.grow(refit, targets, rng, most=self.rival.draws, go_on=go_on)
        if len(grown) < len(wanted := curve.sizes(len(targets))[:-1]):
            left = f"{seconds:g} s, the seconds of [baseline], were over before {wanted[len(grown)]:,} rows"
            if len(grown) < FEWEST_SIZES:
                self.lacking.append(f"no learning curve: {left}")
                return None
            self.lacking.append(f"learning curve up to {grown[-1].rows:,} rows alone: {left}")
        return self._judged(grown, judge) if judge else self._scored(grown, grader(self.evaluate.metric))

    def _judged(self, grown: Sequence[Size[Answers]], judge: Judge) -> list[Size[Outcomes]] | None:
        """Have as much of the curve judged as the judge may be asked; None if that is too little for a curve."""
        why = ""
        for kept in curve.thinned(grown):
            try:
                found = self._scored(kept, judge.beside)
            except BudgetSpent as spent:
                why = why or str(spent)
                continue
            if why:
                draws = max(len(size.draws) for size in kept)
                self.lacking.append(f"learning curve of {len(kept)} sizes in {draws} draws alone: as a whole {why}")
            return found
        self.lacking.append(f"no learning curve: {why}")
        return None

    def _scored(self, grown: Sequence[Size[Answers]], grade: Grader) -> list[Size[Outcomes]]:
        """Score the answers to the test rows, the first draw of each size before the second of any.

        In this order, a smaller curve is complete if a cap is reached on the way.
        """
        test, most = self.plan.data.test, max((len(size.draws) for size in grown), default=0)
        given = [answers for draw in range(most) for size in grown for answers in size.draws[draw : draw + 1]]
        asked = [(row, answer) for answers in given for row, answer in zip(test, answers, strict=True)]
        grades = {(row.id, answer): found for (row, answer), found in zip(asked, grade(asked), strict=True)}

        def outcomes(answers: Answers) -> Outcomes:
            pairs = [(row.id, answer) for row, answer in zip(test, answers, strict=True)]
            scored = ((*pair, *grades[pair]) for pair in pairs)
            return [Outcome(row, kind, value, answer, text=said) for row, answer, kind, value, said in scored]

        return [Size(size.rows, tuple(map(outcomes, size.draws))) for size in grown]

    def _heard(self, several: Sequence[Outcomes]) -> bool:
        """Whether enough of the test rows have a score from everyone on the curve."""
        scored = [{outcome.example_id for outcome in outcomes if outcome.score is not None} for outcomes in several]
        return len(set.intersection(*scored)) >= HEARD * len(self.plan.data.test)

    # --- tuned by a provider ----------------------------------------------------------------------------------

    def _bought(self, sizes: Sequence[int], verdict: Verdict, rng: np.random.Generator) -> list[Size[Outcomes]] | None:
        """Have a model tuned on each number of rows, once, while the budget covers it; None if it covers none."""
        data, metric, found = self.plan.data, self.evaluate.metric, list[Size[Outcomes]]()
        drawn = curve.order([row.target for row in data.train], rng)
        for place, size in enumerate(sizes):
            self.stage("curve", f"a fine-tuning job on {size} rows")
            try:
                rival = self._tuned([data.train[int(row)] for row in drawn[:size]], verdict)
                self.jobs.append(rival.trained.cost or 0.0)
                found.append(Size(size, (rival.outcomes(data.test, metric, self.evaluate.judge),)))
            except BudgetSpent as spent:
                left = ", ".join(str(more) for more in sizes[place:])
                self.lacking.append(f"no learning curve at {left} rows: {spent}")
                break
            except ProviderError as error:
                self.lacking.append(f"no learning curve at {size} rows: {error}")
        return found or None

    def _tuned(self, rows: Sequence[Example], verdict: Verdict) -> Rival:
        """Have a model tuned; the cost of its answers to the test rows is held back, so that no job is paid in vain."""
        assert self.rival.anew is not None
        theirs = next(c.outcomes for c in verdict.contenders if c.name == RIVAL)
        kept = further([Spent(1, outcome.cost, outcome.tokens) for outcome in theirs]) * len(theirs)
        kept += self.evaluate.judge.each * len(theirs) if self.evaluate.judge else Spent()
        budget = self.evaluate.ledger.budget
        budget.held += kept
        try:
            return self.rival.anew(rows, self.plan.data.dev)
        finally:
            budget.held -= kept
