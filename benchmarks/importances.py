"""Do the intervals of the dimensions' importances cover the truth after a search? On landscapes with known truth.

    python benchmarks/importances.py [--seeds 20] [--calls 300 1000 3000]

Prints how many of the intervals of shares and of gains contain the truth (95 % should), the errors of the shares, and
the widths. The truth is decomposed as the model is: shares of the differences in logits, gains in the score.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from benchmarks.landscapes import landscape
from benchmarks.problems import Floats, Problem
from optimizer.engine.grid import Codes, Grid
from optimizer.engine.importance import shares
from optimizer.records import Importance
from optimizer.search import Options, run

FAMILIES = ("smooth", "rough", "interacting")
OTHERS = 1000  # seeds from here on, which no other benchmark looks at
PROMPTS = 1000  # over which the truth is averaged
NEAR = 0.01  # how far beside the interval still counts as held: the truth is an average itself


def truth(problem: Problem, grid: Grid, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, Floats]]:
    """Find each dimension's share, and the gains of its levels over the seed prompt's [levels]."""
    codes = grid.filled(grid.random(PROMPTS, rng), rng)
    applies = grid.masked(codes) >= 0
    seed = grid.encode({dimension.name: dimension.seed for dimension in grid.dimensions})
    scores = []
    for place, block in enumerate(grid.blocks):
        options = np.repeat(codes[:, None, :], block.stop - block.start, axis=1)
        options[:, :, place] = np.arange(block.start, block.stop)
        scores.append(_accuracies(problem, grid, grid.masked(options)))
    alone, _ = shares([np.log(score / (1 - score))[None] for score in scores])
    names = [dimension.name for dimension in grid.dimensions]
    means = [score[applies[:, place]].mean(axis=0) for place, score in enumerate(scores)]
    gains = [mean - mean[seed[place] - grid.blocks[place].start] for place, mean in enumerate(means)]
    return dict(zip(names, alone[0].tolist(), strict=True)), dict(zip(names, gains, strict=True))


def _accuracies(problem: Problem, grid: Grid, codes: Codes) -> Floats:
    """Look up the accuracy in [0, 1] of prompts [n, levels, dimensions] -> [n, levels]."""
    flat = codes.reshape(-1, codes.shape[-1])
    kinds, which = np.unique(flat, axis=0, return_inverse=True)
    found = np.array([problem.truth(problem.space.distinct(_params(grid, kind))) for kind in kinds]) / 100
    return found[which.ravel()].reshape(codes.shape[:-1])


def _params(grid: Grid, codes: NDArray[np.intp]) -> dict[str, str | int | float]:
    places = zip(grid.dimensions, grid.levels, grid.blocks, codes, strict=True)
    return {d.name: levels[int(code) - block.start] for d, levels, block, code in places if code >= 0}


def held(found: Importance, share: float, gain: float) -> tuple[float, ...]:
    """Whether share and gain lie in their intervals, by how much the share is off, and how wide the intervals are."""
    return (
        found.low - NEAR <= share <= found.high + NEAR,
        found.gain_low - NEAR / 2 <= gain <= found.gain_high + NEAR / 2,
        (found.share - share) ** 2,
        found.high - found.low,
        found.gain_high - found.gain_low,
    )


def main() -> None:
    """Search, and compare what is said with what is so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calls", type=int, nargs="+", default=[300, 1000, 3000])
    args = parser.parse_args()
    rows = defaultdict(list)
    for family in FAMILIES:
        for seed in range(OTHERS, OTHERS + args.seeds):
            problem = landscape(family, seed)
            grid = Grid(problem.space)
            share, gains = truth(problem, grid, np.random.default_rng(seed))
            for calls in args.calls:
                options = Options(seed=seed, calls=calls, trials=calls, explain=True)
                for one in run(problem.space, problem.evaluate, problem.rows, options).importances:
                    place = [dimension.name for dimension in grid.dimensions].index(one.dimension)
                    gain = gains[one.dimension][grid.levels[place].index(one.best)]
                    rows[calls].append(held(one, share[one.dimension], float(gain)))
    print("| calls | intervals | shares held | gains held | shares' error | shares' width | gains' width |")
    print("|---|---|---|---|---|---|---|")
    for calls, found in rows.items():
        shared, gained, error, width, gain_width = np.mean(found, axis=0)
        print(
            f"| {calls:,} | {len(found)} | {shared:.0%} | {gained:.0%} | {np.sqrt(error):.3f} "
            f"| {width:.2f} | {gain_width:.2f} |"
        )


if __name__ == "__main__":
    main()
