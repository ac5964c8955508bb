"""A real HTTP server on loopback, in its own process, that speaks the OpenAI protocol and misbehaves when told to.

    with ChatServer() as server:
        server.misbehave(status(429, retry_after=1), 1)   # the first request
        server.misbehave(status(500))                     # every other request
        server.storm(0.3, [reset(), html()], seed=1)      # a share of all attempts, by chance
        server.wait(Latency(0.3), Limits(concurrent=64))
        open_model("openai/test-model", api_base=server.url)
        server.log                                        # what was asked, in the order of arrival

The embedded model answers, or the function that `brain` names. A fault is data: what to do instead of answering, or to
an answer. In a storm it depends on the seed, the request's body and the attempt alone, so that a run can be repeated.
Every request is logged to a file as it arrives and as it leaves, and a client can be killed at any of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Any, Self

from aiohttp import web
from services import Tuning, embeddings

from optimizer.serving import respond

Body = dict[str, Any]
HOUR = 3600.0


@dataclass(frozen=True)
class Asked:
    """One request as it arrived: `attempt` is 1 the first time that this very body is seen, `flying` how many are.

    `at` is the server's clock in seconds, `done` when it was answered; None if it was not, or not yet. `usage` is what
    the answer said, if it was one. `faulty` tells whether it met a fault.
    """

    number: int
    path: str
    headers: Mapping[str, str]
    body: Body
    attempt: int
    flying: int
    at: float
    done: float | None = None
    status: int | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    faulty: bool = False


# --- faults -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `status` other than 200 sends `error`; `raw` is sent instead of an answer; `answer` and `choice` are merged into the
    answer and its one choice; `seconds` are waited first; `drip` is the seconds between two bytes of the body; `cut`
    ends the body in its middle; `reset` breaks the connection off without a word.
    """

    status: int = 200
    error: Body = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    answer: Body = field(default_factory=dict)
    choice: Body = field(default_factory=dict)
    seconds: float = 0.0
    drip: float = 0.0
    cut: bool = False
    reset: bool = False


def status(code: int, *, retry_after: str | float = "", said: str = "") -> Fault:
    """Refuse with an HTTP status, and say when to come again; `said` replaces the message."""
    kinds = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error = {"message": said or f"status {code} as told", "type": "server_error", "code": kinds.get(code)}
    return Fault(code, {"error": error}, {"Retry-After": str(retry_after)} if retry_after != "" else {})


def quota() -> Fault:
    """Refuse as OpenAI does when the money is gone: with the status of a rate limit."""
    said = "You exceeded your current quota, please check your plan and billing details."
    return Fault(429, {"error": {"message": said, "type": "insufficient_quota", "code": "insufficient_quota"}})


def too_long() -> Fault:
    """Refuse a prompt as OpenAI does when it does not fit into the model's context."""
    said = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    error = {"message": said, "type": "invalid_request_error", "code": "context_length_exceeded"}
    return Fault(400, {"error": error})


def reset() -> Fault:
    """Break the connection off."""
    return Fault(reset=True)


def slow(seconds: float) -> Fault:
    """Answer late."""
    return Fault(seconds=seconds)


def hang() -> Fault:
    """Take the request and never answer."""
    return Fault(seconds=HOUR)


def drip(seconds: float = 0.5) -> Fault:
    """Send the answer byte by byte."""
    return Fault(drip=seconds)


def cut() -> Fault:
    """End the body in its middle."""
    return Fault(cut=True)


def malformed() -> Fault:
    """Break off within the JSON."""
    return Fault(raw='{"id": "x", "choices": [{"mess')


def html() -> Fault:
    """Send the page of a gateway instead of an answer, with the status of an answer."""
    return Fault(raw="<html><body>Please sign in.</body></html>", headers={"Content-Type": "text/html"})


def plain() -> Fault:
    """Send an answer that calls itself text."""
    return Fault(headers={"Content-Type": "text/plain"})


def null() -> Fault:
    """Send nothing, in JSON."""
    return Fault(raw="null")


