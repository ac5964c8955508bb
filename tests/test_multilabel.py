"""Tasks whose answers name several labels, and labels in an order: read, prompted for, learned and judged."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from server import ChatServer, says

from optimizer import history, predict, tune
from optimizer.baseline import Budget, Lesson
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import DataError, TaskError
from optimizer.preparing import prepare
from optimizer.rivals.linear import Refit, load, train
from optimizer.scores.label_sets import read
from optimizer.scores.metrics import get_metric
from optimizer.scoring import summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import several_of
from search_spaces.prompt import Example

WORDS = {
    "price": ["invoice", "refund", "charged", "discount"],
    "bug": ["crash", "error", "broken", "freeze"],
    "thanks": ["great", "love", "thank", "perfect"],
}
LABELS = ("price", "bug", "thanks")


def made(n: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Texts with the words of one or two labels."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        named = rng.sample(LABELS, rng.choice([1, 1, 2]))
        words = [rng.choice(WORDS[label]) for label in named for _ in range(2)]
        rows.append((f"{' '.join(words)} number {number}", named))
    return rows


def write(folder: Path, cells: list[str], metric: str = "", labels: str = "", kind: str = "multilabel") -> Path:
    texts = [text for text, _ in made(len(cells))]
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "topics"), *zip(texts, cells, strict=True)])
    task = folder / "task.toml"
    task.write_text(
        f"""[task]
name = "topics"
kind = "{kind}"
{metric and f'metric = "{metric}"'}
{labels}
[data]
file = "rows.csv"
inputs = ["text"]
target = "topics"
[search]
calls = 60
trials = 4
[baseline]
trials = 2
[space]
template = ["plain", "chat"]
""",
        encoding="utf-8",
    )
    return task


def examples(n: int, seed: int = 0) -> list[Example]:
    return [
        Example(f"r{number}", (("text", text),), (", ".join(label for label in LABELS if label in named),))
        for number, (text, named) in enumerate(made(n, seed))
    ]


@pytest.mark.parametrize("sign", [", ", ";", " | "])
def test_targets_are_read_in_any_common_form(sign: str, tmp_path: Path) -> None:
    """Cells with another sign or a JSON list lead to the same rows, labels in one order."""
    named = [sorted(labels) for _, labels in made(40)]
    written = [sign.join(labels) for labels in named]
    written[3] = str(named[3]).replace("'", '"')

    plan = prepare(write(tmp_path, written))

    rows = [*plan.data.train, *plan.data.dev, *plan.data.test]
    assert plan.several == ("bug", "price", "thanks")
    assert plan.labels == ()
    assert {row.id: row.target for row in rows} == {f"r{n}": ", ".join(labels) for n, labels in enumerate(named, 1)}


def test_the_prompt_lists_the_labels_with_their_descriptions(tmp_path: Path) -> None:
    """The seed prompt's wording names each label, and what it means where that is said."""
    cells = [", ".join(labels) for _, labels in made(40)]
    table = '[task.labels]\nprice = "what it costs"\nbug = ""\nthanks = ""'

    plan = prepare(write(tmp_path, cells, labels=table))

    prompt = plan.space.build(plan.space.seed())
    assert "price (what it costs), bug, thanks" in prompt.instruction
    assert prompt.labels == ()


def test_an_unknown_or_missing_label_is_refused_with_its_place(tmp_path: Path) -> None:
    """The complaint names the line, the label and those allowed."""
    cells = [", ".join(labels) for _, labels in made(40)]
    labels = 'labels = ["price", "bug", "thanks"]'

    with pytest.raises(DataError, match=r"rows\.csv.*unknown label 'bugs'; allowed: price, bug, thanks.*JSON list"):
        prepare(write(tmp_path, [*cells[:-1], "price, bugs"], labels=labels))
    with pytest.raises(DataError, match="for rows without any, declare a label"):
        prepare(write(tmp_path, [*cells[:-1], "[]"], labels=labels))
    with pytest.raises(TaskError, match=r"metric 'mcc'; allowed: accuracy, macro_f1, micro_f1, jaccard"):
        prepare(write(tmp_path, cells, metric="mcc"))


def test_the_baseline_learns_each_label_and_comes_back_from_its_file() -> None:
    """On new rows most label sets are exactly right; the file, and a training on all rows, answer alike."""
    rows, dev, new = examples(150), examples(60, 1), examples(80, 2)
    metric = get_metric("micro_f1", LABELS, several=True)

    rival = train(Lesson(rows, dev, metric, best_hyperparameters, False, Budget(3), LABELS))

    texts = [row.text for row in new]
    score = summarise(metric, rival.outcomes(new, metric), {row.id: row for row in new})
    exact = get_metric("accuracy", LABELS, several=True)
    assert score is not None
    assert score > 0.9
    assert (summarise(exact, rival.outcomes(new, exact), {row.id: row for row in new}) or 0) > 0.8
    assert load(rival.trained, 0).answer(texts) == rival.answer(texts)
    again = Refit(rows, new, rival.trained, 0)(range(len(rows)))
    assert sum(one == other for one, other in zip(again, rival.answer(texts), strict=True)) > 0.9 * len(new)
    assert "each label" in rival.trained.detail
    assert rival.kin
    near, likely = rival.kin(rows, texts)
    assert near.shape == likely.shape == (80, 150)
    assert [rows[row].target for row in likely.argmax(axis=1)] == rival.answer(texts)


