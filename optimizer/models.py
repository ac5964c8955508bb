"""Models: the protocol, and the door of LiteLLM.

`open_model("openai/…")` opens any model that LiteLLM reaches, with direct calls (`direct`) if the endpoint speaks the
OpenAI protocol; `open_model("embedded")` opens the small model in this process. A model makes one attempt at a call and
reports the outcome; retries, payment and scores are decided elsewhere. This module reads keys and addresses from the
environment; no key gets into an error or a record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from optimizer.calls import destinations
from optimizer.calls.answers import Alternatives, read
from optimizer.calls.direct import Direct, Endpoint
from optimizer.calls.faults import CallFailed, Fate, classify, one_line, seconds_to_wait, unfit_address, unheard
from optimizer.calls.litellm_import import import_litellm
from optimizer.calls.prices import known_price
from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError, ModelError, meant
from optimizer.events import Destination
from optimizer.records import Completion, Request

LONG = 600.0  # seconds; the gateway ends a call at its own deadline
EMBEDDED = {"embedded", "phrasetune/embedded"}
# Providers whose endpoints speak the OpenAI protocol, and to which LiteLLM sends requests unchanged.
LEAN = {"openai", "hosted_vllm", "lm_studio", "llamafile", "litellm_proxy"}


class Model(Protocol):
    """Completes prompts: a `LocalModel` in this process, a `RemoteModel` over a network."""

    @property
    def name(self) -> str:
        """Its name in results.db and the reports."""

    @property
    def address(self) -> str:
        """Its address, if not the provider's default; only calls with the same address share cached answers."""

    @property
    def price(self) -> tuple[float, float] | None:
        """US dollars per prompt token and per completion token; None if not known."""


@runtime_checkable
class LocalModel(Model, Protocol):
    """A model in this process."""

    def complete(self, request: Request) -> Completion:
        """Answer a request; an `error` in the completion is final."""


@runtime_checkable
class RemoteModel(Model, Protocol):
    """A model that is called over a network."""

    async def ask(self, request: Request) -> Completion:
        """Make one attempt at a call.

        Raises
        ------
        CallFailed
            If there is no answer; its `fate` says what follows.
        """

    async def leave(self) -> None:
        """Close its connections."""


def open_model(
    name: str, *, api_base: str = "", price: tuple[float, float] | None = None, keyless: bool = False
) -> Model:
    """Open a model by its LiteLLM name, or "embedded".

    Parameters
    ----------
    name
        "embedded", or provider/model as in LiteLLM.
    api_base
        Address of an OpenAI-compatible server, if the provider needs one.
    price
        US dollars per million prompt tokens and per million completion tokens; overrides the price table.
    keyless
        Whether a missing key is allowed, for a model that is not called.

    Raises
    ------
    ModelError
        If LiteLLM does not know the provider, if the key is not set, or if the address is invalid or contains a key.
    """
    _refuse_unfit(api_base)
    if name in EMBEDDED:
        return EmbeddedModel()
    per_token = (price[0] / 1e6, price[1] / 1e6) if price else known_price(name)
    litellm = import_litellm()
    model, provider, key, base, told = _reach(litellm, name, api_base, keyless=keyless)
    if provider not in LEAN or _mode(litellm, model) == "responses":
        there = destinations.destination(provider, api_base or base or told.get("api_base", ""), key, os.environ)
        return LiteLLMModel(name, api_base, per_token, told, there)
    there = destinations.destination(provider, base, key or "none", os.environ)
    headers = {"Authorization": f"Bearer {key or 'none'}"} | (_accounts() if provider == "openai" else {})
    return Direct(name, api_base, per_token, Endpoint(base, headers, _bodies(litellm, model, provider), there))


@dataclass(frozen=True, slots=True)
class Service:
    """What LiteLLM needs for other services of a provider: embeddings, files, fine-tuning.

    `model` is the name without the provider, `litellm` the package, `told` the arguments for its calls, and
    `destination` where the calls go.
    """

    name: str
    model: str
    provider: str
    litellm: Any
    told: Mapping[str, str] = field(repr=False)
    destination: Destination


def open_service(name: str, *, api_base: str = "", keyless: bool = False) -> Service:
    """Open a provider's other services; parameters and errors as in `open_model`."""
    _refuse_unfit(api_base)
    litellm = import_litellm()
    model, provider, key, base, told = _reach(litellm, name, api_base, keyless=keyless)
    if base and provider in LEAN:
        told |= {"api_base": base, "api_key": key or "none"}
    there = destinations.destination(provider, api_base or base or told.get("api_base", ""), key, os.environ)
    return Service(name, model, provider, litellm, ({"api_base": api_base} if api_base else {}) | told, there)


