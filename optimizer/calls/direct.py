"""The lean lane: endpoints that speak the OpenAI protocol, asked over pooled connections. The door of aiohttp.

LiteLLM spends 6 to 9 ms of CPU on a call; for these endpoints it says once which address, key and parameters it would
use (`models` asks it), and the calls go out here, with the same completions, errors and usage. No redirect is followed
and no proxy is asked about an address without TLS, so that the key goes to the address that was shown and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from optimizer.calls.answers import Alternatives, read
from optimizer.calls.faults import CallFailed, Fate, classify, one_line, seconds_to_wait, unheard
from optimizer.events import Destination
from optimizer.records import Completion, Request

if TYPE_CHECKING:
    import aiohttp

IDLE_SECONDS = 15  # servers close idle connections after some time; a call on a closed one would have to be repeated


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an OpenAI-compatible server is, and how it wants to be asked.

    `body` makes the body of a request, with so many alternatives to each token asked for; `destination` is what is
    shown of all this.
    """

    base: str
    headers: Mapping[str, str] = field(repr=False)
    body: Callable[[Request, int], Mapping[str, Any]]
    destination: Destination


class Direct:
    """One model at one endpoint.

    Parameters
    ----------
    name, address, price
        As of any model.
    endpoint
        Where it is.
    """

    def __init__(self, name: str, address: str, price: tuple[float, float] | None, endpoint: Endpoint) -> None:
        self.name, self.address, self.price = name, address, price
        self._endpoint, self.destination = endpoint, endpoint.destination
        self._url = endpoint.base.rstrip("/") + "/chat/completions"
        self._proxy = _proxy(self._url)
        self._alternatives = Alternatives()
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, request: Request) -> Completion:
        """Make one attempt.

        Raises
        ------
        CallFailed
            If it gave no answer.
        """
        told = self._alternatives.told(request)
        status, headers, raw = await self._post(json.dumps(self._endpoint.body(request, told)).encode())
        if status != 200:
            failed = classify(status, raw.decode(errors="replace"), seconds_to_wait(headers.get("Retry-After")))
            if self._alternatives.fewer(told, failed):
                return await self.ask(request)
            raise failed
        try:
            body = json.loads(raw)
        except ValueError:  # also a text that is not UTF-8
            said = f"the answer is not JSON: {one_line(raw.decode(errors='replace'))[:100]}"
            raise CallFailed(Fate.PASSING, said, billed=True) from None
        return read(body, request, self.price)

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        import aiohttp

        try:
            call = self._open().post(self._url, data=body, allow_redirects=False, proxy=self._proxy)
            async with call as response:
                return response.status, response.headers, await response.read()
        except aiohttp.ClientConnectorError as error:  # nothing was sent
            said = f"no connection: {one_line(str(error))}"
            raise CallFailed(Fate.PASSING, said, absent=unheard(error)) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            said = f"the connection broke: {type(error).__name__} {one_line(str(error))}"
            raise CallFailed(Fate.PASSING, said, billed=True) from None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
                headers={"Content-Type": "application/json", **self._endpoint.headers},
                timeout=aiohttp.ClientTimeout(total=None),  # the gateway ends a call at its deadline
            )
        return self._session

    async def leave(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy(url: str) -> str | None:
    """Find the proxy that the environment names for an address.

    Not left to aiohttp's `trust_env`, which would also look for another key in ~/.netrc.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get("https")
