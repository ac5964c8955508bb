"""What a program may pass as a model, a task, a watch or rows, and the error for anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from optimizer import PromptClassifier, PromptSearch, history, plan, predict, recheck, tune
from optimizer.calls.prices import known_price
from optimizer.commands.options import changed
from optimizer.embedded import EmbeddedModel
from optimizer.errors import BudgetSpent, InputError, Interrupted, ModelError, TaskError
from optimizer.events import Event, Stage
from optimizer.preparing import brought, prepare, run_model, task_model
from optimizer.records import Completion, Request, Run
from optimizer.task import Task, check_task, load_task
from optimizer.task_sections import JUDGE, MODEL, PROPOSER, ROLES, TEACHER, ModelSpec
from tests.recorded import Tried, write_run
from tests.small_task import write_task


class Own:
    """A model of a user's own."""

    name = "own"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer the same to everything."""
        del request
        return Completion("billing")


class Bare(Own):
    """Its answer is what most would return first."""

    def complete(self, request: Request) -> Any:
        """Answer with a text alone."""
        del request
        return "billing"


NO_MODELS = [
    (5, "an int was given as a model"),
    (Own, "the class Own was given as a model"),
    (object(), "an object was given as a model"),
]


@pytest.mark.parametrize(("given", "why"), NO_MODELS)
def test_what_is_no_model_is_refused_wherever_one_is_taken(given: Any, why: str, tmp_path: Path) -> None:
    """Before anything is written down, in one line that says what is allowed."""
    task = write_task(tmp_path, search={"calls": 20})
    write_run(tmp_path / "r.db", [Tried("1" * 20), Tried("1" * 20)])
    rows = [dspy.Example(text=str(i), label=str(i % 2)).with_inputs("text") for i in range(20)]
    search = PromptSearch(lambda example, said: example.label == said.label, model=given)
    classifier = PromptClassifier(model=given)

    for call in (
        lambda: tune(task, db=tmp_path / "t.db", model=given),
        lambda: tune(task, db=tmp_path / "t.db", proposer=given),
        lambda: recheck(1, db=tmp_path / "r.db", model=given),
        lambda: predict([{"text": "a"}], 1, db=tmp_path / "r.db", model=given),
        lambda: plan(task, db=tmp_path / "t.db", model=given),
        lambda: classifier.fit([f"text {i}" for i in range(20)], ["x", "y"] * 10),
        lambda: search.compile(dspy.Predict("text -> label"), trainset=rows),
    ):
        with pytest.raises(ModelError, match=rf"{why}; allowed: a name, .* or an object that has name, address, price"):
            call()
    assert not (tmp_path / "t.db").exists()


def test_a_name_of_a_model_stands_in_the_task(tmp_path: Path) -> None:
    """As with --model: the same run as of a task that names it; with the other keys of its section."""
    file = write_task(tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(text + '[model]\nname = "openai/a"\napi_base = "http://127.0.0.1:9"\n', encoding="utf-8")
    named = load_task(file)
    file.write_text(file.read_text(encoding="utf-8").replace("openai/a", "openai/b"), encoding="utf-8")

    nobody = dict.fromkeys((MODEL, *ROLES))
    task, models = brought(file, {**nobody, MODEL: "openai/a", PROPOSER: "openai/c"})

    assert models == nobody
    assert (task.model, task.data_file) == (named.model, named.data_file)
    assert prepare(task).beside[PROPOSER].name == "openai/c"
    with pytest.raises(TaskError, match=r"\[teacher\] 'openai/d' reasons about rows"):
        tune(file, db=tmp_path / "t.db", teacher="openai/d")
    assert brought(file, {**nobody, TEACHER: (own := EmbeddedModel())})[1] == {**nobody, TEACHER: own}
    assert TEACHER not in prepare(load_task(file)).beside


def by_option(task: Task, role: str, name: str) -> Task:
    """Name a model as on the command line."""
    return changed(task, {role: name})


def by_argument(task: Task, role: str, name: str) -> Task:
    """Name a model as from Python."""
    return brought(task, {**dict.fromkeys((MODEL, *ROLES)), role: name})[0]


WAYS = [
    *((by_option, role) for role in (MODEL, PROPOSER, TEACHER)),
    *((by_argument, role) for role in (MODEL, JUDGE, PROPOSER, TEACHER)),
]


@pytest.mark.parametrize(("way", "role"), WAYS)
def test_what_a_task_says_a_model_costs_holds_for_no_other(way: Callable[[Task, str, str], Task], role: str) -> None:
    """Nor what it takes: a cap on dollars would not bite. Where it is asked holds for its provider alone."""
    local = {"name": "hosted_vllm/a", "api_base": "http://127.0.0.1:9", "workers": 3}
    free = {**local, "context": 2048, "price": {"input": 0.0, "output": 0.0}}
    about = {"task": {"name": "x", "kind": "generation", "metric": "judge"}, "judge": {"model": "openai/j"}}
    rows = {"data": {"file": "rows.csv", "inputs": ["text"], "target": "label"}}
    task = check_task({**about, **rows, role: free if role == MODEL else {"model": free}}, "task.toml")

    names = ("openai/gpt-4o", "hosted_vllm/b", "hosted_vllm/a")
    other, beside, same = (spoken_of(way(task, role, name), role) for name in names)

    assert other == ModelSpec(name="openai/gpt-4o", workers=3)
    assert beside == ModelSpec(**{**local, "name": "hosted_vllm/b"})
    assert task_model(other, keyless=True).price == known_price("openai/gpt-4o") != (0.0, 0.0)
    assert same == spoken_of(task, role) == ModelSpec(**free)


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        ("gpt-4o-mini", "openai/gpt-4o", True),
        ("gpt-4o-mini", "gpt-4o", True),
        ("ollama/a", "ollama_chat/b", True),
        ("openai/a", "anthropic/b", False),
        ("openai/a", "embedded", False),
    ],
)
def test_an_address_stays_with_its_provider(before: str, after: str, stays: bool) -> None:
    """By whichever of its names; rows go to no other address for it."""
    rows = {"data": {"file": "rows.csv", "inputs": ["text"], "target": "label"}, "task": {"name": "x"}}
    task = check_task({**rows, "model": {"name": before, "api_base": "http://127.0.0.1:9"}}, "task.toml")

    assert by_option(task, MODEL, after).model.api_base == ("http://127.0.0.1:9" if stays else "")


def spoken_of(task: Task, role: str) -> ModelSpec:
    """What a task says of the model in a role."""
    section = getattr(task, role)
    spec: ModelSpec = section if role == MODEL else section.model
    return spec


def test_a_run_on_a_named_model_is_the_run_of_the_task(finished: Path, tmp_path: Path) -> None:
    """The embedded model by its name, beside the same one as the task has it: nothing is bought again."""
    task = write_task(tmp_path)
    (tmp_path / "results.db").write_bytes(finished.read_bytes())

    assert tune(task, db=tmp_path / "results.db", model="embedded").run.bought == 0


def test_an_answer_that_is_none_ends_the_run_with_a_word_of_it(tmp_path: Path) -> None:
    """A text is no Completion; the run says so, too."""
    with pytest.raises(ModelError, match=r"model 'own' answered with a str; allowed: a Completion"):
        tune(write_task(tmp_path), db=tmp_path / "r.db", model=Bare())

    assert "answered with a str" in history(tmp_path / "r.db").run().reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("late"), "KeyError: 'late'"),
        (RuntimeError(), "RuntimeError"),
        (KeyboardInterrupt(), "stopped"),
        (Interrupted("stopped"), "stopped"),
    ],
)
def test_a_run_that_something_foreign_ended_names_its_type(error: BaseException, reason: str, tmp_path: Path) -> None:
    def event(told: Event) -> None:
        if isinstance(told, Stage) and told.name == "search":
            raise error

    with pytest.raises(type(error)):
        tune(write_task(tmp_path, search={"calls": 20}), db=tmp_path / "r.db", watch=event)

    assert history(tmp_path / "r.db").run().reason == reason


def test_a_function_follows_a_run(tmp_path: Path) -> None:
    """As a watch does that is made of it; what is neither is refused."""
    told: list[Event] = []

    with pytest.raises(BudgetSpent):
        tune(write_task(tmp_path, search={"calls": 20, "max_tokens": 1}), db=tmp_path / "r.db", watch=told.append)

    assert isinstance(told[0], Stage)
    with pytest.raises(InputError, match="an int was given as watch; allowed: a Watch, or a function"):
        tune(write_task(tmp_path), watch=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "why"), [(None, "None"), ({"text": ["a"]}, "a dict"), ([1], "a list")])
def test_what_is_no_task_is_refused_with_how_to_make_one(given: Any, why: str) -> None:
    for take in (tune, load_task):
        with pytest.raises(TaskError, match=rf"^{why} was given as a task; .* make_task\(rows"):
            take(given)  # type: ignore[operator]


def test_the_model_of_a_run_by_its_name_keeps_what_the_task_says_of_it(tmp_path: Path) -> None:
    """Its price above all, which caps go by."""
    task = load_task(write_task(tmp_path))
    spec = ModelSpec(name="hosted_vllm/x", api_base="http://127.0.0.1:1/v1", price={"input": 1, "output": 2})
    run = Run(1, "x", {}, "hosted_vllm/x", "accuracy", "", "finished", "")

    named = run_model(run, task.model_copy(update={"model": spec}), "hosted_vllm/x")

    assert named.price == (1e-6, 2e-6)
