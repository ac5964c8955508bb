"""What the rows are good for: suspected label errors, duplicates, drift between splits.

Reads rows and what was answered to them; changes nothing, and calls nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from optimizer.findings import Drift, Duplicates, Suspect
from optimizer.records import Dataset, Kind, Outcome
from optimizer.rows.overlap import SPLITS, Audit
from optimizer.unpaired import holm, shares_apart, told_apart
from search_spaces.prompt import Example

# With 5 % of the labels of four data sets turned wrong on purpose, and a prompt of 85 %, 45 to 98 % of the rows above
# it were such (benchmarks/LOG.md). Above 0.8 the share was higher, but on two sets half as many of them were found.
SURE = 0.5
WIDTH = 1024  # cells that words are counted in; two words that share one blur the picture, and feign no drift
COMPARED = 2000  # rows of a split that are told apart; the order in a split is random. Shows an AUC from 0.53 on
FEWEST = 8  # rows of a split, below which nothing is said of it
ALARM = 0.05


def suspects(
    split: str,
    rows: Sequence[Example],
    prompt: Sequence[Outcome],
    baseline: Sequence[Outcome],
    confidence: Mapping[str, float],
) -> list[Suspect]:
    """List rows on which prompt and baseline give the same answer, and not the one that is wanted.

    Two contenders that are made differently rarely err alike, so that many of these rows are labelled wrongly, or can
    be read either way; the others are errors that both make, most of them where both look at words alone. In the spirit
    of confident learning (Northcutt et al. 2021), with the second contender's agreement in the place of thresholds per
    label.

    Parameters
    ----------
    split
        What the rows are.
    rows
        None of which the baseline was trained on.
    prompt, baseline
        Their outcomes on the rows, or on some of them.
    confidence
        Example id -> how sure the baseline is, calibrated; only rows of at least a half are listed.
    """
    ours = {outcome.example_id: outcome for outcome in prompt}
    examples = {row.id: row for row in rows}
    found = []
    for theirs in baseline:
        mine, row = ours.get(theirs.example_id), examples.get(theirs.example_id)
        if mine is None or row is None or theirs.answer is None or {mine.kind, theirs.kind} != {Kind.WRONG}:
            continue
        if mine.answer == theirs.answer and confidence[row.id] >= SURE:
            found.append(Suspect(row.id, split, row.target, theirs.answer, confidence[row.id]))
    return found


def informed(rows: Sequence[Example], outcomes: Sequence[Outcome]) -> bool:
    """Whether a contender is right more often than the most frequent answer is: else its agreement confirms nothing."""
    scored = {outcome.example_id: outcome.kind is Kind.RIGHT for outcome in outcomes if outcome.score is not None}
    counts = Counter(row.target for row in rows if row.id in scored)
    return sum(scored.values()) > max(counts.values(), default=0)


def ranked(found: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """The surest first."""
    return tuple(sorted(found, key=lambda suspect: (-suspect.confidence, suspect.example)))


def duplicates(dataset: Dataset, found: Audit) -> tuple[Duplicates, ...]:
    """Count what an audit found, by kind and by the splits in which the rows stand."""
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
    """Try to tell the training rows apart from those of each other split, by their words and by their labels.

    Parameters
    ----------
    splits
        Name -> rows in random order.
    rng
        Deals and permutes rows.
    labelled
        Whether the answers are a closed list.
    against
        The split that the others are compared with.
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
    """Words by TF-IDF, hashed (Weinberger et al. 2009), each text of length 1: texts [n] -> [n, WIDTH]."""
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
    """Warn if the dev or test rows are not like the training rows; nothing otherwise."""
    alarms = [drift for drift in found if drift.p_value < ALARM and drift.b != "ood"]
    said = [
        f"their {drift.what} tell the {drift.b} rows from the {drift.a} rows "
        f"({'AUC' if drift.what == 'texts' else 'distance'} {drift.size:.2f}, p = {drift.p_value:.2g})"
        for drift in alarms
    ]
    return f"The splits differ: {'; '.join(said)}." if said else ""
