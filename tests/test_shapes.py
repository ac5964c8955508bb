"""What expected answers have in common is described, nothing else is, and wordings use the descriptions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from search_spaces.instructions import SAID_TERMS, many, names_in, said_terms, telling_terms
from search_spaces.opening import load_space
from search_spaces.prompt import Example
from search_spaces.shapes import FEWEST, answer_words, named
from search_spaces.space import Facts


def answers(texts: Sequence[str], given: str = "what is asked") -> list[Example]:
    """Rows with these wanted answers."""
    return [Example(f"r{i}", (("text", given),), (text,)) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "length", "form"),
    [
        ([str(n) for n in range(40)], "", "a whole number, in digits"),
        ([f"{n}.5" for n in range(40)], "", "a number, in digits"),
        ([f"2024-01-{n:02}" for n in range(1, 29)], "", "a date written as YYYY-MM-DD"),
        (["yes", "no"] * 20, "one word", "one of: no, yes"),
        ([f"big red house {'x' * n}" for n in range(1, 30)], "4 words", "in lower case, without punctuation"),
        (
            [f"It is {'so ' * n}good." for n in range(20)],
            "3 to 22 words",
            "one or more whole sentences, each with its full stop",
        ),
        ([f"Word {n}." if n % 2 else f"one\n{n}" for n in range(40)], "2 words", ""),
        ([f"{'word ' * 60}{n}" for n in range(20)], "about 60 words", "in lower case, without punctuation"),
    ],
)
def test_what_nearly_all_answers_share_is_said(texts: list[str], length: str, form: str) -> None:
    """Their length in words, and the first form that fits."""
    said = answer_words(answers(texts))

    assert (said["length"], said["form"]) == (length, form)


def test_one_slip_in_fifty_changes_nothing_and_one_in_ten_does() -> None:
    """A constraint is what nearly all answers keep."""
    numbers = [str(n) for n in range(50)]

    assert answer_words(answers([*numbers, "none of them at all"]))["form"] == "a whole number, in digits"
    assert answer_words(answers([*numbers, *["None of them, at all: (a)"] * 6]))["form"] != "a whole number, in digits"


def test_answers_that_stand_in_their_rows_are_copied() -> None:
    """Spans are told from other texts by their rows."""
    rows = [Example(f"r{n}", (("text", f"it was Person{n} who came"),), (f"Person{n}",)) for n in range(20)]

    assert answer_words(rows)["form"] == "copied word for word from what is given"


def test_keys_of_objects_are_listed_by_how_often_they_stand() -> None:
    """JSON answers have keys, and no length."""
    texts = [json.dumps({"city": "x", **({"date": "y"} if n % 3 else {})}) for n in range(30)]

    assert answer_words(answers(texts)) == {"length": "", "form": "", "keys": "city, date", "count": ""}


def test_of_a_few_answers_nothing_is_said() -> None:
    """Fewer than eight rows show no form."""
    assert not any(answer_words(answers(["7"] * (FEWEST - 1))).values())


def test_sets_of_labels_are_counted() -> None:
    """The labels that an answer names may stand between commas, semicolons or bars; a label may hold a comma itself."""
    labels = ("a", "b", "c, d")
    texts = ["a", "a, b", "c, d", "b; a"] * 10

    assert [named(text, labels) for text in texts[:4]] == [["a"], ["a", "b"], ["c, d"], ["a", "b"]]
    assert answer_words(answers(texts), sets=labels)["count"] == "1 to 2"


def test_every_label_has_its_turn_among_the_terms() -> None:
    """The most telling word of each comes first, none twice, and not too many."""
    assert said_terms({"a": ["x", "y"], "b": ["x", "z"], "c": []}) == ["x", "y", "z"]
    assert len(said_terms({"a": [str(n) for n in range(99)]})) == SAID_TERMS


def test_the_more_labels_the_shorter_the_long_notes() -> None:
    """All together they have no more than 200 words; with twenty labels none is longer than a short one."""
    assert [many("x" * n) for n in (2, 7, 20)] == [40, 28, 10]


def test_rows_of_several_labels_tell_of_each() -> None:
    """A row with two labels counts for both."""
    rows = [
        Example(f"r{n}", (("text", text),), (target,))
        for n, (text, target) in enumerate([("crash here", "bug"), ("crash invoice", "bug, billing")] * 5)
    ]

    assert telling_terms(rows, ("bug", "billing"))["billing"][0] == "invoice"


def test_wordings_speak_of_what_was_found_and_are_left_out_where_nothing_was() -> None:
    """Constraints stand before the caution; a kind without such answers has none."""
    space = load_space(Facts("qa", ("question",), "answer", tuple(answers([str(n) for n in range(40)]))))
    mixed = load_space(
        Facts("qa", ("question",), "answer", tuple(answers([f"{n}." if n % 2 else f"B\n{n}" for n in range(40)])))
    )

    params = {**space.seed(), "form": "written", "caution": "form"}
    assert space.build(params).instruction.startswith(
        "Answer the question. The answer is a whole number, in digits. Ke"
    )
    assert space["form"].choices == ("none", "written")
    assert "written" not in mixed["form"].choices
    assert names_in("{a} {b c} {d}") == {"a", "d"}


def test_labels_are_listed_with_more_terms_or_with_both() -> None:
    """Many words where there are many; your description and the terms together."""
    words = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(30)]
    rows = [
        Example(f"{label}{n}", (("text", " ".join(texts)),), (label,))
        for label, texts in (("bug", words[:20]), ("billing", words[20:]))
        for n in range(4)
    ]
    space = load_space(
        Facts("classification", ("text",), "label", tuple(rows), ("bug", "billing"), {"bug": "something broke"})
    )
    notes = {
        way: space.build({**space.seed(), "labels": way}).notes for way in ("terms", "many_terms", "described_terms")
    }

    assert [len(note.split(", ")) for note in (notes["terms"][0], notes["many_terms"][0])] == [10, 20]
    assert notes["described_terms"] == (f"something broke; {notes['terms'][0]}", notes["terms"][1])
    assert "wordaa" in space.build({**space.seed(), "instruction": "telling"}).instruction
