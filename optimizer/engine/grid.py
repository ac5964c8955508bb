"""A space as numbers: the features that the surrogate computes with, and the search for a function's highest point.

Every dimension is a list of levels; the levels of all dimensions, one after the other, are the features. A prompt has
one feature per dimension, or none where the dimension does not apply. A function over the space is a table of features
plus a table of pairs of features, so its argmax needs no list of prompts. Knows neither answers nor Optuna.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.space import Dimension, Space, Value

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

STEPS = 9  # levels of a range of real numbers, or of a long range of whole numbers
LONGEST = 64  # a range of more whole numbers is thinned out to STEPS levels
GRAM = 4  # characters per n-gram: words and their endings
HASHED = 4096  # hash buckets for n-grams, of which a text has up to about 500 different ones
SWEEPS = 6  # rounds of coordinate ascent; nearly all starts have converged after three


class Grid:
    """The dimensions of a space that are not locked, as features.

    Attributes
    ----------
    width
        Number of features.
    blocks
        Slice of each dimension's features.
    kernels
        (index of a dimension, kernel [levels, levels]) for each similarity between that dimension's levels.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dimensions = [dimension for dimension in space.dimensions if not dimension.locked]
        self.levels = [_levels(dimension) for dimension in self.dimensions]
        ends = np.cumsum([0, *(len(levels) for levels in self.levels)])
        self.blocks = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self.width = int(ends[-1])
        self.kernels: list[tuple[int, Floats]] = [
            (place, kernel)
            for place, (dimension, levels) in enumerate(zip(self.dimensions, self.levels, strict=True))
            for kernel in _kernels(dimension, levels)
        ]
        places = {dimension.name: i for i, dimension in enumerate(self.dimensions)}
        self._when = [self._condition(dimension, places) for dimension in self.dimensions]
        self.deciding = sorted({place for conditions in self._when for place, _ in conditions})

    def _condition(self, dimension: Dimension, places: Mapping[str, int]) -> list[tuple[int, NDArray[np.bool_]]]:
        """For each unlocked dimension that this one depends on: its index, and which features let this one apply."""
        conditions = []
        for name, allowed in dimension.when.items():
            if name in places:
                place = places[name]
                apply = np.zeros(self.width, dtype=np.bool_)
                apply[self.blocks[place]] = [level in allowed for level in self.levels[place]]
                conditions.append((place, apply))
            elif self.space[name].values[0] in allowed:
                conditions += self._condition(self.space[name], places)  # a locked one may have conditions itself
            else:
                conditions.append((0, np.zeros(self.width, dtype=np.bool_)))
        return conditions

    def encode(self, params: Mapping[str, Value]) -> Codes:
        """Return a prompt's features [dimensions], -1 where a dimension does not apply.

        A number goes to the nearest level.
        """
        codes = np.full(len(self.dimensions), -1, dtype=np.intp)
        for i, (dimension, levels, block) in enumerate(zip(self.dimensions, self.levels, self.blocks, strict=True)):
            if dimension.name in params:
                value = params[dimension.name]
                if value in levels:
                    codes[i] = block.start + levels.index(value)
                else:
                    assert not isinstance(value, str)
                    codes[i] = block.start + int(np.argmin([abs(float(level) - value) for level in levels]))
        return codes

    def decode(self, codes: Codes) -> dict[str, Value]:
        """Return the parameters of the prompt with these features, also the locked ones: the inverse of `encode`."""
        chosen = {
            dimension.name: levels[int(code) - block.start]
            for dimension, levels, block, code in zip(self.dimensions, self.levels, self.blocks, codes, strict=True)
            if code >= 0
        }
        return self.space.choose(Fixed(chosen))

    def alike(self, codes: Codes, others: Codes) -> Floats:
        """Evaluate each kernel between prompts [n, dimensions] and [m, dimensions] -> [kernels, n, m].

        The value is 0 if the dimension does not apply to one of the two.
        """
        found = np.zeros((len(self.kernels), len(codes), len(others)))
        for j, (place, kernel) in enumerate(self.kernels):
            padded = np.pad(kernel, (0, 1))  # index -1: a row and column of 0 for prompts without the dimension
            start = self.blocks[place].start
            a, b = (np.where(c[:, place] >= 0, c[:, place] - start, -1) for c in (codes, others))
            found[j] = padded[a[:, None], b]
        return found

    def random(self, count: int, rng: np.random.Generator) -> Codes:
        """Draw prompts [count, dimensions] in which all levels of a dimension occur about equally often."""
        columns = []
        for block in self.blocks:
            size = block.stop - block.start
            turns = [rng.permutation(size) for _ in range(max(1, -(-count // size)))]
            columns.append(block.start + np.concatenate(turns)[:count])
        codes = np.stack([rng.permutation(column) for column in columns], axis=1) if columns else np.zeros((count, 0))
        return self.masked(codes.astype(np.intp))

    def masked(self, codes: Codes) -> Codes:
        """Set the features of dimensions that do not apply to -1; `codes` [..., dimensions] has none missing."""
        return np.where(self._applies(codes), codes, -1)

    def _applies(self, codes: Codes) -> NDArray[np.bool_]:
        active = np.ones(codes.shape, dtype=np.bool_)
        for i, conditions in enumerate(self._when):
            for place, allowed in conditions:  # a dimension depends on earlier ones only
                active[..., i] &= allowed[codes[..., place]] & active[..., place]
        return active

    def neighbours(self, codes: Codes) -> Codes:
        """List a prompt [dimensions], with none missing, and those that differ in one dimension -> [n, dimensions]."""
        found = [codes]
        for place, block in enumerate(self.blocks):
            others = np.repeat(codes[None], block.stop - block.start, axis=0)
            others[:, place] = np.arange(block.start, block.stop)
            found.extend(others)
        return self.masked(np.array(found))

    def value(self, single: Floats, pair: Floats, codes: Codes) -> Floats:
        """Evaluate a function's tables [width], [width, width] at prompts [..., dimensions], none missing -> [...]."""
        active = self._applies(codes).astype(np.float64)
        pairs = pair[codes[..., :, None], codes[..., None, :]]
        total: Floats = (single[codes] * active).sum(-1)
        total += 0.5 * np.einsum("...i,...ij,...j->...", active, pairs, active)
        return total

    def values(self, singles: Floats, pairs: Floats, codes: Codes) -> Floats:
        """Evaluate many functions' tables [f, width], [f, width, width] at many prompts [..., dimensions] -> [f, ...].

        Like `value`, but one pair of dimensions at a time, for all functions at once: fifteen times as fast.
        """
        # Index -1, of levels that do not apply, is a last row of zeros.
        single = np.pad(singles, ((0, 0), (0, 1))).T
        pair = np.pad(pairs, ((0, 0), (0, 1), (0, 1))).transpose(1, 2, 0)
        places = np.moveaxis(self.masked(codes), -1, 0)
        total: Floats = np.zeros((*codes.shape[:-1], len(singles)))
        for place in places:
            total += single[place]
        for one, other in itertools.combinations(places, 2):
            total += pair[one, other]
        return np.moveaxis(total, -1, 0)

    def argmax(self, single: Floats, pair: Floats, starts: Codes) -> tuple[Codes, float]:
        """Return the best prompt that a climb finds, and its value; see `climb`."""
        codes, values = self.climb(single, pair, starts)
        top = int(values.argmax())
        return codes[top], float(values[top])

    def climb(self, single: Floats, pair: Floats, starts: Codes) -> tuple[Codes, Floats]:
        """Climb from each start [s, dimensions], one dimension at a time; return the ends and the values there [s].

        `single` [width] and `pair` [width, width] (symmetric, zero within a dimension) are the tables of the function.
        """
        codes = starts.copy()
        best, active = self.value(single, pair, codes), self._applies(codes)
        for _ in range(SWEEPS):
            for i, block in enumerate(self.blocks):
                if i in self.deciding:
                    options = np.repeat(codes[:, None, :], block.stop - block.start, axis=1)
                    options[:, :, i] = np.arange(block.start, block.stop)
                    gains = self.value(single, pair, options)
                else:
                    gains = single[block] + np.einsum("sd,sdv->sv", active, pair[codes, block])
                codes[:, i] = block.start + gains.argmax(axis=1)
                if i in self.deciding:
                    active = self._applies(codes)
            before, best = best, self.value(single, pair, codes)
            if (best <= before + 1e-9).all():
                break
        return self.masked(codes), best

    def filled(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Draw a level for each dimension that does not apply, so that a climb can start from there."""
        if not self.blocks:
            return codes
        drawn = np.stack([rng.integers(b.start, b.stop, size=len(codes)) for b in self.blocks], axis=1)
        return np.where(codes >= 0, codes, drawn)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A chooser with fixed values."""

    chosen: Mapping[str, Value]

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:  # noqa: ARG002 - a Chooser's form
        """Return what was chosen."""
        return self.chosen[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        """Return what was chosen."""
        return int(self.chosen[name])

    def suggest_float(self, name: str, low: float, high: float) -> float:  # noqa: ARG002
        """Return what was chosen."""
        return float(self.chosen[name])


def _levels(dimension: Dimension) -> list[Value]:
    if dimension.choices:
        return list(dimension.choices)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole and dimension.high - dimension.low < LONGEST:
        return list(range(int(dimension.low), int(dimension.high) + 1))
    spread: Iterable[float] = np.linspace(dimension.low, dimension.high, STEPS)
    return [round(value) for value in spread] if dimension.whole else [float(value) for value in spread]


def _kernels(dimension: Dimension, levels: Sequence[Value]) -> list[Floats]:
    """Return the kernels of a dimension: the identity and, if there is one, the similarity by text or order."""
    kernels = [np.eye(len(levels))]
    if any(dimension.texts.values()) or dimension.slots:  # the first text may arrive later
        kernels.append(similarity([dimension.texts.get(str(level), "") for level in levels]))
    elif not any(isinstance(level, str) for level in levels):
        ranks = np.arange(len(levels))
        kernels.append(np.exp(-3.0 * np.abs(ranks[:, None] - ranks) / len(levels)))
    return kernels


def similarity(texts: Sequence[str]) -> Floats:
    """Return the cosine similarity [n, n] of the texts' TF-IDF vectors of character n-grams.

    A text that is too short for an n-gram is similar to itself only.
    """
    counts = np.zeros((len(texts), HASHED))
    for row, text in enumerate(texts):
        symbols = np.frombuffer(f" {text.casefold()} ".encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        grams = np.lib.stride_tricks.sliding_window_view(symbols, GRAM) if len(symbols) >= GRAM else symbols[:0, None]
        mixed = np.zeros(len(grams), dtype=np.uint64)
        for column in grams.T:
            mixed = (mixed * np.uint64(1000003)) ^ column
        counts[row] = np.bincount((mixed % np.uint64(HASHED)).astype(np.intp), minlength=HASHED)
    seen = (counts > 0).sum(axis=0)
    weights = np.log1p(counts) * np.log(1 + len(texts) / np.maximum(1, seen))
    norms = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    cosine: Floats = (weights / np.maximum(norms, 1e-12)) @ (weights / np.maximum(norms, 1e-12)).T
    np.fill_diagonal(cosine, 1.0)
    return cosine
