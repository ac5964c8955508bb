"""Tells whether a file is an SQLite database, without opening it as a plain file.

Closing a file releases all locks that the process holds on it (POSIX). A run in another thread would lose its locks on
results.db, and the next process that opens the file would take the run's log for a leftover and delete it
(sqlite.org/howtocorrupt.html, 2.2). SQLite's own connections know of each other, and keep them.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

MARK = b"SQLite format 3\0"  # how such a file begins
USUAL = 4096  # bytes of a page


def page_size(path: Path) -> int:
    """Read the page size in bytes from the header of a file, damaged or not; 0 if it is not an SQLite database.

    Raises
    ------
    OSError
        If the file is missing or may not be read.
    """
    if path.stat().st_size < len(MARK):
        return 0
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    try:  # immutable: takes no lock, and looks for no log
        conn = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.OperationalError:  # for example, a path that is too long for SQLite
        return USUAL if _marked(path) else 0
    with closing(conn):
        try:
            conn.execute("PRAGMA schema_version")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB and not _marked(path):
                return 0
        return int(conn.execute("PRAGMA page_size").fetchone()[0])


def _marked(path: Path) -> bool:
    """Whether a file begins as a database does; no run holds a lock on one that SQLite cannot read."""
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK
