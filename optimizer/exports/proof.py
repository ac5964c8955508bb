"""The interface of a format, and how its files are checked: read back, filled with probes, compared with our rendering.

Knows no format and writes no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.scores.metrics import Metric
from search_spaces.prompt import Example, Message, Prompt, Slot, Turn, fill
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


OPENAI = "https://api.openai.com/v1"
OPENAIS = ("openai/", "gpt-")  # beginnings of the names of OpenAI's models
OLLAMA, OLLAMAS_OWN = {"ollama", "ollama_chat"}, "http://localhost:11434"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run knows about a prompt besides its texts; each may be missing, and some formats need some of it.

    Parameters
    ----------
    name
        Name of the task.
    model
        LiteLLM's name of the model on which the prompt was tuned.
    seed, seed_renderer
        The seed prompt, and its renderer.
    rows, split
        Rows to export with it, and their split: "test" only once the run itself has opened them, else "dev".
    train
        Training rows.
    record
        Provenance and scores, in a form for JSON.
    several
        The closed list, if an answer may name several of its labels.
    metric
        The metric of the rows, unless it is a judge or the user's own code.
    address
        Address of the model's server; empty for the provider's default.
    """

    name: str = "prompt"
    model: str = ""
    seed: Prompt | None = None
    seed_renderer: Renderer | None = None
    rows: tuple[Example, ...] = ()
    split: str = ""
    train: tuple[Example, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    several: tuple[str, ...] = ()
    metric: Metric | None = None
    address: str = ""

    @property
    def server(self) -> str:
        """Where its model answers OpenAI requests; empty if unknown, because no other server may see the rows."""
        provider, slash, _ = self.model.partition("/")
        if slash and provider in OLLAMA:
            return (self.address or OLLAMAS_OWN).rstrip("/").removesuffix("/v1") + "/v1"
        own = OPENAI if self.model.startswith(OPENAIS) else ""
        return own if not self.address else "" if "?" in self.address else self.address.rstrip("/")

    @property
    def key_variable(self) -> str:
        """The variable whose key may go to its server: that of its own provider; empty if it needs none."""
        provider, slash, _ = self.model.partition("/")
        if self.model == "embedded":
            return ""
        named = re.sub(r"[^A-Z0-9]", "_", provider.upper()).lstrip("_0123456789") or "MODEL"
        return f"{named}_API_KEY" if slash else "OPENAI_API_KEY"

    @property
    def elsewhere(self) -> str:
        """A note that the model is not at OpenAI, for formats that cannot contain an address; empty if it is there."""
        if self.server == OPENAI or not self.model:
            return ""
        at = f" at {self.server or self.address}" if self.server or self.address else ", which is not at OpenAI"
        return f"It was tuned on {self.model}{at}: send it there."

    @property
    def bare_model(self) -> str:
        """The model's name at its provider, or "your-model" if unknown."""
        return self.model.partition("/")[2] or self.model or "your-model"

    def asked(self, what: str) -> tuple[Example, ...]:
        """Return the rows.

        Raises
        ------
        ExportError
            If there are none; `what` says what the format needs them for.
        """
        if not self.rows:
            raise ExportError(
                f"this format holds {what}, and no rows were handed over; export from a run, or name rows as --rows "
                "(rows=). Nothing was left behind."
            )
        return self.rows


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Winner:
    """A prompt to export, its renderer, and what is known about it."""

    prompt: Prompt
    renderer: Renderer
    facts: Facts = NO_FACTS


def everything(_: Mapping[str, str]) -> bool:
    """Return that any inputs are carried."""
    return True


@dataclass(frozen=True, slots=True)
class Draft:
    """What a format would write.

    `content` is the text of the file, or the texts of the files of a folder by name. `winner` is what it must render
    as: the given one, unless the format lays out a prompt in its own way. `carries` returns whether inputs arrive
    unchanged; if the format's reader always changes some inputs, the format is not exact.
    """

    content: str | Mapping[str, str]
    winner: Winner
    fidelity: str = "exact"
    note: str = ""
    carries: Callable[[Mapping[str, str]], bool] = everything

    @property
    def prompt(self) -> Prompt:
        """The prompt that the files must render as."""
        return self.winner.prompt

    @property
    def renderer(self) -> Renderer:
        """The renderer of that prompt."""
        return self.winner.renderer


def nothing_else(*_: object) -> str:
    """Return that nothing differs."""
    return ""


@dataclass(frozen=True, slots=True)
class Exporter:
    """One format: a line about it, its default file name, a line on its fidelity, and how it is written and read.

    `read` turns the written path into a function from inputs to messages, without the tool that the format is for; it
    is missing if the file contains rendered messages. `check` compares everything else in the path, and returns what
    differs, or an empty text. `rows` is whether the format contains rows.
    """

    about: str
    usual_name: str
    draft: Callable[[Winner], Draft]
    read: Callable[[Path, Draft], Render] | None = None
    check: Callable[[Path, Draft], str] = nothing_else
    fidelity: str = "exact"
    rows: bool = False

    def fault(self, path: Path, draft: Draft, probes: Sequence[Example]) -> str:
        """Return what differs in what was written; empty if nothing does."""
        found = self.check(path, draft)
        if found or self.read is None:
            return found
        # Given its own text as input, an example of a pool is shown.
        return difference(self.read(path, draft), draft, [*probes, *draft.prompt.demos])


def refuse_lost(tool: str, why: str, turns: Sequence[Turn], arrives: Callable[[Message], bool]) -> None:
    """Refuse a prompt with a message that would not arrive in a tool for any inputs.

    Raises
    ------
    ExportError
        If there is such a message.
    """
    inputs = {part.name: "x" for turn in turns for part in turn.parts if isinstance(part, Slot)}
    for message in fill(turns, inputs):
        if not arrives(message):
            raise ExportError(
                f"{tool} cannot hold the message {message.content[:60]!r}: {why}. Export it as messages or python. "
                "Nothing was left behind."
            )


def arriving(turns: Sequence[Turn], arrives: Callable[[Message], bool]) -> Callable[[Mapping[str, str]], bool]:
    """Return a function that says whether all messages arrive with given inputs."""
    return lambda inputs: all(map(arrives, fill(turns, inputs)))


def filling(turns: Sequence[Turn]) -> Render:
    """Return a function that fills turns, for a format that keeps texts and slots apart."""
    return lambda inputs: [message.to_dict() for message in fill(turns, inputs)]


def sentences(*notes: str) -> str:
    """Join the notes that are not empty."""
    return " ".join(note for note in notes if note)


def is_fixed(prompt: Prompt) -> bool:
    """Return whether the messages have the same examples for every input."""
    return not (prompt.nearest and prompt.demos)


def nasty_rows(prompt: Prompt) -> Iterator[Example]:
    """Yield rows of difficult texts: each in all inputs, and each with its neighbours in the list."""
    marks = [mark.format(name) for name in prompt.inputs for mark in ("{{{}}}", "<<{}>>", "{}:", "</{}>")]
    texts = [*NASTY, *marks]
    for position, text in enumerate(texts):
        yield Example("", tuple((name, text) for name in prompt.inputs))
        if len(prompt.inputs) > 1:
            beside = (texts[(position + step) % len(texts)] for step in range(len(prompt.inputs)))
            yield Example("", tuple(zip(prompt.inputs, beside, strict=True)))


def difference(render: Render, draft: Draft, probes: Iterable[Example]) -> str:
    """Return the first difference between the loaded messages and ours; empty if there is none.

    Every probe is treated as a new row: a row that is in the pool of examples may be shown as its own example, since a
    user's input has no id by which to exclude it.
    """
    for probe in [*probes, *nasty_rows(draft.prompt)]:
        given = dict(probe.inputs)
        inputs = {name: given[name] for name in draft.prompt.inputs}
        if not draft.carries(inputs):
            continue
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
    """Return the length of the common beginning."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
