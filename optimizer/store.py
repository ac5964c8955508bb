"""results.db: runs, trials, verdicts. With `opening`, `purchases` and `slots` all the SQL.

One SQLite file in WAL mode. What its tables hold is said beside each column in `migrations/`. Knows nothing of
how a run is made: records come in, records go out. Reading loads no package beyond the standard library.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace

from optimizer.errors import StoreError
from optimizer.opening import checksum
from optimizer.owner import alive, me
from optimizer.purchases import Purchases, compact, completion, now, reads, unpacked
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

    @reads
    def unfinished_run(self, config: str) -> int | None:
        """Find the latest run of the same configuration that was not finished.

        Raises
        ------
        StoreError
            If another process is at work on it.
        """
        rows = self.rows("SELECT id, status, owner FROM runs WHERE config = ? ORDER BY id DESC LIMIT 1", config)
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
        return float(self.rows("SELECT worked FROM runs WHERE id = ?", run)[0][0])

    def add_examples(self, data: str, dataset: Dataset) -> None:
        """Write the rows down under the digest of the data, once."""
        if self.rows("SELECT 1 FROM examples WHERE data = ? LIMIT 1", data):
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

    @reads
    def examples(self, data: str, split: str) -> list[Example]:
        """Read the rows of one split."""
        rows = self.rows("SELECT * FROM examples WHERE data = ? AND split = ? ORDER BY position", data, split)
        return [
            Example(row["id"], tuple(json.loads(row["inputs"]).items()), tuple(json.loads(row["targets"])))
            for row in rows
        ]

    @reads
    def slices(self, data: str, split: str) -> dict[str, dict[str, str]]:
        """Read the columns that scores are reported by: example id -> {column: value}."""
        rows = self.rows("SELECT id, slices FROM examples WHERE data = ? AND split = ?", data, split)
        return {row["id"]: json.loads(row["slices"]) for row in rows}

    def open_test(self, data: str, run: int) -> int:
        """Record that a run opens the test split, and return how many runs have opened it by now."""
        with self.together():
            self._insert("openings", [{"data": data, "run": run, "opened": now()}])
        return int(self.rows("SELECT COUNT(*) FROM openings WHERE data = ?", data)[0][0])

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
            known = self._known(trial.outcomes)
            self._insert("prompt_trials", [row | {"checksum": _checksum(trial.outcomes, known)}], replace=True)
            self.conn.executemany(
                "INSERT OR REPLACE INTO outcomes (run, trial, step, error, example, kind, score, answer, completion) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((run, trial.number, *_searched(o), *_outcome_row(o, known)) for o in trial.outcomes),
            )
            self.conn.execute(_ADD_UP, (run, trial.number))

    def _known(self, outcomes: Sequence[Outcome]) -> dict[str, tuple[int, str]]:
        """Find the completions behind outcomes: key -> (id, text)."""
        keys = [outcome.completion_key for outcome in outcomes if outcome.completion_key]
        found = self._many("SELECT key, id, text FROM completions WHERE key IN (%s)", keys)
        return {unpacked(key): (number, text) for key, number, text in found}

    def _save_prompt(self, prompt: Prompt, text: str) -> str:
        data = prompt.to_dict()
        key = digest(data)
        if prompt.nearest:
            data["pool"] = digest(data["demos"])
            self._insert("pools", [{"digest": data["pool"], "json": compact(data.pop("demos"))}])
        self._insert("prompts", [{"digest": key, "json": compact(data), "text": text}])
        return key

    @reads
    def _prompt(self, text: str) -> Prompt:
        data = json.loads(text)
        if pool := data.pop("pool", None):
            data["demos"] = json.loads(self.rows("SELECT json FROM pools WHERE digest = ?", pool)[0]["json"])
        return Prompt.from_dict(data)

    @reads
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
            for row in self.rows(sql, run)
        ]

    @reads
    def outcomes(self, run: int, trial: int) -> tuple[Outcome, ...]:
        """Read the outcomes of a trial on the dev rows."""
        sql = f"SELECT a.*, {_ANSWERED} FROM outcomes a {_BOUGHT} WHERE a.run = ? AND trial = ? ORDER BY example"  # noqa: S608 - constants
        found = [(_outcome(row), row) for row in self.rows(sql, run, trial)]
        of = self.rows("SELECT checksum FROM prompt_trials WHERE run = ? AND number = ?", run, trial)
        _check(f"trial {trial} of run {run}", [o for o, _ in found], of)
        return tuple(
            replace(o, step=row["step"], text=row["error"] if o.kind is Kind.ERROR else o.text) for o, row in found
        )

    @reads
    def prompt_text(self, run: int, trial: int) -> str:
        """Read a trial's prompt as a person reads it."""
        sql = "SELECT text FROM prompts p JOIN prompt_trials t ON t.prompt = p.digest WHERE run = ? AND number = ?"
        return str(self.rows(sql, run, trial)[0]["text"])

    @reads
    def trial_costs(self, run: int) -> dict[int, tuple[int, float]]:
        """Read the calls and the cost of each trial."""
        rows = self.rows("SELECT trial, calls, cost FROM cost_per_trial WHERE run = ?", run)
        return {row["trial"]: (row["calls"], row["cost"]) for row in rows}

    # --- which ingredient paid ----------------------------------------------------------------------------

    def save_worth(self, run: int, found: Sequence[Importance] | Sequence[Ablation]) -> None:
        """Write down what each dimension is worth."""
        with self.together():
            for record in found:
                table = "importances" if isinstance(record, Importance) else "ablations"
                self._insert(table, [{"run": run, **asdict(record)}], replace=True)

    @reads
    def importances(self, run: int) -> list[Importance]:
        """Read what each dimension explains, the most first."""
        rows = self.rows("SELECT * FROM importances WHERE run = ? ORDER BY rowid", run)
        return [Importance(*tuple(row)[1:]) for row in rows]

    @reads
    def ablations(self, run: int) -> list[Ablation]:
        """Read what each dimension is worth in the winner."""
        rows = self.rows("SELECT * FROM ablations WHERE run = ? ORDER BY rowid", run)
        return [Ablation(*tuple(row)[1:]) for row in rows]

    # --- the verdict --------------------------------------------------------------------------------------

    def save_baseline(self, run: int, trained: TrainedModel) -> None:
        """Write the trained rival down."""
        row = {"run": run, "detail": trained.detail, "params": compact(trained.params), "curve": compact(trained.curve)}
        row |= {"dev_score": trained.dev_score, "model": trained.blob, "seconds": trained.seconds}
        with self.together():
            self._insert("baselines", [row], replace=True)

    @reads
    def baseline(self, run: int) -> TrainedModel | None:
        """Read the trained rival of a run."""
        for row in self.rows("SELECT * FROM baselines WHERE run = ?", run):
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
                known = self._known(c.outcomes)
                self._insert("contenders", [row | {"checksum": _checksum(c.outcomes, known)}], replace=True)
                self.conn.executemany(
                    "INSERT OR REPLACE INTO contender_outcomes (run, name, example, kind, score, answer, completion) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    ((run, c.name, *_outcome_row(o, known)) for o in c.outcomes),
                )
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

    @reads
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
            for row in self.rows("SELECT * FROM contenders WHERE run = ? ORDER BY position", run)
        ]
        comparisons = [
            Comparison(row["a"], row["b"], row["difference"], (row["low"], row["high"]), row["p_value"], row["test"])
            for row in self.rows("SELECT * FROM comparisons WHERE run = ? ORDER BY rowid", run)
        ]
        for row in self.rows("SELECT * FROM verdicts WHERE run = ?", run):
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
            for row in self.rows("SELECT * FROM learning_points WHERE run = ? ORDER BY rows", run)
        )
        for row in self.rows("SELECT * FROM learning_curves WHERE run = ?", run):
            found = row["crossover"], (row["low"], row["high"]), bool(row["extrapolated"])
            return LearningCurve(row["prompt"], points, *found)
        return None

    def _bills(self, run: int) -> tuple[Bill, ...]:
        sql = """SELECT b.name, finding, labels, labelled, seconds, cost_per_1000, ms_per_1000
                 FROM bills b JOIN contenders c USING (run, name) WHERE run = ? ORDER BY position"""
        return tuple(Bill(*row) for row in self.rows(sql, run))

    @reads
    def _contender_outcomes(self, run: int, name: str) -> tuple[Outcome, ...]:
        sql = (
            f"SELECT a.*, {_ANSWERED} FROM contender_outcomes a {_BOUGHT} WHERE a.run = ? AND name = ? ORDER BY example"  # noqa: S608 - constants
        )
        found = tuple(_outcome(row) for row in self.rows(sql, run, name))
        of = self.rows("SELECT checksum FROM contenders WHERE run = ? AND name = ?", run, name)
        _check(f"the {name} of run {run}", found, of)
        return found

    # --- history ------------------------------------------------------------------------------------------

    @reads
    def runs(self) -> list[Run]:
        """Read all runs, the latest first."""
        sql = """SELECT id, name, task, model, metric, data, status, started, COALESCE(finished, '') AS finished,
                 winner, reason, bought, reused, cost FROM runs ORDER BY id DESC"""
        return [Run(**{**dict(row), "task": json.loads(row["task"])}) for row in self.rows(sql)]

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


