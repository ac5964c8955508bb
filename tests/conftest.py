"""Fixtures that several test files share: a server on loopback."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from server import ChatServer

from optimizer import tune
from optimizer.cli import main
from tests.small_task import write_task

settings.register_profile("untimed", settings.default, deadline=None)  # machines are shared, and no test is timed
settings.load_profile("untimed")


# The processes that run tests fill the cores: threads of linear algebra beside them would spin, waiting for each other.
# Inherited by those processes, and by the commands that tests start.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

LONG = ("test_commands_and_examples_run_in_order",)  # minutes: others fill the time beside them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest tests begin first, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: item.name not in LONG)


@pytest.fixture(scope="session")
def running_server() -> Iterator[ChatServer]:
    """One server for the whole session; tests take `server`, which forgets what went before."""
    with ChatServer() as server:
        yield server


@pytest.fixture
def server(running_server: ChatServer) -> ChatServer:
    """A chat-completions server on loopback with an empty log and no faults."""
    running_server.forget()
    return running_server


@pytest.fixture(scope="session")
def running_stranger() -> Iterator[ChatServer]:
    """Another server for the whole session; tests take `stranger`."""
    with ChatServer() as server:
        yield server


@pytest.fixture
def stranger(running_stranger: ChatServer) -> ChatServer:
    """A server at an address that nobody was told of: what reaches it has gone astray."""
    running_stranger.forget()
    return running_stranger


CANARY = "sk-canary-0123456789"
Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run phrasetune in an empty folder, with a key that it must never show.

    In this process, where LiteLLM, which takes seconds to import, is imported once.
    """
    for name in [name for name in os.environ if name.startswith("OPENAI")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0, key: str | None = CANARY) -> Result:
        monkeypatch.setattr(sys, "argv", ["phrasetune", *arguments])
        done = CliRunner().invoke(main, arguments, env={"OPENAI_API_KEY": key, "COLUMNS": "200"})
        assert code == done.exit_code, done.output
        assert CANARY not in done.output
        return done

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results.db with one finished run of the small task, which stands beside it."""
    folder = tmp_path_factory.mktemp("finished")
    tune(write_task(folder), db=folder / "results.db")
    return folder / "results.db"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same, with its task and its rows, to change."""
    for name in ("task.toml", "rows.csv", "results.db"):
        shutil.copy(finished.parent / name, tmp_path / name)
    return tmp_path / "results.db"
