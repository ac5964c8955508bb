"""Measure what happens at a million: rows of a data file, and outcomes in results.db.

    python -m benchmarks.scale [COUNT]

Writes a CSV and a JSONL of COUNT rows (a million by default), and runs `init` and `space` on them; then a results.db of
COUNT outcomes, each with a completion of its own, and runs `history` on it. Prints two tables for LOG.md.
"""

from __future__ import annotations

import csv
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.job import REPEATS, measure
from optimizer.records import Completion, Kind, Outcome, Run, State, Trial
from optimizer.store import Store
from search_spaces.prompt import Prompt

LABELS = ("billing", "bug", "login", "feature", "shipping", "privacy", "praise", "other")
RARE = 50_000  # one row in so many has a label of its own


def rows(count: int) -> Iterator[dict[str, str]]:
    """Make rows of about 160 bytes."""
    rng = random.Random(0)
    words = [f"{a}{b}" for a in ("re", "in", "con", "de", "pro") for b in ("port", "voice", "tract", "mand", "duct")]
    for number in range(count):
        label = "rare" if number % RARE == 0 else rng.choice(LABELS)
        yield {"id": f"row-{number}", "text": f"{label[:3]} {' '.join(rng.choices(words, k=19))}", "label": label}


def write_rows(folder: Path, count: int) -> None:
    """Write the same rows as CSV and as JSONL."""
    with (
        (folder / "rows.csv").open("w", newline="", encoding="utf-8") as table,
        (folder / "rows.jsonl").open("w") as log,
    ):
        writer = csv.DictWriter(table, ["id", "text", "label"])
        writer.writeheader()
        for row in rows(count):
            writer.writerow(row)
            log.write(json.dumps(row) + "\n")


TRIALS, ROWS = 500, 250  # of a run; the most that a task may open
PROMPT = Prompt("plain", "Sort it.", ("text",), "label", LABELS)


def trial(rng: random.Random, number: int) -> tuple[Trial, dict[str, Completion]]:
    """Make a trial whose every outcome has a completion of its own: a label, as JSON in half of the trials."""
    outcomes, bought = [], {}
    for row in range(ROWS):
        key, label = rng.randbytes(16).hex(), rng.choice(LABELS)
        text = f'{{"label": "{label}"}}' if number % 2 else label
        seconds = rng.lognormvariate(-1, 0.5)
        done = Completion(
            text, rng.randint(100, 900), 3, 1e-6 * rng.randint(20, 200), seconds, version="gpt-4o-2024-08-06"
        )
        right = rng.random() < 0.6
        kind, score = (Kind.RIGHT, 1.0) if right else (Kind.WRONG, 0.0)
        outcomes.append(Outcome(f"row-{row}", kind, score, label, key, text=text, step=number * ROWS // 5 + row // 5))
        bought[key] = done
    params = {"template": "plain", "k": number % 9, "labels": "names", "demos": "nearest", "answer_format": "bare"}
    mean = sum(o.score or 0.0 for o in outcomes) / ROWS
    state = State.COMPLETE if number % 10 == 0 else State.PRUNED
    return Trial(
        number, params, PROMPT, state, mean, (mean - 0.06, mean + 0.06), ROWS, {ROWS: mean}, tuple(outcomes)
    ), bought


def write_outcomes(db: Path, count: int) -> tuple[float, float]:
    """Write runs of 500 trials through the store; return the seconds that completions and trials took."""
    rng, buying, saving, left = random.Random(0), 0.0, 0.0, count
    with Store(db, create=True) as store:
        while left > 0:
            run = store.start_run(Run(0, "scale", {}, "openai/gpt-4o", "accuracy", "data", "running", ""), "config")
            for number in range(min(TRIALS, -(-left // ROWS))):
                made, bought = trial(rng, number)
                started = time.perf_counter()
                store.add_completions(run, "openai/gpt-4o", bought)
                between = time.perf_counter()
                store.save_trial(run, made, "Sort it.")
                saving += time.perf_counter() - between
                buying += between - started
                left -= ROWS
            store.update_run(run, status="finished", winner=0)
    return buying, saving


def rows_table(folder: Path, count: int) -> None:
    """Print what reading a data file takes."""
    print("| what | file MB | seconds | peak MB |\n|---|---|---|---|")
    write_rows(folder, count)
    for file in ("rows.csv", "rows.jsonl"):
        size = (folder / file).stat().st_size / 1e6
        for command in (["init", file, "--force"], ["space", "task.toml"]):
            seconds, memory = measure(folder, *command)
            print(f"| {' '.join(command[:2])}, {count:,} rows | {size:.0f} | {seconds:.1f} | {memory:.0f} |")


def outcomes_table(folder: Path, count: int) -> None:
    """Print what outcomes and completions take."""
    buying, saving = write_outcomes(folder / "results.db", count)
    runs = [measure(folder, "history") for _ in range(REPEATS)]
    print(f"\n| {count:,} outcomes, as many completions | |\n|---|---|")
    print(f"| bytes of results.db per outcome | {(folder / 'results.db').stat().st_size / count:.0f} |")
    print(f"| microseconds per completion written | {1e6 * buying / count:.1f} |")
    print(f"| microseconds per outcome written | {1e6 * saving / count:.1f} |")
    print(f"| history, seconds, median of {REPEATS} | {statistics.median(seconds for seconds, _ in runs):.2f} |")


def main() -> None:
    """Print the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        rows_table(Path(name), count)
        outcomes_table(Path(name), count)


if __name__ == "__main__":
    main()
