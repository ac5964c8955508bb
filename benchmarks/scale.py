"""Measure how a data file of a million rows is read.

    python -m benchmarks.scale [COUNT]

Writes a CSV and a JSONL of COUNT rows (a million by default), runs `init` and `space` on them, and prints a table for
LOG.md.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.job import measure

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


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print("| what | file MB | seconds | peak MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, count)
        for file in ("rows.csv", "rows.jsonl"):
            size = (folder / file).stat().st_size / 1e6
            for command in (["init", file, "--force"], ["space", "task.toml"]):
                seconds, memory = measure(folder, *command)
                print(f"| {' '.join(command[:2])}, {count:,} rows | {size:.0f} | {seconds:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
