"""Importances of dimensions: the shares of known functions, and of a model fitted to simulated answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.problems import BareSpace, Params, Problem
from optimizer.engine.grid import Floats, Grid
from optimizer.engine.importance import importances, profiles, shares
from optimizer.engine.surrogate import Draw, Surrogate
from optimizer.search import Options, run
from search_spaces.prompt import Example
from search_spaces.space import Dimension, Facts, Space
from tests.landscape import DEV, Landscape, space

FACTS = Facts("classification", ("text",), "label", ())
FLAT = Space(
    [Dimension("a", "", "x", ("x", "y", "z")), Dimension("b", "", 0, (0, 1)), Dimension("c", "", 0, (0, 1))], FACTS
)
NESTED = Space([Dimension("on", "", "no", ("no", "yes")), Dimension("k", "", 1, (1, 2), when={"on": ("yes",)})], FACTS)
WORLD = Space(
    [
        Dimension("layout", "", "a", tuple("abcde")),
        Dimension("wording", "", "w0", tuple(f"w{i}" for i in range(6))),
        Dimension("place", "", "top", ("top", "bottom")),
    ],
    FACTS,
)


def draw(grid: Grid, single: dict[tuple[str, object], float], pair: dict[frozenset[tuple[str, object]], float]) -> Draw:
    """A function that is known: what levels add, and what pairs of levels add."""
    places = {
        (dimension.name, level): block.start + i
        for dimension, levels, block in zip(grid.dimensions, grid.levels, grid.blocks, strict=True)
        for i, level in enumerate(levels)
    }
    ones, twos = np.zeros(grid.width), np.zeros((grid.width, grid.width))
    for level, value in single.items():
        ones[places[level]] = value
    for levels, value in pair.items():
        i, j = (places[level] for level in levels)
        twos[i, j] = twos[j, i] = value
    return Draw(np.zeros(0), ones, twos, 0.0)


def everything(grid: Grid, repeats: int) -> Floats:
    """Every choice of levels, equally often, so that nothing is left to chance."""
    levels = np.meshgrid(*(np.arange(block.start, block.stop) for block in grid.blocks), indexing="ij")
    return np.tile(np.stack([axis.ravel() for axis in levels], axis=1), (repeats, 1))


def test_a_sum_is_taken_apart_exactly() -> None:
    """Without interactions the shares are the variances of the summands; alone and in all are the same."""
    grid = Grid(FLAT)
    known = draw(grid, {("a", "y"): 3.0, ("b", 1): 2.0}, {})

    (alone,), (total,) = shares(profiles(grid, [known], everything(grid, 40)))

    # 3 in a third of the prompts: variance 2; 2 in half of them: variance 1.
    assert alone == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert total == pytest.approx([2 / 3, 1 / 3, 0.0])


def test_an_interaction_belongs_to_nobody_alone() -> None:
    """Two dimensions that matter only together explain nothing alone and everything together."""
    grid = Grid(FLAT)
    equal = {frozenset({("b", i), ("c", i)}): 1.0 for i in (0, 1)}

    (alone,), (total,) = shares(profiles(grid, [draw(grid, {}, equal)], everything(grid, 40)))

    assert alone == pytest.approx([0.0, 0.0, 0.0])
    assert total == pytest.approx([0.0, 1.0, 1.0])


def test_a_dimension_that_applies_only_sometimes_explains_only_so_much() -> None:
    """What k does counts where k applies; what comes and goes with the deciding dimension counts for both."""
    grid = Grid(NESTED)

    (alone,), (total,) = shares(profiles(grid, [draw(grid, {("k", 2): 1.0}, {})], everything(grid, 400)))

    # f is 1 in a quarter of the prompts: variance 3/16. Its mean is 0 or 1/2 by either dimension: variance 1/16.
    assert alone == pytest.approx([1 / 3, 1 / 3], abs=0.01)
    assert total == pytest.approx([2 / 3, 2 / 3])


def fitted(effects: Floats, seed: int) -> Surrogate:
    """A model of all 60 prompts with about 30 answers each, whose levels are the sums of `effects` [width]."""
    rng = np.random.default_rng(seed)
    grid = Grid(WORLD)
    codes = np.unique(grid.random(300, rng), axis=0)
    codes = codes[rng.permutation(len(codes))]
    chance = 1 / (1 + np.exp(-(effects[codes].sum(axis=1)[:, None] + rng.normal(0, 1, 120))))
    scores = np.where(rng.random(chance.shape) < chance, 1.0, 0.0)
    scores[rng.random(chance.shape) > 0.25] = np.nan
    model = Surrogate(grid)
    for _ in range(15):
        model.fit(codes, scores, np.ones(120))
    return model


def known_effects() -> Floats:
    """Levels of layout that lie far apart, of wording a little, of place not at all."""
    return np.array([-1.2, -0.6, 0.0, 0.6, 1.2, *np.linspace(-0.4, 0.4, 6), 0.0, 0.0])


def test_what_dominates_comes_first_and_its_interval_covers_the_truth() -> None:
    """The dimension that decides most has the largest share; in most worlds every interval covers the true share."""
    effects = known_effects()
    variances = np.array([effects[:5].var(), effects[5:11].var(), 0.0])
    truth = dict(zip(("layout", "wording", "place"), variances / variances.sum(), strict=True))
    covered = []
    for seed in range(6):
        found = importances(fitted(effects, seed), np.random.default_rng(seed))
        covered += [i.low - 0.01 <= truth[i.dimension] <= i.high + 0.01 for i in found]

        assert [i.share for i in found] == sorted((i.share for i in found), reverse=True)
        assert found[0].dimension == "layout"
        assert all(0 <= i.low <= i.share <= i.high <= 1 for i in found)
        assert all(i.share <= i.total + 0.01 for i in found)

    assert sum(covered) >= 15


def test_the_best_level_gains_over_the_seed_prompts_level() -> None:
    """The gain is in points of the score, and nothing where the seed prompt has the best level already."""
    found = {i.dimension: i for i in importances(fitted(known_effects(), 1), np.random.default_rng(0))}
    reversed_ = {i.dimension: i for i in importances(fitted(-known_effects(), 1), np.random.default_rng(0))}

    layout = found["layout"]
    assert layout.best == "e"
    # From -1.2 to 1.2 logits, the rows' difficulties spread by 1 and the wordings' by little: about 43 points.
    assert layout.gain == pytest.approx(0.43, abs=0.1)
    assert layout.gain_low < layout.gain < layout.gain_high
    other = reversed_["layout"]
    assert (other.best, other.gain, other.gain_low, other.gain_high) == ("a", 0.0, 0.0, 0.0)


def searched(seed: int) -> tuple[Problem, Floats]:
    """A space of 60 prompts whose levels add up, and what each adds: [5 layouts, 6 wordings]."""
    rng = np.random.default_rng([7, seed])
    layouts, wordings = rng.permutation(np.linspace(-1.2, 1.2, 5)), rng.permutation(np.linspace(-0.4, 0.4, 6))
    levels, rows, coins = layouts[:, None] + wordings, rng.normal(0, 1, 100), rng.random((5, 6, 2, 100))

    def right(params: Params) -> NDArray[np.bool_]:
        layout, wording = "abcde".index(str(params["layout"])), int(str(params["wording"])[1:])
        answers: NDArray[np.bool_] = coins[layout, wording, int(params["place"] == "top")] < 1 / (
            1 + np.exp(-(levels[layout, wording] + rows))
        )
        return answers

    opened = BareSpace(WORLD.dimensions, ("x", "y"))
    asked = tuple(Example(f"r{i}", (("text", f"row {i}"),), ("xy"[i % 2],)) for i in range(100))
    return Problem("sum", "sum", opened, asked, right, lambda _: 0.0, 0.0, 0.0, 300), levels


def test_intervals_hold_after_a_search_that_chose_what_to_ask() -> None:
    """Of 300 answers most are of prompts that the search likes; 95 % intervals hold the truth nonetheless."""
    difficulties = np.random.default_rng(1).normal(0, 1, 4000)
    shares_held, gains_held = [], []
    for seed in range(14):
        problem, levels = searched(seed)
        score = (1 / (1 + np.exp(-(levels[..., None] + difficulties)))).mean(axis=-1)
        variances = levels.mean(axis=1).var(), levels.mean(axis=0).var()
        share = {"layout": variances[0] / levels.var(), "wording": variances[1] / levels.var(), "place": 0.0}
        gains = {"layout": (score - score[0]).mean(axis=1), "wording": (score.T - score[:, 0]).mean(axis=1)}
        options = Options(seed=seed, calls=300, trials=300, explain=True)
        for one in run(problem.space, problem.evaluate, problem.rows, options).importances:
            number = WORLD[one.dimension].values.index(one.best)
            gain = gains[one.dimension][number] if one.dimension in gains else 0.0
            shares_held.append(one.low - 0.01 <= share[one.dimension] <= one.high + 0.01)
            gains_held.append(one.gain_low - 0.005 <= gain <= one.gain_high + 0.005)

    # 42 intervals: fewer than 37 hold with a chance of 1 % each.
    assert sum(shares_held) >= 37
    assert sum(gains_held) >= 37


def test_a_search_says_what_paid_if_it_is_asked_to() -> None:
    """The pooled search names each dimension that can be chosen; a control has no model to ask; the winner stays."""
    opened = space()
    plain, told, control = (
        run(opened, Landscape(), DEV[:40], Options(sampler=sampler, calls=400, trials=40, explain=explain))
        for sampler, explain in (("pooled", False), ("pooled", True), ("random", True))
    )

    assert {d.name for d in opened.dimensions if not d.locked} == {i.dimension for i in told.importances}
    assert plain.importances == control.importances == ()
    assert plain.trials == told.trials
