"""A folder for promptfoo: a configuration, the winner and the seed prompt as two prompts, and rows as tests.

A wanted answer stands in a test's assertion and never among its variables, which a prompt could print. promptfoo reads
variables with rules of its own (checked with 0.123.1): it drops a line end, puts variables into one another, and opens
files that a variable names. Knows nothing of files' names and places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimizer.exports.jinja import EDGE, rendered, templated
from optimizer.exports.messages import fixed_turns, to_json
from optimizer.exports.names import renamed, slot_names
from optimizer.exports.proof import OPENAI, Draft, Exporter, Facts, Render, Winner, is_fixed, sentences
from optimizer.exports.yaml import write_yaml
from search_spaces.prompt import Example, Prompt, Turn

OPENED = ("file://", "package:")  # a variable that begins so is opened, not printed
# LiteLLM's name of a provider -> promptfoo's
ANTHROPIC = "anthropic:messages"
PROVIDERS = {
    "openai": "openai:chat",
    "anthropic": ANTHROPIC,
    "ollama": "ollama:chat",
    "ollama_chat": "ollama:chat",
}
PROXY = "It asks a proxy of LiteLLM on this machine (port 4000), which must serve the model under this name."


def _provider(facts: Facts) -> str | dict[str, Any]:
    """Name the model as promptfoo does, at the address that it was tuned on; never at OpenAI if it is not there."""
    known = "openai:chat" if facts.server == OPENAI else PROVIDERS.get(facts.model.partition("/")[0], "")
    if facts.address:
        name = ANTHROPIC if known == ANTHROPIC else "openai:chat"
        return {"id": f"{name}:{facts.bare_model}", "config": {"apiBaseUrl": facts.server or facts.address}}
    return f"{known}:{facts.bare_model}" if known else f"litellm:{facts.model or facts.bare_model}"


def _names(winner: Winner) -> dict[str, str]:
    """Name the inputs so that no row holds one in double braces, which promptfoo would fill."""
    texts = "\n".join(row.text for row in winner.facts.rows)
    names = slot_names(winner.prompt.inputs)
    while any(re.search(r"\{\{\s*" + name + r"\s*\}\}", texts) for name in names.values()):
        names = {name: f"{slot}_" for name, slot in names.items()}
    return names


def _variable(value: str) -> str:
    return value + "\n" if value.endswith("\n") else value  # the last one is dropped


def _is_plain(row: Example) -> bool:
    return not any(value.startswith(OPENED) for _, value in row.inputs)


def _draft(winner: Winner) -> Draft:
    names, facts = _names(winner), winner.facts
    prompts = dict(_prompts(winner))
    tests = list(_tests(winner, names))
    provider = _provider(facts)
    config = {
        "description": slot_names([facts.name])[facts.name],
        "prompts": [
            {
                "id": f"file://{label}.json",
                "label": label,
                "config": {"temperature": prompt.settings.temperature, "max_tokens": prompt.settings.max_tokens},
            }
            for label, (prompt, _) in prompts.items()
        ],
        "providers": [provider],
        "tests": "file://tests.jsonl",
    }
    contents = {f"{label}.json": to_json(_messages(turns, names)) for label, (_, turns) in prompts.items()}
    files = {
        "promptfooconfig.yaml": write_yaml(config),
        **contents,
        "tests.jsonl": "".join(json.dumps(test) + "\n" for test in tests),
    }
    opened = len(facts.rows) - len(tests)
    note = sentences(
        f"Its tests are {len(tests)} {facts.split} rows.".replace("  ", " "),
        f"{opened} rows that promptfoo would read as names of files are left out." if opened else "",
        ""
        if "seed" in prompts
        else "It is without the seed prompt, which is the winner itself or has no fixed messages.",
        PROXY if str(provider).startswith("litellm:") else "",
        "" if _is_bare(winner) else "An answer passes if it holds the wanted one, which is looser than our reading.",
        renamed(names),
    )
    return Draft(files, winner, note=note)


def _prompts(winner: Winner) -> Iterator[tuple[str, tuple[Prompt, tuple[Turn, ...]]]]:
    yield "winner", (winner.prompt, fixed_turns(winner))
    seed, renderer = winner.facts.seed, winner.facts.seed_renderer
    if seed and renderer and seed != winner.prompt and is_fixed(seed) and not seed.calibrated:
        yield "seed", (seed, renderer.turns(seed))


def _messages(turns: tuple[Turn, ...], names: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": templated(turn, names)} for turn in turns]


def _is_bare(winner: Winner) -> bool:
    """Whether every prompt's answer is the wanted text and nothing else."""
    return all(p.answer_format == "bare" and not p.reasoning for _, (p, _) in _prompts(winner))


def _tests(winner: Winner, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    kind = "equals" if _is_bare(winner) else "icontains"
    for row in winner.facts.asked("a test for each row"):
        wanted = [{"type": kind, "value": _said(target)} for target in row.targets]
        either = [{"type": "assert-set", "threshold": 1 / len(wanted), "assert": wanted}] if len(wanted) > 1 else wanted
        inputs = dict(row.inputs)
        if _is_plain(row):
            yield {
                "vars": {slot: _variable(inputs[name]) for name, slot in names.items()},
                "assert": either,
                "metadata": {"id": row.id},
            }


def _said(target: str) -> str:
    """Write a wanted answer as a template, which assertions are, so that it names no file."""
    return EDGE + templated(Turn("", (target,)), {})


def _read(path: Path, draft: Draft) -> Render:
    names = _names(draft.winner)
    return _filled(json.loads((path / "winner.json").read_bytes()), names)


def _filled(template: list[dict[str, str]], names: Mapping[str, str]) -> Render:
    return lambda inputs: [
        {"role": message["role"], "content": rendered(message["content"], inputs, names)} for message in template
    ]


def _check(path: Path, draft: Draft) -> str:
    winner, names = draft.winner, _names(draft.winner)
    for label, (_, turns) in _prompts(winner):
        if json.loads((path / f"{label}.json").read_bytes()) != _messages(turns, names):
            return f"the prompt {label} is another"
    tests = [json.loads(line) for line in (path / "tests.jsonl").read_bytes().decode().split("\n")[:-1]]
    rows = [row for row in winner.facts.rows if _is_plain(row)]
    if len(tests) != len(rows):
        return f"it has {len(tests)} tests, not {len(rows)}"
    for row, test in zip(rows, tests, strict=True):
        given = {name: test["vars"][slot] for name, slot in names.items()}
        wanted = {name: dict(row.inputs)[name] for name in names}
        asserted = [one for outer in test["assert"] for one in outer.get("assert", [outer])]
        told = [rendered(one["value"], {}, {}) for one in asserted]
        if {name: re.sub(r"\n\Z", "", value) for name, value in given.items()} != wanted or told != list(row.targets):
            return f"the test of row {row.id!r} is another"
    return ""


PROMPTFOO = Exporter(
    about="promptfoo: a folder with its configuration, winner and seed as two prompts, and rows as tests",
    usual_name="promptfoo",
    draft=_draft,
    read=_read,
    check=_check,
    fidelity="exact; rows that it would open as files are left out",
    rows=True,
)
