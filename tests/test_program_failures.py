"""What a program may do wrong: raise, catch what is not its own, ask other models, answer with objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils import DummyLM
from pydantic import BaseModel

from optimizer import PromptSearch
from optimizer.errors import InputError
from optimizer.events import Event, Notice
from optimizer.preparing import prepare
from optimizer.programs.runs import Judged, Runner
from optimizer.programs.tasks import rows_of_task, scorer
from optimizer.records import Completion, Kind, Request
from optimizer.task import load_task
from search_spaces.prompt import Message, Settings
from tests.small_task import write_task

ROWS = [
    dspy.Example(text=f"I {verb} the {thing}", label=label).with_inputs("text")
    for thing in "food wine room view staff bed pool sauna bath desk lamp sofa".split()
    for verb, label in (("adore", "good"), ("loathe", "bad"))
]


class Judge:
    """A model in this process that is right about what is adored, and refuses to talk about beds."""

    name, address, price = "judge", "", (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer in DSPy's chat layout."""
        text = request.messages[-1].content.split("[[ ## text ## ]]\n")[-1].split("\n")[0]
        if "bed" in text:
            return Completion("", error="refused")
        return Completion(f"[[ ## label ## ]]\n{'good' if 'adore' in text else 'none'}\n\n[[ ## completed ## ]]")


class Doing(dspy.Module):
    """A program of one step; `after` gets the step and its input, and returns a label."""

    def __init__(self, after: Callable[[Any, str], str]) -> None:
        super().__init__()
        self.label, self.after = dspy.Predict("text -> label"), after

    def forward(self, text: str) -> Any:
        """Return a label."""
        return dspy.Prediction(label=self.after(self.label, text))


def needing(step: Any, text: str) -> str:
    """Take no label but two."""
    return {"good": "good", "bad": "bad"}[step(text=text).label]


def searched(said: list[str] | None = None) -> PromptSearch:
    """Make a search with that model."""

    def watch(event: Event) -> None:
        if said is not None and isinstance(event, Notice):
            said.append(event.text)

    return PromptSearch(lambda row, told: row.label == told.label, model=Judge(), budget=60, workers=2, watch=watch)


def test_raising_at_an_answer_is_a_wrong_answer_and_told() -> None:
    """Other prompts may have other answers, so the search goes on; where it happened is said once."""
    said: list[str] = []
    search = searched(said)

    search.compile(Doing(needing), trainset=ROWS[:10], valset=ROWS[12:])

    kinds = {outcome.kind for trial in search.found.trials for outcome in trial.outcomes}
    assert kinds == {Kind.RIGHT, Kind.UNPARSED}
    assert search.found.trials[0].score == 0.5
    (told,) = (line for line in said if "raised" in line)
    assert "which count as wrong answers; first: test_program_failures.py, line" in told


def test_one_run_that_raised_is_told_as_one() -> None:
    """Not as one wrong answers."""
    runner = Runner(Judged(lambda row, told: row.label == told.label), None, 1, 0, raised=["here"])

    assert " in 1 run on a row, which counts as a wrong answer; first: here" in runner.odd


def test_a_program_that_raises_on_every_row_is_refused() -> None:
    """Before the search, as that is a bug and no matter of prompts."""
    with pytest.raises(InputError, match=r"the program raised on each of \d+ rows \(test_program_.*KeyError"):
        searched().compile(Doing(lambda step, text: {}[step(text=text).label]), trainset=ROWS[:10], valset=ROWS[12:])


def test_a_failed_call_is_no_answer_though_the_program_catches_it() -> None:
    """It says nothing about the prompt, whatever the program makes of it."""

    def catching(step: Any, text: str) -> str:
        try:
            return str(step(text=text).label)
        except Exception:  # noqa: BLE001 - as a user's program may do
            return "none"

    outcomes = searched().evaluate(Doing(catching), ROWS[10:14])

    assert [outcome.kind for outcome in outcomes] == [Kind.ERROR, Kind.ERROR, Kind.RIGHT, Kind.WRONG]
    assert [outcome.score for outcome in outcomes] == [None, None, 1.0, 0.0]


