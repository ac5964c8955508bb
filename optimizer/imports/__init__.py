"""Other tools' files as the beginning of a task: rows, wordings, a seed prompt.

    found           what was found, and what was left out
    conversations   OpenAI's chats (fine-tuning) and Evals' samples
    promptfoo       a configuration
    dspy            a program

Each is read without its tool; what needs the tool to be read is refused. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import DataError
from optimizer.exports.yaml import read_texts
from optimizer.imports.conversations import read_conversations
from optimizer.imports.dspy import is_program, read_program
from optimizer.imports.found import Found, as_csv, columns
from optimizer.imports.promptfoo import is_configuration, read_configuration
from optimizer.rows.tables import check_file
from optimizer.rows.texts import whole

__all__ = ["Found", "as_csv", "columns", "read_foreign"]

LINES, YAML = (".jsonl", ".ndjson"), (".yaml", ".yml")
READ = (
    "conversations or Evals samples of OpenAI (.jsonl), a configuration of promptfoo (.yaml, .json), "
    "a saved program of DSPy (.json)"
)


def read_foreign(path: Path, names: Sequence[str] | None = None) -> Found:
    """Read another tool's file.

    Parameters
    ----------
    path
        The file.
    names
        The columns of the rows that are given with it, if there are any.

    Raises
    ------
    DataError
        If it is of no known tool, or contains something that cannot be read without its tool.
    """
    check_file(path)
    suffix = path.suffix.lower()
    if suffix in LINES:
        return read_conversations(path)
    if suffix not in {".json", *YAML}:
        raise DataError(f"{path}: allowed are {READ}. Rows are read by `phrasetune init`.")
    try:
        content = json.loads(whole(path)) if suffix == ".json" else read_texts(whole(path))
        if is_configuration(content) and suffix == ".json":
            content = read_texts(whole(path))  # with its numbers as they were written, as in YAML
        content = _paired(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]}). Mend it, or save it again.") from None
    if is_configuration(content):
        return read_configuration(path, content, tests=names is None)
    if not is_program(content):
        raise DataError(f"{path}: is none of what can be read: {READ}. Rows are read by `phrasetune init`.")
    if names is None:
        raise DataError(f"{path}: a program of DSPy has no rows to tune it on. Give them: --rows FILE.")
    return read_program(path, content, names)


def _paired(content: Any) -> Any:  # noqa: ANN401
    """Join surrogate pairs, which JSON writes as two escapes; a lone surrogate is a ValueError."""
    if isinstance(content, str):
        return content.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    if isinstance(content, list):
        return [_paired(each) for each in content]
    if isinstance(content, dict):
        return {_paired(key): _paired(value) for key, value in content.items()}
    return content
