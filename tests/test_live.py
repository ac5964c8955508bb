"""The live view, in a real pseudo-terminal: drawn there, silent elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]


def in_terminal(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run phrasetune with a terminal as stderr; return exit code, stdout and what the terminal was sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "optimizer.cli", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        assert child.stdout
        printed = child.stdout.read().decode()
    os.close(ours)
    return child.returncode, printed, seen.decode(errors="replace")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed: a terminal's way to say that it is over
        return b""


def test_a_terminal_shows_the_course_of_the_run(tmp_path: Path) -> None:
    """Trial, rows seen, score with interval, leader, cost and why a trial was stopped are drawn on stderr."""
    write_task(tmp_path)

    code, printed, seen = in_terminal(tmp_path, "tune", "task.toml")

    assert code == 0
    assert "Verdict: " in printed
    for fact in ("search: ", "leader: trial ", " of 250 answers looked at; they cost $0", "scored on all 31 dev rows"):
        assert fact in seen
    assert "given up: " in seen or "not the best when the search ended" in seen


def test_quiet_draws_nothing(tmp_path: Path) -> None:
    """With --quiet, and with --json, the terminal stays empty."""
    write_task(tmp_path, search={"calls": 60})

    for option in ("--quiet", "--json"):
        code, _, seen = in_terminal(tmp_path, "tune", "task.toml", option)

        assert (code, seen) == (0, "")


def test_control_characters_of_the_data_reach_no_terminal(tmp_path: Path) -> None:
    """A row that holds an escape sequence is shown with the sequence made visible."""
    rows = "".join(f'm{i},"\x1b[31mred {i} \x1b]0;owned\x07",{"ab"[i % 2]}\n' for i in range(60))
    (tmp_path / "rows.csv").write_text("id,text,label\n" + rows, encoding="utf-8")
    in_terminal(tmp_path, "init", "rows.csv")
    in_terminal(tmp_path, "tune", "task.toml", "--calls", "60", "--quiet")

    for command in (["space", "task.toml"], ["show", "0"], ["show", "1", "--rows", "50"], ["history"]):
        code, printed, seen = in_terminal(tmp_path, *command)

        assert code == 0
        assert "\x1b" not in printed
        assert "\x1b" not in seen
        assert "\x07" not in printed
