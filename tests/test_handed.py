"""Rows that a program passes, in any form, make the same task as a file with these rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from optimizer import export, load_task, make_task, tune
from optimizer.embedded import EmbeddedModel
from optimizer.errors import DataError, Interrupted, TaskError
from optimizer.preparing import prepare
from optimizer.rows.handed import as_table
from optimizer.task import parse_task
from optimizer.watch import Watch
from tests.small_task import BUNDLED, write_task

with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as FILE:
    ROWS = list(csv.DictReader(FILE))[:120]
SMALL: dict[str, Any] = {
    "search": {"calls": 20, "trials": 2},
    "baseline": {"trials": 1},
    "space": {"template": ["plain", "xml"]},
}


def test_rows_are_the_same_whatever_they_come_in() -> None:
    """A list, a generator, an Arrow table and a mapping of one split make one digest of rows and splits."""
    digests = {
        prepare(make_task(rows)).data_digest
        for rows in (ROWS, tuple(ROWS), (row for row in ROWS), pa.Table.from_pylist(ROWS))
    }

    assert len(digests) == 1


def test_a_task_file_takes_rows_in_the_place_of_its_file(tmp_path: Path) -> None:
    """Run, digest and all are those of the file with the same rows; the file need not be there."""
    path = write_task(tmp_path, rows=120)
    model = EmbeddedModel()
    from_file = prepare(load_task(path)).config(model)
    (tmp_path / "rows.csv").unlink()

    assert from_file == prepare(load_task(path, rows=ROWS)).config(model)


def test_a_task_shows_what_was_given_and_no_rows(tmp_path: Path) -> None:
    """Printed, it fits on a few lines, whatever number of rows it holds; what nobody gave is not repeated."""
    said = repr(make_task(ROWS, search={"calls": 7}))

    assert "search=Search(calls=7)" in said
    assert len(said) < 500
    assert len(repr(load_task(write_task(tmp_path), rows=ROWS))) < 1_000


def test_a_single_input_may_be_named_as_it_is() -> None:
    """A text is one name, not a list of letters."""
    assert make_task(ROWS, inputs="text").data.inputs == ["text"]


def test_what_is_left_out_is_guessed_as_init_does() -> None:
    """Columns, kind and metric are found; what is given goes before, and no metric is guessed for another kind."""
    guessed = make_task(ROWS)
    told = make_task(ROWS, inputs=["text", "channel"], target="label", task={"kind": "qa"}, search={"calls": 7})

    assert (guessed.data.inputs, guessed.data.target, guessed.data.id) == (["text"], "label", "id")
    assert (guessed.task.kind, guessed.data.slices) == ("classification", ["channel"])
    assert (told.data.inputs, told.task.kind, told.metric) == (["text", "channel"], "qa", "exact_match")
    assert told.search.calls == 7


def test_a_metric_that_is_named_stays_also_where_another_kind_would_have_been_guessed_with_it() -> None:
    rows = [{"question": f"What is {i}?", "answer": f"number {i * 7}"} for i in range(40)]

    assert make_task(rows, task={"kind": "extraction", "metric": "exact_match"}).metric == "exact_match"
    assert make_task(rows, task={"kind": "extraction"}).metric == "slot_f1"


def test_rows_that_cannot_be_used_are_left_out_as_init_does() -> None:
    gaps = [*ROWS, {**ROWS[0], "id": "gap", "label": ""}]

    assert not make_task(ROWS).data.skip_empty
    assert make_task(gaps).data.skip_empty


def test_examples_of_dspy_say_what_is_asked() -> None:
    """Inputs are those of with_inputs, the target is what is left; without them columns are guessed."""
    import dspy

    examples = [dspy.Example(word=row["label"], q=row["text"]).with_inputs("q") for row in ROWS]

    task = make_task(examples)

    assert (task.data.inputs, task.data.target, task.task.kind) == (["q"], "word", "classification")
    assert len(prepare(task).data.train) == 60
    assert make_task([dspy.Example(text=row["text"], label=row["label"]) for row in ROWS]).data.target == "label"


def test_a_mapping_of_splits_is_kept_as_it_is_divided() -> None:
    """Each row stays where it was; the column that says so is not asked."""
    rows = [{"text": row["text"], "label": row["label"]} for row in ROWS]

    plan = prepare(make_task({"train": rows[:60], "validation": pa.Table.from_pylist(rows[60:90]), "test": rows[90:]}))

    assert {row.text for row in plan.data.train} <= {row["text"] for row in rows[:60]}
    assert {row.text for row in plan.data.test} <= {row["text"] for row in rows[90:]}
    assert plan.space.facts.inputs == ("text",)


def test_values_become_what_a_file_would_hold() -> None:
    """Nothing, truth, numbers, lists and dates; numpy's as Python's."""
    import numpy as np

    (row,) = as_table(
        [{"a": None, "b": True, "c": np.int64(7), "d": np.array([1.5, 2]), "e": float("nan"), "f": np.bool_(False)}]
    ).rows

    assert row == {"a": "", "b": "true", "c": "7", "d": "[1.5,2.0]", "e": "", "f": "false"}


def test_a_large_set_is_drawn_from_as_a_large_file_is() -> None:
    """max_rows holds, and the note says so."""
    data = prepare(make_task(ROWS, data={"max_rows": 40})).data

    assert len(data.train) + len(data.dev) + len(data.test) == 40
    assert "rows has 120 rows; 40 of them" in data.notes[0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("rows.csv", r"a str was given; allowed: a list of dicts, .* Name a file in \[data\]"),
        (7, "an int was given; allowed: a list of dicts"),
        ([], "there are none"),
        ({"text": ["a"], "label": ["b"]}, "unknown split 'text'; allowed: train"),
        ({"train": [{"split": "x"}]}, "have a column 'split' already"),
        (["a"], "record 1: holds a text, not an object"),
        ([{"text": "\0"}], "record 1: column 'text' holds a NUL"),
    ],
)
def test_what_are_no_rows_is_one_clear_error(rows: object, said: str) -> None:
    """What was given, what is allowed, what to do."""
    with pytest.raises(DataError, match=said):
        as_table(rows)


def test_a_wrong_section_is_named() -> None:
    """As in a task file; rows and folder are no sections of one."""
    with pytest.raises(
        TaskError, match=r"make_task: unknown key in \[search\] 'call'; allowed: .* Did you mean 'calls'"
    ):
        make_task(ROWS, search={"call": 7})
    for name in ("task", "data", "search"):
        with pytest.raises(TaskError, match=f"make_task: `{name}` = 'x': must be a section with keys of its own"):
            make_task(ROWS, **{name: "x"})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"unknown target column 'lable'; allowed: .* Did you mean 'label'"):
        make_task(ROWS, target="lable")
    with pytest.raises(TaskError, match="unknown section 'rows'"):
        parse_task('rows = "x"\n[task]\nname = "x"', Path("task.toml"))


def test_what_is_said_twice_must_be_the_same() -> None:
    """Also that the rows are here and in no file; what is the same in both places is no contradiction."""
    with pytest.raises(TaskError, match=r"file is given as 'rows', and as 'b\.csv' in data\. Leave one out"):
        make_task(ROWS, data={"file": "b.csv"})
    with pytest.raises(TaskError, match="name is given as 'a', and as 'b' in task"):
        make_task(ROWS, name="a", task={"name": "b"})
    with pytest.raises(TaskError, match=r"inputs is given as \['text'\], and as \['channel'\] in data"):
        make_task(ROWS, inputs="text", data={"inputs": ["channel"]})
    assert make_task(ROWS, name="a", inputs="text", task={"name": "a"}, data={"inputs": ["text"]}).task.name == "a"
    assert (make_task(ROWS).task.name, make_task(ROWS, task={"name": "b"}).task.name) == ("task", "b")


def test_columns_may_be_called_by_numbers() -> None:
    """As data frames call those that nobody has named; also the first, 0."""
    rows = [{0: row["label"], 1: row["text"]} for row in ROWS]

    for task in (make_task(rows, inputs=[1], target=0), make_task(rows, inputs=1, target="0")):
        assert (task.data.inputs, task.data.target) == (["1"], "0")


def test_a_frame_with_a_name_twice_is_refused() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])

    with pytest.raises(DataError, match=r"^rows: names of columns stand more than once \('x' 2 times\)\. Rename"):
        as_table(table)


def test_a_note_on_rows_that_are_left_out_names_no_file_where_there_is_none() -> None:
    plan = prepare(make_task([*ROWS, {**ROWS[0], "id": "gap", "label": ""}]))

    assert "1 row without an answer or a text: left out (skip_empty)." in plan.data.notes


def test_rows_may_be_exported_as_they_are_handed_over(finished: Path, tmp_path: Path) -> None:
    """A table gives the file that a file of the same rows gives."""
    written = [
        export("batch", db=finished, folder=tmp_path, name=name, rows=rows).path.read_bytes()
        for name, rows in (("a.jsonl", pa.Table.from_pylist(ROWS[:9])), ("b.jsonl", save(tmp_path, ROWS[:9])))
    ]

    assert written[0].count(b"\n") == 9
    assert written[0] == written[1]


def save(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows into a file."""
    with (folder / "new.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "new.csv"


def test_a_run_on_rows_is_resumed_by_the_same_call(tmp_path: Path) -> None:
    """Stopped on a list and taken up on an Arrow table of the same rows, it is the same run."""
    watch = Watch(lambda event: watch.stop.set() if getattr(event, "best", None) is not None else None)
    with pytest.raises(Interrupted):
        tune(make_task(ROWS[:60], **SMALL), db=tmp_path / "r.db", watch=watch)

    resumed = tune(make_task(pa.Table.from_pylist(ROWS[:60]), **SMALL), db=tmp_path / "r.db")

    assert (resumed.run.id, resumed.run.status) == (1, "finished")
    assert resumed.verdict
