"""A run that is killed at any moment and resumed loses nothing, buys nothing twice and has the same result."""

from __future__ import annotations

import random
import signal
import time
from itertools import count, product
from pathlib import Path

import pytest
from harness import (
    FULL,
    Nursery,
    Tally,
    Whole,
    came_to,
    intact,
    possibly_paid,
    query,
    recorded,
    same,
    task_for,
    times,
    tune,
)
from nursery import CRASHED
from server import ChatServer, Latency, hang

WORKERS = 4


@pytest.mark.parametrize("seed", range(times(1, 24)))  # a run is killed eight or nine times before it is done
def test_kill_at_any_moment(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, seed: int
) -> None:
    """Kill -9 again and again until it is done: what was recorded is never bought again."""
    expected, requests = undisturbed.found, undisturbed.requests
    folder = tmp_path / "killed"
    task_for(folder, server)
    db, chance = folder / "results.db", random.Random(seed)
    server.forget()
    server.wait(Latency(0.005, 1.0))
    kills = wrong = 0
    while True:
        before = len(server.log)
        child = nursery.start(folder, *tune())
        if kills < 10 * (1 + FULL):
            server.kill(child.pid, after=chance.randint(1, max(2, requests // 6)), seconds=chance.random() * 0.05)
        code = child.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, child.said
        kills += 1
        wrong += not intact(db)
        assert len(server.log) > before
    repeats = len(server.log) - recorded(db)
    wrong += not repeats <= possibly_paid(db) <= kills * WORKERS
    found = came_to(db)
    wrong += not same(found, expected)
    tally(kills, wrong)
    assert repeats <= possibly_paid(db) <= kills * WORKERS
    assert same(found, expected)
    assert wrong == 0


@pytest.mark.parametrize("after", range(10, 18) if FULL else (11,))  # of 9 looks, 3 calls for wordings, first looks
def test_kill_among_proposals(nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally, after: int) -> None:
    """Kill -9 while a model is asked for wordings, or soon after: none is bought twice, and the same enter."""
    found = []
    for name in ("whole", "killed"):
        task = task_for(tmp_path / name, server)
        task.write_text(task.read_text(encoding="utf-8").replace('[proposer]\nmodel = "none"\n', ""), encoding="utf-8")
        server.forget()
        server.ask("proposing:proposer")
        child = nursery.start(task.parent, *tune())
        if name == "killed":
            server.kill(child.pid, after=after)
            assert child.wait() == -signal.SIGKILL, child.said
            child = nursery.start(task.parent, *tune())
        assert child.wait() == 0, child.said
        sql = "SELECT id, step, text FROM wordings WHERE origin = 'model' ORDER BY rowid"
        found.append((came_to(task.parent / "results.db"), query(task.parent / "results.db", sql)))
    db = tmp_path / "killed" / "results.db"
    repeats, (whole, killed) = len(server.log) - recorded(db), found
    right = repeats <= possibly_paid(db) <= WORKERS and same(killed[0], whole[0]) and killed[1] == whole[1]
    tally(1, not right)

    assert repeats <= possibly_paid(db) <= WORKERS
    assert whole[1]
    assert killed[1] == whole[1]
    assert same(killed[0], whole[0])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_at_commits(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, after: bool
) -> None:
    """Broken off before or after one commit in so many, and started again each time, a run comes to the same end."""
    task_for(tmp_path, server)
    db, chance = tmp_path / "results.db", random.Random(after)
    crashes = wrong = 0
    while (ended := nursery.run(tmp_path, *tune(), commit=chance.randint(12, 36), after=after))[0] == CRASHED:
        crashes += 1
        wrong += db.exists() and not intact(db)
    assert ended[0] == 0, ended[1]
    repeats = len(server.log) - recorded(db)
    tally(crashes, wrong)
    assert crashes > 2
    assert repeats <= possibly_paid(db) <= crashes * WORKERS
    assert same(came_to(db, 1), undisturbed.found)  # broken off after its last commit, it had ended
    assert wrong == 0


@pytest.mark.skipif(not FULL, reason="one run for each commit: `make faults`")
@pytest.mark.parametrize("which", list(product(range(1, 9), (False, True))))
def test_crash_at_every_commit(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, which: tuple[int, bool]
) -> None:
    """Broken off at any of its commits, and started again, a run comes to the same end; each test takes an eighth."""
    first, after = which
    for at in count(first, 8):
        folder = tmp_path / f"at{at}"
        task_for(folder, server)
        server.forget()
        code, said = nursery.run(folder, *tune(), commit=at, after=after)
        if code == 0:  # it has fewer commits
            break
        assert code == CRASHED, said
        whole = not (folder / "results.db").exists() or intact(folder / "results.db")
        code, said = nursery.run(folder, *tune())
        assert code == 0, said
        db = folder / "results.db"
        right = whole and same(came_to(db, 1), undisturbed.found)
        right &= len(server.log) - recorded(db) <= possibly_paid(db) <= WORKERS
        tally(1, not right)
        assert right, at
    assert at > 50


@pytest.mark.parametrize("which", list(product((signal.SIGINT, signal.SIGTERM), range(times(1, 8)))))
def test_stop_gently(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, which: tuple[int, int]
) -> None:
    """Ctrl-C waits for the calls in flight, says how to go on, and nothing is bought again."""
    expected, requests = undisturbed.found, undisturbed.requests
    folder = tmp_path / "stopped"
    task_for(folder, server)
    server.forget()
    server.wait(Latency(0.02))
    number, seed = which
    chance = random.Random(number + 100 * seed)
    stops = 0
    while stops < times(3, 10):
        child = nursery.start(folder, *tune())
        server.kill(child.pid, after=chance.randint(2, max(3, requests // 4)), number=number)
        code = child.wait()
        if code == 0:
            break
        assert code == 130, child.said
        assert "Resume with: phrasetune tune task.toml --quiet --db results.db" in child.said
        stops += 1
    if code:
        assert nursery.run(folder, *tune())[0] == 0
    db = folder / "results.db"
    repeats = len(server.log) - recorded(db)
    tally(stops, repeats)
    assert stops > 1
    assert (repeats, possibly_paid(db)) == (0, 0)
    assert same(came_to(db), expected)


@pytest.mark.parametrize("twice", [False, True])
def test_stop_with_a_provider_that_hangs(
    nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally, twice: bool
) -> None:
    """The first Ctrl-C ends it by the calls' deadline, the second at once; what was in flight is possibly paid."""
    folder = tmp_path / "hung"
    task_for(folder, server, model={"timeout": 60.0 if twice else 2.0})
    server.forget()
    server.misbehave(hang(), *range(9, 1000))
    child = nursery.start(folder, *tune())
    while len(server.log) < 9:
        time.sleep(0.01)
    child.kill(signal.SIGINT)
    began = time.monotonic()
    if twice:
        time.sleep(0.2)
        child.kill(signal.SIGINT)

    code = child.wait()

    took = time.monotonic() - began
    in_flight = sum(asked.done is None for asked in server.log)
    tally(1, code != 130)
    assert code == 130, child.said
    assert "Resume with: phrasetune tune task.toml --quiet --db results.db" in child.said
    assert took < 15  # its deadline and some; not the hour for which the provider hangs, nor the minute of two
    assert possibly_paid(folder / "results.db") == in_flight
    assert query(folder / "results.db", "SELECT status FROM runs") == [("interrupted",)]
    assert query(folder / "results.db", "SELECT COUNT(*) FROM calls_in_flight") == [(0,)]
