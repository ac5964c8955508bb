"""The marks that separate a text into fields: `[[ ## name ## ]]`, tags, bold names, headings, names with a colon.

Knows where a field begins and ends, and which last paragraphs are not a field; `reading` knows what a field means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Mark:
    """A field of a text: its mark spans start..begin, its value begin..end."""

    key: str
    start: int
    begin: int
    end: int


# The ways to mark a field, the plainest last. A value ends at the next mark of its style, or at its closing tag.
STYLES = {
    "bracket": re.compile(r"^\[\[ ## (?P<key>\w+) ## \]\][ \t]*\n?", re.MULTILINE),
    "tag": re.compile(r"<(?P<key>[A-Za-z][\w.-]{0,30})(?: [^<>\n]{0,60})?>"),
    "bold": re.compile(r"^[ \t>*-]{0,3}\*\*(?P<key>[^*\n:]{1,40}?)(?::\*\*|\*\*[ \t]*:)[ \t]*", re.MULTILINE),
    "heading": re.compile(r"^#{1,6}[ \t]+(?P<key>[^\n]{1,40}?)[ \t]*:?[ \t]*(?:\n+|\Z)", re.MULTILINE),
    "line": re.compile(
        r"^[ \t]*(?P<key>[^\W\d_][\w/'-]*(?: [\w/'#-]+){0,3})[ \t]?[:\uff1a]"
        r"(?=\s|\Z)[ \t]*",
        re.MULTILINE,
    ),
}
CLOSED = re.compile(r"</(?P<key>[A-Za-z][\w.-]{0,30})>\Z")
# A last paragraph that addresses the model instead of being the end of a field's value.
_REQUEST = re.compile(
    r"(?:respond|reply|answer|return|output|give|write|classify|choose|pick|select|labels?|options?|which|what is"
    r"|use|do not|only|categories|possible|allowed|please (?:respond|answer|classify|choose))\b",
    re.IGNORECASE,
)
_ABOUT_OUTPUT = re.compile(
    r"`|\bjson\b|\blabels?\b|\bcategor|\boptions?\b|\bone of\b|\bclass|\banswer\b|\bonly\b", re.IGNORECASE
)


@lru_cache(maxsize=4096)
def key_of(name: str) -> str:
    """Normalize a field's name: names that differ only by case or number are equal ("Example 3", "input #2")."""
    return " ".join(re.sub(r"[\W\d_]+", " ", name).casefold().split())


def find_marks(text: str, style: str, keys: frozenset[str] | None = None) -> list[Mark]:
    """List the fields of one style, in order; only those named in `keys`, if given."""
    if not style:
        return []
    hits = [(match, key_of(match["key"])) for match in STYLES[style].finditer(text)]
    hits = [(match, key) for match, key in hits if keys is None or key in keys]
    ends = [*(match.start() for match, _ in hits[1:]), len(text)][: len(hits)]
    marks = []
    for (match, key), following in zip(hits, ends, strict=True):
        end = text.find(f"</{match['key']}>", match.end()) if style == "tag" else following
        marks.append(Mark(key, match.start(), match.end(), following if end < 0 else end))
    return marks


def values(text: str, style: str, keys: frozenset[str]) -> str:
    """Join the values of the named fields; return the text itself if there are none."""
    marks = find_marks(text, style, keys)
    return "\n".join(text[mark.begin : mark.end].strip() for mark in marks) if marks else text.strip()


def split_tail(text: str, edge: int = 0) -> tuple[str, str]:
    """Split off the closing paragraphs, at most three, that say how to answer."""
    body, tail = text.rstrip(), ""
    for _ in range(3):
        cut = body.rfind("\n\n", edge)
        last = body[cut + 2 :].lstrip("-*#< ")
        told = _REQUEST.match(last) and _ABOUT_OUTPUT.search(last) and not CLOSED.search(last)
        if cut <= edge or not told:
            break
        body, tail = body[:cut].rstrip(), f"{body[cut + 2 :]}\n\n{tail}"
    return body, tail.strip()


def outside(text: str, spans: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """Return the text outside the spans, and the length of its part before the first."""
    edges = [(0, 0), *spans, (len(text), len(text))]
    pieces = [text[a[1] : b[0]].strip() for a, b in pairwise(edges)]
    return "\n\n".join(filter(None, pieces)), len(pieces[0])
