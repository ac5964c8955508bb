"""The statistics keep their promises: intervals cover, tests keep their error rate, and known results come out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from optimizer import stats

Floats = NDArray[np.float64]

graded = st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0])
binary = st.sampled_from([0.0, 1.0])


def pairs(values: st.SearchStrategy[float], most: int = 40) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(values, values), min_size=1, max_size=most).map(lambda rows: np.array(rows).T)


def f1_like(rng: np.random.Generator, n: int) -> Floats:
    """Scores as token F1 gives them: many 0, many 1, some between. Their mean is GRADED_MEAN."""
    u = rng.random(n)
    return np.where(u < 0.25, 0.0, np.where(u < 0.6, 1.0, rng.beta(2, 2, n)))


GRADED_MEAN = 0.35 + 0.4 * 0.5


def test_stats_loads_neither_scipy_nor_ours() -> None:
    """The room needs numpy and the standard library alone."""
    code = "import sys, optimizer.stats; print([m for m in sys.modules if m in ('scipy', 'optimizer.records')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"


# --- wilson -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_limits(successes: int, n: int, low: float, high: float) -> None:
    """The four examples of Newcombe (1998), table I, method 3, come out."""
    assert pytest.approx((low, high), abs=5e-5) == stats.wilson(successes, n)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject, level: float) -> None:
    """Any count at any level gives the limits that scipy gives."""
    successes = data.draw(st.integers(0, n))

    expected = scipy.stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    actual = stats.wilson(successes, n, level=level)

    assert pytest.approx((expected.low, expected.high), abs=1e-12) == actual
    assert actual[0] <= successes / n <= actual[1]


def test_wilson_without_rows_knows_nothing() -> None:
    """No rows leave every share possible."""
    assert stats.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "edge", "side"), [(0, 0.0, 0), (30, 1.0, 1)])
def test_wilson_reaches_the_edge_exactly(successes: int, edge: float, side: int) -> None:
    """All wrong has the lower limit 0 and all right the upper limit 1, without rounding."""
    assert stats.wilson(successes, 30)[side] == edge


@pytest.mark.parametrize("n", [20, 50, 200])
def test_wilson_covers_95_percent(n: int) -> None:
    """Over shares from 0.05 to 0.95 the exact coverage is 95 % on average, and nowhere under 92 %."""
    limits = np.array([stats.wilson(successes, n) for successes in range(n + 1)])
    coverage = [
        scipy.stats.binom.pmf(np.arange(n + 1), n, p)[(limits[:, 0] <= p) & (p <= limits[:, 1])].sum()
        for p in np.linspace(0.05, 0.95, 91)
    ]

    assert 0.945 <= np.mean(coverage) <= 0.955
    assert min(coverage) > 0.92


# --- one mean, one statistic ------------------------------------------------------------------------------


def test_mean_interval_of_right_and_wrong_is_wilson() -> None:
    """0/1 scores are a share."""
    assert stats.mean_interval([1, 1, 0, 1], np.random.default_rng(0)) == stats.wilson(3, 4)


def test_bca_limits_agree_with_scipy() -> None:
    """From the same resamples scipy computes the same limits."""
    scores = np.random.default_rng(1).beta(5, 1, 40)
    theirs = scipy.stats.bootstrap((scores,), np.mean, n_resamples=500, rng=np.random.default_rng(2))
    left_out = np.array([np.delete(scores, row).mean() for row in range(40)])

    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert pytest.approx(expected) == stats._bca(scores.mean(), theirs.bootstrap_distribution, left_out, 0.95)


def test_statistic_interval_of_the_mean_agrees_with_mean_interval() -> None:
    """The mean, given as a statistic of rows, has the limits that the mean has."""
    scores = f1_like(np.random.default_rng(3), 60)

    expected = stats.mean_interval(scores, np.random.default_rng(4))
    actual = stats.statistic_interval(lambda rows: scores[rows].mean(axis=-1), 60, np.random.default_rng(4))
    assert pytest.approx(expected) == actual


@given(st.lists(graded, min_size=1, max_size=30), st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_mean_interval_encloses_the_mean(scores: list[float], seed: int) -> None:
    """Whatever the scores, the interval lies in [0, 1], has a width and encloses their mean."""
    low, high = stats.mean_interval(scores, np.random.default_rng(seed))

    assert 0 <= low <= np.mean(scores) + 1e-12
    assert np.mean(scores) - 1e-12 <= high <= 1
    assert low < high


@pytest.mark.parametrize("score", [0.1, 0.5])
def test_equal_scores_are_no_certainty(score: float) -> None:
    """Three equal scores leave an interval as wide as Wilson's, and a hundred a narrower one."""
    few, many = (stats.mean_interval([score] * n, np.random.default_rng(0)) for n in (3, 100))

    assert few == stats.wilson(3 * score, 3)
    assert many[1] - many[0] < few[1] - few[0]


