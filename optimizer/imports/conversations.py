"""Lines of OpenAI's formats -> rows: chats that end with an answer (fine-tuning), and Evals' `input` with `ideal`.

The messages that all rows begin with are the prompt: a system message becomes the wording, and pairs of question and
answer become demos. The rest is the input. Checked against the formats as of 2026.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from optimizer.errors import DataError
from optimizer.imports.found import Found, Row
from optimizer.phrases import counted
from optimizer.rows.cells import as_text
from optimizer.rows.objects import json_lines

SYSTEM = ("system", "developer")
# How Evals marks examples within system messages.
NAMED = {"example_user": "user", "example_assistant": "assistant"}
ANSWER, ANSWERS = "answer", "answers"
READ = ("messages", "input", "ideal")
SHAPES = {"input": "the user's message", "conversation": "all messages but the last, each after its role"}
FORMS = '{"messages": [...]} that ends with an assistant message, or {"input": [...], "ideal": "..."}'

Turn = tuple[str, str]  # role, text


def read_conversations(path: Path) -> Found:
    """Read a file of chats or of Evals' samples.

    Raises
    ------
    DataError
        If a line is neither, or contains something other than text: tools, images, functions.
    """
    skipped: Counter[str] = Counter()
    rows: list[tuple[list[Turn], list[str]]] = []
    for number, value in json_lines(path):
        context, answers = _sample(f"{path}:{number}", value, skipped)
        if answers:
            rows.append((context, answers))
    if not rows:
        raise DataError(f"{path}: holds no conversation with an answer to learn from. Allowed: {FORMS}.")
    fixed = _fixed([context for context, _ in rows])
    instruction, demos, lost = _prompt(fixed)
    rests = [context[len(fixed) :] for context, _ in rows]
    asks = "input" if all(len(rest) == 1 for rest in rests) else "conversation"
    several = any(len(answers) > 1 for _, answers in rows)
    made = [
        f"{counted(len(rows), 'conversation')} -> rows: {asks} ({SHAPES[asks]}) -> {ANSWER}",
        "the system message of all -> description, the seed prompt's wording" if instruction else "",
        f"{counted(len(demos), 'example')} before every row -> demos, shown by the seed prompt" if demos else "",
    ]
    left_out = [f"{n} × {what}" for what, n in skipped.items()]
    left_out += [f"{counted(lost, 'message')} before every row that no pair of question and answer"] if lost else []
    return Found(
        "conversations of OpenAI",
        (asks,),
        ANSWER,
        tuple({asks: _asked(rest), **_told(answers, several)} for rest, (_, answers) in zip(rests, rows, strict=True)),
        tuple({asks: asked, ANSWER: told} for asked, told in demos),
        instruction,
        seed={"demos": "given"} if demos else {},
        made=tuple(filter(None, made)),
        left_out=tuple(left_out),
    )


def _asked(rest: Sequence[Turn]) -> str:
    """Write what is asked as one text: a single message as it is, several each after its role."""
    return rest[0][1] if len(rest) == 1 else "\n\n".join(f"{role}: {text}" for role, text in rest)


def _told(answers: Sequence[str], several: bool) -> Row:
    also = {ANSWERS: json.dumps(answers, ensure_ascii=False)} if several else {}
    return {ANSWER: answers[0], **also}


def _sample(where: str, value: object, skipped: Counter[str]) -> tuple[list[Turn], list[str]]:
    """Read a line: the messages before the answer, and the answers; none if it is not to be learned from."""
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: is no object. Allowed: {FORMS}.")
    skipped.update(f"key {key!r}" for key in value if key not in READ)
    for key in READ:
        as_text(where, key, value.get(key))  # a lone surrogate is refused here, where its line is known
    if isinstance(value.get("messages"), list):
        *context, last = list(_turns(where, value["messages"])) or [("", "")]
        if last[0] != "assistant":
            raise DataError(
                f"{where}: its last message is not the assistant's, so that no answer is known. Allowed: {FORMS}."
            )
        told = value["messages"][-1]
        if str(told.get("weight", "1")) == "0":
            skipped["conversation whose answer has the weight 0"] += 1
            return context, []
        return context, [last[1]]
    if "input" in value and "ideal" in value:
        asked, ideal = value["input"], value["ideal"]
        context = [("user", asked)] if isinstance(asked, str) else list(_turns(where, asked))
        answers = ideal if isinstance(ideal, list) else [ideal]
        if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
            raise DataError(f"{where}: `ideal` is no text and no list of texts. Allowed: {FORMS}.")
        return context, [str(answer) for answer in answers]
    fix = "Rows with columns of their own are read by `phrasetune init`."
    raise DataError(f"{where}: has the keys {', '.join(map(str, value)) or '(none)'}; allowed: {FORMS}. {fix}")


def _turns(where: str, messages: object) -> Iterator[Turn]:
    if not isinstance(messages, list):
        raise DataError(f"{where}: its messages are no list. Allowed: {FORMS}.")
    for number, message in enumerate(messages, start=1):
        place = f"{where}, message {number}"
        if not isinstance(message, Mapping):
            raise DataError(f"{place}: is no object. Allowed: {FORMS}.")
        role = NAMED.get(str(message.get("name", "")), str(message.get("role", "")))
        calls = [key for key in ("tool_calls", "function_call") if message.get(key)]
        if role not in {*SYSTEM, "user", "assistant"} or calls:
            what = calls[0] if calls else f"role {role!r}"
            raise DataError(
                f"{place}: has {what}; allowed are texts of system, user and assistant. Take such rows out."
            )
        yield role, _text(place, message.get("content"))


def _text(place: str, content: object) -> str:
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    found = [text for text in texts if isinstance(text, str)]
    if len(found) < len(texts) or not found:
        raise DataError(
            f"{place}: its content is no text (an image, a file or nothing); only texts are read. Take it out."
        )
    return "".join(found)


def _fixed(contexts: Sequence[Sequence[Turn]]) -> list[Turn]:
    """Return the messages that all rows begin with; each row keeps at least its last message."""
    if len(contexts) < 2:
        return list(takewhile(lambda turn: turn[0] in SYSTEM, contexts[0][:-1]))
    columns = zip(*(context[:-1] for context in contexts), strict=False)
    return [turns[0] for turns in takewhile(lambda turns: len(set(turns)) == 1, columns)]


def _prompt(fixed: Sequence[Turn]) -> tuple[str, list[Turn], int]:
    """Split the fixed part into the wording, pairs of question and answer, and the number of other messages."""
    wording = "\n\n".join(text for role, text in fixed if role in SYSTEM)
    others = [turn for turn in fixed if turn[0] not in SYSTEM]
    pairs = [(asked[1], told[1]) for asked, told in zip(others[::2], others[1::2], strict=False)]
    alternate = [role for role, _ in others] == ["user", "assistant"] * len(pairs)
    return (wording, pairs, 0) if alternate else (wording, [], len(others))
