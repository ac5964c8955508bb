"""Repeating the same prompt on the same rows: how often answers change, and how much two runs differ by chance (A/A).

A difference between two prompts is noise if two runs of one prompt differ as much. This is only about repeated calls on
the same rows; intervals account for the choice of rows. Knows no prompt, model or metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from optimizer.stats import RESAMPLES, TINY, Floats, Interval, batches, mean_interval


@dataclass(frozen=True, slots=True)
class Noise:
    """How much repeating a prompt changes its scores.

    Scores of rows flip at the rate `flips`, with its 95 % interval. Then, in 95 % of the cases, two runs on `rows` rows
    differ by at most `floor`, if as many rows flip as the interval allows.
    """

    flips: float
    interval: Interval
    rows: int
    floor: float


def noise(scores: ArrayLike, rows: int, rng: np.random.Generator) -> Noise | None:
    """Estimate how much two runs of a prompt on `rows` rows differ by chance, from rows that were answered repeatedly.

    `scores` [n, repeats] are in [0, 1], NaN if missing. Return None if no row has two scores. If scores are graded, the
    estimate is for the n given rows instead of `rows`.
    """
    runs: Floats = np.asarray(scores, dtype=np.float64)
    flips, limits = flip_rate([[None if np.isnan(score) else score for score in row] for row in runs], rng)
    if flips is None:
        return None
    if flips and not np.isin(runs[~np.isnan(runs)], (0.0, 1.0)).all():
        whole = int((~np.isnan(runs).any(axis=1)).sum())
        return Noise(flips, limits, whole, noise_from_repeats(runs, rng))
    return Noise(flips, limits, rows, noise_from_flips(limits[1], rows))


def flip_rate(
    answers: Sequence[Sequence[Hashable | None]], rng: np.random.Generator, *, level: float = 0.95
) -> tuple[float | None, Interval]:
    """Return the probability that the answer to a row changes when the prompt is repeated, with its interval over rows.

    Parameters
    ----------
    answers
        The answers to each row [rows][repeats], of any type; None for a call that failed. Rows may differ in their
        number of repeats. For changes between right and wrong, pass scores instead of answers.
    rng
        Draws resamples, if rows have more than two answers.
    level
        Confidence level.

    Returns
    -------
    tuple
        The rate and its limits. The rate is the mean over rows of the share of unequal pairs of answers, which is
        unbiased for any number of repeats (Simpson 1949). None and (0, 1) if no row has two answers.
    """
    shares = []
    for row in answers:
        counts = Counter(answer for answer in row if answer is not None)
        n = counts.total()
        if n > 1:
            shares.append(1 - sum(count * (count - 1) for count in counts.values()) / (n * (n - 1)))
    if not shares:
        return None, (0.0, 1.0)
    return float(np.mean(shares)), mean_interval(shares, rng, level=level)


def noise_from_flips(flips: float, n: int, *, level: float = 0.95) -> float:
    """Return the difference in accuracy on `n` rows that two runs of a prompt exceed with probability 1 - `level`.

    Differences up to it are noise. `flips` is the share of rows that are right in one run and wrong in the other, the
    `flip_rate` of the scores. With few repeats, pass its upper limit.

    Notes
    -----
    It is exact if all rows flip with the same probability, equally often in either direction: the distribution of a sum
    of n steps of -1, 0 or 1 is computed by the n-th power of its Fourier transform. If rows flip with different
    probabilities, the variance is the same.
    """
    if n == 0:
        return 1.0
    step = np.zeros(2 * n + 1)
    step[[-1, 0, 1]] = flips / 2, 1 - flips, flips / 2
    chances = np.fft.irfft(np.fft.rfft(step) ** n, 2 * n + 1)
    within = chances[0] + 2 * np.concatenate([[0.0], chances[1 : n + 1].cumsum()])
    return float(np.argmax(within >= level - TINY)) / n


def noise_from_repeats(scores: ArrayLike, rng: np.random.Generator, *, level: float = 0.95) -> float:
    """Return the difference in mean score that two runs of a prompt exceed with probability 1 - `level`.

    `scores` [rows, repeats] are in [0, 1], of at least two runs; rows with a NaN are left out. Two different repeats of
    each row are drawn many times: their differences have the right variance, however few repeats there are. If no score
    ever changed, the result is 0; use `noise_from_flips` with the upper limit of the flip rate then.

    Raises
    ------
    ValueError
        If there is only one run.
    """
    runs: Floats = np.asarray(scores, dtype=np.float64)
    runs = runs[~np.isnan(runs).any(axis=1)]
    n, repeats = runs.shape
    if repeats < 2:
        raise ValueError("two runs of the same prompt are needed, not one")
    if n == 0:
        return 1.0
    apart = []
    for size in batches(RESAMPLES, n):
        first = rng.integers(repeats, size=(size, n))
        second = (first + rng.integers(1, repeats, size=(size, n))) % repeats
        rows = np.arange(n)
        apart.append(np.abs((runs[rows, first] - runs[rows, second]).mean(axis=1)))
    return float(np.quantile(np.concatenate(apart), level, method="inverted_cdf"))
