"""History and export from Python: typed and documented."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
from pathlib import Path

import pytest

import optimizer
from optimizer import add_wording, export, history, load_task, tune
from optimizer.errors import ExportError, InputError, Interrupted, StoreError
from optimizer.records import State
from optimizer.watch import Watch
from tests.conftest import Command
from tests.recorded import Tried, write_run
from tests.small_task import write_task


def test_the_public_door_is_typed_and_documented() -> None:
    """Every public name exists, has a docstring, and every function annotates all it takes and gives."""
    for name in optimizer.__all__:
        thing = getattr(optimizer, name)
        if name != "__version__":
            assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, name
            assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values()), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy door refuses what it does not hold."""
    with pytest.raises(AttributeError, match="has no attribute 'tunes'"):
        _ = optimizer.tunes


def test_history_gives_records(finished: Path) -> None:
    """Runs, trials, costs and the verdict come back as they were written."""
    records = history(finished)
    run = records.run()

    assert [r.id for r in records.runs()] == [1]
    assert run.winner in {trial.number for trial in records.trials() if trial.state is State.COMPLETE}
    assert set(records.costs()) == {trial.number for trial in records.trials()}
    verdict = records.verdict()
    assert verdict
    assert verdict.sentence
    assert f"{verdict}" == verdict.sentence
    assert repr(records) == f"History({str(finished)!r})"


def test_what_has_no_winner_is_exported_with_a_word_of_it(command: Command, tmp_path: Path) -> None:
    """The best so far, or the trial that was named."""
    write_run(tmp_path / "results.db", [Tried("10" * 10), Tried("1" * 20, text="Say which.")], winner=None)

    said = command("export", "--format", "python").stdout

    assert "Run 1 has no winner (finished): this is trial 1, which no verdict judged." in said
    assert "Say which." in (tmp_path / "prompt.py").read_text(encoding="utf-8")


def test_what_has_no_known_price_is_not_free(command: Command, tmp_path: Path) -> None:
    """Trials, too: their cost is unknown, not $0, on the screen and in JSON."""
    write_run(tmp_path / "results.db", [Tried("10" * 10)], winner=0, cost=None)
    write_run(tmp_path / "priced.db", [Tried("10" * 10)], winner=0)

    assert history(tmp_path / "results.db").costs() == {0: (20, None)}
    assert history(tmp_path / "priced.db").costs() == {0: (20, pytest.approx(0.02))}
    assert "$" not in command("history").stdout
    assert json.loads(command("history", "--json").stdout)["trials"][0]["cost"] is None
    assert command("history", "--sort", "cost").stdout


def test_show_defaults_to_the_winner(finished: Path) -> None:
    """Without a number the winner is shown; the seed prompt stands beside it."""
    records = history(finished)

    shown = records.show()

    assert records.run().winner == shown.trial.number
    assert records.show(0).prompt == shown.seed_prompt
    assert shown.fixed


def test_what_is_not_there_is_named(finished: Path, tmp_path: Path) -> None:
    """A missing file, run or trial is one clear error that says what there is."""
    with pytest.raises(StoreError, match="no results here"):
        history(tmp_path / "none.db")
    with pytest.raises(StoreError, match="has no run 7; allowed: 1"):
        history(finished).run(7)
    last = len(history(finished).trials()) - 1
    with pytest.raises(InputError, match=f"run 1 has no trial 999; it has 0 to {last}"):
        history(finished).show(999)
    assert not (tmp_path / "none.db").exists()