def test_mean_interval_covers_95_percent() -> None:
    """Of 600 intervals from graded scores of 80 rows 93 to 97 % cover the mean."""
    rng = np.random.default_rng(5)
    limits = np.array([stats.mean_interval(f1_like(rng, 80), rng) for _ in range(600)])

    assert 0.93 <= np.mean((limits[:, 0] <= GRADED_MEAN) & (limits[:, 1] >= GRADED_MEAN)) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 9])
@pytest.mark.parametrize("draw", ["near", "rare", "even"])
def test_mean_interval_of_few_rows_is_no_false_certainty(n: int, draw: str) -> None:
    """Of 300 intervals at least 95 % cover the mean: of scores nearly equal, mostly high, or of any height."""
    rng = np.random.default_rng(7)

    def scores() -> Floats:
        if draw == "near":
            return rng.uniform(0.168, 0.172, n)
        return np.where(rng.random(n) < 0.1, 0.1, 0.95) if draw == "rare" else rng.uniform(0, 1, n)

    mean = {"near": 0.17, "rare": 0.865, "even": 0.5}[draw]
    limits = np.array([stats.mean_interval(scores(), rng) for _ in range(300)])

    assert np.mean((limits[:, 0] <= mean) & (limits[:, 1] >= mean)) >= 0.95


def f1(truth: NDArray[np.bool_], answers: NDArray[np.bool_]) -> Callable[[NDArray[np.intp]], Floats]:
    """F1 of rows, vectorised: a statistic that is no mean."""

    def statistic(rows: NDArray[np.intp]) -> Floats:
        hits = (truth & answers)[rows].sum(axis=-1)
        value: Floats = 2 * hits / (truth[rows].sum(axis=-1) + answers[rows].sum(axis=-1))
        return value

    return statistic


