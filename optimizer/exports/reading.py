"""Functions that parse an answer, as parts of a Python module that needs only the standard library.

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optimizer.exports.literals import Value, literal
from optimizer.exports.sources import Function
from optimizer.programs.adapters import answer_fields
from optimizer.scores import label_sets
from search_spaces import answering
from search_spaces.adapter_answers import read_chat, read_object, read_xml
from search_spaces.prompt import Prompt
from search_spaces.rendering import Renderer
from search_spaces.templates import TextTemplate, titled

READERS: Mapping[str, Function] = {"json": answering._read_json, "tagged": answering._read_tagged}  # noqa: SLF001 - as below
ADAPTED: Mapping[str, Function] = {"dspy-chat": read_chat, "dspy-xml": read_xml, "dspy-json": read_object}

PARSE = '''
class Prompt:
    """What reading an answer needs to know."""

    output = {output}
    labels = {labels}
    reasoning = {reasoning}


def {name}(text: str) -> str | None:
    """Read the answer out of a completion; None if there is none to be read."""
    {steps}


def _read(text: str) -> str | None:
    found = {reader}(Prompt(), text)
    return {answer}
'''

PARSE_SEVERAL = '''
def parse(text: str) -> str | None:
    """Read the labels out of a completion, those of LABELS alone and in their order; None if it names none of them."""
    return reduced(_whole(text), LABELS)
'''

PARSE_OBJECT = '''
def parse(text: str) -> str | None:
    """Read the JSON object out of a completion, without a fence or a sentence around it; None if there is no answer."""
    found = _whole(text)
    return last_object(found)[1] if found else found
'''

PARSE_ADAPTED = '''
class Prompt:
    """What reading an answer needs to know."""

    output = {output}
    labels = {labels}


def {name}(text: str) -> str | None:
    """Read the answer out of a completion that is laid out for DSPy; None if there is none to be read."""
    found = {reader}(text, FIELDS)
    if len(found) < len(FIELDS):
        return None
    return {answer}
'''

UNWRAPPED = "return _read({text})"
UNWRAPPED_OR_WHOLE = """\
found = _read({text})
    return _read(text) if found is None else found  # the words may be the answer's own"""


def reading(prompt: Prompt, renderer: Renderer, several: Sequence[str]) -> tuple[list[str], list[Function]]:
    """Write the functions that read an answer, `parse` the first of them, and name ours that they use."""
    after: list[Function] = [label_sets.reduced] if several else [answering.last_object] if renderer.slots else []
    matching: list[Function] = [answering.match_label] if prompt.labels else []
    known = {"output": literal(prompt.output), "labels": literal(prompt.labels, depth=1)}
    known["name"] = "_whole" if after else "parse"
    if prompt.template in ADAPTED:
        reader = ADAPTED[prompt.template]
        answer = "match_label(found[FIELDS[-1]], Prompt.labels)" if prompt.labels else "found[FIELDS[-1]] or None"
        parse = PARSE_ADAPTED.format(reader=reader.__name__, answer=answer, **known)
    else:
        template = renderer.templates[prompt.template]
        reader = READERS.get(prompt.answer_format, answering._read_bare)  # noqa: SLF001 - its source is copied
        steps = _unwrapping(prompt, template) if isinstance(template, TextTemplate) else UNWRAPPED.format(text="text")
        found = "match_label(found, Prompt.labels) if found is not None else None" if prompt.labels else "found or None"
        parse = PARSE.format(reasoning=prompt.reasoning, steps=steps, reader=reader.__name__, answer=found, **known)
    whole = PARSE_SEVERAL if several else PARSE_OBJECT
    return [whole, parse] if after else [parse], [*after, reader, *matching]


def reads_whole(several: Sequence[str]) -> str:
    """Return the name of the function whose result is scored: with several labels, also labels not on the list."""
    return "_whole" if several else "parse"


def constants(prompt: Prompt, several: Sequence[str]) -> dict[str, Value]:
    """Return the constants that the functions use."""
    fields: dict[str, Value] = {"FIELDS": answer_fields(prompt)} if prompt.template in ADAPTED else {}
    return fields | ({"LABELS": tuple(several)} if several else {})


def _unwrapping(prompt: Prompt, template: TextTemplate) -> str:
    """Return the source that removes the text around an answer in the form of demos, as `TextTemplate.parse` does."""
    name = prompt.output.lower().replace(" ", "_") if template.tags else titled(prompt.output)
    opening, closing = (side.replace("{name}", name) for side in template.worked.split("{value}"))
    suffix = f".removesuffix({literal(closing)})" if closing else ""
    steps = UNWRAPPED_OR_WHOLE if prompt.labels or prompt.reasoning or prompt.answer_format != "bare" else UNWRAPPED
    return steps.format(text=f"text.strip().removeprefix({literal(opening)}){suffix}")
