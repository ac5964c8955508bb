from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bookkeeping, races, replays, rivals
from benchmarks.landscapes import FAMILIES, landscape
from benchmarks.problems import Params, Problem
from benchmarks.search_efficiency import Bar, Line, floors, log, render, told
from search_spaces.space import Dimension

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tabular"
NEEDS_TABLES = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the tables of real answers are kept outside the repository"
)


@pytest.fixture(scope="module")
def smooth() -> Problem:
    return landscape("smooth", 3)


def drawn(problem: Problem, count: int, seed: int = 0) -> list:
    rng = random.Random(seed)
    return [problem.space.choose(bookkeeping.Dice(rng)) for _ in range(count)]


def test_a_landscape_answers_the_same_again(smooth: Problem) -> None:
    """Two landscapes of one seed give every prompt the same answers, in whatever order they are asked."""
    again = landscape("smooth", 3)
    prompts = drawn(smooth, 20)

    assert [list(smooth.right(p)) for p in prompts] == [list(again.right(p)) for p in prompts[::-1]][::-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_landscapes_answers_agree_with_its_truth(family: str) -> None:
    """Over many prompts, the share of right answers is the mean truth, but for the luck of 200 rows."""
    problem = landscape(family, 1)
    prompts = drawn(problem, 300)
    truth = np.array([problem.truth(p) for p in prompts])
    dev = np.array([100 * problem.right(p).mean() for p in prompts])

    assert abs(dev.mean() - truth.mean()) < 6
    assert (dev - truth).std() < 4.5
    assert truth.max() <= problem.best
    assert 85 - 0.5 < problem.best < 95 + 0.5
    assert (problem.spread < 1.5) == (family == "flat")


def test_prompts_without_examples_are_one_prompt(smooth: Problem) -> None:
    """No examples, by strategy or by number, is the same prompt with the same answers."""
    texts = {"template": "layout-1", "instruction": "wording-2"}
    none, zero = {**texts, "demos": "none"}, {**texts, "demos": "random", "k": 0}

    assert smooth.space.build(none).digest == smooth.space.build(zero).digest
    assert smooth.truth(none) == smooth.truth(zero)


def test_outcomes_say_what_the_answers_say(smooth: Problem) -> None:
    """`evaluate` scores a cell 1 exactly where `right` is true."""
    params = smooth.space.seed()
    cells = [(smooth.space.build(params), row) for row in smooth.rows]

    assert [outcome.score for outcome in smooth.evaluate(cells)] == list(smooth.right(params).astype(float))


@pytest.mark.parametrize("method", rivals.METHODS)
def test_a_rival_counts_every_answer_once_and_keeps_to_its_budget(method: str, smooth: Problem) -> None:
    """The calls that a rival reports are the distinct cells that it looked at, and never more than it may."""
    asked: set[tuple[str, int]] = set()

    class Watched(bookkeeping.Book):
        def ask(self, params: Params, rows: bookkeeping.Rows) -> float:
            score = super().ask(params, rows)
            asked.update((self.problem.space.key(params), int(row)) for row in rows)
            return score

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookkeeping, "Book", Watched)
        steps = list(rivals.METHODS[method](smooth, 900, 0))

    calls = [n for n, _ in steps]

    assert calls == sorted(calls)
    assert 0 < calls[-1] <= 900
    assert calls[-1] <= len(asked) <= 900
    assert all(0 <= smooth.regret(params) <= 100 for _, params in steps)


@pytest.mark.parametrize("method", rivals.METHODS)
def test_a_rival_ends_when_a_small_space_is_used_up(method: str) -> None:
    """With calls for more than everything, a rival stops, at the best prompt if one is far ahead."""
    right = np.random.default_rng(0).random((6, 60)) < np.array([0.1, 0.2, 0.9, 0.3, 0.2, 0.1])[:, None]
    names = tuple(f"prompt-{i}" for i in range(6))
    listing = replays._List("tiny", names, right, _rows(60), 100 * right.mean(axis=1))
    problem = listing.whole(0)

    *_, (calls, params) = rivals.METHODS[method](problem, 5000, 0)

    assert calls <= right.size
    assert params == {"instruction": "prompt-2"}


def _rows(count: int) -> tuple:
    return tuple(replays.Example(f"row-{i}", (("text", str(i)),), ("ab"[i % 2],)) for i in range(count))


def test_the_same_seed_gives_a_rival_the_same_race(smooth: Problem) -> None:
    """A stored result is what another run would give."""
    first, second = (list(rivals.METHODS["mipro"](smooth, 600, 5)) for _ in range(2))

    assert first == second


def test_results_are_kept_under_the_code_that_they_came_of() -> None:
    """The files of our engine for ours, the rivals' for theirs."""
    ours, theirs = (races._key(races.Race("landscape", "smooth", 0, name), Path()) for name in (races.OURS, "tpe"))

    assert {"optimizer/engine/pooled.py", "optimizer/engine/surrogate.py"} < set(races.ENGINE)
    assert ours.rpartition("|")[2] != theirs.rpartition("|")[2]


def test_a_race_settles_when_its_regret_stays_small() -> None:
    """A dip under the bound that does not last is no arrival; neither is luck before any prompt was seen in full."""
    result = races.Result(((5, 1.0), (300, 8.0), (400, 4.0), (700, 6.0), (900, 3.0)), 20.0, 200, 950, 0.1)

    assert result.settled(5, (1000,)) == 900
    assert result.settled(5, (600, 1000)) == 400
    assert result.settled(2, (1000,)) == math.inf
    assert races.Result(((5, 1.0),), 20.0, 200, 950, 0.1).settled(5, (1000,)) == 200
    assert [result.reached(bound) for bound in (9, 5, 4, 1)] == [200, 200, 200, math.inf]
    assert races.Result(((300, 8.0), (400, 4.0), (700, 6.0)), 20.0, 200, 950, 0.1).reached(5) == 400
    assert [result.regret(n) for n in (0, 299, 300, 5000)] == [20.0, 1.0, 8.0, 3.0]


