"""Wordings are filled in one pass, and a label is described by the words that distinguish it from the others."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.instructions import NOTE_TERMS, PRIOR, STOP_WORDS, fill_wording, task_words, telling_terms
from search_spaces.prompt import Example


def rows(**texts: list[str]) -> list[Example]:
    """Rows of each label."""
    return [
        Example(f"{label}{number}", (("text", text),), (label,))
        for label, of_label in texts.items()
        for number, text in enumerate(of_label)
    ]


# --- wordings ---------------------------------------------------------------------------------------------


def test_known_names_are_filled_and_other_braces_stay() -> None:
    """A wording's own words are put in; every other brace is just a brace."""
    wording = '{description} Sort {inputs}: {{inputs}} {unknown} {} { output } {"a": 1} {output}'

    assert fill_wording(wording, {"description": "D", "inputs": "I", "output": "O"}) == (
        'D Sort I: {I} {unknown} {} { output } {"a": 1} O'
    )


@given(texts=st.fixed_dictionaries({name: st.text(alphabet="{}abc \\1", max_size=8) for name in ("a", "b", "c")}))
def test_filling_is_one_pass(texts: dict[str, str]) -> None:
    """A word that looks like a name is not looked at again."""
    assert fill_wording("{a}|{b}|{c}|{a}", texts) == "|".join(texts[name] for name in "abca")


def test_the_words_of_a_task_read_well() -> None:
    """Names of columns are read as words, and several inputs are joined."""
    assert task_words("Sort it.", ("mail_text", "subject"), "main_topic", ("a_1", "b")) == {
        "description": "Sort it.",
        "inputs": "mail text and subject",
        "output": "main topic",
        "labels": "a_1, b",
    }


# --- telling terms ----------------------------------------------------------------------------------------

PLANTED = rows(
    bug=["the app shows a crash", "crash after the update", "it had a crash, a freeze"],
    billing=["the app shows my invoice", "an invoice after the update", "one more invoice: refund"],
    praise=["the app is lovely today", "lovely update", "it was lovely, thanks"],
)


def test_planted_words_are_found() -> None:
    """The word that only one label's rows hold comes first for it."""
    told = telling_terms(PLANTED, ["bug", "billing", "praise"])

    assert {label: words[0] for label, words in told.items()} == {
        "bug": "crash",
        "billing": "invoice",
        "praise": "lovely",
    }


def test_words_that_tell_nothing_are_left_out() -> None:
    """Not told are words of a single row, words that all labels share alike, and words that say how, not what."""
    told = telling_terms(PLANTED, ["bug", "billing", "praise"])

    assert told == {"bug": ["crash", "shows"], "billing": ["invoice", "shows"], "praise": ["lovely"]}
    assert not {word for words in told.values() for word in words} & STOP_WORDS


def test_a_word_counts_once_a_row() -> None:
    """A row that repeats a word is one row, and one row is not enough."""
    told = telling_terms(rows(a=["ping ping ping", "other"], b=["pong", "other"]), ["a", "b"])

    assert told == {"a": [], "b": []}


def test_the_score_is_the_one_of_monroe_colaresi_and_quinn() -> None:
    """Words are ranked by their log-odds with a prior, over its deviation, as counted by hand.

    The rows of "a" hold 11 words: "crash" in 6 rows, "freeze" in 2, and 3 others; those of "b" hold "crash" and the
    same 3 others. Of 15 words in all, the prior of "crash" is 10 * 7/15 and that of "freeze" 10 * 2/15. The odds
    alone would put "freeze" first, for "b" never holds it; over their deviation "crash" is surer.
    """
    texts_a = ["crash other", "crash words", "crash here", "crash", "crash freeze", "crash freeze"]
    told = telling_terms(rows(a=texts_a, b=["crash", "other", "words", "here"]), ["a", "b"])

    def odds(here: int, there: int) -> tuple[float, float]:
        a, b = here + PRIOR * (here + there) / 15, there + PRIOR * (here + there) / 15
        difference = math.log(a / (11 + PRIOR - a)) - math.log(b / (4 + PRIOR - b))
        return difference, difference / math.sqrt(1 / a + 1 / b)

    assert odds(6, 1) == pytest.approx((0.41741, 0.80298), abs=5e-6)
    assert odds(2, 0) == pytest.approx((0.58358, 0.56952), abs=5e-6)
    assert told["a"] == ["crash", "freeze"]


