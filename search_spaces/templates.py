"""Templates: laying out a prompt as turns, and parsing the answer out of a completion.

For every template `parse(prompt, answer(prompt, target)) == target`, for any target without white space around it and
without the words and marks that the template puts around answers or that are stripped from them (such as bold). The
four built-in templates are here; others, such as DSPy's adapters, keep the same contract and are passed in. Knows
nothing of models or scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

from search_spaces.answering import format_note, read_answer, write_answer
from search_spaces.prompt import Example, Prompt, Slot, Turn


class Template(Protocol):
    """Lays out prompts, writes the answers of demos, and parses answers."""

    @property
    def id(self) -> str:
        """Its name in the space."""

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        """Lay out the prompt with these demos; the inputs stay slots."""

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        """Write the completion that a perfect model would return."""

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read the answer out of a completion; None if none can be read."""


def label_lines(prompt: Prompt) -> str:
    """List the labels on one line, or one per line if they have notes."""
    if not prompt.notes:
        return ", ".join(prompt.labels)
    pairs = zip(prompt.labels, prompt.notes, strict=True)
    return "\n".join(f"- {label}: {note}" if note else f"- {label}" for label, note in pairs)


# --- the layout -------------------------------------------------------------------------------------------

Part = str | Slot


def turn(role: str, *parts: Part) -> Turn:
    """Make a turn, joining adjacent texts."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return Turn(role, tuple(joined))


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A template with everything in one user message, defined by a format string for each of its parts.

    The placeholders of a format string are filled in one pass: a value that contains "{body}" stays as it is.
    """

    id: str
    head: str  # {body}: the instruction
    section: str  # {title} {gap} {body}
    field: str  # {name} {value}: an input
    worked: str  # {name} {value}: the answer of a demo
    example: str  # {number} {body}
    query: str  # {body}
    cue: str  # {name}: the last words of the message, before the answer
    tags: bool = False  # write names in lower case with underscores, as in tags

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        """Lay out the instruction, labels, answer format, examples and query; or the labels just before the query."""
        labels = self._section("Options", label_lines(prompt)) if prompt.labels else ""
        parts: list[Part] = [_write(self.head, body=prompt.instruction)]
        parts += [labels] if prompt.label_place == "instruction" else []
        parts.append(self._section("Answer format", format_note(prompt)))
        parts += [self._example(prompt, number, demo) for number, demo in enumerate(demos, start=1)]
        parts += [labels] if prompt.label_place == "query" else []
        before, after = self.query.split("{body}")
        parts.append(before)
        for position, name in enumerate(prompt.inputs):
            opening, closing = (_write(side, name=self._name(name)) for side in self.field.split("{value}"))
            parts += ["\n" if position else "", opening, Slot(name), closing]
        parts += [after, _write(self.cue, name=self._name(prompt.output))]
        return (turn("user", *parts),)

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        """Write the answer of a demo, as in every text template."""
        return write_answer(prompt, target, reasoning)

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read an answer, also one that repeats the text around the answers of demos."""
        name = self._name(prompt.output)
        opening, closing = (_write(side, name=name) for side in self.worked.split("{value}"))
        found = read_answer(prompt, text.strip().removeprefix(opening).removesuffix(closing))
        if found is None and (prompt.labels or prompt.reasoning or prompt.answer_format != "bare"):
            return read_answer(prompt, text)  # what was removed may be part of the answer, such as a field's tag
        return found

    def reads_back(self) -> bool:
        """Whether an answer written as in the examples is read back correctly in every format."""
        for form, reasoning in product(("bare", "json", "tagged"), (False, True)):
            prompt = Prompt(self.id, "", ("text",), "label", ("yes", "no"), answer_format=form, reasoning=reasoning)
            if self.parse(prompt, self._worked(prompt, self.answer(prompt, "no", "So it is."))) != "no":
                return False
        return True

    def _worked(self, prompt: Prompt, answer: str) -> str:
        return _write(self.worked, name=self._name(prompt.output), value=answer)

    def _section(self, title: str, body: str) -> str:
        gap = "\n" if "\n" in body else " "
        return _write(self.section, title=self._name(title), gap=gap, body=body)

    def _example(self, prompt: Prompt, number: int, demo: Example) -> str:
        lines = [_write(self.field, name=self._name(name), value=value) for name, value in demo.inputs]
        lines.append(self._worked(prompt, self.answer(prompt, demo.target, demo.reasoning)))
        return _write(self.example, number=str(number), body="\n".join(lines))

    def _name(self, name: str) -> str:
        return name.lower().replace(" ", "_") if self.tags else titled(name)


def _write(shape: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m.group(1), m.group()), shape)


def titled(name: str) -> str:
    """Return a field's name as a title: "due_date" becomes "Due date"."""
    return name[:1].upper() + name[1:].replace("_", " ")


