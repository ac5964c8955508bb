"""The best of many is reported without selection bias, with an interval that covers, and without false gains."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from optimizer.selection import corrected

Floats = NDArray[np.float64]
Prune = Callable[[Floats], Floats]

NODES, MASSES = np.polynomial.hermite_e.hermegauss(41)
LEVELS = np.linspace(-8, 8, 1601)
HARD, OWN = 1.5, 0.5  # how much rows differ in difficulty, and prompts in which rows they find hard, in logits


def logistic(x: Floats) -> Floats:
    chance: Floats = 1 / (1 + np.exp(-x))
    return chance


MEANS = logistic(LEVELS[:, None] + np.hypot(HARD, OWN) * NODES) @ MASSES / MASSES.sum()


def simulated(rng: np.random.Generator, prompts: int, rows: int, spread: float) -> tuple[Floats, Floats]:
    """Answers [prompts, rows] of an item-response model, and each prompt's true score on all rows there could be.

    True scores spread by `spread` about 75 %: normally in logits. Unlike in the model that is fitted, a row may be hard
    for one prompt alone.
    """
    truth = logistic(np.log(3) + spread / (0.75 * 0.25) * rng.standard_normal(prompts))
    levels = np.interp(truth, MEANS, LEVELS)
    hard = HARD * rng.standard_normal(rows) + OWN * rng.standard_normal((prompts, rows))
    return (rng.random((prompts, rows)) < logistic(levels[:, None] + hard)) * 1.0, truth


def whole(scores: Floats) -> Floats:
    """Let every prompt see every row."""
    return scores


def halved(scores: Floats) -> Floats:
    """Successive halving after 25, 50 and 100 rows; the seed prompt, number 0, sees all of them."""
    seen = np.full_like(scores, np.nan)
    alive = np.arange(len(scores))
    for start, end in ((0, 25), (25, 50), (50, 100), (100, scores.shape[1])):
        seen[alive, start:end] = scores[alive, start:end]
        order = np.argsort(-scores[alive, :end].mean(axis=1), kind="stable")
        alive = alive[order[: max(2, len(alive) // 2)]]
    seen[0] = scores[0]
    return seen


@lru_cache  # several tests read one simulation
def winners(prune: Prune, spread: float, times: int) -> Floats:
    """Choose the best of 25 or 50 prompts on 200 rows, many times [times, 6].

    Columns: by how much the raw and the corrected score of the winner are too high, whether its interval covers;
    by how much its gain is too high, whether that interval covers, and whether a gain is claimed.
    """
    found = []
    for number in range(times):
        rng = np.random.default_rng([number, int(1000 * spread)])
        scores, truth = simulated(rng, 25 + 25 * (number % 2), 200, spread)
        raw = scores.mean(axis=1)
        told = corrected(prune(scores))
        best = 1 + int(np.argmax(told.scores[1:]))
        # The rows' own luck, on average 0, is the same for all prompts: without it fewer simulations suffice.
        luck, of_seed = np.mean(raw - truth), raw[0] - truth[0]
        gain = truth[best] - truth[0]
        found.append(
            [
                raw[best] - truth[best] - luck,
                told.scores[best] - truth[best] - luck,
                told.limits[best, 0] <= truth[best] <= told.limits[best, 1],
                told.gains[best] - gain + of_seed - luck,
                told.gain_limits[best, 0] <= gain <= told.gain_limits[best, 1],
                told.gain_limits[best, 0] > 0,
            ]
        )
    return np.array(found, dtype=np.float64)


# --- by simulation ----------------------------------------------------------------------------------------

prunings = pytest.mark.parametrize("prune", [whole, halved])
SPREADS, TIMES = (0.02, 0.04, 0.08), 120


@prunings
@pytest.mark.parametrize("spread", SPREADS)
def test_the_winners_corrected_score_is_unbiased(prune: Prune, spread: float) -> None:
    """The raw score of the winner is more than a point too high, the corrected one off by at most half a point."""
    raw, ours, _, gain, *_ = winners(prune, spread, TIMES).mean(axis=0)

    assert raw > 0.01
    assert abs(ours) <= 0.005
    assert abs(gain) <= 0.005


@prunings
def test_the_winners_interval_covers(prune: Prune) -> None:
    """Over the three spreads 93 to 97 % of the intervals of score and gain hold the truth."""
    covered = np.mean([winners(prune, spread, TIMES) for spread in SPREADS], axis=(0, 1))

    assert 0.93 <= covered[2] <= 0.97
    assert 0.93 <= covered[4] <= 0.97


@prunings
def test_no_gain_is_claimed_where_there_is_none(prune: Prune) -> None:
    """Where all prompts are equal at most 5 % of the winners seem better, though their raw scores are 5 points up."""
    raw, ours, *_, claimed = winners(prune, 0.0, 200).mean(axis=0)

    assert raw > 0.04
    assert ours < 0.015
    assert claimed <= 0.05


def test_a_real_gain_is_found() -> None:
    """Where prompts spread by 8 points the gain over an average seed prompt is claimed in most cases."""
    assert winners(whole, 0.08, TIMES)[:, 5].mean() > 0.6


def test_a_long_tail_below_does_not_lift_the_best() -> None:
    """Where a fifth of the prompts fail, the best of the equal others is still corrected to within 1.5 points."""
    raw, ours = [], []
    for number in range(60):
        rng = np.random.default_rng(number)
        scores, truth = simulated(rng, 40, 200, 0.0)
        broken = rng.choice(np.arange(1, 40), 8, replace=False)
        scores[broken] *= rng.random((8, 200)) < 0.5
        told = corrected(scores)
        best = 1 + int(np.argmax(told.scores[1:]))
        luck = np.delete(scores, broken, axis=0).mean() - truth[0]
        raw.append(scores[best].mean() - truth[best] - luck)
        ours.append(told.scores[best] - truth[best] - luck)

    assert np.mean(raw) > 0.04
    assert abs(np.mean(ours)) < 0.015


# --- single facts -----------------------------------------------------------------------------------------

cell = st.sampled_from([0.0, 1.0, np.nan]) | st.floats(0, 1)


@given(st.integers(1, 8).flatmap(lambda rows: st.lists(st.lists(cell, min_size=rows, max_size=rows), min_size=1)))
@settings(deadline=None, max_examples=60)
def test_any_table_is_told(table: list[list[float]]) -> None:
    """A prompt with a score has an estimate inside its interval inside [0, 1]; one without has none."""
    scores = np.array(table)
    known = ~np.isnan(scores).all(axis=1)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        told = corrected(scores)

    assert known.tolist() == (~np.isnan(told.scores)).tolist()
    assert (told.limits[known, 0] >= 0).all()
    assert (told.limits[known, 1] <= 1).all()
    assert (told.limits[known, 0] <= told.scores[known] + 1e-9).all()
    assert (told.limits[known, 1] >= told.scores[known] - 1e-9).all()
    assert (told.limits[known, 1] > told.limits[known, 0]).all()
    assert known[0] == (told.gains[0] == 0)


def test_the_order_of_prompts_and_rows_changes_nothing() -> None:
    """Each prompt is told the same wherever it stands, and whichever row comes first."""
    rng = np.random.default_rng(1)
    scores = halved(simulated(rng, 20, 200, 0.05)[0])
    prompts, rows = rng.permutation(20), rng.permutation(200)
    here, there = corrected(scores), corrected(scores[prompts][:, rows], seed=int(np.flatnonzero(prompts == 0)[0]))

    assert pytest.approx(here.scores[prompts], abs=1e-6) == there.scores
    assert pytest.approx(here.limits[prompts], abs=1e-6) == there.limits
    assert pytest.approx(here.gain_limits[prompts], abs=1e-6) == there.gain_limits


def test_equal_prompts_are_drawn_together_and_unequal_ones_are_not() -> None:
    """Of a spread that luck explains little is left; of one that it cannot explain, nearly all."""
    equal, _ = simulated(np.random.default_rng(2), 40, 200, 0.0)
    unequal, _ = simulated(np.random.default_rng(2), 40, 200, 0.12)
    kept = [corrected(scores).scores[1:].std() / scores[1:].mean(axis=1).std() for scores in (equal, unequal)]

    assert kept[0] < 0.4
    assert kept[1] > 0.85


def test_the_seed_prompt_and_others_that_are_no_candidates_keep_their_scores() -> None:
    """Only candidates are shrunk: the rest stay within half a point of their raw scores."""
    scores, _ = simulated(np.random.default_rng(3), 30, 200, 0.02)
    raw = scores.mean(axis=1)
    told = corrected(scores, range(5, 30))

    assert np.abs(told.scores - raw)[:5].max() < 0.005
    assert np.abs(told.scores - raw)[5:].max() > 0.02


def test_the_seed_prompt_gains_nothing_over_itself() -> None:
    """Its gain is 0 for certain; that of any other prompt is not."""
    told = corrected(simulated(np.random.default_rng(4), 10, 100, 0.05)[0], seed=3)

    assert told.gains[3] == 0
    assert told.gain_limits[3].tolist() == [0, 0]
    assert (np.delete(told.gain_limits, 3, axis=0) @ [-1, 1] > 0.02).all()


def test_without_a_seed_prompts_score_there_is_no_gain() -> None:
    """The others' scores are told all the same."""
    scores, _ = simulated(np.random.default_rng(5), 10, 100, 0.05)
    scores[0] = np.nan
    told = corrected(scores)

    assert np.isnan(told.gains).all()
    assert np.isnan(told.gain_limits).all()
    assert not np.isnan(told.scores[1:]).any()


