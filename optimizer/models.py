"""Models: the protocol, and the door of LiteLLM.

`open_model("openai/…")` gives anything that LiteLLM reaches; `open_model("embedded")` gives the small model in
this process. A model makes one call and reports what happened; who pays for it and what it scores is decided
elsewhere. This room reads the environment (keys, addresses) and lets none of it out: neither into an error nor
into a record.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from optimizer.calibration import beginnings
from optimizer.embedded import EmbeddedModel
from optimizer.errors import ModelError, ProviderError
from optimizer.records import Completion, Request
from search_spaces.prompt import ALTERNATIVES as MOST_ALTERNATIVES

ATTEMPTS = 4  # a call that meets a passing fault is made again, after 1, 2 and 4 seconds
ALTERNATIVES = (MOST_ALTERNATIVES, 5)  # tokens asked for beside each that was said; some providers tell of 5 at most
PATIENCE = 60.0  # the longest wait that a provider's Retry-After is granted, in seconds


class Model(Protocol):
    """Completes prompts."""

    @property
    def name(self) -> str:
        """What results.db and the reports call it."""

    @property
    def address(self) -> str:
        """Where it is reached, if not at its provider's usual place; part of what makes two calls equal."""

    @property
    def price(self) -> tuple[float, float] | None:
        """US dollars per prompt token and per completion token; None if not known."""

    def complete(self, request: Request) -> Completion:
        """Make one call. A passing failure comes back as a completion with an `error`.

        Raises
        ------
        ProviderError
            If every further call would fail in the same way: a key or a quota.
        """


def open_model(
    name: str,
    *,
    api_base: str = "",
    price: tuple[float, float] | None = None,
    timeout: float = 60.0,
) -> Model:
    """Open a model by its LiteLLM name, or "embedded".

    Parameters
    ----------
    name
        "embedded", or provider/model as LiteLLM writes it.
    api_base
        Address of an OpenAI-compatible server, where the provider needs one.
    price
        US dollars per million prompt tokens and per million completion tokens, over the price table's.
    timeout
        Seconds that one attempt may take.

    Raises
    ------
    ModelError
        If the name has no provider that LiteLLM knows, or its key is not set.
    """
    if name in {"embedded", "phrasetune/embedded"}:
        return EmbeddedModel()
    per_token = (price[0] / 1e6, price[1] / 1e6) if price else known_price(name)
    return LiteLLMModel(name, api_base, per_token, timeout)


class LiteLLMModel:
    """Any model behind LiteLLM. Importing LiteLLM takes seconds, so it waits for the first model of this kind."""

    def __init__(self, name: str, address: str, price: tuple[float, float] | None, timeout: float) -> None:
        self.name, self.address, self.price = name, address, price
        self._timeout = timeout
        self._alternatives = list(ALTERNATIVES)
        self._litellm = _import_litellm()
        self._key = self._check()

    def _check(self) -> dict[str, str]:
        """Refuse a name or a missing key; return what LiteLLM must be told of the key, beside the environment."""
        try:
            self._litellm.get_llm_provider(self.name, api_base=self.address or None)
        except Exception:  # noqa: BLE001 - whatever LiteLLM raises here, the name is what is wrong
            raise ModelError(
                f"unknown model {self.name!r}; allowed: embedded, or provider/model as LiteLLM names it, such as "
                "openai/gpt-4o-mini, anthropic/claude-3-5-haiku-latest, ollama_chat/llama3.1 or "
                "hosted_vllm/my-model with api_base. Put the provider before the name."
            ) from None
        missing = self._litellm.validate_environment(self.name)["missing_keys"]
        keys = [key for key in missing if key.endswith(("_KEY", "_TOKEN", "_ID"))]
        if keys and not self.address:
            raise ModelError(
                f"model {self.name!r} needs {' and '.join(keys)} in the environment. "
                f"Set it (export {keys[0]}=…), or name another model; `embedded` needs no key."
            )
        return {"api_key": "none"} if keys else {}  # a server of one's own may want no key, but LiteLLM wants one

    def complete(self, request: Request) -> Completion:
        """Make one call, and again where the fault may pass."""
        for attempt in range(ATTEMPTS):
            started, told = time.monotonic(), self._told(request)
            try:
                response = self._call(request, told)
            except Exception as error:  # noqa: BLE001 - sorted below; LiteLLM has no common base class
                self._raise_if_final(error)
                if told and self._tells_less(told, error):
                    return self.complete(request)
                if attempt == ATTEMPTS - 1 or not _passing(error):
                    return Completion("", seconds=time.monotonic() - started, error=_said(error))
                time.sleep(min(PATIENCE, _retry_after(error) or 2.0**attempt))
            else:
                return self._completion(response, time.monotonic() - started)
        raise AssertionError  # the loop returns

    def _told(self, request: Request) -> int:
        """How many alternatives to a token the provider is asked to tell the log-probabilities of."""
        return self._alternatives[0] if request.settings.logprobs and self._alternatives else 0

    def _tells_less(self, told: int, error: Exception) -> bool:
        """Whether a provider refuses to tell of so many: then it is asked for fewer, or for none, from now on."""
        if getattr(error, "status_code", None) not in {400, 422} or "logprob" not in str(error).lower():
            return False
        if self._alternatives[:1] == [told]:  # else another thread has heard it first
            del self._alternatives[0]
        return True

    def _call(self, request: Request, told: int) -> Any:  # noqa: ANN401 - LiteLLM's response
        # LiteLLM drops what it knows a provider not to take; then the answer comes without log-probabilities.
        return self._litellm.completion(
            model=self.name,
            messages=[message.to_dict() for message in request.messages],
            temperature=request.settings.temperature,
            max_tokens=request.settings.max_tokens,
            **({"logprobs": True, "top_logprobs": told} if told else {}),
            api_base=self.address or None,
            timeout=self._timeout,
            num_retries=0,
            max_retries=0,
            drop_params=True,
            **self._key,
        )

    def _completion(self, response: Any, seconds: float) -> Completion:  # noqa: ANN401
        if not response.choices:
            return Completion("", seconds=seconds, error="the provider returned no choice")
        choice, usage = response.choices[0], getattr(response, "usage", None)
        prompt_tokens = int(getattr(usage, "prompt_tokens", 0) or 0)
        completion_tokens = int(getattr(usage, "completion_tokens", 0) or 0)
        per_prompt, per_completion = self.price or (0.0, 0.0)
        return Completion(
            _whole(choice.message.content or ""),
            prompt_tokens,
            completion_tokens,
            prompt_tokens * per_prompt + completion_tokens * per_completion,
            seconds,
            str(choice.finish_reason or "stop"),
            error="content filter" if choice.finish_reason == "content_filter" else "",
            logprobs=_logprobs(choice),
        )

    def _raise_if_final(self, error: Exception) -> None:
        """Stop where every further call would fail alike."""
        # By status and body: LiteLLM's classes and wordings for the same refusal differ between providers.
        status = getattr(error, "status_code", None)
        spent = status == 402 or "insufficient_quota" in f"{error} {getattr(error, 'body', '')}"
        for met, what, remedy in (
            (status in {401, 403}, "the provider refuses the key", "Check the key; then resume."),
            (status == 404, "the provider does not know this model", "Check its name."),
            (spent, "the quota is used up", "Top it up; then resume."),
        ):
            if met:
                raise ProviderError(f"{self.name}: {what} ({_said(error)}). {remedy}") from None


