"""A promptfoo configuration -> wordings and rows: its prompts are wordings of the search, its tests rows.

A prompt of promptfoo marks with `{{name}}` where an input goes; here the templates of the search do that. A line that
shows inputs and hardly anything else is therefore dropped, and within a sentence an input is replaced by its name.
Checked against the configurations of promptfoo 0.123.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import DataError
from optimizer.imports.found import Found, Row, columns
from optimizer.phrases import counted

WANTED, ANSWERS = "wanted", "answers"  # columns besides the variables
KNOWN = {"prompts", "providers", "targets", "tests", "defaultTest"}
READ_OF_ASSERTION = {"type", "value", "weight", "metric"}
READ_OF_TEST = {"vars", "assert", "description", "metadata"}
# promptfoo's name of a provider -> LiteLLM's
PROVIDERS = {
    "openai:chat": "openai",
    "openai": "openai",
    "anthropic:messages": "anthropic",
    "anthropic": "anthropic",
    "ollama:chat": "ollama_chat",
    "google": "gemini",
    "mistral": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
}
FILE = re.compile(
    r"\A(?:file|https?|exec|python|package)://|\A(?:exec|python):|\A\S+\.(?:txt|md|j2|json|ya?ml|py|[cm]?[jt]s|csv)(?::\w+)?\Z"
)
VARIABLE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
SHOWN = re.compile(r"\s*(?:[^:\n{}]{0,40}:)?[\s\"'`<>(\[]*(?:\{\{[^{}]*\}\}[\s\"'`<>()\[\],;/|-]*)+\Z")
ENDS = re.compile(r":[\s\"'`]*(?:\{\{[^{}]*\}\}[\s\"'`]*?)+$", re.MULTILINE)  # "Translate this to French: {{text}}"
FENCE = re.compile(r"\s*(?:</?[\w-]+>|```\w*|\"\"\"|---+)\s*\Z")
CUE = re.compile(r"\s*[^:\n]{1,40}:\s*\Z")
OURS = re.compile(r"(?<!\{)\{\w+\}(?!\})")  # what would be filled in, in a wording of ours


def is_configuration(content: object) -> bool:
    """Whether a value read from YAML or JSON is a configuration."""
    return isinstance(content, Mapping) and "prompts" in content


def read_configuration(path: Path, content: Mapping[str, Any], *, tests: bool = True) -> Found:
    """Read a configuration whose scalars are texts; without `tests` the rows come from elsewhere.

    Raises
    ------
    DataError
        If a part cannot be read without promptfoo: files, functions, logic in templates.
    """
    prompts = [_prompt(f"{path}: prompt {n}", item) for n, item in enumerate(_listed(content["prompts"]), start=1)]
    used = list(dict.fromkeys(name for text in prompts for name in VARIABLE.findall(text)))
    left: Counter[str] = Counter(f"key {key!r}" for key in content if key not in KNOWN)
    rows = tuple(_rows(path, content, left)) if tests else ()
    if tests and not rows:
        raise DataError(
            f"{path}: no test has vars and an assertion of type equals, which a row is made of. Give --rows."
        )
    if missing := [name for name in used if rows and name not in columns(rows)]:
        raise DataError(f"{path}: a prompt shows {{{{{missing[0]}}}}}, which no test has under vars. Add it.")
    wordings: dict[str, str] = {}
    said: list[str] = []
    for number, text in enumerate(prompts, start=1):
        wording, lines = _wording(path, text)
        if wording and wording not in wordings.values():
            wordings[f"promptfoo{number}"] = wording
            said.append(f"prompt {number} -> wording promptfoo{number}" + (f", without {lines}" if lines else ""))
        else:
            left[f"prompt {number}, which says nothing beside its inputs or what another says"] += 1
    inputs = tuple(used) or tuple(name for name in columns(rows) if name not in {WANTED, ANSWERS})
    model, provider = _model(content)
    return Found(
        "a configuration of promptfoo",
        inputs,
        WANTED if rows else "",
        tuple(
            {name: row.get(name, "") for name in (*inputs, WANTED, ANSWERS) if name in columns(rows)} for row in rows
        ),
        wordings=wordings,
        seed={"instruction": next(iter(wordings))} if wordings else {},
        model=model,
        made=(
            *said,
            *([f"{counted(len(rows), 'test')} -> rows: {', '.join(inputs)} -> {WANTED}"] if rows else []),
            *provider,
        ),
        left_out=tuple(what if n == 1 else f"{n} × {what}" for what, n in left.items()),
    )


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _prompt(where: str, item: object) -> str:
    """Read a prompt as one text; messages are joined."""
    if isinstance(item, Mapping):
        if "function" in item:
            raise DataError(
                f"{where}: is a function, which only promptfoo can run. Write the text of the prompt instead."
            )
        item = item.get("raw") or item.get("id")
    if not isinstance(item, str) or not item.strip():
        raise DataError(f"{where}: is no text. Write the text of the prompt.")
    if FILE.search(item.strip()):
        raise DataError(f"{where}: {item.strip()!r} is another file, which is not followed. Write its text here.")
    text = "\n\n".join(_messages(where, item)) or item
    if logic := re.search(r"\{\{.*?\}\}|\{[%#].*?[%#]\}|\{\{|\{%", VARIABLE.sub("", text), re.DOTALL):
        given = logic.group()[:60]
        raise DataError(
            f"{where}: holds {given!r}; of templates only {{{{name}}}} is read. Write the prompt without logic."
        )
    return text


def _messages(where: str, text: str) -> Iterator[str]:
    """Yield the texts of a prompt that is a JSON list of messages; nothing for any other."""
    try:
        content = json.loads(text)
    except ValueError:
        return
    for message in content if isinstance(content, list) else []:
        said = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(said, str) or message.get("role") not in {"system", "developer", "user"}:
            raise DataError(f"{where}: its messages hold more than texts of system and user. Write it as one text.")
        yield said


def _wording(path: Path, text: str) -> tuple[str, str]:
    """Remove the lines that show inputs, and say which; replace an input within a sentence by its name."""
    if ours := OURS.search(text):
        raise DataError(
            f"{path}: a prompt holds {ours[0]}, which phrasetune would fill in. Write it otherwise, or with spaces."
        )
    lines = text.split("\n")
    shown = {n for n, line in enumerate(lines) if VARIABLE.search(line) and SHOWN.fullmatch(line)}
    fences = {n for n, line in enumerate(lines) if FENCE.fullmatch(line) and shown & {n - 1, n + 1}}
    rest = [n for n, line in enumerate(lines) if n not in shown | fences]
    last = next((n for n in reversed(rest) if lines[n].strip()), -1)
    cue = {last} if last >= 0 and shown and last > max(shown) and CUE.fullmatch(lines[last]) else set()
    kept = "\n".join(lines[n] for n in rest if n not in cue)
    ends = [end.group().strip() for end in ENDS.finditer(kept)]
    kept = re.sub(r"\n{3,}", "\n\n", ENDS.sub(".", kept))
    kept = VARIABLE.sub(lambda name: name[1].replace("_", " "), kept).strip()
    return kept, ", ".join(map(repr, [*(lines[n].strip() for n in sorted(shown | cue)), *ends]))


def _rows(path: Path, content: Mapping[str, Any], left: Counter[str]) -> Iterator[Row]:
    usual = content.get("defaultTest") or {}
    tests = content.get("tests") or []
    for part, kind in ((usual, Mapping), (tests, list)):
        if not isinstance(part, kind):
            name = "defaultTest" if kind is Mapping else "tests"
            raise DataError(f"{path}: {name} = {str(part)[:60]!r} is another file, which is not followed. Give --rows.")
    for number, test in enumerate(tests, start=1):
        where = f"{path}: test {number}"
        if not isinstance(test, Mapping):
            raise DataError(f"{where}: {str(test)[:60]!r} is another file, which is not followed. Give --rows.")
        left.update(f"key {key!r} of tests" for key in test if key not in READ_OF_TEST)
        variables = {**(usual.get("vars") or {}), **(test.get("vars") or {})}
        checks = [*(usual.get("assert") or []), *(test.get("assert") or [])]
        answers = [_plain(where, "an assertion", _one(value, variables)) for value in _wanted(checks, left)]
        if not answers or not variables:
            left["test without vars and an assertion of type equals"] += 1
            continue
        row = {name: _plain(where, f"vars.{name}", value) for name, value in variables.items()}
        if taken := row.keys() & {WANTED, ANSWERS}:
            raise DataError(f"{where}: has a variable {min(taken)!r}, a name that the wanted answer needs. Rename it.")
        also = {ANSWERS: json.dumps(answers, ensure_ascii=False)} if len(answers) > 1 else {}
        yield {**row, WANTED: answers[0], **also}


def _wanted(checks: Sequence[Any], left: Counter[str]) -> Iterator[Any]:
    """Yield the values that an answer may equal: those of the first assertion, or set of them, of type equals.

    All assertions of a test must hold in promptfoo; the others are counted as left out.
    """
    found: list[Any] = []
    for check in checks:
        kind = str(check.get("type", "")) if isinstance(check, Mapping) else str(check)
        inner = check.get("assert", []) if kind == "assert-set" else [check]
        if not found and all(isinstance(one, Mapping) and one.get("type") == "equals" for one in inner):
            found = [one.get("value") for one in inner]
            left.update(f"key {key!r} of assertions" for one in inner for key in one if key not in READ_OF_ASSERTION)
        else:
            left[f"assertion of type {kind}"] += 1
    yield from found


def _one(value: object, variables: Mapping[str, Any]) -> object:
    """Return a wanted answer; if it is just a variable, the value of that."""
    name = VARIABLE.fullmatch(value.strip()) if isinstance(value, str) else None
    return variables.get(name[1], value) if name else value


def _plain(where: str, what: str, value: object) -> str:
    if not isinstance(value, str):
        fix = "Write a test for each." if isinstance(value, list) else "Write a text."
        raise DataError(f"{where}: {what} is a {type(value).__name__}; only texts are read. {fix}")
    if (FILE.match(value) and "://" in value) or re.search(r"\{\{|\{%", value):
        raise DataError(f"{where}: {what} = {value[:60]!r} is not taken as it stands by promptfoo. Write the text.")
    return value


def _model(content: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Translate the first provider's name, if LiteLLM has one for it."""
    providers = _listed(content.get("providers") or content.get("targets") or [])
    if not providers:
        return "", []
    first = providers[0]
    if isinstance(first, Mapping):
        first = first.get("id") or next(iter(first), "")
    kind, _, name = str(first).rpartition(":")
    if kind not in PROVIDERS or not name:
        return "", [f"provider {str(first)!r}: not known here; name the model in [model]"]
    more = f" ({counted(len(providers) - 1, 'other provider')} left out)" if len(providers) > 1 else ""
    return f"{PROVIDERS[kind]}/{name}", [f"provider {first} -> model {PROVIDERS[kind]}/{name}{more}"]
