"""Evaluating a prompt gives one outcome per row, in order, of one of four kinds, and buys nothing twice."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from optimizer.calls.gateway import Pace
from optimizer.errors import DataError
from optimizer.evaluate import Evaluator
from optimizer.ledger import Ledger
from optimizer.records import Completion, Kind, Outcome, Request, State, Trial
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
    ledger = Ledger(Scripted(SAID), store, 1, pace=Pace(request.param) if request.param else None)
    return Evaluator(ledger, Renderer(), METRICS["accuracy"])


def calls(evaluator: Evaluator) -> list[Request]:
    model = evaluator.ledger.model
    assert isinstance(model, Scripted)
    return model.calls


def test_there_are_four_kinds_of_outcome(evaluator: Evaluator) -> None:
    """Right, wrong, not to be read, failed; each with what it cost and what was said."""
    keys = [key for key, _, _ in evaluator.answer(PROMPT, ROWS)]

    expected = (
        Outcome("r0", Kind.RIGHT, 1.0, "bug", keys[0], 21, 0.002, 0.5, "bug", prompt_tokens=20),
        Outcome("r1", Kind.WRONG, 0.0, "praise", keys[1], 23, 0.003, 0.25, "praise", prompt_tokens=21),
        Outcome("r2", Kind.UNPARSED, 0.0, None, keys[2], 27, 0.004, 0.75, "I could not say.", prompt_tokens=22),
        Outcome("r3", Kind.ERROR, None, None, "", 23, 0.001, 0.1, "content filter", prompt_tokens=23),
    )
    assert expected == evaluator.rows(PROMPT, ROWS)


def test_an_error_has_no_score_and_nothing_else_lacks_one(evaluator: Evaluator) -> None:
    """A failed call says nothing about the prompt: it is not a zero."""
    outcomes = evaluator.rows(PROMPT, ROWS)

    assert [o.kind for o in outcomes if o.score is None] == [Kind.ERROR]
    assert [o.completion_key == "" for o in outcomes] == [False, False, False, True]


def test_a_partial_answer_has_a_partial_score(store: Store) -> None:
    """It counts as wrong, and for what it is worth."""
    prompt = replace(PROMPT, labels=())
    row = Example("r", (("text", "who?"),), ("Ada King Lovelace",))
    model = Scripted({"who?": Completion("Ada Lovelace")})

    (outcome,) = Evaluator(Ledger(model, store, 1), Renderer(), METRICS["token_f1"]).rows(prompt, [row])

    assert outcome.kind is Kind.WRONG
    assert outcome.score == pytest.approx(0.8)


def test_evaluating_again_buys_nothing_again(evaluator: Evaluator) -> None:
    """Except what failed; all outcomes are the same."""
    first = evaluator.rows(PROMPT, ROWS)
    second = evaluator.rows(PROMPT, ROWS)

    assert first == second
    asked = [request.messages[-1].content for request in calls(evaluator)]
    assert sorted([*SAID, "it is rude"]) == sorted(asked)


def test_more_rows_buy_only_the_new_ones(evaluator: Evaluator) -> None:
    """Block after block, as a search does."""
    for n in (1, 2, 3):
        evaluator.rows(PROMPT, ROWS[:n])

    assert [request.messages[-1].content for request in calls(evaluator)] == list(SAID)[:3]


def test_what_is_sent_is_the_prompt_filled_with_the_row(evaluator: Evaluator) -> None:
    """With the prompt's own settings."""
    evaluator.rows(PROMPT, ROWS[:1])

    expected = Request(Renderer().messages(PROMPT, ROWS[0]), Settings(0.25, 12))
    assert [expected] == calls(evaluator)
    assert "Sort it." in expected.messages[0].content


def test_another_prompt_is_bought_apart(evaluator: Evaluator) -> None:
    """Other words or other settings are other calls."""
    for prompt in (PROMPT, replace(PROMPT, instruction="Sort them."), replace(PROMPT, settings=Settings(0.5, 12))):
        evaluator.rows(prompt, ROWS[:1])

    assert len(calls(evaluator)) == 3


