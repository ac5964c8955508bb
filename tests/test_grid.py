"""A space as numbers: conversion in both directions, the similarity of prompts, and where a function is highest."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from optimizer.engine.grid import Floats, Grid, similarity
from search_spaces.opening import load_space
from search_spaces.prompt import Example
from search_spaces.space import Dimension, Facts, Space, Value
from tests.landscape import space

FACTS = Facts("classification", ("text",), "label", ())
TRAIN = tuple(Example(f"t{i}", (("text", f"row {i}"),), (f"answer {i % 3}",)) for i in range(12))

MIXED = Space(
    [
        Dimension("layout", "", "a", ("a", "b", "c")),
        Dimension("shown", "", "no", ("no", "some", "near")),
        Dimension("k", "", 1, (1, 2, 4), when={"shown": ("some", "near")}),
        Dimension("draw", "", 0, low=0, high=4, when={"shown": ("some",)}),
        Dimension("order", "", "up", ("up", "down"), when={"k": (2, 4)}),  # itself decided about
        Dimension("fixed", "", "x", ("x",)),
        Dimension("heat", "", 0.0, low=0.0, high=1.0),
    ],
    FACTS,
)
LOCKED_BETWEEN = Space(  # a locked dimension that applies only sometimes decides about another
    [
        Dimension("shown", "", "no", ("no", "some")),
        Dimension("k", "", 4, (4,), when={"shown": ("some",)}),
        Dimension("order", "", "up", ("up", "down"), when={"k": (4,)}),
    ],
    FACTS,
)
NEVER = Space(  # a locked dimension keeps another from ever applying
    [
        Dimension("layout", "", "a", ("a", "b", "c")),
        Dimension("shown", "", "no", ("no",)),
        Dimension("k", "", 1, (1, 2), when={"shown": ("some",)}),
    ],
    FACTS,
)
SPACES = {
    "classification": space(),
    "every classification": load_space(Facts("classification", ("text",), "label", TRAIN, ("a", "b")), {}),
    "generation": load_space(
        Facts("generation", ("text",), "answer", TRAIN), {"temperature": {"low": 0.0, "high": 1.0}}
    ),
    "mixed": MIXED,
    "locked between": LOCKED_BETWEEN,
    "never": NEVER,
}
every_space = pytest.mark.parametrize("name", SPACES)


class Dice:
    """A chooser that draws."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def suggest_categorical(self, name: str, choices: list[Value]) -> Value:
        """Any of the choices."""
        return self.rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Any whole number."""
        return self.rng.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """Any number."""
        return self.rng.uniform(low, high)


# --- there and back ---------------------------------------------------------------------------------------


@every_space
def test_parameters_come_back(name: str) -> None:
    """From parameters to features and back; real numbers to the nearest level."""
    grid = Grid(SPACES[name])
    for seed in range(60):
        params = SPACES[name].choose(Dice(seed))

        back = grid.decode(grid.encode(params))

        assert list(params) == list(back)
        for dimension, value in back.items():
            if isinstance(value, float) and SPACES[name][dimension].low is not None:
                assert abs(value - float(params[dimension])) <= 1 / 16
            else:
                assert params[dimension] == value


@every_space
def test_features_come_back(name: str) -> None:
    """From drawn features to parameters that the space allows, and back."""
    grid = Grid(SPACES[name])

    for codes in grid.random(60, np.random.default_rng(0)):
        params = grid.decode(codes)

        assert codes.tolist() == grid.encode(params).tolist()
        assert [d.name for d in SPACES[name].dimensions if d.applies(params)] == list(params)


@every_space
def test_the_seed_prompt_is_on_the_grid(name: str) -> None:
    """Its values are levels, so that it is told apart from all others."""
    grid = Grid(SPACES[name])

    assert SPACES[name].seed() == grid.decode(grid.encode(SPACES[name].seed()))


@every_space
def test_drawn_prompts_hold_the_levels_evenly(name: str) -> None:
    """Of a dimension that always applies each level is drawn equally often, give or take one."""
    grid = Grid(SPACES[name])

    codes = grid.random(50, np.random.default_rng(1))

    assert (50, len(grid.dimensions)) == codes.shape
    for place, (dimension, block) in enumerate(zip(grid.dimensions, grid.blocks, strict=True)):
        counts = np.bincount(codes[:, place][codes[:, place] >= 0], minlength=grid.width)[block]
        if dimension.when:
            assert counts.sum() <= 50
        else:
            assert counts.max() - counts.min() <= 1


def test_drawing_none_is_no_error() -> None:
    """A search with hardly any calls draws no random prompts."""
    assert Grid(MIXED).random(0, np.random.default_rng(0)).shape == (0, 6)


def test_long_ranges_are_thinned_out() -> None:
    """Neither a range of real numbers nor a long one of whole numbers has a level for each value; ends are kept."""
    ranged = Space(
        [Dimension("many", "", 0, low=0, high=1000), Dimension("few", "", 0, low=0, high=8), MIXED["heat"]], FACTS
    )

    many, few, heat = Grid(ranged).levels

    assert (many[0], many[-1], len(many)) == (0, 1000, 9)
    assert all(isinstance(level, int) for level in many)
    assert list(range(9)) == few
    assert (heat[0], heat[-1], len(heat)) == (0.0, 1.0, 9)


def test_a_space_without_a_choice_has_no_features() -> None:
    """Everything still works: there is one prompt."""
    alone = Space([Dimension("fixed", "", "x", ("x",)), Dimension("cold", "", 0.0, low=0.0, high=0.0)], FACTS)
    grid = Grid(alone)
    rng = np.random.default_rng(0)

    codes = grid.random(4, rng)
    best, value = grid.argmax(np.zeros(0), np.zeros((0, 0)), codes)

    assert (grid.width, codes.shape, best.shape, value) == (0, (4, 0), (0,), 0.0)
    assert grid.decode(best) == {"fixed": "x", "cold": 0.0}
    assert grid.alike(codes, codes).shape == (0, 4, 4)


# --- where a function is highest --------------------------------------------------------------------------


def tables(grid: Grid, seed: int) -> tuple[Floats, Floats]:
    """Random tables of features and of pairs of features: symmetric, zero within a dimension."""
    rng = np.random.default_rng(seed)
    single, pair = rng.normal(size=grid.width), rng.normal(size=(grid.width, grid.width))
    for block in grid.blocks:
        pair[block, block] = 0
    return single, (pair + pair.T) / 2


def points(grid: Grid) -> list[dict[str, Value]]:
    """Parameters of every prompt on the grid of the mixed space."""
    names = [dimension.name for dimension in grid.dimensions]
    found: dict[tuple[tuple[str, Value], ...], dict[str, Value]] = {}
    for values in product(*grid.levels):
        chosen = dict(zip(names, values, strict=True))
        params: dict[str, Value] = {}
        for dimension in grid.space.dimensions:
            if dimension.applies(params):
                params[dimension.name] = chosen.get(dimension.name, dimension.seed)
        found[tuple(params.items())] = params
    return list(found.values())


def worth(grid: Grid, params: dict[str, Value], single: Floats, pair: Floats) -> float:
    """The function at a prompt, summed by hand."""
    codes = [code for code in grid.encode(params).tolist() if code >= 0]
    return sum(single[a] for a in codes) + sum(pair[a, b] for i, a in enumerate(codes) for b in codes[:i])


@pytest.mark.parametrize("seed", range(6))
def test_the_highest_point_is_that_of_brute_force(seed: int) -> None:
    """Among all prompts there are, also those that lack a dimension, no other is higher."""
    grid = Grid(MIXED)
    single, pair = tables(grid, seed)
    rng = np.random.default_rng(seed)
    everywhere = max(worth(grid, params, single, pair) for params in points(grid))

    codes, value = grid.argmax(single, pair, grid.filled(grid.random(24, rng), rng))

    assert value == pytest.approx(everywhere)
    assert value == pytest.approx(worth(grid, grid.decode(codes), single, pair))
    assert codes.tolist() == grid.encode(grid.decode(codes)).tolist()


def test_a_climb_never_ends_below_its_start() -> None:
    """Whatever the tables, the prompt found is at least as high as the best start."""
    grid = Grid(SPACES["every classification"])
    for seed in range(5):
        single, pair = tables(grid, seed)
        rng = np.random.default_rng(seed)
        drawn = grid.random(4, rng)

        _, value = grid.argmax(single, pair, grid.filled(drawn, rng))

        assert value >= max(worth(grid, grid.decode(codes), single, pair) for codes in drawn) - 1e-9


def test_the_value_of_many_prompts_at_once_is_that_of_each() -> None:
    """What does not apply counts nothing."""
    grid = Grid(MIXED)
    single, pair = tables(grid, 3)
    rng = np.random.default_rng(3)
    codes = grid.filled(grid.random(30, rng), rng)

    values = grid.value(single, pair, codes)

    expected = [worth(grid, grid.decode(one), single, pair) for one in grid.masked(codes)]
    assert values == pytest.approx(expected)


# --- how alike prompts are --------------------------------------------------------------------------------


def test_kernels_are_covariances() -> None:
    """Symmetric, ones on the diagonal, no negative eigenvalue."""
    for searched in SPACES.values():
        for _, kernel in Grid(searched).kernels:
            assert np.allclose(kernel, kernel.T)
            assert np.allclose(np.diag(kernel), 1)
            assert np.linalg.eigvalsh(kernel).min() > -1e-9


def test_numbers_are_alike_when_they_are_near() -> None:
    """A range has an order beside the levels themselves; names have none."""
    grid = Grid(MIXED)
    kernels = {grid.dimensions[place].name: kernel for place, kernel in grid.kernels}  # the last of each

    assert kernels["draw"][0, 1] > kernels["draw"][0, 3] > 0
    assert kernels["heat"][4, 5] > kernels["heat"][4, 8] > 0
    assert np.array_equal(kernels["layout"], np.eye(3))


def test_prompts_are_alike_where_they_share_a_level() -> None:
    """A prompt that lacks a dimension is alike in it to none, itself included."""
    grid = Grid(MIXED)
    base: dict[str, Value] = {
        "layout": "a",
        "shown": "some",
        "k": 2,
        "draw": 1,
        "order": "up",
        "fixed": "x",
        "heat": 0.5,
    }
    without: dict[str, Value] = {"layout": "a", "shown": "no", "fixed": "x", "heat": 0.5}
    codes = np.array([grid.encode(base), grid.encode({**base, "draw": 2}), grid.encode(without)])

    alike = {
        (grid.dimensions[place].name, first): found
        for (place, kernel), found in zip(grid.kernels, grid.alike(codes, codes), strict=True)
        for first in [np.array_equal(kernel, np.eye(len(kernel)))]
    }

    assert alike["layout", True].tolist() == [[1, 1, 1]] * 3
    assert alike["draw", True].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert 0 < alike["draw", False][0, 1] < 1
    assert alike["shown", True].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_texts_are_alike_by_what_they_say() -> None:
    """Wordings that share their words are nearer than others; case does not count; an empty text is like none."""
    texts = [
        "Classify the text by label.",
        "Classify the text by its label, please.",
        "CLASSIFY THE TEXT BY LABEL.",
        "Answer in one word what the sender wants from us.",
        "",
        "",
    ]

    alike = similarity(texts)

    assert np.allclose(alike, alike.T)
    assert np.allclose(np.diag(alike), 1)
    assert alike[0, 2] == pytest.approx(1)
    assert alike[0, 1] > 0.4 > alike[0, 3] + 0.3
    assert alike[3, 4] == 0
    assert np.linalg.eigvalsh(alike).min() > -1e-9
    assert (alike >= -1e-12).all()
    assert (alike <= 1 + 1e-12).all()
