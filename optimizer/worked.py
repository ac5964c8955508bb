"""Worked demos: training rows that the model has reasoned about and answered rightly, with what it thought.

As STaR gathers them (Zelikman et al. 2022), without its second try at the wrong ones. Sees training rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimizer.board import in_turn
from optimizer.evaluate import Evaluator
from search_spaces.prompt import Example, Prompt
from search_spaces.space import REASONING_TOKENS, Space
from search_spaces.templates import read_thought


def work(space: Space, evaluate: Evaluator, count: int, seed: int) -> tuple[Example, ...]:
    """Answer training rows with the seed prompt's wording, and say which came out right, with their reasoning.

    Parameters
    ----------
    space
        Whose training rows and seed prompt they are.
    evaluate
        Buys the answers and scores them.
    count
        How many rows to answer, of each label its share.
    seed
        Of their draw.

    Raises
    ------
    BudgetSpent
        If the budget does not cover them.
    """
    rows = in_turn([row for row in space.facts.train if row.targets], seed)[:count]
    answered = evaluate.answer(thinking(space.build(space.seed())), rows)
    outcomes = evaluate.outcomes(rows, answered)
    told = zip(rows, answered, outcomes, strict=True)
    thoughts = [(row, read_thought(completion.text)) for row, (_, completion, _), o in told if o.score == 1]
    return tuple(replace(row, reasoning=thought) for row, thought in thoughts if thought)


def with_reasoning(rows: Sequence[Example], worked: Sequence[Example]) -> tuple[Example, ...]:
    """Put the worked rows in the place of the same rows without reasoning."""
    by_id = {row.id: row for row in worked}
    return tuple(by_id.get(row.id, row) for row in rows)


def thinking(prompt: Prompt) -> Prompt:
    """Let a prompt think first, in a layout whose thoughts can be told from the answer, and without examples."""
    room = prompt.settings.max_tokens + (0 if prompt.reasoning else REASONING_TOKENS)
    settings = replace(prompt.settings, temperature=0.0, max_tokens=room, logprobs=False)
    bare = replace(prompt, template="plain", answer_format="bare", reasoning=True, settings=settings)
    return replace(bare, demos=(), nearest=0)
