"""The rows of a task from a query of a database, which can only read."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.embedded import EmbeddedModel
from optimizer.errors import DataError
from optimizer.preparing import prepare
from optimizer.rows.tables import read_table
from optimizer.task import load_task
from tests.conftest import Command
from tests.small_task import write_task

QUERY = "SELECT id, channel, label, text FROM tickets ORDER BY rowid"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database with the rows of the small task in a table, and another table."""
    write_task(tmp_path)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(f"CREATE TABLE tickets ({', '.join(header)})")
        conn.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?)", rows)
        conn.execute("CREATE TABLE odd (n, x, missing, raw)")
        conn.execute("INSERT INTO odd VALUES (7, 0.5, NULL, ?)", ["grün".encode()])
    return path


def test_a_query_makes_the_same_run_as_a_file(shop: Path) -> None:
    """The rows are the same, and so are splits and digests."""
    task = shop.parent / "task.toml"
    from_file = prepare(task)
    task.write_text(task.read_text().replace('file = "rows.csv"', f'file = "shop.db"\nquery = "{QUERY}"'))

    asked = prepare(task)

    assert from_file.data_digest == asked.data_digest
    assert load_task(task).data.query == QUERY
    assert asked.config(EmbeddedModel()) == prepare(load_task(task)).config(EmbeddedModel())


def test_values_are_texts(shop: Path) -> None:
    """Numbers, nothing and bytes become what a file would hold, under the names of the query."""
    table = read_table(shop, query="SELECT n AS number, x, missing, raw FROM odd")

    assert table.rows == ({"number": "7", "x": "0.5", "missing": "", "raw": "grün"},)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT text FROM ticket", "no such table: ticket"),
        ("DELETE FROM tickets", "it may read and nothing else"),
        ("ATTACH 'other.db' AS x", "it may read and nothing else"),
        ("PRAGMA journal_mode = DELETE", "it may read and nothing else"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT text, text FROM tickets", "column 'text' stands twice"),
        ("SELECT text FROM tickets WHERE 0", "has column names but no rows"),
        ("-- nothing", "asks for nothing"),
        ("SELECT abs(-9223372036854775808) AS x", "integer overflow"),
        ("", r"a query must say which rows are meant.*\[data\].*Its tables: odd, tickets"),
    ],
)
def test_a_query_that_cannot_be_used_is_one_clear_error(shop: Path, query: str, said: str) -> None:
    """The file is as it was, and nothing stands beside it."""
    before, there = shop.read_bytes(), sorted(shop.parent.iterdir())

    with pytest.raises(DataError, match=said):
        read_table(shop, query=query)

    assert before == shop.read_bytes()
    assert there == sorted(shop.parent.iterdir())


def test_only_a_database_can_be_asked(shop: Path) -> None:
    """A query with another file is refused, whatever it is called."""
    with pytest.raises(DataError, match="is not an SQLite file"):
        read_table(shop.parent / "rows.csv", query=QUERY)
    (shop.parent / "no.db").write_text("no")
    with pytest.raises(DataError, match="is not an SQLite file"):
        read_table(shop.parent / "no.db")


def test_init_takes_a_query(shop: Path, command: Command) -> None:
    """The task file that it writes names the query, and leads to the rows."""
    done = command("init", str(shop), "--query", QUERY, "-o", "asked.toml")

    assert "classification of text -> label" in done.output
    assert len(prepare(Path("asked.toml")).data.train) == 100
