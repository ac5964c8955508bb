"""Running the code blocks of Markdown pages as a reader would: in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)]+)\)")


def read(page: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """The fenced blocks of a text as (language, content): of these languages, or all."""
    return [block for block in BLOCK.findall(text) if not languages or block[0] in languages]


def run(language: str, block: str, folder: Path, environment: Mapping[str, str] = {}) -> str:
    """Run a block of bash or Python in a folder, where the command is on the path; what it prints."""
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, block],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def broken(page: str) -> list[str]:
    """The relative links of a page that lead nowhere: to no file, or to no heading of one."""
    here = ROOT / page
    found = []
    for link in LINK.findall(read(page)):
        file, _, heading = link.partition("#")
        target = here.parent / file if file else here
        if not target.exists() or (heading and heading not in headings(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def headings(text: str) -> set[str]:
    """The anchors that a forge gives to the headings of a text."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
