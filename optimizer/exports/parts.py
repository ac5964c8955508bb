"""A prompt as one row of parts, and the place in it where the examples stand.

A role opens a message; texts and slots follow. In this form an example is a piece of the row in every template,
whether it is a paragraph of a message or two messages, and the pieces can be put together anew for each input
without the template. Knows no template and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from optimizer.errors import ExportError
from optimizer.exports.literals import Value
from optimizer.exports.proof import shared
from search_spaces.prompt import Prompt, Slot, Turn
from search_spaces.templates import Template

Token = str | tuple[str, str]  # one character; or ("role" | "slot" | "number", what it names)
NUMBER = ("number", "of the example")
NUMBER_PART = {NUMBER[0]: NUMBER[1]}


def tokens(turns: Sequence[Turn]) -> list[Token]:
    """Write turns as a row of characters, roles and slots."""
    row: list[Token] = []
    for turn in turns:
        row.append(("role", turn.role))
        for part in turn.parts:
            row.extend([("slot", part.name)] if isinstance(part, Slot) else part)
    return row


def parts(row: Sequence[Token]) -> tuple[Value, ...]:
    """Join the characters to texts; the rest become dicts of one key, as in the JSON of messages."""
    joined: list[Value] = []
    for is_text, group in groupby(row, key=lambda token: isinstance(token, str)):
        found = list(group)
        joined += ["".join(map(str, found))] if is_text else [{token[0]: token[1]} for token in found]
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Pool:
    """A prompt whose examples depend on the input: what stands before and after them, and a piece for each.

    `early` tells the examples that the template shows before all others, whatever their similarity.
    """

    before: tuple[Value, ...]
    pieces: tuple[tuple[Value, ...], ...]
    after: tuple[Value, ...]
    early: tuple[bool, ...]

    @property
    def numbered(self) -> bool:
        """Whether a piece holds its number."""
        return bool(self.pieces) and NUMBER_PART in self.pieces[0]

    @property
    def mixed(self) -> bool:
        """Whether some examples are shown before others."""
        return len(set(self.early)) > 1


def cut_pool(prompt: Prompt, template: Template) -> Pool:
    """Find out how a template shows each example of the pool: compile the prompt with none, with one, with one twice.

    Raises
    ------
    ExportError
        If the template does not put its examples one after another, each for itself.
    """
    base = tokens(template.compile(prompt, ()))
    rows = [tokens(template.compile(prompt, (demo,))) for demo in prompt.demos]
    seam = _seam(base, rows)
    tail = len(base) - seam
    pieces = []
    for demo, row in zip(prompt.demos, rows, strict=True):
        first = row[seam : len(row) - tail]
        twice = tokens(template.compile(prompt, (demo, demo)))
        pieces.append(parts(_numbered(first, twice[seam + len(first) : len(twice) - tail])))
    # DSPy's adapters show an example that lacks a field before those that lack none.
    by_completeness = prompt.template.startswith("dspy-") and prompt.reasoning
    early = tuple(by_completeness and not demo.reasoning for demo in prompt.demos)
    return Pool(parts(base[:seam]), tuple(pieces), parts(base[seam:]), early)


def _seam(base: Sequence[Token], rows: Sequence[Sequence[Token]]) -> int:
    """Find a place at which every row is the base with a piece put in.

    There may be several, when all pieces begin as the rest of the base does (or end as its beginning does); each
    then turns the same characters from the end of every piece to its beginning, so that the pieces joined are the
    same. The last one at which a message or a line begins reads best.
    """
    low = len(base) - min(shared(base[::-1], row[::-1]) for row in rows)
    high = min(shared(base, row) for row in rows)
    if low > high:
        raise _refused()
    places = range(high, low - 1, -1)
    message = (at for at in places if at < len(base) and base[at][0] == "role")
    line = (at for at in places if at and base[at - 1] == "\n")
    return next(message, next(line, high))


def _numbered(first: Sequence[Token], second: Sequence[Token]) -> Sequence[Token]:
    """Put a mark in the place of the number, if the same example is shown as number 1 and number 2 with it."""
    if first == second:
        return first
    at = shared(first, second)
    if first[at : at + 1] != ["1"] or second[at : at + 1] != ["2"] or first[at + 1 :] != second[at + 1 :]:
        raise _refused()
    return [*first[:at], NUMBER, *first[at + 1 :]]


def _refused() -> ExportError:
    return ExportError(
        "the template of this prompt does not write its examples one after another, each for itself; a module that "
        'chooses them by the input needs that. Tune again without the demo strategy "nearest". '
        "Nothing was left behind."
    )
