"""results.db: opens it, writes all or nothing, and has the ledger's own tables.

`completions` holds what was bought, `failures` the attempts that gave no answer, `calls_in_flight` what was sent and
not answered yet. `store` adds everything else. Knows nothing of how a call is made.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from optimizer.budget import Spent
from optimizer.database.opening import brief, checksum, connect, packed, unwritable
from optimizer.database.owner import alive, begin, end
from optimizer.errors import StoreError, kind_of
from optimizer.records import Completion, Failure

if TYPE_CHECKING:
    import sqlite_utils

LOST = "possibly paid: the process that sent it ended before the answer came"

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Purchases")


def located(db: object) -> Path:
    """Return the path of what was given as a results.db; ~ is the home folder.

    Raises
    ------
    StoreError
        If it is not a path, or names a database in memory, which would be gone with the process.
    """
    fix = "Name a file with --db (db=), such as results.db."
    try:
        path = Path(db).expanduser()  # type: ignore[arg-type] # whatever a caller has given
    except TypeError:
        raise StoreError(f"results.db: {kind_of(db)} was given, not a path. {fix}") from None
    except RuntimeError:
        raise StoreError(f"{db}: there is no such home folder. {fix}") from None
    if path.name == ":memory:":
        raise StoreError(f"{db}: a run is kept in a file, so that it can be resumed and read later. {fix}")
    return path


def reads(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Let a method that reads the file report damage as a StoreError."""

    @wraps(method)
    def read(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError) as error:
            raise StoreError(
                f"{self.path}: cannot be read ({brief(error)}). If no other program holds the file, it is damaged: "
                f"restore a copy, save what is left (sqlite3 {self.path} .recover), or another file as --db (db=)."
            ) from error

    return read


