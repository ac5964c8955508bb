"""The table `wordings` of a results.db: the texts behind the ids of a run's space, and ids reserved for later ones.

One process searches and takes in what it or another has stored. Knows neither the search nor the space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from optimizer.errors import InputError, one_of
from optimizer.records import Run, Wording
from optimizer.report import best_first
from optimizer.store import Store


def begin(store: Store, run: int, wordings: Sequence[Wording], slots: Sequence[tuple[str, str]]) -> None:
    """Store the wordings that a run begins with, and the (dimension, id) reserved for later ones."""
    sql = "INSERT INTO wordings (run, dimension, id, text, origin) VALUES (?, ?, ?, ?, ?)"
    rows: list[tuple[object, ...]] = [(run, w.dimension, w.id, w.text, w.origin) for w in wordings]
    rows += [(run, dimension, id_, None, "user") for dimension, id_ in slots]
    with store.together():
        store.conn.executemany(sql, rows)


def wordings(store: Store, run: int, *, late: bool = False) -> list[Wording]:
    """Read the wordings of a run, those that it began with first; with `late` only those that came later."""
    sql = """SELECT dimension, id, text, origin, step FROM wordings
             WHERE run = ? AND text IS NOT NULL AND (origin <> 'space' OR NOT ?) ORDER BY origin <> 'space', rowid"""
    return [Wording(**dict(row)) for row in store.rows(sql, run, late)]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a wording of a run comes from, and how it did.

    `parent` is the id of the wording that it was made from. For one that came during the search, `arrived` is the time
    in UTC and `step` the decision at which it entered, None while it waits. `reason` is what a model was asked for, and
    `cost`, in US dollars, its share of the reply. `trials` is the number of prompts with it; `best` is the number of
    the best of them, in the order of `history`, and `score` its score on `rows` rows.
    """

    dimension: str
    id: str
    text: str
    origin: str
    parent: str | None
    arrived: str | None
    step: int | None
    trials: int
    best: int | None = None
    score: float | None = None
    rows: int = 0
    reason: str | None = None
    cost: float | None = None


def lineage(store: Store, run: int) -> list[Lineage]:
    """Read the wordings of a run, those that it began with first, each with its best trial."""
    sql = """SELECT dimension, id, text, origin, parent, arrived, step, reason, cost FROM wordings
             WHERE run = ? AND text IS NOT NULL ORDER BY origin <> 'space', rowid"""
    trials = store.trials(run, outcomes=False)
    found = []
    for row in store.rows(sql, run):
        held = [trial for trial in trials if trial.params.get(row["dimension"]) == row["id"]]
        best = min((trial for trial in held if trial.score is not None), key=best_first, default=None)
        about = Lineage(**dict(row), trials=len(held))
        found.append(replace(about, best=best.number, score=best.score, rows=best.n) if best else about)
    return found


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wording that a model proposes: why, the ids that it was made from, and its share of the reply's cost."""

    dimension: str
    text: str
    reason: str
    parent: str = ""
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """A round of proposals from a model; see the table `proposals`. `open` says whether another may follow."""

    step: int
    calls: int
    level: float | None
    kept: int
    refused: tuple[tuple[str, str], ...]
    open: bool
    said: str


def rounds(store: Store, run: int) -> list[Round]:
    """Read the rounds of proposals of a run."""
    sql = "SELECT step, calls, level, kept, refused, open, said FROM proposals WHERE run = ? ORDER BY step"
    found = []
    for row in store.rows(sql, run):
        refused = tuple((text, why) for text, why in json.loads(row["refused"]))
        found.append(Round(**{**dict(row), "refused": refused, "open": bool(row["open"])}))
    return found


def propose(store: Store, run: Run, made: Round, proposals: Sequence[Proposal]) -> None:
    """Store a round, and its wordings, which enter at its step, under free ids: all or nothing."""
    fill_sql = """UPDATE wordings SET origin = 'model', text = ?, parent = ?, reason = ?, cost = ?, arrived = ?,
                  step = ? WHERE run = ? AND dimension = ? AND id = ?"""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with store.together():
        for each in proposals:
            id_ = _free(store, run, each.dimension, each.text)
            told = (each.text, each.parent or None, each.reason, each.cost, now, made.step)
            store.conn.execute(fill_sql, (*told, run.id, each.dimension, id_))
        row = (run.id, made.step, made.calls, made.level, made.kept, json.dumps(made.refused), made.open, made.said)
        store.conn.execute("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def vacant(store: Store, run: int, dimension: str) -> int:
    """Count the free ids of a dimension, reserved for later wordings."""
    sql = "SELECT COUNT(*) FROM wordings WHERE run = ? AND dimension = ? AND text IS NULL"
    return int(store.rows(sql, run, dimension)[0][0])


def enter(store: Store, run: int, entered: Sequence[Wording]) -> None:
    """Store at which step of the search wordings entered."""
    sql = "UPDATE wordings SET step = ? WHERE run = ? AND dimension = ? AND id = ?"
    with store.together():
        store.conn.executemany(sql, [(w.step, run, w.dimension, w.id) for w in entered])


def fill(store: Store, run: Run, dimension: str, text: str) -> Wording:
    """Store a text under the first free id of a dimension.

    Raises
    ------
    InputError
        If the dimension has no wordings or was locked, the text is empty or known already, or no id is free.
    """
    sql = "UPDATE wordings SET text = ?, arrived = ? WHERE run = ? AND dimension = ? AND id = ?"
    with store.together():
        wording = Wording(dimension, _free(store, run, dimension, text), text)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        store.conn.execute(sql, (text, now, run.id, dimension, wording.id))
    return wording


def _free(store: Store, run: Run, dimension: str, text: str) -> str:
    """Return the id that a text gets; an InputError says why it gets none."""
    rows = store.rows("SELECT * FROM wordings WHERE run = ? ORDER BY rowid", run.id)
    known = list(dict.fromkeys(row["dimension"] for row in rows))
    if dimension not in known:
        raise InputError(one_of("dimension with wordings", dimension, known))
    rows = [row for row in rows if row["dimension"] == dimension]
    slots = [row for row in rows if row["origin"] != "space"]
    fix = f"Set `reserved` in [space.{dimension}] of the task file, and start a new run."
    if not slots:
        raise InputError(f"{dimension} of run {run.id} takes no further wordings: it is locked, or keeps no ids. {fix}")
    if not text:
        raise InputError("the wording is empty. Give it a text.")
    if same := [row["id"] for row in rows if (row["text"] or "").strip() == text]:
        raise InputError(f"run {run.id} has this wording already: {dimension} = {same[0]}. Give another text.")
    free = [str(row["id"]) for row in slots if row["text"] is None]
    if not free:
        raise InputError(
            f"all {len(slots)} ids that run {run.id} keeps for late wordings of {dimension} are taken. {fix}"
        )
    return free[0]
