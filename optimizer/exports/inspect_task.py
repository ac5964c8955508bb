"""A task for Inspect AI: its rows, a short task file, and the module that renders and parses.

The module is that of the format `python`, so all that it can represent is represented here, too; the score is the
run's own. Knows nothing of file names and folders.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optimizer.exports.messages import refuse_calibrated, to_json
from optimizer.exports.names import slot_names
from optimizer.exports.proof import Draft, Exporter, Facts, Render, Winner, sentences
from optimizer.exports.python import PYTHON
from optimizer.exports.reading import reads_whole
from optimizer.exports.scored import is_carried, score_fault, score_module, score_note

TASK = '''\
"""A prompt tuned by phrasetune, as a task of Inspect AI: `inspect eval task.py {model}`."""

import runpy
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Score, {metric}, scorer, stderr
from inspect_ai.solver import generate

HERE = Path(__file__).resolve().parent
PROMPT, SCORE = (runpy.run_path(str(HERE / name)) for name in ("prompt.py", "score.py"))
ROLES = {{"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}}


def sample(row):
    messages = PROMPT["render"](**row["inputs"])
    said = [ROLES[message["role"]](content=message["content"]) for message in messages]
    return Sample(input=said, target=row["targets"], id=row["id"])


@scorer(metrics=[{metric}(), stderr()])
def answer():
    async def score(state, target):
        found = PROMPT["{reads}"](state.output.completion)
        return Score(value=SCORE["score"](found, list(target)), answer=found or "")

    return score


@task
def {name}():
    rows = json_dataset(str(HERE / "dataset.json"), sample)
    return Task(dataset=rows, solver=generate(), scorer=answer(), config=GenerateConfig(**PROMPT["SETTINGS"]))
'''


def task_name(winner: Winner) -> str:
    """Return a name for the task's function."""
    return slot_names([winner.facts.name])[winner.facts.name].lower()


def _rows(winner: Winner) -> list[dict[str, Any]]:
    wanted = winner.prompt.inputs
    return [
        {"id": row.id, "inputs": {name: dict(row.inputs)[name] for name in wanted}, "targets": list(row.targets)}
        for row in winner.facts.asked("rows to be answered")
    ]


def _model(facts: Facts) -> str:
    """Return the model as options of `inspect eval`, as a text that cannot end a docstring."""
    if not facts.address:
        return "--model " + (re.sub(r"[^\w./:-]", "", facts.model) or "openai/gpt-4o-mini")
    provider = "anthropic" if facts.model.startswith("anthropic/") else "openai"
    model = re.sub(r"[^\w./:-]", "", facts.bare_model)
    return f"--model {provider}/{model} --model-base-url {quote(facts.server or facts.address, safe=':/?=[]%')}"


def _draft(winner: Winner) -> Draft:
    refuse_calibrated(winner.prompt)
    facts = winner.facts
    rows = _rows(winner)
    module = PYTHON.draft(winner)
    assert isinstance(module.content, str)
    graded = is_carried(facts) and facts.metric is not None and facts.metric.graded
    metric, reads = "mean" if graded else "accuracy", reads_whole(facts.several)
    text = TASK.format(model=_model(facts), name=task_name(winner), metric=metric, reads=reads)
    files = {
        "task.py": text,
        "prompt.py": module.content,
        "score.py": score_module(facts),
        "dataset.json": to_json(rows),
    }
    how = f"It asks {len(rows)} {facts.split} rows."
    return Draft(files, winner, note=sentences(how, score_note(facts), module.note))


def _read(path: Path, draft: Draft) -> Render:
    assert PYTHON.read
    return PYTHON.read(path / "prompt.py", draft)


def _check(path: Path, draft: Draft) -> str:
    compile((path / "task.py").read_bytes(), "task.py", "exec", dont_inherit=True)
    if json.loads((path / "dataset.json").read_bytes()) != _rows(draft.winner):
        return "its rows are others"
    return score_fault(path / "score.py", draft.winner.facts) or PYTHON.check(path / "prompt.py", draft)


INSPECT = Exporter(
    about="a task for Inspect AI: a folder with task.py, prompt.py and dataset.json",
    usual_name="inspect_task",
    draft=_draft,
    read=_read,
    check=_check,
    rows=True,
)