def no_choice() -> Fault:
    """Answer with an empty list of choices."""
    return Fault(answer={"choices": []})


def wrong_types() -> Fault:
    """Answer in the protocol's names with values of other kinds."""
    return Fault(choice={"message": "a text where a message should be"})


def two_choices() -> Fault:
    """Answer with a second choice beside the first, and say that both were charged."""
    return Fault(answer={"usage": {"completion_tokens": 2}}, choice={"twice": True})


def says(text: str) -> Fault:
    """Answer a text of the caller's choice."""
    return Fault(choice={"message": {"content": text}})


def filtered() -> Fault:
    """Answer nothing, as a content filter does."""
    return Fault(choice={"finish_reason": "content_filter", "message": {"content": ""}})


def refusal(text: str = "I can't help with that.") -> Fault:
    """Answer that the model will not answer."""
    return Fault(choice={"message": {"content": None, "refusal": text}})


def cut_short() -> Fault:
    """Answer one token where more were allowed, and call it the bound."""
    return Fault(
        answer={"usage": {"completion_tokens": 1}}, choice={"finish_reason": "length", "message": {"content": "I"}}
    )


# --- how it answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latency:
    """How long an answer takes: log-normal with this median, the same for the same request and attempt."""

    median: float = 0.0
    sigma: float = 0.0

    def seconds(self, chance: Random) -> float:
        """Draw one."""
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf(min(max(chance.random(), 1e-9), 1 - 1e-9)))


@dataclass(frozen=True)
class Limits:
    """What is refused with 429: more than so many at once, or per second with a bucket of `burst`; 0 is no limit."""

    concurrent: int = 0
    per_second: float = 0.0
    burst: float = 1.0
    retry_after: bool = False


