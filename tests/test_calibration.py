"""Batch calibration removes a model's bias: from tokens to labels, over a batch of rows, and on a real table."""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.calls.gateway import Pace
from optimizer.ledger import Ledger
from optimizer.preparing import prepare
from optimizer.records import Completion, Request
from optimizer.scores.calibration import DEPTH, NEVER, Batch, beginnings, choose, label_scores, scores_of, settle
from optimizer.store import Store
from optimizer.task import load_task
from search_spaces.prompt import Message, Prompt, Settings
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "data" / "tabular" / "ups_sst2_opt27b"
LABELS = ("bug", "praise")
PROMPT = Prompt("plain", "Sort it.", ("text",), "label", LABELS, settings=Settings(0.0, 8, logprobs=True))


def token(said: str, logprob: float, others: Mapping[str, float] | None = None) -> dict[str, Any]:
    """One token as the chat-completions protocol tells of it; as there, it stands among its own alternatives."""
    told = {said: logprob, **(others or {})}
    return {
        "token": said,
        "logprob": logprob,
        "top_logprobs": [{"token": text, "logprob": value} for text, value in told.items()],
    }


def told(**shares: float) -> tuple[tuple[str, float], ...]:
    """Beginnings with their probabilities' logarithms."""
    return tuple((text, math.log(share)) for text, share in shares.items())


# --- from tokens to beginnings ----------------------------------------------------------------------------


def test_an_answer_leaves_what_was_said_at_some_token() -> None:
    """What was said comes first; each alternative stands with the words before it, and their probabilities multiply."""
    found = beginnings([token("card", -0.5, {"top": -1.0}), token("_lost", -0.25, {"_stolen": -0.5})])

    assert found == (("card_lost", -0.75), ("top", -1.0), ("card_stolen", -1.0))


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=2, max_size=4), min_size=1, max_size=4))
def test_beginnings_exclude_each_other(weights: list[list[float]]) -> None:
    """So their probabilities add up to no more than 1."""
    tokens = []
    for place, drawn in enumerate(weights):
        shares = {f"{place}{n}": math.log(share / sum(drawn)) for n, share in enumerate(drawn)}
        first, *_ = shares
        tokens.append(token(first, shares.pop(first), shares))

    assert sum(math.exp(value) for _, value in beginnings(tokens)) <= 1.001


def test_what_cannot_be_is_cut() -> None:
    """Providers write -9999 or minus infinity."""
    found = beginnings([token("a", -9999.0, {"b": -math.inf, "c": -0.1})])

    assert found == (("a", NEVER), ("b", NEVER), ("c", -0.1))


def test_a_long_answer_is_looked_at_from_its_beginning() -> None:
    """So far as a label may reach, and not at what the first token would not have told of either."""
    tokens = [token("w", 0.0, {f"x{n}": -float(n + 1), "y": -4.0}) for n in range(DEPTH + 5)]

    found = beginnings(tokens)

    assert found[0] == ("w" * DEPTH, 0.0)
    assert [text for text, _ in found if text.endswith("x3")] == ["wwwx3"]
    assert all("x4" not in text for text, _ in found)


@pytest.mark.parametrize(
    "tokens", [[], [{"token": "bug", "logprob": -0.1}], [{"token": "bug", "logprob": 0.0, "top_logprobs": None}]]
)
def test_without_alternatives_there_is_nothing_to_tell(tokens: list[dict[str, Any]]) -> None:
    """One answer alone cannot be weighed against another."""
    assert beginnings(tokens) == ()


# --- from beginnings to labels ----------------------------------------------------------------------------


def test_a_label_is_known_by_its_first_words() -> None:
    """Whatever their case, the white space and the marks around them; what belongs to one label adds up."""
    scores = label_scores(LABELS, "label", told(**{" Bu": 0.25, "**bug**.": 0.25, "pra": 0.125, "I think": 0.25}))

    assert scores == pytest.approx({"bug": math.log(0.5), "praise": math.log(0.125)})


@pytest.mark.parametrize("head", ["Label: {}", "<answer>{}</answer>", "**label**\n{}"])
def test_the_name_of_the_answer_may_stand_before_it(head: str) -> None:
    """As in the worked answers of some templates."""
    assert label_scores(LABELS, "label", told(**{head.format("bug"): 0.5, head.format("praise"): 0.25})).keys() == set(
        LABELS
    )


def test_a_whole_label_is_not_the_first_letters_of_a_word() -> None:
    """ "As a model" does not begin with the label "a"; "a)" does, and the longest label that was said counts."""
    assert label_scores(("a", "b"), "label", told(**{"As a model": 0.5, "b": 0.25})) == {}
    assert label_scores(("a", "b"), "label", told(**{"a) so": 0.5, "b": 0.25})).keys() == {"a", "b"}
    assert "not spam" in label_scores(("not", "not spam", "b"), "label", told(**{"not spam, no": 0.5, "b": 0.25}))


