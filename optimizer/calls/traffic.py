"""Calls between a ledger and its gateway: those that wait, those under way, and what became of them.

Knows which order waits for which call; nothing of files, prices or how a call is made.
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

POLL_SECONDS = 0.2  # between two looks at whether the user has stopped, or another process has bought what we wait for


@dataclass
class Flight:
    """A call that is under way: the most that an attempt can cost, and what is reserved for the present one."""

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
    """Requests that are being answered, with the key of each; `trouble` is why the rest of them will not be."""

    keys: list[str]
    known: dict[str, Completion]
    missing: dict[str, Request]
    trouble: BaseException | None = None


@dataclass
class Traffic:
    """The calls of all orders, by key: those that wait to go out, those under way, and what became of them."""

    orders: list[Order] = field(default_factory=list)
    waiting: deque[tuple[str, Request]] = field(default_factory=deque)
    done: dict[str, Completion] = field(default_factory=dict)
    flying: dict[str, Flight] = field(default_factory=dict)
    elsewhere: dict[str, Request] = field(default_factory=dict)  # another process asks for these
    landed: queue.SimpleQueue[tuple[str, Future[Landed]] | Again] = field(default_factory=queue.SimpleQueue)
    unwritten: list[tuple[str, Future[Landed]]] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    trouble: BaseException | None = None

    def place(self, order: Order) -> None:
        """Let an order's calls wait for their turn, but for those that another order has called already."""
        self.orders.append(order)
        known = {*self.done, *self.flying, *self.elsewhere, *(key for key, _ in self.waiting)}
        self.waiting.extend((key, request) for key, request in order.missing.items() if key not in known)

    def lacks(self, order: Order) -> bool:
        """Whether an order still waits for a call."""
        return not order.missing.keys() <= self.done.keys()

    def over(self, order: Order) -> dict[str, Completion]:
        """Hand out what an order has waited for."""
        self.orders.remove(order)
        found = {key: self.done[key] for key in order.missing}
        wanted = {key for other in self.orders for key in other.missing}
        self.done = {key: completion for key, completion in self.done.items() if key in wanted}
        return found

    def break_off(self) -> None:
        """Give up what has not gone out, and tell all orders why."""
        for order in self.orders:
            order.trouble = self.trouble
        self.orders.clear()
        self.waiting.clear()
        self.elsewhere.clear()
        self.done.clear()
        self.trouble = None

    def land(self) -> None:
        """Take in what has landed, and wait a moment for it."""
        with suppress(queue.Empty):
            came = self.landed.get(timeout=POLL_SECONDS)
            while True:
                if isinstance(came, Again):
                    self.again.append(came)
                else:
                    self.unwritten.append(came)
                came = self.landed.get_nowait()
