"""A comparison of two prompts as tables, text and JSON. Takes records, opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.comparing import Compared, Side
from optimizer.contenders import LEVEL
from optimizer.report import Change, changes_grid, comparison_row, dollars, percent, prompt_diff, spread, task_text
from optimizer.reports.grids import Grid
from optimizer.verdict import able, figures


def sides_grid(found: Compared) -> Grid:
    """Return a table of both prompts: score, cost and latency on the shared rows."""
    rows = tuple(
        (
            f"{letter}: {side.name}{' (winner)' if side.trial.number == side.run.winner else ''}",
            task_text(side.run),
            side.run.model,
            percent(side.score),
            spread(side.interval),
            dollars(_cost(side)),
            f"{side.measures.tokens:,.0f}" if side.measures.known else "–",
            f"{side.measures.ms_per_1000:,.0f}" if side.measures.known else "–",
        )
        for letter, side in (("a", found.a), ("b", found.b))
    )
    seen = f", opened by {found.opened} different runs so far" if found.opened > 1 else ""
    columns = ("prompt", "task", "model", found.metric, "95 %", "$ / 1,000", "tokens / row", "ms / 1,000")
    return Grid(f"On the {found.n} {found.split} rows that both have answered{seen}", columns, rows)


def grids(found: Compared, most: int) -> Iterator[Grid]:
    """Yield tables: the comparison, what differs, and the rows fixed and broken, at most `most` of each."""
    yield sides_grid(found)
    columns = ("comparison", "points", "95 %", "p", "test")
    yield Grid("Paired comparison", columns, (comparison_row(found.comparison),))
    params = tuple((name, _value(a), _value(b)) for name, (a, b) in found.params.items())
    yield Grid("What differs", ("parameter", "a", "b"), params) if params else Grid("No parameter differs", (), ())
    for title, rows in (("Rows that b fixed", found.fixed), ("Rows that b broke", found.broken)):
        yield changes_grid(title, rows, most, ("a", "b"))


def sentence(found: Compared) -> str:
    """Return a sentence on what is shown and what is not."""
    c, said = found.comparison, figures(found.comparison)
    if c.p_value >= LEVEL:
        text = f"No difference between {c.a} and {c.b} is shown: {said}; {found.n} rows {able(c, found.n)}."
    else:
        text = f"{c.a} is {'better' if c.difference > 0 else 'worse'} than {c.b}: {said}."
    if found.split == "dev":
        text += " These are dev rows, which searches choose by: a winner looks better on them than it is."
    return text


def diff(found: Compared) -> str:
    """Return a unified diff from the text of a to that of b."""
    return prompt_diff(found.a.prompt, found.b.prompt, (found.a.name, found.b.name))


def record(found: Compared) -> dict[str, Any]:
    """Return a comparison for JSON."""
    return {
        "metric": found.metric,
        "split": found.split,
        "rows": found.n,
        "opened": found.opened,
        "a": _side_record(found.a),
        "b": _side_record(found.b),
        "comparison": asdict(found.comparison),
        "shown": found.comparison.p_value < LEVEL,
        "sentence": sentence(found),
        "params": {name: {"a": a, "b": b} for name, (a, b) in found.params.items()},
        "fixed": _changes(found.fixed),
        "broken": _changes(found.broken),
        "diff": diff(found),
    }


def _side_record(side: Side) -> dict[str, Any]:
    about = {"run": side.run.id, "trial": side.trial.number, "model": side.run.model}
    figures = {"score": side.score, "interval": side.interval, **asdict(side.measures), "cost_per_1000": _cost(side)}
    return {**about, "winner": side.trial.number == side.run.winner, **figures, "prompt": side.prompt}


def _changes(rows: Sequence[Change]) -> list[dict[str, str]]:
    return [
        {"row": row.example_id, "text": row.text, "wanted": row.wanted, "a": row.seed_answer, "b": row.answer}
        for row in rows
    ]


def _cost(side: Side) -> float | None:
    return side.measures.cost_per_1000 if side.measures.known and side.run.cost is not None else None


def _value(value: object) -> str:
    return "–" if value is None else str(value)
