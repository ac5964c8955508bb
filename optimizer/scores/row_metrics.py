"""Metrics of one row: (answer, accepted answers) -> score in [0, 1].

Knows only texts: no prompt, outcome or set of rows.
"""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from optimizer.errors import DataError
from search_spaces.answering import last_object

Row = Callable[[str, Sequence[str]], float]
Place = Callable[[str], float | None]


def best(similarity: Callable[[str, str], float]) -> Row:
    """Return a metric that scores an answer by the most similar accepted answer."""

    def row(answer: str, targets: Sequence[str]) -> float:
        return max(similarity(answer, target) for target in targets)

    return row


def accuracy(answer: str, targets: Sequence[str]) -> float:
    """Score 1 if the answer is an accepted one, else 0."""
    return float(answer in targets)


def exact_match(answer: str, target: str) -> float:
    """Score 1 if the words are the same, or, for a JSON object, the (slot, value) pairs; else 0."""
    if target.startswith("{") and (wanted := _slots(target)) is not None:
        found = _slots(answer)
        return float(found is not None and 2 * _shared(found, wanted) == found.total + wanted.total)
    return float(words(answer) == words(target))


def token_f1(answer: str, target: str) -> float:
    """Return the F1 of two bags of words."""
    return _overlap(Counter(words(answer)), Counter(words(target)))


def slot_f1(answer: str, target: str) -> float:
    """F1 of two bags of (slot, value) pairs, each from the last JSON object of a text.

    Each object in a list keeps its own pairs, and is compared with the object with which it has most in common.
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
    """Return whether a text contains a JSON object, as `slot_f1` reads it."""
    return _slots(answer) is not None


def slots(answer: str) -> Hashable:
    """Return all that a text says to `slot_f1`, in no order: two texts with the same slots score the same."""
    try:
        found = _slots(answer)
        return words(answer) if found is None else found.said()
    except RecursionError:
        return answer


def rouge_l(answer: str, target: str) -> float:
    """Return ROUGE-L: Lin (2004), eqs. 2-4 with beta = 1, on words of letters and digits, without stemming."""
    a, b = plain_words(answer), plain_words(target)
    return 2 * _common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def plain_words(text: str) -> tuple[str, ...]:
    """Return the words of letters and digits of a text, without case; if it has none, what stands between spaces."""
    return tuple(re.findall(r"[^\W_]+", text.casefold()) or text.split())


def _overlap(found: Counter[Any], wanted: Counter[Any]) -> float:
    """Return the F1 of two bags; 1 if both are empty."""
    return _f1((found & wanted).total(), found.total() + wanted.total())


def _f1(shared: int, total: int) -> float:
    return 2 * shared / total if total else 1.0


_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_ARTICLES = {"a", "an", "the"}


@lru_cache(maxsize=8192)  # the accepted answers recur with every prompt
def words(text: str) -> tuple[str, ...]:
    """Return the words of an answer as SQuAD compares them (Rajpurkar et al. 2016): no case, punctuation or articles.

    Unlike SQuAD, this keeps different answers apart. Signs and punctuation within numbers stay, so "-1.5" is not "15";
    "1,000.0" becomes "1000", and "3.0e-2" "0.03". Nothing is removed if no word would be left: "(A)" becomes "a", and
    "?" is not "!".
    """
    text = unicodedata.normalize("NFC", text.casefold()).translate(_DASHES)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)  # thousands
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)  # .5
    text = re.sub(r"(?<![\w.])\d+(?:\.(\d+))?e([-+]\d{1,2})(?!\w|\.\d)", _written_out, text)
    text = re.sub(r"(?<![\d.])(\d+)\.(\d+)(?!\.?\d)", _shortest, text)  # 5.00, but not a version such as 1.10.2
    text = "".join(c for c in text if unicodedata.category(c) != "Sc")
    before, after = f" {text}", f"{text[1:]} "
    bare = "".join(c for p, c, n in zip(before, text, after, strict=False) if not _is_mark(c) or _in_number(p, c, n))
    kept = tuple(bare.split())
    return tuple(word for word in kept if word not in _ARTICLES) or kept or tuple(text.split())


def _written_out(number: re.Match[str]) -> str:
    places = max(0, len(number[1] or "") - int(number[2]))
    return f"{float(number[0]):.{places}f}"


def _shortest(number: re.Match[str]) -> str:
    return f"{number[1]}.{number[2].rstrip('0')}".rstrip(".")


def _is_mark(c: str) -> bool:
    return c in string.punctuation or unicodedata.category(c).startswith("P")


def _in_number(before: str, mark: str, after: str) -> bool:
    return after.isdigit() and (before.isdigit() or (mark == "-" and not before.isalnum()))


# --- objects ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slots:
    """The contents of a JSON object: its (slot, value) pairs, and by slot the objects in its lists, each separately."""

    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    items: dict[str, list[_Slots]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of pairs."""
        return self.pairs.total() + sum(item.total for listed in self.items.values() for item in listed)

    def listed(self, slot: str) -> _Slots:
        """Take an object that stands in a slot by itself for a list of one."""
        inside, beside = _Slots(), _Slots()
        for (name, value), times in self.pairs.items():
            home = inside if name.startswith(f"{slot}.") else beside
            home.pairs[name.removeprefix(f"{slot}."), value] = times
        for name, items in self.items.items():
            home = inside if name.startswith(f"{slot}.") else beside
            home.items[name.removeprefix(f"{slot}.")] = items
        if inside.pairs or inside.items:
            beside.items[slot] = [inside]
        return beside

    def said(self) -> frozenset[tuple[tuple[str, Hashable], int]]:
        """Return all that it says, in no order; a list of one object says what the object does by itself."""
        parts: Counter[tuple[str, Hashable]] = Counter(self.pairs)
        for slot, listed in self.items.items():
            inner = [item.said() for item in listed if item.total]
            if len(inner) == 1:
                parts.update({(f"{slot}.{name}", value): times for (name, value), times in inner[0]})
            else:
                parts.update((slot, one) for one in inner)
        return frozenset(parts.items())

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
            said = words(value if isinstance(value, str) else json.dumps(value))
            if said:
                self.pairs[slot, " ".join(said)] += 1


