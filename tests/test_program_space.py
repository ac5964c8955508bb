"""The space of a DSPy program, as a task file changes it, and what the search starts from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_program_tuning import PROGRAM, Sorter, tuned

from optimizer.records import Completion, Request
from optimizer.store import Store
from search_spaces.program import Predictor, ProgramSpace, by_dimension
from tests.conftest import Command
from tests.small_task import write_task

POOLS = {"labelled": [{"text": "x", "label": "y"}], "bootstrapped": [{"text": "x", "label": "y"}]}


def space(changes: dict[str, Any] | None = None, seed: dict[str, Any] | None = None, **more: Any) -> ProgramSpace:
    """Return the space of a program of one step."""
    step = Predictor("label", "Sort it.", ("text",), ("label",), **{"pools": POOLS, **more})
    return ProgramSpace([step], changes, seed)


def test_a_step_is_changed_like_a_part_of_a_prompt() -> None:
    """Locked, narrowed, extended by wordings with the step's own instruction, and started from elsewhere."""
    changes = {
        "label.adapter": "xml",
        "label.k": [2, 32],
        "label.instruction": {"only": ["own"], "add": {"mine": "{own} Mind the {inputs}."}},
    }
    found = space(changes, {"label.instruction": "mine"})
    start = found.seed()

    assert found["label.adapter"].choices == ("xml",)
    assert found["label.k"].choices == (2, 32)
    assert found["label.instruction"].choices == ("own", "mine")
    assert start == {"label.instruction": "mine", "label.adapter": "xml", "label.demos": "none"}
    assert found.settings(found.build(start))["label"].instruction == "Sort it. Mind the text."
    assert found.digest != space().digest


@pytest.mark.parametrize(("kinds", "left"), [(["bootstrapped"], ("none",)), (["own", "labelled"], ("labelled",))])
def test_demos_that_there_are_none_of_are_not_chosen(kinds: list[str], left: tuple[str, ...]) -> None:
    """Even if the task file names no others; without any, there is no number of them either."""
    found = space({"label.demos": kinds}, pools={**POOLS, "bootstrapped": []})

    assert found["label.demos"].choices == left
    assert any(dimension.name == "label.k" for dimension in found.dimensions) == (left != ("none",))


@pytest.mark.parametrize(
    ("change", "slots"), [("own", 0), ({"reserved": 2}, 7), ({"only": "own", "reserved": 1}, 6), ({"drop": "own"}, 5)]
)
def test_ids_are_kept_for_later_wordings_of_a_step_that_is_not_locked(change: Any, slots: int) -> None:
    """Those that the task file reserves for people come beside those of a proposer."""
    assert len(space({"label.instruction": change}, late=5)["label.instruction"].slots) == slots


def test_names_with_dots_are_read_in_quotes_or_as_tables() -> None:
    """Names of steps may have dots themselves; what names no dimension of a step is told apart."""
    told = {
        "extract.predict.adapter": "xml",
        "extract": {"predict": {"k": [1]}, "k": 3},
        "label": {"instruction": {"drop": ["data"]}},
        "template": ["chat"],
    }
    found, others = by_dimension(told, ["extract.predict", "label"])

    assert found == {
        "extract.predict.adapter": "xml",
        "extract.predict.k": [1],
        "label.instruction": {"drop": ["data"]},
    }
    assert others == ["extract.k", "template"]


NARROW = """"label.adapter" = ["chat"]
[space.label.instruction]
only = ["own"]
add = ["{own} Be brief."]
[seed]
"label.instruction" = "own1"
"""


def narrowed(folder: Path, more: str = NARROW, **search: object) -> Path:
    """Write the small task with a space of the program beside that of prompts."""
    task = write_task(folder, rows=60, search={"calls": 60, **search})
    (folder / "programs.py").write_text(PROGRAM, encoding="utf-8")
    with task.open("a", encoding="utf-8") as file:
        file.write(more)
    return task


def test_a_program_is_tuned_in_the_space_of_the_task_file(command: Command, tmp_path: Path) -> None:
    """From the seed that it names; what it says of prompts is told once, and what it says wrongly is refused."""
    given = (str(narrowed(tmp_path)), "--program", "programs:Sort", "--allow-code")

    shown = command("space", *given)
    record = json.loads(command("space", *given, "--json").stdout)
    done = command("tune", *given)
    with Store(tmp_path / "results.db") as store:
        trials = store.trials(1)

    note = "note: template: for prompts, without effect on a program"
    assert shown.stderr.count(note) == done.stderr.count(note) == 1
    assert "label.instruction  own, own1" in shown.stdout
    assert "programs at most" in shown.stdout
    assert record["dimensions"]["label.adapter"] == ["chat"]
    assert record["rendered"]["label"]["instruction"].endswith(" produce the fields `label`. Be brief.")
    assert {trial.params["label.adapter"] for trial in trials} == {"chat"}
    assert {trial.params["label.instruction"] for trial in trials} == {"own", "own1"}
    assert trials[0].params["label.instruction"] == "own1"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('"label.adapter" = "yaml"\n', r"\[space\] label.adapter = 'yaml'; allowed: chat, json, xml"),
        ('"label.adaptor" = "xml"\n', r"unknown dimension 'label.adaptor'; allowed: label.instruction"),
        ('"sort.adapter" = "xml"\n', r"unknown dimension 'sort.adapter'"),
        ('"label.instruction" = {add = ["{lables}"]}\n', "lables"),
    ],
)
@pytest.mark.parametrize("what", ["tune", "plan", "space"])
def test_a_dimension_that_a_program_does_not_have_is_refused(
    command: Command, tmp_path: Path, more: str, said: str, what: str
) -> None:
    """Before a call is made, a run begins or a file is written."""
    task = narrowed(tmp_path, more)

    done = command(what, str(task), "--program", "programs:Sort", "--allow-code", code=2)

    assert task.name in done.stderr
    assert re.search(said, done.stderr)
    assert not (tmp_path / "results.db").exists()


def test_the_space_of_a_program_is_shown_only_if_it_may_run(command: Command, tmp_path: Path) -> None:
    """As it is tuned."""
    assert "give --allow-code" in command("space", str(narrowed(tmp_path)), "--program", "programs:Sort", code=2).stderr


class Wordy(Sorter):
    """A model that answers in no layout but DSPy's JSON."""

    def complete(self, request: Request) -> Completion:
        """Answer what JSON asks for."""
        self.asked.append(request)
        text = "no layout" if "[[ ## " in request.messages[-1].content else '{"label": "bug"}'
        return Completion(text, 100, 10, 12e-5, 0.001)


def test_the_seed_of_the_verdict_is_what_trial_0_is(tmp_path: Path) -> None:
    """Scored alike on dev and test rows: without DSPy's own second try in JSON on either."""
    write_task(tmp_path, rows=60, search={"calls": 60})
    found = tuned(tmp_path, Wordy())
    assert found.verdict
    seed = found.verdict.contenders[0]

    assert {outcome.kind for outcome in found.found.trials[0].outcomes} == {outcome.kind for outcome in seed.outcomes}
    assert (found.found.trials[0].score, seed.score) == (0.0, 0.0)
    assert all(len(outcome.calls) == 1 for outcome in seed.outcomes)


def test_training_rows_that_a_seed_program_shows_are_counted(tmp_path: Path) -> None:
    """If the task file starts it with demos."""
    narrowed(tmp_path, '"label.demos" = ["labelled"]\n"label.k" = [4]\n')
    found = tuned(tmp_path, Sorter())
    assert found.verdict

    assert found.verdict.contenders[0].train_rows == 4
