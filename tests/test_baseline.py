"""The trained rival: it learns, it is judged like a prompt, and it comes back from its file as it was."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from optimizer.baseline import Budget, Rival, load, train
from optimizer.records import Kind
from optimizer.scoring import METRICS, summarise
from optimizer.studies import best_hyperparameters
from search_spaces.prompt import Example

BUNDLED = Path(__file__).resolve().parents[1] / "optimizer" / "demo" / "support.csv"
ACCURACY = METRICS["accuracy"]


def bundled() -> list[Example]:
    """The bundled messages, shuffled."""
    with BUNDLED.open(encoding="utf-8", newline="") as file:
        rows = [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def rival() -> Rival:
    """A rival trained on 300 bundled messages and watched on 150."""
    rows = bundled()
    return train(rows[:300], rows[300:450], ACCURACY, best_hyperparameters, labelled=True, budget=Budget(4))


def test_it_learns_the_bundled_task(rival: Rival) -> None:
    """On rows that it never saw it is right far more often than always saying the commonest label."""
    rows = bundled()[450:]

    score = summarise(ACCURACY, rival.outcomes(rows, ACCURACY), {row.id: row for row in rows})

    assert score is not None
    assert score > 0.5


def test_training_stops_early_and_keeps_the_best_epoch(rival: Rival) -> None:
    """The curve ends a few epochs after its best, and the model is the best epoch's."""
    rows = bundled()[300:450]
    again = summarise(ACCURACY, rival.outcomes(rows, ACCURACY), {row.id: row for row in rows})

    assert len(rival.trained.curve) < 40
    assert max(rival.trained.curve) == rival.trained.dev_score == again


def test_it_comes_back_from_its_file(rival: Rival) -> None:
    """The skops file loads without pickle and answers the same."""
    texts = [row.text for row in bundled()[450:]]

    assert rival.answer(texts) == load(rival.trained).answer(texts)


def test_the_same_seed_trains_the_same_rival() -> None:
    """Rows, budget and seed decide the hyperparameters and the curve."""
    rows = bundled()
    one, other = (
        train(rows[:120], rows[120:180], ACCURACY, best_hyperparameters, labelled=True, budget=Budget(3, seed=5))
        for _ in range(2)
    )

    assert one.trained.params == other.trained.params
    assert one.trained.curve == other.trained.curve


def test_hyperparameters_are_chosen_under_the_objective() -> None:
    """With macro-F1 the dev score that is maximized is macro-F1."""
    rows = bundled()
    metric = METRICS["macro_f1"]

    rival = train(rows[:120], rows[120:180], metric, best_hyperparameters, labelled=True, budget=Budget(2))

    dev = rows[120:180]
    assert summarise(metric, rival.outcomes(dev, metric), {row.id: row for row in dev}) == rival.trained.dev_score


def test_open_answers_are_retrieved() -> None:
    """Without labels the answer of the nearest training row is given, and the detail says so."""
    rows = [Example(f"r{i}", (("q", f"capital of country{i}"),), (f"city{i}",)) for i in range(30)]
    metric = METRICS["exact_match"]

    rival = train(rows, rows[:5], metric, best_hyperparameters, labelled=False)

    assert rival.answer(["the capital of country7"]) == ["city7"]
    assert load(rival.trained).answer(["the capital of country7"]) == ["city7"]
    assert "nearest training row" in rival.trained.detail
    assert {Kind.RIGHT} == {outcome.kind for outcome in rival.outcomes(rows[:5], metric)}