def f1_difference(
    truth: NDArray[np.bool_], one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> Callable[[NDArray[np.intp]], Floats]:
    """F1 of one contender less that of the other."""
    first, second = f1(truth, one), f1(truth, other)
    return lambda rows: first(rows) - second(rows)


def test_statistic_interval_covers_95_percent() -> None:
    """Of 400 intervals of an F1 over 100 rows 93 to 97 % cover its true value, 0.7 / 0.85."""
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(400):
        truth = rng.random(100) < 0.5
        answers = np.where(truth, rng.random(100) < 0.7, rng.random(100) < 0.3)
        low, high = stats.statistic_interval(f1(truth, answers), 100, rng, resamples=500)
        covered += low <= 0.7 <= high  # 2 * 0.35 / (0.5 + 0.5)

    assert 0.93 <= covered / 400 <= 0.97


def test_statistic_interval_of_perfection_is_no_certainty() -> None:
    """Where every resample is perfect the lower limit is still below 1, and nearer to it with more rows."""
    low = [
        stats.statistic_interval(lambda rows: np.ones(rows.shape[:-1]), n, np.random.default_rng(0))[0]
        for n in (1, 10, 100)
    ]

    assert low == [stats.wilson(n, n)[0] for n in (1, 10, 100)]


@pytest.mark.parametrize(("value", "low"), [(1.0, -1.0), (0.0, -1.0), (-1.0, -1.0), (0.5, 0.0)])
def test_a_statistic_without_spread_has_wilsons_limits_between_its_bounds(value: float, low: float) -> None:
    """A correlation that no resample changes is placed between -1 and 1 as a share is between 0 and 1."""
    actual = stats.statistic_interval(
        lambda rows: np.full(rows.shape[:-1], value), 30, np.random.default_rng(0), low=low
    )

    expected = [low + (1 - low) * limit for limit in stats.wilson(30 * (value - low) / (1 - low), 30)]
    assert pytest.approx(expected) == list(actual)
    assert low <= actual[0] < actual[1] <= 1


def test_differences_of_correlations_reach_2() -> None:
    """The limits of a difference end where the statistic's bounds end it, not at 1."""
    opposite: Callable[[NDArray[np.intp]], Floats] = lambda rows: np.full(rows.shape[:-1], 2.0)  # noqa: E731
    rng = np.random.default_rng(0)
    wild = np.array([-2.0, 2.0, -2.0, 2.0])

    low, high = stats.paired_statistic_interval(opposite, 30, rng, most=2.0)
    assert 1.5 < low < high == 2.0
    assert stats.paired_statistic_interval(lambda rows: wild[rows].mean(axis=-1), 4, rng, most=2.0) == (-2.0, 2.0)
    assert stats.paired_statistic_interval(opposite, 0, rng, most=2.0) == (-2.0, 2.0)


def test_statistic_interval_without_rows_knows_nothing() -> None:
    """No rows leave every value possible, and the statistic is not asked."""
    nothing: Callable[[NDArray[np.intp]], Floats] = lambda rows: rows / 0  # noqa: E731

    assert stats.statistic_interval(nothing, 0, np.random.default_rng(0)) == (0.0, 1.0)
    assert stats.statistic_interval(nothing, 0, np.random.default_rng(0), low=-1.0) == (-1.0, 1.0)
    assert stats.paired_statistic_interval(nothing, 0, np.random.default_rng(0)) == (-1.0, 1.0)


# --- paired intervals -------------------------------------------------------------------------------------


def table(both: int, first: int, second: int, neither: int) -> tuple[Floats, Floats]:
    """Scores whose 2 x 2 table has these counts."""
    a = np.repeat([1.0, 1.0, 0.0, 0.0], [both, first, second, neither])
    b = np.repeat([1.0, 0.0, 1.0, 0.0], [both, first, second, neither])
    return a, b


def test_paired_interval_gives_tangos_published_limits() -> None:
    """The airway example of Fagerland, Lydersen and Laake (2014) has Tango limits of -0.517 and -0.026."""
    assert pytest.approx((-0.517, -0.026), abs=5e-4) == stats.paired_interval(*table(1, 1, 7, 12))


@pytest.mark.parametrize(("first", "second", "n"), [(9, 3, 40), (1, 0, 15), (20, 31, 200)])
def test_paired_interval_inverts_the_score_test(first: int, second: int, n: int) -> None:
    """At either limit the score statistic, with its nuisance share fitted numerically, is the critical 1.96."""
    for delta in stats.paired_interval(*table(0, first, second, n - first - second)):

        def unlikely(q: float, delta: float = delta) -> float:
            shares = np.array([q + delta, q, 1 - 2 * q - delta])
            return -float(scipy.stats.multinomial.logpmf([first, second, n - first - second], n, shares))

        bounds = (max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        q = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
        z = (first - second - n * delta) / np.sqrt(n * (2 * q + delta - delta**2))

        assert abs(z) == pytest.approx(1.959964, abs=1e-3)


@given(pairs(binary))
@settings(deadline=None)
def test_paired_interval_excludes_0_exactly_when_mcnemars_z_is_critical(scores: Floats) -> None:
    """Tango's interval and the asymptotic McNemar test are two sides of one coin."""
    first, second = np.sum(scores[0] > scores[1]), np.sum(scores[0] < scores[1])
    z = abs(first - second) / np.sqrt(max(1, first + second))
    assume(abs(z - 1.959964) > 1e-3)

    low, high = stats.paired_interval(*scores)
    assert (low > 0 or high < 0) == (z > 1.959964)


@given(pairs(binary) | pairs(graded))
@settings(deadline=None)
def test_paired_interval_turns_round_with_the_contenders(scores: Floats) -> None:
    """Exchanging the contenders mirrors the interval, which encloses the difference and has a width."""
    low, high = stats.paired_interval(scores[0], scores[1])

    assert pytest.approx((-high, -low), abs=1e-9) == stats.paired_interval(scores[1], scores[0])
    assert -1 <= low <= np.mean(scores[0] - scores[1]) + 1e-12
    assert low < high <= 1


def test_paired_interval_of_graded_scores_is_students() -> None:
    """Graded scores have the limits of a t-test on the differences."""
    rng = np.random.default_rng(7)
    a, b = f1_like(rng, 51), f1_like(rng, 51)

    expected = scipy.stats.ttest_1samp(a - b, 0).confidence_interval(0.9)
    assert pytest.approx((expected.low, expected.high)) == stats.paired_interval(a, b, level=0.9)


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (0.15, 0.05), (0.02, 0.01)])
def test_paired_interval_of_right_and_wrong_covers_95_percent(first: float, second: float) -> None:
    """Of 1,000 tables of 150 rows 93 to 97.5 % give limits that cover the true difference."""
    tables = np.random.default_rng(8).multinomial(150, [first, second, 1 - first - second], 1000)
    distinct, counts = np.unique(tables, axis=0, return_counts=True)
    limits = np.array([stats.paired_interval(*table(0, *row)) for row in distinct.tolist()])
    covered = (limits[:, 0] <= first - second) & (first - second <= limits[:, 1])

    assert 0.93 <= counts[covered].sum() / 1000 <= 0.975


