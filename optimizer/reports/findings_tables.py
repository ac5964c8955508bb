"""What a verdict found besides the scores, as tables and text. Takes records, opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optimizer.findings import (
    Cascade,
    Changed,
    Drift,
    Duplicates,
    Elsewhere,
    Flips,
    GroupGap,
    GroupScore,
    Steadiness,
    Suspect,
)
from optimizer.phrases import agreed, counted
from optimizer.records import Verdict
from optimizer.report import dollars, percent, spread
from optimizer.reports.grids import Grid

BARELY = 0.0005  # smaller differences are printed as 0
LISTED = 50  # most suspects that are listed, as a person checks them one by one


def grids(verdict: Verdict | None, texts: Mapping[str, str] | None = None, most: int = LISTED) -> list[Grid]:
    """Return tables of what was found; none for a run without findings.

    Parameters
    ----------
    verdict
        The verdict, if there is one.
    texts
        Example id -> its text, for the rows that look mislabelled; without it, they are not listed.
    most
        The most of these rows to list.
    """
    return list(_grids(verdict, texts, most)) if verdict and verdict.findings else []


def _grids(verdict: Verdict, texts: Mapping[str, str] | None, most: int) -> Iterator[Grid]:
    found = verdict.findings
    assert found is not None
    if found.cascade:
        yield cascade_grid(found.cascade, verdict.metric)
    if found.elsewhere:
        yield elsewhere_grid(found.elsewhere, verdict.metric)
    yield from groups_grids(found.groups)
    if found.gaps:
        yield gaps_grid(found.gaps)
    if found.flips:
        yield flips_grid(found.flips, verdict.metric)
    if found.steadiness:
        yield changed_grid(found.changed, verdict.metric)
        yield steadiness_grid(found.steadiness, verdict.metric)
    if found.drifts:
        yield drifts_grid(found.drifts)
    if found.duplicates:
        yield duplicates_grid(found.duplicates)
    if found.suspects and texts is not None:
        yield suspects_grid(found.suspects, texts, most)


def cascade_grid(cascade: Cascade, metric: str) -> Grid:
    """Return a table of the front of a cascade."""
    rows = tuple(
        (
            f"{sure}{' *' if point.chosen else ''}",
            percent(point.share),
            percent(point.dev_score),
            percent(point.score),
            spread(point.interval),
            dollars(point.cost_per_1000),
        )
        for point, sure in zip(cascade.points, thresholds([point.threshold for point in cascade.points]), strict=True)
    )
    title = f"Together: the {cascade.baseline} where it is sure, the {cascade.prompt} elsewhere (* = chosen on dev)"
    columns = ("sure from", f"to the {cascade.prompt}", f"dev {metric}", f"test {metric}", "95 %", "$ / 1,000")
    return Grid(title, columns, rows)


def thresholds(values: Sequence[float | None]) -> list[str]:
    """Format the confidences from which on the baseline answers, with enough decimal places to distinguish them."""
    told: list[str] = []
    for places in range(1, 7):
        told = ["never" if v is None else "always" if v == 0 else f"{100 * v:.{places}f} %" for v in values]
        if len({*told}) == len({*values}):
            break
    return told


def surer(verdict: Verdict) -> str:
    """Return a sentence on how accurate the baseline's calibrated confidence is; empty without a cascade."""
    cascade = verdict.findings.cascade if verdict.findings else None
    if cascade is None:
        return ""
    low, high = cascade.surer_interval
    off = f"{100 * abs(cascade.surer):.1f} points {'above' if cascade.surer > 0 else 'below'} its score"
    if abs(cascade.surer) < BARELY:
        off = "as high as its score"
    return (
        f"On the test rows the {cascade.baseline}'s calibrated confidence is {off} "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f})."
    )


def elsewhere_grid(found: Sequence[Elsewhere], metric: str) -> Grid:
    """Return a table of the contenders on rows other than the test rows."""
    rows = tuple(
        (
            each.name,
            each.rows,
            f"{each.n:,}",
            percent(each.score),
            spread(each.interval),
            f"{100 * each.difference:+z.1f}",
            f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f}",
        )
        for each in found
    )
    columns = ("contender", "on", "rows", metric, "95 %", "points over the test score", "95 %")
    return Grid("On other rows than the test rows", columns, rows)


def groups_grids(found: Sequence[GroupScore]) -> Iterator[Grid]:
    """Yield a table of the contenders by the values of each column."""
    names = list(dict.fromkeys(score.name for score in found))
    for column in dict.fromkeys(score.column for score in found):
        cells = {(s.value, s.name): s for s in found if s.column == column}
        rows = []
        for value in sorted({value for value, _ in cells}):
            told = [cells.get((value, name)) for name in names]
            most = max(score.n for score in told if score)
            rows.append((value, f"{most:,}", *(_scored(score, most) for score in told)))
        yield Grid(f"By {column} (95 %)", (column, "rows", *names), tuple(rows))


