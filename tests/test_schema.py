"""The page of the schema: every table, view and column, with what the migrations say."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from optimizer.database.schema import markdown, relations
from optimizer.store import Store
from tests.conftest import Command


def test_every_relation_and_column_stands_in_it(tmp_path: Path) -> None:
    """As SQLite itself lists them in a new file."""
    Store(tmp_path / "r.db", create=True).close()
    with sqlite3.connect(tmp_path / "r.db") as conn:
        names = {n for (n,) in conn.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
        columns = {name: [row[1] for row in conn.execute(f'PRAGMA table_info("{name}")')] for name in names}
    conn.close()

    assert columns == {relation.name: [column.name for column in relation.columns] for relation in relations()}
    assert names == set(re.findall(r"^### (\w+)$", markdown(), re.MULTILINE))


def test_every_relation_says_what_it_is() -> None:
    """Tables and views alike; a table that was made anew says what its last making says."""
    about = {relation.name: relation.about for relation in relations()}

    assert [name for name, said in about.items() if not said] == []
    assert about["baselines"] == "the trained rivals of a run; the best on dev goes into the verdict"
    assert about["history"].startswith("what is known of each trial?")


def test_a_column_says_what_the_migration_says_of_it() -> None:
    """Beside its first making, where it was added, or above a few that were added together."""
    found = {(r.name, c.name): c for r in relations() for c in r.columns}

    assert found["runs", "winner"].about == "prompt_trials.number"
    assert found["runs", "worked"].about.startswith("seconds, of all processes")
    assert found["prompt_trials", "calls"].about.startswith("What the answers of a trial took")
    assert found["contenders", "checksum"].about.startswith("CRC-32 of example, kind")
    assert (found["completions", "origin"].references, found["completions", "id"].key) == ("origins.id", True)
    assert [found["runs", name].nullable for name in ("name", "cost")] == [False, True]
    assert found["group_scores", "column"].about == "one of the slices"


def test_the_command_prints_the_page(tmp_path: Path, command: Command) -> None:
    """With no file at hand; none is made."""
    assert command("schema").stdout == markdown()
    assert list(tmp_path.iterdir()) == []
