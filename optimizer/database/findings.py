"""results.db: what a verdict found besides the scores.

`verdicts` adds these. Knows nothing of how anything was found.
"""

from __future__ import annotations

from typing import Any

from optimizer.database.completions import Purchases, reads
from optimizer.database.record_rows import record_of, row_of
from optimizer.findings import (
    Cascade,
    CascadePoint,
    Changed,
    Drift,
    Duplicates,
    Elsewhere,
    Findings,
    Flips,
    GroupGap,
    GroupScore,
    Steadiness,
    Suspect,
)

# Field of Findings -> its table, a record of a row, and the order in which they are read.
TABLES: dict[str, tuple[str, type[Any], str]] = {
    "elsewhere": ("elsewhere", Elsewhere, "rowid"),
    "suspects": ("suspects", Suspect, "confidence DESC, example"),
    "duplicates": ("duplicates", Duplicates, "rowid"),
    "drifts": ("drifts", Drift, "rowid"),
    "groups": ("group_scores", GroupScore, "rowid"),
    "gaps": ("group_gaps", GroupGap, "rowid"),
    "flips": ("flips", Flips, "rowid"),
    "changed": ("changed", Changed, "rowid"),
    "steadiness": ("steadiness", Steadiness, "rowid"),
}


class Keeping(Purchases):
    """A results.db: what `Purchases` stores, and findings."""

    def save_findings(self, run: int, found: Findings) -> None:
        """Store what was found besides a verdict's scores; the verdict's contenders must be stored already."""
        with self.together():
            if found.cascade:
                self._save_cascade(run, found.cascade)
            for name, (table, _, _) in TABLES.items():
                self._insert(table, [{"run": run, **row_of(each)} for each in getattr(found, name)], replace=True)

    def _save_cascade(self, run: int, cascade: Cascade) -> None:
        self._insert("cascades", [{"run": run, **row_of(cascade, but=("points",))}], replace=True)
        points = [{"run": run, "position": position, **row_of(p)} for position, p in enumerate(cascade.points)]
        self._insert("cascade_points", points, replace=True)

    @reads
    def findings(self, run: int) -> Findings | None:
        """Read what was found besides a verdict's scores; None for a run of an earlier version."""
        found = {name: self._findings(run, *where) for name, where in TABLES.items()}
        if not found["elsewhere"]:  # every verdict of this version has at least the dev rows there
            return None
        return Findings(self._cascade(run), **found)

    def _findings(self, run: int, table: str, kind: type[Any], order: str) -> tuple[Any, ...]:
        sql = f"SELECT * FROM {table} WHERE run = ? ORDER BY {order}"  # noqa: S608 - constants
        return tuple(record_of(kind, row) for row in self.rows(sql, run))

    def _cascade(self, run: int) -> Cascade | None:
        points = self._findings(run, "cascade_points", CascadePoint, "position")
        for row in self.rows("SELECT * FROM cascades WHERE run = ?", run):
            return record_of(Cascade, row, points=points)
        return None
