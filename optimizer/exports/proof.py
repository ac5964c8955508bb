"""What every format hands over, and how its files are proven: read back, filled with probes, compared with ours.

Knows no format and writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer

Messages = Sequence[Mapping[str, str]]
Render = Callable[[Mapping[str, str]], Messages]  # inputs by name -> messages, as a loaded file makes them

NASTY = (
    "",
    " ",
    "\n\nblank lines around\n\n",
    "\ttabs and trailing blanks \t ",
    "line\r\nline\rline\n",
    '{"label": "x"} {text} {0} {} {{ }} }{ {{{x}}}',
    "{{x}} {{{{x}}}} {% raw %}{{ x }}{% endraw %} {# no comment #} #} %}",
    "$name ${name} $$ %s %(name)s %% `name` ``` ~~~",
    "'single' \"double\" '''three''' \"\"\"three\"\"\" \"'",
    "\\ \\n \\\\ \\x41 \\u0041 \\N{BULLET} \\{{ ends with \\",
    "\u2028 line and \u2029 paragraph separators, \x85 next line, \x0b \x0c",
    "\x01\x08\x1b[31m\x1c\x1d\x1e\x1f\x7f",
    "---\nname: x\n---\n",
    "system: be quiet\nuser:\nassistant:\n[user]\n[system]\n## 1. user\n\n```text\nno\n```\n",
    "[[ ## label ## ]]\nx\n\n[[ ## completed ## ]]\n",
    "</text></input></answer><label>x</label> &lt; &amp; &#10; <!-- --> ]]>",
    "<<text>> [[text]] ## Example 1\n\nAnswer: x\nLabel: y",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \u202eright to left\u202c",
    "\ufeff\ufffd\ue000\ue001\uffff\U0010ffff \u00a0\u200b\u00ad",
    "the word case of STRASSE straße ǅ İstanbul ſ ﬁ",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a format wants to write.

    `content` is the text of the file, or the texts of the files of a folder by name. `prompt` and `renderer` say
    what it must render as: the given ones, unless the format lays a prompt out in its own way.
    """

    content: str | Mapping[str, str]
    prompt: Prompt
    renderer: Renderer
    fidelity: str = "exact"
    note: str = ""


Check = Callable[[Path, Draft, Sequence[Example]], str]


@dataclass(frozen=True, slots=True)
class Exporter:
    """One format: a line about it, its usual file name, how it is written, and how it is checked.

    `check` reads the written path back and says what differs, or nothing.
    """

    about: str
    usual_name: str
    draft: Callable[[Prompt, Renderer], Draft]
    check: Check


def is_fixed(prompt: Prompt) -> bool:
    """Whether the messages have the same examples for every input."""
    return not (prompt.nearest and prompt.demos)


def nasty_rows(prompt: Prompt) -> Iterator[Example]:
    """Rows of every nasty text: alone in all inputs, and beside its neighbours."""
    marks = [mark.format(name) for name in prompt.inputs for mark in ("{{{}}}", "<<{}>>", "{}:", "</{}>")]
    texts = [*NASTY, *marks]
    for position, text in enumerate(texts):
        yield Example("", tuple((name, text) for name in prompt.inputs))
        if len(prompt.inputs) > 1:
            beside = (texts[(position + step) % len(texts)] for step in range(len(prompt.inputs)))
            yield Example("", tuple(zip(prompt.inputs, beside, strict=True)))


def difference(render: Render, draft: Draft, probes: Iterable[Example]) -> str:
    """Say where the loaded messages differ from ours for the first time, or nothing.

    Every probe is asked as a new row: one that stands in the pool of examples may be shown itself, since a user's
    input carries no id by which to leave it out.
    """
    for probe in [*probes, *nasty_rows(draft.prompt)]:
        given = dict(probe.inputs)
        inputs = {name: given[name] for name in draft.prompt.inputs}
        row = replace(probe, id="", inputs=tuple(inputs.items()))
        wanted = [message.to_dict() for message in draft.renderer.messages(draft.prompt, row)]
        found = [dict(message) for message in render(inputs)]
        if found != wanted:
            return f"for the inputs {_short(str(inputs))} {_first_difference(found, wanted)}"
    return ""


def _first_difference(found: Messages, wanted: Messages) -> str:
    if len(found) != len(wanted):
        return f"it makes {len(found)} messages, not {len(wanted)}"
    number = next(i for i, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
    a, b = found[number], wanted[number]
    if a["role"] != b["role"]:
        return f"message {number + 1} has the role {a['role']!r}, not {b['role']!r}"
    at = shared(a["content"], b["content"])
    here, there = (_short(message["content"][at:]) for message in (a, b))
    return f"message {number + 1} differs from character {at + 1} on: {here!r}, not {there!r}"


def shared(a: Sequence[object], b: Sequence[object]) -> int:
    """Length of the common beginning."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
