"""The pooled searcher: Thompson sampling over all prompts of a space, a few rows at a time, then a final race.

Reads the board, says which cells to ask for next, and closes trials that cannot win any more. What all cells say
together is the surrogate's business.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from optimizer.aims import Aims
from optimizer.board import Board, Limits, Pick
from optimizer.grid import Codes, Floats, Grid
from optimizer.importance import importances
from optimizer.records import Importance, State
from optimizer.scoring import weights
from optimizer.selection import corrected
from optimizer.surrogate import Draw, Surrogate

COOLED = 0.35  # draws are this much nearer to the mean: sampled in full, a space of millions always holds a hope
LEADER = 0.5  # chance that the leader gets a block as well
PICKS = 3  # prompts drawn at a time: few enough to learn soon from them
STARTS = 8  # climbs to the highest point of a draw
FIRST = 0.05  # share of the calls that go to single rows of random prompts first …
MOST_FIRST = 200  # … but no more of them than this
WITHIN = 0.01  # a prompt that is not within a point of the best …
HOPELESS = 0.01  # … with at least this probability is given up
RACE = 0.15  # share of the calls kept for the final race …
FRONT_RACE = 0.4  # … of which a front of several prompts needs more …
MOST_RACE = 0.3  # … or as many as the leader needs for a full score, but no larger a share than this
LOOKS = 20  # decisions in a row over which what is promised is averaged
FLIPS = 0.15  # share of rows on which two good prompts differ: what the dev rows can tell follows from it
SURE = 0.95  # probability of being the best at which the race is over
JUDGED = 256  # posterior draws that such probabilities are counted from
BALANCED = 3  # a target that fewer rows share is no label to balance


class Pooled:
    """Decides by what the pooled model says."""

    def __init__(self, board: Board, limits: Limits, aims: Aims | None = None) -> None:
        self.board, self.limits = board, limits
        self.aims = aims or Aims(board)
        self.grid = Grid(board.space)
        self.model = Surrogate(self.grid)
        self.codes: Codes = np.zeros((0, len(self.grid.dimensions)), dtype=np.intp)
        targets = [row.target for row in board.rows]
        labelled = len(set(targets)) * BALANCED <= len(targets)
        self.labels = targets if labelled else [""] * len(targets)
        self.weights = weights(board.metric, board.rows)
        self.racing = self.futile = False
        self.hopes: list[float] = []
        self.reason = ""

    def decide(self, rng: np.random.Generator) -> list[Pick]:
        """Say which cells to ask for next; none when the search is over, whose `reason` is then told."""
        if not self.board.calls:
            return self._first(rng)
        left = self.limits.calls - self.board.calls
        if not self.racing:
            race = min(len(self.board.rows), int(MOST_RACE * self.limits.calls))  # whoever leads by then
            share = FRONT_RACE if self.aims.pareto else RACE
            kept = len(self.board.left(0)) + max(race, int(share * self.limits.calls))
            self.racing = left - kept < self.limits.block
            self._despair(rng)
        picks = [] if self.racing else self._explore(rng, left - kept)
        return picks or self._race(rng, left)

    def learn(self, rng: np.random.Generator) -> None:
        """Fit the model anew, and close the prompts that cannot win any more."""
        cards = self.board.cards
        new = [self.grid.encode(card.params) for card in cards[len(self.codes) :]]
        self.codes = np.concatenate([self.codes, np.array(new, dtype=np.intp).reshape(len(new), self.codes.shape[1])])
        self.model.fit(self.codes, self.board.scores, self.weights)
        self.aims.learn(self.codes, self.grid.width)
        self._give_up(rng)

    def widen(self) -> None:
        """Take in that the space holds a further wording; one that was given up is hoped for again."""
        self.grid = Grid(self.board.space)
        learnt = self.board.cards[: len(self.codes)]
        self.codes = np.array([self.grid.encode(card.params) for card in learnt], dtype=np.intp)
        self.model.widen(self.grid, self.codes)
        self.model.fit(self.codes, self.board.scores[: len(learnt)], self.weights)
        self.aims.learn(self.codes, self.grid.width)
        self.hopes = []
        if self.futile:
            self.racing, self.futile, self.reason = False, False, ""

    def finish(self, rng: np.random.Generator) -> int:
        """Close what is open, and return the winner: of the prompts with a full score the highest posterior mean."""
        self._give_up(rng)
        for card in self.board.cards:
            if card.open:
                self.board.close(
                    card.number, State.PRUNED, f"not the best when the search ended, after {len(card.answers)} rows"
                )
        self._correct()
        able = [card.number for card in self.board.cards if card.state is State.COMPLETE]
        if len(able) < 2:
            able.append(self.leader)  # a small budget has not sufficed for all of its rows
        return max(self.aims.keeping(able, final=True), key=lambda number: (self._merit(number), -number))

    def importances(self, rng: np.random.Generator) -> tuple[Importance, ...]:
        """Say what each dimension is worth."""
        return importances(self.model, rng)

    def _merit(self, number: int) -> float:
        """What the winner is chosen by: the posterior mean, or a metric of the whole set itself."""
        return float(self.model.f[number]) if self.board.metric.over is None else self.board.score(number)

    def _correct(self) -> None:
        """Estimate every prompt's score on new rows, and its gain over the seed prompt, the choice allowed for."""
        found = corrected(self.board.scores)
        for card in self.board.cards:
            scores = self.board.scores[card.number]
            if np.isnan(scores).all():
                continue
            # A metric of the whole set is moved by as much as its rows' mean score is.
            moved = self.board.score(card.number) - float(np.nanmean(scores))
            card.estimate = float(found.scores[card.number]) + moved
            low, high = found.limits[card.number] + moved
            card.credible = (float(low), float(high))
            card.gain = float(found.gains[card.number])
            card.gain_credible = (float(found.gain_limits[card.number][0]), float(found.gain_limits[card.number][1]))

    @property
    def leader(self) -> int:
        """The prompt that would be recommended now: the highest posterior mean."""
        return max(self._able(), key=lambda number: (self.model.f[number], -number))

    def _able(self) -> list[int]:
        """List the prompts that may win."""
        cards = self.board.cards
        return self.aims.keeping([c.number for c in cards if c.state is not State.FAILED and c.answers])

    def _despair(self, rng: np.random.Generator) -> None:
        """Stop exploring when the whole space promises too little for too long."""
        if self.aims.pareto:  # what does not score better may be cheaper
            return
        self.hopes.append(self._hope(rng))
        promised = float(np.mean(self.hopes[-LOOKS:]))
        shown = math.sqrt(FLIPS / len(self.board.rows)) / 2  # half the standard error of a difference on all dev rows
        if len(self.hopes) >= LOOKS and promised < shown:
            self.racing = self.futile = True
            promise = f"the rest of the space promises {100 * promised:.1f} points"
            self.reason = f"nothing to gain: {promise}, less than {len(self.board.rows)} dev rows can tell"

    # --- the parts of a search ----------------------------------------------------------------------------

    def _first(self, rng: np.random.Generator) -> list[Pick]:
        """Ask the seed prompt a block, and random prompts one row each: a hundred looks at every dimension."""
        seed = self.board.open(self.board.space.seed())
        picks = [Pick(seed, tuple(range(min(self.limits.block, self.limits.calls, len(self.board.rows)))))]
        count = int(min(MOST_FIRST, FIRST * self.limits.calls, self.limits.trials / 2))
        for i, codes in enumerate(self.grid.random(count, rng)):
            number = self.board.open(self.grid.decode(codes))
            picks.append(Pick(number, (i % len(self.board.rows),)))
        return _merged(picks)

    def _explore(self, rng: np.random.Generator, left: int) -> list[Pick]:
        """A block for the best prompt of each of a few draws, and now and then one for the leader."""
        drawn = [self._thompson(rng, traded=pick > 0) for pick in range(PICKS)]  # one is for the score alone
        first = [self.leader] if rng.random() < LEADER else []
        return self._blocks([*first, *(number for number in drawn if number is not None)], left)

    def _hope(self, rng: np.random.Generator) -> float:
        """How much better than the leader the best prompt of the space is, by one draw in full."""
        draw = self.model.draw(rng, 1.0)
        value = max(float(draw.opened[self._able()].max()), self._highest(draw, rng)[1])
        if self.aims.broken(self.leader):
            return 1.0  # nothing that was seen may win
        best, leader = self.model.chances(np.array([value, draw.opened[self.leader]]) + draw.mean)
        return float(best - leader)

    def _thompson(self, rng: np.random.Generator, *, traded: bool) -> int | None:
        """Draw a function over the space and return the prompt where it is highest, opened if it was not."""
        draw = self.model.draw(rng, COOLED)
        draw = self.aims.traded(draw, rng) if traded else draw
        asked = self.aims.keeping([number for number in self.board.askable() if number < len(self.codes)])
        best = max(asked, key=lambda number: draw.opened[number], default=None)
        if len(self.board.cards) < self.limits.trials:
            codes, value = self._highest(draw, rng)
            if best is None or value > draw.opened[best]:
                number = self.board.open(self.grid.decode(codes))
                if number >= len(self.codes) or (self.board.cards[number].open and self.board.left(number)):
                    return number
        return best

    def _highest(self, draw: Draw, rng: np.random.Generator) -> tuple[Codes, float]:
        top = np.argsort(-draw.opened)[: STARTS // 2]
        starts = np.concatenate(
            [self.grid.filled(self.codes[top], rng), self.grid.filled(self.grid.random(STARTS // 2, rng), rng)]
        )
        return self.aims.highest(self.grid, draw, starts)

    def _race(self, rng: np.random.Generator, left: int) -> list[Pick]:
        """Full dev scores for the seed prompt and for those that may be the best."""
        seed, leader = 0, self.leader
        need = len(self.board.left(seed)) + len(self.board.left(leader))
        if not need or left <= 0:
            done = "every prompt that might be the best has answered all dev rows"
            self.reason = self.reason or (f"{self.limits.calls} answers were looked at" if left <= 0 else done)
            return []
        spare = 0 if self.futile else left - need
        if spare >= self.limits.block:
            draws, able = self.model.samples(rng, JUDGED), self._able()
            if self.aims.pareto and (number := self._front(draws, able)) is not None:
                return self._blocks([number] * (PICKS + 1), spare)
            best = np.bincount(draws[:, able].argmax(axis=1), minlength=len(able)) / JUDGED
            order = [able[i] for i in np.argsort(-best) if best[i] > 1 - SURE]
            askable = set(self.board.askable())
            chosen = [number for number in order if number in askable]
            if chosen and best.max() < SURE:
                return self._blocks(chosen[: PICKS + 1], spare)
        rows = [(seed, row) for row in self.board.left(seed)]
        rows += [(leader, row) for row in self.board.left(leader) if leader != seed]
        return _merged([Pick(number, (row,)) for number, row in rows[:left]])

    def _front(self, draws: Floats, able: Sequence[int]) -> int | None:
        """Find the prompt on the front that lacks the fewest rows; after those by their means, those that may be."""
        askable = set(self.board.askable())
        sure = [number for number in self.aims.front(able, self.model.f) if number in askable]
        if sure:
            return sure[0]
        chance = (draws >= self.aims.best(draws)).mean(axis=0)
        return max(askable.intersection(able), key=lambda number: (chance[number], -number), default=None)

    # --- ends --------------------------------------------------------------------------------------------

    def _give_up(self, rng: np.random.Generator) -> None:
        """Close the prompts that are done, that fail, or that are hardly among the best."""
        draws = self.model.chances(self.model.samples(rng, JUDGED))
        askable = set(self.board.askable())
        near, able = (draws >= self.aims.best(draws) - WITHIN).mean(axis=0), set(self._able())
        for card in self.board.cards:
            if not card.open:
                continue
            if card.failing or (card.number not in askable and card.lacking):
                self.board.close(card.number, State.FAILED, card.failure())
            elif card.number not in askable:
                self.board.close(card.number, State.COMPLETE, f"scored on all {len(self.board.rows)} dev rows")
            elif not card.number or len(card.answers) < self.limits.block:
                continue
            elif self.aims.hopeless(card) and card.number not in able:
                self.board.close(card.number, State.PRUNED, f"breaks a constraint after {len(card.answers)} rows")
            elif near[card.number] < HOPELESS:
                chance = f"P(within a point of the best) = {near[card.number]:.3f}"
                self.board.close(card.number, State.PRUNED, f"given up: {chance} after {len(card.answers)} rows")

    # --- rows ---------------------------------------------------------------------------------------------

    def _blocks(self, numbers: Sequence[int], left: int) -> list[Pick]:
        """Give each prompt a block of rows; one that is named twice gets two."""
        picks, taken = [], defaultdict[int, int](int)
        for number in numbers:
            size = min(self.limits.block, left)
            rows = self._rows(number)[taken[number] : taken[number] + size]
            taken[number] += len(rows)
            left -= len(rows)
            if rows:
                picks.append(Pick(number, tuple(rows)))
        return _merged(picks)

    def _rows(self, number: int) -> list[int]:
        """Order the rows that a prompt has not seen: labels in turn, in each the most uncertain answer first."""
        level = self.model.f[number] if number < len(self.model.f) else self.model.f[self.leader]
        doubt: Floats = -np.abs(level + self.model.b)  # p (1 - p) is highest where the logit is nearest to 0
        answered = defaultdict[str, int](int)
        for row in self.board.cards[number].answers:
            answered[self.labels[row]] += 1
        placed = []
        for row in sorted(self.board.left(number), key=lambda row: -doubt[row]):
            placed.append((answered[self.labels[row]], -doubt[row], row))
            answered[self.labels[row]] += 1
        return [row for *_, row in sorted(placed)]


def _merged(picks: Sequence[Pick]) -> list[Pick]:
    """Join picks of the same prompt."""
    rows: dict[int, list[int]] = {}
    for pick in picks:
        rows.setdefault(pick.trial, []).extend(pick.rows)
    return [Pick(number, tuple(dict.fromkeys(chosen))) for number, chosen in rows.items()]
