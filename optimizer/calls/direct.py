"""Direct calls to endpoints that speak the OpenAI protocol, over pooled connections. The door of aiohttp.

LiteLLM takes 6 to 9 ms of CPU per call. For these endpoints, `models` asks it once for the address, key and parameters
that it would use; the calls are made here, with the same completions, errors and usage. Redirects are not followed, and
a proxy is used only for addresses with TLS, so that the key goes to the address that was shown and nowhere else.
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

IDLE_SECONDS = 15  # servers close idle connections after a while, and a call on a closed one would have to be repeated


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an OpenAI-compatible server, and the form of its requests.

    `body` makes the body of a request, given how many alternatives to each token to ask for; `destination` is what is
    shown to the user.
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
        As in `models.Model`.
    endpoint
        The server, and how to make a request.
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
            If there is no usable answer.
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
        except ValueError:  # also for bytes that are not UTF-8
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
    """Return the proxy that the environment sets for an address; None without TLS.

    aiohttp's `trust_env` is not used because it would also look for a key in ~/.netrc.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get("https")
