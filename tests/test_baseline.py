"""The trained rival: it learns, it is judged like a prompt, and it comes back from its file as it was."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union

from optimizer.baseline import Budget, Lesson, Rival
from optimizer.engine.studies import best_hyperparameters
from optimizer.records import Kind
from optimizer.rivals.features import CHARACTERS, WORDS
from optimizer.rivals.linear import Refit, load, train
from optimizer.scoring import METRICS, Metric, summarise
from search_spaces.prompt import Example

BUNDLED = Path(__file__).resolve().parents[1] / "optimizer" / "demo" / "support.csv"
ACCURACY = METRICS["accuracy"]


def bundled() -> list[Example]:
    """The bundled messages, shuffled."""
    with BUNDLED.open(encoding="utf-8", newline="") as file:
        rows = [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    return rows


def lesson(
    rows: list[Example],
    dev: list[Example],
    metric: Metric = ACCURACY,
    *,
    labelled: bool = True,
    budget: Budget | None = None,
) -> Lesson:
    """What a rival learns from."""
    return Lesson(rows, dev, metric, best_hyperparameters, labelled, budget or Budget())


@pytest.fixture(scope="module")
def rival() -> Rival:
    """A rival trained on 300 bundled messages and watched on 150."""
    rows = bundled()
    return train(lesson(rows[:300], rows[300:450], budget=Budget(4)))


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

    assert rival.answer(texts) == load(rival.trained, 0).answer(texts)


def test_it_says_how_sure_it_is(rival: Rival) -> None:
    """The probability of each answer; the surer half is right more often than the other."""
    rows = bundled()[450:]
    sure = np.array(rival.confidence([row.text for row in rows]))
    right = np.array([outcome.kind is Kind.RIGHT for outcome in rival.outcomes(rows, ACCURACY)])
    surer = sure > np.median(sure)

    assert sure.min() >= 1 / 8  # of eight labels the likeliest
    assert sure.max() <= 1
    assert right[surer].mean() > right[~surer].mean() + 0.1


def test_the_same_seed_trains_the_same_rival() -> None:
    """Rows, budget and seed decide the hyperparameters and the curve."""
    rows = bundled()
    one, other = (train(lesson(rows[:120], rows[120:180], budget=Budget(3, seed=5))) for _ in range(2))

    assert one.trained.params == other.trained.params
    assert one.trained.curve == other.trained.curve


def test_hyperparameters_are_chosen_under_the_objective() -> None:
    """With macro-F1 the dev score that is maximized is macro-F1."""
    rows = bundled()
    metric = METRICS["macro_f1"]

    rival = train(lesson(rows[:120], rows[120:180], metric, budget=Budget(2)))

    dev = rows[120:180]
    assert summarise(metric, rival.outcomes(dev, metric), {row.id: row for row in dev}) == rival.trained.dev_score


def test_a_dev_score_as_low_as_can_be_is_a_score() -> None:
    """Where dev rows say the opposite of training rows MCC is -1 after each epoch; the first is kept."""
    rows = [Example(f"r{n}", (("text", "xy"[n % 2] * 3),), ("ab"[n % 2],)) for n in range(20)]
    dev = [replace(row, id=f"d{row.id}", targets=({"a": "b", "b": "a"}[row.target],)) for row in rows]

    rival = train(lesson(rows, dev, METRICS["mcc"], budget=Budget(2)))

    assert set(rival.trained.curve) == {-1.0}
    assert rival.trained.dev_score == -1.0
    assert rival.answer([row.text for row in dev]) == [row.target for row in rows]


def test_open_answers_are_retrieved() -> None:
    """Without labels the answer of the nearest training row is given, and the detail says so."""
    rows = [Example(f"r{i}", (("q", f"capital of country{i}"),), (f"city{i}",)) for i in range(30)]
    metric = METRICS["exact_match"]

    rival = train(lesson(rows, rows[:5], metric, labelled=False))

    assert rival.answer(["the capital of country7"]) == ["city7"]
    assert load(rival.trained, 0).answer(["the capital of country7"]) == ["city7"]
    assert "nearest training row" in rival.trained.detail
    assert rival.confidence([rows[7].text, "zzz"]) == pytest.approx([1, 0])
    assert {Kind.RIGHT} == {outcome.kind for outcome in rival.outcomes(rows[:5], metric)}


def test_a_verdict_is_told_what_serves() -> None:
    """Nothing where a linear model does; retrieval where it helps; that none serves where every answer is its own."""
    rows = [Example(f"r{i}", (("q", f"capital of country{i % 15}"),), (f"city{i % 15}",)) for i in range(60)]
    alone = [Example(f"r{i}", (("q", f"sum {i} and {7 * i}"),), (str(8 * i),)) for i in range(60)]
    metric = METRICS["exact_match"]

    labelled = train(lesson(bundled()[:60], bundled()[60:90], ACCURACY, labelled=True, budget=Budget(1)))
    near, none = (train(lesson(some[:45], some[45:], metric, labelled=False)) for some in (rows, alone))

    assert labelled.note == ""
    assert near.note.startswith("No linear model serves open answers: the baseline is the answer of the nearest")
    assert none.note.startswith("No trained baseline serves this task")
    assert load(none.trained, 0).note == none.note
    assert (labelled.serves, near.serves, none.serves) == (True, True, False)
    assert not load(replace(none.trained, detail="worded otherwise"), 0).serves
    assert not load(replace(none.trained, params={}), 0).serves  # as it was written down before


# --- on parts of the training rows ------------------------------------------------------------------------


def test_on_all_rows_it_is_nearly_the_rival(rival: Rival) -> None:
    """Trained anew on every training row it answers as the rival does, but for the order of the rows in an epoch."""
    rows = bundled()
    refit = Refit(rows[:300], rows[450:], rival.trained, Budget().seed)

    own, anew = rival.answer([row.text for row in rows[450:]]), refit(range(300))

    assert np.mean([a == b for a, b in zip(own, anew, strict=True)]) > 0.9


def test_a_part_knows_only_its_own_terms(rival: Rival, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors are those of TF-IDF that has read the part alone, also where the most frequent terms are kept."""
    rows, part = bundled(), list(range(0, 300, 7))
    texts, unseen = [rows[i].text for i in part], [row.text for row in rows[450:]]
    trained = replace(rival.trained, params={**rival.trained.params, "features": "both"})
    monkeypatch.setitem(CHARACTERS, "max_features", 500)
    seen: list[Any] = []

    def spy(training: Any, unseen: Any, *_: object) -> list[str]:
        seen.extend([training.toarray(), unseen.toarray()])
        return []

    monkeypatch.setattr("optimizer.rivals.linear.refitted", spy)
    Refit(rows[:300], rows[450:], trained, 0)(part)

    both = make_union(TfidfVectorizer(**WORDS), TfidfVectorizer(**CHARACTERS))
    assert np.allclose(seen[0], both.fit_transform(texts).toarray())
    assert np.allclose(seen[1], both.transform(unseen).toarray())


def test_a_part_with_one_label_answers_it(rival: Rival) -> None:
    """Nothing can be learned from one label, and that is no error."""
    rows = bundled()
    part = [i for i, row in enumerate(rows[:300]) if row.target == rows[0].target]

    assert Refit(rows[:300], rows[450:460], rival.trained, 0)(part) == [rows[0].target] * 10


def test_a_part_can_be_retrieved_from() -> None:
    """Where the answers are open, the nearest row of the part answers."""
    rows = [Example(f"r{i}", (("q", f"capital of country{i}"),), (f"city{i}",)) for i in range(30)]
    rival = train(lesson(rows, rows[:5], METRICS["exact_match"], labelled=False))

    assert Refit(rows, [rows[7]], rival.trained, 0)([3, 7, 9]) == ["city7"]
