"""What the loopback server does beside chat: embeddings, files, and fine-tuning jobs that end after a few looks.

A tuned model answers as the embedded one does. Nothing is charged but what `usage` and `trained_tokens` say.
"""

from __future__ import annotations

import csv
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimizer.serving import respond

Body = dict[str, Any]
BUNDLED = Path(__file__).resolve().parents[1] / "optimizer" / "demo" / "support.csv"
SIZE = 96  # of an embedding: its words, hashed


def embeddings(body: Body) -> Body:
    """Answer a call to /embeddings."""
    vectors = []
    for text in body["input"]:
        counts = [0.01] * SIZE
        for word in text.lower().split():
            counts[zlib.crc32(word.encode()) % SIZE] += 1
        vectors.append(counts)
    tokens = sum(len(text.split()) for text in body["input"])
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {
        "object": "list",
        "model": body["model"],
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def learned(body: Body) -> Body:
    """Let a tuned model know the answers to all bundled messages; others answer as the embedded one does."""
    if not body["model"].startswith("ft:"):
        return respond(body)
    with BUNDLED.open(encoding="utf-8", newline="") as file:
        known = {row["text"]: row["label"] for row in csv.DictReader(file)}
    asked = body["messages"][-1]["content"]
    last = max(known, key=asked.rfind)  # demos stand before the query
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": known[last]}}
    return {**respond(body), "choices": [choice]}


def overtrained(body: Body) -> Body:
    """Let a tuned model know nothing any more after its last epoch, of which there is no checkpoint."""
    return learned(body) if "ckpt" in body["model"] else respond(body)


@dataclass
class Tuning:
    """Files and jobs. A job runs for `looks` looks at it, and ends with `end`; `kept` checkpoints are there then.

    One on so many rows as are `refused` is not taken.
    """

    looks: int = 2
    end: str = "succeeded"
    kept: int = 0
    refused: list[int] = field(default_factory=list)
    files: dict[str, Body] = field(default_factory=dict)
    jobs: dict[str, Body] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: Body) -> tuple[int, Body]:
        """Answer a call to /files or /fine_tuning/jobs."""
        parts = path.split("/")
        if parts[-1] == "files" and method == "POST":
            number = f"file-{len(self.files) + 1}"
            self.files[number] = body
            sent = {"bytes": len(body["file"]), "filename": body["filename"], "purpose": body["purpose"]}
            return 200, {"id": number, "object": "file", "created_at": 1, "status": "processed", **sent}
        if parts[-1] == "jobs" and method == "POST":
            return self._submit(body)
        if parts[-1] == "jobs":
            jobs = list(reversed(self.jobs.values()))
            return 200, {"object": "list", "data": jobs, "has_more": False}
        if parts[-2] == "jobs" and parts[-1] in self.jobs:
            return 200, self._look(self.jobs[parts[-1]])
        if parts[-1] == "checkpoints" and self.kept:
            return 200, {"object": "list", "data": self._checkpoints(self.jobs[parts[-2]]), "has_more": False}
        return 404, {"error": {"message": "no such path"}}

    def _checkpoints(self, job: Body) -> list[Body]:
        """The latest first."""
        return [
            {
                "id": f"ftckpt-{epoch}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": 1,
                "fine_tuned_model_checkpoint": f"{job['fine_tuned_model']}:ckpt-step-{10 * epoch}",
                "fine_tuning_job_id": job["id"],
                "metrics": {"step": 10.0 * epoch},
                "step_number": 10 * epoch,
            }
            for epoch in range(self.kept, 0, -1)
        ]

    def _submit(self, body: Body) -> tuple[int, Body]:
        if body["training_file"] not in self.files:
            return 400, {"error": {"message": "no such file"}}
        if self.files[body["training_file"]]["file"].count("\n") in self.refused:
            return 400, {"error": {"message": "too few rows"}}
        number = f"ftjob-{len(self.jobs) + 1}"
        job = {
            "id": number,
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": body["model"],
            "training_file": body["training_file"],
            "validation_file": body.get("validation_file"),
            "hyperparameters": body.get("hyperparameters", {}),
            "status": "queued",
            "fine_tuned_model": None,
            "finished_at": None,
            "trained_tokens": None,
            "organization_id": "org",
            "result_files": [],
            "seed": body.get("seed", 0),
            "error": None,
        }
        self.jobs[number] = job
        return 200, job

    def _look(self, job: Body) -> Body:
        looked = job.setdefault("looked", 0) + 1
        job["looked"] = looked
        job["status"] = "running" if looked <= self.looks else self.end
        if looked > self.looks and self.end == "succeeded":
            lines = self.files[job["training_file"]]["file"].splitlines()
            words = sum(len(m["content"].split()) for line in lines for m in json.loads(line)["messages"])
            job["trained_tokens"] = words * int(job["hyperparameters"].get("n_epochs", 1))
            job["fine_tuned_model"] = f"ft:{job['model']}:org::{job['id']}"
        elif looked > self.looks:
            job["error"] = {"code": "invalid", "message": "the rows are no use", "param": None}
        return job
