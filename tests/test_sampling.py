"""Large files: which rows are kept, that the sample is unbiased, and how it is reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from optimizer.cli import main
from optimizer.errors import DataError
from optimizer.preparing import prepare
from optimizer.rows import objects, sampling
from optimizer.rows.cells import LONGEST, MOST_COLUMNS
from optimizer.rows.sampling import Draw, Sample
from optimizer.rows.tables import read_table
from optimizer.task import load_task
from optimizer.task_rows import read_rows


def drawn(rows: Iterable[Mapping[str, str]], draw: Draw) -> list[int]:
    """Offer rows to a sample, and number those that it keeps."""
    sample = Sample(draw)
    for line, row in enumerate(rows, start=2):
        sample.offer(line, row)
    return [number for number, _, _ in sample.rows()]


def rows_of(counts: Mapping[str, int], column: str = "label") -> list[dict[str, str]]:
    """So many rows of each value, one value after the other as in a sorted file."""
    return [{column: value, "text": f"{value} {i}"} for value, n in counts.items() for i in range(n)]


def large(folder: Path, *, rows: int = 3000) -> Path:
    """A CSV of three common labels, and ten rows of a rare one at its end."""
    lines = [f"{i},message {i} about {'abc'[i % 3] * 3},{'abc'[i % 3]}" for i in range(rows - 10)]
    lines += [f"{i},a rare message {i},rare" for i in range(rows - 10, rows)]
    path = folder / "rows.csv"
    path.write_text("id,text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


# --- which rows are kept ----------------------------------------------------------------------------------


def test_without_a_limit_all_rows_are_kept() -> None:
    """A limit of zero keeps everything, in the file's order."""
    assert drawn(rows_of({"a": 50}), Draw()) == list(range(1, 51))


def test_a_seed_draws_the_same_rows_again_and_another_others() -> None:
    """The rows kept follow from file and seed alone, and stand in the file's order."""
    rows = rows_of({"a": 500, "b": 500})

    first = drawn(rows, Draw(100, seed=1))

    assert first == sorted(first)
    assert len(first) == 100
    assert first == drawn(rows, Draw(100, seed=1))
    assert first != drawn(rows, Draw(100, seed=2))


