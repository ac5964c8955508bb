"""Reading files as tables: what loads, as what, and how everything else is refused."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer.errors import DataError
from optimizer.rows.tables import Table, read_table, table_from

ROWS = ({"text": "Ünïcode, “quotes” and a\nbreak", "label": "a"}, {"text": 'say "hi"', "label": "b"})


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path)

    assert caught.value.exit_code == 2
    return str(caught.value)


def as_csv(rows: tuple[dict[str, str], ...], delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


# --- what loads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", as_csv(ROWS)),
        ("rows.CSV", as_csv(ROWS, ";")),
        ("rows.tsv", as_csv(ROWS, "\t")),
        ("rows.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("rows.ndjson", "\r\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\r\n"),
        ("rows.json", json.dumps(ROWS, indent=2)),
        ("wrapped.json", json.dumps({"version": 1, "data": ROWS})),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    """The same rows are read from every text format."""
    table = read_table(write(tmp_path, name, content))

    assert table.columns == ("text", "label")
    assert table.rows == ROWS
    assert table.path == str(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str, name: str) -> None:
    """UTF-8 needs no mark; UTF-16 and UTF-32 are recognised by theirs, which is no part of the first name."""
    content = as_csv(ROWS) if name == "rows.csv" else "\n".join(map(json.dumps, ROWS))
    table = read_table(write(tmp_path, name, content.encode(encoding)))

    assert table.columns == ("text", "label")
    assert table.rows == ROWS


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_broken_utf_16_is_refused(tmp_path: Path, mark: bytes) -> None:
    """A file that is marked as UTF-16 and ends in half a character is refused."""
    message = refusal(write(tmp_path, "rows.csv", mark + b"a"))

    assert "marked as UTF-16" in message


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_found(tmp_path: Path, delimiter: str) -> None:
    """The delimiter is the one that divides the header, whatever the texts hold."""
    rows = ({"text": "one, two; three | four", "label": "a"}, {"text": "x", "label": "b, c"})
    table = read_table(write(tmp_path, "rows.csv", as_csv(rows, delimiter)))

    assert table.rows == rows


def test_a_delimiter_in_a_name_is_outvoted_by_the_rows(tmp_path: Path) -> None:
    """A header that two delimiters divide is divided as its rows are."""
    table = read_table(write(tmp_path, "rows.csv", "text, of the mail;label\nhello;a\nbye;b\n"))

    assert table.columns == ("text, of the mail", "label")


def test_names_of_a_csv_are_stripped_and_values_are_not(tmp_path: Path) -> None:
    """White space is no part of a name in a header; what a value is, is not for a reader to say."""
    table = read_table(write(tmp_path, "rows.csv", "id, text \n1, hello \n"))

    assert table == Table(str(tmp_path / "rows.csv"), ("id", "text"), ({"id": "1", "text": " hello "},), (2,))


def test_lines_of_a_csv_are_where_rows_begin(tmp_path: Path) -> None:
    """Line numbers count the breaks inside quotes and blank lines, with any line ending."""
    content = '\ntext,label\r\n"a\r\nb\nc",x\r\n\r\nd,y\ne,z\n'
    table = read_table(write(tmp_path, "rows.csv", content))

    assert [row["text"] for row in table.rows] == ["a\r\nb\nc", "d", "e"]
    assert table.lines == (3, 7, 8)
    assert table.place(1) == f"{table.path}:7"


def test_lines_of_json_lines_count_blank_lines(tmp_path: Path) -> None:
    """A blank line is no row, and is counted."""
    table = read_table(write(tmp_path, "rows.jsonl", '{"a": "1"}\n\n  \n{"a": "2"}\n'))

    assert table.lines == (1, 4)


def test_rows_of_json_are_counted(tmp_path: Path) -> None:
    """A row of a .json file is named by its number."""
    table = read_table(write(tmp_path, "rows.json", '[{"a": 1},\n\n{"a": 2}]'))

    assert table.place(1) == f"{table.path}, record 2"


def test_a_long_field_is_read_and_the_limit_is_left_as_it_was(tmp_path: Path) -> None:
    """A field may be longer than the csv module's limit, which other users of the module keep."""
    before = csv.field_size_limit()
    table = read_table(write(tmp_path, "rows.csv", f"text,label\n{'x' * 200_000},a\n"))

    assert len(table.rows[0]["text"]) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('label\ttext\nham\t"never closed\nspam\tb\n', ['"never closed', "b"]),
        ('label\ttext\nham\t"opened\nspam\tclosed"\n', ['"opened', 'closed"']),
        ('label\ttext\nham\t"so" he said\nspam\tb\n', ['"so" he said', "b"]),
        ('label\ttext\nham\t"a\nb"\nspam\t"c ""d"""\n', ["a\nb", 'c "d"']),
    ],
)
def test_quotes_of_a_tsv_are_read_as_they_were_meant(tmp_path: Path, content: str, texts: list[str]) -> None:
    """Spreadsheets quote fields of a TSV, corpora write quotes as characters; neither swallows a row."""
    table = read_table(write(tmp_path, "rows.tsv", content))

    assert [row["text"] for row in table.rows] == texts


