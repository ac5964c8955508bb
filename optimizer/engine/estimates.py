"""Estimates of what each prompt scores on new rows, corrected for choosing the best, written onto the board's cards."""

from __future__ import annotations

import numpy as np

from optimizer.distributions import critical
from optimizer.engine.board import Board
from optimizer.selection import corrected

LEAST_PROMPTS = 5  # prompts needed to learn how a metric of the whole set moves with the mean row score …
LEAST_ROWS = 10  # … each with at least so many answered rows


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
    """Return how the metric moves with the mean row score: its slope, and a 95 % margin around the line.

    For a metric of the whole set both are fitted to the prompts by least squares. They are 1 and 0 for a mean, or if
    there are too few prompts.
    """
    cards = [card for card in board.cards if len(card.answers) >= LEAST_ROWS]
    if board.metric.mean or len(cards) < LEAST_PROMPTS:
        return 1.0, 0.0
    means = np.array([np.nanmean(board.scores[card.number]) for card in cards])
    scores = np.array([board.score(card.number) for card in cards])
    weights = np.array([len(card.answers) for card in cards]) / sum(len(card.answers) for card in cards)
    away, apart = means - weights @ means, scores - weights @ scores
    slope = max(0.0, float(weights @ (away * apart) / max(weights @ away**2, 1e-9)))  # else intervals would flip
    return slope, critical(0.95) * float(np.sqrt(weights @ (apart - slope * away) ** 2))
