"""Checks of whether everything is ready for a run, each with what was found or what to do.

Buys only one short answer from each model. That call does not use the ledger, because a cached answer would not show
that the key works now.
"""

from __future__ import annotations

import asyncio
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from optimizer.calling import context, require_prices
from optimizer.calls.faults import CallFailed, Fate
from optimizer.database.opening import examine
from optimizer.database.owner import alive, told
from optimizer.drafting import least_gain, power, splits
from optimizer.errors import InputError
from optimizer.ledger import require_price
from optimizer.models import LocalModel, Model, RemoteModel, destination
from optimizer.phrases import counted
from optimizer.preparing import prepare, task_model
from optimizer.records import Completion, Request
from optimizer.rows.overlap import Pair, audit
from optimizer.task import Task
from optimizer.task_sections import ModelSpec
from optimizer.version import __version__
from search_spaces.prompt import Message, Settings

OLDEST = (3, 11)
POISONED = {("litellm", "1.82.7"), ("litellm", "1.82.8")}
MAIN = {"dspy-ai", "litellm", "optuna", "scikit-learn", "sqlite-utils"}
FREE_MB = 200  # size of a results.db with a million outcomes
CONNECT_SECONDS = 10.0
HELLO = Request((Message("user", "Say OK."),), Settings(max_tokens=16, logprobs=True))


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, whether it is in order, and what was found or what to do.

    `warned` means that a run is possible, but that the finding affects what its figures mean.
    """

    name: str
    ok: bool
    said: str
    warned: bool = False


def machine(db: Path) -> Iterator[Check]:
    """Check Python, the packages, the database and the free space on its disk."""
    version = platform.python_version()
    old = sys.version_info[:2] < OLDEST
    yield Check("python", not old, f"{version}; install Python 3.11 or newer" if old else version)
    yield _packages()
    yield _database(db)
    folder = db.resolve().parent
    if folder.is_dir():
        free = shutil.disk_usage(folder).free // 2**20
        text = f"{free / 1024:,.1f} GB free in {folder}" if free >= 1024 else f"{free} MB free in {folder}"
        yield Check("disk", free >= FREE_MB, text if free >= FREE_MB else f"{text}; make room, or name another --db")


def _packages() -> Check:
    """Check that the required packages are installed, and that none is a compromised release."""
    wanted = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires("phrasetune") or () if "extra ==" not in line]
    found: list[str] = []
    wrong: list[str] = []
    for name in wanted:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
        else:
            found.append(f"{name} {version}")
            if (name, version) in POISONED:
                wrong.append(f"{name} {version} is a poisoned release: change every key that this machine held")
    if wrong:
        return Check("packages", ok=False, said=f"{'; '.join(wrong)}. Run pip install --upgrade phrasetune.")
    main = [text for text in found if text.split()[0] in MAIN]
    return Check("packages", ok=True, said=", ".join([f"phrasetune {__version__}", *main]))


def _database(db: Path) -> Check:
    folder = db.resolve().parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        said = f"{folder}: cannot be written to ({error.strerror}). Make it writable, or name another file with --db."
        return Check("database", ok=False, said=said)
    if not db.exists():
        return Check("database", ok=True, said=f"{db}: will be made")
    try:
        holders = [(run, owner) for run, owner in examine(db) if alive(owner)]
    except InputError as error:
        return Check("database", ok=False, said=str(error))
    working = [f"; run {run} is being worked on by {told(owner)}" for run, owner in holders]
    return Check("database", ok=True, said=f"{db}: whole, and can be written{''.join(working)}")


def rows(task: Task, *, allow_code: bool = False) -> Iterator[Check]:
    """Check a task's rows and space: whether they can be read, what the rows can show, and whether splits overlap."""
    try:
        ready = prepare(task, allow_code=allow_code)
    except InputError as error:
        yield Check("data", ok=False, said=str(error))
        return
    data, labels = ready.data, ready.labels
    said = [
        splits(data).removeprefix("rows: "),
        *([f"{len(labels)} labels"] if labels else []),
        *(note.rstrip(".") for note in data.notes),
    ]
    yield Check("data", ok=True, said="; ".join(said))
    given = {target for row in data.train for target in row.targets}
    if lacking := [label for label in labels if label not in given]:
        fix = "Add some, or take the label out of [task.labels]."
        yield Check("labels", ok=False, said=f"no training row is labelled {', '.join(lacking)}. {fix}")
    least = least_gain(min(len(data.dev), len(data.test)), task.metric)
    enough = least is None or least < 1
    shown = power(len(data.dev), len(data.test), task.metric).removeprefix("power: ")
    yield Check("power", enough, shown + ("" if enough else ". Add rows."))
    yield _leaks(audit(data).leaks, given=task.data.split_column)


