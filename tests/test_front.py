"""The front, the constraints, and a search that observes both, on landscapes with known costs."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from optimizer import history
from optimizer.engine.aims import Aims
from optimizer.engine.amounts import amount
from optimizer.engine.board import Board, Pick
from optimizer.engine.grid import Grid
from optimizer.errors import InputError, TaskError
from optimizer.front import (
    Constraints,
    breaches,
    dominated_by,
    front,
    hold,
    measures,
    require_labels,
    require_rows,
)
from optimizer.pages.page import page
from optimizer.records import Kind, Outcome, State, Trial
from optimizer.reports.front_tables import constraints_grids, constraints_record
from optimizer.scores.metrics import get_metric
from optimizer.search import Options, run
from search_spaces.prompt import Example, Prompt
from tests.conftest import Command
from tests.landscape import DEV, LABELS, Landscape, space
from tests.recorded import Tried, write_run

FEW = DEV[:48]
ROWS = {row.id: row for row in FEW}
SEED = space().build(space().seed())


def trial(number: int, score: float, cost: float, seconds: float = 0.1, **changes: object) -> Trial:
    """A trial of two rows with a known score, cost and latency."""
    outcomes = tuple(Outcome(row.id, Kind.RIGHT, score, row.target, cost=cost, seconds=seconds) for row in FEW[:2])
    made = Trial(number, {}, SEED, State.COMPLETE, score, outcomes=outcomes)
    return replace(made, **changes)  # type: ignore[arg-type]


def numbers(trials: list[Trial]) -> list[int]:
    """The numbers of trials."""
    return [t.number for t in trials]


# --- the front --------------------------------------------------------------------------------------------


def test_the_front_holds_what_no_other_trial_beats() -> None:
    """A trial stands there unless another is as good in all of score, cost and latency, and better in one."""
    dear, cheap, fast = trial(0, 0.9, 3.0), trial(1, 0.7, 1.0), trial(2, 0.5, 2.0, 0.01)
    beaten = trial(3, 0.7, 2.0)

    assert numbers(front([beaten, fast, cheap, dear])) == [0, 1, 2]
    assert dominated_by(beaten, [dear, cheap, fast, beaten]) == cheap
    assert dominated_by(cheap, [dear, cheap, fast, beaten]) is None


def test_equal_trials_stand_on_the_front_together() -> None:
    """Neither of two equal trials beats the other, nor do digits that are the clock's or an addition's."""
    twins = [trial(0, 0.8, 1.0, 0.1), trial(1, 0.8, 1.0 + 1e-9, 0.1001)]

    assert numbers(front(twins)) == [0, 1]


def test_only_full_scores_are_compared() -> None:
    """A trial that was given up is neither on the front nor beats one that is there."""
    given_up = trial(1, 1.0, 0.1, state=State.PRUNED)

    assert numbers(front([trial(0, 0.5, 1.0), given_up])) == [0]
    assert dominated_by(given_up, [trial(0, 0.5, 1.0), given_up]) is None
    assert front([]) == []


def test_tokens_stand_for_cost_where_nothing_was_paid() -> None:
    """Without a price the prompt that needs fewer tokens is the cheaper one."""
    free = [trial(number, 0.8, 0.0) for number in range(2)]
    long, short = (
        replace(t, outcomes=tuple(replace(o, tokens=tokens) for o in t.outcomes))
        for t, tokens in zip(free, (200, 90), strict=True)
    )

    assert numbers(front([long, short])) == [1]


def test_a_failed_call_says_nothing_about_what_a_prompt_takes() -> None:
    """Measures are means over the rows that have a score."""
    outcomes = [
        Outcome("a", Kind.RIGHT, 1.0, "x", tokens=12, cost=0.002, seconds=0.5, prompt_tokens=10),
        Outcome("b", Kind.ERROR, None, None, cost=9.0, seconds=60.0),
    ]

    found = measures(outcomes)

    assert (found.rows, found.tokens, found.prompt_tokens) == (1, 12, 10)
    assert (found.cost_per_1000, found.ms_per_1000) == pytest.approx((2.0, 500_000))
    assert measures([]).rows == 0


# --- constraints ------------------------------------------------------------------------------------------


def test_breaches_name_what_is_broken() -> None:
    """Each broken constraint is said with its value and its limit; one that is kept is not said."""
    outcomes = tuple(
        Outcome(row.id, Kind.WRONG, 0.0, "bad", cost=0.003, prompt_tokens=120) for row in FEW if row.target == "good"
    )
    made = replace(trial(0, 0.0, 0.0), outcomes=outcomes)

    said = breaches(made.outcomes, Constraints(2.0, 100, {"good": 0.5, "bad": 0.9}), ROWS)

    assert said == [
        "costs $3 per 1,000, more than $2",
        "120.0 prompt tokens, more than 100",
        "recall of good 0.0 %, less than 50 %",
    ]
    assert breaches(made.outcomes, Constraints(4.0, 130), ROWS) == []


def test_what_stands_at_a_limit_keeps_it() -> None:
    """A mean that the addition of floats puts a last digit above a limit is not over it; more is."""
    outcomes = tuple(Outcome(row.id, Kind.RIGHT, 1.0, row.target, cost=3e-6) for row in FEW)
    at = replace(trial(0, 1.0, 0.0), outcomes=outcomes)

    assert measures(outcomes).cost_per_1000 > 0.003
    assert breaches(at.outcomes, Constraints(0.003), ROWS) == []
    assert breaches(at.outcomes, Constraints(0.003 * (1 - 1e-6)), ROWS) == ["costs $0.003 per 1,000, more than $0.003"]


def test_a_limit_that_cannot_be_checked_is_refused() -> None:
    """A label that the task lacks, and labels where there are none."""
    with pytest.raises(TaskError, match=r"unknown label in min_recall 'god'; allowed: good, bad\. Did you mean 'good'"):
        require_labels(Constraints(min_recall={"god": 0.5}), ["good", "bad"])
    with pytest.raises(TaskError, match="only a classification has labels"):
        require_labels(Constraints(min_recall={"good": 0.5}), [])


def test_a_recall_that_no_row_would_hold_a_prompt_to_is_refused() -> None:
    """A label of which no dev row is looked at; a least recall of nothing is no limit."""
    good = [row for row in FEW if row.target == "good"][:7]

    with pytest.raises(TaskError, match="min_recall of 'bad': none of the 7 dev rows that the search looks at"):
        require_rows(Constraints(min_recall={"good": 0.5, "bad": 0.5}), good)
    require_rows(Constraints(min_recall={"good": 0.5, "bad": 0.0}), good)


def test_amounts_of_unseen_prompts_are_predicted() -> None:
    """Amounts that features multiply are predicted within a tenth for prompts never asked, from sparse cells."""
    rng, grid = np.random.default_rng(0), Grid(space())
    codes = grid.random(80, rng)
    factors, lengths = rng.normal(0, 0.3, grid.width), rng.normal(0, 0.5, 40)
    truth = np.exp(3 + np.where(codes >= 0, factors[codes], 0).sum(axis=1))
    cells = truth[:, None] * np.exp(lengths)
    seen = np.where(rng.random(cells.shape) < 0.1, cells, np.nan)
    seen[60:] = np.nan

    found = amount(codes, seen, grid.width)

    assert found is not None
    errors = [found.predict(codes[i]) - np.log(cells[i].mean()) for i in range(60, 80)]
    assert np.median(np.abs(errors)) < 0.1
    assert amount(codes, np.zeros(cells.shape), grid.width) is None


# --- the search -------------------------------------------------------------------------------------------


@dataclass
class Priced(Landscape):
    """A landscape on which examples, markup and JSON cost tokens, and tokens cost money and time."""

    def _answer(self, prompt: Prompt, row: Example) -> Outcome:
        shown = prompt.nearest or len(prompt.demos)
        markup = {"plain": 0, "markdown": 10, "xml": 30, "chat": 5}[prompt.template]
        tokens = 40 + 12 * shown + markup + 15 * (prompt.answer_format == "json") + 3 * len(row.id)
        cost, seconds = tokens * 1e-6, 0.1 + tokens * 1e-4
        outcome = super()._answer(prompt, row)
        return replace(outcome, tokens=tokens + 2, prompt_tokens=tokens, cost=cost, seconds=seconds)


def options(**changes: object) -> Options:
    """Options of a short search."""
    return replace(Options(calls=400), **changes)  # type: ignore[arg-type]


def test_a_search_for_the_front_finds_cheaper_prompts() -> None:
    """With `pareto` the front holds more score for less cost than a search for the score alone leaves behind."""

    def worth(trials: tuple[Trial, ...]) -> float:
        """Area under the front: the best score at each cost, over costs from 40 to 250 tokens."""
        placed = [(measures(t.outcomes).prompt_tokens, t.score or 0.0) for t in front(trials)]
        return float(np.mean([max((s for c, s in placed if c <= most), default=0.0) for most in range(40, 250, 10)]))

    sought, left = (
        [worth(run(space(), Priced(), FEW, options(pareto=pareto, seed=seed)).trials) for seed in range(4)]
        for pareto in (True, False)
    )

    assert np.mean(sought) > np.mean(left) + 0.03


class Solved(Priced):
    """All prompts are right on all rows."""

    def _answer(self, prompt: Prompt, row: Example) -> Outcome:
        outcome = super()._answer(prompt, row)
        return replace(outcome, kind=Kind.RIGHT, score=1.0, answer=row.target)


def test_of_prompts_that_are_right_on_the_same_rows_the_cheapest_wins() -> None:
    """Where all prompts are always right, none is recommended that costs more than the seed prompt."""
    found = run(space(), Solved(), FEW, options())

    asked = [trial for trial in found.trials if trial.n == len(FEW)]
    assert len(asked) > 1
    assert measures(found.best.outcomes).prompt_tokens == min(measures(trial.outcomes).prompt_tokens for trial in asked)


def test_equal_rows_are_no_equal_score_of_a_whole_set() -> None:
    """Under macro-F1 it matters what was said on the rows that were wrong: the better prompt wins, though dearer."""
    board = Board(space(), FEW, get_metric("macro_f1", LABELS), 0)
    grid, rng = Grid(board.space), np.random.default_rng(0)
    while len(board.cards) < 2:
        board.open(grid.decode(grid.random(1, rng)[0]))
    half, other = len(FEW) // 2, dict(zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True))
    outcomes = []
    for tokens, said in ((100, False), (50, True)):
        for place, row in enumerate(board.rows):
            right = place < half
            answer = row.target if right else (other[row.target] if said else None)
            kind = Kind.RIGHT if right else Kind.WRONG if said else Kind.UNPARSED
            outcomes.append(Outcome(row.id, kind, float(right), answer, tokens=tokens, cost=tokens / 1e6))
    board.enter(0, [Pick(number, tuple(range(len(FEW)))) for number in range(2)], outcomes)

    best = max((0, 1), key=board.score)

    assert board.score(0) > board.score(1)
    assert Aims(board).cheapest([0, 1], best) == 0


@pytest.mark.parametrize("sampler", ["pooled", "tpe"])
def test_the_winner_keeps_the_constraints(sampler: str) -> None:
    """The best prompt has at most so many tokens, whoever searches, though better ones have more."""
    kept = Constraints(max_prompt_tokens=100)
    calls = 400 if sampler == "pooled" else 800

    found = run(space(), Priced(), FEW, options(sampler=sampler, calls=calls, constraints=kept))

    free = run(space(), Priced(), FEW, options(sampler=sampler, calls=calls))
    assert breaches(found.best.outcomes, kept, ROWS) == []
    assert breaches(free.best.outcomes, kept, ROWS)
    assert "constraints" not in found.reason
    assert (found.best.score or 0) > (found.trials[0].score or 0)


def test_prompts_predicted_to_break_a_limit_are_avoided() -> None:
    """After the first look few prompts are opened that have too many tokens."""
    limit = 100

    found = run(space(), Priced(), FEW, options(constraints=Constraints(max_prompt_tokens=limit)))

    later = [t for t in found.trials if t.outcomes and min(o.step for o in t.outcomes) > 0]
    broken = [t for t in later if measures(t.outcomes).prompt_tokens > 1.1 * limit]
    assert later
    assert len(broken) <= 0.2 * len(later)


def test_where_no_prompt_keeps_the_constraints_it_is_said_aloud() -> None:
    """The winner is the prompt that breaks them least, and the reason names what it breaks."""
    found = run(space(), Priced(), FEW, options(constraints=Constraints(max_prompt_tokens=20)))

    fewest = min(measures(t.outcomes).prompt_tokens for t in found.trials if t.state is State.COMPLETE)
    assert measures(found.best.outcomes).prompt_tokens == fewest
    assert (
        f"no prompt that could win keeps all constraints: trial {found.best.number} breaks them least" in found.reason
    )
    assert "prompt tokens, more than 20" in found.reason


def test_a_least_recall_is_kept() -> None:
    """A prompt that never says one label does not win, although it scores best."""

    class Lopsided(Priced):
        def _answer(self, prompt: Prompt, row: Example) -> Outcome:
            outcome = super()._answer(prompt, row)
            if prompt.template == "xml" and row.target == "bad":
                return replace(outcome, kind=Kind.WRONG, score=0.0, answer="good")
            right = prompt.template == "xml" or outcome.score
            return replace(outcome, kind=Kind.RIGHT, score=1.0, answer=row.target) if right else outcome

    rows = [row for row in DEV if row.target == "good"] + [row for row in DEV if row.target == "bad"][:8]
    kept = Constraints(min_recall={"bad": 0.2})
    landscape = partial(Lopsided, truth=lambda _: 0.45)

    found = run(space(), landscape(), rows, options(constraints=kept))

    assert run(space(), landscape(), rows, options()).best.prompt.template == "xml"
    assert found.best.prompt.template != "xml"
    assert breaches(found.best.outcomes, kept, {row.id: row for row in rows}) == []


def test_a_resumed_search_for_the_front_decides_alike() -> None:
    """Costs and latencies come from the recorded outcomes, so that a search cut in the middle ends the same."""
    wanted = options(pareto=True, constraints=Constraints(max_prompt_tokens=150))
    whole = run(space(), Priced(), FEW, wanted)
    part = run(space(), Priced(budget=200), FEW, wanted)

    resumed = run(space(), Priced(), FEW, wanted, replay=part.trials)

    assert [(t.number, t.params, t.state, t.score, t.n) for t in resumed.trials] == [
        (t.number, t.params, t.state, t.score, t.n) for t in whole.trials
    ]
    assert whole.best.number == resumed.best.number


def test_a_control_has_no_front_to_look_for() -> None:
    """`pareto` is refused where it would do nothing."""
    with pytest.raises(InputError, match="pareto is allowed with: pooled"):
        run(space(), Priced(), FEW, options(sampler="tpe", pareto=True))


# --- constraints of a run that is over --------------------------------------------------------------------

BOUNDS = {"min_recall": {"bug": 0.7, "praise": 0.4}, "max_cost_per_1000": 0.5}
DEV_ROWS, TEST_ROWS = "11111111110000000000", "00001010111111111111"


def test_the_winner_is_held_to_its_constraints_on_both_kinds_of_rows(tmp_path: Path) -> None:
    """What was kept on dev and is broken on test, how sure that is, and a winner that breaks one on dev already."""
    write_run(tmp_path / "r.db", [Tried("0" * 20), Tried(DEV_ROWS, TEST_ROWS)], constraints=BOUNDS)

    found = history(tmp_path / "r.db").constraints()

    assert list(found) == ["dev", "test"]
    cost, bug, praise = found["dev"]
    assert (cost.broken, bug.value, praise.value) == ("costs $1 per 1,000, more than $0.5", 0.5, 0.5)
    assert (bug.n, bug.broken, bug.too_few) == (10, "recall of bug 50.0 %, less than 70 %", True)
    assert (praise.broken, praise.too_few) == ("", True)
    _, bug, praise = found["test"]
    assert (bug.value, praise.value) == (0.8, 0.6)
    assert bug.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert list(history(tmp_path / "r.db").constraints(0)) == ["dev"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (20, "BROKEN: 60.0 % (95 % interval 46.2–72.4) on 50 rows, too few to tell"),
        (40, "BROKEN: 20.0 % (95 % interval 11.2–33.0) on 50 rows"),
        (0, "kept: 100.0 % (95 % interval 92.9–100.0) on 50 rows"),
    ],
)
def test_a_recall_is_said_with_how_sure_it_is(wrong: int, said: str) -> None:
    """Broken or kept by what the rows say, and whether the limit lies in the interval."""
    rows = {f"r{i}": Example(f"r{i}", (("text", "x"),), ("good",)) for i in range(50)}
    outcomes = [Outcome(row, Kind.RIGHT, 1.0, "bad" if i < wrong else "good") for i, row in enumerate(rows)]
    bounds = Constraints(min_recall={"good": 0.7, "bad": 0.7})

    (grid,) = constraints_grids({"test": hold(outcomes, bounds, rows)})

    assert grid.columns == ("constraint", "on sealed test rows")
    assert grid.rows == (
        ("recall of good at least 70 %", said),
        ("recall of bad at least 70 %", "unknown: no row tells"),
    )
    assert [each["kept"] for each in constraints_record({"test": hold(outcomes, bounds, rows)})["test"]] == [
        not wrong,
        None,
    ]


def test_constraints_stand_wherever_a_winner_is_shown(command: Command, tmp_path: Path) -> None:
    """`show`, the card and the report have the same table; JSON has the figures; a run without any has neither."""
    db = tmp_path / "results.db"
    tried = [Tried("0" * 20), Tried(DEV_ROWS, TEST_ROWS)]
    write_run(db, tried)
    free = command("show", "--json", "--run", "1").stdout
    write_run(db, tried, constraints=BOUNDS)
    (grid,) = constraints_grids(history(db).constraints())

    texts = [command("show").stdout, command("card").stdout, page(history(db).story())]

    for text in texts:
        assert grid.title in text
        assert text.count("BROKEN") >= 3
    assert json.loads(free)["constraints"] == {}
    assert "Constraints" not in command("show", "--run", "1").stdout
    for named in ("show", "card", "history"):
        kept = json.loads(command(named, "--json").stdout)["constraints"]
        assert [each["kept"] for each in kept["dev"]] == [False, False, True]
        assert [each["kept"] for each in kept["test"]] == [False, True, True]


# --- results.db -------------------------------------------------------------------------------------------


def test_the_view_holds_the_same_front(finished: Path) -> None:
    """`pareto_front` in results.db lists the trials of `History.front`, in its order."""
    with sqlite3.connect(finished) as conn:
        viewed = [number for (number,) in conn.execute("SELECT trial FROM pareto_front")]

    found = history(finished).front()

    assert viewed
    assert sorted(numbers(found)) == sorted(viewed)
    assert all(t.outcomes for t in found)
