"""LiteLLM, imported as it is wanted: it fetches nothing, sends nothing of its own, and takes no detours."""

from __future__ import annotations

import logging
import os
import warnings
from functools import cache
from typing import Any


def import_litellm() -> Any:  # noqa: ANN401 - untyped package
    """Import LiteLLM; takes a second the first time."""
    # Before the import: no cost map from the network, no .env file that could redirect a key.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # pydantic's opinion of a type that LiteLLM takes from the openai package; it comes with the first call.
    warnings.filterwarnings("ignore", message="Item .* on TypedDict class", category=UserWarning)
    import litellm

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # what it would say of an error, we say
    litellm.telemetry = False
    _go_straight()
    return litellm


@cache
def _go_straight() -> None:
    """Let LiteLLM's calls end at the address that was shown: no redirect, and no proxy that would read them.

    A proxy is asked for addresses with TLS alone, through which it sees nothing.
    """
    from litellm.llms.custom_httpx import aiohttp_transport

    class Straight(aiohttp_transport.LiteLLMAiohttpTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401
            response = await super().handle_async_request(request)
            if response.has_redirect_location:
                del response.headers["location"]  # without it a redirect is an error, and is told as one
            return response

        async def _get_proxy_settings(self, request: Any) -> Any:  # noqa: ANN401
            return None if request.url.scheme == "http" else await super()._get_proxy_settings(request)

    aiohttp_transport.LiteLLMAiohttpTransport = Straight
