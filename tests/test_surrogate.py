"""The pooled model on answers simulated from item response theory, with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from optimizer.engine.grid import Codes, Floats, Grid
from optimizer.engine.surrogate import Surrogate
from search_spaces.space import Dimension, Facts, Space

SPACE = Space(
    [
        Dimension("layout", "", "a", tuple("abcdef")),
        Dimension("wording", "", "w0", tuple(f"w{i}" for i in range(8))),
        Dimension("k", "", 0, low=0, high=7),
    ],
    Facts("classification", ("text",), "label", ()),
)


@dataclass(frozen=True)
class World:
    """Prompts with levels `f` [n], rows with difficulties `b` [m], and what the prompts scored [n, m]."""

    grid: Grid
    codes: Codes
    f: Floats
    b: Floats
    scores: Floats


def logistic(x: Floats) -> Floats:
    """Turn logits into chances."""
    return 1 / (1 + np.exp(-x))


def world(seed: int, *, n: int = 40, m: int = 80, each: int = 16, unfair: bool = False, graded: bool = False) -> World:
    """Draw a world; every prompt answers `each` rows: any, or with `unfair` mostly hard ones if it is a good one."""
    rng = np.random.default_rng(seed)
    grid = Grid(SPACE)
    effects = rng.normal(0, 0.6, grid.width)
    codes = np.unique(grid.random(4 * n, rng), axis=0)
    codes = codes[rng.permutation(len(codes))[:n]]
    f = 0.4 + effects[codes].sum(axis=1) + rng.normal(0, 0.15, n)
    b = np.sort(rng.normal(0, 1.5, m))[::-1].copy()  # the easiest first
    chance = logistic(f[:, None] + b)
    scores = np.full((n, m), np.nan)
    for prompt in range(n):
        suited = (np.arange(m) >= m / 2) == (f[prompt] > np.median(f))
        odds = np.where(suited & unfair, 3.0, 1.0)
        rows = rng.choice(m, each, replace=False, p=odds / odds.sum())
        p = chance[prompt, rows]
        scores[prompt, rows] = rng.beta(12 * p, 12 * (1 - p)) if graded else rng.random(each) < p
    return World(grid, codes, f, b, scores)


def fitted(w: World, *, fits: int = 15) -> Surrogate:
    """The model of a world; its variances settle over several fits, as they do in a search."""
    model = Surrogate(w.grid)
    for _ in range(fits):
        model.fit(w.codes, w.scores, alike(w))
    return model


def alike(w: World) -> Floats:
    """All rows count the same."""
    return np.ones(w.scores.shape[1])


def correlation(a: Floats, b: Floats) -> float:
    """Correlate two lists."""
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_levels_are_recovered_better_than_by_raw_means(seed: int) -> None:
    """From few answers each, what prompts share tells more than what each did alone."""
    w = world(seed)

    model = fitted(w)

    truth = logistic(w.f[:, None] + w.b).mean(axis=1)
    ours = np.abs(model.chances(model.f) - truth).mean()
    raw = np.abs(np.nanmean(w.scores, axis=1) - truth).mean()
    assert ours < 0.75 * raw
    assert correlation(model.f, w.f) > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_prompts_that_met_hard_rows_are_not_the_worse_for_it(seed: int) -> None:
    """Where good prompts met hard rows raw means mislead; the model sees through it, of prompts and of rows."""
    w = world(seed, unfair=True, each=20)

    model = fitted(w)

    raw, raw_rows = np.nanmean(w.scores, axis=1), np.nanmean(w.scores, axis=0)
    assert correlation(model.f, w.f) > max(0.5, correlation(raw, w.f) + 0.25)
    assert correlation(model.b, w.b) > max(0.8, correlation(raw_rows, w.b))


def test_more_answers_narrow_the_posterior() -> None:
    """A prompt with more answers is known better, and with more answers in all everything is."""
    few, many = world(1, each=8), world(1, each=40)
    uneven = world(1, each=8)
    uneven.scores[0] = world(2, each=80).scores[0]

    spreads = [np.sqrt(np.diag(fitted(w).covariance)) for w in (few, many, uneven)]

    assert spreads[1].mean() < 0.8 * spreads[0].mean()
    assert spreads[2][0] < spreads[2][1:].min()


def test_an_interval_covers_the_truth() -> None:
    """Differences between prompts lie within two standard deviations in about 95 of 100 cases."""
    inside = []
    for seed in range(6):
        w = world(seed)
        model = fitted(w)
        truth = w.f[:, None] - w.f
        spread = np.diag(model.covariance)[:, None] + np.diag(model.covariance) - 2 * model.covariance
        upper = np.triu_indices(len(w.f), 1)
        off = (model.f[:, None] - model.f - truth)[upper] / np.sqrt(spread[upper])
        inside.append(np.mean(np.abs(off) < 1.96))

    assert 0.88 < np.mean(inside) < 0.99


def test_the_covariance_is_one() -> None:
    """Symmetric, with no eigenvalue below or at zero."""
    for w in (world(0), world(1, each=1), world(2, n=3, each=2)):
        covariance = fitted(w).covariance

        assert np.allclose(covariance, covariance.T)
        assert np.linalg.eigvalsh(covariance).min() > 0


def test_what_was_not_asked_is_not_known() -> None:
    """A prompt without answers stands where those like it stand, but is known less well."""
    w = world(3, n=30)
    w.scores[-5:] = np.nan

    model = fitted(w)

    spread = np.sqrt(np.diag(model.covariance))
    assert spread[-5:].min() > np.median(spread[:-5])
    assert correlation(model.f[-5:], w.f[-5:]) > 0.3


def test_prompts_may_arrive_in_turn() -> None:
    """Taken in bit by bit, they end where they would have ended together."""
    w = world(4)
    at_once, by_and_by = fitted(w, fits=40), Surrogate(w.grid)
    for n in (5, 5, 20, *[40] * 40):
        by_and_by.fit(w.codes[:n], w.scores[:n], alike(w))

    assert np.abs(at_once.f - by_and_by.f).max() < 0.05
    assert by_and_by.row_scale == pytest.approx(at_once.row_scale, rel=0.1)


def test_the_same_answers_give_the_same_model() -> None:
    """There is no chance in a fit."""
    one, other = fitted(world(5)), fitted(world(5))

    assert np.array_equal(one.f, other.f)
    assert np.array_equal(one.scales, other.scales)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_draws_lie_about_the_posterior_mean(scale: float) -> None:
    """Over many draws the opened prompts have their posterior mean, and spread `scale` times their deviation."""
    w = world(6, n=25)
    model, rng = fitted(w), np.random.default_rng(0)

    drawn = np.array([model.draw(rng, scale).opened for _ in range(400)])

    drawn -= drawn.mean(axis=1, keepdims=True)  # a draw's height in all is not told: it is the same for every prompt
    centred = np.eye(len(w.f)) - 1 / len(w.f)
    deviation = scale * np.sqrt(np.diag(centred @ model.covariance @ centred))
    assert np.abs((drawn.mean(axis=0) - (model.f - model.f.mean())) / (deviation / 20)).max() < 4.5
    assert np.mean(drawn.std(axis=0) / deviation) == pytest.approx(1, abs=0.1)


def test_a_draw_reaches_prompts_that_were_not_opened() -> None:
    """Its tables agree with its values at opened prompts but for what each has of its own, and tell of the others."""
    w = world(7, n=70, each=40)
    seen = np.arange(40)
    model = Surrogate(w.grid)
    for _ in range(15):
        model.fit(w.codes[seen], w.scores[seen], alike(w))
    rng = np.random.default_rng(0)

    draws = [model.draw(rng, 1.0) for _ in range(200)]
    values = np.mean([w.grid.value(draw.single, draw.pair, w.codes) for draw in draws], axis=0)
    opened = np.mean([draw.opened for draw in draws], axis=0)

    assert np.abs(values[seen] - opened).max() < 0.5
    assert correlation(values[seen], opened) > 0.97
    assert correlation(values[40:], w.f[40:]) > 0.6


def test_graded_scores_have_a_dispersion_below_one() -> None:
    """They vary less than right-or-wrong ones of the same mean, and so tell more."""
    w = world(8, graded=True)
    rounded = World(w.grid, w.codes, w.f, w.b, np.where(np.isnan(w.scores), np.nan, w.scores > 0.5))

    graded, plain = fitted(w), fitted(rounded)

    # A beta variable of concentration 12 has 1/13 of the variance of a coin's.
    assert graded.dispersion == pytest.approx(1 / 13, rel=0.4)
    assert plain.dispersion == 1.0
    assert np.diag(graded.covariance).mean() < np.diag(plain.covariance).mean()
    assert correlation(graded.f, w.f) > max(0.9, correlation(plain.f, w.f))


def test_rows_that_count_more_decide_more() -> None:
    """Where the rows of a rare label count as much as all others, another prompt leads."""
    grid = Grid(SPACE)
    codes = grid.random(2, np.random.default_rng(0))
    scores = np.zeros((2, 20))
    scores[0, :12] = 1  # right on all four rare rows, which come first, and on half of the others
    scores[1, 6:] = 1
    balanced = np.where(np.arange(20) < 4, 2.5, 0.625)
    leads = []
    for weights in (np.ones(20), balanced):
        model = Surrogate(grid)
        model.fit(codes, scores, weights)
        leads.append(int(model.f.argmax()))

    assert leads == [1, 0]


def test_chances_rise_with_the_level() -> None:
    """From few rows answered to nearly all."""
    model = fitted(world(10))

    chances = model.chances(np.array([-6.0, -1.0, 0.0, 1.0, 6.0]))

    assert (np.diff(chances) > 0).all()
    assert chances[0] < 0.1
    assert chances[-1] > 0.9


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_answers_all_alike_are_no_trouble(value: float) -> None:
    """All right or all wrong, everything stays finite."""
    w = world(11, n=10)
    scores = np.where(np.isnan(w.scores), np.nan, value)

    model = fitted(World(w.grid, w.codes, w.f, w.b, scores), fits=25)

    assert np.isfinite(model.f).all()
    assert np.isfinite(model.covariance).all()
    assert (model.f > 0).all() == bool(value)


def test_a_space_without_a_choice_has_a_model() -> None:
    """One prompt, no dimensions."""
    grid = Grid(Space([Dimension("fixed", "", "x", ("x",))], SPACE.facts))
    model = Surrogate(grid)

    model.fit(np.zeros((1, 0), dtype=np.intp), np.array([[1.0, 0.0, 1.0, np.nan]]), np.ones(4))

    assert model.f.shape == (1,)
    assert np.isfinite(model.draw(np.random.default_rng(0), 1.0).opened).all()
