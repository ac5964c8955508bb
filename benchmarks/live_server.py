"""The embedded model behind an OpenAI-compatible server on loopback that counts the requests of each client.

    python benchmarks/live_server.py [PORT]

It prints its address, serves http://127.0.0.1:PORT/count/NAME/v1/chat/completions to a client named NAME, returns all
counts at /counts, and ends when its standard input closes, so that it never outlives the process that started it.

It has two models. "embedded" answers from what the prompt contains; it cannot write instructions. "proposer" replaces a
model that can: it rewrites an instruction with the wordings of phrasetune's own space, keeps what was said about the
labels and the form, and learns from feedback ("The right label is …") by adding that row's distinctive words. Both are
deterministic: equal requests get equal answers, except that the proposer moves on to its next wording each time the
same client repeats a request. It knows the forms in which DSPy and promptolution ask, but no task.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources

from optimizer import serving
from optimizer.records import Completion
from optimizer.serving import Body, read_chat, refusal, write_chat
from search_spaces.prompt import Message

MODELS = ("embedded", "proposer")
PATH = re.compile(r"/count/(?P<client>[\w.-]+)/v1/chat/completions")
FACTS = 3  # telling words that the proposer takes from a row


# --- counting ---------------------------------------------------------------------------------------------


@dataclass
class Counts:
    """Requests by client: how many, how many of them different, and how many to each model."""

    asked: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    models: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, client: str, body: Body) -> int:
        """Count a request; return how many times this client has made this very request before."""
        telling = [
            body["model"],
            body["messages"],
            body.get("temperature"),
            body.get("max_tokens"),
            body.get("logprobs"),
        ]
        key = hashlib.sha256(json.dumps(telling, sort_keys=True).encode()).hexdigest()
        with self.lock:
            self.asked[client][key] += 1
            self.models[client][body["model"]] += 1
            return self.asked[client][key] - 1

    def report(self) -> dict[str, Body]:
        """All counts, by client."""
        with self.lock:
            return {
                client: {"requests": keys.total(), "distinct": len(keys), "models": dict(self.models[client])}
                for client, keys in self.asked.items()
            }


# --- answering --------------------------------------------------------------------------------------------


def respond(body: Body, repeat: int = 0) -> Body:
    """Complete a request with the model that it names; `repeat` tells it from its repetitions."""
    request = read_chat(body)
    if body["model"] != "proposer":
        return serving.respond(body)
    completions = []
    for n in range(int(body.get("n") or 1)):
        text = propose(request.messages, repeat + n)
        size = sum(len(message.content) for message in request.messages) // 4
        completions.append(Completion(text, size, max(1, len(text) // 4)))
    return write_chat(body, completions)


def propose(messages: tuple[Message, ...], repeat: int) -> str:
    """Write a new instruction in the form that is asked for."""
    asked = "\n\n".join(message.content for message in messages)
    draw = int(hashlib.sha256(asked.encode()).hexdigest()[:8], 16) + repeat
    if many := re.search(r"Create overall (\d+) prompts", asked):
        return json.dumps([_instruction(asked, draw + n) for n in range(int(many[1]))])
    said = _instruction(asked, draw)
    if "<prompt>" in asked:
        return f"<prompt>{said}</prompt>"
    listed = asked.partition("Your output fields are:")[2].partition("All interactions")[0]
    fields = re.findall(r"^\d+\. `(\w+)`", listed, re.MULTILINE)
    if fields and "[[ ## completed ## ]]" in asked:
        return "".join(f"[[ ## {name} ## ]]\n{said}\n\n" for name in fields) + "[[ ## completed ## ]]"
    return json.dumps(dict.fromkeys(fields, said)) if fields else said


def _instruction(asked: str, draw: int) -> str:
    """Word the task anew, and keep what must not be lost: labels, form and lessons of before."""
    labels = re.search(r"The possible labels are: .*?\.(?=\s|$)", asked)
    form = "Write the label between <final_answer> and </final_answer>." if "<final_answer>" in asked else ""
    parts = [_wordings()[draw % len(_wordings())], labels[0] if labels else "", form, *_lessons(asked)]
    return " ".join(part for part in parts if part)


def _lessons(asked: str) -> list[str]:
    """Gather one sentence for each label that the feedback corrects, after those that the instruction held before."""
    before = re.search(r"\[\[ ## current_instruction ## \]\]\n(.*?)\n\n\[\[ ##", asked, re.DOTALL)
    lessons = re.findall(r"Choose \S+ where you read [^.]+\.", before[1]) if before else []
    row = r'"text": "((?:[^"\\]|\\.)*)"(?:(?!"text": ).)*?The right label is (\S+?)\.(?:"|\\n|\s)'
    for text, label in re.findall(row, asked, re.DOTALL):
        words = dict.fromkeys(sorted(re.findall(r"[^\W\d_]{4,}", text.casefold()), key=len, reverse=True))
        if words:
            lessons.append(f"Choose {label} where you read {', '.join(list(words)[:FACTS])}.")
    return list(dict.fromkeys(lessons))


@cache
def _wordings() -> tuple[str, ...]:
    """List the wordings of phrasetune's own space that need no words of a task, each beside each caution."""
    file = resources.files("search_spaces").joinpath("classification.toml")
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    words = {"{inputs}": "text", "{output}": "label"}
    texts = [
        text for text in tables["instruction"]["texts"].values() if set(re.findall(r"\{\w+\}", text)) <= set(words)
    ]
    return tuple(
        re.sub(r"\{\w+\}", lambda match: words[match[0]], f"{text} {caution}".strip())
        for caution in tables["caution"]["texts"].values()
        for text in texts
    )


# --- serving ----------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """The socket and its counts."""

    daemon_threads = True
    request_queue_size = 64  # more than any client has in flight

    def __init__(self, port: int = 0) -> None:
        self.counts = Counts()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Where it is reached, without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    """One connection; it is kept open between requests."""

    server: Server
    protocol_version = "HTTP/1.1"
    # Head and body leave together and at once: else the one waits 40 ms for the other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Give the counts."""
        if self.path == "/counts":
            self._send(200, self.server.counts.report())
        else:
            self._send(404, refusal("no such path"))

    def do_POST(self) -> None:
        """Answer a chat."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = PATH.fullmatch(self.path)
        try:
            body = json.loads(raw)
            if not path or body["model"] not in MODELS:
                self._send(404, refusal("no such path" if not path else f"no such model; there are {MODELS}"))
                return
            repeat = self.server.counts.note(path["client"], body)
            response = respond(body, repeat)
        except (ValueError, KeyError, TypeError) as error:
            self._send(400, refusal(f"not a chat: {error!r}"))
            return
        self._send(200, response)

    def _send(self, code: int, body: Body) -> None:
        raw = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing of each request."""


def main() -> None:
    """Serve until standard input closes."""
    with Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.address, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
