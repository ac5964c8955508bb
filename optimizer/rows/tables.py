"""Reading files as a Table: CSV, TSV, JSON lines, JSON, Parquet and SQLite, each value as text, each row with its line.

Knows which module reads which format, but nothing of tasks: not which column is an input or the target, or what a split
is. A file either loads as it was meant, or is refused with the place of the fault; nothing is repaired silently. Files
are read row by row, and rows that are not kept are dropped at once.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from optimizer.errors import DataError, one_of
from optimizer.rows.cells import MOST_COLUMNS, as_text, check_names, kind
from optimizer.rows.delimited import Record, csv_records, tsv_records
from optimizer.rows.objects import Numbered, json_lines, json_list, parquet_names, parquet_rows
from optimizer.rows.querying import SUFFIXES, lacking, query_names, query_rows
from optimizer.rows.sampling import Draw, Sample

PLACES = 3  # most rows with the same fault whose lines an error lists


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    Parameters
    ----------
    path
        Where they came from, for errors.
    columns
        Their names, in the file's order; none is empty, and all are different.
    rows
        For each row, a mapping from every column to its text, "" if it is missing. JSON numbers keep their digits as
        written, booleans are "true" and "false", nested values are compact JSON with sorted keys.
    lines
        `lines[i]` is the line on which row i begins; for .json and .parquet, its record number, counted from 1.
    numbers
        `numbers[i]` is the number of row i among all rows of the file, from 1; empty if no rows were left out.
    note
        A note on the rows that were left out; empty if none were.
    """

    path: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    lines: tuple[int, ...]
    numbers: tuple[int, ...] = ()
    note: str = ""

    def number(self, row: int) -> int:
        """Return the number, from 1, in the file of row `row` (counted from 0)."""
        return self.numbers[row] if self.numbers else row + 1

    def place(self, row: int) -> str:
        """Return the place of row `row` (counted from 0) in the file, as errors begin."""
        return _where(self.path, self.lines[row])

    def check_column(self, name: str, role: str) -> None:
        """Raise DataError unless the column exists; `role` says what it is for."""
        if name not in self.columns:
            raise DataError(f"{self.path}: {one_of(f'{role} column', name, list(self.columns))}")

    def without(self, rows: Collection[int], note: str) -> Table:
        """Return the table without some rows, with `note` about them; the others keep their numbers."""
        kept = [row for row in range(len(self.rows)) if row not in rows]
        return replace(
            self,
            rows=tuple(self.rows[row] for row in kept),
            lines=tuple(self.lines[row] for row in kept),
            numbers=tuple(self.number(row) for row in kept),
            note=" ".join(filter(None, (self.note, note))),
        )

    def with_column(self, name: str, cells: Sequence[str]) -> Table:
        """The table with one more column at its end, called `name_2` or so where a column has that name."""
        others = (f"{name}_{n}" for n in range(2, len(self.columns) + 3))
        free = next(name for name in (name, *others) if name not in self.columns)
        rows = tuple({**row, free: cell} for row, cell in zip(self.rows, cells, strict=True))
        return replace(self, columns=(*self.columns, free), rows=rows)

    def refuse(self, rows: Sequence[int], what: str, fix: str) -> None:
        """Raise DataError about these rows, if there are any, with their number and the first of their lines."""
        if rows:
            places = ", ".join(str(self.lines[row]) for row in rows[:PLACES])
            cut = ", …" if len(rows) > PLACES else ""
            more = f" (so in {len(rows)} rows: {places}{cut})" if len(rows) > 1 else ""
            raise DataError(f"{self.place(rows[0])}: {what}{more}. {fix}")


def read_table(path: Path, draw: Draw | None = None, query: str = "") -> Table:
    """Read a file by its suffix (.csv .tsv .jsonl .ndjson .json .parquet), or an SQLite file by a query.

    Parameters
    ----------
    path
        A regular file with at least one row. Text is UTF-8 with or without a byte-order mark, or UTF-16/32 with one.
    draw
        Which rows to keep; all by default. Every row of the file is read and checked, kept or not.
    query
        The SQL query for an SQLite file; empty for other files.

    Raises
    ------
    DataError
        If the file cannot be read completely and as it was meant: it is missing, of another type, in another encoding,
        malformed, without rows, or its rows differ in their number of fields. The message names the line.
    """
    suffix = path.suffix.lower()
    check_file(path)
    if not query and suffix not in FORMATS:
        fix = "Save the data as one of these."
        raise DataError(
            lacking(path)
            if suffix in SUFFIXES
            else f"{path}: {one_of('file type', path.suffix, [*FORMATS, *SUFFIXES], fix)}"
        )
    draw = draw or Draw()
    try:
        if not query and suffix in _RECORDS:
            with closing(_RECORDS[suffix](path)) as records:
                table = _from_records(str(path), records, draw)
        else:
            names = query_names(path, query) if query else parquet_names(path) if suffix == ".parquet" else ()
            with closing(query_rows(path, query) if query else _OBJECTS[suffix](path)) as objects:
                table = _from_objects(str(path), objects, names, draw)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
    if not table.rows:
        raise DataError(f"{path}: has column names but no rows. Add one row per example.")
    return table


