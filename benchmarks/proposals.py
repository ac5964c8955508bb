"""What do proposals gain that are made without a model? Whole searches with and without them, with the embedded model.

    python benchmarks/proposals.py ../shared/data [NAME …]

These proposals are: labels listed with their distinctive terms, wordings that name distinctive terms, and constraints
from the form of the expected answers. "without" removes exactly these from the space, so that the built-in wordings,
templates and demos are left; with demos "none", no demos may be shown, so that only the wording helps. Prints a table
for LOG.md: the best prompt's mean score on the test rows over some seeds of the search, in percent, and the paired
gain.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from whole_verdicts import TASKS, task

from optimizer import tune
from optimizer.contenders import rivalled
from optimizer.preparing import prepare
from optimizer.task import Task, load_task
from search_spaces.instructions import FOUND_WORDS, names_in

CALLS = 600
SEEDS = 4
DEMO = Path(__file__).resolve().parents[1] / "optimizer" / "demo" / "task.toml"
LISTED = ("terms", "many_terms", "described_terms")
LIGHT: dict[str, Any] = {"trials": 1, "seconds": 5.0}  # the baseline is not what is asked about


def without(task: Task) -> dict[str, Any]:
    """Say what a space has to drop so that nothing in it was found in the training rows."""
    dropped: dict[str, Any] = {}
    for dimension in prepare(task).space.dimensions:
        made = [id_ for id_ in map(str, dimension.choices) if names_in(dimension.texts.get(id_, "")) & set(FOUND_WORDS)]
        made += [id_ for id_ in dimension.choices if dimension.name == "labels" and id_ in LISTED]
        if made:
            dropped[dimension.name] = {"drop": made}
    return dropped


def scores(
    task: Task, space: dict[str, Any], folder: Path, beside: Callable[[], dict[str, Any]] = dict, seeds: int = SEEDS
) -> list[float]:
    """The winner's score on the test rows, for each seed of the search; `beside` makes models that are brought."""
    found = []
    for seed in range(seeds):
        search = task.search.model_copy(update={"calls": CALLS, "seed": seed})
        baseline = task.baseline.model_copy(update=LIGHT)
        data = task.data.model_copy(update={"ood": "", "slices": []})
        told = task.model_copy(update={"search": search, "baseline": baseline, "space": space, "data": data})
        verdict = tune(told, db=folder / f"{len(list(folder.iterdir()))}.db", **beside()).verdict
        assert verdict
        found.append(100 * rivalled(verdict).score)
    return found


def main() -> None:
    """Run the tasks that are named, or all."""
    data, names = Path(sys.argv[1]), sys.argv[2:] or ["support", *TASKS]
    sys.stdout.write("| data | demos | without | with | gain, and its standard error |\n" + "|---" * 5 + "|\n")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            told = load_task(DEMO if name == "support" else task(data, name, Path(folder)))
            for demos in ("any", "none"):
                bare = {**told.space, **({"demos": "none"} if demos == "none" else {})}
                full, less = (scores(told, space, Path(folder)) for space in (bare, {**bare, **without(told)}))
                gains = [a - b for a, b in zip(full, less, strict=True)]
                error = stdev(gains) / SEEDS**0.5
                means = f"{fmean(less):.1f} | {fmean(full):.1f} | {fmean(gains):+.1f} ± {error:.1f}"
                sys.stdout.write(f"| {name} | {demos} | {means} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
