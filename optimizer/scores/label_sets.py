"""Answers that name several labels of a closed list: reading, writing and comparing them.

Knows texts and lists of labels, no rows of a file and no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from optimizer.scores.row_metrics import Row
from optimizer.scores.set_metrics import macro, micro
from search_spaces.answering import match_label, mentioned, spaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
ENTRY = r"""(?:"([^"\n]*)"|'([^'\n]*)')\s*:\s*["']?(\w+)["']?\s*[,}]"""
SEPARATORS = ", ", "; ", " | "  # the first whose sign stands in no label is used
Counts = Callable[[str, Sequence[str]], tuple[float, ...]]


def separator(labels: Sequence[str]) -> str:
    """Return the separator of labels in an answer; empty if a label contains each possible sign."""
    return next((mark for mark in SEPARATORS if not any(mark.strip() in label for label in labels)), "")


def write(named: frozenset[str], labels: Sequence[str]) -> str:
    """Write labels as an answer, in the order of the list."""
    return separator(labels).join(label for label in labels if label in named)


def pieces(text: str, marks: str) -> list[str]:
    """Split an answer into items: those of a JSON list, true in a JSON object, or separated by lines or `marks`."""
    text = re.sub(r"^```\w*\n|\n```$", "", text.strip()).strip()
    if text.startswith(("[", "{")):
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError):
            listed = None
        if isinstance(listed, dict) and all(isinstance(value, bool) for value in listed.values()):
            listed = [name for name, value in listed.items() if value]
        if isinstance(listed, list) and all(isinstance(item, str) for item in listed):
            return [item.strip() for item in listed if item.strip()]
    parts = re.split(rf"[\n{marks}]", text)
    return [part for part in (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", one).strip() for one in parts) if part]


@lru_cache(maxsize=50_000)  # a search reads all of a prompt's answers again after every block
def read(text: str, labels: tuple[str, ...]) -> frozenset[str]:
    """Return the labels that an answer names, each matched as leniently as a single label.

    A piece that names none counts as a label that is not on the list, so that an invented one costs as any wrong one.
    An empty list, or nothing but no, names the label "none", if there is one.
    """
    said = _answered(text, labels)
    named = [one for one, yes in said.items() if yes] if said else _listed(text, labels)
    if text.strip() and not named:
        return frozenset(label for label in labels if label.casefold() == "none")
    return frozenset(named)


def _answered(text: str, labels: tuple[str, ...]) -> dict[str, bool]:
    """Return what the last object that answers labels by yes or no says of each.

    It may be JSON or Python's own, with words around it and other keys in it. A key that is true and no label counts as
    an invented one.
    """
    for body in reversed(re.findall(r"\{[^{}]*\}", text)):
        entries = [(a or b, said.casefold()) for a, b, said in re.findall(ENTRY, body)]
        named = [(match_label(key, labels), key, said) for key, said in entries if said in YES_OR_NO]
        if any(label for label, _, _ in named):
            return {
                label or f"?{key.casefold()}": YES_OR_NO[said] for label, key, said in named if label or said == "true"
            }
    return {}


def _listed(text: str, labels: tuple[str, ...]) -> list[str]:
    """What the pieces of an answer name."""
    return [label for part in pieces(text, signs(labels)) for label in _named(part, labels)]


def _named(part: str, labels: tuple[str, ...]) -> list[str]:
    """The label that a piece of an answer names, or several that stand there with nothing but "and" between them.

    One that is answered by yes is named, and one that is answered by no is not.
    """
    key, _, value = part.rpartition(":")
    yes = YES_OR_NO.get(re.sub(r"\W", "", value).casefold())
    if yes is not None and part not in labels and (one := match_label(key, labels)):
        return [one] if yes else []
    if one := match_label(part, labels):
        return [one]
    several = mentioned(part, labels)
    rest = {*spaced(part).split()} - {word for label in several for word in spaced(label).split()}
    return several if several and rest <= {"and"} else [f"?{part.casefold()}"]


def reduced(text: str | None, labels: tuple[str, ...]) -> str | None:
    """Rewrite an answer with only the labels of the list that it names; None if it names none of them."""
    return None if text is None else write(read(text, labels), labels) or None


def signs(labels: Sequence[str]) -> str:
    """Return all signs that may separate these labels."""
    return "".join(mark.strip() for mark in SEPARATORS if not any(mark.strip() in label for label in labels))


def found(texts: Sequence[str]) -> list[str]:
    """Return the labels that texts name, sorted; they are separated by one sign (a bar, semicolon or comma)."""
    sign = mark(texts)
    return sorted({piece for text in texts for piece in pieces(text, sign)})


def mark(texts: Sequence[str]) -> str:
    """Return the sign that separates labels in texts; empty if none does, or if all texts are JSON."""
    plain = [text for text in texts if not text.strip().startswith(("[", "{"))]
    return next((sign for sign in "|;," if any(sign in text for text in plain)), "")


def row(name: str, labels: tuple[str, ...]) -> Row:
    """Return the function that scores one row: accuracy of the whole answer, Jaccard index, or F1 of the labels."""

    def one(answer: str, target: str) -> float:
        given, wanted = read(answer, labels), read(target, labels)
        if name == "accuracy":
            return float(given == wanted)
        if name == "jaccard":  # Jaccard (1912)
            return len(given & wanted) / len(given | wanted)
        return 2 * len(given & wanted) / (len(given) + len(wanted))

    return lambda answer, targets: max(one(answer, target) for target in targets)


def counts(name: str, labels: tuple[str, ...]) -> tuple[Counts | None, Callable[[Floats], Floats] | None]:
    """Return the functions that count a row for a metric of whole sets, and score the sums; None for a mean of rows."""

    def of(one: frozenset[str], other: frozenset[str]) -> tuple[float, float, float]:
        return len(one & other), len(one), len(other)

    def together(answer: str, targets: Sequence[str]) -> tuple[float, ...]:
        return of(read(answer, labels), read(targets[0], labels))

    def each(answer: str, targets: Sequence[str]) -> tuple[float, ...]:
        given, wanted = read(answer, labels), read(targets[0], labels)
        return tuple(n for label in labels for n in of(given & {label}, wanted & {label}))

    made = {"micro_f1": (together, micro), "macro_f1": (each, macro)}
    return made.get(name, (None, None))