def test_the_floor_of_a_table_is_what_the_dev_rows_would_choose() -> None:
    """Of three prompts the second has the best dev mean, and the third is the best."""
    right = np.arange(60) < np.array([6, 50, 40])[:, None]
    listing = replays._List("tiny", ("a", "b", "c"), right, _rows(60), np.array([10.0, 80.0, 87.0]))
    table = replays._table("tiny", "list", listing.truth, listing.whole)

    assert "1 lists, spread > 3: 7.0 in the mean, 2 or more on 1 of them" in floors([table], 2)


def test_halving_that_is_told_the_best_prompts_goes_by_the_dev_rows_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of one it has it; told of more it takes what the rows say, which here is the second of three."""
    right = np.arange(60) < np.array([6, 50, 40])[:, None]
    listing = replays._List("tiny", ("a", "b", "c"), right, _rows(60), np.array([10.0, 80.0, 87.0]))
    monkeypatch.setattr("benchmarks.search_efficiency.TOLD", (1, 3))

    assert told([replays._table("tiny", "grid", listing.truth, listing.whole)], 2).endswith("prompts: 1: 0.0; 3: 7.0.")


def test_a_bar_compares_with_the_best_that_arrives() -> None:
    """Ours is divided by the best of those named; one that never arrives is no rival, and ours that does not fails."""
    bar = Bar(0.5, ("a", "b"))

    assert bar.judge({"ours": 4, "a": 10, "b": 20, "c": 1}) == (0.4, "pass")
    assert bar.judge({"ours": 6, "a": 10, "b": math.inf}) == (0.6, "FAIL")
    assert bar.judge({"ours": math.inf, "a": 10, "b": 20})[1] == "FAIL"
    assert bar.judge({"ours": 4, "a": math.inf, "b": math.inf})[1] == "-"


def test_the_log_gets_its_entry_on_top(tmp_path: Path) -> None:
    """A new entry stands below the log's heading and above the older ones."""
    path = tmp_path / "LOG.md"
    path.write_text("# Log\n\nNewest first.\n\n## old\n\ntext\n", encoding="utf-8")
    log("## new\n\n" + render([Line("here", "regret", {"ours": 1.0})]) + "\n", path)

    parts = path.read_text(encoding="utf-8").split("\n## ")

    assert parts[0] == "# Log\n\nNewest first.\n"
    assert [part.split("\n")[0] for part in parts[1:]] == ["new", "old"]


def test_a_grid_that_conditions_can_describe_has_exactly_its_runs() -> None:
    """Every arm that was run may be asked, and no other."""
    arms = [("random", "2", "direct"), ("random", "2", "channel"), ("other", "2", "direct"), ("random", "4", "direct")]
    arms.append(("other", "4", "direct"))
    templates = [("{}", "label: {}", " ", "\\n"), ("text: {}", "label: {}", " ", "\\n")]
    grid = replays._Grid("tiny", templates, {arm: dict.fromkeys(templates, 50.0 + i) for i, arm in enumerate(arms)})
    problem = grid.simulated(0)
    reached = [problem.truth(params) for params in problem.space.points()]

    assert sorted(reached) == sorted(2 * [50.0, 51.0, 52.0, 53.0, 54.0])
    assert isinstance(problem.space["prediction_method"], Dimension)


def test_a_grid_that_conditions_cannot_describe_names_its_arms() -> None:
    """An odd set of arms becomes one dimension."""
    arms = [("random", "2", "direct"), ("other", "4", "direct")]
    templates = [("{}", "label: {}", " ", "\\n")]
    problem = replays._Grid("tiny", templates, {arm: dict.fromkeys(templates, 60.0) for arm in arms}).simulated(0)

    assert {dimension.name for dimension in problem.space.dimensions} == {"template", "arm"}
    assert len(list(problem.space.points())) == 2


def test_simulated_answers_are_right_as_often_as_the_table_says() -> None:
    """The level of a prompt is solved so that its expected accuracy over random rows is the real one."""
    wanted = np.array([2.0, 35.0, 50.0, 90.0, 99.0])
    levels = replays._levels(wanted)
    difficulty = np.random.default_rng(0).normal(0, replays.DIFFICULTY, 200_000)

    assert np.abs(100 * replays._sigmoid(levels[:, None] + difficulty).mean(axis=1) - wanted).max() < 0.3


@NEEDS_TABLES
def test_the_tables_are_found() -> None:
    """Lists and grids are found by their form, each prompt with answers and a truth."""
    found = replays.tables(SHARED)
    families = {table.family for table in found}
    problems = [next(table for table in found if table.family == family).problem(0) for family in sorted(families)]

    assert families == {"grid", "list"}
    assert len({table.name for table in found}) == len(found)
    for problem in problems:
        points = list(problem.space.points())
        assert len({problem.space.key(params) for params in points}) == len(points)
        assert max(problem.truth(params) for params in points) == problem.best
        assert all(problem.column(params).shape == (len(problem.rows),) for params in points)


def test_no_folder_has_no_tables(tmp_path: Path) -> None:
    """A folder that is not there holds none."""
    assert replays.tables(tmp_path / "none") == []
