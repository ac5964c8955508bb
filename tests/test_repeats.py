"""Repeats distinguish noise from differences: the flip rate is unbiased, and two runs stay below the floor."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from optimizer import stats
from optimizer.evidence import repeats
from optimizer.evidence.repeats import flip_rate, noise_from_flips, noise_from_repeats

Floats = NDArray[np.float64]


def asked(rng: np.random.Generator, chances: Floats, repeats: int) -> Floats:
    """Scores [rows, repeats] of a prompt that is right on each row with its own chance."""
    return (rng.random((len(chances), repeats)) < chances[:, None]) * 1.0


def test_flip_rate_counts_unequal_pairs() -> None:
    """Of three answers a, a, b two pairs of three are unequal; failed calls and rows asked once are left out."""
    answers = [["a", "a", "b"], ["a", "a", "a"], ["a", None, "b"], ["a", None], []]
    rate, (low, high) = flip_rate(answers, np.random.default_rng(0))

    assert pytest.approx((2 / 3 + 0 + 1) / 3) == rate
    assert 0 <= low < 5 / 9 < high <= 1


def test_flip_rate_of_two_runs_is_a_share() -> None:
    """Two answers a row give the share of rows that changed, with Wilson's interval."""
    answers = [["yes", "no"]] * 3 + [["yes", "yes"]] * 17

    assert flip_rate(answers, np.random.default_rng(0)) == (0.15, stats.wilson(3, 20))


def test_without_repeats_the_flip_rate_is_not_known() -> None:
    """Rows that were asked once say nothing."""
    assert flip_rate([["a"], ["b"]], np.random.default_rng(0)) == (None, (0.0, 1.0))


@pytest.mark.parametrize("repeats", [2, 5])
def test_the_flip_rate_is_unbiased_and_its_interval_covers(repeats: int) -> None:
    """However often rows are asked, the mean of 300 rates is the true one, and 93 to 97 % of the intervals hold it."""
    rng = np.random.default_rng(1)
    rates, covered = [], 0
    for _ in range(300):
        chances = rng.choice([0.02, 0.5, 0.9], 120)
        rate, (low, high) = flip_rate(asked(rng, chances, repeats).tolist(), rng)
        rates.append(rate)
        covered += low <= TRUE_RATE <= high

    assert abs(np.mean(np.array(rates, dtype=np.float64)) - TRUE_RATE) < 0.005
    assert 0.93 <= covered / 300 <= 0.97


TRUE_RATE = float(np.mean([2 * p * (1 - p) for p in (0.02, 0.5, 0.9)]))


@pytest.mark.parametrize(("flips", "n"), [(0.1, 40), (0.4, 25), (1.0, 12), (0.02, 100)])
def test_the_floor_is_the_exact_quantile(flips: float, n: int) -> None:
    """It is the least difference that has 95 % within, summed over the number of rows that flip and their signs."""
    within = np.zeros(n + 1)
    for changed in range(n + 1):
        ups = np.arange(changed + 1)
        chance = scipy.stats.binom.pmf(changed, n, flips) * scipy.stats.binom.pmf(ups, changed, 0.5)
        np.add.at(within, np.abs(2 * ups - changed), chance)

    expected = int(np.argmax(within.cumsum() >= 0.95)) / n
    assert pytest.approx(expected) == noise_from_flips(flips, n)


def test_the_floor_falls_with_rows_and_rises_with_flips() -> None:
    """Without flips there is no noise, without rows nothing but; elsewhere it is near 1.96 sqrt(flips / n)."""
    assert noise_from_flips(0.0, 100) == 0
    assert noise_from_flips(0.1, 0) == 1
    assert noise_from_flips(0.1, 4000) == pytest.approx(1.96 * (0.1 / 4000) ** 0.5, abs=0.0003)
    assert noise_from_flips(0.1, 400, level=0.99) > noise_from_flips(0.1, 400) > noise_from_flips(0.05, 400)


