"""The front, the standing of a trial and its constraints, as tables, text and JSON.

Takes records, opens no file, prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.front import Held, dominated_by, front, measures, paid
from optimizer.phrases import counted
from optimizer.records import Run, State, Trial
from optimizer.report import dollars, params_text, percent, spread
from optimizer.reports.grids import Grid


def front_grid(run: Run, trials: Sequence[Trial], seed: Mapping[str, Any]) -> Grid:
    """Return a table of the front of these trials; `seed` are the parameters of the seed prompt."""
    priced, rows = paid(trials), []
    for trial in front(trials):
        m = measures(trial.outcomes)
        unlike = {name: value for name, value in trial.params.items() if seed.get(name) != value}
        rows.append(
            (
                f"{trial.number}{' *' if trial.number == run.winner else ''}",
                percent(trial.score),
                spread(trial.interval),
                "–" if not m.known else dollars(m.cost_per_1000) if priced else f"{1000 * m.tokens:,.0f}",
                f"{m.ms_per_1000:,.0f}" if m.known else "–",
                params_text(unlike) if trial.number else "(seed prompt)",
            )
        )
    expense = "$ / 1,000" if priced else "tokens / 1,000"
    columns = ("trial", run.metric, "95 %", expense, "ms / 1,000", "unlike the seed prompt")
    return Grid("Front: no fully scored prompt beats one of these in score, cost and latency", columns, tuple(rows))


def front_record(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the front for JSON."""
    return [
        {
            "trial": trial.number,
            "score": trial.score,
            "interval": trial.interval,
            **asdict(measures(trial.outcomes)),
            "params": dict(trial.params),
        }
        for trial in front(trials)
    ]


def standing(trial: Trial, trials: Sequence[Trial]) -> str:
    """Return a line on whether a trial is on the front; `trials` are those scored on all rows, with their outcomes."""
    if trial.state is not State.COMPLETE:
        return "not compared by cost and latency: it was not scored in full"
    if not any(measures(each.outcomes).known for each in trials if each.number == trial.number):
        return "not compared by cost and latency: nobody knows what a row of it took"
    beaten = dominated_by(trial, trials)
    if beaten is None:
        return "on the front: no other prompt scores as well for less"
    return f"dominated by trial {beaten.number}: that one scores, costs and takes no worse"


# --- constraints ------------------------------------------------------------------------------------------


def constraints_grids(kept: Mapping[str, Sequence[Held]]) -> list[Grid]:
    """Return a table of a prompt's values of the constraints on each split; none without constraints."""
    rows = tuple((_limit(each[0]), *map(_kept, each)) for each in zip(*kept.values(), strict=True))
    columns = ("constraint", *(f"on {'sealed ' if split == 'test' else ''}{split} rows" for split in kept))
    return [Grid("Constraints of the search", columns, rows)] if rows else []


def constraints_record(kept: Mapping[str, Sequence[Held]]) -> dict[str, list[dict[str, Any]]]:
    """Return the same for JSON; whether a constraint is kept is null if no row tells."""
    return {
        split: [
            asdict(held) | {"kept": None if held.value is None else not held.by, "too_few": held.too_few}
            for held in every
        ]
        for split, every in kept.items()
    }


def _limit(held: Held) -> str:
    return {
        "max_cost_per_1000": f"at most ${held.limit:g} per 1,000",
        "max_prompt_tokens": f"at most {held.limit:g} prompt tokens",
        "min_recall": f"recall of {held.label} at least {100 * held.limit:g} %",
    }[held.constraint]


def _kept(held: Held) -> str:
    if held.value is None:
        return "unknown: no row tells"
    value = {
        "max_cost_per_1000": f"${held.value:.4g}",
        "max_prompt_tokens": f"{held.value:.1f}",
        "min_recall": f"{percent(held.value)} (95 % interval {spread(held.interval)})",
    }[held.constraint]
    few = ", too few to tell" if held.too_few else ""
    return f"{'BROKEN' if held.by else 'kept'}: {value} on {counted(held.n, 'row')}{few}"
