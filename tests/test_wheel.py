"""What is shipped: the two packages and their data, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_the_packages_and_their_data_only(tmp_path: Path) -> None:
    """Code, migrations, spaces, the page and the bundled rows are in; tests and benchmarks are not."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")

    names = _names(wheel)

    assert {"optimizer", "search_spaces"} == {name.split("/")[0] for name in names if ".dist-info" not in name}
    for name in (
        "optimizer/demo/support.csv",
        "optimizer/demo/library.csv",
        "optimizer/demo/task.toml",
        "optimizer/migrations/0001_first.sql",
        "optimizer/report.html",
        "optimizer/py.typed",
        "search_spaces/classification.toml",
        "search_spaces/py.typed",
    ):
        assert name in names


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return file.namelist()
