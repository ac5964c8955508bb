"""Calls are recorded before they are sent: none is sent twice, and those of a dead process are not forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from optimizer.budget import Spent
from optimizer.database import completions
from optimizer.records import Completion
from optimizer.store import Store

ROOT = Path(__file__).resolve().parents[1]
CALL = Spent(1, 0.5, 40)
CLAIM = (
    "import sys\n"
    "from optimizer.budget import Spent\n"
    "from optimizer.store import Store\n"
    "store = Store(sys.argv[1], create=True)\n"
    "store.claim(7, 'm', {'a': Spent(1, 0.5, 40), 'b': Spent(1, 0.5, 40)})\n"
    "print('claimed', flush=True)\n"
    "sys.stdin.read()\n"
)


def claimer(path: Path) -> subprocess.Popen[str]:
    """Another process that has sent two calls, and waits for their answers until its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def test_a_call_that_another_process_has_sent_does_not_go_out(tmp_path: Path) -> None:
    """As long as that process lives; afterwards it may have been paid, at most at its highest price."""
    path = tmp_path / "results.db"
    with Store(path, create=True) as store, claimer(path) as other:
        assert store.claim(1, "m", {"a": CALL, "c": CALL}) == {"a"}
        store.bury()
        assert store.possibly_paid(7) == Spent()
        other.kill()
        other.wait()

        store.bury()

        assert store.possibly_paid(7) == store.spent(7) == Spent(2, 1.0, 80)
        assert store.claim(1, "m", {"a": CALL}) == set()


def test_two_that_start_at_once_take_a_lost_call_as_paid_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is about to bury it as well when the first looks who has sent it."""
    path, others = tmp_path / "results.db", list[Thread]()

    def second() -> None:
        with Store(path, create=True) as other:
            other.bury()

    def looked_up(_: str) -> bool:
        if not others:
            others.append(Thread(target=second))
            others[0].start()
            others[0].join(0.5)  # it waits for the first to end, or has buried the call by now
        return False

    with Store(path, create=True) as store:
        store.claim(1, "m", {"a": CALL})
        monkeypatch.setattr(completions, "alive", looked_up)
        store.bury()
        others[0].join()

        assert store.possibly_paid(1) == CALL


def test_what_was_answered_is_not_possibly_paid(tmp_path: Path) -> None:
    """An answer ends the call that was written down."""
    path = tmp_path / "results.db"
    with Store(path, create=True) as store:
        store.claim(1, "m", {"a": CALL})
        store.add_completions(1, "m", {"a": Completion("x", 3, 2, 0.1)})

        assert store.conn.execute("SELECT COUNT(*) FROM calls_in_flight").fetchone()[0] == 0
        assert store.claim(2, "m", {"a": CALL}) == {"a"}
        assert store.spent(1) == Spent(1, 0.1, 5)


def test_the_versions_of_a_model_are_told_in_their_order(tmp_path: Path) -> None:
    """So that a change in the middle of a run can be reported."""
    with Store(tmp_path / "results.db", create=True) as store:
        for key, version in (("a", "m-1"), ("b", "m-1"), ("c", "m-2"), ("d", "")):
            store.add_completions(1, "m", {key: Completion("x", version=version)})

        store.add_completions(1, "m as judge", {"e": Completion("x", version="m-3")})

        assert store.versions(1, "m") == ["m-1", "m-2"]


def test_two_parts_of_a_process_do_not_send_the_same_call(tmp_path: Path) -> None:
    """What one thread has sent another waits for; when the first has gone it may be sent again."""
    with Store(tmp_path / "r.db", create=True) as other:
        with Store(tmp_path / "r.db", create=True) as store:
            assert store.claim(1, "m", {"a": CALL}) == set()
            assert other.claim(1, "m", {"a": CALL, "b": CALL}) == {"a"}
            assert store.claim(1, "m", {"a": CALL}) == set()

        assert other.claim(1, "m", {"a": CALL}) == set()