# The placeholders that each format string of a text template may have; the first one is required, unless it is empty.
PLACES = {
    "head": ("body",),
    "section": ("body", "title", "gap"),
    "field": ("value", "name"),
    "worked": ("value", "name"),
    "example": ("body", "number"),
    "query": ("body",),
    "cue": ("", "name"),
}


def text_template(template_id: str, shapes: Mapping[str, Any]) -> TextTemplate:
    """Make a template from the user's format strings; those not given are taken from the template "plain".

    Raises
    ------
    ValueError
        If the id is taken, if a format string lacks its placeholder, has it twice or has an unknown one, or if an
        answer could not be read back.
    """
    if template_id in BUILT_IN or template_id.startswith("dspy-"):
        raise ValueError(f"{template_id!r} is the name of a template that is there; choose another")
    for shape, (needed, *others) in PLACES.items():
        found = re.findall(r"\{(\w+)\}", str(shapes.get(shape, "")))
        if shape in shapes and needed and found.count(needed) != 1:
            raise ValueError(f"{shape} has {{{needed}}} {found.count(needed)} times; it must stand there once")
        if strange := [name for name in found if name not in {needed, *others}]:
            allowed = ", ".join(f"{{{name}}}" for name in (needed, *others) if name)
            raise ValueError(f"{shape} has the place {{{strange[0]}}}; allowed: {allowed}")
    made = replace(PLAIN, id=template_id, **shapes)
    if not made.reads_back():
        raise ValueError(f"worked = {made.worked!r} makes an answer that cannot be read back; choose another")
    return made


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template with the instruction as the system message, and each demo as a user and an assistant message."""

    id: str = "chat"

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        """Lay out the instruction, labels and format as the system message, then the demos and the query."""
        listed = f"Options:{_gap(prompt)}{label_lines(prompt)}"
        head = [prompt.instruction, format_note(prompt)]
        if prompt.labels and prompt.label_place == "instruction":
            head.insert(1, listed)
        turns = [turn("system", "\n\n".join(head))]
        for demo in demos:
            turns.append(turn("user", *self._fields(prompt, dict(demo.inputs))))
            turns.append(turn("assistant", self.answer(prompt, demo.target, demo.reasoning)))
        tail = f"\n\n{listed}" if prompt.labels and prompt.label_place == "query" else ""
        turns.append(turn("user", *self._fields(prompt, None), tail))
        return tuple(turns)

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        """Write the answer of a demo."""
        return write_answer(prompt, target, reasoning)

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read an answer."""
        return read_answer(prompt, text)

    @staticmethod
    def _fields(prompt: Prompt, values: Mapping[str, str] | None) -> list[Part]:
        """Return the inputs, with their names only if there are several; without `values`, slots."""
        parts: list[Part] = []
        for position, name in enumerate(prompt.inputs):
            if len(prompt.inputs) > 1:
                parts.append(("\n" if position else "") + titled(name) + ": ")
            parts.append(Slot(name) if values is None else values[name])
        return parts


def _gap(prompt: Prompt) -> str:
    return "\n" if prompt.notes else " "


PLAIN = TextTemplate(
    id="plain",
    head="{body}\n\n",
    section="{title}:{gap}{body}\n\n",
    field="{name}: {value}",
    worked="{name}: {value}",
    example="{body}\n\n",
    query="{body}",
    cue="\n{name}:",
)

MARKDOWN = TextTemplate(
    id="markdown",
    head="## Task\n\n{body}\n\n",
    section="## {title}\n\n{body}\n\n",
    field="**{name}:** {value}",
    worked="**{name}:** {value}",
    example="## Example {number}\n\n{body}\n\n",
    query="## Your turn\n\n{body}",
    cue="\n**{name}:**",
)

XML = TextTemplate(
    id="xml",
    head="<task>\n{body}\n</task>\n\n",
    section="<{title}>\n{body}\n</{title}>\n\n",
    field="<{name}>{value}</{name}>",
    worked="<answer>{value}</answer>",
    example="<example>\n{body}\n</example>\n\n",
    query="<input>\n{body}\n</input>",
    cue="",
    tags=True,
)

BUILT_IN: Mapping[str, Template] = {t.id: t for t in (PLAIN, MARKDOWN, XML, ChatTemplate())}
