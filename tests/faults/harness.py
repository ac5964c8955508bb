"""What the fault tests share: commands that can be killed, a task for a model on a server, and what a run came to.

`FAULTS=full` in the environment asks for the large numbers of `make faults`; else every test is quick.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from server import ChatServer

from optimizer.records import Run, Trial
from optimizer.store import Store
from tests.small_task import write_task

Tally = Callable[[int, int], None]  # told how often something was tried, and how often it went wrong

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("FAULTS") == "full"
KEY = "sk-faults-0123456789"
# US dollars per million tokens; dear enough that a run of the small task costs some dollars.
PRICE = {"input": 100.0, "output": 1000.0}
SMALL: dict[str, object] = {"calls": 80, "trials": 12}


def times(quick: int, full: int) -> int:
    """How often to do something."""
    return full if FULL else quick


@dataclass
class Child:
    """One command, running or ended."""

    nursery: Nursery
    pid: int
    folder: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self) -> int:
        """Wait for its end; its exit code, or the negative number of the signal that ended it."""
        return int(self.nursery.say({"wait": self.pid}))

    @property
    def said(self) -> str:
        """What it has written to the terminal so far."""
        return (self.folder / "stdout").read_text() + (self.folder / "stderr").read_text()


class Nursery:
    """A process that forks commands quickly; see `nursery`."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nursery.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "OPENAI_API_KEY": KEY},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def say(self, job: dict[str, Any]) -> str:
        """Give a job; the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer, "the nursery has ended"
        return answer

    def start(self, folder: Path, *arguments: str, **more: Any) -> Child:
        """Start a command in a folder; `commit` and `after` let it break off at a commit."""
        for name in ("stdout", "stderr"):
            (folder / name).write_text("")
        job = {"arguments": arguments, "folder": str(folder), **more}
        pid = int(self.say(job | {name: str(folder / name) for name in ("stdout", "stderr")}))
        return Child(self, pid, folder)

    def run(self, folder: Path, *arguments: str, **more: Any) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it said."""
        child = self.start(folder, *arguments, **more)
        return child.wait(), child.said


def task_for(
    folder: Path, server: ChatServer, *, model: dict[str, object] | None = None, rows: int = 64, **search: object
) -> Path:
    """Write a small task for a priced model on a server into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    task = write_task(folder, rows=rows, search={**SMALL, **search})
    settings = {"workers": 4, "timeout": 5.0, "patience": 0.05, **(model or {})}
    lines = [f'name = "openai/test"\napi_base = "{server.url}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    if "price" not in settings:
        lines.append(f"price = {{ input = {PRICE['input']}, output = {PRICE['output']} }}")
    text = task.read_text(encoding="utf-8").replace("[baseline]\ntrials = 3", "[baseline]\ntrials = 1")
    task.write_text(text + "[model]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return task


def tune(db: str = "results.db", *more: str) -> Sequence[str]:
    """The command that tunes the task of a folder."""
    return ("tune", "task.toml", "--quiet", "--db", db, *more)


def came_to(db: Path, run: int | None = None) -> dict[str, Any]:
    """All that must be equal in equal runs: trials with their outcomes, the winner, the verdict."""
    with Store(db) as store:
        found: Run = store.run(run)
        trials, verdict = store.trials(found.id), store.verdict(found.id)
    return {
        "status": found.status,
        "winner": found.winner,
        "reason": found.reason,
        "bought": found.bought,
        "cost": round(found.cost or 0.0, 9),
        "trials": [_trial(trial) for trial in trials],
        "verdict": verdict and (verdict.sentence, [(c.name, c.score, c.interval) for c in verdict.contenders]),
    }


def _trial(trial: Trial) -> tuple[object, ...]:
    outcomes = sorted((o.example_id, o.kind.value, o.score, o.answer, o.text, o.step) for o in trial.outcomes)
    steps = dict(trial.steps)
    return (trial.number, dict(trial.params), trial.state.value, trial.score, trial.n, steps, trial.reason, outcomes)


@dataclass(frozen=True)
class Whole:
    """What a run came to that nobody disturbed, and how many requests it made."""

    found: dict[str, Any]
    requests: int


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether two runs came to the same end; what doubtful calls have cost beside it is told apart."""
    return all(found[name] == expected[name] for name in expected if name != "cost")


def query(db: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask the file itself."""
    with sqlite3.connect(db) as connection:
        return connection.execute(sql).fetchall()


def intact(db: Path) -> bool:
    """Whether SQLite finds the file in order."""
    return query(db, "PRAGMA integrity_check") == [("ok",)]


def possibly_paid(db: Path) -> int:
    """How many calls are shown as possibly paid."""
    return int(query(db, "SELECT COUNT(*) FROM failures WHERE possibly_paid")[0][0])


def recorded(db: Path) -> int:
    """How many completions are written down."""
    return int(query(db, "SELECT COUNT(*) FROM completions")[0][0])
