"""A prompt as a Python module that needs the standard library alone: `render(...)`, `parse(text)`, SETTINGS.

A prompt whose examples are the nearest to the input takes its pool of examples and our retrieval with it; a calibrated
one its prior and `calibrate(text, logprobs)`. Our functions go in as they are written here, so that they cannot drift
apart. Knows nothing of files' names and places.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.literals import Value, literal
from optimizer.exports.parts import NUMBER_PART, Pool, cut_pool, parts, tokens
from optimizer.exports.proof import NASTY, Draft, Exporter, Render, Winner, is_fixed, sentences
from optimizer.scores import calibration, label_sets
from search_spaces import demos, templates
from search_spaces.prompt import Prompt
from search_spaces.rendering import Renderer
from search_spaces.templates import ChatTemplate, TextTemplate, titled

NO_PARSE = "It has no parse(): this template's answers are read by other code."
OWN_EXAMPLE = (
    "It holds the {n} training rows that the examples are chosen from, as texts. An input that is one of them is "
    "shown itself as an example; in the search it was not."
)

OPENING = '''\
"""A prompt tuned by phrasetune, as a module that needs the standard library alone.

`render({usage})` returns the messages to send; SETTINGS is to be sent with them.{model}{reading}
"""

from __future__ import annotations
'''

MODEL = "\nMODEL, at the address API_BASE (empty: its provider's own), is what it was tuned on, as LiteLLM names it."
PARSES = "\n`parse(text)` reads the answer out of a completion."
CALIBRATES = (
    "\n`calibrate(text, logprobs)` chooses the answer by the log-probabilities that come with a completion."
    "\n`parse(text)` reads the answer without them; it was not scored so."
)

SEVERAL = ("reduced", "read", "_named", "pieces", "signs", "write", "separator")  # functions that read several labels
CALIBRATION = ("beginnings", "label_scores", "choose", "_begun", "_worded")  # functions that choose a label

# What the sources need, and how to see that they do.
IMPORTS = {
    r"\bjson\.": "import json",
    r"\bmath\.": "import math",
    r"\bre\.[a-z]": "import re",
    r"\bCounter\(": "from collections import Counter, defaultdict",
    r"\bIterator\[": "from collections.abc import Iterator",
    r"\bMapping\[": "from collections.abc import Mapping",
    r"\bSequence\[": "from collections.abc import Sequence",
    r"@cache": "from functools import cache",
    r"@lru_cache": "from functools import lru_cache",
    r"\bAny\b": "from typing import Any",
}

LEGEND = '# A text stands for itself; {"role": ...} opens a message, and {"slot": ...} is the place of an input.'

CHECK = '''
def _check(inputs: dict[str, str]) -> None:
    """Refuse inputs that are missing, unknown or no texts."""
    for name in INPUTS:
        if name not in inputs:
            raise TypeError(f"render() misses the input {name!r}")
    for name, value in inputs.items():
        if name not in INPUTS:
            raise TypeError(f"render() got an unknown input {name!r}")
        if not isinstance(value, str):
            raise TypeError(f"the input {name!r} must be a text, not {type(value).__name__}")
'''

MESSAGES = '''
def _messages(parts: Sequence[str | dict[str, str]], inputs: dict[str, str]) -> list[dict[str, str]]:
    """Join the parts, each input put into its slots."""
    messages: list[dict[str, str]] = []
    for part in parts:
        if isinstance(part, str):
            messages[-1]["content"] += part
        elif "role" in part:
            messages.append({"role": part["role"], "content": ""})
        else:
            messages[-1]["content"] += inputs[part["slot"]]
    return messages
'''

RENDER = '''
def render(**inputs: str) -> list[dict[str, str]]:
    """Return the messages to send. Every input is given by its name, as a text."""
    _check(inputs)
    return _messages(PROMPT, inputs)
'''

RENDER_NEAREST = '''
def render(**inputs: str) -> list[dict[str, str]]:
    """Return the messages to send, with the examples that are most similar to the inputs.

    Every input is given by its name, as a text.
    """
    _check(inputs)
    parts = [*BEFORE]
    for {each}:
        parts += {piece}
    return _messages([*parts, *AFTER], inputs)


def _nearest(inputs: dict[str, str]) -> list[int]:
    """Positions of the examples to show, in the order in which they are shown."""
    found = _index().rank("\\n".join(inputs[name] for name in INPUTS), SHOWN){order}
    return found


@cache
def _index() -> TextIndex:
    """Weigh the words of the examples, once."""
    return TextIndex([example["text"] for example in EXAMPLES])
'''

PARSE = '''
class Prompt:
    """What reading an answer needs to know."""

    output = {output}
    labels = {labels}
    reasoning = {reasoning}


def {name}(text: str) -> str | None:
    """Read the answer out of a completion; None if there is none to be read."""
    {steps}


def _read(text: str) -> str | None:
    found = {reader}(Prompt(), text)
    return {answer}
'''

PARSE_SEVERAL = '''
def parse(text: str) -> str | None:
    """Read the labels out of a completion, those of LABELS alone and in their order; None if it names none of them."""
    return reduced(_whole(text), LABELS)
'''

PARSE_OBJECT = '''
def parse(text: str) -> str | None:
    """Read the JSON object out of a completion, without a fence or a sentence around it; None if there is no answer."""
    found = _whole(text)
    return first_object(found) if found else found
'''

CALIBRATE = '''
def calibrate(text: str, logprobs: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Choose the label that stands highest above its prior (batch calibration, arXiv 2309.17249).

    `logprobs` is the list at choices[0].logprobs.content of a chat-completions response, as JSON. Where it does not
    tell the labels apart, the answer is read out of the text.
    """
    scores = label_scores(Prompt.labels, Prompt.output, beginnings(logprobs or []))
    return choose(scores, PRIOR) if scores else parse(text)
