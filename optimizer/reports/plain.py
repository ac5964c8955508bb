"""Records as other programs take them: JSON without outcomes, and CSV. Takes records, opens nothing, prints nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.evidence.money import break_even
from optimizer.records import Run, Trial, Verdict
from optimizer.reports.grids import Grid, as_csv
from search_spaces.prompt import Example


def trial_record(trial: Trial, cost: tuple[int, float | None] = (0, 0.0)) -> dict[str, Any]:
    """Give a trial as JSON takes it, without its outcomes."""
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
    """Give trials as plain numbers, for other programs; parameters as JSON."""
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
    """Give a run as JSON takes it."""
    return asdict(run)


def verdict_record(verdict: Verdict | None) -> dict[str, Any] | None:
    """Give a verdict as JSON takes it, without its outcomes."""
    if verdict is None:
        return None
    record = asdict(verdict)
    for contender in record["contenders"]:
        del contender["outcomes"]
    if len(verdict.bills) == 2:
        record["break_even"] = asdict(break_even(*verdict.bills))
    return record


def answers_csv(rows: Sequence[Example], answers: Sequence[str | None], inputs: Sequence[str], target: str) -> str:
    """Write rows with their answers as CSV; an answer that could not be had is empty.

    The columns are id, inputs, the target where a row has one (a list of several accepted answers as JSON), and
    `<target>_predicted`.
    """
    known = any(row.targets for row in rows)
    values = [
        (row.id, *(value for _, value in row.inputs), *([_wanted(row)] if known else []), answer or "")
        for row, answer in zip(rows, answers, strict=True)
    ]
    columns = ("id", *inputs, *([target] if known else []), f"{target}_predicted")
    return as_csv(Grid("Answers", columns, tuple(values)))


def _wanted(row: Example) -> str:
    return json.dumps(row.targets, ensure_ascii=False) if len(row.targets) > 1 else row.target
