"""The README: every command block and every example in it is run, in order, as a user would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from server import ChatServer

from optimizer.kinds import KINDS
from optimizer.metrics import METRICS
from optimizer.task import About, check_task
from search_spaces.space import KINDS as SPACES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
MAKE = {"make demo", "make test"}  # set up a whole environment: the first is run below, the second is this run


def blocks(language: str) -> list[str]:
    """The README's blocks in a language."""
    return [text for name, text in BLOCKS if name == language]


def test_the_blocks_are_of_known_kinds() -> None:
    """No block escapes these tests by another name."""
    assert {"bash", "python", "text", "toml"} == {name for name, _ in BLOCKS}


def test_commands_and_examples_run_in_order(tmp_path: Path, server: ChatServer) -> None:
    """Each command block exits with 0, in one folder, one after the other; then the Python examples do."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_BASE": server.url,
        "PYTHONPATH": str(ROOT),
    }
    for block in blocks("bash"):
        if block.strip() not in MAKE:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip().splitlines()[-1] == "billing"
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
    """The long example is a task file that is accepted, and it shows every section there is."""
    (example,) = blocks("toml")
    content = tomllib.loads(example)

    task = check_task(content, "README.md")

    assert task.task.name == "support"
    assert {"task", "data", "model", "search", "baseline", "judge", "proposer", "verdict", "space", "seed"} == set(
        content
    )


def test_the_table_of_kinds_is_what_the_program_does() -> None:
    """A line for each kind: its metrics, the usual one first, and its baseline, as the tables have them."""
    for name, kind in KINDS.items():
        suited = [metric.name for metric in METRICS.values() if name in metric.kinds]
        metrics = ", ".join(f"`{metric}`" for metric in sorted(suited, key=lambda metric: metric != kind.usual))

        assert f"| `{name}` | {kind.about} | {metrics} | {kind.baseline} |" in README
    assert set(KINDS) == set(SPACES) == set(get_args(About.model_fields["kind"].annotation))


def test_files_that_are_linked_exist() -> None:
    """Every relative link leads somewhere."""
    for link in re.findall(r"\]\((?!https?:|#)([^)]+)\)", README):
        assert (ROOT / link).exists(), link
