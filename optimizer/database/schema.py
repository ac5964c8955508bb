"""The schema of a results.db as a Markdown page: its tables and views, and the migrations' comments on each column.

Read from an empty file to which all migrations were applied, so it cannot be out of date.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from optimizer.reports.grids import Grid
from optimizer.reports.markdown import table
from optimizer.store import Store

HEAD = """# results.db

One SQLite file. Scores lie in [0, 1], costs are US dollars, durations are seconds, times are UTC in ISO 8601. Columns
that are said to be JSON hold texts that SQLite's JSON functions read. Views answer what people ask, and show keys,
models and answers as texts where the tables hold numbers. Optuna's own tables (`studies`, `trials`, …) stand in the
same file."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or a view; `key` is part of the primary key, `about` is empty if the name says it all."""

    name: str
    type: str
    key: bool
    nullable: bool
    references: str
    about: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view, and what it is; for a view, what it answers."""

    name: str
    view: bool
    about: str
    columns: tuple[Column, ...]


def relations() -> list[Relation]:
    """List the tables and views of an up-to-date results.db, tables first, in the order of their creation."""
    about = _comments()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "results.db", create=True) as store:
        sql = "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type, rowid"
        found = store.rows(sql)
        return [
            Relation(name, kind == "view", about.get((name, ""), ""), tuple(_columns(store, name, about)))
            for name, kind in found
        ]


def markdown() -> str:
    """Write the schema as a page."""
    parts = [HEAD]
    every = relations()
    for title, view in (("Views", True), ("Tables", False)):
        parts.append(f"## {title}")
        for relation in every:
            if relation.view == view:
                about = relation.about[:1].upper() + relation.about[1:]
                parts += [
                    f"### {relation.name}",
                    about,
                    _names(relation) if view else "\n".join(table(_grid(relation))),
                ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _names(relation: Relation) -> str:
    return "Columns: " + ", ".join(f"`{column.name}`" for column in relation.columns)


def _grid(relation: Relation) -> Grid:
    rows = tuple(
        (
            column.name,
            column.type.lower() or "any",
            ", ".join(filter(None, ["key" if column.key else "", "may be NULL" if column.nullable else ""])),
            "; ".join(filter(None, [column.about, column.references and f"refers to {column.references}"])),
        )
        for column in relation.columns
    )
    return Grid(relation.name, ("column", "type", "", "what it is"), rows)


def _columns(store: Store, relation: str, about: dict[tuple[str, str], str]) -> Iterator[Column]:
    keys = store.rows('SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', relation)
    refers = {row["from"]: f"{row['table']}.{row['to']}" for row in keys}
    for row in store.rows('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', relation):
        key = row["pk"] > 0
        said = about.get((relation, row["name"]), "")
        yield Column(row["name"], row["type"], key, not (row["notnull"] or key), refers.get(row["name"], ""), said)


_TABLE = re.compile(r"CREATE TABLE (\w+) \(\s*(?:-- (.*))?$")
_VIEW = re.compile(r"CREATE VIEW (\w+) AS\s*(?:-- (.*))?$")
_LATE = re.compile(r"-- TABLE (\w+): (.*)$")  # for a table whose own migration has no comment
_COLUMN = re.compile(r'  "?([a-z]\w*)"? .*?(?:-- (.*))?$')
_ADDED = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+) [^;]*;\s*(?:-- (.*))?$")


def _comments() -> dict[tuple[str, str], str]:
    """Read the migrations' comments: (table or view, column) -> comment; the column is empty for the table itself."""
    about: dict[tuple[str, str], str] = {}
    folder = resources.files("optimizer").joinpath("migrations")
    for file in sorted((item for item in folder.iterdir() if item.name[0].isdigit()), key=lambda item: item.name):
        inside, above = "", ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if made := _TABLE.match(line) or _VIEW.match(line):
                inside = made[1] if made.re is _TABLE else ""
                about = {key: said for key, said in about.items() if key[0] != made[1]}  # drop an earlier one's
                about[made[1], ""] = made[2] or ""
            elif late := _LATE.match(line):
                about[late[1], ""] = late[2]
            elif added := _ADDED.match(line):
                about[added[1], added[2]] = added[3] or above.rstrip(".")
                continue  # a comment above several columns is for all of them
            elif line.startswith(")"):
                inside = ""
            elif inside and (column := _COLUMN.match(line)):
                about[inside, column[1]] = column[2] or ""
            above = f"{above} {line[3:]}".strip() if line.startswith("-- ") else ""
    return about
