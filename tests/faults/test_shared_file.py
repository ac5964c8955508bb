"""Several processes on one results.db, a full disk, a file that disappears, a clock that stands still."""

from __future__ import annotations

import signal
import sqlite3
import time
from pathlib import Path

import pytest
from harness import FULL, Nursery, Tally, Whole, came_to, intact, possibly_paid, query, recorded, same, task_for, tune
from server import ChatServer, Latency


def test_four_processes(nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally) -> None:
    """Nothing is lost, nothing is bought twice, and nobody hears of a lock, also while a stranger holds the file."""
    server.forget()
    server.wait(Latency(0.01))
    folders = [tmp_path / str(seed) for seed in range(4)]
    for folder in folders:
        task_for(folder, server)
    db = tmp_path / "results.db"
    children = [nursery.start(folder, *tune(str(db), "--seed", str(seed))) for seed, folder in enumerate(folders)]
    while not db.exists() or len(server.log) < 20:
        time.sleep(0.02)
    reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM runs").fetchone()
    with sqlite3.connect(db, timeout=30, isolation_level=None) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        time.sleep(20 if FULL else 2)
        stranger.execute("COMMIT")
    stranger.close()
    codes = [child.wait() for child in children]
    reader.close()

    said = "".join(child.said for child in children)
    wrong = sum(code != 0 for code in codes) + ("locked" in said) + (len(server.log) != recorded(db))
    tally(4, wrong)
    assert codes == [0] * 4, said
    assert "locked" not in said
    assert len(server.log) == recorded(db)
    assert possibly_paid(db) == 0
    assert query(db, "SELECT COUNT(*), COUNT(DISTINCT config) FROM runs WHERE status = 'finished'") == [(4, 4)]
    numbered = "SELECT COUNT(*) FROM prompt_trials GROUP BY run HAVING MAX(number) + 1 <> COUNT(*)"
    assert query(db, numbered) == []
    first = query(db, "SELECT id FROM runs WHERE json_extract(task, '$.search.seed') = 0")[0][0]
    found = came_to(db, first)
    assert {**found, "bought": 0, "verdict": 0, "cost": 0} == {
        **undisturbed.found,
        "bought": 0,
        "verdict": 0,
        "cost": 0,
    }
    assert intact(db)


@pytest.mark.parametrize("kilobytes", range(300, 500, 5) if FULL else [300, 340])
def test_disk_full(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, kilobytes: int
) -> None:
    """It stops before it pays for more, what was written stays readable, and with room again it goes on."""
    task_for(tmp_path, server)
    server.forget()
    db = tmp_path / "results.db"

    code, said = nursery.run(tmp_path, *tune(), most=kilobytes * 1024)

    lost = len(server.log) - recorded(db)
    assert code == 2, said
    assert "results.db: cannot be written" in said
    assert "Free the disk" in said
    assert said.count("\n") <= 3
    assert intact(db)
    assert 0 <= lost <= 4
    code, said = nursery.run(tmp_path, *tune())
    assert code == 0, said
    right = same(came_to(db), undisturbed.found)
    tally(1, not right)
    assert right
    assert len(server.log) - recorded(db) <= possibly_paid(db) <= 4


def test_a_file_that_is_deleted(nursery: Nursery, server: ChatServer, tmp_path: Path, tally: Tally) -> None:
    """Deleted under a run, it stops before it pays for more and says so."""
    task_for(tmp_path, server)
    server.forget()
    server.wait(Latency(0.1))
    child = nursery.start(tmp_path, *tune())
    while len(server.log) < 12:
        time.sleep(0.01)
    for file in tmp_path.glob("results.db*"):
        file.unlink()
    asked = len(server.log)

    code = child.wait()

    tally(1, code != 2)
    assert code == 2, child.said
    assert "results.db: is gone" in child.said
    assert len(server.log) <= asked + 8


def test_a_process_that_sleeps(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally
) -> None:
    """Stopped for longer than a call may take, as a laptop is when it is closed, it goes on to the same end."""
    task_for(tmp_path, server, model={"timeout": 1.0})
    server.forget()
    server.wait(Latency(0.02))
    child = nursery.start(tmp_path, *tune())
    for requests in (10, 40):
        while len(server.log) < requests:
            time.sleep(0.005)
        child.kill(signal.SIGSTOP)
        time.sleep(60 if FULL else 1.5)
        child.kill(signal.SIGCONT)

    code = child.wait()

    right = code == 0 and same(came_to(tmp_path / "results.db"), undisturbed.found)
    tally(2, not right)
    assert code == 0, child.said
    assert right


@pytest.mark.parametrize("workers", [1, 16])
def test_the_number_of_workers(
    nursery: Nursery, server: ChatServer, undisturbed: Whole, tmp_path: Path, tally: Tally, workers: int
) -> None:
    """It changes how fast a run goes, not what it comes to; asked again, everything is in the ledger."""
    task_for(tmp_path, server, model={"workers": workers})
    server.forget()
    server.wait(Latency(0.01, 1.0))
    assert nursery.run(tmp_path, *tune())[0] == 0
    asked = len(server.log)

    code, said = nursery.run(tmp_path, *tune())

    assert code == 0, said
    cold, warm = came_to(tmp_path / "results.db", 1), came_to(tmp_path / "results.db", 2)
    ends = [{**found, "bought": 0, "verdict": 0} for found in (cold, warm, undisturbed.found)]
    right = same(ends[0], ends[2]) and same(ends[1], ends[2])
    tally(2, not right)
    assert right
    assert warm["bought"] == 0
    assert len(server.log) == asked
