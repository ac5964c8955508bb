"""A prompt as one sequence of parts, and the place of the examples in it.

A role opens a message; texts and slots follow. In this form, an example is a piece of the sequence in every template,
whether it is a paragraph of a message or two messages, so the pieces can be combined for each input without the
template. Knows no template and no file.
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

Token = str | tuple[str, str]  # one character; or ("role" | "slot" | "number", its name)
NUMBER = ("number", "of the example")
NUMBER_PART = {NUMBER[0]: NUMBER[1]}


def tokens(turns: Sequence[Turn]) -> list[Token]:
    """Return turns as a sequence of characters, roles and slots."""
    row: list[Token] = []
    for turn in turns:
        row.append(("role", turn.role))
        for part in turn.parts:
            row.extend([("slot", part.name)] if isinstance(part, Slot) else part)
    return row


def parts(row: Sequence[Token]) -> tuple[Value, ...]:
    """Join characters into texts; roles and slots become dicts with one key, as in the format `messages`."""
    joined: list[Value] = []
    for is_text, group in groupby(row, key=lambda token: isinstance(token, str)):
        found = list(group)
        joined += ["".join(map(str, found))] if is_text else [{token[0]: token[1]} for token in found]
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Pool:
    """A prompt whose examples depend on the input: the parts before and after them, and a piece for each example.

    `early` marks the examples that the template shows before all others, whatever their similarity.
    """

    before: tuple[Value, ...]
    pieces: tuple[tuple[Value, ...], ...]
    after: tuple[Value, ...]
    early: tuple[bool, ...]

    @property
    def numbered(self) -> bool:
        """Whether a piece contains its number."""
        return bool(self.pieces) and NUMBER_PART in self.pieces[0]

    @property
    def mixed(self) -> bool:
        """Whether some examples are shown before others."""
        return len(set(self.early)) > 1


def cut_pool(prompt: Prompt, template: Template) -> Pool:
    """Find out how a template shows each example of the pool, by compiling the prompt with none, one, and one twice.

    Raises
    ------
    ExportError
        If the template does not show its examples one after another, independently of each other.
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
    # DSPy's adapters show examples that lack a field before complete ones.
    by_completeness = prompt.template.startswith("dspy-") and prompt.reasoning
    early = tuple(by_completeness and not demo.reasoning for demo in prompt.demos)
    return Pool(parts(base[:seam]), tuple(pieces), parts(base[seam:]), early)


def _seam(base: Sequence[Token], rows: Sequence[Sequence[Token]]) -> int:
    """Find a place at which every row is the base with a piece inserted.

    There may be several, if all pieces begin like the rest of the base (or end like its beginning); these places differ
    only in which characters are at the end of a piece and which at its beginning, so the joined pieces are the same.
    The last place at which a message or a line begins is the most readable.
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
    """Replace the number in a piece by a mark, if the same example has the numbers 1 and 2 when shown twice."""
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
