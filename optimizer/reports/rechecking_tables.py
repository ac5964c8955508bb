"""Rechecks of a winner as a table, text and JSON. Takes records, opens no file, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from optimizer.contenders import LEVEL
from optimizer.database.rechecks import Origins, Recheck
from optimizer.rechecking import Rechecked
from optimizer.report import comparison_row, minute, percent, spread
from optimizer.reports.grids import Grid
from optimizer.verdict import failures, figures


def trend_grid(rechecks: Sequence[Recheck], metric: str) -> Grid:
    """Return a table of the rechecks of a run."""
    columns = ("recheck", "when (UTC)", "rows", "answers changed", "95 %", f"{metric} then", "now")
    rows = tuple(
        (
            str(r.id),
            minute(r.started),
            f"{r.n} {r.split}",
            f"{r.changed} ({percent(r.changed / r.n)})",
            spread(r.interval),
            *(map(percent, r.scores or (None, None))),
            *(comparison_row(r.comparison)[1:4] if r.comparison else ("–",) * 3),
            _names(r.origins),
        )
        for r in rechecks
    )
    return Grid("The winner asked again", (*columns, "points", "95 %", "p", "answered by"), rows)


def sentences(found: Rechecked) -> list[str]:
    """Return sentences on what has changed, and what is not shown to have changed."""
    r = found.latest
    said = [f"{r.changed} of {r.n} answers changed ({percent(r.changed / r.n)}, 95 % interval {spread(r.interval)})."]
    if found.temperature and r.changed:
        said.append(f"At temperature {found.temperature:g} some answers change by themselves.")
    if r.comparison is None:
        said.append("Not scored: only tune asks a judge, or runs a metric of your own.")
    elif r.comparison.p_value >= LEVEL:
        said.append(f"No change of the score is shown: {figures(r.comparison)}.")
    else:
        better = "better" if r.comparison.difference > 0 else "worse"
        said.append(f"The winner scores {better} than it did: {figures(r.comparison)}.")
    if found.noise and found.noise.flips:
        floor, n = 100 * found.noise.floor, found.noise.rows
        said.append(
            f"Were this chance alone, two runs of the prompt on {n} rows would lie up to {floor:.1f} points apart."
        )
    said.append(_origin(r))
    if found.failed:
        said.append(failures(found.failed, r.rows))
    return [sentence for sentence in said if sentence]


def _origin(r: Recheck) -> str:
    """Return a sentence on whether the provider's name of the model or the backend has changed; empty if unknown."""
    then, now = ({version for version, _ in origins} for origins in (r.origins_then, r.origins))
    if then != now:
        return f"The provider has another model: {_listed(then)} answered then, {_listed(now)} now."
    if r.origins_then != r.origins:
        machines = f"{_names(r.origins_then)} then, {_names(r.origins)} now"
        return f"The model's name is the same, that of the machine is not: {machines}."
    return f"The same model answered: {_names(r.origins)}." if any(now) else ""


def _listed(versions: set[str]) -> str:
    return ", ".join(sorted(version or "(unnamed)" for version in versions))


def _names(origins: Origins) -> str:
    return ", ".join(" ".join(filter(None, origin)) or "–" for origin in origins)


def record(found: Rechecked) -> dict[str, Any]:
    """Return a recheck for JSON, with all rechecks of its run."""
    told = {"bought": found.bought, "failed": found.failed, "sentences": sentences(found)}
    told["noise"] = asdict(found.noise) if found.noise else None
    return {"recheck": asdict(found.latest), **told, "rechecks": [asdict(recheck) for recheck in found.all]}