@pytest.mark.parametrize("gain", [0.0, 0.12])
def test_paired_interval_of_graded_scores_covers_95_percent(gain: float) -> None:
    """Of 800 pairs that agree on 70 of 100 rows 93 to 97 % give limits that cover the true difference."""
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(800):
        a, b = f1_like(rng, 100), f1_like(rng, 100)
        better = np.where(rng.random(100) < gain / (1 - GRADED_MEAN) / 0.3, 1.0, b)
        low, high = stats.paired_interval(np.where(rng.random(100) < 0.7, a, better), a)
        covered += low <= gain <= high

    assert 0.93 <= covered / 800 <= 0.97


def test_paired_statistic_interval_of_means_is_near_students() -> None:
    """The difference of means, given as a statistic of rows, has Student's limits but for random error."""
    rng = np.random.default_rng(10)
    a, b = f1_like(rng, 200), f1_like(rng, 200)

    actual = stats.paired_statistic_interval(lambda rows: (a - b)[rows].mean(axis=-1), 200, rng)
    assert pytest.approx(stats.paired_interval(a, b), abs=0.01) == actual


def test_paired_statistic_interval_covers_95_percent() -> None:
    """Of 1,000 differences between two F1 over 100 rows 93 to 97 % of the limits cover the true one, 0."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(1000):
        truth, same = rng.random(100) < 0.5, rng.random(100) < 0.6
        one, other = (np.where(rng.random(100) < 0.75, truth, ~truth) for _ in range(2))
        difference = f1_difference(truth, one, np.where(same, one, other))
        low, high = stats.paired_statistic_interval(difference, 100, rng, resamples=300)
        covered += low <= 0 <= high

    assert 0.93 <= covered / 1000 <= 0.97


def test_paired_statistic_interval_of_equal_contenders_is_no_certainty() -> None:
    """Where every resample shows no difference, one is still possible: as in a table without unequal rows."""
    actual = stats.paired_statistic_interval(lambda rows: np.zeros(rows.shape[:-1]), 50, np.random.default_rng(0))

    assert actual == stats.paired_interval(*table(50, 0, 0, 0))
    assert pytest.approx((-3.8415 / 53.8415, 3.8415 / 53.8415), abs=1e-4) == actual  # z^2 / (n + z^2)


# --- tests ------------------------------------------------------------------------------------------------


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """Every table with up to 12 rows on either side of the diagonal has the p of scipy's binomial test."""
    for first, second in product(range(13), repeat=2):
        expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1.0

        assert pytest.approx(expected) == stats.mcnemar(*table(3, first, second, 2))


