"""Any rows or task file of a user either work or get one clear error that says where and what."""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.cli import main
from optimizer.rows.tables import read_table

ROWS = 40
TASK = """
[task]
name = "fuzzed"
kind = "{kind}"
[data]
file = {file}
inputs = ["text"]
target = "label"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has an empty folder to work in."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    """Run a command in this process; a traceback fails the test."""
    done = CliRunner().invoke(main, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in {0, 2}, done.output
    return done


def counted(said: str) -> int:
    """How many rows `init` accounts for: those in the splits, and those that it says were left out."""
    splits = re.search(r"^rows: (\d+) train, (\d+) dev, (\d+) test", said, re.MULTILINE)
    assert splits, said
    left_out = re.findall(r"(\d+) of (?:train|dev|test)\b(?=.*were left out)", said)
    left_out += re.findall(r"^note: (\d+) rows? of \S+ without an answer or a text: left out", said, re.MULTILINE)
    return sum(map(int, splits.groups())) + sum(map(int, left_out))


def texts(rows: int = ROWS) -> list[tuple[str, str]]:
    return [(f"message number {i} is about {'money' if i % 2 else 'rain'}", "ab"[i % 2]) for i in range(rows)]


def table(delimiter: str = ",", end: str = "\n", rows: int = ROWS) -> str:
    return end.join(delimiter.join(row) for row in [("text", "label"), *texts(rows)]) + end


def objects(**changes: object) -> list[dict[str, object]]:
    return [{"text": text, "label": label, **changes} for text, label in texts()]


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def replaced(line: int, by: str) -> str:
    """The table with another text on one line, counted from 1."""
    split = table().splitlines(keepends=True)
    split[line - 1] = by + "\n"
    return "".join(split)


# What to do, in the imperative.
FIXES = "A field|Add|Check|Correct|Give|Make|Name|Quote|Rename|Remove|Save|Unpack|Write|add one|iconv"
FIX = rf"(?:[.)\]?] |: )(?:{FIXES})\b"
DEEP = "[" * 100_000 + "]" * 100_000
TYPED = [("Good", "good", "good ", " GOOD", "bad")[i % 5] for i in range(ROWS)]

# Name -> content, and how many rows it has, or what the refusal says.
CORPUS: dict[str, tuple[bytes | str, int | str]] = {
    # What is written in one of the many usual ways is read.
    "plain.csv": (table(), ROWS),
    "plain.tsv": (table("\t"), ROWS),
    "semicolons.csv": (table(";"), ROWS),
    "mark.csv": (codecs.BOM_UTF8 + table().encode(), ROWS),
    "utf16.csv": (table().encode("utf-16"), ROWS),
    "utf16be.tsv": (codecs.BOM_UTF16_BE + table("\t").encode("utf-16-be"), ROWS),
    "utf32.jsonl": (lines(*objects()).encode("utf-32"), ROWS),
    "dos.csv": (table(end="\r\n"), ROWS),
    "mac.csv": (table(end="\r"), ROWS),
    "mixed_ends.csv": (table(rows=20) + table(end="\r\n", rows=40).split("\r\n", 21)[21], ROWS),
    "no_last_end.csv": (table().rstrip("\n"), ROWS),
    "quoted.csv": (replaced(3, '"he said ""a, b""\nand left",a'), ROWS),
    "list.json": (json.dumps(objects()), ROWS),
    "data.json": (json.dumps({"data": objects()}), ROWS),
    "numbers.jsonl": (lines(*objects(n=10**4000, x=1e308)), ROWS),
    "huge_field.csv": (replaced(5, "w " * 500_000 + ",a"), ROWS),
    "long_label.csv": (table().replace(",b", "," + "b" * 5000), ROWS),
    "typed.csv": ("text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(TYPED)), ROWS),
    "control.csv": (table().replace("rain", "\x01\x1b[31m\x7f\x85\u202e").replace(",a", ",a\x02"), ROWS),
    "formula.csv": (table().replace("message", "=cmd|' /C calc'!A0"), ROWS),
    "toml.csv": (table().replace(",a", ',"a"" = 1\n[model]"'), ROWS),
    "split.csv": (
        "text,label,split\n"
        + "".join(f"{t},{a},{('train', 'dev', 'test')[i % 3]}\n" for i, (t, a) in enumerate(texts()))
        + "".join(f"{t},{a},train\n" for t, a in texts()[1:7]),
        ROWS + 6,
    ),
    "wide.csv": (
        ",".join(["text", "label", *(f"c{i}" for i in range(1500))])
        + "\n"
        + "".join(",".join([*row, *["x"] * 1500]) + "\n" for row in texts()),
        ROWS,
    ),
    # What is not whole is refused, with its line where it has one.
    "latin.csv": (replaced(7, "café,a").encode("latin-1"), "latin.csv:7: byte 0xE9"),
    "nul.csv": (replaced(7, "a\0b,a"), "nul.csv:7: holds a NUL byte"),
    "nul_escaped.jsonl": (lines(*objects()[:6], {"text": "a\0b", "label": "a"}), "nul_escaped.jsonl:7: column 'text'"),
    "bare_utf16.csv": (table().encode("utf-16-le"), "bare_utf16.csv:1: holds a NUL byte"),
    "cut_utf16.csv": (table().encode("utf-16")[:-1], "is marked as UTF-16"),
    "gz.csv": (gzip.compress(table().encode(), mtime=0), "gz.csv: is a gzip archive"),
    "rows.csv.gz": (gzip.compress(table().encode(), mtime=0), "unknown file type '.gz'; allowed: .csv"),
    "rows.yaml": ("- {text: a, label: b}", "unknown file type '.yaml'"),
    "rows.txt": (table(), "unknown file type '.txt'"),
    "ragged.csv": (replaced(7, "one,two,three"), "ragged.csv:7: number of fields is 3, but 2"),
    "short.csv": (replaced(7, "one"), "short.csv:7: number of fields is 1, but 2"),
    "stray_quote.csv": (replaced(7, '"one" two,a'), "stray_quote.csv:7: the row that begins here"),
    "open_quote.csv": (replaced(7, '"one,a'), "open_quote.csv:7: the row that begins here"),
    "twice.csv": (table().replace("text,label", "text,text"), "column 'text' stands twice"),
    "nameless.csv": (table().replace("text,label", "text,"), "column 2 of 2 has no name"),
    "one_column.csv": ("text\n" + "".join(f"{text}\n" for text, _ in texts()), "At least two columns"),
    "no_rows.csv": ("text,label\n", "has column names but no rows"),
    "few.csv": (table(rows=5), "has 5 rows; train, dev and test need at least 4 each"),
    "one_class.csv": (table().replace(",b", ",a"), "At least two columns"),
    "no_label.csv": (replaced(7, "a text,"), ROWS),
    "no_text.csv": (replaced(7, " ,a"), ROWS),
    "empty.csv": ("", "is empty"),
    "blank.jsonl": (" \n\n", "is empty"),
    "deep.json": (DEEP, "deep.json: JSON nested too deeply"),
    "deep.jsonl": (lines(*objects()[:6]) + f'{{"text": {DEEP}}}\n', "deep.jsonl:7: JSON nested too deeply"),
    "nan.jsonl": (lines(*objects()[:6], {"text": float("nan"), "label": "a"}), "nan.jsonl:7: NaN is not JSON"),
    "half.jsonl": (lines(*objects()[:6]) + '{"text": "\\ud83d", "label": "a"}\n', "half.jsonl:7: column 'text'"),
    "cut.jsonl": (lines(*objects())[:-9], f"cut.jsonl:{ROWS}: not JSON at column"),
    "key_twice.jsonl": (lines(*objects()[:6]) + '{"text": "a", "text": "b"}\n', "key_twice.jsonl:7: the key 'text'"),
    "scalars.jsonl": ("1\n2\n", "scalars.jsonl:1: holds a number, not an object"),
    "lists.json": ("[[1], [2]]", "lists.json, record 1: holds a list"),
    "text.json": ('"rows"', "text.json: holds a text; allowed"),
    "no_list.json": ("[]", "holds an empty list"),
    "junk.parquet": (b"PAR1" + bytes(range(256)), "is no readable Parquet file"),
    "long_name.csv": (table().replace("text,", "t" * 300 + ","), "must have at most 200 characters"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_a_file_is_read_whole_or_refused_with_its_place(name: str) -> None:
    """`init` accounts for each row, or names file, line, what is allowed and what to do; and writes nothing then."""
    content, expected = CORPUS[name]
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())

    done = run("init", name)

    assert Path("task.toml").exists() == isinstance(expected, int)
    if isinstance(expected, int):
        assert done.exit_code == 0, done.output
        assert counted(done.output) == expected
        assert run("space", "task.toml").exit_code == 0  # what was drafted can be used as it is
    else:
        assert done.exit_code == 2
        assert done.output.startswith(f"phrasetune: {name}")
        assert expected in done.output
        assert done.output.count("\n") == 1
        assert re.search(FIX, done.output), "it does not say what to do"


def test_a_task_takes_the_same_files(tmp_path: Path) -> None:
    """A task file that was there before its rows meets the same refusals, under the same names."""
    for name, (content, expected) in CORPUS.items():
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        Path("task.toml").write_text(TASK.format(kind="qa", file=json.dumps(name)), encoding="utf-8")

        done = run("space", "task.toml")

        if name in {"no_label.csv", "no_text.csv"}:  # which `init` leaves out, and a task file if it says so
            assert f"{name}:7: " in done.output
        elif isinstance(expected, int):
            assert done.exit_code == 0, (name, done.output)
        elif done.exit_code:  # a task file says what `init` would have to guess
            assert str(path.name) in done.output


@dataclass(frozen=True)
class Odd:
    """A thing that is no file of rows, and what is said of it."""

    make: str
    said: str


ODD = {
    "folder.csv": Odd("os.mkdir(name)", "is a directory"),
    "pipe.csv": Odd("os.mkfifo(name)", "is not a regular file"),
    "loop.csv": Odd("os.symlink(name, name)", "cannot be opened"),
    "gone.csv": Odd("os.symlink('nowhere', name)", "no such file"),
    "unreadable.csv": Odd("os.symlink('/proc/self/mem', name)", "cannot be read"),
    "device.csv": Odd("os.symlink('/dev/zero', name)", "is not a regular file"),
    "below.csv/rows.csv": Odd("Path('below.csv').touch()", "cannot be opened"),
    "n" * 300 + ".csv": Odd("None", "cannot be opened"),
}


@pytest.mark.parametrize("name", ODD, ids=lambda name: name[:20])
def test_what_is_no_file_of_rows_is_refused(name: str) -> None:
    """Folders, pipes, devices, links to themselves: refused at once by their names, and not waited for."""
    if name == "unreadable.csv" and not Path("/proc/self/mem").exists():
        pytest.skip("no /proc here")
    exec(ODD[name].make, {"os": os, "Path": Path, "name": name})

    for arguments in (("init", name), ("init", name, "-o", "other.toml", "--force")):
        done = run(*arguments)

        assert done.exit_code == 2
        assert done.output.startswith(f"phrasetune: {name}")
        assert ODD[name].said in done.output


@pytest.mark.parametrize("name", ["line\nbreak.csv", '"] = 1.csv', "{body} {path}.csv", "\x1b[31m.csv", "tab\t.csv"])
def test_a_file_may_have_any_name(name: str) -> None:
    """What stands in a file's name neither ends the comment that names it nor becomes part of the task file."""
    Path(name).write_text(table(), encoding="utf-8")

    assert run("init", name).exit_code == 0
    assert run("space", "task.toml").exit_code == 0
    assert "\x1b" not in Path("task.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [b"task\xff.toml", b"task\n.toml", b"\x1b[31m.toml", b"t" * 300])
def test_a_name_that_no_file_should_have_is_refused(name: bytes) -> None:
    """For what is written: half a character, a control character, too long a name."""
    Path("rows.csv").write_text(table(), encoding="utf-8")

    done = run("init", "rows.csv", "-o", os.fsdecode(name))

    assert done.exit_code == 2
    assert "a plain file name is allowed" in done.output
    assert [path.name for path in Path().iterdir()] == ["rows.csv"]


# --- task files -------------------------------------------------------------------------------------------

BAD_TASKS = {
    "deep": ("\nx = " + "[" * 5000, "task.toml: holds values nested too deeply"),
    "digits": ("\nx = " + "9" * 5000, "task.toml: holds a number of thousands of digits"),
    "nul": ("\0", "task.toml: not valid TOML"),
    "latin": ('\ndescription = "\udce9"', "task.toml: not UTF-8 (byte "),
    "unfinished": ("\n[search", "task.toml: not valid TOML"),
    "twice": ("\n[data]\n", "task.toml: not valid TOML"),
    "seed": ("\n[search]\nseed = -1", "task.toml: `search.seed` = -1: must be"),
    "huge seed": (f"\n[search]\nseed = {2**32}", "task.toml: `search.seed` = 4294967296: must be"),
    "huge split": (f"seed = {10**30}", "task.toml: `data.seed`"),
    "nan": ("\n[search]\nmax_usd = nan", "task.toml: `search.max_usd` = nan: must be"),
    "date": ("\n[search]\ncalls = 1979-05-27", "task.toml: `search.calls` = datetime.date(1979, 5, 27): must be"),
    "typo": ("\n[serach]\ncalls = 3", "task.toml: unknown section 'serach'; allowed: task, data, model, search"),
    "space": ('\n[space]\ntemplate = ["chat", "\\u0000"]', "[space] template"),
}


@pytest.mark.parametrize("case", BAD_TASKS)
def test_a_task_file_that_cannot_be_is_refused(case: str) -> None:
    """By its name, with what is wrong in it."""
    more, said = BAD_TASKS[case]
    Path("rows.csv").write_text(table(), encoding="utf-8")
    text = TASK.format(kind="classification", file='"rows.csv"') + more
    Path("task.toml").write_bytes(text.encode(errors="surrogateescape"))

    for command in ("space", "tune"):
        done = run(command, "task.toml")

        assert done.exit_code == 2
        assert done.output.startswith("phrasetune: ")
        assert said in done.output
    assert not Path("results.db").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_task_file_is_refused(make: Callable[[Path], None]) -> None:
    """A folder, a pipe that nobody writes to, a link to itself."""
    make(Path("odd.toml"))

    assert run("tune", "odd.toml").output.startswith("phrasetune: odd.toml: ")


# --- any bytes --------------------------------------------------------------------------------------------

SEEDS = {
    ".csv": table(rows=24).encode(),
    ".tsv": table("\t", "\r\n", rows=24).encode(),
    ".jsonl": lines(*objects()[:24]).encode(),
    ".json": json.dumps(objects()[:24]).encode(),
}
PIECES = [b'"', b",", b"\n", b"\r", b"\0", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b"\xff", b"\xef\xbb\xbf"]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good file to which a few things happened: bytes cut out, put in, or moved."""
    suffix = draw(st.sampled_from(sorted(SEEDS)))
    raw = SEEDS[suffix]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 40)))
        put = draw(st.sampled_from(PIECES) | st.binary(max_size=3) | st.just(raw[:end]))
        raw = raw[:start] + put + raw[end:]
    return suffix, raw


@settings(max_examples=120, deadline=None)
@given(damaged())
def test_a_damaged_file_is_read_or_refused(case: tuple[str, bytes]) -> None:
    """After any damage `init` accounts for all rows that the file's reader sees, or names the file and stops."""
    suffix, raw = case
    Path(f"rows{suffix}").write_bytes(raw)

    done = run("init", f"rows{suffix}", "--force")

    if done.exit_code:
        assert done.output.startswith(f"phrasetune: rows{suffix}")
        assert re.search(FIX, done.output)
    else:
        assert counted(done.output) == len(read_table(Path(f"rows{suffix}")).rows)
