"""From a table to examples to a data set: the roles of columns, and the splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.data import SplitPlan, Table, audit, guess, read_table, split, to_examples
from optimizer.errors import DataError
from optimizer.records import Dataset
from optimizer.rows.overlap import same_inputs
from search_spaces.prompt import Example

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FRACTIONS = {"train": 0.5, "dev": 0.25, "test": 0.25}
SPLITS = ("train", "dev", "test")


def table_of(*rows: dict[str, str], path: str = "rows.csv") -> Table:
    return Table(path, tuple(rows[0]), rows, tuple(range(2, len(rows) + 2)))


def labelled(n: int, labels: str = "ab", **columns: list[str]) -> Table:
    rows = [{"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(n)]
    return table_of(*({**row, **{name: v[i] for name, v in columns.items()}} for i, row in enumerate(rows)))


def examples_of(table: Table, **roles: Any) -> tuple[Example, ...]:
    return to_examples(table, **{"inputs": ["text"], "target": "label", **roles})


def divided(table: Table, slices: tuple[str, ...] = (), **plan: Any) -> Dataset:
    return split(examples_of(table), table, SplitPlan(**{"fractions": FRACTIONS, "seed": 0, **plan}), slices)


def homes(dataset: Dataset) -> dict[str, str]:
    return {e.id: name for name in SPLITS for e in getattr(dataset, name)}


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.dev), len(dataset.test)


# --- examples ---------------------------------------------------------------------------------------------


def test_an_example_has_its_inputs_in_order_and_stripped() -> None:
    """Inputs come in the order asked for, without the white space around them; ids count the rows."""
    table = table_of({"a": " x ", "b": "y\n", "c": "\tz"}, {"a": "1", "b": "", "c": "3"})

    assert to_examples(table, inputs=["b", "a"], target="c") == (
        Example("r1", (("b", "y"), ("a", "x")), ("z",)),
        Example("r2", (("b", ""), ("a", "1")), ("3",)),
    )


def test_ids_come_from_their_column() -> None:
    """An id column names the examples."""
    table = table_of({"id": " q7", "text": "a", "label": "x"}, {"id": "q8", "text": "b", "label": "y"})

    assert [e.id for e in examples_of(table, id_column="id")] == ["q7", "q8"]


def test_all_answers_are_targets_with_the_preferred_one_first() -> None:
    """Answers come from a JSON list, each once, after the target; an empty cell adds none."""
    table = table_of(
        {"text": "a", "label": "4", "all": '["four", " 4 ", "", 4, "IV"]'}, {"text": "b", "label": "x", "all": ""}
    )

    assert [e.targets for e in examples_of(table, answers_column="all")] == [("4", "four", "IV"), ("x",)]


@pytest.mark.parametrize(
    ("cell", "answers"),
    [
        ("1001", ("1001",)),
        ('"7"', ("7",)),
        ("a, b", ("a, b",)),
        ('"a", "b"', ('"a", "b"',)),
        ('"Yes" or so', ('"Yes" or so',)),
    ],
)
def test_a_plain_cell_of_answers_is_the_only_one(cell: str, answers: tuple[str, ...]) -> None:
    """Beside lists in other rows, as new rows to predict may have it."""
    table = table_of({"text": "a", "all": '["b", "a"]'}, {"text": "b", "all": cell})

    assert [e.targets for e in examples_of(table, target="all", answers_column="all")] == [("b", "a"), answers]


def test_the_target_may_be_the_list_of_answers() -> None:
    """Without a column of its own the preferred answer is the first of the list."""
    table = table_of({"text": "a", "all": '["b", "a"]'}, {"text": "b", "all": '["c"]'})

    assert [e.targets for e in examples_of(table, target="all", answers_column="all")] == [("b", "a"), ("c",)]


def test_without_a_target_column_nothing_is_wanted() -> None:
    """Rows that are only to be answered become examples without targets."""
    table = table_of({"text": "a"}, {"text": "b"})

    assert [e.targets for e in examples_of(table, target="")] == [(), ()]


def test_declared_labels_that_cover_the_targets_are_accepted() -> None:
    """A label may be declared and not occur."""
    assert len(examples_of(labelled(4), labels=["a", "b", "c"])) == 4


GOOD = {"id": "1", "text": "a", "label": "x", "all": '["x"]'}


@pytest.mark.parametrize(
    ("row", "roles", "message"),
    [
        ({}, {"target": "lable"}, "rows.csv: unknown target column 'lable'; allowed: id, text, label, all. Did you"),
        ({}, {"inputs": ["txt"]}, "rows.csv: unknown input column 'txt'; allowed: id, text, label, all. Did you mean"),
        ({}, {"id_column": "key"}, "rows.csv: unknown id column 'key'; allowed: id, text, label, all."),
        ({}, {"answers_column": "al"}, "rows.csv: unknown answers column 'al'; allowed: id, text, label, all."),
        ({}, {"inputs": []}, "rows.csv: no input column was named; allowed: id, text, label, all. Name one."),
        ({}, {"inputs": ["text", "label"]}, "rows.csv: column 'label' has two roles;"),
        ({}, {"inputs": ["text", "text"]}, "rows.csv: column 'text' has two roles;"),
        ({}, {"inputs": ["all"], "answers_column": "all"}, "rows.csv: column 'all' has two roles;"),
        ({"label": " "}, {}, "rows.csv:3: column 'label' is empty. Write the wanted answer, remove the row, or say"),
        ({"text": "\n"}, {}, "rows.csv:3: nothing stands in 'text'. Write the text, or remove the row."),
        ({"label": "xy"}, {"labels": ["x", "xyz"]}, "rows.csv:3: unknown label 'xy'; allowed: x, xyz. Did you mean"),
        ({"id": ""}, {"id_column": "id"}, "rows.csv:3: the id in 'id' is empty. Give every row an id of its own"),
        ({"id": "1"}, {"id_column": "id"}, "rows.csv:3: the id '1' stands at rows.csv:2 too. Give every row an id"),
        ({"all": '["x"'}, {"answers_column": "all"}, "rows.csv:3: column 'all' holds '[\"x\"'; allowed is a JSON list"),
        ({"all": '{"a": 1}'}, {"answers_column": "all"}, "rows.csv:3: column 'all' holds '{\"a\": 1}'; allowed is"),
        ({"all": " "}, {"answers_column": "all", "target": "all"}, "rows.csv:3: column 'all' is empty."),
        ({"all": '[""]'}, {"answers_column": "all", "target": "all"}, "rows.csv:3: column 'all' is empty. Write"),
    ],
)
def test_a_bad_row_or_role_is_refused_with_its_place(row: dict[str, str], roles: dict[str, Any], message: str) -> None:
    """The message names the line or column, what was given, what is allowed and what to do."""
    with pytest.raises(DataError) as caught:
        examples_of(table_of(GOOD, {**GOOD, "id": "2", **row}), **roles)

    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_a_fault_of_many_rows_is_counted() -> None:
    """The first row with the fault is named, how many share it, and where the first three of them stand."""
    fault = {**GOOD, "label": ""}
    few, many = table_of(GOOD, fault, fault, path="rows.json"), table_of(GOOD, *[fault] * 4)

    with pytest.raises(DataError, match=r"rows.json, record 3: column 'label' is empty \(so in 2 rows: 3, 4\)\. Write"):
        examples_of(few)
    with pytest.raises(DataError, match=r"rows.csv:3: column 'label' is empty \(so in 4 rows: 3, 4, 5, …\)\. Write"):
        examples_of(many)


def test_one_of_several_inputs_may_be_empty() -> None:
    """A row is refused only where nothing at all is asked."""
    table = table_of({"text": "", "context": "c", "label": "x"})

    assert examples_of(table, inputs=["text", "context"])[0].text == "\nc"


# --- splits by fractions ----------------------------------------------------------------------------------


def test_shares_of_labels_are_alike_in_all_splits() -> None:
    """Every label is divided as the whole is."""
    dataset = divided(labelled(80, "aaab"))

    assert {name: Counter(e.target for e in getattr(dataset, name)) for name in SPLITS} == {
        "train": {"a": 30, "b": 10},
        "dev": {"a": 15, "b": 5},
        "test": {"a": 15, "b": 5},
    }
    assert dataset.notes == ()


def test_a_split_does_not_change() -> None:
    """The same rows and seed give this split on every platform; a change would reopen sealed test rows."""
    dataset = divided(labelled(12), fractions={"train": 1 / 3, "dev": 1 / 3, "test": 1 / 3}, seed=7)

    assert [[e.id for e in getattr(dataset, name)] for name in SPLITS] == [
        ["r12", "r11", "r8", "r9"],
        ["r5", "r1", "r4", "r10"],
        ["r6", "r7", "r2", "r3"],
    ]


def test_seeds_give_different_splits() -> None:
    """Another seed, another split and another order."""
    assert homes(divided(labelled(40), seed=1)) != homes(divided(labelled(40), seed=2))


def test_open_answers_are_divided_without_regard_to_them() -> None:
    """Where hardly any target repeats there is nothing to stratify, and nothing to note."""
    table = table_of(*({"text": f"q{i}", "label": f"answer {i}"} for i in range(40)))
    dataset = divided(table)

    assert sizes(dataset) == (20, 10, 10)
    assert dataset.notes == ()


def test_a_label_with_one_row_goes_to_train() -> None:
    """A label is learnt from train or not at all."""
    rows = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(40)]
    rows += [{"text": f"rare {label}", "label": label} for label in "cde"]
    dataset = divided(table_of(*rows), fractions={"train": 0.2, "dev": 0.4, "test": 0.4})

    assert {e.target for e in dataset.train} == {"a", "b", "c", "d", "e"}
    assert sizes(dataset) == (11, 16, 16)


def test_a_label_that_train_lacks_is_noted() -> None:
    """A group may carry all rows of a label out of train; that is said."""
    rows = [{"text": f"t{i}", "label": "ab"[i % 2], "split": "train"} for i in range(20)]
    rows += [{"text": f"u{i}", "label": "ac"[i % 2], "split": "test"} for i in range(20)]
    dataset = divided(table_of(*rows), column="split")

    assert "train has no row of 1 labels: c." in dataset.notes


def test_groups_stay_together_and_shares_are_met() -> None:
    """No group is divided; sizes come out as near as groups allow."""
    groups = [f"g{i // 5}" for i in range(100)]
    dataset = divided(labelled(100, user=groups), group="user")
    where = homes(dataset)
    by_group = defaultdict(set)
    for number, group in enumerate(groups, start=1):
        by_group[group].add(where[f"r{number}"])

    assert {len(found) for found in by_group.values()} == {1}
    assert sizes(dataset) == (50, 25, 25)


def test_rows_without_a_group_are_their_own() -> None:
    """An empty group ties nothing together."""
    dataset = divided(labelled(40, user=[""] * 40), group="user")

    assert sizes(dataset) == (20, 10, 10)


def test_repeated_texts_stay_together_and_are_noted() -> None:
    """Texts that differ in case and white space are the same, and disagreements about them are named."""
    rows = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(40)]
    rows += [{"text": "T1  ", "label": "b"}, {"text": "t2", "label": "b"}]
    dataset = divided(table_of(*rows))
    where = homes(dataset)

    assert len(where) == 42
    assert where["r2"] == where["r41"]
    assert where["r3"] == where["r42"]
    assert dataset.notes == (
        "2 rows repeat the inputs of another row; each stands in the same split as that row.",
        "1 texts stand with different targets (such as rows r3, r42): correct one of them.",
    )


def test_texts_and_groups_join_into_one_block() -> None:
    """A text that stands in two groups keeps both together."""
    users = ["u", "u", "v", "v", *("" for _ in range(36))]
    table = labelled(40, user=users)
    rows = [dict(row) for row in table.rows]
    rows[3]["text"] = rows[0]["text"].upper()
    where = homes(divided(table_of(*rows), group="user"))

    assert len({where[f"r{i}"] for i in range(1, 5)}) == 1


# --- given splits -----------------------------------------------------------------------------------------


def given_table(*rows: tuple[str, str, str]) -> Table:
    return table_of(*({"text": text, "label": label, "part": part} for text, label, part in rows))


def filled(**parts: int) -> list[tuple[str, str, str]]:
    return [(f"{part} {i}", "ab"[i % 2], part) for part, n in parts.items() for i in range(n)]


@pytest.mark.parametrize(
    ("train", "dev", "test"),
    [
        ("train", "dev", "test"),
        ("Training", "VAL", "holdout"),
        ("train", "valid", "Test"),
        ("train", "validation", "test"),
    ],
)
def test_given_splits_are_followed(train: str, dev: str, test: str) -> None:
    """Every row goes where its column says, in any accepted spelling."""
    dataset = divided(given_table(*filled(**{train: 6, dev: 5, test: 4})), column="part")

    assert sizes(dataset) == (6, 5, 4)
    assert {e.text.split()[0] for e in dataset.dev} == {dev}
    assert dataset.notes == ()


def test_a_missing_dev_is_carved_from_train() -> None:
    """Dev is taken from train in the proportion of the fractions, and test is left alone."""
    dataset = divided(given_table(*filled(train=30, test=8)), column="part", seed=3)

    assert sizes(dataset) == (20, 10, 8)
    assert Counter(e.target for e in dataset.dev) == {"a": 5, "b": 5}
    assert dataset.notes == ("column 'part' names no dev rows: 10 were taken from train (seed 3).",)


def test_texts_in_two_given_splits_stay_in_the_later_one() -> None:
    """Test keeps its rows, then dev; what is left out is counted."""
    rows = filled(train=6, dev=6, test=6)
    rows += [("TEST 0", "a", "train"), ("test  1", "b", "dev"), ("dev 2", "a", "train"), ("train 0", "a", "train")]
    dataset = divided(given_table(*rows), column="part")

    assert homes(dataset).keys().isdisjoint({"r19", "r20", "r21"})
    assert homes(dataset)["r22"] == "train"
    assert sizes(dataset) == (7, 6, 6)
    assert dataset.notes == (
        "2 of train and 1 of dev were left out, as their inputs stand in a later split too (test keeps its rows).",
    )


def test_contradictions_between_given_splits_are_noted() -> None:
    """A text with another target in test is left out of train, and the contradiction is named."""
    rows = [*filled(train=6, dev=6, test=6), ("test 0", "b", "train")]
    dataset = divided(given_table(*rows), column="part")

    assert sizes(dataset) == (6, 6, 6)
    assert dataset.notes == (
        "1 texts stand with different targets (such as rows r13, r19): correct one of them.",
        "1 of train were left out, as their inputs stand in a later split too (test keeps its rows).",
    )


def test_a_given_dev_that_only_repeats_test_is_not_replaced() -> None:
    """Dev rows that were all left out are a fault to report, not a reason to divide train."""
    rows = [*filled(train=20, test=6), *((f"test {i}", "ab"[i % 2], "dev") for i in range(6))]

    with pytest.raises(DataError, match=r"split 'dev' is too small \(train 20, dev 0, test 6\)"):
        divided(given_table(*rows), column="part")


def test_groups_that_given_splits_divide_are_noted() -> None:
    """A given split is followed even where it divides a group, which is said."""
    table = given_table(*filled(train=6, dev=6, test=6))
    rows = [{**row, "user": f"u{i % 7}"} for i, row in enumerate(table.rows)]
    dataset = divided(table_of(*rows), column="part", group="user")

    assert sizes(dataset) == (6, 6, 6)
    assert dataset.notes == ("7 groups of 'user' stand in several of the given splits (such as 'u0').",)


# --- slices -----------------------------------------------------------------------------------------------


def test_slices_are_kept_by_example() -> None:
    """Short columns are kept for reports; inputs and long texts are not, with a note."""
    table = labelled(40, channel=["mail ", "chat"] * 20, story=["x" * 61] * 40)
    dataset = divided(table, slices=("channel", "text", "story"))

    assert dataset.slices["r1"] == {"channel": "mail"}
    assert len(dataset.slices) == 40
    assert dataset.notes == (
        "column 'text' is no slice: it is an input or holds long texts.",
        "column 'story' is no slice: it is an input or holds long texts.",
    )


def test_without_slices_there_are_none() -> None:
    """No column asked for, no values kept."""
    assert divided(labelled(40)).slices == {}


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        (
            {"train": 0.5, "dev": 0.3, "test": 0.3},
            "rows.csv: fractions train 0.5, dev 0.3, test 0.3 sum to 1.1, not to",
        ),
        ({"train": 1.0, "dev": 0.0, "test": 0.0}, "rows.csv: fractions train 1, dev 0, test 0: each must be above 0."),
        ({"train": 1.5, "dev": -1.0, "test": 0.5}, "rows.csv: fractions train 1.5, dev -1, test 0.5: each must be"),
        ({"train": float("nan"), "dev": 0.5, "test": 0.5}, "rows.csv: fractions train nan, dev 0.5, test 0.5: each"),
        ({"train": float("inf"), "dev": 0.5, "test": 0.5}, "rows.csv: fractions train inf, dev 0.5, test 0.5 sum to"),
        (
            {"train": 0.5, "dev": 0.5},
            "rows.csv: fractions are given for train 0.5, dev 0.5; allowed: train, dev, test.",
        ),
    ],
)
def test_fractions_that_do_not_divide_a_whole_are_refused(fractions: dict[str, float], message: str) -> None:
    """Three shares above 0 with the sum 1, and nothing else."""
    with pytest.raises(DataError) as caught:
        divided(labelled(40), fractions=fractions)

    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(
        "Write three numbers above 0 that sum to 1, such as train 0.5, dev 0.25, test 0.25."
    )


@pytest.mark.parametrize(
    ("table", "plan", "message"),
    [
        (labelled(11), {}, "rows.csv: has 11 rows; train, dev and test need at least 4 each, together 12. Add rows."),
        (labelled(1), {}, "rows.csv: has 1 row; train, dev and test need at least 4 each"),
        (labelled(40, "a"), {}, "rows.csv: every row has the target 'a'; at least two are needed to tell"),
        (
            labelled(40),
            {"fractions": {"train": 0.9, "dev": 0.05, "test": 0.05}},
            "rows.csv: split 'dev' is too small (train 36, dev 2, test 2); each needs at least 4. Add rows, or raise",
        ),
        (
            labelled(40, user=["u"] * 20 + ["v"] * 20),
            {"group": "user"},
            "rows.csv: split 'test' is too small (train 20, dev 20, test 0); each needs at least 4. Rows with",
        ),
        (
            given_table(*filled(train=9, dev=3, test=9)),
            {"column": "part"},
            "rows.csv: split 'dev' is too small (train 9, dev 3, test 9); each needs at least 4. Mark more rows for it",
        ),
        (
            given_table(*filled(train=9, eval=3, test=9)),
            {"column": "part"},
            "rows.csv:11: split column 'part' holds 'eval' (so in 3 rows: 11, 12, 13). Allowed: train, training, dev",
        ),
        (
            given_table(*filled(train=9, test=9), ("x", "a", " ")),
            {"column": "part"},
            "rows.csv:20: split column 'part' holds ''. Allowed: train,",
        ),
        (
            given_table(*filled(train=9, dev=9)),
            {"column": "part"},
            "rows.csv: split column 'part' names no test rows, only dev, train; train and test are needed. Mark some",
        ),
        (labelled(40), {"column": "set"}, "rows.csv: unknown split column 'set'; allowed: text, label."),
        (labelled(40), {"group": "user"}, "rows.csv: unknown group column 'user'; allowed: text, label."),
    ],
)
def test_a_split_that_cannot_be_is_refused(table: Table, plan: dict[str, Any], message: str) -> None:
    """The message says what is missing and what to do about it."""
    with pytest.raises(DataError) as caught:
        divided(table, **plan)

    assert str(caught.value).startswith(message)


def test_an_unknown_slice_is_refused() -> None:
    """A slice column that is not there is named, with the near one."""
    with pytest.raises(DataError, match=r"unknown slice column 'lable'; allowed: text, label\. Did you mean 'label'\?"):
        divided(labelled(40), slices=("lable",))


# --- what holds for all splits ----------------------------------------------------------------------------

shares = st.tuples(*[st.integers(20, 100)] * 3).map(
    lambda parts: {name: part / sum(parts) for name, part in zip(SPLITS, parts, strict=True)}
)


@st.composite
def tables(draw: st.DrawFn, *, groups: bool, repeats: bool) -> Table:
    n = draw(st.integers(60, 150))
    weights = draw(st.lists(st.integers(1, 6), min_size=2, max_size=6))
    labels = [label for label, weight in zip("abcdef", weights, strict=False) for _ in range(weight)]
    rng = draw(st.randoms(use_true_random=False))
    pool = rng.sample(range(2 * n), n) if not repeats else [rng.randrange(n) for _ in range(n)]
    rows = [
        {
            "text": rng.choice([" t{}", "T{}\n", "t{}"]).format(number),
            "label": labels[i] if i < len(labels) else rng.choice(labels),
            "user": rng.choice(["", f"u{rng.randrange(30)}"]) if groups else "",
        }
        for i, number in enumerate(pool)
    ]
    return table_of(*rows)


def parts_of(dataset: Dataset) -> list[Example]:
    return [*dataset.train, *dataset.dev, *dataset.test]


@settings(max_examples=60, deadline=None)
@given(tables(groups=False, repeats=False), shares, st.integers(0, 2**40))
def test_every_label_is_within_a_row_of_its_share(table: Table, fractions: dict[str, float], seed: int) -> None:
    """Without groups or repeated texts each count of a label is less than 1 away from its share.

    Totals are less than 2 away, and a row more for each label that train is given its first row of.
    """
    dataset = divided(table, fractions=fractions, seed=seed)
    totals = Counter(row["label"] for row in table.rows)
    forced = sum(fractions["train"] * n < 1 for n in totals.values())
    for name, share in fractions.items():
        counts = Counter(e.target for e in getattr(dataset, name))

        assert {label for label, n in totals.items() if abs(counts[label] - share * n) >= 1 + 1e-6} == set()
        assert abs(sum(counts.values()) - share * len(table.rows)) < 2 + forced


@settings(max_examples=60, deadline=None)
@given(tables(groups=True, repeats=True), shares, st.integers(0, 2**40), st.booleans())
def test_nothing_is_lost_or_crosses(table: Table, fractions: dict[str, float], seed: int, stratify: bool) -> None:
    """Splits are a partition of the rows, the same each time; no group and no text stands in two of them."""
    plan: dict[str, Any] = {"fractions": fractions, "seed": seed, "group": "user", "stratify": stratify}
    try:
        dataset = divided(table, **plan)
    except DataError as error:  # groups may leave too little for a split
        message = str(error)
    else:
        where = homes(dataset)
        met: dict[tuple[str, object], set[str]] = defaultdict(set)
        for example, row in zip(examples_of(table), table.rows, strict=True):
            met["text", same_inputs(example)].add(where[example.id])
            if row["user"]:
                met["user", row["user"]].add(where[example.id])

        assert sorted(parts_of(dataset), key=lambda e: int(e.id[1:])) == list(examples_of(table))
        assert {key for key, found in met.items() if len(found) > 1} == set()
        assert divided(table, **plan) == dataset
        return
    assert "is too small" in message


@settings(max_examples=60, deadline=None)
@given(tables(groups=False, repeats=True), st.booleans(), st.integers(0, 2**40), st.data())
def test_given_splits_keep_test_whole(table: Table, with_dev: bool, seed: int, data: st.DataObject) -> None:
    """With a given column test keeps every row, no text crosses, and only repeated texts are left out."""
    rng = data.draw(st.randoms(use_true_random=False))
    names = [*SPLITS] if with_dev else ["train", "test"]
    rows = [{**row, "part": names[i % len(names)] if i < 60 else rng.choice(names)} for i, row in enumerate(table.rows)]
    table = table_of(*rows)
    try:
        dataset = divided(table, column="part", seed=seed)
    except DataError as error:  # too many repeats
        message = str(error)
    else:
        where = homes(dataset)
        met = defaultdict(set)
        for example in parts_of(dataset):
            met[same_inputs(example)].add(where[example.id])
        out = [e for e in examples_of(table) if e.id not in where]

        assert {f"r{i}" for i, row in enumerate(rows, start=1) if row["part"] == "test"} == {e.id for e in dataset.test}
        assert {key for key, found in met.items() if len(found) > 1} == set()
        assert {e.id for e in out if same_inputs(e) not in met} == set()
        return
    assert "is too small" in message


# --- real data --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared benchmark data are not here")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("banking77", "classification"), ("mnli", "classification"), ("gsm8k", "qa"), ("scitldr", "generation")],
)
def test_real_data_go_all_the_way(name: str, kind: str) -> None:
    """Public data sets are read, guessed, divided and audited as they are."""
    table = read_table(SHARED / name / "train.jsonl")
    found = guess(table)
    examples = to_examples(
        table,
        inputs=found.inputs,
        target=found.target,
        id_column=found.id_column,
        labels=found.labels,
        answers_column=found.answers_column,
    )
    dataset = split(examples, table, SplitPlan(FRACTIONS, 0, stratify=kind == "classification"), found.slices)

    assert found.kind == kind
    assert found.id_column == "id"
    assert sorted(e.id for e in parts_of(dataset)) == sorted(row["id"] for row in table.rows)
    assert dataset.notes == ()
    assert audit(dataset).duplicates == ()
