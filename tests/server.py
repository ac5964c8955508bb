"""A real HTTP server on loopback that speaks the OpenAI chat-completions protocol, and misbehaves when told to.

    with ChatServer() as server:
        server.misbehave(status(429, retry_after=1), 1)   # the first request
        server.misbehave(status(500))                     # every other request
        open_model("openai/test-model", api_base=server.url)
        server.log                                        # what was asked, in the order of arrival

Its `brain` answers: a callable from the request's body to a text, by default the embedded model on the messages.
It counts a token for every four characters, as the embedded model does. A fault is data: what to do instead of
answering, or to an answer. Every request is logged, whether it was answered or not.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from optimizer.embedded import complete_text
from search_spaces.prompt import Message

Body = dict[str, Any]
Brain = Callable[[Body], str]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `attempt` is 1 the first time that this very body is seen."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: Body
    attempt: int


# --- faults -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `status` other than 200 sends `error`; `raw` sends these bytes; `change` alters an answer before it is sent;
    `seconds` are waited first; `reset` breaks the connection off without a word.
    """

    status: int = 200
    error: Body = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    change: Callable[[Body], Body] = lambda answer: answer
    seconds: float = 0.0
    reset: bool = False


def status(code: int, *, retry_after: str | float = "", said: str = "") -> Fault:
    """Refuse with an HTTP status, and say when to come again; `said` replaces the message."""
    kinds = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error = {"message": said or f"status {code} as told", "type": "server_error", "code": kinds.get(code)}
    return Fault(code, {"error": error}, {"Retry-After": str(retry_after)} if retry_after else {})


def quota() -> Fault:
    """Refuse as OpenAI does when the money is gone: with the status of a rate limit."""
    said = "You exceeded your current quota, please check your plan and billing details."
    return Fault(429, {"error": {"message": said, "type": "insufficient_quota", "code": "insufficient_quota"}})


def reset() -> Fault:
    """Break the connection off."""
    return Fault(reset=True)


def slow(seconds: float) -> Fault:
    """Answer late."""
    return Fault(seconds=seconds)


def no_choice() -> Fault:
    """Answer with an empty list of choices."""
    return Fault(change=lambda answer: {**answer, "choices": []})


def filtered() -> Fault:
    """Answer nothing, as a content filter does."""
    return Fault(change=lambda answer: {**answer, "choices": [_choice("", "content_filter")]})


def malformed() -> Fault:
    """Break off within the JSON."""
    return Fault(raw=b'{"id": "x", "choices": [{"mess')


# --- the server -------------------------------------------------------------------------------------------


def embedded(body: Body) -> str:
    """Answer with the embedded model."""
    messages = [Message(message["role"], message["content"]) for message in body["messages"]]
    return complete_text(
        messages, temperature=float(body.get("temperature") or 0.0), max_tokens=int(body.get("max_tokens") or 64)
    )


class ChatServer:
    """Serves http://127.0.0.1:PORT/v1/chat/completions from threads of this process.

    Parameters
    ----------
    brain
        Body of a request -> text of the answer; it may be replaced at any time.
    """

    def __init__(self, brain: Brain = embedded) -> None:
        self.brain = brain
        self.log: list[Asked] = []
        self.closing = threading.Event()
        self._default: Fault | None = None
        self._faults: dict[int, Fault] = {}
        self._lock = threading.Lock()
        self._http = _Http(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """The address to give as `api_base`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def misbehave(self, fault: Fault, *numbers: int) -> None:
        """Meet the requests of these numbers with a fault, counted from 1; without numbers, all that have none."""
        if numbers:
            self._faults |= dict.fromkeys(numbers, fault)
        else:
            self._default = fault

    def forget(self) -> None:
        """Start afresh: an empty log, no faults, the default brain."""
        with self._lock:
            self.brain, self.log, self._faults, self._default = embedded, [], {}, None

    def note(self, path: str, headers: Mapping[str, str], body: Body) -> tuple[Asked, Fault]:
        """Log a request and say what is to go wrong with it."""
        with self._lock:
            attempt = 1 + sum(earlier.body == body for earlier in self.log)
            asked = Asked(len(self.log) + 1, path, headers, body, attempt)
            self.log.append(asked)
            return asked, self._faults.get(asked.number, self._default) or Fault()

    def answer(self, asked: Asked) -> Body:
        """Complete, in the form of the protocol."""
        text = self.brain(asked.body)
        prompt = max(1, sum(len(message["content"]) for message in asked.body["messages"]) // 4)
        completion = max(1, len(text) // 4)
        # At four characters a token, as the embedded model counts: a text that fills its bound was cut at it.
        cut = len(text) >= 4 * int(asked.body.get("max_tokens") or 1 << 30)
        return {
            "id": f"chatcmpl-{asked.number}",
            "object": "chat.completion",
            "created": 0,
            "model": asked.body["model"],
            "choices": [_choice(text, "length" if cut else "stop")],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        }


def _choice(text: str, finish_reason: str) -> Body:
    return {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}


class _Http(ThreadingHTTPServer):
    """The socket; it knows the server that it stands for."""

    daemon_threads = True
    request_queue_size = 64  # more than the calls that any test has in flight

    def __init__(self, chat: ChatServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.chat = chat


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Http

    def do_POST(self) -> None:
        """Answer, or do what the fault says."""
        chat = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        asked, fault = chat.note(self.path, dict(self.headers), body)
        if fault.seconds:
            chat.closing.wait(fault.seconds)
        if fault.reset:
            self._reset()
        elif fault.status != 200:
            self._send(fault.status, json.dumps(fault.error).encode(), fault.headers)
        elif not self.path.endswith("/chat/completions"):
            self._send(404, b'{"error": {"message": "no such path"}}', {})
        else:
            self._send(200, fault.raw or json.dumps(fault.change(chat.answer(asked))).encode(), fault.headers)

    def _send(self, code: int, raw: bytes, headers: Mapping[str, str]) -> None:
        try:
            self.send_response(code)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(raw)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)
        except ConnectionError:
            pass  # a client that did not wait for a slow answer

    def _reset(self) -> None:
        # Closing with a linger of zero seconds sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep the tests' output clean; `log` has it all."""
