"""What a search wants beside a high score: prompts that are cheap and fast for what they score, and hard constraints.

With `pareto` a draw is traded against cost and latency with random weights of its own, so that all parts of the
front are looked for (ParEGO: Knowles 2006, eq. 2; here the plain weighted sum, which stays a table over the space, and
so finds the front's corners only). Constraints on cost and tokens are priced higher and higher until the best prompt
of a draw is predicted to keep them (Lagrange). Reads the board; buys and closes nothing, and knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimizer.engine.amounts import EVEN, Amount, amount
from optimizer.engine.board import Board, Card
from optimizer.engine.grid import Codes, Floats, Grid
from optimizer.engine.surrogate import Draw
from optimizer.front import Constraints, breaches, excess
from optimizer.scoring import recall_of

LEAST = 0.1  # weight that a score has at least: else most draws would ask for the cheapest prompt there is
PRICES = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # logits that one e-fold of a limited amount is charged with
CLEAR = 0.1  # predicted to pass a limit by a tenth: a prediction is about that good after a few rows
MEASURED = ("cost", "tokens", "prompt_tokens", "seconds")


class Aims:
    """Reads what the prompts on a board take; without an aim it changes nothing."""

    def __init__(self, board: Board, *, pareto: bool = False, constraints: Constraints | None = None) -> None:
        self.board, self.pareto = board, pareto
        self.constraints = constraints or Constraints()
        self._seen: list[int] = []
        self._cells = np.zeros((len(MEASURED), 0, len(board.rows)))
        self._traded: list[Amount] = []
        self._limited: list[tuple[Amount, float]] = []
        self._dear = np.zeros(0)  # by how much prompts are predicted to pass the limits
        self._judged: dict[int, tuple[int, bool, float]] = {}  # rows asked, whether that is all, and what these say

    def learn(self, codes: Codes, width: int) -> None:
        """Take in what the prompts [n, dimensions] took so far."""
        if not (self.pareto or self.constraints):
            return
        self._measure()
        fitted = {
            name: amount(codes, cells[: len(codes)], width)  # of prompts in flight nothing is known yet
            for name, cells in zip(MEASURED, self._cells, strict=True)
            if name in self._needed()
        }
        expense = fitted.get("cost") or fitted.get("tokens")
        self._traded = [found for found in (expense, fitted.get("seconds")) if found and found.spread > EVEN]
        most = self.constraints
        limits = {"cost": most.max_cost_per_1000 / 1000, "prompt_tokens": most.max_prompt_tokens}
        self._limited = [
            (found, float(np.log(limit))) for name, limit in limits.items() if limit and (found := fitted.get(name))
        ]
        self._dear = np.zeros(len(codes))
        for found, limit in self._limited:
            self._dear += np.maximum(0.0, np.exp(found.opened - limit) - 1)

    def _needed(self) -> set[str]:
        needed = {"cost", "tokens", "seconds"} if self.pareto else set()
        needed |= {"cost"} if self.constraints.max_cost_per_1000 else set()
        return needed | ({"prompt_tokens"} if self.constraints.max_prompt_tokens else set())

    def _measure(self) -> None:
        """Copy the outcomes of the prompts that were asked since."""
        cards = self.board.cards
        grown = np.full((len(MEASURED), len(cards) - len(self._seen), len(self.board.rows)), np.nan)
        self._cells = np.concatenate([self._cells, grown], axis=1)
        self._seen += [0] * (len(cards) - len(self._seen))
        asked = self.board.attempts.sum(axis=1)
        for card in cards:
            if asked[card.number] != self._seen[card.number]:
                self._seen[card.number] = int(asked[card.number])
                for row, outcome in card.answers.items():
                    if outcome.score is not None:
                        self._cells[:, card.number, row] = [getattr(outcome, name) for name in MEASURED]

    # --- constraints --------------------------------------------------------------------------------------

    def broken(self, number: int) -> float:
        """By how much a prompt breaks the constraints: measured on all rows, predicted before; 0 if it keeps them."""
        return self._broken(number, int(self.board.attempts[number].sum())) if self.constraints else 0.0

    def _broken(self, number: int, asked: int) -> float:
        if number not in self._judged or self._judged[number][0] != asked:
            card, all_asked = self.board.cards[number], not self.board.left(number)
            self._judged[number] = asked, all_asked, self._measured(card) if all_asked else self._forgone(card)
        _, all_asked, by = self._judged[number]
        return by if all_asked or number >= len(self._dear) else by + float(self._dear[number])

    def _measured(self, card: Card) -> float:
        return excess(list(card.answers.values()), self.constraints, self.board.examples)

    def _forgone(self, card: Card) -> float:
        """By how much a prompt that lacks rows misses recalls that it can hardly reach any more."""
        by, answers = 0.0, list(card.answers.values())
        for label, least in self.constraints.min_recall.items():
            _, (_, high) = recall_of(label, answers, self.board.examples)
            by += max(0.0, 1 - min(high, self._most(card, label)) / least) if least else 0.0
        return by

    def _most(self, card: Card, label: str) -> float:
        """The recall of a label that a prompt would reach if it had all further rows right."""
        places = [place for place, row in enumerate(self.board.rows) if row.target == label]
        seen = [o for place in places if (o := card.answers.get(place)) is not None and o.score is not None]
        wrong = sum(o.answer not in self.board.examples[o.example_id].targets for o in seen)
        return 1 - wrong / max(1, len(places))

    def keeping(self, numbers: Sequence[int], *, final: bool = False) -> list[int]:
        """Leave those prompts that keep the constraints; if there are none, the one that breaks them least.

        A prompt that lacks rows has the benefit of the doubt, but not at the end.
        """
        if not self.constraints or not numbers:
            return list(numbers)
        if final:
            broken = {number: self._measured(self.board.cards[number]) for number in numbers}
        else:
            asked = self.board.attempts.sum(axis=1).tolist()
            broken = {number: self._broken(number, asked[number]) for number in numbers}
        kept = [number for number in numbers if not broken[number]]
        return kept or [min(numbers, key=lambda number: (broken[number], number))]

    def hopeless(self, card: Card) -> bool:
        """Whether a prompt clearly breaks a constraint."""
        return self.broken(card.number) > CLEAR

    def note(self, winner: int) -> str:
        """Say aloud that even the winner breaks a constraint."""
        answers = list(self.board.cards[winner].answers.values())
        broken = breaches(answers, self.constraints, self.board.examples)
        if not broken:
            return ""
        said = "; ".join(broken)
        return f"; no prompt that could win keeps all constraints: trial {winner} breaks them least ({said})"

    # --- draws --------------------------------------------------------------------------------------------

    def traded(self, draw: Draw, rng: np.random.Generator) -> Draw:
        """Trade a draw against cost and latency, each in standard deviations, with weights drawn at random."""
        if not self._traded or not self.pareto:
            return draw
        quality = rng.random()
        weights = (1 - quality) * rng.dirichlet(np.ones(len(self._traded)))
        opened, single, spread = draw.opened.copy(), draw.single.copy(), float(draw.opened.std())
        for weight, found in zip(weights, self._traded, strict=True):
            slope = weight / max(LEAST, quality) * spread / found.spread
            opened -= slope * (found.opened - found.base)
            single -= slope * found.table
        return replace(draw, opened=opened, single=single)

    def highest(self, grid: Grid, draw: Draw, starts: Codes) -> tuple[Codes, float]:
        """Find the highest prompt of a draw that is predicted to keep the limits, and its value there."""
        codes, value = grid.argmax(draw.single, draw.pair, starts)
        for price in PRICES[1:]:
            if all(found.predict(codes) <= limit for found, limit in self._limited):
                return codes, value
            charged = draw.single - price * np.sum([found.table for found, _ in self._limited], axis=0)
            codes, _ = grid.argmax(charged, draw.pair, starts)
            value = float(grid.value(draw.single, draw.pair, codes))
        return codes, value

    def allow(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether prompts [n, dimensions] are predicted to keep the limits [n]."""
        return np.array([all(found.predict(one) <= limit for found, limit in self._limited) for one in codes], np.bool_)

    # --- the front ----------------------------------------------------------------------------------------

    def best(self, draws: Floats) -> Floats:
        """The level that each prompt is measured against: the highest of all, or of those no dearer and no slower.

        `draws` are levels of the prompts [draws, n]; the result is [draws, n], or [draws, 1] where it is the same for
        all. Prompts that break a constraint are no rivals.
        """
        n = draws.shape[1]
        kept = np.isin(np.arange(n), self.keeping(range(n)))
        if not self._traded or not self.pareto:
            highest: Floats = draws[:, kept].max(axis=1, keepdims=True)
            return highest
        rivals = np.tile(kept, (n, 1))
        for found in self._traded:
            rivals &= found.opened[None, :] <= found.opened[:, None]
        rivals |= np.eye(n, dtype=np.bool_)
        return np.stack([draws[:, rival].max(axis=1) for rival in rivals], axis=1)

    def front(self, numbers: Sequence[int], levels: Floats) -> list[int]:
        """Those prompts that are on the front by their mean levels [n]; the ones that lack the fewest rows first."""
        held_back = levels < self.best(levels[None, :])[0]
        held = [number for number in self.keeping(numbers) if not held_back[number]]
        return sorted(held, key=lambda number: (len(self.board.left(number)), number))
