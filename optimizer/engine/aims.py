"""What a search wants besides a high score: prompts that are cheap and fast for their score, and hard constraints.

With `pareto` each draw is traded against cost and latency with random weights of its own, so that the search covers all
parts of the front (ParEGO: Knowles 2006, eq. 2; here the plain weighted sum, which stays a table over the space and
therefore finds only the front's corners). Constraints on cost and tokens are priced higher and higher until the best
prompt of a draw is predicted to keep them (Lagrange). Reads the board, asks for nothing and closes no trial; knows no
model.
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
from optimizer.front import Constraints, breaches, excess, measures
from optimizer.scoring import recall_of

LEAST = 0.1  # least weight of the score: without it most draws would just pick the cheapest prompt
PRICES = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # logits charged per e-fold of a limited amount
CLEAR = 0.1  # excess over a limit that counts as clear: about the error of a prediction after a few rows
MEASURED = ("cost", "tokens", "prompt_tokens", "seconds")


class Aims:
    """Applies the further aims of a search to its decisions; without any, it changes nothing."""

    def __init__(self, board: Board, *, pareto: bool = False, constraints: Constraints | None = None) -> None:
        self.board, self.pareto = board, pareto
        self.constraints = constraints or Constraints()
        self._seen: list[int] = []
        self._cells = np.zeros((len(MEASURED), 0, len(board.rows)))
        self._traded: list[Amount] = []
        self._limited: list[tuple[Amount, float]] = []
        self._dear = np.zeros(0)  # predicted excess over the limits of each prompt, as a share
        self._judged: dict[int, tuple[int, bool, float]] = {}  # by trial: rows asked, whether all, breach shown

    def learn(self, codes: Codes, width: int) -> None:
        """Refit what the prompts [n, dimensions] cost to their outcomes so far."""
        if not (self.pareto or self.constraints):
            return
        self._measure()
        fitted = {
            name: amount(codes, cells[: len(codes)], width)  # prompts still in flight have no outcomes yet
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
        """Copy the outcomes of the prompts that were asked since the last time."""
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
        """Return by how much a prompt breaks the constraints: measured once all rows are asked, predicted until then.

        0 if it keeps them.
        """
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
        """Return by how much a prompt with rows left must miss the minimum recalls, even at its most favourable.

        That is the lower of two: the upper confidence limit, and the recall if all further rows are right.
        """
        by, answers = 0.0, list(card.answers.values())
        for label, least in self.constraints.min_recall.items():
            _, (_, high) = recall_of(label, answers, self.board.examples)
            by += max(0.0, 1 - min(high, self._most(card, label)) / least) if least else 0.0
        return by

    def _most(self, card: Card, label: str) -> float:
        """Return the recall of a label that a prompt reaches if it gets all further rows right."""
        places = [place for place, row in enumerate(self.board.rows) if row.target == label]
        seen = [o for place in places if (o := card.answers.get(place)) is not None and o.score is not None]
        wrong = sum(o.answer not in self.board.examples[o.example_id].targets for o in seen)
        return 1 - wrong / max(1, len(places))

    def keeping(self, numbers: Sequence[int], *, final: bool = False) -> list[int]:
        """Return the prompts that keep the constraints; if none does, the one that breaks them least.

        A prompt with rows left gets the benefit of the doubt, except at the end (`final`).
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

    def cheapest(self, numbers: Sequence[int], best: int) -> int:
        """Return the cheapest of the prompts with the best one's score, on each row as well or, for a front, in all."""

        def as_good(number: int) -> bool:
            if self.board.score(number) != self.board.score(best):
                return False
            same = np.array_equal(self.board.scores[number], self.board.scores[best], equal_nan=True)
            return same or (self.pareto and not self.board.left(number))

        def expense(number: int) -> tuple[float, float, int]:
            taken = measures(self.board.cards[number].answers.values())
            return taken.cost_per_1000, taken.tokens, number

        return min(filter(as_good, numbers), key=expense)

    def hopeless(self, card: Card) -> bool:
        """Whether a prompt clearly breaks a constraint."""
        return self.broken(card.number) > CLEAR

    def note(self, winner: int) -> str:
        """Return a note that even the winner breaks a constraint; empty if it breaks none."""
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
        """Find the prompt where a draw is highest, subject to the predicted limits, and the draw's value there.

        The limits are priced higher and higher until they are kept. Beyond the highest price they may stay broken.
        """
        codes, value = grid.argmax(draw.single, draw.pair, starts)
        for price in PRICES[1:]:
            if all(found.predict(codes) <= limit for found, limit in self._limited):
                return codes, value
            charged = draw.single - price * np.sum([found.table for found, _ in self._limited], axis=0)
            codes, _ = grid.argmax(charged, draw.pair, starts)
            value = float(grid.value(draw.single, draw.pair, codes))
        return codes, value

    def allow(self, codes: Codes) -> NDArray[np.bool_]:
        """Return whether prompts [n, dimensions] are predicted to keep the limits [n]."""
        return np.array([all(found.predict(one) <= limit for found, limit in self._limited) for one in codes], np.bool_)

    # --- the front ----------------------------------------------------------------------------------------

    def best(self, draws: Floats) -> Floats:
        """Return the level that each prompt competes with: with `pareto`, the highest of those no dearer and no slower.

        Otherwise it is the highest of all. `draws` are levels of the prompts [draws, n]; the result is [draws, n], or
        [draws, 1] if it is the same for all. Prompts that break a constraint do not compete.
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
        """List the prompts on the front according to their mean levels [n], those with the fewest rows left first."""
        held_back = levels < self.best(levels[None, :])[0]
        held = [number for number in self.keeping(numbers) if not held_back[number]]
        return sorted(held, key=lambda number: (len(self.board.left(number)), number))
