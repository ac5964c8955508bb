"""The table `rechecks` of a results.db: how a winner answered when it was asked again later.

Knows nothing of how it is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from optimizer.database.completions import compact, now
from optimizer.records import Comparison
from optimizer.store import Store

Origins = tuple[tuple[str, str], ...]  # (version, fingerprint): what the provider calls the model and the machine


@dataclass(frozen=True, slots=True)
class Recheck:
    """A winner asked again on `rows` rows of a split, and the results for the `n` rows that were answered both times.

    `changed` of them got another answer; `interval` is the 95 % interval of that share. `scores` are (then, now), and
    `comparison` is now minus then; both are None if the metric is a judge's or the user's own code.
    """

    id: int
    run: int
    trial: int
    split: str
    rows: int
    started: str
    n: int
    changed: int
    interval: tuple[float, float]
    scores: tuple[float, float] | None
    comparison: Comparison | None
    origins_then: Origins
    origins: Origins


def begin(store: Store, run: int, trial: int, split: str, rows: int) -> tuple[int, str]:
    """Record that a winner is asked again; return the id, and when that began.

    An unfinished recheck of the same run and number of rows, from the last day, is continued.
    """
    with store.together():
        sql = """SELECT id, started FROM rechecks WHERE run = ? AND trial = ? AND split = ? AND rows = ?
                 AND finished IS NULL AND julianday(started) > julianday('now') - 1 ORDER BY id DESC LIMIT 1"""
        for stopped in store.rows(sql, run, trial, split, rows):
            return stopped["id"], stopped["started"]
        started = now()
        sql = "INSERT INTO rechecks (run, trial, split, rows, started) VALUES (?, ?, ?, ?, ?)"
        key = store.conn.execute(sql, (run, trial, split, rows, started)).lastrowid
    assert key is not None
    return key, started


def finish(store: Store, found: Recheck) -> None:
    """Store the results of a recheck."""
    scores, compared = found.scores or (None, None), found.comparison
    limits = (compared.difference, *compared.interval, compared.p_value) if compared else (None,) * 4
    origins = compact(found.origins_then), compact(found.origins)
    sql = """UPDATE rechecks SET finished = ?, n = ?, changed = ?, low = ?, high = ?, score_then = ?, score = ?,
             difference = ?, difference_low = ?, difference_high = ?, p_value = ?, origins_then = ?, origins = ?
             WHERE id = ?"""
    values = (now(), found.n, found.changed, *found.interval, *scores, *limits, *origins, found.id)
    with store.together():
        store.conn.execute(sql, values)


def rechecks(store: Store, run: int) -> list[Recheck]:
    """Read the finished rechecks of a run, in order."""
    found = []
    for row in store.rows("SELECT * FROM rechecks WHERE run = ? AND finished IS NOT NULL ORDER BY id", run):
        scores = compared = None
        if row["score"] is not None:
            scores = row["score_then"], row["score"]
            limits = row["difference_low"], row["difference_high"]
            compared = Comparison("now", "then", row["difference"], limits, row["p_value"], "")
        asked = (row["split"], row["rows"], row["started"], row["n"], row["changed"], (row["low"], row["high"]))
        origins = (tuple((v, f) for v, f in json.loads(row[name])) for name in ("origins_then", "origins"))
        found.append(Recheck(row["id"], row["run"], row["trial"], *asked, scores, compared, *origins))
    return found