# An outcome's price and text stand with its completion.
_ANSWERED = "c.*, o.version, o.fingerprint"
_BOUGHT = "LEFT JOIN completions c ON c.id = a.completion LEFT JOIN origins o ON o.id = c.origin"
_ADD_UP = """UPDATE prompt_trials SET (calls, cost, prompt_tokens, completion_tokens, call_seconds) = (
               SELECT COUNT(*), COALESCE(SUM(c.cost), 0), COALESCE(SUM(c.prompt_tokens), 0),
                      COALESCE(SUM(c.completion_tokens), 0), COALESCE(SUM(c.seconds), 0)
               FROM outcomes o JOIN completions c ON c.id = o.completion WHERE o.run = ?1 AND o.trial = ?2)
             WHERE run = ?1 AND number = ?2"""


def _outcome_row(outcome: Outcome, known: Mapping[str, tuple[int, str]]) -> tuple[object, ...]:
    """Example, kind, score, answer and completion; an answer that is the whole text is not written again."""
    number, text = known.get(outcome.completion_key, (None, None))
    whole = outcome.answer == text and outcome.kind in _READ
    return (outcome.example_id, outcome.kind.value, outcome.score, None if whole else outcome.answer, number)


def _checksum(outcomes: Sequence[Outcome], known: Collection[str]) -> int:
    """Sum up what was measured, in the order in which it is read."""
    return checksum(
        *(
            (
                o.example_id,
                o.kind.value,
                _real(o.score),
                o.answer,
                o.completion_key if o.completion_key in known else "",
            )
            for o in sorted(outcomes, key=lambda outcome: outcome.example_id)
        )
    )


