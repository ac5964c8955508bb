"""A metric of the user's own: run only when that is allowed, scored like any other, refused with one line."""

from __future__ import annotations

import json
import linecache
import re
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from optimizer import PromptClassifier, Watch, history, make_task, predict, tune
from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError, Interrupted, TaskError
from optimizer.events import Decided
from optimizer.preparing import Plan, prepare
from optimizer.records import Kind
from optimizer.scores import own_metric
from optimizer.scoring import feedback, score
from optimizer.task import Task, check_task
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
    with pytest.raises(TaskError, match=r"xml\.py cannot be read .*Put the module there: beside the task file"):
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


# --- a function that a program hands over -----------------------------------------------------------------


def half(answer: str, target: str) -> float:
    """Right, or half right where the first letter is."""
    return 1.0 if answer == target else 0.5 * (answer[:1] == target[:1])


def made(metric: Any, **sections: Any) -> Task:
    """The small rows, judged by a function."""
    rows = [{"text": f"row {i}", "label": ("bug", "bill", "praise")[i % 3]} for i in range(60)]
    small = {"search": {"calls": 80, "trials": 3}, "baseline": {"trials": 1}, "space": {"template": ["plain", "chat"]}}
    return make_task(rows, inputs="text", target="label", metric=metric, **{**small, **sections})


def test_a_function_handed_over_scores_prompts_and_baseline(tmp_path: Path, command: Command) -> None:
    """It needs no leave; the run that was stopped goes on with it, and its name tells it from another."""
    watch = Watch(lambda event: watch.stop.set() if isinstance(event, Decided) else None)
    with pytest.raises(Interrupted):
        tune(made(half), db=tmp_path / "results.db", watch=watch)

    tuned = tune(made(half), db=tmp_path / "results.db")

    assert tuned.run.id == 1
    assert re.fullmatch(rf"{__name__}:half@[0-9a-f]{{8}}", tuned.run.metric)
    assert tuned.verdict
    rows = {row.id: row.target for row in history(tmp_path / "results.db").splits()["test"]}
    for contender in tuned.verdict.contenders:
        scores = [half(outcome.answer or "", rows[outcome.example_id]) for outcome in contender.outcomes]
        assert contender.score == pytest.approx(sum(scores) / len(scores))
    assert f"not scored: {tuned.run.metric} is a function that a program handed over" in (
        predict([{"text": "row 1", "label": "bug"}], db=tmp_path / "results.db").unscored
    )
    first, second = (f"1:{trial.number}" for trial in history(tmp_path / "results.db").complete()[:2])
    for asked in (("compare", first, second), ("recheck", "--rows", "4"), ("card", "1"), ("report",)):
        command(*asked)
    rescored = command("export", "--format", "winner", "--rescore", code=2).output
    assert "is a function that a program handed over, which only tune runs" in rescored


def test_another_function_of_the_same_name_is_another_run() -> None:
    """Its source decides, not its name; the same written twice is the same."""
    one, again = (_function("return 0.5") for _ in range(2))
    other = _function("return 0.25")

    assert made(one).metric == made(again).metric != made(other).metric
    assert made(one).metric == made("", task={"metric": one}).metric


def _function(body: str) -> Callable[..., Any]:
    """Write a function in a cell, as a notebook does."""
    source, name = f"def score(answer, target):\n    {body}\n", f"<cell of {body}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    made: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, name, "exec"), made)
    function = made["score"]
    assert callable(function)
    return function


def _within(most: float) -> Callable[..., Any]:
    def score(answer: str, target: str) -> bool:
        return abs(len(answer) - len(target)) <= most

    return score


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (_within(1), r"metric '.*:score': uses most of the function around it.*Write it on its own"),
        (lambda answer, target: answer == target, r"metric '.*:<lambda>': has no name or no source.*with def"),
        (str.startswith, "a method_descriptor was given; allowed: the name of a metric, or a function"),
        (partial(half, target="x"), "a partial was given"),
        (eval("lambda: 1"), "has no name or no source"),
        (5, "must be a text in quotes"),
    ],
)
def test_what_could_not_be_told_from_another_is_refused(given: Any, said: str) -> None:
    """Before anything is bought."""
    with pytest.raises(TaskError, match=said):
        made(given)


def test_what_a_function_is_made_with_tells_it_from_another() -> None:
    """Values that its arguments have by default; a decorator's own are those of a function around it."""

    def of(least: float) -> Callable[..., Any]:
        def score(answer: str, target: str, least: float = least) -> bool:
            return len(answer) > least

        return score

    @wraps(half)
    def decorated(answer: str, target: str) -> Any:
        return half(answer, target)

    @wraps(half)
    def around(answer: str, target: str) -> Any:
        return decorated(answer, target)

    assert len({own_metric.handed_name(of(least)) for least in (1, 1, 2)}) == 2
    with pytest.raises(TaskError, match="uses decorated of the function around it"):
        own_metric.handed_name(around)


def test_a_function_that_is_not_handed_over_again_is_asked_for(tmp_path: Path) -> None:
    """A task file cannot name one, and a run's own task does not hold it."""
    told = check_task(made(half).model_dump(mode="json"), "run 1").model_copy(update={"rows": made(half).rows})

    with pytest.raises(TaskError, match=r"is a function that a program hands over\. Hand it over again, as metric="):
        prepare(told, allow_code=True)


def test_a_classifier_takes_a_function_as_well() -> None:
    """What is maximized is what it says."""
    texts, classes = [f"row {i}" for i in range(40)], ["bug", "bill"] * 20

    fitted = PromptClassifier(metric=half, budget=60, space={"template": "plain"}).fit(texts, classes)

    assert fitted.trial_.score is not None
    assert fitted.trial_.score >= 0.5  # both begin with b
    assert set(fitted.predict(texts[:3])) <= {"bug", "bill"}
