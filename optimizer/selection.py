"""Having chosen the best of many: what scores on the same rows say of each prompt once the choice is allowed for.

The score of the best of many is too high, because luck helped to make it the best. A posterior mean is not: if the
prior is the population that the prompts come from, it is right on average, whatever was chosen and why (Dawid 1994;
Efron 2011, "Tweedie's formula and selection bias"). Here the population is learnt from the prompts themselves, with the
doubt about it kept (Morris 1983; Gelman 2006), from a model of the cells as in item response theory:

    P(prompt c is right on row e) = logistic(f(c) + b(e)),    b(e) ~ N(0, s^2)

so that a prompt which was given up after a few easy rows is compared fairly. That rows were given or refused to a
prompt because of its earlier scores does no harm, as long as all its scores are here (Rubin 1976).

Arrays in, numbers out: knows no prompt, model or metric, and nothing of what prompts have in common. Scores lie in
[0, 1]. What it says is about new rows of the same kind, of which those at hand are a sample. No random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optimizer.distributions import critical

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SWEEPS = 25  # most Newton steps of a fit; seven suffice for a full table, twenty for a sparse one
LEAST = 0.05  # smallest dispersion of graded scores: prompts that answer alike are hardly independent evidence
CLOSE = 0.01  # a step smaller than this, in logits, is the last: a fifth of a point
LEAP = 2.0  # longest Newton step, in logits; beyond, the parabola is no guide
LEVELS, ROWS = 0.5, 2.0  # first guesses of the variances of f and b; the fit replaces them
LOOSE = 20.0  # prior variance of f for a prompt that is no candidate: hardly any prior
LOGITS = np.linspace(-15.0, 15.0, 401)  # levels from which a mean score is read off
NODES, MASSES = np.polynomial.hermite_e.hermegauss(15)  # for means over a normal distribution

REACH = 6.0  # standard errors that the grid of mean scores goes beyond the prompts'
FINE = 2.0  # its points in the smallest standard error
POINTS = (64, 512)  # its fewest and most points

# Populations: normal, but with another spread above the mode than below (Fechner's two-piece normal; Wallis 2014), and
# with a share of prompts that fail, anywhere below the mode. Were there no room for these, a few of them would widen
# the one spread, and the best would be shrunk too little: by 3 points where a fifth of the prompts fail.
MODES = 16
BEYOND = 2.0  # smallest standard errors that modes go beyond the prompts' scores
SPREADS = np.geomspace(0.006, 0.3, 7)  # half a point is as good as none; 30 points fill the range
SKEWS = np.array([-0.8, 0.0, 0.8])  # log of the spread above the mode, less the mean of both sides' logs
SKEW = 0.8  # standard deviation of their prior
FAILING = np.array([0.02, 0.2])  # shares of prompts that fail: hardly any, or a good part


@dataclass(frozen=True, slots=True)
class Corrected:
    """What the scores say of each prompt; NaN for one without a score.

    Attributes
    ----------
    scores, limits
        Mean score on new rows [prompts], and its interval [prompts, 2].
    gains, gain_limits
        Lead over the seed prompt on the same rows [prompts], and its interval [prompts, 2]; all 0 for the seed
        prompt. NaN if the seed prompt has no score.
    """

    scores: Floats
    limits: Floats
    gains: Floats
    gain_limits: Floats


@dataclass(frozen=True, slots=True)
class _Fit:
    """Levels `f` [prompts], difficulties `b` [rows] and their variance; `dispersion` is 1 for right or wrong.

    `means` are the prompts' mean scores over all rows, `errors` their standard errors, and `shared` those of how hard
    the rows are that they saw [prompts].
    """

    f: Floats
    b: Floats
    variance: float
    dispersion: float
    means: Floats
    errors: Floats
    shared: Floats


def corrected(
    scores: ArrayLike, candidates: ArrayLike | None = None, *, seed: int = 0, level: float = 0.95
) -> Corrected:
    """Estimate every prompt's mean score, and its gain over the seed prompt, so that the best may be chosen by it.

    Parameters
    ----------
    scores
        Scores [prompts, rows] in [0, 1]; NaN where a prompt did not see a row or its call failed.
    candidates
        Numbers of the prompts among which the choice is made, however early some were given up: one population. All
        but the seed prompt if None. A prompt that is none of them is not shrunk, but its scores tell how hard the
        rows are.
    seed
        Number of the seed prompt. It is never shrunk: it was there before the search, so that what prompts score on
        average says nothing about it.
    level
        Confidence.

    Notes
    -----
    Measured on simulated tables of 25 to 50 prompts on 200 rows, some given up early, whose true scores spread by 2 to
    8 points, normally in logits: the raw score of the best is 1.8 to 4.2 points too high, the corrected one off by less
    than 0.4, and 94 to 95 % of the intervals hold the truth. Other populations cost more: scores that are normal
    themselves -0.6, a long tail below up to +1, all prompts equal +1 (where 2 to 5 % of the winners are said to gain).
    On 25 tables of real models' answers, judged by rows kept aside: +3.4 raw, +0.6 corrected, 94 % held. A prompt that
    stands alone far above a close crowd is drawn too far towards it.

    Takes about 8 ms for 50 prompts and 50 ms for 300 on 200 rows.
    """
    scores = np.asarray(scores, dtype=np.float64)
    found = Corrected(*(np.full((len(scores), *shape), np.nan) for shape in ((), (2,), (), (2,))))
    seen = ~np.isnan(scores)
    known, rows = seen.any(axis=1), seen.any(axis=0)
    if not known.any():
        return found
    among = known.copy() if candidates is None else known & np.isin(np.arange(len(scores)), candidates)
    among[seed] = False
    cells = scores[known][:, rows]
    fit = _fit(cells, among[known])
    grid = _grid(fit)
    posterior = _posterior(_likelihood(cells, fit, grid), grid, fit, among[known])
    estimates, limits = posterior @ grid, _limits(posterior, grid, level)
    # Errors of independent parts add up, on each side by themselves: Zou and Donner (2008), eq. 3.
    below, above = estimates - limits[:, 0], limits[:, 1] - estimates
    sampled = critical(level) * np.sqrt(_row_variance(estimates, fit) / cells.shape[1] + fit.shared**2)
    found.scores[known] = estimates
    found.limits[known, 0] = np.maximum(0.0, estimates - np.hypot(below, sampled))
    found.limits[known, 1] = np.minimum(1.0, estimates + np.hypot(above, sampled))
    if known[seed]:
        at = int(known[:seed].sum())
        found.gains[known] = gains = estimates - estimates[at]
        found.gain_limits[known, 0] = gains - np.hypot(below, above[at])
        found.gain_limits[known, 1] = gains + np.hypot(above, below[at])
        found.gain_limits[seed] = 0.0
    return found


# --- the model of the cells -------------------------------------------------------------------------------


def _fit(cells: Floats, among: Flags) -> _Fit:
    """Find levels and difficulties by Newton steps on both; the variances follow as in EM (Dempster et al. 1977).

    In turn they would stand still too soon: where many prompts saw the same few rows, all levels and these rows'
    difficulties can move against each other at hardly any loss.
    """
    seen = ~np.isnan(cells)
    y = np.where(seen, cells, 0.0)
    n = seen.sum(axis=1)
    share = (y.sum(axis=1) + 0.5) / (n + 1)
    f, b = np.log(share / (1 - share)), np.zeros(cells.shape[1])
    levels, variance, dispersion = LEVELS, ROWS, 1.0
    for _ in range(SWEEPS):
        p = _logistic(f[:, None] + b)
        weights, rest = seen * p * (1 - p) / dispersion, seen * (y - p) / dispersion
        information, at_rows = weights.sum(axis=1), weights.sum(axis=0) + 1 / variance
        prior, shared, down = _prior(among, levels), weights / at_rows, rest.sum(axis=0) - b / variance
        hessian = np.diag(information) + prior - shared @ weights.T
        covariance = np.linalg.inv(hessian)
        step = covariance @ (rest.sum(axis=1) - prior @ f - shared @ down)
        shift = down / at_rows - shared.T @ step
        size = float(max(np.abs(step).max(), np.abs(shift).max()))
        damping = min(1.0, LEAP / max(size, CLOSE))
        f, b = f + damping * step, b + damping * shift
        if among.any():
            spread = (f[among] - f[among].mean()) ** 2 + np.diag(covariance)[among]
            levels = max(1e-3, float(spread.mean()))
        variance = float(np.mean(b**2 + 1 / at_rows))
        free = seen.sum() - len(f) - float((1 - 1 / (variance * at_rows)).sum())
        dispersion = _dispersion(y, seen, _logistic(f[:, None] + b), free)
        if size < CLOSE:
            break
    p = _logistic(f[:, None] + b)
    slopes = p * (1 - p) / cells.shape[1]
    slope = slopes.sum(axis=1)
    # Variance of the mean over all rows (delta method), less what a prompt's own answers leave: that of the rows' part.
    moves = np.diag(slope) - slopes @ shared.T
    total = ((moves @ covariance) * moves).sum(axis=1) + (slopes**2 / at_rows).sum(axis=1)
    excess = total - slope**2 / (information + np.diag(prior))
    # Two floors: the information of one even chance, and half a score, where all scores are equal.
    errors = np.maximum(slope / np.sqrt(information + 0.25 / dispersion), 0.5 / (n + 1))
    return _Fit(f, b, variance, dispersion, p.mean(axis=1), errors, np.sqrt(np.maximum(excess, 0.0)))


def _prior(among: Flags, levels: float) -> Floats:
    """Precision of the levels [prompts, prompts]: the candidates share a mean, of which hardly anything is known."""
    prior = np.diag(np.where(among, 1 / levels, 1 / LOOSE))
    prior[np.ix_(among, among)] -= levels**-2 / (among.sum() / levels + 1 / LOOSE)
    return prior


def _dispersion(y: Floats, seen: Flags, p: Floats, free: float) -> float:
    """By how much less graded scores vary than right-or-wrong ones: quasi-likelihood (Wedderburn 1974)."""
    if np.isin(y, (0.0, 1.0)).all():
        return 1.0
    expected = float((seen * p * (1 - p)).sum()) * max(1.0, free) / float(seen.sum())
    return min(1.0, max(LEAST, float((seen * (y - p) ** 2).sum()) / expected))


def _row_variance(estimates: Floats, fit: _Fit) -> Floats:
    """How much a prompt's chance varies from row to row [prompts]."""
    levels = np.interp(estimates, _mean_score(LOGITS, fit.b), LOGITS)
    chances = _logistic(levels[:, None] + np.sqrt(fit.variance) * NODES)
    masses = MASSES / MASSES.sum()
    variance: Floats = chances**2 @ masses - (chances @ masses) ** 2
    return variance


