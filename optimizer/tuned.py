"""What comes of a run: the trials, the winner, the verdict, and what it took. A noun with its ways to be read."""

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
    """What `tune` returns; printed, it is short.

    Attributes
    ----------
    run
        The run as results.db has it: its number, status, reason to end, calls bought and reused, attempts that failed,
        and cost.
    trials
        The prompts that were tried, in order, with their scores on dev rows.
    best
        The one of them that won.
    verdict
        How it compares with the seed prompt and the trained baseline on sealed test rows; None if the budget did not
        cover that.
    notes
        What was odd in the rows and the calls, a sentence each.
    importances
        What each dimension of the space explains, the most first.
    ablations
        What each ingredient is worth in the winner, if that was asked for.
    judged, proposed, taught
        What the run has spent on its judge, on proposals of wordings and on a teacher; None where it has none.
    said
        What it told whoever watched it on its way: what became of proposals, which cap is nearly reached.
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
        """Say what came of the run; its trials would fill the screen."""
        return f"<Tuned: {self._found}. {self.verdict or 'No verdict.'}>"

    def _repr_markdown_(self) -> str:
        """Show the same in a notebook, with the verdict's tables."""
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
        """The best prompt as a person reads it; inputs stand as {name}."""
        from optimizer.handover import renderer_for

        return prompt_text(renderer_for(self.best, self.run.task), self.best)

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in score, cost and latency, the best score first."""
        return front.front(self.trials)

    def to_dspy(self) -> Any:  # noqa: ANN401 - DSPy has no types
        """Make a `dspy.Predict` of the best prompt; where DSPy lays it out in another way, a warning says so."""
        from optimizer.programs import adapters

        return adapters.to_dspy(self.best.prompt)