def test_prompts_that_say_the_same_share_their_answers(evaluator: Evaluator) -> None:
    """What is sent decides: a note on an unlisted label changes nothing."""
    unlisted = replace(PROMPT, label_place="none")
    evaluator.rows(unlisted, ROWS[:1])
    evaluator.rows(replace(unlisted, notes=("it fails", "it shines")), ROWS[:1])

    assert len(calls(evaluator)) == 1


def test_no_rows_are_no_outcomes(evaluator: Evaluator) -> None:
    """And no calls."""
    assert evaluator.rows(PROMPT, []) == ()
    assert calls(evaluator) == []


def test_a_row_without_a_wanted_answer_cannot_be_scored(evaluator: Evaluator) -> None:
    """It can be answered."""
    row = replace(ROWS[0], targets=())

    assert [answer for _, _, answer in evaluator.answer(PROMPT, [row])] == ["bug"]
    with pytest.raises(DataError, match="row 'r0' has no accepted answer"):
        evaluator.rows(PROMPT, [row])


def test_the_order_of_the_rows_is_kept_whoever_answers_first(store: Store) -> None:
    """Eight threads with uneven pauses finish out of order; the outcomes do not show it."""
    prompt = replace(PROMPT, labels=())
    rows = [Example(f"r{i}", (("text", f"text {i}"),), (f"text {i}",)) for i in range(60)]
    model = Echo()

    outcomes = Evaluator(Ledger(model, store, 1, pace=Pace(8)), Renderer(), METRICS["exact_match"]).rows(prompt, rows)

    assert [row.id for row in rows] == [outcome.example_id for outcome in outcomes]
    assert [row.target for row in rows] == [outcome.answer for outcome in outcomes]
    assert {outcome.kind for outcome in outcomes} == {Kind.RIGHT}
    assert sorted(model.finished) == sorted(row.target for row in rows)
    assert model.finished != [row.target for row in rows]


def test_cells_of_several_prompts_are_answered_together(evaluator: Evaluator) -> None:
    """In the order given, whichever prompt they belong to."""
    other = replace(PROMPT, instruction="Sort them.")
    cells = [(PROMPT, ROWS[0]), (other, ROWS[1]), (PROMPT, ROWS[1]), (other, ROWS[0])]

    outcomes = evaluator(cells)

    assert [outcome.answer for outcome in outcomes] == ["bug", "praise", "praise", "bug"]
    assert [outcome.example_id for outcome in outcomes] == ["r0", "r1", "r1", "r0"]
    assert len({outcome.completion_key for outcome in outcomes}) == 4
    assert outcomes[:1] == evaluator.rows(PROMPT, ROWS[:1])


# --- calibration ------------------------------------------------------------------------------------------

CALIBRATED = replace(PROMPT, settings=Settings(0.0, 12, logprobs=True))
TEXTS = [f"{'it fails' if n % 2 else 'lovely'} {n}" for n in range(40)]
MIXED = tuple(Example(f"m{n}", (("text", text),), ("bug" if n % 2 else "praise",)) for n, text in enumerate(TEXTS))


