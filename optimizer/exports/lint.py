"""What a prompt should not carry to others: personal data, keys, words of rows that it is judged by, broken slots.

    warned of    addresses, numbers and keys in instruction, notes and examples; `mask` puts names in their places
    refused      words of a dev or test row in the instruction: its scores on them say nothing of other rows
    refused      an input that the messages do not show, or a slot in the wording that nothing fills

A refusal does not ask whose text it is. A row copied by the user's own hand, or standing in the seed prompt, makes the
scores as wrong as one that a model put there; who wants the prompt all the same says so, and the export is marked.

Takes a prompt and rows. Knows no format and writes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.errors import ExportError
from optimizer.exports import Exported, sensitive
from search_spaces.prompt import Example, Prompt, Slot
from search_spaces.rendering import Renderer

# Words in a row that two texts do not share by chance: 272 wordings, ours and those of public pools, share no more than
# five with any of 34,555 public rows. A shorter row is copied if all of it stands there.
COPIED, SHORTEST = 8, 5
SHOWN = 5  # findings that are told one by one
OWN_WORDS = ("description", "inputs", "output", "labels")  # what a wording's braces stand for


@dataclass(frozen=True, slots=True)
class Linted:
    """A prompt that may be handed on.

    Parameters
    ----------
    prompt
        The given one, or with names in the place of what was masked.
    masked
        Whether it is another prompt than the one that was scored.
    said
        What a person should know, a sentence each.
    """

    prompt: Prompt
    masked: bool
    said: tuple[str, ...]

    def told(self, written: Exported) -> Exported:
        """Add to what was written what a person should know of it."""
        note = "\n".join(filter(None, [written.note, *self.said]))
        return replace(written, fidelity="partial" if self.masked else written.fidelity, note=note)


def lint(
    prompt: Prompt,
    renderer: Renderer,
    rows: Mapping[str, Sequence[Example]],
    *,
    mask: bool = False,
    allow: bool = False,
) -> Linted:
    """Look a prompt over before it is handed on.

    Parameters
    ----------
    prompt, renderer
        The prompt, and what it was scored with.
    rows
        Split -> rows: "dev" and "test" are what must not stand in the instruction, unless "train" has it too.
    mask
        Whether to put names in the place of personal data and keys.
    allow
        Whether what is refused is only told.

    Raises
    ------
    ExportError
        If words of a dev or test row stand in the instruction, or a slot is lost or was never filled.
    """
    refused = [*_slots(prompt, renderer), *_copied(prompt, rows)]
    if refused and not allow:
        raise ExportError(
            f"{refused[0]} Nothing was written. To export it all the same: --allow-findings (allow_findings=True)."
        )
    found = list(_sensitive(prompt))
    changed = masked(prompt) if mask and found else prompt
    said = [f"Allowed all the same: {text}" for text in refused]
    return Linted(changed, changed != prompt, (*said, *_told(found, masked=mask)))


# --- personal data and keys -------------------------------------------------------------------------------


def _texts(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Yield every text of a prompt that a person or a row has brought, with its place."""
    yield "instruction", prompt.instruction
    for label, note in zip(prompt.labels, prompt.notes, strict=False):
        yield f"note on {label!r}", note
    for number, demo in enumerate(prompt.demos, start=1):
        where = f"example {number} ({demo.id})" if demo.id else f"example {number}"
        for name, text in demo.inputs:
            yield f"{where}, {name}", text
        yield f"{where}, {prompt.output}", demo.target
        yield f"{where}, reasoning", demo.reasoning