def drawn(table: Table, draw: Draw) -> Table:
    """Return a table with the rows that a draw keeps."""
    return _from_objects(table.path, zip(table.lines, table.rows, strict=True), table.columns, draw)


def table_from(path: str, objects: Iterable[tuple[int, object]], columns: Sequence[str] | None = None) -> Table:
    """Make a table of numbered mappings with JSON-like values, as from a file or a data frame.

    Parameters
    ----------
    path
        A file's path, or a name for the data in errors.
    objects
        Pairs of a line or record number and a mapping; keys missing from a mapping are read as "".
    columns
        The column names, if known; by default all keys, in the order in which they first occur.

    Raises
    ------
    DataError
        If an object is not a mapping, a name is empty, or a text cannot be written as UTF-8.
    """
    return _from_objects(path, objects, columns or (), Draw())


def _from_objects(path: str, objects: Iterable[tuple[int, object]], columns: Sequence[str], draw: Draw) -> Table:
    check_names(path, columns, some=False)
    names: dict[str, None] = dict.fromkeys(columns)
    sample = Sample(draw)
    for number, value in objects:
        where = _where(path, number)
        if not isinstance(value, Mapping):
            raise DataError(
                f'{where}: holds {kind(value)}, not an object. Write each row as {{"column": "text", ...}}.'
            )
        texts = {str(key): as_text(where, str(key), item) for key, item in value.items()}
        names.update(dict.fromkeys(texts))
        if len(names) > MOST_COLUMNS:
            break  # refused below
        sample.offer(number, texts)
    check_names(path, list(names))
    return _table(path, tuple(names), sample, draw)


def _from_records(path: str, records: Iterator[Record], draw: Draw) -> Table:
    _, header = next(records, (0, []))
    names = [name.strip() for name in header]
    check_names(path, names)
    sample = Sample(draw)
    for line, fields in records:
        if len(fields) != len(names):
            raise DataError(
                f"{path}:{line}: number of fields is {len(fields)}, but {len(names)} in the header. "
                "Quote a field that holds the delimiter or a line break, or complete the row."
            )
        sample.offer(line, dict(zip(names, fields, strict=True)))
    return _table(path, tuple(names), sample, draw)


def _table(path: str, names: tuple[str, ...], sample: Sample, draw: Draw) -> Table:
    kept = sample.rows()
    rows = tuple(row if tuple(row) == names else {name: row.get(name, "") for name in names} for _, _, row in kept)
    lines = tuple(line for _, line, _ in kept)
    if len(kept) == sample.total:
        return Table(path, names, rows, lines)
    how = f"drawn with seed {draw.seed}"
    how += f", as many of each value of {draw.split!r}" if draw.split in names else ""
    how += f", the rare values of {draw.label!r} kept" if draw.label in names else ""
    note = f"{Path(path).name} has {sample.total:,} rows; {len(kept):,} of them, {how}, are used ([data] max_rows)."
    return Table(path, names, rows, lines, tuple(number for number, _, _ in kept), note)


def _where(path: str, number: int) -> str:
    """Return the place of a row: its line in files that are read by line, else its record number."""
    by_line = path.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson"))
    return f"{path}:{number}" if by_line else f"{path}, record {number}"


def check_file(path: Path) -> None:
    """Raise DataError unless the path is a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        siblings: list[str] = []
        with suppress(OSError):  # the hint is not worth a second error
            siblings = [sibling.name for sibling in path.parent.iterdir()]
        close = get_close_matches(path.name, siblings, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " Check the name and the folder."
        raise DataError(f"{path}: no such file.{hint}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be opened ({error}). Give the path of a data file.") from error
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise DataError(f"{path}: is {what}. Give the path of one file ({', '.join(FORMATS)}).")


# Which function reads which format. Records have the column names in the first of them, objects in each.
_RECORDS: dict[str, Callable[[Path], Generator[Record, None, None]]] = {".csv": csv_records, ".tsv": tsv_records}
_OBJECTS: dict[str, Callable[[Path], Generator[Numbered, None, None]]] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_list,
    ".parquet": parquet_rows,
}
FORMATS = (*_RECORDS, *_OBJECTS)
