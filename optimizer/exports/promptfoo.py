"""A folder for promptfoo: a configuration, the winner and the seed prompt as two prompts, and rows as tests.

Answers are parsed and scored by our own functions, in Python. An expected answer is in a test's assertion and never
among its variables, which a prompt could print. promptfoo changes variables by its own rules (checked with 0.123.1): it
drops a line end, inserts variables into one another, and opens files that a variable names. Knows nothing of file names
and folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimizer.exports.jinja import rendered, templated
from optimizer.exports.messages import fixed_turns, to_json
from optimizer.exports.names import renamed, slot_names
from optimizer.exports.proof import OPENAI, Draft, Exporter, Facts, Render, Winner, is_fixed, sentences
from optimizer.exports.python import PYTHON
from optimizer.exports.reading import reads_whole
from optimizer.exports.scored import score_fault, score_module, score_note
from optimizer.exports.yaml import write_yaml
from optimizer.phrases import agreed
from search_spaces.prompt import Example, Prompt, Turn

OPENED = ("file://", "package:")  # a variable that begins like this is opened instead of printed
# LiteLLM's name of a provider -> promptfoo's
ANTHROPIC = "anthropic:messages"
PROVIDERS = {
    "openai": "openai:chat",
    "anthropic": ANTHROPIC,
    "ollama": "ollama:chat",
    "ollama_chat": "ollama:chat",
}
RUNS = "promptfoo needs Python for that."
LEFT_OUT = (
    "row that promptfoo would read as the name of a file is left out.",
    "rows that promptfoo would read as names of files are left out.",
)
JUDGE = '''\
"""What promptfoo calls: a transform that reads an answer, and an assertion that scores it."""

import json
import runpy
from pathlib import Path

HERE = Path(__file__).resolve().parent


def read_answer(output, context):
    """Read the answer as the prompt's template does; nothing if it cannot be read."""
    prompt = runpy.run_path(str(HERE / (context["prompt"]["label"] + ".py")))
    return prompt["{reads}"](output) or ""


def get_assert(output, context):
    """Score an answer that was read, and let it pass if nothing is wrong in it."""
    score = runpy.run_path(str(HERE / "score.py"))["score"]
    value = score(output or None, json.loads(context["config"]["targets"]))
    return {{"pass": value == 1, "score": value, "reason": f"it scores {{value:.3f}}"}}
'''
PROXY = "It asks a proxy of LiteLLM on this machine (port 4000), which must serve the model under this name."


NO_KEY = "no-key"  # promptfoo would send OpenAI's key from the environment to any server
KEYLESS = f'It asks with the key "{NO_KEY}"; for a server that needs one write apiKey: "{{{{env.NAME}}}}".'


def _provider(facts: Facts) -> str | dict[str, Any]:
    """Return promptfoo's name of the model, with the address of the run; never OpenAI's if the model is elsewhere."""
    known = "openai:chat" if facts.server == OPENAI else PROVIDERS.get(facts.model.partition("/")[0], "")
    if facts.address:
        name = ANTHROPIC if known == ANTHROPIC else "openai:chat"
        keyless = {} if name == ANTHROPIC or facts.key_variable == "OPENAI_API_KEY" else {"apiKey": NO_KEY}
        return {"id": f"{name}:{facts.bare_model}", "config": {"apiBaseUrl": facts.server or facts.address, **keyless}}
    return f"{known}:{facts.bare_model}" if known else f"litellm:{facts.model or facts.bare_model}"


def _names(winner: Winner) -> dict[str, str]:
    """Return names for the inputs that no row has in double braces, since promptfoo would fill these."""
    texts = "\n".join(row.text for row in winner.facts.rows)
    names = slot_names(winner.prompt.inputs)
    while any(re.search(r"\{\{\s*" + name + r"\s*\}\}", texts) for name in names.values()):
        names = {name: f"{slot}_" for name, slot in names.items()}
    return names


def _variable(value: str) -> str:
    return value + "\n" if value.endswith("\n") else value  # promptfoo drops the last one


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
        "defaultTest": {"options": {"transform": "file://judge.py:read_answer"}},
        "tests": "file://tests.jsonl",
    }
    contents = {f"{label}.json": to_json(_messages(turns, names)) for label, (_, turns) in prompts.items()}
    files = {
        "promptfooconfig.yaml": write_yaml(config),
        **contents,
        **{f"{label}.py": _module(winner, label) for label in prompts},
        "judge.py": JUDGE.format(reads=reads_whole(facts.several)),
        "score.py": score_module(facts),
        "tests.jsonl": "".join(json.dumps(test) + "\n" for test in tests),
    }
    opened = len(facts.rows) - len(tests)
    note = sentences(
        f"Its tests are {len(tests)} {facts.split} rows.".replace("  ", " "),
        agreed(opened, *LEFT_OUT) if opened else "",
        ""
        if "seed" in prompts
        else "It is without the seed prompt, which is the winner itself or has no fixed messages.",
        PROXY if str(provider).startswith("litellm:") else "",
        KEYLESS if NO_KEY in str(provider) else "",
        f"{score_note(facts)} {RUNS}",
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


def _module(winner: Winner, label: str) -> str:
    """Return the module that parses the answers to one of the prompts."""
    facts = winner.facts
    if label == "seed":
        assert facts.seed
        assert facts.seed_renderer
        winner = Winner(facts.seed, facts.seed_renderer, facts)
    content = PYTHON.draft(winner).content
    assert isinstance(content, str)
    return content


def _tests(winner: Winner, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for row in winner.facts.asked("a test for each row"):
        wanted = {"type": "python", "value": "file://judge.py", "config": {"targets": json.dumps(row.targets)}}
        inputs = dict(row.inputs)
        if _is_plain(row):
            yield {
                "vars": {slot: _variable(inputs[name]) for name, slot in names.items()},
                "assert": [wanted] if row.targets else [],
                "metadata": {"id": row.id},
            }


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
        told = [target for one in test["assert"] for target in json.loads(one["config"]["targets"])]
        if {name: re.sub(r"\n\Z", "", value) for name, value in given.items()} != wanted or told != list(row.targets):
            return f"the test of row {row.id!r} is another"
    return score_fault(path / "score.py", winner.facts) or PYTHON.check(path / "winner.py", draft)


PROMPTFOO = Exporter(
    about="promptfoo: a folder with its configuration, winner and seed as two prompts, and rows as tests",
    usual_name="promptfoo",
    draft=_draft,
    read=_read,
    check=_check,
    fidelity="exact; rows that it would open as files are left out",
    rows=True,
)