def _reach(
    litellm: Any,  # noqa: ANN401
    name: str,
    api_base: str,
    *,
    keyless: bool,
) -> tuple[str, str, str, str, dict[str, str]]:
    """Return model, provider, key, address, and the arguments that LiteLLM needs besides the environment."""
    model, provider, key, base = _resolve(litellm, name, api_base)
    told = _needed_key(litellm, name, known=bool(api_base) or keyless)
    redirected = destinations.redirected(provider, os.environ)
    _refuse_unfit(redirected)
    if provider == "openai":
        base = api_base or redirected or destinations.USUAL[provider]
        key = _environment("OPENAI_API_KEY")
    if key and not (key.isascii() and key.isprintable()):
        raise ModelError(f"the key of model {name!r} holds a character that no key has, such as a line break. Mend it.")
    _refuse_unfit(base or "")
    return (
        model,
        provider,
        key or "",
        base or "",
        told | ({"api_base": redirected} if redirected and not api_base else {}),
    )


def destination(model: Model) -> Destination | None:
    """Return where calls to a model go; None if they stay in this process, or if it is a user's own model."""
    return model.destination if isinstance(model, Direct | LiteLLMModel) else None


def _refuse_unfit(address: str) -> None:
    if address and (said := unfit_address(address)):
        raise ModelError(f"the model's address (api_base) {said}.")


def _resolve(litellm: Any, name: str, api_base: str) -> tuple[str, str, str | None, str | None]:  # noqa: ANN401
    """Return the model, provider, key and address that LiteLLM finds for a name."""
    try:
        model, provider, key, base = litellm.get_llm_provider(name, api_base=api_base or None)
    except Exception:  # noqa: BLE001 - whatever LiteLLM raises here, the name is wrong
        raise ModelError(
            f"unknown model {name!r}; allowed: embedded, or provider/model as LiteLLM names it, such as "
            "openai/gpt-4o-mini, anthropic/claude-3-5-haiku-latest, ollama_chat/llama3.1 or "
            f"hosted_vllm/my-model with api_base. {_misnamed(litellm, name)}"
        ) from None
    if provider in LEAN - {"openai"} and not base:
        raise ModelError(
            f"model {name!r} needs an address. Give it as api_base in [model], or as --api-base (api_base=)."
        )
    return model, provider, key, base


def _misnamed(litellm: Any, name: str) -> str:  # noqa: ANN401
    """Return what is wrong with a name that LiteLLM does not know."""
    provider, slash, _ = name.partition("/")
    known = [str(each.value) for each in litellm.LlmProviders]
    if slash and provider not in known:
        return f"{provider!r} is no provider that LiteLLM knows.{meant(provider, known)}"
    return f"Put the provider before the name.{meant(name, ['embedded'])}"


def _needed_key(litellm: Any, name: str, *, known: bool) -> dict[str, str]:  # noqa: ANN401
    """Raise ModelError for a missing key, unless it is `known` not to matter; return arguments that LiteLLM needs."""
    missing = litellm.validate_environment(name)["missing_keys"]
    # If one variable is missing, LiteLLM lists all that the provider may want.
    keys = [key for key in missing if key.endswith(("_KEY", "_TOKEN", "_ID")) and not os.environ.get(key)]
    if keys and not known:
        raise ModelError(
            f"model {name!r} needs {' and '.join(keys)} in the environment. "
            f"Set it (export {keys[0]}=…, or --env-file), or name another model; `embedded` needs no key."
        )
    return {"api_key": "none"} if keys else {}  # the user's own server may need no key, but LiteLLM requires one


def _mode(litellm: Any, model: str) -> str:  # noqa: ANN401
    """Return how LiteLLM reaches a model: some use a protocol other than chat completions."""
    known: Mapping[str, Any] = litellm.model_cost.get(model, {})
    return "responses" if model.startswith("responses/") else str(known.get("mode", ""))


def load_keys(path: str) -> None:
    """Add the NAME=value lines of a file to the environment; variables that are set already are kept.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    from dotenv import dotenv_values

    try:
        with Path(path).open(encoding="utf-8") as file:
            found = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Name a text file of NAME=value lines.") from None
    for name, value in found.items():
        if value is not None:
            os.environ.setdefault(name, value)


def _environment(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _accounts() -> dict[str, str]:
    """Return headers for the account to charge, from the variables of OpenAI's own client, as LiteLLM does."""
    variables = {"OpenAI-Organization": "OPENAI_ORGANIZATION", "OpenAI-Project": "OPENAI_PROJECT"}
    return {header: value for header, variable in variables.items() if (value := _environment(variable))}


