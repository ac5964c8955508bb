"""A prompt as a Python module that needs only the standard library: `render(...)`, `parse(text)`, SETTINGS.

For a prompt whose examples are the nearest to the input, the module has its pool of examples and our retrieval; for a
calibrated one, its prior and `calibrate(text, logprobs)`. The source of our own functions is copied, so that the two
cannot drift apart. Knows nothing of file names and folders.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.literals import Value, literal
from optimizer.exports.parts import NUMBER_PART, Pool, cut_pool, parts, tokens
from optimizer.exports.proof import NASTY, Draft, Exporter, Render, Winner, is_fixed, sentences
from optimizer.exports.reading import constants, reading
from optimizer.exports.sources import imports, load, sources
from optimizer.programs.adapters import answer_fields
from optimizer.scores import calibration, label_sets
from optimizer.scores.calibration import beginnings, choose, label_scores
from search_spaces.adapter_answers import read_object
from search_spaces.demos import TextIndex
from search_spaces.prompt import Prompt
from search_spaces.templates import titled

MENDED = "Its parse() reads whole JSON; DSPy, which read the answers when it was scored, also mends what is broken."
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

CALIBRATION = (beginnings, label_scores, choose)  # functions that choose a label

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

CALIBRATE = '''
def calibrate(text: str, logprobs: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Choose the label that stands highest above its prior (batch calibration, arXiv 2309.17249).

    `logprobs` is the list at choices[0].logprobs.content of a chat-completions response, as JSON. Where it does not
    tell the labels apart, the answer is read out of the text.
    """
    scores = label_scores(Prompt.labels, Prompt.output, beginnings(logprobs or []))
    return choose(scores, PRIOR) if scores else parse(text)
'''


def _draft(winner: Winner) -> Draft:
    prompt, renderer = winner.prompt, winner.renderer
    pool = None if is_fixed(prompt) else cut_pool(prompt, renderer.templates[prompt.template])
    several = winner.facts.several
    reads, functions = reading(prompt, renderer, several)
    choosing = _choosing(prompt)
    ours = sources(*([TextIndex] if pool else []), *(CALIBRATION if choosing else []), *functions)
    if pool is None:
        code = [RENDER, CHECK, MESSAGES, *choosing, *reads, *ours]
        texts: dict[str, Value] = {"PROMPT": parts(tokens(renderer.turns(prompt)))}
    else:
        code = [_retrieval(prompt, pool), CHECK, MESSAGES, *choosing, *reads, *ours]
        texts = {"SHOWN": prompt.nearest, "BEFORE": pool.before, "AFTER": pool.after}
    text = "\n".join(
        [
            OPENING.format(
                usage=_usage(prompt),
                model=MODEL * bool(winner.facts.model),
                reading=CALIBRATES if choosing else PARSES,
            ),
            *imports(code),
            "",
            *_constants({"INPUTS": prompt.inputs, "SETTINGS": prompt.settings.to_dict()}),
            *(_constants(_model(winner)) if winner.facts.model else []),
            *(_constants(_choosing_constants(prompt)) if choosing else []),
            *_constants(constants(prompt, several)),
            "",
            LEGEND,
            *_constants(texts),
            "",
            "",
            "\n\n\n".join(each.strip() for each in code),
            *([] if pool is None else ["", "", *_constants({"EXAMPLES": _examples(prompt, pool)})]),
            "",
        ]
    )
    note = sentences(
        MENDED if prompt.template == "dspy-json" else "", OWN_EXAMPLE.format(n=len(prompt.demos)) if pool else ""
    )
    return Draft(text, winner, note=note)


def _usage(prompt: Prompt) -> str:
    plain = all(name.isidentifier() and name.isascii() and not keyword.iskeyword(name) for name in prompt.inputs)
    return ", ".join(f"{name}=..." for name in prompt.inputs) if plain else "**inputs"


def _constants(values: Mapping[str, Value]) -> list[str]:
    return [f"{name} = {literal(value)}" for name, value in values.items()]


def _model(winner: Winner) -> dict[str, Value]:
    return {"MODEL": winner.facts.model, "API_BASE": winner.facts.address}  # as LiteLLM takes them


def _retrieval(prompt: Prompt, pool: Pool) -> str:
    """Return the functions that choose the examples, as this prompt needs them."""
    each, piece = "position in _nearest(inputs)", 'EXAMPLES[position]["parts"]'
    if pool.numbered:
        each = "number, position in enumerate(_nearest(inputs), start=1)"
        piece = f"[str(number) if part == {literal(NUMBER_PART)} else part for part in {piece}]"
    order = "\n    found.reverse()  # the most similar stands last" if prompt.nearest_last else ""
    if pool.mixed:
        order += '\n    found.sort(key=lambda position: not EXAMPLES[position]["early"])'
    return RENDER_NEAREST.format(each=each, piece=piece, order=order)


def _examples(prompt: Prompt, pool: Pool) -> tuple[Value, ...]:
    rows = zip(prompt.demos, pool.pieces, pool.early, strict=True)
    if pool.mixed:
        return tuple({"text": demo.text, "early": early, "parts": piece} for demo, piece, early in rows)
    return tuple({"text": demo.text, "parts": piece} for demo, piece, _ in rows)


def _choosing(prompt: Prompt) -> list[str]:
    """Return the functions that choose a label by log-probabilities, if the prompt is calibrated."""
    if not prompt.calibrated:
        return []
    if not prompt.prior:
        raise ExportError(
            "this prompt is calibrated but has no prior yet, so a module cannot choose its answers. Let it answer some "
            "rows first. Nothing was left behind."
        )
    return [CALIBRATE]


def _choosing_constants(prompt: Prompt) -> dict[str, Value]:
    return {"PRIOR": dict(prompt.prior)}


def _read(path: Path, _: Draft) -> Render:
    """Load a module, and return its `render`."""
    module = load(path)
    return lambda inputs: module.render(**inputs)


def _check(path: Path, draft: Draft) -> str:
    """Compare the settings, and the answers that the module parses or chooses."""
    module, winner = load(path), draft.winner
    if draft.prompt.settings.to_dict() != module.SETTINGS or draft.prompt.inputs != module.INPUTS:
        return "the settings or the names of the inputs are others"
    if winner.facts.model and {name: getattr(module, name) for name in ("MODEL", "API_BASE")} != _model(winner):
        return "the model or its address is another"
    for text in _completions(draft):
        found = module.parse(text)
        if found != _parsed(draft, text) and not (found is None and _is_mended(draft.prompt, text)):
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
    """Parse an answer with our own renderer; if it may name several labels, reduce it to the list as `predict` does."""
    found, several = draft.renderer.parse(draft.prompt, text), draft.winner.facts.several
    return label_sets.reduced(found, several) if several else found


def _is_mended(prompt: Prompt, text: str) -> bool:
    """Whether only DSPy can read an answer, because no complete JSON object contains it."""
    return prompt.template == "dspy-json" and not read_object(text, answer_fields(prompt)[-1:])


def _completions(draft: Draft) -> Iterator[str]:
    """Yield completions to parse: answers as in demos, plain and with text around them, and difficult texts."""
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
    """Yield log-probabilities to choose by: labels as one and two tokens, likely and unlikely, and difficult texts."""
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
