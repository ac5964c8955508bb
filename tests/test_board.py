"""The board of a search: what was opened, what was answered, and how trials end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.engine.board import CALLS_A_ROW, FEWEST_ROWS, Board, Pick, in_turn, searched
from optimizer.records import Kind, Outcome, State
from optimizer.scoring import METRICS
from search_spaces.prompt import Example
from tests.landscape import DEV, space

ROWS = DEV[:40]
SPACE = space()
SEED = SPACE.seed()


@pytest.fixture
def board() -> Board:
    """A board on which nothing was opened."""
    return Board(SPACE, ROWS, METRICS["accuracy"], 0)


def right(board: Board, row: int) -> Outcome:
    """A right answer."""
    return Outcome(board.rows[row].id, Kind.RIGHT, 1.0, board.rows[row].target)


def wrong(board: Board, row: int) -> Outcome:
    """A wrong answer."""
    return Outcome(board.rows[row].id, Kind.WRONG, 0.0, "other")


def error(board: Board, row: int, text: str = "overloaded") -> Outcome:
    """A failed call."""
    return Outcome(board.rows[row].id, Kind.ERROR, None, None, text=text)


def test_rows_are_shuffled_by_the_seed_and_none_is_lost() -> None:
    """The same seed gives the same order; another seed another; all rows stand in it once."""
    one, again, other = in_turn(ROWS, 1), in_turn(ROWS, 1), in_turn(ROWS, 2)

    assert one == again
    assert one != other
    assert one != list(ROWS)
    assert {row.id for row in ROWS} == {row.id for row in one}
    assert len(ROWS) == len(one)


@pytest.mark.parametrize("rare", [4, 12, 24])
def test_every_stretch_of_rows_holds_the_answers_evenly(rare: int) -> None:
    """Of any block in a row, an answer's share is off by at most one row."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("rare" if i < rare else "common",)) for i in range(96)]

    ordered = in_turn(rows, 5)

    for start in range(80):
        assert abs(sum(row.target == "rare" for row in ordered[start : start + 16]) - 16 * rare / 96) <= 1


def test_rows_of_targets_of_their_own_are_shuffled_too() -> None:
    """Open answers do not leave the rows in the order of the file."""
    rows = [Example(f"d{i}", (("text", str(i)),), (f"answer {i}",)) for i in range(30)]

    assert in_turn(rows, 0) != rows


