"""The ladder of trained rivals: which are trained, which are left out and why, and which is in the verdict."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.baseline import Budget, Lesson, Rival
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import InputError, ProviderError
from optimizer.records import Completion, Rung, TrainedModel
from optimizer.reports.rungs import best_on_dev, ladder_grid, left_out
from optimizer.rivals import ladder
from optimizer.rivals.encoder import load, train
from optimizer.rivals.ladder import Outside
from optimizer.scoring import METRICS
from optimizer.task import Baseline, Task, load_task
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import write_task
from tests.test_baseline import bundled

ACCURACY = METRICS["accuracy"]
WORDS = ("install", "invoice", "login", "crash", "refund", "feature", "slow", "license", "delete", "export", "team")
SIZE = 300  # of the vectors


class Counting:
    """An embedder without a model: its words, hashed. Counts the texts that it is shown."""

    name, priced = "words", True

    def __init__(self, paid: Any = None) -> None:
        self.paid, self.shown = paid, 0

    def __call__(self, texts: Any) -> Any:
        self.shown += len(texts)
        counts = np.full((len(texts), SIZE), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                counts[row, zlib.crc32(word.encode()) % SIZE] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def lesson(rows: list[Example], dev: list[Example], *, labelled: bool = True) -> Lesson:
    """What a rival learns from."""
    return Lesson(rows, dev, ACCURACY, best_hyperparameters, labelled, Budget(3))


def with_baseline(tmp_path: Path, **options: Any) -> Task:
    """The small task with other options of its baseline."""
    task = load_task(write_task(tmp_path))
    baseline = Baseline.model_validate({"trials": 2, **options})
    return task.model_copy(update={"baseline": baseline})


# --- who is trained ---------------------------------------------------------------------------------------


def test_by_default_the_linear_one_is_trained_alone(tmp_path: Path) -> None:
    """Each other kind is left out for want of a model, and says how to name one."""
    chosen = ladder.choose(with_baseline(tmp_path), labelled=True)

    assert chosen["linear"] == ""
    assert chosen["encoder"] == "no model is named in [baseline.encoder]"
    assert set(chosen) == set(ladder.KINDS)


def test_a_kind_that_is_not_installed_is_left_out_by_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the reason says how to install it."""
    monkeypatch.setitem(ladder.NEEDS, "encoder", ("no_such_package",))
    task = with_baseline(tmp_path, encoder={"model": "owner/name"})

    said = ladder.choose(task, labelled=True)["encoder"]

    assert said == "no_such_package not installed; pip install 'phrasetune[finetune]'"


@pytest.mark.parametrize(
    ("options", "labelled", "said"),
    [
        ({"kinds": "encoder"}, True, "'encoder' cannot be trained: no model is named"),
        ({"kinds": ["encoder"], "encoder": {"model": "./missing"}}, True, r"\./missing: no such folder"),
        ({"kinds": ["lora"], "lora": {"model": "owner/name"}}, False, "answers that name one of them"),
    ],
)
def test_a_kind_that_is_named_and_cannot_be_trained_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], labelled: bool, said: str
) -> None:
    """Before anything is bought."""
    monkeypatch.setattr(ladder, "NEEDS", {"encoder": (), "lora": ()})

    with pytest.raises(InputError, match=said):
        ladder.choose(with_baseline(tmp_path, **options), labelled=labelled)


def test_a_folder_is_found_beside_the_task_file(tmp_path: Path) -> None:
    """Like the data file, a model's folder is named relative to the task."""
    (tmp_path / "models" / "small").mkdir(parents=True)

    assert ladder.named("encoder", with_baseline(tmp_path, encoder={"model": "models/small"})) == str(
        tmp_path / "models" / "small"
    )


# --- who stands in the verdict ----------------------------------------------------------------------------


def climb(task: Task, known: list[Rung], kept: list[Rung]) -> Rival:
    """Climb the ladder on a few of the bundled rows."""
    rows = bundled()
    taught = lesson(rows[:100], rows[100:150])
    return ladder.climb(task, taught, known, Outside(lambda *_: None, kept.append, None, None))  # type: ignore[arg-type]


def fake(kind: str, dev_score: float) -> Rival:
    """A rival of a kind with a dev score."""
    trained = TrainedModel(f"the {kind}", {}, (dev_score,), dev_score, kind=kind)
    return Rival(trained, lambda texts: ["x"] * len(texts), lambda texts: [1.0] * len(texts))


@pytest.mark.parametrize(("dev_score", "best"), [(1.0, "encoder"), (0.0, "linear")])
def test_the_best_on_dev_is_the_rival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dev_score: float, best: str
) -> None:
    """All that were trained are written down, in the order of the ladder."""
    monkeypatch.setattr(ladder, "NEEDS", {"encoder": (), "lora": ()})
    real = ladder.train
    monkeypatch.setattr(
        ladder, "train", lambda kind, *rest: real(kind, *rest) if kind == "linear" else fake(kind, dev_score)
    )
    kept: list[Rung] = []

    rival = climb(with_baseline(tmp_path, encoder={"model": "owner/name"}), [], kept)

    assert rival.trained.kind == best
    assert [rung.kind for rung in kept if rung.trained] == ["linear", "encoder"]


