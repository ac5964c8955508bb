"""Intervals and tests for two samples of different rows, and a correction for several tests. Arrays in, numbers out.

`stats` has those for the same rows. Random generators are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optimizer.stats import TINY, Interval

Floats = NDArray[np.float64]
PERMUTATIONS = 499  # the least p-value is then 0.002: below 0.05 even after a correction for 20 tests


def unpaired_interval(a: float, around_a: Interval, b: float, around_b: Interval) -> Interval:
    """Interval of a - b for two estimates from different rows, each with its interval.

    The method of variance estimates recovery (Zou and Donner 2008); with Wilson's intervals it is Newcombe's (1998)
    hybrid score interval. The level is that of the two.
    """
    low = math.hypot(a - around_a[0], around_b[1] - b)
    high = math.hypot(around_a[1] - a, b - around_b[0])
    return (a - b - low, a - b + high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple tests, in their order: Holm (1979), valid for any dependence between the tests."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def told_apart(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Return the AUC with which a classifier tells two samples apart on rows that it has not seen, and its p-value.

    Parameters
    ----------
    a, b
        Feature vectors, shapes [n, d] and [m, d]; n and m at least 4.
    rng
        Splits the rows into two folds, and permutes.
    permutations
        Number of random assignments of the rows to the two samples.

    Returns
    -------
    tuple of float
        The area under the ROC curve, 0.5 where nothing differs, and its one-sided p-value in (0, 1].

    Notes
    -----
    The classifier two-sample test (Lopez-Paz and Oquab 2017) with the classifier that is cheapest to retrain for each
    permutation: the projection on the difference of the means. It learns on one fold and is scored on the other, both
    ways. The permutation p-value is exact for any classifier (Phipson and Smyth 2010).
    """
    every = np.concatenate([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    # Rows are in random order, so that ties in the projection are broken by chance.
    sides = np.arange(len(every)) < len(np.asarray(a))
    dealt_in = [rng.permutation(np.nonzero(sides == side)[0]) for side in (True, False)]
    folds = [rng.permutation(np.concatenate([rows[half::2] for rows in dealt_in])) for half in (0, 1)]
    dealt = [_dealt(sides[fold], permutations, rng) for fold in folds]
    areas = np.zeros(permutations + 1)
    for learnt, judged in ((0, 1), (1, 0)):
        mine = dealt[learnt].astype(np.float64)
        apart = mine / mine.sum(axis=1, keepdims=True) - (1 - mine) / (1 - mine).sum(axis=1, keepdims=True)
        projected = (apart @ every[folds[learnt]]) @ every[folds[judged]].T
        areas += _areas(projected, dealt[judged]) / 2
    return float(areas[0]), float(np.mean(areas >= areas[0] - TINY))


def _dealt(sides: NDArray[np.bool_], permutations: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the sides as they are, then permuted [1 + permutations, n]."""
    return np.array([sides, *(rng.permutation(sides) for _ in range(permutations))])


def _areas(scores: Floats, sides: NDArray[np.bool_]) -> Floats:
    """Area under the ROC curve of each row of scores [p, n], by the ranks of one side (Mann and Whitney 1947)."""
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, scores.argsort(axis=1, kind="stable"), np.arange(1.0, scores.shape[1] + 1)[None], axis=1)
    mine = sides.sum(axis=1)
    areas: Floats = ((ranks * sides).sum(axis=1) - mine * (mine + 1) / 2) / (mine * (scores.shape[1] - mine))
    return areas


def shares_apart(
    a: ArrayLike, b: ArrayLike, rng: np.random.Generator, *, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Total variation distance of the shares of codes [n] and [m], and the permutation p of no difference."""
    a, b = np.asarray(a, dtype=np.intp), np.asarray(b, dtype=np.intp)
    every, most = np.concatenate([a, b]), int(max(a.max(), b.max())) + 1

    def distance(codes: NDArray[np.intp]) -> float:
        first, second = np.bincount(codes[: len(a)], minlength=most), np.bincount(codes[len(a) :], minlength=most)
        return float(np.abs(first / len(a) - second / len(b)).sum() / 2)

    observed = distance(every)
    drawn = [distance(rng.permutation(every)) for _ in range(permutations)]
    return observed, (1 + sum(value >= observed - TINY for value in drawn)) / (permutations + 1)
