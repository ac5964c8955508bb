"""What the wanted answers of a task have in common, in words: how long they are, how they are written, what keys.

A constraint that nearly all answers of the training rows keep may be said to the model; what they do not share is left
unsaid. Knows texts, and nothing of what they mean.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from search_spaces.prompt import Example

NEARLY = 0.97  # share of the answers that must keep what is said of them: a label in a hundred is a slip
FEWEST = 8  # answers; of fewer nothing is said
LONG = 40  # words from which on a length is only about right
MOST_KEYS = 30
FEW = 6  # different answers that may be listed …
OFTEN = 5  # … where each is given so often in the mean

# The first that fits is said.
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
    """Say what the wanted answers have in common.

    Parameters
    ----------
    rows
        Training rows with their answers.
    sets
        The labels of which an answer may name several; empty where it is no set of labels.

    Returns
    -------
    dict
        `length` ("2 to 5 words"), `form` ("a whole number, in digits"), `keys` of JSON objects ("city, date"), and
        `count` of labels ("1 to 3"); empty texts where nothing can be said.
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
    """List the labels that a wanted answer names, one or several between commas, semicolons or bars."""
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
    """From where to where nearly all of the counts lie."""
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
