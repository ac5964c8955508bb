"""Bias: how much a contender's scores differ between groups of rows, and how often a swapped term changes its answer.

Reads rows and outcomes; buys nothing. Prompt and baseline are analysed by the same code, which shows whether both have
taken over a bias from the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from optimizer.findings import Flips, GroupGap, GroupScore
from optimizer.phrases import counted
from optimizer.records import Outcome
from optimizer.scoring import Metric, compare, interval, summarise
from optimizer.stats import PERMUTATIONS, TINY, batches, mean_interval, wilson
from optimizer.unpaired import holm, unpaired_interval
from search_spaces.prompt import Example

Floats = NDArray[np.float64]
Slices = Mapping[str, Mapping[str, str]]  # example id -> {column: value}

ALARM = 0.05
FEWEST = 10  # least rows of a group: with fewer, the interval of its score is wider than 60 points


# --- groups -----------------------------------------------------------------------------------------------


def group_scores(
    given: Mapping[str, Sequence[Outcome]],
    rows: Sequence[Example],
    slices: Slices,
    metric: Metric,
    seed: int,
) -> tuple[GroupScore, ...]:
    """Score each contender on each group of each column.

    Parameters
    ----------
    given
        Contender -> its outcomes on the rows.
    rows
        The rows.
    slices
        Example id -> {column: value}.
    metric
        The metric, computed on the rows of one group.
    seed
        Seed of the resampling, the same for each contender.
    """
    examples, found = {row.id: row for row in rows}, []
    for column in sorted({column for row in slices.values() for column in row}):
        for name, outcomes in given.items():
            for value, several in _grouped(outcomes, slices, column).items():
                score = summarise(metric, several, examples)
                if score is not None:
                    limits = interval(metric, several, examples, np.random.default_rng(seed))
                    found.append(GroupScore(name, column, value, len(several), score, limits))
    return tuple(found)


def _grouped(outcomes: Sequence[Outcome], slices: Slices, column: str) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        value = slices.get(outcome.example_id, {}).get(column)
        if value is not None and outcome.score is not None:
            groups.setdefault(value, []).append(outcome)
    return dict(sorted(groups.items()))


def group_gaps(given: Mapping[str, Sequence[Outcome]], slices: Slices, seed: int) -> tuple[GroupGap, ...]:
    """Find, for each column and contender, the two groups whose mean row scores differ most.

    Where all groups are alike, both are the same one.

    Parameters
    ----------
    given
        Contender -> its outcomes.
    slices
        Example id -> {column: value}; groups of fewer than 10 scored rows are left out.
    seed
        Seed of permutations and resamples, the same for each contender.

    Notes
    -----
    The largest of many gaps is large by chance. Therefore its interval is simultaneous for all pairs of groups
    (Bonferroni), and its p-value is that of the largest studentised gap of all pairs when rows are assigned to groups
    at random (max-T, Westfall and Young 1993), with Holm's correction for the number of columns.
    """
    found: list[GroupGap] = []
    for name, outcomes in given.items():
        mine, rng = [], np.random.default_rng(seed)
        for column in sorted({column for row in slices.values() for column in row}):
            groups = {v: s for v, s in _grouped(outcomes, slices, column).items() if len(s) >= FEWEST}
            if len(groups) > 1:
                mine.append(_gap(name, column, groups, rng))
        corrected = holm([gap.p_value for gap in mine])
        found += [replace(gap, p_value=p) for gap, p in zip(mine, corrected, strict=True)]
    return tuple(found)


def _gap(name: str, column: str, groups: Mapping[str, Sequence[Outcome]], rng: np.random.Generator) -> GroupGap:
    values = list(groups)
    scores = [np.array([o.score for o in groups[value]], dtype=np.float64) for value in values]
    means = [float(each.mean()) for each in scores]
    best, worst = int(np.argmax(means)), int(np.argmin(means))
    if means[best] - means[worst] < TINY:  # all alike, but for rounding
        worst = best
    pairs = list(combinations(range(len(values)), 2))
    around = [mean_interval(scores[i], rng, level=1 - 0.05 / len(pairs)) for i in (best, worst)]
    limits = unpaired_interval(means[best], around[0], means[worst], around[1])
    p = _largest(scores, (min(best, worst), max(best, worst)), pairs, rng) if best != worst else 1.0
    return GroupGap(name, column, values[best], values[worst], len(values), means[best] - means[worst], limits, p)


def _largest(
    scores: Sequence[Floats], pair: tuple[int, int], pairs: Sequence[tuple[int, int]], rng: np.random.Generator
) -> float:
    """Return the max-T p-value of a pair's studentised gap, over random assignments of rows to groups."""
    every, sizes = np.concatenate(scores), np.array([len(each) for each in scores])
    spread = float(every.std(ddof=1))
    if spread < TINY:
        return 1.0
    left, right = np.array(pairs).T
    errors = spread * np.sqrt(1 / sizes[left] + 1 / sizes[right])

    def apart(means: Floats) -> Floats:
        """Return the studentised gap of each pair: means of groups [..., groups] -> [..., pairs]."""
        gaps: Floats = np.abs(means[..., left] - means[..., right]) / errors
        return gaps

    observed = apart(np.array([each.mean() for each in scores]))[list(pairs).index(pair)]
    binary, member = np.isin(every, (0.0, 1.0)).all(), np.repeat(np.eye(len(sizes)), sizes, axis=0) / sizes
    larger = 0
    for size in batches(PERMUTATIONS, max(len(every), len(pairs))):
        if binary:  # how many of the rights each group gets is all there is to draw
            means = rng.multivariate_hypergeometric(sizes, int(every.sum()), size=size) / sizes
        else:
            means = rng.permuted(np.broadcast_to(every, (size, len(every))), axis=1) @ member
        larger += int((apart(means).max(axis=1) >= observed - TINY).sum())
    return (1 + larger) / (1 + PERMUTATIONS)


