"""The body of a chat completion, as the OpenAI protocol has it -> a Completion, or why there is none.

Both lanes to a provider read their answers here. Knows the protocol's form and nothing of how the body came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.calls.faults import CallFailed, Fate
from optimizer.records import CUT, Completion, Request
from optimizer.scores.calibration import beginnings
from search_spaces.prompt import ALTERNATIVES as MOST_ALTERNATIVES

Price = tuple[float, float]
MOST_TOLD = (MOST_ALTERNATIVES, 5)  # tokens asked for beside each that was said; some providers tell of 5 at most


class Alternatives:
    """How many alternatives to a token a provider is asked to tell the log-probabilities of: less, once it refuses."""

    def __init__(self) -> None:
        self._left = list(MOST_TOLD)

    def told(self, request: Request) -> int:
        """How many to ask for with a request; 0 is none."""
        return self._left[0] if request.settings.logprobs and self._left else 0

    def fewer(self, told: int, failed: CallFailed) -> bool:
        """Whether a call failed because it asked for so many: then fewer, or none, are asked for from now on."""
        if not told or failed.fate is not Fate.FINAL or "logprob" not in failed.said.lower():
            return False
        if self._left[:1] == [told]:  # else another call has heard it first
            del self._left[0]
        return True


def read(body: object, request: Request, price: Price | None) -> Completion:
    """Read an answer; `seconds` is left to whoever has measured it.

    Parameters
    ----------
    body
        A response of HTTP status 200, decoded.
    request
        What was asked.
    price
        US dollars per prompt token and per completion token.

    Raises
    ------
    CallFailed
        If it is not in the protocol's form; and, with what came as its `answer`, if the answer is empty, or was cut
        before it had as many tokens as it was allowed.
    """
    try:
        assert isinstance(body, Mapping)
        choice = body["choices"][0]
        message, finish = choice["message"], str(choice.get("finish_reason") or "stop")
        elsewhere = message.get("provider_specific_fields") or {}  # where LiteLLM puts it
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
    """Ask again for what a passing fault may have spoilt."""
    if completion.finish_reason == "stop" and not completion.text:
        raise CallFailed(Fate.PASSING, "the answer is empty", answer=completion)
    if completion.finish_reason == CUT and 0 < completion.completion_tokens < request.settings.max_tokens:
        raise CallFailed(Fate.PASSING, "the answer was cut before its bound", answer=completion)


def _text(content: object) -> str:
    """Read the text out of a message: a text, a list of parts, or nothing."""
    if content is None or isinstance(content, str):
        return content or ""
    assert isinstance(content, list)
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


def _count(tokens: Any) -> int:  # noqa: ANN401 - whatever was sent
    """Read a number of tokens: none below zero, and none that cannot be written down."""
    count = int(tokens or 0)
    if not 0 <= count < 2**53:
        raise ValueError(tokens)
    return count


def _whole(text: str) -> str:
    """Replace half a surrogate pair, as a cut answer may end with, by "?": it cannot be written down."""
    return text.encode(errors="replace").decode()


def _logprobs(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    try:
        told = beginnings(choice["logprobs"]["content"] or [])
    except (AttributeError, KeyError, TypeError):  # none, or in a form that is not the protocol's
        return ()
    return tuple((_whole(text), value) for text, value in told if value <= 0)  # a probability is at most 1
