"""The peers of the live comparison: their environments, their rows, their runs, and the one scorer of all answers.

A peer runs in its own process and virtual environment, against the counting server, and returns its answers to the test
inputs; only these and the calls that the server saw count. Results are cached as JSON in a folder until the peer's
script, its rows or the answers of the server's models change.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
import venv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.live_server import propose
from optimizer.embedded import complete_text
from search_spaces.prompt import Message

HERE = Path(__file__).resolve().parent
SETS = {"banking77": "label", "sst2": "label", "ag_news": "label", "snips_slots": "intent", "sms_spam": "label"}
SIZES = {"train": 200, "dev": 200, "test": 500}
DESCRIPTION = "Classify the text by label."  # as plain as the seed prompt of a task that nobody described
# Peer -> its script, its environment and what is installed there.
DSPY = ("dspy==3.4.1", "gepa==0.1.4", "litellm==1.106.2", "optuna==5.0.0", "numpy==2.4.6")
PEERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "mipro": ("dspy_peers.py", "dspy", DSPY),
    "bootstrap": ("dspy_peers.py", "dspy", DSPY),
    "gepa": ("dspy_peers.py", "dspy", DSPY),
    "capo": ("promptolution_capo.py", "promptolution", ("promptolution==2.3.0",)),
}
THREADS = 2  # one waits for the server while the other works; more only take turns
LIMIT = 3600  # seconds that a peer may take
INSTALLING = threading.Lock()  # two peers share an environment

Row = dict[str, str]


# --- rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """What everybody gets of a data set under a seed; `labels` is the whole list, sorted."""

    name: str
    seed: int
    labels: tuple[str, ...]
    splits: dict[str, list[Row]]


def load_rows(data: Path, name: str, seed: int) -> Rows:
    """Draw the rows of a data set: every label in its share, in random order."""
    labels: set[str] = set()
    splits = {}
    for split, size in SIZES.items():
        lines = (data / name / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        read = [json.loads(line) for line in lines if line.strip()]
        rows = [{"id": str(row["id"]), "text": row["text"], "label": row[SETS[name]]} for row in read]
        labels |= {row["label"] for row in rows}
        splits[split] = stratified(rows, size, random.Random(f"{name} {split} {seed}"))
    return Rows(name, seed, tuple(sorted(labels)), splits)


def stratified(rows: Sequence[Row], size: int, rng: random.Random) -> list[Row]:
    """Draw rows so that each label has its share of them."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rng.sample(list(rows), len(rows)):
        by_label[row["label"]].append(row)
    # The i-th of m rows of a label stands at (i + 1/2) / m of the way: the first so many hold each in its share.
    placed = [
        ((n + 0.5) / len(group), order, row)
        for order, group in enumerate(by_label.values())
        for n, row in enumerate(group)
    ]
    drawn = [row for _, _, row in sorted(placed, key=lambda place: place[:2])[:size]]
    return rng.sample(drawn, len(drawn))


def accuracy(answers: Sequence[str | None], rows: Sequence[Row]) -> float:
    """Score answers, whoever gave them: the label, but for white space at its ends and for case."""
    said = [(answer or "").strip().casefold() for answer in answers]
    return sum(a == row["label"].strip().casefold() for a, row in zip(said, rows, strict=True)) / len(rows)


# --- the server -------------------------------------------------------------------------------------------


@contextmanager
def serving() -> Iterator[str]:
    """Run the server as a process of its own; gives its address."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "live_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def counted(address: str, client: str) -> dict[str, Any]:
    """Ask the server how often a client has asked it."""
    with urllib.request.urlopen(f"{address}/counts", timeout=60) as response:
        report = json.load(response)
    return dict(report.get(client, {"requests": 0, "distinct": 0, "models": {}}))


# --- peers ------------------------------------------------------------------------------------------------


def environment(cache: Path, name: str, packages: Sequence[str]) -> Path:
    """Return the interpreter of an environment, which is made the first time."""
    folder = cache / "env" / name
    ready = folder / "installed.json"
    if not ready.exists() or json.loads(ready.read_text()) != list(packages):
        print(f"installing {', '.join(packages)} in {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(pip, check=True)
        ready.write_text(json.dumps(list(packages)))
    return folder / "bin" / "python"


def run_peer(peer: str, rows: Rows, cache: Path, address: str) -> dict[str, Any]:
    """Return what came of a peer on these rows: from the cache, or by running it."""
    script, _, packages = PEERS[peer]
    job = {"peer": peer, "seed": rows.seed, "threads": THREADS, "description": DESCRIPTION, "labels": rows.labels}
    job |= rows.splits
    key = _key([job, packages, (HERE / "peers" / script).read_text()], rows)
    kept = cache / "results" / f"{peer}-{rows.name}-{rows.seed}.json"
    if kept.exists() and (result := json.loads(kept.read_text()))["key"] == key:
        return dict(result)
    client = f"{kept.stem}-{time.time_ns()}"  # a run that was broken off must not count
    job |= {"api_base": f"{address}/count/{client}/v1", "test_base": f"{address}/count/{client}-test/v1"}
    started = time.monotonic()
    found = _run_script(job, kept.stem, cache)
    result = {
        "key": key,
        "peer": peer,
        "set": rows.name,
        "seed": rows.seed,
        "accuracy": accuracy(found["answers"], rows.splits["test"]),
        "calls": counted(address, client),
        "test_calls": counted(address, f"{client}-test"),
        "seconds": round(time.monotonic() - started, 1),
        **found,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(result))
    return result


def _run_script(job: dict[str, Any], name: str, cache: Path) -> dict[str, Any]:
    """Run a peer's script in its environment; what it says goes into a log beside the job."""
    script, env, packages = PEERS[job["peer"]]
    with INSTALLING:
        python = environment(cache, env, packages)
    folder = cache / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    asked, said = folder / f"{name}.json", folder / f"{name}.out.json"
    asked.write_text(json.dumps(job))
    # Without what would lead a peer to another server, or off to fetch a table of prices.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "OPENAI"))}
    kept |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "OMP_NUM_THREADS": "1"}
    command = [str(python), str(HERE / "peers" / script), str(asked), str(said)]
    with (folder / f"{name}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, timeout=LIMIT, env=kept, cwd=cache)
    return dict(json.loads(said.read_text()))


def _key(parts: Sequence[object], rows: Rows) -> str:
    """Name all that a peer's result hangs on, with what the server's models make of some of these rows."""
    shown = "\n\n".join(f"Text: {row['text']}\nLabel: {row['label']}" for row in rows.splits["train"][:8])
    head = f"Give the label. Options: {', '.join(rows.labels)}\n\n"
    answers = [
        complete_text([Message("user", f"{head}{shots}\n\nText: {row['text']}\nLabel:")])
        for row in rows.splits["dev"][:12]
        for shots in ("", shown)
    ]
    asked = "\n".join(f'"text": "{row["text"]}". The right label is {row["label"]}.' for row in rows.splits["train"])
    answers += [propose((Message("user", asked),), repeat) for repeat in range(8)]
    return hashlib.sha256(json.dumps([*parts, answers], sort_keys=True).encode()).hexdigest()[:16]
