"""Worked demos: training rows that a model has reasoned about and answered correctly, with its reasoning.

Gathered as in STaR (Zelikman et al. 2022), without its second attempt at wrong ones; the model is the task's own, or a
teacher. Uses training rows only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optimizer.engine.board import in_turn
from optimizer.errors import BudgetSpent, ProviderError
from optimizer.evaluate import Answered, Evaluator
from optimizer.phrases import counted
from optimizer.records import Kind
from search_spaces.answering import read_thought
from search_spaces.prompt import Example, Prompt
from search_spaces.space import REASONING_TOKENS, Space

LEFT_OUT = {Kind.WRONG: "wrong", Kind.UNPARSED: "unreadable", Kind.ERROR: "refused by the model"}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is asked: the seed prompt, with reasoning first, on some training rows."""

    prompt: Prompt
    rows: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Worked:
    """The rows that came out right, with their reasoning, and a summary in words."""

    rows: tuple[Example, ...]
    said: str


def lesson(space: Space, count: int, seed: int, room: int | None = None) -> Lesson:
    """Choose what to ask.

    Parameters
    ----------
    space
        Provides the training rows and the seed prompt.
    count
        How many rows to answer, each label in proportion.
    seed
        Draws the rows.
    room
        Maximum tokens of an answer with its reasoning; None leaves it to the prompt.
    """
    rows = in_turn([row for row in space.facts.train if row.targets], seed)[:count]
    prompt = thinking(space.build(space.seed()))
    settings = replace(prompt.settings, max_tokens=room or prompt.settings.max_tokens)
    return Lesson(replace(prompt, settings=settings), tuple(rows))


def work(asked: Lesson, evaluate: Evaluator, refuse: Callable[[str], str], *, begun: bool = False) -> Worked:
    """Answer the rows, and keep those that came out right, with their reasoning.

    Parameters
    ----------
    asked
        The prompt and the rows.
    evaluate
        Buys the answers and scores them.
    refuse
        Returns why a thought may not be shown; empty if it may.
    begun
        Whether a search has begun with these demos: then only answers from before are used, and nothing is bought.

    Raises
    ------
    BudgetSpent, ProviderError
        If the task's own model cannot answer them. What a teacher cannot answer is left out.
    """
    rows, answered, lacking = _answered(asked, evaluate, begun=begun)
    kept: list[Example] = []
    why = Counter({f"not answered{lacking}": len(asked.rows) - len(rows)})
    for row, (_, completion, _), outcome in zip(rows, answered, evaluate.outcomes(rows, answered), strict=True):
        thought = read_thought(completion.text) if outcome.score == 1 else ""
        if completion.error:
            why[f"not answered ({completion.error})"] += 1
        elif outcome.score != 1:
            why[LEFT_OUT.get(outcome.kind, "wrong")] += 1
        elif refused := refuse(thought) if thought else "without a thought":
            why[refused] += 1
        else:
            kept.append(replace(row, reasoning=thought))
    left_out = ", ".join(f"{n} {reason}" for reason, n in why.items() if n)
    told = f"{counted(len(kept), 'training row')} came out right, and may be shown with their reasoning"
    return Worked(tuple(kept), told + (f"; left out: {left_out}" if left_out else ""))


def _answered(asked: Lesson, evaluate: Evaluator, *, begun: bool) -> tuple[Sequence[Example], list[Answered], str]:
    """Answer the rows, or those that were answered before; return also why a teacher could not answer the others."""
    rows, lacking = asked.rows, ""
    if not begun:
        try:
            return rows, evaluate.answer(asked.prompt, rows), lacking
        except (BudgetSpent, ProviderError) as error:
            if not evaluate.ledger.role:
                raise
            lacking = f" ({error})"
    rows = tuple(row for row in rows if not evaluate.missing([(asked.prompt, row)]))
    return rows, evaluate.answer(asked.prompt, rows), lacking


def with_reasoning(rows: Sequence[Example], worked: Sequence[Example]) -> tuple[Example, ...]:
    """Replace rows by their worked versions, which have reasoning."""
    by_id = {row.id: row for row in worked}
    return tuple(by_id.get(row.id, row) for row in rows)


def thinking(prompt: Prompt) -> Prompt:
    """Make a prompt reason first, without demos and in a layout that separates reasoning from the answer."""
    room = prompt.settings.max_tokens + (0 if prompt.reasoning else REASONING_TOKENS)
    settings = replace(prompt.settings, temperature=0.0, max_tokens=room, logprobs=False)
    bare = replace(prompt, template="plain", answer_format="bare", reasoning=True, settings=settings)
    return replace(bare, demos=(), nearest=0)