def test_json_values_become_their_text(tmp_path: Path) -> None:
    """Numbers keep their digits, null is empty, nested values are compact with sorted keys."""
    row = '{"i": 12345678901234567890, "f": 1.0, "e": 1E3, "n": null, "t": true, "o": {"b": [1.50, "é"], "a": null}}'
    table = read_table(write(tmp_path, "rows.jsonl", row))

    assert table.rows[0] == {
        "i": "12345678901234567890",
        "f": "1.0",
        "e": "1E3",
        "n": "",
        "t": "true",
        "o": '{"a":null,"b":[1.50,"é"]}',
    }


def test_a_key_that_a_row_lacks_is_an_empty_text(tmp_path: Path) -> None:
    """Columns are all keys met, in that order."""
    table = read_table(write(tmp_path, "rows.jsonl", '{"b": "1"}\n{"a": "2", "b": "3"}'))

    assert table.columns == ("b", "a")
    assert table.rows == ({"b": "1", "a": ""}, {"a": "2", "b": "3"})


def test_unicode_line_separators_are_text(tmp_path: Path) -> None:
    """Only CR and LF end a line of JSON lines or of a CSV."""
    text = "a\u2028b\x85c\x0bd"
    line = json.dumps({"text": text, "label": "a"}, ensure_ascii=False)

    assert read_table(write(tmp_path, "rows.jsonl", line)).rows[0]["text"] == text
    assert read_table(write(tmp_path, "rows.csv", f"text,label\n{text},a\n")).rows[0]["text"] == text


def test_parquet_is_read(tmp_path: Path) -> None:
    """Parquet values become texts as JSON values do; NaN is a missing value, dates are written in ISO 8601."""
    columns = {
        "text": ["é", None],
        "n": [1, 2],
        "x": [0.5, float("nan")],
        "b": [True, False],
        "l": [["a", "b"], []],
        "d": [dt.date(2024, 1, 2), None],
        "y": [b"raw", None],
    }
    path = tmp_path / "k=v" / "rows.parquet"  # a folder that looks like a partition adds no column
    path.parent.mkdir()
    pq.write_table(pa.table(columns), path)
    table = read_table(path)

    assert table.columns == tuple(columns)
    assert tuple(table.rows[0].values()) == ("é", "1", "0.5", "true", '["a","b"]', "2024-01-02", "raw")
    assert tuple(table.rows[1].values()) == ("", "2", "", "false", "[]", "", "")
    assert table.place(1) == f"{path}, record 2"


