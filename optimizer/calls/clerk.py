"""One ledger for many threads: each thread asks for a completion and waits, and one thread buys for all of them.

A ledger and its file can be used only by the thread that opened them, but a program of several steps waits for each of
its calls, so that many programs must run at once to keep a model busy. Knows neither programs nor rows.
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

GATHERED = 0.005  # seconds to wait for each further request of a batch
Bought = tuple[str, Completion]  # a completion with its key
LOOK = 0.5  # seconds after which a waiting thread checks whether buying has ended


@dataclass
class Clerk:
    """Buys completions for threads.

    While `recalling`, nothing is bought, and a request whose answer is not cached fails. `trouble` is the error that
    ended the buying, such as a spent budget; all later requests fail because of it, too.
    """

    ledger: Ledger
    recalling: bool = False
    trouble: BaseException | None = None
    _asked: SimpleQueue[tuple[Request, Future[Bought]] | None] = field(default_factory=SimpleQueue)

    def ask(self, request: Request) -> Bought:
        """Wait for a completion, in any thread; return its key and itself.

        Raises
        ------
        RuntimeError
            If it was not bought; the message has the ledger's error.
        """
        answered: Future[Bought] = Future()
        if self.trouble is None:
            self._asked.put((request, answered))
        while self.trouble is None or answered.done():
            with suppress(TimeoutError):
                return answered.result(timeout=LOOK)
        raise RuntimeError(f"not bought: {self.trouble}")

    def begin(self, *, recalling: bool) -> None:
        """Reset, before new threads are started."""
        self.recalling, self.trouble, self._asked = recalling, None, SimpleQueue()

    def leave(self, trouble: BaseException) -> None:
        """Stop buying, as when Ctrl-C comes between two purchases; waiting requests fail because of `trouble`."""
        self.trouble = self.trouble or trouble

    def serve(self, work: Sequence[Future[Any]]) -> None:
        """Buy what is asked for until all `work` is done, then raise the error that ended the buying, if any."""
        for future in work:
            future.add_done_callback(lambda _: self._asked.put(None))
        while busy := sum(not future.done() for future in work):
            if first := self._asked.get():
                self._buy([first, *self._others(busy - 1)])
        if self.trouble is not None:
            raise self.trouble

    def _others(self, most: int) -> list[tuple[Request, Future[Bought]]]:
        """Take further requests that are asked at about the same time, `most` at most."""
        found: list[tuple[Request, Future[Bought]]] = []
        while len(found) < most:
            try:
                if asked := self._asked.get(timeout=GATHERED):
                    found.append(asked)
            except Empty:
                break
        return found

    def _buy(self, asked: Sequence[tuple[Request, Future[Bought]]]) -> None:
        bought: list[Bought] = []
        if self.trouble is None:
            try:
                answer = self.ledger.recall if self.recalling else self.ledger.complete
                bought = answer([request for request, _ in asked])
            except BaseException as error:  # noqa: BLE001 - it is raised again once no thread is waiting
                self.trouble = error
        for position, (_, answered) in enumerate(asked):
            if self.trouble is not None:
                answered.set_exception(RuntimeError(f"not bought: {self.trouble}"))
            else:
                answered.set_result(bought[position])
