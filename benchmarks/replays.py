"""Problems from tables of what real models answered: lists of prompts with answers, and grids with accuracies.

Finds the tables in a folder, whatever their tasks and models:

- `NAME.npz` (correct [prompts, rows], 255 if not answered; test_acc [prompts]) with `NAME.prompts.jsonl.gz`: a list.
  Only prompts that answered every row and were tested count; the truth is the test accuracy.
- a folder with `matrix.npz` (correct [prompts, rows]) and `prompts.jsonl`: a list. Each seed draws its own dev rows;
  the truth is the accuracy on the others.
- `runs.csv.gz` (an accuracy for each dataset, model, template and way of showing examples): the largest complete grid
  for each dataset and model. Answers are simulated with the real accuracies.

Knows no search method.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import ROWS, BareSpace, Floats, Params, Problem
from search_spaces.prompt import Example
from search_spaces.space import Dimension, Value

NOT_ASKED = 255
FEWEST = 5  # prompts below which there is nothing to search
LIST_CALLS = 5_000
GRID_CALLS = 2_000
DIFFICULTY = 1.5  # standard deviation of the simulated rows' difficulty, in logits
FLAT = 3.0  # points between the best and the median prompt up to which a table counts as flat


@dataclass(frozen=True)
class Table:
    """A table of answers or accuracies; `problem` draws one search from it.

    `best` and `middle` are the accuracies of the best and the median prompt, in points.
    """

    name: str
    family: str
    prompts: int
    best: float
    middle: float
    draw: Callable[[int], Problem]

    @property
    def spread(self) -> float:
        """How far the best prompt lies above the median one."""
        return self.best - self.middle

    @property
    def flat(self) -> bool:
        """Whether there is hardly anything to gain."""
        return self.spread <= FLAT + 1e-6  # accuracies are kept as 32-bit numbers in some tables

    def problem(self, seed: int) -> Problem:
        """Draw the dev rows, the seed prompt and, on a grid, the answers; the same seed draws the same."""
        return self.draw(seed)


def tables(folder: Path) -> list[Table]:
    """Find all tables in a folder, in the order of their names; none if there is no such folder."""
    found = [*_matrices(folder), *_tested(folder), *_grids(folder)]
    return sorted((table for table in found if table.prompts >= FEWEST), key=lambda table: (table.family, table.name))


def _table(name: str, family: str, truth: Floats, draw: Callable[[int], Problem]) -> Table:
    return Table(name, family, len(truth), float(truth.max()), float(np.median(truth)), draw)


# --- lists of prompts --------------------------------------------------------------------------------------


def _tested(folder: Path) -> Iterable[Table]:
    """Read lists of prompts whose dev answers and test accuracy are known."""
    for path in sorted(folder.rglob("*.npz")):
        beside = path.with_name(path.name.replace(".npz", ".prompts.jsonl.gz"))
        if not beside.exists():
            continue
        arrays = np.load(path)
        tested = arrays["test_acc"].astype(np.float64)
        kept = np.flatnonzero((arrays["correct"] != NOT_ASKED).all(axis=1) & ~np.isnan(tested))
        if len(kept) < FEWEST:
            continue
        task, _, seed = path.stem.split("__")
        shots = {shot["shot"]: shot["text"] for shot in _lines(path.with_name(f"shots__{task}.jsonl.gz"))}
        prompts = _lines(beside)
        texts = [
            "\n\n".join([prompts[i]["instruction"], *(shots[j] for j in prompts[i]["shots"])]) + prompts[i]["suffix"]
            for i in kept
        ]
        examples = _lines(path.with_name(f"examples__{task}__{seed}.jsonl.gz"))
        rows = tuple(
            Example(f"row-{i}", (("text", example["text"]),), (str(example["label"]),))
            for i, example in enumerate(examples)
        )
        listing = _List(path.stem, texts, arrays["correct"][kept] == 1, rows, 100 * tested[kept])
        yield _table(listing.name, "list", listing.truth, listing.whole)


def _matrices(folder: Path) -> Iterable[Table]:
    """Read lists of prompts of which every answer is known, and no test set."""
    for path in sorted(folder.rglob("matrix.npz")):
        prompts = path.with_name("prompts.jsonl")
        if not prompts.exists():
            continue
        arrays = np.load(path)
        right = arrays["correct"] == 1
        targets = arrays["target"] if "target" in arrays else np.zeros(right.shape[1], dtype=int)
        beside = path.with_name("examples.jsonl")
        texts = [str(record.get("text", "")) for record in _lines(beside)] if beside.exists() else [""] * len(targets)
        rows = tuple(
            Example(f"row-{i}", (("text", text),), (str(target),))
            for i, (text, target) in enumerate(zip(texts, targets, strict=True))
        )
        templates = [record["template"] for record in _lines(prompts)]
        listing = _List(path.parent.name, templates, right, rows, 100 * right.mean(axis=1))
        yield _table(listing.name, "list", listing.truth, listing.split)


@dataclass(frozen=True)
class _List:
    """Prompts without structure: texts, answers [prompts, rows], and the accuracy of each in points."""

    name: str
    texts: Sequence[str]
    right: NDArray[np.bool_]
    rows: tuple[Example, ...]
    truth: Floats

    def whole(self, seed: int) -> Problem:
        """All rows are dev rows; the truth was measured on others."""
        return self._problem(seed, np.arange(len(self.rows)), self.truth)

    def split(self, seed: int) -> Problem:
        """Some rows are dev rows; the truth is the accuracy on the others."""
        order = np.random.default_rng([1, seed]).permutation(len(self.rows))
        return self._problem(seed, order[:ROWS], 100 * self.right[:, order[ROWS:]].mean(axis=1))

    def _problem(self, seed: int, dev: NDArray[np.intp], truth: Floats) -> Problem:
        ids = [f"prompt-{i}" for i in range(len(self.texts))]
        first = ids[int(np.random.default_rng([2, seed]).integers(len(ids)))]  # stands for what a user begins with
        place = {name: i for i, name in enumerate(ids)}
        texts = dict(zip(ids, self.texts, strict=True))
        right = self.right[:, dev]
        instruction = Dimension("instruction", "the whole prompt", first, tuple(ids), texts)
        return Problem(
            name=f"{self.name}-{seed}",
            family="list",
            space=BareSpace([instruction], _labels(self.rows)),
            rows=tuple(self.rows[i] for i in dev),
            right=lambda params: right[place[str(params["instruction"])]],
            truth=lambda params: float(truth[place[str(params["instruction"])]]),
            best=float(truth.max()),
            middle=float(np.median(truth)),
            calls=LIST_CALLS,
        )


def _labels(rows: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(row.target for row in rows))


def _lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


# --- factorial grids ---------------------------------------------------------------------------------------

PARTS = ("inp_verbalizer", "out_verbalizer", "sep", "big_sep")
ARM = ("selection_method", "n_shots", "prediction_method")
Runs = dict[tuple[str, ...], dict[tuple[str, ...], float]]  # arm -> template -> accuracy in points


def _grids(folder: Path) -> Iterable[Table]:
    """Read the grids of each dataset and model: templates by ways of choosing, showing and scoring."""
    for path in sorted(folder.rglob("runs.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            records = list(csv.DictReader(file))
        if not records or not {*PARTS, *ARM, "dataset", "model", "example_seed", "accuracy"} <= set(records[0]):
            continue
        groups = defaultdict[tuple[str, str], list[dict[str, str]]](list)
        for record in records:
            groups[record["dataset"], record["model"]].append(record)
        for (dataset, model), group in groups.items():
            grid = _Grid(f"{dataset}-{model}", *_largest(_runs(group)))
            truth = np.array([accuracy for arm in grid.runs.values() for accuracy in arm.values()])
            yield _table(grid.name, "grid", truth, grid.simulated)


def _runs(records: Sequence[Mapping[str, str]]) -> Runs:
    """Take the draw of examples that the most runs share: the others were run with few templates only."""
    commonest = Counter(record["example_seed"] for record in records).most_common(1)[0][0]
    runs: Runs = defaultdict(dict)
    for record in records:
        if record["example_seed"] == commonest:
            arm, template = tuple(record[name] for name in ARM), tuple(record[name] for name in PARTS)
            runs[arm][template] = 100 * float(record["accuracy"])
    return runs


def _largest(runs: Runs) -> tuple[list[tuple[str, ...]], Runs]:
    """Find the templates, and the arms that were run with all of them, that make the largest full grid."""
    best: tuple[list[tuple[str, ...]], Runs] = ([], {})
    arms = sorted(runs, key=lambda arm: -len(runs[arm]))
    for count in range(1, len(arms) + 1):
        shared = set.intersection(*(set(runs[arm]) for arm in arms[:count]))
        if len(shared) * count > len(best[0]) * len(best[1]):
            templates = sorted(shared)
            best = templates, {arm: {t: runs[arm][t] for t in templates} for arm in arms[:count]}
    return best


@dataclass(frozen=True)
class _Grid:
    """Templates by arms with the accuracy of each in points."""

    name: str
    templates: list[tuple[str, ...]]
    runs: Runs

    def simulated(self, seed: int) -> Problem:
        """Draw rows of random difficulty, and answers such that each prompt's expected accuracy is the real one."""
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        difficulty = rng.normal(0, DIFFICULTY, ROWS)
        rows = tuple(Example(f"row-{i}", (("text", f"{i}"),), ("ab"[i % 2],)) for i in range(ROWS))
        arms = list(self.runs)
        truth = np.array([list(self.runs[arm].values()) for arm in arms])  # [arms, templates]
        answers = rng.random((*truth.shape, ROWS)) < _sigmoid(_levels(truth)[..., None] + difficulty)
        dimensions, arm_of = _dimensions(arms, self.templates, rng)

        def place(params: Params) -> tuple[int, int]:
            return arms.index(arm_of(params)), int(str(params["template"]).rpartition("-")[2])

        return Problem(
            name=f"{self.name}-{seed}",
            family="grid",
            space=BareSpace(dimensions, ("a", "b")),
            rows=rows,
            right=lambda params: answers[place(params)],
            truth=lambda params: float(truth[place(params)]),
            best=float(truth.max()),
            middle=float(np.median(truth)),
            calls=GRID_CALLS,
        )


