"""Ablation: the winner with one ingredient at a time reset to the seed prompt's, to measure what each is worth.

Makes these prompts, buys their answers if the caps allow, and compares on the same dev rows. The prompts are not trials
of the search, so none of them can win. The winner was chosen on these rows, so the differences are biased in its
favour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.engine.grid import Fixed
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Evaluator
from optimizer.records import Ablation, Trial
from optimizer.scoring import compare
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space, Value


@dataclass(frozen=True, slots=True)
class Variant:
    """The winner with one dimension reset."""

    dimension: str
    winner_value: Value
    seed_value: Value
    prompt: Prompt


def variants(space: Space, winner: Trial) -> list[Variant]:
    """Return the winner's variants, one for each dimension whose value differs from the seed prompt's.

    Every dimension has a seed value, even if it does not apply to the seed prompt; a dimension that applies only once
    another is reset gets its seed value.
    """
    chosen = {d.name: winner.params.get(d.name, d.seed) for d in space.dimensions}
    return [
        Variant(d.name, chosen[d.name], d.seed, space.build(space.choose(Fixed({**chosen, d.name: d.seed}))))
        for d in space.dimensions
        if d.name in winner.params and chosen[d.name] != d.seed
    ]


def ablate(
    space: Space, winner: Trial, evaluate: Evaluator, rows: Sequence[Example], seed: int
) -> tuple[tuple[Ablation, ...], str]:
    """Answer all dev rows with the winner and with each of its variants.

    Returns
    -------
    tuple
        What each dimension is worth in the winner, and why some or all were left out (or an empty text).
    """
    left = variants(space, winner)
    if not left:
        return (), ""
    cells = [(prompt, row) for prompt in (winner.prompt, *(v.prompt for v in left)) for row in rows]
    if lacking := evaluate.ledger.budget.lacking(evaluate.reckon(cells, winner.outcomes)):
        return (), lacking
    examples = {row.id: row for row in rows}
    found: list[Ablation] = []
    try:
        # The winner may lack rows. If it is calibrated, it must be read on all rows at once, as its variants are.
        whole = evaluate.rows(winner.prompt, rows)
        for place, variant in enumerate(left):
            outcomes = evaluate.rows(variant.prompt, rows)
            c = compare(evaluate.metric, whole, outcomes, examples, np.random.default_rng([seed, place, 2]))
            values = variant.winner_value, variant.seed_value
            found.append(Ablation(variant.dimension, *values, c.difference, *c.interval, c.p_value))
    except BudgetSpent as spent:
        return tuple(found), str(spent)
    return tuple(found), ""
