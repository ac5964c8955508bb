"""Importing LiteLLM so that it downloads nothing, sends no telemetry, and follows no redirects."""

from __future__ import annotations

import logging
import os
import warnings
from functools import cache
from typing import Any


def import_litellm() -> Any:  # noqa: ANN401 - untyped package
    """Import LiteLLM, which takes a second the first time."""
    # To be set before the import: no cost map from the network, no .env file that could redirect a key.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # pydantic warns, at the first call, about a type that LiteLLM takes from the openai package.
    warnings.filterwarnings("ignore", message="Item .* on TypedDict class", category=UserWarning)
    import litellm

    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # we report errors ourselves
    litellm.telemetry = False
    _go_straight()
    return litellm


@cache
def _go_straight() -> None:
    """Make LiteLLM's calls go to the address that was shown: no redirects, and no proxy that could read them.

    A proxy is used only for addresses with TLS, because it cannot read encrypted calls.
    """
    from litellm.llms.custom_httpx import aiohttp_transport

    class Straight(aiohttp_transport.LiteLLMAiohttpTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401
            response = await super().handle_async_request(request)
            if response.has_redirect_location:
                del response.headers["location"]  # without it, a redirect is reported as an error
            return response

        async def _get_proxy_settings(self, request: Any) -> Any:  # noqa: ANN401
            return None if request.url.scheme == "http" else await super()._get_proxy_settings(request)

    aiohttp_transport.LiteLLMAiohttpTransport = Straight
