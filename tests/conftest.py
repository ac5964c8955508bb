"""What several files of tests share: a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server import ChatServer

from optimizer import tune
from tests.small_task import write_task


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
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results.db with one finished run of the small task, which stands beside it."""
    folder = tmp_path_factory.mktemp("finished")
    tune(write_task(folder), db=folder / "results.db")
    return folder / "results.db"
