"""Third-party tools on a results.db, each the real one; skipped if the group `tools` is not installed."""

from __future__ import annotations

import csv
import json
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from optimizer import history, make_task
from optimizer.database.mirror import NOTE_PART, note
from optimizer.database.schema import relations
from optimizer.errors import InputError
from optimizer.preparing import prepare
from optimizer.records import State
from optimizer.rows.handed import as_table
from tests.recorded import Tried, write_run
from tests.small_task import BUNDLED


@contextmanager
def served(*command: str) -> Iterator[str]:
    """Run a module's server on a free port of loopback, and give its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 60
        while True:
            try:
                get(address)
                break
            except URLError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def get(address: str) -> bytes:
    """The body of an answer with status 200; anything else raises."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200
        return bytes(answer.read())


# --- Optuna's dashboard -----------------------------------------------------------------------------------


def notes(db: Path) -> dict[int, str]:
    """The notes in Optuna's tables by trial, put together as optuna-dashboard does."""
    with sqlite3.connect(db) as conn:
        rows = conn.execute("SELECT key, value_json FROM study_system_attributes ORDER BY study_system_attribute_id")
        attributes = {key: json.loads(value) for key, value in rows}
        numbers = conn.execute("SELECT trial_id, value_json FROM trial_user_attributes WHERE key = 'trial'").fetchall()
    conn.close()
    found = {}
    for trial, number in numbers:
        parts = [value for key, value in attributes.items() if key.startswith(f"dashboard:{trial}:note_str:")]
        assert (f"dashboard:{trial}:note_ver" in attributes) == bool(parts)
        if parts:
            found[int(number)] = "".join(parts)
    return found


def test_prompts_are_notes_of_the_trials_that_were_scored_in_full(finished: Path) -> None:
    """The whole text, fenced, so that no prompt acts as Markdown; others have none."""
    records = history(finished)
    complete = [trial.number for trial in records.trials() if trial.state is State.COMPLETE]

    found = notes(finished)

    assert sorted(complete) == sorted(found)
    for number in complete:
        assert found[number] == f"```text\n{records.show(number).prompt}\n```"


def test_a_long_prompt_is_split_as_the_dashboard_splits_it() -> None:
    """Parts of at most so many characters, which lose none; a fence in the prompt is outdone by ours."""
    prompt = "```" + "x" * (2 * NOTE_PART)

    parts = note(7, prompt)

    assert ["dashboard:7:note_ver", *(f"dashboard:7:note_str:{i}" for i in range(3))] == list(parts)
    texts = [str(parts[f"dashboard:7:note_str:{i}"]) for i in range(3)]
    assert [len(text) for text in texts[:2]] == [NOTE_PART, NOTE_PART]
    assert "".join(texts) == f"````text\n{prompt}\n````"


def test_the_dashboard_reads_the_notes_as_its_own(finished: Path) -> None:
    """Its reader takes what we wrote for what its writer writes."""
    dashboard = pytest.importorskip("optuna_dashboard._note")

    for number, body in notes(finished).items():
        prompt = history(finished).show(number).prompt
        attributes = note(number, prompt)
        assert dashboard.get_note_from_system_attrs(attributes, number) == {"version": 1, "body": body}
        ours = {key: value for key, value in attributes.items() if "note_str" in key}
        assert ours == dashboard.split_body(body, number)


def test_the_dashboard_lists_the_study_and_its_trials(finished: Path) -> None:
    """Over HTTP, from the same file: names, states, scores, parameters and prompts."""
    pytest.importorskip("optuna_dashboard")
    serve = "from optuna_dashboard._cli import main; main()"

    with served("-c", serve, f"sqlite:///{finished}") as address:
        studies = json.loads(get(f"{address}/api/studies"))["study_summaries"]
        study = json.loads(get(f"{address}/api/studies/{studies[0]['study_id']}?after=0"))

    assert [summary["study_name"] for summary in studies] == ["small-1"]
    mirrored = {json.loads(_attribute(trial["user_attrs"], "trial")): trial for trial in study["trials"]}
    for trial in history(finished).trials():
        theirs = mirrored[trial.number]
        assert theirs["state"].lower().startswith(trial.state.value[:4])
        if trial.state is State.COMPLETE:
            assert theirs["values"] == [trial.score]
            assert history(finished).show(trial.number).prompt in theirs["note"]["body"]


