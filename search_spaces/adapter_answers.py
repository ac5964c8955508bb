"""Reading answers in the formats of DSPy's adapters, without DSPy.

In a run, DSPy reads them itself; these functions are copied into exported modules that need only the standard library,
and the tests compare both. Knows no prompt: `fields` are the names of an answer's fields, the output last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from search_spaces.answering import objects

# How an adapter marks a field of an answer: a pattern for its beginning, and an empty field.
MARKS = {
    "dspy-chat": (r"^[^\S\n]*\[\[ ## {} ## \]\]", "[[ ## {} ## ]]"),
    "dspy-xml": ("<{}>", "<{0}></{0}>"),
}


def from_last_mark(text: str, mark: str, shape: str, fields: Sequence[str]) -> str:
    """Cut off all before the last answer: DSPy takes the first, which may be part of a row that the model repeats."""
    *before, name = fields
    found = [*re.finditer(mark.format(re.escape(name)), text, re.MULTILINE)]
    if not found:
        return text
    kept = [shape.format(field) for field in before if re.search(mark.format(field), text, re.MULTILINE)]
    return "\n\n".join([*kept, text[found[-1].start() :]])


def read_chat(text: str, fields: Sequence[str]) -> dict[str, str]:
    """Read the fields below headers such as `[[ ## label ## ]]`."""
    text = from_last_mark(text, *MARKS["dspy-chat"], fields)
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        header = re.match(r"\[\[ ## (\w+) ## \]\]", line.strip())
        if header:
            sections.append((header[1], [line[header.end() :].strip()]))
        else:
            sections[-1][1].append(line)
    found: dict[str, str] = {}
    for name, lines in sections:
        if name in fields:
            found.setdefault(name, "\n".join(lines).strip())
    return found


def read_xml(text: str, fields: Sequence[str]) -> dict[str, str]:
    """Read the fields between tags; none if the text is not XML."""
    text = from_last_mark(text, *MARKS["dspy-xml"], fields)
    try:
        root = ET.fromstring(f"<answer>{text}</answer>")  # noqa: S314 - as DSPy reads it
    except (ET.ParseError, ValueError):
        return {}
    found: dict[str, list[ET.Element]] = {}
    for child in root:
        name = child.attrib.get("key", child.tag) if child.tag == "entry" else child.tag
        found.setdefault(name, []).append(child)
    return {name: _inner(found[name]) for name in fields if name in found}


def _inner(elements: Sequence[ET.Element]) -> str:
    """Return the content of elements of one name: tags in it are text, and several become a Python list."""
    first = elements[0]
    if len(first):
        return (first.text or "") + "".join(ET.tostring(child, encoding="unicode") for child in first)
    texts = [(element.text or "").strip() for element in elements]
    return texts[0] if len(texts) == 1 else str(texts)


def read_object(text: str, fields: Sequence[str]) -> dict[str, str]:
    """Read the fields of the last JSON object with the output field. Unlike DSPy, this repairs no broken objects."""
    found = [value for value, _ in objects(text) if fields[-1] in value]
    told = found[-1] if found else {}
    return {
        name: told[name] if isinstance(told[name], str) else json.dumps(told[name], ensure_ascii=False)
        for name in fields
        if name in told
    }
