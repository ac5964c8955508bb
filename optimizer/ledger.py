"""A completion is bought once: look it up, else reserve its price, pay, and write it down.

Knows a model, a store's two verbs and a budget; nothing of prompts, rows or scores.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from optimizer.errors import BudgetSpent, Interrupted, ModelError
from optimizer.models import Model
from optimizer.records import Completion, Request


class Book(Protocol):
    """Where completions are written down; a `Store` happens to fit."""

    def find_completions(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Look up which of these were bought already."""

    def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
        """Write these down; they are safe when this returns."""

    def add_failures(self, run: int, model: str, failures: Mapping[str, Completion]) -> None:
        """Write calls down that gave no answer."""


@dataclass
class Budget:
    """What may still be spent. A cap of zero is no cap.

    `held` calls and dollars are kept back for what must still be paid at the end.
    """

    max_calls: int = 0
    max_usd: float = 0.0
    calls: int = 0
    usd: float = 0.0
    reserved: float = 0.0
    held_calls: int = 0
    held_usd: float = 0.0

    def reserve(self, usd: float) -> None:
        """Set the highest possible price of a call aside, or refuse the call."""
        if self.max_calls and self.calls >= self.max_calls - self.held_calls:
            kept = f" but for {self.held_calls} kept for the verdict" if self.held_calls else ""
            raise BudgetSpent(f"the budget of {self.max_calls} calls is used up{kept}")
        if self.max_usd and self.usd + self.reserved + usd > self.max_usd - self.held_usd:
            kept = f", ${self.held_usd:.4f} kept for the verdict" if self.held_usd else ""
            raise BudgetSpent(f"the budget of ${self.max_usd:g} is used up (${self.usd:.4f} spent{kept})")
        self.calls += 1
        self.reserved += usd

    def lacking(self, calls: int, usd: float) -> str:
        """Say why so many calls at so much in all are not covered, or nothing if they are."""
        left, money = self.max_calls - self.held_calls - self.calls, self.max_usd - self.held_usd - self.usd
        if self.max_calls and calls > left:
            return f"it takes {calls} calls, and the budget has {max(0, left)} left"
        if self.max_usd and usd > money:
            return f"it takes about ${usd:.4f}, and the budget has ${max(0.0, money):.4f} left"
        return ""

    def settle(self, reserved: float, usd: float) -> None:
        """Replace a reservation by what the call did cost."""
        self.reserved -= reserved
        self.usd += usd


def require_price(model: Model, max_usd: float) -> None:
    """Refuse a cap on dollars for a model whose price nobody knows."""
    if max_usd and model.price is None:
        raise ModelError(
            f"model {model.name!r} has no known price, so a cap of ${max_usd:g} cannot be kept. "
            "Give its price in [model.price], or cap the calls with max_calls."
        )