@dataclass
class Grumbler:
    """A model that says "bug" to everything, though it finds it a little less likely of praise."""

    name: str = "grumbler"
    address: str = ""
    price: tuple[float, float] | None = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Grumble."""
        text = request.messages[-1].content
        bug = (0.95 if "fails" in text else 0.8) - 0.001 * int(text.split()[-1])
        told = (("bug", math.log(bug)), ("praise", math.log(0.98 - bug)), ("I", math.log(0.01)))
        return Completion("bug", 9, 1, logprobs=told if request.settings.logprobs else ())


def grumbling(store: Store) -> Evaluator:
    return Evaluator(Ledger(Grumbler(), store, 1), Renderer(), METRICS["accuracy"])


def right(outcomes: tuple[Outcome, ...]) -> int:
    return sum(outcome.kind is Kind.RIGHT for outcome in outcomes)


def test_a_calibrated_prompt_is_rid_of_the_models_habit(store: Store) -> None:
    """By the rows that it was asked, whose wanted answers are not looked at; the plain prompt keeps the habit."""
    unlabelled = tuple(replace(row, targets=("bug",)) for row in MIXED)

    assert right(grumbling(store).rows(PROMPT, MIXED)) == 20
    assert right(grumbling(store).rows(CALIBRATED, MIXED)) == 40
    answers = [o.answer for o in grumbling(store).rows(CALIBRATED, unlabelled)]
    assert answers == [row.target for row in MIXED]


def test_without_log_probabilities_the_answer_is_the_one_written(store: Store) -> None:
    """Calibration then changes nothing, and fails nothing."""
    ledger = Ledger(Scripted(SAID), store, 1)
    kinds = [o.kind for o in Evaluator(ledger, Renderer(), METRICS["accuracy"]).rows(CALIBRATED, ROWS)]

    assert kinds == [Kind.RIGHT, Kind.WRONG, Kind.UNPARSED, Kind.ERROR]


def one_by_one(evaluate: Evaluator, prompt: Prompt, places: range) -> tuple[Outcome, ...]:
    return tuple(evaluate.rows(prompt, [MIXED[place]])[0] for place in places)


def test_a_rows_answer_depends_on_what_was_asked_before_and_with_it(store: Store) -> None:
    """Alone a row cannot be calibrated; in a block its neighbours do it; other prompts' rows do not count."""
    alone = grumbling(store).rows(CALIBRATED, MIXED[:1])
    together = grumbling(store).rows(CALIBRATED, MIXED[:6])
    backwards = grumbling(store).rows(CALIBRATED, MIXED[5::-1])[::-1]
    evaluate = grumbling(store)
    evaluate.rows(replace(CALIBRATED, instruction="Another."), MIXED)

    assert [alone[0].answer, together[0].answer] == ["bug", "praise"]
    assert backwards == together
    assert evaluate.rows(CALIBRATED, MIXED[:1]) == alone


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_resumed_search_answers_as_an_uninterrupted_one(store: Store, tmp_path: Path, cut: int) -> None:
    """What it was told is recalled from the ledger; rows that were bought but not kept count when their turn comes."""
    with Store(tmp_path / "whole.db", create=True) as other:
        uninterrupted = grumbling(other)
        whole = one_by_one(uninterrupted, CALIBRATED, range(25))
    first = grumbling(store)
    kept = one_by_one(first, CALIBRATED, range(cut))
    first.ledger.complete([Request(Renderer().messages(CALIBRATED, row), CALIBRATED.settings) for row in MIXED])

    resumed = grumbling(store)
    resumed.recall([Trial(0, {}, CALIBRATED, State.RUNNING, outcomes=kept), Trial(1, {}, PROMPT, State.RUNNING)])
    rest = one_by_one(resumed, CALIBRATED, range(cut, 25))

    assert [o.answer for o in (*kept, *rest)] == [o.answer for o in whole]
    assert resumed.batches == uninterrupted.batches
    assert len({o.answer for o in rest}) == 2


def test_a_settled_prompt_answers_each_row_by_itself(store: Store) -> None:
    """Its prior is fixed by the rows that its trial answered, whatever is asked later, and in whatever company."""
    evaluate = grumbling(store)
    outcomes = evaluate.rows(CALIBRATED, MIXED[:30])
    settled = grumbling(store).settle(Trial(0, {}, CALIBRATED, State.COMPLETE, outcomes=outcomes))

    assert [label for label, _ in settled.prior] == ["bug", "praise"]
    alone = [evaluate.rows(settled, [row])[0] for row in MIXED[30:]]
    assert tuple(alone) == evaluate.rows(settled, MIXED[30:])
    assert right(tuple(alone)) == 10
    assert evaluate.settle(Trial(0, {}, settled, State.COMPLETE)) == settled
    assert evaluate.settle(Trial(0, {}, PROMPT, State.COMPLETE, outcomes=outcomes)) is PROMPT
