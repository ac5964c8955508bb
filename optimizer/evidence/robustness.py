"""Robustness of a score against changes that should not matter: noise in inputs, the order of demos, other wordings.

Makes changed rows and prompts, and summarises their outcomes. Buys nothing.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimizer.distributions import critical
from optimizer.findings import Changed, Steadiness
from optimizer.records import Outcome
from optimizer.scoring import Metric, compare, interval, resampled, summarise
from optimizer.stats import crossed_difference_interval, crossed_interval
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space, Value

ROWS = 200  # most test rows that are changed: they show a difference of ten points, at 200 calls per change
ORDERS = 3  # orders of the demos
WORDINGS = 3  # wordings of the instruction
TYPOS = 0.05  # share of letters: about one word in four has a typo, as in hasty messages
RESAMPLES = 500  # resamples of the rows; a standard error is then accurate to 3 %

Outcomes = Sequence[Outcome]
Floats = NDArray[np.float64]


# --- changes ----------------------------------------------------------------------------------------------


def _spaced(text: str, rng: np.random.Generator) -> str:
    """Replace half of the spaces by two spaces, a tab or a line break, and add some at both ends."""
    others = ("  ", "\t", "\n", " ", " ", " ")
    return " " + "".join(others[rng.integers(len(others))] if letter == " " else letter for letter in text) + "  "


def _cased(text: str, rng: np.random.Generator) -> str:
    """Turn a text into upper case or lower case."""
    return text.upper() if rng.random() < 0.5 else text.lower()


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """Omit, double or replace one letter in twenty, or swap it with the next one."""
    letters, i = list(text), 0
    while i < len(letters):
        if letters[i].isalpha() and rng.random() < TYPOS:
            kind = int(rng.integers(4))
            if kind == 0:
                letters[i] = ""
            elif kind == 1:
                letters[i] *= 2
            elif kind == 2 or i + 1 == len(letters):
                letters[i] = string.ascii_lowercase[int(rng.integers(26))]
            else:
                letters[i], letters[i + 1] = letters[i + 1], letters[i]
                i += 1
        i += 1
    return "".join(letters)


NOISE: Mapping[str, Callable[[str, np.random.Generator], str]] = {
    "white space": _spaced,
    "case": _cased,
    "typos": _mistyped,
}


def noisy(rows: Sequence[Example], rng: np.random.Generator) -> dict[str, list[Example]]:
    """Return the first 200 rows with each kind of noise in their inputs; ids and targets stay."""
    return {
        kind: [
            replace(row, inputs=tuple((name, change(text, rng)) for name, text in row.inputs)) for row in rows[:ROWS]
        ]
        for kind, change in NOISE.items()
    }


def reworked(prompt: Prompt, params: Mapping[str, Value], space: Space, rng: np.random.Generator) -> dict[str, Prompt]:
    """Return a prompt with its demos in other orders, and with other wordings of its instruction from its space.

    Demos that are chosen for each input are only reversed. Without several demos or other wordings, that part is left
    out.
    """
    found: dict[str, Prompt] = {}
    if prompt.nearest > 1:
        found["demos turned round"] = replace(prompt, nearest_last=not prompt.nearest_last)
    elif len(prompt.demos) > 1:
        for draw, order in enumerate(_orders(len(prompt.demos), rng), start=1):
            found[f"demo order {draw}"] = replace(prompt, demos=tuple(prompt.demos[i] for i in order))
    dimension = next((d for d in space.dimensions if d.name == "instruction"), None)
    mine = params.get("instruction")
    others = [wording for wording in dimension.choices if wording != mine] if dimension and mine is not None else []
    for pick in sorted(rng.permutation(len(others))[:WORDINGS]):
        wording = others[int(pick)]
        other = space.build({**params, "instruction": wording})
        found[f"instruction {wording}"] = replace(prompt, instruction=other.instruction)
    return found


def _orders(count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Draw different orders of so many items, other than the present one: a few, or all that exist."""
    known = [tuple(range(count))]
    while len(known) <= min(ORDERS, math.factorial(count) - 1):
        order = tuple(int(i) for i in rng.permutation(count))
        if order not in known:
            known.append(order)
    return known[1:]


