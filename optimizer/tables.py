"""Files -> Table: CSV, TSV, JSON lines, JSON and Parquet, every value as text, every row with its line.

Knows file formats and nothing of tasks: not which column is asked, which is answered, or what a split is.
Whatever the bytes are, a file either loads as it was meant or is refused with its place; nothing is repaired
in silence.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from optimizer.cells import DECODER, as_text, check_names, kind
from optimizer.errors import DataError, one_of

# Rows looked at to choose a delimiter: enough to outvote a comma in a header, few enough to cost nothing.
SNIFFED_ROWS = 50
# The largest limit that fits a C long on every platform; the module's own 131,072 is less than a long document.
FIELD_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns.

    Parameters
    ----------
    path
        Where they came from, as errors name it.
    columns
        Names, in the file's order; none empty, none twice.
    rows
        One mapping a row from every column to its text, "" where it is missing. JSON numbers keep the digits
        that were written, booleans are "true" and "false", nested values are compact JSON with sorted keys.
    lines
        `lines[i]` is the line on which row i begins; for .json and .parquet its number, counted from 1.
    """

    path: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    lines: tuple[int, ...]

    def place(self, row: int) -> str:
        """Where row `row` (counted from 0) stands, as an error begins."""
        return _where(self.path, self.lines[row])

    def check_column(self, name: str, role: str) -> None:
        """Raise DataError unless the column exists; `role` says what it was wanted for."""
        if name not in self.columns:
            raise DataError(f"{self.path}: {one_of(f'{role} column', name, list(self.columns))}")

    def refuse(self, rows: Sequence[int], what: str, fix: str) -> None:
        """Raise DataError on the first of these rows, saying how many they are, if there are any."""
        if rows:
            more = f" (so in {len(rows)} rows)" if len(rows) > 1 else ""
            raise DataError(f"{self.place(rows[0])}: {what}{more}. {fix}")


def read_table(path: Path) -> Table:
    """Read a file by its suffix: .csv .tsv .jsonl .ndjson .json .parquet.

    Parameters
    ----------
    path
        A regular file with at least one row. Text is UTF-8 with or without a byte-order mark, or UTF-16/32 with one.

    Raises
    ------
    DataError
        For anything that cannot be read whole and as it was meant: missing, of another type, wrong encoding,
        ragged, malformed, without rows. The message names the line.
    """
    reader = _READERS.get(path.suffix.lower())
    _check_file(path)
    if reader is None:
        fix = "Save the data as one of these."
        raise DataError(f"{path}: {one_of('file type', path.suffix, list(_READERS), fix)}")
    try:
        table = reader(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error
    if not table.rows:
        raise DataError(f"{path}: has column names but no rows. Add one row per example.")
    return table


def table_from(path: str, objects: Iterable[tuple[int, object]], columns: Sequence[str] | None = None) -> Table:
    """Make a table of numbered mappings with JSON-like values, such as a file or a data frame gives.

    Parameters
    ----------
    path
        A file's path, or a name to call the data by in errors.
    objects
        (line or record number, mapping) pairs; keys missing from a mapping are read as "".
    columns
        Their names where known; otherwise every key met, in that order.

    Raises
    ------
    DataError
        If something is not a mapping, a name is empty, or a text cannot be written as UTF-8.
    """
    names: dict[str, None] = dict.fromkeys(columns or ())
    cells, lines = [], []
    for number, value in objects:
        where = _where(path, number)
        if not isinstance(value, Mapping):
            raise DataError(
                f'{where}: holds {kind(value)}, not an object. Write each row as {{"column": "text", ...}}.'
            )
        texts = {str(key): as_text(where, str(key), item) for key, item in value.items()}
        names.update(dict.fromkeys(texts))
        cells.append(texts)
        lines.append(number)
    check_names(path, list(names))
    rows = tuple({name: texts.get(name, "") for name in names} for texts in cells)
    return Table(path, tuple(names), rows, tuple(lines))


def _where(path: str, number: int) -> str:
    """Name a line of a file that is read by line, else a record."""
    by_line = path.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson"))
    return f"{path}:{number}" if by_line else f"{path}, record {number}"


# --- bytes and text ---------------------------------------------------------------------------------------


def _check_file(path: Path) -> None:
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
        raise DataError(f"{path}: is {what}. Give the path of one file ({', '.join(_READERS)}).")


# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _read_text(path: Path) -> str:
    raw = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8-sig")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(_wrong_encoding(path, raw, encoding, error.start)) from error
    if not text.strip():
        raise DataError(f"{path}: is empty. Write column names and one row per example.")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}:{line}: holds a NUL byte; data files are UTF-8 text. If it is UTF-16 without a mark, convert "
            f"it: iconv -f utf-16le -t utf-8 {shlex.quote(str(path))}"
        )
    return text


def _wrong_encoding(path: Path, raw: bytes, encoding: str, start: int) -> str:
    if encoding != "utf-8-sig":
        return f"{path}: is marked as {encoding.upper()} but byte {start} breaks it. Save it again as UTF-8."
    # Offsets from the decoder leave out the mark it skipped.
    start += len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    before = raw[:start]
    line, column = before.count(b"\n") + 1, start - before.rfind(b"\n")
    return (
        f"{path}:{line}: byte 0x{raw[start]:02X} (number {column} of the line) is not UTF-8; allowed is UTF-8, or "
        f"UTF-16 with a mark. If it is Latin-1: iconv -f latin1 -t utf-8 {shlex.quote(str(path))}"
    )