def reverse(body: Body) -> Body:
    """Answer the first message, backwards."""
    said = body["messages"][0]["content"][::-1]
    return merge(respond(body), {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": said}}]})


def repeat(body: Body) -> Body:
    """Answer the last message as it is."""
    said = body["messages"][-1]["content"]
    return merge(respond(body), {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": said}}]})


def merge(value: Any, change: Any) -> Any:
    """Merge a change into JSON, object by object (RFC 7396, but that null is a value)."""
    if not isinstance(change, Mapping) or not isinstance(value, Mapping):
        return change
    return {**value, **{key: merge(value.get(key), part) for key, part in change.items()}}


class ChatServer:
    """Serves http://127.0.0.1:PORT/v1/chat/completions from a process of its own.

    Parameters
    ----------
    folder
        Where the log is written; a temporary one by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._own = tempfile.TemporaryDirectory() if folder is None else None
        self.file = Path(self._own.name if self._own else str(folder)) / "server.jsonl"

    def __enter__(self) -> Self:
        root = Path(__file__).resolve().parents[1]
        paths = os.pathsep.join([str(root), str(root / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        assert self._process.stdout is not None
        self._base = self._process.stdout.readline().strip()
        assert self._base, "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it ends with its user
        self._process.wait(timeout=10)
        self._process.stdout.close()
        if self._own:
            self._own.cleanup()

    @property
    def url(self) -> str:
        """The address to give as `api_base`."""
        return f"{self._base}/v1"

    def misbehave(self, fault: Fault, *numbers: int) -> None:
        """Meet the requests of these numbers with a fault, counted from 1; without numbers, all that have none."""
        self._tell(faults=dict.fromkeys(map(str, numbers), asdict(fault))) if numbers else self._tell(
            default=asdict(fault)
        )

    def storm(self, share: float, faults: Sequence[Fault], seed: int) -> None:
        """Let a share of all attempts meet one of these faults, each as often as the others."""
        self._tell(share=share, storm=[asdict(fault) for fault in faults], seed=seed)

    def wait(self, latency: Latency = Latency(), limits: Limits = Limits()) -> None:
        """Take so long for an answer, and refuse what is too much."""
        self._tell(latency=asdict(latency), limits=asdict(limits))

    def ask(self, brain: str) -> None:
        """Let a function answer, from a body to the body of the answer; named as module:function."""
        self._tell(brain=brain)

    def tune(self, looks: int = 2, end: str = "succeeded", kept: int = 0, refused: Sequence[int] = ()) -> None:
        """Let fine-tuning jobs end so after so many looks at them, with so many models of earlier epochs kept.

        Jobs on so many rows as are `refused` are not taken.
        """
        self._tell(tuning={"looks": looks, "end": end, "kept": kept, "refused": list(refused)})

    def kill(self, pid: int, after: int, seconds: float = 0.0, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process group so many seconds after so many requests more have arrived."""
        self._tell(kill={"pid": pid, "after": after, "seconds": seconds, "signal": int(number)})

    def forget(self) -> None:
        """Start afresh: an empty log, no faults, the embedded model, no waits and no limits."""
        self._tell(forget=True)

    def _tell(self, **plan: Any) -> None:
        request = urllib.request.Request(f"{self._base}/plan", json.dumps(plan).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30):
            pass

    @property
    def log(self) -> list[Asked]:
        """What was asked since the last `forget`, in the order of arrival."""
        asked: dict[int, Asked] = {}
        written = self.file.read_text(encoding="utf-8")
        for line in written[: written.rfind("\n") + 1].splitlines():  # the last may be half written
            entry = json.loads(line)
            if "path" in entry:
                asked[entry["number"]] = Asked(**entry)
            else:
                asked[entry["number"]] = Asked(**{**asdict(asked[entry["number"]]), **entry})
        return [asked[number] for number in sorted(asked)]


# --- the process ------------------------------------------------------------------------------------------


@dataclass
class _State:
    """What the server was told, and what it has seen since."""

    brain: Callable[[Body], Body] = respond
    faults: dict[int, Fault] = field(default_factory=dict)
    default: Fault = Fault()
    storm: list[Fault] = field(default_factory=list)
    share: float = 0.0
    seed: int = 0
    latency: Latency = Latency()
    limits: Limits = Limits()
    kill: Mapping[str, Any] | None = None
    tuning: Tuning = field(default_factory=Tuning)
    seen: Counter[str] = field(default_factory=Counter)
    number: int = 0
    flying: int = 0
    tokens: float = 0.0  # in the bucket of the rate limit
    filled: float = 0.0

    def told(self, plan: Body) -> None:
        """Take a plan in."""
        if brain := plan.pop("brain", None):
            module, _, name = brain.partition(":")
            self.brain = getattr(importlib.import_module(module), name)
        for number, fault in plan.pop("faults", {}).items():
            self.faults[int(number)] = Fault(**fault)
        for name, value in plan.items():
            kinds: dict[str, Callable[[Any], Any]] = {
                "default": lambda v: Fault(**v),
                "storm": lambda v: [Fault(**fault) for fault in v],
                "latency": lambda v: Latency(**v),
                "limits": lambda v: Limits(**v),
                "tuning": lambda v: replace(self.tuning, **v),
                "kill": lambda v: {**v, "after": self.number + v["after"]},
            }
            setattr(self, name, kinds.get(name, lambda v: v)(value))
        if "limits" in plan:
            self.tokens, self.filled = self.limits.burst, time.monotonic()

    def fault(self, number: int, chance: Random) -> Fault:
        """Say what goes wrong with a request: what was told of it, too much at once, or the storm's part."""
        if number in self.faults:
            return self.faults[number]
        if wait := self._too_much():
            return status(429, retry_after=math.ceil(wait) if self.limits.retry_after else "")
        if self.storm and chance.random() < self.share:
            return chance.choice(self.storm)
        return self.default

    def _too_much(self) -> float:
        """How many seconds too early a request is; 0 if it is not."""
        limits, now = self.limits, time.monotonic()
        if limits.concurrent and self.flying > limits.concurrent:
            return 1.0
        if not limits.per_second:
            return 0.0
        self.tokens = min(limits.burst, self.tokens + (now - self.filled) * limits.per_second)
        self.filled = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / limits.per_second


class _Server:
    """The process behind a `ChatServer`."""

    def __init__(self, file: str) -> None:
        self.state = _State()
        self.log = os.open(file, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)

    def note(self, **entry: Any) -> None:
        """Log; whole lines, also if the process is killed."""
        os.write(self.log, json.dumps(entry).encode() + b"\n")

    async def plan(self, request: web.Request) -> web.Response:
        """Take in what is to go wrong."""
        plan = await request.json()
        if plan.pop("forget", False):
            self.state = _State()
            os.ftruncate(self.log, 0)
        self.state.told(plan)
        return web.Response()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer, or do what the fault says."""
        state = self.state
        body = await _body(request)
        asked = [request.path, body] if request.method == "GET" else body
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        state.seen[digest] += 1
        state.number += 1
        state.flying += 1
        number, attempt = state.number, state.seen[digest]
        headers = dict(request.headers)
        entry = {"path": request.path, "headers": headers, "body": body, "attempt": attempt, "flying": state.flying}
        self.note(number=number, at=time.monotonic(), **entry)
        self._kill(state)
        chance = Random(f"{state.seed} {digest} {attempt}")
        try:
            fault = state.fault(number, chance)
            self.note(number=number, faulty=fault != Fault())
            await asyncio.sleep(fault.seconds + (state.latency.seconds(chance) if fault.status == 200 else 0.0))
            return await self._send(request, number, body, fault)
        finally:
            state.flying -= 1

    def _kill(self, state: _State) -> None:
        if state.kill and state.number == state.kill["after"]:
            pid, number = state.kill["pid"], state.kill["signal"]

            def kill() -> None:
                with suppress(ProcessLookupError):
                    os.killpg(pid, number)

            asyncio.get_running_loop().call_later(state.kill["seconds"], kill)

    async def _send(self, request: web.Request, number: int, body: Body, fault: Fault) -> web.StreamResponse:
        status, answer = (fault.status, {})
        if fault.status == 200 and fault.raw is None:
            status, answer = self._answer(request, body, fault)
        usage = answer.get("usage", {})
        if fault.reset:
            self.note(number=number, usage=usage)  # who pays is anybody's guess
            return self._reset(request)
        self.note(number=number, done=time.monotonic(), status=status, usage=usage)
        said = answer if fault.status == 200 else fault.error
        raw = (json.dumps(said) if fault.raw is None else fault.raw).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **fault.headers}
        if not fault.drip and not fault.cut:
            return web.Response(status=status, body=raw, headers=headers)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        for byte in raw[: len(raw) // 2] if fault.cut else raw:
            await response.write(bytes([byte]))
            await asyncio.sleep(fault.drip)
        if fault.cut and request.transport:
            request.transport.close()
        return response

    def _answer(self, request: web.Request, body: Body, fault: Fault) -> tuple[int, Body]:
        if "/files" in request.path or "/fine_tuning" in request.path:
            return self.state.tuning.answer(request.method, request.path, body)
        if request.path.endswith("/embeddings"):
            return 200, dict(merge(embeddings(body), fault.answer))
        if not request.path.endswith("/chat/completions"):
            return 404, {"error": {"message": "no such path"}}
        answer = self.state.brain(body)
        change = dict(fault.choice)
        twice = change.pop("twice", False)
        choices = [merge(choice, change) for choice in answer["choices"]]
        return 200, dict(merge({**answer, "choices": choices * 2 if twice else choices}, fault.answer))

    def _reset(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        # Closing with a linger of zero seconds sends RST instead of FIN.
        opened = request.transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return web.Response()

    async def run(self) -> None:
        """Serve until standard input closes."""
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.post("/plan", self.plan)])
        app.add_routes([route("/{path:.*}", self.serve) for route in (web.post, web.get)])
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await runner.cleanup()


async def _body(request: web.Request) -> Body:
    """Read what was sent: JSON, a form with a file, or nothing."""
    if request.content_type.startswith("multipart/"):
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        return {"purpose": form["purpose"], "filename": file.filename, "file": file.file.read().decode()}
    raw = await request.read()
    return dict(json.loads(raw)) if raw else {}


if __name__ == "__main__":
    asyncio.run(_Server(sys.argv[1]).run())
