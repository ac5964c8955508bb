"""The docs: their blocks are run as a reader would, their examples accepted, and what is made for them is complete."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import pytest

import optimizer
from optimizer.complaints import keys
from optimizer.database.schema import relations
from optimizer.kinds import KINDS
from optimizer.power import smallest_gain
from optimizer.scores.metrics import METRICS
from optimizer.task import About, Task, check_task
from search_spaces.space import KINDS as SPACES
from tests.pages import ROOT, blocks, broken, headings, read, run

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts)
# In this order: the pages after the tutorial go on in its folder, with its rows and its results.db.
RUN = ["docs/tutorial.md", *(page for page in PAGES if page.startswith(("docs/how-to/", "docs/explanation/")))]
MADE = re.compile(r"<!-- made -->")


@pytest.fixture(scope="module")
def made() -> Iterator[ModuleType]:
    """The generators of `docs/made.py`."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "made.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_blocks_are_of_known_kinds() -> None:
    """No block escapes these tests by another name."""
    for page in PAGES:
        assert {name for name, _ in blocks(read(page))} <= {"bash", "python", "text", "toml", "yaml"}, page


def test_commands_and_examples_run_in_order(tmp_path: Path) -> None:
    """The tutorial's from an empty folder, then those of the other pages."""
    said = {page: [run(*block, tmp_path) for block in blocks(read(page), "bash", "python")] for page in RUN}

    assert "No improvement over the seed prompt is shown" in "".join(said["docs/tutorial.md"])
    assert said["docs/explanation/embedded-model.md"] == ["billing\n"]


def test_task_files_shown_are_accepted() -> None:
    """Each alone if it is whole, else within one that has the sections which must be there."""
    least = {"task": {"name": "least"}, "data": {"file": "rows.csv", "inputs": ["text"], "target": "label"}}
    shown = [(page, tomllib.loads(example)) for page in PAGES for _, example in blocks(read(page), "toml")]
    for page, content in shown:
        check_task(least | content, page)

    assert len(shown) > 5
    (whole,) = [content for page, content in shown if page == "docs/reference/task-file.md"]
    assert set(whole) == set(keys(Task))


def test_the_table_of_kinds_is_what_the_program_does() -> None:
    """A line for each kind: its metrics, the usual one first, and its baseline, as the tables have them."""
    page = read("docs/reference/task-file.md")
    for name, kind in KINDS.items():
        suited = [metric.name for metric in METRICS.values() if name in metric.kinds]
        metrics = ", ".join(f"`{metric}`" for metric in sorted(suited, key=lambda metric: metric != kind.usual))

        assert f"| `{name}` | {kind.about} | {metrics} | {kind.baseline} |" in page
    assert set(KINDS) == set(SPACES) == set(get_args(About.model_fields["kind"].annotation))


def test_the_table_of_gains_is_what_the_program_says() -> None:
    """How small a gain so many rows show."""
    table = re.findall(r"^\| ([\d,]+) \| (\d+) points \|$", read("docs/explanation/statistics.md"), re.MULTILINE)

    assert len(table) == 5
    for rows, points in table:
        assert round(100 * smallest_gain(int(rows.replace(",", "")))) == int(points)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """To files that exist, and to headings that stand in them; those of what is made are Sphinx's to check."""
    if MADE.search(read(page)):
        assert [link for link in broken(page) if not link.startswith("#")] == []
    else:
        assert broken(page) == []


# --- what is made -----------------------------------------------------------------------------------------


def test_every_command_and_option_is_described(made: ModuleType) -> None:
    """With its help, which none lacks."""
    from optimizer.cli import main

    page = made.commands()

    for name, command in main.commands.items():
        assert f"## {name}\n\n{(command.help or '').splitlines()[0]}" in page
        for option in command.params:
            assert not isinstance(option, click.Option) or f"{option.opts[-1]}`" in page
    assert headings(page) >= set(main.commands)


def test_every_key_of_a_task_file_is_described(made: ModuleType) -> None:
    """With its type, default and what it is; a section that two keys share is described once."""
    page = made.task_file()

    keys = _keys(Task.model_json_schema())
    assert len(keys) > 60
    for key in keys:
        assert re.search(rf"^\| `{key}` \| .+ \| .* \| .+ \|$", page, re.MULTILINE), key
    assert "| `trials` | whole number, above 0, at most 500 | `300` | prompts that may be opened |" in page
    assert "| `model` | section `[model]` | must be given | who scores |" in page
    assert page.count("## `[model]`") == page.count("## `[model.price]`") == 1


def _keys(schema: dict[str, Any]) -> list[str]:
    return [key for model in schema["$defs"].values() for key in model["properties"]]


def test_every_table_and_view_is_described(made: ModuleType) -> None:
    """Under a heading of its own."""
    assert {relation.name for relation in relations()} <= headings(made.database())


def test_every_public_name_is_handed_to_autodoc(made: ModuleType) -> None:
    """A name that is added to the door is described without further ado."""
    page = made.names()

    for name in set(optimizer.__all__) - {"__version__"}:
        assert re.search(rf"^\.\. auto(function|class):: optimizer\.{name}$", page, re.MULTILINE), name


def test_pages_are_filled_where_they_keep_a_place(made: ModuleType) -> None:
    """Each that is made keeps one, and no other does."""
    keep = {page.removeprefix("docs/").removesuffix(".md") for page in PAGES if MADE.search(read(page))}

    assert keep == set(made.MADE)
    assert made.filled("index", "as <!-- made --> it is") == "as <!-- made --> it is"
    assert made.filled("reference/python", "a\n<!-- made -->\nb").splitlines()[-1] == "b"


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """Every page, with what is made; a warning is an error. Nothing in them is loaded from elsewhere."""
    pytest.importorskip("furo", reason="the group docs is not installed: make docs installs it")
    pytest.importorskip("myst_parser")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]

    done = subprocess.run([*command, "docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    for page in PAGES:
        html = (tmp_path / page.removeprefix("docs/")).with_suffix(".html").read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|link)\b[^>]*\b(src|href)=\"(https?:)?//", html), page
        assert "<!-- made -->" not in html
    assert "pruner" in (tmp_path / "reference" / "commands.html").read_text(encoding="utf-8")
    assert 'id="optimizer.tune"' in (tmp_path / "reference" / "python.html").read_text(encoding="utf-8")
