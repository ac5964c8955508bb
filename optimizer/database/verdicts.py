"""results.db: the trained rivals and the verdict, with everything that was measured on the test rows.

`store` adds runs, trials and history. Knows nothing of how a verdict is reached.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from optimizer.contenders import LEVEL, RIVAL
from optimizer.database.completions import compact, reads, unpacked
from optimizer.database.findings import Keeping
from optimizer.database.outcomes import (
    ANSWERED,
    BOUGHT,
    CALLED,
    check,
    outcome,
    outcome_row,
    outcomes_checksum,
    with_calls,
)
from optimizer.database.record_rows import record_of, row_of
from optimizer.records import (
    Bill,
    Comparison,
    Contender,
    CurvePoint,
    LearningCurve,
    Outcome,
    Rung,
    TrainedModel,
    TuningJob,
    Verdict,
)


class Rulings(Keeping):
    """A results.db: what `Keeping` stores, and verdicts."""

    def save_rung(self, run: int, rung: Rung) -> None:
        """Store the result of one kind of trained rival; those of a run are read in the order of storing."""
        row: dict[str, object] = {"run": run, "kind": rung.kind, "left_out": rung.left_out}
        if t := rung.trained:
            row |= {"detail": t.detail, "params": compact(t.params), "curve": compact(t.curve), "trials": t.trials}
            row |= {"dev_score": t.dev_score, "model": t.blob, "seconds": t.seconds, "cost": t.cost}
        with self.together():
            self._insert("baselines", [row], replace=True)

    @reads
    def ladder(self, run: int) -> list[Rung]:
        """Read the results of all kinds of trained rivals of a run."""
        rungs = []
        for row in self.rows("SELECT * FROM baselines WHERE run = ? ORDER BY rowid", run):
            if row["left_out"]:
                rungs.append(Rung(row["kind"], left_out=row["left_out"]))
                continue
            params, curve = json.loads(row["params"]), tuple(json.loads(row["curve"]))
            figures = row["seconds"], row["kind"], row["cost"], row["trials"]
            trained = TrainedModel(row["detail"], params, curve, row["dev_score"], row["model"], *figures)
            rungs.append(Rung(row["kind"], trained))
        return rungs

    def weightless(self, run: int) -> tuple[Rung, ...]:
        """Read the same without model weights, as in a verdict."""
        rungs = self.ladder(run)
        return tuple(replace(rung, trained=rung.trained and replace(rung.trained, blob=None)) for rung in rungs)

    def save_tuning_job(self, run: int, job: TuningJob) -> None:
        """Store a fine-tuning job's progress; it is on disk when this returns."""
        with self.together():
            self._insert("tuning_jobs", [{"run": run, **row_of(job)}], replace=True)

    @reads
    def tuning_job(self, key: str) -> TuningJob | None:
        """Return a stored fine-tuning job, or None."""
        for row in self.rows("SELECT * FROM tuning_jobs WHERE key = ?", key):
            return record_of(TuningJob, row)
        return None

    def save_verdict(self, run: int, verdict: Verdict) -> None:
        """Store a verdict with its contenders."""
        row = {"run": run, "metric": verdict.metric, "sentence": verdict.sentence, "opened": verdict.opened}
        with self.together():
            self._insert("verdicts", [row], replace=True)
            for position, contender in enumerate(verdict.contenders):
                self._save_contender(run, position, contender)
            for table, records in (("comparisons", verdict.comparisons), ("bills", verdict.bills)):
                but = ("cost_per_1000", "ms_per_1000") if table == "bills" else ()  # those of its contender
                self._insert(table, [{"run": run, **row_of(each, but=but)} for each in records], replace=True)
            if verdict.curve:
                self._save_curve(run, verdict.curve)
            if verdict.findings:
                self.save_findings(run, verdict.findings)

    def _save_contender(self, run: int, position: int, contender: Contender) -> None:
        known = self._known(contender.outcomes)
        row = {"run": run, "position": position, **row_of(contender, but=("outcomes",))}
        self._insert("contenders", [row | {"checksum": outcomes_checksum(contender.outcomes, known)}], replace=True)
        self.conn.executemany(
            "INSERT OR REPLACE INTO contender_outcomes (run, name, example, kind, score, answer, completion, calls) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((run, contender.name, *outcome_row(each, known)) for each in contender.outcomes),
        )

    def _save_curve(self, run: int, curve: LearningCurve) -> None:
        self._insert("learning_curves", [{"run": run, **row_of(curve, but=("points", "shown"))}], replace=True)
        self._insert("learning_points", [{"run": run, **row_of(point)} for point in curve.points], replace=True)

    @reads
    def verdict(self, run: int) -> Verdict | None:
        """Read the verdict of a run; None if it has none."""
        contenders = [
            record_of(Contender, row, outcomes=self.contender_outcomes(run, row["name"]))
            for row in self.rows("SELECT * FROM contenders WHERE run = ? ORDER BY position", run)
        ]
        sql = "SELECT * FROM comparisons WHERE run = ? ORDER BY rowid"
        comparisons = [record_of(Comparison, row) for row in self.rows(sql, run)]
        for row in self.rows("SELECT * FROM verdicts WHERE run = ?", run):
            shown = (tuple(contenders), tuple(comparisons), row["sentence"], row["opened"])
            beside = (self._curve(run, comparisons), self._bills(run), self.findings(run), self.weightless(run))
            return Verdict(row["metric"], *shown, *beside)
        return None

    def _curve(self, run: int, comparisons: Sequence[Comparison]) -> LearningCurve | None:
        sql = "SELECT * FROM learning_points WHERE run = ? ORDER BY rows"
        points = tuple(record_of(CurvePoint, row) for row in self.rows(sql, run))
        for row in self.rows("SELECT * FROM learning_curves WHERE run = ?", run):
            sides = {row["prompt"], RIVAL}
            shown = any({c.a, c.b} == sides and c.p_value < LEVEL for c in comparisons)
            return record_of(LearningCurve, row, points=points, shown=shown)
        return None

    def _bills(self, run: int) -> tuple[Bill, ...]:
        sql = """SELECT b.name, finding, labels, labelled, seconds, cost_per_1000, ms_per_1000
                 FROM bills b JOIN contenders c USING (run, name) WHERE run = ? ORDER BY position"""
        return tuple(record_of(Bill, row) for row in self.rows(sql, run))

    @reads
    def contender_outcomes(self, run: int, name: str) -> tuple[Outcome, ...]:
        """Read what a contender answered on the test rows; nothing if there is no such contender."""
        sql = f"SELECT a.*, {ANSWERED} FROM contender_outcomes a {BOUGHT} WHERE a.run = ? AND name = ? ORDER BY example"  # noqa: S608 - constants
        told = [outcome(row) for row in self.rows(sql, run, name)]
        called = f"contender_outcomes a {CALLED} WHERE a.run = ? AND name = ? ORDER BY a.example, j.key"
        sql = f"SELECT a.example, {ANSWERED} FROM {called}"  # noqa: S608 - constants
        found = tuple(with_calls(told, self.rows(sql, run, name)))
        of = self.rows("SELECT checksum FROM contenders WHERE run = ? AND name = ?", run, name)
        check(f"the {name} of run {run}", found, of)
        return found

    def _known(self, outcomes: Sequence[Outcome]) -> dict[str, tuple[int, str]]:
        """Find the completions behind outcomes: key -> (id, text)."""
        keys = [key for outcome in outcomes for key in (outcome.completion_key, *outcome.calls) if key]
        found = self._many("SELECT key, id, text FROM completions WHERE key IN (%s)", keys)
        return {unpacked(key): (number, text) for key, number, text in found}
