"""Who is at work on a run: this process, and whether another one still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def me() -> str:
    """Name this process: host, number, and when it started, since numbers are given out again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def alive(owner: str) -> bool:
    """Whether the process of that name still runs. Of another host nothing can be known: it is taken as gone."""
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    started = owner.rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and is somebody else's
    return _started(int(rest)) == started


def _started(process: int) -> str:
    """When a process started, in clock ticks since the machine did; empty where the system does not tell."""
    try:
        # The name, in brackets, may hold blanks; the 20th field after it is the start (proc_pid_stat(5)).
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
