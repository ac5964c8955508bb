"""The quality of the rows: suspected label errors, duplicates, drift between splits.

Reads rows and outcomes; changes nothing, and calls no model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from optimizer.findings import Drift, Duplicates, Suspect
from optimizer.records import Dataset, Kind, Outcome
from optimizer.rows.overlap import SPLITS, Audit
from optimizer.unpaired import holm, shares_apart, told_apart
from search_spaces.prompt import Example

# Least calibrated confidence of a suspect. With 5 % of the labels of four data sets made wrong, and a prompt of 85 %,
# 45 to 98 % of the suspects had a wrong label (benchmarks/LOG.md). With 0.8, that share was higher, but on two sets
# only half as many wrong labels were found.
SURE = 0.5
WIDTH = 1024  # cells in which words are counted; words that share a cell blur differences but cannot create drift
COMPARED = 2000  # most rows of a split that are compared (splits are in random order); they show an AUC from 0.53 on
FEWEST = 8  # least rows of a split for a comparison
ALARM = 0.05


def suspects(
    split: str,
    rows: Sequence[Example],
    prompt: Sequence[Outcome],
    baseline: Sequence[Outcome],
    confidence: Mapping[str, float],
    read: Callable[[str | None], Hashable],
) -> list[Suspect]:
    """Return the rows on which prompt and baseline give the same answer, but not the target.

    Two contenders of different kinds rarely make the same error, so many of these rows have a wrong or ambiguous label;
    the others are errors that both make, mostly where both rely on single words. In the spirit of confident learning
    (Northcutt et al. 2021), with the second contender's agreement instead of thresholds per label.

    Parameters
    ----------
    split
        The name of the rows' split.
    rows
        The rows; the baseline was trained on none of them.
    prompt, baseline
        Their outcomes on the rows, or on some of them.
    confidence
        Example id -> the baseline's calibrated confidence; only rows with at least SURE are returned.
    read
        Returns what an answer says, however it is written.
    """
    ours = {outcome.example_id: outcome for outcome in prompt}
    examples = {row.id: row for row in rows}
    found = []
    for theirs in baseline:
        mine, row = ours.get(theirs.example_id), examples.get(theirs.example_id)
        if mine is None or row is None or theirs.answer is None or {mine.kind, theirs.kind} != {Kind.WRONG}:
            continue
        if read(mine.answer) == read(theirs.answer) and confidence[row.id] >= SURE:
            found.append(Suspect(row.id, split, row.target, theirs.answer, confidence[row.id]))
    return found


def informed(rows: Sequence[Example], outcomes: Sequence[Outcome]) -> bool:
    """Return whether a contender is better than always giving the most frequent answer; else it confirms nothing."""
    scored = {outcome.example_id: outcome.kind is Kind.RIGHT for outcome in outcomes if outcome.score is not None}
    counts = Counter(row.target for row in rows if row.id in scored)
    return sum(scored.values()) > max(counts.values(), default=0)


def ranked(found: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """Return suspects sorted by confidence, highest first."""
    return tuple(sorted(found, key=lambda suspect: (-suspect.confidence, suspect.example)))


def duplicates(dataset: Dataset, found: Audit) -> tuple[Duplicates, ...]:
    """Count the findings of an audit by kind and by the splits of the rows."""
    homes = {row.id: name for name in SPLITS for row in getattr(dataset, name)}
    groups: dict[str, Sequence[tuple[str, ...]]] = {
        "identical": [ids for ids in found.duplicates if ids not in found.conflicts],
        "contradicting": found.conflicts,
        "near": sorted({(a, b) for a, b, similarity in (*found.near, *found.leaks) if similarity < 1}),
    }
    counted: list[Duplicates] = []
    for kind, several in groups.items():
        counts: Counter[str] = Counter()
        first: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for ids in several:
            where = "–".join(name for name in SPLITS if name in {homes[id_] for id_ in ids})
            counts[where] += 1
            first[where] = first[where] or ids
        counted += [Duplicates(kind, where, n, ", ".join(first[where][:3])) for where, n in sorted(counts.items())]
    return tuple(counted)


def drifts(
    splits: Mapping[str, Sequence[Example]], rng: np.random.Generator, *, labelled: bool, against: str = "train"
) -> tuple[Drift, ...]:
    """Test whether the rows of each other split differ from the training rows in their words or labels.

    Parameters
    ----------
    splits
        Name -> rows in random order.
    rng
        Draws folds and permutations.
    labelled
        Whether the answers are a closed list.
    against
        The split with which the others are compared.
    """
    kept = {name: rows[:COMPARED] for name, rows in splits.items() if len(rows) >= FEWEST}
    if against not in kept:
        return ()
    vectors = _vectors({name: [row.text for row in rows] for name, rows in kept.items()})
    codes = _codes({name: [row.target for row in rows] for name, rows in kept.items()})
    found = []
    for other in kept:
        if other == against:
            continue
        found.append(("texts", other, *told_apart(vectors[against], vectors[other], rng)))
        if labelled:
            found.append(("labels", other, *shares_apart(codes[against], codes[other], rng)))
    corrected = holm([p for *_, p in found])
    return tuple(Drift(of, against, other, size, p) for (of, other, size, _), p in zip(found, corrected, strict=True))


def _vectors(texts: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.float64]]:
    """Return hashed TF-IDF vectors of words (Weinberger et al. 2009), of length 1: texts [n] -> [n, WIDTH]."""
    counted = {name: np.zeros((len(several), WIDTH)) for name, several in texts.items()}
    for name, several in texts.items():
        for row, text in enumerate(several):
            for word in text.casefold().split():
                counted[name][row, crc32(word.encode("utf-8", "surrogatepass")) % WIDTH] += 1
    every = np.concatenate(list(counted.values()))
    rarity = np.log((1 + len(every)) / (1 + (every > 0).sum(axis=0)))
    weighed = {name: np.log1p(counts) * rarity for name, counts in counted.items()}
    lengths = {name: np.linalg.norm(rows, axis=1, keepdims=True) for name, rows in weighed.items()}
    return {name: rows / np.maximum(lengths[name], 1e-9) for name, rows in weighed.items()}


def _codes(targets: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.intp]]:
    numbers = {target: i for i, target in enumerate(sorted({t for several in targets.values() for t in several}))}
    return {name: np.array([numbers[t] for t in several], dtype=np.intp) for name, several in targets.items()}


def sentence(found: Sequence[Drift]) -> str:
    """Return a warning if the dev or test rows differ from the training rows; otherwise an empty text."""
    alarms = [drift for drift in found if drift.p_value < ALARM and drift.b != "ood"]
    said = [
        f"their {drift.what} tell the {drift.b} rows from the {drift.a} rows "
        f"({'AUC' if drift.what == 'texts' else 'distance'} {drift.size:.2f}, p = {drift.p_value:.2g})"
        for drift in alarms
    ]
    return f"The splits differ: {'; '.join(said)}." if said else ""
