"""Calls go to the address that is shown, with the key of the variable that is named."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from asking import landed
from server import ChatServer, status

from optimizer.calls.destinations import USUAL, destination, redirected
from optimizer.calls.faults import CallFailed
from optimizer.events import Destination
from optimizer.models import RemoteModel, open_model
from optimizer.models import destination as model_destination
from optimizer.records import Request
from search_spaces.prompt import Message, Settings
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]
OPENAI = "OPENAI_API_KEY"
CANARY = "sk-canary-0123456789"
REQUEST = Request((Message("user", "the blue bird"),), Settings())


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no address and no proxy but those of a test."""
    for name in list(os.environ):
        if name.upper().endswith(("_API_KEY", "_API_BASE", "_BASE_URL", "_PROXY")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("provider", "base", "key", "environment", "shown"),
    [
        ("openai", "https://a.example/v1/", "k", {"OPENAI_API_KEY": "k"}, Destination("https://a.example/v1", OPENAI)),
        ("openai", "https://me:secret@a.example/v1?token=x", "", {}, Destination("https://a.example/v1")),
        ("openai", "me:secret@a.example/v1?token=x", "", {}, Destination("a.example/v1")),
        ("anthropic", "", "", {"ANTHROPIC_API_KEY": "k"}, Destination(USUAL["anthropic"], "ANTHROPIC_API_KEY")),
        ("hosted_vllm", "http://h", "fake", {"HOSTED_VLLM_API_KEY": "k"}, Destination("http://h")),
        ("groq", "https://g", "k", {"MY_TOKEN": "k", "GROQ_API_KEY": "k"}, Destination("https://g", "GROQ_API_KEY")),
        ("groq", "https://g", "k", {"MY_TOKEN": "k", "GROQ_API_KEY": "other"}, Destination("https://g", "MY_TOKEN")),
        ("xyz", "", "", {"XYZ_API_KEY": "k"}, Destination("the usual address of xyz", "XYZ_API_KEY")),
    ],
)
def test_address_and_name_of_the_key_are_shown(
    provider: str, base: str, key: str, environment: dict[str, str], shown: Destination
) -> None:
    """The variable that holds the key is named; of an address what may be secret is left out."""
    assert shown == destination(provider, base, key, environment)


def test_a_variable_redirects_only_where_it_is_read() -> None:
    """`…_BASE_URL` counts for OpenAI and Anthropic alone, as with LiteLLM."""
    assert redirected("anthropic", {"ANTHROPIC_BASE_URL": "http://b"}) == "http://b"
    assert redirected("gemini", {"GEMINI_BASE_URL": "http://b"}) == ""
    assert redirected("gemini", {"GEMINI_API_BASE": "http://b"}) == "http://b"


def test_a_model_in_this_process_has_no_destination() -> None:
    """Nothing leaves."""
    assert model_destination(open_model("embedded")) is None


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_a_redirected_key_arrives_where_it_was_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The lean lane shows, and uses, the address that stands in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv(variable, server.url)
    model = open_model("openai/test-model")

    assert not landed(model, REQUEST).failures

    assert model_destination(model) == Destination(server.url, "OPENAI_API_KEY")
    assert [f"Bearer {CANARY}"] == [asked.headers["Authorization"] for asked in server.log]


def test_of_two_addresses_the_shown_one_gets_the_key(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is given outranks those of the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/other")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = open_model("openai/test-model", api_base=server.url)

    assert not landed(model, REQUEST).failures

    assert model_destination(model) == Destination(server.url, "OPENAI_API_KEY")
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("name", "key", "variable"),
    [
        ("anthropic/claude-3-5-haiku-latest", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
        ("anthropic/claude-3-5-haiku-latest", "ANTHROPIC_API_KEY", "ANTHROPIC_API_BASE"),
        ("gemini/gemini-2.0-flash", "GEMINI_API_KEY", "GEMINI_API_BASE"),
        ("groq/llama-3.1-8b-instant", "GROQ_API_KEY", "GROQ_API_BASE"),
        ("custom_openai/m", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    ],
)
def test_litellm_takes_the_key_where_it_was_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, name: str, key: str, variable: str
) -> None:
    """The other lane, too; that the server knows no such path does not matter here."""
    monkeypatch.setenv(key, CANARY)
    monkeypatch.setenv(variable, server.url)
    model = open_model(name)

    ask(model)

    assert model_destination(model) == Destination(server.url, key)
    assert len(server.log) == 1
    assert CANARY in str(server.log[0].headers)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that writes down where a client wants to be led, and leads nowhere."""
    wanted: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        wanted.append(connection.recv(4096).decode().split(" ")[1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        for variable in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield wanted
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


ASK_ALL = """
import asyncio, contextlib
from optimizer.calls.faults import CallFailed
from optimizer.models import open_model
from optimizer.records import Request
from search_spaces.prompt import Message, Settings

async def ask(name):
    model = open_model(name)
    print(model.destination.address.split("/")[2])
    with contextlib.suppress(CallFailed):
        await asyncio.wait_for(model.ask(Request((Message("user", "a"),), Settings())), 20)
    await model.leave()

async def ask_all():
    for provider in ("openai", "custom_openai", "anthropic", "gemini", "openrouter/a", "ollama_chat", "groq"):
        await ask(f"{provider}/m")
    await ask("cohere/command-r")

asyncio.run(ask_all())
"""


def test_the_usual_addresses_are_those_that_are_called(proxy: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any address given, calls ask for the hosts that are shown, and for no other."""
    for provider in (*USUAL, "groq"):
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", CANARY)

    done = subprocess.run([sys.executable, "-c", ASK_ALL], cwd=ROOT, capture_output=True, text=True, check=True)

    shown = {host.partition(":")[0] for host in done.stdout.split()}
    assert len(shown) == 7  # custom_openai is OpenAI's
    assert shown == {url.removeprefix("http://").partition(":")[0] for url in proxy}


def ask(model: object) -> None:
    """Make one attempt that will fail."""
    assert isinstance(model, RemoteModel)

    async def once() -> None:
        with suppress(CallFailed):
            await asyncio.wait_for(model.ask(REQUEST), 20)
        await model.leave()

    asyncio.run(once())


def run(folder: Path, address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run phrasetune with a key and an address in the environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": CANARY, "OPENAI_BASE_URL": address}
    command = [sys.executable, "-m", "optimizer.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_tune_and_predict_say_where_calls_go(server: ChatServer, tmp_path: Path) -> None:
    """One line on stderr before anything is sent; never the key."""
    write_task(tmp_path, rows=60, search={"calls": 20})
    said = f"calls go to {server.url} (key: OPENAI_API_KEY)"

    tuned = run(tmp_path, server.url, "tune", "task.toml", "--model", "openai/test-model")
    predicted = run(tmp_path, server.url, "predict", "rows.csv")

    assert (tuned.returncode, predicted.returncode) == (0, 0)
    assert said == tuned.stderr.splitlines()[0] == predicted.stderr.splitlines()[0]
    assert CANARY not in tuned.stdout + tuned.stderr + predicted.stdout + predicted.stderr


def test_where_calls_go_is_said_when_nothing_else_is(server: ChatServer, tmp_path: Path) -> None:
    """Quiet or not, also before a key is refused."""
    write_task(tmp_path, rows=60)
    server.misbehave(status(401))

    refused = run(tmp_path, server.url, "tune", "task.toml", "--model", "openai/test-model", "--quiet", "--json")

    assert refused.returncode == 1
    assert refused.stderr.splitlines()[0] == f"calls go to {server.url} (key: OPENAI_API_KEY)"
    assert CANARY not in refused.stderr
