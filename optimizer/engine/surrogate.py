"""The pooled model: what all answers seen so far say about every prompt of the space.

    logit P(prompt c answers row e rightly) = f(c) + b(e)

b(e) ~ N(0, s^2) is the row's difficulty, as in item response theory (PromptEval: Polo et al. 2024), so that a prompt
which met easy rows is comparable with one that met hard ones. f is a Gaussian process over the prompt's dimensions:
a kernel per dimension, products of two, and a residual per prompt. Arrays in, numbers out; knows no LLM, no Optuna.

Both are found together by Newton steps on all cells (Laplace's approximation: Rasmussen and Williams 2006, ch. 3.4);
b is eliminated first, being independent given f, so that a step costs n^2 m + n^3 for n prompts and m rows. Each fit
then takes one MM step of the variances (Zhou et al. 2019, eq. 5), which the next fit uses.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtri, dtrtrs

from optimizer.engine.grid import Codes, Floats, Grid

CONSTANT = 4.0  # prior variance of the mean logit: two deviations reach from 2 % to 98 % right
PAIRS = 0.25  # share of the prior variance that products of two dimensions have
PRIOR = 1.0  # weight of the variances' priors, in observations: with less, variances vanish if cells are few
COMMON = 0.3  # weight, in kernels, of the prior belief that effects as a whole are of typical size
TYPICAL = 0.6  # prior variance of f, in logits, shared among the dimensions: a spread of about 12 points
RESIDUAL = 0.1  # prior variance of a prompt's residual
ROWS = 2.0  # prior variance of the rows' difficulty
STEPS = 12  # most Newton steps of a fit; two suffice when little is new
CLOSE = 1e-2  # a step smaller than this, in logits, is the last
FLOOR = 3e-4  # least variance, which keeps the kernel invertible
UNASKED = 1e-6  # information, in observations, that a prompt without answers gets so that its variance is finite
LEVELS = 64  # points between which a mean probability is interpolated


@dataclass(frozen=True, slots=True)
class Draw:
    """A function over the space drawn from the posterior.

    `opened` [n] are its values at the prompts seen so far, with their residuals. `single` [width] and `pair` [width,
    width] are its tables for all other prompts. All of them are without the common level `mean`.
    """

    opened: Floats
    single: Floats
    pair: Floats
    mean: float


class Surrogate:
    """The model, refitted each time that answers are added."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.places = np.array([place for place, _ in grid.kernels], dtype=np.intp)
        dimensions = len(grid.dimensions)
        ways = np.bincount(self.places, minlength=dimensions)
        pairs = PAIRS if dimensions > 1 else 0.0
        main = TYPICAL * (1 - pairs) / max(1, dimensions) / ways[self.places]
        self.priors = np.array([*main, max(FLOOR, TYPICAL * pairs), RESIDUAL])
        self.scales = self.priors.copy()  # variances: of each kernel, of the pairs, of the residuals
        self._used = self.scales  # those of the last fit
        self.row_scale = ROWS
        self.dispersion = 1.0
        self.f, self.b = np.zeros(0), np.zeros(0)
        self.codes = np.zeros((0, dimensions), dtype=np.intp)
        self._mains = np.zeros((len(grid.kernels), 0, 0))
        self._roots: tuple[Floats, Floats, Floats, Floats] | None = None  # tables of the prior, with roots

    # --- kernels ------------------------------------------------------------------------------------------

    def _shares(self) -> Floats:
        """Return the weight of each kernel in the products [kernels]; all pairs together then have variance 1.

        Two dimensions that matter alone are more likely to matter together (heredity: Chipman 1996).
        """
        roots = np.sqrt(self._used[:-2])
        each = np.bincount(self.places, weights=roots, minlength=len(self.grid.dimensions))
        total = (each.sum() ** 2 - (each**2).sum()) / 2
        return roots / np.sqrt(total) if total > 0 else np.zeros_like(roots)

    def _pairs(self, mains: Floats) -> Floats:
        """Sum the products of two dimensions' kernels: [kernels, n, m] -> [n, m]."""
        shares, total, squares = self._shares(), np.zeros(mains.shape[1:]), np.zeros(mains.shape[1:])
        ends = np.searchsorted(self.places, np.arange(len(self.grid.dimensions) + 1))
        for first, last in itertools.pairwise(ends):  # slices, not masks: a copy would take as long as the sums
            alike = np.tensordot(shares[first:last], mains[first:last], 1)
            total += alike
            squares += np.square(alike, out=alike)
        np.square(total, out=total)
        total -= squares
        total /= 2
        return total

    def _open(self, codes: Codes) -> None:
        """Add the prompts that are new in `codes`; the known ones come first, in the same order."""
        old, n = len(self.codes), len(codes)
        if n > old:
            mains = np.zeros((len(self._mains), n, n))
            mains[:, :old, :old] = self._mains
            mains[:, old:, :] = self.grid.alike(codes[old:], codes)
            mains[:, :old, old:] = mains[:, old:, :old].transpose(0, 2, 1)
            self._mains, self.codes = mains, codes
            self.f = np.concatenate([self.f, np.full(n - old, self.f.mean() if old else 0.0)])

    def widen(self, grid: Grid, codes: Codes) -> None:
        """Take over a grid with further levels; `codes` [n, dimensions] are the known prompts' features in it.

        All kernels are computed anew, because a further text also changes which n-grams of the others are rare.
        """
        self.grid, self.codes = grid, codes
        self._mains = grid.alike(codes, codes)

    # --- fitting ------------------------------------------------------------------------------------------

    def fit(self, codes: Codes, scores: Floats, weights: Floats) -> None:
        """Fit the model anew.

        Parameters
        ----------
        codes
            Features of the prompts [n, dimensions]; those of the last fit first, in the same order.
        scores
            Their scores [n, rows] in [0, 1]; NaN where not asked.
        weights
            Weight of each row [rows], 1 on average: a metric of the whole set may need more weight on rare labels.
        """
        self._used = self.scales  # this fit uses them throughout; `_rescale` sets those of the next
        self._open(codes)
        if len(self.b) != scores.shape[1]:
            self.b = np.zeros(scores.shape[1])
        asked = ~np.isnan(scores)
        self._seen = asked * weights
        self._y = np.where(asked, scores, 0.0)
        pairs = self._pairs(self._mains)
        self._inverse = inverse(self._prior(pairs))
        for _ in range(STEPS):
            if self._newton() < CLOSE:
                break
        self._half = dtrtri(self._factor, lower=1)[0]
        self.covariance = self._half.T @ self._half
        if not np.isin(self._y, (0.0, 1.0)).all():
            self._disperse()
        self._rescale(pairs)
        self._roots = None

    def _prior(self, pairs: Floats) -> Floats:
        kernel: Floats = np.tensordot(self._used[:-2], self._mains, 1) + self._used[-2] * pairs + CONSTANT
        kernel[np.diag_indices_from(kernel)] += self._used[-1]
        return kernel

    def _newton(self) -> float:
        """Take one Newton step towards the mode of f and b; return its size in logits."""
        p = _logistic(self.f[:, None] + self.b)
        w = self._seen * p * (1 - p) / self.dispersion
        slope = self._seen * (self._y - p) / self.dispersion
        rows = w.sum(axis=0) + 1 / self.row_scale
        g_f = slope.sum(axis=1) - self._inverse @ self.f
        g_b = slope.sum(axis=0) - self.b / self.row_scale
        shared = w / rows
        hessian = self._inverse - shared @ w.T
        hessian[np.diag_indices_from(hessian)] += w.sum(axis=1)
        self._factor = dpotrf(hessian, lower=1)[0]
        step = dpotrs(self._factor, g_f - shared @ g_b, lower=1)[0]
        shift = g_b / rows - shared.T @ step
        size = float(max(np.abs(step).max(), np.abs(shift).max()))
        damping = min(1.0, 3.0 / max(size, 1e-12))  # beyond 3 logits the quadratic approximation fails
        self.f = self.f + damping * step
        self.b = self.b + damping * shift
        self._shared, self._information = shared, rows
        return size

    def _disperse(self) -> None:
        """Estimate the dispersion (Pearson): graded scores vary less than right-or-wrong ones.

        The model is a quasi-likelihood then (Wedderburn 1974).
        """
        p = _logistic(self.f[:, None] + self.b)
        residual = self._seen * (self._y - p) ** 2 / (p * (1 - p))
        freedom = max(1.0, self._seen.sum() - len(self.f) - len(self.b) / 2)
        self.dispersion = float(np.clip((residual.sum() + PRIOR) / (freedom + PRIOR), 0.02, 1.0))

    def _rescale(self, pairs: Floats) -> None:
        """Take one MM step of the variances, with inverse-gamma priors."""
        alpha = self._inverse @ self.f
        known = self._half @ self._inverse
        outer = self._inverse - known.T @ known
        both = np.stack([np.outer(alpha, alpha).ravel(), outer.ravel()], axis=1)
        mains = self._mains.reshape(len(self._mains), pairs.size)
        own = [alpha @ alpha, np.trace(outer)]
        explained, trace = np.vstack([mains @ both, pairs.ravel() @ both, own]).T
        old = self.scales
        common = (float((old / self.priors).sum()) + COMMON) / (len(old) + COMMON)
        self.scales = np.sqrt(
            (old**2 * explained + PRIOR * common * self.priors) / (np.maximum(trace, 0) + PRIOR / old)
        )
        self.scales = np.maximum(self.scales, FLOOR)
        spread = 1 / self._information + (self._shared * (self.covariance @ self._shared)).sum(axis=0)
        self.row_scale = float(((self.b**2 + spread).sum() + PRIOR * ROWS) / (len(self.b) + PRIOR))

    # --- the same answers under other variances -------------------------------------------------------------

    def told(self) -> tuple[Floats, Floats]:
        """Return what the answers alone, without the prior, say about the levels f: mean [n] and precision [n, n].

        The Laplace approximation of the last fit with the prior removed and the rows' difficulties integrated out.
        """
        both = self._factor @ self._factor.T
        precision = both - self._inverse
        precision[np.diag_indices_from(precision)] += UNASKED
        return inverse(precision) @ (both @ self.f), precision

    def suppose(self, scales: Floats) -> None:
        """Replace the variances; `settle` then updates the levels."""
        self.scales = self._used = scales
        self._roots = None

    def evidence(self, levels: Floats, error: Floats) -> float:
        """Return the log likelihood, up to a constant, of estimated levels [n] with this error covariance [n, n]."""
        factor = dpotrf(self._prior(self._pairs(self._mains)) + error, lower=1)[0]
        return float(-np.log(np.diag(factor)).sum() - 0.5 * (dtrtrs(factor, levels, lower=1)[0] ** 2).sum())

    def settle(self, levels: Floats, precision: Floats) -> None:
        """Condition the levels on a mean and precision as `told` returns them, instead of on answers."""
        self._inverse = inverse(self._prior(self._pairs(self._mains)))
        self._half = dtrtri(dpotrf(self._inverse + precision, lower=1)[0], lower=1)[0]
        self.covariance = self._half.T @ self._half
        self.f = self.covariance @ (precision @ levels)

    # --- predictions --------------------------------------------------------------------------------------

    def chances(self, f: Floats) -> Floats:
        """Return the mean probability of a right answer over all rows, for levels `f` [...] -> [...]."""
        low, high = f.min() - 1e-6, f.max() + 1e-6
        means = _logistic(np.linspace(low, high, LEVELS)[:, None] + self.b).mean(axis=1)
        place = (f - low) * ((LEVELS - 1) / (high - low))  # np.interp takes six times as long
        left = place.astype(np.intp)
        found: Floats = means[left] + (place - left) * np.diff(means)[left]
        return found

    def samples(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw the levels of the prompts seen so far from the posterior: [count, n]."""
        drawn: Floats = self.f + rng.standard_normal((count, len(self.f))) @ self._half
        return drawn

    def joint(self, opened: Codes, codes: Codes) -> tuple[Floats, Floats]:
        """Return the mean [m] and covariance [m, m] of the levels of opened prompts, followed by other prompts.

        The opened ones are given by number, the others by features [..., dimensions]; m counts both.
        """
        asked = np.concatenate([self.codes[opened], codes])
        cross = self._kernel(self.grid.alike(asked, self.codes))
        cross[np.arange(len(opened)), opened] += self._used[-1]
        own = self._kernel(self.grid.alike(asked, asked))
        own[np.diag_indices_from(own)] += self._used[-1]
        reach = self._inverse @ cross.T
        seen = self._half @ reach
        return reach.T @ self.f, own - cross @ reach + seen.T @ seen

    def noise(self, f: Floats, rows: int) -> Floats:
        """Return the variance of the estimate of level `f` [m] from so many rows -> [m], in squared logits."""
        chance = _logistic(f[:, None] + self.b)
        noise: Floats = self.dispersion / (rows * (chance * (1 - chance)).mean(axis=1))
        return noise

    def _kernel(self, mains: Floats) -> Floats:
        """Sum the kernels [kernels, n, m] -> [n, m], without the residuals."""
        kernel: Floats = np.tensordot(self._used[:-2], mains, 1) + self._used[-2] * self._pairs(mains) + CONSTANT
        return kernel

    def draw(self, rng: np.random.Generator, scale: float) -> Draw:
        """Draw a function by Matheron's rule (Wilson et al. 2020); `scale` multiplies its deviation from the mean."""
        width, n = self.grid.width, len(self.f)
        if self._roots is None:
            main, alike = self._tables()
            self._roots = main, alike, _root(main), _root(alike)
        main, alike, main_root, root = self._roots
        single = main_root @ rng.standard_normal(width)
        pair = np.sqrt(self._used[-2]) * (root @ rng.standard_normal((width, width)) @ root.T)
        pair = self._symmetric(pair)
        mean = float(np.sqrt(CONSTANT) * rng.standard_normal())
        x = onehot(self.codes, width)
        prior = x @ single + 0.5 * ((x @ pair) * x).sum(axis=1) + mean
        prior += np.sqrt(self._used[-1]) * rng.standard_normal(n)
        away = self.samples(rng, 1)[0] - self.f
        weights = self._inverse @ (self.f + scale * (away - prior))
        toward = alike @ x.T
        mean = scale * mean + CONSTANT * float(weights.sum())
        return Draw(
            self.f + scale * away - mean,
            scale * single + main @ (x.T @ weights),
            scale * pair + self._symmetric(self._used[-2] * ((toward * weights) @ toward.T)),
            mean,
        )

    def _tables(self) -> tuple[Floats, Floats]:
        """The kernels of the main effects and of the products, over all features [width, width]."""
        shares = self._shares()
        main, alike = np.zeros((self.grid.width,) * 2), np.zeros((self.grid.width,) * 2)
        for scale, share, (place, kernel) in zip(self._used[:-2], shares, self.grid.kernels, strict=True):
            block = self.grid.blocks[place]
            main[block, block] += scale * kernel
            alike[block, block] += share * kernel
        return main, alike

    def _symmetric(self, pair: Floats) -> Floats:
        """Mirror the table of each pair of dimensions, and set it to 0 within a dimension."""
        upper = np.zeros_like(pair)
        for block in self.grid.blocks:
            upper[block, block.stop :] = pair[block, block.stop :]
        return upper + upper.T


def onehot(codes: Codes, width: int) -> Floats:
    """Turn features [n, dimensions] into 0/1 rows [n, width]."""
    rows = np.zeros((len(codes), width))
    row, place = np.nonzero(codes >= 0)
    rows[row, codes[row, place]] = 1.0
    return rows


def _logistic(x: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return chance


def inverse(kernel: Floats) -> Floats:
    """Invert a positive definite kernel by its Cholesky factor, more than twice as fast as a general inverse."""
    lower: Floats = dpotri(dpotrf(kernel, lower=1)[0], lower=1)[0]
    return np.tril(lower) + np.tril(lower, -1).T


def _root(kernel: Floats) -> Floats:
    """A square root of a kernel that may be singular."""
    values, vectors = np.linalg.eigh(kernel)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