def _leaks(leaks: Sequence[Pair], *, given: str) -> Check:
    """Check that no nearly equal rows are in two splits; `given` is the split column, if there is one.

    This is only a warning: equal rows are never in two splits, and only the user knows whether nearly equal rows give
    away each other's answers.
    """
    if not leaks:
        return Check("leaks", ok=True, said="none: no nearly equal rows in two splits")
    stand = "stands" if len(leaks) == 1 else "stand"
    more = f", and {len(leaks) - 1:,} more" if len(leaks) > 1 else ""
    first = f"{leaks[0][0]} and {leaks[0][1]}"
    pairs = f"{counted(len(leaks), 'pair')} of nearly equal rows {stand} in two splits: {first}{more}"
    fix = (
        f"The column {given} gives the splits, which stay as they are: read the scores as a little high, or take one "
        "of each pair out of the training or dev rows."
        if given
        else "Where one tells the answer of the other, name the column that they have in common as group in [data], or "
        "take one of each pair out."
    )
    return Check("leaks", ok=True, said=f"{pairs}. {fix}", warned=True)


def model(task: Task | None, spec: ModelSpec) -> Iterator[Check]:
    """Check a model: its key, its price, whether its endpoint can be reached, and whether it answers.

    Parameters
    ----------
    task
        The task that uses it, whose caps may require a price; None without a task.
    spec
        The model's section of the task file.
    """
    try:
        opened = task_model(spec)
    except InputError as error:
        yield Check("key", ok=False, said=str(error))
        return
    place = destination(opened)
    if place is None:
        yield Check("model", ok=True, said=f"{opened.name} runs in this process: no key, no network, no price")
        return
    key = f"{place.key} is set, and goes" if place.key else "none is set, and none is required; calls go"
    yield Check("key", ok=True, said=f"{key} to {place.address}")
    yield _price(opened, task, spec)
    wrong = _unreachable(place.address)
    yield Check("endpoint", not wrong, wrong or f"{place.address} can be reached")
    if not wrong:
        yield from _answer(opened, spec.timeout)


def _price(opened: Model, task: Task | None, spec: ModelSpec) -> Check:
    try:
        if task is not None:
            require_prices(task, opened) if spec is task.model else require_price(opened, task.search.max_usd)
    except InputError as error:
        return Check("price", ok=False, said=str(error))
    if opened.price is None:
        said = "not known, so that dollars can be neither counted nor capped; give it as price in [model]"
        return Check("price", ok=True, said=said)
    asked, answered = (f"${1e6 * each:g}" for each in opened.price)
    said = f"{asked} and {answered} per million tokens asked and answered"
    takes = context(spec)
    return Check("price", ok=True, said=said + (f"; it takes {takes:,} tokens" if takes else ""))


def _unreachable(address: str) -> str:
    """Return why no connection to an address, or to its proxy, can be made; empty if it can."""
    parts = urlsplit(address)
    if not parts.hostname:
        return ""  # only LiteLLM knows it
    proxy = urllib.request.getproxies().get("https") if parts.scheme == "https" else None
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urlsplit(proxy)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        said = error.strerror or str(error)
        return f"{address} cannot be reached ({said}). Check the address (api_base), the network and the server."
    return ""


def _answer(opened: Model, seconds: float) -> Iterator[Check]:
    """Ask the model for one word, without retries."""
    began = time.perf_counter()
    try:
        done = asyncio.run(_ask(opened, seconds))
    except (CallFailed, TimeoutError) as error:
        failed = error if isinstance(error, CallFailed) else None
        said = (
            failed.said if failed else f"no answer within {seconds:g} s. Raise timeout in [model], or check the server."
        )
        wait = {Fate.LIMITED: ". Wait, or ask the provider for higher limits.", Fate.PASSING: ". Try again."}
        said = said.replace("; then resume.", ".") + (wait.get(failed.fate, "") if failed else "")
        paid = " It may have been charged." if failed is None or failed.billed else ""
        yield Check("answer", ok=False, said=said + paid)
        return
    took = done.seconds or time.perf_counter() - began
    cost = "at an unknown price" if opened.price is None else f"${done.cost:.6f}" if done.cost else "$0"
    said = f"{done.text[:40]!r} in {took:.1f} s; {done.prompt_tokens} + {done.completion_tokens} tokens, {cost}"
    yield Check("answer", ok=True, said=said)
    offered = "offered" if done.logprobs else "not offered: calibrated prompts are answered by what the model writes"
    yield Check("logprobs", ok=True, said=offered)


async def _ask(opened: Model, seconds: float) -> Completion:
    if isinstance(opened, LocalModel):
        return opened.complete(HELLO)
    assert isinstance(opened, RemoteModel)
    try:
        async with asyncio.timeout(seconds):
            return await opened.ask(HELLO)
    except CallFailed as failed:
        if failed.answer is None:
            raise
        return failed.answer
    finally:
        await opened.leave()
