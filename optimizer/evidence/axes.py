"""Prompt or training, on five axes: each cell has figures measured on this task, each row ends with a conclusion.

The axes are those on which the two are usually discussed without numbers. Takes a verdict, opens no file, prints
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimizer.contenders import CASCADE, LEVEL, RIVAL, on_both, rivalled
from optimizer.evidence.money import break_even
from optimizer.findings import Elsewhere, Findings, GroupGap, Steadiness
from optimizer.records import Bill, Contender, Kind, Verdict
from optimizer.report import dollars, percent, spread
from optimizer.reports.grids import Grid
from optimizer.reports.rungs import best_on_dev

UNKNOWN = "not measured"


def axes_grid(verdict: Verdict) -> Grid:
    """Return a table of prompt, trained baseline and, if there is one, their cascade on the five axes."""
    names = [rivalled(verdict).name, RIVAL, CASCADE]
    compared = [contender for name in names for contender in verdict.contenders if contender.name == name]
    axes: list[tuple[str, str, Callable[[Verdict, Contender], str], str]] = [
        ("focus", f"{verdict.metric} (95 %), less that on dev", _focus, _focused(verdict)),
        ("training data", "labelled rows learned from", _taught, _crossover(verdict)),
        ("resource usage", "to find (seconds: of this run); per 1,000 requests", _spent, _paid_off(verdict)),
        ("control", "answers in the wanted form; worst change", _steered, _steady(verdict)),
        ("applicability", "on other rows; widest gap of groups", _applied, _travels(verdict)),
    ]
    rows = tuple(
        (axis, measured, *(cell(verdict, contender) for contender in compared), reading)
        for axis, measured, cell, reading in axes
    )
    return Grid("Prompt or training, on five axes", ("axis", "measured", *(c.name for c in compared), "reading"), rows)


# --- cells ------------------------------------------------------------------------------------------------


def _focus(verdict: Verdict, contender: Contender) -> str:
    dev = _elsewhere(verdict, contender.name, "dev")
    gap = f", {_points(-dev.difference)}" if dev else ""
    return f"{percent(contender.score)} ({spread(contender.interval)}){gap}"


def _taught(_: Verdict, contender: Contender) -> str:
    return f"{contender.train_rows:,}"


def _spent(verdict: Verdict, contender: Contender) -> str:
    use = f"{dollars(contender.cost_per_1000)} and {contender.ms_per_1000 / 1000:,.1f} s"
    bill = _bill(verdict, contender.name)
    return f"{dollars(bill.finding)} and {bill.seconds:,.0f} s; {use}" if bill else f"both of these; {use}"


def _steered(verdict: Verdict, contender: Contender) -> str:
    answered = [outcome for outcome in contender.outcomes if outcome.kind is not Kind.ERROR]
    read = sum(outcome.kind is not Kind.UNPARSED for outcome in answered)
    steady = _steadiness(verdict, contender.name)
    worst = f"; {_points(steady.worst_difference)} ({steady.worst})" if steady else ""
    cut = sum(outcome.cut for outcome in answered)
    short = f" ({cut} cut off)" if cut else ""
    return percent(read / len(answered) if answered else None) + short + worst


def _applied(verdict: Verdict, contender: Contender) -> str:
    away = _elsewhere(verdict, contender.name, "ood")
    gaps = [gap for gap in _findings(verdict).gaps if gap.name == contender.name]
    widest = max(gaps, key=lambda gap: gap.difference, default=None)
    other = f"{percent(away.score)}, {_points(away.difference)}" if away else UNKNOWN
    return other + (f"; {100 * widest.difference:.1f} points by {widest.column}" if widest else "")


# --- readings ---------------------------------------------------------------------------------------------


def _focused(verdict: Verdict) -> str:
    prompt = rivalled(verdict).name
    for found in verdict.comparisons:
        if (found.a, found.b) == (prompt, RIVAL):
            better = found.a if found.difference > 0 else found.b
            shown = found.p_value < LEVEL
            where = on_both(verdict.contenders, prompt, RIVAL)
            ahead = f"{better} ahead by {100 * abs(found.difference):.1f} points{where}"
            return ahead if shown else "no difference shown"
    return UNKNOWN


def _crossover(verdict: Verdict) -> str:
    curve = verdict.curve
    if curve is None:
        best = best_on_dev(verdict.ladder)
        if best and best.kind == "provider":
            return "with fewer rows: name numbers of them as curve in [baseline.provider]"
        return "with fewer rows: allow more as further in [judge]" if verdict.metric == "judge" else UNKNOWN
    if curve.crossover is None:
        return f"training is not ahead with the {curve.points[-1].rows:,} rows there are"
    stands = "level" if curve.level else "ahead"
    return (
        f"training is {stands} from about {curve.crossover:,} rows on{' (extrapolated)' if curve.extrapolated else ''}"
    )


def _paid_off(verdict: Verdict) -> str:
    return break_even(*verdict.bills).said if len(verdict.bills) == 2 else UNKNOWN


def _steady(verdict: Verdict) -> str:
    pair = [each for each in (_steadiness(verdict, c.name) for c in verdict.contenders) if each]
    if not pair:
        return "under noise and other wordings: ask for it with --robustness"
    firmer = max(pair, key=lambda each: each.worst_difference)
    return f"{firmer.name} loses least at its worst, of {firmer.changes} changes"


def _travels(verdict: Verdict) -> str:
    names = (rivalled(verdict).name, RIVAL)
    away = [each for each in (_elsewhere(verdict, name, "ood") for name in names) if each]
    shown = [gap for gap in _findings(verdict).gaps if gap.p_value < LEVEL]
    said = ["give other rows as ood in [data]"] if not away else [_kept(away)]
    return "; ".join([*said, *(f"gap shown: {_where(gap)}" for gap in shown)])


def _kept(away: Sequence[Elsewhere]) -> str:
    best = max(away, key=lambda each: each.score)
    return f"{best.name} scores higher there, by {100 * (best.score - min(each.score for each in away)):.1f} points"


def _where(gap: GroupGap) -> str:
    return f"{gap.name}, {gap.column}: {gap.best} over {gap.worst}"


# --- what a verdict holds ---------------------------------------------------------------------------------


def _findings(verdict: Verdict) -> Findings:
    return verdict.findings or Findings()


def _elsewhere(verdict: Verdict, name: str, rows: str) -> Elsewhere | None:
    return next((each for each in _findings(verdict).elsewhere if (each.name, each.rows) == (name, rows)), None)


def _steadiness(verdict: Verdict, name: str) -> Steadiness | None:
    return next((each for each in _findings(verdict).steadiness if each.name == name), None)


def _bill(verdict: Verdict, name: str) -> Bill | None:
    return next((bill for bill in verdict.bills if bill.name == name), None)


def _points(difference: float) -> str:
    return f"{100 * difference:+z.1f} points"
