"""Fixtures of the fault tests: the nursery, a server for each test, and the table at the end of `make faults`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness import FULL, ROOT, Nursery, Tally, Whole, came_to, task_for, tune
from server import ChatServer

TABLE: dict[str, dict[str, int]] = {}


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process that forks commands."""
    with Nursery() as started:
        yield started


@pytest.fixture(scope="session")
def undisturbed(nursery: Nursery, running_server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a run of the small task comes to if nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    task_for(folder, running_server)
    running_server.forget()
    code, said = nursery.run(folder, *tune())
    assert code == 0, said
    return Whole(came_to(folder / "results.db"), len(running_server.log))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Count how often something was tried, and how often it went wrong; the name is the test's own."""
    name = request.node.name.removeprefix("test_").split("[")[0]

    return partial(add, name)


def add(name: str, tried: int, failed: int) -> None:
    """Add to a line of the table."""
    row = TABLE.setdefault(name, {"tried": 0, "failed": 0})
    row["tried"] += tried
    row["failed"] += failed


def bound(row: Mapping[str, int]) -> float:
    """With no failure in n tries the rate of failures is below 3 / n with 95 % confidence."""
    return 1.0 if row["failed"] else min(1.0, 3 / row["tried"])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist has counted."""
    for name, row in getattr(node, "workeroutput", {}).get("faults", {}).items():
        add(name, row["tried"], row["failed"])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what this process has counted, if it is one of several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = TABLE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and keep it where the full plan was run."""
    if not FULL or not TABLE:
        return
    rows = {name: {**row, "bound": bound(row)} for name, row in sorted(TABLE.items())}
    Path(ROOT / "faults.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    terminalreporter.write_line("")
    for name, row in rows.items():
        terminalreporter.write_line(
            f"{name}: {row['tried']} tried, {row['failed']} failed, below {row['bound']:.3f} with 95 %"
        )
