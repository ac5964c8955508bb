"""Strategies that select demonstrations from a pool of training rows.

A strategy sees the pool, how many demos to select and a random generator, never a model, a score or a row of another
split. With k = 0, every strategy selects none.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from search_spaces.prompt import Example

NEIGHBOURS = 5  # rows that vote on how hard a row is: enough to outvote one odd neighbour
RANKED = 33  # neighbours cached per text: trials ask for the same rows with different numbers of demos
HARD_SHARE = 4  # "hardest" draws from the HARD_SHARE * k hardest rows, so that the random seed still matters


def terms(text: str) -> list[str]:
    """Return the lower-case words of a text and the four-letter pieces of its longer words."""
    words = re.findall(r"\w+", text.casefold())
    pieces = [f"#{word[i : i + 4]}" for word in words if len(word) > 4 for i in range(len(word) - 3)]
    return words + pieces


class TextIndex:
    """Cosine similarity of TF-IDF vectors over an inverted index.

    Parameters
    ----------
    texts
        The documents, from which the document frequencies are counted.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(terms(text)) for text in texts]
        frequency = Counter(term for count in counts for term in count)
        self._idf = {term: math.log(1 + len(texts) / n) for term, n in frequency.items()}
        self.vectors = [self._weigh(count) for count in counts]
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for position, vector in enumerate(self.vectors):
            for term, weight in vector.items():
                self._postings[term].append((position, weight))

    def _weigh(self, counts: Counter[str]) -> dict[str, float]:
        weights = {t: (1 + math.log(n)) * self._idf[t] for t, n in counts.items() if t in self._idf}
        norm = math.sqrt(sum(w * w for w in weights.values())) or 1.0
        return {term: weight / norm for term, weight in weights.items()}

    def rank(self, text: str, k: int) -> list[int]:
        """Return the positions of the `k` most similar documents, best first; of equal ones the earlier first."""
        scores = self.likeness(self._weigh(Counter(terms(text))))
        return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:k]

    def likeness(self, vector: Mapping[str, float]) -> list[float]:
        """Return the cosine similarity of a vector to every document. Shape (n,)."""
        scores = [0.0] * len(self.vectors)
        for term, weight in vector.items():
            for position, other in self._postings[term]:
                scores[position] += weight * other
        return scores


class DemoPool:
    """The training rows that may be shown as demos, with what the strategies need to know about them."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = tuple(examples)
        self._ranked: dict[str, list[int]] = {}

    @cached_property
    def index(self) -> TextIndex:
        """The index of the rows' texts, for their similarity."""
        return TextIndex([example.text for example in self.examples])

    @cached_property
    def hardness(self) -> list[float]:
        """For each row, the share of its nearest rows that have another answer: high for near misses. Shape (n,)."""
        return [self._disagreement(position) for position in range(len(self.examples))]

    def _disagreement(self, position: int) -> float:
        example = self.examples[position]
        near = [p for p in self.index.rank(example.text, NEIGHBOURS + 1) if p != position][:NEIGHBOURS]
        return sum(self.examples[p].target != example.target for p in near) / max(1, len(near))

    def nearest(self, example: Example, k: int) -> tuple[Example, ...]:
        """Return the `k` rows most similar to an example, best first; never the example itself."""
        text = example.text
        positions = self._ranked.get(text, [])
        if len(positions) < min(k + 1, len(self.examples)):
            positions = self._ranked[text] = self.index.rank(text, max(k + 1, RANKED))
        ranked = (self.examples[p] for p in positions[: k + 1])
        return tuple(row for row in ranked if (row.id, row.inputs) != (example.id, example.inputs))[:k]


def pick(pool: DemoPool, strategy: str, k: int, rng: random.Random) -> tuple[Example, ...]:
    """Select `k` demos by a strategy, or the whole pool if it is smaller."""
    k = min(k, len(pool.examples))
    return STRATEGIES[strategy](pool, k, rng) if k > 0 else ()


def _random(pool: DemoPool, k: int, rng: random.Random) -> tuple[Example, ...]:
    return tuple(rng.sample(pool.examples, k))


def _balanced(pool: DemoPool, k: int, rng: random.Random) -> tuple[Example, ...]:
    """Take the answers in turn, in random order, so that no answer is shown twice before all are shown once."""
    by_target: dict[str, list[Example]] = defaultdict(list)
    for example in rng.sample(pool.examples, len(pool.examples)):
        by_target[example.target].append(example)
    drawn: list[Example] = []
    while len(drawn) < k:
        for rows in by_target.values():
            if rows and len(drawn) < k:
                drawn.append(rows.pop())
    return tuple(drawn)


def _diverse(pool: DemoPool, k: int, rng: random.Random) -> tuple[Example, ...]:
    """Farthest-first traversal (Gonzalez 1985): each new row is the one least similar to those taken so far."""
    vectors = pool.index.vectors
    taken = [rng.randrange(len(vectors))]
    closest = [0.0] * len(vectors)
    while len(taken) < k:
        closest = list(map(max, closest, pool.index.likeness(vectors[taken[-1]])))
        left = [p for p in range(len(vectors)) if p not in taken]
        taken.append(min(left, key=lambda p: (closest[p], p)))
    return tuple(pool.examples[p] for p in taken)


def _hardest(pool: DemoPool, k: int, rng: random.Random) -> tuple[Example, ...]:
    """Draw from the rows whose neighbours most often have other answers."""
    shuffled = rng.sample(range(len(pool.examples)), len(pool.examples))
    hard = sorted(shuffled, key=lambda p: -pool.hardness[p])[: HARD_SHARE * k]
    return tuple(pool.examples[p] for p in rng.sample(hard, k))


Strategy = Callable[[DemoPool, int, random.Random], tuple[Example, ...]]
STRATEGIES: dict[str, Strategy] = {
    "random": _random,
    "balanced": _balanced,
    "diverse": _diverse,
    "hardest": _hardest,
}


def arrange(demos: Sequence[Example], order: str) -> tuple[Example, ...]:
    """Order demos: as drawn, reversed, grouped by answer, or shortest first."""
    return ORDERS[order](tuple(demos))


Order = Callable[[tuple[Example, ...]], tuple[Example, ...]]
ORDERS: dict[str, Order] = {
    "drawn": lambda demos: demos,
    "reversed": lambda demos: demos[::-1],
    "by_answer": lambda demos: tuple(sorted(demos, key=lambda demo: demo.target)),
    "short_first": lambda demos: tuple(sorted(demos, key=lambda demo: len(demo.text))),
}
