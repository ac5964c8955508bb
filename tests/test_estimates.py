"""What prompts are worth on new rows, on the board of a search whose metric is no mean over rows."""

from __future__ import annotations

import numpy as np

from optimizer.board import Board, Pick
from optimizer.estimates import estimate
from optimizer.grid import Floats, Grid
from optimizer.metrics import get_metric
from optimizer.records import Kind, Outcome
from search_spaces.prompt import Example
from tests.landscape import space

LABELS = ("yes", "no")
ROWS = [Example(f"r{i:03d}", (("text", f"text {i}"),), (LABELS[i % 2],)) for i in range(100)]


def answered(rng: np.random.Generator, chances: Floats) -> Board:
    """A board on which each prompt was right on every row with its own chance."""
    board = Board(space(), ROWS, get_metric("mcc", LABELS), 0)
    grid = Grid(board.space)
    while len(board.cards) < len(chances):
        board.open(grid.decode(grid.random(1, rng)[0]))
    picks = [Pick(number, tuple(range(len(ROWS)))) for number in range(len(chances))]
    outcomes = []
    for pick, chance in zip(picks, chances, strict=True):
        for place in pick.rows:
            row, right = board.rows[place], rng.random() < chance
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
        board = answered(rng, chances)
        estimate(board)

        best = max(board.cards, key=lambda card: board.score(card.number))
        truth = 2 * chances[best.number] - 1
        raw.append(board.score(best.number) - truth)
        off.append(best.estimate - truth)
        held.append(best.credible[0] <= truth <= best.credible[1])

    assert np.mean(raw) > 0.08
    assert abs(np.mean(off)) < 0.03
    assert np.mean(held) > 0.8
