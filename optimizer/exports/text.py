"""A prompt for people: as plain text to paste, and as Markdown to read.

An input is shown by a mark that occurs nowhere else in the prompt, so that the file can be split into texts and slots
again, which is also how it is checked. Knows nothing of file names and folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from optimizer.errors import ExportError
from optimizer.exports.marks import Marks, choose_marks, note
from optimizer.exports.messages import NO_SETTINGS, fixed_turns
from optimizer.exports.proof import Draft, Exporter, Render, Winner, filling, sentences
from search_spaces.prompt import Turn

HEADING_WIDTHS = range(1, 9)
ROLES = ("system", "user", "assistant")


# --- plain text -------------------------------------------------------------------------------------------


def _text_draft(winner: Winner) -> Draft:
    turns = fixed_turns(winner)
    marks = choose_marks(turns, winner.prompt.inputs)
    width = _heading_width(turns, marks)
    headed = f"The roles are headed {_heading('user', width)}, since [user] or another role stands in the prompt."
    known = sentences(NO_SETTINGS, note(winner.prompt, marks), headed if width > 1 else "")
    return Draft(_write_text(turns, marks, width), winner, note=known)


def _heading(role: str, width: int) -> str:
    return "[" * width + role + "]" * width


def _heading_width(turns: Sequence[Turn], marks: Marks) -> int:
    """Return how many brackets the roles need so that no line of the prompt looks like a role."""
    wanted = [(turn.role, marks.body(turn)) for turn in turns]
    for width in HEADING_WIDTHS:
        if _read_text(_write_text(turns, marks, width), width, [turn.role for turn in turns]) == wanted:
            return width
    raise ExportError(
        "the prompt holds lines like every heading that its roles could have, from [user] on; a text needs one "
        "that stands nowhere else. Export it as messages or python. Nothing was left behind."
    )


def _write_text(turns: Sequence[Turn], marks: Marks, width: int) -> str:
    return "\n\n".join(f"{_heading(turn.role, width)}\n{marks.body(turn)}" for turn in turns) + "\n"


def _read_text(text: str, width: int, roles: Iterable[str]) -> list[tuple[str, str]]:
    names = "|".join(re.escape(role) for role in sorted({*ROLES, *roles}))
    opening, closing = re.escape("[" * width), re.escape("]" * width)
    _, *pieces = re.split(rf"^{opening}({names}){closing}\n", text, flags=re.MULTILINE)
    bodies = [body.removesuffix("\n\n") for body in pieces[1:-1:2]] + [body.removesuffix("\n") for body in pieces[-1:]]
    return list(zip(pieces[::2], bodies, strict=True))


def _text_read(path: Path, draft: Draft) -> Render:
    turns = fixed_turns(draft.winner)
    marks = choose_marks(turns, draft.prompt.inputs)
    found = _read_text(path.read_bytes().decode(), _heading_width(turns, marks), [turn.role for turn in turns])
    return _cut(found, marks)


def _cut(found: Iterable[tuple[str, str]], marks: Marks) -> Render:
    return filling([marks.cut(role, body) for role, body in found])


TEXT = Exporter(
    about="plain text with [user] headings and {inputs}, to read and to paste",
    usual_name="prompt.txt",
    draft=_text_draft,
    read=_text_read,
)


# --- Markdown ---------------------------------------------------------------------------------------------

BLOCK = re.compile(r"^## \d+\. ([^\n]*)\n\n(`{3,})text\n(.*?)\n\2\n", re.MULTILINE | re.DOTALL)


def _markdown_draft(winner: Winner) -> Draft:
    turns, prompt = fixed_turns(winner), winner.prompt
    marks = choose_marks(turns, prompt.inputs)
    facts = {
        "template": _code(prompt.template),
        "inputs": ", ".join(_code(mark) for mark in marks.by_name.values()),
        "answer": _code(prompt.output),
        "labels": str(len(prompt.labels)) if prompt.labels else "open answers",
        "answer format": _code(prompt.answer_format),
        "reasoning": "yes" if prompt.reasoning else "no",
        "examples": str(len(prompt.demos)),
        "temperature": str(prompt.settings.temperature),
        "max_tokens": str(prompt.settings.max_tokens),
    }
    lines = ["# Prompt", "", "| parameter | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    blocks = [_block(number, turn.role, marks.body(turn)) for number, turn in enumerate(turns, start=1)]
    return Draft("\n".join([*lines, "", *blocks]), winner, note=note(prompt, marks))


def _block(number: int, role: str, body: str) -> str:
    """Return a message between fences of more backticks than any run of them in it (CommonMark 0.31, section 4.5)."""
    fence = "`" * max(3, 1 + _longest_run(body))
    return f"## {number}. {role}\n\n{fence}text\n{body}\n{fence}\n"


def _code(text: str) -> str:
    """Return a name as code for a table cell."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (1 + _longest_run(text))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _markdown_read(path: Path, draft: Draft) -> Render:
    marks = choose_marks(fixed_turns(draft.winner), draft.prompt.inputs)
    blocks = BLOCK.findall(path.read_bytes().decode())
    return _cut([(role, body) for role, _, body in blocks], marks)


MARKDOWN = Exporter(
    about="Markdown to read: a table of the settings, and each message in a fence",
    usual_name="prompt.md",
    draft=_markdown_draft,
    read=_markdown_read,
)
