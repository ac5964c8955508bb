"""The same prompt asked again: how often answers change, and how far two runs of it lie apart by chance (A/A).

A difference between two prompts that two runs of one prompt show as well is noise. All of this is about asking the same
rows again; what other rows would have said is the business of intervals. Knows no prompt, model or metric.
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
    """What chance does where a prompt is asked again.

    Scores of rows flip at the rate `flips`, with its 95 % interval; two runs on `rows` rows then lie up to `floor`
    apart, in 95 % of the cases, if as many flip as the interval allows.
    """

    flips: float
    interval: Interval
    rows: int
    floor: float


def noise(scores: ArrayLike, rows: int, rng: np.random.Generator) -> Noise | None:
    """Tell how far two runs of a prompt on `rows` rows lie apart by chance, from some rows asked repeatedly.

    `scores` [n, repeats] lie in [0, 1]; None if no row has two of them. Graded ones tell it for their own n rows.
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
    """How likely the answer to a row changes when the same prompt is asked again, with its interval over rows.

    Parameters
    ----------
    answers
        The answers to each row [rows][repeats], of any kind; None for a call that failed. Rows may have been asked
        differently often. To see right turn into wrong and back, give scores instead of answers.
    rng
        Draws resamples, if rows were asked more than twice.
    level
        Confidence.

    Returns
    -------
    tuple
        The rate, and its limits: the mean over rows of the share of unequal pairs of answers, which is unbiased for
        any number of repeats (Simpson 1949). None and (0, 1) if no row has two answers.
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
    """Find the difference in accuracy on `n` rows that two runs of one prompt exceed with a chance of 1 - `level`.

    Differences up to it are noise. `flips` is the share of rows that are right in one run and wrong in the other: the
    `flip_rate` of the scores. With few repeats, give its upper limit.

    Notes
    -----
    Exact for rows that flip alike, either way alike: the distribution of a sum of n steps of -1, 0 or 1, by the n-th
    power of its Fourier transform. Rows that flip unalike give the same variance.
    """
    if n == 0:
        return 1.0
    step = np.zeros(2 * n + 1)
    step[[-1, 0, 1]] = flips / 2, 1 - flips, flips / 2
    chances = np.fft.irfft(np.fft.rfft(step) ** n, 2 * n + 1)
    within = chances[0] + 2 * np.concatenate([[0.0], chances[1 : n + 1].cumsum()])
    return float(np.argmax(within >= level - TINY)) / n


def noise_from_repeats(scores: ArrayLike, rng: np.random.Generator, *, level: float = 0.95) -> float:
    """Find the difference in mean score that two runs of one prompt exceed with a chance of 1 - `level`.

    `scores` [rows, repeats] are any in [0, 1], of at least two runs; rows with a NaN are left out. Two different
    repeats of each row are drawn again and again: their differences have the right variance, however few repeats there
    are. Where no score ever changed it is 0; then take `noise_from_flips` of the upper limit of the flip rate.
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
