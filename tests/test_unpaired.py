"""Two samples of different rows: intervals cover, and tests keep their error rate and find real differences."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.stats import wilson
from optimizer.unpaired import holm, shares_apart, told_apart, unpaired_interval


def test_an_unpaired_interval_is_newcombes_for_shares() -> None:
    """The worked example of Newcombe (1998): 56/70 and 48/80 give 0.0524 to 0.3339."""
    low, high = unpaired_interval(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))

    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_unpaired_intervals_cover_the_difference() -> None:
    """95 % of intervals hold the truth, for shares of unequal samples."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        a, b = int(rng.binomial(60, 0.8)), int(rng.binomial(200, 0.6))
        low, high = unpaired_interval(a / 60, wilson(a, 60), b / 200, wilson(b, 200))
        held += low <= 0.2 <= high

    assert 0.93 <= held / 1000 <= 0.975


def test_holm_corrects_step_by_step() -> None:
    """The example of the method: the smallest of four is multiplied by four, and none is below one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_rows_of_one_kind_are_not_told_apart() -> None:
    """Of 100 pairs of equal samples about one in twenty is, and the AUC is a half in the mean."""
    rng = np.random.default_rng(0)
    found = [told_apart(rng.normal(size=(40, 20)), rng.normal(size=(25, 20)), rng, permutations=99) for _ in range(100)]

    assert sum(p <= 0.05 for _, p in found) <= 11
    assert abs(np.mean([area for area, _ in found]) - 0.5) < 0.03


def test_rows_of_two_kinds_are_told_apart() -> None:
    """A shift of half a standard deviation in five directions is found, with an AUC above a half."""
    rng = np.random.default_rng(1)
    shifted = rng.normal(size=(200, 20)) + np.array([0.5] * 5 + [0.0] * 15)

    area, p = told_apart(rng.normal(size=(200, 20)), shifted, rng)

    assert area > 0.65
    assert p == pytest.approx(0.002)


def test_equal_rows_have_an_area_of_about_a_half() -> None:
    """Ties are broken by chance, not by the order of the rows."""
    areas = [told_apart(np.ones((60, 3)), np.ones((60, 3)), np.random.default_rng(i), permutations=1)[0]
             for i in range(40)]  # fmt: skip

    assert abs(np.mean(areas) - 0.5) < 0.03


def test_label_shares_are_told_apart_by_their_distance() -> None:
    """Half the rows of another label is a distance of a half, and no chance; equal shares are one."""
    rng = np.random.default_rng(0)

    assert shares_apart([0, 1] * 50, [0] * 100, rng) == (0.5, pytest.approx(0.002))
    assert shares_apart([0, 1] * 50, [0, 1] * 20, rng) == (0, 1)
