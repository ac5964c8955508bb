"""Describing in words what the expected answers of a task have in common: their length, their form, their JSON keys.

A wording may state what is true of nearly all answers of the training rows. Looks at texts only, not at their meaning.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from search_spaces.prompt import Example

NEARLY = 0.97  # share of the answers that a statement must be true of: one label in a hundred is a slip
FEWEST = 8  # answers; with fewer, nothing is stated
LONG = 40  # words; longer lengths are stated roughly ("about 50 words")
MOST_KEYS = 30
FEW = 6  # most different answers that may be listed …
OFTEN = 5  # … if each occurs at least so often on average

# The first that fits is used.
FORMS = {
    "a whole number, in digits": r"-?\d+",
    "a number, in digits": r"-?[\d,]*\.?\d+%?",
    "a date written as YYYY-MM-DD": r"\d{4}-\d\d-\d\d",
    "a single capital letter": r"[A-Z]",
    "in lower case, without punctuation": r"(?=.*[a-z])[a-z0-9 '-]+",
    "in capitals": r"(?=.*[A-Z].*[A-Z])[^a-z]+",
    "one or more whole sentences, each with its full stop": r"[A-Z\"'“(].*[.!?][\"'”)]?",
    "on one line, without a full stop at the end": r"[^\n]*[^\n.]",
}


def answer_words(rows: Sequence[Example], *, sets: Sequence[str] = ()) -> dict[str, str]:
    """Describe what the expected answers have in common.

    Parameters
    ----------
    rows
        Training rows with their answers.
    sets
        The labels, if an answer may name several; otherwise empty.

    Returns
    -------
    dict
        `length` ("2 to 5 words"), `form` ("a whole number, in digits"), `keys` of JSON objects ("city, date"), and
        `count` of labels ("1 to 3"); each an empty text if nothing can be stated.
    """
    answers = [row.target for row in rows]
    if len(answers) < FEWEST:
        return dict.fromkeys(("length", "form", "keys", "count"), "")
    if sets:
        return {"length": "", "form": "", "keys": "", "count": _range([len(named(answer, sets)) for answer in answers])}
    keys = _keys(answers)
    if keys:
        return {"length": "", "form": "", "keys": keys, "count": ""}
    form = _form(rows)
    return {"length": "" if form.startswith("a ") else _length(answers), "form": form, "keys": "", "count": ""}


def named(answer: str, labels: Sequence[str]) -> list[str]:
    """List the labels that an expected answer names: one, or several separated by commas, semicolons or bars."""
    if answer in labels:
        return [answer]
    pieces = {piece.strip() for piece in re.split(r"[,;|]", answer)}
    return [label for label in labels if label in pieces]


def _length(answers: Sequence[str]) -> str:
    counts = [len(answer.split()) for answer in answers]
    said = _range(counts)
    if said == "1":
        return "one word"
    middle = sorted(counts)[len(counts) // 2]
    return f"about {10 * round(middle / 10)} words" if middle >= LONG else f"{said} words"


def _range(counts: Sequence[int]) -> str:
    """Return the range in which nearly all of the counts lie, as text."""
    ordered = sorted(counts)
    out = int((1 - NEARLY) * len(ordered))
    low, high = ordered[out], ordered[-1 - out]
    return str(low) if low == high else f"{low} to {high}"


def _form(rows: Sequence[Example]) -> str:
    answers = [row.target.strip() for row in rows]
    if (different := sorted(set(answers))) and len(different) <= FEW and len(answers) >= OFTEN * len(different):
        return f"one of: {', '.join(different)}"
    if _nearly([answer.casefold() in row.text.casefold() for answer, row in zip(answers, rows, strict=True)]):
        return "copied word for word from what is given"
    fit = (said for said, pattern in FORMS.items() if _nearly([bool(_full(pattern, answer)) for answer in answers]))
    return next(fit, "")


def _full(pattern: str, answer: str) -> bool:
    return re.fullmatch(pattern, answer, re.DOTALL) is not None


def _keys(answers: Sequence[str]) -> str:
    """List the keys of answers that are JSON objects, the most frequent first."""
    seen: Counter[str] = Counter()
    objects = 0
    for answer in answers:
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            objects += 1
            seen.update(dict.fromkeys(map(str, found), 1))
    if objects < NEARLY * len(answers):
        return ""
    return ", ".join(sorted(seen, key=lambda key: (-seen[key], key))[:MOST_KEYS])


def _nearly(kept: Sequence[bool]) -> bool:
    return sum(kept) >= NEARLY * len(kept)
