"""Takes a prompt apart as a reader without understanding might: what is asked, and what stood before it.

One idea covers all templates: a prompt is a row of marked fields, and the way it ends shows how they are marked. The
last group, which has no answer yet, is the query; earlier groups with the same marks are demonstrations; the rest is
the guide. Turns of a chat are marks as well. Knows no template, no label and no score.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from optimizer.embedded.marks import CLOSED, STYLES, Mark, find_marks, key_of, outside, split_tail, values
from search_spaces.prompt import Message


@dataclass(frozen=True, slots=True)
class Shown:
    """One demonstration.

    Parameters
    ----------
    text
        Its input.
    answer
        Its answer as it stands.
    distance
        Characters from the answer to the end of the prompt.
    gap
        Characters of marks and whitespace between the previous answer and the input.
    """

    text: str
    answer: str
    distance: int
    gap: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt taken apart.

    Parameters
    ----------
    query
        The text that is asked about.
    shown
        The demonstrations, in order.
    guide
        What stands before the query and is not a demonstration: instruction, labels, format.
    tail
        What stands after the query and addresses the model.
    cue
        The open mark that the prompt ends with, if any.
    early
        Characters of `guide` that stand before the demonstrations.
    length
        Characters of the whole prompt.
    """

    query: str
    shown: tuple[Shown, ...] = ()
    guide: str = ""
    tail: str = ""
    cue: str = ""
    early: int = 0
    length: int = 0

    def distance(self, place: int) -> int:
        """Return the number of characters from a position in the guide to the end of the prompt."""
        shown = self.length - len(self.guide) - len(self.query) - len(self.tail) if place < self.early else 0
        far = len(self.guide) - place + max(shown, 0) + len(self.query) + len(self.tail)
        return far if place < len(self.guide) else len(self.guide) + len(self.tail) - place


MOST_ROWS = 1000  # rows without other marks that are read, the last ones; more would be noise
TURN_GAP = 24  # characters that chat formats put between two messages, as in "<|im_end|>\n<|im_start|>"

_OPEN_TAG = re.compile(r"<[A-Za-z][\w.-]{0,30}>\Z")
_ARROW = re.compile(r"(?:[=-]{1,2}>|\u2192)\Z")
_INLINE = re.compile(r"(?:^|(?<=\s))(?:[\w'-]+ ){0,2}[\w'-]+[ \t]?:\Z")
_GROUP_BREAK = re.compile(r"\n[ \t]*(?:#{1,6} |-{3,}|={3,}|\*{3,}|</|\[\[ ##)")
# Names of fields that address the model; any other field may be part of the query.
_GUIDING = re.compile(
    r"(?:(?:answer|output|response|reply) )?(?:format|options?|labels?|categor\w+|class\w*|choices?|answers?"
    r"|instructions?|tasks?|goal|objective|notes?|hints?|rules?|examples?|demonstrations?|steps?|role|guidelines?"
    r"|descriptions?|definitions?|important|warning|remember|system)\b"
)
_PLACEHOLDER = re.compile(r"\s*\{\w+\}")


def read(messages: Sequence[Message]) -> Reading:
    """Take a prompt apart.

    Parameters
    ----------
    messages
        A whole prompt, in order. If the last message is the assistant's, it begins the answer, and counts as the cue.
    """
    turns = [message for message in messages if message.content.strip()]
    if not turns:
        return Reading("")
    prefill = turns.pop().content if len(turns) > 1 and turns[-1].role == "assistant" else ""
    last = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    if 0 <= last < len(turns) - 1:
        found = replace(_read_turns(turns, last), cue=prefill)
    else:
        pieces = [turn.content for turn in turns] + ([prefill] if prefill else [])
        edge = sum(len(turn.content) + 2 for turn in turns[:-1])
        found = _read_text("\n\n".join(pieces).rstrip(), edge)
    return replace(found, length=sum(len(message.content) for message in messages))


# --- turns ------------------------------------------------------------------------------------------------


