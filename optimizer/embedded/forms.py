"""What a prompt asks for: the labels it lists, and the form in which an answer is to be written.

Both are read only from the prompt's words and its shown answers. Knows nothing of how an answer is chosen.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from optimizer.embedded.reading import Reading


@dataclass(frozen=True, slots=True)
class Label:
    """A label that the prompt lists, its description, and its position in the guide.

    Positions in the tail continue from the end of the guide.
    """

    name: str
    note: str
    place: int


_LISTED = re.compile(
    r"(?:^[ \t>#*<\[-]*|(?<=[.;!?] ))(?:options?|labels?|categor\w*|classes|choices|answers|intents?|topics?|tags"
    r"|possible[ \w]*|allowed[ \w]*|(?:valid|available)[ \w]*)[ \t>*\]]*:?[ \t>*]*\n?",
    re.IGNORECASE | re.MULTILINE,
)
_BULLET = re.compile(
    r"^[ \t]*(?:[-*\u2022+]|\(?\d{1,3}[.)]|\(?[A-Za-z]\))[ \t]+[*`'\"]{0,3}"
    r"(?P<name>[^\n:*`\"]{1,60}?)[*`'\"]{0,3}[ \t]*"
    r"(?:(?::|\u2013|\u2014| - |=)[*]{0,2}[ \t]*(?P<note>[^\n]*))?$",
    re.MULTILINE,
)
_LITERAL = re.compile(r"(?:Literal)?\[((?:\s*(?:'[^'\n]*'|\"[^\"\n]*\")\s*,?){2,})\]")
_ONE_OF = re.compile(r"\bone of:?[ \t]*([^\n.]*;[^\n.]*)", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)['\"\u2018\u201c`]([^'\"\u2019\u201d`\n<\[]{1,50})['\"\u2019\u201d`](?!\w)")
_BETWEEN = re.compile(r"(?:[\s,;/|]|\bor\b|\band\b|\bas\b){1,12}")
_SERIES = re.compile(
    r"(?<![\w/-])[\w/-]+(?: [\w/-]+)?(?:, (?:as )?[\w/-]+(?: [\w/-]+)?){1,100},? (?:and|or|&) (?:as )?[\w/-]+"
    r"|(?<![\w/-])[\w/-]+ or (?:as )?[\w/-]+"
)
_SAMPLE = re.compile(r"\{\s*\"[^{}\"]+\"\s*:(?:[^{}]|\{[^{}]*\})*\}")


def letters(text: str) -> str:
    """Return only the letters and digits of a text, in lower case."""
    return "".join(c for c in text.casefold() if c.isalnum())


def find_labels(guide: str, tail: str, answers: frozenset[str]) -> tuple[Label, ...]:
    """List the labels that the words around a query name, from the clearest kind of list in them.

    Parameters
    ----------
    guide, tail
        The words before and after the query.
    answers
        The shown answers: a list that contains none of them is a list of something else.
    """
    shown = {letters(answer) for answer in answers}
    for _, found in sorted((*_lists(guide, 0), *_lists(tail, len(guide))), key=lambda ranked: ranked[0]):
        if not shown or shown & {letters(label.name) for label in found}:
            notes = _notes(guide, tuple(label.name for label in found))
            return tuple(Label(x.name, x.note or notes.get(x.name, ""), x.place) for x in found)
    return ()


@lru_cache(maxsize=256)
def _lists(text: str, offset: int) -> tuple[tuple[int, tuple[Label, ...]], ...]:
    """Find every list of two or more labels, with the rank of its kind: 0 is the clearest."""
    finders = (_from_sections, _from_literals, _from_bullets, _from_quotes, _from_series)
    unique = [{label.name: label for label in finder(text)}.values() for finder in finders]
    return tuple(
        (rank, tuple(Label(x.name, x.note, offset + x.place) for x in found))
        for rank, found in enumerate(unique)
        if len(found) > 1
    )


@lru_cache(maxsize=256)
def _notes(guide: str, names: tuple[str, ...]) -> dict[str, str]:
    """Collect what a guide says of labels outside their list: in bullets, and in sentences that name only one."""
    notes = {label.name: label.note for label in _bullets(guide, 0) if label.note}
    spoken = {name: f" {_spaced(name)} " for name in names}
    for sentence in re.split(r"[.!?\n]+(?:\s|$)", guide):
        said = f" {_spaced(sentence)} "
        named = [name for name, words in spoken.items() if words in said]
        if len(named) == 1 and not _BULLET.match(sentence):
            notes[named[0]] = f"{notes.get(named[0], '')} {said.replace(spoken[named[0]], ' ')}".strip()
    return notes


def _spaced(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _from_sections(guide: str) -> list[Label]:
    """Read "Options: a, b" lines, and sections with such a title."""
    for match in reversed(list(_LISTED.finditer(guide))):
        rest = guide[match.end() :].lstrip("\n")
        offset = len(guide) - len(rest)
        block = re.split(r"\n[ \t]*\n|\n#|\n</|</|\n\[\[", rest, maxsplit=1)[0]
        bullets = _bullets(block, offset)
        if len(bullets) >= 2:
            return bullets
        line = block.strip().strip("[](){}").rstrip(".")
        parts = re.split(r"\s*[,;|\n]\s*(?:or |and )?| or ", line)
        names = [part.strip().strip("'\"`*-\u2022 ") for part in parts]
        if len(names) >= 2 and all(0 < len(n) <= 60 and n.count(" ") <= 5 for n in names):
            return [Label(n, "", offset + max(rest.find(n), 0)) for n in names]
    return []


def _bullets(block: str, offset: int) -> list[Label]:
    return [Label(m["name"].strip(), (m["note"] or "").strip(), offset + m.start()) for m in _BULLET.finditer(block)]


def _from_bullets(guide: str) -> list[Label]:
    found = _bullets(guide, 0)
    return found if all(label.name.count(" ") <= 4 for label in found) else []


def _from_literals(guide: str) -> list[Label]:
    if literal := _LITERAL.search(guide):
        names = re.findall(r"'([^']*)'|\"([^\"]*)\"", literal[1])
        return [Label(a or b, "", literal.start()) for a, b in names]
    if match := _ONE_OF.search(guide):
        return [Label(n.strip(), "", match.start()) for n in match[1].split(";") if n.strip()]
    return []


def _from_quotes(guide: str) -> list[Label]:
    """Read the longest row of quoted words: 'a', 'b' or 'c'."""
    plain = _SAMPLE.sub(lambda m: " " * len(m[0]), guide)
    rows: list[list[re.Match[str]]] = [[]]
    for match in _QUOTED.finditer(plain):
        if rows[-1] and not _BETWEEN.fullmatch(plain, rows[-1][-1].end(), match.start()):
            rows.append([])
        rows[-1].append(match)
    return [Label(m[1].strip(), "", m.start()) for m in max(rows, key=len)]


def _from_series(guide: str) -> list[Label]:
    hits = sorted(_SERIES.finditer(guide), key=lambda m: -m[0].count(","))
    for match in hits:
        parts = re.split(r",? (?:and|or|&) |, ", match[0])
        parts = [part.removeprefix("as ").strip() for part in parts]
        if any("," in h[0] for h in hits) and "," not in match[0]:
            continue
        names = [parts[0].split()[-1], *parts[1:]]
        return [Label(name, "", match.start()) for name in names]
    return []


# --- the form ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is written.

    Parameters
    ----------
    kind
        "bare", "json", "tags", "brackets", "line" (a last line that starts with a word) or "chat" (a sentence).
    names
        The fields in order, the answer's last; for "line" the word that opens the last line.
    reasoning
        Whether thoughts come before the answer.
    spread
        Whether each value is on lines of its own.
    """

    kind: str
    names: tuple[str, ...] = ()
    reasoning: bool = False
    spread: bool = False

    def write(self, answer: str, thought: str) -> str:
        """Write an answer; `thought` is used only where the form has room for it."""
        thoughts = [thought] * (len(self.names) - 1)
        if self.kind == "json":
            indent = 2 if self.spread else None
            return json.dumps(
                dict(zip(self.names, [*thoughts, answer], strict=True)), ensure_ascii=False, indent=indent
            )
        if self.kind == "tags":
            gap = "\n" if self.spread else ""
            pairs = zip(self.names, [*thoughts, answer], strict=True)
            return "\n".join(f"<{name}>{gap}{value}{gap}</{name}>" for name, value in pairs)
        if self.kind == "brackets":
            pairs = zip(self.names, [*thoughts, answer], strict=True)
            body = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in pairs)
            return f"{body}[[ ## completed ## ]]"
        if self.kind == "line":
            return f"{thought}\n{self.names[0]}: {answer}" if self.reasoning else f"{self.names[0]}: {answer}"
        if self.kind == "chat":
            return f"{thought} I think this is about {answer}.".strip()
        return f"{thought}\n{answer}" if self.reasoning else answer


