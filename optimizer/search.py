"""Ask, evaluate, tell: the loop that every searcher runs in, and what a search returns.

Knows no model, no database and no price: `evaluate` is passed in, trials are passed out. All randomness of a decision
comes from the seed and the decision's number, so a resumed search gets the same answers and makes the same decisions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from optimizer.engine.aims import Aims
from optimizer.engine.arrivals import View, first_looks, spare
from optimizer.engine.board import Board, Card, Limits, Pick, searched
from optimizer.errors import BudgetSpent, InputError, one_of
from optimizer.events import BlockScored, Decided, Event, TrialEnded
from optimizer.front import Constraints
from optimizer.records import Importance, Kind, Outcome, State, Trial, Wording
from optimizer.scoring import METRICS, Metric
from optimizer.stats import wilson
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space, Value

SAMPLERS = ("pooled", "tpe", "random", "gp")
PRUNERS = ("halving", "racing", "none")

Cell = tuple[Prompt, Example]
Evaluate = Callable[[Sequence[Cell]], Iterable[Outcome]]


@dataclass(frozen=True, slots=True)
class Options:
    """What to maximize and how to search.

    `calls` is the number of answers on dev rows that the search may look at, bought or cached; `trials` the maximum
    number of prompts; `block` the number of rows that a prompt is asked at a time. `pruner` applies to the controls
    only. `explain` computes what each dimension is worth at the end. With `pareto`, cheap and fast prompts are searched
    for as well; the best score still wins, among the prompts that keep the `constraints`. `ahead` is the number of
    further decisions that may be made while answers are awaited, so that slow answers do not hold everything up; the
    controls and `pareto` ignore it.
    """

    metric: Metric = METRICS["accuracy"]
    sampler: str = "pooled"
    pruner: str = "halving"
    calls: int = 2000
    trials: int = 300
    block: int = 5
    seed: int = 0
    explain: bool = False
    pareto: bool = False
    constraints: Constraints = field(default_factory=Constraints)
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks of a search.

    `event` gets what happens, and `keep` the trials that have changed since the last time. Before every step but the
    first `propose` gets the state of the search, so that new wordings may be made; then, while calls can be spared,
    `arrivals` returns the wordings that enter at this step. A resumed search must get the same ones at the same step.
    """

    event: Callable[[Event], None] = lambda _: None
    keep: Callable[[Sequence[Trial]], None] = lambda _: None
    propose: Callable[[int, View], None] = lambda *_: None
    arrivals: Callable[[int], Sequence[Wording]] = lambda _: ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found, and why it stopped.

    `gain` is the best prompt's lead over the seed prompt on new rows, corrected for its having been chosen, and
    `gain_interval` its 95 % interval.
    """

    trials: tuple[Trial, ...]
    best: Trial
    reason: str
    gain: float = 0.0
    gain_interval: tuple[float, float] = (-1.0, 1.0)
    importances: tuple[Importance, ...] = ()

    @property
    def claim(self) -> bool:
        """Whether the dev rows show a gain over the seed prompt."""
        return self.gain_interval[0] > 0


class Searcher(Protocol):
    """Reads the board and decides what to ask."""

    reason: str

    @property
    def leader(self) -> int:
        """The trial that would be recommended now."""

    def decide(self, rng: np.random.Generator) -> list[Pick]:
        """Return the cells to ask next; none when the search is over, and `reason` then says why."""

    def learn(self, rng: np.random.Generator) -> None:
        """Update from the answers entered last, and close trials."""

    def widen(self) -> None:
        """Take over a further wording in the board's space."""

    def finish(self, rng: np.random.Generator) -> int:
        """Close what is open, and return the winner."""

    def levels(self, name: str) -> dict[Value, tuple[float, float]]:
        """Predict the leading prompt's score with each value of a dimension, as (mean, standard deviation).

        Empty for a searcher without a model.
        """

    def importances(self, rng: np.random.Generator) -> tuple[Importance, ...]:
        """Return what each dimension is worth; empty for a searcher without a model."""


