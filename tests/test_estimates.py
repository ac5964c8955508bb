"""Estimates of prompts on new rows, in a search whose metric is not a mean over rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.engine.board import Board, Pick
from optimizer.engine.estimates import estimate
from optimizer.engine.grid import Grid
from optimizer.records import Kind, Outcome
from optimizer.scores.metrics import get_metric
from search_spaces.prompt import Example
from tests.landscape import space

Flags = NDArray[np.bool_]
LABELS = ("yes", "no")
ROWS = [Example(f"r{i:03d}", (("text", f"text {i}"),), (LABELS[i % 2],)) for i in range(100)]


def answered(rights: Flags, rows: Sequence[Example] = ROWS, asked: Sequence[int] = ()) -> Board:
    """A board on which each prompt was right on these rows [prompts, rows], and said the other label elsewhere.

    `asked` are how many rows each prompt has answered, the first ones; all of them if it is empty.
    """
    board = Board(space(), rows, get_metric("mcc", LABELS), 0)
    grid, rng = Grid(board.space), np.random.default_rng(0)
    while len(board.cards) < len(rights):
        board.open(grid.decode(grid.random(1, rng)[0]))
    counts = asked or [len(rows)] * len(rights)
    picks = [Pick(number, tuple(range(count))) for number, count in enumerate(counts)]
    outcomes = []
    for pick in picks:
        for place in pick.rows:
            row, right = board.rows[place], bool(rights[pick.trial, place])
            said = row.target if right else LABELS[row.target == "yes"]
            outcomes.append(Outcome(row.id, Kind.RIGHT if right else Kind.WRONG, float(right), said))
    board.enter(0, picks, outcomes)
    return board


def test_the_best_by_a_metric_of_the_whole_set_is_estimated_at_what_it_is() -> None:
    """MCC of two equal labels is twice the accuracy less one, so that the winner's luck counts twice as well."""
    raw, off, held = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chances = np.clip(0.75 + 0.04 * rng.standard_normal(25), 0, 1)
        board = answered(rng.random((25, len(ROWS))) < chances[:, None])
        estimate(board)

        best = max(board.cards, key=lambda card: board.score(card.number))
        truth = 2 * chances[best.number] - 1
        raw.append(board.score(best.number) - truth)
        off.append(best.estimate - truth)
        held.append(best.credible[0] <= truth <= best.credible[1])

    assert np.mean(raw) > 0.08
    assert abs(np.mean(off)) < 0.03
    assert np.mean(held) > 0.8


def test_where_the_metric_falls_while_the_rows_mean_rises_nothing_is_turned_round() -> None:
    """Who says yes to all is right on 85 % of the rows and worth nothing; who tells them apart is right on fewer."""
    rows = [Example(f"r{i:03d}", (("text", f"text {i}"),), (LABELS[i >= 85],)) for i in range(100)]
    order = Board(space(), rows, get_metric("mcc", LABELS), 0).rows
    yes, rng = np.array([row.target == "yes" for row in order]), np.random.default_rng(1)
    lazy = [yes] * 3
    keen = [np.where(yes, rng.random(100) < 0.7, rng.random(100) < 0.9) for _ in range(5)]
    board = answered(np.array([*lazy, *keen]), rows)

    estimate(board)

    for card in board.cards:
        assert card.estimate is not None
        assert card.credible is not None
        assert -1 <= card.credible[0] <= card.estimate <= card.credible[1] <= 1
        assert card.gain_credible[0] <= card.gain <= card.gain_credible[1]
    assert min(card.estimate or 0 for card in board.cards[3:]) > max(card.estimate or 0 for card in board.cards[:3])


def test_one_row_says_little_of_a_metric_of_the_whole_set() -> None:
    """MCC of one row is 0 or 1 whatever the prompt: right is estimated above wrong, and nothing above the best."""
    rng = np.random.default_rng(3)
    chances = np.concatenate([np.linspace(0.6, 0.85, 8), np.full(60, 0.7)])
    rights = rng.random((68, len(ROWS))) < chances[:, None]
    board = answered(rights, asked=[*[len(ROWS)] * 8, *[1] * 60])

    estimate(board)

    found = np.array([card.estimate for card in board.cards])
    lucky = rights[8:, 0]
    assert found[8:][lucky].min() > found[8:][~lucky].max()
    assert found[8:].max() < found[:8].max()
    assert abs(found[8:].mean() - 0.4) < 0.1


def test_a_prompt_whose_calls_all_failed_says_nothing_of_the_others() -> None:
    """With few rows for each prompt, too, the others have their estimates."""
    rows, rng = ROWS[:8], np.random.default_rng(4)
    board = answered(rng.random((3, 8)) < 0.7, rows)
    failing = board.open(Grid(board.space).decode(Grid(board.space).random(1, rng)[0]))
    failed = [Outcome(row.id, Kind.ERROR, None, None) for row in board.rows]
    board.enter(1, [Pick(failing, tuple(range(8)))], failed)

    estimate(board)

    assert all(np.isfinite(card.estimate) and np.isfinite(card.credible).all() for card in board.cards[:3])
    assert board.cards[failing].estimate is None
