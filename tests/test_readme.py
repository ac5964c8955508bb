"""The README: every command block and every example in it is run, in order, as a user would."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from server import ChatServer

from optimizer.task import check_task
from tests.pages import ROOT, blocks, broken, read, run

README = read("README.md")
MAKE = {"make demo", "make test"}  # set up a whole environment: the first is run below, the second is this run


def test_the_blocks_are_of_known_kinds() -> None:
    """No block escapes these tests by another name."""
    assert {"bash", "python", "text", "toml"} == {name for name, _ in blocks(README)}


def test_commands_and_examples_run_in_order(tmp_path: Path, server: ChatServer) -> None:
    """Each command block exits with 0, in one folder, one after the other, and so do the Python examples."""
    for language, block in blocks(README, "bash", "python"):
        if block.strip() not in MAKE:
            run(language, block, tmp_path, {"OPENAI_API_BASE": server.url})

    assert server.log, "the block with a real model must have called the server"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", sorted(MAKE))
def test_make_targets_lead_to_the_commands(command: str) -> None:
    """The two set-up commands exist and end in the demo and in pytest."""
    done = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert {"make demo": "phrasetune demo", "make test": "python -m pytest"}[command] in done.stdout


def test_the_task_file_example_is_valid() -> None:
    """The example is a task file that is accepted."""
    ((_, example),) = blocks(README, "toml")

    assert check_task(tomllib.loads(example), "README.md").task.name == "support"


def test_links_lead_somewhere() -> None:
    """To files that exist, and to headings that stand in them."""
    assert broken("README.md") == []
