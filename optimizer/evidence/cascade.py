"""A cascade of baseline and prompt: the baseline answers rows on which it is confident enough, the prompt the others.

The threshold is chosen on dev rows that both have answered. No call is made for the cascade, because both have also
answered every test row. Knows neither where an answer comes from nor how a confidence is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.contenders import CASCADE, LEVEL, on_both
from optimizer.findings import Cascade, CascadePoint
from optimizer.records import Comparison, Contender, Outcome, Verdict
from optimizer.scoring import Metric, interval, summarise, weights
from optimizer.stats import paired_interval, worse_than
from search_spaces.prompt import Example

Floats = NDArray[np.float64]

STEPS = 10  # thresholds at each tenth of the dev rows: so few rows do not allow finer ones
# Score that may be lost to save calls. In simulations, tolerating half a point cost 0.3 points and saved 4 to 16 more
# of 100 calls than tolerating nothing; tolerating a point cost 0.6 points and saved 8 to 24.
TOLERATED = 0.005
FEWEST = 20  # least dev rows answered by both for choosing a threshold: two rows per step
# Least share of calls saved that is worth mentioning. Below a tenth of the calls, maintaining and monitoring a second
# model costs more than it saves.
WORTH = 0.1
NEWTON = 25  # Newton steps; a log-likelihood of two parameters converges in a handful


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcomes of both contenders on the same rows, and the baseline's confidence on each [n]."""

    rows: Sequence[Example]
    prompt: Sequence[Outcome]
    baseline: Sequence[Outcome]
    confidence: Floats

    def scored(self) -> Answered:
        """Return only the rows on which both have a score."""
        ours, theirs = ({o.example_id: o for o in each if o.score is not None} for each in (self.prompt, self.baseline))
        kept = [i for i, row in enumerate(self.rows) if row.id in ours and row.id in theirs]
        rows = [self.rows[i] for i in kept]
        picked = [ours[row.id] for row in rows], [theirs[row.id] for row in rows]
        return Answered(rows, *picked, self.confidence[kept])

    def mixed(self, least: float | None) -> tuple[Outcome, ...]:
        """Return the cascade's outcomes: the baseline's if its confidence is at least `least`, else the prompt's.

        An outcome of the prompt then has the cost and time of both. A row that needs the prompt but was not answered by
        it is left out.
        """
        ours = {outcome.example_id: outcome for outcome in self.prompt}
        mixed = []
        for theirs, sure in zip(self.baseline, self.confidence, strict=True):
            if least is not None and sure >= least:
                mixed.append(theirs)
            elif asked := ours.get(theirs.example_id):
                mixed.append(replace(asked, seconds=asked.seconds + theirs.seconds, cost=asked.cost + theirs.cost))
        return tuple(mixed)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The threshold `least` that was chosen on dev from `grid`; None means that the prompt answers all rows.

    Thresholds are uncalibrated confidences of the baseline; `calibrated` maps these [n] to calibrated ones [n].
    """

    least: float | None
    grid: tuple[float | None, ...]
    level: float
    slope: float
    dev: Answered

    def calibrated(self, confidence: Floats) -> Floats:
        """Return the expected share of correct answers at uncalibrated confidences [n]."""
        return _logistic(_logit(confidence), self.level, self.slope)


def choose(dev: Answered, metric: Metric) -> Chosen | None:
    """Choose how confident the baseline must be to answer; None if too few dev rows were answered by both.

    Parameters
    ----------
    dev
        The dev rows. Both contenders were chosen on them (the prompt among many, the baseline's hyperparameters and
        last epoch), so both look better there than they are, and the baseline is too confident. The threshold is
        therefore a little low; the test rows, on which nothing was chosen, show by how much (`Cascade.surer`).
    metric
        The metric.

    Notes
    -----
    For each contender, the expected score as a function of the logit of the baseline's confidence is fitted by logistic
    regression on the rows that both have answered. (A search first asks a prompt the most informative rows, which are
    not as hard as the others, so both must be fitted on the same rows.) On all dev rows, the same fit for the baseline
    is Platt's (1999) calibration. Rows are then sent to the prompt from the lowest confidence upwards; the gain is the
    sum of the differences of the two functions, weighted as the metric weights rows.

    - If the prompt is better on all rows, the threshold that sends fewest rows is chosen among those that keep its
      score up to half a point.
    - If the baseline is at least as good, sending rows to the prompt must gain something to be worth its price: the
      threshold with the largest gain is chosen if a one-sided test shows that the prompt is better on the rows below
      it; otherwise no rows are sent.

    In simulations with 50 to 500 dev rows, choosing by the fitted functions lost a third less score than choosing by
    the dev scores themselves, where the first threshold that looks good enough is often lucky.
    """
    level, slope = _calibration(dev)
    ranked, dev = np.sort(dev.confidence), dev.scored()
    if len(dev.rows) < FEWEST:
        return None
    stated = dev.confidence
    theirs, ours = (np.array([o.score for o in side], dtype=np.float64) for side in (dev.baseline, dev.prompt))
    x = _logit(stated)
    inner = sorted({float(ranked[len(ranked) * step // STEPS]) for step in range(1, STEPS)} - {float(ranked[0])})
    grid = (float("-inf"), *inner, None)
    gain = (_logistic(x, *_fitted(x, ours)) - _logistic(x, *_fitted(x, theirs))) * weights(metric, dev.rows)
    gains = [float(gain[_sent(stated, least)].sum()) for least in grid]
    if gains[-1] > 0:
        enough = gains[-1] - TOLERATED * len(dev.rows)
        least = grid[next(i for i, value in enumerate(gains) if value >= enough)]
    else:
        least = grid[int(np.argmax(gains))]
        sent = _sent(stated, least)
        if worse_than((theirs - ours)[sent]) >= LEVEL:
            least = grid[0]
    return Chosen(least, grid, level, slope, dev)


def front(
    chosen: Chosen, test: Answered, names: tuple[str, str], metric: Metric, seed: int, *, priced: tuple[bool, bool]
) -> Cascade:
    """Measure the cascade at each threshold on the test rows.

    Parameters
    ----------
    chosen
        The threshold chosen on dev, and the others.
    test
        The test rows, which the verdict has opened.
    names
        The names of prompt and baseline.
    metric
        The metric.
    seed
        Seed of the resampling; the verdict's, so that equal outcomes have equal intervals.
    priced
        Whether the prices of prompt and baseline are known.
    """
    examples = {row.id: row for row in (*test.rows, *chosen.dev.rows)}
    points = []
    for least in chosen.grid:
        mixed = [outcome for outcome in test.mixed(least) if outcome.score is not None]
        paid = known(test, least, priced)
        threshold = None if least is None else 0.0 if least == -np.inf else chosen.calibrated(np.array([least]))[0]
        points.append(
            CascadePoint(
                None if threshold is None else float(threshold),
                float(_sent(test.confidence, least).mean()),
                summarise(metric, chosen.dev.mixed(least), examples) or 0.0,
                summarise(metric, mixed, examples) or 0.0,
                interval(metric, mixed, examples, np.random.default_rng(seed)),
                1000 * float(np.mean([outcome.cost for outcome in mixed])) if mixed and paid else None,
                least == chosen.least,
            )
        )
    both = test.scored()
    sure, right = chosen.calibrated(both.confidence), np.array([o.score for o in both.baseline], dtype=np.float64)
    stated = None if chosen.least is None else max(0.0, chosen.least)
    off = float((sure - right).mean())
    return Cascade(*names, tuple(points), stated, off, paired_interval(sure, right))


def known(test: Answered, least: float | None, priced: tuple[bool, bool]) -> bool:
    """Return whether the cost of a cascade is known; `priced` is whether the prices of prompt and baseline are.

    A prompt that gets no rows costs nothing, whatever its price.
    """
    ours, theirs = priced
    return theirs and (ours or not _sent(test.confidence, least).any())


def detail(chosen: Chosen, test: Answered, prompt: str) -> str:
    """Return in a few words what the cascade does."""
    return f"{100 * _sent(test.confidence, chosen.least).mean():.0f} % of the rows to the {prompt}"


def sentence(cascade: Cascade, verdict: Verdict) -> str:
    """Return a sentence on what the cascade saves or gains on the test rows; empty if it does neither, or loses."""
    found = next(c for c in verdict.contenders if c.name == CASCADE)
    point = next(p for p in cascade.points if p.chosen)
    versus = {c.b: c for c in verdict.comparisons if c.a == CASCADE}
    gained = all(c.p_value < LEVEL and c.difference > 0 for c in versus.values())
    lost = any(c.p_value < LEVEL and c.difference < 0 for c in versus.values())
    saves = point.share <= 1 - WORTH and _better(verdict, cascade) == cascade.prompt
    if lost or not 0 < point.share < 1 or not (saves or gained) or point.threshold is None:
        return ""
    return (
        f"Together: with the {cascade.baseline} answering where it is at least {100 * point.threshold:.0f} % sure, "
        f"{100 * point.share:.0f} % of the rows go to the {cascade.prompt}, and the cascade scores "
        f"{100 * found.score:z.1f} %: {_against(versus[cascade.prompt])}"
        f"{on_both(verdict.contenders, CASCADE, cascade.prompt)}."
    )


def _better(verdict: Verdict, cascade: Cascade) -> str:
    two: list[Contender] = [c for c in verdict.contenders if c.name in {cascade.prompt, cascade.baseline}]
    return max(two, key=lambda c: c.score).name


def _against(versus: Comparison) -> str:
    low, high = versus.interval
    return (
        f"{100 * versus.difference:+z.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) against the {versus.b} alone"
    )


# --- parts ------------------------------------------------------------------------------------------------


def _sent(confidence: Floats, least: float | None) -> NDArray[np.bool_]:
    """Return which rows go to the prompt [n]."""
    return np.ones(len(confidence), dtype=np.bool_) if least is None else confidence < least


def _logit(confidence: Floats) -> Floats:
    held = np.clip(confidence, 1e-6, 1 - 1e-6)  # the logit of a confidence of 1 would be infinite
    return np.log(held / (1 - held))


def _logistic(x: Floats, level: float, slope: float) -> Floats:
    return 1 / (1 + np.exp(-np.clip(level + slope * x, -30, 30)))


def _calibration(dev: Answered) -> tuple[float, float]:
    """Return level and slope of the fit from the logit of the baseline's confidence to that of its score."""
    scored = [i for i, outcome in enumerate(dev.baseline) if outcome.score is not None]
    right = np.array([dev.baseline[i].score for i in scored], dtype=np.float64)
    level, slope = _fitted(_logit(dev.confidence[scored]), right)
    # If its confidence is uninformative, the calibrated one is constant.
    return (level, slope) if slope > 0 else (_flat(right), 0.0)


def _flat(scores: Floats) -> float:
    share = (scores.sum() + 1) / (len(scores) + 2)
    return float(np.log(share / (1 - share)))


def _fitted(x: Floats, scores: Floats) -> tuple[float, float]:
    """Return level and slope of the logistic regression of scores in [0, 1] on x, both [n].

    As in Platt (1999, eq. 10 and 11), scores are shrunk a little towards the middle, so that no slope is infinite.
    """
    n, right = len(scores), float(scores.sum())
    high, low = (right + 1) / (right + 2), 1 / (n - right + 2)
    target = low + scores * (high - low)
    design = np.stack([np.ones(n), x], axis=1)
    found = np.array([_flat(scores), 0.0])
    for _ in range(NEWTON):
        expected = _logistic(x, found[0], found[1])
        curvature = design.T @ (design * (expected * (1 - expected))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (target - expected))
        found = found + np.clip(step, -2, 2)
    return float(found[0]), float(found[1])
