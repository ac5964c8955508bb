"""No foreign code is run: no module or pickle in the folder, nothing in a results.db or in a cell."""

from __future__ import annotations

import csv
import io
import os
import pickle
import sqlite3
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer import history, tune
from optimizer.errors import StoreError
from optimizer.records import TrainedModel
from optimizer.reports.grids import Grid, as_csv
from optimizer.reports.plain import table_csv
from optimizer.reports.rungs import best_on_dev
from optimizer.rivals.linear import load
from optimizer.rows.tables import table_from
from optimizer.store import Store
from tests.small_task import write_task

COMMAND = Path(sys.executable).parent / "phrasetune"
MODULES = ("numpy", "optuna", "litellm", "dspy", "sklearn", "click", "dotenv", "optimizer", "sitecustomize", "conftest")


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.canary,)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.skipif(not COMMAND.exists(), reason="the command is not installed in this environment")
def test_what_lies_in_the_folder_is_not_run(tmp_path: Path) -> None:
    """Modules with the names of ours, and pickles where caches stand, stay what they are: files."""
    canary = tmp_path / "canary"
    write_task(tmp_path, rows=64, search={"calls": 40})
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n")
    for name in (".dspy_cache/cache.db", "cache.pkl", "baseline.skops", ".phrasetune/study.pkl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(pickle.dumps(Planted(canary)))

    for command in ("tune task.toml --quiet", "history", "report", "export --format skops", "export --format python"):
        done = run(tmp_path, *command.split())

        assert done.returncode == (2 if "skops" in command else 0), done.stderr  # what stands there is not replaced
    run(tmp_path, "doctor", "task.toml")
    assert not canary.exists()
    pickle.loads((tmp_path / "cache.pkl").read_bytes())
    assert canary.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results.db with a run."""
    folder = tmp_path_factory.mktemp("finished")
    tune(write_task(folder, rows=64, search={"calls": 40}), db=folder / "results.db")
    return folder / "results.db"


EVIL = [
    "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN SELECT load_extension('./evil.so'); END",
    "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN SELECT writefile('{canary}', 'x'); END",
    "CREATE TRIGGER evil AFTER INSERT ON runs BEGIN SELECT fts3_tokenizer('simple', x'4141414141414141'); END",
    """DROP VIEW cost_per_trial;
       CREATE VIEW cost_per_trial AS SELECT 1 AS run, 0 AS trial, 1 AS calls, load_extension('./evil.so') AS cost""",
]


@pytest.mark.parametrize("evil", EVIL)
def test_a_strangers_database_runs_nothing(finished: Path, tmp_path: Path, evil: str) -> None:
    """Its triggers and views can call nothing that acts: the command ends with one line."""
    canary, db = tmp_path / "canary", tmp_path / "results.db"
    with sqlite3.connect(finished) as source, sqlite3.connect(db) as target:
        source.backup(target)
        target.executescript(evil.format(canary=canary))
    task = write_task(tmp_path, rows=64, search={"calls": 40, "seed": 9})

    def use() -> None:
        tune(task, db=db)
        with Store(db) as store:
            store.trial_costs(1)

    with pytest.raises(StoreError) as refused:
        use()

    assert "\n" not in str(refused.value)
    assert not canary.exists()


@pytest.mark.parametrize("forged", ["pickle", "zip"])
def test_a_forged_baseline_is_refused(finished: Path, tmp_path: Path, forged: str) -> None:
    """A pickle in the place of the trained baseline is not loaded, nor a skops file with more in it than ours have."""
    canary = tmp_path / "canary"
    raw = pickle.dumps(Planted(canary))
    if forged == "zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as file:
            file.writestr("schema.json", '{"__class__": "Popen", "__module__": "subprocess", "__loader__": "TypeNode"}')
            file.writestr("1.pkl", raw)
        raw = held.getvalue()
    with Store(finished) as store:
        trained = best_on_dev(store.ladder(history(finished).run().id))
    assert isinstance(trained, TrainedModel)
    assert load(trained, 0).answer(["a text"])

    with pytest.raises(StoreError, match="cannot be read"):
        load(replace(trained, blob=raw), 0)

    assert not canary.exists()


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    """Texts, answers and names of columns are marked as text where a spreadsheet would work them out."""
    rows = table_from("rows", [(1, {"text": cell, "label": "a"})]).with_column(cell, [cell])

    for text in (table_csv(rows), as_csv(Grid("t", ("a", cell), ((cell, "b"),)))):
        cells = [value for row in csv.reader(io.StringIO(text, newline="")) for value in row]

        assert f"'{cell}" in cells
        assert cell not in cells


@pytest.mark.parametrize("cell", ["-5", "-0.25", "a=b", "3 + 4"])
def test_other_cells_are_left_alone(cell: str) -> None:
    """A negative number is a number."""
    assert as_csv(Grid("t", ("a",), ((cell,),))) == f"a\n{cell}\n"