@pytest.mark.parametrize("name", ["macro_f1", "jaccard"])
def test_a_run_ends_with_a_verdict_under_each_metric(name: str, tmp_path: Path) -> None:
    """The baseline of labels that stand together answers with label sets, and beats the seed prompt's guesses."""
    cells = [", ".join(labels) for _, labels in made(72)]

    tuned = tune(write(tmp_path, cells, metric=name), db=tmp_path / "r.db")

    assert tuned.verdict
    assert tuned.verdict.metric == name
    assert tuned.verdict.contenders[-1].score > 0.5


@pytest.mark.parametrize(
    ("said", "written", "score"),
    [
        ("price</topic>, Bug", "price, bug", 1.0),
        ("bug; price; speed", "price, bug", 0.8),
        ("Nothing of it.", None, 0.0),
    ],
)
def test_new_rows_are_given_the_labels_that_were_read(
    said: str, written: str | None, score: float, server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As the task writes them, and nothing else of the answer; what is no label costs in the score as before."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    labels = 'labels = ["price", "bug", "thanks"]'
    task = write(tmp_path, [", ".join(labels) for _, labels in made(40)], metric="micro_f1", labels=labels)
    with task.open("a", encoding="utf-8") as file:
        file.write(
            f'answer_format = "bare"\nreasoning = "off"\n[model]\nname = "openai/x"\napi_base = "{server.url}"\n'
        )
    tuned = tune(task, db=tmp_path / "r.db")
    (tmp_path / "new.csv").write_text('text,topics\ninvoice crash,"price, bug"\n', encoding="utf-8")
    server.misbehave(says(said))

    found = predict(tmp_path / "new.csv", tuned.run, db=tmp_path / "r.db")

    assert found.answers == (written,)
    assert found.score == pytest.approx(score)
    assert history(tmp_path / "r.db").handover(None, None).facts.several == LABELS


def test_labels_that_were_found_are_kept_with_the_run(tmp_path: Path) -> None:
    """One that holds a sign which could stand between two is not cut in pieces by who reads the run later."""
    other = {"price": "R&D; price", "bug": "bug", "thanks": "thanks"}
    task = write(tmp_path, [json.dumps([other[label] for label in labels]) for _, labels in made(40)])

    run = tune(task, db=tmp_path / "r.db").run
    with Store(tmp_path / "r.db") as store:
        rows = store.examples(run.data, "dev")
    lost = Task.model_validate({**run.task, "task": {**run.task["task"], "labels": []}})

    assert set(history(tmp_path / "r.db").handover(None, None).facts.several) == {*other.values()}
    assert set(several_of(Task.model_validate(run.task), rows)) == {*other.values()}
    assert several_of(lost, rows) == ()  # rather none than false ones


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ('{"price": true, "bug": false}', "price"),
        ('Here: {"price": true, "bug": false}', "price"),
        ('```json\n{"price": true, "bug": false}\n```\nDone.', "price"),
        ("{'price': True, 'bug': False}", "price"),
        ('{"Price": 1, "bug": 0, "thanks": 1}', "price thanks"),
        ('{"price": "yes", "bug": "No"}', "price"),
        ('{"price": true, "bug": false, "reason": "no bug, it isn\'t"}', "price"),
        ('{"topics": {"price": true, "bug": false}}', "price"),
        ('So {"bug": true, "price": true} it is not.\n{"bug": false, "price": true}\n{"sure": true}', "price"),
        ("price: true\nbug: false", "price"),
        ("- **price**: yes\n- **bug**: no.", "price"),
        ("price: yes, bug: no; thanks", "price thanks"),
        ('{"price": false, "bug": false}', ""),
        ('["price", "bug"]', "price bug"),
        ('{"topics": ["price"]}', "price"),
    ],
)
def test_labels_that_are_answered_by_no_are_not_named(said: str, named: str) -> None:
    """Whatever stands around the object that says so, and however it says yes and no."""
    assert read(said, LABELS) == {*named.split()}
    assert read(said, (*LABELS, "none")) == {*(named or "none").split()}


@pytest.mark.parametrize("name", ["kappa", "closeness"])
def test_ordered_labels_are_judged_in_the_order_declared(name: str, tmp_path: Path) -> None:
    """A classification with labels from lowest to highest has metrics of order; undeclared ones are refused."""
    order = {"bug": "low", "price": "mid", "thanks": "high"}
    cells = [order[labels[0]] for _, labels in made(72)]
    labels = 'labels = ["low", "mid", "high"]'

    tuned = tune(write(tmp_path, cells, name, labels, kind="classification"), db=tmp_path / "r.db")

    assert tuned.verdict
    assert tuned.verdict.contenders[-1].score > 0.3
    with pytest.raises(DataError, match=r"has no place in an order.*Declare `labels`"):
        prepare(write(tmp_path, cells, name, kind="classification"))


def test_open_numbers_guide_a_search_by_how_near_they_come(tmp_path: Path) -> None:
    """On the range of the targets that it may see; else nothing but the right number would be worth anything to it."""
    cells = [f"{1 + n / 10:.1f}" for n in range(41)]

    metric = prepare(write(tmp_path, cells, "spearman", kind="qa")).metric

    near, far, none = (metric.row(answer, ["4.5"]) for answer in ("4.4 stars", "1.5", "good"))
    assert 0.9 < near < 1
    assert 0.1 < far < 0.3
    assert none == 0
