"""The pooled searcher: asks what teaches most about the best prompt, a few rows at a time, then holds a final race.

If only the score counts, the next block of rows goes to the prompt, opened or not, whose answers are expected to raise
the highest posterior mean most (the knowledge gradient). A Pareto front is searched by Thompson sampling.

Reads the board, says which cells to ask next, and closes trials that cannot win any more. The surrogate pools the
answers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from optimizer.distributions import critical
from optimizer.engine.aims import Aims
from optimizer.engine.arrivals import Swapped
from optimizer.engine.board import Board, Card, Limits, Pick
from optimizer.engine.estimates import estimate
from optimizer.engine.grid import Codes, Floats, Grid
from optimizer.engine.importance import importances
from optimizer.engine.knowledge import most_telling
from optimizer.engine.surrogate import Draw, Surrogate
from optimizer.phrases import counted
from optimizer.records import Importance, State
from optimizer.scoring import weights
from search_spaces.space import Value

COOLED = 0.35  # scale of draws around the mean: at full scale a space of millions always promises something better
LEAST_BLOCKS = 2  # fewest blocks of a leader: among many prompts, some get five rows right by luck
LEADER = 0.1  # chance that the leader gets a block as well
DOUBT = 3.0  # factor on the posterior's variances, which are too small: on real grids the best lie 3 deviations out
PROMISING = 40  # opened prompts that are candidates for another block
DRAWN = 2  # draws at each scale whose peaks may be opened …
NEAR = 60  # … and so many prompts that differ from the best known in one dimension
PICKS = 3  # prompts asked per decision: few, so that the next one can already use their answers
STARTS = 8  # climbs to the highest point of a draw
FIRST = 0.05  # share of the calls that go to single rows of random prompts first …
MOST_FIRST = 200  # … but no more of them than this
WITHIN = 0.01  # a prompt that is not within a point of the best …
HOPELESS = 0.005  # … with at least this probability is given up
RACE = 0.15  # share of the calls kept for the final race …
FRONT_RACE = 0.4  # … of which a front of several prompts needs more …
MOST_RACE = 0.3  # … or as many as the leader needs for a full score, but no larger a share than this
LOOKS = 20  # decisions in a row over which the promised gain is averaged
SMALL = 0.25  # in standard errors of a difference on all dev rows: the search stops if less is promised
SEED_BY = 0.5  # share of the calls after which the seed prompt is scored in full, to see what there is to gain
FLIPS = 0.15  # share of rows on which two good prompts differ: it sets the standard error of a difference
SURE = 0.95  # probability of being the best at which the race is over
JUDGED = 256  # posterior draws that such probabilities are counted from
NORMAL = NormalDist()
BALANCED = 3  # rows per distinct target, on average, from which targets are labels to balance


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
        self.shares = Counter(self.labels)
        self.weights = weights(board.metric, board.rows)
        self.racing = False
        self.hopes: list[tuple[float, float]] = []
        self.reason = self.futility = ""

    def decide(self, rng: np.random.Generator) -> list[Pick]:
        """Return the cells to ask next; none when the search is over, and `reason` then says why."""
        if not self.board.calls:
            return self._first(rng)
        left = self.limits.calls - self.board.calls - self.board.due
        if not self.racing:
            race = min(len(self.board.rows), int(MOST_RACE * self.limits.calls))  # for whoever leads by then
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
        self.model.fit(self.codes, self.board.believed, self.weights)
        self.aims.learn(self.codes, self.grid.width)
        self._give_up(rng)

    def widen(self) -> None:
        """Refit with a further wording in the space; a search that had given up exploring resumes it."""
        self.grid = Grid(self.board.space)
        learnt = self.board.cards[: len(self.codes)]
        self.codes = np.array([self.grid.encode(card.params) for card in learnt], dtype=np.intp)
        self.model.widen(self.grid, self.codes)
        self.model.fit(self.codes, self.board.believed[: len(learnt)], self.weights)
        self.aims.learn(self.codes, self.grid.width)
        self.hopes = []
        if self.futility:
            self.racing, self.futility = False, ""

    def finish(self, rng: np.random.Generator) -> int:
        """Close what is open, and return the winner.

        The winner is the prompt with the highest posterior mean (for a metric of the whole set: the highest score)
        among those with a full score. If there are fewer than two, the leader may win as well. Of prompts that were
        right on the same rows the cheapest wins.
        """
        self._give_up(rng)
        for card in self.board.cards:
            if card.open:
                self._prune(card, "not the best when the search ended,")
        estimate(self.board)
        able = [card.number for card in self.board.cards if card.state is State.COMPLETE]
        if len(able) < 2:
            able.append(self.leader)  # there were too few calls for all of its rows
        kept = self.aims.keeping(able, final=True)
        best = max(kept, key=lambda number: (self._merit(number), -number))
        winner = self.aims.cheapest(kept, best)
        if self.board.cards[winner].state is State.PRUNED:
            self._prune(self.board.cards[winner], "the best when the search ended, though only")
        return winner

    def levels(self, name: str) -> dict[Value, tuple[float, float]]:
        """Predict the leading prompt's score with each value of a dimension, as (mean, standard deviation)."""
        params, values = self.board.cards[self.leader].params, self.board.space[name].values
        swapped = [Swapped(self.board.space, {**params, name: value}) for value in values]
        codes = np.stack([self.grid.encode(self.board.space.choose(chooser)) for chooser in swapped])
        mean, covariance = self.model.joint(np.zeros(0, dtype=np.intp), codes)
        error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        middle, low, high = self.model.chances(np.stack([mean, mean - error, mean + error]))
        return {value: (float(m), float(d)) for value, m, d in zip(values, middle, (high - low) / 2, strict=True)}

    def importances(self, rng: np.random.Generator) -> tuple[Importance, ...]:
        """Return what each dimension is worth."""
        return importances(self.model, rng)

    def _merit(self, number: int) -> float:
        """Return what the winner is chosen by: the posterior mean, or, for a metric of the whole set, the score."""
        return float(self.model.f[number]) if self.board.metric.mean else self.board.score(number)

    @property
    def leader(self) -> int:
        """The prompt that would be recommended now: the highest posterior mean of those that were asked two blocks."""
        able, enough = self._able(), LEAST_BLOCKS * self.limits.block
        tried = [number for number in able if len(self.board.cards[number].answers) >= enough]
        return max(tried or able, key=lambda number: (self.model.f[number], -number))

    def _able(self) -> list[int]:
        """List the prompts that may win. If possible, leave out those with too many failed calls for a verdict."""
        tried = [card for card in self.board.cards if card.state is not State.FAILED and card.answers]
        enough = LEAST_BLOCKS * self.limits.block
        sound = [card for card in tried if len(card.answers) < enough or not card.lacking]
        return self.aims.keeping([card.number for card in sound or tried])

    def _despair(self, rng: np.random.Generator) -> None:
        """Stop exploring if the whole space has promised too little for `LOOKS` decisions."""
        if self.aims.pareto:  # a prompt that does not score better may be cheaper
            return
        self.hopes.append(self._hope(rng))
        if len(self.hopes) < LOOKS:
            return
        more, all_in_all = np.mean(self.hopes[-LOOKS:], axis=0)
        error = math.sqrt(FLIPS / len(self.board.rows))  # of a difference on all dev rows
        if more < SMALL * error or all_in_all < critical(0.95) * error:
            self.racing = True
            promise = (
                f"the rest of the space promises {100 * more:.1f} points, {100 * all_in_all:.1f} over the seed prompt"
            )
            self.futility = f"nothing to gain: {promise}, less than {len(self.board.rows)} dev rows can tell"

    # --- the parts of a search ----------------------------------------------------------------------------

    def _first(self, rng: np.random.Generator) -> list[Pick]:
        """Ask the seed prompt a block, and random prompts one row each: a look at every level of every dimension."""
        seed = self.board.open(self.board.space.seed())
        picks = [Pick(seed, tuple(range(min(self.limits.block, self.limits.calls, len(self.board.rows)))))]
        count = int(min(MOST_FIRST, FIRST * self.limits.calls, self.limits.trials / 2))
        for i, codes in enumerate(self.grid.random(count, rng)):
            number = self.board.open(self.grid.decode(codes))
            picks.append(Pick(number, (i % len(self.board.rows),)))
        return _merged(picks)

    def _explore(self, rng: np.random.Generator, left: int) -> list[Pick]:
        """Return blocks for the prompts that teach most; with `pareto`, for the peaks of draws that are traded."""
        first = [self.leader] if rng.random() < LEADER else []
        if self.board.calls > SEED_BY * self.limits.calls and self.board.left(0):
            first += [0] * PICKS
        if self.aims.pareto:
            drawn = [self._thompson(rng, traded=pick > 0) for pick in range(PICKS)]  # the first is for the score only
            return self._blocks([*first, *(number for number in drawn if number is not None)], left)
        count = min(PICKS, -(-left // self.limits.block) - len(first))  # open no prompt that could not be asked
        return self._blocks([*first, *(self._telling(rng, count) if count > 0 else [])], left)

    def _telling(self, rng: np.random.Generator, count: int) -> list[int]:
        """Return the prompts whose next block teaches most, and open those that are new."""
        opened = self._promising()
        codes = self._unopened(rng) if len(self.board.cards) < self.limits.trials else self.codes[:0]
        mean, covariance = self.model.joint(np.array(opened, dtype=np.intp), codes)
        askable = set(self.board.askable())
        able = np.array([number in askable for number in opened] + [True] * len(codes))
        noise = self.model.noise(mean, self.limits.block)
        found = []
        for top in most_telling(mean, DOUBT * covariance, noise, able, count):
            new = top >= len(opened)
            if new and len(self.board.cards) >= self.limits.trials:
                continue
            number = self.board.open(self.grid.decode(codes[top - len(opened)])) if new else opened[top]
            if number >= len(self.codes) or number in askable:  # different features may build a prompt that was opened
                found.append(number)
        return found

    def _promising(self) -> list[int]:
        """List the opened prompts that may be the best: the highest by mean plus standard deviation, and the leader."""
        high = self.model.f + np.sqrt(np.diag(self.model.covariance))
        return sorted({*sorted(self._able(), key=lambda number: -high[number])[:PROMISING], self.leader})

    def _unopened(self, rng: np.random.Generator) -> Codes:
        """List prompts that may be opened [n, dimensions]: peaks of draws, and neighbours of the best known."""
        found = []
        for scale in (0.0, *[COOLED] * DRAWN, *[1.0] * DRAWN):
            draw = self.model.draw(rng, scale)
            found.append(self.grid.climb(draw.single, draw.pair, self._starts(draw, rng)))
        (peaks, values), leader = found[0], self.codes[self.leader]
        full = self.grid.filled(np.stack([peaks[values.argmax()], leader]), rng)
        near = np.concatenate([self.grid.neighbours(codes) for codes in full])
        near = near[rng.permutation(len(near))[:NEAR]]
        codes = np.unique(np.concatenate([*(peaks for peaks, _ in found), near]), axis=0)
        known = set(map(tuple, self.codes.tolist()))
        codes = codes[[tuple(features) not in known for features in codes.tolist()]]
        return codes[self.aims.allow(codes)]

    def _hope(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return the gain of the space's best over the leader, and over the seed prompt, in one full-scale draw."""
        if self.aims.broken(self.leader):
            return 1.0, 1.0  # no prompt seen so far may win
        draw = self.model.draw(rng, 1.0)
        value = max(float(draw.opened[self._able()].max()), self._highest(draw, rng)[1])
        best, leader, seed = self.model.chances(np.array([value, *draw.opened[[self.leader, 0]]]) + draw.mean)
        return float(best - leader), float(best - seed)

    def _thompson(self, rng: np.random.Generator, *, traded: bool) -> int | None:
        """Draw a function over the space and return the prompt where it is highest; open it if it is new."""
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
        return self.aims.highest(self.grid, draw, self._starts(draw, rng))

    def _starts(self, draw: Draw, rng: np.random.Generator) -> Codes:
        """List prompts to climb from [starts, dimensions], none missing: the best that were opened, and random ones."""
        top = np.argsort(-draw.opened)[: STARTS // 2]
        drawn = self.grid.random(STARTS // 2, rng)
        return np.concatenate([self.grid.filled(self.codes[top], rng), self.grid.filled(drawn, rng)])

    def _race(self, rng: np.random.Generator, left: int) -> list[Pick]:
        """Return rows that complete the scores of the seed prompt and of the prompts that may be the best."""
        if left <= 0:
            self.reason = self.futility or self._spent()
            return []
        seed, leader = 0, self.leader
        draws, able = self.model.samples(rng, JUDGED), self._able()
        askable = set(self.board.askable())
        # Keep calls for a full score of the final leader, which may have answered only as many rows as a leader must.
        most = len(self.board.rows) - LEAST_BLOCKS * self.limits.block
        if self.aims.pareto:  # members of the front, including the leader, are completed one by one
            most = len(self.board.left(leader))
        spare = 0 if self.futility else left - len(self.board.left(seed)) - most
        if self.aims.pareto and spare >= self.limits.block and (number := self._front(draws, able)) is not None:
            return self._blocks([number] * (PICKS + 1), spare)
        best = np.bincount(draws[:, able].argmax(axis=1), minlength=len(able)) / JUDGED
        rivals = {able[i]: best[i] for i in np.argsort(-best, kind="stable") if best[i] and able[i] in askable}
        if sum(rivals.values()) <= 1 - SURE or self.futility:
            rivals = {}
        if rivals and spare >= self.limits.block:
            return self._blocks(list(rivals)[: PICKS + 1], spare)
        finals = {seed, leader}
        room = left - sum(len(self.board.left(number)) for number in finals)
        if not self.board.left(leader):
            finals.update([number for number in rivals if len(self.board.left(number)) <= room][:1])
        rows = [(number, row) for number in sorted(finals) for row in self.board.left(number)]
        if not rows:
            every = f"all {len(self.board.rows)} dev rows"
            few = f"the {counted(left, 'call')} left cannot score another prompt on {every}"
            done = f"every prompt that might be the best has answered {every}"
            self.reason = self.futility or (few if rivals or self._alone else done)
        return _merged([Pick(number, (row,)) for number, row in rows[:left]])

    def _spent(self) -> str:
        looked = self.board.looked()
        return f"{looked}: too few to try another prompt than the seed prompt" if self._alone else looked

    @property
    def _alone(self) -> bool:
        """Whether only the seed prompt was tried, although there are others."""
        return len(self.board.cards) == 1 < self.board.space.size

    def _front(self, draws: Floats, able: Sequence[int]) -> int | None:
        """Return the prompt to ask next for the front: of its members, by the means, the one with the fewest rows left.

        If all members have answered all rows, it is the prompt that is most likely to be a member.
        """
        askable = set(self.board.askable())
        sure = [number for number in self.aims.front(able, self.model.f) if number in askable]
        if sure:
            return sure[0]
        chance = (draws >= self.aims.best(draws)).mean(axis=0)
        return max(askable.intersection(able), key=lambda number: (chance[number], -number), default=None)

    # --- ends --------------------------------------------------------------------------------------------

    def _give_up(self, rng: np.random.Generator) -> None:
        """Close the prompts that are done, that fail, or that are too unlikely to be near the best."""
        draws = self.model.chances(self.model.samples(rng, JUDGED))
        askable = set(self.board.askable())
        ahead = draws - self.aims.best(draws) + WITHIN
        near = np.array([NORMAL.cdf(z) for z in ahead.mean(axis=0) / np.maximum(ahead.std(axis=0), 1e-9)])
        able = set(self._able())
        for card in self.board.cards:
            if not card.open or self.board.awaited[card.number].any():
                continue
            if card.failing or (card.number not in askable and card.lacking):
                self.board.close(card.number, State.FAILED, card.failure())
            elif card.number not in askable:
                self.board.close(card.number, State.COMPLETE, f"scored on all {len(self.board.rows)} dev rows")
            elif not card.number or len(card.answers) < self.limits.block:
                continue
            elif self.aims.hopeless(card) and card.number not in able:
                self._prune(card, "breaks a constraint")
            elif near[card.number] < HOPELESS:
                self._prune(card, f"given up: P(within a point of the best) = {near[card.number]:.3f}")

    def _prune(self, card: Card, why: str) -> None:
        """Close a prompt before it has answered all rows."""
        self.board.close(card.number, State.PRUNED, f"{why} after {counted(len(card.answers), 'row')}")

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
        """Order the rows that a prompt has not answered: labels in proportion, the most uncertain answer first."""
        level = self.model.f[number] if number < len(self.model.f) else self.model.f[self.leader]
        doubt: Floats = -np.abs(level + self.model.b)  # p (1 - p) is highest where the logit is nearest to 0
        doubt[self.board.lost.any(axis=0)] = 0.0  # rows with failed calls are uncertain: the call may fail again or not
        answered = defaultdict[str, int](int)
        for row in self.board.cards[number].answers:
            answered[self.labels[row]] += 1
        placed = []
        for row in sorted(self.board.left(number), key=lambda row: -doubt[row]):
            share = (answered[self.labels[row]] + 0.5) / self.shares[self.labels[row]]
            placed.append((share, -doubt[row], row))
            answered[self.labels[row]] += 1
        return [row for *_, row in sorted(placed)]


def _merged(picks: Sequence[Pick]) -> list[Pick]:
    """Join picks of the same prompt."""
    rows: dict[int, list[int]] = {}
    for pick in picks:
        rows.setdefault(pick.trial, []).extend(pick.rows)
    return [Pick(number, tuple(dict.fromkeys(chosen))) for number, chosen in rows.items()]