def most_calls(rows: int) -> tuple[int, int]:
    """Return the least and the most calls that the changes of a prompt take with so many test rows."""
    used = min(rows, ROWS)
    return len(NOISE) * used, (len(NOISE) + ORDERS + WORDINGS) * used


# --- what came of them ------------------------------------------------------------------------------------


def measure(
    name: str,
    before: Outcomes,
    after: Mapping[str, Outcomes],
    rows: Sequence[Example],
    metric: Metric,
    rng: np.random.Generator,
) -> tuple[list[Changed], Steadiness | None]:
    """Compare a contender under each change with itself on the same rows unchanged, and summarise.

    Parameters
    ----------
    name
        The contender's name.
    before
        Its outcomes without a change.
    after
        Change -> its outcomes with it.
    rows
        The rows.
    metric
        The metric.
    rng
        Draws resamples.

    Returns
    -------
    tuple
        Each change, and their mean and worst; None if no row was answered under all changes.

    Notes
    -----
    The mean treats both changes and rows as random samples (`stats.crossed_interval`). The worst of many differences is
    low by chance, so its interval is that of the paired difference, widened to hold for all changes simultaneously
    (Bonferroni).
    """
    examples, changed = {row.id: row for row in rows}, []
    known = {outcome.example_id for outcome in before if outcome.score is not None}
    for change, outcomes in after.items():
        scored = [outcome for outcome in outcomes if outcome.score is not None and outcome.example_id in known]
        score = summarise(metric, scored, examples)
        if score is None:
            continue
        c = compare(metric, scored, before, examples, rng)
        limits = interval(metric, scored, examples, rng)
        changed.append(Changed(name, change, len(scored), score, limits, c.difference, c.interval))
    every = [before, *after.values()]
    shared = set.intersection(*({o.example_id for o in outcomes if o.score is not None} for outcomes in every))
    if not changed or not shared:
        return changed, None
    kept = [[o for o in outcomes if o.example_id in shared] for outcomes in every]
    return changed, _summed(changed, *resampled(metric, kept, examples, rng, resamples=RESAMPLES), len(shared), metric)


def _summed(changed: Sequence[Changed], observed: Floats, drawn: Floats, n: int, metric: Metric) -> Steadiness:
    """Summarise changes, from the metric unchanged and under each [1 + changes], and its resamples [1 + changes, b]."""
    mean, most = drawn[1:].mean(axis=0), 1 - metric.low
    gaps = observed[1:] - observed[0]
    worst = min(changed, key=lambda each: each.difference)
    wider = critical(1 - 0.05 / len(changed)) / critical(0.95)
    low, high = (worst.difference + wider * (limit - worst.difference) for limit in worst.difference_interval)
    return Steadiness(
        worst.name,
        len(changed),
        float(observed[1:].mean()),
        crossed_interval(observed[1:], mean, n, low=metric.low),
        float(gaps.mean()),
        crossed_difference_interval(gaps, mean - drawn[0], n, most=most),
        worst.change,
        worst.score,
        worst.difference,
        (max(-most, low), min(most, high)),
    )


def sentence(found: Sequence[Steadiness]) -> str:
    """Return a sentence on how robust the contenders are."""
    said = [
        f"the {each.name} {100 * each.mean:z.1f} % in the mean ({100 * each.difference:+z.1f} points, "
        f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f}) and "
        f"{100 * each.worst_score:z.1f} % at worst ({each.worst}: {100 * each.worst_difference:+z.1f} points, "
        f"{100 * each.worst_interval[0]:+.1f} to {100 * each.worst_interval[1]:+.1f})"
        for each in found
    ]
    return f"Under changes that should not matter: {'; '.join(said)}." if said else ""