@dataclass
class Ledger:
    """Buys completions of one model.

    With `workers` calls go out so many at a time and each is written down as it arrives. With none they are made
    in this thread and written down together: for a model in this process, whose calls cost nothing.

    `stop` is set from outside to end the buying: calls in flight are awaited and written down, then
    `Interrupted` is raised.
    """

    model: Model
    book: Book
    run: int
    budget: Budget = field(default_factory=Budget)
    workers: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    bought: int = 0
    reused: int = 0

    def __post_init__(self) -> None:
        require_price(self.model, self.budget.max_usd)

    def complete(self, requests: Sequence[Request]) -> list[tuple[str, Completion]]:
        """Get a completion for each request, in order, with the key that it stands under.

        A completion with an `error` is written down as a failure, and asked for again by a later call.

        Raises
        ------
        BudgetSpent
            Before a call that could pass the cap; what was bought until then is written down.
        Interrupted
            If `stop` was set; what was in flight is written down.
        ProviderError
            If the provider refuses every call.
        """
        self._raise_if_stopped()
        keys = [self.key(request) for request in requests]
        known = self.book.find_completions(keys)
        keys = self._fuller(requests, keys, known)
        self.reused += sum(key in known for key in keys)
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if missing:
            known |= self._buy_in_threads(missing) if self.workers else self._buy_here(missing)
        return [(key, known[key]) for key in keys]

    def missing(self, requests: Sequence[Request]) -> int:
        """Count the completions that these requests would buy."""
        keys = [self.key(request) for request in requests]
        known = self.book.find_completions(keys)
        return len({key for key in self._fuller(requests, keys, known) if key not in known})

    def key(self, request: Request) -> str:
        """Name a call by all that decides its answer: model, address, messages, settings, sample."""
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
        """Let a completion that came with log-probabilities also serve where none are asked for."""
        fuller = {
            key: self.key(replace(request, settings=replace(request.settings, logprobs=True)))
            for key, request in zip(keys, requests, strict=True)
            if key not in known
        }
        known |= self.book.find_completions(list(fuller.values()))
        return [fuller[key] if fuller.get(key) in known else key for key in keys]

    def _buy_here(self, missing: Mapping[str, Request]) -> dict[str, Completion]:
        """Buy one after the other in this thread."""
        done: dict[str, Completion] = {}
        try:
            for key, request in missing.items():
                self._raise_if_stopped()
                done[key] = self._pay(request, self._reserve(request))
        finally:
            self._write(done)
        return done

    def _buy_in_threads(self, missing: Mapping[str, Request]) -> dict[str, Completion]:
        """Up to `workers` at once; each is written down as it arrives, whatever becomes of the others."""
        done: dict[str, Completion] = {}
        waiting = list(missing.items())[::-1]
        flying: dict[Future[Completion], tuple[str, float]] = {}
        trouble: BaseException | None = None
        with ThreadPoolExecutor(self.workers) as threads, self._rescue(flying):
            while flying or (waiting and trouble is None):
                while waiting and len(flying) < self.workers and trouble is None:
                    key, request = waiting.pop()
                    try:
                        self._raise_if_stopped()
                        reserved = self._reserve(request)
                    except BudgetSpent as error:
                        # What is in flight has set its highest price aside: it may free money as it lands.
                        waiting.append((key, request))
                        trouble = None if flying else error
                        break
                    except Interrupted as error:
                        trouble = error
                        break
                    flying[threads.submit(self.model.complete, request)] = (key, reserved)
                landed, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in landed:
                    trouble = self._land(future, *flying[future], done) or trouble
                    del flying[future]
        if trouble is not None:
            raise trouble
        return done

    @contextmanager
    def _rescue(self, flying: Mapping[Future[Completion], tuple[str, float]]) -> Iterator[None]:
        """Await and write down what is in flight when anything breaks the buying off, such as a second Ctrl-C."""
        try:
            yield
        except BaseException:
            wait(flying)
            answered = {key: future.result() for future, (key, _) in flying.items() if not future.exception()}
            self._write(answered)
            raise

    def _land(
        self, future: Future[Completion], key: str, reserved: float, done: dict[str, Completion]
    ) -> BaseException | None:
        error = future.exception()
        completion = Completion("", error=str(error)) if error else future.result()
        self.budget.settle(reserved, completion.cost)
        if error is None:
            done[key] = completion
            self._write({key: completion})
        return error

    def _reserve(self, request: Request) -> float:
        """Set aside the most that a call can cost: no token is shorter than one byte."""
        per_prompt, per_completion = self.model.price or (0.0, 0.0)
        size = sum(len(message.content.encode()) + 8 for message in request.messages)
        most = size * per_prompt + request.settings.max_tokens * per_completion
        self.budget.reserve(most)
        return most

    def _pay(self, request: Request, reserved: float) -> Completion:
        started = time.perf_counter()
        completion = self.model.complete(request)
        self.budget.settle(reserved, completion.cost)
        return completion if completion.seconds else replace(completion, seconds=time.perf_counter() - started)

    def _write(self, completions: Mapping[str, Completion]) -> None:
        failed = {key: completion for key, completion in completions.items() if completion.error}
        if failed:
            self.book.add_failures(self.run, self.model.name, failed)
        answered = {key: completion for key, completion in completions.items() if not completion.error}
        if answered:
            self.book.add_completions(self.run, self.model.name, answered)
            self.bought += len(answered)

    def _raise_if_stopped(self) -> None:
        if self.stop.is_set():
            raise Interrupted("stopped")
