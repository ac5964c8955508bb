"""What batch calibration gains on a table of a real model's label log-probabilities, by the size of the batch.

    python benchmarks/batch_calibration.py [--data ../shared/data/tabular/ups_sst2_opt27b]

100 prompts x 872 sentences of SST-2 on OPT-2.7B. A batch of unlabelled rows is drawn, from which the prior of every
prompt is computed; all other rows are answered ("all": the batch has all rows, which are also answered). Prints the
accuracy of the median and the best prompt, for our mean of log-probabilities and for the mean of probabilities, each
with and without the further row that shrinks small batches towards no calibration. A row in a search's first block of
five is calibrated on four others, so the line for 4 is what the search sees at first, and the last lines are what is
exported.

Knows the table's format and `optimizer.scores.calibration`; no model is called.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optimizer.scores.calibration import FURTHER_ROWS, Batch

LABELS = ("negative", "positive")  # the order of the table's last axis
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Log-probabilities [prompts, rows, labels] and the right label of each row [rows]."""

    logprobs: Floats
    targets: NDArray[np.intp]

    def accuracy(self, priors: Floats, rows: NDArray[np.intp]) -> Floats:
        """Accuracy of each prompt [prompts] on some rows, under its prior [prompts, labels]."""
        chosen = (self.logprobs[:, rows] - priors[:, None]).argmax(2)
        means: Floats = (chosen == self.targets[rows]).mean(1)
        return means

    def priors(self, rows: NDArray[np.intp]) -> Floats:
        """Our prior of each prompt [prompts, labels], from a batch of rows."""
        return np.array([self._prior(prompt, rows) for prompt in range(len(self.logprobs))])

    def _prior(self, prompt: int, rows: NDArray[np.intp]) -> list[float]:
        batch = Batch(LABELS)
        for row in rows:
            told = tuple(zip(LABELS, self.logprobs[prompt, row].tolist(), strict=True))
            batch.add(str(row), dict(told), told)
        return list(batch.prior().values())

    def plain_means(self, rows: NDArray[np.intp]) -> Floats:
        """Mean log-probability [prompts, labels], nothing added: the limit of ours."""
        found: Floats = self.logprobs[:, rows].mean(1)
        return found

    def probabilities(self, rows: NDArray[np.intp], further: float) -> Floats:
        """Logarithm of the mean probability [prompts, labels], with so many further rows of equal probabilities."""
        shares = self.logprobs - np.logaddexp.reduce(self.logprobs, axis=2, keepdims=True)
        total = np.exp(shares[:, rows]).sum(1) + further / len(LABELS)
        found: Floats = np.log(total / (len(rows) + further))
        return found


def load(folder: Path) -> Table:
    """Read the table."""
    with np.load(folder / "matrix.npz") as data:
        return Table(data["label_logprob"].astype(float), data["target"].astype(np.intp))


def by_size(table: Table, draws: int, rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """Median and best accuracy over prompts for each size of batch, mean over draws, by way to calibrate."""
    n = len(table.targets)
    every = np.arange(n)
    batches = {str(size): [rng.permutation(n) for _ in range(draws)] for size in SIZES}
    found: dict[str, list[tuple[float, float]]] = {}
    for size, orders in [*batches.items(), ("all", [every])]:
        cut = n if size == "all" else int(size)
        pairs = [(order[:cut], order if size == "all" else order[cut:]) for order in orders]
        found[size] = [
            _summary([table.accuracy(np.zeros((len(table.logprobs), 2)), rest) for _, rest in pairs]),
            _summary([table.accuracy(table.priors(batch), rest) for batch, rest in pairs]),
            _summary([table.accuracy(table.plain_means(batch), rest) for batch, rest in pairs]),
            _summary([table.accuracy(table.probabilities(batch, FURTHER_ROWS), rest) for batch, rest in pairs]),
            _summary([table.accuracy(table.probabilities(batch, 0.0), rest) for batch, rest in pairs]),
        ]
    return found


def _summary(accuracies: list[Floats]) -> tuple[float, float]:
    means = np.mean(accuracies, axis=0)
    return float(np.median(means)), float(means.max())


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    usual = Path(__file__).resolve().parents[2] / "shared" / "data" / "tabular" / "ups_sst2_opt27b"
    parser.add_argument("--data", type=Path, default=usual)
    parser.add_argument("--draws", type=int, default=20, help="batches drawn for each size")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    table, rng = load(args.data), np.random.default_rng(args.seed)
    prompts = sum(1 for line in (args.data / "prompts.jsonl").open(encoding="utf-8") if json.loads(line))
    print(f"{prompts} prompts x {len(table.targets)} rows; accuracy of the median prompt / of the best")
    print(
        f"{'batch':>6} {'as written':>14} {'ours':>14} {'nothing added':>14} {'probabilities':>14} {'those, bare':>14}"
    )
    for size, cells in by_size(table, args.draws, rng).items():
        print(f"{size:>6} " + " ".join(f"{median:.3f} / {best:.3f}".rjust(14) for median, best in cells))


if __name__ == "__main__":
    main()