def test_a_results_db_is_a_file_that_stays(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is the home folder, a history keeps its file wherever the process goes, and what is no file is refused."""
    shutil.copy(finished, tmp_path / "mine.db")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history("~/mine.db").runs()
    monkeypatch.chdir(tmp_path)
    records = history("mine.db")
    monkeypatch.chdir(tmp_path.parent)
    assert [fact["trial"] for fact in records.facts()] == [trial.number for trial in records.trials()]

    for given, why in ((":memory:", "kept in a file"), (5, "an int was given"), (None, "None was given")):
        with pytest.raises(StoreError, match=rf"{why}.* Name a file with --db \(db=\)"):
            history(given)  # type: ignore[arg-type] # what a typed caller cannot give
        with pytest.raises(StoreError, match=why):
            tune(write_task(tmp_path), db=given)  # type: ignore[arg-type]


def test_what_is_refused_is_said_for_python_too(finished: Path, tmp_path: Path) -> None:
    """The option and the argument; and where the trained baseline is, which is no prompt's format here."""
    with pytest.raises(ExportError, match=r"unknown export format 'skops'; .*is `history\(db\)\.trained_model\(\)`"):
        export("skops", db=finished)
    with pytest.raises(ExportError, match=r"Leave --rows \(rows=\) out"):
        export("text", db=finished, rows=[{"text": "a"}])
    export("text", trial=0, db=finished, folder=tmp_path)
    with pytest.raises(ExportError, match=r"\(--force, force=True\)"):
        export("text", trial=0, db=finished, folder=tmp_path)
    with pytest.raises(InputError, match="None was given as a wording; allowed: a text"):
        add_wording(None, db=finished)  # type: ignore[arg-type]


def test_a_number_may_come_as_a_text(finished: Path, tmp_path: Path) -> None:
    """Of a run or a trial, as a page or a file has it; a text that is none is named as it came."""
    records = history(finished)

    assert records.show("2") == records.show(2)  # type: ignore[arg-type]
    assert records.facts("1") == records.facts(1)  # type: ignore[arg-type]
    assert "trial 2" in export("text", db=finished, folder=tmp_path, trial="2").source
    with pytest.raises(InputError, match="run 1 has no trial best; it has 0 to"):
        records.show("best")  # type: ignore[arg-type]


def test_an_unfinished_run_can_be_looked_at(tmp_path: Path) -> None:
    """Of a run that was stopped the best trial so far is shown; it has no verdict and no baseline."""
    watch = Watch(lambda event: watch.stop.set() if getattr(event, "best", None) is not None else None)
    with pytest.raises(Interrupted):
        tune(write_task(tmp_path), db=tmp_path / "r.db", watch=watch)
    records = history(tmp_path / "r.db")

    assert records.show().trial.number == 0
    assert None is records.verdict()
    with pytest.raises(InputError, match=r"run 1 has no trained baseline \(interrupted\)"):
        records.trained_model()


def test_a_winner_is_exported_as_a_module_that_renders_it(finished: Path, tmp_path: Path) -> None:
    """The exported module renders what the search sent, for every dev row."""
    written = export("python", db=finished, folder=tmp_path, name="winner.py")

    assert written.fidelity == "exact"
    spec = importlib.util.spec_from_file_location("winner", tmp_path / "winner.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told = history(finished).handover(None, None)
    for row in told.probes:
        expected = [message.to_dict() for message in told.renderer.messages(told.trial.prompt, row)]
        assert expected == module.render(**dict(row.inputs))


def test_the_seed_prompt_can_be_exported_in_every_format(finished: Path, tmp_path: Path) -> None:
    """A prompt with fixed demos goes into all formats; nothing is overwritten unless that is said."""
    from optimizer.exports import FORMATS

    for name in FORMATS:
        written = export(name, trial=0, db=finished, folder=tmp_path)
        assert all(path.exists() for path in written.files)
        with pytest.raises(ExportError, match="exists already"):
            export(name, trial=0, db=finished, folder=tmp_path)
        export(name, trial=0, db=finished, folder=tmp_path, force=True)


def test_a_loaded_task_can_be_changed_and_tuned(tmp_path: Path) -> None:
    """`tune` takes a Task as well as a path."""
    task = load_task(write_task(tmp_path))
    fewer = task.model_copy(update={"search": task.search.model_copy(update={"trials": 2})})

    assert len(tune(fewer, db=tmp_path / "r.db").trials) == 2


def test_a_copied_database_tells_the_same(finished: Path, tmp_path: Path) -> None:
    """results.db stands alone: a copy without the task and the rows shows everything."""
    shutil.copy(finished, tmp_path / "copy.db")

    assert history(finished).story() == history(tmp_path / "copy.db").story()
