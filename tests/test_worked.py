"""Worked demos: what the model thought of training rows that it answered rightly, shown as demos are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from optimizer import tune
from optimizer.errors import TaskError
from optimizer.preparing import prepare
from optimizer.prompt_text import as_text
from optimizer.records import Completion, Request
from optimizer.task import load_task
from optimizer.tuned import Tuned
from search_spaces.rendering import Renderer
from search_spaces.templates import read_thought
from tests.small_task import write_task


class Thinker:
    """A model in this process that reasons where it is asked to, and takes everything for a bug."""

    name = "thinker"
    address = ""
    price = (0.0, 0.0)

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        """Say why, if that is wanted, and always the same."""
        self.requests.append(request)
        asked = "\n".join(message.content for message in request.messages)
        return Completion("It sounds broken.\nAnswer: bug" if "Think step by step" in asked else "bug")


def run(folder: Path, model: Thinker) -> Tuned:
    """Tune the small task on a few rows."""
    task = load_task(write_task(folder, rows=80, search={"calls": 120, "worked": 30, "max_calls": 200}))
    return tune(task, db=folder / "results.db", model=model)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Thinker, Tuned]:
    """A run with worked demos, where it is, and the model that it has asked."""
    folder, model = tmp_path_factory.mktemp("worked"), Thinker()
    return folder, model, run(folder, model)


def test_rows_that_came_out_right_are_shown_with_their_reasoning(tuned: tuple[Path, Thinker, Tuned]) -> None:
    """Only these, and each with the thought that led to the answer."""
    prompts = [trial.prompt for trial in tuned[2].trials if trial.params["demos"] == "worked"]
    shown = {(demo.target, demo.reasoning) for prompt in prompts for demo in prompt.demos}

    assert shown == {("bug", "It sounds broken.")}
    prompt = next(prompt for prompt in prompts if prompt.demos)
    thinking = replace(prompt, template="plain", answer_format="bare", reasoning=True)
    assert "It sounds broken.\nAnswer: bug" in as_text(Renderer().turns(thinking))


def test_they_are_training_rows_bought_first_and_once(tuned: tuple[Path, Thinker, Tuned]) -> None:
    """One call each, in the ledger and within the cap; the same run again buys none."""
    folder, model, first = tuned
    bought = len(model.requests)

    again = run(folder, model)

    assert first.run.bought == bought <= 200
    assert all("Think step by step" in request.messages[-1].content for request in model.requests[:30])
    assert again.run.bought == 0
    assert len(model.requests) == bought
    assert again.best.params == first.best.params


def test_without_them_no_dimension_offers_them(tmp_path: Path) -> None:
    """The space of a task that asks for none is as it was."""
    without, with_them = (prepare(write_task(tmp_path, search={"worked": n})).space for n in (0, 5))

    assert set(with_them["demos"].choices) - set(without["demos"].choices) == {"worked"}
    assert "worked" not in without["k"].when["demos"]


def test_a_number_below_none_is_refused(tmp_path: Path) -> None:
    """It counts rows."""
    with pytest.raises(TaskError, match=r"search\.worked"):
        load_task(write_task(tmp_path, search={"worked": -1}))


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("So it is.\nAnswer: bug", "So it is."),
        ("Answer: how?\nNo, wait.\n**Answer:** bug", "Answer: how?\nNo, wait."),
        ("Answer: bug", ""),
        ("bug", ""),
        ("", ""),
    ],
)
def test_the_thought_stands_before_the_last_answer(text: str, thought: str) -> None:
    """What the answer is read from is not in it."""
    assert read_thought(text) == thought