def run(
    space: Space,
    evaluate: Evaluate,
    rows: Sequence[Example],
    options: Options = Options(),
    *,
    replay: Sequence[Trial] = (),
    hooks: Hooks = Hooks(),
) -> Found:
    """Search a space for the prompt that scores best on the rows.

    Parameters
    ----------
    space
        The search space.
    evaluate
        Takes cells (prompt, row), returns one outcome each, in order; iterating over them may wait for the answers. It
        may raise `BudgetSpent` to end the search.
    rows
        The dev rows. If there are more than the calls can use, the search uses those that `board.searched` selects.
    options
        What to maximize and how to search.
    replay
        The trials of an interrupted search; their outcomes are used instead of asking again.
    hooks
        Callbacks for events and trials.

    Raises
    ------
    BudgetSpent
        If the budget does not even cover the first look at the seed prompt.
    InputError
        If the sampler is not known, or no row of the seed prompt could be scored.
    """
    board = Board(space, searched(rows, options.calls, options.seed), options.metric, options.seed)
    aims = Aims(board, pareto=options.pareto, constraints=options.constraints)
    searcher = _searcher(board, options, aims)
    known = {(t.prompt.digest, o.example_id): o for t in replay for o in t.outcomes}
    play = _Play(board, searcher, options, hooks)
    # The matrices are so small that a second thread costs more than it gives, above all on a busy machine.
    with threadpool_limits(1, "blas"):
        reason = _look(play, known, evaluate)
        winner = searcher.finish(np.random.default_rng([options.seed, 0, 1]))
        play.tell(range(len(board.cards)))
        worth = searcher.importances(np.random.default_rng([options.seed, 0, 2])) if options.explain else ()
    trials = tuple(board.trial(card.number) for card in board.cards)
    card = board.cards[winner]
    reason = (reason or searcher.reason) + aims.note(winner)
    return Found(trials, trials[winner], reason, card.gain, card.gain_credible, worth)


def _searcher(board: Board, options: Options, aims: Aims) -> Searcher:
    limits = Limits(options.calls, options.trials, options.block)
    if options.sampler not in SAMPLERS:
        raise InputError(one_of("sampler", options.sampler, list(SAMPLERS)))
    if options.pruner not in PRUNERS:
        raise InputError(one_of("pruner", options.pruner, list(PRUNERS)))
    if options.sampler == "pooled":
        from optimizer.engine.pooled import Pooled

        return Pooled(board, limits, aims)
    if options.pareto:
        raise InputError(f"sampler {options.sampler!r} knows one aim; pareto is allowed with: pooled. Leave one out.")
    from optimizer.engine.controls import Control

    return Control(board, limits, options.sampler, options.pruner, aims)


def _look(play: _Play, known: Mapping[tuple[str, str], Outcome], evaluate: Evaluate) -> str:
    """Decide and ask until the searcher is done; return what else ended the search, or an empty text."""
    board, options = play.board, play.options
    patient = options.sampler != "pooled" or options.pareto  # these decide nothing ahead
    ahead = 0 if patient else options.ahead
    asked: deque[tuple[int, list[Pick], Iterator[Outcome]]] = deque()
    for step in count():
        try:
            picks = play.welcome(step) or play.searcher.decide(np.random.default_rng([options.seed, step, 0]))
            if picks:
                board.expect(picks)
                asked.append((step, picks, _answers(board, picks, step, known, evaluate)))
            elif not asked:
                break
            if not picks or len(asked) > (ahead if board.calls else 0):
                then, entered, answers = asked.popleft()
                play.enter(then, entered, list(answers))
        except BudgetSpent as spent:
            if not board.calls:
                raise BudgetSpent(f"{spent}: it does not cover a first look at the seed prompt. Raise it.") from None
            board.awaited[:] = False  # answers still awaited are not looked at
            return str(spent)
    return ""


