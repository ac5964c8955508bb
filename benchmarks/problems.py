"""What a search is measured on: a space, dev rows with fixed answers, and the truth about every prompt.

The prompts of a problem have their parameters as JSON instead of a wording, so that an answer can be looked up. Knows
no search method.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optimizer.records import Kind, Outcome
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Dimension, Facts, Space, Value

Params = Mapping[str, Value]
Floats = NDArray[np.float64]
Cell = tuple[Prompt, Example]
ROWS = 200  # dev rows of a problem that draws its own


def unchanged(params: Params) -> Params:
    """Return the parameters: every choice makes a prompt of its own."""
    return params


class BareSpace(Space):
    """A space whose prompts are their parameters; `distinct` makes those equal that send the same prompt."""

    def __init__(
        self, dimensions: Sequence[Dimension], labels: Sequence[str], distinct: Callable[[Params], Params] = unchanged
    ) -> None:
        super().__init__(dimensions, Facts("classification", ("text",), "label", (), tuple(labels)))
        self.distinct = distinct

    def key(self, params: Params) -> str:
        """Write the prompt's parameters as JSON."""
        return json.dumps(dict(self.distinct(params)), sort_keys=True)

    def build(self, params: Params) -> Prompt:
        """Make a prompt that carries its parameters."""
        return Prompt(template="plain", instruction=self.key(params), inputs=("text",), output="label")


@dataclass(frozen=True)
class Problem:
    """One search to do, with all answers and the truth known.

    Attributes
    ----------
    family
        "smooth", "rough", "interacting" or "flat" (landscapes); "list" or "grid" (tables).
    right
        Parameters -> whether the prompt is right on each row [rows]; the same at every time of asking.
    truth
        Parameters -> accuracy in points over what the rows were drawn from.
    best, middle
        The truth of the best prompt and of the median prompt.
    calls
        How many distinct answers a method may look at.
    """

    name: str
    family: str
    space: BareSpace
    rows: tuple[Example, ...]
    right: Callable[[Params], NDArray[np.bool_]]
    truth: Callable[[Params], float]
    best: float
    middle: float
    calls: int
    _known: dict[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def spread(self) -> float:
        """How far the best prompt lies above the median one."""
        return self.best - self.middle

    def regret(self, params: Params) -> float:
        """Points that a prompt lies below the best."""
        return self.best - self.truth(params)

    def column(self, params: Params) -> NDArray[np.bool_]:
        """Look up whether a prompt is right on each row [rows]."""
        return self._column(self.space.key(params))

    def _column(self, key: str) -> NDArray[np.bool_]:
        if key not in self._known:
            self._known[key] = self.right(json.loads(key))
        return self._known[key]

    def evaluate(self, cells: Sequence[Cell]) -> list[Outcome]:
        """Answer (prompt, row) pairs, as a model behind an evaluator would."""
        places = self.places
        return [_outcome(row, right=bool(self._column(prompt.instruction)[places[row.id]])) for prompt, row in cells]

    @cached_property
    def places(self) -> dict[str, int]:
        """Position of each row, by its id."""
        return {row.id: place for place, row in enumerate(self.rows)}


def _outcome(row: Example, *, right: bool) -> Outcome:
    answer = row.target if right else "another"
    return Outcome(row.id, Kind.RIGHT if right else Kind.WRONG, float(right), answer, text=answer)
