"""Calls between a ledger and its gateway: those waiting to be sent, those in flight, and their outcomes.

Knows which order waits for which call, but nothing of files, prices or how a call is made.
"""

from __future__ import annotations

import queue
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from optimizer.budget import Spent
from optimizer.calls.gateway import Landed
from optimizer.records import Completion, Failure, Request

POLL_SECONDS = 0.2  # between checks of whether the user stopped, or another process bought what is waited for


@dataclass
class Flight:
    """A call in flight: the most that one attempt can cost, and what is reserved for the present attempt."""

    each: Spent
    reserved: Spent


@dataclass(frozen=True)
class Again:
    """An attempt that may have been charged. The call is tried again once the ledger has recorded it (`leave`)."""

    key: str
    failure: Failure
    leave: Future[None]


@dataclass(eq=False)
class Order:
    """Requests that are answered together, by key; `trouble` is why those still missing will not be answered."""

    keys: list[str]
    known: dict[str, Completion]
    missing: dict[str, Request]
    trouble: BaseException | None = None


@dataclass
class Traffic:
    """The calls of all orders, by key: those waiting to be sent, those in flight, and their outcomes."""

    orders: list[Order] = field(default_factory=list)
    waiting: deque[tuple[str, Request]] = field(default_factory=deque)
    done: dict[str, Completion] = field(default_factory=dict)
    flying: dict[str, Flight] = field(default_factory=dict)
    elsewhere: dict[str, Request] = field(default_factory=dict)  # calls that another process is making
    landed: queue.SimpleQueue[tuple[str, Future[Landed]] | Again] = field(default_factory=queue.SimpleQueue)
    unwritten: list[tuple[str, Future[Landed]]] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    trouble: BaseException | None = None

    def place(self, order: Order) -> None:
        """Queue the calls of an order, except those that another order has queued or made already."""
        self.orders.append(order)
        known = {*self.done, *self.flying, *self.elsewhere, *(key for key, _ in self.waiting)}
        self.waiting.extend((key, request) for key, request in order.missing.items() if key not in known)

    def lacks(self, order: Order) -> bool:
        """Return whether an order still waits for a call."""
        return not order.missing.keys() <= self.done.keys()

    def over(self, order: Order) -> dict[str, Completion]:
        """Remove a completed order, and return the completions of its calls by key."""
        self.orders.remove(order)
        found = {key: self.done[key] for key in order.missing}
        wanted = {key for other in self.orders for key in other.missing}
        self.done = {key: completion for key, completion in self.done.items() if key in wanted}
        return found

    def break_off(self) -> None:
        """End all orders with the present `trouble`, and drop the calls that were not sent."""
        for order in self.orders:
            order.trouble = self.trouble
        self.orders.clear()
        self.waiting.clear()
        self.elsewhere.clear()
        self.done.clear()
        self.trouble = None

    def land(self) -> None:
        """Wait up to POLL_SECONDS for an outcome, then take in all that have arrived."""
        with suppress(queue.Empty):
            came = self.landed.get(timeout=POLL_SECONDS)
            while True:
                if isinstance(came, Again):
                    self.again.append(came)
                else:
                    self.unwritten.append(came)
                came = self.landed.get_nowait()
