"""Request bodies: OpenAI's chat completions, which most servers accept, and Anthropic's messages.

JSON has no slots, so inputs are marked by words that occur nowhere else. Knows nothing of file names and folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.marks import choose_marks, note
from optimizer.exports.messages import fixed_turns, to_json
from optimizer.exports.proof import Draft, Exporter, Render, Winner, filling, sentences

HOTTEST = 1.0  # Anthropic's highest temperature
PUT_IN = "Put the inputs in the place of {marks}, all in one pass."


def openai_body(winner: Winner, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a request body for OpenAI's chat completions."""
    return {
        "model": winner.facts.bare_model,
        "messages": [dict(message) for message in messages],
        **winner.prompt.settings.to_dict(),
    }


def anthropic_body(winner: Winner, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a request body for Anthropic's messages.

    Raises
    ------
    ExportError
        If Anthropic would not accept it.
    """
    settings = winner.prompt.settings
    system, said = [m for m in messages if m["role"] == "system"], [m for m in messages if m["role"] != "system"]
    blank = next((m for m in messages if not m["content"].strip()), None)
    fault = (
        f"the temperature {settings.temperature} is above {HOTTEST}"
        if settings.temperature > HOTTEST
        else "a message of it is blank"
        if blank
        else "its system message does not stand first"
        if list(messages) != system[:1] + said
        else ""
    )
    if fault:
        raise ExportError(
            f"Anthropic does not take this prompt: {fault}. Export it as openai or python. Nothing was left behind."
        )
    return {
        "model": winner.facts.bare_model,
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        **({"system": system[0]["content"]} if system else {}),
        "messages": [dict(message) for message in said],
    }


def _marked(winner: Winner) -> tuple[list[dict[str, str]], str]:
    """Return the messages with marks for the inputs, and a note on how to replace them."""
    turns = fixed_turns(winner)
    marks = choose_marks(turns, winner.prompt.inputs)
    put_in = PUT_IN.format(marks=", ".join(marks.by_name.values()))
    messages = [{"role": turn.role, "content": marks.body(turn)} for turn in turns]
    return messages, sentences(put_in, note(winner.prompt, marks))


def _openai_draft(winner: Winner) -> Draft:
    messages, known = _marked(winner)
    return Draft(to_json(openai_body(winner, messages)), winner, note=sentences(winner.facts.elsewhere, known))


def _openai_read(path: Path, draft: Draft) -> Render:
    return _filled(json.loads(path.read_bytes())["messages"], draft)


def _openai_check(path: Path, draft: Draft) -> str:
    data = json.loads(path.read_bytes())
    return "" if data == openai_body(draft.winner, data["messages"]) else "the model or the settings are others"


def _filled(messages: Sequence[Mapping[str, str]], draft: Draft) -> Render:
    marks = choose_marks(fixed_turns(draft.winner), draft.prompt.inputs)
    return filling([marks.cut(message["role"], message["content"]) for message in messages])


def _anthropic_draft(winner: Winner) -> Draft:
    messages, known = _marked(winner)
    own, address = winner.facts.model.startswith("anthropic/"), winner.facts.address
    named = f"Send it to {address}." * bool(address) if own else "Name one of Anthropic's models in it."
    return Draft(to_json(anthropic_body(winner, messages)), winner, note=sentences(named, known))


def _anthropic_messages(path: Path) -> list[dict[str, str]]:
    data = json.loads(path.read_bytes())
    system = [{"role": "system", "content": data["system"]}] if "system" in data else []
    return [*system, *data["messages"]]


def _anthropic_read(path: Path, draft: Draft) -> Render:
    return _filled(_anthropic_messages(path), draft)


def _anthropic_check(path: Path, draft: Draft) -> str:
    wanted = anthropic_body(draft.winner, _anthropic_messages(path))
    return "" if json.loads(path.read_bytes()) == wanted else "the model or the settings are others"


OPENAI = Exporter(
    about="the body of an OpenAI request, which most servers and LiteLLM take",
    usual_name="prompt.openai.json",
    draft=_openai_draft,
    read=_openai_read,
    check=_openai_check,
)
ANTHROPIC = Exporter(
    about="the body of a request to Anthropic's messages",
    usual_name="prompt.anthropic.json",
    draft=_anthropic_draft,
    read=_anthropic_read,
    check=_anthropic_check,
)
