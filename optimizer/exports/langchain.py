"""LangChain's ChatPromptTemplate as the JSON that `langchain_core.load` reads.

Its templates are format strings, in which a brace is written twice; other kinds are refused at loading. Knows nothing
of file names and folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from optimizer.exports.messages import NO_SETTINGS, fixed_turns, to_json
from optimizer.exports.names import given, renamed, slot_names
from optimizer.exports.proof import Draft, Exporter, Render, Winner, sentences
from search_spaces.prompt import Slot, Turn

ROLES = {"system": "System", "user": "Human", "assistant": "AI"}
HOW = 'Load it with langchain_core.load.loads(TEXT, allowed_objects="core").'


def _draft(winner: Winner) -> Draft:
    names = slot_names(winner.prompt.inputs)
    messages = [_message(turn, names) for turn in fixed_turns(winner)]
    data = _made("chat", "ChatPromptTemplate", {"input_variables": list(names.values()), "messages": messages})
    return Draft(to_json(data), winner, note=sentences(HOW, renamed(names), NO_SETTINGS))


def _message(turn: Turn, names: Mapping[str, str]) -> dict[str, Any]:
    written = [
        "{" + names[part.name] + "}" if isinstance(part, Slot) else part.replace("{", "{{").replace("}", "}}")
        for part in turn.parts
    ]
    used = list(dict.fromkeys(names[part.name] for part in turn.parts if isinstance(part, Slot)))
    template = {"input_variables": used, "template": "".join(written), "template_format": "f-string"}
    prompt = _made("prompt", "PromptTemplate", template)
    return _made("chat", f"{ROLES[turn.role]}MessagePromptTemplate", {"prompt": prompt})


def _made(room: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", room, name], "kwargs": dict(arguments)}


def _read(path: Path, draft: Draft) -> Render:
    names = slot_names(draft.prompt.inputs)
    roles = {f"{name}MessagePromptTemplate": role for role, name in ROLES.items()}
    templates = [
        (roles[message["id"][-1]], message["kwargs"]["prompt"]["kwargs"]["template"])
        for message in json.loads(path.read_bytes())["kwargs"]["messages"]
    ]
    return lambda inputs: [
        {"role": role, "content": Formatter().vformat(template, (), given(inputs, names))}
        for role, template in templates
    ]


LANGCHAIN = Exporter(
    about="LangChain's ChatPromptTemplate as JSON",
    usual_name="prompt.langchain.json",
    draft=_draft,
    read=_read,
)
