"""results.db: what a verdict found beside the scores.

`rulings` adds verdicts. Knows nothing of how anything was found.
"""

from __future__ import annotations

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
from optimizer.purchases import Purchases, reads


class Keeping(Purchases):
    """A results.db: what `Purchases` keeps, and findings."""

    def save_findings(self, run: int, found: Findings) -> None:
        """Write down what was found beside a verdict's scores; its contenders stand there already."""
        with self.together():
            if found.cascade:
                self._save_cascade(run, found.cascade)
            for e in found.elsewhere:
                row: dict[str, object] = {"run": run, "name": e.name, "rows": e.rows, "n": e.n, "score": e.score}
                row |= {"low": e.interval[0], "high": e.interval[1], "difference": e.difference}
                row |= {"difference_low": e.difference_interval[0], "difference_high": e.difference_interval[1]}
                self._insert("elsewhere", [row], replace=True)
            for s in found.suspects:
                row = {"run": run, "example": s.example, "split": s.split, "label": s.label, "answer": s.answer}
                self._insert("suspects", [row | {"confidence": s.confidence}], replace=True)
            for d in found.duplicates:
                row = {"run": run, "kind": d.kind, "splits": d.splits, "groups": d.groups, "example": d.example}
                self._insert("duplicates", [row], replace=True)
            for t in found.drifts:
                row = {"run": run, "what": t.of, "a": t.a, "b": t.b, "size": t.size, "p_value": t.p_value}
                self._insert("drifts", [row], replace=True)

            self._save_groups(run, found)
            self._save_changes(run, found)

    def _save_changes(self, run: int, found: Findings) -> None:
        for c in found.changed:
            row: dict[str, object] = {"run": run, "name": c.name, "change": c.change, "n": c.n, "score": c.score}
            row |= {"low": c.interval[0], "high": c.interval[1], "difference": c.difference}
            row |= {"difference_low": c.difference_interval[0], "difference_high": c.difference_interval[1]}
            self._insert("changed", [row], replace=True)
        for s in found.steadiness:
            row = {"run": run, "name": s.name, "changes": s.changes, "mean": s.mean, "difference": s.difference}
            row |= {"mean_low": s.mean_interval[0], "mean_high": s.mean_interval[1]}
            row |= {"difference_low": s.difference_interval[0], "difference_high": s.difference_interval[1]}
            row |= {"worst": s.worst, "worst_score": s.worst_score, "worst_difference": s.worst_difference}
            row |= {"worst_low": s.worst_interval[0], "worst_high": s.worst_interval[1]}
            self._insert("steadiness", [row], replace=True)

    def _save_groups(self, run: int, found: Findings) -> None:
        for g in found.groups:
            row: dict[str, object] = {"run": run, "name": g.name, "column": g.column, "value": g.value, "n": g.n}
            row |= {"score": g.score, "low": g.interval[0], "high": g.interval[1]}
            self._insert("group_scores", [row], replace=True)
        for gap in found.gaps:
            row = {"run": run, "name": gap.name, "column": gap.column, "best": gap.best, "worst": gap.worst}
            row |= {"groups": gap.groups, "difference": gap.difference, "low": gap.interval[0]}
            self._insert("group_gaps", [row | {"high": gap.interval[1], "p_value": gap.p_value}], replace=True)
        for f in found.flips:
            row = {"run": run, "name": f.name, "n": f.n, "flips": f.flips, "low": f.interval[0], "high": f.interval[1]}
            row |= {"difference": f.difference, "difference_low": f.difference_interval[0]}
            self._insert("flips", [row | {"difference_high": f.difference_interval[1]}], replace=True)

    def _save_cascade(self, run: int, cascade: Cascade) -> None:
        row: dict[str, object] = {"run": run, "prompt": cascade.prompt, "baseline": cascade.baseline}
        row |= {"confidence": cascade.confidence, "surer": cascade.surer}
        row |= {"surer_low": cascade.surer_interval[0], "surer_high": cascade.surer_interval[1]}
        self._insert("cascades", [row], replace=True)
        for position, p in enumerate(cascade.points):
            row = {"run": run, "position": position, "threshold": p.threshold, "share": p.share}
            row |= {"dev_score": p.dev_score, "score": p.score, "low": p.interval[0], "high": p.interval[1]}
            row |= {"cost_per_1000": p.cost_per_1000, "chosen": p.chosen}
            self._insert("cascade_points", [row], replace=True)

    @reads
    def findings(self, run: int) -> Findings | None:
        """Read what was found beside a verdict's scores; None of a run of an earlier version."""
        elsewhere = tuple(
            Elsewhere(
                row["name"],
                row["rows"],
                row["n"],
                row["score"],
                (row["low"], row["high"]),
                row["difference"],
                (row["difference_low"], row["difference_high"]),
            )
            for row in self.rows("SELECT * FROM elsewhere WHERE run = ? ORDER BY rowid", run)
        )
        if not elsewhere:  # every verdict has looked at its dev rows
            return None
        suspects = self.rows("SELECT * FROM suspects WHERE run = ? ORDER BY confidence DESC, example", run)
        doubles = self.rows("SELECT * FROM duplicates WHERE run = ? ORDER BY rowid", run)
        drifts = self.rows("SELECT * FROM drifts WHERE run = ? ORDER BY rowid", run)
        return Findings(
            self._cascade(run),
            elsewhere,
            tuple(Suspect(*tuple(row)[1:]) for row in suspects),
            tuple(Duplicates(*tuple(row)[1:]) for row in doubles),
            tuple(Drift(*tuple(row)[1:]) for row in drifts),
            *self._groups(run),
            *self._changes(run),
        )

    def _changes(self, run: int) -> tuple[tuple[Changed, ...], tuple[Steadiness, ...]]:
        changed = tuple(
            Changed(
                row["name"],
                row["change"],
                row["n"],
                row["score"],
                (row["low"], row["high"]),
                row["difference"],
                (row["difference_low"], row["difference_high"]),
            )
            for row in self.rows("SELECT * FROM changed WHERE run = ? ORDER BY rowid", run)
        )
        steadiness = tuple(
            Steadiness(
                row["name"],
                row["changes"],
                row["mean"],
                (row["mean_low"], row["mean_high"]),
                row["difference"],
                (row["difference_low"], row["difference_high"]),
                row["worst"],
                row["worst_score"],
                row["worst_difference"],
                (row["worst_low"], row["worst_high"]),
            )
            for row in self.rows("SELECT * FROM steadiness WHERE run = ? ORDER BY rowid", run)
        )
        return changed, steadiness

    def _groups(self, run: int) -> tuple[tuple[GroupScore, ...], tuple[GroupGap, ...], tuple[Flips, ...]]:
        scores = self.rows("SELECT * FROM group_scores WHERE run = ? ORDER BY rowid", run)
        gaps = self.rows("SELECT * FROM group_gaps WHERE run = ? ORDER BY rowid", run)
        flips = self.rows("SELECT * FROM flips WHERE run = ? ORDER BY rowid", run)
        return (
            tuple(
                GroupScore(row["name"], row["column"], row["value"], row["n"], row["score"], (row["low"], row["high"]))
                for row in scores
            ),
            tuple(
                GroupGap(
                    row["name"],
                    row["column"],
                    row["best"],
                    row["worst"],
                    row["groups"],
                    row["difference"],
                    (row["low"], row["high"]),
                    row["p_value"],
                )
                for row in gaps
            ),
            tuple(
                Flips(
                    row["name"],
                    row["n"],
                    row["flips"],
                    (row["low"], row["high"]),
                    row["difference"],
                    (row["difference_low"], row["difference_high"]),
                )
                for row in flips
            ),
        )

    def _cascade(self, run: int) -> Cascade | None:
        points = tuple(
            CascadePoint(
                row["threshold"],
                row["share"],
                row["dev_score"],
                row["score"],
                (row["low"], row["high"]),
                row["cost_per_1000"],
                bool(row["chosen"]),
            )
            for row in self.rows("SELECT * FROM cascade_points WHERE run = ? ORDER BY position", run)
        )
        for row in self.rows("SELECT * FROM cascades WHERE run = ?", run):
            around = row["surer_low"], row["surer_high"]
            return Cascade(row["prompt"], row["baseline"], points, row["confidence"], row["surer"], around)
        return None
