"""Google's dotprompt: YAML, then Handlebars with a mark for each role.

Handlebars has no escape for every text, so what it would misread stands in the head as the default of a variable and
is printed from there. Knows nothing of files' names and places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from optimizer.exports.messages import fixed_turns
from optimizer.exports.names import renamed, slot_names
from optimizer.exports.proof import Draft, Exporter, Render, Winner, arriving, refuse_lost, sentences
from optimizer.exports.yaml import read_yaml, write_yaml
from search_spaces.prompt import Message, Slot, Turn

RUN = re.compile(r"[\\{}\r]+")  # what makes tags and escapes of them; and "\r", which readers of texts turn into "\n"
BLANK_END = re.compile(r"[\s\ufeff]+\Z")  # trimmed off a file
ROLES = {"assistant": "model"}
TAG = re.compile(r'\{\{(?:role "(\w+)"|(\w+))\}\}')
WHY = "it drops blank messages, and reads <<<dotprompt: as a mark of its own"
LOSS = "dotprompt drops a message that is blank, and reads marks of its own (<<<dotprompt:) in an input."


class _Page:
    """A body as it grows, with the texts that it prints from variables."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.aside: dict[str, str] = {}

    def write(self, turn: Turn, *, last: bool) -> str:
        """Write a message."""
        written = [self._part(part) for part in turn.parts]
        end = BLANK_END.search(written[-1]) if last and written else None
        if end:
            written[-1] = written[-1][: end.start()] + self._put_aside(end.group())
        return f'{{{{role "{ROLES.get(turn.role, turn.role)}"}}}}' + "".join(written)

    def _part(self, part: str | Slot) -> str:
        if isinstance(part, Slot):
            return "{{" + self.names[part.name] + "}}"

        def printed(found: re.Match[str]) -> str:
            run = found.group()
            edge = found.start() == 0 or found.end() == len(part)
            return self._put_aside(run) if edge or len(run) > 1 or run == "\r" else run

        return RUN.sub(printed, part)

    def _put_aside(self, text: str) -> str:
        known = {value: name for name, value in self.aside.items()}
        if text not in known:
            name = f"literal_{len(self.aside) + 1}"
            while name in self.names.values():
                name += "_"
            known[text] = name
            self.aside[name] = text
        return "{{" + known[text] + "}}"


def _draft(winner: Winner) -> Draft:
    turns, names, facts = fixed_turns(winner), slot_names(winner.prompt.inputs), winner.facts
    refuse_lost("dotprompt", WHY, turns, _arrives)
    page = _Page(names)
    body = "".join(page.write(turn, last=turn is turns[-1]) for turn in turns)
    settings = winner.prompt.settings
    head = {
        "model": facts.model or facts.bare_model,
        "config": {"temperature": settings.temperature, "maxOutputTokens": settings.max_tokens},
        "input": {
            "schema": dict.fromkeys(names.values(), "string"),
            **({"default": page.aside} if page.aside else {}),
        },
    }
    aside = "Signs that Handlebars would misread are printed from defaults in its head." if page.aside else ""
    text = f"---\n{write_yaml(head)}---\n{body}"
    note = sentences(LOSS, aside, renamed(names))
    return Draft(text, winner, "partial", note, arriving(turns, _arrives))


def _arrives(message: Message) -> bool:
    return bool(message.content.replace("\ufeff", "").strip()) and "<<<dotprompt:" not in message.content


def _read(path: Path, draft: Draft) -> Render:
    _, head, body = path.read_bytes().decode().split("---\n", 2)
    aside = read_yaml(head)["input"].get("default", {})
    slots = {slot: name for name, slot in slot_names(draft.prompt.inputs).items()}
    pieces = TAG.split(body)  # text, role or None, name or None, text, ...

    def render(inputs: Mapping[str, str]) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = []
        for role, name, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if role:
                messages.append({"role": "assistant" if role == "model" else role, "content": ""})
            else:
                messages[-1]["content"] += inputs[slots[name]] if name in slots else aside[name]
            messages[-1]["content"] += text
        return messages

    return render


DOTPROMPT = Exporter(
    about="Google's dotprompt, for Genkit and Firebase",
    usual_name="prompt.prompt",
    draft=_draft,
    read=_read,
    fidelity="partial: blank messages and inputs with dotprompt's own marks are lost; such prompts are refused",
)
