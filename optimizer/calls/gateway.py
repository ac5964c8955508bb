"""Calls to a remote model: sent when the gate allows, ended at their deadline, and retried after transient faults.

The only layer that retries. All calls run in the event loop of one thread, so that hundreds can be in flight, and each
can be cancelled at any moment, even while a provider sends its answer byte by byte. Knows what a call is and how it can
fail, but nothing of prices, the ledger's keys or what an answer is for.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

from optimizer.calls.faults import CallFailed, Fate
from optimizer.calls.gate import Gate
from optimizer.calls.own_models import completed
from optimizer.errors import BudgetSpent, ProviderError
from optimizer.models import LocalModel, RemoteModel, destination
from optimizer.records import Completion, Failure, Request

ATTEMPTS = 8  # most attempts after transient faults: if 30 % of attempts fail, one call in 15,000 fails so often
AT_NOBODY = 6  # most attempts if no server has taken a call yet; they take about ten seconds
DOUBTS = 3  # a dubious answer, such as an empty one, is accepted when it comes for this time
FIRST_WAIT = 0.5  # seconds before the second attempt, doubled for each further one; up to half of it is random
SILENCE = 2.0  # times the longest wait: after so long without any answer, a rate limit ends the run, too …
LEAST_SILENCE = 5.0  # … but not before so many seconds
STOPPED = "stopped before it was answered"  # the `error` of a call that was not retried because the run is ending


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast calls are made, and how long they may take.

    `workers` is the most calls at a time, `timeout` the seconds that one attempt may take, and `patience` the longest
    wait in seconds between two attempts, even if a provider asks for a longer one. 0 per minute means no cap.
    """

    workers: int = 8
    timeout: float = 60.0
    patience: float = 60.0
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0


@dataclass(frozen=True, slots=True)
class Landed:
    """The outcome of a call: a completion (with an `error` if the call failed), or the `trouble` that ends the run.

    `failures` are to be recorded: the attempts that may have been charged, and the final failure, if any.
    """

    completion: Completion | None
    trouble: Exception | None = None
    failures: tuple[Failure, ...] = ()