def _bodies(litellm: Any, model: str, provider: str) -> Callable[[Request, int], dict[str, Any]]:  # noqa: ANN401
    """Return a function that makes request bodies as LiteLLM would: some models rename parameters, or lack them."""
    from litellm.utils import ProviderConfigManager, get_optional_params

    config = ProviderConfigManager.get_provider_chat_config(model=model, provider=litellm.LlmProviders(provider))

    @cache
    def parameters(temperature: float, max_tokens: int, told: int) -> dict[str, Any]:
        wanted = {"temperature": temperature, "max_tokens": max_tokens, **_logprobs_wanted(told)}
        found = get_optional_params(model=model, custom_llm_provider=provider, drop_params=True, **wanted)
        extra = found.pop("extra_body", None) or {}
        return {key: value for key, value in {**found, **extra}.items() if key != "stream"}

    def body(request: Request, told: int) -> dict[str, Any]:
        messages = [message.to_dict() for message in request.messages]
        chosen = dict(parameters(request.settings.temperature, request.settings.max_tokens, told))
        made: dict[str, Any] = config.transform_request(
            model=model, messages=messages, optional_params=chosen, litellm_params={}, headers={}
        )
        return made

    return body


def offers_logprobs(name: str) -> bool:
    """Return whether LiteLLM would request log-probabilities from a model; True if it does not know the model."""
    if name in EMBEDDED:
        return True
    taken = import_litellm().get_supported_openai_params(name)
    return taken is None or "logprobs" in taken


def _logprobs_wanted(told: int) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": told} if told else {}


class LiteLLMModel:
    """Any model behind LiteLLM, which is imported only when such a model is opened, because that takes seconds."""

    def __init__(
        self,
        name: str,
        address: str,
        price: tuple[float, float] | None,
        told: Mapping[str, str],
        destination: Destination | None = None,
    ) -> None:
        self.name, self.address, self.price, self.destination = name, address, price, destination
        self._told = {"api_base": address or None, **told}
        self._litellm = import_litellm()
        self._alternatives = Alternatives()

    async def ask(self, request: Request) -> Completion:
        """Make one attempt, and another one if the provider returns only fewer alternatives to each token."""
        told = self._alternatives.told(request)
        try:
            response = await self._call(request, told)
        except Exception as error:  # noqa: BLE001 - classified below; LiteLLM has no common base class
            failed = classify_raised(error)
            if self._alternatives.fewer(told, failed):
                return await self.ask(request)
            raise failed from None
        return read(response.model_dump(), request, self.price)

    async def _call(self, request: Request, told: int) -> Any:  # noqa: ANN401 - LiteLLM's response
        # LiteLLM drops parameters that a provider does not support; the answer may then lack log-probabilities.
        return await self._litellm.acompletion(
            model=self.name,
            messages=[message.to_dict() for message in request.messages],
            temperature=request.settings.temperature,
            max_tokens=request.settings.max_tokens,
            **_logprobs_wanted(told),
            timeout=LONG,
            num_retries=0,
            max_retries=0,
            drop_params=True,
            **self._told,
        )

    async def leave(self) -> None:
        """Do nothing: LiteLLM manages its own connections."""


def classify_raised(error: Exception) -> CallFailed:
    """Classify an exception of LiteLLM by status and message, because its classes differ between providers."""
    status = getattr(error, "status_code", None)
    said = f"{error} {getattr(error, 'body', None) or ''}"
    if unheard(error):
        return CallFailed(Fate.PASSING, f"no connection: {one_line(said)}", absent=True)
    headers = getattr(error, "litellm_response_headers", None) or {}
    sent = getattr(error, "response", None)
    headers = headers or getattr(sent, "headers", None) or {}
    if status is None or "Timeout" in type(error).__name__ or "Connection" in type(error).__name__:
        return CallFailed(Fate.PASSING, f"{type(error).__name__}: {one_line(said)}", billed=True)
    return classify(int(status), said, seconds_to_wait(headers.get("retry-after")))


def register_embedded() -> None:
    """Make `litellm.completion(model="phrasetune/embedded", …)` answer with the embedded model."""
    litellm = import_litellm()
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
