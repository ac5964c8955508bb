"""The ledger, which buys each completion only once.

A completion is looked up first. If it is not cached, its highest cost is reserved, the call is recorded as being made,
and its result is recorded. Knows a model, a `Book` and a budget, but nothing of prompts, rows or scores.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property

from optimizer.budget import Budget, Spent, most, taken, too_long
from optimizer.calls.book import Book
from optimizer.calls.gateway import STOPPED, Gateway, InThreads, Landed, Pace
from optimizer.calls.listener import Listener
from optimizer.calls.own_models import completed
from optimizer.calls.traffic import Again, Flight, Order, Traffic
from optimizer.errors import BudgetSpent, Interrupted, ModelError
from optimizer.models import LocalModel, Model, RemoteModel
from optimizer.records import Completion, Failure, Request

NOT_BOUGHT = "not bought before"  # the `error` of a completion that was looked up but is not cached
LAST_SECONDS = 1.0  # wait for calls in flight when everything is aborted


def require_price(model: Model, max_usd: float) -> None:
    """Raise ModelError for a cap on dollars with a model whose price is not known."""
    if max_usd and model.price is None:
        raise ModelError(
            f"model {model.name!r} has no known price, so a cap of ${max_usd:g} cannot be kept. "
            "Give its price in [model.price], or cap the calls with max_calls."
        )


@dataclass
class Ledger:
    """Buys completions of one model.

    With `pace`, calls are made in parallel, and each is recorded as it returns. Without it, they are made in this
    thread and recorded together, which is for a model in this process, whose calls cost nothing.

    If `context` is not 0, a request that cannot fit into so many tokens is not sent: it fails, and costs nothing.

    `role` is the model's role if it is not the one that answers; results.db records it with the model's name.

    Set `stop` to end the buying: calls in flight are awaited and recorded, then `Interrupted` is raised. `notice` is
    called with messages for the user.
    """

    model: Model
    book: Book
    run: int
    budget: Budget = field(default_factory=Budget)
    pace: Pace | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    notice: Callable[[str], None] = lambda _: None
    context: int = 0
    role: str = ""
    bought: int = 0
    reused: int = 0

    def __post_init__(self) -> None:
        require_price(self.model, self.budget.caps.usd)
        self.listener = Listener(self.model.name)
        self._traffic = Traffic()
        self._said_missed = False

    @property
    def workers(self) -> int:
        """How many calls may be in flight."""
        return self.pace.workers if self.pace else 1

    @property
    def buyer(self) -> str:
        """The model's name with its role, as recorded in results.db."""
        return f"{self.model.name} as {self.role}" if self.role else self.model.name

    def close(self) -> None:
        """Abandon the calls in flight, if there are any, and close the connections."""
        try:
            if self._traffic.flying:
                self._give_up(self._traffic)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if "gateway" in self.__dict__:
            self.gateway.close()
            del self.gateway

    @cached_property
    def gateway(self) -> Gateway:
        """Makes the calls; opened with the first one."""
        assert self.pace is not None
        if isinstance(self.model, RemoteModel):
            return Gateway(self.model, self.pace)
        assert isinstance(self.model, LocalModel)
        return Gateway(InThreads(self.model, self.pace.workers), self.pace)

    def complete(self, requests: Sequence[Request]) -> list[tuple[str, Completion]]:
        """Return the key and completion of each request, in order.

        A completion with an `error` is recorded as a failure, and bought again when it is next requested.

        Raises
        ------
        BudgetSpent
            Before a call that could exceed a cap; what was bought until then is recorded.
        Interrupted
            If `stop` was set; the calls in flight are recorded.
        ProviderError
            If the provider refuses every call, answers none, or returns only empty answers.
        """
        return self.collect(self.begin(requests))

    def begin(self, requests: Sequence[Request]) -> Order:
        """Begin to answer requests; `collect` waits for them, in the order in which they were begun.

        Raises
        ------
        Interrupted
            If `stop` was set; the calls in flight are recorded.
        """
        if self.stop.is_set():
            self._guarded(self._drain)
        self._raise_if_stopped()
        keys, known = self.find(requests)
        self.reused += sum(key in known for key in keys)
        self.listener.hear(known.values())
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        known |= {key: Completion("", error=said) for key, request in missing.items() if (said := self._unfit(request))}
        order = Order(keys, known, {key: request for key, request in missing.items() if key not in known})
        if order.missing and self.pace:
            self._traffic.place(order)
            self._guarded(self._send)
        return order

    def collect(self, order: Order) -> list[tuple[str, Completion]]:
        """Wait for an order, and return the key and completion of each request; errors as in `complete`."""
        if order.trouble is not None:
            raise order.trouble
        if order.missing:
            found = self._await(order) if self.pace else self._buy_here(order.missing)
            order.known |= found
            order.missing = {}
        return [(key, order.known[key]) for key in order.keys]

    def recall(self, requests: Sequence[Request]) -> list[tuple[str, Completion]]:
        """Look up the completions of requests, in order, without buying: one that is not cached has an `error`."""
        keys, known = self.find(requests)
        lost = Completion("", error=NOT_BOUGHT)
        return [(key, known.get(key, lost)) for key in keys]

    def find(self, requests: Sequence[Request]) -> tuple[list[str], dict[str, Completion]]:
        """Return the keys of requests, in order, and the cached completions by key."""
        keys = [self.key(request) for request in requests]
        known = self.book.find_completions(keys)
        return self._fuller(requests, keys, known), known

    def unbought(self, requests: Sequence[Request]) -> list[Request]:
        """Return the requests that would buy a completion: not cached, not repeated, not too long to send."""
        keys, known = self.find(requests)
        wanted = dict(zip(keys, requests, strict=True))
        return [request for key, request in wanted.items() if key not in known and not self._unfit(request)]

    def missing(self, requests: Sequence[Request]) -> int:
        """Return how many completions these requests would buy."""
        return len(self.unbought(requests))

    def _unfit(self, request: Request) -> str:
        """Return why a request is too long to be sent; empty if it is not."""
        return too_long(request, self.context) if self.context else ""

    def key(self, request: Request) -> str:
        """Return a hash of all that determines a call's answer: model, address, messages, settings, sample."""
        settings = request.settings
        parts: list[object] = [
            self.model.name,
            self.model.address,
            [(message.role, message.content) for message in request.messages],
            float(settings.temperature),  # 0 and 0.0 are the same call
            settings.max_tokens,
            request.sample,
            *(["logprobs"] if settings.logprobs else []),
        ]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:32]

    def _fuller(self, requests: Sequence[Request], keys: Sequence[str], known: dict[str, Completion]) -> list[str]:
        """Use a cached completion with log-probabilities for a request without them, too; return the keys to use."""
        fuller = {
            key: self.key(replace(request, settings=replace(request.settings, logprobs=True)))
            for key, request in zip(keys, requests, strict=True)
            if key not in known
        }
        known |= self.book.find_completions(list(fuller.values()))
        return [fuller[key] if fuller.get(key) in known else key for key in keys]

    def _buy_here(self, missing: Mapping[str, Request]) -> dict[str, Completion]:
        """Buy completions one after the other in this thread."""
        assert isinstance(self.model, LocalModel)
        done: dict[str, Completion] = {}
        try:
            for key, request in missing.items():
                self._raise_if_stopped()
                reserved = most(request, self.model.price)
                self.budget.reserve(reserved)
                started = time.perf_counter()
                completion = completed(self.model, self.model.complete(request))
                self.budget.settle(reserved, taken(completion), failed=bool(completion.error))
                seconds = completion.seconds or time.perf_counter() - started
                done[key] = replace(completion, seconds=seconds)
        finally:
            self._write(done)
            failed = [(key, c) for key, c in done.items() if c.error]
            if failed:
                failures = [(key, Failure(c.error, c.seconds, c.cost), Spent()) for key, c in failed]
                self.book.add_failures(self.run, self.buyer, failures)
        return done

    def _await(self, order: Order) -> dict[str, Completion]:
        """Wait for an order's calls, up to `workers` at once; each is recorded as it returns, even if others fail."""
        self._guarded(lambda traffic: self._fly(traffic, order))
        return self._traffic.over(order)

    def _guarded(self, do: Callable[[Traffic], None]) -> None:
        """Do something with the calls; if it is aborted, as by a second Ctrl-C, record what became of each call."""
        try:
            do(self._traffic)
        except BaseException:
            self._give_up(self._traffic)
            raise

    def _fly(self, traffic: Traffic, order: Order) -> None:
        while traffic.lacks(order) and (traffic.flying or traffic.trouble is None):
            self._send(traffic)
            traffic.land()
            self._take(traffic)
            self._say_missed()
            self._look_elsewhere(traffic)
        if traffic.lacks(order):
            traffic.break_off()
            assert order.trouble is not None
            raise order.trouble

    def _drain(self, traffic: Traffic) -> None:
        """Wait for the calls in flight without making others."""
        while traffic.flying:
            self.gateway.wind_down()
            traffic.land()
            self._take(traffic)

    def _send(self, traffic: Traffic) -> None:
        """Make as many calls as there is room for, after recording that they are being made."""
        assert self.pace is not None
        calls: dict[str, tuple[Request, Spent]] = {}
        while traffic.waiting and len(traffic.flying) + len(calls) < self.pace.workers and traffic.trouble is None:
            key, request = traffic.waiting[0]
            try:
                self._raise_if_stopped()
                reserved = most(request, self.model.price)
                self.budget.reserve(reserved)
            except BudgetSpent as error:
                # Calls in flight have reserved their highest cost, and may release part of it when they return.
                traffic.trouble = None if traffic.flying or calls else error
                break
            except Interrupted as error:
                traffic.trouble = error
                break
            calls[key] = (request, reserved)
            traffic.waiting.popleft()
        if calls:
            busy = self.book.claim(self.run, self.buyer, {key: call[1] for key, call in calls.items()})
            for key, (request, reserved) in calls.items():
                if key in busy:
                    self.budget.settle(reserved, Spent())
                    traffic.elsewhere[key] = request
                else:
                    self._submit(traffic, key, request, reserved)
        if self.stop.is_set() and traffic.flying:
            self.gateway.wind_down()

    def _submit(self, traffic: Traffic, key: str, request: Request, each: Spent) -> None:
        traffic.flying[key] = Flight(each, each)

        def charged(failure: Failure) -> Future[None]:
            again = Again(key, failure, Future())
            traffic.landed.put(again)
            return again.leave

        future = self.gateway.submit(request, charged)
        future.add_done_callback(lambda landed: traffic.landed.put((key, landed)))

    def _take(self, traffic: Traffic) -> None:
        """Record the outcomes of calls that have returned, and what they cost."""
        if traffic.again:
            self._let_try_again(traffic)
        if not traffic.unwritten:
            return
        results = {key: _result(future) for key, future in traffic.unwritten}
        answered = {key: r.completion for key, r in results.items() if r.completion and not r.completion.error}
        failures = [(key, failure, traffic.flying[key].each) for key, r in results.items() for failure in r.failures]
        with self.book.together():
            if failures:
                self.book.add_failures(self.run, self.buyer, failures)
            self._write(answered)
            self.book.release([key for key in results if key not in answered])
        traffic.unwritten.clear()
        traffic.trouble = self.listener.mute(answered.values()) or traffic.trouble
        for key, result in results.items():
            flight = traffic.flying.pop(key)
            spent = sum((_charged(failure, flight.each) for failure in result.failures), Spent())
            spent += taken(answered[key]) if key in answered else Spent()
            self.budget.settle(flight.reserved, spent, failed=len(result.failures))
            traffic.trouble = result.trouble or traffic.trouble
            if result.completion is not None and result.completion.error == STOPPED:
                traffic.trouble = traffic.trouble or Interrupted("stopped")
            elif result.completion is not None:
                traffic.done[key] = result.completion

    def _let_try_again(self, traffic: Traffic) -> None:
        """Record failed attempts that may have been charged, and allow another attempt if the budget covers it."""
        failures = [(again.key, again.failure, traffic.flying[again.key].each) for again in traffic.again]
        self.book.add_failures(self.run, self.buyer, failures)
        for again in traffic.again:
            flight = traffic.flying[again.key]
            self.budget.settle(flight.reserved, _charged(again.failure, flight.each), failed=1)
            flight.reserved = Spent()
            try:
                self.budget.reserve(flight.each)
            except BudgetSpent as spent:
                again.leave.set_exception(spent)
            else:
                flight.reserved = flight.each
                again.leave.set_result(None)
        traffic.again.clear()

    def _give_up(self, traffic: Traffic) -> None:
        """Wait a moment for the calls in flight, then abandon them, and record that they may have been charged."""
        try:
            until = time.monotonic() + LAST_SECONDS
            while len(traffic.flying) > len(traffic.unwritten) and time.monotonic() < until:
                traffic.land()
            self._take(traffic)
            given_up = Failure("possibly paid: given up before the answer came", 0.0, None)
            failures = [(key, given_up, flight.each) for key, flight in traffic.flying.items()]
            with self.book.together():
                self.book.add_failures(self.run, self.buyer, failures)
                self.book.release(traffic.flying)
            traffic.flying.clear()
        finally:
            self._hang_up()

    def _say_missed(self) -> None:
        """Tell the user once that no server answers, since the run then mostly waits for one."""
        if self.gateway.missed and not self._said_missed:
            self._said_missed = True
            self.notice(f"nobody answers at {self.gateway.address} (connection refused); waiting for it")

    def _look_elsewhere(self, traffic: Traffic) -> None:
        """Take the completions that another process has bought; queue the other calls again."""
        if not traffic.elsewhere:
            return
        found = self.book.find_completions(list(traffic.elsewhere))
        traffic.done |= found
        self.reused += len(found)
        traffic.waiting.extend((key, request) for key, request in traffic.elsewhere.items() if key not in found)
        traffic.elsewhere = {}

    def _write(self, completions: Mapping[str, Completion]) -> None:
        answered = {key: completion for key, completion in completions.items() if not completion.error}
        if answered:
            self.book.add_completions(self.run, self.buyer, answered)
            self.bought += len(answered)
            if said := self.listener.another_version(answered.values()):
                self.notice(said)

    def _raise_if_stopped(self) -> None:
        if self.stop.is_set():
            raise Interrupted("stopped")


def _result(future: Future[Landed]) -> Landed:
    error = future.exception()
    return Landed(None, error) if isinstance(error, Exception) else future.result()


def _charged(failure: Failure, each: Spent) -> Spent:
    """Return what a failed attempt takes from the budget: its cost, or its highest possible cost if that is unknown."""
    return each if failure.cost is None else Spent(1, failure.cost, 0)
