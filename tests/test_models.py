"""Models complete through LiteLLM against a real server: retried, refused, priced, and silent about keys."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import LANES, QUICK, answer, landed, open_lane
from server import (
    Asked,
    Body,
    ChatServer,
    Fault,
    cut,
    drip,
    filtered,
    hang,
    html,
    malformed,
    no_choice,
    null,
    plain,
    quota,
    refusal,
    reset,
    says,
    slow,
    status,
    two_choices,
    wrong_types,
)

from optimizer.calls.faults import CallFailed, Fate
from optimizer.calls.gateway import AT_NOBODY, ATTEMPTS, DOUBTS, Gateway, Pace
from optimizer.calls.litellm_import import import_litellm
from optimizer.calls.prices import known_price
from optimizer.embedded import EmbeddedModel, complete_text
from optimizer.errors import ModelError, PhrasetuneError, ProviderError
from optimizer.evaluate import Evaluator
from optimizer.ledger import Ledger
from optimizer.models import Model, open_model, register_embedded
from optimizer.records import Completion, Kind, Request, Run
from optimizer.scoring import METRICS
from optimizer.store import Store
from search_spaces.prompt import Example, Message, Settings
from search_spaces.rendering import Renderer

ROOT = Path(__file__).resolve().parents[1]
CANARY = "sk-canary-0123456789"
BARE = "canary.0123456789"  # a key that does not look like one
ROW = Example("r1", (("text", "the blue bird"),), ("bird",))
PRICE = (2.0, 8.0)  # US dollars for a million tokens
REQUEST = Request((Message("system", "Say what it is."), Message("user", "the blue bird é")), Settings(0.0, 33))


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    """LiteLLM, imported once (it takes seconds), with the keys of several providers in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL"))]:
            patch.delenv(name)
        for name in ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_MODE"):
            patch.setenv(name, os.environ.get(name, "changed below, restored after"))
        patch.setenv("OPENAI_API_KEY", CANARY)
        patch.setenv("MISTRAL_API_KEY", BARE)
        yield import_litellm()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a model has waited between its attempts, without waiting them."""
    waited: list[float] = []

    async def pause(self: Gateway, attempt: int, wanted: float | None) -> None:
        waited.append(self.wait_before(attempt, wanted))

    monkeypatch.setattr(Gateway, "pause", pause)
    return waited


@pytest.fixture(params=LANES)
def model(litellm: Any, server: ChatServer, request: pytest.FixtureRequest) -> Model:
    """A model at the server on loopback, over either lane."""
    return open_lane(request.param, "openai/test-model", server.url, PRICE)


def sent(asked: Asked) -> dict[str, str]:
    """The headers of a request, by their names in small letters."""
    return {name.lower(): value for name, value in asked.headers.items()}


def leaks(error: BaseException) -> str:
    """All that a person could come to read of an error."""
    return f"{error} {error!r} {''.join(traceback.format_exception(error))}"


def in_a_new_process(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- an answer --------------------------------------------------------------------------------------------


def test_a_completion_has_the_text_the_tokens_and_the_cost(model: Model, server: ChatServer) -> None:
    """Text and usage are the server's; the cost is the usage at the price that was given."""
    done = answer(model, REQUEST)

    text = complete_text(REQUEST.messages, max_tokens=33)
    prompt, completion = 30 // 4, len(text) // 4
    assert Completion(text, prompt, completion, done.cost, done.seconds, version="test-model") == done
    assert pytest.approx((prompt * PRICE[0] + completion * PRICE[1]) / 1e6) == done.cost
    assert done.seconds > 0