def test_numbered_mappings_make_a_table() -> None:
    """Rows that come from no file are named by what the caller calls them."""
    table = table_from("frame", [(1, {"a": 1}), (2, {"a": float("nan"), "b": {"k": dt.date(2024, 1, 2)}})])

    assert table.rows == ({"a": "1", "b": ""}, {"a": "", "b": '{"k":"2024-01-02"}'})
    assert table.place(0) == "frame, record 1"


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.csv", "", [": is empty.", "Write column names"]),
        ("a.jsonl", "\n \n", [": is empty."]),
        ("a.csv", "text,label\n", [": has column names but no rows.", "Add one row"]),
        ("a.csv", "text,label\nhi,a\nyo,b,c\n", [":3: number of fields is 3, but 2 in the header.", "Quote a field"]),
        ("a.csv", 'text,label\n"a\nb",x\nc\n', [":4: number of fields is 1, but 2"]),
        ("a.csv", "text\nhello, you\n", [":2: number of fields is 2, but 1"]),
        ("a.tsv", "text\tlabel\nhi\n", [":2: number of fields is 1, but 2"]),
        ("a.csv", 'text,label\nhi,a\n"never closed,b\nc,d\n', [":3: the row that begins here", "unexpected end"]),
        ("a.csv", 'text,label\n"so" he said,b\n', [":2: the row that begins here", '"like ""this"""']),
        ("a.csv", "text,label,text\na,b,c\n", ["column 'text' stands twice in the header (1 and 3)", "Rename"]),
        ("a.csv", ",text,label\n0,a,b\n", ["column 1 of 3 has no name", "index=False"]),
        (
            "a.csv",
            "text,label\ncaf\xe9,a\n".encode("latin-1"),
            [":2: byte 0xE9 (number 4 of", "iconv -f cp1252 -t utf-8"],
        ),
        ("a.csv", b"\xef\xbb\xbftext,label\na\xff,a\n", [":2: byte 0xFF (number 2 of"]),
        ("a.jsonl", b'{"a": "b"}\n{"a": "\xe9"}\n', [":2: byte 0xE9 (number 8 of"]),
        ("a.csv", b"text,label\na,b\n\0,c\n", [":3: holds a NUL byte", "iconv -f utf-16le"]),
        ("a.csv", "text,label\n".encode("utf-16-le"), [":1: holds a NUL byte"]),
        ("a.jsonl", '{"a": "1"}\n\n{"a": \n', [":3: not JSON at column 7", "one JSON object a line"]),
        ("a.jsonl", '{"a": "1"}\n["b"]\n', [":2: holds a list, not an object.", '{"column": "text", ...}']),
        ("a.jsonl", '[{"a": "1"},\n{"a": "2"}]', [":1: not JSON", "a list belongs in a .json file"]),
        ("a.jsonl", '{"a": NaN}', [":1: NaN is not JSON; write null"]),
        ("a.jsonl", '{"a": 1, "a": 2}', [":1: the key 'a' stands twice"]),
        ("a.jsonl", '{"a": "\\ud800"}', [":1: column 'a' holds half a character"]),
        ("a.jsonl", '{"\\ud800": "a"}', ["holds half a character"]),
        ("a.jsonl", '{"a": "\\u0000"}', [":1: column 'a' holds a NUL character"]),
        ("a.jsonl", '{"": "a"}', ["column 1 of 1 has no name"]),
        ("a.jsonl", "{}\n{}", ["its rows have no columns"]),
        ("a.jsonl", '{"a": ' + "[" * 100_000, [":1: JSON nested too deeply"]),
        ("a.jsonl", '{"a": ' + "[" * 700 + "]" * 700 + "}", [":1: ", "nested too deeply"]),
        ("a.json", '{"a": 1}', [": holds an object; allowed: [{...}, ...]"]),
        ("a.json", "null", [": holds null; allowed: "]),
        ("a.json", "7", [": holds a number; allowed: "]),
        ("a.json", "[]", [": holds an empty list."]),
        ("a.json", '[{"a": 1},\n 2]', [", record 2: holds a number, not an object."]),
        ("a.json", '[{"a": 1},\n {"a" 2}]', [":2: not JSON at column 7", "belongs in a .jsonl file"]),
        ("a.json", '{"a": 1}\n{"a": 2}', [":2: not JSON", "belongs in a .jsonl file"]),
        ("a.json", '[{"a": Infinity}]', ["a.json: Infinity is not JSON"]),
        ("a.json", "[" * 100_000, ["a.json: JSON nested too deeply"]),
        ("a.jsnl", "{}", ["unknown file type '.jsnl'; allowed: .csv, .tsv, .jsonl,", "Did you mean '.jsonl'?"]),
        ("a", "x", ["unknown file type ''"]),
        ("a.parquet", "PAR1 no more PAR1", [": is no readable Parquet file", "Write it again"]),
        ("a.parquet", "", [": is no readable Parquet file"]),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes | str, parts: list[str]
) -> None:
    """The message begins with the file, names the place, and says what is allowed and what to do."""
    path = write(tmp_path, name, content)
    message = refusal(path)

    assert message.startswith(str(path))
    assert [part for part in parts if part not in message] == []


