"""Estimates of what each prompt scores on new rows, corrected for choosing the best, written onto the board's cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from optimizer.distributions import critical
from optimizer.engine.board import Board
from optimizer.engine.grid import Floats
from optimizer.selection import corrected

LEAST_PROMPTS = 5  # prompts needed to learn how fast a metric of the whole set moves with the mean row score …
LEAST_ROWS = 10  # … each with at least so many answered rows


def estimate(board: Board) -> None:
    """Estimate every prompt's score on new rows, and its gain over the seed prompt, with intervals.

    The metric of a whole set is estimated along a line, from the mean row score. The metric of the rows themselves
    counts in so far as the prompt has answered them: of a few rows it is no more than chance.
    """
    found, line = corrected(board.scores), _moves(board)
    for card in board.cards:
        scores = board.scores[card.number]
        if np.isnan(scores).all():
            continue
        rows = int((~np.isnan(scores)).sum())
        own = (board.score(card.number) - line.at(np.nanmean(scores))) * rows / len(board.rows)
        moved = line.at([found.scores[card.number], *found.limits[card.number]]) + own
        ends = moved[0] + np.copysign(np.hypot(moved[1:] - moved[0], line.margin(rows)), [-1, 1])
        middle, low, high = np.clip([moved[0], *ends], board.metric.low, 1.0).tolist()
        card.estimate, card.credible = middle, (low, high)
        low, high = line.slope * found.gain_limits[card.number]
        card.gain, card.gain_credible = line.slope * float(found.gains[card.number]), (float(low), float(high))


@dataclass(frozen=True, slots=True)
class _Line:
    """How a metric moves with the mean row score; `spread` is its standard deviation around the line for one row."""

    slope: float = 1.0
    level: float = 0.0
    spread: float = 0.0

    def at(self, means: ArrayLike) -> Floats:
        """Return the metric where the mean row score is each of these."""
        return self.level + self.slope * np.asarray(means, dtype=np.float64)

    def margin(self, rows: int) -> float:
        """Return the 95 % margin around the line of a prompt that has answered so many rows."""
        return critical(0.95) * self.spread / float(np.sqrt(rows))


def _moves(board: Board) -> _Line:
    """Fit the line to the prompts, each weighted by its rows; for a mean it is the identity.

    Of too few prompts with enough rows the slope says nothing, and is taken to be 1.
    """
    if board.metric.mean:
        return _Line()
    answered = (~np.isnan(board.scores)).sum(axis=1)
    least = LEAST_ROWS if answered.max() >= LEAST_ROWS else 1
    numbers = [card.number for card in board.cards if answered[card.number] >= least]
    rows = answered[numbers]
    means = np.array([np.nanmean(board.scores[number]) for number in numbers])
    scores = np.array([board.score(number) for number in numbers])
    mean, score = np.average(means, weights=rows), np.average(scores, weights=rows)
    away, apart = means - mean, scores - score
    steep = float((rows * away * apart).sum() / max((rows * away**2).sum(), 1e-9))
    slope = max(0.0, steep) if len(numbers) >= LEAST_PROMPTS else 1.0  # intervals of a falling line would flip
    spread = float(np.sqrt((rows * (apart - slope * away) ** 2).mean()))
    return _Line(slope, float(score - slope * mean), spread)