def _scored(found: GroupScore | None, of: int) -> str:
    """Format a score on a group, with its rows if they are fewer than those of the group."""
    if found is None:
        return "–"
    fewer = "" if found.n == of else f" on {found.n:,}"
    return f"{percent(found.score)} ({spread(found.interval)}){fewer}"


def gaps_grid(found: Sequence[GroupGap]) -> Grid:
    """Return a table of the groups that differ most."""
    rows = tuple(
        (
            gap.name,
            gap.column,
            "none" if gap.best == gap.worst else f"{gap.best} − {gap.worst}",
            str(gap.groups),
            f"{100 * gap.difference:+z.1f}",
            f"{100 * gap.interval[0]:+.1f} to {100 * gap.interval[1]:+.1f}",
            f"{gap.p_value:.2g}",
        )
        for gap in found
    )
    columns = ("contender", "by", "largest gap", "groups", "points", "95 % of all pairs together", "p (max-T)")
    return Grid("The largest gaps between groups, in mean row scores", columns, rows)


def flips_grid(found: Sequence[Flips], metric: str) -> Grid:
    """Return a table of how often swapped terms change answers."""
    rows = tuple(
        (
            each.name,
            f"{each.n:,}",
            percent(each.flips / each.n),
            spread(each.interval),
            f"{100 * each.difference:+z.1f}",
            f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f}",
        )
        for each in found
    )
    columns = ("contender", "rows with a term", "answers turned", "95 %", f"points of {metric}", "95 %")
    return Grid("With the listed terms swapped", columns, rows)


def changed_grid(found: Sequence[Changed], metric: str) -> Grid:
    """Return a table of the contenders under each change."""
    rows = tuple(
        (
            each.name,
            each.change,
            f"{each.n:,}",
            percent(each.score),
            spread(each.interval),
            f"{100 * each.difference:+z.1f}",
            f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f}",
        )
        for each in found
    )
    columns = ("contender", "change", "rows", metric, "95 %", "points over the same rows unchanged", "95 %")
    return Grid("Under changes that should not matter", columns, rows)


def steadiness_grid(found: Sequence[Steadiness], metric: str) -> Grid:
    """Return a table of the mean and the worst of the changes."""
    rows = tuple(
        (
            each.name,
            str(each.changes),
            f"{percent(each.mean)} ({spread(each.mean_interval)})",
            f"{100 * each.difference:+z.1f}",
            f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f}",
            f"{percent(each.worst_score)} ({each.worst})",
            f"{100 * each.worst_difference:+z.1f}",
            f"{100 * each.worst_interval[0]:+.1f} to {100 * each.worst_interval[1]:+.1f}",
        )
        for each in found
    )
    mean, worst = ("mean", "points", "95 %"), ("worst", "points", "95 % of all changes together")
    return Grid(f"Robustness: {metric} over all changes", ("contender", "changes", *mean, *worst), rows)


def drifts_grid(drifts: Sequence[Drift]) -> Grid:
    """Return a table of how much the splits differ."""
    rows = tuple((f"{d.a}–{d.b}", d.what, f"{d.size:.3f}", f"{d.p_value:.2g}") for d in drifts)
    columns = ("splits", "by their", "AUC of texts (0.5: alike), distance of labels (0: alike)", "p (Holm)")
    return Grid("Drift between splits", columns, rows)


def duplicates_grid(found: Sequence[Duplicates]) -> Grid:
    """Return a table of duplicate rows."""
    rows = tuple((d.kind, d.splits, f"{d.groups:,}", d.example) for d in found)
    return Grid("Duplicates", ("kind", "stand in", "groups", "such as"), rows)


def suspects_grid(found: Sequence[Suspect], texts: Mapping[str, str], most: int) -> Grid:
    """Return a table of the rows that look mislabelled, the highest confidence first."""
    rows = tuple(
        (s.example, s.split, texts.get(s.example, ""), s.label, s.answer, percent(s.confidence)) for s in found[:most]
    )
    some = f", of which the {most} surest are shown" if len(found) > most else ""
    title = f"Labels to look at: prompt and baseline agree on another: {counted(len(found), 'row')}{some}"
    return Grid(title, ("row", "split", "text", "label", "both say", "baseline sure"), rows)


def to_look_at(verdict: Verdict) -> str:
    """Return a sentence on how many labels a person should check; empty if there are none."""
    n = len(verdict.findings.suspects) if verdict.findings else 0
    rows = agreed(n, "row has a label", "rows have labels")
    them = "it" if n == 1 else "them"
    return f"{rows} that prompt and baseline agree against: `phrasetune show` lists {them}." if n else ""
