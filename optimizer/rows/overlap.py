"""Finding rows that are the same or nearly so: duplicates, conflicting targets, near-duplicates, leaks between splits.

Knows examples and splits; reads no file and moves no row.
"""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from zlib import crc32

from optimizer.records import Dataset
from search_spaces.prompt import Example

SPLITS = ("train", "dev", "test")
# Least Jaccard similarity of near-duplicates.
THRESHOLD = 0.8
# Words (for short texts, characters) in a shingle.
WORDS, CHARACTERS = 3, 5
# Texts of up to SHORT words are compared by characters, because one changed word breaks three of their few shingles of
# words; texts of at least LONG words are compared by words. The bands overlap by a fifth, so that any pair of similar
# length is in one of them.
SHORT, LONG = 50, 40
# Most texts listed for one rare shingle, and most candidates compared with one text. Together they limit the work per
# text for any data: a template filled in a thousand times would otherwise make a million pairs.
POSTINGS, CANDIDATES = 50, 30
# Rare shingles that two sets must share before they are compared. On 40,000 texts of 20 words, 14 times fewer pairs are
# compared than with 1, and the same near-duplicates are found.
SHARED = 3
# Shingles are counted in this many cells. A collision only makes a rare shingle seem common.
CELLS = 1 << 20

Key = tuple[str, ...]
Pair = tuple[str, str, float]


@dataclass(frozen=True)
class Audit:
    """Overlapping rows of a data set, which distort a comparison, by their ids.

    Parameters
    ----------
    duplicates
        Groups of rows with identical inputs, ignoring case and white space.
    conflicts
        Those groups of duplicates whose targets differ.
    near
        Pairs with similar but not identical inputs, and their Jaccard similarity in [0.8, 1], highest first; the first
        of a group of duplicates represents the group.
    leaks
        Pairs of rows in different splits whose inputs are identical (1.0) or similar, highest first.
    """

    duplicates: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    near: tuple[Pair, ...]
    leaks: tuple[Pair, ...]


def same_inputs(example: Example) -> Key:
    """Return a key that is equal for two examples exactly if their inputs differ only in case and white space."""
    texts = (unicodedata.normalize("NFC", value) for _, value in example.inputs)
    return tuple(" ".join(text.casefold().split()) for text in texts)


def differ(examples: Sequence[Example]) -> bool:
    """Return whether examples with the same inputs have different accepted answers."""
    return len({frozenset(example.targets) for example in examples}) > 1


def audit(dataset: Dataset) -> Audit:
    """Find the identical, conflicting and nearly identical rows of a data set.

    Near-duplicates have a Jaccard similarity of at least 0.8 between their sets of shingles: 3 words, or 5 characters
    for texts of up to 50 words (Broder 1997, "On the resemblance and containment of documents"). They are found by
    prefix filtering (Bayardo et al. 2007, "Scaling up all pairs similarity search"; with three shared shingles instead
    of one as in Wang et al. 2012, "Can we beat the prefix filtering?"): two sets that are so similar share three of
    their few rarest shingles, so only texts that do are compared. Unlike these papers, we cap the work: a rare shingle
    lists the latest 50 texts, and only the 30 texts that share most are compared. So the time is roughly linear in the
    number of rows, but if dozens of rows are near-duplicates of each other, each is paired with some of the others
    only.
    """
    homes = {e.id: name for name in SPLITS for e in getattr(dataset, name)}
    same: dict[Key, list[Example]] = defaultdict(list)
    for example in (*dataset.train, *dataset.dev, *dataset.test):
        same[same_inputs(example)].append(example)
    groups = [[e.id for e in examples] for examples in same.values()]
    found = sorted(_near(["\n".join(key) for key in same]).items(), key=lambda item: (-item[1], item[0]))
    twins = [pair for ids in groups if (pair := _crossing(ids, ids, 1.0, homes))]
    crossing = [pair for (a, b), s in found if (pair := _crossing(groups[a], groups[b], s, homes))]
    return Audit(
        duplicates=tuple(tuple(ids) for ids in groups if len(ids) > 1),
        conflicts=tuple(tuple(e.id for e in examples) for examples in same.values() if differ(examples)),
        near=tuple((groups[a][0], groups[b][0], similarity) for (a, b), similarity in found),
        leaks=(*twins, *crossing),
    )


def _crossing(left: Sequence[str], right: Sequence[str], similarity: float, homes: Mapping[str, str]) -> Pair | None:
    """Return the first pair of ids in two different splits, if there is one."""
    here, there = ({homes[id_]: id_ for id_ in reversed(ids)} for ids in (left, right))
    pairs = ((here[s], there[t], similarity) for s in SPLITS for t in SPLITS if s in here and t in there and s != t)
    return next(pairs, None)


# --- similarity -------------------------------------------------------------------------------------------


def _near(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """Return the similarity of each pair of positions that reaches the threshold, within the caps."""
    lengths = [len(text.split()) for text in texts]
    short = {i: _by_characters(text) for i, text in enumerate(texts) if lengths[i] <= SHORT}
    long = {i: _by_words(text) for i, text in enumerate(texts) if lengths[i] >= LONG}
    found: dict[tuple[int, int], float] = {}
    for shingles in (short, long):
        for a, b, similarity in _join(shingles):
            pair = (min(a, b), max(a, b))
            found[pair] = max(similarity, found.get(pair, 0.0))
    return found


# A shingle is represented by its CRC: 4 bytes instead of 80, and the same in every process. In a pair of texts of 300
# shingles, a collision has a probability of 2e-5 and changes the similarity by less than 1 %.


def _by_characters(text: str) -> array[int]:
    data, width = text.encode("utf-32-le", "surrogatepass"), 4 * CHARACTERS
    starts = range(0, max(1, len(data) - width + 4), 4)
    return array("I", sorted({crc32(data[i : i + width]) for i in starts}))


def _by_words(text: str) -> array[int]:
    words = text.split()
    starts = range(max(1, len(words) - WORDS + 1))
    return array("I", sorted({crc32(" ".join(words[i : i + WORDS]).encode("utf-8", "surrogatepass")) for i in starts}))


def _join(shingles: Mapping[int, array[int]]) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of similar sets, by prefix filtering from small to large sets: those listed are never larger."""
    counts = array("I", bytes(CELLS * array("I").itemsize))
    for row in shingles.values():
        for shingle in row:
            counts[shingle % CELLS] += 1
    listed: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=POSTINGS))
    for here in sorted(shingles, key=lambda i: (len(shingles[i]), i)):
        row = shingles[here]
        least = math.ceil(THRESHOLD * len(row) - 1e-9)  # shingles shared with any set so similar and no larger
        needed = min(SHARED, least)
        # Sorting is stable and `row` is sorted by value, so all sets use the same order, as the filter requires.
        rarest = sorted(row, key=lambda shingle: counts[shingle % CELLS])[: len(row) - least + needed]
        shared = Counter(chain.from_iterable(listed[shingle] for shingle in rarest if shingle in listed))
        candidates = [there for there, n in shared.most_common(CANDIDATES) if n >= needed]
        mine = set(row) if candidates else set()
        for there in candidates:
            common = len(mine.intersection(shingles[there]))
            similarity = common / (len(row) + len(shingles[there]) - common)
            if similarity >= THRESHOLD:
                yield here, there, similarity
        for shingle in rarest:
            if counts[shingle % CELLS] > 1:  # the latest sets stay listed, which are nearest in size to the next ones
                listed[shingle].append(here)
