"""The contract of every model: the embedded one, and one on a real server, with direct calls and with LiteLLM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from asking import LANES, answer, open_lane
from server import ChatServer

from optimizer.calls.gateway import Pace
from optimizer.ledger import Ledger
from optimizer.models import Model, open_model
from optimizer.records import Completion, Request
from optimizer.store import Store
from search_spaces.prompt import Message, Settings

SHOTS = "Options: billing, bug\n\nText: I was charged twice\nLabel: billing\n\nText: It crashes\nLabel: bug\n\n"
ASKED = Request((Message("user", SHOTS + "Text: my card was charged again\nLabel:"),), Settings(0.0, 20))


@pytest.fixture(params=["embedded", *LANES])
def model(request: pytest.FixtureRequest, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Each kind of model in turn; behind the server's answers stands the embedded one too."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    if request.param == "embedded":
        return open_model("embedded")
    return open_lane(request.param, "openai/test-model", server.url, (1.0, 2.0))


def test_it_says_who_it_is(model: Model) -> None:
    """Name, address and price are there before the first call."""
    assert model.name
    assert isinstance(model.address, str)
    assert model.price is None or all(price >= 0 for price in model.price)


def test_it_completes_and_counts(model: Model) -> None:
    """An answer has its text, its tokens, its cost by the price, and a reason why it ended."""
    done = answer(model, ASKED)

    per_prompt, per_completion = model.price or (0.0, 0.0)
    assert done.text.strip() == "billing"
    assert done.error == ""
    assert done.finish_reason == "stop"
    assert done.prompt_tokens > 0
    assert done.completion_tokens > 0
    assert done.cost == pytest.approx(done.prompt_tokens * per_prompt + done.completion_tokens * per_completion)


def test_equal_requests_get_equal_answers_at_temperature_zero(model: Model) -> None:
    """The ledger may take one for the other."""
    one, other = (dataclasses.replace(answer(model, ASKED), seconds=0.0) for _ in range(2))

    assert one == other


def test_what_is_too_long_is_cut_and_said_to_be(model: Model) -> None:
    """`max_tokens` bounds the completion."""
    done = answer(model, dataclasses.replace(ASKED, settings=Settings(0.0, 1)))

    assert done.finish_reason == "length"
    assert len(done.text) <= 4


@pytest.mark.parametrize("content", ["", "\u2028 \x00 {{x}} \U0001f642", "x" * 20_000])
def test_any_text_is_answered(model: Model, content: str) -> None:
    """Odd, empty and long messages lead to a completion, not to an exception."""
    done = answer(model, Request((Message("user", content),), Settings(0.0, 5)))

    assert isinstance(done, Completion)
    assert done.error == ""


def test_the_ledger_buys_from_it_once(model: Model, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Asked again, nothing is bought, with threads or without."""
    ask: Callable[[Ledger], list[tuple[str, Completion]]] = lambda ledger: ledger.complete([ASKED])  # noqa: E731
    with Store(tmp_path_factory.mktemp("ledger") / "r.db", create=True) as store:
        first, again = (Ledger(model, store, 1, pace=Pace(2)) for _ in range(2))

        assert ask(first) == ask(again)
        first.close()
        again.close()
        assert (first.bought, again.bought, again.reused) == (1, 0, 1)
