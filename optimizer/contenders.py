"""The names of a verdict's contenders, and when one counts as better than another."""

from __future__ import annotations

from optimizer.records import Contender, Verdict

SEED, BEST, RIVAL, CASCADE = "seed prompt", "best prompt", "trained baseline", "cascade"
DISTILLED, HINTED, PICKED = "distilled baseline", "hinted prompt", "prompt with picked demos"
TUNED = "tuned model with its own prompt"
LEVEL = 0.05  # a difference counts as shown if its p-value is below this


def rivalled(verdict: Verdict) -> Contender:
    """Return the prompt that the rival is compared with: the best one, or the seed prompt if none is better."""
    return next(c for name in (BEST, SEED) for c in verdict.contenders if c.name == name)
