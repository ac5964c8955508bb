"""Reading numbered rows by an SQL query from an SQLite file. The query is the user's, and can only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from optimizer.database.opening import brief, look
from optimizer.database.sqlite_files import page_size
from optimizer.database.trial_facts import READING, STEPS
from optimizer.errors import DataError
from optimizer.rows.objects import Numbered

SUFFIXES = (".db", ".sqlite", ".sqlite3")
SHOWN_TABLES = 12


def query_names(path: Path, query: str) -> Sequence[str]:
    """Return the names of a query's columns.

    Raises
    ------
    DataError
        If the file is not an SQLite file, or if the query fails or does more than read.
    """
    with closing(_open(path, query)) as cursor:
        return [column[0] for column in cursor.description]


def query_rows(path: Path, query: str) -> Generator[Numbered, None, None]:
    """Yield the rows of a query, in its order."""
    with closing(_open(path, query)) as cursor:
        names = [column[0] for column in cursor.description]
        try:
            for number, row in enumerate(cursor, start=1):
                yield number, dict(zip(names, row, strict=True))
        except (sqlite3.Error, UnicodeError) as error:
            raise DataError(_refusal(path, query, error)) from None


def lacking(path: Path) -> str:
    """Return the error that a database needs a query, with the names of its tables."""
    _check(path)
    with closing(_look(path)) as conn:
        try:
            sql = (
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY 1"
            )
            names = [str(row[0]) for row in conn.execute(sql)]
        except sqlite3.Error as error:
            return f"{path}: cannot be read ({brief(error)}). Restore a copy, or name another file."
    tables = (", ".join(names[:SHOWN_TABLES]) or "(none)") + (", …" if len(names) > SHOWN_TABLES else "")
    return (
        f'{path}: is a database, and a query must say which rows are meant. Write query = "SELECT …" into [data], or '
        f"give --query to init; for predict, save the rows as CSV. Its tables: {tables}."
    )


class _Cursor(sqlite3.Cursor):
    """A cursor that closes its connection, too."""

    def close(self) -> None:
        super().close()
        self.connection.close()


def _open(path: Path, query: str) -> sqlite3.Cursor:
    _check(path)
    conn = _look(path)
    conn.row_factory = None
    conn.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)
    conn.set_progress_handler(lambda: 0, STEPS)
    try:
        cursor = conn.cursor(_Cursor).execute(query)
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError) as error:
        conn.close()
        raise DataError(_refusal(path, query, error)) from None
    if cursor.description is None:
        cursor.close()
        raise DataError(f"{path}: query {query!r} asks for nothing. Write SELECT with an input and a target column.")
    return cursor


def _look(path: Path) -> sqlite3.Connection:
    try:
        return look(path)
    except sqlite3.Error as error:
        raise DataError(f"{path}: cannot be opened ({brief(error)}). Check its permissions.") from None


def _check(path: Path) -> None:
    if not page_size(path):
        raise DataError(f"{path}: is not an SQLite file; a query asks one. Leave query out, or name another file.")


def _refusal(path: Path, query: str, error: Exception) -> str:
    said = "it may read and nothing else" if "not authorized" in str(error) else brief(error)
    return f"{path}: query {query!r}: {said}. Allowed is one SELECT on the tables and columns of this file."