def _dimensions(
    arms: Sequence[tuple[str, ...]], templates: Sequence[tuple[str, ...]], rng: np.random.Generator
) -> tuple[list[Dimension], Callable[[Params], tuple[str, ...]]]:
    """Declare the dimensions of a grid, with a random seed prompt, and how to read an arm from the parameters."""
    texts = {f"template-{i}": _written(parts) for i, parts in enumerate(templates)}
    template = Dimension("template", "", f"template-{rng.integers(len(texts))}", tuple(texts), texts)
    selections, methods = (sorted({arm[i] for arm in arms}) for i in (0, 2))
    shots = sorted({int(arm[1]) for arm in arms})
    usual = max(methods, key=lambda method: sum(arm[2] == method for arm in arms))
    unusual = [arm for arm in arms if arm[2] != usual]
    when: dict[str, tuple[Value, ...]] = {
        "selection_method": tuple(sorted({arm[0] for arm in unusual})),
        "n_shots": tuple(sorted({int(arm[1]) for arm in unusual})),
    }
    made = {
        (selection, str(number), method)
        for selection in selections
        for number in shots
        for method in (methods if selection in when["selection_method"] and number in when["n_shots"] else [usual])
    }
    if made != set(arms):  # conditions cannot say which arms there are: name them one by one
        names = [", ".join(arm) for arm in arms]
        arm = Dimension("arm", "", names[int(rng.integers(len(names)))], tuple(names))
        return [template, arm], lambda params: arms[names.index(str(params["arm"]))]
    options: tuple[Sequence[Value], ...] = (selections, shots, methods)
    chosen = [
        Dimension(name, "", values[int(rng.integers(len(values)))], tuple(values), when=conditions)
        for name, values, conditions in zip(ARM, options, ({}, {}, when), strict=True)
    ]
    return [template, *chosen], lambda params: tuple(str(params.get(name, usual)) for name in ARM)


def _written(parts: tuple[str, ...]) -> str:
    """Write a template out as the model sees it, for one example."""
    before, after, between, end = (part.replace("\\n", "\n") for part in parts)
    return f"{before}{between}{after}{end}"


def _levels(accuracy: Floats) -> Floats:
    """Solve for the logits at which rows of random difficulty are answered with these accuracies, in points."""
    levels = np.linspace(-12, 12, 961)
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    expected = _sigmoid(levels[:, None] + DIFFICULTY * nodes) @ weights / weights.sum()
    found: Floats = np.interp(accuracy / 100, expected, levels)
    return found


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
