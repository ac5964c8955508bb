"""Trials selected by the user's SQL condition, which can only read; the ways to list them; wordings."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer import add_wording, history
from optimizer.database.slots import begin
from optimizer.errors import InputError
from optimizer.records import Run, Wording
from optimizer.store import Store
from tests.conftest import Command
from tests.recorded import Tried, write_run

TRIED = [
    Tried("10" * 10, "10" * 10, {"demos": "none"}),
    Tried("1" * 20, "1" * 20, {"demos": "random", "k": 4, "score": "own"}),
    Tried("1110", params={"demos": "random", "k": 8}),
    Tried("000", params={"demos": "a \"quoted\" 'one'", "k": 2}),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of four prompts; nothing in these tests may change the file."""
    path = tmp_path_factory.mktemp("asked") / "results.db"
    for _ in range(2):
        write_run(path, TRIED)
    return path


@pytest.fixture
def db(made: Path, tmp_path: Path) -> Path:
    """A copy as the results.db of an empty folder."""
    (tmp_path / "results.db").write_bytes(made.read_bytes())
    return tmp_path / "results.db"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", [0, 1, 2, 3]),
        ("score > 0.5", [1, 2]),
        ("demos = 'random' AND k >= 8", [2]),
        ("state = 'complete' -- and so on", [0, 1]),
        ("k IS NULL OR winner", [0, 1]),
        ("demos LIKE '%quoted%'", [3]),
        ("json_extract(params, '$.score') = 'own'", [1]),  # its column is the view's
        ("trial IN (SELECT trial FROM answers WHERE answers.run = history.run AND kind = 'right')", [0, 1, 2]),
        ("prompt LIKE '%Sort it%' AND run = 1", [0, 1, 2, 3]),
    ],
)
def test_a_condition_chooses_trials(made: Path, where: str, expected: list[int]) -> None:
    """On columns of the view and on parameters."""
    where = where.replace("answers.run = history.run", "answers.run = 1")

    assert expected == [fact["trial"] for fact in history(made).facts(1, where)]


def test_facts_hold_the_view_and_the_parameters(made: Path) -> None:
    """A parameter that does not apply is None; one that is called as a column does not hide it."""
    facts = history(made).facts()

    assert [fact["k"] for fact in facts] == [None, 4, 8, 2]
    assert [fact["score"] for fact in facts] == [0.5, 1.0, 0.75, 0.0]
    assert (facts[1]["winner"], facts[1]["run"], facts[1]["calls"]) == (1, 2, 20)
    assert facts[1]["cost_per_1000"] == pytest.approx(1)


WRITES = [
    "1; DROP TABLE runs",
    "1); DELETE FROM runs; --",
    "load_extension('x')",
    "trial IN (SELECT trial FROM pragma_journal_mode('DELETE'))",
    "(SELECT 1 FROM pragma_table_info('runs'))",
    "EXISTS (DELETE FROM runs RETURNING 1)",
    "1) UNION SELECT * FROM runs; ATTACH 'x.db' AS x; --",
]


@pytest.mark.parametrize("where", WRITES)
def test_what_would_do_more_than_read_is_refused(made: Path, where: str) -> None:
    """The file stays as it is, to the byte, and no other is made."""
    before = made.read_bytes()

    with pytest.raises(InputError, match=r"condition .* Allowed is a condition in SQL on the columns run, task"):
        history(made).facts(1, where)

    assert before == made.read_bytes()
    assert [made.name] == sorted(
        file.name for file in made.parent.iterdir() if not file.name.endswith(("-wal", "-shm"))
    )


@given(st.text())
def test_any_text_is_a_condition_or_an_input_error(made: Path, where: str) -> None:
    """Whatever is given, nothing else is raised."""
    facts = []
    with suppress(InputError):
        facts = history(made).facts(1, where)

    assert {fact["trial"] for fact in facts} <= {0, 1, 2, 3}


def test_a_misspelt_column_is_named(made: Path) -> None:
    """The closest that there is, and all of them."""
    with pytest.raises(InputError, match=r"no such column: tempalte\. Did you mean 'template'\?"):
        history(made).facts(1, "tempalte = 'chat'")


