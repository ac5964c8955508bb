"""Finds in another input the spans that correspond to a shown answer, by the words around them.

"weather in Rome" -> "Rome" shows that what follows "in" is wanted. Knows nothing of prompts and labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
REACH = 8  # most words of a span whose end is found by the word after it


def shows_spans(rows: Sequence[tuple[str, str]]) -> bool:
    """Whether answers contain spans of their inputs in at least half of these (input, answer) rows."""
    made = sum(any(_find(span, text) >= 0 for span in _spans(answer)) for text, answer in rows)
    return 2 * made >= len(rows) > 0


def carry_over(text: str, answer: str, query: str) -> str:
    """Return the answer to `query` that corresponds to `answer`, which was given to `text`.

    Parameters
    ----------
    text, answer
        A shown input and its answer: one span of it, or a JSON object whose values are spans of it. A value that is not
        a span is kept as it is.
    query
        The new input. A span that has no counterpart in it is left out of an object; a single one is kept.
    """
    fields = _object(answer)
    if fields is None:
        return (_counterpart(text, answer, query) if _find(answer, text) >= 0 else answer) or answer
    carried: dict[str, object] = {}
    for name, value in fields.items():
        listed = value if isinstance(value, list) else [value]
        found = [_carry_value(text, item, query) for item in listed]
        kept = [item for item in found if item is not None]
        if kept:
            carried[name] = kept if isinstance(value, list) else kept[0]
    return json.dumps(carried, ensure_ascii=False)


def _carry_value(text: str, value: object, query: str) -> object:
    if not isinstance(value, str) or _find(value, text) < 0:
        return value
    return _counterpart(text, value, query)


@lru_cache(maxsize=1024)
def _spans(answer: str) -> tuple[str, ...]:
    fields = _object(answer)
    if fields is None:
        return (answer,)
    values = [item for value in fields.values() for item in (value if isinstance(value, list) else [value])]
    return tuple(value for value in values if isinstance(value, str))


def _object(answer: str) -> dict[str, object] | None:
    if not answer.startswith("{"):
        return None
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _find(span: str, text: str) -> int:
    """Return the position of a span as whole words, in any case; -1 if it is not there."""
    if not span.strip() or span.casefold() not in text.casefold():
        return -1
    match = re.search(rf"(?<!\w){re.escape(span)}(?!\w)", text, re.IGNORECASE)
    return match.start() if match else -1


def _counterpart(text: str, span: str, query: str) -> str | None:
    """Return the words of the query that stand where the span stands in the text; None if nothing corresponds."""
    if (same := _find(span, query)) >= 0:
        return query[same : same + len(span)]
    at = _find(span, text)
    before = _TOKEN.findall(text[:at].casefold())[:-3:-1]
    after = _TOKEN.findall(text[at + len(span) :].casefold())[:1]
    places = list(_TOKEN.finditer(query))
    said = [place[0].casefold() for place in places]
    size = len(_TOKEN.findall(span))
    best, score = None, 0.0
    for start in range(len(said)):
        left = _agreement(said[:start][:-3:-1], before) if start else float(not before)
        if not left:
            continue
        stops = [stop for stop in range(start + 1, min(len(said), start + REACH) + 1) if said[stop : stop + 1] == after]
        stop = stops[0] if stops else min(start + size, len(said))
        fit = left + bool(stops) + 0.1 * (stop - start == size)
        if fit > score:
            best, score = (start, stop), fit
    return query[places[best[0]].start() : places[best[1] - 1].end()] if best else None


def _agreement(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Count how many words agree, from the first on."""
    agreed = 0
    for a, b in zip(said, wanted, strict=False):
        if a != b:
            break
        agreed += 1
    return float(agreed)
