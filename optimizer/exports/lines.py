"""Rendered rows, one per line: OpenAI's batches, which answer rows at half the price, and its fine-tuning files.

No slots are left, so a prompt whose examples depend on the input can be exported, too. Knows nothing of file names and
folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.bodies import openai_body
from optimizer.exports.messages import NO_SETTINGS, refuse_calibrated
from optimizer.exports.proof import Draft, Exporter, Winner, is_fixed, sentences
from search_spaces.prompt import Example

URL = "/v1/chat/completions"


def _write(lines: Iterable[Mapping[str, Any]]) -> str:
    # In ASCII, because a line of JSONL must not contain what some readers take for the end of a line.
    return "".join(json.dumps(line) + "\n" for line in lines)


def _messages(winner: Winner, row: Example) -> list[dict[str, str]]:
    return [message.to_dict() for message in winner.renderer.messages(winner.prompt, row)]


# --- batches ----------------------------------------------------------------------------------------------


def _requests(winner: Winner) -> Iterator[dict[str, Any]]:
    for row in winner.facts.asked("one request for each row"):
        body = openai_body(winner, _messages(winner, row))
        yield {"custom_id": row.id, "method": "POST", "url": URL, "body": body}


def _batch_draft(winner: Winner) -> Draft:
    refuse_calibrated(winner.prompt)
    text = _write(_requests(winner))
    rows, split = len(winner.facts.rows), winner.facts.split
    asks = f"It asks {rows} {split + ' ' if split else ''}rows; custom_id is the row's id."
    return Draft(text, winner, note=sentences(asks, winner.facts.elsewhere))


def _batch_check(path: Path, draft: Draft) -> str:
    return _lines_fault(path, list(_requests(draft.winner)))


def _lines_fault(path: Path, wanted: Sequence[Mapping[str, Any]]) -> str:
    found = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    if len(found) != len(wanted):
        return f"it has {len(found)} lines, not {len(wanted)}"
    pairs = enumerate(zip(found, wanted, strict=True), start=1)
    return next((f"line {number} is another" for number, (a, b) in pairs if a != b), "")


BATCH = Exporter(
    about="OpenAI's Batch API: JSONL with a request for each row",
    usual_name="batch.jsonl",
    draft=_batch_draft,
    check=_batch_check,
    rows=True,
)

# --- fine-tuning ------------------------------------------------------------------------------------------


def _lessons(winner: Winner) -> Iterator[dict[str, Any]]:
    prompt = winner.prompt
    template = winner.renderer.templates[prompt.template]
    shown = {demo.id for demo in prompt.demos} if is_fixed(prompt) else set()
    for row in winner.facts.train:
        if row.id not in shown and row.targets:
            answer = template.answer(prompt, row.target, row.reasoning)
            yield {"messages": [*_messages(winner, row), {"role": "assistant", "content": answer}]}


def _finetune_draft(winner: Winner) -> Draft:
    refuse_calibrated(winner.prompt)
    lessons = list(_lessons(winner))
    if not lessons:
        raise ExportError(
            "this format holds training rows with their answers, and none were handed over that the prompt does not "
            "show itself; export from a run. Nothing was left behind."
        )
    left = len(winner.facts.train) - len(lessons)
    left_out = f"{left} that the prompt shows as its examples are left out." if left else ""
    how = f"It holds {len(lessons)} training rows, each as the messages of the prompt and the wanted answer."
    thoughtless = "The answers are without reasoning." if winner.prompt.reasoning else ""
    return Draft(_write(lessons), winner, note=sentences(how, left_out, thoughtless, NO_SETTINGS))


def _finetune_check(path: Path, draft: Draft) -> str:
    return _lines_fault(path, list(_lessons(draft.winner)))


FINETUNE = Exporter(
    about="OpenAI's fine-tuning: JSONL with the training rows as chats",
    usual_name="finetune.jsonl",
    draft=_finetune_draft,
    check=_finetune_check,
)
