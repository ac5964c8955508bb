"""What is shipped: the two packages and their data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_packages_and_their_data_only(tmp_path: Path) -> None:
    """Code, migrations, spaces, the page and the bundled rows are in; tests and benchmarks are not."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")

    names = _names(wheel)

    assert {"optimizer", "search_spaces"} == {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert not [name for name in names if name.endswith(".pth")]  # such a file is run at every start of Python
    for name in (
        "optimizer/demo/support.csv",
        "optimizer/demo/library.csv",
        "optimizer/demo/task.toml",
        "optimizer/migrations/0001_first.sql",
        "optimizer/pages/page.css",
        "optimizer/pages/page.html",
        "optimizer/pages/page.js",
        "optimizer/py.typed",
        "search_spaces/classification.toml",
        "search_spaces/py.typed",
    ):
        assert name in names


def test_every_package_is_locked_by_its_hash() -> None:
    """What is installed is what was looked at: the same versions, and files with the same digests."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    others = [package for package in packages if package["name"] != "phrasetune"]
    files = [(package["name"], file) for package in others for file in (*package.get("wheels", ()), *_source(package))]

    assert {package["name"] for package in others} == {name for name, _ in files}
    assert [name for name, file in files if not file["hash"].startswith("sha256:")] == []
    assert ("litellm", "1.82.7") not in {(package["name"], package["version"]) for package in others}
    assert ("litellm", "1.82.8") not in {(package["name"], package["version"]) for package in others}


def _source(package: Mapping[str, Any]) -> list[Mapping[str, str]]:
    return [package["sdist"]] if "sdist" in package else []


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return file.namelist()
