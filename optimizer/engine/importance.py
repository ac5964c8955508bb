"""Which ingredient paid: the share of the pooled model's variance over the space that each dimension explains.

The function over the space is decomposed by functional ANOVA (Sobol 1993; for hyperparameters: Hutter et al. 2014),
once for each of many draws from the posterior, so that every figure has an interval. All levels have equal weight,
however often the search tried them. Reads a fitted surrogate; knows no board, no language model and no database.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimizer.engine import variances
from optimizer.engine.grid import Codes, Floats, Grid
from optimizer.engine.surrogate import Draw, Surrogate
from optimizer.records import Importance

DRAWS = 64  # the limits of a 95 % interval are then about the second draw from either end
PROMPTS = 256  # a share's sampling error is then about a point, less than the spread between draws


def importances(model: Surrogate, rng: np.random.Generator) -> tuple[Importance, ...]:
    """Return what each dimension explains and its best level, the dimension that explains most first.

    Parameters
    ----------
    model
        Fitted to some answers.
    rng
        Draws prompts and functions.
    """
    grid = model.grid
    if not grid.dimensions:
        return ()
    codes = grid.filled(grid.random(PROMPTS, rng), rng)
    seed = grid.encode({dimension.name: dimension.seed for dimension in grid.dimensions})
    draws = variances.draws(model, DRAWS, rng)
    varied = profiles(grid, draws, codes)
    alone, total = shares(varied)
    gains = np.stack(
        [_gains(model, [values[i] + draw.mean for values in varied], codes, seed) for i, draw in enumerate(draws)]
    )
    found = []
    for place, (dimension, block) in enumerate(zip(grid.dimensions, grid.blocks, strict=True)):
        level = int(gains[:, block].mean(axis=0).argmax())
        low, high = _limits(alone[:, place])
        gain, (gain_low, gain_high) = gains[:, block.start + level], _limits(gains[:, block.start + level])
        share, whole = float(alone[:, place].mean()), float(total[:, place].mean())
        best = grid.levels[place][level]
        found.append(Importance(dimension.name, share, low, high, best, float(gain.mean()), gain_low, gain_high, whole))
    return tuple(sorted(found, key=lambda importance: -importance.share))


def profiles(grid: Grid, draws: Sequence[Draw], codes: Codes) -> list[Floats]:
    """Evaluate functions at prompts [n, dimensions] in which one dimension takes each of its levels.

    Returns one array [draws, n, levels] per dimension.
    """
    singles, pairs = np.stack([draw.single for draw in draws]), np.stack([draw.pair for draw in draws])
    found = []
    for place, block in enumerate(grid.blocks):
        options = np.repeat(codes[:, None, :], block.stop - block.start, axis=1)
        options[:, :, place] = np.arange(block.start, block.stop)
        found.append(grid.values(singles, pairs, options))
    return found


def shares(varied: list[Floats]) -> tuple[Floats, Floats]:
    """Return the share of variance that each dimension explains, alone and with its interactions [draws, dimensions].

    First-order and total index (Sobol 1993; Homma and Saltelli 1996). All levels of a dimension are enumerated, so only
    the other dimensions are sampled.
    """
    alone, total = [], []
    for values in varied:
        n, variance = values.shape[1], np.maximum(values.var(axis=(1, 2)), 1e-12)
        with_others = values.var(axis=2).mean(axis=1)
        # The mean over n prompts still contains 1/n of the interactions' variance, which is not the dimension's own.
        own = (n * values.mean(axis=1).var(axis=1) - with_others) / (n - 1)
        alone.append(np.maximum(0.0, own) / variance)
        total.append(with_others / variance)
    return np.stack(alone, axis=1), np.stack(total, axis=1)


def _gains(model: Surrogate, varied: list[Floats], codes: Codes, seed: Codes) -> Floats:
    """Return each level's mean score minus the seed prompt's level's [width], over the prompts to which it applies."""
    applies = model.grid.masked(codes) >= 0
    gains = np.zeros(model.grid.width)
    for place, (block, values) in enumerate(zip(model.grid.blocks, varied, strict=True)):
        if applies[:, place].any():
            means = model.chances(values[applies[:, place]]).mean(axis=0)
            gains[block] = means - means[seed[place] - block.start]
    return gains


def _limits(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
