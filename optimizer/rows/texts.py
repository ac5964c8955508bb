"""Bytes of a file -> its text, a line at a time: encodings, and the places of what is no text.

Knows no format. Never holds more than a line, but where a format asks for the whole.
"""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from optimizer.database.sqlite_files import page_size
from optimizer.errors import DataError
from optimizer.rows.cells import LONGEST

# Bytes looked at together while a bad one is searched.
CHUNK = 1 << 20

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# How files begin that are often called .csv and hold no text.
_STRANGERS = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it: gunzip."),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "Unpack it, or save the sheet as CSV."),
    (b"BZh", "a bzip2 archive", "Unpack it: bunzip2."),
    (b"\xfd7zXZ\x00", "an xz archive", "Unpack it: unxz."),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it: unzstd."),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "Save the sheet as CSV."),
    (b"PAR1", "a Parquet file", "Call it .parquet."),
)


def lines(path: Path) -> Generator[str, None, None]:
    r"""Yield the lines of a text file with their ends, which are \r\n, \n or \r.

    Raises
    ------
    DataError
        If the file is empty, or on the first byte that is no text, or on a line longer than any model reads.
    """
    _check_content(path)
    with _opened(path) as stream:
        for number, line in enumerate(iter(partial(stream.readline, LONGEST + 1), ""), start=1):
            if "\0" in line:
                raise DataError(_nul(path, number))
            if len(line) > LONGEST:
                raise DataError(
                    f"{path}:{number}: the line has more than {LONGEST:,} characters, which no model reads. "
                    "Break it, shorten its texts or remove it."
                )
            yield line


def whole(path: Path) -> str:
    """Return all text of a file; see `lines` for what is refused."""
    _check_content(path)
    with _opened(path) as stream:
        text = stream.read()
    if "\0" in text:
        raise DataError(_nul(path, text.count("\n", 0, text.index("\0")) + 1))
    return text


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as file:
        start = file.read(4)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
    try:
        with path.open(encoding=encoding, newline="") as stream:
            yield stream
    except UnicodeError as error:  # of UTF-16 not always a UnicodeDecodeError
        raise DataError(_wrong_encoding(path, encoding)) from error


def _check_content(path: Path) -> None:
    if page_size(path):
        raise DataError(f"{path}: is an SQLite database, whatever its name; allowed is text. Export the table as CSV.")
    with path.open("rb") as file:
        start = file.read(16)
    for mark, what, fix in _STRANGERS:
        if start.startswith(mark):
            raise DataError(f"{path}: is {what}, whatever its name; allowed is text. {fix}")
    with _opened(path) as stream:
        if not any(chunk.strip() for chunk in iter(partial(stream.read, CHUNK), "")):
            raise DataError(f"{path}: is empty. Write column names and one row per example.")


def _nul(path: Path, line: int) -> str:
    return (
        f"{path}:{line}: holds a NUL byte; data files are UTF-8 text. If it is UTF-16 without a mark, convert "
        f"it: iconv -f utf-16le -t utf-8 {shlex.quote(str(path))}"
    )


def _wrong_encoding(path: Path, encoding: str) -> str:
    """Say where the first byte stands that cannot be decoded; the file is read again up to there."""
    decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
    offset, line, line_start = 0, 1, 0  # all of the chunk that is looked at
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # A character may have begun in the chunk before: `object` begins with what was left of that.
                bad = offset + len(chunk) - len(error.object) + error.start
                byte = error.object[error.start]
                break
            except UnicodeError:
                bad, byte = offset, 0
                break
            if not chunk:  # the file was mended meanwhile
                return f"{path}: changed while it was read. Start again."
            line += chunk.count(b"\n")
            line_start = offset + chunk.rfind(b"\n") + 1 if b"\n" in chunk else line_start
            offset += len(chunk)
    if encoding != "utf-8-sig":
        return f"{path}: is marked as {encoding.upper()} but byte {bad} breaks it. Save it again as UTF-8."
    before = chunk[: max(0, bad - offset)]
    line += before.count(b"\n")
    line_start = offset + before.rfind(b"\n") + 1 if b"\n" in before else line_start
    return (
        f"{path}:{line}: byte 0x{byte:02X} (number {bad - line_start + 1} of the line) is not UTF-8; allowed is UTF-8, "
        f"or UTF-16 with a mark. If it is of Windows or Latin-1: iconv -f cp1252 -t utf-8 {shlex.quote(str(path))}"
    )