_BRACKETS = re.compile(r"\[\[ ## (\w+) ## \]\]")
_TAG_PAIR = re.compile(r"<([A-Za-z][\w.-]*)>(.*?)</\1>", re.DOTALL)
_LAST_LINE = re.compile(r"^\W*((?:final |the )?answer|label|result|output)\W*?:\**[ \t]*", re.IGNORECASE | re.MULTILINE)
_THINK = re.compile(r"step[ -]by[ -]step|\breason(?:ing)?\b|think|rationale|explain|justif", re.IGNORECASE)


def split_answer(raw: str, form: Form) -> str:
    """Extract the answer from a demonstration's text."""
    raw = raw.strip()
    if form.kind == "json":
        value = _json_object(raw)
        found = value.get(form.names[-1], raw) if value else raw
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    if form.kind == "tags":
        found_tags = [m[2] for m in _TAG_PAIR.finditer(raw) if m[1] == form.names[-1]]
        return found_tags[-1].strip() if found_tags else raw
    if form.kind == "brackets":
        parts = _BRACKETS.split(raw)
        values = dict(zip(parts[1::2], parts[2::2], strict=True))
        return values.get(form.names[-1], raw).strip()
    cues = list(_LAST_LINE.finditer(raw))
    return raw[cues[-1].end() :].strip() if cues else raw


