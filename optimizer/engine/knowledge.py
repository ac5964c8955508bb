"""What a further block of rows would teach: the knowledge gradient of each candidate.

A block is worth by how much it raises the highest posterior mean, on average over what it may say: the knowledge
gradient for correlated beliefs (Frazier, Powell and Dayanik 2009). A single block can seldom change the leader, which
would make its worth vanish where several together are worth a lot; so it is the best of a few sizes, per row
(KG(*): Frazier and Powell 2010). Arrays in, numbers out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optimizer.engine.grid import Floats

NODES, MASSES = np.polynomial.hermite_e.hermegauss(11)  # what a block may say, in standard deviations
MASSES = MASSES / MASSES.sum()
LEAST = 1e-12  # variance: rounding may leave less than none
AHEAD = (1, 4, 16)  # blocks in a row that are thought of


def worth(mean: Floats, covariance: Floats, noise: Floats) -> Floats:
    """By how much a block at each candidate raises the highest mean [m].

    Parameters
    ----------
    mean, covariance
        Levels of the candidates [m], [m, m].
    noise
        Variance of what one block says of a candidate's level [m].
    """
    variance = np.maximum(np.diag(covariance), LEAST)
    best = np.zeros(len(mean))
    for blocks in AHEAD:
        moved = covariance / np.sqrt(variance + noise / blocks)  # [of, by]
        highest = (mean[:, None, None] + moved[:, :, None] * NODES).max(axis=0) @ MASSES
        best = np.maximum(best, (highest - mean.max()) / blocks)
    return best


def most_telling(mean: Floats, covariance: Floats, noise: Floats, able: NDArray[np.bool_], count: int) -> list[int]:
    """Choose up to `count` blocks, each as if the ones before had been answered as expected; see `worth`.

    `able` [m] says which candidates may be asked; one may be chosen several times.
    """
    chosen: list[int] = []
    for _ in range(count if able.any() else 0):
        top = int(np.where(able, worth(mean, covariance, noise), -np.inf).argmax())
        chosen.append(top)
        column = covariance[:, top]
        covariance = covariance - np.outer(column, column) / (max(column[top], LEAST) + noise[top])
    return chosen
