"""Measure the cascade (calls saved, score lost) and suspected labels (how many of them were made wrong on purpose).

    python benchmarks/together.py ../shared/data ag_news sms_spam sst2

Each data set is a folder with train.jsonl, dev.jsonl and test.jsonl, whose rows have `id`, `text` and `label`. A share
of all labels is replaced by others (`--turned 0.05`). A prompt is simulated by answers of which a random share is the
true label (`--prompt 0.85`). Prints tables for LOG.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from optimizer.baseline import Budget, Lesson
from optimizer.contenders import BEST, RIVAL
from optimizer.engine.studies import best_hyperparameters
from optimizer.evidence.cascade import Answered, choose, front
from optimizer.evidence.quality import ranked, suspects
from optimizer.records import Outcome
from optimizer.rivals.linear import train
from optimizer.scores.metrics import METRICS
from optimizer.scoring import score
from search_spaces.prompt import Example

ACCURACY = METRICS["accuracy"]


def read(folder: Path, split: str) -> list[Example]:
    """Read the rows of a split."""
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in rows]


def other(row: Example, labels: list[str], rng: np.random.Generator) -> str:
    """Another label than the row's."""
    return str(rng.choice([label for label in labels if label != row.target]))


def measured(folder: Path, turned: float, share: float) -> tuple[list[str], list[str]]:
    """Turn labels, train, stand in for a prompt; a line on suspects and one on the cascade."""
    rng, true = np.random.default_rng(0), {split: read(folder, split) for split in ("train", "dev", "test")}
    labels = sorted({row.target for row in true["train"]})
    rows = {
        split: [replace(row, targets=(other(row, labels, rng),)) if rng.random() < turned else row for row in several]
        for split, several in true.items()
    }
    rival = train(Lesson(rows["train"], rows["dev"], ACCURACY, best_hyperparameters, True, Budget(5)))

    def answered(split: str) -> Answered:
        said = [row.target if rng.random() < share else other(row, labels, rng) for row in true[split]]
        pairs = list(zip(rows[split], said, strict=True))
        prompt = [Outcome(row.id, *score(ACCURACY, answer, row), answer, cost=0.001) for row, answer in pairs]
        confidence = np.array(rival.confidence([row.text for row in rows[split]]))
        return Answered(rows[split], prompt, rival.outcomes(rows[split], ACCURACY), confidence)

    dev, test = answered("dev"), answered("test")
    chosen = choose(dev, ACCURACY)
    assert chosen
    found = []
    for split, each in (("dev", dev), ("test", test)):
        sure = {row.id: float(c) for row, c in zip(each.rows, chosen.calibrated(each.confidence), strict=True)}
        found += suspects(split, each.rows, each.prompt, each.baseline, sure, read=str)
    wrong = {a.id for split in ("dev", "test") for a, b in zip(rows[split], true[split], strict=True) if a != b}
    hits = [suspect.example in wrong for suspect in ranked(found)]
    cells = [f"{len(hits)}", f"{np.mean(hits):.2f}", f"{np.mean(hits[:50]):.2f}", f"{sum(hits) / len(wrong):.2f}"]
    cascade = front(chosen, test, (BEST, RIVAL), ACCURACY, rng, priced=(True, True))
    point = next(point for point in cascade.points if point.chosen)
    alone = [cascade.points[0].score, cascade.points[-1].score]
    figures = [*(f"{value:.3f}" for value in (*alone, point.score)), f"{point.share:.2f}", f"{cascade.surer:+.3f}"]
    return [folder.name, *cells], [folder.name, *figures]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--turned", type=float, default=0.05)
    parser.add_argument("--prompt", type=float, default=0.85)
    given = parser.parse_args()
    lines = [measured(given.data / name, given.turned, given.prompt) for name in given.names]
    columns = (
        ("data", "suspects", "turned", "turned of the first 50", "found of all turned"),
        ("data", "baseline", "prompt", "cascade", "to the prompt", "calibrated confidence less score"),
    )
    for position, names in enumerate(columns):
        print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
        print("\n".join("| " + " | ".join(line[position]) + " |" for line in lines), end="\n\n")


if __name__ == "__main__":
    main()