# --- CSV and TSV ------------------------------------------------------------------------------------------

Record = tuple[int, list[str]]  # the line on which it begins, its fields


def _read_csv(path: Path) -> Table:
    text = _read_text(path)
    delimiter = _sniff(text)
    return _tabulate(path, _quoted(path, text, delimiter))


def _read_tsv(path: Path) -> Table:
    """Read tab-separated rows, quoted as spreadsheets write them or raw as corpora do.

    Where raw lines all have the header's number of fields and reading quotes would fail or join lines, a quote
    is a mere character: a quoted field that holds a line break would leave its lines too short.
    """
    text = _read_text(path)
    lines = ((number, line) for number, line in enumerate(_split_lines(text), start=1))
    raw = [(number, line.split("\t")) for number, line in lines if line]
    rectangular = len({len(fields) for _, fields in raw}) == 1
    try:
        quoted = _quoted(path, text, "\t")
    except DataError:
        if rectangular:
            return _tabulate(path, raw)
        raise
    return _tabulate(path, raw if rectangular and len(raw) != len(quoted) else quoted)


def _sniff(text: str) -> str:
    """Choose the delimiter: it divides the header, and most rows as the header is divided."""
    best, delimiter = (0, 1), ","
    for candidate in ",;\t|":
        with _wide_fields():
            counts = list(_field_counts(text, candidate))
        if counts and counts[0] > 1 and (counts.count(counts[0]), counts[0]) > best:
            best, delimiter = (counts.count(counts[0]), counts[0]), candidate
    return delimiter


def _field_counts(text: str, delimiter: str) -> Iterator[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
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
    before = csv.field_size_limit(FIELD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _quoted(path: Path, text: str, delimiter: str) -> list[Record]:
    """Read records whose fields may be quoted; strictly, as a stray quote swallows rows otherwise."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    line = 1
    with _wide_fields():
        try:
            for fields in reader:
                if fields:
                    records.append((line, fields))
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: the row that begins here cannot be read ({error}). A field with a quote in it is "
                'written "like ""this""".'
            ) from error
    return records


def _tabulate(path: Path, records: Sequence[Record]) -> Table:
    names = [name.strip() for name in records[0][1]] if records else []
    check_names(str(path), names)
    for line, fields in records[1:]:
        if len(fields) != len(names):
            raise DataError(
                f"{path}:{line}: number of fields is {len(fields)}, but {len(names)} in the header. "
                "Quote a field that holds the delimiter or a line break, or complete the row."
            )
    rows = tuple(dict(zip(names, fields, strict=True)) for _, fields in records[1:])
    return Table(str(path), tuple(names), rows, tuple(line for line, _ in records[1:]))


# --- JSON -------------------------------------------------------------------------------------------------


def _split_lines(text: str) -> list[str]:
    # Not splitlines(): JSON strings and raw fields may hold U+2028 and its like as they are.
    return re.split(r"\r\n|\r|\n", text)


def _read_jsonl(path: Path) -> Table:
    return table_from(str(path), _decode_lines(path, _split_lines(_read_text(path))))


def _decode_lines(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t"):
            yield number, _decode(path, line, number, "Write one JSON object a line; a list belongs in a .json file.")


def _read_json(path: Path) -> Table:
    fix = "Write a list of objects; one object a line belongs in a .jsonl file."
    value = _decode(path, _read_text(path), 0, fix)
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if not isinstance(value, list):
        raise DataError(f'{path}: holds {kind(value)}; allowed: [{{...}}, ...] or {{"data": [{{...}}, ...]}}. {fix}')
    if not value:
        raise DataError(f"{path}: holds an empty list. Add one object per example.")
    return table_from(str(path), enumerate(value, start=1))


def _decode(path: Path, text: str, line: int, fix: str) -> object:
    """Decode one JSON text that begins on `line`, or 0 if the text is the whole file."""
    try:
        value: object = DECODER.decode(text)
    except json.JSONDecodeError as error:
        number = line or error.lineno
        raise DataError(f"{path}:{number}: not JSON at column {error.colno} ({error.msg}). {fix}") from error
    except ValueError as error:
        raise DataError(f"{path}{f':{line}' if line else ''}: {error}. {fix}") from error
    except RecursionError as error:
        where = f"{path}{f':{line}' if line else ''}"
        raise DataError(f"{where}: JSON nested too deeply; a row is an object of texts. {fix}") from error
    return value


# --- Parquet ----------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f'{path}: Parquet needs one more package: pip install "phrasetune[parquet]". Or save the data as .jsonl.'
        ) from error
    try:
        # Not read_table(): it would take a folder named a=b for a column.
        with pq.ParquetFile(path) as file:
            data = file.read()
        names, records = list(data.schema.names), data.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: is no readable Parquet file ({reason}). Write it again.") from error
    check_names(str(path), names)
    return table_from(str(path), enumerate(records, start=1), names)


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
