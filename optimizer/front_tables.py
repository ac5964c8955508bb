"""The front and the standing of a trial, as tables, text and JSON. Takes records, opens nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.front import dominated_by, front, measures, paid
from optimizer.records import Run, State, Trial
from optimizer.report import Grid, dollars, params_text, percent, spread


def front_grid(run: Run, trials: Sequence[Trial], seed: Mapping[str, Any]) -> Grid:
    """Show the front of these trials; `seed` are the parameters of the seed prompt."""
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
    """Give the front as JSON takes it."""
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
    """Say where a trial stands among those scored in full, which are given with their outcomes."""
    if trial.state is not State.COMPLETE:
        return "not compared by cost and latency: it was not scored in full"
    if not any(measures(each.outcomes).known for each in trials if each.number == trial.number):
        return "not compared by cost and latency: nobody knows what a row of it took"
    beaten = dominated_by(trial, trials)
    if beaten is None:
        return "on the front: no other prompt scores as well for less"
    return f"dominated by trial {beaten.number}: that one scores, costs and takes no worse"