class Gateway:
    """Makes calls to one model, in its own thread.

    Parameters
    ----------
    model
        The model to call.
    pace
        How many calls at a time, and how long each may take.
    """

    def __init__(self, model: RemoteModel, pace: Pace = Pace()) -> None:
        self.model, self.pace = model, pace
        self.met = False  # whether a server has taken a call, with any outcome
        self.missed = False  # whether a connection was refused
        self.gate = Gate(pace.workers, pace.patience, pace.requests_per_minute, pace.tokens_per_minute)
        self._loop = asyncio.new_event_loop()
        self._door = asyncio.Lock()  # calls are sent one after the other, in the order in which they came
        self._moved = asyncio.Event()  # an attempt ended, or the gateway is winding down
        self._ending = asyncio.Event()
        self._random = random.Random(0)
        self._thread = threading.Thread(target=self._run, name=f"calls to {model.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, request: Request, charged: Callable[[Failure], Future[None]] | None = None) -> Future[Landed]:
        """Make a call.

        Parameters
        ----------
        request
            The request.
        charged
            Called in the gateway's thread with a failed attempt that may have been charged. The next attempt waits for
            the future that it returns, so that none goes unrecorded if the process ends; BudgetSpent in the future
            ends the call. Without `charged`, these failures are in `Landed.failures`.
        """
        return asyncio.run_coroutine_threadsafe(_Call(self, request, charged).make(), self._loop)

    def wind_down(self) -> None:
        """Make no further attempts, but let those in flight finish."""
        self._loop.call_soon_threadsafe(self._wind_down)

    def _wind_down(self) -> None:
        self._ending.set()
        self._moved.set()

    @property
    def address(self) -> str:
        """Where the calls go, as far as it is known."""
        there = destination(self.model)
        return there.address if there else self.model.address or self.model.name

    @property
    def ending(self) -> bool:
        """Whether the gateway is winding down."""
        return self._ending.is_set()

    def close(self) -> None:
        """Cancel the calls in flight, and end the thread."""
        if not self._loop.is_closed():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(timeout=2)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=2)
            if not self._thread.is_alive():
                self._loop.close()

    async def _leave(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.model.leave()

    async def let_out(self, tokens: int) -> bool:
        """Wait until a call may be sent; return False if the gateway is winding down."""
        async with self._door:
            while (seconds := self.gate.wait(time.monotonic())) and not self.ending:
                self._moved.clear()
                await _either(self._moved.wait(), seconds)
            if not self.ending:
                self.gate.leave(time.monotonic(), tokens)
            return not self.ending

    def landed(self) -> None:
        """Signal that an attempt ended, so that another call may be sent."""
        self._moved.set()

    async def pause(self, attempt: int, wanted: float | None) -> None:
        """Wait before another attempt, or until the gateway winds down."""
        await _either(self._ending.wait(), self.wait_before(attempt, wanted))

    def wait_before(self, attempt: int, wanted: float | None) -> float:
        """Return the seconds before another attempt: as `wanted` by the provider, or doubling; at most `patience`."""
        usual = FIRST_WAIT * 2.0 ** (attempt - 1) * (0.5 + self._random.random() / 2)
        return min(self.pace.patience, usual if wanted is None else wanted)


async def _either(event: Coroutine[object, object, object], seconds: float) -> None:
    """Wait for an event, but at most so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event, None if math.isinf(seconds) else seconds)


@dataclass
class _Call:
    """One call, with all its attempts."""

    gateway: Gateway
    request: Request
    charged: Callable[[Failure], Future[None]] | None
    began: float = field(default_factory=time.monotonic)
    attempts: int = 0  # attempts with a transient fault
    doubts: int = 0
    failed_at: float = math.inf  # when the first attempt failed
    failures: list[Failure] = field(default_factory=list)

    async def make(self) -> Landed:
        """Try until there is an answer, or until it is clear that there will be none."""
        while await self.gateway.let_out(_size(self.request)):
            try:
                completion = await self._try()
            except CallFailed as failed:
                if landed := await self._judge(failed):
                    return landed
            else:
                if completion.error:
                    self._note(completion.error, completion.cost)
                return self._lands(completion)
        return self._lands(Completion("", error=STOPPED))

    async def _try(self) -> Completion:
        """Make one attempt, and report its outcome to the gate."""
        gate, sent = self.gateway.gate, time.monotonic()
        try:
            async with asyncio.timeout(self.gateway.pace.timeout):
                completion = completed(self.gateway.model, await self.gateway.model.ask(self.request))
        except (CallFailed, TimeoutError) as error:
            failed = error if isinstance(error, CallFailed) else self._late()
            self.gateway.missed |= failed.absent
            self.gateway.met |= not failed.absent
            if failed.fate is Fate.LIMITED:
                gate.limited(time.monotonic(), sent, failed.wait)
            else:
                gate.failed(time.monotonic(), sent, busy=failed.busy)
            raise failed from None
        except BaseException:
            gate.failed(time.monotonic(), sent)
            raise
        else:
            self.gateway.met = True
            seconds = time.monotonic() - sent
            gate.answered(time.monotonic(), seconds)
            return completion if completion.seconds else replace(completion, seconds=seconds)
        finally:
            self.gateway.landed()

    def _late(self) -> CallFailed:
        return CallFailed(Fate.PASSING, f"no answer within {self.gateway.pace.timeout:g} s", billed=True)

    async def _judge(self, failed: CallFailed) -> Landed | None:
        """Return the call's outcome after a failed attempt, or wait and return None for another attempt."""
        cost = failed.answer.cost if failed.answer else None if failed.billed else 0.0
        self.attempts += failed.fate is Fate.PASSING
        self.doubts += failed.answer is not None
        self.failed_at = min(self.failed_at, time.monotonic())
        if failed.fate is Fate.REFUSED:
            return self._ends(ProviderError(f"{self.gateway.model.name}: {failed.said}"))
        if failed.fate is Fate.FINAL:
            return self._fails(failed.said, cost)
        if failed.answer is not None and self.doubts == DOUBTS:
            return self._lands(failed.answer)
        nobody = failed.absent and not self.gateway.met and self.attempts == AT_NOBODY
        if nobody or self.attempts == ATTEMPTS or (failed.fate is Fate.LIMITED and self._silent()):
            return self._gives_up(failed, cost)
        if failed.billed or failed.answer is not None:
            try:
                await self._charge(failed.said, cost)
            except BudgetSpent as spent:
                return self._ends(spent)
        if failed.fate is Fate.PASSING:  # a rate limit concerns all calls, so the gate does the waiting
            await self.gateway.pause(self.attempts, failed.wait)
        return None

    async def _charge(self, said: str, cost: float | None) -> None:
        """Have an attempt recorded that may have been charged, before another one is made."""
        if self.charged is None:
            self._note(said, cost)
        else:
            await asyncio.wrap_future(self.charged(self._failure(said, cost)))

    def _silent(self) -> bool:
        """Whether no call was answered for so long that a rate limit no longer counts as temporary."""
        since = max(self.began, self.gateway.gate.answered_at)
        return time.monotonic() - since > max(LEAST_SILENCE, SILENCE * self.gateway.pace.patience)

    def _gives_up(self, failed: CallFailed, cost: float | None) -> Landed:
        """End this call; and the run, too, if no call was answered since this one began (or since it first failed).

        The latter counts if no server is there any more: answers from before it went away do not help.
        """
        since = self.failed_at if failed.absent else self.began
        if self.gateway.gate.answered_at >= since:
            return self._fails(failed.said, cost)
        self._note(failed.said, cost)
        tried = f"tried for {time.monotonic() - self.began:.0f} s"
        said = f"no answer ({tried}; last: {failed.said}). Check the model"
        if failed.absent:
            said = f"nobody answers at {self.gateway.address} (connection refused, {tried}). Check address and server"
        return self._ends(ProviderError(f"{self.gateway.model.name}: {said}; then resume."))

    def _note(self, said: str, cost: float | None) -> None:
        self.failures.append(self._failure(said, cost))

    def _failure(self, said: str, cost: float | None) -> Failure:
        return Failure(said, time.monotonic() - self.began, cost)

    def _fails(self, said: str, cost: float | None) -> Landed:
        self._note(said, cost)
        return self._lands(Completion("", seconds=time.monotonic() - self.began, error=said))

    def _lands(self, completion: Completion) -> Landed:
        return Landed(completion, None, tuple(self.failures))

    def _ends(self, trouble: Exception) -> Landed:
        return Landed(None, trouble, tuple(self.failures))


def _size(request: Request) -> int:
    """Estimate the most tokens that a call takes, at four characters per token, for a cap on tokens per minute."""
    return sum(len(message.content) for message in request.messages) // 4 + request.settings.max_tokens


class InThreads:
    """A model with a blocking `complete`, such as a user's own, called from threads."""

    def __init__(self, model: LocalModel, workers: int) -> None:
        self.name, self.address, self.price = model.name, model.address, model.price
        self._model = model
        self._threads = ThreadPoolExecutor(workers, "a call")

    async def ask(self, request: Request) -> Completion:
        """Call the model in a thread; an error in its completion is final."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._model.complete, request)

    async def leave(self) -> None:
        """Shut down the threads without waiting for them."""
        self._threads.shutdown(wait=False)