@lru_cache(maxsize=4096)
def _json_object(raw: str) -> dict[str, object] | None:
    try:
        value = json.loads(re.sub(r"^```(?:json)?\s*|\s*```$", "", raw))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def find_form(reading: Reading, answers: tuple[str, ...]) -> Form:
    """Determine the form from the shown answers, else from what the words around the query say of it."""
    shown = _shown_form(reading.guide, answers) if answers else None
    asked = _asked_form(f"{reading.guide}\n\n{reading.tail}", bool(reading.cue))
    if shown is None:
        return asked
    if shown.kind == asked.kind and asked.reasoning and not shown.reasoning:
        return Form(asked.kind, (*asked.names[:-1], *shown.names[-1:]), True, shown.spread)
    if shown.kind == "bare" and asked.kind == "line":
        return asked
    return shown


@lru_cache(maxsize=256)
def _shown_form(guide: str, answers: tuple[str, ...]) -> Form:
    """Determine the form that all shown answers share."""
    last = answers[-1].strip()
    objects = [_json_object(a.strip()) for a in answers]
    if all(objects):
        keys = [tuple(o) for o in objects if o]
        named = f'"{keys[-1][-1]}"' in guide or f"`{keys[-1][-1]}`" in guide
        if len({k[-1] for k in keys}) == 1 and (len(keys) > 1 or named):
            return Form("json", max(keys, key=len), max(map(len, keys)) > 1, "\n" in last)
    if all(_BRACKETS.match(a.strip()) for a in answers):
        names = tuple(n for n in _BRACKETS.findall(last) if n != "completed")
        if names:
            return Form("brackets", names, len(names) > 1)
    if all(re.fullmatch(r"<([A-Za-z][\w.-]*)>.*</[A-Za-z][\w.-]*>", a.strip(), re.DOTALL) for a in answers):
        rows = [tuple(m[1] for m in _TAG_PAIR.finditer(a)) for a in answers]
        if all(rows):
            return Form("tags", max(rows, key=len), max(map(len, rows)) > 1, bool(re.match(r"<[\w.-]+>\n", last)))
    cues = [_LAST_LINE.search(a) for a in answers]
    if all(cues):
        word = cues[-1][1] if cues[-1] else "Answer"
        return Form("line", (word,), any(m is not None and m.start() > 0 for m in cues))
    return Form("bare")


@lru_cache(maxsize=256)
def _asked_form(guide: str, has_cue: bool) -> Form:
    """Read the wanted form from words such as "a JSON object of this form"."""
    think = bool(_THINK.search(guide))
    request = guide[guide.rfind("\n\n", 0, max(guide.rfind("[[ ##"), 0)) :]
    names = tuple(dict.fromkeys(n for n in _BRACKETS.findall(request) if n != "completed"))
    if names and "[[ ## completed ## ]]" in guide:
        return Form("brackets", names, len(names) > 1)
    if re.search(r"\bJSON\b", guide, re.IGNORECASE):
        sample = _SAMPLE.findall(guide)
        keys = tuple(re.findall(r'"([\w -]+)"\s*:', sample[-1])) if sample else ()
        keys = keys or tuple(re.findall(r"`([\w -]+)`", guide[guide.upper().rfind("JSON") :])) or ("answer",)
        return Form("json", keys, len(keys) > 1)
    tags = tuple(dict.fromkeys(re.findall(r"<([a-z][\w-]*)>", request if names else guide)))
    tags = tuple(t for t in tags if re.search(rf"(?:between|in|inside|within|with|tags?|then) `?<{t}>", guide))
    if tags:
        return Form("tags", tags, len(tags) > 1)
    if line := re.search(r"starts? with [\"'`\u201c](\w+(?: \w+)?):", guide):
        return Form("line", (line[1],), think)
    if has_cue or re.search(r"\b(?:only|just|exactly|nothing else|single word|one word)\b", guide, re.IGNORECASE):
        return Form("bare", (), False)
    return Form("chat", (), think)
