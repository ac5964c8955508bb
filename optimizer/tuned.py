"""The result of a run: the trials, the winner, the verdict, and what it took, with ways to show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optimizer import front
from optimizer.budget import Spent
from optimizer.prompt_text import prompt_text
from optimizer.records import Ablation, Importance, Run, Trial, Verdict
from optimizer.report import comparisons_grid, percent, verdict_grid
from optimizer.reports.markdown import inline, table


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `tune` returns. It prints as a short summary.

    Attributes
    ----------
    run
        The run as recorded in results.db: its number, status, reason for ending, calls bought and reused, failed
        attempts, and cost.
    trials
        The prompts that were tried, in order, with their scores on dev rows.
    best
        The winning trial.
    verdict
        How it compares with the seed prompt and the trained baseline on the sealed test rows; None if the budget did
        not cover that.
    notes
        Oddities in the rows and the calls, one sentence each.
    importances
        How much each dimension of the space explains, largest first.
    ablations
        What each ingredient of the winner is worth, if requested.
    judged, proposed, taught
        What the run has spent on its judge, on proposals of wordings and on a teacher; None without them.
    said
        Notices that were sent to the watch during the run, such as on proposals, or a cap that is nearly reached.
    """

    run: Run
    trials: tuple[Trial, ...]
    best: Trial
    verdict: Verdict | None
    notes: tuple[str, ...] = ()
    importances: tuple[Importance, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    judged: Spent | None = None
    proposed: Spent | None = None
    taught: Spent | None = None
    said: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a summary without the trials, which would fill the screen."""
        return f"<Tuned: {self._found}. {self.verdict or 'No verdict.'}>"

    def _repr_markdown_(self) -> str:
        """Return the same summary for a notebook, with the verdict's tables."""
        grids = (verdict_grid(self.verdict), comparisons_grid(self.verdict)) if self.verdict else ()
        tables = ("\n".join(table(grid)) for grid in grids)
        return "\n\n".join([inline(self._found), *tables, inline(str(self.verdict or "No verdict."))])

    @property
    def _found(self) -> str:
        run, best = self.run, self.best
        found = f"best on dev: trial {best.number} of {len(self.trials)}, {run.metric} {percent(best.score)}"
        return f"run {run.id}, {run.name} on {run.model}; {found}"

    @property
    def prompt(self) -> str:
        """The best prompt as readable text, with {name} for inputs."""
        from optimizer.handover import renderer_for

        return prompt_text(renderer_for(self.best, self.run.task), self.best)

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in score, cost and latency, best score first."""
        return front.front(self.trials)

    def to_dspy(self) -> Any:  # noqa: ANN401 - DSPy has no types
        """Make a `dspy.Predict` of the best prompt, with a warning if DSPy lays it out differently."""
        from optimizer.programs import adapters

        return adapters.to_dspy(self.best.prompt)
