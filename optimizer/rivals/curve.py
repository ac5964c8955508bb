"""How many labelled rows until training overtakes the prompt: the learning curve of the trained rival.

The rival is trained on 8, 16, 32, … rows up to all training rows, with the hyperparameters found on all of them, and
scored on the test rows that a verdict has opened, by the code that scores every contender. Knows neither how the rival
is trained, nor who scores, nor what either costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from optimizer.contenders import LEVEL, RIVAL, rivalled
from optimizer.records import CurvePoint, LearningCurve, Outcome, Verdict
from optimizer.reports.curve_tables import ONCE, drawn_once
from optimizer.scoring import Metric, resampled, summarise
from optimizer.stats import crossed_difference_interval, crossed_interval
from search_spaces.prompt import Example

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
T = TypeVar("T")

SMALLEST = 8  # rows of the first point
REPEATS = ((256, 5), (2048, 3))  # (most rows, draws of such a size); two draws above, because large ones vary little
RESAMPLES = 500  # of the test rows; a standard error is then right to 3 %
TAILS = (0.025, 0.975)
FEWEST_DRAWS = 2  # fewest draws of a size that is trained for free: one draw does not show how much they vary
FEWEST_SIZES = 2  # fewest sizes, below all rows, that make a curve worth its price
FITTED = 4  # last points that a power law is fitted to
DECENT = 0.9  # R² of the power law below which nothing is extrapolated
FARTHEST = 10  # times the training rows: beyond, no power law is trusted


@dataclass(frozen=True, slots=True)
class Size(Generic[T]):
    """A number of training `rows`, and the result of each draw of that many: answers, or their outcomes."""

    rows: int
    draws: tuple[T, ...]


def sizes(n: int) -> list[int]:
    """List the numbers of rows to train on: 8, 16, 32, … below `n`, then `n`."""
    doubled = [SMALLEST << k for k in range(max(1, n).bit_length()) if SMALLEST << k < n]
    return [*doubled, n]


def repeats(size: int) -> int:
    """Return how many draws of so many rows to train on."""
    return next((draws for most, draws in REPEATS if size <= most), FEWEST_DRAWS)


def order(targets: Sequence[str], rng: np.random.Generator) -> Codes:
    """Shuffle rows so that every prefix contains each label in proportion, give or take one row [n].

    The rows of each label are spaced evenly from a random start (systematic sampling), then all labels are merged.
    """
    codes = np.unique(np.array(targets, dtype=np.str_), return_inverse=True)[1]
    place = np.empty(len(codes))
    for code in range(codes.max() + 1):
        (rows,) = np.nonzero(codes == code)
        place[rng.permutation(rows)] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place)


def grow(
    refit: Callable[[Sequence[int]], T],
    targets: Sequence[str],
    rng: np.random.Generator,
    *,
    most: int = REPEATS[0][1],
    go_on: Callable[[int], bool] = lambda _: True,
) -> list[Size[T]]:
    """Train on every size except all rows, several times, the smallest size first.

    The draws of training rows are nested: the first 8 of a draw are among its first 16.

    Parameters
    ----------
    refit
        Indices of training rows, shape (n,) -> the result of a rival trained on them: its answers to the test rows.
    targets
        The labels of all training rows.
    rng
        Draws the training rows.
    most
        Maximum number of draws per size.
    go_on
        Called before each size: (rows) -> whether there is time left for it.
    """
    orders = [order(targets, rng) for _ in range(max(repeats for _, repeats in REPEATS))]
    found = []
    for size in takewhile(go_on, sizes(len(targets))[:-1]):
        drawn = orders[: min(most, repeats(size))]
        found.append(Size(size, tuple(refit([int(row) for row in rows[:size]]) for rows in drawn)))
    return found


def thinned(grown: Sequence[Size[T]]) -> Iterator[list[Size[T]]]:
    """Yield smaller and smaller parts of a curve: with fewer draws, then only every second size, from the largest down.

    The smallest part has two draws of each size, and two sizes.
    """
    yield list(grown)
    most = max((len(size.draws) for size in grown), default=0)
    for draws in range(most - 1, FEWEST_DRAWS - 1, -1):
        yield [Size(size.rows, size.draws[:draws]) for size in grown]
    step = 2
    while len(kept := grown[::-1][::step][::-1]) >= FEWEST_SIZES:
        yield [Size(size.rows, size.draws[:FEWEST_DRAWS]) for size in kept]
        step *= 2


def measure(
    grown: Sequence[Size[Sequence[Outcome]]],
    n: int,
    rows: Sequence[Example],
    metric: Metric,
    verdict: Verdict,
    rng: np.random.Generator,
) -> LearningCurve:
    """Measure the learning curve, and where it crosses the prompt's score.

    Parameters
    ----------
    grown
        Outcomes on `rows` of rivals trained on fewer rows, the fewest first.
    n
        Number of all training rows.
    rows
        The test rows, which the verdict has opened.
    metric
        The objective.
    verdict
        Contains the outcomes of the prompt and of the rival; the rival is the curve's last point.
    rng
        Resamples test rows and draws.

    Raises
    ------
    ValueError
        If no row has a score from all of them.

    Notes
    -----
    A score's interval is that of the mean over test rows and draws, with both as samples (`stats.crossed_interval`).
    The last point has only one draw, and the verdict's interval. The draws come from the training rows at hand: how
    lucky it was to have these rows is not part of the interval. If every size has only one draw (because each is paid
    for), the intervals cover the test rows only, nothing is extrapolated, and `sentence` says so.

    The interval of the crossover comes from the pigeonhole bootstrap (Owen 2007): test rows and draws are resampled,
    the same for the prompt and all sizes.
    """
    prompt = rivalled(verdict)
    rival = next(c for c in verdict.contenders if c.name == RIVAL)
    examples = {row.id: row for row in rows}
    every = [prompt.outcomes, *(outcomes for size in grown for outcomes in size.draws), rival.outcomes]
    observed, drawn = resampled(metric, every, examples, rng, resamples=RESAMPLES)
    points, groups, first = [], [], 1
    for size in grown:
        own = slice(first, first + len(size.draws))
        first = own.stop
        scores = np.array([summarise(metric, outcomes, examples) for outcomes in size.draws], dtype=np.float64)
        gaps, mean = observed[own] - observed[0], drawn[own].mean(axis=0)
        limits = crossed_interval(scores, mean, len(rows), low=metric.low)
        apart = crossed_difference_interval(gaps, mean - drawn[0], len(rows), most=1 - metric.low)
        gap = float(gaps.mean().round(12))  # gaps that cancel out give exactly 0
        points.append(CurvePoint(size.rows, float(scores.mean()), limits, len(scores), gap, apart))
        groups.append(drawn[own])
    compared = next(c for c in verdict.comparisons if (c.a, c.b) == (prompt.name, RIVAL))
    apart = (-compared.interval[1], -compared.interval[0])
    points.append(CurvePoint(n, rival.score, rival.interval, 1, 0.0 - compared.difference, apart))
    found = _crossover(points, float(observed[0]), _means([*groups, drawn[-1:]], rng), drawn[0])
    return LearningCurve(prompt.name, tuple(points), *found, shown=compared.p_value < LEVEL)


def _means(groups: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """Return the mean over resampled draws per size and resample of the rows: [draws, b] each -> [sizes, b]."""
    columns = np.arange(groups[0].shape[1])
    places = rng.random((max(map(len, groups)), len(columns)))
    picked = ((places[: len(group)] * len(group)).astype(np.intp) for group in groups)
    return np.array([group[picks, columns].mean(axis=0) for group, picks in zip(groups, picked, strict=True)])


def _crossover(
    points: Sequence[CurvePoint], prompt: float, resamples: Floats, prompts: Floats
) -> tuple[int | None, tuple[int | None, int | None], bool]:
    """Return the crossover, its interval, and whether it is extrapolated: resamples [sizes, b], prompts [b].

    The crossover is the smallest size where the mean score is above the prompt's and from which on it is never below.
    If there is none and training ends level with the prompt, it is the smallest size from which on the mean score is
    never below.
    """
    counts = np.array([point.rows for point in points])
    differences = np.array([[point.difference] for point in points])
    (found,), drawn = _crossings(counts, differences), _crossings(counts, resamples - prompts)
    if not math.isfinite(found) and differences[-1, 0] == 0:  # so the last size is not below
        (found,), drawn = _levels(counts, differences), _levels(counts, resamples - prompts)
    low, high = np.quantile(drawn, TAILS, method="nearest")
    low = _from(counts, min(low, found))
    if math.isfinite(found):
        return int(found), (int(low), _whole(max(high, found))), False
    beyond = None if drawn_once(points) else _extrapolated(counts, differences + prompt, np.array([prompt]))
    if beyond is None:
        return None, (_whole(low), None), False
    size = float(beyond[0])
    law = _power_law(counts[-FITTED:], 1 - resamples[-FITTED:])
    low, high = np.quantile(_reached(law, 1 - prompts), TAILS, method="nearest")
    return round(size), (round(max(counts[-1], min(low, size))), _whole(max(high, size))), True


def _from(counts: Codes, size: float) -> float:
    """Return the fewest rows that a size may stand for: itself, or one above the size before if that is far below."""
    below = counts[counts < size]
    return float(below[-1] + 1) if math.isfinite(size) and len(below) and size > 2 * below[-1] else size


def _whole(value: float) -> int | None:
    return round(value) if math.isfinite(value) else None


def _crossings(counts: Codes, gaps: Floats) -> Floats:
    """Return the smallest size with a gap above 0 and none below from there on, or infinity: gaps [sizes, b] -> [b]."""
    return _smallest(counts, _kept(gaps) & (gaps > 0))


def _levels(counts: Codes, gaps: Floats) -> Floats:
    """Return the smallest size from which on no gap is below 0, or infinity: gaps [sizes, b] -> [b]."""
    return _smallest(counts, _kept(gaps))


def _kept(gaps: Floats) -> NDArray[np.bool_]:
    """Return whether no gap is below 0 from a size on: gaps [sizes, b] -> [sizes, b]."""
    return np.logical_and.accumulate(gaps[::-1] >= 0)[::-1]


def _smallest(counts: Codes, fits: NDArray[np.bool_]) -> Floats:
    """Return the smallest size that fits, or infinity: [sizes, b] -> [b]."""
    return np.where(fits.any(axis=0), counts[fits.argmax(axis=0)].astype(np.float64), np.inf)


@dataclass(frozen=True, slots=True)
class _Law:
    """error = exp(level) * rows ** -slope, one for each of [b]; `r2` of the logarithms."""

    level: Floats
    slope: Floats
    r2: Floats


def _power_law(counts: Codes, errors: Floats) -> _Law:
    """Fit power laws by least squares on the logarithms: counts [k], errors [k, b]."""
    x, y = np.log(counts)[:, None], np.log(np.maximum(errors, 1e-9))
    steps = x - x.mean()
    slope = (steps * y).sum(axis=0) / (steps**2).sum()
    level = y.mean(axis=0) - slope * x.mean()
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    r2 = 1 - ((y - level - slope * x) ** 2).sum(axis=0) / np.where(spread > 0, spread, 1.0)
    return _Law(level, -slope, np.where(spread > 0, r2, 0.0))


def _reached(law: _Law, errors: Floats) -> Floats:
    """Return the size at which the law falls to these errors [b]; infinity if it never does."""
    falling = (law.slope > 0) & (errors > 0)
    logarithm = (law.level - np.log(np.where(errors > 0, errors, 1.0))) / np.where(falling, law.slope, 1.0)
    return np.where(falling, np.exp(np.minimum(logarithm, 700.0)), np.inf)


def _extrapolated(counts: Codes, scores: Floats, prompt: Floats) -> Floats | None:
    """Return the size at which a power law through the last points reaches the prompt; None if it is not credible."""
    if len(counts) < FITTED:
        return None
    law = _power_law(counts[-FITTED:], 1 - scores[-FITTED:])
    size = _reached(law, 1 - prompt)
    return size if law.r2[0] >= DECENT and counts[-1] < size[0] <= FARTHEST * counts[-1] else None


def sentence(curve: LearningCurve) -> str:
    """Say in words from how many labelled rows on training is better than the prompt, or level with it."""
    said = _overtaking(curve)
    counts = [point.rows for point in curve.points]
    if any(more > 2 * fewer for fewer, more in pairwise(counts)):
        listed = f"{', '.join(f'{rows:,}' for rows in counts[:-1])} and {counts[-1]:,}"
        said += f" Training was tried on {listed} rows, and on no number between."
    if drawn_once(curve.points):
        said += f" {ONCE[0].upper()}{ONCE[1:]}."
    return said


def _overtaking(curve: LearningCurve) -> str:
    least, most = curve.points[0].rows, curve.points[-1].rows
    low, high = curve.interval
    upper = f"{high:,}" if high is not None else f"more than {FARTHEST * most if curve.extrapolated else most:,}"
    if curve.crossover is not None and not curve.extrapolated:
        about = (
            f"{least} labelled rows or fewer"
            if curve.crossover == least
            else f"about {curve.crossover:,} labelled rows"
        )
        shown = (
            f"is level with the {curve.prompt} from {about} on"
            if curve.level
            else f"overtakes the {curve.prompt} at {about}"
        )
        return f"Training {shown}." if low == high else f"Training {shown} (95 % interval {low:,} to {upper})."
    said = f"Training does not overtake the {curve.prompt} within the {most:,} labelled rows there are"
    if curve.extrapolated:
        return (
            f"{said}; extrapolated by a power law through the last {FITTED} sizes, it would at about "
            f"{curve.crossover:,} ({low:,} to {upper})."
        )
    return f"{said} (95 % interval from {low:,} on)." if low is not None else f"{said}."
