"""Other methods to search for a prompt, implemented as their papers describe them; none of them is ours.

A method is a generator: after each step, it yields how many answers it has used and the prompt that it would recommend
now. A repeated answer is free, as from a cache. Methods that go through the rows in order use a shuffled order with
evenly spread labels; between prompts evaluated on all rows, the dev mean decides. Knows no true accuracy.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.bookkeeping import Book, Dice, Method, Rows, Step, Tpe, fresh, in_turn, proposal, until_spent
from benchmarks.problems import Floats, Params
from search_spaces.space import Value

IDLE = 100  # steps in a row that cost nothing, after which a method counts as stuck


@until_spent
def random_full(book: Book, seed: int) -> Iterator[Step]:
    """Random prompts, each on all rows."""
    rng = random.Random(seed)
    while (params := fresh(book, rng)) is not None:
        book.ask(params, book.everything)
        yield book.step()


@until_spent
def tpe_full(book: Book, seed: int) -> Iterator[Step]:
    """TPE (Bergstra et al. 2011) as Optuna 5 sets it up, each prompt on all rows."""
    rng, tpe = random.Random(seed), Tpe(book.problem, seed)
    while (params := proposal(book, tpe, rng)) is not None:
        tpe.learn(params, book.ask(params, book.everything))
        yield book.step()


# Shares of the rows, a factor of 4 apart, and the share of prompts that passes: eta = 4, as Li et al. have it. Rungs at
# 1/8, 1/4 and 1/2 that pass a half or a quarter did worse on landscapes and grids, and a tenth better on lists.
RUNGS, PASS = (1 / 16, 1 / 4, 1.0), 1 / 4


@until_spent
def tpe_halving(book: Book, seed: int) -> Iterator[Step]:
    """TPE with asynchronous successive halving (ASHA, Li et al. 2020, algorithm 2): whoever may rise, rises first."""
    rng, tpe = random.Random(seed), Tpe(book.problem, seed)
    order = in_turn(book.problem, rng)
    rungs: list[dict[str, tuple[float, Params]]] = [{} for _ in RUNGS]
    risen: list[set[str]] = [set() for _ in RUNGS]
    while True:
        level, params = _promotable(rungs, risen, PASS)
        if params is None:
            params = proposal(book, tpe, rng)
        if params is None:  # a short list is used up: then everyone may rise, the best first
            level, params = _promotable(rungs, risen, 1.0)
        if params is None:
            return
        rows = order[: round(RUNGS[level] * len(order))]
        score = book.ask(params, rows)
        rungs[level][book.problem.space.key(params)] = (score, params)
        tpe.learn(params, score, 0 if level == len(RUNGS) - 1 else len(rows))
        yield book.step()


def _promotable(
    rungs: Sequence[dict[str, tuple[float, Params]]], risen: Sequence[set[str]], share: float
) -> tuple[int, Params | None]:
    """Find the prompt that may rise to the highest rung; none, for rung 0, if a new one is due."""
    for level in range(len(rungs) - 2, -1, -1):
        ranked = sorted(rungs[level].items(), key=lambda item: -item[1][0])
        for key, (_, params) in ranked[: int(len(ranked) * share)]:
            if key not in risen[level]:
                risen[level].add(key)
                return level + 1, params
    return 0, None


FIRST = 4  # rows that successive halving begins with: 2, 8 and 16 did no better on the tables
ETA = 2  # it keeps one prompt of so many; 3 and 4 did no better


@until_spent
def halving(book: Book, seed: int) -> Iterator[Step]:
    """Synchronous successive halving (Jamieson and Talwalkar 2016), repeated with twice the rows to begin with.

    All prompts of a list, or as many random ones as a quarter of the calls pays the first rung of. The leader changes
    when a rung is complete.
    """
    rng = random.Random(seed)
    order = in_turn(book.problem, rng)
    first = FIRST
    winner: Params | None = None
    while first <= len(order):
        able = _entrants(book, rng, max(2, book.limit // 4 // first))
        rows = first
        while True:
            scores: list[tuple[float, Params]] = []
            for params in able:
                scores.append((book.ask(params, order[:rows]), params))
                yield book.calls, winner or max(scores, key=lambda pair: pair[0])[1]
            winner = book.leader()
            yield book.calls, winner
            if len(able) == 1 or rows == len(order):
                break
            able = [params for _, params in sorted(scores, key=lambda pair: -pair[0])[: -(-len(able) // ETA)]]
            rows = min(ETA * rows, len(order))
        first *= 2


def _entrants(book: Book, rng: random.Random, most: int) -> list[Params]:
    """Draw the prompts of a bracket."""
    space = book.problem.space
    if space.size <= most:
        return rng.sample(list(space.points()), int(space.size))
    drawn = {space.key(params): params for params in (space.choose(Dice(rng)) for _ in range(most))}
    return list(drawn.values())


MINIBATCH, FULL_EVERY = 35, 5  # DSPy's defaults


@until_spent
def mipro(book: Book, seed: int) -> Iterator[Step]:
    """MIPROv2 (Opsahl-Ong et al. 2024) as DSPy runs it: TPE on minibatches, the best mean in full every five trials."""
    rng, tpe = random.Random(seed), Tpe(book.problem, seed)
    batches: dict[str, tuple[Params, list[float]]] = {}
    full: dict[str, float] = {}
    space = book.problem.space

    def evaluate_fully(params: Params) -> None:
        full[space.key(params)] = book.ask(params, book.everything)
        tpe.learn(params, full[space.key(params)])

    evaluate_fully(space.seed())
    yield book.step()
    trial = repeats = 0
    while repeats < IDLE:
        before, trial = book.calls, trial + 1
        params = tpe.propose()
        rows = np.array(rng.sample(range(len(book.problem.rows)), min(MINIBATCH, len(book.problem.rows))))
        score = book.ask(params, rows)
        tpe.learn(params, score)
        batches.setdefault(space.key(params), (params, []))[1].append(score)
        open_ = [(np.mean(scores), key) for key, (_, scores) in batches.items() if key not in full]
        if trial % FULL_EVERY == 0 and open_:
            evaluate_fully(batches[max(open_)[1]][0])
        repeats = repeats + 1 if book.calls == before else 0
        yield book.step()


POPULATION, CHILDREN, BLOCK, ALPHA = 10, 4, 30, 0.2  # CAPO's own values
HALF = 0.5  # of a child's dimensions come from either parent


@until_spent
def capo(book: Book, seed: int) -> Iterator[Step]:
    """CAPO (Zehle et al. 2025): evolution with racing on blocks of rows by a paired t test.

    Crossover takes each dimension from one of two parents, mutation draws one dimension anew; a list of prompts has one
    dimension, so there a mutation is a random prompt.
    """
    rng = random.Random(seed)
    order = in_turn(book.problem, rng)
    blocks = [order[i : i + BLOCK] for i in range(0, len(order), BLOCK)]
    size = int(min(POPULATION, (book.problem.space.size + 1) // 2))  # all prompts of a short list would have no rival
    population = _entrants(book, rng, size)
    idle, least = 0, 1
    while idle < IDLE:
        before = book.calls
        children = [_mutated(book, _crossed(book, rng.sample(population, 2), rng), rng) for _ in range(CHILDREN)]
        distinct = {book.problem.space.key(params): params for params in [*population, *children]}
        population = yield from _race(book, list(distinct.values()), blocks, size, least)
        # Ours: where a race brought nothing new, the next one looks at more rows.
        idle, least = (idle + 1, min(least + 1, len(blocks))) if book.calls == before else (0, least)
        yield book.calls, population[0]


def _race(
    book: Book, able: list[Params], blocks: Sequence[Rows], size: int, least: int
) -> Generator[Step, None, list[Params]]:
    """Ask block by block and drop whom as many as shall survive are surely better than (CAPO, algorithm 4)."""
    rows = np.zeros(0, dtype=np.intp)
    leader = able[0]
    for i, block in enumerate(blocks):
        if len(able) <= size and i >= least:
            break
        rows = np.concatenate([rows, block])
        for params in able:
            book.ask(params, block)
            yield book.calls, leader
        scores = np.array([book.seen[book.problem.space.key(params)].scores[rows] for params in able])
        better = _surely_better(scores).sum(axis=0)
        ranked = np.argsort(-scores.mean(axis=1), kind="stable")
        able = [able[i] for i in ranked if better[i] < size]
    return able[:size]


def _surely_better(scores: Floats) -> NDArray[np.bool_]:
    """Whether prompt i is better than j by a one-sided paired t test: scores [prompts, rows] -> [prompts, prompts]."""
    n = scores.shape[1]
    difference = scores[:, None] - scores[None, :]
    mean, error = difference.mean(axis=2), difference.std(axis=2, ddof=1) / math.sqrt(n)
    z = NormalDist().inv_cdf(1 - ALPHA)
    critical = z + (z**3 + z) / (4 * (n - 1))  # the t quantile, to 0.001 (Cornish and Fisher 1937)
    better: NDArray[np.bool_] = (mean > critical * error) & (mean > 0)
    return better


def _crossed(book: Book, parents: Sequence[Params], rng: random.Random) -> Params:
    """Take each dimension from one of two parents; what neither has is drawn."""
    mother, father = parents
    return _completed(book, {**mother, **{name: father[name] for name in father if rng.random() < HALF}}, rng)


def _mutated(book: Book, params: Params, rng: random.Random) -> Params:
    """Draw one dimension anew."""
    dimension = book.problem.space[rng.choice(list(params))]
    value = dimension.choose(Dice(rng))
    return _completed(book, {**params, dimension.name: value}, rng)


def _completed(book: Book, wanted: Params, rng: random.Random) -> Params:
    """Keep what applies, and draw what is lacking."""
    params: dict[str, Value] = {}
    for dimension in book.problem.space.dimensions:
        if dimension.applies(params):
            params[dimension.name] = wanted.get(dimension.name, dimension.choose(Dice(rng)))
    return params


METHODS: dict[str, Method] = {
    "random": random_full,
    "tpe": tpe_full,
    "tpe-halving": tpe_halving,
    "halving": halving,
    "mipro": mipro,
    "capo": capo,
}