class Purchases:
    """A results.db, as the ledger sees it.

    Parameters
    ----------
    path
        The file, as `located` accepts it; with `create` it is made, readable by its owner only.
    create
        Whether a missing file is made; otherwise it is an error.
    paid
        Whether completions cost money: then each is on disk before it is used, also after a power cut.

    Raises
    ------
    StoreError
        If it is not a path, or the file is missing, not ours, newer than this program, damaged or cannot be opened.
    """

    def __init__(self, path: str | Path, *, create: bool = False, paid: bool = False) -> None:
        self.path = located(path)
        self.conn = connect(self.path, create=create, paid=paid)
        self._file = _identity(self.path)
        self.owner = begin()  # of the runs that are worked on through this object

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and end this object's work on runs."""
        self.conn.close()
        end(self.owner)

    @cached_property
    def db(self) -> sqlite_utils.Database:
        """The file as sqlite-utils writes to it."""
        import sqlite_utils

        return sqlite_utils.Database(self.conn)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write all or nothing, in one transaction."""
        if self.conn.in_transaction:
            with self.db.atomic():
                yield
        else:
            try:
                # Immediate: a write lock that is requested after a read fails at once if others write, too.
                self.conn.execute("BEGIN IMMEDIATE")
                with self.conn:
                    yield
            except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
                raise
            except sqlite3.DatabaseError as error:
                raise unwritable(self.path, error) from None

    def _insert(self, table: str, rows: Iterable[Mapping[str, Any]], *, replace: bool = False) -> None:
        self.db.table(table).insert_all((dict(row) for row in rows), replace=replace, ignore=not replace)

    @reads
    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Run a query."""
        return self.conn.execute(sql, values).fetchall()

    @reads
    def find_completions(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return those of these completions that were bought before.

        Raises
        ------
        StoreError
            If one of them does not fit its checksum, or the file cannot be read.
        """
        sql = f"SELECT c.*, {_ORIGIN} WHERE c.key IN (%s)"
        return {unpacked(row["key"]): completion(row) for row in self._many(sql, keys)}

    def _many(self, sql: str, keys: Sequence[str]) -> list[sqlite3.Row]:
        """Run a query over many keys, which take the place of %s."""
        found: list[sqlite3.Row] = []
        for start in range(0, len(keys), 500):  # SQLite's oldest limit on `?` is 999
            part = [packed(key) for key in keys[start : start + 500]]
            found += self.rows(sql % ", ".join("?" * len(part)), *part)
        return found

    def claim(self, run: int, model: str, calls: Mapping[str, Spent]) -> set[str]:
        """Record calls before they are sent, each with its highest possible cost; they are on disk when this returns.

        Returns the keys of those that must not be sent: another process has sent or bought them meanwhile.

        Raises
        ------
        StoreError
            If they cannot be recorded. Nothing may be sent then, because what it costs could be lost.
        """
        if _identity(self.path) != self._file:  # SQLite would go on writing to the deleted file
            raise StoreError(f"{self.path}: is gone or was replaced. Put it back, or start anew with the same command.")
        mine = self.owner
        with self.together():
            busy = set(self.find_completions(list(calls)))
            for key in calls:
                for row in self.rows("SELECT run, owner FROM calls_in_flight WHERE key = ?", key):
                    if (row["run"], row["owner"]) != (run, mine) and alive(row["owner"]):
                        busy.add(key)
            self.conn.executemany(
                "INSERT OR REPLACE INTO calls_in_flight (key, run, model, owner, cost, tokens, sent) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(k, run, model, mine, c.usd, c.tokens, now()) for k, c in calls.items() if k not in busy],
            )
        return busy

    def release(self, keys: Iterable[str]) -> None:
        """Record that calls are over."""
        if over := [(key,) for key in keys]:
            with self.together():
                self.conn.executemany("DELETE FROM calls_in_flight WHERE key = ?", over)

    def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
        """Store completions, and that their calls are over; they are on disk when this returns."""
        bought = int(time.time())
        origins = {key: (model, c.version, c.fingerprint) for key, c in completions.items()}
        rows = [(run, bought, *_stored(key, c), *origins[key]) for key, c in completions.items()]
        with self.together():
            self.conn.executemany(
                "INSERT OR IGNORE INTO origins (model, version, fingerprint) VALUES (?, ?, ?)", set(origins.values())
            )
            self.conn.executemany(_ADD, rows)
            self.release(completions)

    def add_failures(self, run: int, model: str, failures: Sequence[tuple[str, Failure, Spent]]) -> None:
        """Store attempts that gave no answer, each with the highest cost that it can have had.

        What was charged, or may have been, counts as spent; the reason of the failure is kept.
        """
        made = now()
        rows = [
            {"run": run, "key": key, "model": model, "error": failure.said, "seconds": failure.seconds, "made": made}
            | {"cost": most.usd if failure.cost is None else failure.cost, "possibly_paid": failure.cost is None}
            | {"tokens": most.tokens if failure.cost is None else 0}
            for key, failure, most in failures
        ]
        with self.together():
            self._insert("failures", rows)

    def bury(self) -> None:
        """Count calls as paid whose process ended before they were answered: nobody can know whether they were."""
        if not self.rows("SELECT 1 FROM calls_in_flight LIMIT 1"):
            return
        with self.together():  # read again in the transaction, so that only one of two processes counts them
            rows = [row for row in self.rows("SELECT * FROM calls_in_flight") if not alive(row["owner"])]
            for row in rows:
                call = Spent(1, row["cost"], row["tokens"])
                if not self.find_completions([row["key"]]):
                    self.add_failures(row["run"], row["model"], [(row["key"], Failure(LOST, 0.0, None), call)])
            self.release(row["key"] for row in rows)

    def spent(self, run: int) -> Spent:
        """Read what a run has spent: completions, the attempts that gave none, and fine-tuning jobs."""
        total = Spent()
        for table, tokens in (("completions", "prompt_tokens + completion_tokens"), ("failures", "tokens")):
            sql = f"SELECT COUNT(*), COALESCE(SUM(cost), 0), COALESCE(SUM({tokens}), 0) FROM {table} WHERE run = ?"  # noqa: S608 - constants
            total += Spent(*self.rows(sql, run)[0])
        jobs = "SELECT 0, COALESCE(SUM(usd), 0), COALESCE(SUM(tokens), 0) FROM tuning_jobs WHERE run = ?"
        return total + Spent(*self.rows(jobs, run)[0])

    def spent_by_model(self, run: int) -> dict[str, Spent]:
        """Read what a run has spent on each model; a model in another role than answering counts separately."""
        found: dict[str, Spent] = {}
        for table, tokens in (
            ("completions JOIN origins o ON o.id = origin", "prompt_tokens + completion_tokens"),
            ("failures", "tokens"),
        ):
            sql = f"SELECT model, COUNT(*), SUM(cost), SUM({tokens}) FROM {table} WHERE run = ? GROUP BY model"  # noqa: S608 - constants
            for model, *spent in self.rows(sql, run):
                found[model] = found.get(model, Spent()) + Spent(*spent)
        return found

    def failed(self, run: int, model: str) -> Spent:
        """Read what attempts of a run at a model took that gave no answer."""
        sums = "COUNT(*), COALESCE(SUM(cost), 0), COALESCE(SUM(tokens), 0)"
        return Spent(*self.rows(f"SELECT {sums} FROM failures WHERE run = ? AND model = ?", run, model)[0])  # noqa: S608

    def bought(self, run: int) -> int:
        """Count the completions that a run has bought."""
        return int(self.rows("SELECT COUNT(*) FROM completions WHERE run = ?", run)[0][0])

    def possibly_paid(self, run: int) -> Spent:
        """Read how many attempts of a run were paid or not, nobody knows, and the most that they can have cost."""
        sums = "COUNT(*), COALESCE(SUM(cost), 0), COALESCE(SUM(tokens), 0)"
        return Spent(*self.rows(f"SELECT {sums} FROM failures WHERE run = ? AND possibly_paid", run)[0])  # noqa: S608

    def versions(self, run: int, model: str) -> list[str]:
        """List the versions that the provider reported for a model that a run has called, in order of appearance."""
        sql = f"SELECT {_ORIGIN} WHERE run = ? AND o.model = ? AND version <> '' GROUP BY version ORDER BY MIN(c.id)"
        return [row["version"] for row in self.rows(sql, run, model)]


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from a later one of the same name; None if there is no file."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


# The fields of a Completion that have columns, without the log-probabilities.
_FIELDS = (
    *("text", "prompt_tokens", "completion_tokens", "cost", "seconds", "finish_reason"),
    *("cached_tokens", "reasoning_tokens", "version", "fingerprint"),
)
_ORIGIN = "o.version, o.fingerprint FROM completions c JOIN origins o ON o.id = c.origin"
_ADD = """INSERT OR IGNORE INTO completions (run, bought, key, text, prompt_tokens, completion_tokens, cost, seconds,
             finish_reason, cached_tokens, reasoning_tokens, logprobs, checksum, origin)
           SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, id
           FROM origins WHERE model = ? AND version = ? AND fingerprint = ?"""


def _stored(key: str, c: Completion) -> tuple[object, ...]:
    """Return the values of `_ADD` from the key to the checksum."""
    values = (
        *(c.text, c.prompt_tokens, c.completion_tokens, float(c.cost), float(c.seconds), c.finish_reason),
        *(c.cached_tokens, c.reasoning_tokens),
    )
    logprobs = compact(c.logprobs) if c.logprobs else None
    return (packed(key), *values, logprobs, checksum(key, *values, c.version, c.fingerprint, logprobs))


def completion(row: sqlite3.Row) -> Completion:
    """Read a completion with its origin; raise ValueError if it is damaged."""
    values = tuple(row[name] for name in _FIELDS)
    key = unpacked(row["key"])
    if checksum(key, *values, row["logprobs"]) != row["checksum"]:
        raise ValueError(f"completion {row['id']} does not fit its checksum")
    logprobs = tuple((text, value) for text, value in json.loads(row["logprobs"] or "[]"))
    return Completion(**dict(zip(_FIELDS, values, strict=True)), logprobs=logprobs)


def unpacked(key: bytes | str) -> str:
    """Undo `packed`."""
    return key.hex() if isinstance(key, bytes) else key


def compact(value: object) -> str:
    """Write a value as JSON without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def now() -> str:
    """Return the current time: UTC in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
