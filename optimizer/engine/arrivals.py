"""Wordings that arrive during a search: what their proposer gets to see, and the first look at them.

A wording that is added while a search runs is first tried in the leading prompt, so that one ingredient is new and all
others are good. Knows the board, but no searcher.
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
    """The state of a search, for whoever proposes wordings.

    `calls` of `planned` answers were looked at, and `room` more can be spared (none if it is below 1). `leader` returns
    the leading trial as it stands, `seed` that of the seed prompt. `levels` predicts, for each value of a dimension,
    the leading prompt's score with that value, as (mean, standard deviation); it is empty if the searcher has no model.
    """

    calls: int
    planned: int
    room: int
    leader: Callable[[], Trial]
    seed: Callable[[], Trial]
    space: Space
    levels: Callable[[str], Mapping[Value, tuple[float, float]]]


def spare(board: Board, leader: int, calls: int) -> int:
    """Count the answers left for other prompts once the seed prompt and the leader have answered all rows."""
    return calls - board.calls - board.due - sum(len(board.left(number)) for number in {0, leader})


def first_looks(board: Board, leader: int, arrived: Sequence[Wording], room: int, block: int) -> list[Pick]:
    """Open the leading prompt with each new wording put in, and give each a block of rows while there is room."""
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
    """A chooser with fixed values; a dimension without one gets the seed prompt's."""

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