@pytest.mark.parametrize("text", ["card", "Card.", "Label: card"])
def test_an_answer_that_is_a_label_is_none_of_those_that_begin_with_it(text: str) -> None:
    """It has ended. What might have been said instead, and begins so, may still become either."""
    labels = ("card", "card lost", "bug", "other")

    said = label_scores(labels, "label", told(**{text: 0.45, "bug": 0.3, "other": 0.25}))

    assert said == pytest.approx({"card": math.log(0.45), "bug": math.log(0.3), "other": math.log(0.25)})
    assert label_scores(labels, "label", told(bug=0.5, other=0.3, card=0.2)).keys() == {"bug", "other"}
    assert label_scores(labels, "label", told(**{"card lost": 0.5, "bug": 0.3})).keys() == {"card lost", "bug"}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("card lost", "card stolen", "top up"), {"card": 0.5, "top": 0.2, "card lost": 0.1}),  # shared by two
        (("bug", "praise"), {"bug": 0.9, "I": 0.1}),  # one alone in sight
        (("+", "-"), {"+": 0.5, "-": 0.5}),  # signs alone
        (("1", "-1"), {"1": 0.5, "-1": 0.5}),
        (("bug", "praise"), {"\n": 0.6, "bug": 0.2, "praise": 0.1}),  # nothing said yet
        ((), {"bug": 0.5, "praise": 0.5}),  # an open answer
    ],
)
def test_what_cannot_be_told_is_not_told(labels: tuple[str, ...], said: dict[str, float]) -> None:
    """Then the row keeps the answer that the model wrote."""
    assert label_scores(labels, "label", told(**said)) == {}


def test_a_little_that_labels_share_is_left_out() -> None:
    """Most of the probability tells the labels apart."""
    scores = label_scores(("card lost", "card stolen", "top up"), "label", told(card=0.1, top=0.4, **{"card l": 0.4}))

    assert scores.keys() == {"card lost", "top up"}


def test_a_prompt_that_is_not_calibrated_is_not_scored() -> None:
    """Nobody asks."""
    assert scores_of(replace(PROMPT, settings=Settings()), told(bug=0.5, praise=0.25)) == {}
    assert scores_of(PROMPT, told(bug=0.5, praise=0.25)).keys() == set(LABELS)


# --- the batch --------------------------------------------------------------------------------------------


def batch_of(*rows: tuple[tuple[str, float], ...]) -> Batch:
    batch = Batch(LABELS)
    for number, row in enumerate(rows):
        batch.add(str(number), label_scores(LABELS, "label", row), row)
    return batch


def test_a_prior_is_the_mean_of_the_other_rows_and_of_a_further_one() -> None:
    """The row itself is left out; the further row, alike in all labels, draws a small batch towards none."""
    batch = batch_of(
        (("bug", -1.0), ("praise", -3.0)), (("bug", -2.0), ("praise", -6.0)), (("bug", 0.0), ("praise", 0.0))
    )

    assert batch.prior() == {"bug": -0.75, "praise": -2.25}
    assert batch.prior(without="2") == {"bug": -1.0, "praise": -3.0}
    assert Batch(LABELS).prior() == {"bug": 0.0, "praise": 0.0}


def test_a_label_out_of_sight_is_no_likelier_than_the_least_in_sight() -> None:
    """And it cannot be chosen: nothing is known of it but that."""
    batch = Batch(("bug", "praise", "other"))
    row = (("bug", -1.0), ("praise", -3.0), ("I", -5.0))
    scores = label_scores(batch.labels, "label", row)
    batch.add("0", scores, row)

    assert batch.rows["0"]["other"] == -5.0
    assert choose(scores, {"bug": -9.0, "praise": -1.0, "other": -99.0}) == "bug"


@given(st.lists(st.tuples(st.floats(-20, -0.01), st.floats(-20, -0.01)), min_size=1, max_size=12), st.randoms())
@settings(max_examples=60)
def test_the_order_of_the_rows_leaves_no_trace(drawn: list[tuple[float, float]], shuffler: random.Random) -> None:
    """Not in the last digit: a resumed search meets them in another order."""
    rows = [tuple(zip(LABELS, values, strict=True)) for values in drawn]
    again = list(rows)
    shuffler.shuffle(again)

    assert batch_of(*rows).prior() == batch_of(*again).prior()


def test_a_habit_is_taken_off() -> None:
    """A model that says "bug" to everything, and says it less of praise, is understood."""
    rows = [told(bug=0.9, praise=0.05)] * 6 + [told(bug=0.7, praise=0.2)] * 6
    batch = batch_of(*rows)
    scores = [label_scores(LABELS, "label", row) for row in rows]

    assert {choose(s, batch.prior(without=str(n))) for n, s in enumerate(scores[:6])} == {"bug"}
    assert {choose(s, batch.prior(without=str(n + 6))) for n, s in enumerate(scores[6:])} == {"praise"}
    assert {max(s, key=lambda label: s[label]) for s in scores} == {"bug"}


