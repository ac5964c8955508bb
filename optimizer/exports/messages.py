"""The neutral format: JSON in which every message is a list of texts and slots, so that nothing needs escaping.

Filling it takes one line in any language: join the texts and the inputs. Knows nothing of file names and folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.proof import Draft, Exporter, Render, Winner, filling, is_fixed
from search_spaces.prompt import Prompt, Slot, Turn

SCHEMA = "phrasetune/messages/1"
NO_SETTINGS = "It is without temperature and max_tokens."


def _draft(winner: Winner) -> Draft:
    data = {
        "schema": SCHEMA,
        "model_settings": winner.prompt.settings.to_dict(),
        "inputs": list(winner.prompt.inputs),
        "messages": write_turns(fixed_turns(winner)),
    }
    return Draft(to_json(data), winner)


def to_json(data: object) -> str:
    """Return readable JSON."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def fixed_turns(winner: Winner) -> tuple[Turn, ...]:
    """Compile a prompt whose examples are the same for every input and whose answers are what the model writes.

    Raises
    ------
    ExportError
        For any other prompt.
    """
    prompt = winner.prompt
    refuse_calibrated(prompt)
    if not is_fixed(prompt):
        raise ExportError(
            f"the examples of this prompt depend on the input (the nearest {prompt.nearest} of {len(prompt.demos)}); "
            "this format carries fixed examples alone. Export it as python or winner, or tune again without the demo "
            'strategy "nearest". Nothing was left behind.'
        )
    return winner.renderer.turns(prompt)


def refuse_calibrated(prompt: Prompt) -> None:
    """Refuse a calibrated prompt, whose answers are not those that the model writes.

    Raises
    ------
    ExportError
        If the prompt is calibrated.
    """
    if prompt.calibrated:
        raise ExportError(
            "the answers of this prompt are chosen by calibrated log-probabilities, and this format carries messages "
            'alone. Export it as python or winner, or tune again with calibration = "off" in [space]. '
            "Nothing was left behind."
        )


def write_turns(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return turns in a form for JSON; the inverse of `read_turns`."""
    return [{"role": turn.role, "content": [_part(part) for part in turn.parts]} for turn in turns]


def _part(part: str | Slot) -> dict[str, str]:
    return {"slot": part.name} if isinstance(part, Slot) else {"text": part}


def read_turns(messages: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    """Return the turns of messages from JSON."""
    return tuple(
        Turn(message["role"], tuple(Slot(p["slot"]) if "slot" in p else p["text"] for p in message["content"]))
        for message in messages
    )


def _read(path: Path, _: Draft) -> Render:
    return filling(read_turns(json.loads(path.read_bytes())["messages"]))


def _check(path: Path, draft: Draft) -> str:
    data = json.loads(path.read_bytes())
    kept = data["model_settings"] == draft.prompt.settings.to_dict() and data["inputs"] == list(draft.prompt.inputs)
    return "" if kept else "the settings or the names of the inputs are others"


MESSAGES = Exporter(
    about="JSON: messages as lists of texts and slots, for any language",
    usual_name="prompt.messages.json",
    draft=_draft,
    read=_read,
    check=_check,
)
