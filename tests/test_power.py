"""The gain that so many rows can show is the one that the exact test finds on them, and vice versa."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from optimizer.power import graded_gain, measured_gain, rows_to_show, shown_gain, smallest_gain
from optimizer.stats import paired_interval

# --- smallest_gain ----------------------------------------------------------------------------------------


def power_of_mcnemar(n: int, flips: float, gain: float) -> float:
    """The exact power of the exact test, summed over the number of unequal rows and their split."""
    power, flips = 0.0, max(flips, gain)
    for unequal in range(n + 1):
        weight = scipy.stats.binom.pmf(unequal, n, flips)
        splits = np.arange(unequal + 1)
        p = np.minimum(1, 2 * scipy.stats.binom.cdf(np.minimum(splits, unequal - splits), unequal, 0.5))
        power += weight * scipy.stats.binom.pmf(splits, unequal, (flips + gain) / (2 * flips))[p <= 0.05].sum()
    return power


@pytest.mark.parametrize(("n", "flips"), [(20, 0.25), (50, 0.25), (100, 0.1), (200, 0.25), (200, 0.4), (500, 0.25)])
def test_smallest_gain_is_found_four_times_in_five(n: int, flips: float) -> None:
    """The exact test finds the gain with a power of 0.75 to 0.87."""
    assert 0.75 <= power_of_mcnemar(n, flips, smallest_gain(n, flips=flips)) <= 0.87


def test_smallest_gain_shrinks_with_rows_and_grows_with_flips_and_power() -> None:
    """More rows show smaller gains; prompts that differ more, and more power, need larger ones."""
    by_rows = [smallest_gain(n) for n in (10, 30, 100, 300, 1000)]

    assert by_rows == sorted(by_rows, reverse=True)
    assert smallest_gain(200, flips=0.1) < smallest_gain(200, flips=0.4)
    assert smallest_gain(200, power=0.8) < smallest_gain(200, power=0.9)
    assert smallest_gain(200, level=0.9) < smallest_gain(200, level=0.99)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_rows_show_no_gain(n: int) -> None:
    """Four rows show not even the step from all wrong to all right."""
    assert pytest.approx(1.0) == smallest_gain(n)


def test_prompts_that_disagree_on_a_quarter_cannot_differ_by_more() -> None:
    """Where rows would show no less than that, they show nothing."""
    assert shown_gain(100) == smallest_gain(100)
    assert (smallest_gain(20) > 0.25, shown_gain(20)) == (True, 1.0)


# --- scores between 0 and 1 -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "apart"), [(40, 0.05), (250, 0.05), (250, 0.2)])
def test_a_graded_gain_is_found_four_times_in_five(n: int, apart: float) -> None:
    """Both what is assumed before and what is measured after: a t-test finds such a gain in 80 % of simulations."""
    rng = np.random.default_rng(0)
    assumed = graded_gain(n, apart=apart)
    drawn = rng.normal(assumed, apart, size=(2000, n))
    found = scipy.stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05

    assert 0.76 <= found.mean() <= 0.84
    measured = [measured_gain(paired_interval(0.5 + row / 2, 0.5 - row / 2)) for row in drawn[:200]]
    assert np.mean(measured) == pytest.approx(assumed, rel=0.05)


def test_no_row_shows_no_graded_gain() -> None:
    """Nor is any gain above 1."""
    assert (graded_gain(0), measured_gain((-1.0, 1.0))) == (1.0, 1.0)


# --- rows_to_show -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "flips"), [(0.05, 0.1), (0.05, 0.25), (0.1, 0.25), (0.2, 0.4)])
@pytest.mark.parametrize(("n", "most"), [(50, 0.95), (400, 0.85)])
def test_a_difference_is_found_four_times_in_five_on_so_many_rows(
    gain: float, flips: float, n: int, most: float
) -> None:
    """The exact test's power on as many rows as are named is 0.75 to 0.85; few rows, of wide intervals, name more."""
    scores = np.repeat([1.0, -1.0, 0.0], [round(n * (flips + gain) / 2), round(n * (flips - gain) / 2), n])[:n]
    gain, flips = scores.mean(), np.abs(scores).mean()
    needed = rows_to_show(gain, paired_interval(np.maximum(scores, 0), np.maximum(-scores, 0)), n)

    assert 0.75 <= power_of_mcnemar(needed, flips, gain) <= most


def test_so_many_rows_show_a_difference_of_whatever_sign_and_scale() -> None:
    """A worse contender takes as many as one that is better by as much, and half the difference four times as many."""
    assert rows_to_show(-0.04, (-0.12, 0.04), 100) == rows_to_show(0.04, (-0.04, 0.12), 100) == 848
    assert rows_to_show(0.02, (-0.06, 0.1), 100) == pytest.approx(4 * 848, rel=0.05)
    with pytest.raises(ValueError, match="a difference of 0"):
        rows_to_show(0.0, (-0.1, 0.1), 100)