'''

UNWRAPPED = "return _read({text})"
UNWRAPPED_OR_WHOLE = """\
found = _read({text})
    return _read(text) if found is None else found  # the words may be the answer's own"""


def _draft(winner: Winner) -> Draft:
    prompt, renderer = winner.prompt, winner.renderer
    pool = None if is_fixed(prompt) else cut_pool(prompt, renderer.templates[prompt.template])
    several = winner.facts.several
    reading = _reading(prompt, renderer, several)
    choosing = _choosing(prompt, can_read=bool(reading))
    if pool is None:
        code = [RENDER, CHECK, MESSAGES, *choosing, *reading]
        texts: dict[str, Value] = {"PROMPT": parts(tokens(renderer.turns(prompt)))}
    else:
        code = [*_retrieval(prompt, pool), CHECK, MESSAGES, *choosing, *reading]
        texts = {"SHOWN": prompt.nearest, "BEFORE": pool.before, "AFTER": pool.after}
    text = "\n".join(
        [
            OPENING.format(
                usage=_usage(prompt),
                model=MODEL * bool(winner.facts.model),
                reading=CALIBRATES if choosing else PARSES * bool(reading),
            ),
            *(line for sign, line in IMPORTS.items() if any(re.search(sign, source) for source in code)),
            "",
            *_constants({"INPUTS": prompt.inputs, "SETTINGS": prompt.settings.to_dict()}),
            *(_constants(_model(winner)) if winner.facts.model else []),
            *(_constants(_choosing_constants(prompt)) if choosing else []),
            *(_constants({"LABELS": several, "SEPARATORS": label_sets.SEPARATORS}) if several and reading else []),
            "",
            LEGEND,
            *_constants(texts),
            "",
            "",
            "\n\n\n".join(source.strip() for source in code),
            *([] if pool is None else ["", "", *_constants({"EXAMPLES": _examples(prompt, pool)})]),
            "",
        ]
    )
    note = sentences("" if reading else NO_PARSE, OWN_EXAMPLE.format(n=len(prompt.demos)) if pool else "")
    return Draft(text, winner, note=note)


def _usage(prompt: Prompt) -> str:
    plain = all(name.isidentifier() and name.isascii() and not keyword.iskeyword(name) for name in prompt.inputs)
    return ", ".join(f"{name}=..." for name in prompt.inputs) if plain else "**inputs"


def _constants(values: Mapping[str, Value]) -> list[str]:
    return [f"{name} = {literal(value)}" for name, value in values.items()]


def _model(winner: Winner) -> dict[str, Value]:
    return {"MODEL": winner.facts.model, "API_BASE": winner.facts.address}  # as LiteLLM takes them


def _retrieval(prompt: Prompt, pool: Pool) -> list[str]:
    """Write the functions that choose the examples, with what this prompt needs of them."""
    each, piece = "position in _nearest(inputs)", 'EXAMPLES[position]["parts"]'
    if pool.numbered:
        each = "number, position in enumerate(_nearest(inputs), start=1)"
        piece = f"[str(number) if part == {literal(NUMBER_PART)} else part for part in {piece}]"
    order = "\n    found.reverse()  # the most similar stands last" if prompt.nearest_last else ""
    if pool.mixed:
        order += '\n    found.sort(key=lambda position: not EXAMPLES[position]["early"])'
    render = RENDER_NEAREST.format(each=each, piece=piece, order=order)
    return [render, _source(demos, "TextIndex"), _source(demos, "terms")]


def _source(room: ModuleType, name: str) -> str:
    """Return the source of one of our functions, which an installation may have left out."""
    try:
        return inspect.getsource(getattr(room, name))
    except OSError:
        raise ExportError(
            f"the source of {room.__name__}.{name} is not to be found, and a module needs it; phrasetune must be "
            "installed with its sources. Install it again, or export as messages. Nothing was left behind."
        ) from None


def _examples(prompt: Prompt, pool: Pool) -> tuple[Value, ...]:
    rows = zip(prompt.demos, pool.pieces, pool.early, strict=True)
    if pool.mixed:
        return tuple({"text": demo.text, "early": early, "parts": piece} for demo, piece, early in rows)
    return tuple({"text": demo.text, "parts": piece} for demo, piece, _ in rows)


def _reading(prompt: Prompt, renderer: Renderer, several: Sequence[str]) -> list[str]:
    """Write the functions that read an answer, if the template is one whose reading we know by heart."""
    template = renderer.templates[prompt.template]
    if type(template) not in {ChatTemplate, TextTemplate}:
        return []
    reader = {"json": "_read_json", "tagged": "_read_tagged"}.get(prompt.answer_format, "_read_bare")
    names = [reader, *{"_read_json": ["objects"], "_read_bare": ["_uncued", "_unmarked"]}.get(reader, [])]
    names += ["match_label", "mentioned", "_letters", "spaced"] if prompt.labels or several else []
    names += [name for name in ("first_object", "objects") if renderer.slots and name not in names]
    parse = PARSE.format(
        name="_whole" if several or renderer.slots else "parse",
        output=literal(prompt.output),
        labels=literal(prompt.labels, depth=1),
        reasoning=prompt.reasoning,
        steps=_unwrapping(prompt, template) if isinstance(template, TextTemplate) else UNWRAPPED.format(text="text"),
        reader=reader,
        answer="match_label(found, Prompt.labels) if found is not None else None" if prompt.labels else "found or None",
    )
    sets = [PARSE_SEVERAL, *(_source(label_sets, name) for name in SEVERAL)] if several else []
    whole = [PARSE_OBJECT] if renderer.slots else sets[:1]
    return [*whole, parse, *sets[1:], *(_source(templates, name) for name in names)]


def _choosing(prompt: Prompt, *, can_read: bool) -> list[str]:
    """Write the functions that choose a label by log-probabilities, if the prompt is calibrated."""
    if not prompt.calibrated:
        return []
    if not can_read or not prompt.prior:
        fault = "has no prior yet" if can_read else "is laid out by a template whose answers are read by other code"
        raise ExportError(
            f"this prompt is calibrated but {fault}, so a module cannot choose its answers. Let it answer some rows "
            "with one of our own templates first. Nothing was left behind."
        )
    return [CALIBRATE, *(_source(calibration, name) for name in CALIBRATION)]


def _choosing_constants(prompt: Prompt) -> dict[str, Value]:
    return {"PRIOR": dict(prompt.prior), "DEPTH": calibration.DEPTH, "NEVER": calibration.NEVER}


def _unwrapping(prompt: Prompt, template: TextTemplate) -> str:
    """Write how the words around a worked answer are taken off one that repeats them, as `TextTemplate.parse` does."""
    name = prompt.output.lower().replace(" ", "_") if template.tags else titled(prompt.output)
    opening, closing = (side.replace("{name}", name) for side in template.worked.split("{value}"))
    suffix = f".removesuffix({literal(closing)})" if closing else ""
    steps = UNWRAPPED_OR_WHOLE if prompt.labels or prompt.reasoning or prompt.answer_format != "bare" else UNWRAPPED
    return steps.format(text=f"text.strip().removeprefix({literal(opening)}){suffix}")


def _load(path: Path) -> ModuleType:
    module = ModuleType("phrasetune_exported_prompt")
    code = compile(path.read_bytes().decode(), str(path), "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - nothing but our own functions and literals
    return module


def _read(path: Path, _: Draft) -> Render:
    """Load a module; the inputs are given by name."""
    module = _load(path)
    return lambda inputs: module.render(**inputs)


def _check(path: Path, draft: Draft) -> str:
    """Compare the settings, and every answer that it reads or chooses."""
    module, winner = _load(path), draft.winner
    if draft.prompt.settings.to_dict() != module.SETTINGS or draft.prompt.inputs != module.INPUTS:
        return "the settings or the names of the inputs are others"
    if winner.facts.model and {name: getattr(module, name) for name in ("MODEL", "API_BASE")} != _model(winner):
        return "the model or its address is another"
    for text in _completions(draft) if hasattr(module, "parse") else ():
        if module.parse(text) != _parsed(draft, text):
            return f"parse() reads another answer out of {text!r}"
    for told in _told(draft.prompt) if draft.prompt.calibrated else ():
        scores = calibration.scores_of(draft.prompt, calibration.beginnings(told))
        wanted = (
            calibration.choose(scores, dict(draft.prompt.prior)) if scores else draft.renderer.parse(draft.prompt, "")
        )
        found = module.label_scores(module.Prompt.labels, module.Prompt.output, module.beginnings(told))
        if found != scores or module.calibrate("", told) != wanted:
            return f"calibrate() chooses another answer by {told!r}"
    return ""


def _parsed(draft: Draft, text: str) -> str | None:
    """Read an answer as our own renderer does; of several labels those of the list, as predictions give them."""
    found, several = draft.renderer.parse(draft.prompt, text), draft.winner.facts.several
    return label_sets.reduced(found, several) if several else found


def _completions(draft: Draft) -> Iterator[str]:
    """Completions to read: worked answers, plain and with words around them, and nasty texts."""
    prompt, template = draft.prompt, draft.renderer.templates[draft.prompt.template]
    targets = {
        *prompt.labels,
        *draft.winner.facts.several,
        *(row.target for row in (*prompt.demos, *draft.winner.facts.rows)),
        *NASTY,
    }
    name = titled(prompt.output)
    for target in sorted(targets):
        answer = template.answer(prompt, target, "Because it is so.")
        around = (
            "{}",
            " {}\n",
            f"{name}: {{}}",
            f"**{name}:** {{}}",
            "<answer>{}</answer>",
            "So I say {}.",
            "Answer: {}",
        )
        yield from (shape.replace("{}", answer) for shape in around)
        yield from (target, answer.swapcase())


def _told(prompt: Prompt) -> Iterator[list[dict[str, Any]]]:
    """Log-probabilities to choose by: labels whole and in two tokens, likely and unlikely, and nasty texts."""
    yield []
    for cut in (1, 4, 100):
        for lead in prompt.labels:
            others = [
                {"token": f" {text[:cut]}", "logprob": -0.5 * place - 0.1}
                for place, text in enumerate((*prompt.labels, *NASTY))
            ]
            rest = {"token": lead[cut:], "logprob": -0.2, "top_logprobs": [{"token": "?", "logprob": -1.7}]}
            for value in (-0.01, -3.0, -9999.0):
                yield [{"token": lead[:cut], "logprob": value, "top_logprobs": others}, rest]


PYTHON = Exporter(
    about="a Python module without dependencies: render(...), parse(text), SETTINGS",
    usual_name="prompt.py",
    draft=_draft,
    read=_read,
    check=_check,
)