def _read_turns(turns: Sequence[Message], last: int) -> Reading:
    """Read a chat: pairs of user and assistant turns are demonstrations, the user's last words are the query."""
    guide = [turn.content for turn in turns if turn.role not in ("user", "assistant")]
    rows: list[tuple[str, str, int]] = []
    asked: list[str] = []
    left = sum(len(turn.content) for turn in turns)
    for turn in turns[: last + 1]:
        left -= len(turn.content)
        if turn.role == "user":
            asked.append(turn.content)
        elif turn.role == "assistant":
            rows.append(("\n".join(asked), turn.content, left))
            asked = []
    body, tail = split_tail("\n".join(turn.content for turn in turns[last + 1 :] if turn.role == "user"))
    style, keys = _shared_marks([text for text, _, _ in rows], body)
    inputs = [values(text, style, keys) for text, _, _ in rows]
    shown = tuple(
        Shown(value, answer, far, TURN_GAP + len(text) - len(value))
        for value, (text, answer, far) in zip(inputs, rows, strict=True)
    )
    if keys:
        # Where there is no system message, the first turn begins with the instruction.
        guide.append(rows[0][0][: find_marks(rows[0][0], style, keys)[0].start])
    said = "\n\n".join(filter(None, guide))
    return Reading(values(body, style, keys), shown, said, tail, early=len(said))


def _shared_marks(texts: Sequence[str], body: str) -> tuple[str, frozenset[str]]:
    """Find the style and the keys that the query opens with and that every demonstration has, too."""
    for style, pattern in STYLES.items():
        keys = frozenset(mark.key for mark in find_marks(body, style)) if pattern.match(body.lstrip()) else frozenset()
        kept = [keys & {mark.key for mark in find_marks(text, style)} for text in texts]
        if keys and all(kept):
            return style, frozenset().union(*kept)
    return "", frozenset()


# --- one text ---------------------------------------------------------------------------------------------


def _read_text(text: str, edge: int) -> Reading:
    """Read a prompt that is one text; its last message begins at `edge`."""
    if cue := _cue(text, edge):
        style, start = cue
        return _read_cued(text, style, start) or _read_inline(text, start, edge)
    body, tail = split_tail(text, edge)
    closed = CLOSED.search(body)
    found = _read_tags(body, closed["key"]) if closed else _read_last_field(body, edge)
    return replace(found, tail=tail)


def _cue(text: str, edge: int) -> tuple[str, int] | None:
    """Find the open mark that a prompt ends with: its style and where it starts."""
    line = text.rfind("\n") + 1
    for style, pattern in (("tag", _OPEN_TAG), ("", _ARROW)):
        if match := pattern.search(text, line):
            return style, match.start()
    for style in ("bracket", "bold", "line", "heading"):
        match = STYLES[style].match(text, line)
        if match and match.end() == len(text):
            # A separate message may end with a colon by chance: it opens with no mark, and the ending occurs only once.
            fielded = any(pattern.match(text, edge) for pattern in STYLES.values())
            if fielded or not edge or len(find_marks(text, style, frozenset([key_of(match["key"])]))) > 1:
                return style, line
            return None
    if match := _INLINE.search(text, max(line, len(text) - 100)):
        words = match[0].split(" ")
        ends = [" ".join(words[at:]) for at in range(len(words) - 1, -1, -1)]
        # Of "a fine film Sentiment:" only the words that stood before earlier answers are the mark.
        best = max(ends, key=lambda end: (text.count(end), -len(end.split()) if text.count(end) < 2 else len(end)))
        return ("", len(text) - len(best)) if text.count(best) > 1 or not edge else None
    return None


