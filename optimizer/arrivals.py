"""A wording that arrives during a search: the first look at it.

What is added while a search runs is looked at first, in the prompt that leads, so that one ingredient is new and all
others are good ones. Knows the board, and no searcher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.board import Board, Pick
from optimizer.records import Wording
from search_spaces.space import Space, Value


def spare(board: Board, leader: int, calls: int) -> int:
    """Count the answers that may be looked at beside those that the seed prompt and the leader still need."""
    return calls - board.calls - board.due - sum(len(board.left(number)) for number in {0, leader})


def first_looks(board: Board, leader: int, arrived: Sequence[Wording], room: int, block: int) -> list[Pick]:
    """Open the leader with each new wording in it, and give each a block of rows as far as there is room."""
    picks: list[Pick] = []
    for wording in arrived:
        chooser = _Swapped(board.space, {**board.cards[leader].params, wording.dimension: wording.id})
        number = board.open(board.space.choose(chooser))
        rows = board.left(number)[: min(block, room)] if board.cards[number].open else []
        if rows and all(pick.trial != number for pick in picks):
            picks.append(Pick(number, tuple(rows)))
            room -= len(rows)
    return picks


@dataclass(frozen=True, slots=True)
class _Swapped:
    """A chooser that has chosen before; what it has no value for is as in the seed prompt."""

    space: Space
    chosen: Mapping[str, Value]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401, ARG002 - a Chooser's form
        return self._value(name)

    def suggest_int(self, name: str, low: int, high: int) -> int:  # noqa: ARG002
        return int(self._value(name))

    def suggest_float(self, name: str, low: float, high: float) -> float:  # noqa: ARG002
        return float(self._value(name))

    def _value(self, name: str) -> Value:
        return self.chosen.get(name, self.space[name].seed)
