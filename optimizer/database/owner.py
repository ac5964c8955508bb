"""Who is at work on a run: which part of which process, and whether that is still so."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_NUMBERS = itertools.count(1)
_AT_WORK = set[str]()


def me() -> str:
    """Return the name of this process: host, process id and start time, because ids are used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def begin() -> str:
    """Name a part of this process that is at work until its `end`, so that threads do not take each other's runs."""
    name = f"{me()}/{next(_NUMBERS)}"
    _AT_WORK.add(name)
    return name


def end(name: str) -> None:
    """Record that a part of this process is no longer at work."""
    _AT_WORK.discard(name)


def alive(owner: str) -> bool:
    """Whether an owner is still at work: its process runs and, if that is this process, the part is at work as well.

    An owner on another host counts as gone: nothing can be known of it.
    """
    process, _, part = owner.partition("/")
    if process == me():
        return not part or owner in _AT_WORK
    host, _, rest = process.rpartition(":")[0].rpartition(":")
    started = process.rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, and belongs to another user
    return _started(int(rest)) == started


def told(owner: str) -> str:
    """Say which process an owner is."""
    process = owner.partition("/")[0]
    number = process.rpartition(":")[0].rpartition(":")[2]
    return f"process {number}{' (this one)' if process == me() else ''}"


def _started(process: int) -> str:
    """Return when a process started, in clock ticks since boot; empty if the system does not say."""
    try:
        # The name, in brackets, may contain spaces; the 20th field after it is the start (proc_pid_stat(5)).
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
