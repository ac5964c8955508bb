"""Prompt or training, on five axes: each cell has figures measured on this task, each row ends with a conclusion.

The axes are those on which the two are usually discussed without numbers. Takes a verdict, opens no file, prints
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimizer.contenders import CASCADE, LEVEL, RIVAL, on_both, rivalled
from optimizer.distributions import critical
from optimizer.evidence.money import break_even
from optimizer.findings import Changed, Elsewhere, Findings, GroupGap, Steadiness
from optimizer.phrases import counted
from optimizer.records import Bill, Contender, Kind, Verdict
from optimizer.report import dollars, percent, spread
from optimizer.reports.grids import Grid
from optimizer.reports.rungs import best_on_dev

UNKNOWN = "not measured"

Figure = tuple[float, tuple[float, float]]  # with its interval


def axes_grid(verdict: Verdict) -> Grid:
    """Return a table of prompt, trained baseline and, if there is one, their cascade on the five axes."""
    names = [rivalled(verdict).name, RIVAL, CASCADE]
    compared = [contender for name in names for contender in verdict.contenders if contender.name == name]
    axes: list[tuple[str, str, Callable[[Verdict, Contender], str], str]] = [
        ("focus", f"{verdict.metric} (95 %), less that on dev", _focus, _focused(verdict)),
        ("training data", "labelled rows learned from", _taught, _crossover(verdict)),
        ("resource usage", "to find (seconds: of this run); per 1,000 requests", _spent, _paid_off(verdict)),
        ("control", "answers in the wanted form; worst change", _steered, _steady(verdict)),
        ("applicability", "on other rows; widest gap of groups, in mean row scores", _applied, _travels(verdict)),
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
    if widest is None:
        return other
    return other + (
        "; no gap" if widest.best == widest.worst else f"; {100 * widest.difference:.1f} points by {widest.column}"
    )


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
    tried = {each.name: _changes(verdict, each.name) for each in pair}
    common = set.intersection(*(set(changes) for changes in tried.values()))
    if len(pair) < 2 or not common:
        return "no change was tried on both"
    worst = {name: _worst([changes[each] for each in common]) for name, changes in tried.items()}
    firmer, other = sorted(worst, key=lambda name: -worst[name][0])
    of = f"of {counted(len(common), 'change')} tried on both"
    shown = _shown(worst[firmer], worst[other])
    return f"{firmer} loses less at its worst, {of}" if shown else f"no difference shown at the worst, {of}"


def _worst(changes: Sequence[Changed]) -> Figure:
    """Return the worst difference of changes, with an interval that holds for all of them together (Bonferroni)."""
    worst = min(changes, key=lambda each: each.difference)
    wider = critical(1 - 0.05 / len(changes)) / critical(0.95)
    low, high = (worst.difference + wider * (limit - worst.difference) for limit in worst.difference_interval)
    return worst.difference, (low, high)


def _shown(higher: Figure, lower: Figure) -> bool:
    """Whether one figure is shown to be above another, by the interval of two samples of rows.

    The rows are the same, on which figures mostly rise and fall together, so it shows too little rather than too much.
    """
    from optimizer.unpaired import unpaired_interval  # numpy

    return unpaired_interval(*higher, *lower)[0] > 0


def _travels(verdict: Verdict) -> str:
    names = (rivalled(verdict).name, RIVAL)
    away = [each for each in (_elsewhere(verdict, name, "ood") for name in names) if each]
    shown = [gap for gap in _findings(verdict).gaps if gap.p_value < LEVEL]
    said = ["give other rows as ood in [data]"] if not away else [_kept(away)]
    return "; ".join([*said, *(f"gap shown: {_where(gap)}" for gap in shown)])


def _kept(away: Sequence[Elsewhere]) -> str:
    if len(away) < 2:
        return f"only the {away[0].name} has a score there"
    other, best = sorted(away, key=lambda each: each.score)
    if not _shown((best.score, best.interval), (other.score, other.interval)):
        return "no difference shown there"
    return f"{best.name} scores higher there, by {100 * (best.score - other.score):.1f} points"


def _where(gap: GroupGap) -> str:
    return f"{gap.name}, {gap.column}: {gap.best} over {gap.worst}"


# --- what a verdict holds ---------------------------------------------------------------------------------


def _findings(verdict: Verdict) -> Findings:
    return verdict.findings or Findings()


def _elsewhere(verdict: Verdict, name: str, rows: str) -> Elsewhere | None:
    return next((each for each in _findings(verdict).elsewhere if (each.name, each.rows) == (name, rows)), None)


def _steadiness(verdict: Verdict, name: str) -> Steadiness | None:
    return next((each for each in _findings(verdict).steadiness if each.name == name), None)


def _changes(verdict: Verdict, name: str) -> dict[str, Changed]:
    return {each.change: each for each in _findings(verdict).changed if each.name == name}


def _bill(verdict: Verdict, name: str) -> Bill | None:
    return next((bill for bill in verdict.bills if bill.name == name), None)


def _points(difference: float) -> str:
    return f"{100 * difference:+z.1f} points"
