"""Records for other programs: JSON without outcomes, and CSV. Takes records, opens no file, prints nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.evidence.money import break_even
from optimizer.records import Run, Trial, Verdict
from optimizer.reports.grids import Grid, as_csv
from optimizer.rows.tables import Table


def trial_record(trial: Trial, cost: tuple[int, float | None] = (0, 0.0)) -> dict[str, Any]:
    """Return a trial for JSON, without its outcomes."""
    low, high = trial.credible or (None, None)
    return {
        "trial": trial.number,
        "state": trial.state.value,
        "score": trial.score,
        "interval": trial.interval,
        "estimate": trial.estimate,
        "estimate_low": low,
        "estimate_high": high,
        "rows": trial.n,
        "calls": cost[0],
        "cost": cost[1],
        "params": dict(trial.params),
        "steps": {str(n): score for n, score in trial.steps.items()},
        "reason": trial.reason,
        "seconds": trial.seconds,
    }


def trials_csv(trials: Sequence[Trial], costs: Mapping[int, tuple[int, float | None]]) -> Grid:
    """Return a table of trials with plain numbers, and parameters as JSON, for other programs."""
    columns = (
        *("trial", "state", "score", "low", "high", "rows", "estimate", "estimate_low", "estimate_high"),
        *("calls", "cost", "seconds", "reason", "params"),
    )
    rows = []
    for trial in trials:
        scored = [trial.score, *(trial.interval or (None, None)), trial.n]
        estimate = [trial.estimate, *(trial.credible or (None, None))]
        bought = [*costs.get(trial.number, (0, 0.0)), trial.seconds]
        values = [trial.number, trial.state.value, *scored, *estimate, *bought]
        cells = ["" if value is None else str(value) for value in values]
        rows.append((*cells, trial.reason, json.dumps(dict(trial.params), ensure_ascii=False)))
    return Grid("Trials", columns, tuple(rows))


def run_record(run: Run) -> dict[str, Any]:
    """Return a run for JSON."""
    return asdict(run)


def verdict_record(verdict: Verdict | None) -> dict[str, Any] | None:
    """Return a verdict for JSON, without its outcomes."""
    if verdict is None:
        return None
    record = asdict(verdict)
    for contender in record["contenders"]:
        del contender["outcomes"]
    if len(verdict.bills) == 2:
        record["break_even"] = asdict(break_even(*verdict.bills))
    return record


def table_csv(table: Table) -> str:
    """Return rows with all their columns as CSV."""
    rows = (tuple(row[name] for name in table.columns) for row in table.rows)
    return as_csv(Grid("Rows", table.columns, tuple(rows)))
