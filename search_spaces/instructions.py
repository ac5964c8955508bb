"""Wordings: filling their placeholders, and describing labels by words from the training rows.

A wording is a text with an id. Its placeholders for the task's own words (`{description}`, `{inputs}`, `{output}`,
`{labels}`) and for what the training rows show (such as `{terms}` or `{length}`) are replaced in one pass; all other
braces stay as they are. A misspelled placeholder would stay, too, so `complaint` checks each wording a person writes.
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

PRIOR = 10.0  # pseudo-counts, the same for all labels: a term seen once or twice is weak evidence
NOTE_TERMS = 10  # most terms in a label's note …
MANY_TERMS = 40  # … and in a long note …
LISTED_TERMS = 200  # … but no more than this in all notes: with dozens of labels, more would cost much and help little
SHORT_TERMS = 4  # terms beside each label if all labels are listed on one line
SAID_TERMS = 30  # most terms, of all labels together, that a wording lists

# A wording's placeholders: for words of the task, and for what the training rows may show.
TASK_WORDS = ("description", "inputs", "output", "labels")
FOUND_WORDS = ("terms", "labels_and_terms", "length", "form", "keys", "count")

STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being but by can did do does for
    from get got had has have he her his how i if in into is it its just me more my no not now of on one or our out
    over she so some than that the their them then there these they this to too up us was we were what when where
    which who why will with would you your""".split()
)


def fill_wording(text: str, words: Mapping[str, str]) -> str:
    """Replace the placeholders of a wording that have words, in one pass."""
    return re.sub(r"\{(\w+)\}", lambda m: words.get(m.group(1), m.group()), text)


def names_in(text: str) -> frozenset[str]:
    """Return the names in braces in a wording."""
    return frozenset(re.findall(r"\{(\w+)\}", text))


def complaint(text: str, names: Collection[str]) -> str:
    """Return a message about the first unknown placeholder of a wording, with those allowed; empty if all are known."""
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
    """Return the task's own words for a wording's placeholders."""
    return {
        "description": description,
        "inputs": " and ".join(name.replace("_", " ") for name in inputs),
        "output": output.replace("_", " "),
        "labels": ", ".join(labels),
    }


def telling_terms(examples: Sequence[Example], labels: Sequence[str], k: int = NOTE_TERMS) -> dict[str, list[str]]:
    """Find the words that distinguish each label from the others.

    They are ranked by the log-odds ratio with an informative Dirichlet prior, divided by its standard deviation
    (Monroe, Colaresi and Quinn 2008, "Fightin' Words", eq. 16, 18 and 22), of the number of rows that contain a word;
    the prior is proportional to a word's frequency in all rows.

    Returns
    -------
    dict
        Label -> up to `k` words, the most distinctive first.
    """
    seen = {label: Counter[str]() for label in labels}
    for example in examples:
        for label in named(example.target, labels):
            seen[label].update(set(_words(example.text)))
    total = sum(seen.values(), Counter[str]())
    size = total.total()
    return {label: _log_odds(counts, total, size)[:k] for label, counts in seen.items()}


def described_labels(text: str, labels: Sequence[str]) -> dict[str, str]:
    """Read descriptions of labels, one `label: description` per line, as label -> description.

    Raises
    ------
    ValueError
        If a line has no label or no description, or describes a label again; the message quotes the line.
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
    """Return how many terms the long note of each of these labels may have."""
    return min(MANY_TERMS, LISTED_TERMS // max(1, len(labels)))


def said_terms(terms: Mapping[str, Sequence[str]]) -> list[str]:
    """Take the most distinctive word of each label, then the next of each, up to SAID_TERMS words."""
    turns = zip_longest(*terms.values())
    return list(dict.fromkeys(word for turn in turns for word in turn if word))[:SAID_TERMS]


def _log_odds(counts: Counter[str], total: Counter[str], size: int) -> list[str]:
    here, there = counts.total(), size - counts.total()
    scores: dict[str, float] = {}
    for word, n in counts.items():
        if total[word] in {1, size}:  # in one row only: it describes that row; the only word of all rows: no label
            continue
        prior = PRIOR * total[word] / size
        a, b = n + prior, total[word] - n + prior
        odds = math.log(a / (here + PRIOR - a)) - math.log(b / (there + PRIOR - b))
        scores[word] = odds / math.sqrt(1 / a + 1 / b)
    return [word for word in sorted(scores, key=lambda w: (-scores[w], w)) if scores[word] > 0]


def _words(text: str) -> list[str]:
    return [w for w in re.findall(r"[^\W\d_]{2,}", text.casefold()) if w not in STOP_WORDS]
