"""What a prompt will cost, predicted before it is asked: a ridge regression of log amounts on the features of a space.

    log amount(prompt c, row e) = base + table at c's features + residual of c + residual of e

Costs, tokens and seconds multiply: a long input makes every prompt dearer. The table has the form of `grid`'s tables,
so that a function over the space minus a multiple of an amount is again such a function. Arrays in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.engine.grid import Codes, Floats
from optimizer.engine.surrogate import onehot

SWEEPS = 4  # rounds of backfitting (Hastie and Tibshirani 1990, ch. 4); the third changes the third digit
RIDGE = 0.3  # ridge penalty, in observations per level: a random start has ten or more of each
OWN = 2.0  # rows after which a prompt's own mean outweighs the prediction from its features
EVEN = 0.01  # amounts whose logarithms spread by less than this count as equal


@dataclass(frozen=True, slots=True)
class Amount:
    """The logarithm of a prompt's mean amount over all rows.

    `opened` [n] holds it for the prompts seen so far. For any other prompt it is `base` plus the sum of `table` [width]
    at the prompt's features.
    """

    opened: Floats
    base: float
    table: Floats

    @property
    def spread(self) -> float:
        """The standard deviation of the log amounts between prompts."""
        return float(self.opened.std())

    def predict(self, codes: Codes) -> float:
        """Predict the log amount of one prompt [dimensions]; -1 where a dimension does not apply."""
        return self.base + float(self.table[codes[codes >= 0]].sum())


def amount(codes: Codes, cells: Floats, width: int) -> Amount | None:
    """Fit the amounts `cells` [n, rows] of prompts [n, dimensions]; NaN where a row was not asked.

    None if no amount is above 0: a price may be zero, and a call may be too short for the clock.
    """
    known = cells > 0  # NaN is not
    if not known.any():
        return None
    logs = np.log(np.where(known, cells, 1.0))
    n, m = known.sum(axis=1), known.sum(axis=0)
    share = n / (n + OWN)
    x = onehot(codes, width)
    base = float(logs.sum() / known.sum())
    inverse = np.linalg.inv(x.T @ (share[:, None] * x) + RIDGE * np.eye(width))
    levels = np.zeros(len(cells))
    for _ in range(SWEEPS):
        rows = (known * (logs - base - levels[:, None])).sum(axis=0) / (m + 1)
        means = (known * (logs - base - rows)).sum(axis=1) / np.maximum(1, n)
        table = inverse @ (x.T @ (share * means))
        levels = x @ table + share * (means - x @ table)
    base += float(np.log(np.exp(rows).mean()))  # a mean of amounts, not of their logarithms
    full = n == cells.shape[1]
    exact = np.log(np.where(full[:, None], np.nan_to_num(cells), 1.0).mean(axis=1))
    return Amount(np.where(full, exact, base + levels), base, table)
