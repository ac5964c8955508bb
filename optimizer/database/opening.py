"""Opens a results.db: checks whose file it is and that its schema is known, upgrades it, and sets its locking.

A file that is not ours, newer than this program or damaged is refused and left as it is; a file with an older schema is
copied before it is changed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import warnings
import zlib
from contextlib import suppress
from importlib import resources
from pathlib import Path
from textwrap import shorten

from optimizer.database.owner import alive, me
from optimizer.database.sqlite_files import page_size
from optimizer.errors import StoreError, Upgraded

APPLICATION_ID = 1885892212  # "phnt": tells our file from any other SQLite file
FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # SQLite's errors on a full disk
BUSY_SECONDS = 30  # other processes may hold the file for a bulk insert
CHECKING = threading.Lock()  # held until a file is made and closed, before a thread locks it: see sqlite_files


def connect(path: Path, *, create: bool, paid: bool) -> sqlite3.Connection:
    """Open a results.db: with `create` for writing, and made if it is missing; otherwise for reading.

    Parameters
    ----------
    path
        The file; a new one is readable by its owner only.
    create
        Whether to open it for writing; otherwise a missing file is an error.
    paid
        Whether completions cost money: then each is on disk before it is used, also after a power cut.

    Raises
    ------
    StoreError
        If the file is missing, is not ours, is newer than this program, is damaged or cannot be opened.
    """
    with CHECKING:
        _check(path, create=create)
    try:
        conn = sqlite3.connect(path.absolute(), timeout=BUSY_SECONDS) if create else _reader(path)
        conn.row_factory = sqlite3.Row
        conn.execute("PRAGMA trusted_schema = OFF")  # a stranger's views and triggers call only what is harmless
        conn.create_function("packed", 1, packed, deterministic=True)
        conn.create_function("checksum", -1, checksum, deterministic=True)
        try:
            _adopt(conn, path)
            if create:
                _use_wal(conn)
                conn.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
        except BaseException:
            conn.close()
            raise
    except (sqlite3.Error, UnicodeError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in FULL:
            raise unwritable(path, error) from None
        raise StoreError(
            f"{path}: cannot be used as results database ({brief(error)}). Check that the folder is writable and the "
            f"disk not full. If the file is damaged, restore a copy, save what is left (sqlite3 {path} .recover), or "
            "name another file with --db (db=)."
        ) from None
    return conn


def unwritable(path: str | Path, error: Exception) -> StoreError:
    """Return the error that nothing more can be written, with what to do."""
    return StoreError(
        f"{path}: cannot be written ({brief(error)}). What was written is safe. Free the disk, or wait for the program "
        "that holds the file; then give the same command again: it resumes. If the file is damaged, restore a copy, or "
        "name another with --db (db=)."
    )


def look(path: Path) -> sqlite3.Connection:
    """Open a file, which `connect` has found to be ours and up to date, for reading only."""
    writable = os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
    how = "mode=ro" if writable else "immutable=1"  # see _reader
    conn = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA trusted_schema = OFF")
    conn.execute("PRAGMA query_only = ON")
    return conn


def examine(path: Path) -> list[tuple[int, str]]:
    """Check that a results.db is intact and can be written, and return the (run, owner) of runs under way.

    Raises
    ------
    StoreError
        If it is not, or cannot; and as `connect` does.
    """
    conn = connect(path, create=True, paid=False)
    try:
        found = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(
                f"{path}: damaged ({found}). Take a copy of it, and go on from a backup or another --db (db=)."
            )
        conn.execute("PRAGMA busy_timeout = 1000")
        conn.execute("BEGIN IMMEDIATE")
        conn.rollback()
        return [tuple(row) for row in conn.execute("SELECT id, owner FROM runs WHERE status = 'running'")]
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: cannot be written or read ({error}). Wait for the program that holds it, or name another file "
            "with --db (db=)."
        ) from None
    finally:
        conn.close()


def brief(error: Exception) -> str:
    """Shorten a message of SQLite or a parser to one line: it may quote a whole table."""
    return shorten(str(error), 120, placeholder=" …") or type(error).__name__


def packed(key: str) -> bytes | str:
    """Convert a digest of 32 hexadecimal digits to bytes; anything else stays as it is."""
    try:
        return bytes.fromhex(key) if len(key) == 32 else key
    except ValueError:
        return key


def checksum(*values: object) -> int:
    """Return the CRC-32 of texts, numbers and None, the same in every release of Python."""
    return zlib.crc32(ascii(values).encode())


def _reader(path: Path) -> sqlite3.Connection:
    """Open a file for reading, as immutable if the folder is not writable and SQLite cannot place a lock there."""
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return sqlite3.connect(path.absolute(), timeout=BUSY_SECONDS)  # "file:…" would be read as an address
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)


def _adopt(conn: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, or refuse the file."""
    # Count tables first: a process that is creating the file sets the application id together with its tables.
    tables = conn.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    owner = _pragma(conn, "application_id")
    version = _pragma(conn, "user_version")
    if owner != APPLICATION_ID and (tables or owner):
        raise StoreError(
            f"{path}: an SQLite file of another program; it was left as it is. Name another file with --db (db=)."
        )
    migrations = sorted(
        (item for item in resources.files("optimizer").joinpath("migrations").iterdir() if item.name[0].isdigit()),
        key=lambda item: item.name,
    )
    if version > len(migrations):
        raise StoreError(
            f"{path}: written by a newer phrasetune (schema {version}; this one knows {len(migrations)}). "
            "Upgrade phrasetune, or name another file with --db (db=)."
        )
    backup = _back_up(conn, path, version) if 0 < version < len(migrations) else None
    for number, migration in enumerate(migrations[version:], start=version + 1):
        try:
            conn.executescript(migration.read_text(encoding="utf-8"))
        except sqlite3.OperationalError:
            conn.rollback()
            if _pragma(conn, "user_version") < number:  # else another process was quicker
                raise
    if backup:
        with suppress(sqlite3.OperationalError):  # others may be reading; then the file stays as large as it was
            conn.execute("VACUUM")
        said = f"{path}: written by an older phrasetune and brought up to date; as it was, it stands in {backup}"
        warnings.warn(said, Upgraded, stacklevel=2)