def _attribute(attributes: Sequence[dict[str, Any]], key: str) -> str:
    return str(next(each["value"] for each in attributes if each["key"] == key))


# --- Datasette --------------------------------------------------------------------------------------------


def test_datasette_serves_every_view_and_shows_texts(finished: Path) -> None:
    """Every view answers, as data and as a page; prompts and answers can be read there."""
    pytest.importorskip("datasette")
    views = [relation.name for relation in relations() if relation.view]
    name, shown = finished.stem, history(finished).show()

    with served("-m", "datasette", "serve", str(finished)) as address:
        for view in views:
            rows = json.loads(get(f"{address}/{name}/{view}.json?_shape=array&_size=5"))
            assert rows or view == "rows_the_winner_broke"
            get(f"{address}/{name}/{view}?_size=5")
        ours = json.loads(get(f"{address}/{name}/history.json?_shape=array&trial={shown.trial.number}"))
        page = get(f"{address}/{name}/history?trial={shown.trial.number}").decode()

    assert (ours[0]["prompt"], ours[0]["winner"]) == (shown.prompt, 1)
    assert shown.prompt.splitlines()[-1] in page


# --- data frames ------------------------------------------------------------------------------------------


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Three prompts, of which one lacks a parameter."""
    path = tmp_path / "r.db"
    write_run(path, [Tried("10" * 10), Tried("1" * 20, params={"k": 4}), Tried("   ", params={"k": 8})])
    return path


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_holds_the_facts(db: Path, library: Any) -> None:
    """A row for each trial, a column for each fact; what is missing is missing there."""
    pytest.importorskip(library)
    records = history(db)
    assert records.frame(1, "rows > 99", library=library).shape[0] == 0

    found = records.frame(library=library)

    facts = records.facts()
    assert list(facts[0]) == list(found.columns)
    assert found.shape == (3, len(facts[0]))
    assert list(found["trial"]) == [0, 1, 2]
    empty = found["k"].is_null() if library == "polars" else found["k"].isna()
    assert list(empty) == [True, False, False]
    assert [facts[2]["score"], found["score"][1]] == [None, 1.0]
    assert [(found["k"][1] == 4), list(found["winner"])] == [True, [False, True, False]]
    assert str(found["k"].dtype) == "Int64"
    assert found["started"][0].isoformat() == facts[0]["started"]
    assert (2, len(facts[0])) == records.frame(1, "rows > 0", library=library).shape


def test_the_first_library_that_is_installed_serves(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one there is a clear error, and facts all the same."""
    from optimizer import frames

    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"neither pandas nor polars is installed.*Run `pip install pandas`"):
        history(db).frame()
    with pytest.raises(InputError, match=r"^polars is not installed, which a data frame needs"):
        history(db).frame(library="polars")
    with pytest.raises(InputError, match="unknown library of data frames 'arrow'; allowed: pandas, polars"):
        frames.frame([], "arrow")  # type: ignore[call-overload]
    assert len(history(db).facts()) == 3


def test_rows_are_taken_from_real_frames_and_data_sets() -> None:
    """Equal rows make one digest, whichever library holds them; what is missing is empty, and classes have names."""
    pd, pl, datasets = (pytest.importorskip(name) for name in ("pandas", "polars", "datasets"))
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:80]
    whole = datasets.Dataset.from_list(rows)

    forms = (rows, pd.DataFrame(rows), pl.DataFrame(rows), pl.LazyFrame(rows), whole, whole.to_iterable_dataset())
    digests = {prepare(make_task(form)).data_digest for form in forms}

    assert len(digests) == 1
    odd = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "d": pd.to_datetime(["2026-01-02", None])})
    assert as_table(odd).rows == ({"n": "1", "d": "2026-01-02 00:00:00"}, {"n": "", "d": ""})
    classes = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"]), "text": datasets.Value("string")})
    few = datasets.Dataset.from_dict({"label": [1, 0, -1], "text": ["a", "b", "c"]}, features=classes)
    assert [row["label"] for row in as_table(few).rows] == ["yes", "no", ""]
    assert as_table(datasets.DatasetDict({"train": few, "test": few})).columns == ("label", "text", "split")
