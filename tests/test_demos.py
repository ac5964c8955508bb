"""Each demo strategy selects rows of its pool, as many as requested, and the kind that its name promises."""

from __future__ import annotations

import csv
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import DataError
from optimizer.preparing import prepare
from search_spaces.demos import HARD_SHARE, ORDERS, STRATEGIES, DemoPool, TextIndex, arrange, pick, terms
from search_spaces.prompt import Example
from tests.small_task import write_task

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def row(number: int, text: str, target: str) -> Example:
    return Example(f"r{number:02}", (("text", text),), (target,))


# Three clusters of near-equal texts; in the last one the answers are mixed.
PRINTER = [f"the printer is out of {what}" for what in ("paper", "ink", "toner", "staples", "power", "memory")]
INVOICE = [f"my invoice shows a wrong {what}" for what in ("sum", "date", "name", "address", "tax", "number")]
LOGIN = [f"cannot log in with my {what}" for what in ("phone", "tablet", "laptop", "badge", "token", "card")]
ROWS = [
    *((text, "printer") for text in PRINTER),
    *((text, "invoice") for text in INVOICE),
    *((text, answer) for text, answer in zip(LOGIN, ("login", "card", "login", "card", "login", "card"), strict=True)),
]
POOL = DemoPool([row(number, text, target) for number, (text, target) in enumerate(ROWS)])


def texts_of(pool: DemoPool, strategy: str, k: int, seed: int) -> list[str]:
    return [demo.text for demo in pick(pool, strategy, k, random.Random(seed))]


# --- what every strategy keeps ----------------------------------------------------------------------------


@every_strategy
@settings(max_examples=40, deadline=None)
@given(k=st.integers(-1, 25), size=st.integers(0, 18), seed=st.integers(0, 99))
def test_as_many_rows_as_asked_for_and_none_twice(strategy: str, k: int, size: int, seed: int) -> None:
    """Demos are different rows of the pool: k of them, none for zero, all of a pool that is smaller."""
    pool = DemoPool(POOL.examples[:size])
    demos = pick(pool, strategy, k, random.Random(seed))

    assert len(demos) == max(0, min(k, size))
    assert len(set(demos)) == len(demos)
    assert set(demos) <= set(pool.examples)


@every_strategy
def test_the_same_seed_draws_the_same_rows(strategy: str) -> None:
    """A draw is made of the pool, the number and the generator alone, and leaves the pool as it was."""
    fresh = DemoPool(POOL.examples)
    draws = [pick(POOL, strategy, 3, random.Random(seed)) for seed in range(20)]

    assert draws == [pick(fresh, strategy, 3, random.Random(seed)) for seed in range(20)]
    assert len(set(draws)) > 1
    assert fresh.examples == POOL.examples


@every_strategy
def test_rows_that_are_alike_can_be_drawn(strategy: str) -> None:
    """Texts may be empty, equal or without a word."""
    pool = DemoPool([row(number, text, "a") for number, text in enumerate(["", "", "?!", "same", "same"])])

    assert len(set(pick(pool, strategy, 4, random.Random(0)))) == 4


# --- what each strategy promises --------------------------------------------------------------------------


def test_random_draws_every_row_now_and_then() -> None:
    """No row is left out, whatever its place in the pool."""
    drawn = {text for seed in range(60) for text in texts_of(POOL, "random", 3, seed)}

    assert drawn == {text for text, _ in ROWS}


@given(k=st.integers(1, 18), seed=st.integers(0, 99))
def test_balanced_shows_the_answers_equally_often(k: int, seed: int) -> None:
    """No answer is shown twice before each answer that has a row left was shown once."""
    available = Counter(target for _, target in ROWS)
    counts = Counter(demo.target for demo in pick(POOL, "balanced", k, random.Random(seed)))
    for answer, other in combinations(available, 2):
        low, high = sorted((answer, other), key=lambda target: counts[target])

        assert counts[high] - counts[low] <= 1 or counts[low] == available[low]


def test_balanced_draws_other_rows_and_answers_with_another_seed() -> None:
    """Which answer comes first, and which of its rows, is drawn."""
    first = {pick(POOL, "balanced", 1, random.Random(seed))[0] for seed in range(60)}

    assert {demo.target for demo in first} == {target for _, target in ROWS}
    assert len(first) > 8


def closeness(texts: list[str]) -> float:
    """Mean share of words that two of the texts have in common: told without the code that is tested."""
    words = [set(text.split()) for text in texts]
    return mean(len(a & b) / len(a | b) for a, b in combinations(words, 2))


