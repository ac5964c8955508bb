"""How small a gain do so many rows show, and how many rows show a gain? Asked before anything is bought.

Knows numbers of rows and shares only.
"""

from __future__ import annotations

import math

from optimizer.distributions import NORMAL, critical, last


def smallest_gain(n: int, *, flips: float = 0.25, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest gain in accuracy that `n` paired rows show with this power; 1 if they show none.

    Parameters
    ----------
    n
        Number of rows that both prompts answer.
    flips
        Share of rows on which exactly one of the two prompts is right; at least the gain itself.
    power
        Probability that the test finds the gain.
    level
        1 - the two-sided error rate of the test.

    Returns
    -------
    float
        A difference of shares in (0, 1].

    Notes
    -----
    Connor (1987), solved for the difference instead of n. We add half a row, because the exact test rejects less
    often than the paper's normal one. Its exact power is then 0.79 to 0.87 where 0.8 is asked (0.75 to 0.79
    without), for 20 to 1,000 rows and flips of 0.05 to 0.4.
    """

    def hidden(gain: float) -> bool:
        unequal = n * max(flips, gain)
        return n * gain < 0.5 + critical(level) * math.sqrt(unequal) + NORMAL.inv_cdf(power) * math.sqrt(
            unequal - n * gain * gain
        )

    return last(hidden, 0.0, 1.0)


def rows_needed(gain: float, *, flips: float = 0.25, power: float = 0.8, level: float = 0.95) -> int:
    """Count the paired rows that show a gain in accuracy with this power: the inverse of `smallest_gain`.

    Parameters as there; `gain` is a difference of shares in (0, 1].
    """
    if not 0 < gain <= 1:
        raise ValueError(f"a gain lies above 0 and is at most 1, not {gain}")
    unequal = max(flips, gain)
    root = critical(level) * math.sqrt(unequal) + NORMAL.inv_cdf(power) * math.sqrt(unequal - gain * gain)
    # n gain - root sqrt(n) - 1/2 = 0 is a parabola in sqrt(n); rounding must not make a whole number one more.
    return math.ceil(((root + math.sqrt(root * root + 2 * gain)) / (2 * gain)) ** 2 - 1e-9)
