"""A metric of the user's own: run only when that is allowed, scored like any other, refused with one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer import history, own_metric, tune
from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError, TaskError
from optimizer.preparing import Plan, prepare
from optimizer.records import Kind
from optimizer.scoring import feedback, score
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import write_task

MARKED = """
from pathlib import Path

Path(__file__).with_name("ran").touch()


def score(answer, target):
    return answer == target
"""


def task_with(folder: Path, code: str, *, rows: int = 120) -> Path:
    """The small task, judged by a function `score` of a module beside it."""
    task = write_task(folder, rows=rows, search={"calls": 60, "trials": 4})
    text = task.read_text(encoding="utf-8").replace('name = "small"\n', 'name = "small"\nmetric = "own:score"\n')
    task.write_text(text, encoding="utf-8")
    (folder / "own.py").write_text(code, encoding="utf-8")
    return task


def prepared(folder: Path) -> Plan:
    return prepare(folder / "task.toml", allow_code=True)


def loaded(folder: Path, code: str) -> own_metric.Metric:
    (folder / "own.py").write_text(code, encoding="utf-8")
    return own_metric.load("own:score", folder)


@pytest.mark.parametrize("name", ["tune", "plan", "space", "doctor"])
def test_without_the_flag_the_code_is_not_run(name: str, command: Command, tmp_path: Path) -> None:
    """Each command that would run it refuses with one line and leaves the module alone."""
    task_with(tmp_path, MARKED)

    done = command(name, "task.toml", code=1 if name == "doctor" else 2)

    assert "metric 'own:score' is code of your own" in done.output
    assert "give --allow-code" in done.output
    assert not (tmp_path / "ran").exists()


def test_with_the_flag_it_scores_prompts_and_baseline(command: Command, tmp_path: Path) -> None:
    """Every contender's score is the share of rows that the function calls right; `predict` runs no code."""
    task_with(tmp_path, MARKED)

    command("tune", "task.toml", "--allow-code")

    verdict, targets = history("results.db").verdict(), {row.id: row.target for row in prepared(tmp_path).data.test}
    assert verdict
    assert verdict.metric == "own:score"
    for contender in verdict.contenders:
        right = [outcome.answer == targets[outcome.example_id] for outcome in contender.outcomes]
        assert contender.score == pytest.approx(sum(right) / len(right))
    assert "own:score is code of your own" in command("predict", "rows.csv").output


def test_another_code_is_another_run(tmp_path: Path) -> None:
    """A changed function has another configuration, so that an interrupted run is not resumed under it."""
    task = task_with(tmp_path, MARKED)
    before = prepare(task, allow_code=True).config(EmbeddedModel())

    again = prepare(task, allow_code=True).config(EmbeddedModel())
    (tmp_path / "own.py").write_text(MARKED.replace("==", "!="), encoding="utf-8")

    assert before == again
    assert prepare(task, allow_code=True).config(EmbeddedModel()) != before


def test_from_python_it_is_refused_too(tmp_path: Path) -> None:
    """`tune` runs it with `allow_code=True` alone."""
    with pytest.raises(TaskError, match="allow_code=True"):
        tune(task_with(tmp_path, MARKED), db=tmp_path / "r.db")

    assert not (tmp_path / "r.db").exists()


def test_the_best_accepted_answer_counts_and_inputs_are_handed_over(tmp_path: Path) -> None:
    """A parameter called inputs gets the row's texts; equal calls are made once."""
    metric = loaded(
        tmp_path,
        "calls = []\ndef score(answer, target, inputs):\n    calls.append(target)\n"
        "    return (answer == target) / (1 + inputs['text'].count('hard') + (len(calls) > 2))",
    )
    row = Example("r1", (("text", "a hard one"),), ("x", "y"))

    assert score(metric, "y", row) == (Kind.WRONG, 0.5)
    assert score(metric, "y", row) == (Kind.WRONG, 0.5)
    assert score(metric, None, row) == (Kind.UNPARSED, 0.0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 'yes'", r"gave 'yes'; a score is a number from 0 to 1, or True or False\. Mend the function"),
        ("return '0.5'", "gave '0.5'"),
        ("return 1.5", r"gave 1\.5"),
        ("return -0.1", r"gave -0\.1"),
        ("return float('nan')", "gave nan"),
        ("return None", "gave None"),
        ("return [1]", r"gave \[1\]"),
        ("return answer.foo", r"own\.py, line 2: AttributeError: 'str' object has no attribute 'foo'\. Mend"),
        ("raise SystemExit", r"own\.py, line 2: SystemExit\. Mend"),
    ],
)
def test_what_is_no_score_is_one_line(body: str, said: str, tmp_path: Path) -> None:
    """The complaint shows the answers, what came of them and where."""
    metric = loaded(tmp_path, f"def score(answer, target):\n    {body}\n")

    with pytest.raises(InputError, match=said):
        score(metric, "a", Example("r1", (("text", "x"),), ("b",)))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name", r"own\.py, line 1: ModuleNotFoundError: .*Mend the module"),
        ("def score(a)", r"own\.py, line 1: SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def scored(a, b): return 1", "has no function 'score'"),
        ("score = 3", "has no function 'score'"),
        ("def score(a): return 1", r"cannot be called with an answer and an accepted answer .*Write def NAME"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_line(code: str, said: str, tmp_path: Path) -> None:
    """The complaint names the file, the line and what to do."""
    with pytest.raises(TaskError, match=said):
        loaded(tmp_path, code)


def test_the_module_is_the_file_beside_the_task(tmp_path: Path) -> None:
    """A name that Python knows already means the user's file all the same; a missing one is named."""
    (tmp_path / "json.py").write_text("def score(answer, target): return 0.25", encoding="utf-8")

    assert own_metric.load("json:score", tmp_path).row("a", ["b"]) == 0.25
    assert json.dumps([1]) == "[1]"
    with pytest.raises(TaskError, match=r"xml\.py cannot be read .*Put the module beside the task file"):
        own_metric.load("xml:score", tmp_path)


SAYING = """
from dspy import Prediction


def score(answer, target):
    right = answer == target
    if answer == "maybe":
        return {"score": 0.5, "feedback": "Be sure."}
    return Prediction(score=float(right), feedback="" if right else f"It is {target}.")
"""


def test_a_metric_may_say_why(tmp_path: Path) -> None:
    """A mapping or an object with a score and its feedback is taken, such as DSPy's; a bare number says nothing."""
    row = Example("r", (), ("a", "b"))
    saying, bare = loaded(tmp_path, SAYING), loaded(tmp_path, "def score(answer, target): return 0.5\n")

    said = [feedback(saying, text, row) for text in ("b", "c", "maybe", None)]
    assert [score(saying, text, row)[1] for text in ("b", "c", "maybe")] == [1.0, 0.0, 0.5]
    assert said == ["", "It is a.", "Be sure.", ""]
    assert feedback(bare, "c", row) == ""