@pytest.mark.parametrize("seed", range(10))
def test_diverse_takes_from_every_cluster(seed: int) -> None:
    """Three rows of three clusters are one of each, wherever the first was drawn."""
    clusters = [
        next(i for i, c in enumerate((PRINTER, INVOICE, LOGIN)) if t in c) for t in texts_of(POOL, "diverse", 3, seed)
    ]

    assert sorted(clusters) == [0, 1, 2]


def test_diverse_is_farther_apart_than_random() -> None:
    """Over many seeds, rows that were chosen to differ have fewer words in common than drawn ones."""
    diverse, drawn = (
        mean(closeness(texts_of(POOL, strategy, 3, seed)) for seed in range(40)) for strategy in ("diverse", "random")
    )

    assert diverse < 0.5 * drawn


def test_hardness_is_the_share_of_neighbours_with_another_answer() -> None:
    """Five neighbours of its cluster agree with a printer row; of those of a login row three have the other answer."""
    assert [round(share, 9) for share in POOL.hardness] == [0.0] * 12 + [0.6] * 6


def test_hardness_is_told_from_the_neighbours_that_there_are() -> None:
    """A row without neighbours is not hard; one with a single neighbour is, if that one disagrees."""
    assert DemoPool([row(0, "alone", "a")]).hardness == [0.0]
    assert DemoPool([row(0, "one", "a"), row(1, "one", "b")]).hardness == [1.0, 1.0]


def test_hardest_prefers_rows_whose_neighbours_disagree() -> None:
    """Rows of mixed answers are shown before any other; the seed chooses among the hardest few."""
    one = {text for seed in range(40) for text in texts_of(POOL, "hardest", 1, seed)}
    drawn = Counter(text in LOGIN for seed in range(100) for text in texts_of(POOL, "hardest", 2, seed))

    assert one <= set(LOGIN)
    assert len(one) > 3
    assert drawn[True] / drawn.total() > 2 * len(LOGIN) / len(ROWS)  # 6 of 2 * HARD_SHARE = 8 are mixed


def test_hardest_draws_among_a_few_times_as_many_as_shown() -> None:
    """The number drawn from is HARD_SHARE for each row shown, so that a seed still matters."""
    seen = {text for seed in range(200) for text in texts_of(POOL, "hardest", 1, seed)}
    draws = [texts_of(POOL, "hardest", 1, seed) for seed in range(5)]

    assert HARD_SHARE == 4
    assert seen == set(LOGIN)  # all six are equally hard: which four are drawn from is drawn as well
    assert len({tuple(draw) for draw in draws}) > 1


def test_nearest_finds_the_near_ones() -> None:
    """The most similar rows come first, by the words that few rows have."""
    near = POOL.nearest(row(99, "Out of INK again, the printer!", ""), 6)

    assert near[0].text == "the printer is out of ink"
    assert {demo.text for demo in near} == set(PRINTER)


def test_nearest_leaves_the_row_itself_out() -> None:
    """The row that is asked about is not among its own neighbours, and does not take a place."""
    own = POOL.examples[1]
    near = POOL.nearest(own, 5)

    assert own not in near
    assert {demo.text for demo in near} == set(PRINTER) - {own.text}


def test_nearest_knows_a_row_by_its_id_and_its_inputs() -> None:
    """A duplicate under another id is another row, and so is a row of another file that has the same id."""
    own = POOL.examples[1]

    assert POOL.nearest(replace(own, id="other"), 1) == (own,)
    assert POOL.nearest(replace(own, inputs=(("text", "the ink printer"),)), 1) == (own,)


@given(k=st.integers(0, 25), number=st.integers(0, 17), known=st.booleans())
def test_nearest_gives_as_many_as_there_are(k: int, number: int, known: bool) -> None:
    """k rows, or all others if the pool is smaller, whatever was asked before."""
    own = POOL.examples[number]
    near = POOL.nearest(own if known else replace(own, id="other"), k)

    assert len(near) == len(set(near)) == min(k, len(ROWS) - known)
    assert near == DemoPool(POOL.examples).nearest(own if known else replace(own, id="other"), 25)[:k]


# --- similarity -------------------------------------------------------------------------------------------


def test_terms_are_words_and_pieces_of_long_words() -> None:
    """Inflected words share pieces; case, signs and short words make none."""
    assert terms("It's PAPER, four") == ["it", "s", "paper", "four", "#pape", "#aper"]


def test_similarity_is_the_cosine_of_the_weights() -> None:
    """Vectors have length 1, and a text is most similar to itself."""
    index = TextIndex([text for text, _ in ROWS])

    for position, vector in enumerate(index.vectors):
        assert sum(weight**2 for weight in vector.values()) == pytest.approx(1)
        assert index.rank(ROWS[position][0], 1) == [position]