def test_unequal_lengths_are_refused() -> None:
    """Scores of different rows cannot be paired."""
    with pytest.raises(ValueError, match="same rows"):
        stats.mcnemar([1.0, 0.0], [1.0])


def test_paired_permutation_agrees_with_scipy() -> None:
    """For 9 rows every pattern of signs is tried, as scipy tries it."""
    rng = np.random.default_rng(12)
    a, b = f1_like(rng, 9), rng.random(9)

    expected = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert pytest.approx(expected.pvalue) == stats.paired_permutation(a, b, rng)


@given(pairs(binary, 12))
@settings(deadline=None)
def test_paired_permutation_of_right_and_wrong_is_mcnemar(scores: Floats) -> None:
    """On 0/1 scores flipping signs and the exact McNemar test are the same test."""
    actual = stats.paired_permutation(scores[0], scores[1], np.random.default_rng(0))

    assert pytest.approx(stats.mcnemar(*scores)) == actual


def test_random_signs_are_near_the_t_test() -> None:
    """With 100 unequal rows, drawn signs give about the p of the t-test."""
    rng = np.random.default_rng(13)
    a, b = rng.random(100), rng.random(100) + 0.07

    assert pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=0.01) == stats.paired_permutation(a, b, rng)


def test_drawn_p_is_never_0() -> None:
    """The observed pattern counts among the drawn ones."""
    assert stats.paired_permutation(np.ones(90), np.full(90, 0.4), np.random.default_rng(0), resamples=99) == 0.01


def test_swap_permutation_tries_every_swap_of_few_rows() -> None:
    """For 5 rows the p of a statistic that is no mean is the share of all 32 swaps that reach it."""
    a, b = np.array([0.9, 0.8, 0.7, 0.1, 1.0]), np.array([0.2, 0.3, 0.1, 0.4, 0.5])

    def statistic(swapped: NDArray[np.bool_]) -> Floats:
        difference: Floats = np.median(np.where(swapped, b, a), -1) - np.median(np.where(swapped, a, b), -1)
        return difference

    every = [abs(float(statistic(np.array(swap)))) for swap in product([False, True], repeat=5)]
    expected = np.mean(np.array(every) >= abs(np.median(a) - np.median(b)) - 1e-12)

    assert expected < 1
    assert stats.swap_permutation(statistic, 5, np.random.default_rng(0)) == expected


def test_large_sets_are_drawn_in_parts() -> None:
    """More swaps than fit in one batch are all drawn, and none holds more numbers than a batch."""
    drawn: list[int] = []

    def statistic(swapped: NDArray[np.bool_]) -> Floats:
        drawn.append(swapped.size)
        distance: Floats = swapped.mean(axis=-1) - 0.5
        return distance

    rows = stats.BATCH // 4
    p = stats.swap_permutation(statistic, rows, np.random.default_rng(0), resamples=9)

    assert p == 1 / 10  # no drawn share is as far from one half as 0, the observed one
    assert drawn == [rows, 4 * rows, 4 * rows, rows]


def test_mcnemar_seldom_cries_wolf() -> None:
    """Of 2,000 pairs of equally good contenders at most 6 % have p <= 0.05, and some have."""
    tables = np.random.default_rng(14).multinomial(200, [0.15, 0.15, 0.7], 2000)
    distinct, counts = np.unique(tables, axis=0, return_counts=True)
    p = np.array([stats.mcnemar(*table(0, *row)) for row in distinct.tolist()])

    assert 0.02 <= counts[p <= 0.05].sum() / 2000 <= 0.06