@pytest.mark.parametrize("repeats", [2, 4])
def test_two_runs_of_one_prompt_stay_under_the_floor(repeats: int) -> None:
    """Learnt from a few repeats, either floor is passed by 3 to 6 % of fresh pairs of runs."""
    rng = np.random.default_rng(2)
    passed = []
    for _ in range(30):
        chances = rng.beta(0.3, 0.2, 150)
        scores = asked(rng, chances, repeats)
        rate, _ = flip_rate(scores.tolist(), rng)
        assert rate is not None
        apart = np.abs(asked(rng, chances, 200).mean(axis=0) - asked(rng, chances, 200).mean(axis=0))
        floors = noise_from_repeats(scores, rng), noise_from_flips(rate, 150)
        passed.append([np.mean(apart > floor + 1e-9) for floor in floors])

    assert (np.mean(passed, axis=0) >= 0.03).all()
    assert (np.mean(passed, axis=0) <= 0.06).all()


def test_graded_scores_have_a_floor_too() -> None:
    """Scores that wobble by 0.1 differ between runs of 100 rows by up to 1.96 times 0.1 sqrt(2 / 100)."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.3, 0.7, (100, 1)) + 0.1 * rng.standard_normal((100, 8))

    assert pytest.approx(1.96 * 0.1 * 0.02**0.5, rel=0.1) == noise_from_repeats(scores, rng)


def test_rows_with_a_failed_call_are_left_out() -> None:
    """They change nothing; no rows leave nothing but noise, and one run says nothing about noise."""
    scores = asked(np.random.default_rng(4), np.full(50, 0.5), 3)
    more = np.vstack([scores, [[1.0, np.nan, 0.0]]])

    expected = noise_from_repeats(scores, np.random.default_rng(5))
    assert expected == noise_from_repeats(more, np.random.default_rng(5))
    assert noise_from_repeats(np.full((2, 2), np.nan), np.random.default_rng(0)) == 1
    with pytest.raises(ValueError, match="two runs"):
        noise_from_repeats(scores[:, :1], np.random.default_rng(0))


def test_noise_is_told_for_as_many_rows_as_are_asked_about() -> None:
    """Of ten rows two flipped: on 100 rows two runs differ by less than on the ten themselves."""
    scores = [[1.0, 1.0]] * 8 + [[1.0, 0.0], [0.0, 1.0]]

    found = repeats.noise(scores, 100, np.random.default_rng(0))

    assert found is not None
    assert (found.flips, found.rows) == (0.2, 100)
    assert found.interval[0] < 0.2 < found.interval[1]
    assert found.floor == repeats.noise_from_flips(found.interval[1], 100) < repeats.noise_from_flips(0.2, 10)


def test_more_flips_are_never_less_noise() -> None:
    floors = []
    for flipped in range(6):
        found = repeats.noise([[1.0, 0.0]] * flipped + [[1.0, 1.0]] * (50 - flipped), 200, np.random.default_rng(0))
        assert found is not None
        floors.append(found.floor)

    assert floors == sorted(set(floors))


def test_where_no_score_flipped_the_noise_is_what_the_rows_still_allow() -> None:
    """Ten equal pairs prove little: up to 28 % may flip."""
    found = repeats.noise([[1.0, 1.0]] * 5 + [[0.3, 0.3]] * 5, 10, np.random.default_rng(0))

    assert found is not None
    assert found.flips == 0
    assert found.floor == repeats.noise_from_flips(found.interval[1], 10) > 0.2


def test_noise_of_graded_scores_is_for_their_own_rows() -> None:
    """They move by less than right and wrong do."""
    found = repeats.noise([[0.5, 0.6], [0.7, 0.6], [0.2, 0.2]] * 10 + [[0.4, np.nan]], 500, np.random.default_rng(0))

    assert found is not None
    assert found.rows == 30
    assert 0 < found.floor < 0.05


def test_noise_needs_a_row_with_two_scores() -> None:
    assert repeats.noise([[1.0, np.nan]], 10, np.random.default_rng(0)) is None
