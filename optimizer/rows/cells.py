"""Turning values into the texts of cells, and checking column names, for JSON, Parquet and data frames alike.

Knows no file and no table. Numbers keep their digits as written, booleans become "true" and "false", null becomes "",
and nested values become compact JSON with sorted keys, so that equal values have equal texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from optimizer.errors import DataError

# Most characters of a value that an error quotes.
SHOWN = 60
# Most characters of a text: about three times the largest contexts of models. A longer one comes from a quote that was
# never closed, or is a file in place of a row.
LONGEST = 10_000_000
# More than any task needs. Every row has a cell for each column, so keys that differ in each row would fill the memory.
MOST_COLUMNS = 2_000


class Number(str):
    """A JSON number as it was written: 1.0 stays "1.0", and a long id loses no digits to a float."""

    __slots__ = ()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON; write null for a missing value")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_constant)


def read_list(text: str) -> list[str] | None:
    """Return the items of a cell with a JSON list as texts; None if it is anything else."""
    try:
        value = DECODER.decode(text)
        return [as_text("", "", item) for item in value] if isinstance(value, list) else None
    except (ValueError, RecursionError, DataError):
        return None


def read_answers(text: str) -> list[str] | None:
    """Read a cell of accepted answers: a JSON list, or a single answer, plain or quoted as in JSON.

    Return None if it begins like a list or an object but is not a list.
    """
    if text.startswith(("[", "{")):
        return read_list(text)
    quoted = read_list(f"[{text}]") if text.startswith('"') else None
    return quoted if quoted and len(quoted) == 1 else [text]


def shown(text: str) -> str:
    """Quote a text for an error message, cut to SHOWN characters."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def kind(value: object) -> str:
    """Return the type of a decoded value in the words of JSON."""
    names = {dict: "an object", list: "a list", Number: "a number", str: "a text", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else f"a {type(value).__name__}")


def as_text(where: str, column: str, value: object) -> str:
    """Return the text of a value, as prompts show it. `where` and `column` are for errors.

    Raises
    ------
    DataError
        If the text cannot be sent to a model: it has half a character or a NUL, or is nested too deeply or too long.
    """
    try:
        text = _plain(value)
        text.encode()
    except RecursionError as error:
        raise DataError(f"{where}: column {column!r} is nested too deeply. Give it a text.") from error
    except UnicodeError as error:
        raise DataError(
            f"{where}: column {column!r} holds half a character (a lone surrogate or broken bytes), which cannot "
            "be sent. Remove it, or write the file as UTF-8."
        ) from error
    if "\0" in text:
        raise DataError(f"{where}: column {column!r} holds a NUL character, which cannot be sent. Remove it.")
    if len(text) > LONGEST:
        raise DataError(
            f"{where}: column {shown(column)} holds {len(text):,} characters; allowed are {LONGEST:,}, more than any "
            "model reads. Shorten the text, or remove the row."
        )
    return text


def _plain(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""  # data frames represent a missing value as NaN
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float, list, tuple, Mapping)):
        return _compact(value)
    return str(value)  # dates and decimals, which JSON does not have


def _compact(value: object) -> str:
    """Return compact JSON with sorted keys, and numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Mapping):
        pairs = sorted(((str(key), item) for key, item in value.items()), key=lambda pair: pair[0])
        return "{" + ",".join(f"{_compact(key)}:{_compact(item)}" for key, item in pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_compact, value)) + "]"
    if isinstance(value, float) and math.isnan(value):
        return "null"
    if value is None or isinstance(value, (str, int, float)):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(_plain(value), ensure_ascii=False)


def check_names(path: str, names: Sequence[str], *, some: bool = True) -> None:
    """Raise DataError unless all columns have different names; with `some`, there must be at least one."""
    if some and not names:
        raise DataError(f"{path}: its rows have no columns. Name at least an input and a target column.")
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{path}: has more than {MOST_COLUMNS:,} columns. Keep those that a task needs; an object a row is written "
            '{"column": "text", ...}, with the same keys in each.'
        )
    first: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        as_text(path, name, name)  # names are sent to the model, too
        if not name.strip():
            raise DataError(
                f"{path}: column {position} of {len(names)} has no name. Give every column a name; if it is pandas' "
                "index, save with index=False."
            )
        if name in first:
            raise DataError(
                f"{path}: column {name!r} stands twice in the header ({first[name]} and {position}). "
                "Rename or remove one."
            )
        first[name] = position
