"""Functions over the space, drawn together with the variances of the model.

A search needs one good guess of how much each dimension explains, and takes the most likely. Statements about the
dimensions need the uncertainty of that guess: with twenty levels and a handful of answers each, a dimension that
explains nothing looks like one that explains a little. Here the variances are drawn from their posterior by elliptical
slice sampling (Murray, Adams and MacKay 2010), with the answers replaced by the Laplace approximation of the model's
last fit.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np

from optimizer.engine.grid import Floats
from optimizer.engine.surrogate import Draw, Surrogate, inverse

EACH = 1.25  # prior standard deviation of a variance's logarithm, around the surrogate's prior
COMMON = 2.0  # that of the factor common to all variances: whether the space matters at all
FIRST = 15  # steps before the first draw
BETWEEN = 2  # steps from a draw to the next


def draws(model: Surrogate, count: int, rng: np.random.Generator) -> list[Draw]:
    """Draw functions from the posterior of a fitted model, each with variances of its own."""
    levels, precision = model.told()
    error = inverse(precision)

    def supposed(logs: Floats) -> Surrogate:
        other = copy(model)
        other.suppose(model.priors * np.exp(EACH * logs[:-1] + COMMON * logs[-1]))
        return other

    def likelihood(logs: Floats) -> float:
        return supposed(logs).evidence(levels, error)

    logs = np.append(np.log(model.scales / model.priors) / EACH, 0.0)
    likely = likelihood(logs)
    found = []
    for step in range(FIRST + count * BETWEEN):
        logs, likely = _slice(logs, likely, likelihood, rng)
        if step >= FIRST and (step - FIRST) % BETWEEN == 0:
            one = supposed(logs)
            one.settle(levels, precision)
            found.append(one.draw(rng, 1.0))
    return found


def _slice(
    place: Floats, likely: float, likelihood: Callable[[Floats], float], rng: np.random.Generator
) -> tuple[Floats, float]:
    """Take one step of elliptical slice sampling from `place` [d], of log likelihood `likely`, under a normal prior."""
    other = rng.standard_normal(len(place))
    least = likely + np.log(rng.random())
    angle = rng.uniform(0, 2 * np.pi)
    low, high = angle - 2 * np.pi, angle
    while True:
        moved = place * np.cos(angle) + other * np.sin(angle)
        found = likelihood(moved)
        if found > least:
            return moved, found
        low, high = (angle, high) if angle < 0 else (low, angle)
        angle = rng.uniform(low, high)
