"""What each prompt of a search is worth on new rows, the choice of the best allowed for: onto the board's cards."""

from __future__ import annotations

import numpy as np

from optimizer.distributions import critical
from optimizer.engine.board import Board
from optimizer.selection import corrected

LEAST_PROMPTS = 5  # prompts by which it is learnt how a metric of the whole set moves with the rows' mean score …
LEAST_ROWS = 10  # … of those that have answered so many


def estimate(board: Board) -> None:
    """Estimate every prompt's score on new rows, and its gain over the seed prompt, with intervals."""
    found, (slope, rest) = corrected(board.scores), _moves(board)
    for card in board.cards:
        scores = board.scores[card.number]
        if np.isnan(scores).all():
            continue
        score, mean = board.score(card.number), float(np.nanmean(scores))
        moved = score + slope * (np.array([found.scores[card.number], *found.limits[card.number]]) - mean)
        ends = moved[0] + np.copysign(np.hypot(moved[1:] - moved[0], rest), [-1, 1])
        middle, low, high = np.clip([moved[0], *ends], board.metric.low, 1.0).tolist()
        card.estimate, card.credible = middle, (low, high)
        low, high = slope * found.gain_limits[card.number]
        card.gain, card.gain_credible = slope * float(found.gains[card.number]), (float(low), float(high))


def _moves(board: Board) -> tuple[float, float]:
    """How the metric moves with the rows' mean score: its slope, and how far off that may be, at 95 %.

    1 and nothing for a mean; for a metric of the whole set what the prompts themselves say, by least squares.
    """
    cards = [card for card in board.cards if len(card.answers) >= LEAST_ROWS]
    if board.metric.mean or len(cards) < LEAST_PROMPTS:
        return 1.0, 0.0
    means = np.array([np.nanmean(board.scores[card.number]) for card in cards])
    scores = np.array([board.score(card.number) for card in cards])
    weights = np.array([len(card.answers) for card in cards]) / sum(len(card.answers) for card in cards)
    away, apart = means - weights @ means, scores - weights @ scores
    slope = max(0.0, float(weights @ (away * apart) / max(weights @ away**2, 1e-9)))  # less would turn intervals round
    return slope, critical(0.95) * float(np.sqrt(weights @ (apart - slope * away) ** 2))
