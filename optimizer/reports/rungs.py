"""The kinds of trained rivals that a run tried, as a table. Takes records, opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizer.records import Rung, TrainedModel
from optimizer.report import dollars, percent
from optimizer.reports.grids import Grid


def best_on_dev(rungs: Iterable[Rung]) -> TrainedModel | None:
    """Return the trained rival with the best dev score; of equal ones the first, which is the cheaper kind."""
    return max((rung.trained for rung in rungs if rung.trained), key=lambda trained: trained.dev_score, default=None)


def ladder_grid(ladder: Sequence[Rung], metric: str) -> Grid:
    """Return a table of the kinds that were trained; the best on dev is the one in the verdict."""
    best = best_on_dev(ladder)
    rows = tuple(
        (
            f"{trained.kind}{' *' if trained is best else ''}",
            percent(trained.dev_score),
            str(trained.trials),
            f"{trained.seconds:,.1f}",
            dollars(trained.cost),
            trained.detail,
        )
        for trained in (rung.trained for rung in ladder)
        if trained
    )
    shown = "rouge_l" if metric == "judge" else metric  # rivals are trained with it instead of a judge
    columns = ("kind", f"dev {shown}", "trials", "s to train", "$ to train", "what it is")
    return Grid("Trained baselines (* = best on dev, the one in the verdict)", columns, rows)


def left_out(ladder: Sequence[Rung]) -> list[str]:
    """Return a line on which kinds were left out, and why; no line if none was."""
    said = "; ".join(f"{rung.kind} ({rung.left_out})" for rung in ladder if rung.left_out)
    return [f"baselines left out: {said}"] if said else []