def _back_up(conn: sqlite3.Connection, path: Path, version: int) -> Path | None:
    """Copy a file that holds runs, beside itself, before its schema is changed; never overwrite another file."""
    # No rows if the version has changed: another process is creating the file, and has applied migrations.
    sql = "SELECT id, status, owner FROM runs, pragma_user_version WHERE user_version = ?"
    runs = conn.execute(sql, [version]).fetchall()
    if not runs:
        return None
    for run, status, owner in runs:
        if status == "running" and owner != me() and alive(owner):
            raise StoreError(
                f"{path}: an older phrasetune is at work on it (run {run}). Wait for it, stop it, or name another file."
            )
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise StoreError(
            f"{path}: written by an older phrasetune (schema {version}), and cannot be brought up to date where it "
            "stands. Copy it to a folder that you can write to, and name it with --db (db=)."
        )
    copies = (path.with_name(f"{path.name}.schema{version}{n}.bak") for n in ("", *(f"-{i}" for i in range(2, 100))))
    backup = next(copy for copy in copies if not copy.exists())
    file = os.open(backup, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        conn.execute("VACUUM INTO ?", [str(backup)])
        os.fsync(file)
    except BaseException:
        backup.unlink()
        raise
    finally:
        os.close(file)
    return backup


def _use_wal(conn: sqlite3.Connection) -> None:
    """Let others read while one writes. SQLite does not wait for another writer here, so we do."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            conn.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _pragma(conn: sqlite3.Connection, name: str) -> int:
    return int(conn.execute(f"PRAGMA {name}").fetchone()[0])


def _check(path: Path, *, create: bool) -> None:
    """Refuse a file that is not SQLite before anything opens it, so that it stays untouched."""
    try:
        if path.is_file():
            size, page = path.stat().st_size, page_size(path)
            if size and not page:
                raise StoreError(
                    f"{path}: not an SQLite file; it was left as it is. Name another file with --db (db=)."
                )
            if _cut_off(path, size, page):
                raise StoreError(
                    f"{path}: cut off in the middle; it was left as it is. Restore a copy, or name another file with "
                    "--db (db=)."
                )
            if create or size:
                return
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: not a file. Name a file with --db (db=).")
        if not create:
            raise StoreError(
                f"{path}: no results here. Run `phrasetune tune TASK` first, or name the file with --db (db=)."
            )
        with suppress(FileExistsError):  # another process was quicker
            os.close(os.open(path.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened ({error.strerror}). Name another file with --db (db=).") from None


def _cut_off(path: Path, size: int, page: int) -> bool:
    """Whether a file lacks a part that SQLite would take for zeros, or looks new although it is not."""
    log = path.with_name(f"{path.name}-wal")
    logged = log.exists() and log.stat().st_size > 0
    if not size or logged:  # on a full disk, a page may be cut off while it is copied from the log, which still has it
        return not size and logged
    return size % page > 0
