"""results.db: runs, trials and history. All SQL on it is here and in `database/`.

One SQLite file in WAL mode. `migrations/` comments each column of its tables. Knows nothing of how a run is made:
records come in, records go out. Reading loads no package beyond the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache

from optimizer.database.completions import compact, now, reads
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
from optimizer.database.owner import alive, told
from optimizer.database.verdicts import Rulings
from optimizer.errors import InputError, StoreError
from optimizer.records import (
    Ablation,
    Dataset,
    Importance,
    Kind,
    Outcome,
    Run,
    State,
    Trial,
)
from search_spaces.prompt import Example, Prompt, digest


class Store(Rulings):
    """A results.db: what `Rulings` stores, and runs, trials and history."""

    # --- runs ---------------------------------------------------------------------------------------------

    def start_run(self, run: Run, config: str) -> int:
        """Store a new run and return its id; `config` is a digest of everything that determines its course."""
        row = {"name": run.name, "config": config, "task": compact(run.task), "model": run.model}
        row |= {
            "program": run.program,
            "metric": run.metric,
            "data": run.data,
            "status": "running",
            "started": now(),
            "owner": self.owner,
        }
        with self.together():
            key = self.db.table("runs").insert(row).last_pk
        assert isinstance(key, int)
        return key

    @reads
    def unfinished_run(self, config: str) -> int | None:
        """Return the latest run of the same configuration if it was not finished, else None.

        Raises
        ------
        StoreError
            If another process, or another part of this one, is at work on it.
        """
        rows = self.rows("SELECT id, status, owner FROM runs WHERE config = ? ORDER BY id DESC LIMIT 1", config)
        if not rows or rows[0]["status"] == "finished":
            return None
        owner = rows[0]["owner"]
        if rows[0]["status"] == "running" and owner != self.owner and alive(owner):
            raise StoreError(
                f"{self.path}: run {rows[0]['id']} is being worked on by {told(owner)}. "
                "Wait for it, stop it, or name another file with --db (db=)."
            )
        return int(rows[0]["id"])

    @reads
    def under_way(self, run: int) -> bool:
        """Whether a running process is at work on a run."""
        (row,) = self.rows("SELECT status, owner FROM runs WHERE id = ?", run)
        return row["status"] == "running" and alive(row["owner"])

    def update_run(self, run: int, **values: object) -> None:
        """Change columns of a run; `status` other than "running" also stores the time."""
        if values.get("status") == "running":
            values["owner"] = self.owner
        elif "status" in values:
            values["finished"] = now()
        with self.together():
            self.db.table("runs").update(run, values)

    def worked(self, run: int) -> float:
        """Read how many seconds a run has been worked on."""
        return float(self.rows("SELECT worked FROM runs WHERE id = ?", run)[0][0])

    def add_examples(self, data: str, dataset: Dataset) -> None:
        """Store the rows once, under the digest of the data; slices, which the digest does not cover, are updated."""
        if self.rows("SELECT 1 FROM examples WHERE data = ? LIMIT 1", data):
            self._add_slices(data, dataset)
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

    def _add_slices(self, data: str, dataset: Dataset) -> None:
        """Add the slices by which a later run reports the same rows; those that earlier runs named remain."""
        known = {row["id"]: row["slices"] for row in self.rows("SELECT id, slices FROM examples WHERE data = ?", data)}
        merged = {id_: compact(json.loads(known[id_]) | new) for id_, new in dataset.slices.items() if id_ in known}
        changed = [(text, data, id_) for id_, text in merged.items() if text != known[id_]]
        if changed:
            with self.together():
                self.conn.executemany("UPDATE examples SET slices = ? WHERE data = ? AND id = ?", changed)

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
        """Record that a run opens the test split, and return how many different runs have opened it by now."""
        with self.together():
            self._insert("openings", [{"data": data, "run": run, "opened": now()}])
        return self.opened(data)

    def opened(self, data: str) -> int:
        """Count the runs that have opened the test split of these rows; one that was only repeated counts once.

        One of the same configuration that has chosen the same prompt is no further look.
        """
        sql = """SELECT COUNT(*) FROM (SELECT DISTINCT config, prompt FROM openings o JOIN runs r ON r.id = o.run
                 LEFT JOIN prompt_trials t ON t.run = r.id AND t.number = r.winner WHERE o.data = ?)"""
        return int(self.rows(sql, data)[0][0])

    # --- trials -------------------------------------------------------------------------------------------

    def save_trial(self, run: int, trial: Trial, text: str) -> None:
        """Store a trial with its outcomes; `text` is the prompt as readable text.

        If it is stored already with more outcomes, or later ones, that stays: a resumed search replays its steps, and
        may be interrupted before it has caught up.
        """
        sums = "SELECT COUNT(*), COALESCE(SUM(step), 0) FROM outcomes WHERE run = ? AND trial = ?"
        if (len(trial.outcomes), sum(o.step for o in trial.outcomes)) < tuple(self.rows(sums, run, trial.number)[0]):
            return
        low, high = trial.interval or (None, None)
        estimate_low, estimate_high = trial.credible or (None, None)
        with self.together():
            prompt = self._save_prompt(trial.prompt, text)
            row = {"run": run, "number": trial.number, "prompt": prompt, "params": compact(trial.params)}
            row |= {"state": trial.state.value, "score": trial.score, "low": low, "high": high, "n": trial.n}
            row |= {"steps": compact(trial.steps), "reason": trial.reason, "seconds": trial.seconds}
            row |= {"estimate": trial.estimate, "estimate_low": estimate_low, "estimate_high": estimate_high}
            known = self._known(trial.outcomes)
            self._insert("prompt_trials", [row | {"checksum": outcomes_checksum(trial.outcomes, known)}], replace=True)
            self.conn.executemany(
                "INSERT OR REPLACE INTO outcomes (run, trial, step, error, example, kind, score, answer, completion, "
                "calls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((run, trial.number, *_searched(o), *outcome_row(o, known)) for o in trial.outcomes),
            )
            self.conn.execute(_ADD_UP, (run, trial.number))

    def _save_prompt(self, prompt: Prompt, text: str) -> str:
        key = _digest(prompt)
        if self.rows("SELECT 1 FROM prompts WHERE digest = ?", key):
            return key
        data = prompt.to_dict()
        if prompt.nearest:
            data["pool"] = digest(data["demos"])
            self._insert("pools", [{"digest": data["pool"], "json": compact(data.pop("demos"))}])
        self._insert("prompts", [{"digest": key, "json": compact(data), "text": text}])
        return key

    @reads
    def _prompt(self, text: str) -> Prompt:
        data = json.loads(text)
        pool = data.pop("pool", None)
        prompt = Prompt.from_dict({"demos": (), **data})
        if pool is None:
            return prompt
        return replace(prompt, demos=_pool(self.rows("SELECT json FROM pools WHERE digest = ?", pool)[0]["json"]))

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

    def trial(self, run: Run, number: int | str | None = None) -> Trial:
        """Read one trial without its outcomes: by default the winner, or the best so far of a run without one.

        Raises
        ------
        InputError
            If the run has no such trial.
        """
        trials = self.trials(run.id, outcomes=False)
        if number is None:
            complete = [trial for trial in trials if trial.state is State.COMPLETE]
            leader = max(complete, key=lambda trial: trial.score or 0.0, default=None)
            number = run.winner if run.winner is not None else leader.number if leader else 0
        for trial in trials:
            if trial.number == _plain(number):
                return trial
        known = f"0 to {len(trials) - 1}" if trials else "none"
        raise InputError(
            f"run {run.id} has no trial {number}; it has {known}. See `phrasetune history --run {run.id}`."
        )

    @reads
    def outcomes(self, run: int, trial: int) -> tuple[Outcome, ...]:
        """Read the outcomes of a trial on the dev rows."""
        sql = f"SELECT a.*, {ANSWERED} FROM outcomes a {BOUGHT} WHERE a.run = ? AND trial = ? ORDER BY example"  # noqa: S608 - constants
        told = self.rows(sql, run, trial)
        sql = f"SELECT a.example, {ANSWERED} FROM outcomes a {CALLED} WHERE a.run = ? AND trial = ? ORDER BY 1, j.key"  # noqa: S608
        found = with_calls([outcome(row) for row in told], self.rows(sql, run, trial))
        of = self.rows("SELECT checksum FROM prompt_trials WHERE run = ? AND number = ?", run, trial)
        check(f"trial {trial} of run {run}", found, of)
        return tuple(
            replace(o, step=row["step"], text=row["error"] if o.kind is Kind.ERROR else o.text)
            for o, row in zip(found, told, strict=True)
        )

    @reads
    def asked(self, run: int) -> list[tuple[int, int]]:
        """Read how many dev rows the search asked of which trials, in the order of its decisions."""
        sql = "SELECT trial, COUNT(*) FROM outcomes WHERE run = ? GROUP BY step, trial ORDER BY step, trial"
        return [tuple(row) for row in self.rows(sql, run)]

    @reads
    def prompt_text(self, run: int, trial: int) -> str:
        """Read a trial's prompt as readable text."""
        sql = "SELECT text FROM prompts p JOIN prompt_trials t ON t.prompt = p.digest WHERE run = ? AND number = ?"
        return str(self.rows(sql, run, trial)[0]["text"])

    @reads
    def trial_costs(self, run: int) -> dict[int, tuple[int, float | None]]:
        """Read the calls and the cost of each trial that made calls; the cost is None if the price is not known."""
        told = "CASE WHEN r.cost IS NULL AND c.cost = 0 AND r.model <> 'embedded' THEN NULL ELSE c.cost END AS cost"
        rows = self.rows(
            f"SELECT c.trial, c.calls, {told} FROM cost_per_trial c JOIN runs r ON r.id = c.run WHERE c.run = ?",  # noqa: S608 - constants
            run,
        )
        return {row["trial"]: (row["calls"], row["cost"]) for row in rows}

    # --- which ingredient paid ----------------------------------------------------------------------------

    def save_worth(self, run: int, found: Sequence[Importance] | Sequence[Ablation]) -> None:
        """Store what each dimension is worth."""
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

    # --- history ------------------------------------------------------------------------------------------

    @reads
    def runs(self) -> list[Run]:
        """Read all runs, the latest first."""
        sql = """SELECT id, name, task, model, metric, data, status, started, COALESCE(finished, '') AS finished,
                 winner, reason, bought, reused, program, runs.cost AS cost, COALESCE(f.failed, 0) AS failed,
                 COALESCE(f.cost, 0) AS failed_cost
                 FROM runs LEFT JOIN (SELECT run, COUNT(*) AS failed, SUM(cost) AS cost FROM failures GROUP BY run) f
                 ON f.run = id ORDER BY id DESC"""
        return [Run(**{**dict(row), "task": json.loads(row["task"])}) for row in self.rows(sql)]

    def run(self, run: int | str | None = None, *, won: bool = False) -> Run:
        """Read one run: by default the latest, with `won` preferably the latest that has a winner."""
        runs = self.runs()
        if won and run is None:
            runs.sort(key=lambda candidate: candidate.winner is None)
        for candidate in runs:
            if run is None or candidate.id == _plain(run):
                return candidate
        if not runs:
            raise StoreError(f"{self.path.name}: holds no run yet. Start one with `phrasetune tune TASK`.")
        known = ", ".join(str(r.id) for r in runs)
        raise StoreError(f"{self.path.name}: has no run {run}; allowed: {known}.")