def _sensitive(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Yield the kind of each finding, and where it stands and how it begins."""
    for place, text in _texts(prompt):
        for span in sensitive.find(text):
            yield span.kind, f"{place}, character {span.start + 1}: {sensitive.hint(text, span)}"


def _told(found: Sequence[tuple[str, str]], *, masked: bool) -> Iterator[str]:
    if not found:
        return
    counts = Counter(kind for kind, _ in found)
    several = ", ".join(f"{n} × {kind}" for kind, n in counts.most_common())
    if masked:
        yield f"Masked: {several}. This is not the prompt that was scored; --rescore measures it."
        return
    places = [f"{kind} ({place})" for kind, place in found[:SHOWN]]
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    fix = "--mask (mask=True) puts names in their place."
    yield f"Warning: it holds what may be private: {'; '.join(places)}{more}. {fix}"


def masked(prompt: Prompt) -> Prompt:
    """Put names in the place of personal data and keys, but not in answers from a closed list, which must stay."""
    answer: Callable[[str], str] = str if prompt.labels else sensitive.mask
    demos = (
        replace(
            demo,
            inputs=tuple((name, sensitive.mask(text)) for name, text in demo.inputs),
            targets=tuple(map(answer, demo.targets)),
            reasoning=sensitive.mask(demo.reasoning),
        )
        for demo in prompt.demos
    )
    notes = tuple(map(sensitive.mask, prompt.notes))
    return replace(prompt, instruction=sensitive.mask(prompt.instruction), notes=notes, demos=tuple(demos))


# --- words of rows that the prompt is judged by -----------------------------------------------------------


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Every COPIED words in a row; all of them where there are fewer, but at least SHORTEST."""
    size = COPIED if len(words) >= COPIED else max(len(words), SHORTEST)
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def _copied(prompt: Prompt, rows: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Find rows of dev and test whose words stand in the instruction or a note.

    Labels are no copies, and neither is what a training row has as well: the prompt may learn from those.
    """
    texts = [prompt.instruction, *prompt.notes]
    words = list(map(_words, texts))
    there = {tuple(text[at : at + n]) for text in words for n in range(SHORTEST, COPIED + 1) for at in range(len(text))}
    free = {run for row in rows.get("train", ()) for run in _of(row)}
    labels = [f" {' '.join(_words(label))} " for label in prompt.labels]
    for split in ("dev", "test"):
        hits = [(row, run) for row in rows.get(split, ()) for run in sorted(_of(row) & there - free)]
        hits = [(row, run) for row, run in hits if not any(f" {' '.join(run)} " in label for label in labels)]
        if hits:
            row, run = hits[0]
            many = len({row.id for row, _ in hits})
            others = f" (and of {many - 1} other rows)" if many > 1 else ""
            yield (
                f"the instruction holds words of {split} row {row.id!r}{others}: {' '.join(run)!r}. It was judged by "
                "that row, so that its score is worth less than it says. Search again without that wording."
            )


def _of(row: Example) -> set[tuple[str, ...]]:
    return set().union(*(_runs(_words(text)) for _, text in row.inputs))


# --- slots ------------------------------------------------------------------------------------------------


def _slots(prompt: Prompt, renderer: Renderer) -> Iterator[str]:
    """Compare the slots of the messages with the inputs, and look for braces in the wording that stand for nothing."""
    demos = () if prompt.nearest else prompt.demos
    turns = renderer.templates[prompt.template].compile(prompt, demos)
    shown = {part.name for turn in turns for part in turn.parts if isinstance(part, Slot)}
    for name in [name for name in prompt.inputs if name not in shown]:
        yield f"the messages have no place for the input {name!r}, so that it would never be asked."
    for name in sorted(shown.difference(prompt.inputs)):
        yield f"the messages have a place {name!r}, which is no input; allowed: {', '.join(prompt.inputs)}."
    for mark in _unfilled(prompt):
        yield (
            f"the wording holds {mark}, which looks like a place for a text and is filled by nothing: inputs are put "
            "in by the template. Take it out of the wording."
        )


def _unfilled(prompt: Prompt) -> Iterable[str]:
    """List marks for a text: any name in double braces, and names of the task in single ones, <<…>> or [[…]]."""
    known = {name.casefold() for name in (*prompt.inputs, prompt.output, *OWN_WORDS)}
    marks: dict[str, None] = {}
    for text in (prompt.instruction, *prompt.notes):
        for found in re.finditer(r"\{\{-?\s*([^\W\d]\w*)\s*-?\}\}|\{%.{1,80}?%\}", text):
            marks[found.group()] = None
        for found in re.finditer(r"\$?(?<!\{)\{\s*(\w[\w ]*?)\s*\}(?!\})|<<([\w ]+)>>|\[\[([\w ]+)\]\]", text):
            if next(filter(None, found.groups())).casefold() in known:
                marks[found.group()] = None
    return marks
