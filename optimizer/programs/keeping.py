"""Keeps the search for a program in results.db: its trials, and wordings as they are proposed and enter.

Connects `search` with the tables that a task's search is stored in. Makes no calls itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer import search
from optimizer.events import Event, Notice, Stage
from optimizer.ledger import Ledger
from optimizer.programs.search import ProgramSearch
from optimizer.proposals.rounds import Rounds
from optimizer.proposals.wordings import Arrivals
from optimizer.propose import ROOM
from optimizer.records import Trial, Wording
from optimizer.store import Store

BLOCK = search.Options().block


@dataclass(frozen=True, slots=True)
class Proposing:
    """A model that proposes instructions: the ledger that buys its replies, and what it is told of the task.

    A reply has at most `max_tokens`. `hidden` are texts that no prompt may show, besides the dev rows.
    """

    ledger: Ledger
    description: str = ""
    max_tokens: int = ROOM
    hidden: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The run in results.db that stores a search; `replay` are the trials of an interrupted one."""

    store: Store
    run: int
    event: Callable[[Event], None]
    replay: Sequence[Trial] = ()

    def hooks(
        self,
        asked: ProgramSearch,
        proposing: Proposing | None,
        kept: Callable[[Sequence[Trial]], None] = lambda _: None,
    ) -> search.Hooks:
        """Return the search's callbacks; `kept` is called with trials that were stored."""

        def keep(trials: Sequence[Trial]) -> None:
            with self.store.together():
                for trial in trials:
                    self.store.save_trial(self.run, trial, trial.prompt.instruction)
            kept(trials)

        arrivals = Arrivals(self.store, self.run, self.replay, self._entered)
        if proposing is None:
            return search.Hooks(self.event, keep, arrivals=arrivals)
        rounds = Rounds(
            proposing.ledger,
            self.store,
            self.run,
            asked.ground(proposing.description, proposing.max_tokens),
            asked.screen(proposing.hidden),
            asked.rows.dev,
            BLOCK,
            arrivals.replayed,
            lambda said: self.event(Notice(said)),
            asked.failure,
        )
        return search.Hooks(self.event, keep, rounds, arrivals)

    def _entered(self, wording: Wording) -> None:
        where = f"{wording.dimension} = {wording.id} enters at step {wording.step}"
        self.event(Stage("search", f"{where}: {wording.text}"))
