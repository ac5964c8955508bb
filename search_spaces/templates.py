"""Templates: laying out a prompt as turns, and parsing the answer out of a completion.

For every template `parse(prompt, answer(prompt, target)) == target`, for any target without white space around it and
without the words and marks that the template puts around answers or that are stripped from them (such as bold). The
four built-in templates are here; others, such as DSPy's adapters, keep the same contract and are passed in. Knows
nothing of models or scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

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


# --- the answer -------------------------------------------------------------------------------------------


def write_answer(prompt: Prompt, target: str, reasoning: str = "") -> str:
    """Write the answer of a demo in the prompt's answer format."""
    thought = reasoning if prompt.reasoning else ""
    if prompt.answer_format == "json":
        fields = {"reasoning": thought, prompt.output: target} if thought else {prompt.output: target}
        return json.dumps(fields, ensure_ascii=False)
    if prompt.answer_format == "tagged":
        answer = f"<{prompt.output}>{target}</{prompt.output}>"
        return f"<reasoning>{thought}</reasoning>\n{answer}" if thought else answer
    if prompt.reasoning:
        return f"{thought}\nAnswer: {target}".lstrip("\n")
    return target


def read_answer(prompt: Prompt, text: str) -> str | None:
    """Read an answer in the prompt's format; None if there is none. Labels are matched leniently."""
    reader = {"json": _read_json, "tagged": _read_tagged}.get(prompt.answer_format, _read_bare)
    found = reader(prompt, text)
    if prompt.labels:
        return match_label(found, prompt.labels) if found is not None else None
    return found or None


def match_label(text: str, labels: Sequence[str]) -> str | None:
    """Find the label that a text names: exactly, else by letters and digits alone, else as the only one mentioned.

    A text that mentions two different labels names none.
    """
    text = text.strip()
    if text in labels:
        return text
    letters, by_letters = _letters(text), {_letters(label): label for label in labels}
    if letters and len(by_letters) == len(labels) and letters in by_letters:
        return by_letters[letters]
    named = mentioned(text, labels)
    return named[0] if len(named) == 1 else None


def mentioned(text: str, labels: Sequence[str]) -> list[str]:
    """Find the labels whose words occur in a text, without those that are part of another one found."""
    bare = spaced(text)
    named = [label for label in labels if spaced(label).strip() and spaced(label) in bare]
    return [a for a in named if not any(a != b and spaced(a) in spaced(b) for b in named)]


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def spaced(text: str) -> str:
    """Return the words of a text in lower case, with a space around each."""
    return " " + re.sub(r"[\W_]+", " ", text.casefold()).strip() + " "


CUE = re.compile(r"^\W*answer\W*?:", re.IGNORECASE | re.MULTILINE)


def read_thought(text: str) -> str:
    """Return the reasoning before the last "Answer:" of a completion in the bare format; empty if there is none."""
    cues = [*CUE.finditer(text)]
    return text[: cues[-1].start()].strip() if cues else ""


# The last answer counts: a completion may repeat its row first, and a row may contain what looks like an answer.


def _read_bare(prompt: Prompt, text: str) -> str | None:
    text = text.strip()
    if prompt.reasoning:
        cue = list(re.finditer(r"^\W*answer\W*?:", text, re.IGNORECASE | re.MULTILINE))
        if cue:
            answer = text[cue[-1].end() :].strip()
            return answer if prompt.labels else _unmarked(answer, cut=True)
        return text.rsplit("\n", 1)[-1] if prompt.labels else None
    if not prompt.labels:
        return _uncued(_unmarked(text), prompt.output)
    if text in prompt.labels:
        return text
    lines = (text, re.sub(r"</?\w+>", "", text.rsplit("\n", 1)[-1]))
    whole, last = (re.sub(rf"^\W*{re.escape(prompt.output)}\W*?:", "", line, flags=re.IGNORECASE) for line in lines)
    named = {_letters(label) for label in prompt.labels} - {""}
    return last if _letters(last) in named and _letters(whole) not in named else whole


def _uncued(text: str, output: str) -> str:
    """Remove a cue that the answer repeats, such as "**Answer:** 4" or the output field's name."""
    name = r"[\W_]+".join(re.findall(r"[^\W_]+", output)) or "answer"
    cue = re.match(rf"[\s*_#>-]*(?:answer|{name})[\s*_]*:", text, re.IGNORECASE)
    return _unmarked(text[cue.end() :], cut=True) if cue else text


def _unmarked(text: str, *, cut: bool = False) -> str:
    """Remove bold or a LaTeX box around a whole answer; if a cue was `cut` off, also a single `**` at either end."""
    text = text.strip()
    if cut and text.count("**") % 2:
        text = text[2:] if text.startswith("**") else text.removesuffix("**")
    bold = re.fullmatch(r"\*\*([^*\n]+)\*\*\.?", text.strip())
    text = bold[1].strip() if bold else text.strip()
    box = re.fullmatch(r"\W*\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}\W*", text)
    return box[1].strip() if box else text


def _read_json(prompt: Prompt, text: str) -> str | None:
    answers = [value[prompt.output] for value, _ in objects(text) if prompt.output in value]
    if not answers:
        return None
    return answers[-1] if isinstance(answers[-1], str) else json.dumps(answers[-1], ensure_ascii=False)


def objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the outermost JSON objects in a text, in order, each decoded and as its source text."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value, text[start:end]
        start = text.find("{", end)


def first_object(text: str) -> str:
    """Return the source text of the first JSON object in a text, or the whole text if there is none."""
    return next((found for _, found in objects(text)), text)


def _read_tagged(prompt: Prompt, text: str) -> str | None:
    opening, closing = f"<{prompt.output}>", f"</{prompt.output}>"
    thought_through = text.rpartition("</reasoning>")[2]
    if opening in thought_through:  # otherwise the reasoning follows the answer, or is mentioned in it
        text = thought_through
    starts = [match.end() for match in re.finditer(re.escape(opening), text)]
    if not starts:
        return None
    end = text.rfind(closing)
    if prompt.labels:  # a label may itself contain a tag
        starts = [start for start in starts if text[start:end].strip() in prompt.labels][:1] or starts[-1:]
    start = starts[0] if text.lstrip().startswith(opening) else starts[-1]
    return text[start : end if end >= start else len(text)].strip()


def format_note(prompt: Prompt) -> str:
    """Return the sentence that tells the model how to answer."""
    name = prompt.output
    if prompt.answer_format == "json":
        shape = f'{{"reasoning": "...", "{name}": "..."}}' if prompt.reasoning else f'{{"{name}": "..."}}'
        return f"Respond with a JSON object of this form: {shape}"
    if prompt.answer_format == "tagged":
        before = "First think it through between <reasoning> and </reasoning>. " if prompt.reasoning else ""
        return f"{before}Give the {name} between <{name}> and </{name}>."
    if prompt.reasoning:
        return f'Think step by step. Then write the {name} on a last line that starts with "Answer:".'
    return f"Respond with the {name} only."


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
