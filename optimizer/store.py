"""results.db: runs, trials, verdicts. With `opening`, `purchases` and `slots` all the SQL.

One SQLite file in WAL mode. What its tables hold is said beside each column in `migrations/`. Knows nothing of
how a run is made: records come in, records go out. Reading loads no package beyond the standard library.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace

from optimizer.errors import StoreError
from optimizer.owner import alive, me
from optimizer.purchases import Purchases, compact, now
from optimizer.records import (
    Ablation,
    Bill,
    Comparison,
    Contender,
    CurvePoint,
    Dataset,
    Importance,
    Kind,
    LearningCurve,
    Outcome,
    Run,
    State,
    TrainedModel,
    Trial,
    Verdict,
)
from search_spaces.prompt import Example, Prompt, digest


class Store(Purchases):
    """A results.db: what `Purchases` keeps, and runs, trials and verdicts."""

    # --- runs ---------------------------------------------------------------------------------------------

    def start_run(self, run: Run, config: str) -> int:
        """Write a new run down and return its id; `config` is a digest of all that decides its course."""
        row = {"name": run.name, "config": config, "task": compact(run.task), "model": run.model}
        row |= {"metric": run.metric, "data": run.data, "status": "running", "started": now(), "owner": me()}
        with self.together():
            key = self.db.table("runs").insert(row).last_pk
        assert isinstance(key, int)
        return key

    def unfinished_run(self, config: str) -> int | None:
        """Find the latest run of the same configuration that was not finished.

        Raises
        ------
        StoreError
            If another process is at work on it.
        """
        rows = self._rows("SELECT id, status, owner FROM runs WHERE config = ? ORDER BY id DESC LIMIT 1", config)
        if not rows or rows[0]["status"] == "finished":
            return None
        if rows[0]["status"] == "running" and rows[0]["owner"] != me() and alive(rows[0]["owner"]):
            raise StoreError(
                f"{self.path}: run {rows[0]['id']} is being worked on by process {rows[0]['owner'].split(':')[1]}. "
                "Wait for it, stop it, or name another file with --db."
            )
        return int(rows[0]["id"])

    def update_run(self, run: int, **values: object) -> None:
        """Change columns of a run; `status` other than "running" also writes the time."""
        if values.get("status") == "running":
            values["owner"] = me()
        elif "status" in values:
            values["finished"] = now()
        with self.together():
            self.db.table("runs").update(run, values)

    def worked(self, run: int) -> float:
        """Read how many seconds a run has been worked on."""
        return float(self._rows("SELECT worked FROM runs WHERE id = ?", run)[0][0])

    def add_examples(self, data: str, dataset: Dataset) -> None:
        """Write the rows down under the digest of the data, once."""
        if self._rows("SELECT 1 FROM examples WHERE data = ? LIMIT 1", data):
            return
        splits = {"train": dataset.train, "dev": dataset.dev, "test": dataset.test}
        with self.together():
            self._insert(
                "examples",
                (
                    {
                        "data": data,
                        "id": example.id,
                        "split": split,
                        "position": position,
                        "inputs": compact(dict(example.inputs)),
                        "targets": compact(example.targets),
                        "slices": compact(dataset.slices.get(example.id, {})),
                    }
                    for split, rows in splits.items()
                    for position, example in enumerate(rows)
                ),
            )

    def examples(self, data: str, split: str) -> list[Example]:
        """Read the rows of one split."""
        rows = self._rows("SELECT * FROM examples WHERE data = ? AND split = ? ORDER BY position", data, split)
        return [
            Example(row["id"], tuple(json.loads(row["inputs"]).items()), tuple(json.loads(row["targets"])))
            for row in rows
        ]

    def slices(self, data: str, split: str) -> dict[str, dict[str, str]]:
        """Read the columns that scores are reported by: example id -> {column: value}."""
        rows = self._rows("SELECT id, slices FROM examples WHERE data = ? AND split = ?", data, split)
        return {row["id"]: json.loads(row["slices"]) for row in rows}

    def open_test(self, data: str, run: int) -> int:
        """Record that a run opens the test split, and return how many runs have opened it by now."""
        with self.together():
            self._insert("openings", [{"data": data, "run": run, "opened": now()}])
        return int(self._rows("SELECT COUNT(*) FROM openings WHERE data = ?", data)[0][0])

    # --- trials -------------------------------------------------------------------------------------------

    def save_trial(self, run: int, trial: Trial, text: str) -> None:
        """Write a trial with its outcomes down; `text` is the prompt as a person reads it."""
        low, high = trial.interval or (None, None)
        estimate_low, estimate_high = trial.credible or (None, None)
        with self.together():
            prompt = self._save_prompt(trial.prompt, text)
            row = {"run": run, "number": trial.number, "prompt": prompt, "params": compact(trial.params)}
            row |= {"state": trial.state.value, "score": trial.score, "low": low, "high": high, "n": trial.n}
            row |= {"steps": compact(trial.steps), "reason": trial.reason, "seconds": trial.seconds}
            row |= {"estimate": trial.estimate, "estimate_low": estimate_low, "estimate_high": estimate_high}
            self._insert("prompt_trials", [row], replace=True)
            rows = ({"run": run, "trial": trial.number, **_searched(o), **_outcome_row(o)} for o in trial.outcomes)
            self._insert("outcomes", rows, replace=True)

    def _save_prompt(self, prompt: Prompt, text: str) -> str:
        data = prompt.to_dict()
        key = digest(data)
        if prompt.nearest:
            data["pool"] = digest(data["demos"])
            self._insert("pools", [{"digest": data["pool"], "json": compact(data.pop("demos"))}])
        self._insert("prompts", [{"digest": key, "json": compact(data), "text": text}])
        return key

    def _prompt(self, text: str) -> Prompt:
        data = json.loads(text)
        if pool := data.pop("pool", None):
            data["demos"] = json.loads(self._rows("SELECT json FROM pools WHERE digest = ?", pool)[0]["json"])
        return Prompt.from_dict(data)

    def trials(self, run: int, *, outcomes: bool = True) -> list[Trial]:
        """Read the trials of a run, in order."""
        sql = """SELECT t.*, p.json FROM prompt_trials t JOIN prompts p ON p.digest = t.prompt
                 WHERE run = ? ORDER BY number"""
        return [
            Trial(
                row["number"],
                json.loads(row["params"]),
                self._prompt(row["json"]),
                State(row["state"]),
                row["score"],
                None if row["low"] is None else (row["low"], row["high"]),
                row["n"],
                {int(n): score for n, score in json.loads(row["steps"]).items()},
                self.outcomes(run, row["number"]) if outcomes else (),
                row["reason"],
                row["seconds"],
                row["estimate"],
                None if row["estimate_low"] is None else (row["estimate_low"], row["estimate_high"]),
            )
            for row in self._rows(sql, run)
        ]

    def outcomes(self, run: int, trial: int) -> tuple[Outcome, ...]:
        """Read the outcomes of a trial on the dev rows."""
        sql = f"SELECT o.*, {_PRICE} FROM outcomes o {_BOUGHT} WHERE o.run = ? AND trial = ?"  # noqa: S608 - constants
        found = [(_outcome(row), row) for row in self._rows(sql, run, trial)]
        return tuple(replace(o, step=row["step"], text=row["error"] or o.text) for o, row in found)

    def prompt_text(self, run: int, trial: int) -> str:
        """Read a trial's prompt as a person reads it."""
        sql = "SELECT text FROM prompts p JOIN prompt_trials t ON t.prompt = p.digest WHERE run = ? AND number = ?"
        return str(self._rows(sql, run, trial)[0]["text"])

    def trial_costs(self, run: int) -> dict[int, tuple[int, float]]:
        """Read the calls and the cost of each trial."""
        rows = self._rows("SELECT trial, calls, cost FROM cost_per_trial WHERE run = ?", run)
        return {row["trial"]: (row["calls"], row["cost"]) for row in rows}

    # --- which ingredient paid ----------------------------------------------------------------------------

    def save_worth(self, run: int, found: Sequence[Importance] | Sequence[Ablation]) -> None:
        """Write down what each dimension is worth."""
        with self.together():
            for record in found:
                table = "importances" if isinstance(record, Importance) else "ablations"
                self._insert(table, [{"run": run, **asdict(record)}], replace=True)

    def importances(self, run: int) -> list[Importance]:
        """Read what each dimension explains, the most first."""
        rows = self._rows("SELECT * FROM importances WHERE run = ? ORDER BY rowid", run)
        return [Importance(*tuple(row)[1:]) for row in rows]

    def ablations(self, run: int) -> list[Ablation]:
        """Read what each dimension is worth in the winner."""
        rows = self._rows("SELECT * FROM ablations WHERE run = ? ORDER BY rowid", run)
        return [Ablation(*tuple(row)[1:]) for row in rows]

    # --- the verdict --------------------------------------------------------------------------------------

    def save_baseline(self, run: int, trained: TrainedModel) -> None:
        """Write the trained rival down."""
        row = {"run": run, "detail": trained.detail, "params": compact(trained.params), "curve": compact(trained.curve)}
        row |= {"dev_score": trained.dev_score, "model": trained.blob, "seconds": trained.seconds}
        with self.together():
            self._insert("baselines", [row], replace=True)

    def baseline(self, run: int) -> TrainedModel | None:
        """Read the trained rival of a run."""
        for row in self._rows("SELECT * FROM baselines WHERE run = ?", run):
            params, curve = json.loads(row["params"]), tuple(json.loads(row["curve"]))
            return TrainedModel(row["detail"], params, curve, row["dev_score"], row["model"], row["seconds"])
        return None

    def save_verdict(self, run: int, verdict: Verdict) -> None:
        """Write a verdict with its contenders down."""
        row = {"run": run, "metric": verdict.metric, "sentence": verdict.sentence, "opened": verdict.opened}
        with self.together():
            self._insert("verdicts", [row], replace=True)
            for position, c in enumerate(verdict.contenders):
                row = {"run": run, "name": c.name, "position": position, "score": c.score, "n": c.n}
                row |= {"low": c.interval[0], "high": c.interval[1], "cost_per_1000": c.cost_per_1000}
                row |= {"ms_per_1000": c.ms_per_1000, "train_rows": c.train_rows, "detail": c.detail}
                self._insert("contenders", [row], replace=True)
                rows = ({"run": run, "name": c.name, **_outcome_row(o)} for o in c.outcomes)
                self._insert("contender_outcomes", rows, replace=True)
            for d in verdict.comparisons:
                row = {"run": run, "a": d.a, "b": d.b, "difference": d.difference, "low": d.interval[0]}
                row |= {"high": d.interval[1], "p_value": d.p_value, "test": d.test}
                self._insert("comparisons", [row], replace=True)
            for b in verdict.bills:
                row = {"run": run, "name": b.name, "finding": b.finding, "labels": b.labels}
                self._insert("bills", [row | {"labelled": b.labelled, "seconds": b.seconds}], replace=True)
            if verdict.curve:
                self._save_curve(run, verdict.curve)

    def _save_curve(self, run: int, curve: LearningCurve) -> None:
        row: dict[str, object] = {"run": run, "prompt": curve.prompt, "crossover": curve.crossover}
        row |= {"low": curve.interval[0], "high": curve.interval[1], "extrapolated": curve.extrapolated}
        self._insert("learning_curves", [row], replace=True)
        for p in curve.points:
            row = {"run": run, "rows": p.rows, "score": p.score, "low": p.interval[0], "high": p.interval[1]}
            row |= {"repeats": p.repeats, "difference": p.difference}
            row |= {"difference_low": p.difference_interval[0], "difference_high": p.difference_interval[1]}
            self._insert("learning_points", [row], replace=True)

    def verdict(self, run: int) -> Verdict | None:
        """Read the verdict of a run, if it has come to one."""
        contenders = [
            Contender(
                row["name"],
                row["score"],
                (row["low"], row["high"]),
                row["n"],
                self._contender_outcomes(run, row["name"]),
                row["cost_per_1000"],
                row["ms_per_1000"],
                row["train_rows"],
                row["detail"],
            )
            for row in self._rows("SELECT * FROM contenders WHERE run = ? ORDER BY position", run)
        ]
        comparisons = [
            Comparison(row["a"], row["b"], row["difference"], (row["low"], row["high"]), row["p_value"], row["test"])
            for row in self._rows("SELECT * FROM comparisons WHERE run = ? ORDER BY rowid", run)
        ]
        for row in self._rows("SELECT * FROM verdicts WHERE run = ?", run):
            shown = (tuple(contenders), tuple(comparisons), row["sentence"], row["opened"])
            return Verdict(row["metric"], *shown, self._curve(run), self._bills(run))
        return None

    def _curve(self, run: int) -> LearningCurve | None:
        points = tuple(
            CurvePoint(
                row["rows"],
                row["score"],
                (row["low"], row["high"]),
                row["repeats"],
                row["difference"],
                (row["difference_low"], row["difference_high"]),
            )
            for row in self._rows("SELECT * FROM learning_points WHERE run = ? ORDER BY rows", run)
        )
        for row in self._rows("SELECT * FROM learning_curves WHERE run = ?", run):
            found = row["crossover"], (row["low"], row["high"]), bool(row["extrapolated"])
            return LearningCurve(row["prompt"], points, *found)
        return None

    def _bills(self, run: int) -> tuple[Bill, ...]:
        sql = """SELECT b.name, finding, labels, labelled, seconds, cost_per_1000, ms_per_1000
                 FROM bills b JOIN contenders c USING (run, name) WHERE run = ? ORDER BY position"""
        return tuple(Bill(*row) for row in self._rows(sql, run))

    def _contender_outcomes(self, run: int, name: str) -> tuple[Outcome, ...]:
        sql = f"SELECT o.*, {_PRICE} FROM contender_outcomes o {_BOUGHT} WHERE o.run = ? AND name = ?"  # noqa: S608 - constants
        return tuple(_outcome(row) for row in self._rows(sql, run, name))

    # --- history ------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Read all runs, the latest first."""
        sql = """SELECT id, name, task, model, metric, data, status, started, COALESCE(finished, '') AS finished,
                 winner, reason, bought, reused, cost FROM runs ORDER BY id DESC"""
        return [Run(**{**dict(row), "task": json.loads(row["task"])}) for row in self._rows(sql)]

    def run(self, run: int | None = None, *, won: bool = False) -> Run:
        """Read one run: the latest, if none is named; with `won` rather the latest that has a winner."""
        runs = self.runs()
        if won and run is None:
            runs.sort(key=lambda candidate: candidate.winner is None)
        for candidate in runs:
            if run is None or candidate.id == run:
                return candidate
        if not runs:
            raise StoreError(f"{self.path}: holds no run yet. Start one with `phrasetune tune TASK`.")
        known = ", ".join(str(r.id) for r in runs)
        raise StoreError(f"{self.path}: has no run {run}; allowed: {known}.")


# An outcome's price stands with its completion.
_PRICE = "c.prompt_tokens, c.prompt_tokens + c.completion_tokens AS tokens, c.cost, c.seconds, c.text"
_BOUGHT = "LEFT JOIN completions c ON c.key = o.completion"


def _outcome_row(outcome: Outcome) -> dict[str, object]:
    row: dict[str, object] = {"example": outcome.example_id, "kind": outcome.kind.value, "score": outcome.score}
    return row | {"answer": outcome.answer, "completion": outcome.completion_key}


def _searched(outcome: Outcome) -> dict[str, object]:
    """What a search has to know of an outcome when it is resumed."""
    return {"step": outcome.step, "error": outcome.text if outcome.kind is Kind.ERROR else ""}


def _outcome(row: sqlite3.Row) -> Outcome:
    key, tokens, cost, seconds = row["completion"], row["tokens"] or 0, row["cost"] or 0.0, row["seconds"] or 0.0
    found = Outcome(row["example"], Kind(row["kind"]), row["score"], row["answer"], key, tokens, cost, seconds)
    return replace(found, text=row["text"] or "", prompt_tokens=row["prompt_tokens"] or 0)
