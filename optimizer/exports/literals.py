"""Texts, numbers, tuples and dicts as Python source: exact above all, then readable.

Knows no prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

WIDTH = 110  # columns of a line; escapes may exceed it
INDENT = "    "

Value = str | float | bool | tuple["Value", ...] | Mapping[str, "Value"]


def literal(value: Value, depth: int = 0) -> str:
    """Return the source of a value, on several lines if one is not enough.

    A long text becomes several adjacent literals in parentheses. Unprintable characters are escaped, so that the source
    has no line separators, control characters or changes of writing direction.
    """
    flat = _flat(value)
    if len(INDENT) * depth + len(flat) <= WIDTH:
        return flat
    if isinstance(value, str):
        room = WIDTH - len(INDENT) * (depth + 1) - 2
        lines = [_quoted(piece) for piece in _pieces(value, room)]
        return _bracketed("(", lines, ")", depth) if len(lines) > 1 else flat
    if isinstance(value, Mapping):
        lines = [f"{_quoted(key)}: {literal(item, depth + 1)}," for key, item in value.items()]
        return _bracketed("{", lines, "}", depth)
    assert isinstance(value, tuple)
    return _bracketed("(", [f"{literal(item, depth + 1)}," for item in value], ")", depth)


def _flat(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_flat, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _bracketed(opening: str, lines: list[str], closing: str, depth: int) -> str:
    inner, outer = "\n" + INDENT * (depth + 1), "\n" + INDENT * depth
    return opening + "".join(inner + line for line in lines) + outer + closing


def _quoted(text: str) -> str:
    """Quote a text, with double quotes if possible, as formatters do."""
    shown = repr(text)
    return shown if "'" in text or '"' in text else f'"{shown[1:-1]}"'


def _pieces(text: str, room: int) -> list[str]:
    """Split a text after its line ends, and long lines after white space."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    fitting = re.compile(rf".{{1,{room}}}\Z|.{{1,{room}}}(?<=\s)|.{{1,{room}}}", re.DOTALL)
    return [piece for line in lines for piece in fitting.findall(line)]
