"""How near an answer is to the accepted ones: (answer, accepted answers) -> score of one row in [0, 1].

Knows texts only: no prompt, outcome or set of rows.
"""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from optimizer.errors import DataError

Row = Callable[[str, Sequence[str]], float]
Place = Callable[[str], float | None]


def best(similarity: Callable[[str, str], float]) -> Row:
    """Score an answer by the accepted answer that it is nearest to."""

    def row(answer: str, targets: Sequence[str]) -> float:
        return max(similarity(answer, target) for target in targets)

    return row


def accuracy(answer: str, targets: Sequence[str]) -> float:
    """Score the right label."""
    return float(answer in targets)


def exact_match(answer: str, target: str) -> float:
    """Score the same words; of a JSON object the same (slot, value) pairs."""
    if target.startswith("{") and (wanted := _slots(target)) is not None:
        found = _slots(answer)
        return float(found is not None and 2 * _shared(found, wanted) == found.total + wanted.total)
    return float(_words(answer) == _words(target))


def token_f1(answer: str, target: str) -> float:
    """F1 of two bags of words."""
    return _overlap(Counter(_words(answer)), Counter(_words(target)))


def slot_f1(answer: str, target: str) -> float:
    """F1 of two bags of (slot, value) pairs, each from the first JSON object of a text.

    Of a list of objects each keeps its pairs to itself, and is compared with the one that it has most in common with.
    """
    wanted = _slots(target)
    if wanted is None:
        raise DataError(
            f"accepted answer {target[:80]!r} holds no JSON object; slot_f1 compares objects such as "
            '{"city": "Paris"}. Write the target column so, or choose another metric.'
        )
    found = _slots(answer)
    return 0.0 if found is None else _f1(_shared(found, wanted), found.total + wanted.total)


def holds_object(answer: str) -> bool:
    """Whether a text holds a JSON object, as `slot_f1` reads it."""
    return _slots(answer) is not None


def rouge_l(answer: str, target: str) -> float:
    """ROUGE-L: Lin (2004), eqs. 2-4 with beta = 1, on words of letters and digits, without stemming."""
    a, b = (re.findall(r"[^\W_]+", text.casefold()) or text.split() for text in (answer, target))
    return 2 * _common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def _overlap(found: Counter[Any], wanted: Counter[Any]) -> float:
    """F1 of two bags; two empty ones agree."""
    return _f1((found & wanted).total(), found.total() + wanted.total())


def _f1(shared: int, total: int) -> float:
    return 2 * shared / total if total else 1.0


_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_ARTICLES = {"a", "an", "the"}


@lru_cache(maxsize=8192)  # the accepted answers come again with every prompt
def _words(text: str) -> tuple[str, ...]:
    """Words of an answer as SQuAD compares them (Rajpurkar et al. 2016): no case, punctuation or articles.

    We differ where that takes two answers for one. Signs and marks between digits stay, so "-1.5" is not "15";
    "1,000.0" is "1000". What would leave nothing stays: "(A)" is "a", and "?" is not "!".
    """
    text = unicodedata.normalize("NFC", text.casefold()).translate(_DASHES)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)  # thousands
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)  # .5
    text = re.sub(r"(?<![\d.])(\d+)\.(\d+)(?!\.?\d)", _shortest, text)  # 5.00, but no version 1.10.2
    text = "".join(c for c in text if unicodedata.category(c) != "Sc")
    before, after = f" {text}", f"{text[1:]} "
    bare = "".join(c for p, c, n in zip(before, text, after, strict=False) if not _is_mark(c) or _in_number(p, c, n))
    words = tuple(bare.split())
    return tuple(word for word in words if word not in _ARTICLES) or words or tuple(text.split())


def _shortest(number: re.Match[str]) -> str:
    return f"{number[1]}.{number[2].rstrip('0')}".rstrip(".")


def _is_mark(c: str) -> bool:
    return c in string.punctuation or unicodedata.category(c).startswith("P")


def _in_number(before: str, mark: str, after: str) -> bool:
    return after.isdigit() and (before.isdigit() or (mark == "-" and not before.isalnum()))