def test_a_missing_file_is_refused_with_its_neighbour(tmp_path: Path) -> None:
    """A name that is nearly right is answered with the right one."""
    write(tmp_path, "train.csv", "a,b\n1,2\n")

    assert refusal(tmp_path / "trian.csv") == f"{tmp_path / 'trian.csv'}: no such file. Did you mean 'train.csv'?"
    assert "Check the name" in refusal(tmp_path / "nowhere" / "train.csv")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Directories, pipes, circles of links and impossible paths are refused without being opened."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")

    assert "is a directory. Give the path of one file" in refusal(tmp_path)
    assert "is not a regular file" in refusal(tmp_path / "pipe.csv")
    assert "cannot be opened" in refusal(tmp_path / "loop.csv")
    assert "cannot be opened" in refusal(tmp_path / "nul\0.csv")
    assert "cannot be opened" in refusal(tmp_path / ("long" * 1000 + ".csv"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the system says when it will not let the file be read is passed on."""

    def deny(path: Path, *how: object, **more: object) -> io.IOBase:
        raise PermissionError(13, "Permission denied", str(path))

    path = write(tmp_path, name, "x")
    monkeypatch.setattr(Path, "open", deny)

    assert refusal(path) == f"{path}: cannot be read (Permission denied). Check its permissions."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    """The same with a real file, for users whom permissions bind."""
    path = write(tmp_path, "a.csv", "a,b\n1,2\n")
    path.chmod(0)

    assert "cannot be read (Permission denied)" in refusal(path)


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional package is named as pip wants it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert 'pip install "phrasetune[parquet]"' in refusal(write(tmp_path, "a.parquet", "PAR1"))


def test_bytes_of_parquet_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A binary column is read only where it holds UTF-8."""
    pq.write_table(pa.table({"text": [b"a", b"\xff"]}), tmp_path / "a.parquet")

    assert ", record 2: column 'text' holds half a character" in refusal(tmp_path / "a.parquet")


def test_columns_of_parquet_with_one_name_are_refused(tmp_path: Path) -> None:
    """One of two columns with the same name would be lost."""
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "a.parquet")

    assert "column 'a' stands twice" in refusal(tmp_path / "a.parquet")


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    """A Parquet file with a header only is refused as a CSV is."""
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")

    assert "has column names but no rows" in refusal(tmp_path / "a.parquet")


# --- what holds for all -----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
nasty = texts | st.text(st.sampled_from(list("ab,;|\t\"'\r\n\\ é\u2028\ufeff")), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(nasty, nasty), min_size=1, max_size=6), st.sampled_from(",;\t|"))
@example([('"', '\r"\n')], ",")
def test_csv_round_trip(rows: list[tuple[str, str]], delimiter: str) -> None:
    """Whatever texts the csv module writes with any of the delimiters are read back unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        given_rows = tuple({"text": text, "label": label} for text, label in rows)
        table = read_table(write(Path(folder), "a.csv", as_csv(given_rows, delimiter)))

        assert table.rows == given_rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), nasty, min_size=1), min_size=1, max_size=5))
def test_json_round_trip(rows: list[dict[str, str]]) -> None:
    """Texts written as JSON lines, escaped or not, and as one JSON list are read back unchanged."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    expected = tuple({column: row.get(column, "") for column in columns} for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        for ascii_only in (True, False):
            lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
            by_line = read_table(write(Path(folder), "a.jsonl", "\n".join(lines)))
            whole = read_table(write(Path(folder), "a.json", f"[{','.join(lines)}]"))

            assert by_line.rows == whole.rows == expected


pieces = st.sampled_from(
    [
        *(b"text,label", b'{"a": "b"}', b'{"data": [', b"[", b"]", b"{", b"}", b'"', b":", b",", b";", b"|", b"\t"),
        *(b"\n", b"\r", b" ", b"\\u", b"\\ud800", b"0", b"1e999", b"-", b"null", b"NaN", b"a", "é".encode()),
        *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", "😀".encode("utf-16-le")),
    ]
)
content = st.binary(max_size=60) | st.lists(pieces, max_size=25).map(b"".join)


def loaded(path: Path) -> Table | None:
    """The table, or None where the file is refused by its name; anything else that is raised fails the test."""
    try:
        return read_table(path)
    except DataError as error:
        message = str(error)
    assert message.startswith(str(path))
    return None


@settings(max_examples=600, deadline=None)
@given(content, st.sampled_from([".csv", ".tsv", ".jsonl", ".json"]))
def test_any_bytes_load_or_are_refused(raw: bytes, suffix: str) -> None:
    """No bytes raise anything but DataError, and what loads is a whole table of texts that can be sent."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), f"a{suffix}", raw)
        table = loaded(path)

        assert table is None or len(table.rows) == len(table.lines) > 0
        for row in table.rows if table is not None else ():
            assert set(row) == set(table.columns if table is not None else ())
            assert b"\0" not in b"".join(text.encode() for text in row.values())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_parquet_file_loads_or_is_refused(data: st.DataObject) -> None:
    """A Parquet file that is cut or has a byte changed raises nothing but DataError."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"], "n": [1, 2]}), sink)
    raw = bytearray(sink.getvalue())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    damaged = bytes(raw[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(raw)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "a.parquet", damaged)
        table = loaded(path)

        assert table is None or len(table.rows) == len(table.lines) > 0
