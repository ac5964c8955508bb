"""A synthetic landscape with known truth: a small space of prompts, rows, and answers that are drawn once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from optimizer.errors import BudgetSpent
from optimizer.records import Kind, Outcome
from optimizer.search import Cell
from search_spaces.opening import load_space
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Facts, Space

LABELS = ("good", "bad")
TRAIN = tuple(Example(f"t{i}", (("text", f"row {i} word{i % 7}"),), (LABELS[i % 2],)) for i in range(30))
DEV = tuple(Example(f"d{i}", (("text", f"dev {i}"),), (LABELS[i % 2],)) for i in range(96))


def space(**changes: object) -> Space:
    """A small space of classification prompts."""
    narrowed = {
        "template": ["plain", "markdown", "xml", "chat"],
        "persona": "none",
        "caution": "none",
        "instruction": ["direct", "decide", "single"],
        "demo_seed": [0, 1],
        "temperature": 0.0,
        "calibration": "off",
    }
    return load_space(Facts("classification", ("text",), "label", TRAIN, LABELS), {**narrowed, **changes})


def smooth(prompt: Prompt) -> float:
    """Accuracy that each ingredient adds to."""
    value = 0.45 + 0.012 * min(len(prompt.demos) if not prompt.nearest else prompt.nearest, 16)
    value += {"plain": 0.0, "markdown": 0.03, "xml": 0.1, "chat": 0.06}[prompt.template]
    return value + (0.1 if prompt.nearest else 0.0) + (0.05 if prompt.answer_format == "json" else 0.0)


def never(_prompt: Prompt, _row: Example, _attempt: int) -> bool:
    """No call fails."""
    return False


@dataclass
class Landscape:
    """Answers for a prompt with a known accuracy; the same prompt and row always get the same answer.

    `fails` says of a prompt, a row and the number of the attempt whether that call fails; `graded` makes scores lie
    between 0 and 1. `log` holds what was asked together, with its outcomes.
    """

    truth: Callable[[Prompt], float] = smooth
    budget: int = 10**9
    graded: bool = False
    fails: Callable[[Prompt, Example, int], bool] = never
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    log: list[list[tuple[Cell, Outcome]]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many cells were asked."""
        return self.asked.total()

    def __call__(self, cells: Sequence[Cell]) -> list[Outcome]:
        """Score cells."""
        if self.calls + len(cells) > self.budget:
            raise BudgetSpent(f"the budget of {self.budget} calls is used up")
        outcomes = [self._answer(prompt, row) for prompt, row in cells]
        self.log.append(list(zip(cells, outcomes, strict=True)))
        return outcomes

    def _answer(self, prompt: Prompt, row: Example) -> Outcome:
        self.asked[prompt.digest, row.id] += 1
        if self.fails(prompt, row, self.asked[prompt.digest, row.id]):
            return Outcome(row.id, Kind.ERROR, None, None, text="overloaded")
        # Rows differ in difficulty: half of what decides an answer is the row's own.
        ease, luck = random.Random(row.id).random(), random.Random(prompt.digest + row.id).random()
        lead = self.truth(prompt) - 0.5 * ease - 0.5 * luck
        score = min(1.0, max(0.0, round(0.5 + lead, 3))) if self.graded else float(lead > 0)
        kind, answer = (Kind.RIGHT, row.target) if score == 1.0 else (Kind.WRONG, "other")
        return Outcome(row.id, kind, score, answer)