def _slots(text: str) -> _Slots | None:
    """What the last JSON object in a text says; None if there is none."""
    value, _ = last_object(text)
    if value is None:
        return None
    found = _Slots()
    try:
        found.add("", value)
    except RecursionError:  # nested a thousand deep: no answer
        return None
    return found


def _shared(found: _Slots, wanted: _Slots) -> int:
    """Count the pairs that two objects share; of objects in a list those belong together that share most.

    An object where the other has a list of them is a list of one.
    """
    for slot in wanted.items.keys() - found.items.keys():
        found = found.listed(slot)
    for slot in found.items.keys() - wanted.items.keys():
        wanted = wanted.listed(slot)
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
    """Return the length of the longest common subsequence, bit-parallel over rows of the table: Hyyrö (2004)."""
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
    """Return a metric that is 1 minus the distance to the nearest accepted answer, as a share of the range of `order`.

    It guides a search for a rank correlation, where to first order each row's distance counts equally. Without an order
    the range is not known, and only the correct answer scores.
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
    """Return a function from an answer to its place: a number's value, a label's position in `order`; None for others.

    A number may have words around it, such as "**3.5/5** stars"; see `_named_number`.
    """
    if all(number(label) is not None for label in order):
        return _named_number
    places = {label: float(place) for place, label in enumerate(order)}
    return places.get


def position(order: Sequence[str]) -> Callable[[str], Hashable]:
    """Return a function from an answer to its place in an order, or to the answer itself if it has none."""
    place = placed(order)
    return lambda answer: answer if (value := place(answer)) is None else value


def _wanted(place: Place, target: str) -> float:
    value = number(target) if place is _named_number else place(target)
    if value is None:
        raise DataError(
            f"accepted answer {target[:80]!r} has no place in an order; the metric compares numbers, or labels that "
            "the task file declares from lowest to highest. Declare `labels` so, or choose another metric."
        )
    return value


def number(text: str) -> float | None:
    """Return the number of a text that consists of one number; None for others."""
    said = words(text)
    try:
        value = float(said[0]) if len(said) == 1 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


_NUMBER = re.compile(
    r"(?<![^\W_])(?<!\d\.)[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?+"
    r"(?!\.?\d|[\u00bc-\u00be\u2150-\u215f]|\s*(?:hundred|thousand|[mb]illion|trillion))",  # "3\u00bd", "1.2 million"
    re.IGNORECASE,
)
_SCALE = re.compile(r"(?:(?<=\d)[^\S\n]*(?:/|of)|\bout of)[^\S\n]*\d+(?:\.\d+)?(?!\.?\d)", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<!\d)(?<!\d[.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_MANY = re.compile(r"(?<!\d)\d++([/.,:-])\d++(?:\1\d++)+")  # a date, a version, "1,23,456"
_SIGNED = re.compile(r"(?<=[-+])[$\u00a2-\u00a5\u20a0-\u20bf](?=[\d.])")  # the currency in "-$3"


@lru_cache(maxsize=50_000)  # a search reads all of a prompt's answers again after every block
def _named_number(text: str) -> float | None:
    """The number that an answer names: that which its last or first line is, else the only one in it or in those lines.

    Naming two is naming none. A scale is none of them ("3.5/5", "4 out of 5") and neither is a date; a comma may be the
    decimal sign.
    """
    first, last = text.strip().partition("\n")[0], text.strip().rpartition("\n")[2]
    for line in (text, last, first):
        if (value := number(line)) is not None:
            return value
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text.translate(_DASHES))
    text = re.sub(r"(?<=\d),(?=\d)", ".", _MANY.sub("", _SIGNED.sub("", text)))
    text = _SCALE.sub("", text).strip()
    for part in (text, text.rpartition("\n")[2], text.partition("\n")[0]):
        if len(named := {float(found) for found in _NUMBER.findall(part)}) == 1:
            (value,) = named
            return value if math.isfinite(value) else None
    return None