def _mean_score(levels: Floats, b: Floats) -> Floats:
    means: Floats = _logistic(levels[:, None] + b).mean(axis=1)
    return means


def _logistic(x: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-x))
    return chance


# --- the population ---------------------------------------------------------------------------------------


def _grid(fit: _Fit) -> Floats:
    """Mean scores at equal distances, as wide and as fine as the prompts need [points]."""
    low, high = _mean_score(LOGITS[[0, -1]], fit.b)
    low = max(low, (fit.means - REACH * fit.errors).min())
    high = min(high, (fit.means + REACH * fit.errors).max())
    return np.linspace(low, high, int(np.clip(FINE * (high - low) / fit.errors.min(), *POINTS)))


def _likelihood(cells: Floats, fit: _Fit, grid: Floats) -> Floats:
    """What each prompt's scores say for each mean score [prompts, points]; the largest is 1."""
    seen = ~np.isnan(cells)
    logits = np.interp(grid, _mean_score(LOGITS, fit.b), LOGITS)[:, None] + fit.b
    # log p = logit + log(1 - p)
    log = (np.where(seen, cells, 0.0) @ logits.T - seen @ np.logaddexp(0.0, logits).T) / fit.dispersion
    likelihood: Floats = np.exp(log - log.max(axis=1, keepdims=True))
    return likelihood


