"""Rows that are the same or nearly so, found as comparing every pair would find them."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.records import Dataset
from optimizer.rows.overlap import THRESHOLD, audit, same_inputs
from search_spaces.prompt import Example


def example(id_: str, text: str, *targets: str) -> Example:
    return Example(id_, (("text", text),), targets or ("x",))


def dataset(train: tuple[Example, ...], dev: tuple[Example, ...] = (), test: tuple[Example, ...] = ()) -> Dataset:
    return Dataset(train, dev, test)


LONG = "the quick brown fox jumps over the lazy dog while nine grey geese look on from the far bank of the river "
# 63 words: long enough to be compared by words alone.
LONGEST = " ".join([LONG, LONG.replace("the", "a"), LONG.replace("the", "one")])


@pytest.mark.parametrize(
    ("left", "right"), [("Hello  World", " hello\nworld "), ("STRASSE", "straße"), ("caf\u00e9", "cafe\u0301")]
)
def test_case_white_space_and_composition_do_not_matter(left: str, right: str) -> None:
    """What a reader would call the same text is the same."""
    assert same_inputs(example("1", left)) == same_inputs(example("2", right))


def test_inputs_are_not_mixed_up() -> None:
    """Words that stand in another input make another text."""
    left = Example("1", (("a", "x y"), ("b", "z")))
    right = Example("2", (("a", "x"), ("b", "y z")))

    assert same_inputs(left) != same_inputs(right)


def test_duplicates_and_conflicts() -> None:
    """Identical inputs are grouped; groups whose targets differ are conflicts, in whatever order answers stand."""
    rows = (
        *(example("1", "Hello"), example("2", "hello "), example("3", "bye", "x"), example("4", "BYE", "y")),
        *(example("5", "both", "x", "y"), example("6", "Both", "y", "x"), example("7", "alone")),
    )
    found = audit(dataset(rows))

    assert found.duplicates == (("1", "2"), ("3", "4"), ("5", "6"))
    assert found.conflicts == (("3", "4"),)
    assert found.near == ()
    assert found.leaks == ()


@pytest.mark.parametrize("text", [LONG, LONGEST], ids=["characters", "words"])
def test_near_duplicates_across_splits_are_leaks(text: str) -> None:
    """A word more makes a near-duplicate, and a leak where it stands in another split; the first of equals stands."""
    train = (example("1", text), example("2", f"{text} indeed"), example("3", "nothing like it"))
    found = audit(dataset(train, dev=(example("4", f"{text.upper()} yesterday"),), test=(example("5", "quite other"),)))

    assert {pair[:2] for pair in found.near} == {("1", "2"), ("1", "4"), ("2", "4")}
    assert {pair[:2] for pair in found.leaks} == {("1", "4"), ("2", "4")}
    assert [s for *_, s in found.near] == sorted((s for *_, s in found.near), reverse=True)


def test_identical_texts_in_two_splits_are_leaks() -> None:
    """A data set that was split elsewhere may hold a text twice; the pair has similarity 1."""
    rows = (example("1", "a text"), example("2", "A  text"))
    found = audit(dataset(rows, test=(example("3", "a text"), example("4", "a text"))))

    assert found.duplicates == (("1", "2", "3", "4"),)
    assert found.leaks == (("1", "3", 1.0),)


def test_a_leak_is_found_behind_a_duplicate() -> None:
    """Where the first of a group stands in the same split as its neighbour, another of the group may not."""
    train = (example("1", LONG), example("2", f"{LONG} indeed"))
    found = audit(dataset(train, test=(example("3", f"{LONG} INDEED"),)))

    assert found.near[0][:2] == ("1", "2")
    assert {pair[:2] for pair in found.leaks} == {("2", "3"), ("1", "3")}


def test_similarity_is_that_of_shingles() -> None:
    """Of the 7 and 6 runs of five characters in these texts 6 are shared."""
    found = audit(dataset((example("1", "abcdefghijk"), example("2", "abcdefghij"))))

    assert found.near == (("1", "2", 6 / 7),)


def test_words_are_shingled_by_threes() -> None:
    """Of the 60 and 59 runs of three words in these texts 59 are shared."""
    words = [f"w{i}" for i in range(62)]
    found = audit(dataset((example("1", " ".join(words)), example("2", " ".join(words[:-1])))))

    assert found.near == (("1", "2", 59 / 60),)


def test_many_near_duplicates_are_all_touched() -> None:
    """With more near-duplicates than a shingle lists, not every pair is reported, but every row is."""
    rows = tuple(example(str(i), f"{LONG} {LONG[::-1]} number {i:04}") for i in range(300))
    found = audit(dataset(rows))

    assert {id_ for a, b, _ in found.near for id_ in (a, b)} == {str(i) for i in range(300)}
    assert len(found.near) < 300 * 50


def test_nothing_to_compare_is_no_fault() -> None:
    """Empty splits and the shortest texts have no near-duplicates."""
    assert audit(dataset(())).near == ()
    assert audit(dataset(tuple(example(str(i), "abcde"[i]) for i in range(5)))).near == ()


def normal(text: str) -> str:
    return " ".join(text.split())


def shingles(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab é", min_size=1, max_size=24), min_size=2, max_size=25, unique_by=normal))
def test_short_texts_are_paired_as_by_comparing_all(texts: list[str]) -> None:
    """For fewer texts than the caps, prefix filtering finds exactly the pairs that comparing all finds."""
    rows = tuple(example(str(i), text) for i, text in enumerate(texts))
    plain = {e.id: "\n".join(same_inputs(e)) for e in rows}
    expected = {}
    for a, b in combinations(plain, 2):
        left, right = shingles(plain[a]), shingles(plain[b])
        similarity = len(left & right) / len(left | right)
        if similarity >= THRESHOLD:
            expected[a, b] = similarity

    assert {(a, b): similarity for a, b, similarity in audit(dataset(rows)).near} == expected


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(38, 70))
def test_edited_texts_of_any_length_are_paired_as_by_comparing_all(rng: Random, length: int) -> None:
    """The same at the lengths where comparison by characters gives way to words."""
    base = [f"{rng.randrange(10**6):06}" for _ in range(length)]
    texts = []
    for number in range(12):
        words = [*base, *(f"{number}x{j}" for j in range(rng.randrange(6)))]
        for _ in range(rng.randrange(4)):
            words[rng.randrange(len(words))] = f"new{number}"
        texts.append(" ".join(words))
    rows = tuple(example(str(i), text) for i, text in enumerate(dict.fromkeys(texts)))
    found = {pair[:2] for pair in audit(dataset(rows)).near}
    by_words = {e.id: {" ".join(w[i : i + 3]) for i in range(len(w) - 2)} for e in rows for w in [e.text.split()]}
    by_letters = {e.id: shingles(e.text) for e in rows}
    long = {e.id for e in rows if len(e.text.split()) >= 40}
    short = {e.id for e in rows if len(e.text.split()) <= 50}
    expected = {
        (a, b)
        for sets, held in ((by_words, long), (by_letters, short))
        for a, b in combinations([e.id for e in rows if e.id in held], 2)
        if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= THRESHOLD
    }

    assert found == expected