def _read_cued(text: str, style: str, start: int) -> Reading | None:
    """Read a prompt that ends with an open mark: what follows earlier marks like it are answers."""
    marks = find_marks(text, style)
    answers = [mark for mark in marks[:-1] if mark.key == marks[-1].key] if marks else []
    if not answers:
        return _read_lone(text, [mark for mark in marks if mark.start < start], start)
    before = {mark.key for mark in marks if mark.start < answers[0].start}
    after = [m.key for m in marks if answers[-1].start < m.start < start and m.key in before]
    after = after or [m.key for m in marks if m.start < answers[0].start][-1:]
    if not after:
        return None
    heads = [mark for mark in marks if mark.key == after[0]]
    starts = [mark.start for mark in heads]
    keys = frozenset(after)
    shown: list[Shown] = []
    spans: list[tuple[int, int]] = []
    edge = 0
    for answer in answers:
        low, high = bisect_left(starts, edge), bisect_left(starts, answer.start)
        following = starts[high] if high < len(starts) else start
        end = _answer_end(text, answer, following, before - {answer.key})
        if low < high:
            opening = heads[low if shown else high - 1]
            asked = values(text[opening.start : answer.start], style, keys)
            given = text[answer.begin : end].strip()
            shown.append(Shown(asked, given, len(text) - end, opening.begin - edge))
            spans.append((opening.start, end))
        edge = end
    own = next((head.start for head in heads if edge <= head.start < start), None)
    if own is None and spans:
        # The last group is open, so an answer in it is part of the row.
        own, _ = spans.pop()
        shown.pop()
    own = start if own is None else own
    query, tail = split_tail(values(text[own:start], style, keys))
    guide, early = outside(text[:own], spans)
    return Reading(query, tuple(shown), guide, tail, text[start:], early)


def _answer_end(text: str, answer: Mark, following: int, known: set[str]) -> int:
    """Return where a shown answer ends: at its tag, a heading, a rule, a known mark, or the next row."""
    limit = min(answer.end, following) if text[answer.end : answer.end + 2] == "</" else following
    window = text[answer.begin : limit]
    ends = [match.start() for match in _GROUP_BREAK.finditer(window)]
    for mark in find_marks(window, "line"):
        hollow = not window[mark.begin :].strip()
        if mark.key in known or hollow or window[: mark.start].endswith("\n\n"):
            ends.append(mark.start)
    return answer.begin + min((end for end in ends if window[:end].strip()), default=len(window))


def _read_lone(text: str, marks: Sequence[Mark], start: int) -> Reading | None:
    """Read a prompt without demonstrations: the query is the fields before the cue that do not address the model."""
    guiding = [at for at, mark in enumerate(marks) if _GUIDING.match(mark.key)]
    row = marks[guiding[-1] + 1 if guiding else 0 :]
    if not row:
        return None
    query, tail = split_tail(text[row[0].begin : start].strip())
    return Reading(query, (), text[: row[0].start].strip(), tail, text[start:])


def _read_inline(text: str, start: int, edge: int) -> Reading:
    """Read "input cue answer" rows, one per line or per paragraph, by the exact text of the cue."""
    cue = text[start:]
    shown: list[Shown] = []
    spans: list[tuple[int, int]] = []
    low = 0
    for place in [match.start() for match in re.finditer(re.escape(cue), text[:start])][-MOST_ROWS:]:
        opening = _row_start(text, low, place)
        end = text.find("\n", place)
        if end < 0:
            break  # the query's own line
        answer = text[place + len(cue) : end].strip()
        if answer and text[opening:place].strip():
            asked = _unmark(text[opening:place])
            shown.append(Shown(asked, answer, len(text) - end, place - low - len(asked)))
            spans.append((opening, end))
        low = end
    own = _row_start(text, low if shown else edge, start)
    guide, early = outside(text[:own], spans)
    return Reading(_unmark(text[own:start]), tuple(shown), guide, "", cue, early)


def _row_start(text: str, low: int, place: int) -> int:
    """Return where the row before a cue starts: its line, or its paragraph if the cue has a line of its own."""
    opening = max(text.rfind("\n", low, place) + 1, low)
    if not text[opening:place].strip():
        filled = low + len(text[low:place].rstrip())
        opening = max(text.rfind("\n\n", low, filled) + 2, low) if "\n\n" in text[low:filled] else low
    return opening


def _unmark(text: str) -> str:
    """Remove a mark that opens a text ("Review: great" -> "great")."""
    text = text.strip()
    for style in ("bold", "line"):
        if (match := STYLES[style].match(text)) and match.end() < len(text):
            return text[match.end() :].strip()
    return text


