"""What another block of rows would teach: the knowledge gradient of each candidate.

A block is worth as much as it is expected to raise the highest posterior mean: the knowledge gradient for correlated
beliefs (Frazier, Powell and Dayanik 2009). A single block can seldom change the leader, so its worth would vanish even
if several blocks together are worth a lot. Worth is therefore the best of a few numbers of blocks, per block (KG(*):
Frazier and Powell 2010). Arrays in, numbers out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optimizer.engine.grid import Floats

NODES, MASSES = np.polynomial.hermite_e.hermegauss(11)  # possible results of a block, in standard deviations
MASSES = MASSES / MASSES.sum()
LEAST = 1e-12  # least variance: rounding may make it negative
AHEAD = (1, 4, 16)  # numbers of blocks that are considered


def worth(mean: Floats, covariance: Floats, noise: Floats) -> Floats:
    """Return by how much a block at each candidate is expected to raise the highest mean [m].

    Parameters
    ----------
    mean, covariance
        Of the candidates' levels [m], [m, m].
    noise
        Variance of one block's estimate of a candidate's level [m].
    """
    variance = np.maximum(np.diag(covariance), LEAST)
    best = np.zeros(len(mean))
    for blocks in AHEAD:
        moved = covariance / np.sqrt(variance + noise / blocks)  # [of, by]
        highest = (mean[:, None, None] + moved[:, :, None] * NODES).max(axis=0) @ MASSES
        best = np.maximum(best, (highest - mean.max()) / blocks)
    return best


def most_telling(mean: Floats, covariance: Floats, noise: Floats, able: NDArray[np.bool_], count: int) -> list[int]:
    """Choose up to `count` blocks one by one, each as if the earlier ones had been answered as expected; see `worth`.

    `able` [m] says which candidates may be asked; one may be chosen several times.
    """
    chosen: list[int] = []
    for _ in range(count if able.any() else 0):
        top = int(np.where(able, worth(mean, covariance, noise), -np.inf).argmax())
        chosen.append(top)
        column = covariance[:, top]
        covariance = covariance - np.outer(column, column) / (max(column[top], LEAST) + noise[top])
    return chosen
