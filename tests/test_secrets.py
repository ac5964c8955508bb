"""No key gets into a file or onto a screen, wherever it is kept and whatever repeats it."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from server import ChatServer, Fault, status

from optimizer.calls.faults import one_line
from optimizer.errors import ModelError, TaskError
from optimizer.models import open_model
from optimizer.task import load_task
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]
# What keys may look like: the usual alphabet, and characters that JSON and addresses write in another way.
EXPORTED = 'cnry0/exp+orted="0123456789%'
FROM_FILE = "cnry1-from-env-file-0123456789"
STRAY = "cnry2-stray-dotenv-0123456789"
IN_ADDRESS = "cnry3-address-0123456789"
CANARIES = (EXPORTED, FROM_FILE, STRAY, IN_ADDRESS)


def forms(key: str) -> Iterator[bytes]:
    """A key as it may be written: as it is, in JSON, in an address, and in base64 wherever it begins."""
    yield key.encode()
    yield json.dumps(key)[1:-1].encode()
    yield json.dumps(json.dumps(key))[2:-2].encode()
    yield quote(key, safe="").encode()
    yield quote_plus(key).encode()
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + key.encode())
        sure = whole[(0, 2, 3)[shift] : (shift + len(key)) * 8 // 6]
        yield sure
        yield sure.translate(bytes.maketrans(b"+/", b"-_"))


def found(where: dict[str, bytes]) -> list[tuple[str, str]]:
    """Every key that stands somewhere, with the place; parts of a key count from 12 characters on."""
    parts = {key: {*forms(key), *forms(key[:12]), *forms(key[-12:])} for key in CANARIES}
    return [
        (name, key) for name, raw in where.items() for key, looked in parts.items() if any(f in raw for f in looked)
    ]


DRIVER = """
import json, sys
from optimizer.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        code = main(arguments, standalone_mode=False)
    except SystemExit as left:
        code = left.code
    print("code", code or 0)