@pytest.mark.parametrize("where", ["step", "context"])
def test_a_language_model_beside_the_one_that_is_paid_for_is_refused(where: str) -> None:
    """No cap would hold for its calls, and nobody would know of them."""
    other = DummyLM([{"label": "good"}] * 99)

    def asking(step: Any, text: str) -> str:
        with dspy.context(lm=other):
            return str(step(text=text).label)

    program = Doing(asking if where == "context" else needing)
    if where == "step":
        program.label.set_lm(other)

    with pytest.raises(InputError, match=r"a language model of its own \(dummy\): no cap holds for its calls"):
        searched().compile(program, trainset=ROWS[:10], valset=ROWS[12:])


class Route(BaseModel):
    """A typed answer."""

    label: str
    urgent: bool = False


@pytest.mark.parametrize("value", [{"label": "bug", "urgent": False}, Route(label="bug"), [Route(label="bug")]])
def test_typed_fields_are_scored_as_json(tmp_path: Path, value: Any) -> None:
    """A pydantic model, a mapping or a list equals the JSON that stands in the data file."""
    wanted = [{"label": label, "urgent": False} for label in ("bug", "billing")]
    told = [[each] if isinstance(value, list) else each for each in wanted]
    rows = [{"text": f"row {n}", "out": told[n % 2]} for n in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = write_task(tmp_path, rows=60).read_text(encoding="utf-8")
    kind = '[task]\nkind = "extraction"\nmetric = "exact_match"\n'
    changed = task.replace("[task]\n", kind).replace("rows.csv", "rows.jsonl").replace('id = "id"\n', "")
    changed = changed.replace('"label"', '"out"').replace('slices = ["channel"]\n', "").split("[space]")[0]
    (tmp_path / "task.toml").write_text(changed, encoding="utf-8")
    plan = prepare(load_task(tmp_path / "task.toml"))
    known = rows_of_task(plan)

    score = scorer(plan, known)
    scores = {row.target: score(known.known[row.id], dspy.Prediction(out=value)).score for row in known.dev}

    assert {"bug" in target: score for target, score in scores.items()} == {True: 1.0, False: 0.0}


class Own:
    """What answers as the user's own language model: as the judge does, and it is down for what is about beds."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer in DSPy's chat layout."""
        text = "".join(part.text for part in request.messages[-1].parts)
        told = Judge().complete(Request((Message("user", text),), Settings()))
        if told.error:
            raise ConnectionError(told.error)
        return lm15.Response(None, request.model, lm15.Message.assistant(told.text), "stop", lm15.Usage(1, 1))


@pytest.mark.parametrize("paid", [True, False])
def test_what_a_program_raises_is_judged_alike_whoever_makes_the_calls(paid: bool) -> None:
    """After an answer it is a wrong one, for a call that failed or before any call it is none; the run tells both."""

    def raising(step: Any, text: str) -> str:
        if "food" in text:
            raise LookupError("no food")
        if "loathe" in text or "bed" in text:
            return {"bad": "bad"}[step(text=text).label]
        return str(step(text=text).label)

    said: list[str] = []
    search = searched(said) if paid else PromptSearch(lambda row, told: row.label == told.label, budget=80)
    search.watch = searched(said).watch
    with dspy.context(lm=dspy.LM("own", engine=Own(), cache=False, num_retries=0)):
        outcomes = search.evaluate(Doing(raising), ROWS[:14])
        search.compile(Doing(raising), trainset=ROWS[12:], valset=ROWS[:10])

    kinds = {row.text: outcome.kind for row, outcome in zip(ROWS, outcomes, strict=False)}
    assert {kind for text, kind in kinds.items() if "food" in text or "bed" in text} == {Kind.ERROR}
    assert {kind for text, kind in kinds.items() if "food" not in text and "bed" not in text} == {
        Kind.RIGHT,
        Kind.UNPARSED,
    }
    (told,) = (line for line in said if "raised" in line)
    assert "the program raised after an answer in " in told
    assert "; the program raised before any call in " in told
    assert "no food" in told
