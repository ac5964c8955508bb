"""A DSPy program's JSON -> the seed prompt: its instruction verbatim, its demos as they are, its adapter's layout.

Reads what `program.save("x.json")` writes, without DSPy. A program has no rows to tune it on; they are given
separately.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import DataError, one_of
from optimizer.imports.found import Found, Row
from optimizer.phrases import counted

THOUGHTS = ("reasoning", "rationale")
LISTED = "one of: "  # how the description of an answer field begins in our own exports


def is_program(content: object) -> bool:
    """Whether a JSON value is a program's state."""
    return isinstance(content, Mapping) and bool(_predictors(content))


def read_program(path: Path, content: Mapping[str, Any], columns: Sequence[str]) -> Found:
    """Read a program's state.

    Parameters
    ----------
    path
        The file, for error messages.
    content
        The state.
    columns
        Those of the rows that it is tuned on.

    Raises
    ------
    DataError
        If it has several predictors, or its fields are not columns.
    """
    predictors = _predictors(content)
    if len(predictors) > 1:
        raise DataError(
            f"{path}: has {len(predictors)} predictors ({', '.join(predictors)}); one prompt is tuned at a time. "
            "Save one of them by itself: program.NAME.save(...)."
        )
    ((name, state),) = predictors.items()
    demos = [dict(demo) for demo in state.get("demos", []) if isinstance(demo, Mapping)]
    instruction, fields = str(state["signature"]["instructions"]), state["signature"]["fields"]
    names = [_field(path, str(field.get("prefix", "")), demos, columns) for field in fields]
    thought = next((name for name in names if name in THOUGHTS), "")
    *inputs, target = [name for name in names if name != thought]
    if not inputs or (thought and names[-2] != thought):
        raise DataError(
            f"{path}: its fields are {', '.join(names)}; allowed are inputs and one answer, the last field."
        )
    whole = [demo for demo in demos if all(str(demo.get(name, "")).strip() for name in (*inputs, target))]
    described = str(fields[-1].get("description", ""))
    seed = {"template": "dspy-chat", "reasoning": "on" if thought else "off"}
    seed |= {"demos": "given"} if whole else {}
    made = [
        f"instruction{f' of {name}' if name else ''} -> description, the seed prompt's wording",
        f"fields -> columns: {', '.join(inputs)} -> {target}{', with reasoning before it' if thought else ''}",
    ]
    made += [f"{counted(len(whole), 'demo')} -> demos, shown by the seed prompt as they are"] if whole else []
    return Found(
        "a program of DSPy",
        tuple(inputs),
        target,
        demos=tuple(_demo(demo, inputs, target, thought) for demo in whole),
        description=instruction,
        seed=seed
        | ({"labels": "names", "label_place": "query"} if described.startswith(LISTED) else {"labels": "none"}),
        made=tuple(made),
        left_out=tuple(_left_out(state, fields, len(demos) - len(whole))),
    )


def _predictors(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the state of each predictor by name; the name is empty if the program is a predictor itself."""
    found = {"": content, **{key: value for key, value in content.items() if isinstance(value, Mapping)}}
    return {name: state for name, state in found.items() if _is_state(state)}


def _is_state(state: Mapping[str, Any]) -> bool:
    signature = state.get("signature")
    fields = signature.get("fields") if isinstance(signature, Mapping) else None
    return isinstance(fields, list) and len(fields) > 1 and all(isinstance(field, Mapping) for field in fields)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _field(path: Path, prefix: str, demos: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return the name behind a prefix such as "Support Ticket:": that of a demo's field, or of a column."""
    wanted = _plain(prefix.removesuffix(":"))
    if wanted in THOUGHTS:
        return wanted
    known = [*dict.fromkeys(key for demo in demos for key in demo), *columns]
    name = next((name for name in known if _plain(name) == wanted), wanted)
    if name not in columns:
        raise DataError(
            f"{path}: {one_of('column', name, list(columns), 'Give rows that have the fields of the program.')}"
        )
    return name


def _demo(demo: Mapping[str, Any], inputs: Sequence[str], target: str, thought: str) -> Row:
    fields = {name: str(demo[name]) for name in (*inputs, target)}
    return fields | ({"reasoning": str(demo.get(thought) or "")} if thought else {})


def _left_out(state: Mapping[str, Any], fields: Sequence[Mapping[str, Any]], torn: int) -> list[str]:
    said = [f"{counted(torn, 'demo')} without all fields"] if torn else []
    own = [field for field in fields if not str(field.get("description", "")).startswith(("${", LISTED))]
    said += [f"descriptions of {counted(len(own), 'field')}: put what they say into the description"] if own else []
    said += (
        [f"{counted(len(state['train']), 'training row')}: what they were is not said"] if state.get("train") else []
    )
    said += ["its model: name it in [model]"] if state.get("lm") else []
    return [*said, "types of fields, and the adapter: DSPy does not save them; ChatAdapter is assumed"]
