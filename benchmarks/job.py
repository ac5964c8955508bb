"""Measure the main job: its seconds and memory, and how soon the small commands answer.

    python benchmarks/job.py

Runs the demo twice in an empty folder (the second time every completion is reused), then the commands that must
start at once, and prints a table for LOG.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 7


def measure(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run phrasetune; return wall seconds and peak memory in MB."""
    command = [sys.executable, "-m", "optimizer.cli", *arguments]
    root = str(Path(__file__).resolve().parents[1])
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.DEVNULL
    ) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {child.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    print("| what | seconds | peak MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label in ("demo", "demo again, everything reused"):
            seconds, memory = measure(folder, "demo", "--quiet")
            print(f"| {label} | {seconds:.1f} | {memory:.0f} |")
        for arguments in (["--help"], ["history"], ["show"]):
            runs = [measure(folder, *arguments) for _ in range(REPEATS)]
            seconds = statistics.median(seconds for seconds, _ in runs)
            print(f"| {arguments[0]}, median of {REPEATS} | {seconds:.2f} | {max(memory for _, memory in runs):.0f} |")


if __name__ == "__main__":
    main()
