"""Google's dotprompt: YAML, then Handlebars with a mark for each role.

Handlebars prints a pair of braces after a backslash, and a backslash before a tag after another backslash; a comment
separates what must not touch. A single brace before an input cannot be escaped. Knows nothing of file names and
folders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from optimizer.errors import ExportError
from optimizer.exports.messages import fixed_turns
from optimizer.exports.names import renamed, slot_names
from optimizer.exports.proof import Draft, Exporter, Render, Winner, arriving, refuse_lost, sentences
from optimizer.exports.yaml import write_yaml
from search_spaces.prompt import Message, Turn

ROLES = {"assistant": "model"}
NOTHING = "{{!}}"  # a comment
PAIRS = re.compile(r"(\\*)((?:\{\{)+)")  # backslashes and pairs of braces
WHY = 'it drops blank messages, reads <<<dotprompt: as a mark of its own, and has no way to write "\\r" exactly'
LOSS = "dotprompt drops a message that is blank, and reads marks of its own (<<<dotprompt:) in an input."


def escaped(text: str) -> str:
    """Escape a text so that it prints itself between others; a single brace at its end must not precede a tag."""

    def printed(found: re.Match[str]) -> str:
        slashes, braces = found.groups()
        return (f"{slashes}\\{NOTHING}" if slashes else "") + "\\{{" * (len(braces) // 2)

    return PAIRS.sub(printed, text)


def _content(turn: Turn, names: Mapping[str, str]) -> str:
    """Return the content of a message as a template.

    Raises
    ------
    ExportError
        If there is a single brace before an input.
    """
    written = ""
    for part in turn.parts:
        if isinstance(part, str):
            written += (NOTHING if part.startswith("}") and written.endswith("}}") else "") + escaped(part)
        else:
            written = _before_tag(written) + "{{" + names[part.name] + "}}"
    return written


def _before_tag(written: str) -> str:
    if re.search(r"(?<!\{)\{(?:\{\{)*\Z", written):
        raise ExportError(
            "dotprompt cannot hold a brace right before an input or at the end of a message: Handlebars reads it as "
            "part of a tag. Export it as messages or python. Nothing was left behind."
        )
    return written + "\\" if written.endswith("\\") else written


def _draft(winner: Winner) -> Draft:
    turns, names, facts = fixed_turns(winner), slot_names(winner.prompt.inputs), winner.facts
    refuse_lost("dotprompt", WHY, turns, _arrives_written)
    body = ""
    for turn in turns:
        body = _before_tag(body) + f'{{{{role "{ROLES.get(turn.role, turn.role)}"}}}}'
        content = _content(turn, names)
        body += (NOTHING if content.startswith("}") else "") + content
    settings = winner.prompt.settings
    head = {
        "model": facts.model or facts.bare_model,
        "config": {"temperature": settings.temperature, "maxOutputTokens": settings.max_tokens},
        "input": {"schema": dict.fromkeys(names.values(), "string")},
    }
    # The end of a file is trimmed; a single comment alone on a line would also remove its line end.
    text = f"---\n{write_yaml(head)}---\n{_before_tag(body)}{NOTHING * 2}"
    return Draft(text, winner, "partial", sentences(LOSS, facts.elsewhere, renamed(names)), arriving(turns, _arrives))


def _arrives(message: Message) -> bool:
    return bool(message.content.replace("\ufeff", "").strip()) and "<<<dotprompt:" not in message.content


def _arrives_written(message: Message) -> bool:
    return _arrives(message) and "\r" not in message.content


def _read(path: Path, draft: Draft) -> Render:
    """Read the body as Handlebars does."""
    _, _, body = path.read_bytes().decode().split("---\n", 2)
    slots = {slot: name for name, slot in slot_names(draft.prompt.inputs).items()}
    row = list(_tokens(body))

    def render(inputs: Mapping[str, str]) -> list[dict[str, str]]:
        messages: list[dict[str, str]] = []
        for kind, text in row:
            if kind == "role":
                messages.append({"role": "assistant" if text == "model" else text, "content": ""})
            else:
                messages[-1]["content"] += inputs[slots[text]] if kind == "slot" else text
        return messages

    return render


LEXEME = re.compile(
    r"""(?P<slashes>\\*)(?:
        \{\{role\ "(?P<role>\w+)"\}\} | \{\{(?P<slot>\w+)\}\} | (?P<comment>\{\{!\}\}) | (?P<braces>\{\{) )""",
    re.VERBOSE,
)


def _tokens(body: str) -> list[tuple[str, str]]:
    """Split a body into texts, roles and slots.

    Of two or more backslashes before a tag, one is dropped; a single one turns the braces into text.
    """
    found, at = [], 0
    while match := LEXEME.search(body, at):
        slashes = match["slashes"]
        found.append(("text", body[at : match.start()]))
        if len(slashes) == 1:
            found.append(("text", "{{"))
            at = match.start() + 3
            continue
        found.append(("text", slashes[1:]))
        kind = next((kind for kind in ("role", "slot") if match[kind]), "")
        assert kind or match["comment"], "braces that are no tag stand behind a backslash"
        found += [(kind, match[kind])] if kind else []
        at = match.end()
    found.append(("text", body[at:]))
    return [token for token in found if token[1]]


DOTPROMPT = Exporter(
    about="Google's dotprompt, for Genkit and Firebase",
    usual_name="prompt.prompt",
    draft=_draft,
    read=_read,
    fidelity="partial: blank messages and inputs with dotprompt's own marks are lost; such prompts are refused",
)