def test_a_kind_that_fails_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict never hangs on a dear rival: the reason is kept, and the linear one stands."""
    monkeypatch.setattr(ladder, "NEEDS", {"encoder": (), "lora": ()})
    real = ladder.train

    def train(kind: str, *rest: Any) -> Rival:
        if kind == "encoder":
            raise ProviderError("no quota")
        return real(kind, *rest)

    monkeypatch.setattr(ladder, "train", train)
    kept: list[Rung] = []

    rival = climb(with_baseline(tmp_path, kinds="encoder", encoder={"model": "owner/name"}), [], kept)

    assert rival.trained.kind == "linear"
    said = "baselines left out: encoder (no quota); lora (not asked for); provider (not asked for)"
    assert left_out(kept) == [said]


def test_a_resumed_run_trains_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written down is brought back."""
    kept: list[Rung] = []
    first = climb(with_baseline(tmp_path), [], kept)
    monkeypatch.setattr(ladder, "train", None)

    again = climb(with_baseline(tmp_path), kept, [])
    texts = [row.text for row in bundled()[150:200]]

    assert first.answer(texts) == again.answer(texts)
    assert first.trained == again.trained


def test_of_equals_the_cheaper_one_is_chosen() -> None:
    """The first on the ladder."""
    linear, encoder = (Rung(kind, fake(kind, 0.5).trained) for kind in ("linear", "encoder"))

    assert best_on_dev([linear, encoder]) == linear.trained
    assert best_on_dev([Rung("linear", left_out="why")]) is None


def test_the_table_shows_score_trials_time_and_cost() -> None:
    """One line for each kind that was trained, with a star on the best."""
    dear = replace(fake("provider", 0.75).trained, cost=1.5, seconds=61.25, trials=1)
    tried = [Rung("linear", fake("linear", 0.5).trained), Rung("lora", left_out="x"), Rung("provider", dear)]

    grid = ladder_grid(tried, "mcc")

    assert grid.columns == ("kind", "dev mcc", "trials", "s to train", "$ to train", "what it is")
    assert [row[0] for row in grid.rows] == ["linear", "provider *"]
    assert grid.rows[1][1:5] == ("75.0 %", "1", "61.2", "$1.50")


def test_a_run_says_what_it_left_out(command: Command, tmp_path: Path) -> None:
    """On the command line, and in what history reads back."""
    write_task(tmp_path, search={"calls": 60})

    said = command("tune", "task.toml", "--baseline", "linear").stdout

    assert "baselines left out: encoder (not asked for); lora (not asked for); provider (not asked for)" in said
    refused = command("tune", "task.toml", "--baseline", "nearest", code=2).stderr
    assert "`baseline.kinds.0` = 'nearest': must be 'auto', 'linear', 'encoder'" in refused


# --- a head on vectors ------------------------------------------------------------------------------------


def test_a_head_learns_from_vectors_and_comes_back() -> None:
    """Better than chance from hashed words; the skops file answers the same, and so sure."""
    rows, embed = bundled(), Counting()
    taught = lesson(rows[:300], rows[300:400])

    rival = train(taught, embed)
    again = load(rival.trained, embed, 0)
    texts = [row.text for row in rows[400:]]

    assert rival.trained.dev_score == max(rival.trained.curve) > 0.25
    assert rival.trained.kind == "encoder"
    assert rival.trained.trials == 3
    assert rival.answer(texts) == again.answer(texts)
    assert rival.confidence(texts) == again.confidence(texts)
    assert all(1 / 8 <= sure <= 1 for sure in rival.confidence(texts))


def test_a_head_is_trained_anew_on_parts() -> None:
    """On all rows it answers much as it did; on rows of one label, with that."""
    rows, embed = bundled(), Counting()
    rival = train(lesson(rows[:300], rows[300:400]), embed)
    assert rival.refit is not None

    refit = rival.refit(rows[:300], rows[400:])
    one = [i for i, row in enumerate(rows[:300]) if row.target == rows[0].target]

    own = rival.answer([row.text for row in rows[400:]])
    assert np.mean([a == b for a, b in zip(own, refit(range(300)), strict=True)]) > 0.6
    assert set(refit(one)) == {rows[0].target}


def test_open_answers_are_retrieved_by_vectors() -> None:
    """The answer of the training row that points the same way."""
    rows = [Example(f"r{i}", (("q", f"a {word}"),), (f"about {word}",)) for i, word in enumerate(WORDS)]

    rival = train(lesson(rows, rows[:3], labelled=False), Counting())

    assert rival.answer(["my invoice", "the team"]) == ["about invoice", "about team"]
    assert rival.trained.dev_score == 1
    assert rival.refit is not None
    assert rival.refit(rows, rows[:1])([1, 0]) == ["about install"]


def test_vectors_that_are_bought_are_counted() -> None:
    """The cost of the training and dev rows is that of finding it; each answer has its own tokens, price and time."""
    rows = bundled()[:60]
    embed = Counting(lambda texts: [Completion("", 9, cost=0.5, seconds=0.25)] * len(texts))

    rival = train(lesson(rows[:40], rows[40:50]), embed)
    outcomes = rival.outcomes(rows[50:], ACCURACY)

    assert rival.trained.cost == 25
    assert {(9, 0.5, 0.25)} == {(outcome.tokens, outcome.cost, outcome.seconds) for outcome in outcomes}
