"""Metrics of summed counts, of ordered labels and of several labels agree with other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from optimizer import scoring
from optimizer.errors import TaskError
from optimizer.records import Outcome
from optimizer.scores import label_sets
from optimizer.scores.metrics import METRICS, Metric, get_metric
from search_spaces.prompt import Example

LABELS = ["bug", "billing", "praise", "how to"]
texts = st.lists(
    st.sampled_from("the cat sat on a mat, dog ran 3.5 (km) é 你好 !".split()), min_size=1, max_size=9
).map(" ".join)


def scored(
    metric: Metric, targets: list[tuple[str, ...]], answers: list[str | None]
) -> tuple[list[Outcome], dict[str, Example]]:
    rows = {f"r{n:03}": Example(f"r{n:03}", (("text", "x"),), target) for n, target in enumerate(targets)}
    outcomes = [
        Outcome(row.id, *scoring.score(metric, answer, row), answer)
        for row, answer in zip(rows.values(), answers, strict=True)
    ]
    return outcomes, rows


@given(pairs=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=8))
@settings(max_examples=60)
def test_bleu_and_chrf_are_sacrebleus_own(pairs: list[tuple[str, str, str]]) -> None:
    """Over a whole set, with two references a row, both equal what sacrebleu computes of the set."""
    answers, first, second = (list(side) for side in zip(*pairs, strict=True))
    expected = {
        "bleu": sacrebleu.corpus_bleu(answers, [first, second]).score,
        "chrf": sacrebleu.corpus_chrf(answers, [first, second]).score,
    }

    for name, value in expected.items():
        summary = scoring.summarise(METRICS[name], *scored(METRICS[name], [(a, b) for _, a, b in pairs], [*answers]))
        assert summary == pytest.approx(value / 100, abs=1e-9)


def test_an_unread_answer_costs_bleu_and_chrf() -> None:
    """No answer is an empty one: of two rows, one right and one unread, neither metric is 1."""
    targets = [("the cat sat on the mat today",), ("a dog ran over the hill again",)]
    for name in ("bleu", "chrf"):
        whole = scoring.summarise(METRICS[name], *scored(METRICS[name], targets, [target for (target,) in targets]))
        half = scoring.summarise(METRICS[name], *scored(METRICS[name], targets, [targets[0][0], None]))

        assert whole == 1
        assert half is not None
        assert 0.2 < half < 0.8


def test_without_sacrebleu_the_metric_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics", None)
    from optimizer.scores import translation

    translation._scorers.cache_clear()
    with pytest.raises(TaskError, match=r"need the package sacrebleu.*pip install \"phrasetune\[translation\]\""):
        METRICS["bleu"].row("a", ["b"])


def test_kappa_agrees_with_scikit_learn() -> None:
    """Quadratic weights over labels in the order declared, where some labels occur in neither side."""
    rng = np.random.default_rng(0)
    order = ["awful", "bad", "fine", "good", "superb"]
    metric = get_metric("kappa", order)
    for _ in range(30):
        truth, answers = (rng.integers(1, 5, 25) for _ in range(2))
        found = scoring.summarise(metric, *scored(metric, [(order[n],) for n in truth], [order[n] for n in answers]))

        expected = cohen_kappa_score(truth, answers, labels=range(5), weights="quadratic")
        assert found == pytest.approx(expected)


def test_closeness_is_one_less_the_mean_error() -> None:
    """On a scale from 1 to 5 errors of 0, 1 and 4 leave 1 - 5 / (3 * 4)."""
    metric = get_metric("closeness", ["1", "2", "3", "4", "5"])

    assert scoring.summarise(metric, *scored(metric, [("2",), ("3",), ("1",)], ["2", "4", "5"])) == pytest.approx(
        7 / 12
    )


@given(rows=st.lists(st.tuples(*[st.sets(st.sampled_from(LABELS), min_size=1)] * 2), min_size=1, max_size=10))
@settings(max_examples=60)
def test_f1_of_label_sets_agrees_with_scikit_learn(rows: list[tuple[set[str], set[str]]]) -> None:
    """Micro-F1 over all labels, macro-F1 over those that are wanted somewhere."""
    matrix = np.array([[[label in side for label in LABELS] for side in pair] for pair in rows])
    wanted, given_ones = matrix[:, 0], matrix[:, 1]
    occurring = [column for column in range(len(LABELS)) if wanted[:, column].any()]
    expected = {
        "micro_f1": f1_score(wanted, given_ones, average="micro", zero_division=0),
        "macro_f1": f1_score(wanted, given_ones, average="macro", labels=occurring, zero_division=0),
    }

    for name, value in expected.items():
        metric = get_metric(name, LABELS, several=True)
        targets = [(label_sets.write(frozenset(side), LABELS),) for side, _ in rows]
        answers: list[str | None] = [label_sets.write(frozenset(side), LABELS) for _, side in rows]
        assert scoring.summarise(metric, *scored(metric, targets, answers)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("billing, bug", {"billing", "bug"}),
        ("Bug; how-to", {"bug", "how to"}),
        ('["praise", "bug"]', {"praise", "bug"}),
        ("- praise\n- How to", {"praise", "how to"}),
        ("The labels are: billing", {"billing"}),
        ("billing, sales", {"billing", "?sales"}),
        ("[billing", {"billing"}),
        ('```json\n["bug", "praise"]\n```', {"bug", "praise"}),
        ('{"bug": false, "billing": true, "how_to": true, "sales": false}', {"billing", "how to"}),
        ('{"bug": true, "sales": true}', {"bug", "?sales"}),
        ('{"bug": false, "billing": false}', set()),
        ("[]", set()),
        ("bug, billing and how to", {"bug", "billing", "how to"}),
        ("Bug and praise", {"bug", "praise"}),
        ("bug & praise", {"bug", "praise"}),
        ("bug and sales", {"bug"}),
        ("bug rather than praise", {"?bug rather than praise"}),
        ("none", {"?none"}),
        ("", set()),
    ],
)
def test_label_sets_are_read_leniently_but_no_label_is_invented(text: str, named: set[str]) -> None:
    """A piece is read as a single label is; one that names none stays in the set as a foreign one."""
    assert named == label_sets.read(text, tuple(LABELS))


@pytest.mark.parametrize("text", ["none", "None.", "[]", '{"bug": false, "billing": false, "None": false}'])
def test_no_label_is_the_label_none_where_the_task_has_one(text: str) -> None:
    """An answer that could not be read is not that."""
    labels = (*LABELS, "None")

    assert label_sets.read(text, labels) == {"None"}
    assert label_sets.reduced(text, labels) == "None"
    assert label_sets.read("", labels) == frozenset()


def test_labels_that_are_all_denied_are_none_of_them() -> None:
    """An object that says false to each names none, where it was taken for one that names all."""
    metric = get_metric("micro_f1", LABELS, several=True)
    denied = '{"bug": false, "billing": false, "praise": false, "how to": false}'

    assert scoring.summarise(metric, *scored(metric, [("bug",), ("bug, praise",)], [denied, denied])) == 0


def test_label_sets_are_scored_by_hand() -> None:
    """Wanted two labels, given one of them and a foreign one: a third by Jaccard, a half by F1, not exactly right."""
    rows = [get_metric(name, LABELS, several=True).row for name in ("accuracy", "jaccard", "micro_f1")]

    assert [row("bug, sales", ["bug, billing"]) for row in rows] == [0.0, 1 / 3, 0.5]


def test_labels_with_commas_are_kept_apart_by_another_sign() -> None:
    """The first of , ; and | that stands in no label is used, to write and to read."""
    labels = ["health, beauty", "food"]

    assert label_sets.write(frozenset(labels), labels) == "health, beauty; food"
    assert label_sets.read("food; health, beauty", tuple(labels)) == set(labels)
    assert label_sets.separator(["a, b", "c; d", "e | f"]) == ""
