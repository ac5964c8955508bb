"""The embedded model over the OpenAI protocol, as other tools call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from optimizer.embedded import EmbeddedModel
from optimizer.records import Request
from search_spaces.prompt import Message, Settings

SHOTS = "Options: billing, bug\n\nText: I was charged twice\nLabel: billing\n\nText: It crashes\nLabel: bug\n\n"
SHOTS += "Text: my card was charged again\nLabel:"
CHAT = [{"role": "user", "content": SHOTS}]
COMMAND = [sys.executable, "-m", "optimizer.cli", "serve-embedded", "--port"]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address that the command says it answers at; Ctrl-C ends it."""
    with subprocess.Popen([*COMMAND, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split(" answers at ")[1].split(";")[0]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=10)
    assert (process.returncode, complaints) == (130, "phrasetune: stopped\n")


def post(address: str, body: object) -> dict[str, Any]:
    """Ask for a chat completion; the body of the answer."""
    url = f"{address}/chat/completions"
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, raw), timeout=10) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}


def test_it_answers_as_in_this_process(served: str) -> None:
    """Text, reason to end and usage are the model's own."""
    said = post(served, {"model": "embedded", "messages": CHAT, "max_tokens": 20})

    done = EmbeddedModel().complete(Request((Message("user", SHOTS),), Settings(0.0, 20)))
    choice, usage = said["choices"][0], said["usage"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (done.text, "stop") == ("billing", "stop")
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (done.prompt_tokens, done.completion_tokens)


def test_it_takes_parts_samples_and_log_probabilities(served: str) -> None:
    """What the protocol allows beside the plain call."""
    parts = [{"role": "user", "content": [{"type": "text", "text": SHOTS[:30]}, {"type": "text", "text": SHOTS[30:]}]}]
    asked = {"model": "embedded", "messages": parts, "n": 3, "temperature": 1.0, "logprobs": True, "top_logprobs": 2}

    said = post(served, asked)

    sampled = [
        EmbeddedModel().complete(Request((Message("user", SHOTS),), Settings(1.0, 256, logprobs=True), sample)).text
        for sample in range(3)
    ]
    assert [choice["message"]["content"] for choice in said["choices"]] == sampled
    token = said["choices"][0]["logprobs"]["content"][0]
    assert token["token"] == sampled[0]
    assert {other["token"] for other in token["top_logprobs"]} == {"billing", "bug"}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": "gpt", "messages": CHAT}, 404, "no such model; allowed: embedded"),
        ({"model": "embedded", "messages": CHAT, "stream": True}, 400, "streaming is not offered"),
        ({"model": "embedded"}, 400, "not a chat: KeyError('messages')"),
        ({"model": "embedded", "messages": "x"}, 400, "not a chat"),
        ([], 400, "not a chat"),
        (b"{", 400, "not a chat"),
    ],
)
def test_what_it_cannot_answer_it_refuses(served: str, body: object, status: int, said: str) -> None:
    """In the protocol's form, and it goes on serving."""
    answer = post(served, body)

    assert answer["status"] == status
    assert said in answer["error"]["message"]
    assert post(served, {"model": "embedded", "messages": CHAT})["choices"]


def test_it_lists_its_model(served: str) -> None:
    """Clients that look before they ask find it."""
    with urllib.request.urlopen(f"{served}/models", timeout=10) as response:
        assert [model["id"] for model in json.load(response)["data"]] == ["embedded"]


def test_a_port_that_is_taken_is_refused(served: str) -> None:
    """One line, exit code 2."""
    port = served.split(":")[2].split("/", maxsplit=1)[0]

    done = subprocess.run([*COMMAND, port], capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(f"phrasetune: 127.0.0.1:{port}: cannot be listened at (Address already in use). Name")
