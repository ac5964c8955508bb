"""The learning curve and the bills as tables and text. Takes records, opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.contenders import RIVAL, on_both
from optimizer.evidence.axes import axes_grid
from optimizer.evidence.money import break_even
from optimizer.records import Bill, CurvePoint, LearningCurve, Verdict
from optimizer.report import dollars, percent, spread
from optimizer.reports.grids import Grid
from optimizer.reports.rungs import ladder_grid

ONCE = "each number was drawn once: its intervals tell of the test rows, not of the luck of the draw"


def drawn_once(points: Sequence[CurvePoint]) -> bool:
    """Return whether each number of rows of a curve was drawn only once; of all rows, there is only one draw anyway."""
    return len(points) > 1 and all(point.repeats == 1 for point in points)


def curve_grid(curve: LearningCurve, metric: str, where: str = "") -> Grid:
    """Return a table of the trained baseline by its number of training rows; `where` it is compared with the prompt."""
    rows = tuple(
        (
            f"{point.rows:,}{' *' if point.rows == curve.crossover else ''}",
            percent(point.score),
            spread(point.interval),
            f"{100 * point.difference:+z.1f}",
            f"{100 * point.difference_interval[0]:+.1f} to {100 * point.difference_interval[1]:+.1f}",
            str(point.repeats),
        )
        for point in curve.points
    )
    columns = ("training rows", metric, "95 %", f"points over the {curve.prompt}{where}", "95 %", "draws")
    star = f"{'is level with' if curve.level else 'overtakes'} the prompt"
    note = f"; {ONCE}" if drawn_once(curve.points) else ""
    return Grid(f"The trained baseline by its labelled rows (* = {star}{note})", columns, rows)


def bills_grid(verdict: Verdict) -> Grid:
    """Return a table of what prompt and baseline cost to find and to use."""
    return Grid(
        "What each costs",
        ("contender", "labelled rows", "$ labels", "$ to find", "s to find (this run)", "$ / 1,000", "ms / 1,000"),
        tuple(_bill_row(bill) for bill in verdict.bills),
    )


def _bill_row(bill: Bill) -> tuple[str, ...]:
    return (
        bill.name,
        f"{bill.labelled:,}",
        dollars(bill.labels),
        dollars(bill.finding),
        f"{bill.seconds:,.1f}",
        dollars(bill.cost_per_1000),
        f"{bill.ms_per_1000:,.0f}",
    )


def pays_off(verdict: Verdict) -> str:
    """Return a sentence on when the contender that is dearer to find has paid off; empty for a run without bills."""
    return break_even(*verdict.bills).said if len(verdict.bills) == 2 else ""


def grids(verdict: Verdict | None) -> list[Grid]:
    """Return tables of the kinds of rivals, the learning curve, the bills and the axes of a verdict."""
    if verdict is None:
        return []
    where = on_both(verdict.contenders, verdict.curve.prompt, RIVAL) if verdict.curve else ""
    tried = sum(rung.trained is not None for rung in verdict.ladder)
    return [
        *([ladder_grid(verdict.ladder, verdict.metric)] if tried > 1 else []),
        *([curve_grid(verdict.curve, verdict.metric, where)] if verdict.curve else []),
        *([bills_grid(verdict), axes_grid(verdict)] if verdict.bills else []),
    ]
