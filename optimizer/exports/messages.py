"""The neutral format: JSON in which every message is a list of texts and slots, so that nothing needs escaping.

Filling it is one line in any language: join the texts and the inputs. Knows nothing of files' names and places.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.proof import Draft, Exporter, difference, is_fixed
from search_spaces.prompt import Example, Prompt, Slot, Turn, fill
from search_spaces.rendering import Renderer

SCHEMA = "phrasetune/messages/1"


def draft(prompt: Prompt, renderer: Renderer) -> Draft:
    """Write a prompt as JSON."""
    data = {
        "schema": SCHEMA,
        "model_settings": prompt.settings.to_dict(),
        "inputs": list(prompt.inputs),
        "messages": [
            {"role": turn.role, "content": [_part(part) for part in turn.parts]}
            for turn in fixed_turns(prompt, renderer)
        ],
    }
    return Draft(json.dumps(data, indent=2, ensure_ascii=False) + "\n", prompt, renderer)


def fixed_turns(prompt: Prompt, renderer: Renderer) -> tuple[Turn, ...]:
    """Compile a prompt, if its examples are the same for every input and its answers are what the model writes.

    Raises
    ------
    ExportError
        If they are not.
    """
    if prompt.calibrated:
        raise ExportError(
            "the answers of this prompt are chosen by calibrated log-probabilities, and this format carries messages "
            'alone. Export it as python, or tune again with calibration = "off" in [space]. Nothing was left behind.'
        )
    if not is_fixed(prompt):
        raise ExportError(
            f"the examples of this prompt depend on the input (the nearest {prompt.nearest} of {len(prompt.demos)}); "
            "this format carries fixed examples alone. Export it as python, or tune again without the demo "
            'strategy "nearest". Nothing was left behind.'
        )
    return renderer.turns(prompt)


def _part(part: str | Slot) -> dict[str, str]:
    return {"slot": part.name} if isinstance(part, Slot) else {"text": part}


def read_turns(data: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Turn the JSON's messages into turns again."""
    return tuple(
        Turn(message["role"], tuple(Slot(p["slot"]) if "slot" in p else p["text"] for p in message["content"]))
        for message in data["messages"]
    )


def _check(path: Path, draft: Draft, probes: Sequence[Example]) -> str:
    data = json.loads(path.read_bytes())
    turns = read_turns(data)
    if data["model_settings"] != draft.prompt.settings.to_dict() or data["inputs"] != list(draft.prompt.inputs):
        return "the settings or the names of the inputs are others"
    return difference(lambda inputs: [m.to_dict() for m in fill(turns, inputs)], draft, probes)


MESSAGES = Exporter(
    about="JSON: messages as lists of texts and slots, for any language",
    usual_name="prompt.messages.json",
    draft=draft,
    check=_check,
)
