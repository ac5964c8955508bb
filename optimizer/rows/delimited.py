"""Reading CSV and TSV files as records of fields, the header first: delimiters and quotes.

Knows no columns; `tables` decides what to do with records of different lengths.
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from optimizer.errors import DataError
from optimizer.rows.cells import LONGEST
from optimizer.rows.texts import lines

# Rows read to choose a delimiter: enough to outvote a comma in a header, few enough to be fast.
SNIFFED_ROWS = 50

Record = tuple[int, list[str]]  # the line on which it begins, and its fields


def csv_records(path: Path) -> Generator[Record, None, None]:
    """Yield the records of a file with quoted fields and any of the usual delimiters, without blank lines."""
    yield from _quoted(path, _sniff(path))


def tsv_records(path: Path) -> Generator[Record, None, None]:
    """Yield the records of a tab-separated file, either quoted (as spreadsheets write it) or raw (as corpora are).

    Quotes are ordinary characters if all lines have the same number of fields without reading quotes, and reading
    quotes would fail or join lines. A quoted field with a line break would make the raw lines too short.
    """
    sizes: set[int] = set()
    n, quotes = 0, False
    for _, fields in _raw(path):
        sizes.add(len(fields))
        n += 1
        quotes = quotes or any('"' in field for field in fields)
    meant_raw = quotes and len(sizes) == 1 and _count_quoted(path) != n
    yield from _raw(path) if meant_raw else _quoted(path, "\t")


def _raw(path: Path) -> Generator[Record, None, None]:
    for number, line in enumerate(lines(path), start=1):
        if text := line.rstrip("\r\n"):
            yield number, text.split("\t")


def _count_quoted(path: Path) -> int:
    """Count the records when quotes are read as quotes; -1 if that fails."""
    with closing(_quoted(path, "\t")) as records:
        try:
            return sum(1 for _ in records)
        except DataError:
            return -1


def _sniff(path: Path) -> str:
    """Choose the delimiter: it splits the header, and most rows into as many fields as the header."""
    best, delimiter = (0, 1), ","
    for candidate in ",;\t|":
        with closing(_field_counts(path, candidate)) as found:
            counts = list(found)
        if counts and counts[0] > 1 and (counts.count(counts[0]), counts[0]) > best:
            best, delimiter = (counts.count(counts[0]), counts[0]), candidate
    return delimiter


def _field_counts(path: Path, delimiter: str) -> Generator[int, None, None]:
    with _wide_fields(), closing(lines(path)) as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield len(fields)
                if reader.line_num > SNIFFED_ROWS:
                    return
        except csv.Error:
            return


@contextmanager
def _wide_fields() -> Iterator[None]:
    """Raise the csv module's limit of 131,072 characters per field, which long documents exceed, to LONGEST."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _quoted(path: Path, delimiter: str) -> Generator[Record, None, None]:
    """Yield records whose fields may be quoted; strictly, because a stray quote would otherwise swallow rows."""
    line = 1
    with _wide_fields(), closing(lines(path)) as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: the row that begins here cannot be read ({error}). A field with a quote in it is "
                'written "like ""this""".'
            ) from error
