"""Linting a prompt before export: personal data, keys, words of rows on which it was scored, broken slots.

    warning      addresses, numbers and keys in instruction, notes and examples; `mask` replaces them by placeholders
    refused      words of a dev or test row in the instruction: scores on these rows say nothing about other rows
    refused      an input that the messages do not show, or a placeholder in the wording that nothing fills

Prompts are refused whoever wrote the text: a row that the user copied, or that is in the seed prompt, makes the scores
as wrong as one that a model inserted. The user can still export the prompt explicitly; the export then says so.

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

# Consecutive words that two texts do not share by chance: 272 wordings, ours and those of public collections, share no
# more than five with any of 34,555 public rows. A shorter row counts as copied if all of it occurs.
COPIED, SHORTEST = 8, 5
SHOWN = 5  # most findings that are listed individually
OWN_WORDS = ("description", "inputs", "output", "labels")  # placeholders of wordings


@dataclass(frozen=True, slots=True)
class Linted:
    """A prompt that may be exported.

    Parameters
    ----------
    prompt
        The given prompt, or a masked version of it.
    masked
        Whether it differs from the prompt that was scored.
    said
        What the user should know, one sentence each.
    """

    prompt: Prompt
    masked: bool
    said: tuple[str, ...]

    def told(self, written: Exported) -> Exported:
        """Add to an export what the user should know about it."""
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
    """Check a prompt before it is exported.

    Parameters
    ----------
    prompt, renderer
        The prompt, and the renderer with which it was scored.
    rows
        Split -> rows; words of "dev" and "test" must not be in the instruction, unless they are in "train", too.
    mask
        Whether to replace personal data and keys by placeholders.
    allow
        Whether to report what would be refused instead of raising.

    Raises
    ------
    ExportError
        If words of a dev or test row are in the instruction, or if an input is not shown or a placeholder not filled.
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
    """Yield every text of a prompt that comes from a person, a model or a row, with its place."""
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
    """Yield the kind of each finding, with its place and beginning."""
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
    """Replace personal data and keys by placeholders, but not in labels, which must stay as they are."""
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
    """Return all runs of COPIED consecutive words; if there are fewer words, all of them, but at least SHORTEST."""
    size = COPIED if len(words) >= COPIED else max(len(words), SHORTEST)
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def _copied(prompt: Prompt, rows: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Yield a message for each of dev and test if words of its rows are in the instruction or a note.

    Words of labels do not count, nor do words that a training row has, too: the prompt may use those.
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
    """Yield messages on slots that differ from the inputs, and on placeholders in the wording that nothing fills."""
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
    """Return unfilled placeholders: any name in double braces, and names of the task in {…}, <<…>> or [[…]]."""
    known = {name.casefold() for name in (*prompt.inputs, prompt.output, *OWN_WORDS)}
    marks: dict[str, None] = {}
    for text in (prompt.instruction, *prompt.notes):
        for found in re.finditer(r"\{\{-?\s*([^\W\d]\w*)\s*-?\}\}|\{%.{1,80}?%\}", text):
            marks[found.group()] = None
        for found in re.finditer(r"\$?(?<!\{)\{\s*(\w[\w ]*?)\s*\}(?!\})|<<([\w ]+)>>|\[\[([\w ]+)\]\]", text):
            if next(filter(None, found.groups())).casefold() in known:
                marks[found.group()] = None
    return marks