def test_every_row_is_as_likely_as_any_other() -> None:
    """Over 2,000 seeds each of 20 rows is kept in about a quarter of the draws (5 standard errors)."""
    times = Counter(number for seed in range(2000) for number in drawn(rows_of({"a": 20}), Draw(5, seed)))

    assert set(times) == set(range(1, 21))
    assert all(abs(n - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5 for n in times.values())


@pytest.mark.parametrize("counts", [{"a": 9000, "b": 900, "rare": 8}, {"rare": 8, "b": 900, "a": 9000}])
def test_labels_keep_their_shares_and_rare_ones_their_rows(counts: dict[str, int]) -> None:
    """Whatever the order of the file: a label of 8 rows in 10,000 keeps what is one row in 500 of the sample."""
    rows = rows_of(counts)

    kept = Counter(rows[number - 1]["label"] for number in drawn(rows, Draw(1000, label="label")))

    assert kept["rare"] >= 2
    assert abs(kept["b"] - 91) < 40
    assert kept.total() == 1000


def test_splits_get_equal_room() -> None:
    """A small test split is kept whole beside a large train split."""
    rows = rows_of({"train": 9000, "test": 100, "dev": 700}, "split")

    kept = Counter(rows[number - 1]["split"] for number in drawn(rows, Draw(900, split="split", label="text")))

    assert kept == {"test": 100, "train": 400, "dev": 400}


def test_long_texts_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows drawn hold too much text, fewer are kept, but always one."""
    monkeypatch.setattr(sampling, "MOST_TEXT", 10_000)
    rows = [{"text": "x" * 936} for _ in range(200)]

    assert len(drawn(rows, Draw(100))) == 10
    assert len(drawn([{"text": "x" * 20_000}] * 3, Draw(100))) == 1


# --- what is said of it -----------------------------------------------------------------------------------


def test_a_table_says_that_it_is_a_sample(tmp_path: Path) -> None:
    """Rows know their number and line in the file, and a note says how many there are and how they were drawn."""
    table = read_table(large(tmp_path), Draw(1000, 3, label="label"))

    assert len(table.rows) == 1000
    assert all(row["id"] == str(number - 1) for row, number in zip(table.rows, table.numbers, strict=True))
    assert table.place(0) == f"{tmp_path / 'rows.csv'}:{table.numbers[0] + 1}"
    assert table.note == (
        "rows.csv has 3,000 rows; 1,000 of them, drawn with seed 3, the rare values of 'label' kept, are used "
        "([data] max_rows)."
    )
    assert read_table(large(tmp_path), Draw(3000)).note == ""


def test_rows_that_are_not_drawn_are_still_checked(tmp_path: Path) -> None:
    """A ragged row is refused wherever it stands."""
    path = large(tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + "one,too,many,fields\n", encoding="utf-8")

    with pytest.raises(DataError, match=":3002: number of fields is 4"):
        read_table(path, Draw(12))


def test_init_and_space_draw_the_same_rows_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every label is listed, also one that a uniform sample would miss, and the note is said aloud."""
    monkeypatch.chdir(tmp_path)
    large(tmp_path, rows=40_000)

    made = CliRunner().invoke(main, ["init", "rows.csv"])
    looked = CliRunner().invoke(main, ["space", "task.toml"])
    data, labels = read_rows(load_task("task.toml"))

    assert made.exit_code == looked.exit_code == 0, made.output + looked.output
    assert "note: rows.csv has 40,000 rows; 20,000 of them, drawn with seed 0" in made.output
    assert sorted(labels) == ["a", "b", "c", "rare"]
    assert sum(example.target == "rare" for example in (*data.train, *data.dev, *data.test)) == 10
    assert len(data.train) + len(data.dev) + len(data.test) == 20_000


def test_max_rows_is_no_part_of_a_run_by_itself(tmp_path: Path) -> None:
    """A limit above the number of rows changes nothing; one below changes the rows, and so the run."""
    large(tmp_path, rows=100)
    text = '[task]\nname = "t"\n[data]\nfile = "rows.csv"\ninputs = ["text"]\ntarget = "label"\n'
    digests = []
    for limit in (0, 500, 50):
        (tmp_path / "task.toml").write_text(f"{text}max_rows = {limit}\n", encoding="utf-8")
        digests.append(prepare(tmp_path / "task.toml").data_digest)

    assert digests[0] == digests[1] != digests[2]


# --- what is too large ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("rows.csv", "text,label\n" + "x" * (LONGEST + 1) + ",a\n", ":2: the line has more than 10,000,000 characters"),
        ("rows.jsonl", '{"text": "' + "x" * LONGEST + '"}\n', ":1: the line has more than 10,000,000 characters"),
        ("rows.json", '[{"text": "' + "x" * (LONGEST + 1) + '"}]', "record 1: column 'text' holds 10,000,001"),
        ("rows.csv", ",".join(f"c{i}" for i in range(MOST_COLUMNS + 1)) + "\n", "has more than 2,000 columns"),
        (
            "rows.jsonl",
            "\n".join(json.dumps({f"k{i}": "x"}) for i in range(MOST_COLUMNS + 2)),
            "has more than 2,000 columns",
        ),
    ],
)
def test_what_no_model_reads_is_refused(tmp_path: Path, name: str, content: str, wanted: str) -> None:
    """A text, a line or a header beyond all reason is refused with its place."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")

    with pytest.raises(DataError) as caught:
        read_table(path, Draw(20))

    assert wanted in str(caught.value)


def test_a_json_file_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has to be held in whole, so its size has a limit; the way out is named."""
    monkeypatch.setattr(objects, "LARGEST_LIST", 1_000_000)
    path = tmp_path / "rows.json"
    path.write_text("[" + " " * 1_000_000 + "]", encoding="utf-8")

    with pytest.raises(DataError, match=r"has 1 MB; a \.json file is read in whole.*Save the rows as \.jsonl"):
        read_table(path)