def test_the_request_is_sent_as_it_stands(model: Model, server: ChatServer) -> None:
    """Messages and settings arrive unchanged, with the key in the header alone."""
    answer(model, REQUEST)

    asked = server.log[0]
    expected = {
        "model": "test-model",
        "messages": [message.to_dict() for message in REQUEST.messages],
        "temperature": 0.0,
        "max_tokens": 33,
    }
    assert expected == {name: asked.body[name] for name in expected}
    assert sent(asked)["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in str(asked.body)
    assert "stream" not in asked.body


KEYS = {
    "openai/gpt-4o-mini": "OPENAI_API_KEY",
    "openai/o3-mini": "OPENAI_API_KEY",  # calls max_tokens otherwise, and takes no temperature
    "openai/test-model": "OPENAI_API_KEY",
    "hosted_vllm/m": "HOSTED_VLLM_API_KEY",
    "lm_studio/m": "LM_STUDIO_API_KEY",
    "llamafile/m": "LLAMAFILE_API_KEY",
    "litellm_proxy/m": "LITELLM_PROXY_API_KEY",
    "custom_openai/m": "OPENAI_API_KEY",  # not lean: it takes OpenAI's key, which only LiteLLM knows
}


@pytest.mark.parametrize("name", KEYS)
def test_both_lanes_send_the_same(litellm: Any, server: ChatServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Path, body and key; whose account is charged is told to OpenAI alone."""
    monkeypatch.setenv(KEYS[name], CANARY)
    monkeypatch.setenv("OPENAI_ORGANIZATION", "org-of-ours")

    for lane in LANES:
        answer(open_lane(lane, name, server.url), REQUEST)

    lean, other = server.log
    assert (lean.path, lean.body) == (other.path, other.body)
    assert sent(lean)["authorization"] == sent(other)["authorization"] == f"Bearer {CANARY}"
    assert ("openai-organization" in sent(lean)) == (KEYS[name] == "OPENAI_API_KEY")


def test_a_model_says_its_name_its_address_and_its_price(model: Model, server: ChatServer) -> None:
    """The price is per token; the key is nowhere in what it says of itself."""
    assert model.name == "openai/test-model"
    assert server.url == model.address
    assert model.price == (2e-6, 8e-6)
    assert CANARY not in f"{model!r} {vars(model)}"


def test_an_unknown_price_is_none_and_costs_nothing(litellm: Any, server: ChatServer) -> None:
    """What cannot be known is not made up."""
    model = open_model("openai/test-model", api_base=server.url)

    assert model.price is None
    assert answer(model, REQUEST).cost == 0


def test_half_a_surrogate_pair_becomes_a_question_mark(model: Model, server: ChatServer, tmp_path: Path) -> None:
    """An answer that was cut within an emoji can be written down, and costs its price."""
    server.misbehave(says("cut \ud83d"))

    with Store(tmp_path / "results.db", create=True) as store, closing(Ledger(model, store, 1, pace=QUICK)) as ledger:
        (key, done), *_ = ledger.complete([REQUEST])

        assert done.text == "cut ?"
        assert done == store.find_completions([key])[key]


def test_many_at_once_each_get_their_own_answer(model: Model, server: ChatServer, tmp_path: Path) -> None:
    """Eight threads share one model; answers come back in order."""
    server.ask("server:reverse")
    requests = [Request((Message("user", f"number {i}"),), Settings()) for i in range(40)]

    with Store(tmp_path / "results.db", create=True) as store, closing(Ledger(model, store, 1, pace=Pace(8))) as ledger:
        done = ledger.complete(requests)

    assert [f"number {i}"[::-1] for i in range(40)] == [completion.text for _, completion in done]
    assert len(server.log) == 40


# --- faults that pass -------------------------------------------------------------------------------------

PASSING: dict[str, Fault] = {
    "429": status(429),
    "429 in time": status(429, retry_after=3),
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "408": status(408),
    "reset": reset(),
    "malformed": malformed(),
    "cut": cut(),
    "a page": html(),
    "null": null(),
    "other types": wrong_types(),
}
passing = pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)


@passing
@pytest.mark.parametrize("times", [1, ATTEMPTS - 1])
def test_a_passing_fault_is_tried_again(model: Model, server: ChatServer, fault: Fault, times: int) -> None:
    """The same request is sent until it is answered, and the answer is as good as any."""
    server.misbehave(fault, *range(1, times + 1))

    done = answer(model, REQUEST)

    assert complete_text(REQUEST.messages, max_tokens=33) == done.text
    assert not done.error
    assert list(range(1, times + 2)) == [asked.attempt for asked in server.log]


@passing
def test_a_fault_that_does_not_pass_ends_the_run(model: Model, server: ChatServer, fault: Fault) -> None:
    """Where no call at all is answered it is the model that fails, not a prompt: what was said last is told."""
    server.misbehave(fault)

    with pytest.raises(ProviderError, match=r"no answer \(tried for .* s; last: .*\)\. Check the model") as caught:
        answer(model, REQUEST)

    assert str(caught.value).count("\n") == 0
    assert len(server.log) == ATTEMPTS or fault.status == 429  # a limit is waited for


def test_a_fault_of_one_call_among_others_is_an_error_of_that_call() -> None:
    """The others are answered; each of its attempts that may have been charged is told, and why it failed."""

    class Choosy:
        name, address, price = "choosy", "", None

        def __init__(self) -> None:
            self.answered = asyncio.Event()
            self.attempts = 0

        async def ask(self, request: Request) -> Completion:
            if request is REQUEST:
                self.attempts += 1
                if self.attempts == ATTEMPTS:
                    await self.answered.wait()
                raise CallFailed(Fate.PASSING, "HTTP 500", billed=True)
            self.answered.set()
            return Completion("fine")

        async def leave(self) -> None:
            """Nothing is open."""

    with closing(Gateway(Choosy(), QUICK)) as gateway:
        failing = gateway.submit(REQUEST)
        fine = gateway.submit(replace(REQUEST, sample=1)).result(timeout=20)
        failed = failing.result(timeout=20)

    assert fine.completion is not None
    assert fine.completion.text == "fine"
    assert failed.completion is not None
    assert (failed.completion.error, failed.trouble) == ("HTTP 500", None)
    assert [failure.cost for failure in failed.failures] == [None] * ATTEMPTS


class Fleeting:
    """A server that is there for the calls of these numbers, and refuses connections otherwise."""

    name, address, price = "fleeting", "http://localhost:1/v1", None

    def __init__(self, there: set[int]) -> None:
        self.there, self.attempts = there, 0

    async def ask(self, _: Request) -> Completion:
        self.attempts += 1
        if self.attempts not in self.there:
            raise CallFailed(Fate.PASSING, "no connection", absent=True)
        return Completion("fine")

    async def leave(self) -> None:
        """Nothing is open."""


@pytest.mark.usefixtures("litellm")
@pytest.mark.parametrize(
    ("lane", "name"), [(lane, "openai/test-model") for lane in LANES] + [("lean", "anthropic/claude-3-5-haiku-latest")]
)
def test_where_nobody_ever_was_nobody_is_waited_for_long(lane: str, name: str, waits: list[float]) -> None:
    """A refused connection is known as one over either lane: it is free, and where all were refused the run ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    done = landed(open_lane(lane, name, address), REQUEST, Pace(1, patience=10))

    assert str(done.trouble).startswith(f"{name}: nobody answers at {address} (connection refused, tried for ")
    assert [failure.cost for failure in done.failures] == [0.0]
    assert len(waits) == AT_NOBODY - 1


def test_a_server_that_was_there_is_waited_for() -> None:
    """While it starts anew, as long as any fault; and a server that starts late is met all the same."""
    with closing(Gateway(Fleeting({1, ATTEMPTS + 1}), QUICK)) as gateway:
        first, again = (gateway.submit(REQUEST).result(timeout=20) for _ in range(2))
    late = landed(Fleeting({AT_NOBODY}), REQUEST)

    for done in (first, again, late):
        assert done.completion == replace(Completion("fine"), seconds=done.completion.seconds if done.completion else 0)


def test_a_server_that_went_away_ends_the_run_with_the_calls_that_it_left() -> None:
    """An answer from before the server was gone does not let these calls fail one by one, and others after them."""

    class Leaving(Fleeting):
        async def ask(self, request: Request) -> Completion:
            if request.sample == 0:
                await gone.wait()
            try:
                return await super().ask(request)
            finally:
                gone.set()

    gone = asyncio.Event()
    with closing(Gateway(Leaving({1}), QUICK)) as gateway:
        left, answered = (gateway.submit(replace(REQUEST, sample=sample)) for sample in range(2))

        assert answered.result(timeout=20).completion is not None
        assert isinstance(left.result(timeout=20).trouble, ProviderError)


def test_the_waits_grow(model: Model, server: ChatServer, waits: list[float]) -> None:
    """Half a second, one, two, four, up to the user's patience; half of each is chance."""
    server.misbehave(status(500))

    with pytest.raises(ProviderError):
        answer(model, REQUEST, Pace(1, patience=10))

    assert len(waits) == ATTEMPTS - 1
    assert all(0.25 * 2**n <= min(wait, 10) <= 0.5 * 2**n or wait == 10 for n, wait in enumerate(waits))


@pytest.mark.parametrize(("said", "waited"), [(7, 7.0), (0.5, 0.5), (9999, 60.0), ("soon", None), ("", None)])
def test_the_provider_says_how_long_to_wait(
    model: Model, server: ChatServer, waits: list[float], said: str | float, waited: float | None
) -> None:
    """Seconds in Retry-After are granted, up to the user's patience; what cannot be read is as if it were not there."""
    server.misbehave(status(500, retry_after=said), 1)

    assert not answer(model, REQUEST, Pace(1, patience=60)).error

    assert waits == [waited] if waited else 0.25 <= waits[0] <= 0.5


def test_a_slow_answer_is_not_waited_for(model: Model, server: ChatServer) -> None:
    """An attempt ends with its time, and may have been paid; the next one succeeds."""
    server.misbehave(slow(5), 1)

    done = landed(model, REQUEST, Pace(1, timeout=0.5, patience=0.01))

    assert done.completion is not None
    assert not done.completion.error
    assert [failure.cost for failure in done.failures] == [None]
    assert len(server.log) == 2


@pytest.mark.parametrize("fault", [hang(), drip(0.2)], ids=["hang", "drip"])
def test_no_call_outlives_its_deadline(model: Model, server: ChatServer, fault: Fault) -> None:
    """Neither a provider that never answers nor one that sends byte after byte holds a call."""
    server.misbehave(fault, 1)
    began = time.monotonic()

    done = landed(model, REQUEST, Pace(1, timeout=0.5, patience=0.01))

    assert done.completion is not None
    assert not done.completion.error
    assert [failure.said for failure in done.failures] == ["no answer within 0.5 s"]
    assert time.monotonic() - began < 10  # the byte-wise answer would take more than a minute


@pytest.mark.parametrize("fault", [plain(), two_choices()], ids=["plain", "twice"])
def test_an_odd_answer_is_an_answer(model: Model, server: ChatServer, fault: Fault) -> None:
    """Two choices, of which the first counts; and JSON that does not call itself so."""
    server.misbehave(fault)

    assert complete_text(REQUEST.messages, max_tokens=33) == answer(model, REQUEST).text
    assert len(server.log) == 1


# --- answers that are none --------------------------------------------------------------------------------


def test_an_empty_list_of_choices_is_asked_again(model: Model, server: ChatServer) -> None:
    """It may have been charged all the same."""
    server.misbehave(no_choice(), 1)

    done = landed(model, REQUEST)

    assert done.completion is not None
    assert not done.completion.error
    assert [failure.cost for failure in done.failures] == [None]


def test_an_empty_answer_stands_after_some_attempts(model: Model, server: ChatServer) -> None:
    """Some models do answer nothing; each attempt has cost what its usage says."""
    server.misbehave(says(""))

    done = landed(model, REQUEST)

    assert done.completion is not None
    assert (done.completion.text, done.completion.error) == ("", "")
    assert len(server.log) == DOUBTS
    assert all(failure.cost == done.completion.cost for failure in done.failures)
    assert len(done.failures) == DOUBTS - 1


@pytest.mark.parametrize(("fault", "said"), [(filtered(), "content_filter"), (refusal(), "refusal")])
def test_a_refused_answer_is_bought_once_and_says_nothing_of_the_prompt(
    model: Model, server: ChatServer, tmp_path: Path, fault: Fault, said: str
) -> None:
    """The provider charges for it, so it counts and is kept; as an outcome it is an error."""
    server.misbehave(fault)

    with Store(tmp_path / "results.db", create=True) as store, closing(Ledger(model, store, 1, pace=QUICK)) as ledger:
        (_, done), *_ = ledger.complete([REQUEST])
        ledger.complete([REQUEST])

        assert (done.text, done.error, done.finish_reason) == ("", "", said)
        assert done.cost > 0
        assert len(server.log) == 1
        (outcome,) = Evaluator(ledger, Renderer(), METRICS["accuracy"]).outcomes([ROW], [("k", done, None)])
        assert (outcome.kind, outcome.score) == (Kind.ERROR, None)


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_request_that_is_wrong_is_not_repeated(model: Model, server: ChatServer, code: int) -> None:
    """It says nothing of the next request, so it is an error of this one alone."""
    server.misbehave(status(code, said="too long for this model"))

    done = answer(model, REQUEST)

    assert "too long for this model" in done.error
    assert len(server.log) == 1


# --- log-probabilities ------------------------------------------------------------------------------------

TOLD = replace(REQUEST, settings=Settings(0.0, 33, logprobs=True))


def telling(content: Any) -> Fault:
    """Answer with log-probabilities."""

    return Fault(choice={"logprobs": {"content": content}})


def test_log_probabilities_are_asked_for_and_read(model: Model, server: ChatServer) -> None:
    """As many alternatives as the protocol allows; only where the settings want them."""
    other = {"token": " bad", "bytes": None, "logprob": -2.5}
    server.misbehave(telling([{"token": " good", "bytes": None, "logprob": -0.25, "top_logprobs": [other]}]))

    assert answer(model, TOLD).logprobs == ((" good", -0.25), (" bad", -2.5))
    assert {"logprobs": True, "top_logprobs": 20}.items() <= server.log[0].body.items()
    answer(model, REQUEST)
    assert not {"logprobs", "top_logprobs"} & set(server.log[1].body)


@pytest.mark.parametrize("content", [None, [], [{"token": "good", "logprob": -0.25, "top_logprobs": None}]])
def test_a_provider_may_tell_none(model: Model, server: ChatServer, content: Any) -> None:
    """Then the answer stands alone."""
    server.misbehave(telling(content))

    done = answer(model, TOLD)

    assert (done.text, done.error, done.logprobs) == (complete_text(REQUEST.messages, max_tokens=33), "", ())


def test_a_provider_that_tells_of_fewer_is_asked_for_fewer(model: Model, server: ChatServer) -> None:
    """It is asked again at once, and from then on so; one that tells none is asked for none."""
    server.misbehave(status(400, said="top_logprobs must be at most 5"), 1)
    server.misbehave(status(422, said="logprobs are not supported by this model"), 3)

    done = [answer(model, TOLD) for _ in range(3)]

    assert [asked.body.get("top_logprobs") for asked in server.log] == [20, 5, 5, None, None]
    assert [completion.error for completion in done] == ["", "", ""]


def test_a_provider_that_is_known_to_tell_none_is_not_asked(litellm: Any) -> None:
    """LiteLLM drops what it knows a provider not to take."""
    assert "logprobs" not in litellm.get_supported_openai_params("anthropic/claude-3-5-haiku-latest")
    assert "logprobs" in litellm.get_supported_openai_params("openai/gpt-4o-mini")


# --- refusals ---------------------------------------------------------------------------------------------

FINAL: dict[str, tuple[Fault, str]] = {
    "401": (status(401), "the provider refuses the key"),
    "403": (status(403), "the provider refuses the key"),
    "404": (status(404), "the provider does not know this model"),
    "402": (status(402), "the quota is used up"),
    "quota": (quota(), "the quota is used up"),
}


@pytest.mark.parametrize("name", ["openai/test-model", "mistral/test-model"])
@pytest.mark.parametrize("case", FINAL)
def test_a_refusal_of_every_call_is_raised_at_once(
    litellm: Any, server: ChatServer, waits: list[float], case: str, name: str
) -> None:
    """One request shows that no other would fare better, whichever way LiteLLM words it."""
    fault, what = FINAL[case]
    server.misbehave(fault)
    model = open_model(name, api_base=server.url, price=PRICE)

    with pytest.raises(ProviderError, match=f"^{name}: {what} \\(") as caught:
        answer(model, REQUEST)

    assert len(server.log) == 1
    assert waits == []
    assert str(caught.value).count("\n") == 0


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "key"), [("openai/test-model", CANARY), ("mistral/test-model", BARE)])
@pytest.mark.parametrize("code", [400, 401, 403, 404, 429, 500])
def test_no_key_leaves_by_an_error(
    litellm: Any, server: ChatServer, waits: list[float], code: int, name: str, key: str
) -> None:
    """Also where the provider repeats the key, and whatever it looks like."""
    server.misbehave(status(code, said=f"Incorrect API key provided: {key}. Bearer {key} is {{not}} known."))
    model = open_model(name, api_base=server.url, price=PRICE)

    try:
        said = repr(answer(model, REQUEST))
    except ProviderError as error:
        said = leaks(error)

    assert "[hidden]" in said
    assert key not in said