@pytest.mark.parametrize("seed", range(20))
def test_words_are_ranked_as_the_paper_says(seed: int) -> None:
    """In any rows of two labels, words stand in the order of the z-score of equation 22, as long as it is positive.

    The paper's symbols: y counts of a word in one label and the other, n their sums, alpha the prior of the word.
    """
    rng = random.Random(seed)
    vocabulary = [first + second for first in "bcdfg" for second in "klm"]
    texts = {label: [" ".join(rng.choices(vocabulary, range(1, 16), k=4)) for _ in range(12)] for label in "ab"}
    y_a, y_b = (Counter(word for text in texts[label] for word in set(text.split())) for label in "ab")
    n_a, n_b = y_a.total(), y_b.total()
    z = {}
    for word in {word for word in y_a if y_a[word] + y_b[word] > 1}:
        alpha = 10.0 * (y_a[word] + y_b[word]) / (n_a + n_b)
        odds_a = math.log((y_a[word] + alpha) / (n_a + 10.0 - y_a[word] - alpha))
        odds_b = math.log((y_b[word] + alpha) / (n_b + 10.0 - y_b[word] - alpha))
        variance = 1 / (y_a[word] + alpha) + 1 / (y_b[word] + alpha)
        z[word] = round((odds_a - odds_b) / math.sqrt(variance), 9)
    expected = [word for word in sorted(z, key=lambda word: (-z[word], word)) if z[word] > 0]

    assert telling_terms(rows(**texts), ["a", "b"], k=99)["a"] == expected


def test_as_many_words_as_asked_for_at_most() -> None:
    """A note lists the strongest few; words that tell alike are in alphabetical order."""
    words = [f"word{letter}" for letter in "lkjihgfedcba"]
    examples = rows(a=[" ".join(words)] * 3, b=["other text"] * 3)

    assert telling_terms(examples, ["a", "b"], 3) == {"a": ["worda", "wordb", "wordc"], "b": ["other", "text"]}
    assert len(telling_terms(examples, ["a", "b"])["a"]) == NOTE_TERMS == 10


def test_every_label_is_answered_for() -> None:
    """A label without rows has no words; rows of other answers, or of none, are not looked at."""
    examples = [*PLANTED, Example("x", (("text", "crash crash"),), ("else",)), Example("y", (("text", "crash"),))]

    assert telling_terms(examples, ["missing"]) == {"missing": []}
    assert telling_terms(examples, ["bug", "billing"]) == telling_terms(PLANTED, ["bug", "billing"])
    assert telling_terms([], ["a"]) == {"a": []}


@pytest.mark.parametrize("texts", [["hello", "hello"], ["Hello!", "hello", "HELLO hello"], ["", ""], ["12 3", "?"]])
def test_rows_of_one_word_tell_nothing(texts: list[str]) -> None:
    """Where all rows say the same word, or none, there is nothing to tell."""
    assert telling_terms(rows(a=texts, b=texts), ["a", "b"]) == {"a": [], "b": []}
    assert telling_terms(rows(a=texts), ["a"]) == {"a": []}


words = st.lists(st.sampled_from("ab cd ef gh ij kl the not".split()), max_size=5).map(" ".join)


@given(texts_a=st.lists(words, max_size=6), texts_b=st.lists(words, max_size=6))
def test_no_word_tells_two_labels_from_each_other_both_ways(texts_a: list[str], texts_b: list[str]) -> None:
    """Of two labels, a word speaks for one at most, and only words of its own rows do."""
    told = telling_terms(rows(a=texts_a, b=texts_b), ["a", "b"])

    assert not set(told["a"]) & set(told["b"])
    assert set(told["a"]) <= set(" ".join(texts_a).split()) - STOP_WORDS
    assert len(set(told["a"])) == len(told["a"])
