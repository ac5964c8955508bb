"""Answers: how a prompt asks for them, how demos write them, and how they are read out of a completion.

`read_answer(prompt, write_answer(prompt, target)) == target`, within the limits that `templates` states. Knows nothing
of templates, models or scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from search_spaces.prompt import Prompt


def write_answer(prompt: Prompt, target: str, reasoning: str = "") -> str:
    """Write the answer of a demo in the prompt's answer format."""
    thought = reasoning if prompt.reasoning else ""
    if prompt.answer_format == "json":
        fields = {"reasoning": thought, prompt.output: target} if thought else {prompt.output: target}
        return json.dumps(fields, ensure_ascii=False)
    if prompt.answer_format == "tagged":
        answer = f"<{prompt.output}>{target}</{prompt.output}>"
        return f"<reasoning>{thought}</reasoning>\n{answer}" if thought else answer
    if prompt.reasoning:
        return f"{thought}\nAnswer: {target}".lstrip("\n")
    return target


def read_answer(prompt: Prompt, text: str) -> str | None:
    """Read an answer in the prompt's format; None if there is none. Labels are matched leniently."""
    reader = {"json": _read_json, "tagged": _read_tagged}.get(prompt.answer_format, _read_bare)
    found = reader(prompt, text)
    if prompt.labels:
        return match_label(found, prompt.labels) if found is not None else None
    return found or None


def match_label(text: str, labels: Sequence[str]) -> str | None:
    """Find the label that a text names: exactly, else by letters and digits alone, else as the only one mentioned.

    It is named exactly also in bold and with a period behind it: letters do not tell -1 from 1.

    A text that mentions two different labels names none.
    """
    text = text.strip()
    bare = _unmarked(text).strip("* ")
    for exact in (text, bare, text.removesuffix("."), bare.removesuffix(".")):
        if exact in labels:
            return exact
    letters, by_letters = _letters(text), {_letters(label): label for label in labels}
    if letters and len(by_letters) == len(labels) and letters in by_letters:
        return by_letters[letters]
    named = mentioned(text, labels)
    return named[0] if len(named) == 1 else None


def mentioned(text: str, labels: Sequence[str]) -> list[str]:
    """Find the labels whose words occur in a text, without those that are part of another one found."""
    bare = spaced(text)
    named = [label for label in labels if spaced(label).strip() and spaced(label) in bare]
    return [a for a in named if not any(a != b and spaced(a) in spaced(b) for b in named)]


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def spaced(text: str) -> str:
    """Return the words of a text in lower case, with a space around each."""
    return " " + re.sub(r"[\W_]+", " ", text.casefold()).strip() + " "


CUE = r"(?im)^[^\w\n]*answer\W*?:"


def read_thought(text: str) -> str:
    """Return the reasoning before the last "Answer:" of a completion in the bare format; empty if there is none."""
    cues = [*re.finditer(CUE, text)]
    return text[: cues[-1].start()].strip() if cues else ""


# The last answer counts: a completion may repeat its row first, and a row may contain what looks like an answer.


def _read_bare(prompt: Prompt, text: str) -> str | None:
    text = text.strip()
    if prompt.reasoning:
        cues = [*re.finditer(CUE, text)]
        if cues:
            answer = text[cues[-1].end() :].strip()
            return answer if prompt.labels else _unmarked(answer, cut=_opens(cues[-1][0]))
        return text.rsplit("\n", 1)[-1] if prompt.labels else None
    if not prompt.labels:
        return _uncued(_unmarked(text), prompt.output)
    if text in prompt.labels:
        return text
    lines = (text, re.sub(r"</?\w+>", "", text.rsplit("\n", 1)[-1]))
    whole, last = (re.sub(rf"^\W*{re.escape(prompt.output)}\W*?:", "", line, flags=re.IGNORECASE) for line in lines)
    named = {_letters(label) for label in prompt.labels} - {""}
    return last if _letters(last) in named and _letters(whole) not in named else whole


def _uncued(text: str, output: str) -> str:
    """Remove a cue that the answer repeats, such as "**Answer:** 4" or the output field's name."""
    name = r"[\W_]+".join(re.findall(r"[^\W_]+", output)) or "answer"
    cue = re.match(rf"[\s*_#>-]*(?:answer|{name})[\s*_]*:", text, re.IGNORECASE)
    return _unmarked(text[cue.end() :], cut=_opens(cue[0])) if cue else text


def _opens(cue: str) -> bool:
    """Whether a cue opens bold that it does not close, as "**Answer:" does."""
    return cue.count("**") % 2 == 1


def _unmarked(text: str, *, cut: bool = False) -> str:
    """Remove bold or a LaTeX box around a whole answer; if a `cut` cue opened bold, also where that closes."""
    text = text.strip()
    if cut:
        text = text[2:] if text.startswith("**") else re.sub(r"\*\*(\.?)$", r"\1", text)
    bold = re.fullmatch(r"\*\*([^*\n]+)\*\*\.?", text.strip())
    text = bold[1].strip() if bold else text.strip()
    box = re.fullmatch(r"\W*\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}\W*", text)
    return box[1].strip() if box else text


def _read_json(prompt: Prompt, text: str) -> str | None:
    answers = [value[prompt.output] for value, _ in objects(text) if prompt.output in value]
    if not answers:
        return None
    return answers[-1] if isinstance(answers[-1], str) else json.dumps(answers[-1], ensure_ascii=False)


def objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the outermost JSON objects in a text, in order, each decoded and as its source text."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError:  # nested a thousand deep: no answer, and each brace in it would cost as much again
            return
        except ValueError:
            end = start + 1
        else:
            yield value, text[start:end]
        start = text.find("{", end)


def last_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the last JSON object in a text, decoded and as its source text, or None and the whole text.

    An empty one counts only if there is no other: a sentence before the answer may say "I fill {} with".
    """
    found = [*objects(text)]
    return next((one for one in reversed(found) if one[0]), found[-1] if found else (None, text))


def _read_tagged(prompt: Prompt, text: str) -> str | None:
    opening, closing = f"<{prompt.output}>", f"</{prompt.output}>"
    thought_through = text.rpartition("</reasoning>")[2]
    if opening in thought_through:  # otherwise the reasoning follows the answer, or is mentioned in it
        text = thought_through
    starts = [match.end() for match in re.finditer(re.escape(opening), text)]
    if not starts:
        return None
    end = text.rfind(closing)
    if prompt.labels:  # a label may itself contain a tag
        starts = [start for start in starts if text[start:end].strip() in prompt.labels][:1] or starts[-1:]
    start = starts[0] if text.lstrip().startswith(opening) else starts[-1]
    return text[start : end if end >= start else len(text)].strip()


def format_note(prompt: Prompt) -> str:
    """Return the sentence that tells the model how to answer."""
    name = prompt.output
    if prompt.answer_format == "json":
        shape = f'{{"reasoning": "...", "{name}": "..."}}' if prompt.reasoning else f'{{"{name}": "..."}}'
        return f"Respond with a JSON object of this form: {shape}"
    if prompt.answer_format == "tagged":
        before = "First think it through between <reasoning> and </reasoning>. " if prompt.reasoning else ""
        return f"{before}Give the {name} between <{name}> and </{name}>."
    if prompt.reasoning:
        return f'Think step by step. Then write the {name} on a last line that starts with "Answer:".'
    return f"Respond with the {name} only."
