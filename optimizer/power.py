"""The smallest gain that a number of rows can show, and the number of rows that shows a gain.

Knows numbers of rows, shares and intervals only.
"""

from __future__ import annotations

import math

from optimizer.distributions import NORMAL, critical, last

POWER, LEVEL = 0.8, 0.95  # power and confidence level of the planned tests
FLIPS = 0.25  # assumed share of rows on which exactly one of two prompts is right, before any has answered


def smallest_gain(n: int, *, flips: float = FLIPS, power: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest gain in accuracy that `n` paired rows show with this power; 1 if they show none.

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
    Connor (1987), solved for the difference instead of n. We add half a row, because the exact test rejects less often
    than the paper's normal one. For a requested power of 0.8, the exact power is then 0.79 to 0.87 (without the half
    row 0.75 to 0.79), for 20 to 1,000 rows and flips of 0.05 to 0.4.
    """

    def hidden(gain: float) -> bool:
        unequal = n * max(flips, gain)
        return n * gain < 0.5 + critical(level) * math.sqrt(unequal) + NORMAL.inv_cdf(power) * math.sqrt(
            unequal - n * gain * gain
        )

    return last(hidden, 0.0, 1.0)


def shown_gain(n: int) -> float:
    """Return `smallest_gain` for prompts that disagree on a quarter of the rows; 1 if it exceeds a quarter.

    Such prompts cannot differ by more than a quarter.
    """
    least = smallest_gain(n)
    return least if least <= FLIPS else 1.0


def graded_gain(n: int, *, apart: float = 0.2, power: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest gain in a mean of scores in [0, 1] that `n` paired rows show with this power; 1 if none.

    `apart` is the root mean square difference of two prompts' scores on a row. The gain is proportional to it, and no
    default suits all tasks. Other parameters as in `smallest_gain`.
    """
    return min(1.0, (critical(level) + NORMAL.inv_cdf(power)) * apart / math.sqrt(n)) if n else 1.0


def measured_gain(interval: tuple[float, float]) -> float:
    """Return the smallest difference, at most 1, found with 80 % power, from a measured difference's 95 % interval.

    The standard error is taken from the width of the interval (Bloom 1995).
    """
    return min(1.0, (critical(LEVEL) + NORMAL.inv_cdf(POWER)) * _error(interval))


def rows_to_show(difference: float, interval: tuple[float, float], n: int) -> int:
    """Return how many paired rows show a difference with 80 % power, if it is as large as measured on `n` rows.

    Parameters
    ----------
    difference, interval
        The difference measured on the `n` rows, with its 95 % interval.
    n
        Number of rows that both contenders have answered.

    Raises
    ------
    ValueError
        If the difference is 0.

    Notes
    -----
    Connor (1987) with half a row added, as in `smallest_gain`; the mean square of a row's difference replaces the share
    of unequal rows.
    """
    if not difference:
        raise ValueError("a difference of 0 is shown by no number of rows")
    gain, spread = abs(difference), math.sqrt(n) * _error(interval)
    root = critical(LEVEL) * math.hypot(spread, gain) + NORMAL.inv_cdf(POWER) * spread
    # m gain - root sqrt(m) - 1/2 = 0 is a parabola in sqrt(m).
    return math.ceil(((root + math.sqrt(root * root + 2 * gain)) / (2 * gain)) ** 2)


def _error(interval: tuple[float, float]) -> float:
    """Return the standard error of a 95 % interval."""
    low, high = interval
    return (high - low) / 2 / critical(LEVEL)
