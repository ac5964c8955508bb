"""Which rows of a large file are kept: a seeded sample, drawn while the rows pass by once.

Knows rows and their numbers, no file format and no task.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

# Characters that a sample may hold: with all copies that a task makes of them, they fit in 1 GB. A cell takes as much
# memory by itself as CELL of them.
MOST_TEXT, CELL = 100_000_000, 64
# Every label keeps this part of the sample, however rare it is in the file: of 20,000 rows 40, of which ten are dev and
# ten are test rows.
RARE = 1 / 500
# More kinds of rows than this are no labels; what comes later is drawn together, each split by itself.
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
        Of the only random generator that is used.
    split
        A column whose values get equal room, so that a small test split is not lost beside a large train split; empty
        for none.
    label
        A column whose values keep their shares of the file, but at least `RARE` of the sample where there are so many
        rows; empty for none.
    """

    limit: int = 0
    seed: int = 0
    split: str = ""
    label: str = ""


class Sample:
    """Takes every row of a file, and keeps all or as many as a draw says.

    Every row draws a number, and those with the lowest are kept: a uniform sample without replacement in one pass
    (bottom-k sampling; Cohen & Kaplan 2007, "Summarizing data using bottom-k sketches"). What is too much is given up
    by the split that has most rows: its highest number, but none of a label that would have less than `RARE` of the
    sample.
    """

    def __init__(self, draw: Draw) -> None:
        self.total = 0
        self._draw = draw
        self._random = Random(draw.seed)
        # By kind: (minus the number drawn, the row's number, its line, the row), the highest drawn first.
        self._heaps: dict[Kind, list[tuple[float, int, int, Row]]] = defaultdict(list)
        self._bars: dict[Kind, float] = {}  # lowest number given up by each kind: no row above it is taken any more
        self._sizes: Counter[str] = Counter()  # rows kept of each split
        self._text = 0

    def offer(self, line: int, row: Row) -> None:
        """Show the sample the next row of a file and the line or record where it stands."""
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
        """Number, line and content of the rows that are kept, in the file's order."""
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
