"""One ledger for many threads: each asks for a completion and waits, and one thread buys for all of them.

A ledger and its file belong to the thread that opened them; a program of several steps waits for each of its calls, so
that only many programs at once keep a model busy. Knows neither programs nor rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from optimizer.ledger import Ledger
from optimizer.records import Completion, Request

GATHERED = 0.005  # seconds that the first of several requests waits for the others
LOOK = 0.5  # seconds after which a thread that waits looks whether anybody still buys


@dataclass
class Clerk:
    """Buys for threads.

    While `recalling` nothing is bought, and what was not bought before fails. `trouble` is what has ended the buying,
    such as a spent budget: whoever asks afterwards is told the same.
    """

    ledger: Ledger
    recalling: bool = False
    trouble: BaseException | None = None
    _asked: SimpleQueue[tuple[Request, Future[Completion]] | None] = field(default_factory=SimpleQueue)

    def ask(self, request: Request) -> Completion:
        """Wait for a completion, in any thread; raises what the ledger does."""
        answered: Future[Completion] = Future()
        if self.trouble is None:
            self._asked.put((request, answered))
        while self.trouble is None or answered.done():
            with suppress(TimeoutError):
                return answered.result(timeout=LOOK)
        raise RuntimeError(f"not bought: {self.trouble}")

    def begin(self, *, recalling: bool) -> None:
        """Open for threads that are started now."""
        self.recalling, self.trouble, self._asked = recalling, None, SimpleQueue()

    def leave(self, trouble: BaseException) -> None:
        """Serve nobody any more: whoever waits is told why, as where Ctrl-C comes between two purchases."""
        self.trouble = self.trouble or trouble

    def serve(self, work: Sequence[Future[Any]]) -> None:
        """Buy what is asked for until the work is done; raises what has ended the buying, when no thread waits."""
        for future in work:
            future.add_done_callback(lambda _: self._asked.put(None))
        while busy := sum(not future.done() for future in work):
            if first := self._asked.get():
                self._buy([first, *self._others(busy - 1)])
        if self.trouble is not None:
            raise self.trouble

    def _others(self, most: int) -> list[tuple[Request, Future[Completion]]]:
        """Take what else is asked for just now."""
        found: list[tuple[Request, Future[Completion]]] = []
        while len(found) < most:
            try:
                if asked := self._asked.get(timeout=GATHERED):
                    found.append(asked)
            except Empty:
                break
        return found

    def _buy(self, asked: Sequence[tuple[Request, Future[Completion]]]) -> None:
        bought: list[tuple[str, Completion]] = []
        if self.trouble is None:
            try:
                answer = self.ledger.recall if self.recalling else self.ledger.complete
                bought = answer([request for request, _ in asked])
            except BaseException as error:  # noqa: BLE001 - it is raised again when no thread waits any more
                self.trouble = error
        for position, (_, answered) in enumerate(asked):
            if self.trouble is not None:
                answered.set_exception(RuntimeError(f"not bought: {self.trouble}"))
            else:
                answered.set_result(bought[position][1])