"""


class House:
    """A folder with a task, keys in all the places where people keep them, and the commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_task(folder, rows=60, search={"calls": 30})
        with (folder / "task.toml").open("a", encoding="utf-8") as file:
            file.write('\n[model]\nname = "embedded"\nworkers = 1\npatience = 0.01\n')
        (folder / "keys.env").write_text(f"MISTRAL_API_KEY={FROM_FILE}\n", encoding="utf-8")
        (folder / ".env").write_text(f"OPENAI_API_KEY={STRAY}\nANTHROPIC_API_KEY={STRAY}\n", encoding="utf-8")
        (folder / "home").mkdir()
        self.planted = {"keys.env", ".env"}
        self.said = b""

    def run(self, *commands: Sequence[str]) -> list[int]:
        """Run commands one after the other in a process of their own; return their exit codes."""
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(commands)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.folder / "home"), "OPENAI_API_KEY": EXPORTED},
            capture_output=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        self.said += done.stdout + done.stderr
        return [int(code) for code in re.findall(rb"^code (\d+)$", done.stdout, re.MULTILINE)]

    def leaks(self) -> list[tuple[str, str]]:
        """Where a key stands that nobody planted there."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and path.name not in self.planted]
        assert files
        return found({"output": self.said, **{path.name: path.read_bytes() for path in files}})


def test_the_search_for_keys_finds_them() -> None:
    """The check itself: each way to write a key down is noticed, also within something else."""
    for key in CANARIES:
        for written in forms(key):
            assert (key in {k for _, k in found({"x": b"abc" + written + b"xyz"})}) is True
        assert found({"x": base64.b64encode(b"user:" + key.encode())})
    assert found({"x": b"nothing"}) == []


def echo(key: str) -> str:
    """What a careless provider says of a key."""
    return f"no such key: {key}, Bearer {key}, {quote(key, safe='')}, http://user:{key}@host/v1?key={quote(key)}"


def test_a_run_writes_no_key_down(server: ChatServer, tmp_path: Path) -> None:
    """Neither does a provider that repeats it: in refusals that pass, in those that do not, in headers of answers."""
    house = House(tmp_path)
    server.misbehave(Fault(headers={"X-Key": EXPORTED, "Set-Cookie": f"key={EXPORTED}"}))
    server.misbehave(status(500, said=echo(EXPORTED)), 2)
    server.misbehave(status(400, said=echo(EXPORTED)), 5)
    server.misbehave(status(429, retry_after=EXPORTED, said=echo(EXPORTED)), 7)
    server.misbehave(Fault(raw=" " * 90 + EXPORTED), 9)
    tune = ["tune", "task.toml", "--model", "openai/test-model", "--api-base", server.url, "--env-file", "keys.env"]
    looks = [
        "history --json",
        "history --csv",
        "history",
        "show",
        "show 0 --json",
        "report",
        "predict rows.csv -o a.csv",
    ]
    formats = ("messages", "python", "text", "markdown", "dspy", "skops")

    codes = house.run(tune, *(look.split() for look in looks), *(["export", "--format", name] for name in formats))

    assert codes[: 1 + len(looks)] == [0] * (1 + len(looks))
    assert set(codes) <= {0, 2}  # not every format carries every prompt
    assert any(EXPORTED in str(asked.headers) for asked in server.log)
    assert b"[hidden]" in (tmp_path / "results.db").read_bytes()
    assert house.leaks() == []
    for path in tmp_path.glob("results.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_refused_key_is_not_repeated(tmp_path: Path) -> None:
    """By neither lane, though the provider repeats it in each refusal: the run ends, and says why without it."""
    house, commands = House(tmp_path), []
    cases = [
        ("openai", EXPORTED, 401),
        ("openai", EXPORTED, 400),
        ("mistral", FROM_FILE, 401),
        ("mistral", FROM_FILE, 500),
    ]
    with ExitStack() as open_servers:
        for name, key, code in cases:
            server = open_servers.enter_context(ChatServer())
            server.misbehave(status(code, said=echo(key)))
            model = ["--model", f"{name}/m", "--api-base", server.url, "--env-file", "keys.env"]
            commands.append(["tune", "task.toml", *model])

        codes = house.run(*commands, ["history", "--all", "--json"])

    assert codes == [1, 2, 1, 1, 0]
    assert house.said.count(b"[hidden]") >= 2 * len(cases)
    assert house.leaks() == []


ADDRESSES = {
    "a password": f"http://user:{IN_ADDRESS}@127.0.0.1:1/v1",
    "a user": f"http://{IN_ADDRESS}@127.0.0.1:1/v1",
    "no scheme": f"user:{IN_ADDRESS}@127.0.0.1:1",
    "a query": f"http://127.0.0.1:1/v1?key={IN_ADDRESS}",
    "a second query": f"http://127.0.0.1:1/v1?api-version=1&sig={IN_ADDRESS}",
    "a file": f"file:///{IN_ADDRESS}",
    "half a host": f"http://[{IN_ADDRESS}",
    "a port too far": f"http://127.0.0.1:999999/{IN_ADDRESS}",
    "a fragment": f"http://127.0.0.1:1/v1#{IN_ADDRESS}",
}


def test_a_key_in_an_address_is_refused(tmp_path: Path) -> None:
    """In the task file and as an option, with exit code 2, the place for keys, and nothing written down."""
    house = House(tmp_path)
    text = (tmp_path / "task.toml").read_text(encoding="utf-8")
    (tmp_path / "bad.toml").write_text(
        text.replace('name = "embedded"', f"api_base = {json.dumps(ADDRESSES['a query'])}"), encoding="utf-8"
    )
    house.planted.add("bad.toml")
    given = ["--model", "openai/m", "--api-base", ADDRESSES["a password"]]

    assert house.run(["tune", "bad.toml"], ["space", "bad.toml"], ["tune", "task.toml", *given]) == [2, 2, 2]

    assert house.said.count(b"A key belongs in the environment") == 3
    assert not (tmp_path / "results.db").exists()
    assert house.leaks() == []


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_no_way_leads_a_key_into_an_address(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the task, nor a model opened from Python, nor the environment's address; none of them repeats it."""
    task = write_task(tmp_path, rows=20)
    with task.open("a", encoding="utf-8") as file:
        file.write(f"\n[model]\napi_base = {json.dumps(address)}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", EXPORTED)
    for refused in (
        lambda: load_task(task),
        lambda: open_model("embedded", api_base=address),
        lambda: open_model("anthropic/m", api_base=address),
        lambda: open_model("openai/m"),
    ):
        with pytest.raises((TaskError, ModelError)) as caught:
            refused()

        assert IN_ADDRESS not in repr(caught.value)
        assert "the environment" in str(caught.value)