@pytest.mark.parametrize("shape", ["sk-other-98765432", "Bearer abcdefghijkl", "api key: key-abcdefghijkl"])
def test_what_looks_like_a_key_is_hidden_too(model: Model, server: ChatServer, shape: str) -> None:
    """It may be a key that is not in the environment."""
    server.misbehave(status(400, said=f"no such thing: {shape}"))

    said = answer(model, REQUEST).error

    assert shape.rsplit(maxsplit=1)[-1] not in said
    assert "[hidden]" in said


def test_no_key_is_written_down(model: Model, server: ChatServer, tmp_path: Path) -> None:
    """Not a byte of it is in results.db or beside it, after an answer, an error and a refusal that repeat it."""
    server.misbehave(status(400, said=f"{CANARY} failed"), 2)
    server.misbehave(status(401, said=f"{CANARY} refused"), 3)
    requests = [Request((Message("user", text),), Settings()) for text in ("one", "two", "three")]
    with Store(tmp_path / "results.db", create=True, paid=True) as store:
        run = store.start_run(Run(0, "t", {}, model.name, "accuracy", "d", "running", ""), "c")
        ledger = Ledger(model, store, run, pace=replace(QUICK, workers=1))
        with closing(ledger), pytest.raises(ProviderError) as caught:
            ledger.complete(requests)
        store.update_run(run, status="failed", reason=str(caught.value))
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"refuses the key" in written
    assert CANARY.encode() not in written


