"""Reading JSON lines, JSON and Parquet files as numbered objects, one after the other.

Knows no table; how values become texts, and which values are refused, is decided elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from pathlib import Path

from optimizer.errors import DataError
from optimizer.rows.cells import DECODER, kind
from optimizer.rows.texts import lines, whole

# Most bytes of a .json file: its whole text is in memory, at up to four times its size. A list is decoded object by
# object; a single object is decoded as a whole, which takes ten times the memory of the text.
LARGEST_LIST, LARGEST_OBJECT = 200_000_000, 32_000_000
# Parquet rows in memory at a time: hardly slower than thousands, and rows may be long.
BATCH = 100

LIST = "Write a list of objects; one object a line belongs in a .jsonl file."
LINE = "Write one JSON object a line; a list belongs in a .json file."

Numbered = tuple[int, object]  # the number of a line or record, and its value

_SPACE = re.compile(r"[ \t\r\n]*")


def json_lines(path: Path) -> Generator[Numbered, None, None]:
    """Yield the values of a file with one JSON value per line, skipping blank lines."""
    for number, line in enumerate(lines(path), start=1):
        text = line.rstrip("\r\n")
        if text.strip(" \t"):
            yield number, _decode(path, text, number, LINE)


def json_list(path: Path) -> Generator[Numbered, None, None]:
    """Yield the values of a JSON list, or of the list under "data" in an object."""
    size = path.stat().st_size
    if size > LARGEST_LIST:
        raise DataError(_too_large(path, size, LARGEST_LIST))
    text = whole(path)
    start = _skip(text, 0)
    if text.startswith("[", start):
        yield from _elements(path, text, start + 1)
        return
    if size > LARGEST_OBJECT:
        raise DataError(_too_large(path, size, LARGEST_OBJECT))
    value = _decode(path, text, 0, LIST)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise DataError(f'{path}: holds {kind(value)}; allowed: [{{...}}, ...] or {{"data": [{{...}}, ...]}}. {LIST}')
    if not value["data"]:
        raise DataError(_empty_list(path))
    yield from enumerate(value["data"], start=1)


def _elements(path: Path, text: str, at: int) -> Generator[Numbered, None, None]:
    """Decode the elements of a list one by one, from the position after its opening bracket to the end of the text."""
    at, number = _skip(text, at), 0
    closed = text.startswith("]", at)
    if closed and _skip(text, at + 1) == len(text):
        raise DataError(_empty_list(path))
    while not closed:
        number += 1
        value, at = _decode_at(path, text, at)
        yield number, value
        at = _skip(text, at)
        closed = text.startswith("]", at)
        if not closed:
            if not text.startswith(",", at):
                raise DataError(_not_json(path, json.JSONDecodeError("Expecting ',' delimiter", text, at), 0, LIST))
            at = _skip(text, at + 1)
    end = _skip(text, at + 1)
    if end != len(text):
        raise DataError(_not_json(path, json.JSONDecodeError("Extra data", text, end), 0, LIST))


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _decode(path: Path, text: str, line: int, fix: str) -> object:
    """Decode one JSON text that begins on `line` of the file; 0 if it is the whole file."""
    value, end = _decode_at(path, text, _skip(text, 0), line, fix)
    end = _skip(text, end)
    if end != len(text):
        raise DataError(_not_json(path, json.JSONDecodeError("Extra data", text, end), line, fix))
    return value


def _decode_at(path: Path, text: str, at: int, line: int = 0, fix: str = LIST) -> tuple[object, int]:
    """Decode the JSON value that begins at a position of a text; return it and the position after it."""
    where = f"{path}{f':{line}' if line else ''}"
    try:
        value, end = DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise DataError(_not_json(path, error, line, fix)) from error
    except ValueError as error:
        raise DataError(f"{where}: {error}. {fix}") from error
    except RecursionError as error:
        raise DataError(f"{where}: JSON nested too deeply; a row is an object of texts. {fix}") from error
    return value, end


def _not_json(path: Path, error: json.JSONDecodeError, line: int, fix: str) -> str:
    return f"{path}:{line or error.lineno}: not JSON at column {error.colno} ({error.msg}). {fix}"


def _empty_list(path: Path) -> str:
    return f"{path}: holds an empty list. Add one object per example."


def _too_large(path: Path, size: int, most: int) -> str:
    return (
        f"{path}: has {size / 1e6:,.0f} MB; a .json file is read in whole, and allowed are {most / 1e6:,.0f} MB "
        f"({LARGEST_LIST / 1e6:,.0f} MB for a list). Save the rows as .jsonl, one object a line: it may have any size."
    )


def parquet_names(path: Path) -> Sequence[str]:
    """Read the names of a Parquet file's columns."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f'{path}: Parquet needs one more package: pip install "phrasetune[parquet]". Or save the data as .jsonl.'
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        raise DataError(_no_parquet(path, error)) from error


def parquet_rows(path: Path) -> Generator[Numbered, None, None]:
    """Yield the rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # read_table() would take a folder named a=b for a column; pre-buffering would hold a whole row group in memory.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=BATCH, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        raise DataError(_no_parquet(path, error)) from error


def _no_parquet(path: Path, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path}: is no readable Parquet file ({reason}). Write it again."
