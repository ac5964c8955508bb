"""The report and the dashboard as a person uses them, in a real Chromium that playwright drives."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from optimizer import history
from optimizer.pages.page import page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Tab:
    """A page with what it asked for and what it complained about."""

    def __init__(self, browser: Browser, address: str, **looks: object) -> None:
        self.page: Page = browser.new_page(**looks)  # type: ignore[arg-type]
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)


@pytest.fixture(scope="module")
def report(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on the disk."""
    place = tmp_path_factory.mktemp("report") / "report.html"
    place.write_text(page(history(finished).story()), encoding="utf-8")
    return place.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_asks_for_nothing_and_complains_of_nothing(browser: Browser, report: str, scheme: str) -> None:
    """From the disk, in both looks: its own file is all that is loaded, and the text stands out from the ground."""
    tab = Tab(browser, report, color_scheme=scheme)

    assert tab.asked == [report]
    assert tab.complaints == []
    ground, ink = (
        tab.page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
    )
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink)]
    assert abs(light[0] - light[1]) > 400
    assert (light[0] > light[1]) == (scheme == "light")
    tab.page.close()


def test_a_report_fits_a_phone(browser: Browser, report: str) -> None:
    """Wide tables scroll by themselves; the page does not."""
    tab = Tab(browser, report, viewport={"width": 380, "height": 700})

    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 380
    tab.page.close()


def test_everything_is_reached_by_keys(browser: Browser, report: str) -> None:
    """Tab comes to each link, fold and column; Enter opens a fold and sorts a table."""
    tab = Tab(browser, report)
    wanted = tab.page.locator("nav a, summary, th button:visible").count()
    seen = set()
    for _ in range(2 * wanted + 20):
        tab.page.keyboard.press("Tab")
        seen.add(tab.page.evaluate("document.activeElement.tagName + '|' + document.activeElement.textContent"))
    links = tab.page.locator("nav a").all_text_contents()
    folds = tab.page.locator("summary").all_text_contents()

    assert {f"A|{text}" for text in links} | {f"SUMMARY|{text}" for text in folds} <= seen
    fold = tab.page.locator("details", has=tab.page.locator("#trials"))
    fold.locator("summary").focus()
    tab.page.keyboard.press("Enter")
    head = fold.locator("th button").first
    head.focus()
    tab.page.keyboard.press("Enter")
    numbers = [int(text.split()[0]) for text in fold.locator("td:first-child").all_text_contents()]
    assert numbers == sorted(numbers)
    tab.page.keyboard.press("Enter")
    numbers = [int(text.split()[0]) for text in fold.locator("td:first-child").all_text_contents()]
    assert numbers == sorted(numbers, reverse=True)
    tab.page.close()


def test_rows_are_searched(browser: Browser, report: str) -> None:
    """By words, and by what became of them; the count follows."""
    tab = Tab(browser, report)
    fold = tab.page.locator("details", has=tab.page.locator("table[data-choose]"))
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()
    rows = fold.locator("tbody tr")
    total = rows.count()
    kinds = [text for text in fold.locator("td:first-child").all_text_contents() if text]
    word = fold.locator("td:nth-child(4)").first.text_content()
    assert word

    fold.locator("select").select_option(kinds[0])
    assert fold.locator("tbody tr:visible").count() == kinds.count(kinds[0])
    fold.locator("select").select_option("all")
    fold.locator("input").fill(word)

    shown = fold.locator("tbody tr:visible").count()
    assert 1 <= shown < total
    assert fold.locator(".find span").text_content() == f"{shown} of {total} rows"
    fold.locator("input").fill("no row says this")
    assert fold.locator("tbody tr:visible").count() == 0
    tab.page.close()


def test_a_printed_report_shows_what_is_folded(browser: Browser, report: str) -> None:
    """Before it is printed every fold is opened."""
    tab = Tab(browser, report)

    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert tab.page.locator("details:not([open])").count() == 0
    assert len(tab.page.pdf()) > 10_000
    tab.page.close()


# --- the dashboard ----------------------------------------------------------------------------------------


@pytest.fixture
def live(copied: Path) -> Iterator[tuple[str, Path]]:
    """A dashboard over a results.db in which a first run has ended, and the folder of both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "optimizer.cli", "dashboard", "--port", str(port)]
    serving = subprocess.Popen(command, cwd=copied.parent, stdout=subprocess.PIPE, text=True)
    assert serving.stdout
    assert f"http://127.0.0.1:{port}" in serving.stdout.readline()
    yield f"http://127.0.0.1:{port}", copied.parent
    serving.terminate()
    serving.communicate(timeout=20)


def test_a_run_is_followed_while_it_goes_on(browser: Browser, live: tuple[str, Path]) -> None:
    """A second run appears in the list; its page fills by itself, asks nobody else, and ends with the verdict."""
    address, folder = live
    text = (folder / "task.toml").read_text(encoding="utf-8").replace("calls = 250", "calls = 400")
    (folder / "second.toml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "optimizer.cli", "tune", "second.toml", "--quiet", "--seed", "1"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(history(folder / "results.db").runs()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    tab = Tab(browser, address)
    tab.page.get_by_role("link", name="2", exact=True).click()

    tab.page.get_by_text("The test rows of this data were opened").wait_for(timeout=120_000)

    assert running.wait(timeout=60) == 0
    assert {url.split("/runs")[0].rstrip("/") for url in tab.asked} == {address}
    sentence = history(folder / "results.db").verdict(2)
    assert sentence
    assert tab.page.locator(".verdict").text_content() == sentence.sentence
    assert [said for said in tab.complaints if "404" not in said] == []  # it was looked at before its first trial
    tab.page.close()


def test_a_dashboard_answers_this_machine_alone_and_changes_nothing(live: tuple[str, Path]) -> None:
    """Another name in the request, another method, another address: refused; the file is as it was."""
    address, folder = live
    port = int(address.rsplit(":", 1)[1])
    before = (folder / "results.db").read_bytes()

    def ask(path: str, method: str = "GET", host: str = f"127.0.0.1:{port}") -> tuple[int, str, dict[str, str]]:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        said = answer.status, answer.read().decode(), dict(answer.getheaders())
        connection.close()
        return said

    assert ask("/")[0] == ask("/runs/1")[0] == ask("/runs/1", host=f"localhost:{port}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", f"localhost.evil.example:{port}"):
        status, said, _ = ask("/runs/1", host=host)
        assert status == 403
        assert "Verdict" not in said
    assert [ask("/runs/1", method)[0] for method in ("POST", "PUT", "DELETE", "PATCH")] == [405] * 4
    assert ask("/runs/7")[:2] == (404, "results.db: has no run 7; allowed: 1.\n")
    assert [ask(path)[0] for path in ("/etc/passwd", "/../results.db", "/results.db", "/runs/x")] == [404] * 4
    headers = ask("/runs/1")[2]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert (folder / "results.db").read_bytes() == before
