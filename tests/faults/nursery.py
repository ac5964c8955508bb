"""Forks `phrasetune` commands that may be killed: all that is slow to import was imported once, in their parent.

Reads jobs as JSON lines: the command's arguments, its folder, and where its output goes. Writes the child's process
number for each; `{"wait": pid}` is answered with how the child ended. A job may be told to break off for good before or
after its n-th commit, and to find the disk full where a file grows beyond so many bytes.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

CRASHED = 86  # exit code of a child that broke off as told


def break_off(at: int, *, after: bool) -> None:
    """Let this process end at its n-th commit, counted from 1, before or after it; else it leaves their number."""
    from optimizer.database.completions import Purchases

    whole = Purchases.together
    commits = 0

    @contextmanager
    def together(self: Purchases) -> Iterator[None]:
        nonlocal commits
        outermost = not self.conn.in_transaction
        with whole(self):
            yield
            commits += outermost
            if outermost and commits == at and not after:
                os._exit(CRASHED)
        if outermost and commits == at and after:
            os._exit(CRASHED)

    Purchases.together = together  # type: ignore[method-assign]
    atexit.register(lambda: Path("commits").write_text(str(commits)))


def run(job: dict[str, Any]) -> NoReturn:
    """Be the command, in a process group of its own."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(job["folder"])
    os.environ.update(job.get("environment", {}))
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(job[name], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if "most" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["most"], job["most"]))
    if "commit" in job:
        break_off(job["commit"], after=job["after"])
    sys.argv = ["phrasetune", *job["arguments"]]
    from optimizer.cli import main

    main()
    raise AssertionError("click leaves by SystemExit")


# What a run imports only when it comes to it: two thirds of its time, if each child did so.
LATE = (
    "alembic.command",
    "optimizer.programs.adapters",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "skops.io",
    "sqlite_utils",
)


def warm() -> None:
    """Import what a run imports; no thread may be alive when a child is forked."""

    import optimizer.calls.direct
    import optimizer.calls.litellm_import
    import optimizer.cli
    import optimizer.commands.live
    import optimizer.database.mirror
    import optimizer.engine.pooled
    import optimizer.journey
    import optimizer.models
    import optimizer.report

    optimizer.calls.litellm_import.import_litellm()
    for name in LATE:
        import_module(name)


def say(what: object) -> None:
    """Answer."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until standard input closes."""
    warm()
    say("ready")
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            _, status = os.waitpid(job["wait"], 0)
            say(os.waitstatus_to_exitcode(status))
            continue
        child = os.fork()
        if not child:
            run(job)
        say(child)


if __name__ == "__main__":
    main()