def test_a_provider_gets_its_own_key_alone(
    litellm: Any, server: ChatServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address given does not send one provider's key to another."""
    for name, key in [("openai/m", CANARY), ("mistral/m", BARE)]:
        answer(open_model(name, api_base=server.url, price=PRICE), REQUEST)

        assert f"Bearer {key}" == sent(server.log[-1])["authorization"]
    for name in ("hosted_vllm/m", "lm_studio/m", "groq/m"):
        with suppress(ProviderError):  # LiteLLM misses parts of Groq's answers that the server does not send
            answer(open_model(name, api_base=server.url, price=PRICE), REQUEST)

        assert CANARY not in str(server.log[-1].headers)
    monkeypatch.delenv("OPENAI_API_KEY")
    done = answer(open_model("openai/m", api_base=server.url, price=PRICE), REQUEST)

    assert not done.error
    assert sent(server.log[-1])["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        *((name, "Put the provider before the name.") for name in ("", "nonsense", "my-own-model")),
        ("embeded", "Put the provider before the name. Did you mean 'embedded'?"),
        ("foo/bar", "'foo' is no provider that LiteLLM knows."),
        ("openia/gpt-4o", "'openia' is no provider that LiteLLM knows. Did you mean 'openai'?"),
    ],
)
def test_an_unknown_name_is_refused_with_names_that_are_known(litellm: Any, name: str, fix: str) -> None:
    """Before anything is sent, with what is wrong with it, and what may have been meant."""
    with pytest.raises(ModelError, match=rf"^unknown model '{name}'; allowed: embedded, or provider/model") as caught:
        open_model(name)

    assert str(caught.value).endswith(fix)
    assert isinstance(caught.value, PhrasetuneError)


