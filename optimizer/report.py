"""Turning records into tables and text. Opens no file, prints nothing.

A `Grid` is a table before it is drawn: the command line draws it in a terminal, `pages` as HTML, with the same figures.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.contenders import BEST, CASCADE, DISTILLED, on_both
from optimizer.phrases import amount, counted
from optimizer.records import Ablation, Comparison, Contender, Importance, Outcome, Run, State, Trial, Verdict
from optimizer.reports.grids import Grid
from search_spaces.prompt import Example

FINE = 0.02  # gains below this are written with one decimal place


def percent(value: float | None) -> str:
    """Format a score in [0, 1] as a percentage."""
    return "–" if value is None else f"{100 * value:z.1f} %"


def spread(interval: tuple[float, float] | None) -> str:
    """Format an interval of a score."""
    return "–" if interval is None else f"{100 * interval[0]:z.1f}–{100 * interval[1]:z.1f}"


def shows(what: str, gain: float) -> str:
    """Return from which size on rows can show gains or differences (`what`); a `gain` of 1 means none."""
    if gain >= 1:
        return "are too few to show any"
    return f"can show {what} from about {100 * gain:.{1 if gain < FINE else 0}f} points"


def estimated(trial: Trial) -> str:
    """Format a trial's estimated score on new rows."""
    return percent(trial.estimate) + (f" ({spread(trial.credible)})" if trial.credible else "")


def on_dev(trial: Trial) -> str:
    """Format a trial's score on dev rows, and its estimate on new rows, since the best of many was partly lucky."""
    foreseen = "" if trial.estimate is None else f", estimated at {estimated(trial)} on new rows"
    return f"{percent(trial.score)} ({spread(trial.interval)}){foreseen}"


def dollars(value: float | None) -> str:
    """Format US dollars; None is "unknown"."""
    return "unknown" if value is None else amount(value)


def and_failed(failed: int, usd: float | None) -> str:
    """Return a suffix with the number and cost of failed attempts that were recorded; empty if none failed.

    Those are the last attempts of their calls, and those that may have been charged.
    """
    return f", {counted(failed, 'attempt')} failed ({dollars(usd)}; without free retries)" if failed else ""


def run_failed(run: Run) -> str:
    """Return a suffix with the number and cost of a run's failed attempts; empty if none failed."""
    return and_failed(run.failed, None if run.cost is None else run.failed_cost)


def task_text(run: Run) -> str:
    """Return the name of a run's task, with the program that it tuned if it did."""
    return f"{run.name} ({run.program})" if run.program else run.name


def minute(at: str) -> str:
    """Format a time in ISO 8601 to the minute."""
    return at[:16].replace("T", " ")


def runs_grid(runs: Sequence[Run]) -> Grid:
    """Return a table of runs."""
    rows = tuple(
        (
            str(run.id),
            task_text(run),
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
    """Return a table of trials: score, interval, rows, estimate, state, cost, parameters, why they ended.

    Only parameters that differ from the seed prompt's are shown.
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
    return Grid(f"Run {run.id}: {task_text(run)} on {run.model} (* = winner)", columns, rows)


def best_first(trial: Trial) -> tuple[bool, bool, float, int]:
    """Return a sort key: fully scored trials by score, then others by estimate, then those without one by score."""
    complete = trial.state is State.COMPLETE
    known = trial.score if complete else trial.estimate
    value = trial.score if known is None else known
    return not complete, known is None, -(value or 0.0), trial.number


def params_text(params: Mapping[str, Any]) -> str:
    """Format parameters on one line, without those that are off."""
    return " ".join(f"{name}={value}" for name, value in params.items() if value not in ("none", "off", 0.0))


def verdict_grid(verdict: Verdict) -> Grid:
    """Return a table of the contenders on the sealed test rows."""
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
    """Return a table of the paired comparisons."""
    table = tuple(comparison_row(comparison) for comparison in verdict.comparisons)
    rows = {c.n for c in verdict.contenders}  # a card hands the verdict on without the outcomes
    apart = len(rows) > 1 or any(on_both(verdict.contenders, c.a, c.b) for c in verdict.comparisons)
    title = f"Paired comparisons{', each on the rows that both answered' if apart else ''}"
    return Grid(title, ("comparison", "points", "95 %", "p", "test"), table)


def comparison_row(comparison: Comparison) -> tuple[str, ...]:
    """Return a comparison as cells: names, points, 95 % interval, p and test."""
    return (
        f"{comparison.a} − {comparison.b}",
        f"{100 * comparison.difference:+z.1f}",
        f"{100 * comparison.interval[0]:+.1f} to {100 * comparison.interval[1]:+.1f}",
        f"{comparison.p_value:.2g}",
        comparison.test,
    )


def worth_grids(importances: Sequence[Importance], ablations: Sequence[Ablation]) -> list[Grid]:
    """Return tables of what each dimension is worth: in the whole space, and in the winner."""
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
    """Return a table of mean row scores by the values of a column. `slices` maps row id -> {column: value}."""
    values = sorted({row[column] for row in slices.values() if column in row})
    rows = tuple((value, *_slice_cells(verdict, slices, column, value)) for value in values)
    return Grid(f"By {column}", (column, "rows", *(contender.name for contender in verdict.contenders)), rows)


def _slice_cells(verdict: Verdict, slices: Mapping[str, Mapping[str, str]], column: str, value: str) -> tuple[str, ...]:
    scores = [
        [o.score for o in c.outcomes if o.score is not None and slices.get(o.example_id, {}).get(column) == value]
        for c in verdict.contenders
    ]
    most = max(map(len, scores), default=0)
    fewer = ["" if len(scored) == most else f" on {len(scored):,}" for scored in scores]
    means = [percent(sum(each) / len(each)) + few if each else "–" for each, few in zip(scores, fewer, strict=True)]
    return (f"{most:,}", *means)


def prompt_diff(seed: str, other: str, names: tuple[str, str] = ("seed prompt", "this prompt")) -> str:
    """Return a unified diff of a prompt's text against the seed prompt's, or another's; empty if they are equal."""
    lines = difflib.unified_diff(seed.splitlines(), other.splitlines(), *names, lineterm="")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Change:
    """A row on which a prompt scores differently from the seed prompt, or from another that it is compared with."""

    example_id: str
    text: str
    wanted: str
    seed_answer: str
    answer: str


def changes(
    seed: Sequence[Outcome], other: Sequence[Outcome], examples: Mapping[str, Example]
) -> tuple[list[Change], list[Change]]:
    """Return the rows that a trial fixes and those that it breaks, compared with the seed prompt on the same rows."""
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
    """Return a table of fixed or broken rows, with at most `most` of them."""
    some = f", of which {most} are shown" if most < len(rows) else ""
    shown = tuple((row.example_id, row.text, row.wanted, row.seed_answer, row.answer) for row in rows[:most])
    columns = ("row", "text", "wanted", f"{names[0]} said", f"{names[1]} says")
    return Grid(f"{title}: {len(rows)}{some}", columns, shown)
