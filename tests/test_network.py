"""Keys and rows go to the address that was shown and nowhere else; without a remote model nothing goes out at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server import ChatServer, Fault

from optimizer.calls.direct import Direct, Endpoint
from optimizer.errors import ProviderError
from optimizer.events import Destination
from optimizer.models import open_model
from optimizer.records import Request
from search_spaces.prompt import Message, Settings
from tests.asking import landed
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]
REQUEST = Request((Message("user", "a row of the user's"),), Settings())
KEY = "canary-key-5157906284"
# The lean lane; LiteLLM over its own HTTP handler, with two ways to send a key; LiteLLM over OpenAI's client.
LANES = ("openai/test-model", "mistral/test-model", "anthropic/test-model", "azure/test-model")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def attacker(stranger: ChatServer, monkeypatch: pytest.MonkeyPatch) -> ChatServer:
    """Another server, which must never hear of anything; and keys that it would like to have."""
    for name in LANES:
        monkeypatch.setenv(f"{name.split('/')[0].upper()}_API_KEY", KEY)
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    return stranger


def proxies(server: ChatServer) -> Mapping[str, str]:
    """The variables that name a server as everybody's proxy."""
    return dict.fromkeys(PROXIES, f"http://{urlsplit(server.url).netloc}")


@pytest.mark.parametrize("name", LANES)
def test_a_proxy_sees_no_call_without_tls(
    server: ChatServer, attacker: ChatServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The environment's proxy would read the key on its way: the endpoint is called itself."""
    for variable, value in proxies(attacker).items():
        monkeypatch.setenv(variable, value)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)

    landed(open_model(name, api_base=server.url), REQUEST)

    assert any(KEY in str(asked.headers) for asked in server.log)
    assert attacker.log == []


@pytest.mark.parametrize("name", LANES)
@pytest.mark.parametrize("code", [302, 307])
def test_no_redirect_is_followed(server: ChatServer, attacker: ChatServer, name: str, code: int) -> None:
    """Neither the key nor the row goes to where a provider points."""
    elsewhere = attacker.url.replace("127.0.0.1", "localhost") + "/chat/completions"
    server.misbehave(Fault(code, {"error": {"message": "moved"}}, {"Location": elsewhere}))

    met = landed(open_model(name, api_base=server.url), REQUEST)

    assert isinstance(met.trouble, ProviderError)
    assert any(KEY in str(asked.headers) for asked in server.log)
    assert attacker.log == []


def test_a_proxy_is_asked_for_addresses_with_tls(attacker: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for a tunnel, through which it sees nothing; and no key of ~/.netrc takes the place of ours."""
    monkeypatch.setenv("https_proxy", attacker.url.removesuffix("/v1"))
    headers, shown = {"Authorization": f"Bearer {KEY}"}, Destination("https://model.invalid/v1", "")
    endpoint = Endpoint("https://model.invalid/v1", headers, lambda request, told: {}, shown)

    met = landed(Direct("openai/m", "", None, endpoint), REQUEST)

    assert "ClientHttpProxyError" in str(met.trouble)  # the server knows no CONNECT
    assert attacker.log == []


# --- what a whole process does ----------------------------------------------------------------------------

# Refuses and notes each attempt to leave the machine: an address looked up, a connection opened, a datagram sent.
GUARD = """
import json, os, socket, sys
attempts = []
def guard(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        attempts.append([event, str(arguments[0])])
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        if arguments[0].family == socket.AF_UNIX:
            return
        attempts.append([event, str(arguments[1])])
    else:
        return
    raise ConnectionRefusedError(f"{event} {arguments[1:]}")
sys.addaudithook(guard)
def done(**found):
    with open("attempts.json", "w") as file:
        json.dump({"attempts": attempts, **found}, file)
"""


def guarded(folder: Path, code: str, environment: Mapping[str, str]) -> dict[str, object]:
    """Run a program in a folder behind the guard; it must end well. Returns what it notes."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LITELLM_")}
    done = subprocess.run(
        [sys.executable, "-c", GUARD + code],
        cwd=folder,
        env={**bare, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((folder / "attempts.json").read_text(encoding="utf-8"))
    return found


OFFLINE = """
from optimizer.cli import main
run = lambda *arguments: main(list(arguments), standalone_mode=False)
assert not run("demo", "--quiet")
for command in ("history", "show", "report", "space task.toml"):
    assert not run(*command.replace("task", "phrasetune-demo/task").split())
for name in ("messages", "python", "text", "markdown", "dspy", "skops"):
    assert run("export", "--format", name, "--force") in (None, 2)
from optimizer import register_embedded
register_embedded()
import litellm, dspy
messages = [{"role": "user", "content": "Text: x\\nLabel:"}]
assert litellm.completion(model="phrasetune/embedded", messages=messages).choices
done(telemetry=litellm.telemetry, mode=litellm.litellm_mode, callbacks=len(litellm.callbacks))
"""


def test_nothing_leaves_the_machine_without_a_remote_model(tmp_path: Path) -> None:
    """Demo, history, show, report, every export and the embedded model behind LiteLLM look up and open nothing."""
    (tmp_path / "phrasetune-demo").mkdir()
    write_task(tmp_path / "phrasetune-demo", search={"calls": 60})
    task = tmp_path / "phrasetune-demo" / "task.toml"
    text = task.read_text(encoding="utf-8")
    task.write_text(text.replace('"chat"]', '"chat", "dspy-chat", "dspy-json"]'), encoding="utf-8")

    found = guarded(tmp_path, OFFLINE, {})

    assert found == {"attempts": [], "telemetry": False, "mode": "PRODUCTION", "callbacks": 0}


HIJACKED = """
from optimizer.cli import main
try:
    main(["tune", "task.toml", "--model", "openai/gpt-4o-mini"], standalone_mode=False)
except SystemExit as left:
    code = left.code
from optimizer.models import open_model
from tests.asking import landed
from tests.test_network import REQUEST
said = str(landed(open_model("anthropic/claude-3-5-haiku-latest"), REQUEST).trouble)
done(taken=[name for name in os.environ if name.endswith("_BASE")])
"""


def test_a_dotenv_beside_the_task_redirects_nothing(tmp_path: Path, attacker: ChatServer) -> None:
    """A `.env` that came with a folder of data is not read: calls go to the provider, whatever it says."""
    write_task(tmp_path, search={"calls": 60})
    bases = ("OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_API_BASE", "LITELLM_PROXY_API_BASE")
    lines = [f"{name}={attacker.url}" for name in bases] + [f"{name}={attacker.url}" for name in PROXIES]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    patience = '[model]\nname = "embedded"\npatience = 0.01\nworkers = 1\n'
    with (tmp_path / "task.toml").open("a", encoding="utf-8") as file:
        file.write(patience)

    found = guarded(tmp_path, HIJACKED, {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"})

    attempts = found["attempts"]
    assert isinstance(attempts, list)
    assert {host for _, host in attempts} == {"api.openai.com", "api.anthropic.com"}
    assert found["taken"] == []
    assert attacker.log == []
