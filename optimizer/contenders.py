"""What the contenders of a verdict are called, and when one is said to be ahead of another."""

from __future__ import annotations

from optimizer.records import Contender, Verdict

SEED, BEST, RIVAL, CASCADE = "seed prompt", "best prompt", "trained baseline", "cascade"
DISTILLED, HINTED, PICKED = "distilled baseline", "hinted prompt", "prompt with picked demos"
TUNED = "tuned model with its own prompt"
LEVEL = 0.05  # a difference is said to be shown below this p-value


def rivalled(verdict: Verdict) -> Contender:
    """Find the prompt that the rival is compared with: the best one, or the seed prompt if no better was found."""
    return next(c for name in (BEST, SEED) for c in verdict.contenders if c.name == name)
