"""Bias: gaps between groups, corrected for their number, and answers that change when terms are swapped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.contenders import BEST, RIVAL
from optimizer.errors import TaskError
from optimizer.evidence.fairness import flips, group_gaps, group_scores, sentence
from optimizer.evidence.swaps import swapped
from optimizer.findings import Flips, GroupGap
from optimizer.pages.page import page
from optimizer.planning import Probe, Terms, estimate
from optimizer.preparing import prepare
from optimizer.records import Kind, Outcome
from optimizer.reports.findings_tables import gaps_grid, grids
from optimizer.scores.metrics import METRICS, get_metric
from optimizer.scoring import of_rows
from optimizer.task import Task, check_task, load_task
from optimizer.task_rows import reading
from search_spaces.prompt import Example
from tests.small_task import write_task
from tests.test_journey import Watched

ACCURACY = METRICS["accuracy"]


def task_of(**about: object) -> Task:
    data = {"file": "r.csv", "inputs": ["text"], "target": "label"}
    judge = {"rubric": "Is it right?", "model": {"name": "openai/x", "api_base": "http://127.0.0.1:9"}}
    with_judge = {"judge": judge} if about.get("metric") == "judge" else {}
    return check_task({"task": {"name": "t", **about}, "data": data, **with_judge}, "a test")


SINGLE = reading(task_of(), ("yes", "no", "maybe"))


def world(sizes: list[int], shares: list[float], seed: int = 0) -> tuple[list[Outcome], dict[str, dict[str, str]]]:
    """Outcomes of groups of these sizes, of which these shares are right."""
    rng, outcomes, slices = np.random.default_rng(seed), [], {}
    for group, (n, share) in enumerate(zip(sizes, shares, strict=True)):
        for i in range(n):
            right = bool(rng.random() < share)
            outcomes.append(Outcome(f"{group}-{i}", Kind.RIGHT if right else Kind.WRONG, float(right), "yes"))
            slices[f"{group}-{i}"] = {"who": f"g{group}"}
    return outcomes, slices


# --- groups -----------------------------------------------------------------------------------------------


def test_a_gap_between_groups_is_found() -> None:
    """The farthest two of five are named, and the interval holds the true gap of 40 points."""
    outcomes, slices = world([100] * 5, [0.8, 0.8, 0.4, 0.8, 0.8])

    (gap,) = group_gaps({BEST: outcomes}, slices, 0)

    assert (gap.name, gap.column, gap.worst, gap.groups) == (BEST, "who", "g2", 5)
    assert gap.interval[0] < 0.4 < gap.interval[1]
    assert gap.p_value == pytest.approx(1e-4)


def test_the_largest_of_many_gaps_is_rarely_taken_for_one() -> None:
    """Where ten groups are alike, about one in twenty runs says that two differ, and as few intervals miss zero."""
    found = []
    for seed in range(60):
        outcomes, slices = world([20, 40] * 5, [0.7] * 10, seed)
        found += group_gaps({BEST: outcomes}, slices, seed)

    assert len(found) == 60
    assert sum(gap.p_value < 0.05 for gap in found) <= 8
    assert sum(gap.interval[0] > 0 for gap in found) <= 4


def test_chance_decides_little_over_a_gap_that_is_just_shown() -> None:
    """The p-value of the same rows under another seed of the permutations differs by about 0.002 near 0.05."""
    outcomes, slices = world([60, 60], [0.0, 0.0])
    right = {f"0-{i}" for i in range(40)} | {f"1-{i}" for i in range(29)}
    scored = [replace(o, kind=Kind.RIGHT, score=1.0) if o.example_id in right else o for o in outcomes]

    found = [group_gaps({BEST: scored}, slices, seed)[0].p_value for seed in range(12)]

    assert 0.04 < np.mean(found) < 0.09
    assert np.std(found) < 0.004


def test_small_groups_and_failed_calls_are_left_out() -> None:
    """A group of nine rows says nothing; a failed call has no score; without two groups there is no gap."""
    outcomes, slices = world([30, 30, 9], [1.0, 0.5, 0.0])
    outcomes[0] = Outcome("0-0", Kind.ERROR, None, None, text="gone")

    (gap,) = group_gaps({BEST: outcomes}, slices, 0)

    assert (gap.groups, gap.best, gap.worst) == (2, "g0", "g1")
    assert group_gaps({BEST: outcomes[:30]}, slices, 0) == ()
    rows = [Example(o.example_id, (("text", "x"),), ("yes",)) for o in outcomes]
    scores = group_scores({BEST: outcomes}, rows, slices, ACCURACY, 0)
    assert [(s.value, s.n) for s in scores] == [("g0", 29), ("g1", 30), ("g2", 9)]
    assert all(s.interval[0] <= s.score <= s.interval[1] for s in scores)


def test_equal_scores_have_no_gap() -> None:
    """Nothing differs where every row is right, and the interval is not of width zero."""
    outcomes, slices = world([20, 20], [1.0, 1.0])

    (gap,) = group_gaps({BEST: outcomes}, slices, 0)

    assert (gap.difference, gap.p_value) == (0, 1)
    assert gap.best == gap.worst
    assert gaps_grid([gap]).rows[0][2] == "none"
    assert gap.interval[0] < 0 < gap.interval[1]


# --- swapped terms ----------------------------------------------------------------------------------------


def test_terms_are_swapped_both_ways_in_one_pass() -> None:
    """Whole words alone, capitals kept, longer terms first; a row without a term is not listed."""
    texts = ["He met her; SHE left.", "the theme is sherry", "a young man and a young woman", "I saw A MAN. Man!"]
    rows = [Example(str(i), (("text", text), ("title", "he")), ("yes",)) for i, text in enumerate(texts)]
    rows[1] = Example("1", (("text", texts[1]), ("title", "")), ("yes",))

    found = swapped(rows, [["he", "she"], ["young man", "old man"], ["man", "woman"]])

    assert [(row.id, row.inputs[0][1]) for row in found] == [
        ("0", "She met her; HE left."),
        ("2", "a old man and a young man"),
        ("3", "I saw A WOMAN. Woman!"),
    ]
    assert all(row.inputs[1] == ("title", "she") for row in found)
    assert swapped(rows, []) == []


def test_turned_answers_are_counted_on_rows_answered_both_ways() -> None:
    """Two of four answers turn, one to the right one; a failed call is left out."""
    rows = [Example(f"x{i}", (("text", str(i)),), ("yes",)) for i in range(5)]

    def given(answers: list[str]) -> list[Outcome]:
        return [
            Outcome(f"x{i}", Kind.RIGHT if a == "yes" else Kind.WRONG, float(a == "yes"), a)
            if a
            else Outcome(f"x{i}", Kind.ERROR, None, None)
            for i, a in enumerate(answers)
        ]

    before, after = given(["yes", "yes", "no", "no", "yes"]), given(["yes", "no", "no", "maybe", ""])
    found = flips(BEST, before, after, rows, ACCURACY, np.random.default_rng(0), read=SINGLE)

    assert found is not None
    assert (found.name, found.n, found.flips, found.difference) == (BEST, 4, 2, -0.25)
    assert found.interval[0] < 0.5 < found.interval[1]
    assert flips(BEST, before, given([""] * 5), rows, ACCURACY, np.random.default_rng(0), read=SINGLE) is None


def test_graded_scores_are_dealt_as_right_and_wrong_ones_are() -> None:
    """Two ways to draw the same: halved, the scores have the same gaps between groups, studentised."""
    outcomes, slices = world([40, 50, 60], [0.7, 0.6, 0.55], 1)
    halved = [replace(outcome, score=(outcome.score or 0.0) / 2) for outcome in outcomes]

    (whole,), (half,) = (group_gaps({BEST: each}, slices, 0) for each in (outcomes, halved))

    assert half.p_value == pytest.approx(whole.p_value, abs=0.02)
    assert 0.01 < whole.p_value < 0.5


@pytest.mark.parametrize(
    ("about", "labels", "before", "same", "other"),
    [
        ({"kind": "multilabel"}, ("price", "bug"), "price, bug", '["Bug", "price"]', "price"),
        ({"kind": "multilabel", "metric": "m:f"}, ("price", "bug"), "price, bug", "bug; price", "bug"),
        ({"kind": "extraction"}, (), '{"a": 1, "b": [{"c": "X"}]}', '{\n "b": {"c": "x"}, "a": "1"}', '{"a": 1}'),
        ({"kind": "extraction", "metric": "exact_match"}, (), '{"a": "X", "b": 2}', '{"b": 2, "a": "x."}', '{"b": 2}'),
        ({"kind": "extraction", "metric": "judge"}, (), '{"a": [{"b": 1}, {"b": 2}]}', '{"a":[{"b":2},{"b":1}]}', "{}"),
        ({"kind": "qa"}, (), "the Eiffel Tower", "Eiffel tower.", "Big Ben"),
        ({"kind": "qa", "metric": "spearman"}, (), "4 out of 5", "4.0", "3"),
        ({"kind": "generation"}, (), "All is well.", "all is well", "Nothing is"),
        ({"kind": "generation", "metric": "chrf"}, (), "All is well.", "All is well.", "all is well"),
        ({"metric": "accuracy"}, ("C", "C#"), "C", "C", "C#"),
    ],
)
def test_an_answer_that_is_written_otherwise_has_not_turned(
    about: dict[str, str], labels: tuple[str, ...], before: str, same: str, other: str
) -> None:
    """Labels and slots in another order, and whatever else the metric does not see, are no other answer."""
    rows = [Example(name, (("text", "x"),), (before,)) for name in "ab"]

    def given(*answers: str) -> list[Outcome]:
        return [Outcome(row.id, Kind.RIGHT, 1.0, a) for row, a in zip(rows, answers, strict=True)]

    read = reading(task_of(**about), labels)
    found = flips(BEST, given(before, before), given(same, other), rows, ACCURACY, np.random.default_rng(0), read=read)

    assert found is not None
    assert (found.n, found.flips) == (2, 1)


def test_the_sentence_names_what_is_shown() -> None:
    """Gaps that are shown, of the contenders asked for, and every share of turned answers."""
    shown = GroupGap(BEST, "who", "a", "b", 3, 0.2, (0.05, 0.35), 0.01)
    hidden = GroupGap(RIVAL, "who", "a", "b", 3, 0.1, (-0.05, 0.25), 0.3)
    turned = Flips(RIVAL, 40, 10, (0.14, 0.4), 0.0, (-0.1, 0.1))

    assert sentence([shown, hidden], [turned], (BEST, RIVAL)) == (
        "By who, the best prompt is 20.0 points better on a than on b (+5.0 to +35.0, p = 0.01). "
        "Swapped terms turn 25.0 % of the trained baseline's answers (14.0 to 40.0) on 40 rows."
    )
    assert sentence([shown], [], (RIVAL,)) == ""
    assert "is 20.0 points of accuracy better on a than" in sentence([shown], [], (BEST,), "accuracy")
    assert sentence([], [replace(turned, n=1)], ()).endswith(" on 1 row.")
    assert sentence([], [replace(turned, n=38), turned], ()).endswith(" on 38 rows and 40 rows.")


@pytest.mark.parametrize(
    ("name", "several", "of"),
    [
        ("accuracy", False, ""),
        ("mcc", False, "accuracy"),
        ("macro_f1", False, "accuracy"),
        ("macro_f1", True, "the mean row score"),
        ("kappa", False, "closeness"),
        ("chrf", False, "the mean row score"),
    ],
)
def test_a_gap_says_what_its_points_are(name: str, of: str, *, several: bool) -> None:
    """Gaps are differences of mean row scores, which are not always the metric's."""
    assert of_rows(get_metric(name, ("a", "b"), several=several)) == of


