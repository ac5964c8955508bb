"""Rows with swapped terms, to test whether a term changes a contender's answer.

Knows only texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from search_spaces.prompt import Example


def swapped(rows: Sequence[Example], swaps: Sequence[Sequence[str]]) -> list[Example]:
    """Return the rows that contain one of the terms, with every term replaced by its counterpart.

    Terms are one or several whole words; capitalisation is kept: He becomes She. Terms are replaced in one pass, so
    that nothing is swapped back.
    """
    if not swaps:
        return []
    counterpart = {term.casefold(): other for a, b in swaps for term, other in ((a, b), (b, a))}
    terms = sorted(counterpart, key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, terms))})(?!\w)", re.IGNORECASE)

    def other(found: re.Match[str]) -> str:
        given, new = found.group(), counterpart[found.group().casefold()]
        if given.isupper() and len(given) > 1:
            return new.upper()
        return new[:1].upper() + new[1:] if given[:1].isupper() else new

    changed = [
        replace(row, inputs=tuple((name, pattern.sub(other, text)) for name, text in row.inputs)) for row in rows
    ]
    return [new for new, row in zip(changed, rows, strict=True) if new.inputs != row.inputs]
