"""What is known of each trial of a run, as in the view `history`; a condition in SQL may select among them.

The condition is the user's own, and may be anything: it runs on a connection that can only read.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from optimizer.database.opening import brief, look
from optimizer.errors import InputError, StoreError

READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
STEPS = 100_000  # of SQLite's virtual machine between two checks for Ctrl-C: some milliseconds


def facts(path: Path, run: int, where: str = "") -> list[dict[str, Any]]:
    """Read what is known of the trials of a run, in order: the columns of `history`, then each parameter.

    Parameters
    ----------
    path
        A results.db that is up to date.
    run
        Its number.
    where
        A condition in SQL on these columns, such as "score > 0.5 AND template = 'chat'"; all trials without one. A
        parameter with the name of a column of the view is in the column `params` only.

    Raises
    ------
    InputError
        If the condition is not valid, or would do more than read.
    StoreError
        If the file is damaged.
    """
    with closing(look(path)) as conn:
        columns = [row["name"] for row in conn.execute("SELECT name FROM pragma_table_info('history')")]
        sql = "SELECT DISTINCT key FROM prompt_trials, json_each(params) WHERE run = ? ORDER BY prompt_trials.rowid"
        named = dict.fromkeys(row["key"] for row in conn.execute(sql, [run]))
        params = [name for name in named if name.lower() not in columns]
        picked = "".join(f", (SELECT value FROM json_each(params) WHERE key = ?) AS {_quoted(name)}" for name in params)  # noqa: S608
        chosen = f"WHERE (\n{where}\n)" if where else ""  # on lines of its own: a comment in it ends there
        sql = f"SELECT * FROM (SELECT *{picked} FROM history WHERE run = ?) {chosen} ORDER BY trial"  # noqa: S608 - see READING
        conn.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)
        conn.set_progress_handler(lambda: 0, STEPS)
        try:
            return [dict(row) for row in conn.execute(sql, [*params, run])]
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            if not where:
                raise StoreError(
                    f"{path}: cannot be read ({brief(error)}). Restore a copy, or name another file."
                ) from None
            raise InputError(_refusal(where, error, [*columns, *params])) from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _refusal(where: str, error: Exception, columns: list[str]) -> str:
    """Say what is wrong with a condition."""
    from difflib import get_close_matches

    said = "it may read and nothing else" if "not authorized" in str(error) else brief(error)
    unknown = re.search(r"no such column: (\S+)", str(error))
    close = get_close_matches(unknown[1], columns, n=1) if unknown else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"condition {where!r}: {said}.{hint} Allowed is a condition in SQL on the columns {', '.join(columns)}, such "
        "as \"score > 0.5 AND template = 'chat'\"."
    )
