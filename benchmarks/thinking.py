"""Measure how long a decision of the pooled searcher takes: learning from new answers, and choosing what is next.

    OMP_NUM_THREADS=1 python benchmarks/thinking.py

Uses the space of the bundled task, with 5 %, 20 % and all of the cells filled at random. Prints medians for LOG.md, in
milliseconds of wall time and CPU time. On a busy machine, wall time includes other processes' work; the CPU time of one
thread does not. As in a search, the model is warm: it is refitted from its last state.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.engine.aims import Aims
from optimizer.engine.board import Board, Limits, Pick
from optimizer.engine.grid import Floats
from optimizer.engine.importance import importances
from optimizer.engine.pooled import Pooled
from optimizer.front import Constraints
from optimizer.preparing import prepare
from optimizer.records import Kind, Outcome
from optimizer.scoring import METRICS

TASK = Path(__file__).resolve().parents[1] / "optimizer" / "demo" / "task.toml"
SIZES = ((100, 200), (300, 100), (300, 200), (300, 400))  # prompts, rows
FILLED = (0.05, 0.2, 1.0)
DECISIONS = 11  # fewer than the decisions after which a search may stop for futility
ENDLESS = 10**7  # calls and prompts allowed: the search is far from its end, and may always open a prompt
BLOCK = 5
WANTED = {  # what a search may be asked for beside a high score, at 300 prompts x 200 rows
    "score alone": {},
    "front": {"pareto": True},
    "three constraints": {"constraints": Constraints(0.3, 300.0, {"billing": 0.5})},
    "front, three constraints": {"pareto": True, "constraints": Constraints(0.3, 300.0, {"billing": 0.5})},
}


class World:
    """Answers with a known cause: what a prompt's levels add, and how hard the rows are."""

    def __init__(self, board: Board, searcher: Pooled, rng: np.random.Generator) -> None:
        self.board, self.searcher, self.rng = board, searcher, rng
        self.effects: Floats = rng.normal(0, 0.4, searcher.grid.width)
        self.sizes: Floats = rng.normal(0, 0.2, searcher.grid.width)
        self.ease: Floats = rng.normal(0, 1.5, len(board.rows))

    def answer(self, picks: Sequence[Pick]) -> list[Outcome]:
        """Answer the picked cells."""
        found = []
        for pick in picks:
            codes = self.searcher.grid.encode(self.board.cards[pick.trial].params)
            level = self.effects[codes[codes >= 0]].sum()
            tokens = int(300 * np.exp(self.sizes[codes[codes >= 0]].sum()))
            for row in pick.rows:
                right = self.rng.random() < 1 / (1 + np.exp(-level - self.ease[row]))
                example = self.board.rows[row]
                kind, answer = (Kind.RIGHT, example.target) if right else (Kind.WRONG, "other")
                took = Outcome(example.id, kind, float(right), answer, tokens=tokens, prompt_tokens=tokens - 5)
                found.append(replace(took, cost=1e-6 * tokens, seconds=0.2 + 1e-4 * tokens))
        return found


def started(prompts: int, rows: int, filled: float, seed: int, wanted: Mapping[str, Any]) -> tuple[World, int]:
    """Fill a board at random, and let the searcher learn it; the number of steps taken so far."""
    plan = prepare(TASK)
    examples = [*plan.data.train, *plan.data.dev, *plan.data.test][:rows]
    board = Board(plan.space, examples, METRICS["accuracy"], seed)
    searcher = Pooled(board, Limits(ENDLESS, ENDLESS, BLOCK), Aims(board, **wanted))
    rng = np.random.default_rng(seed)
    board.open(plan.space.seed())
    while len(board.cards) < prompts:
        board.open(searcher.grid.decode(searcher.grid.random(1, rng)[0]))
    world = World(board, searcher, rng)
    chosen = rng.random((prompts, rows)) < filled
    chosen[:, 0] |= ~chosen.any(axis=1)
    picks = [Pick(number, tuple(np.flatnonzero(mine).tolist())) for number, mine in enumerate(chosen)]
    board.enter(0, picks, world.answer(picks))
    for _ in range(5):
        searcher.learn(rng)
    return world, 1


def measured(prompts: int, rows: int, filled: float, wanted: Mapping[str, Any], seed: int = 0) -> tuple[float, float]:
    """Return a decision's median milliseconds, by the clock and of the processor."""
    world, step = started(prompts, rows, filled, seed, wanted)
    board, searcher, rng = world.board, world.searcher, world.rng
    clock, processor = [], []
    for i in range(DECISIONS):
        began, busy = time.perf_counter(), time.process_time()
        picks = searcher.decide(rng)
        wall, work = time.perf_counter() - began, time.process_time() - busy
        board.enter(step + i, picks, world.answer(picks))
        began, busy = time.perf_counter(), time.process_time()
        searcher.learn(rng)
        clock.append(1000 * (wall + time.perf_counter() - began))
        processor.append(1000 * (work + time.process_time() - busy))
    return statistics.median(clock), statistics.median(processor)


def main() -> None:
    """Print the table."""
    columns = [f"{100 * filled:.0f} %, {what}" for filled in FILLED for what in ("clock", "processor")]
    tables = {
        "prompts x rows": [(f"{prompts} x {rows}", prompts, rows, {}) for prompts, rows in SIZES],
        "300 x 200": [(name, 300, 200, wanted) for name, wanted in WANTED.items()],
    }
    for title, lines in tables.items():
        print(f"\n| {title} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
        for name, prompts, rows, wanted in lines:
            cells = [f"{ms:.0f}" for filled in FILLED for ms in measured(prompts, rows, filled, wanted)]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    world, _ = started(300, 200, 0.2, 0, {})
    busy = time.process_time()
    importances(world.searcher.model, world.rng)
    print(f"\nWhich ingredient paid, once at the end, 300 x 200: {time.process_time() - busy:.1f} s of the processor")


if __name__ == "__main__":
    main()
