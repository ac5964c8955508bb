"""A winner as files of other tools, each read back and compared with our own rendering before it counts as written.

    proof       what a format hands over; probes; the comparison
    files       names that are safe, the bench, the move
    messages    JSON of texts and slots
    python      a module that needs the standard library alone
    text        plain text and Markdown
    dspy        a DSPy program

Takes prompts, never opens a database and never prints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import ExportError, one_of
from optimizer.exports import files
from optimizer.exports.dspy import DSPY
from optimizer.exports.files import Target, write_bytes
from optimizer.exports.messages import MESSAGES
from optimizer.exports.proof import Exporter
from optimizer.exports.python import PYTHON
from optimizer.exports.text import MARKDOWN, TEXT
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer

__all__ = ["FORMATS", "Exported", "Exporter", "Target", "export", "write_bytes"]

FORMATS: Mapping[str, Exporter] = {
    "messages": MESSAGES,
    "python": PYTHON,
    "text": TEXT,
    "markdown": MARKDOWN,
    "dspy": DSPY,
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    `fidelity` is "exact" where the files make the messages that were scored, else "partial"; `note` says what
    is lost or must be known, and may be empty.
    """

    format: str
    files: tuple[Path, ...]
    fidelity: str
    note: str


def export(prompt: Prompt, format_name: str, target: Target, renderer: Renderer, probes: Sequence[Example]) -> Exported:
    """Write a prompt in another tool's format.

    Parameters
    ----------
    prompt
        The winner.
    format_name
        A key of `FORMATS`.
    target
        Where to write.
    renderer
        What the prompt was scored with.
    probes
        Rows to compare on, beside a fixed corpus of texts that formats stumble over.

    Raises
    ------
    ExportError
        If the format is unknown or cannot carry the prompt, or the place cannot be written to. Nothing is left
        behind.
    """
    if format_name not in FORMATS:
        raise ExportError(one_of("export format", format_name, list(FORMATS)))
    exporter = FORMATS[format_name]
    path = target.check(exporter.usual_name)
    _refuse_surrogates(prompt)
    draft = exporter.draft(prompt, renderer)
    with files.bench(target.folder) as bench:
        made = bench / path.name
        files.write(made, draft.content)
        fault = exporter.check(made, draft, probes)
        if fault:
            raise ExportError(
                f"{format_name}: the file read back is not the prompt: {fault}. Nothing was left behind. "
                f"Choose another format: {', '.join(name for name in FORMATS if name != format_name)}."
            )
        files.move(made, path, force=target.force)
    names = [] if isinstance(draft.content, str) else list(draft.content)
    return Exported(format_name, tuple(path / name for name in names) or (path,), draft.fidelity, draft.note)


def _refuse_surrogates(prompt: Prompt) -> None:
    try:
        json.dumps(prompt.to_dict(), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ExportError(
            f"the prompt holds {error.object[error.start]!r}, half of a character, which no file in UTF-8 can; "
            "mend the data or the wording that it comes from. Nothing was left behind."
        ) from None