def test_a_file_that_cannot_be_written_can_be_asked(made: Path, tmp_path: Path) -> None:
    """In a folder where SQLite can lay no lock."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    copy = folder / "r.db"
    copy.write_bytes(made.read_bytes())
    copy.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert len(history(copy).facts(1, "score > 0.5")) == 2
    finally:
        folder.chmod(0o700)


# --- the command ------------------------------------------------------------------------------------------


def test_columns_are_given_as_they_are(db: Path, command: Command) -> None:
    """In every form the same values, in the order asked for."""
    asked = ("history", "--where", "k > 2", "--columns", "k,trial, score", "--sort", "number")

    told = json.loads(command(*asked, "--format", "json").stdout)
    assert told["trials"] == [{"k": 4, "trial": 1, "score": 1.0}, {"k": 8, "trial": 2, "score": 0.75}]
    rows = list(csv.reader(io.StringIO(command(*asked, "--csv").stdout)))
    assert rows == [["k", "trial", "score"], ["4", "1", "1.0"], ["8", "2", "0.75"]]
    assert command(*asked, "--format", "markdown").stdout.splitlines()[2] == "| 4 | 1 | 1.0 |"
    assert "4  1      1.0" in command(*asked).stdout


def test_a_markdown_table_stays_one(db: Path, command: Command) -> None:
    """The runs, the trials and the front; signs in texts are escaped."""
    for asked in (["--all"], [], ["--front"], ["--columns", "trial,demos"]):
        lines = command("history", *asked, "--format", "markdown").stdout.splitlines()
        assert {"|"} == {line[0] for line in lines}
        assert len({line.count(" | ") for line in lines}) == 1


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("number", [0, 1, 2, 3]),
        ("score", [1, 0, 2, 3]),  # those that were scored in full come first
        ("rows", [0, 1, 2, 3]),
        ("calls", [0, 1, 2, 3]),
        ("cost", [0, 1, 2, 3]),
    ],
)
def test_trials_are_sorted(db: Path, command: Command, by: str, expected: list[int]) -> None:
    """By the best or the most; equal ones by number."""
    told = json.loads(command("history", "--sort", by, "--columns", "trial", "--json").stdout)

    assert expected == [trial["trial"] for trial in told["trials"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", "trial,scor"], "unknown column 'scor'; allowed: run, task"),
        (["--where", "score >"], "condition 'score >'"),
        (["--front", "--where", "1"], "--where and --columns are about the trials of a run"),
        (["--all", "--columns", "trial"], "--where and --columns are about the trials of a run"),
        (["--json", "--csv"], "asked for csv and json at once"),
        (["--csv", "--format", "markdown"], "asked for csv and markdown at once"),
    ],
)
def test_bad_input_is_one_clear_error(db: Path, command: Command, arguments: list[str], said: str) -> None:
    """Exit code 2."""
    assert said in command("history", *arguments, code=2).output


def test_a_run_that_tried_nothing_says_so(db: Path, command: Command) -> None:
    """The latest run is taken, also one that failed at once: it says why, how to see the others, and has no columns."""
    with Store(db, create=True) as store:
        number = store.start_run(store.run(), "other")
        store.db.table("runs").update(number, {"status": "failed", "reason": "nobody answers"})

    listed = command("history").stdout
    refused = command("history", "--columns", "trial,scor", code=2).stderr

    assert f"run {number} (failed) has tried no prompt: nobody answers\n\nNext: phrasetune history --run 2\n" in listed
    assert refused.startswith(
        f"phrasetune: run {number} (failed) has tried no prompt, so that there are no columns. Name a run"
    )


# --- wordings ---------------------------------------------------------------------------------------------


def test_wordings_are_listed_with_the_best_trial_of_each(tmp_path: Path, command: Command) -> None:
    """Where it comes from, when it came and entered, and what was reached with it."""
    path = tmp_path / "results.db"
    run = write_run(
        path,
        [Tried("10" * 10, params={"instruction": "task"}), Tried("1" * 20, params={"instruction": "task"})],
        winner=None,
    )
    with Store(path, create=True) as store:
        begin(store, run, [Wording("instruction", "task", "Sort it.", "space")], [("instruction", "late_1")])
        store.update_run(run, status="interrupted")
    add_wording("Sort it, please.", db=path)
    with sqlite3.connect(path) as conn:
        conn.execute("UPDATE wordings SET parent = 'task', origin = 'model' WHERE id = 'late_1'")
    conn.close()

    first, second = json.loads(command("wordings", "--json").stdout)["wordings"]

    assert first == {
        "dimension": "instruction",
        "id": "task",
        "text": "Sort it.",
        "origin": "space",
        "parent": None,
        "arrived": None,
        "step": None,
        "trials": 2,
        "best": 1,
        "score": 1.0,
        "rows": 20,
        "reason": None,
        "cost": None,
    }
    assert (second["text"], second["parent"], second["trials"], second["best"]) == ("Sort it, please.", "task", 0, None)
    said = " ".join(command("wordings", "--dimension", "instruction").stdout.split())
    assert "instruction task space – 2 100.0 % on 20 rows (trial 1) – – Sort it." in said
    assert "model, from task" in said
    assert ", waits 0 – – – Sort it, please." in said
    assert "unknown dimension with wordings 'tone'" in command("wordings", "--dimension", "tone", code=2).output


def test_the_rows_of_a_wording_are_counted_in_words(tmp_path: Path, command: Command) -> None:
    """One that was looked at for a single row is so on 1 row."""
    path = tmp_path / "results.db"
    run = write_run(path, [Tried("0" + " " * 19, params={"instruction": "task"})], winner=None)
    with Store(path, create=True) as store:
        begin(store, run, [Wording("instruction", "task", "Sort it.", "space")], [])

    assert "0.0 % on 1 row (trial 0)" in " ".join(command("wordings").stdout.split())


def test_a_run_of_an_older_schema_has_the_view(tmp_path: Path) -> None:
    """An upgraded file can be asked as a new one: the view reads what was there."""
    from optimizer.errors import Upgraded
    from tests.test_damage import old_file

    path = old_file(tmp_path / "r.db", 3)
    with pytest.warns(Upgraded):
        records = history(path)

    assert isinstance(records.run(), Run)
    assert [fact["trial"] for fact in records.facts()] == [0, 1]
