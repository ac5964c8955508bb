"""Measure the verdict: seconds for training the baseline, for the comparison, and for the learning curve.

    python benchmarks/verdict.py ../shared/data banking77 ag_news

Each data set is a folder with train.jsonl, dev.jsonl and test.jsonl, whose rows have `id`, `text` and `label`. A prompt
is simulated by answers of which a share is correct (`--prompt 0.8`). Prints a table for LOG.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from optimizer.baseline import Lesson
from optimizer.contenders import RIVAL, SEED
from optimizer.engine.studies import best_hyperparameters
from optimizer.records import LearningCurve, Outcome
from optimizer.rivals.curve import grow, measure, sentence
from optimizer.rivals.linear import Refit, train
from optimizer.scoring import METRICS, Metric, score
from optimizer.verdict import Entry, decide
from search_spaces.prompt import Example


def read(folder: Path, split: str) -> list[Example]:
    """Read the rows of a split."""
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in rows]


def scored(answers: Sequence[str], rows: Sequence[Example], metric: Metric) -> tuple[Outcome, ...]:
    """Score answers to rows."""
    return tuple(Outcome(row.id, *score(metric, given, row), given) for row, given in zip(rows, answers, strict=True))


def prompted(rows: list[Example], metric: Metric, share: float) -> tuple[Outcome, ...]:
    """Stand in for a prompt that is right on a share of the rows."""
    right = np.random.default_rng(0).random(len(rows)) < share
    return scored([row.target if hit else "another" for row, hit in zip(rows, right, strict=True)], rows, metric)


class Clock:
    """Wall and CPU seconds since the last look."""

    def __init__(self) -> None:
        self.seen = (time.perf_counter(), time.process_time())

    def lap(self) -> str:
        """Say them, and start anew."""
        before, self.seen = self.seen, (time.perf_counter(), time.process_time())
        return f"{self.seen[0] - before[0]:.1f} / {self.seen[1] - before[1]:.1f}"


def verdict(folder: Path, metric: Metric, share: float) -> tuple[list[str], LearningCurve]:
    """Train, judge and measure on one data set; the cells of its line, and its curve."""
    rows, dev, test = (read(folder, split) for split in ("train", "dev", "test"))
    clock = Clock()
    rival = train(Lesson(rows, dev, metric, best_hyperparameters, labelled=True))
    cells = [folder.name, metric.name, f"{len(rows):,}", clock.lap()]
    entries = [
        Entry(SEED, prompted(test, metric, share), 0, ""),
        Entry(RIVAL, rival.outcomes(test, metric), len(rows), rival.trained.detail),
    ]
    judged = decide(entries, test, metric, opened=1, seed=0)
    cells.append(clock.lap())
    refit, rng = Refit(rows, test, rival.trained, 0), np.random.default_rng(0)
    several = grow(lambda part: scored(refit(part), test, metric), [row.target for row in rows], rng)
    grown = measure(several, len(rows), test, metric, judged, rng)
    return [*cells, clock.lap()], grown


def main() -> None:
    """Print the table, and under it each curve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--metric", default="accuracy", choices=sorted(METRICS))
    parser.add_argument("--prompt", type=float, default=0.8)
    options = parser.parse_args()
    metric, curves = METRICS[options.metric], []
    print("| data | metric | training rows | baseline | judging | curve |\n|---|---|---|---|---|---|")
    for name in options.names:
        cells, grown = verdict(options.data / name, metric, options.prompt)
        print(f"| {' | '.join(cells)} |", flush=True)
        curves.append((name, grown))
    for name, grown in curves:
        points = ", ".join(f"{p.rows:,}: {p.score:.3f} ({p.interval[0]:.3f}–{p.interval[1]:.3f})" for p in grown.points)
        print(f"\n{name}: {points}\n{sentence(grown)}")


if __name__ == "__main__":
    main()
