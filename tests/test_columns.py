"""Which roles are guessed for columns: by name first, by values second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.errors import DataError
from optimizer.rows.columns import Guess, guess
from optimizer.rows.tables import Table, read_table, table_from

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu".split()


def table_of(n: int = 40, /, **columns: Any) -> Table:
    """Columns of n values: lists are repeated to that length, texts are numbered."""
    rows = [
        {name: f"{v} {i}" if isinstance(v, str) else v[i % len(v)] for name, v in columns.items()} for i in range(n)
    ]
    return Table("rows.csv", tuple(columns), tuple(rows), tuple(range(2, n + 2)))


def test_a_full_table_of_messages() -> None:
    """Every role is found where names and values agree."""
    table = table_of(
        ID="m",
        Message="a longer text",
        channel=["mail", "chat"],
        customer_id=[f"c{i}" for i in range(9)],
        Label=["bug", "bill", "bug", "how"],
        split=["train", "train", "val", "test"],
        note="free words",
    )

    assert guess(table) == Guess(
        inputs=("Message",),
        target="Label",
        id_column="ID",
        split_column="split",
        group_column="customer_id",
        slices=("channel",),
        kind="classification",
        labels=("bill", "bug", "how"),
        metric="accuracy",
        answers_column="",
        unused=("note",),
    )


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        (["text", "answer", "label"], "label"),
        (["text", "Sentiment", "Response"], "Sentiment"),
        (["text", "is_spam_label"], "is_spam_label"),
        (["text", "productCategory"], "productCategory"),
        (["question", "expected-output"], "expected-output"),
    ],
)
def test_the_target_goes_by_name(columns: list[str], target: str) -> None:
    """Names that say what is wanted win, in their order of trust, however they are written."""
    table = table_of(**{name: ["a", "b"] if name == target else name for name in columns})

    assert guess(table).target == target


def test_a_target_without_a_name_goes_by_shape() -> None:
    """The last column with few distinct values is the target; without one, the last column."""
    assert guess(table_of(col1="words", col2=["a", "b"], col3="more")).target == "col2"
    assert guess(table_of(col1="words", col2="more")).target == "col2"
    assert guess(table_of(col1=["a", "b"], text="words")).target == "col1"


def test_a_constant_column_has_no_role() -> None:
    """A column with one value tells nothing, whatever its name."""
    found = guess(table_of(label=["a"], text="words", split=["train"], channel=["mail"], topic=["x", "y"]))

    assert found.target == "topic"
    assert (found.split_column, found.slices) == ("", ())


@pytest.mark.parametrize(
    ("columns", "inputs"),
    [
        (["text", "premise", "hypothesis"], ("premise", "hypothesis")),
        (["question", "context"], ("context", "question")),
        (["title", "body"], ("title", "body")),
        (["rationale", "question"], ("question",)),
        (["short", "a_much_longer_name"], ("a_much_longer_name",)),
    ],
)
def test_inputs_go_by_name_then_by_length(columns: list[str], inputs: tuple[str, ...]) -> None:
    """A known pair wins over one text, one text over a column that may give the answer away."""
    assert guess(table_of(**{name: name for name in columns}, label=["a", "b"])).inputs == inputs


@pytest.mark.parametrize(
    ("target", "kind", "metric"),
    [
        (["a", "b"], "classification", "accuracy"),
        (["a", "a", "a", "b"], "classification", "accuracy"),
        (["a", "a", "a", "a", "b"], "classification", "macro_f1"),
        ("answer", "qa", "exact_match"),
        ("an answer of seven words is number", "qa", "token_f1"),
        (" ".join(WORDS), "generation", "rouge_l"),
        ([f"7.{i}" for i in range(40)], "qa", "spearman"),
        ([*(f"-7.{i}" for i in range(38)), "7", "8"], "qa", "spearman"),
        ([f"{1980 + i}" for i in range(40)], "qa", "exact_match"),
        ([*(f"7.{i}" for i in range(39)), "v1.2"], "qa", "exact_match"),
        ([f'{{"a": {i}}}' for i in range(40)], "extraction", "slot_f1"),
        (['{"a": 1}', "{}"], "extraction", "slot_f1"),
        (['{"a": 1}', "{not"], "classification", "accuracy"),
        ([*(f'{{"a": {i}}}' for i in range(38)), "{not", "no"], "extraction", "slot_f1"),
        ([*(f'{{"a": {i}}}' for i in range(37)), "{not", "no", "nor"], "qa", "exact_match"),
    ],
)
def test_kind_and_metric_go_by_the_targets(target: list[str] | str, kind: str, metric: str) -> None:
    """Repeated values are labels, objects are slots, long texts are written, the rest is known."""
    found = guess(table_of(text="words", output=target))

    assert (found.kind, found.metric) == (kind, metric)
    assert bool(found.labels) == (kind == "classification")


@pytest.mark.parametrize(
    ("n", "distinct", "kind"), [(40, 10, "classification"), (40, 11, "qa"), (4, 2, "classification"), (2, 2, "qa")]
)
def test_labels_are_at_most_a_quarter_of_the_rows(n: int, distinct: int, kind: str) -> None:
    """Beyond n/4 values, or where they do not repeat, targets are open."""
    assert guess(table_of(n, text="words", output=[f"v{i}" for i in range(distinct)])).kind == kind


@pytest.mark.parametrize("sign", [", ", ";", " | ", "json"])
def test_several_labels_in_a_cell_are_found(sign: str) -> None:
    """Cells of more kinds than the labels in them, by whatever stands between; a comma within a label is none."""
    named = [["bug"], ["bug", "price"], ["price", "thanks"], ["thanks"], ["bug", "thanks"]]
    cells = [json.dumps(labels) if sign == "json" else sign.join(labels) for labels in named]

    found = guess(table_of(60, text="words", topics=cells))

    assert (found.kind, found.labels, found.metric) == ("multilabel", ("bug", "price", "thanks"), "micro_f1")
    assert guess(table_of(60, text="words", topics=["health, beauty", "food"])).kind == "classification"


def test_more_than_two_hundred_labels_are_open() -> None:
    """No prompt can list them."""
    assert guess(table_of(900, text="words", output=[f"v{i}" for i in range(200)])).kind == "classification"
    assert guess(table_of(900, text="words", output=[f"v{i}" for i in range(201)])).kind == "qa"


def test_answers_are_lists_by_name() -> None:
    """A column of lists under a known name holds all answers, also where it is the target."""
    lists = [f'["a {i}", "b"]' for i in range(40)]

    assert guess(table_of(question="q", answer="a", answers=lists)).answers_column == "answers"
    assert guess(table_of(question="q", answers=lists)).answers_column == "answers"
    assert guess(table_of(question="q", answers=lists)).target == "answers"
    assert guess(table_of(question="q", answer="a", answers="no list")).answers_column == ""


def test_lists_of_accepted_answers_are_known_by_their_form() -> None:
    """Also where a few of them stand again and again, so that they would pass for labels."""
    lists = ['["Tokyo", "T\u014dky\u014d"]', '["La Paz", "Sucre"]', '["Rome"]', '["Bern"]', '["Oslo"]']
    rows = [{"question": f"What is {i}?", "context": f"about {i}", "gold": lists[i % 5]} for i in range(60)]

    found = guess(table_from("rows.csv", enumerate(rows, start=1)), target="gold")

    assert (found.kind, found.target, found.answers_column, found.labels) == ("qa", "gold", "gold", ())


def test_other_accepted_answers_make_none_longer() -> None:
    """The metric suits the answers, not the lists of them."""
    several = ["New York City", "the city of New York", "NYC", "the Big Apple, as some call it"]
    short, long = (
        [{"question": f"What is {i}?", "answers": json.dumps(answers)} for i in range(40)]
        for answers in (several, ["one of a long list of those"])
    )

    found = [guess(table_from("rows.csv", enumerate(rows, start=1)), target="answers") for rows in (short, long)]

    assert [(each.kind, each.metric) for each in found] == [("qa", "exact_match"), ("qa", "token_f1")]


def test_an_empty_list_is_no_answer() -> None:
    """As an empty cell: either way the row has none."""
    tags = ['["a"]', '["a", "b"]', "[]", '["b"]', ""]
    rows = [{"text": f"row {i}", "tags": tags[i % 5]} for i in range(100)]

    found = guess(table_from("rows.csv", enumerate(rows, start=1)))

    assert (found.kind, found.labels, found.empty) == ("multilabel", ("a", "b"), 40)


def test_columns_without_a_role_are_told() -> None:
    rows = [{"text": f"row {i}", "note": f"x{i}", "label": "ab"[i % 2], "blank": ""} for i in range(40)]

    assert guess(table_from("rows.csv", enumerate(rows, start=1))).unused == ("note", "blank")


def test_an_id_is_unique_and_full() -> None:
    """A column called id that repeats or has gaps is none."""
    assert guess(table_of(id=["1", "2"], text="words", label=["a", "b"])).id_column == ""
    assert guess(table_of(id=[*map(str, range(39)), ""], text="words", label=["a", "b"])).id_column == ""
    assert guess(table_of(ticket_id="t", text="words", label=["a", "b"])).id_column == "ticket_id"


@pytest.mark.parametrize("values", [["train", "dev"], ["train", "test", "eval"], ["1", "2"]])
def test_a_split_column_needs_its_values(values: list[str]) -> None:
    """A column called split that names no train and test, or something else too, is none."""
    assert guess(table_of(text="words", label=["a", "b"], split=values)).split_column == ""


def test_a_group_can_be_divided_in_three() -> None:
    """A group column has at least three values, and some value twice."""
    assert guess(table_of(text="words", label=["a", "b"], user=["u", "v"])).group_column == ""
    assert guess(table_of(text="words", label=["a", "b"], user="u")).group_column == ""
    assert guess(table_of(text="words", label=["a", "b"], user=["u", "v", "w"])).group_column == "user"
    assert guess(table_of(text="words", label=["a", "b"], team=["u", "v", "w"])).group_column == ""


def test_the_target_under_another_name_is_no_slice() -> None:
    """A column that goes with the target one to one would report each label by itself."""
    table = table_of(text="words", label=["a", "b"], label_id=["0", "1"], site=["x", "x", "y", "y"])

    assert guess(table).slices == ("site",)


@pytest.mark.parametrize("values", [["x" * 41, "y"], ["[1]", "[2]"], [f"v{i}" for i in range(21)]])
def test_a_slice_is_short_plain_and_has_few_values(values: list[str]) -> None:
    """Long, nested or many values are no slice."""
    assert guess(table_of(80, text="words", label=["a", "b", "a"], other=values)).slices == ()


@pytest.mark.parametrize(
    "table",
    [table_of(text="words"), table_of(text="words", label=["a"]), table_of(id="i", label=["a", "b"])],
    ids=["one column", "constant target", "no text"],
)
def test_a_table_without_input_or_target_is_refused(table: Table) -> None:
    """The message lists the columns there are, and says what is needed."""
    with pytest.raises(DataError, match=r"^rows.csv: columns .* hold no input beside a target\. At least two columns"):
        guess(table)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark data are not here")
@pytest.mark.parametrize(
    ("name", "inputs", "target", "kind", "metric", "slices"),
    [
        ("sms_spam", ("text",), "label", "classification", "macro_f1", ()),
        ("mnli", ("premise", "hypothesis"), "label", "classification", "accuracy", ()),
        ("sentiment_domains", ("text",), "label", "classification", "accuracy", ("domain",)),
        ("gsm8k", ("question",), "answer", "qa", "exact_match", ()),
        ("scitldr", ("question",), "answer", "generation", "rouge_l", ()),
        ("instruction_induction", ("question",), "answer", "qa", "exact_match", ("task",)),
    ],
)
def test_real_tables(name: str, inputs: tuple[str, ...], target: str, kind: str, metric: str, slices: object) -> None:
    """Public data sets are understood as their authors meant them."""
    found = guess(read_table(SHARED / name / "train.jsonl"))

    assert (found.inputs, found.target, found.kind, found.metric, found.slices) == (
        inputs,
        target,
        kind,
        metric,
        slices,
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark data are not here")
def test_real_slots() -> None:
    """With its intents taken away, the slot data set is one of extraction."""
    table = read_table(SHARED / "snips_slots" / "train.jsonl")
    rows = tuple({name: row[name] for name in ("id", "text", "answer")} for row in table.rows)
    found = guess(Table(table.path, ("id", "text", "answer"), rows, table.lines))

    assert (found.inputs, found.target, found.kind, found.metric) == (("text",), "answer", "extraction", "slot_f1")