def _whole(text: str) -> str:
    """Replace half a surrogate pair, as a cut answer may end with, by "?": it cannot be written down."""
    return text.encode(errors="replace").decode()


def _logprobs(choice: Any) -> tuple[tuple[str, float], ...]:  # noqa: ANN401
    try:
        told = beginnings([token.model_dump() for token in choice.logprobs.content or []])
    except (AttributeError, KeyError, TypeError):  # none, or in a form that is not the protocol's
        return ()
    return tuple((_whole(text), value) for text, value in told)


def _passing(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    status = getattr(error, "status_code", None)
    return status in {408, 409, 425, 429} or status is None or int(status) >= 500


def _retry_after(error: Exception) -> float:
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _said(error: Exception) -> str:
    """Say in one line what went wrong, with nothing in it that looks like a key."""
    text = str(error)
    for name, value in os.environ.items():
        if name.endswith(("_KEY", "_TOKEN", "_SECRET")) and len(value) >= 8:
            text = text.replace(value, "[hidden]")
    text = re.sub(r"(sk-|key[-_ ]?|bearer )[\w*.-]{6,}", "[hidden]", text, flags=re.IGNORECASE)
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else 'no message'}"


def _import_litellm() -> Any:  # noqa: ANN401 - untyped package
    # Before the import: no cost map from the network, no .env file that could redirect a key.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # pydantic's opinion of a type that LiteLLM takes from the openai package; it comes with the first call.
    warnings.filterwarnings("ignore", message="Item .* on TypedDict class", category=UserWarning)
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def register_embedded() -> None:
    """Make `litellm.completion(model="phrasetune/embedded", …)` answer with the embedded model."""
    litellm = _import_litellm()
    from litellm import CustomLLM, ModelResponse

    from search_spaces.prompt import Message, Settings

    class Embedded(CustomLLM):  # type: ignore[misc]
        def completion(self, *_: Any, **call: Any) -> Any:  # noqa: ANN401
            asked = call.get("optional_params") or {}
            settings = Settings(float(asked.get("temperature", 0.0)), int(asked.get("max_tokens", 256)))
            messages = tuple(Message(m["role"], _content(m["content"])) for m in call["messages"])
            done = EmbeddedModel().complete(Request(messages, settings))
            response = call.get("model_response") or ModelResponse()
            response.model = "phrasetune/embedded"
            response.choices[0].message.content = done.text
            response.choices[0].finish_reason = done.finish_reason
            response.usage = litellm.Usage(
                prompt_tokens=done.prompt_tokens,
                completion_tokens=done.completion_tokens,
                total_tokens=done.prompt_tokens + done.completion_tokens,
            )
            return response

        async def acompletion(self, *_: Any, **call: Any) -> Any:  # noqa: ANN401
            import asyncio

            return await asyncio.to_thread(self.completion, **call)

    if all(entry["provider"] != "phrasetune" for entry in litellm.custom_provider_map):
        litellm.custom_provider_map.append({"provider": "phrasetune", "custom_handler": Embedded()})
        litellm.utils.custom_llm_setup()


def _content(content: Any) -> str:  # noqa: ANN401 - text, or a list of parts
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def known_price(name: str) -> tuple[float, float] | None:
    """Look a price up in LiteLLM's table, without importing LiteLLM: US dollars per token."""
    table = _price_table()
    entry = table.get(name) or table.get(name.split("/", 1)[-1])
    if not entry or entry.get("input_cost_per_token") is None:
        return None
    return float(entry["input_cost_per_token"]), float(entry.get("output_cost_per_token") or 0.0)


@cache
def _price_table() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    path = Path(spec.submodule_search_locations[0]) / "model_prices_and_context_window_backup.json"
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return table
