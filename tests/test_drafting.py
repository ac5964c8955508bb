"""The first task file can be used as it is, whatever the names of the columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.drafting import draft, facts, least_gain, power
from optimizer.errors import DataError
from optimizer.rows.columns import Guess, guess
from optimizer.rows.tables import read_table
from optimizer.scoring import METRICS
from optimizer.task import parse_task
from optimizer.task_rows import other_rows, read_rows

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)


@given(names=st.lists(names, min_size=3, max_size=6, unique=True), labels=st.lists(names, min_size=2, unique=True))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_draft_is_a_valid_task_file(names: list[str], labels: list[str]) -> None:
    """Column names and labels with quotes, newlines or any other character come back as they were."""
    guessed = Guess(
        (names[0],), names[1], names[2], "", "", tuple(names[3:]), "classification", tuple(labels), "accuracy", ""
    )

    text = draft(guessed, 200, file="rows.csv", path="task.toml", name="x", metrics=["accuracy", "macro_f1"])

    task = parse_task(text, Path("task.toml"))
    assert [names[0]] == task.data.inputs
    assert (names[1], names[2], names[3:]) == (task.data.target, task.data.id, task.data.slices)
    assert labels == list(task.task.labels)


def test_a_draft_says_why_a_metric_is_not_the_usual_one() -> None:
    """Beside it, with the others that suit the kind."""
    guessed = Guess(("text",), "price", "", "", "", (), "qa", (), "spearman", "")

    text = draft(
        guessed, 200, file="rows.csv", path="task.toml", name="x", metrics=["exact_match", "spearman", "judge"]
    )

    (line,) = [line for line in text.splitlines() if line.startswith("metric = ")]
    assert line.endswith("# numbers come near or not, so it compares their order; or exact_match, judge")


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    """The others keep their numbers, so that a row is called the same before and after the gaps are filled."""
    path = tmp_path / "rows.csv"
    lines = [f"row {i},{'ab'[i % 2]}" for i in range(1, 41)]
    lines[1], lines[4], lines[9] = "row 2,", " ,a", "row 10, "
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    table = read_table(path)
    text = draft(guess(table), 40, file=path.name, path="task.toml", name="x", metrics=["accuracy"])

    task = parse_task(text, tmp_path / "task.toml")
    data, labels = read_rows(task)

    ids = {example.id for part in (data.train, data.dev, data.test) for example in part}
    assert ids == {f"r{i}" for i in range(1, 41)} - {"r2", "r5", "r10"}
    assert labels == ("a", "b")
    assert data.notes[0] == "3 rows of rows.csv without an answer or a text: left out (skip_empty)."
    with pytest.raises(DataError, match=r"rows.csv:3: column 'label' is empty \(so in 2 rows: 3, 11\)."):
        read_rows(parse_task(text.replace("skip_empty = true ", "skip_empty = false"), tmp_path / "task.toml"))


def test_a_target_that_the_metric_cannot_read_is_told_with_its_place(tmp_path: Path) -> None:
    """Also in rows of another domain, of which those that are left out keep their lines."""
    lines = ["text\tslots", *(f'row {i}\t{{"n": {i}}}' for i in range(40))]
    (tmp_path / "rows.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "bad.tsv").write_text("\n".join([*lines[:8], "other\tnot json", *lines[8:]]), encoding="utf-8")
    (tmp_path / "ood.tsv").write_text("\n".join([*lines[:3], *map("new {}\tno".format, range(5))]), encoding="utf-8")
    head = '[task]\nname = "x"\nkind = "extraction"\n[data]\ninputs = ["text"]\ntarget = "slots"\n'
    task = parse_task(f'{head}file = "rows.tsv"', tmp_path / "task.toml")
    metric, (data, _) = METRICS["slot_f1"], read_rows(task)

    with pytest.raises(DataError, match=r"bad.tsv:9: accepted answer 'not json' holds no JSON object"):
        read_rows(parse_task(f'{head}file = "bad.tsv"', tmp_path / "task.toml"))
    with pytest.raises(DataError, match=r"ood.tsv:4: accepted answer 'no' holds no JSON object"):
        other_rows(task, data, metric, (), "ood.tsv")


@pytest.mark.parametrize(("keys", "notes"), [("", 1), ('answers = "gold"\n', 0)])
def test_lists_that_no_key_speaks_of_are_pointed_out(tmp_path: Path, keys: str, notes: int) -> None:
    """Only the list itself, to the letter, would be right."""
    lists = ['["Tokyo", "T\u014dky\u014d"]', '["La Paz", "Sucre"]', "[1, 2]"]  # the last may be meant so
    lines = ["text\tgold", *(f"row {i}\t{lists[i % 3]}" for i in range(42))]
    (tmp_path / "rows.tsv").write_text("\n".join(lines), encoding="utf-8")
    head = '[task]\nname = "x"\nkind = "qa"\n[data]\nfile = "rows.tsv"\ninputs = ["text"]\ntarget = "gold"\n'

    said = read_rows(parse_task(head + keys, tmp_path / "task.toml"))[0].notes

    assert len(said) == notes
    assert not said or said[0].startswith("28 targets written as a JSON list (such as r")
    assert not said or 'write answers = "gold" into [data], or kind = "multilabel" into [task].' in said[0]


def test_a_file_without_gaps_has_nothing_to_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label", *(f"row {i},{'ab'[i % 2]}" for i in range(40))]), encoding="utf-8")

    text = draft(guess(read_table(path)), 40, file=path.name, path="task.toml", name="x", metrics=["accuracy"])

    assert "skip_empty" not in text


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
@pytest.mark.parametrize("name", ["ag_news", "banking77", "gsm8k", "hatexplain", "scitldr", "sms_spam", "sst2"])
def test_real_data_sets_lead_to_task_files_that_work(name: str, tmp_path: Path) -> None:
    """From a real file to its splits without a word from the user, and with facts about the rows."""
    path = SHARED / name / "train.jsonl"
    table = read_table(path)
    text = draft(guess(table), len(table.rows), file=str(path), path="task.toml", name=name, metrics=[])

    data, labels = read_rows(parse_task(text, tmp_path / "task.toml"))

    said = "\n".join(facts(data, labels, "accuracy"))
    assert f"rows: {len(data.train)} train" in said
    assert "power: " in said


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        (12, (0.5, 0.25, 0.25)),
        (2000, (0.5, 0.25, 0.25)),
        (3500, (0.61, 0.14, 0.25)),
        (10_000, (0.85, 0.05, 0.1)),
        (1_000_000, (0.98, 0.01, 0.01)),
    ],
)
def test_a_large_file_is_not_spent_on_judging(rows: int, shares: tuple[float, float, float]) -> None:
    """The verdict asks two prompts all test rows: of many, a thousand are enough, and the others are learnt from."""
    guessed = Guess(("text",), "label", "", "", "", (), "classification", ("a", "b"), "accuracy", "")

    data = parse_task(draft(guessed, rows, file="r.csv", path="t.toml", name="x", metrics=[]), Path("t.toml")).data

    assert (data.train, data.dev, data.test) == pytest.approx(shares)


def test_facts_count_duplicates_and_disagreements(tmp_path: Path) -> None:
    """Planted duplicates, and one that disagrees, are counted."""
    rows = [(f"message number {i} about something else {i * 7}", "ab"[i % 2]) for i in range(40)]
    rows += [rows[0], (rows[1][0], "a")]
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    guessed = guess(read_table(tmp_path / "rows.csv"))
    text = draft(guessed, 42, file="rows.csv", path="task.toml", name="x", metrics=[])

    said = facts(*read_rows(parse_task(text, tmp_path / "task.toml")), "accuracy")

    assert any(line.startswith("exact duplicates: 2 groups, each kept in one split; 1 disagree") for line in said)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("accuracy", "500 test rows show gains from about 6 points (80 % power, for two prompts that disagree on a qu"),
        ("macro_f1", "500 test rows show gains in accuracy from about 6 points (80 % power, for two prompts that dis"),
        ("rouge_l", "500 test rows show gains from about 3 points (80 % power, for two prompts whose rouge_l of a row"),
        ("mine:score", "500 test rows show gains from about 3 points (80 % power, for two prompts whose mine:score of"),
        ("bleu", "power: how small a gain in bleu shows depends on the answers; the verdict says it"),
    ],
)
def test_what_rows_can_show_follows_the_metric(metric: str, said: str) -> None:
    """A row that is right or wrong tells less than one that may be right in part; of all rows together none is told."""
    assert said in power(10, 500, metric)
    assert (least_gain(500, metric) is None) == (metric == "bleu")
