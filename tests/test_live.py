"""The live view, in a real pseudo-terminal: drawn there, silent elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.commands.live import LiveView
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]


def in_terminal(folder: Path, *arguments: str, columns: int = 100) -> tuple[int, str, str]:
    """Run phrasetune with a terminal as stderr; return exit code, stdout and what the terminal was sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"}
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


def test_a_narrow_terminal_cuts_reasons_alone(tmp_path: Path) -> None:
    """With 60 columns number, score, rows and state stand whole; the sentence beside them ends in an ellipsis."""
    write_task(tmp_path)

    _, _, seen = in_terminal(tmp_path, "tune", "task.toml", columns=60)

    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).splitlines()]
    ended = [line for line in lines if re.match(r"\d+  ", line)]
    assert any(line.endswith("…") for line in ended)
    for line in ended:
        assert re.match(r"\d+ +\d+\.\d % +\d+ +(complete|pruned) +(given|not|scor)", line)
        assert len(line) <= 60


def test_a_note_is_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file or a pipe has no width: what reads it is given whole notes."""
    LiveView().tell("rows " * 60)

    assert capsys.readouterr().err.rstrip("\n") == "note: " + "rows " * 60


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
