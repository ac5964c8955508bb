"""Turning the body of a chat completion (OpenAI protocol) into a Completion, or into an error that says why not.

Both ways to a provider, `direct` and LiteLLM, read their answers here. Knows the protocol's format, not how the body
was received.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.calls.faults import CallFailed, Fate
from optimizer.records import CUT, Completion, Request
from optimizer.scores.calibration import beginnings
from search_spaces.prompt import ALTERNATIVES as MOST_ALTERNATIVES

Price = tuple[float, float]
MOST_TOLD = (MOST_ALTERNATIVES, 5)  # alternatives to request for each token; some providers return 5 at most


class Alternatives:
    """How many alternatives to each token, with log-probabilities, to request; fewer once the provider refuses."""

    def __init__(self) -> None:
        self._left = list(MOST_TOLD)

    def told(self, request: Request) -> int:
        """Return how many to ask for with a request; 0 means none."""
        return self._left[0] if request.settings.logprobs and self._left else 0

    def fewer(self, told: int, failed: CallFailed) -> bool:
        """Return whether a call failed because it asked for so many; if so, ask for fewer or none from now on."""
        if not told or failed.fate is not Fate.FINAL or "logprob" not in failed.said.lower():
            return False
        if self._left[:1] == [told]:  # otherwise another call was refused before and lowered it
            del self._left[0]
        return True


def read(body: object, request: Request, price: Price | None) -> Completion:
    """Read an answer. The caller sets the completion's `seconds`.

    Parameters
    ----------
    body
        The decoded JSON of a response with HTTP status 200.
    request
        The request that it answers.
    price
        US dollars per prompt token and per completion token.

    Raises
    ------
    CallFailed
        If the body is not in the protocol's form; also, with the completion as its `answer`, if the answer is empty or
        was cut off before it reached `max_tokens`.
    """
    try:
        assert isinstance(body, Mapping)
        choice = body["choices"][0]
        message, finish = choice["message"], str(choice.get("finish_reason") or "stop")
        elsewhere = message.get("provider_specific_fields") or {}  # where LiteLLM puts a refusal
        text, refusal = _text(message.get("content")), message.get("refusal") or elsewhere.get("refusal")
        usage = body.get("usage") or {}
        prompt, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        details = (usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {})
        counts = _count(details[0].get("cached_tokens")), _count(details[1].get("reasoning_tokens"))
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError):
        raise CallFailed(Fate.PASSING, "the answer is not in the protocol's form", billed=True) from None
    per_prompt, per_token = price or (0.0, 0.0)
    completion = Completion(
        _whole(text),
        prompt,
        written,
        prompt * per_prompt + written * per_token,
        finish_reason="refusal" if refusal and finish == "stop" else _whole(finish),
        logprobs=_logprobs(choice),
        cached_tokens=counts[0],
        reasoning_tokens=counts[1],
        version=_whole(str(body.get("model") or "")),
        fingerprint=_whole(str(body.get("system_fingerprint") or "")),
    )
    _doubt(completion, request)
    return completion


def _doubt(completion: Completion, request: Request) -> None:
    """Raise CallFailed, so that the call is retried, for an answer that a transient fault may have spoilt."""
    if completion.finish_reason == "stop" and not completion.text:
        raise CallFailed(Fate.PASSING, "the answer is empty", answer=completion)
    if completion.finish_reason == CUT and 0 < completion.completion_tokens < request.settings.max_tokens:
        raise CallFailed(Fate.PASSING, "the answer was cut before its bound", answer=completion)


def _text(content: object) -> str:
    """Return the text of a message's content, which is a text, a list of parts, or None."""
    if content is None or isinstance(content, str):
        return content or ""
    assert isinstance(content, list)
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


def _count(tokens: Any) -> int:  # noqa: ANN401 - whatever was sent
    """Read a number of tokens; raise ValueError if it is negative or too large for the database."""
    count = int(tokens or 0)
    if not 0 <= count < 2**53:
        raise ValueError(tokens)
    return count


def _whole(text: str) -> str:
    """Replace unpaired surrogates, which a cut answer may end with, by "?", because UTF-8 cannot encode them."""
    return text.encode(errors="replace").decode()


def _logprobs(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    try:
        told = beginnings(choice["logprobs"]["content"] or [])
    except (AttributeError, KeyError, TypeError):  # there are none, or they are not in the protocol's form
        return ()
    return tuple((_whole(text), value) for text, value in told if value <= 0)  # a probability is at most 1