# --- objects ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slots:
    """What a JSON object says: its (slot, value) pairs, and the objects in its lists, by slot, each by itself."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: dict[str, list[_Slots]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many pairs there are."""
        return self.pairs.total() + sum(item.total for listed in self.items.values() for item in listed)

    def add(self, slot: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Take in what a slot holds; null and empty texts say, as an absent slot does, that there is no value."""
        if isinstance(value, dict):
            for name, inner in value.items():
                self.add(f"{slot}.{name}" if slot else name, inner)
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, dict):
                    item = _Slots()
                    item.add("", inner)
                    self.items.setdefault(slot, []).append(item)
                else:
                    self.add(slot, inner)
        elif value is not None:
            words = _words(value if isinstance(value, str) else json.dumps(value))
            if words:
                self.pairs[slot, " ".join(words)] += 1


def _slots(text: str) -> _Slots | None:
    """What the first JSON object in a text says; None if there is none."""
    decoder = json.JSONDecoder()
    for brace in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, brace.start())
            found = _Slots()
            found.add("", value)
        except RecursionError:  # nested a thousand deep: no answer, and each brace in it would cost as much again
            return None
        except ValueError:
            continue
        return found
    return None


def _shared(found: _Slots, wanted: _Slots) -> int:
    """Count the pairs that two objects share; of objects in a list those belong together that share most."""
    shared = (found.pairs & wanted.pairs).total()
    for slot in found.items.keys() & wanted.items.keys():
        given, needed = found.items[slot], wanted.items[slot]
        pairs = [(_shared(a, b), -n, -m) for n, a in enumerate(given) for m, b in enumerate(needed)]
        free, open_ = set(range(len(given))), set(range(len(needed)))
        for common, n, m in sorted(pairs, reverse=True):
            if -n in free and -m in open_:
                free.remove(-n)
                open_.remove(-m)
                shared += common
    return shared


def _common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as bits: Hyyrö (2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(a)) - 1
    row = every
    for word in b:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(a) - row.bit_count()


# --- ordered answers --------------------------------------------------------------------------------------


def closeness(order: Sequence[str]) -> Row:
    """Score an answer by its distance from the nearest accepted one, as a share of the whole range of `order`.

    It is what guides a search for a rank correlation: to first order each row's distance counts alike there. Without
    an order the range is not known, and only the right answer scores.
    """
    place = placed(order)
    ends = [end for label in order if (end := place(label)) is not None]
    span = max(ends) - min(ends) if ends else 0.0

    def row(answer: str, targets: Sequence[str]) -> float:
        wanted = [_wanted(place, target) for target in targets]
        given = place(answer)
        if given is None:
            return 0.0
        distance = min(abs(given - one) for one in wanted)
        return max(0.0, 1.0 - distance / span) if span > 0 else float(distance == 0)

    return row


def placed(order: Sequence[str]) -> Place:
    """Where an answer stands: numbers at their value, labels at their place in `order`; None for any other.

    A number may have words around it, such as "**3.5/5** stars"; see `_named_number`.
    """
    if all(number(label) is not None for label in order):
        return _named_number
    places = {label: float(place) for place, label in enumerate(order)}
    return places.get


def _wanted(place: Place, target: str) -> float:
    value = number(target) if place is _named_number else place(target)
    if value is None:
        raise DataError(
            f"accepted answer {target[:80]!r} has no place in an order; the metric compares numbers, or labels that "
            "the task file declares from lowest to highest. Declare `labels` so, or choose another metric."
        )
    return value


def number(text: str) -> float | None:
    """The number that a text is, if it is one and no more."""
    words = _words(text)
    try:
        value = float(words[0]) if len(words) == 1 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


_NUMBER = re.compile(r"(?<![^\W_])(?<!\d\.)[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?!\.?\d)")
_SCALE = re.compile(r"(?<=\d)[^\S\n]*(?:/|out of|of)[^\S\n]*\d+(?:\.\d+)?(?!\.?\d)", re.IGNORECASE)


@lru_cache(maxsize=50_000)  # a search sums a prompt's answers up anew after every block
def _named_number(text: str) -> float | None:
    """The number that an answer names: the only one in it, else the only one in its last line, else in its first.

    Naming two is naming none. A scale is none of them ("3.5/5", "4 out of 5"), and a comma may be the decimal sign.
    """
    if (value := number(text)) is not None:
        return value
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.translate(_DASHES))
    text = _SCALE.sub("", re.sub(r"(?<=\d),(?=\d)", ".", text)).strip()
    for part in (text, text.rpartition("\n")[2], text.partition("\n")[0]):
        if len(named := {float(found) for found in _NUMBER.findall(part)}) == 1:
            (value,) = named
            return value if math.isfinite(value) else None
    return None
