"""Error messages for a key or value of a task file: what was given, what is allowed, what to do.

Made from pydantic's error details and the keys of the sections; knows no section itself.
"""

from __future__ import annotations

import re
import reprlib
from typing import Any, get_args

from optimizer.errors import meant, one_of

_QUOTED = re.compile(r"'([^']*)'")


def complaint(detail: Any, task: Any) -> str:  # noqa: ANN401 - pydantic's own shape
    """Return the message for one of pydantic's error details; `task` is the model of a whole task file."""
    loc, kind = list(detail["loc"]), detail["type"]
    if loc[:2] == ["task", "labels"]:
        # pydantic adds the variant of the labels' type there, and at the end "[key]" if a key is wrong, not its value.
        del loc[2:3], loc[3 if loc[-1] == "[key]" else len(loc) :]
    if kind == "extra_forbidden":
        return _unknown_key(loc, task)
    where = ".".join(map(str, loc))
    if kind == "missing":
        return f"`{where}` is missing. Add it{_hint(where)}."
    if kind == "value_error":
        said = str(detail["msg"]).removeprefix("Value error, ")
        return f"`{where}`: {said}" if where else said
    given = "" if isinstance(detail["input"], dict) else f" = {reprlib.repr(detail['input'])}"
    allowed = _ALLOWED.get(kind, "").format(**detail.get("ctx", {})) or detail["msg"].replace("Input should", "must")
    listed = _QUOTED.findall(allowed) if kind == "literal_error" else ()
    return f"`{where}`{given}: {allowed}.{meant(detail['input'], listed)}"


# What is allowed, for errors whose own words refer to pydantic's classes or to Python.
_ALLOWED = {
    "model_type": "must be a section with keys of its own",
    "dict_type": "must be a section with keys of its own",
    "list_type": 'must be a list, such as ["text"]',
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "too_short": "must name at least {min_length}",
    "too_long": "must name at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most 200 characters",
    "string_pattern_mismatch": "must be 1 to 80 letters, digits or any of _ . -",
}


def _unknown_key(loc: list[Any], task: Any) -> str:  # noqa: ANN401
    *parents, key = loc
    section, model = ".".join(parents), task
    for parent in parents:
        if parent not in model.model_fields:  # a section's name that the user chose
            continue
        annotation = model.model_fields[parent].annotation
        model = next((kind for kind in get_args(annotation) if hasattr(kind, "model_fields")), annotation)
    return one_of(f"key in [{section}]" if section else "section", key, keys(model))


def keys(model: Any) -> list[str]:  # noqa: ANN401
    """Return the keys of a section, or the sections of a whole task file."""
    return [name for name, field in model.model_fields.items() if not field.exclude]


def _hint(where: str) -> str:
    hints = {
        "task": ": a [task] section with name and kind",
        "data": ": a [data] section with file, inputs and target",
        "task.name": ', such as name = "support"',
        "data.file": ": the name of the data file, relative to the task file",
        "data.inputs": ', such as inputs = ["text"]',
        "judge.model": ', such as model = "openai/gpt-4o-mini"',
        "data.target": ", the column with the wanted answer",
    }
    return hints.get(where, "")