@pytest.mark.parametrize("calls", [1, CALLS_A_ROW * 24, CALLS_A_ROW * 80, CALLS_A_ROW * 96, 5000])
def test_a_search_looks_at_no_more_rows_than_its_calls_can_use(calls: int) -> None:
    """Of each answer its share, in the order of the file; the same for the same seed, and of those it took again."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("rare" if i < 24 else "common",)) for i in range(96)]

    taken = searched(rows, calls, 3)

    assert len(taken) == min(96, max(FEWEST_ROWS, calls // CALLS_A_ROW))
    assert abs(sum(row.target == "rare" for row in taken) - len(taken) / 4) <= 1
    assert taken == [row for row in rows if row in taken]
    assert taken == searched(rows, calls, 3) == searched(taken, calls, 3)
    assert len(taken) == 96 or taken != searched(rows, calls, 4)


def test_a_prompt_is_opened_once(board: Board) -> None:
    """Parameters that make the same prompt lead to the same trial, whatever else they say."""
    other = {**SEED, "template": "xml"}

    numbers = [board.open(SEED), board.open(other), board.open(dict(SEED)), board.open(other)]

    assert numbers == [0, 1, 0, 1]
    assert (2, len(ROWS)) == board.scores.shape == board.attempts.shape
    assert [card.params for card in board.cards] == [SEED, other]


def test_parameters_without_effect_open_no_other_prompt(board: Board) -> None:
    """Two orders of one example are the same prompt."""
    shown = {**SEED, "demos": "random", "k": 1, "demo_seed": 0}

    assert board.open({**shown, "demo_order": "drawn"}) == board.open({**shown, "demo_order": "reversed"})


def test_answers_are_written_down_where_they_belong(board: Board) -> None:
    """Scores, attempts, the number of calls, the decision that asked, and the running score of each trial."""
    first, second = board.open(SEED), board.open({**SEED, "template": "xml"})
    picks = [Pick(second, (3, 1)), Pick(first, (1,))]

    board.enter(7, picks, [right(board, 3), wrong(board, 1), right(board, 1)])

    assert [board.scores[second, 3], board.scores[second, 1], board.scores[first, 1]] == [1.0, 0.0, 1.0]
    assert (board.calls, int(board.attempts.sum())) == (3, 3)
    assert {7} == {outcome.step for card in board.cards for outcome in card.answers.values()}
    assert [card.steps for card in board.cards] == [{1: 1.0}, {2: 0.5}]
    assert board.left(second) == [0, 2, *range(4, len(ROWS))]


def test_a_failed_cell_may_be_asked_once_more(board: Board) -> None:
    """After a second failure no more; an answer ends it at once. What came last counts."""
    board.open(SEED)

    board.enter(0, [Pick(0, (0, 1, 2))], [error(board, 0), error(board, 1), right(board, 2)])
    assert board.left(0)[:3] == [0, 1, 3]
    board.enter(1, [Pick(0, (0, 1))], [right(board, 0), error(board, 1)])

    assert board.left(0)[:1] == [3]
    assert board.score(0) == 1.0
    assert (board.trial(0).n, len(board.trial(0).outcomes)) == (2, 3)
    assert board.calls == 5


def test_what_can_be_asked_is_open_and_has_rows_left(board: Board) -> None:
    """Neither closed trials nor those with all rows."""
    for template in ("plain", "xml", "chat"):
        board.open({**SEED, "template": template})
    board.enter(0, [Pick(0, tuple(range(len(ROWS))))], [right(board, row) for row in range(len(ROWS))])
    board.close(1, State.PRUNED, "bad")

    assert board.askable() == [2]


@pytest.mark.parametrize(
    ("failed", "answered", "failing", "lacking"),
    [
        (1, 0, False, True),  # one of one proves nothing
        (4, 0, False, True),
        (5, 0, True, True),
        (5, 21, False, False),
        (6, 20, False, True),  # 6 of 26 are more than a fifth, but may well be chance
        (10, 16, True, True),
    ],
)
def test_a_trial_fails_when_too_many_calls_do(
    board: Board, failed: int, answered: int, failing: bool, lacking: bool
) -> None:
    """More than a fifth once all rows were asked; before, at least five, and more than chance makes of a fifth."""
    board.open(SEED)
    outcomes = [error(board, row) for row in range(failed)]
    outcomes += [right(board, row) for row in range(failed, failed + answered)]

    board.enter(0, [Pick(0, tuple(range(failed + answered)))], outcomes)

    assert (failing, lacking) == (board.cards[0].failing, board.cards[0].lacking)


def test_a_failed_trial_has_no_score(board: Board) -> None:
    """Its reason counts the calls and quotes the first failure."""
    board.open(SEED)
    board.enter(0, [Pick(0, tuple(range(5)))], [error(board, row, f"broken {row}") for row in range(5)])

    board.close(0, State.FAILED, board.cards[0].failure())

    trial = board.trial(0)
    assert (trial.state, trial.reason) == (State.FAILED, "5 of 5 calls failed (broken 0)")
    assert (trial.score, trial.interval, trial.n, dict(trial.steps)) == (None, None, 0, {})
    assert len(trial.outcomes) == 5


def test_a_closed_trial_has_an_interval_and_names_what_is_lacking(board: Board) -> None:
    """The score lies in its interval; failed calls are counted in the reason."""
    board.open(SEED)
    outcomes = [right(board, 0), wrong(board, 1), right(board, 2), error(board, 3)]
    board.enter(0, [Pick(0, (0, 1, 2, 3))], outcomes)
    assert board.trial(0).interval is None

    board.close(0, State.PRUNED, "given up")

    trial = board.trial(0)
    assert trial.reason == "given up; without 1 failed call"
    assert trial.score == pytest.approx(2 / 3)
    assert trial.interval
    assert trial.interval[0] < 2 / 3 < trial.interval[1]


def test_a_metric_of_the_whole_set_is_computed_from_the_answers() -> None:
    """The running score is that metric, not the mean of the rows."""
    board = Board(SPACE, ROWS, METRICS["macro_f1"], 0)
    board.open(SEED)
    rows = tuple(range(8))
    targets = [board.rows[row].target for row in rows]
    assert targets.count("good") == 4

    said = [replace(wrong(board, row), answer="good") if targets[row] == "bad" else right(board, row) for row in rows]
    board.enter(0, [Pick(0, rows)], said)

    # F1 of "good" is 2 * 4 / (8 + 4), that of "bad" 0.
    assert board.score(0) == pytest.approx(1 / 3)
    assert {8: board.score(0)} == board.cards[0].steps


def test_a_trial_under_way_can_be_written_down(board: Board) -> None:
    """With its score so far, and nothing of how it ended."""
    board.open(SEED)
    board.enter(0, [Pick(0, (0, 1))], [replace(right(board, 0), seconds=0.5), replace(wrong(board, 1), seconds=0.25)])

    trial = board.trial(0)

    assert (trial.state, trial.reason, trial.interval) == (State.RUNNING, "", None)
    assert (trial.score, trial.n, trial.seconds) == (0.5, 2, 0.75)