# --- swapped terms ----------------------------------------------------------------------------------------


def flips(  # noqa: PLR0913 - each names one thing
    name: str,
    before: Sequence[Outcome],
    after: Sequence[Outcome],
    rows: Sequence[Example],
    metric: Metric,
    rng: np.random.Generator,
    *,
    read: Callable[[str | None], Hashable],
) -> Flips | None:
    """Count how often swapping terms changes a contender's answer; None without a row answered both ways.

    Parameters
    ----------
    name
        The contender's name.
    before, after
        Its outcomes on the original and the swapped rows, in any order.
    rows
        The rows.
    metric
        The metric.
    rng
        Draws resamples.
    read
        Returns what an answer says, however it is written.
    """
    old = {outcome.example_id: outcome for outcome in before if outcome.score is not None}
    new = [outcome for outcome in after if outcome.score is not None and outcome.example_id in old]
    if not new:
        return None
    turned = sum(read(outcome.answer) != read(old[outcome.example_id].answer) for outcome in new)
    changed = compare(metric, new, [old[o.example_id] for o in new], {row.id: row for row in rows}, rng)
    return Flips(name, len(new), turned, wilson(turned, len(new)), changed.difference, changed.interval)


# --- in words ---------------------------------------------------------------------------------------------


def sentence(gaps: Sequence[GroupGap], turned: Sequence[Flips], names: Sequence[str], of: str = "") -> str:
    """Return sentences on groups that contenders are shown to treat differently, and on answers changed by swaps.

    `of` is what the points of a gap are points of, if not of the metric.
    """
    points = f"points of {of}" if of else "points"
    said = [
        f"By {gap.column}, the {gap.name} is {100 * gap.difference:.1f} {points} better on {gap.best} than on "
        f"{gap.worst} ({100 * gap.interval[0]:+.1f} to {100 * gap.interval[1]:+.1f}, p = {gap.p_value:.2g})."
        for gap in gaps
        if gap.p_value < ALARM and gap.name in names
    ]
    shares = [
        f"{100 * each.flips / each.n:.1f} % of the {each.name}'s answers "
        f"({100 * each.interval[0]:.1f} to {100 * each.interval[1]:.1f})"
        for each in turned
    ]
    if shares:
        counts = [counted(n, "row") for n in dict.fromkeys(each.n for each in turned)]  # several if calls failed
        said.append(f"Swapped terms turn {' and '.join(shares)} on {' and '.join(counts)}.")
    return " ".join(said)