@pytest.mark.parametrize("key", ["sk-cut\nhere-01234567", "sk-trailing-01234567\r\n", "sk-ключ-01234567"])
@pytest.mark.parametrize("provider", ["openai", "mistral"])
def test_a_key_that_is_none_is_refused(provider: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent; a line break would otherwise begin a header of its own."""
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)

    with pytest.raises(ModelError, match="holds a character that no key has") as caught:
        open_model(f"{provider}/m", api_base="http://127.0.0.1:1/v1")

    assert "01234567" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://localhost:8000/v1", "https://x.invalid/openai?api-version=2024-10-21", "http://[::1]:80/@v1"]
)
def test_usual_addresses_are_taken(address: str, tmp_path: Path) -> None:
    """A host, a port, a path, and Azure's version."""
    task = write_task(tmp_path, rows=20)
    with task.open("a", encoding="utf-8") as file:
        file.write(f"\n[model]\napi_base = {json.dumps(address)}\n")

    assert load_task(task).model.api_base == address


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD", "api_key_2", "X_CREDENTIALS"]
)
@pytest.mark.parametrize("key", CANARIES)
def test_what_the_environment_calls_a_secret_is_hidden(name: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each way in which JSON and addresses write it; and a longer key before a shorter one that it begins with."""
    monkeypatch.setenv(name, key)
    monkeypatch.setenv("SHORTER_KEY", key[:9])

    said = one_line(f"{key} {json.dumps({'k': key})} {quote(key, safe='')} {quote_plus(key)} {'x' * 190}{key}")

    assert found({"line": said.encode()}) == []
    assert len(said) <= 200


@pytest.mark.parametrize("key", ["sk-test", "x", "sk-abcdefghijklmnop", "sk-ab********yz", "'a b'", '"none"', "a/b+c="])
def test_a_key_that_a_provider_repeats_is_hidden_and_its_words_are_not(key: str) -> None:
    """However short it is, as what stands in the place of a key is where nobody has set one."""
    said = one_line(f"Incorrect API key provided: {key} You can find your API key at https://x.org/keys.")

    assert said == "Incorrect API key provided: [hidden] You can find your API key at https://x.org/keys."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("No API key provided.", "No API key provided."),
        ("API key passed in: sk-a", "API key passed in: [hidden]"),
        ("no such key provided.by.nobody.0123", "no such [hidden]"),
        ("no such key-provided-0123", "no such [hidden]"),
        ("no such key provided0123", "no such [hidden]"),
        ("no such key 0123456789", "no such [hidden]"),
    ],
)
def test_words_alone_are_no_key(text: str, said: str) -> None:
    """What only begins with them may be one."""
    assert one_line(text) == said


def test_addresses_in_errors_lose_their_keys() -> None:
    """What no environment knows is known by its place; an address that holds nothing stays as it is."""
    said = one_line(
        f"for url '{ADDRESSES['a password']}' and '{ADDRESSES['a second query']}': see https://x.org/@me?page=3"
    )

    assert IN_ADDRESS not in said
    assert "http://[hidden]@127.0.0.1:1/v1" in said
    assert "https://x.org/@me?page=3" in said
