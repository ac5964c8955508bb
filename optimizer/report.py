"""Records -> tables and text. Takes records, opens nothing, prints nothing.

A `Grid` is a table before it is drawn: the command line draws it in a terminal, the page (`pages`) as HTML, and both
show the same figures.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.contenders import BEST, CASCADE, DISTILLED
from optimizer.phrases import amount, counted
from optimizer.records import Ablation, Comparison, Contender, Importance, Outcome, Run, State, Trial, Verdict
from optimizer.reports.grids import Grid
from search_spaces.prompt import Example

FINE = 0.02  # below two points a tenth of one counts


def percent(value: float | None) -> str:
    """Write a score in [0, 1]."""
    return "–" if value is None else f"{100 * value:z.1f} %"


def spread(interval: tuple[float, float] | None) -> str:
    """Write a 95 % interval of a score."""
    return "–" if interval is None else f"{100 * interval[0]:z.1f}–{100 * interval[1]:z.1f}"


def shows(what: str, gain: float) -> str:
    """Say of rows that they can show something from so much on; 1 is nothing at all."""
    if gain >= 1:
        return "are too few to show any"
    return f"can show {what} from about {100 * gain:.{1 if gain < FINE else 0}f} points"


def estimated(trial: Trial) -> str:
    """Write what a trial's score on new rows is estimated at."""
    return percent(trial.estimate) + (f" ({spread(trial.credible)})" if trial.credible else "")


def on_dev(trial: Trial) -> str:
    """Write what a trial scored on dev rows, and what to expect of it: the best of many was lucky too."""
    foreseen = "" if trial.estimate is None else f", estimated at {estimated(trial)} on new rows"
    return f"{percent(trial.score)} ({spread(trial.interval)}){foreseen}"


def dollars(value: float | None) -> str:
    """Write an amount; what is not known is not zero."""
    return "unknown" if value is None else amount(value)


def and_failed(failed: int, usd: float | None) -> str:
    """Write, behind what was bought, how many attempts gave no answer and what they cost; nothing if none failed."""
    return f", {counted(failed, 'attempt')} failed ({dollars(usd)})" if failed else ""


def run_failed(run: Run) -> str:
    """Write the same of a run."""
    return and_failed(run.failed, None if run.cost is None else run.failed_cost)


def minute(at: str) -> str:
    """Write a time, which is UTC in ISO 8601, to the minute."""
    return at[:16].replace("T", " ")


def runs_grid(runs: Sequence[Run]) -> Grid:
    """Show the runs, the latest first."""
    rows = tuple(
        (
            str(run.id),
            run.name,
            run.model,
            run.metric,
            run.status,
            minute(run.started),
            "–" if run.winner is None else str(run.winner),
            f"{run.bought:,}",
            f"{run.reused:,}",
            dollars(run.cost),
        )
        for run in runs
    )
    columns = ("run", "task", "model", "metric", "status", "started (UTC)", "winner", "bought", "reused", "cost")
    return Grid("Runs", columns, rows)


def trials_grid(
    run: Run, trials: Sequence[Trial], costs: Mapping[int, tuple[int, float | None]], seed: Mapping[str, Any]
) -> Grid:
    """Show trials: score with n and interval, what it is estimated at, state, cost, parameters, why it ended.

    Of the parameters those that are not the seed prompt's.
    """
    rows = tuple(
        (
            f"{trial.number}{' *' if trial.number == run.winner else ''}",
            percent(trial.score),
            spread(trial.interval),
            str(trial.n),
            estimated(trial),
            trial.state.value,
            dollars(costs.get(trial.number, (0, 0.0))[1]),
            params_text({name: value for name, value in trial.params.items() if seed.get(name) != value})
            if trial.number
            else "(seed prompt)",
            trial.reason,
        )
        for trial in trials
    )
    columns = (
        *("trial", run.metric, "95 %", "rows", "estimate (95 %)"),
        *("state", "cost", "unlike the seed prompt", "why it ended"),
    )
    return Grid(f"Run {run.id}: {run.name} on {run.model} (* = winner)", columns, rows)


def best_first(trial: Trial) -> tuple[bool, bool, float, int]:
    """Order trials: fully scored ones by their score, then the others by estimate, and those without one by score."""
    complete = trial.state is State.COMPLETE
    known = trial.score if complete else trial.estimate
    value = trial.score if known is None else known
    return not complete, known is None, -(value or 0.0), trial.number


def params_text(params: Mapping[str, Any]) -> str:
    """Write parameters in a line, leaving out what says nothing."""
    return " ".join(f"{name}={value}" for name, value in params.items() if value not in ("none", "off", 0.0))


def verdict_grid(verdict: Verdict) -> Grid:
    """Show the contenders on the sealed test rows."""
    rows = tuple(_contender_row(contender) for contender in verdict.contenders)
    columns = ("contender", verdict.metric, "95 %", "rows", "$ / 1,000", "ms / 1,000", "train rows")
    return Grid("Verdict on the sealed test rows", columns, rows)