def test_rare_words_weigh_more() -> None:
    """Of two texts that share one word each with the question, the one with the rarer word is nearer."""
    index = TextIndex(["common cat", "common dog", "common cow", "seldom hen"])

    assert index.rank("common seldom", 1) == [3]


def test_weights_are_tf_idf() -> None:
    """A term weighs 1 + ln of how often it stands there, times ln(1 + documents / documents that hold it)."""
    first, second = TextIndex(["a a b", "b"]).vectors
    a, b = (1 + math.log(2)) * math.log(1 + 2 / 1), math.log(1 + 2 / 2)

    assert first == pytest.approx({"a": a / math.hypot(a, b), "b": b / math.hypot(a, b)})
    assert second == pytest.approx({"b": 1.0})


def test_similarity_speaks_of_pieces() -> None:
    """An inflected form finds its word."""
    assert TextIndex(["a late delivery", "a refund"]).rank("deliveries", 1) == [0]
    assert TextIndex(["a late delivery", "a refund"]).rank("refunded", 1) == [1]


def test_ties_go_to_the_earlier_row() -> None:
    """Where nothing tells rows apart, their order does."""
    assert TextIndex(["x y", "z", "x y", ""]).rank("unknown words", 4) == [0, 1, 2, 3]
    assert TextIndex(["z", "x y", "x y"]).rank("x", 2) == [1, 2]


# --- order ------------------------------------------------------------------------------------------------

DRAWN = (row(1, "long text", "b"), row(2, "text", "a"), row(3, "mid one", "b"), row(4, "tiny", "a"))


@pytest.mark.parametrize(
    ("order", "expected"),
    [("drawn", [1, 2, 3, 4]), ("reversed", [4, 3, 2, 1]), ("by_answer", [2, 4, 1, 3]), ("short_first", [2, 4, 3, 1])],
)
def test_demos_are_put_into_order(order: str, expected: list[int]) -> None:
    """An order moves rows and changes none; rows that it does not tell apart stay as drawn."""
    assert [int(demo.id[1:]) for demo in arrange(DRAWN, order)] == expected


def test_every_order_was_tried() -> None:
    """The table above knows every order."""
    assert set(ORDERS) == {"drawn", "reversed", "by_answer", "short_first"}


# --- examples of the user's own ---------------------------------------------------------------------------


def with_given(folder: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write the small task, with examples to show as they are."""
    path = write_task(folder)
    with (folder / "shown.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "reasoning"])
        writer.writeheader()
        writer.writerows(rows)
    text = path.read_text().replace('id = "id"', 'id = "id"\ndemos = "shown.csv"')
    path.write_text(text + '\n[seed]\ndemos = "given"\n')
    return path


MINE = [
    {"text": "Where is my invoice?", "label": "billing", "reasoning": "It asks for a bill."},
    {"text": "It crashes.", "label": "bug", "reasoning": ""},
]


def test_given_examples_are_shown_as_they_are(tmp_path: Path) -> None:
    """All of them, in their order, whatever other dimensions say; a task without any has no such choice."""
    plan = prepare(with_given(tmp_path, MINE))

    prompt = plan.space.build(plan.space.seed())

    assert [(row["text"], row["label"]) for row in MINE] == [(demo.text, demo.target) for demo in prompt.demos]
    assert prompt.demos[0].reasoning == "It asks for a bill."
    assert "k" not in plan.space.seed()
    assert "given" not in prepare(write_task(tmp_path)).space["demos"].choices


def test_other_examples_are_another_space(tmp_path: Path) -> None:
    """A run is resumed with the examples that it began with alone."""
    first = prepare(with_given(tmp_path, MINE)).space.digest

    assert first == prepare(with_given(tmp_path, MINE)).space.digest
    assert first != prepare(with_given(tmp_path, MINE[:1])).space.digest


def test_no_row_that_a_prompt_is_judged_by_is_shown(tmp_path: Path) -> None:
    """A dev or test row among them is left out with a note; if nothing is left, that is an error."""
    data = prepare(write_task(tmp_path)).data
    leaks = [{"text": rows[0].text.upper(), "label": rows[0].target, "reasoning": ""} for rows in (data.dev, data.test)]

    plan = prepare(with_given(tmp_path, [*leaks, *MINE]))

    assert [row["text"] for row in MINE] == [demo.text for demo in plan.space.facts.given]
    assert "2 rows of shown.csv are dev or test rows too: not shown." in plan.data.notes
    with pytest.raises(DataError, match="all of its rows are dev or test rows too"):
        prepare(with_given(tmp_path, leaks))
    with pytest.raises(DataError, match="unknown label 'bill'"):
        prepare(with_given(tmp_path, [{"text": "Pay", "label": "bill", "reasoning": ""}]))