def test_a_prior_is_fixed_once() -> None:
    """By a prompt's own answers; what is not calibrated, or settled already, stays as it is."""
    settled = settle(PROMPT, [told(bug=0.5, praise=0.125), told(bug=0.5, praise=0.125), ()])

    assert dict(settled.prior) == pytest.approx({"bug": 0.0, "praise": 2 / 3 * math.log(0.25)}, abs=1e-4)
    assert settle(settled, [told(bug=0.1, praise=0.8)]) is settled
    assert settle(replace(PROMPT, settings=Settings()), [told(bug=0.5, praise=0.125)]).prior == ()
    assert settle(PROMPT, []).prior == (("bug", 0.0), ("praise", 0.0))
    assert settled.digest != PROMPT.digest


def test_a_prompt_whose_model_told_nothing_is_calibrated_no_more() -> None:
    """It was read as the model wrote, and any format can carry it."""
    assert settle(PROMPT, [(), ()]) == replace(PROMPT, settings=replace(PROMPT.settings, logprobs=False))


@pytest.mark.parametrize(
    ("model", "searched"), [("openai/gpt-4o-mini", True), ("anthropic/claude-sonnet-4-5", False), ("embedded", True)]
)
def test_calibration_is_searched_where_log_probabilities_are_offered(
    model: str, searched: bool, tmp_path: Path
) -> None:
    """And can be locked by a task all the same."""
    task = load_task(write_task(tmp_path))
    of_it = task.model_copy(update={"model": task.model.model_copy(update={"name": model})})

    assert prepare(of_it).space["calibration"].locked != searched
    assert prepare(of_it.model_copy(update={"space": {"calibration": "on"}})).space["calibration"].values == ("on",)


# --- the ledger -------------------------------------------------------------------------------------------


@dataclass
class Teller:
    """A model that tells log-probabilities where it is asked for them."""

    name: str = "teller"
    address: str = ""
    price: tuple[float, float] | None = None

    def complete(self, request: Request) -> Completion:
        """Answer."""
        return Completion("bug", logprobs=told(bug=0.5, praise=0.25) if request.settings.logprobs else ())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.db", create=True) as opened:
        yield opened


PLAIN = Request((Message("user", "it fails"),), Settings(0.0, 8))
FULL = replace(PLAIN, settings=Settings(0.0, 8, logprobs=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_log_probabilities_come_back_out_of_the_ledger(store: Store, workers: int) -> None:
    """As they were bought, to the last digit."""
    first = Ledger(Teller(), store, 1, pace=Pace(workers) if workers else None).complete([FULL])
    again = Ledger(Teller(), store, 2).complete([FULL])

    assert first[0][0] == again[0][0]
    assert first[0][1].logprobs == again[0][1].logprobs == told(bug=0.5, praise=0.25)


def test_an_answer_with_log_probabilities_serves_where_none_are_asked_for(store: Store) -> None:
    """It is the same call otherwise, and is told apart by its key."""
    ledger = Ledger(Teller(), store, 1)
    (full,), (plain,) = ledger.complete([FULL]), ledger.complete([PLAIN])

    assert full == plain
    assert (ledger.bought, ledger.reused) == (1, 1)
    assert list(store.find_completions([full[0]])) == [full[0]]


def test_an_answer_without_them_does_not_serve_where_they_are_asked_for(store: Store) -> None:
    """It is bought again, and a plain request keeps its first answer."""
    ledger = Ledger(Teller(), store, 1)
    (plain,), (full,), (again,) = ledger.complete([PLAIN]), ledger.complete([FULL]), ledger.complete([PLAIN])

    assert plain == again
    assert plain[0] != full[0]
    assert full[1].logprobs
    assert ledger.bought == 2


# --- a real model's table ---------------------------------------------------------------------------------


def benchmark() -> ModuleType:
    """The benchmark's script as a module."""
    spec = importlib.util.spec_from_file_location("batch_calibration", ROOT / "benchmarks" / "batch_calibration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not TABLE.is_dir(), reason="the shared table of label log-probabilities is not here")
def test_a_real_model_gains_without_a_further_call() -> None:
    """On 100 prompts for OPT-2.7B the median gains 8 points and the best 6; 32 unlabelled rows give nearly all."""
    bench = benchmark()
    table, rng = bench.load(TABLE), np.random.default_rng(0)
    every = np.arange(len(table.targets))
    plain = table.accuracy(np.zeros((100, 2)), every)
    calibrated = table.accuracy(table.priors(every), every)
    order = rng.permutation(every)
    few = table.accuracy(table.priors(order[:32]), order[32:])

    assert (np.median(plain), plain.max()) == pytest.approx((0.653, 0.866), abs=0.001)
    assert (np.median(calibrated), calibrated.max()) == pytest.approx((0.737, 0.933), abs=0.001)
    assert np.median(few) > 0.715
    assert few.max() > 0.91
