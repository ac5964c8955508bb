"""A prompt on rows gives one outcome a row, in order, of one of four kinds, and buys nothing twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from optimizer.errors import DataError
from optimizer.evaluate import Evaluator
from optimizer.ledger import Ledger
from optimizer.records import Completion, Kind, Outcome, Request
from optimizer.scoring import METRICS
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt, Settings
from search_spaces.rendering import Renderer

PROMPT = Prompt("chat", "Sort it.", ("text",), "label", ("bug", "praise"), settings=Settings(0.25, 12))
SAID = {
    "it fails": Completion("bug", 20, 1, 0.002, 0.5),
    "it crashes": Completion("praise", 21, 2, 0.003, 0.25),
    "it is there": Completion("I could not say.", 22, 5, 0.004, 0.75),
    "it is rude": Completion("bug", 23, 0, 0.001, 0.1, "content_filter", "content filter"),
}
ROWS = tuple(Example(f"r{i}", (("text", text),), ("bug",)) for i, text in enumerate(SAID))


@dataclass
class Scripted:
    """A model that answers what the script says to the last message."""

    script: Mapping[str, Completion]
    name: str = "scripted"
    address: str = ""
    price: tuple[float, float] | None = (0.0, 0.0)
    calls: list[Request] = field(default_factory=list)

    def complete(self, request: Request) -> Completion:
        """Look it up."""
        self.calls.append(request)
        return self.script[request.messages[-1].content]


@dataclass
class Echo:
    """A model that repeats the last message, each time after another pause."""

    name: str = "echo"
    address: str = ""
    price: tuple[float, float] | None = (0.0, 0.0)
    lock: threading.Lock = field(default_factory=threading.Lock)
    pauses: random.Random = field(default_factory=lambda: random.Random(0))
    finished: list[str] = field(default_factory=list)

    def complete(self, request: Request) -> Completion:
        """Wait, then repeat."""
        with self.lock:
            pause = self.pauses.uniform(0, 0.01)
        time.sleep(pause)
        text = request.messages[-1].content
        self.finished.append(text)
        return Completion(text)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "results.db", create=True) as opened:
        yield opened


@pytest.fixture(params=[0, 1, 8])
def evaluator(request: pytest.FixtureRequest, store: Store) -> Evaluator:
    """The script, in this thread, in one other, in eight."""
    ledger = Ledger(Scripted(SAID), store, 1, workers=request.param)
    return Evaluator(ledger, Renderer(), METRICS["accuracy"])


def calls(evaluator: Evaluator) -> list[Request]:
    model = evaluator.ledger.model
    assert isinstance(model, Scripted)
    return model.calls


def test_there_are_four_kinds_of_outcome(evaluator: Evaluator) -> None:
    """Right, wrong, not to be read, failed; each with what it cost and what was said."""
    keys = [key for key, _, _ in evaluator.answer(PROMPT, ROWS)]

    expected = (
        Outcome("r0", Kind.RIGHT, 1.0, "bug", keys[0], 21, 0.002, 0.5, "bug"),
        Outcome("r1", Kind.WRONG, 0.0, "praise", keys[1], 23, 0.003, 0.25, "praise"),
        Outcome("r2", Kind.UNPARSED, 0.0, None, keys[2], 27, 0.004, 0.75, "I could not say."),
        Outcome("r3", Kind.ERROR, None, None, "", 23, 0.001, 0.1, "content filter"),
    )
    assert expected == evaluator(PROMPT, ROWS)


def test_an_error_has_no_score_and_nothing_else_lacks_one(evaluator: Evaluator) -> None:
    """A failed call says nothing about the prompt: it is not a zero."""
    outcomes = evaluator(PROMPT, ROWS)

    assert [o.kind for o in outcomes if o.score is None] == [Kind.ERROR]
    assert [o.completion_key == "" for o in outcomes] == [False, False, False, True]


def test_a_partial_answer_has_a_partial_score(store: Store) -> None:
    """It counts as wrong, and for what it is worth."""
    prompt = replace(PROMPT, labels=())
    row = Example("r", (("text", "who?"),), ("Ada King Lovelace",))
    model = Scripted({"who?": Completion("Ada Lovelace")})

    (outcome,) = Evaluator(Ledger(model, store, 1), Renderer(), METRICS["token_f1"])(prompt, [row])

    assert outcome.kind is Kind.WRONG
    assert outcome.score == pytest.approx(0.8)


def test_evaluating_again_buys_nothing_again(evaluator: Evaluator) -> None:
    """Except what failed; all outcomes are the same."""
    first = evaluator(PROMPT, ROWS)
    second = evaluator(PROMPT, ROWS)

    assert first == second
    asked = [request.messages[-1].content for request in calls(evaluator)]
    assert sorted([*SAID, "it is rude"]) == sorted(asked)


def test_more_rows_buy_only_the_new_ones(evaluator: Evaluator) -> None:
    """Block after block, as a search does."""
    for n in (1, 2, 3):
        evaluator(PROMPT, ROWS[:n])

    assert [request.messages[-1].content for request in calls(evaluator)] == list(SAID)[:3]


def test_what_is_sent_is_the_prompt_filled_with_the_row(evaluator: Evaluator) -> None:
    """With the prompt's own settings."""
    evaluator(PROMPT, ROWS[:1])

    expected = Request(Renderer().messages(PROMPT, ROWS[0]), Settings(0.25, 12))
    assert [expected] == calls(evaluator)
    assert "Sort it." in expected.messages[0].content


def test_another_prompt_is_bought_apart(evaluator: Evaluator) -> None:
    """Other words or other settings are other calls."""
    for prompt in (PROMPT, replace(PROMPT, instruction="Sort them."), replace(PROMPT, settings=Settings(0.5, 12))):
        evaluator(prompt, ROWS[:1])

    assert len(calls(evaluator)) == 3


def test_prompts_that_say_the_same_share_their_answers(evaluator: Evaluator) -> None:
    """What is sent decides: a note on an unlisted label changes nothing."""
    unlisted = replace(PROMPT, label_place="none")
    evaluator(unlisted, ROWS[:1])
    evaluator(replace(unlisted, notes=("it fails", "it shines")), ROWS[:1])

    assert len(calls(evaluator)) == 1


def test_no_rows_are_no_outcomes(evaluator: Evaluator) -> None:
    """And no calls."""
    assert evaluator(PROMPT, []) == ()
    assert calls(evaluator) == []


def test_a_row_without_a_wanted_answer_cannot_be_scored(evaluator: Evaluator) -> None:
    """It can be answered."""
    row = replace(ROWS[0], targets=())

    assert [answer for _, _, answer in evaluator.answer(PROMPT, [row])] == ["bug"]
    with pytest.raises(DataError, match="row 'r0' has no accepted answer"):
        evaluator(PROMPT, [row])


def test_the_order_of_the_rows_is_kept_whoever_answers_first(store: Store) -> None:
    """Eight threads with uneven pauses finish out of order; the outcomes do not show it."""
    prompt = replace(PROMPT, labels=())
    rows = [Example(f"r{i}", (("text", f"text {i}"),), (f"text {i}",)) for i in range(60)]
    model = Echo()

    outcomes = Evaluator(Ledger(model, store, 1, workers=8), Renderer(), METRICS["exact_match"])(prompt, rows)

    assert [row.id for row in rows] == [outcome.example_id for outcome in outcomes]
    assert [row.target for row in rows] == [outcome.answer for outcome in outcomes]
    assert {outcome.kind for outcome in outcomes} == {Kind.RIGHT}
    assert sorted(model.finished) == sorted(row.target for row in rows)
    assert model.finished != [row.target for row in rows]