def _real(score: float | None) -> float | None:
    return None if score is None else float(score)


def _check(whose: str, found: Sequence[Outcome], wanted: Sequence[sqlite3.Row]) -> None:
    """Raise ValueError unless the outcomes read are those that were written."""
    keys = {outcome.completion_key for outcome in found}
    if any(row["checksum"] not in (None, _checksum(found, keys)) for row in wanted):
        raise ValueError(f"the outcomes of {whose} do not fit their checksum")


def _searched(outcome: Outcome) -> tuple[int, str]:
    """What a search has to know of an outcome when it is resumed: step and error."""
    return outcome.step, outcome.text if outcome.kind is Kind.ERROR else ""


_READ = (Kind.RIGHT, Kind.WRONG)  # kinds of which an answer could be read


def _outcome(row: sqlite3.Row) -> Outcome:
    found = Outcome(row["example"], Kind(row["kind"]), row["score"], row["answer"])
    if row["completion"] is None:
        return found
    bought = completion(row)
    tokens = bought.prompt_tokens + bought.completion_tokens
    answer = bought.text if found.answer is None and found.kind in _READ else found.answer
    found = replace(found, answer=answer, completion_key=unpacked(row["key"]), tokens=tokens, cost=bought.cost)
    return replace(found, seconds=bought.seconds, text=bought.text, prompt_tokens=bought.prompt_tokens)