def _answers(
    board: Board,
    picks: Sequence[Pick],
    step: int,
    known: Mapping[tuple[str, str], Outcome],
    evaluate: Evaluate,
) -> Iterator[Outcome]:
    """Return the outcomes of the picked cells: from the interrupted search if it has them, else by asking, at once."""
    cells = [(board.cards[pick.trial].prompt, board.rows[row]) for pick in picks for row in pick.rows]
    found: list[Outcome | None] = [None] * len(cells)
    if known:
        digests = {pick.trial: board.cards[pick.trial].prompt.digest for pick in picks}  # slow with a pool of demos
        asked_for = [(digests[pick.trial], board.rows[row].id) for pick in picks for row in pick.rows]
        found = [_replayed(known.get(cell), step) for cell in asked_for]
    asked = iter(evaluate([cell for cell, outcome in zip(cells, found, strict=True) if outcome is None]))
    return (next(asked) if outcome is None else outcome for outcome in found)


def _replayed(outcome: Outcome | None, step: int) -> Outcome | None:
    """Return a cell's outcome at this step of the interrupted search; None if that search had not come so far.

    Only the last answer of a cell is stored: if it came at a later step, this step's call had failed.
    """
    if outcome is None or outcome.step < step:
        return None
    return outcome if outcome.step == step else Outcome(outcome.example_id, Kind.ERROR, None, None, step=step)


@dataclass
class _Play:
    """Applies arrivals and answers to the board, and reports what happens to the hooks."""

    board: Board
    searcher: Searcher
    options: Options
    hooks: Hooks
    cost: float = 0.0

    def welcome(self, step: int) -> list[Pick]:
        """Add the wordings that have arrived to the space, and return the cells for a first look at them."""
        board, leader = self.board, self.searcher.leader if self.board.calls else 0
        if not board.calls:
            return []
        room = spare(board, leader, self.options.calls)
        stand = partial(board.trial, leader), partial(board.trial, 0)
        view = View(board.calls, self.options.calls, room, *stand, board.space, self.searcher.levels)
        self.hooks.propose(step, view)
        arrived = self.hooks.arrivals(step) if room > 0 else ()
        if not arrived:
            return []
        for wording in arrived:
            board.space = board.space.filled(wording.dimension, wording.id, wording.text)
        self.searcher.widen()
        return first_looks(board, leader, arrived, room, self.options.block)

    def enter(self, step: int, picks: Sequence[Pick], outcomes: Sequence[Outcome]) -> None:
        """Record answers, let the searcher learn, and report what happened."""
        board = self.board
        open_before = [card.number for card in board.cards if card.open]
        board.enter(step, picks, outcomes)
        self.cost += sum(outcome.cost for outcome in outcomes)
        if not board.cards[0].failing:
            self.searcher.learn(np.random.default_rng([self.options.seed, step, 1]))
        seed = board.cards[0]
        if seed.failing or seed.state is State.FAILED:  # nothing is kept: the next run asks the seed prompt again
            raise InputError(f"no prompt could be scored: {seed.failure()}. Check what failed, then run again.")
        for pick in picks:
            self.hooks.event(self._block(board.cards[pick.trial]))
        closed = [number for number in open_before if not board.cards[number].open]
        self.tell(sorted({*closed, *(pick.trial for pick in picks)}))
        best = board.cards[self.searcher.leader]
        decided = Decided(board.calls, self.options.calls, best.number, best.params, best.estimate, self.cost)
        self.hooks.event(decided)

    def tell(self, numbers: Sequence[int]) -> None:
        """Pass on trials that have changed, and announce those that have ended."""
        trials = [self.board.trial(number) for number in numbers]
        self.hooks.keep(trials)
        for trial in trials:
            if trial.state is not State.RUNNING and not self.board.cards[trial.number].told:
                self.board.cards[trial.number].told = True
                self.hooks.event(TrialEnded(trial, self.searcher.leader))

    def _block(self, card: Card) -> BlockScored:
        scores = self.board.scores[card.number]
        n = int((~np.isnan(scores)).sum())
        # The interval of a set-level metric needs a bootstrap: too slow for every block.
        interval = wilson(float(np.nansum(scores)), n) if self.board.metric.mean else None
        score = card.steps.get(len(card.answers))
        return BlockScored(card.number, card.params, n, len(self.board.rows), score, interval)
