"""The control searchers: one of Optuna's samplers proposes a prompt, which then answers the rows block by block.

They are what the pooled searcher is measured against, and a fallback. After each block a pruner may end the trial:

- none: every prompt is scored in full;
- halving: at 1/8, 1/4 and 1/2 of the rows a trial is compared with all that came as far (asynchronous successive
  halving: Li et al. 2020);
- racing: it is compared with the leader on the same rows (Maron and Moore 1994, here with an exact sign test, or
  Student's t for graded scores).
"""

from __future__ import annotations

import random

import numpy as np
import optuna

from optimizer.engine.aims import Aims
from optimizer.engine.board import Board, Card, Limits, Pick
from optimizer.engine.studies import Declared, control, frozen_trial, mixed
from optimizer.records import Importance, State
from optimizer.stats import worse_than
from search_spaces.space import Value

ALPHA = 0.05  # p-value below which a trial is raced out
KEEP = 1 / 3  # share of trials that survive a rung of halving (Li et al. use 1/4)
RUNGS = (1 / 8, 1 / 4, 1 / 2)  # shares of the dev rows at which trials are halved
ENOUGH = 4  # trials that must have reached a rung before it halves: with fewer, ranks are mostly luck
TRIES = 10  # asks in a row that only repeat known prompts, as TPE tends to, before random draws take over
DRAWS = 200  # random draws after that, before the space counts as exhausted
SMALL = 5000  # a space of at most so many prompts is enumerated instead


class Control:
    """Scores one prompt at a time."""

    def __init__(self, board: Board, limits: Limits, sampler: str, pruner: str, aims: Aims | None = None) -> None:
        self.board, self.limits, self.sampler, self.pruner = board, limits, sampler, pruner
        self.aims = aims or Aims(board)
        self.reason = ""
        control(sampler, board.seed)  # raises for an unknown sampler, before anything is bought
        self._study = optuna.create_study(direction="maximize")

    @property
    def leader(self) -> int:
        """The best score over all rows of a prompt that keeps the constraints; until there is one, the seed prompt."""
        complete = [card.number for card in self.board.cards if card.state is State.COMPLETE]
        kept = [self.board.cards[number] for number in self.aims.keeping(complete)]
        return max(kept, key=self._rank).number if kept else 0

    def _rank(self, card: Card) -> tuple[float, int]:
        """Return a trial's sort key: its score, less how much its rows are easier than all rows for the seed prompt.

        Without this correction, calls that fail on hard rows would make a prompt look better.
        """
        scores = self.board.scores
        shared = ~np.isnan(scores[card.number])
        score = self.board.score(card.number)
        if not shared.all():
            score += float(np.nanmean(scores[0]) - np.nanmean(scores[0, shared]))
        return score, -card.number

    def decide(self, rng: np.random.Generator) -> list[Pick]:  # noqa: ARG002 - a searcher's form
        """Ask for the next block of the prompt under way, or of a new one."""
        left = self.limits.calls - self.board.calls
        if left <= 0:
            self.reason = self.board.looked()
            return []
        under_way = [card for card in self.board.cards if card.open]
        # A late wording may have opened a prompt beside the one under way. The seed prompt goes first, then the latest.
        card = min(under_way, key=lambda card: (card.number > 0, -card.number), default=None)
        if card is None:
            params = self._ask()
            if params is None:
                return []
            card = self.board.cards[self.board.open(params)]
        rows = self.board.left(card.number)[: min(left, self.limits.block)]
        return [Pick(card.number, tuple(rows))]

    def _ask(self) -> dict[str, Value] | None:
        """Propose the parameters of an untried prompt, at first the seed prompt; None, with a `reason`, at the end."""
        number, space = len(self.board.cards), self.board.space
        if number == 0:
            return space.seed()
        if number >= self.limits.trials:
            self.reason = f"all {self.limits.trials} trials are done"
            return None
        self.reason = "every prompt of the space that was drawn has been tried"
        for attempt in range(TRIES + DRAWS):
            if attempt == TRIES and space.size <= SMALL:
                return self._untried()
            seed = mixed(self.board.seed, number, attempt)
            self._study.sampler = control(self.sampler if attempt < TRIES else "random", seed)
            asked = self._study.ask()
            params = space.choose(Declared(space, asked, seed))
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)  # the finished trial is added by `learn`
            if space.build(params).digest not in self.board.by_digest:
                return params
        return None

    def _untried(self) -> dict[str, Value] | None:
        """Return a random untried prompt of a small space; None if all were tried."""
        space, points = self.board.space, list(self.board.space.points())
        random.Random(mixed(self.board.seed, len(self.board.cards))).shuffle(points)
        return next((point for point in points if space.build(point).digest not in self.board.by_digest), None)

    def learn(self, rng: np.random.Generator) -> None:  # noqa: ARG002 - a searcher's form
        """End the trials under way that are done, fail, or are pruned."""
        for card in [card for card in self.board.cards if card.open]:
            self._end(card)

    def widen(self) -> None:
        """Do nothing: the sampler has known the new id from the start."""

    def _end(self, card: Card) -> None:
        rows = len(self.board.rows)
        done = not self.board.left(card.number)
        if card.failing or (done and card.lacking):
            self.board.close(card.number, State.FAILED, card.failure())
        elif done:
            self.board.close(card.number, State.COMPLETE, f"scored on all {rows} dev rows")
        elif reason := self._out(card):
            self.board.close(card.number, State.PRUNED, reason)
        else:
            return
        self._study.add_trial(frozen_trial(self.board.space, self.board.trial(card.number)))

    def finish(self, rng: np.random.Generator) -> int:  # noqa: ARG002
        """Close what is open, and return the winner."""
        for card in self.board.cards:
            if card.open:
                self.board.close(card.number, State.PRUNED, "the search ended")
        return self.leader

    def levels(self, name: str) -> dict[Value, tuple[float, float]]:  # noqa: ARG002
        """Return nothing: a control has no model of what a value is worth."""
        return {}

    def importances(self, rng: np.random.Generator) -> tuple[Importance, ...]:  # noqa: ARG002
        """Return nothing: a control has no model of what each dimension is worth."""
        return ()

    def _out(self, card: Card) -> str:
        """Return why a trial is pruned; empty if it goes on. The seed prompt always goes on."""
        if card.number == 0 or self.pruner == "none":
            return ""
        return self._raced(card) if self.pruner == "racing" else self._halved(card)

    def _raced(self, card: Card) -> str:
        # The test compares row scores, so a metric of the whole set cannot be raced.
        if not self.board.metric.mean:
            return ""
        differences = self.board.scores[card.number] - self.board.scores[self.leader]
        differences = differences[~np.isnan(differences)]
        p_value = worse_than(differences) if len(differences) else 1.0
        if p_value < ALPHA and differences.mean() < 0:
            behind = f"{-100 * differences.mean():.1f} points behind trial {self.leader}"
            return f"raced out: {behind} on the same {len(differences)} rows (p = {p_value:.3f})"
        return ""

    def _halved(self, card: Card) -> str:
        n, rows = len(card.answers), len(self.board.rows)
        rung = next((int(share * rows) for share in RUNGS[::-1] if n >= share * rows), None)
        if rung is None or n - self.limits.block >= rung:
            return ""
        score = card.steps[n]
        reached = [other.steps[n] for other in self.board.cards if other is not card and n in other.steps]
        ahead = sum(step > score for step in reached)
        if len(reached) >= ENOUGH and ahead >= KEEP * (len(reached) + 1):
            return f"halved: {ahead} of {len(reached)} trials were ahead at {n} rows"
        return ""
