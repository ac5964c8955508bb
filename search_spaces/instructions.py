"""Wordings: filling in the task's own words, and describing labels from the data.

A wording is a text with an id. Its `{description}`, `{inputs}`, `{output}` and `{labels}`, and what was found in the
training rows, such as `{terms}` or `{length}`, are replaced in one pass; any other brace is just a brace. Since a name
that is misspelled would be one, `complaint` is asked before a person's wording is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest

from search_spaces.prompt import Example
from search_spaces.shapes import named

PRIOR = 10.0  # pseudo-counts that all labels share: a term seen once or twice tells little
NOTE_TERMS = 10  # terms a label's note lists …
MANY_TERMS = 40  # … and a long one …
LISTED_TERMS = 200  # … while all notes have no more words: with dozens of labels they would be dear, and tell less
SHORT_TERMS = 4  # terms beside each label where the labels stand in one line
SAID_TERMS = 30  # terms of all labels together that a wording names

# What may stand in a wording's braces: words of the task, and what the training rows may show.
TASK_WORDS = ("description", "inputs", "output", "labels")
FOUND_WORDS = ("terms", "labels_and_terms", "length", "form", "keys", "count")

STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being but by can did do does for
    from get got had has have he her his how i if in into is it its just me more my no not now of on one or our out
    over she so some than that the their them then there these they this to too up us was we were what when where
    which who why will with would you your""".split()
)


def fill_wording(text: str, words: Mapping[str, str]) -> str:
    """Replace the known `{names}` of a wording, in one pass."""
    return re.sub(r"\{(\w+)\}", lambda m: words.get(m.group(1), m.group()), text)


def names_in(text: str) -> frozenset[str]:
    """List the `{names}` that stand in a wording."""
    return frozenset(re.findall(r"\{(\w+)\}", text))


def complaint(text: str, names: Collection[str]) -> str:
    """Say what in a wording's braces stands for nothing, and what may stand there; nothing if nothing is wrong."""
    strange = next((name for name in re.findall(r"\{(\w+)\}", text) if name not in names), "")
    if not strange:
        return ""
    allowed, close = ", ".join(f"{{{name}}}" for name in names), get_close_matches(strange, names, n=1)
    meant = f" Did you mean {{{close[0]}}}?" if close else ""
    return (
        f"{text!r} holds {{{strange}}}, which stands for nothing; allowed: {allowed}.{meant} The inputs themselves are "
        f"put in by the template. For braces as they are write {{ {strange} }}, with spaces."
    )


def task_words(description: str, inputs: Sequence[str], output: str, labels: Sequence[str]) -> dict[str, str]:
    """Say what the `{names}` of a wording stand for."""
    return {
        "description": description,
        "inputs": " and ".join(name.replace("_", " ") for name in inputs),
        "output": output.replace("_", " "),
        "labels": ", ".join(labels),
    }


def telling_terms(examples: Sequence[Example], labels: Sequence[str], k: int = NOTE_TERMS) -> dict[str, list[str]]:
    """Find the words that tell each label from the others.

    Log-odds ratio with an informative Dirichlet prior, divided by its standard deviation (Monroe, Colaresi and
    Quinn 2008, "Fightin' Words", eq. 16, 18 and 22), on the number of rows that hold a word; the prior is the
    words' share in all rows.

    Returns
    -------
    dict
        Label -> up to `k` words, the most telling first.
    """
    seen = {label: Counter[str]() for label in labels}
    for example in examples:
        for label in named(example.target, labels):
            seen[label].update(set(_words(example.text)))
    total = sum(seen.values(), Counter[str]())
    size = total.total()
    return {label: _log_odds(counts, total, size)[:k] for label, counts in seen.items()}


def described_labels(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Read descriptions of labels, a line for each as `label: description`; label -> description.

    Raises
    ------
    ValueError
        If a line begins with no label, or with one that is described already; it says which.
    """
    found: dict[str, str] = {}
    for line in filter(None, (line.strip().removeprefix("- ") for line in text.split("\n"))):
        label = max((label for label in labels if line.startswith(f"{label}:")), key=len, default="")
        described = line[len(label) + 1 :].strip()
        if not label or label in found or not described:
            why = "describes a label twice" if label in found else "is not a label with its description"
            raise ValueError(f"the line {line[:60]!r} {why}")
        found[label] = described
    return found


def many(labels: Sequence[str]) -> int:
    """How many terms a long note of each of these labels lists."""
    return min(MANY_TERMS, LISTED_TERMS // max(1, len(labels)))


def said_terms(terms: Mapping[str, Sequence[str]]) -> list[str]:
    """Take the most telling word of each label, then the next of each, until SAID_TERMS are listed."""
    turns = zip_longest(*terms.values())
    return list(dict.fromkeys(word for turn in turns for word in turn if word))[:SAID_TERMS]


def _log_odds(counts: Counter[str], total: Counter[str], size: int) -> list[str]:
    here, there = counts.total(), size - counts.total()
    scores: dict[str, float] = {}
    for word, n in counts.items():
        if total[word] in {1, size}:  # a word of a single row describes that row; the only word of all, none
            continue
        prior = PRIOR * total[word] / size
        a, b = n + prior, total[word] - n + prior
        odds = math.log(a / (here + PRIOR - a)) - math.log(b / (there + PRIOR - b))
        scores[word] = odds / math.sqrt(1 / a + 1 / b)
    return [word for word in sorted(scores, key=lambda w: (-scores[w], w)) if scores[word] > 0]


def _words(text: str) -> list[str]:
    return [w for w in re.findall(r"[^\W\d_]{2,}", text.casefold()) if w not in STOP_WORDS]
