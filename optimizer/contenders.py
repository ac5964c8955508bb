"""The names of a verdict's contenders, and when one counts as better than another."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.records import Contender, Verdict

SEED, BEST, RIVAL, CASCADE = "seed prompt", "best prompt", "trained baseline", "cascade"
DISTILLED, HINTED, PICKED = "distilled baseline", "hinted prompt", "prompt with picked demos"
TUNED = "tuned model with its own prompt"
LEVEL = 0.05  # a difference counts as shown if its p-value is below this


def rivalled(verdict: Verdict) -> Contender:
    """Return the prompt that the rival is compared with: the best one, or the seed prompt if none is better."""
    return next(c for name in (BEST, SEED) for c in verdict.contenders if c.name == name)


def shared(contenders: Sequence[Contender], a: str, b: str) -> int:
    """Count the rows on which two contenders both have a score: their difference is that on these rows."""
    rows = _scored(contenders, a, b)
    return len(set.intersection(*rows)) if rows else 0


def on_both(contenders: Sequence[Contender], a: str, b: str) -> str:
    """Return on which rows two contenders are compared, if their own scores are those on other rows; else nothing."""
    n = shared(contenders, a, b)
    same = all(len(rows) == n for rows in _scored(contenders, a, b))
    return "" if same else f" on the {n:,} rows that both answered"


def _scored(contenders: Sequence[Contender], a: str, b: str) -> list[set[str]]:
    """List the rows on which each of two contenders has a score."""
    return [{o.example_id for o in c.outcomes if o.score is not None} for c in contenders if c.name in {a, b}]
