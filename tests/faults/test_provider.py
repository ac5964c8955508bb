"""Whatever a provider does, a run has the same result as without faults, or it stops, says why and shows no score."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
from asking import landed
from harness import FULL, Nursery, Tally, Whole, came_to, possibly_paid, recorded, same, task_for, times, tune
from server import (
    ChatServer,
    Fault,
    Latency,
    Limits,
    cut,
    cut_short,
    html,
    malformed,
    no_choice,
    null,
    quota,
    reset,
    status,
    too_long,
    two_choices,
    wrong_types,
)

from optimizer.calls.direct import Direct, Endpoint
from optimizer.calls.gateway import Pace
from optimizer.errors import ProviderError
from optimizer.events import Destination
from optimizer.ledger import Ledger
from optimizer.records import Request
from optimizer.store import Store
from search_spaces.prompt import Message, Settings

MIXED = [
    *(status(429, retry_after=said) for said in ("", 0, 7, 3600, "Wed, 21 Oct 2015 07:28:00 GMT", "soon")),
    *(status(code) for code in (500, 502, 503)),
    *(reset(), cut(), html(), malformed(), no_choice(), null(), cut_short(), wrong_types(), two_choices()),
]


@pytest.mark.parametrize("seed", range(times(3, 50)))
def test_mixed_faults(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, seed: int
) -> None:
    """With 30 % of all calls failing in mixed ways a run ends with the outcomes of the run without faults."""
    task_for(tmp_path, server)
    server.forget()
    server.storm(0.3, MIXED, seed)

    code, said = nursery.run(tmp_path, *tune())

    assert code == 0, said
    db = tmp_path / "results.db"
    found, rows = came_to(db), recorded(db)
    faults = sum(asked.faulty for asked in server.log)
    right = same(found, undisturbed.found) and len(server.log) <= rows + faults
    tally(1, not right)
    assert same(found, undisturbed.found)
    # 30 % make 0.43 faults a row in the mean; more than 1.6 requests a row is a matter of chance alone.
    assert 0.15 * rows < faults < rows
    assert len(server.log) <= rows + faults  # none that was not needed


PERMANENT = {
    "401": (status(401), "refuses the key"),
    "403": (status(403), "refuses the key"),
    "404": (status(404), "does not know this model"),
    "quota": (quota(), "quota is used up"),
    "context": (too_long(), "maximum context length"),
}


@pytest.mark.parametrize("case", PERMANENT)
def test_permanent_faults(nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally, case: str) -> None:
    """One attempt for each call, hardly a call, the cause and what to do; no score; the run can be resumed."""
    fault, cause = PERMANENT[case]
    task_for(tmp_path, server)
    server.forget()
    server.misbehave(fault)

    code, said = nursery.run(tmp_path, *tune())

    attempts = max(asked.attempt for asked in server.log)
    tally(1, code not in {1, 2} or attempts > 1)
    assert code in {1, 2}, said
    assert cause in said
    assert re.search(r"\b(Check|Set|Top it up|Name|Give)\b", said), said
    assert not re.search(r"\d %|accuracy", said), said
    assert attempts == 1
    assert len(server.log) <= (9 if case == "context" else 4)  # a prompt that is too long says nothing of others
    assert (recorded(tmp_path / "results.db"), possibly_paid(tmp_path / "results.db")) == (0, 0)
    server.misbehave(Fault())
    code, said = nursery.run(tmp_path, *tune())
    assert code == 0, said


def test_a_model_that_is_refused_later(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally
) -> None:
    """A quota that runs out in the middle stops the run with what was bought; more money, and it goes on."""
    task_for(tmp_path, server)
    server.forget()
    server.misbehave(quota(), *range(41, 1000))

    code, said = nursery.run(tmp_path, *tune())

    assert code == 1, said
    assert "quota is used up" in said
    assert not re.search(r"\d %", said), said
    assert recorded(tmp_path / "results.db") == 40
    assert 41 <= len(server.log) <= 44
    server.forget()
    code, said = nursery.run(tmp_path, *tune())
    tally(1, code != 0)
    assert code == 0, said
    assert same(came_to(tmp_path / "results.db"), undisturbed.found)


def direct(address: str) -> Direct:
    """A model on the lean lane, without LiteLLM."""

    def body(request: Request, _told: int) -> dict[str, object]:
        messages = [message.to_dict() for message in request.messages]
        return {"model": "m", "messages": messages, "max_tokens": request.settings.max_tokens}

    return Direct("openai/m", address, (1.0, 1.0), Endpoint(address, {}, body, Destination(address, "")))


def ask(n: int) -> Request:
    """One of many requests."""
    return Request((Message("user", f"number {n}"),), Settings(0.0, 8))


def test_nobody_there(tally: Tally) -> None:
    """A host without a name, and one that takes a connection and says nothing: each call ends by its deadline."""
    wrong = 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in ("http://no-such-host.invalid/v1", f"http://127.0.0.1:{silent.getsockname()[1]}/v1"):
            result = landed(direct(address), ask(0), Pace(1, timeout=0.3, patience=0.01))
            wrong += not isinstance(result.trouble, ProviderError)
    tally(2, wrong)
    assert wrong == 0


def test_rate_limit_storm(server: ChatServer, tmp_path: Path, tally: Tally) -> None:
    """Many callers at a provider that bears few a second: every row is answered, with few refusals."""
    per_second, rows = (8.0, 120) if FULL else (30.0, 150)
    for retry_after in (False, True) if FULL else (False,):
        server.forget()
        server.wait(Latency(0.05), Limits(per_second=per_second, burst=per_second, retry_after=retry_after))
        folder = tmp_path / str(retry_after)
        folder.mkdir()
        with (
            Store(folder / "r.db", create=True) as store,
            closing(Ledger(direct(server.url), store, 1, pace=Pace(32, patience=10))) as ledger,
        ):
            done = ledger.complete([ask(n) for n in range(rows)])
        log = server.log
        took = max(asked.done or 0 for asked in log) - min(asked.at for asked in log)
        answered = sum(not completion.error for _, completion in done)
        tally(rows, rows - answered)
        assert answered == rows
        assert len(log) <= 1.5 * rows
        assert took <= 1.3 * rows / per_second or not FULL, took


def test_a_soak_leaves_nothing_open(server: ChatServer, tmp_path: Path, tally: Tally) -> None:
    """Many ledgers one after the other: neither files nor threads add up."""
    server.forget()
    opened = []
    for go in range(times(12, 200)):
        with (
            Store(tmp_path / "r.db", create=True) as store,
            closing(Ledger(direct(server.url), store, 1, pace=Pace(8))) as ledger,
        ):
            done = ledger.complete([ask(go * 100 + n) for n in range(times(20, 100))])
            assert not any(completion.error for _, completion in done)
        opened.append((len(list(Path("/proc/self/fd").iterdir())), threading.active_count()))
    grown = [last - first for first, last in zip(opened[1], opened[-1], strict=True)]
    tally(len(opened), max(grown) > 5)
    assert max(grown) <= 5