def test_hard_rows_are_no_fault_of_the_prompt_that_met_them() -> None:
    """A prompt that saw only the 50 hardest rows is placed near those equal to it, far above its raw score."""
    scores, truth = simulated(np.random.default_rng(6), 40, 200, 0.08)
    hardest = np.argsort(scores.mean(axis=0))[:50]
    seen = scores.copy()
    seen[7] = np.nan
    seen[7, hardest] = scores[7, hardest]

    assert np.nanmean(seen[7]) < truth[7] - 0.1
    assert abs(corrected(seen).scores[7] - corrected(scores).scores[7]) < 0.06


def test_few_rows_say_less_than_many() -> None:
    """A prompt that was given up after ten rows has a wider interval than one that saw all."""
    scores, _ = simulated(np.random.default_rng(7), 30, 200, 0.08)
    scores[5, 10:] = np.nan
    width = corrected(scores).limits @ [-1, 1]

    assert width[5] > 1.5 * np.delete(width, 5).max()


def test_graded_scores_say_more_than_right_or_wrong() -> None:
    """Scores that vary less from row to row give narrower intervals of the same means."""
    scores, _ = simulated(np.random.default_rng(8), 30, 200, 0.05)
    wide, narrow = (corrected(table).limits @ [-1, 1] for table in (scores, 0.25 + 0.5 * scores))

    assert (narrow < 0.7 * wide).all()


def test_perfection_is_no_certainty() -> None:
    """Where every score is 1, every prompt may still be wrong now and then."""
    told = corrected(np.ones((10, 50)))

    assert (told.limits[:, 0] < 0.995).all()
    assert (told.scores < 1).all()
    assert (told.gain_limits[1:, 0] < 0).all()


def test_few_rows_that_all_saw_do_not_pass_for_all_rows() -> None:
    """Prompts that answered the ten easiest rows alone are compared by them, not by the ease that they have in common.

    Graded scores, as F1 gives them; seed prompt and winner have answered every row, as in a search.
    """
    rng = np.random.default_rng(0)
    hard = np.sort(0.7 * rng.standard_normal(150))[::-1]
    chances = logistic(np.array([-3.5, *[-2.0] * 100])[:, None] + hard)
    scores = np.clip(chances + 0.03 * rng.standard_normal(chances.shape), 0, 1)
    truth = chances.mean(axis=1)
    scores[2:, 10:] = np.nan

    found = corrected(scores)

    raw = np.nanmean(scores[2:], axis=1) - truth[2:]
    assert raw.min() > 0.14
    assert np.abs(found.scores - truth).max() < raw.min() / 2
