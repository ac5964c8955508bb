"""Sampling the rows of a large file: a seeded sample, drawn in one pass.

Knows rows and their numbers, no file format and no task.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

# Most characters of a sample: with all copies that a task makes of them, they fit in 1 GB. An empty cell takes as much
# memory as CELL characters.
MOST_TEXT, CELL = 100_000_000, 64
# Every label keeps at least this share of the sample, however rare it is in the file: of 20,000 rows 40, about ten of
# them dev and ten test rows.
RARE = 1 / 500
# Values of more kinds than this are not labels; rows of further kinds are drawn together, each split by itself.
MOST_KINDS = 300

Row = Mapping[str, str]
Kind = tuple[str, str]  # the values of the split and the label column


@dataclass(frozen=True)
class Draw:
    """How many rows of a file are kept, and which.

    Parameters
    ----------
    limit
        The most rows to keep; 0 keeps all.
    seed
        Seed of the random generator.
    split
        A column whose values get equal shares of the sample, so that a small test split is not crowded out by a large
        train split; empty for none.
    label
        A column whose values keep their shares of the file, but at least the share RARE of the sample if the file has
        so many rows of them; empty for none.
    """

    limit: int = 0
    seed: int = 0
    split: str = ""
    label: str = ""


class Sample:
    """A sample that is offered every row of a file, and keeps all or as many as its `Draw` allows.

    Every row draws a random number, and the rows with the lowest are kept: a uniform sample without replacement in one
    pass (bottom-k sampling; Cohen & Kaplan 2007, "Summarizing data using bottom-k sketches"). When there are too many,
    the split with most rows drops the one with its highest number, but none of a label that would be left with less
    than the share RARE of the sample.
    """

    def __init__(self, draw: Draw) -> None:
        self.total = 0
        self._draw = draw
        self._random = Random(draw.seed)
        # By kind: (minus the number drawn, row number, line, row), so that the highest number is popped first.
        self._heaps: dict[Kind, list[tuple[float, int, int, Row]]] = defaultdict(list)
        self._bars: dict[Kind, float] = {}  # lowest number dropped from each kind: rows above it are not taken
        self._sizes: Counter[str] = Counter()  # rows kept of each split
        self._text = 0

    def offer(self, line: int, row: Row) -> None:
        """Offer the next row of a file, with the number of its line or record."""
        self.total += 1
        if not self._draw.limit:
            self._heaps["", ""].append((0.0, self.total, line, row))
            return
        drawn = self._random.random()
        kind = self._kind(row)
        if drawn >= self._bars.get(kind, 1.0):
            return
        heapq.heappush(self._heaps[kind], (-drawn, self.total, line, row))
        self._sizes[kind[0]] += 1
        self._text += _length(row)
        while (kept := self._sizes.total()) > self._draw.limit or (self._text > MOST_TEXT and kept > 1):
            self._give_up()

    def rows(self) -> list[tuple[int, int, Row]]:
        """Return the row number, line and content of each row kept, in the file's order."""
        return sorted((entry[1:] for heap in self._heaps.values() for entry in heap), key=lambda entry: entry[0])

    def _kind(self, row: Row) -> Kind:
        kind = row.get(self._draw.split, "").strip().casefold(), row.get(self._draw.label, "").strip()
        if kind not in self._heaps and len(self._heaps) >= MOST_KINDS:
            kind = (kind[0], "")
        return kind if kind in self._heaps or len(self._heaps) < 2 * MOST_KINDS else ("", "")

    def _give_up(self) -> None:
        split = max(self._sizes, key=lambda split: (self._sizes[split], split))
        kinds = [kind for kind, heap in self._heaps.items() if kind[0] == split and heap]
        common = [kind for kind in kinds if len(self._heaps[kind]) > RARE * self._draw.limit]
        kind = min(common or kinds, key=lambda kind: self._heaps[kind])
        drawn, _, _, row = heapq.heappop(self._heaps[kind])
        self._bars[kind] = -drawn
        self._sizes[split] -= 1
        self._text -= _length(row)


def _length(row: Row) -> int:
    return sum(map(len, row.values())) + CELL * len(row)
