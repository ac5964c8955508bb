"""Comparing two prompts: on which rows, with which result, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from optimizer import history, tune
from optimizer.comparing import Named, named, side_by_side
from optimizer.contenders import BEST
from optimizer.errors import InputError
from optimizer.reports.comparing_tables import record, sentence
from tests.conftest import Command
from tests.recorded import Tried, write_run
from tests.small_task import write_task

SEED = Tried("10" * 10, "10" * 10)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Two runs on the same rows, whose winners lie far apart, and a third of which little was asked."""
    path = tmp_path / "results.db"
    weak = Tried("1" * 12 + "0" * 8, "0" * 8 + "1" * 4 + "0" * 8, {"demos": "none"}, "Sort it, please.")
    strong = Tried("1" * 20, "1" * 19 + "0", {"demos": "random", "k": 4}, "Sort it well.")
    write_run(path, [SEED, weak, Tried("11111"), Tried("00000" + "1" * 5)])
    write_run(path, [SEED, strong], model="openai/y", cost=0.002)
    return path


@pytest.mark.parametrize(
    ("text", "run", "expected"),
    [("2", None, Named(2)), ("2:17", None, Named(2, 17)), ("17", 2, Named(2, 17)), ("3:1", 2, Named(3, 1))],
)
def test_a_prompt_is_named_by_run_and_trial(text: str, run: int | None, expected: Named) -> None:
    """A lone number is a run, or a trial of the run that was named."""
    assert expected == named(text, run)


@pytest.mark.parametrize("text", ["", "x", "1:", ":1", "-1", "1:2:3", "1 2", "٣", "9" * 30])
def test_what_names_no_prompt_is_refused(text: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(InputError, match="names no prompt; allowed: RUN for its winner, or RUN:TRIAL"):
        named(text)


def test_winners_are_compared_on_the_sealed_rows(db: Path) -> None:
    """The difference is b less a, paired, with McNemar's exact p; fixed and broken rows are those that flipped."""
    found = side_by_side(db, Named(1), Named(2))

    assert (found.split, found.n, found.opened) == ("test", 20, 2)
    assert found.comparison.difference == pytest.approx(15 / 20)
    assert (found.comparison.a, found.comparison.b) == (found.b.name, found.a.name) == ("2:1", "1:1")
    assert found.comparison.p_value == pytest.approx(binomtest(15, 15).pvalue)
    assert [*range(8), *range(12, 19)] == [int(change.example_id[4:]) for change in found.fixed]
    assert list(found.broken) == []
    assert (found.fixed[0].seed_answer, found.fixed[0].answer, found.fixed[0].wanted) == ("praise", "bug", "bug")
    assert found.params == {
        "model": ("openai/x", "openai/y"),
        "demos": ("none", "random"),
        "k": (None, 4),
    }
    assert [side.measures.cost_per_1000 for side in (found.a, found.b)] == pytest.approx([1, 2])
    assert sentence(found).startswith("2:1 is better than 1:1: +75.0 points (95 % interval")


def test_the_figures_are_those_of_the_verdict(tmp_path: Path) -> None:
    """To the last digit, whatever the seed of the run: intervals and p-values are resampled by the same draws."""
    task = write_task(tmp_path, search={"calls": 120, "trials": 6, "seed": 7})
    task.write_text(task.read_text(encoding="utf-8").replace("[data]", 'metric = "macro_f1"\n[data]'), encoding="utf-8")
    tuned = tune(task, db=tmp_path / "r.db")
    assert tuned.verdict
    seed, best = tuned.verdict.contenders[:2]
    assert best.name == BEST
    verdict = tuned.verdict.comparisons[0]

    found = side_by_side(tmp_path / "r.db", Named(1, 0), Named(1, tuned.best.number))

    assert (found.a.interval, found.b.interval) == (seed.interval, best.interval)
    assert (found.comparison.interval, found.comparison.p_value) == (verdict.interval, verdict.p_value)


def test_the_other_way_round_the_signs_turn(db: Path) -> None:
    """What b fixed against a, a broke against b."""
    one, other = side_by_side(db, Named(1), Named(2)), side_by_side(db, Named(2), Named(1))

    assert one.comparison.difference == -other.comparison.difference
    assert one.comparison.interval == pytest.approx([-limit for limit in reversed(other.comparison.interval)])
    assert [c.example_id for c in one.fixed] == [c.example_id for c in other.broken]
    assert "2:1 is better" in sentence(one)
    assert "1:1 is worse" in sentence(other)


def test_other_trials_are_compared_on_the_dev_rows_that_both_saw(db: Path) -> None:
    """Ten rows of which five differ show nothing, and it is said that searches choose by them."""
    found = side_by_side(db, Named(1, 3), Named(2))

    assert (found.split, found.n, found.opened) == ("dev", 10, 0)
    assert found.comparison.difference == pytest.approx(0.5)
    said = sentence(found)
    assert said.startswith("No difference between 2:1 and 1:3 is shown: +50.0 points")
    assert "10 rows are too few to show any, and one as large as this takes about 17 rows. These are dev rows" in said


def test_failed_calls_are_no_common_rows(tmp_path: Path) -> None:
    """A row counts only where both have a score."""
    path = tmp_path / "results.db"
    write_run(path, [SEED, Tried("1" * 12 + "-" * 8), Tried("-" * 4 + "0?" * 8)])

    found = side_by_side(path, Named(1, 1), Named(1, 2))

    assert [f"dev{i:02}" for i in range(4, 12)] == [change.example_id for change in found.broken]
    assert {"(unreadable)", "praise"} == {change.answer for change in found.broken}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 30}, r"run 1 and run 3 were made on different rows or splits \(digests \w{8} and \w{8}\)"),
        ({"metric": "macro_f1"}, "run 1 is judged by accuracy, run 3 by macro_f1; one metric is needed"),
    ],
)
def test_runs_that_cannot_be_paired_are_refused(db: Path, given: dict[str, Any], said: str) -> None:
    """Other rows, or another metric."""
    write_run(db, [SEED, Tried("1" * given.get("size", 20))], **given)

    with pytest.raises(InputError, match=said):
        side_by_side(db, Named(1), Named(3))


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (Named(1, 2), Named(2), r"1:2 and 2:1 share 5 dev rows with a score; at least 6 are needed"),
        (Named(1), Named(1, 1), r"both are 1:1\. Name two prompts"),
        (Named(1), Named(7), r"has no run 7; allowed: 2, 1"),
        (Named(1, 9), Named(2), r"run 1 has no trial 9; it has 0 to 3"),
    ],
)
def test_a_comparison_that_says_nothing_is_refused(db: Path, a: Named, b: Named, said: str) -> None:
    """Too few rows, one prompt twice, or none of that name."""
    with pytest.raises(InputError, match=said):
        side_by_side(db, a, b)


