"""Marking inputs by words that occur nowhere else in a prompt, so that a text can be split into texts and slots again.

For formats that have no escapes. Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optimizer.errors import ExportError
from search_spaces.prompt import Prompt, Slot, Turn
from search_spaces.templates import turn as joined_turn

# Tried in this order; no text contains the widest by accident.
BRACKETS = (("{", "}"), *(("<" * width, ">" * width) for width in range(2, 9)))


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of the inputs, by name."""

    by_name: dict[str, str]

    def body(self, turn: Turn) -> str:
        """Return a turn as one text."""
        return "".join(self.by_name[part.name] if isinstance(part, Slot) else part for part in turn.parts)

    def cut(self, role: str, body: str) -> Turn:
        """Return the turn of a text, the inverse of `body`."""
        names = {mark: name for name, mark in self.by_name.items()}
        marks = "|".join(re.escape(mark) for mark in sorted(names, key=len, reverse=True))
        pieces = re.split(f"({marks})", body) if marks else [body]
        return joined_turn(role, *(Slot(names[piece]) if piece in names else piece for piece in pieces))


def choose_marks(turns: Sequence[Turn], inputs: Iterable[str]) -> Marks:
    """Return marks that occur nowhere in the texts.

    Raises
    ------
    ExportError
        If there are none.
    """
    names = list(inputs)
    for opening, closing in BRACKETS:
        marks = Marks({name: f"{opening}{name}{closing}" for name in names})
        if all(marks.cut(turn.role, marks.body(turn)) == joined_turn(turn.role, *turn.parts) for turn in turns):
            return marks
    raise ExportError(
        f"the prompt holds every mark that its inputs could have, from {{{names[0]}}} on; a text needs one that "
        "stands nowhere else. Export it as messages or python. Nothing was left behind."
    )


def note(prompt: Prompt, marks: Marks) -> str:
    """Return a note on how the inputs are marked; empty if it is in the usual way."""
    name = prompt.inputs[0]
    usual = f"{{{name}}}"
    if marks.by_name[name] == usual:
        return ""
    return f"The inputs are marked as {marks.by_name[name]}, since {usual} stands in the prompt."
