"""The canonical file of a winner: everything that is known about it, in our own schema.

    schema      "phrasetune/winner/1"; a reader should refuse another number after the last slash
    phrasetune  the version that wrote it
    messages    texts and slots as in the format messages; null if the examples depend on the input
    settings    what a request contains besides the messages
    reading     what parsing an answer needs: answer field, labels, format, reasoning, priors of the labels
    prompt      the ingredients, as `Prompt.from_dict` takes them
    provenance  run, trial, task, model, digest of the data, dates
    scores      "dev" and "test", each with metric, score, 95 % interval and number of rows; null if unknown

Knows nothing of file names and folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.exports.messages import read_turns, to_json, write_turns
from optimizer.exports.proof import Draft, Exporter, Messages, Render, Winner, is_fixed
from optimizer.version import __version__
from search_spaces.prompt import Example, Prompt, fill

SCHEMA = "phrasetune/winner/1"
LONELY = "Its examples depend on the input, so it is without messages: phrasetune alone renders it."


def _record(winner: Winner) -> dict[str, Any]:
    prompt, record = winner.prompt, winner.facts.record
    return {
        "schema": SCHEMA,
        "phrasetune": __version__,
        "messages": write_turns(winner.renderer.turns(prompt)) if is_fixed(prompt) else None,
        "settings": prompt.settings.to_dict(),
        "reading": {
            "output": prompt.output,
            "labels": list(prompt.labels),
            "template": prompt.template,
            "answer_format": prompt.answer_format,
            "reasoning": prompt.reasoning,
            "prior": dict(prompt.prior) if prompt.calibrated else None,
        },
        "prompt": prompt.to_dict(),
        "provenance": record.get("provenance"),
        "scores": record.get("scores"),
    }


def _draft(winner: Winner) -> Draft:
    return Draft(to_json(_record(winner)), winner, note="" if is_fixed(winner.prompt) else LONELY)


def _read(path: Path, draft: Draft) -> Render:
    data = json.loads(path.read_bytes())
    prompt = Prompt.from_dict(data["prompt"])
    turns = None if data["messages"] is None else read_turns(data["messages"])

    def render(inputs: Mapping[str, str]) -> Messages:
        row = Example("", tuple(inputs.items()))
        messages = draft.renderer.messages(prompt, row) if turns is None else fill(turns, inputs)
        return [message.to_dict() for message in messages]

    return render


def _check(path: Path, draft: Draft) -> str:
    data = json.loads(path.read_bytes())
    if Prompt.from_dict(data["prompt"]) != draft.prompt:
        return "the ingredients are others"
    return "" if data == json.loads(json.dumps(_record(draft.winner))) else "what is known of it is other"


WINNER = Exporter(
    about="all that is known of the winner: texts and slots, settings, reading, provenance, scores",
    usual_name="winner.json",
    draft=_draft,
    read=_read,
    check=_check,
)
