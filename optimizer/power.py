"""How small a gain so many rows show, and how many rows show a gain.

Knows numbers of rows, shares and intervals only.
"""

from __future__ import annotations

import math

from optimizer.distributions import NORMAL, critical, last

FLIPS = 0.25  # share of rows on which exactly one of two prompts is taken to be right, before any has answered


def smallest_gain(n: int, *, flips: float = FLIPS, power: float = 0.8, level: float = 0.95) -> float:
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


def shown_gain(n: int) -> float:
    """`smallest_gain` of prompts that disagree on a quarter of the rows; 1 where that is more than a quarter.

    Such prompts cannot differ by more than a quarter.
    """
    least = smallest_gain(n)
    return least if least <= FLIPS else 1.0


def graded_gain(n: int, *, apart: float = 0.2, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest gain in a mean of scores in [0, 1] that `n` paired rows show with this power; 1 if they show none.

    Other parameters as `smallest_gain`; `apart` is how far the scores of a row lie apart (root mean square), and the
    gain is in proportion to it: no guess at it serves all tasks.
    """
    return min(1.0, (critical(level) + NORMAL.inv_cdf(power)) * apart / math.sqrt(n)) if n else 1.0


def measured_gain(interval: tuple[float, float], *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest difference that is found with this power where one was measured with this interval; at most 1.

    The standard error is taken from the width of the interval, which is of the same `level` (Bloom 1995).
    """
    low, high = interval
    return min(1.0, (high - low) / 2 * (1 + NORMAL.inv_cdf(power) / critical(level)))


def rows_needed(gain: float, *, flips: float = FLIPS, power: float = 0.8, level: float = 0.95) -> int:
    """Count the paired rows that show a gain in accuracy with this power: the inverse of `smallest_gain`.

    Parameters as there; `gain` is a difference of shares in (0, 1].
    """
    if not 0 < gain <= 1:
        raise ValueError(f"a gain lies above 0 and is at most 1, not {gain}")
    unequal = max(flips, gain)
    root = critical(level) * math.sqrt(unequal) + NORMAL.inv_cdf(power) * math.sqrt(unequal - gain * gain)
    # n gain - root sqrt(n) - 1/2 = 0 is a parabola in sqrt(n); rounding must not make a whole number one more.
    return math.ceil(((root + math.sqrt(root * root + 2 * gain)) / (2 * gain)) ** 2 - 1e-9)