def _posterior(likelihood: Floats, grid: Floats, fit: _Fit, among: Flags) -> Floats:
    """Chances of each mean score [prompts, points]; those among the candidates share a population.

    The others have a prior that keeps their scores nearly unbiased: Jeffreys' (Brown, Cai and DasGupta 2001).
    """
    half = (grid[1] - grid[0]) / 2
    inside = np.clip(grid, half, 1 - half)  # at 0 and 1 that prior is infinite, its integral is not
    posterior = likelihood / np.sqrt(inside * (1 - inside))
    if among.any():
        margin = BEYOND * fit.errors[among].min()
        ends = np.clip([fit.means[among].min() - margin, fit.means[among].max() + margin], grid[0], grid[-1])
        shapes, weights = _populations(grid, *ends)
        evidence = np.maximum(likelihood[among] @ shapes.T, 1e-300)
        weights = weights + np.log(evidence).sum(axis=0)
        weights = np.exp(weights - weights.max())
        posterior[among] = likelihood[among] * ((weights / evidence) @ shapes)
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior


def _populations(grid: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Populations that the prompts may come from [shapes, points], and the log of their prior weights [shapes].

    Modes are equally likely between the limits, spreads between 0 and the largest (Gelman 2006).
    """
    parts = np.meshgrid(np.linspace(low, high, MODES), SPREADS, SKEWS, FAILING, indexing="ij")
    mode, spread, skew, failing = (part.reshape(-1, 1) for part in parts)
    away = grid - mode
    shapes = np.exp(-0.5 * (away / (spread * np.exp(np.where(away < 0, -skew, skew)))) ** 2)
    shapes *= (1 - failing) / shapes.sum(axis=1, keepdims=True)
    below = away <= 0
    shapes += below * (failing / np.maximum(1, below.sum(axis=1, keepdims=True)))
    # The spreads stand at equal distances of their logarithm, each for a share of the range as wide as itself.
    return shapes, (np.log(spread) - 0.5 * (skew / SKEW) ** 2).ravel()


def _limits(posterior: Floats, grid: Floats, level: float) -> Floats:
    """Quantiles that leave equal chances on either side [prompts, 2]."""
    half = (grid[1] - grid[0]) / 2
    edges = np.concatenate([grid - half, grid[-1:] + half])
    below = np.concatenate([np.zeros((len(posterior), 1)), posterior.cumsum(axis=1)], axis=1)
    tails = ((1 - level) / 2, (1 + level) / 2)
    limits: Floats = np.clip([np.interp(tails, chances, edges) for chances in below], 0.0, 1.0)
    return limits