def _read_tags(text: str, container: str) -> Reading:
    """Read a prompt that ends with a closing tag: the fields inside are the query's."""
    start = max(text.rfind(f"<{container}>"), text.rfind(f"<{container} "), 0)
    inner: list[Mark] = []
    for mark in find_marks(text[start:], "tag")[1:]:
        if text.startswith("</", start + mark.end) and not (inner and mark.start < inner[-1].end):
            inner.append(mark)
    marks = find_marks(text[:start], "tag")
    given = _answer_tag(marks, inner[0].key) if inner else ""
    inner = [mark for mark in inner if mark.key != given]  # the last row has none: it is text there
    keys = frozenset(mark.key for mark in inner) or frozenset([key_of(container)])
    lead = inner[-1].key if inner else key_of(container)
    shown, spans = _tagged_rows(text, marks, keys, lead)
    guide, early = outside(text[:start], spans)
    return Reading(values(text[start:], "tag", keys), shown, guide, early=early)


def _answer_tag(marks: Sequence[Mark], first: str) -> str:
    """Return the tag that closes the first of several rows, or an empty text; `first` is the tag that opens rows."""
    leads = [at for at, mark in enumerate(marks) if mark.key == first][:2]
    last = ""
    edge = 0
    for mark in marks[leads[0] : leads[1]] if len(leads) > 1 else []:
        if mark.start >= edge and mark.end <= marks[leads[1]].start:
            last, edge = mark.key, mark.end
    return last if last != first else ""


def _tagged_rows(
    text: str, marks: Sequence[Mark], keys: frozenset[str], lead: str
) -> tuple[tuple[Shown, ...], list[tuple[int, int]]]:
    """Find the rows that have the query's tags, `lead` the last of them, followed by another tag, the answer."""
    shown: list[Shown] = []
    spans: list[tuple[int, int]] = []
    leads = [at for at, mark in enumerate(marks) if mark.key == lead]
    for at, again in pairwise([*leads, len(marks)]):
        mark = marks[at]
        rest = (m for m in marks[at + 1 : again] if m.start >= mark.end and m.key not in keys)
        answer = next(rest, None)
        opening = mark.start
        for earlier in reversed(marks[max(at - len(keys), 0) : at]):
            if earlier.key not in keys or earlier.key == lead:
                break
            opening = earlier.start
        asked = values(text[opening : answer.start], "tag", keys) if answer else ""
        if answer and not _PLACEHOLDER.fullmatch(asked):
            given = text[answer.begin : answer.end].strip()
            gap = opening - spans[-1][1] if spans else 0
            shown.append(Shown(asked, given, len(text) - answer.end, gap))
            spans.append((opening, answer.end))
    return tuple(shown), spans


def _read_last_field(text: str, edge: int) -> Reading:
    """Read a prompt that ends in plain text: the query is the last fields if there are any, else the last words."""
    for style, pattern in STYLES.items():
        marks = find_marks(text, style)
        if style == "tag" or not marks or marks[-1].start < edge or (edge and not pattern.match(text, edge)):
            continue
        rivals = Counter(b.key for a, b in pairwise(marks) if a.key == marks[-1].key != b.key)
        if rivals and style != "bracket":
            wanted = next(mark for mark in marks if mark.key == rivals.most_common(1)[0][0])
            cue = text[wanted.start : wanted.begin].strip()
            if found := _read_cued(f"{text}\n{cue}", style, len(text) + 1):
                return replace(found, cue="")
        # A message that opens with a single plain mark may contain it by chance ("Re: my invoice").
        lone = [mark for mark in marks if mark.start >= edge]
        if (not edge or style != "line" or len(lone) > 1) and (found := _read_lone(text, lone, len(text))):
            return found
    if edge:
        return Reading(text[edge:].strip(), (), text[:edge].strip())
    cut = text.rfind("\n\n")
    cut = text.find(": ") + 1 if cut < 0 else cut
    return Reading(text[max(cut, 0) :].strip(), (), text[:cut].strip() if cut > 0 else text)
