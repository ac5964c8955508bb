"""Reading the text of a file line by line: encodings, and the place of bytes that are not text.

Knows no format. Holds only one line in memory, unless a format needs the whole text.
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

# Bytes read at a time while searching for a bad one.
CHUNK = 1 << 20

# Byte-order marks; UTF-32 first, because its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# First bytes of binary files that are often called .csv.
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
    r"""Yield the lines of a text file with their line ends (\r\n, \n or \r).

    Raises
    ------
    DataError
        If the file is empty or not text, at the first byte that is not text, or at a line longer than any model reads.
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
    """Return the whole text of a file; errors as in `lines`."""
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
    except UnicodeError as error:  # for UTF-16, it is not always a UnicodeDecodeError
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
    """Return an error message with the place of the first byte that cannot be decoded, by reading the file again."""
    decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
    offset, line, line_start = 0, 1, 0  # of the present chunk
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # A character may have begun in the previous chunk; `object` then begins with the bytes left from it.
                bad = offset + len(chunk) - len(error.object) + error.start
                byte = error.object[error.start]
                break
            except UnicodeError:
                bad, byte = offset, 0
                break
            if not chunk:  # the file was corrected in the meantime
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
