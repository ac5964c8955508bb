"""The web server of `phrasetune dashboard`: a results.db in a browser on this machine, also while runs go on.

It serves the pages that `phrasetune report` writes, redrawn when the file has changed. It listens on loopback only,
answers only requests to a loopback host name (against DNS rebinding), and has no address that changes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from optimizer.archive import History
from optimizer.errors import PhrasetuneError
from optimizer.pages.page import page, runs_page
from optimizer.serving import listen

HOST = "127.0.0.1"
NAMES = {HOST, "localhost"}
GUARDS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """Draws the pages of a results.db; each run's page is redrawn only when the file has changed."""

    def __init__(self, db: str) -> None:
        self.db = Path(db)
        self._drawn: dict[int, tuple[object, str]] = {}

    async def runs(self, _request: web.Request) -> web.Response:
        """List the runs."""
        found = await asyncio.to_thread(lambda: History(self.db).runs())
        return web.Response(text=runs_page(found), content_type="text/html")

    async def run(self, request: web.Request) -> web.Response:
        """Show one run."""
        text = await asyncio.to_thread(self._page, int(request.match_info["run"]))
        return web.Response(text=text, content_type="text/html")

    def _page(self, run: int) -> str:
        state = self._state()
        if run not in self._drawn or self._drawn[run][0] != state:
            self._drawn[run] = state, page(History(self.db).story(run), live=True)
        return self._drawn[run][1]

    def _state(self) -> object:
        """Return the times and sizes of the file and its log, which change with every write."""
        files = (self.db, self.db.with_name(f"{self.db.name}-wal"))
        return [(stat.st_mtime_ns, stat.st_size) for file in files if file.exists() for stat in [file.stat()]]


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse other host names, return errors as text, and add headers that protect the page from other sites."""
    name = request.host.rsplit(":", 1)[0]
    if name not in NAMES:
        return web.Response(text=f"this is {HOST}; it answers no other name\n", status=403, headers=GUARDS)
    try:
        response = await handler(request)
    except PhrasetuneError as error:
        response = web.Response(text=f"{error}\n", status=404, headers={"Refresh": "2"})
    except web.HTTPException as error:
        response = web.Response(text=f"{error.reason}\n", status=error.status)
    response.headers.update(GUARDS)
    return response


def application(db: str) -> web.Application:
    """Make the application, without listening."""
    shown = Dashboard(db)
    app = web.Application(middlewares=[guarded])
    app.add_routes([web.get("/", shown.runs), web.get(r"/runs/{run:\d{1,9}}", shown.run)])
    return app


def serve(db: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a results.db on loopback until the process is interrupted.

    Parameters
    ----------
    db
        The file, which must exist.
    port
        The port; 0 takes any free one.
    ready
        Called with the address once it answers.

    Raises
    ------
    StoreError
        If the file is missing or is not a results.db.
    InputError
        If the port cannot be used.
    """
    History(db)
    listen(application(db), HOST, port, ready)
