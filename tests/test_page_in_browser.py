"""The report in a real browser: rows, names and answers are shown as text only, and no host is contacted."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from optimizer import history, tune
from optimizer.pages.page import page
from optimizer.pages.story import Story
from optimizer.report import Change
from tests.small_task import write_task

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CONTAINERS = [
    *("<script>{js}</script>", "</script><script>{js}</script>", "</title><script>{js}</script>"),
    *("</style><script>{js}</script>", "</pre><script>{js}</script>", "--><script>{js}</script>"),
    *("]]><script>{js}</script>", '"><img src=x onerror="{js}">', "'><img src=x onerror='{js}'>"),
    *('"/><svg onload="{js}">', "<svg><script>{js}</script></svg>", '<body onload="{js}">'),
    *('<details open ontoggle="{js}">', '<input autofocus onfocus="{js}">', '<video><source onerror="{js}"></video>'),
    *('<iframe srcdoc="<script>parent.{js}</script>"></iframe>', '<iframe src="javascript:parent.{js}"></iframe>'),
    *('<a href="javascript:{js}" autofocus onfocus="{js}">a</a>', '<math><mtext><img src=x onerror="{js}">'),
    *('<meta http-equiv="refresh" content="0;url={url}">', '<base href="{url}/">', '<img src="{url}/i.png">'),
    *('<link rel="stylesheet" href="{url}/s.css">', "<style>@import url({url}/s.css);</style>"),
    *('<object data="{url}"></object>', '<p style="background:url({url}/b.png)">', "{{{{ cycler.__init__('{js}') }}}}"),
]
SCRIPTS = ["document.title=`pwned`", "fetch(`{url}`)", "alert(1);document.title=`pwned`"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished")
    tune(write_task(folder, rows=64, search={"calls": 40}), db=folder / "results.db")
    return history(folder / "results.db").story()


class Host(ThreadingHTTPServer):
    """A host that nobody may call."""

    called = 0


class Counting(BaseHTTPRequestHandler):
    """Says that there is nothing, and counts."""

    server: Host

    def do_GET(self) -> None:
        """Count a call."""
        self.server.called += 1
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host on loopback."""
    with Host(("127.0.0.1", 0), Counting) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def payloads(host: Host) -> list[str]:
    """Each way to come to act, with each thing to do."""
    url = f"http://127.0.0.1:{host.server_port}"
    return [shape.format(js=script.format(url=url), url=url) for shape in CONTAINERS for script in SCRIPTS]


def opened(path: Path, folder: Path) -> str:
    """Open a file in the browser; what the page has become."""
    assert BROWSER
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", f"--user-data-dir={folder}")
    command = [BROWSER, *flags, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")
@pytest.mark.parametrize("policy", [True, False], ids=["as it is", "without its policy"])
def test_nothing_in_a_page_acts(story: Story, host: Host, tmp_path: Path, policy: bool) -> None:
    """81 payloads in six fields: no script runs, no host is called, all is shown; also without the policy."""
    hostile = payloads(host)
    changed = [Change(text, text, text, text, text) for text in hostile]
    everything = " ".join(hostile)
    run = replace(story.run, name=everything, model=everything, reason=everything)
    told = replace(
        story, walk=replace(story.walk, run=run), changed=(changed, changed), prompt=everything, seed_prompt=hostile[0]
    )
    text = page(told)
    meta = re.search('<meta http-equiv="Content-Security-Policy" content="default-src \'none\';[^>]*>', text)
    assert meta
    place = tmp_path / "report.html"
    place.write_text(text if policy else text.replace(meta.group(), ""), encoding="utf-8")

    drawn = opened(place, tmp_path / "profile")

    assert host.called == 0
    assert "<title>pwned" not in drawn
    assert not re.findall("<(?:script|iframe|object|img|base|link|video)", body(drawn))
    assert drawn.count("<input") == drawn.count('<input type="search" ')  # the page's own
    shown = body(drawn).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert [text for text in hostile if text not in shown] == []


def body(drawn: str) -> str:
    """The tags of a page, and its texts as they are written: what stood in attributes of ours is left out."""
    return drawn[drawn.index("<body") :]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")
def test_what_acts_is_noticed(host: Host, tmp_path: Path) -> None:
    """A page that is written without care fails these checks: they can fail."""
    hostile = payloads(host)
    pages = {}
    for name, text in (("script", hostile[0]), ("image", hostile[21 * 3])):
        place = tmp_path / f"{name}.html"
        place.write_text(f"<!doctype html><title>ours</title><body>{text}</body>", encoding="utf-8")
        pages[name] = opened(place, tmp_path / "profile")

    assert "<title>pwned" in pages["script"]
    assert host.called > 0