def _contender_row(contender: Contender) -> tuple[str, ...]:
    told = contender.name in {BEST, CASCADE, DISTILLED}
    return (
        f"{contender.name} ({contender.detail})" if told else contender.name,
        percent(contender.score),
        spread(contender.interval),
        str(contender.n),
        dollars(contender.cost_per_1000),
        f"{contender.ms_per_1000:,.0f}",
        str(contender.train_rows),
    )


def comparisons_grid(verdict: Verdict) -> Grid:
    """Show the paired comparisons."""
    rows = tuple(comparison_row(comparison) for comparison in verdict.comparisons)
    return Grid("Paired comparisons", ("comparison", "points", "95 %", "p", "test"), rows)


def comparison_row(comparison: Comparison) -> tuple[str, ...]:
    """Write a comparison into the columns comparison, points, 95 %, p and test."""
    return (
        f"{comparison.a} − {comparison.b}",
        f"{100 * comparison.difference:+z.1f}",
        f"{100 * comparison.interval[0]:+.1f} to {100 * comparison.interval[1]:+.1f}",
        f"{comparison.p_value:.2g}",
        comparison.test,
    )


def worth_grids(importances: Sequence[Importance], ablations: Sequence[Ablation]) -> list[Grid]:
    """Show what each dimension is worth: over the whole space, and in the winner."""
    spaced = tuple(
        (
            i.dimension,
            f"{percent(i.share)} ({spread((i.low, i.high))})",
            percent(i.total),
            str(i.best),
            f"{_points(i.gain)} ({_points(i.gain_low)} to {_points(i.gain_high)})",
        )
        for i in importances
    )
    ablated = tuple(
        (
            a.dimension,
            str(a.winner_value),
            str(a.seed_value),
            _points(a.difference),
            f"{_points(a.low)} to {_points(a.high)}",
            f"{a.p_value:.2g}",
        )
        for a in ablations
    )
    explains = ("ingredient", "explains alone (95 %)", "with others", "best", "points over the seed prompt's (95 %)")
    lost = ("ingredient", "winner", "set back to", "points lost", "95 %", "p")
    grids = Grid("Which ingredient paid", explains, spaced), Grid("The winner without it", lost, ablated)
    return [grid for grid in grids if grid.rows]


def _points(difference: float) -> str:
    return f"{100 * difference:+z.1f}"


def slices_grid(verdict: Verdict, slices: Mapping[str, Mapping[str, str]], column: str) -> Grid:
    """Show the contenders' mean row scores by the values of a column. `slices` maps row id -> {column: value}."""
    values = sorted({row[column] for row in slices.values() if column in row})
    rows = tuple((value, *_slice_cells(verdict, slices, column, value)) for value in values)
    return Grid(f"By {column}", (column, "rows", *(contender.name for contender in verdict.contenders)), rows)


def _slice_cells(verdict: Verdict, slices: Mapping[str, Mapping[str, str]], column: str, value: str) -> tuple[str, ...]:
    scores = [
        [o.score for o in c.outcomes if o.score is not None and slices.get(o.example_id, {}).get(column) == value]
        for c in verdict.contenders
    ]
    means = [percent(sum(scored) / len(scored)) if scored else "–" for scored in scores]
    return (str(len(scores[0]) if scores else 0), *means)


def prompt_diff(seed: str, other: str, names: tuple[str, str] = ("seed prompt", "this prompt")) -> str:
    """Show how a prompt's text differs from the seed prompt's, or another's: a unified diff, or an empty text."""
    lines = difflib.unified_diff(seed.splitlines(), other.splitlines(), *names, lineterm="")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Change:
    """A row on which a prompt and the seed prompt, or whichever it is compared with, part ways."""

    example_id: str
    text: str
    wanted: str
    seed_answer: str
    answer: str


def changes(
    seed: Sequence[Outcome], other: Sequence[Outcome], examples: Mapping[str, Example]
) -> tuple[list[Change], list[Change]]:
    """List the rows that a trial fixed and those that it broke, against the seed prompt on the same rows."""
    before = {outcome.example_id: outcome for outcome in seed}
    fixed: list[Change] = []
    broken: list[Change] = []
    for outcome in other:
        old = before.get(outcome.example_id)
        if old is None or old.score is None or outcome.score is None or old.score == outcome.score:
            continue
        example = examples[outcome.example_id]
        said = (old.answer or "(unreadable)", outcome.answer or "(unreadable)")
        change = Change(example.id, example.text, example.target, *said)
        (fixed if outcome.score > old.score else broken).append(change)
    return fixed, broken


def changes_grid(
    title: str, rows: Sequence[Change], most: int, names: tuple[str, str] = ("seed prompt", "this prompt")
) -> Grid:
    """Show fixed or broken rows, at most so many."""
    some = f", of which {most} are shown" if most < len(rows) else ""
    shown = tuple((row.example_id, row.text, row.wanted, row.seed_answer, row.answer) for row in rows[:most])
    columns = ("row", "text", "wanted", f"{names[0]} said", f"{names[1]} says")
    return Grid(f"{title}: {len(rows)}{some}", columns, shown)