def test_a_missing_key_is_named(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variable to set, and that one model needs none."""
    monkeypatch.delenv("OPENAI_API_KEY")

    with pytest.raises(ModelError, match=r"'openai/gpt-4o-mini' needs OPENAI_API_KEY in the environment\. Set it \("):
        open_model("openai/gpt-4o-mini")
    with pytest.raises(ModelError, match=r"needs ANTHROPIC_API_KEY in the environment"):
        open_model("anthropic/claude-3-5-haiku-latest")


def test_a_model_of_this_machine_needs_no_key(litellm: Any) -> None:
    """Providers without keys open without one."""
    assert open_model("ollama_chat/llama3.1").name == "ollama_chat/llama3.1"


# --- prices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "anthropic", "mistral", "ollama"])
def test_a_known_price_is_litellms(litellm: Any, provider: str) -> None:
    """With the provider before the name or without."""
    listed = {
        name: (float(entry["input_cost_per_token"]), float(entry["output_cost_per_token"]))
        for name, entry in litellm.model_cost.items()
        if entry.get("litellm_provider") == provider and "output_cost_per_token" in entry and name != "sample_spec"
    }

    assert listed
    for name, price in listed.items():
        assert price == known_price(name)
        assert price == known_price(f"{provider}/{name}")


@pytest.mark.parametrize("name", ["", "nonsense", "openai/no-such-model", "openai/", "sample_spec/x"])
def test_an_unknown_price_is_none(name: str) -> None:
    """No model, no price."""
    assert known_price(name) is None


def test_a_price_is_read_without_loading_litellm() -> None:
    """Nor is LiteLLM loaded for the embedded model."""
    code = (
        "import sys; from optimizer.models import open_model; from optimizer.calls.prices import known_price;"
        "print(known_price('openai/gpt-4o-mini'), open_model('embedded').price, 'litellm' in sys.modules)"
    )

    assert f"{known_price('openai/gpt-4o-mini')} (0.0, 0.0) False" == in_a_new_process(code)
    assert known_price("openai/gpt-4o-mini") is not None


# --- the embedded model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedded", "phrasetune/embedded"])
def test_the_embedded_model_opens_by_name(name: str) -> None:
    """It has what every model has, and costs nothing."""
    model = open_model(name)

    assert (model.name, model.address, model.price) == ("embedded", "", (0.0, 0.0))
    assert complete_text(REQUEST.messages, max_tokens=33) == answer(model, REQUEST).text


@pytest.fixture
def registered(litellm: Any) -> Iterator[Any]:
    """LiteLLM with the embedded model among its providers, and without it afterwards."""
    before, providers = list(litellm.custom_provider_map), list(litellm.provider_list)
    custom = list(litellm._custom_providers)
    register_embedded()
    yield litellm
    litellm.custom_provider_map[:], litellm.provider_list[:], litellm._custom_providers[:] = before, providers, custom


def as_bodies(request: Request) -> list[dict[str, str]]:
    return [message.to_dict() for message in request.messages]


@pytest.mark.parametrize("max_tokens", [2, 256])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_litellm_answers_with_the_embedded_model(registered: Any, max_tokens: int, temperature: float) -> None:
    """Same text, same usage, same reason to end."""
    request = Request(REQUEST.messages, Settings(temperature, max_tokens))
    done = EmbeddedModel().complete(request)

    response = registered.completion(
        model="phrasetune/embedded", messages=as_bodies(request), temperature=temperature, max_tokens=max_tokens
    )

    choice, usage = response.choices[0], response.usage
    assert (done.text, done.finish_reason) == (choice.message.content, choice.finish_reason)
    assert (done.prompt_tokens, done.completion_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert done.prompt_tokens + done.completion_tokens == usage.total_tokens


def test_litellm_answers_so_later_too(registered: Any) -> None:
    """The asynchronous door gives the same answer, and parts of a message count as one text."""
    parts = [{"type": "text", "text": "the blue "}, {"type": "text", "text": "bird é"}]
    messages: list[Body] = [as_bodies(REQUEST)[0], {"role": "user", "content": parts}]

    response = asyncio.run(registered.acompletion(model="phrasetune/embedded", messages=messages))

    assert EmbeddedModel().complete(Request(REQUEST.messages, Settings(0.0, 256))).text == (
        response.choices[0].message.content
    )


def test_registering_twice_changes_nothing(registered: Any) -> None:
    """One entry for the provider."""
    register_embedded()

    assert sum(entry["provider"] == "phrasetune" for entry in registered.custom_provider_map) == 1
