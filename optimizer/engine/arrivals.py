"""A wording that arrives during a search: what is told to whom proposes it, and the first look at it.

What is added while a search runs is looked at first, in the prompt that leads, so that one ingredient is new and all
others are good ones. Knows the board, and no searcher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.engine.board import Board, Pick
from optimizer.records import Trial, Wording
from search_spaces.space import Space, Value


@dataclass(frozen=True, slots=True)
class View:
    """How a search stands, for whoever proposes wordings.

    `calls` of `planned` answers were looked at, and `room` more may be spared: none if it is below 1. `leader` is the
    leading prompt as it stands, `seed` the one that it began with. `levels` gives, for a dimension, what the leading
    prompt is thought to score with each of its values, as (mean, standard deviation); nothing from a searcher that has
    no model of it.
    """

    calls: int
    planned: int
    room: int
    leader: Callable[[], Trial]
    seed: Callable[[], Trial]
    space: Space
    levels: Callable[[str], Mapping[Value, tuple[float, float]]]


def spare(board: Board, leader: int, calls: int) -> int:
    """Count the answers that may be looked at beside those that the seed prompt and the leader still need."""
    return calls - board.calls - board.due - sum(len(board.left(number)) for number in {0, leader})


def first_looks(board: Board, leader: int, arrived: Sequence[Wording], room: int, block: int) -> list[Pick]:
    """Open the leader with each new wording in it, and give each a block of rows as far as there is room."""
    picks: list[Pick] = []
    for wording in arrived:
        chooser = Swapped(board.space, {**board.cards[leader].params, wording.dimension: wording.id})
        number = board.open(board.space.choose(chooser))
        rows = board.left(number)[: min(block, room)] if board.cards[number].open else []
        if rows and all(pick.trial != number for pick in picks):
            picks.append(Pick(number, tuple(rows)))
            room -= len(rows)
    return picks


@dataclass(frozen=True, slots=True)
class Swapped:
    """A chooser that has chosen before; what it has no value for is as in the seed prompt."""

    space: Space
    chosen: Mapping[str, Value]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401, ARG002 - a Chooser's form
        """Return what was chosen."""
        return self._value(name)

    def suggest_int(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        """Return what was chosen."""
        return int(self._value(name))

    def suggest_float(self, name: str, low: float, high: float) -> float:  # noqa: ARG002
        """Return what was chosen."""
        return float(self._value(name))

    def _value(self, name: str) -> Value:
        return self.chosen.get(name, self.space[name].seed)