# --- in a run ---------------------------------------------------------------------------------------------


def with_swaps(folder: Path, pairs: str, search: dict[str, object]) -> Path:
    """The small task with terms to swap."""
    task = write_task(folder, search=search)
    task.write_text(task.read_text(encoding="utf-8") + f"[verdict]\nswaps = {pairs}\n", encoding="utf-8")
    return task


def test_prompt_and_baseline_answer_swapped_rows(tmp_path: Path) -> None:
    """The same rows, bought through the ledger and counted in the plan; kept, and told."""
    without = prepare(write_task(tmp_path, search={"calls": 100}))
    task = with_swaps(tmp_path, '[["I", "we"], ["my", "our"]]', {"calls": 100})
    plan, model = prepare(task), Watched()

    tuned = tune(plan.task, db=tmp_path / "r.db", model=model)

    verdict = history(tmp_path / "r.db").verdict()
    assert tuned.verdict
    assert tuned.verdict.findings
    assert len(plan.swapped) > 10
    assert [(f.name, f.n) for f in tuned.verdict.findings.flips] == [
        (name, len(plan.swapped)) for name in (tuned.verdict.contenders[-3].name, RIVAL)]  # fmt: skip
    assert "Swapped terms turn" in tuned.verdict.sentence
    assert verdict
    assert verdict.findings == tuned.verdict.findings
    assert {"By channel (95 %)", "With the listed terms swapped"} <= {grid.title for grid in grids(verdict)}
    drawn = page(history(tmp_path / "r.db").story())
    verdicts, cards = drawn.split('id="card"')  # the card has the groups once more
    assert (verdicts.count("By channel"), cards.count("By channel")) == (1, 1)
    plans, terms = (without, plan), Terms((0.0, 0.0), None)
    calls = [estimate(each, Probe(), terms, np.random.default_rng(0)).parts[-1].calls.high for each in plans]
    assert calls[1] - calls[0] == len(plan.swapped)


def test_swaps_that_the_caps_do_not_cover_are_left_out(tmp_path: Path) -> None:
    """No call is made for them, and the reason says so; the verdict stands."""
    task = with_swaps(tmp_path, '[["I", "we"]]', {"calls": 100, "max_calls": 205})

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert tuned.verdict
    assert tuned.verdict.findings
    assert tuned.verdict.findings.flips == ()
    assert "; no swapped terms: it takes " in tuned.run.reason


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ('[["he", "she"], ["him", "She"]]', "'she' stands twice; a term has one counterpart"),
        ('[["he"]]', "verdict.swaps.0"),
        ('["he"]', "verdict.swaps.0"),
    ],
)
def test_swaps_that_say_nothing_are_refused(tmp_path: Path, pairs: str, said: str) -> None:
    """The key that is wrong is named."""
    with pytest.raises(TaskError) as caught:
        load_task(with_swaps(tmp_path, pairs, {}))

    assert said in str(caught.value)