def test_one_row_that_two_prompts_share_is_one_row(db: Path) -> None:
    """Not one rows."""
    write_run(db, [SEED, Tried("1")])

    with pytest.raises(InputError, match="share 1 dev row with a score"):
        side_by_side(db, Named(1, 2), Named(3, 1))


def test_where_only_one_run_has_opened_the_test_rows_dev_rows_serve(db: Path) -> None:
    """A run without a verdict has dev rows alone."""
    write_run(db, [Tried("10" * 10), Tried("1" * 20)])

    assert side_by_side(db, Named(1), Named(3)).split == "dev"


def test_a_metric_of_the_whole_set_is_compared_as_such(tmp_path: Path) -> None:
    """Macro-F1 of always the same answer is a third; its test swaps answers."""
    path = tmp_path / "results.db"
    write_run(path, [Tried("10" * 10), Tried("1" * 20)], metric="macro_f1")

    found = side_by_side(path, Named(1, 0), Named(1, 1))

    assert found.a.score == pytest.approx(1 / 3)
    assert found.comparison.difference == pytest.approx(2 / 3)
    assert found.comparison.test == "answer-swap permutation test"


def test_a_metric_of_ones_own_is_compared_by_its_recorded_scores(db: Path) -> None:
    """No code is run: the module does not exist."""
    import sqlite3

    with sqlite3.connect(db) as conn:
        conn.execute("UPDATE runs SET metric = 'gone:score'")
    conn.close()

    assert side_by_side(db, Named(1), Named(2)).comparison.difference == pytest.approx(0.75)


def test_a_history_compares_from_python(db: Path) -> None:
    """Runs and trials are named as on the command line."""
    assert side_by_side(db, Named(1, 3), Named(2)) == history(db).compare("1:3", 2)


def test_the_command_shows_what_differs(db: Path, command: Command) -> None:
    """Scores, parameters, rows and prompts stand there; the JSON holds the same."""
    said = " ".join(command("compare", "1", "2", "--rows", "3").stdout.split())

    for fact in (
        "On the 20 test rows that both have answered, opened by 2 different runs so far",
        "a: 1:1 (winner)",
        "2:1 − 1:1",
        "exact McNemar test",
        "Rows that b fixed: 15, of which 3 are shown",
        "Rows that b broke: 0",
        "-Sort it, please.",
        "+Sort it well.",
        "Next: phrasetune show 1 --run 2",
    ):
        assert fact in said
    told = json.loads(command("compare", "1", "2", "--json").stdout)
    assert json.loads(json.dumps(record(side_by_side(db, Named(1), Named(2))))) == told
    assert (len(told["fixed"]), told["shown"], told["a"]["score"]) == (15, True, 0.2)


def test_the_command_takes_trials_of_one_run(db: Path, command: Command) -> None:
    """Both ways of naming them mean the same; a price that is not known is not zero."""
    by_option = command("compare", "--run", "1", "1", "3", "--json").stdout

    assert command("compare", "1:1", "1:3", "--json").stdout == by_option
    assert "names no prompt" in command("compare", "one", "2", code=2).output
    write_run(db, [SEED, Tried("1" * 20, "1" * 20)], cost=None)
    assert json.loads(command("compare", "1", "3", "--json").stdout)["b"]["cost_per_1000"] is None