_ADD_UP = """UPDATE prompt_trials AS t SET (calls, answered, cost, prompt_tokens, completion_tokens, call_seconds) = (
               SELECT COUNT(*), COUNT(DISTINCT o.example), COALESCE(SUM(c.cost), 0), COALESCE(SUM(c.prompt_tokens), 0),
                      COALESCE(SUM(c.completion_tokens), 0), COALESCE(SUM(c.seconds), 0)
               FROM outcomes o JOIN json_each(COALESCE(o.calls, json_array(o.completion))) j
               JOIN completions c ON c.id = j.value WHERE o.run = t.run AND o.trial = t.number)
             WHERE run = ? AND number = ?"""


def _plain(number: int | str) -> int | str:
    """Convert a number that came as text, from a file or a page; other text stays, and is the number of no record."""
    return int(number) if isinstance(number, str) and number.isdecimal() else number


@lru_cache(maxsize=1024)
def _digest(prompt: Prompt) -> str:
    """Return a prompt's digest, cached: a trial is stored after each of its blocks, and a pool of demos may be long."""
    return prompt.digest


@lru_cache(maxsize=8)
def _pool(text: str) -> tuple[Example, ...]:
    """Return a pool of demos, cached because most trials of a run may share it."""
    return tuple(map(Example.from_dict, json.loads(text)))


def _searched(outcome: Outcome) -> tuple[int, str]:
    """Return what a resumed search needs of an outcome: step and error."""
    return outcome.step, outcome.text if outcome.kind is Kind.ERROR else ""
