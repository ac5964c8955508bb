"""Models: the protocol, and the door of LiteLLM.

`open_model("openai/…")` gives anything that LiteLLM reaches, over the lean lane of `direct` where the endpoint speaks
the OpenAI protocol; `open_model("embedded")` gives the small model in this process. A model makes one attempt at a
call and reports what happened; who makes another, who pays for it and what it scores is decided elsewhere. This room
reads the environment (keys, addresses) and lets none of it out: neither into an error nor into a record.
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
# Providers whose endpoints speak the OpenAI protocol, and to which LiteLLM sends what it is given.
LEAN = {"openai", "hosted_vllm", "lm_studio", "llamafile", "litellm_proxy"}


class Model(Protocol):
    """Completes prompts: at once, as a `LocalModel`, or after a wait, as a `RemoteModel`."""

    @property
    def name(self) -> str:
        """What results.db and the reports call it."""

    @property
    def address(self) -> str:
        """Where it is reached, if not at its provider's usual place; part of what makes two calls equal."""

    @property
    def price(self) -> tuple[float, float] | None:
        """US dollars per prompt token and per completion token; None if not known."""


@runtime_checkable
class LocalModel(Model, Protocol):
    """A model in this process."""

    def complete(self, request: Request) -> Completion:
        """Answer. What an `error` says is final."""


@runtime_checkable
class RemoteModel(Model, Protocol):
    """A model that is called over a network."""

    async def ask(self, request: Request) -> Completion:
        """Make one attempt at a call.

        Raises
        ------
        CallFailed
            If it gave no answer; it says what is to be done.
        """

    async def leave(self) -> None:
        """Close what is open."""


def open_model(
    name: str, *, api_base: str = "", price: tuple[float, float] | None = None, keyless: bool = False
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
    keyless
        Whether a missing key is let pass, for a model that is looked at and not called.

    Raises
    ------
    ModelError
        If the name has no provider that LiteLLM knows, its key is not set, or the address is none or holds a key.
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
    """What LiteLLM is to be told of a provider whose other services are wanted: embeddings, files, fine-tuning.

    `model` is the name without the provider; `litellm` the package; `destination` where the calls go.
    """

    name: str
    model: str
    provider: str
    litellm: Any
    told: Mapping[str, str] = field(repr=False)
    destination: Destination


def open_service(name: str, *, api_base: str = "", keyless: bool = False) -> Service:
    """Reach a provider's other services; the parameters, and what is raised, are those of `open_model`."""
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
    """Find model, provider, key, address, and what LiteLLM must be told beside the environment."""
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
    """Say where calls to a model go; None if they do not leave this process, or go a way that we do not know."""
    return model.destination if isinstance(model, Direct | LiteLLMModel) else None


def _refuse_unfit(address: str) -> None:
    if address and (said := unfit_address(address)):
        raise ModelError(f"the model's address (api_base) {said}.")


def _resolve(litellm: Any, name: str, api_base: str) -> tuple[str, str, str | None, str | None]:  # noqa: ANN401
    """Let LiteLLM say model, provider, key and address of a name."""
    try:
        model, provider, key, base = litellm.get_llm_provider(name, api_base=api_base or None)
    except Exception:  # noqa: BLE001 - whatever LiteLLM raises here, the name is what is wrong
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
    """Say what is wrong with a name that LiteLLM does not know."""
    provider, slash, _ = name.partition("/")
    known = [str(each.value) for each in litellm.LlmProviders]
    if slash and provider not in known:
        return f"{provider!r} is no provider that LiteLLM knows.{meant(provider, known)}"
    return f"Put the provider before the name.{meant(name, ['embedded'])}"


def _needed_key(litellm: Any, name: str, *, known: bool) -> dict[str, str]:  # noqa: ANN401
    """Refuse a missing key, unless an address is known; return what LiteLLM must be told beside the environment."""
    missing = litellm.validate_environment(name)["missing_keys"]
    # LiteLLM names all that a provider may want where one of them lacks.
    keys = [key for key in missing if key.endswith(("_KEY", "_TOKEN", "_ID")) and not os.environ.get(key)]
    if keys and not known:
        raise ModelError(
            f"model {name!r} needs {' and '.join(keys)} in the environment. "
            f"Set it (export {keys[0]}=…, or --env-file), or name another model; `embedded` needs no key."
        )
    return {"api_key": "none"} if keys else {}  # a server of one's own may want no key, but LiteLLM wants one


def _mode(litellm: Any, model: str) -> str:  # noqa: ANN401
    """How LiteLLM reaches a model: some are asked by another protocol than chat completions."""
    known: Mapping[str, Any] = litellm.model_cost.get(model, {})
    return "responses" if model.startswith("responses/") else str(known.get("mode", ""))


def load_keys(path: str) -> None:
    """Put the NAME=value lines of a file into the environment; what stands there already is kept.

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
    """Whose account is charged: the variables of OpenAI's own client are honoured, as LiteLLM does."""
    variables = {"OpenAI-Organization": "OPENAI_ORGANIZATION", "OpenAI-Project": "OPENAI_PROJECT"}
    return {header: value for header, variable in variables.items() if (value := _environment(variable))}


def _bodies(litellm: Any, model: str, provider: str) -> Callable[[Request, int], dict[str, Any]]:  # noqa: ANN401
    """Make the bodies of requests as LiteLLM would: some models call a parameter otherwise, or take none of it."""
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
    """Whether LiteLLM would ask a model for log-probabilities; who knows none of its kind is asked."""
    if name in EMBEDDED:
        return True
    taken = import_litellm().get_supported_openai_params(name)
    return taken is None or "logprobs" in taken


def _logprobs_wanted(told: int) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": told} if told else {}


class LiteLLMModel:
    """Any model behind LiteLLM. Importing LiteLLM takes seconds, so it waits for the first model of this kind."""

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
        """Make one attempt, and a second one where the provider tells of fewer alternatives to a token."""
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
        # LiteLLM drops what it knows a provider not to take; then the answer comes without log-probabilities.
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
        """LiteLLM keeps its connections to itself."""


def classify_raised(error: Exception) -> CallFailed:
    """Classify what LiteLLM raised: by status and words, since its classes for the same refusal differ by provider."""
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