def test_permutation_seldom_cries_wolf() -> None:
    """Of 1,000 pairs of equally good contenders at most 6 % have p <= 0.05, and some have."""
    rng = np.random.default_rng(15)
    p = []
    for _ in range(1000):
        a, b = f1_like(rng, 50), f1_like(rng, 50)
        b = np.where(rng.random(50) < 0.5, a, b)
        p.append(stats.paired_permutation(a, b, rng, resamples=199))

    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.06


def test_swapped_answers_seldom_cry_wolf() -> None:
    """Of 4,000 pairs of contenders with equal F1 at most 6 % have p <= 0.05, and some have."""
    rng = np.random.default_rng(17)
    p = []
    for _ in range(4000):
        truth = rng.random(60) < 0.3
        one, other = (np.where(rng.random(60) < 0.75, truth, ~truth) for _ in range(2))

        def difference(swapped: NDArray[np.bool_], truth: Any = truth, one: Any = one, other: Any = other) -> Floats:
            first, second = np.where(swapped, other, one), np.where(swapped, one, other)
            f1 = [2 * (truth & side).sum(axis=-1) / (truth.sum() + side.sum(axis=-1)) for side in (first, second)]
            between: Floats = f1[0] - f1[1]
            return between

        p.append(stats.swap_permutation(difference, 60, rng, resamples=199))

    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.06


# --- worse_than -------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0]), max_size=60))
@settings(deadline=None)
def test_worse_than_is_the_sign_test_on_right_and_wrong(differences: list[float]) -> None:
    """Differences of 0/1 scores have the p of the one-sided binomial test."""
    losses, unequal = differences.count(-1.0), len(differences) - differences.count(0.0)
    expected = scipy.stats.binomtest(losses, unequal, alternative="greater").pvalue if unequal else 1.0

    assert pytest.approx(expected) == stats.worse_than(differences)


@pytest.mark.parametrize("n", [2, 3, 10, 51, 200, 202, 600])
def test_worse_than_is_the_t_test_on_graded_scores(n: int) -> None:
    """Differences of graded scores have the p of Student's test, with few rows and with many."""
    differences = np.random.default_rng(n).normal(-0.05, 0.4, n)

    expected = scipy.stats.ttest_1samp(differences, 0, alternative="less").pvalue
    assert pytest.approx(max(0.5**n, expected), abs=1e-5) == stats.worse_than(differences)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([-0.3], 0.5),
        ([-0.3, -0.3], 0.25),
        ([0.3, 0.3], 1.0),
        ([-0.1] * 9 + [0.0], 0.5**9),
    ],
)
def test_worse_than_believes_no_more_than_flipped_signs_could(differences: list[float], p: float) -> None:
    """A few losses without spread are not proof: p is at least one half to the number of unequal rows."""
    assert stats.worse_than(differences) == p


@pytest.mark.parametrize("n", [6, 20, 80])
@pytest.mark.parametrize("kind", ["right or wrong", "graded"])
def test_worse_than_seldom_drops_an_equal(n: int, kind: str) -> None:
    """Of 3,000 equally good candidates about a share alpha, or fewer, have p <= alpha."""
    rng = np.random.default_rng(16)
    if kind == "graded":
        rows = [np.where(rng.random(n) < 0.4, 0.0, f1_like(rng, n) - f1_like(rng, n)) for _ in range(3000)]
    else:
        rows = list(rng.choice([-1.0, 0.0, 1.0], (3000, n), p=[0.2, 0.6, 0.2]))
    p = np.array([stats.worse_than(differences) for differences in rows])

    for alpha in (0.01, 0.05, 0.1, 0.25):
        assert np.mean(p <= alpha) <= alpha + (0.01 if alpha <= 0.05 else 0.02)
