"""results.db keeps what it is given, answers plain SQL, and leaves alone files that are not a results.db."""

from __future__ import annotations

import itertools
import json
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.database import opening
from optimizer.database.opening import APPLICATION_ID
from optimizer.errors import InputError, StoreError
from optimizer.exports.files import Target, write_bytes
from optimizer.records import (
    Comparison,
    Completion,
    Contender,
    Dataset,
    Kind,
    Outcome,
    Run,
    Rung,
    State,
    TrainedModel,
    Trial,
    Verdict,
)
from optimizer.rows.querying import query_rows
from optimizer.rows.texts import lines
from optimizer.store import _ADD_UP, Store
from search_spaces.prompt import Example, Prompt, Settings

ROOT = Path(__file__).resolve().parents[1]
RUN = Run(0, "support", {"task": {"name": "support"}}, "openai/x", "accuracy", "data-1", "running", "")
PROMPT = Prompt("plain", "Sort it.", ("text",), "label", ("bug", "praise"), ("it fails", ""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a results.db may be made."""
    return tmp_path / "results.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A fresh results.db."""
    with Store(path, create=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One results.db for many drawn records, each under a run of its own."""
    with Store(tmp_path_factory.mktemp("shared") / "results.db", create=True) as opened:
        yield opened


def completion(text: str, cost: float = 0.001, seconds: float = 0.5) -> Completion:
    return Completion(text, 30, 4, cost, seconds, "stop")


def outcome(name: str, kind: Kind, score: float | None, answer: str | None, key: str, paid: Completion) -> Outcome:
    """An outcome as it is read back: its tokens, price and text are those of its completion."""
    tokens = paid.prompt_tokens + paid.completion_tokens
    priced = {"tokens": tokens, "cost": paid.cost, "seconds": paid.seconds, "prompt_tokens": paid.prompt_tokens}
    return Outcome(name, kind, score, answer, key, text=paid.text, **priced)


def four(store: Store, run: int) -> tuple[Outcome, ...]:
    """One outcome of each kind, with their completions bought."""
    bought = {f"key-{run}-{i}": completion(text) for i, text in enumerate(["bug", "praise", "I would say"])}
    store.add_completions(run, "openai/x", bought)
    keys = list(bought)
    return (
        outcome("r1", Kind.RIGHT, 1.0, "bug", keys[0], bought[keys[0]]),
        outcome("r2", Kind.WRONG, 0.0, "praise", keys[1], bought[keys[1]]),
        outcome("r3", Kind.UNPARSED, 0.0, None, keys[2], bought[keys[2]]),
        Outcome("r4", Kind.ERROR, None, None),
    )


def plain(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the file as anyone may."""
    conn = sqlite3.connect(path)
    try:
        return conn.execute(sql, values).fetchall()
    finally:
        conn.close()


def elsewhere(path: Path, sql: str) -> str:
    """Ask the file in another process, which closes it again."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2]).fetchall()); c.close()"
    return subprocess.check_output([sys.executable, "-c", code, path, sql], text=True).strip()


# --- the file ---------------------------------------------------------------------------------------------


def test_a_fresh_file_says_whose_it_is_and_which_version(store: Store, path: Path) -> None:
    """Its application_id spells "phnt"; its user_version is the number of migrations."""
    migrations = len(list((ROOT / "optimizer" / "migrations").glob("[0-9]*.sql")))

    assert int.from_bytes(b"phnt", "big") == APPLICATION_ID
    assert plain(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert plain(path, "PRAGMA user_version") == [(migrations,)]


def test_a_fresh_file_is_for_its_owner_alone(store: Store, path: Path) -> None:
    """Mode 0600, and so are the files beside it."""
    store.start_run(RUN, "config")

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(["results.db", "results.db-wal", "results.db-shm"], 0o600)


def test_a_fresh_file_is_in_wal_mode(store: Store, path: Path) -> None:
    """Others may read while one writes."""
    assert plain(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(("paid", "level"), [(True, 2), (False, 1)])
def test_what_was_paid_for_is_flushed_to_the_disk(path: Path, *, paid: bool, level: int) -> None:
    """FULL for a paid model, NORMAL otherwise."""
    with Store(path, create=True, paid=paid) as store:
        assert level == store.conn.execute("PRAGMA synchronous").fetchone()[0]


def test_an_empty_file_is_taken_as_fresh(path: Path) -> None:
    """Someone else's `touch` is no obstacle."""
    path.touch()

    with Store(path, create=True) as store:
        assert store.runs() == []


def test_opening_again_changes_nothing(store: Store, path: Path) -> None:
    """The schema is made once."""
    store.start_run(RUN, "config")
    before = plain(path, "SELECT sql FROM sqlite_master ORDER BY name")

    with Store(path, create=True) as again:
        assert len(again.runs()) == 1
    assert before == plain(path, "SELECT sql FROM sqlite_master ORDER BY name")


def test_two_that_make_the_file_at_once_both_succeed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes second finds the schema made between its look and its own making."""
    look = opening._pragma
    others: list[Store] = []
    looked: list[str] = []

    def look_slowly(conn: sqlite3.Connection, name: str) -> int:
        found = look(conn, name)
        if not looked and name == "user_version":
            looked.append(name)
            others.append(Store(path, create=True))
        return found

    monkeypatch.setattr(opening, "_pragma", look_slowly)

    with Store(path, create=True) as store, others[0] as other:
        run = store.start_run(RUN, "config")

        assert run == other.run().id


def test_one_that_is_writing_is_waited_for(path: Path) -> None:
    """Also while the file is not in WAL mode yet, as when another process has just made it."""
    Store(path, create=True).close()
    plain(path, "PRAGMA journal_mode = DELETE")
    writing = threading.Event()

    def write() -> None:
        conn = sqlite3.connect(path)
        conn.execute("BEGIN IMMEDIATE")
        writing.set()
        time.sleep(0.1)
        conn.commit()
        conn.close()

    writer = threading.Thread(target=write)
    writer.start()
    writing.wait()

    with Store(path, create=True) as store:
        assert store.runs() == []
    assert plain(path, "PRAGMA journal_mode") == [("wal",)]
    writer.join()


def test_two_that_write_by_turns_wait_for_each_other(path: Path) -> None:
    """A transaction takes its lock before its first look, so nobody is refused."""
    both = threading.Barrier(2)

    def write(run: int) -> None:
        with Store(path, create=True) as store:
            both.wait()
            for i in range(30):
                store.add_completions(run, "m", {f"{run} {i}": completion("x")})
                store.update_run(store.start_run(RUN, "config"), status="finished")

    writers = [threading.Thread(target=write, args=(run,)) for run in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert plain(path, "SELECT (SELECT COUNT(*) FROM completions), (SELECT COUNT(*) FROM runs)") == [(60, 60)]


# --- files that are not ours ------------------------------------------------------------------------------


def text_file(path: Path) -> None:
    path.write_text("my notes, worth keeping\n", encoding="utf-8")


def short_file(path: Path) -> None:
    path.write_bytes(b"SQLite")


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + (4096).to_bytes(2) + bytes(4096 - 18))


def foreign(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.executescript("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('Lilac Wine');")
    conn.close()


def foreign_wal(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.executescript("PRAGMA journal_mode = WAL; CREATE TABLE runs (id INTEGER);")
    conn.close()


def foreign_without_tables(path: Path) -> None:
    conn = sqlite3.connect(path)
    conn.executescript("PRAGMA application_id = 1196444487; VACUUM;")
    conn.close()


def newer(path: Path) -> None:
    Store(path, create=True).close()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version = 99")
    conn.close()


NOT_OURS: dict[str, tuple[Callable[[Path], None], str]] = {
    "text": (text_file, r"not an SQLite file; it was left as it is\. Name another file with --db \(db=\)\."),
    "short": (short_file, r"not an SQLite file; it was left as it is"),
    "damaged": (damaged, r"cannot be used as results database \(.+\)\. Check"),
    "foreign": (
        foreign,
        r"an SQLite file of another program; it was left as it is\. Name another file with --db \(db=\)\.",
    ),
    "foreign in WAL mode": (foreign_wal, r"an SQLite file of another program"),
    "foreign without tables": (foreign_without_tables, r"an SQLite file of another program"),
    "newer": (newer, r"written by a newer phrasetune \(schema 99; this one knows \d+\)\. Upgrade phrasetune, or"),
    "folder": (Path.mkdir, r"not a file\. Name a file with --db \(db=\)\."),
}


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("case", NOT_OURS)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(case: str, path: Path, *, create: bool) -> None:
    """Not a byte changes, and nothing is left beside it."""
    make, said = NOT_OURS[case]
    make(path)
    before = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}

    with pytest.raises(StoreError, match=said) as caught:
        Store(path, create=create)

    assert str(caught.value).startswith(f"{path}: ")
    assert before == {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_or_empty_file_is_not_made_by_reading(path: Path, *, exists: bool) -> None:
    """Only a run makes one."""
    if exists:
        path.touch()

    with pytest.raises(StoreError, match=r"no results here\. Run `phrasetune tune TASK` first, or name the file"):
        Store(path)

    assert exists == path.exists()
    assert not exists or path.read_bytes() == b""


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The system's own reason is passed on."""
    with pytest.raises(StoreError, match=r"gone/results\.db: cannot be opened \(No such file or directory\)"):
        Store(tmp_path / "gone" / "results.db", create=True)


# --- round trips ------------------------------------------------------------------------------------------

texts = st.text(max_size=30)
names = st.text(min_size=1, max_size=12)
numbers = st.floats(0, 1)
numbering = itertools.count()


@st.composite
def examples(draw: st.DrawFn, fields: tuple[str, ...] = ("text",)) -> list[Example]:
    ids = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    targets = st.lists(texts, max_size=3).map(tuple)
    return [Example(name, tuple((field, draw(texts)) for field in fields), draw(targets)) for name in ids]


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    fields = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    labels = tuple(draw(st.lists(names, max_size=3, unique=True)))
    return Prompt(
        draw(st.sampled_from(["plain", "chat", "xml"])),
        draw(texts),
        fields,
        draw(names),
        labels,
        tuple(draw(texts) for _ in labels) if draw(st.booleans()) else (),
        draw(st.sampled_from(["none", "instruction", "query"])),
        draw(st.sampled_from(["bare", "json", "tagged"])),
        draw(st.booleans()),
        tuple(replace(demo, reasoning=draw(texts)) for demo in draw(examples(fields))),
        draw(st.integers(0, 3)),
        draw(st.booleans()),
        Settings(draw(numbers), draw(st.integers(1, 999))),
    )


params = st.dictionaries(names, st.booleans() | st.integers(-9, 9) | numbers | texts | st.lists(texts), max_size=4)


@given(st.tuples(*[examples()] * 3), st.data())
@settings(max_examples=40)
def test_the_rows_come_back_as_they_were(shared: Store, rows: tuple[list[Example], ...], data: st.DataObject) -> None:
    """Every split in its order, with every text and every slice."""
    name = f"data {next(numbering)}"
    train, dev, test = rows
    slices = {example.id: {"source": data.draw(texts), "year": "1999"} for example in dev}
    dataset = Dataset(tuple(train), tuple(dev), tuple(test), slices)

    shared.add_examples(name, dataset)

    for split, expected in zip(["train", "dev", "test"], rows, strict=True):
        assert expected == shared.examples(name, split)
    assert slices == shared.slices(name, "dev")
    assert shared.examples(name, "nowhere") == []


def test_rows_are_written_once(store: Store) -> None:
    """The digest of the data names them: what it holds is not written again."""
    rows = (Example("r1", (("text", "it fails"),), ("bug",)),)
    store.add_examples("d", Dataset(rows, (), ()))
    store.add_examples("d", Dataset((), rows, ()))

    assert list(rows) == store.examples("d", "train")
    assert store.examples("d", "dev") == []


def test_slices_of_rows_that_are_there_are_written_all_the_same(store: Store) -> None:
    """The digest does not cover them: another run may name other columns, or find other values in them."""
    rows = tuple(Example(name, (("text", name),), ("bug",)) for name in ("r1", "r2"))
    store.add_examples("d", Dataset(rows, (), ()))
    store.add_examples("other", Dataset(rows, (), ()))
    store.add_examples("d", Dataset(rows, (), (), {"r1": {"channel": "mail"}, "r2": {"channel": "chat"}}))
    store.add_examples("d", Dataset(rows, (), (), {"r1": {"year": "1999"}, "r2": {"channel": "mail"}}))
    store.add_examples("d", Dataset(rows, (), ()))

    assert store.slices("d", "train") == {"r1": {"channel": "mail", "year": "1999"}, "r2": {"channel": "mail"}}
    assert store.slices("other", "train") == {"r1": {}, "r2": {}}


@given(prompts(), params, numbers, st.sampled_from(State))
@settings(max_examples=60)
def test_a_trial_comes_back_as_it_was(
    shared: Store, prompt: Prompt, drawn: dict[str, Any], score: float, state: State
) -> None:
    """Its prompt to the last character, its parameters, steps and outcomes, and the text that a person reads."""
    run = shared.start_run(RUN, "config")
    steps, text = {16: score, 32: 1.0}, f"[user]\n{prompt.instruction}"
    trial = Trial(3, drawn, prompt, state, score, (0.0, score), 3, steps, four(shared, run), prompt.output, 1.25)
    trial = replace(trial, estimate=score / 2, credible=(0.0, score))

    shared.save_trial(run, trial, text)

    assert [trial] == shared.trials(run)
    assert [replace(trial, outcomes=())] == shared.trials(run, outcomes=False)
    assert text == shared.prompt_text(run, 3)
    assert prompt.digest == shared.trials(run)[0].prompt.digest


@given(st.lists(st.tuples(texts, texts, st.sampled_from(["stop", "length"]), numbers), max_size=5))
@settings(max_examples=40)
def test_completions_come_back_as_they_were(shared: Store, drawn: list[tuple[str, str, str, float]]) -> None:
    """Whatever stands in a text."""
    run = shared.start_run(RUN, "config")
    bought = {
        f"{run} {i} {key}": Completion(text, i, 2 * i, cost, cost, reason)
        for i, (key, text, reason, cost) in enumerate(drawn)
    }

    shared.add_completions(run, "openai/x", bought)

    assert bought == shared.find_completions(list(bought))
    assert len(bought) == shared.spent(run).calls
    assert pytest.approx(sum(c.cost for c in bought.values())) == shared.spent(run).usd


def test_a_trial_without_a_score_comes_back(store: Store) -> None:
    """A failed trial has no score and no interval."""
    run = store.start_run(RUN, "config")
    trial = Trial(0, {}, PROMPT, State.FAILED, outcomes=(Outcome("r1", Kind.ERROR, None, None),), reason="all failed")

    store.save_trial(run, trial, "Sort it.")

    assert [trial] == store.trials(run)


def test_what_a_resumed_search_needs_of_an_outcome_comes_back(store: Store) -> None:
    """The decision that asked for it, and what the provider said of a failed call."""
    run = store.start_run(RUN, "config")
    outcomes = (
        Outcome("r1", Kind.ERROR, None, None, text="overloaded", step=4),
        Outcome("r2", Kind.WRONG, 0.0, "bug", step=17),
    )

    store.save_trial(run, Trial(0, {}, PROMPT, State.RUNNING, 0.0, None, 1, outcomes=outcomes), "Sort it.")

    assert outcomes == store.outcomes(run, 0)


def test_trials_stand_in_order_and_belong_to_their_run(store: Store) -> None:
    """By their numbers, whenever they were written; equal numbers of another run are apart."""
    first, second = store.start_run(RUN, "a"), store.start_run(RUN, "b")
    for run, number in [(first, 2), (second, 0), (first, 0), (first, 1)]:
        instruction = f"Sort it. {run} {number}"
        state = [State.PRUNED, State.FAILED, State.COMPLETE][number]
        trial = Trial(number, {}, replace(PROMPT, instruction=instruction), state, 1.0, (0.5, 1.0), 4)
        store.save_trial(run, replace(trial, outcomes=four(store, run)), instruction)

    assert [trial.number for trial in store.trials(first)] == [0, 1, 2]
    assert [trial.prompt.instruction for trial in store.trials(second)] == [f"Sort it. {second} 0"]
    assert all(len(trial.outcomes) == 4 for trial in store.trials(first))


def test_a_run_repeated_with_the_same_winner_is_no_further_look(store: Store) -> None:
    """Under caps a repeated run goes further, as known answers cost nothing: another winner is another look."""
    counted = []
    for config, instruction in [("a", "Sort it."), ("a", "Sort it."), ("a", "Which desk?"), ("b", "Sort it.")]:
        run = store.start_run(RUN, config)
        trial = Trial(0, {}, replace(PROMPT, instruction=instruction), State.COMPLETE, outcomes=four(store, run))
        store.save_trial(run, trial, instruction)
        store.update_run(run, winner=0)
        counted.append(store.open_test("data-1", run))

    assert counted == [1, 1, 2, 3]


def test_a_trial_written_twice_stands_once(store: Store, path: Path) -> None:
    """The later one replaces the earlier."""
    run = store.start_run(RUN, "config")
    trial = Trial(0, {}, PROMPT, State.PRUNED, 0.5, (0.1, 0.9), 4, {4: 0.5}, four(store, run))
    store.save_trial(run, trial, "Sort it.")
    store.save_trial(run, replace(trial, state=State.COMPLETE, score=0.75), "Sort it.")

    assert [replace(trial, state=State.COMPLETE, score=0.75)] == store.trials(run)
    assert plain(path, "SELECT COUNT(*) FROM outcomes") == [(4,)]


def test_an_earlier_answer_does_not_replace_a_later_one(store: Store) -> None:
    """A resumed search meets the failed call of step 2 again; at step 7 it was made up for."""
    run = store.start_run(RUN, "config")
    trial = Trial(0, {}, PROMPT, State.RUNNING, 1.0, None, 1, outcomes=(Outcome("r1", Kind.RIGHT, 1.0, "bug", step=7),))
    earlier = replace(trial, score=None, n=0, outcomes=(Outcome("r1", Kind.ERROR, None, None, text="busy", step=2),))

    store.save_trial(run, trial, "Sort it.")
    store.save_trial(run, earlier, "Sort it.")

    assert [trial] == store.trials(run)


def test_a_pool_of_nearest_demos_is_stored_once(store: Store, path: Path) -> None:
    """However many prompts draw from it; each comes back with the whole of it."""
    run = store.start_run(RUN, "config")
    pool = tuple(Example(f"d{i}", (("text", f"unmistakable {i}"),), ("bug",), f"because {i}") for i in range(50))
    tried = [replace(PROMPT, instruction=f"Wording {n}.", demos=pool, nearest=n) for n in (2, 4, 8)]
    tried.append(replace(PROMPT, demos=pool[:2]))
    for number, prompt in enumerate(tried):
        store.save_trial(run, Trial(number, {}, prompt, State.COMPLETE), prompt.instruction)

    assert tried == [trial.prompt for trial in store.trials(run)]
    assert plain(path, "SELECT COUNT(*) FROM pools") == [(1,)]
    assert plain(path, "SELECT COUNT(*) FROM prompts WHERE json LIKE '%unmistakable%'") == [(1,)]


@given(params, st.lists(numbers, max_size=5), numbers, st.none() | st.binary(max_size=50), texts)
@settings(max_examples=40)
def test_the_trained_rival_comes_back_as_it_was(
    shared: Store, drawn: dict[str, Any], curve: list[float], score: float, blob: bytes | None, detail: str
) -> None:
    """With its file, byte for byte."""
    run = shared.start_run(RUN, "config")
    rungs = [
        Rung("linear", TrainedModel(detail, drawn, tuple(curve), score, blob, 1.5, "linear", None, 3)),
        Rung("encoder", left_out="not installed"),
    ]
    assert shared.ladder(run) == []

    for rung in rungs:
        shared.save_rung(run, rung)

    assert rungs == shared.ladder(run)


@given(texts, numbers, st.none() | numbers, st.lists(names, min_size=2, max_size=4, unique=True))
@settings(max_examples=40)
def test_a_verdict_comes_back_as_it_was(
    shared: Store, sentence: str, score: float, cost: float | None, contenders: list[str]
) -> None:
    """Contenders and comparisons in their order, with the outcomes on the test rows."""
    run = shared.start_run(RUN, "config")
    outcomes = four(shared, run)
    entered = tuple(
        Contender(name, score, (0.0, score), 3, outcomes, cost, 12.5, i, sentence) for i, name in enumerate(contenders)
    )
    pairs = list(itertools.combinations(contenders[::-1], 2))
    compared = tuple(Comparison(a, b, score, (-score, score), 0.04, "permutation") for a, b in pairs)
    verdict = Verdict("accuracy", entered, compared, sentence, 2)
    assert shared.verdict(run) is None

    shared.save_verdict(run, verdict)

    assert verdict == shared.verdict(run)


# --- runs -------------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(store: Store) -> None:
    """What is not known at its start is filled in later; the latest run stands first."""
    run = store.start_run(replace(RUN, task={"labels": ["ja", "ノー", "🙂"]}), "config")
    other = store.start_run(RUN, "config")

    started = store.run(run)
    assert replace(RUN, id=run, task={"labels": ["ja", "ノー", "🙂"]}, started=started.started) == started
    assert started.started.endswith("+00:00")

    store.update_run(run, status="finished", winner=3, reason="all 40 trials are done", bought=9, reused=2, cost=0.5)
    done = store.run(run)

    expected = replace(started, status="finished", winner=3, reason="all 40 trials are done", bought=9, reused=2)
    assert replace(expected, cost=0.5, finished=done.finished) == done
    assert done.finished >= done.started
    assert [other, run] == [item.id for item in store.runs()]
    assert other == store.run().id


def test_a_run_that_is_not_there_is_refused_with_those_that_are(store: Store) -> None:
    """Or with how to start one."""
    with pytest.raises(StoreError, match=r"holds no run yet\. Start one with `phrasetune tune TASK`\."):
        store.run()
    first, second = store.start_run(RUN, "a"), store.start_run(RUN, "b")

    with pytest.raises(StoreError, match=rf"has no run 77; allowed: {second}, {first}\."):
        store.run(77)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        ([], None),
        (["running"], 0),
        (["interrupted"], 0),
        (["failed"], 0),
        (["finished"], None),
        (["interrupted", "interrupted"], 1),
        (["finished", "interrupted"], 1),
        (["interrupted", "finished"], None),
    ],
)
def test_the_latest_run_is_resumed_unless_it_is_finished(store: Store, statuses: list[str], found: int | None) -> None:
    """Of equal configuration only."""
    runs = [store.start_run(RUN, "config") for _ in statuses]
    for run, status in zip(runs, statuses, strict=True):
        store.update_run(run, status=status)
    store.start_run(RUN, "another")

    assert (None if found is None else runs[found]) == store.unfinished_run("config")


def test_every_opening_of_the_test_rows_is_counted(store: Store) -> None:
    """By configuration: the same run again counts once, and so does its repetition; other data counts apart."""
    first, again, second = (store.start_run(RUN, config) for config in "aab")

    assert [store.open_test("d", run) for run in (first, first, again, second)] == [1, 1, 1, 2]
    assert len(store.rows("SELECT * FROM openings WHERE data = 'd'")) == 3
    assert store.open_test("other", second) == 1


# --- the ledger's side ------------------------------------------------------------------------------------


def test_many_completions_are_found_at_once(store: Store) -> None:
    """More than SQLite takes in one question."""
    bought = {f"k{i}": completion(str(i)) for i in range(1203)}
    store.add_completions(1, "m", bought)

    assert bought == store.find_completions([*bought, "unknown"])
    assert store.find_completions([]) == {}


def test_a_completion_written_first_stays(store: Store) -> None:
    """Two that bought the same keep the first, and both runs' trials point at it."""
    store.add_completions(1, "m", {"k": completion("first")})
    store.add_completions(2, "m", {"k": completion("second"), "l": completion("new")})

    assert store.find_completions(["k"])["k"].text == "first"
    assert store.spent(2).calls == 1
    assert store.spent(2).usd == 0.001


def test_what_is_written_together_is_written_or_not(store: Store) -> None:
    """An exception takes all of it back."""

    def write_and_fail() -> None:
        with store.together():
            store.add_completions(1, "m", {"k": completion("x")})
            store.start_run(RUN, "config")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    assert store.find_completions(["k"]) == {}
    assert store.runs() == []


def test_a_second_reader_sees_what_was_written(store: Store, path: Path) -> None:
    """As soon as the writer returns."""
    with Store(path) as reader:
        store.add_completions(1, "m", {"k": completion("x")})

        assert reader.find_completions(["k"])["k"].text == "x"


LOOKS: dict[str, Callable[[Path], object]] = {
    "to read": lambda path: Store(path).close(),
    "to write": lambda path: Store(path, create=True).close(),
    "by a query": lambda path: list(query_rows(path, "SELECT 1")),
    "for rows": lambda path: list(lines(path)),
    "for an export's place": lambda path: write_bytes(b"", Target(path.parent, path.name, force=True)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_from_the_same_process_takes_no_lock_from_a_run(store: Store, path: Path, look: str) -> None:
    """Else the next process to look would delete the log, and all that the run writes from then on were lost."""
    store.start_run(RUN, "config 1")
    with suppress(InputError):
        LOOKS[look](path)
    assert elsewhere(path, "SELECT config FROM runs") == "[('config 1',)]"

    store.start_run(RUN, "config 2")

    assert elsewhere(path, "SELECT config FROM runs") == "[('config 1',), ('config 2',)]"


def test_a_path_that_is_too_long_for_sqlite_is_refused_in_a_line(tmp_path: Path) -> None:
    """And a data file that lies there is read all the same."""
    folder = tmp_path.joinpath(*["a" * 200] * 3)
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("text,label\n", encoding="utf-8")

    assert list(lines(folder / "rows.csv")) == ["text,label\n"]
    with pytest.raises(StoreError, match=r"cannot be used as results database \(unable to open database file\)"):
        Store(folder / "r.db", create=True)


def test_a_file_that_is_made_through_a_link_is_for_its_owner_alone(tmp_path: Path, path: Path) -> None:
    """A link to nowhere is where the file is made; a name that reads as an address is a name."""
    path.symlink_to(tmp_path / "there.db")
    Store(path, create=True).close()
    with chdir(tmp_path):
        Store("file:named.db", create=True).close()

    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there.db", "file:named.db")] == [0o600] * 2
    assert not (tmp_path / "named.db").exists()


def test_reading_loads_no_package(store: Store, path: Path) -> None:
    """The standard library is enough to look at the history; so a look is quick."""
    run = store.start_run(RUN, "config")
    store.save_trial(run, Trial(0, {}, PROMPT, State.COMPLETE, 1.0, (0.5, 1.0), 4, {}, four(store, run)), "Sort it.")
    code = (
        "import sys; from optimizer.store import Store; s = Store(sys.argv[1]);"
        "print(s.run().name, len(s.trials(1)[0].outcomes), s.verdict(1), s.trial_costs(1)[0][0]);"
        "print([m for m in ('sqlite_utils', 'numpy', 'optuna', 'pydantic', 'litellm') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout.split("\n")[:2] == ["support 4 None 3", "[]"], done.stderr


# --- the views --------------------------------------------------------------------------------------------


# Row -> scores of the seed prompt and of the winner.
DEV = {"r1": (1, 0), "r2": (0, 1), "r3": (1, 1), "r4": (1, None), "r5": (0.5, 0.25)}
TEST = {"t1": (1, 0), "t2": (1, 1), "t3": (0, 1)}


def insert(conn: sqlite3.Connection, table: str, **values: object) -> None:
    """Put a row in with plain SQL."""
    marks = ", ".join("?" * len(values))
    conn.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))


def _insert_runs(conn: sqlite3.Connection) -> None:
    for run, name, winner in [(1, "one", 2), (2, "two", 0), (3, "unfinished", None)]:
        given = {"config": "c", "task": "{}", "model": "m", "metric": "accuracy", "data": "D", "started": "now"}
        insert(conn, "runs", id=run, name=name, status="finished", winner=winner, **given)
    for digest, text in [("p0", "seed"), ("p1", "worse"), ("p2", "best")]:
        insert(conn, "prompts", digest=digest, json="{}", text=text)
    for run, number, prompt, state, score, estimate, n in [
        (1, 0, "p0", "complete", 0.6, None, 5),
        (1, 1, "p1", "pruned", 0.9, None, 2),
        (1, 2, "p2", "complete", 0.8, 0.5, 5),
        (1, 3, "p1", "failed", None, None, 0),
        (1, 4, "p1", "pruned", 1.0, 0.6, 1),
        (1, 5, "p1", "running", 0.0, 0.7, 1),
        (2, 0, "p0", "complete", 0.6, None, 5),
        (3, 0, "p0", "complete", 0.6, None, 5),
    ]:
        given = {"params": "{}", "low": 0.1, "high": 0.9, "steps": "{}", "reason": "", "seconds": 1.0}
        trial = {"run": run, "number": number, "prompt": prompt, "state": state, "score": score, "n": n}
        insert(conn, "prompt_trials", **trial, estimate=estimate, **given)
    insert(conn, "origins", id=1, model="m", version="", fingerprint="")
    for number, tokens, answered, cost, seconds in [
        (1, 100, 10, 0.25, 1.0),
        (2, 200, 20, 0.5, 2.0),
        (3, 300, 30, 1.0, 6.0),
    ]:
        given = {"origin": 1, "text": "t", "finish_reason": "stop", "run": 1, "bought": 0, "checksum": 0}
        spent = {"prompt_tokens": tokens, "completion_tokens": answered, "cost": cost, "seconds": seconds}
        others = {"cached_tokens": 0, "reasoning_tokens": 0}
        insert(conn, "completions", id=number, key=f"k{number}", **spent, **others, **given)


def _insert_dev(conn: sqlite3.Connection) -> None:
    for run, best in [(1, 2), (2, 2), (3, 2)]:
        for row, scores in DEV.items():
            for trial_number, score in zip([0, best], scores, strict=True):
                kind = "error" if score is None else "right" if score == 1 else "wrong"
                number = None if score is None else {"r1": 1, "r2": 2}.get(row, 3)
                said = {"kind": kind, "score": score, "answer": f"{row}{trial_number}", "completion": number}
                insert(conn, "outcomes", run=run, trial=trial_number, example=row, step=0, error="", **said)
        for trial_number in (0, best):
            conn.execute(_ADD_UP, (run, trial_number))


def _insert_test(conn: sqlite3.Connection) -> None:
    for name, position in [("seed prompt", 0), ("best prompt", 1), ("trained model", 2)]:
        given = {"score": 0.5, "low": 0.1, "high": 0.9, "n": 3, "ms_per_1000": 1.0, "train_rows": 0, "detail": ""}
        insert(conn, "contenders", run=1, name=name, position=position, **given)
        for row, both in TEST.items():
            said = {"kind": "right", "score": both[position] if position < 2 else 0, "answer": f"{row} {name}"}
            insert(conn, "contender_outcomes", run=1, name=name, example=row, completion=1, **said)
    for split, rows in [("dev", list(DEV)), ("test", list(TEST)), ("train", ["r1"])]:
        for position, row in enumerate(rows):
            inputs = {"inputs": json.dumps({"text": f"{split} {row}"}), "targets": '["bug"]', "slices": "{}"}
            insert(conn, "examples", data="D", id=row, split=split, position=position, **inputs)


@pytest.fixture
def by_hand(path: Path) -> Path:
    """A file whose rows were put in with plain SQL: three runs, six trials, five dev rows, three test rows."""
    Store(path, create=True).close()
    conn = sqlite3.connect(path)
    with conn:
        _insert_runs(conn)
        _insert_dev(conn)
        _insert_test(conn)
    conn.close()
    return path


def test_best_trials_lists_the_fully_scored_first(by_hand: Path) -> None:
    """The others come after them whatever their score: by estimate, then those without one; none without a score."""
    sql = "SELECT run, trial, score, state, winner, prompt FROM best_trials WHERE run = 1"

    expected = [
        (1, 2, 0.8, "complete", 1, "best"),
        (1, 0, 0.6, "complete", 0, "seed"),
        (1, 5, 0.0, "running", 0, "worse"),
        (1, 4, 1.0, "pruned", 0, "worse"),
        (1, 1, 0.9, "pruned", 0, "worse"),
    ]
    assert expected == plain(by_hand, sql)
    assert [row[0] for row in plain(by_hand, "SELECT run FROM best_trials")] == [3, 2, 1, 1, 1, 1, 1]


def test_cost_per_trial_adds_up_the_completions(by_hand: Path) -> None:
    """Also those that were bought by another trial; an error has none and costs nothing."""
    sql = "SELECT trial, calls, cost, prompt_tokens, completion_tokens, seconds_per_call, cost_per_1000"

    expected = [
        (0, 5, 0.25 + 0.5 + 3 * 1.0, 100 + 200 + 3 * 300, 10 + 20 + 3 * 30, (1 + 2 + 3 * 6) / 5, 750.0),
        (2, 4, 0.25 + 0.5 + 2 * 1.0, 100 + 200 + 2 * 300, 10 + 20 + 2 * 30, (1 + 2 + 2 * 6) / 4, 687.5),
    ]
    assert expected == plain(by_hand, f"{sql} FROM cost_per_trial WHERE run = 1 ORDER BY trial")
    with Store(by_hand) as store:
        assert store.trial_costs(1) == {0: (5, 3.75), 2: (4, 2.75)}


def test_rows_the_winner_broke_are_those_that_the_seed_prompt_had_better(by_hand: Path) -> None:
    """On dev and test; not where a call failed, and none of a run without a winner or won by the seed prompt."""
    sql = "SELECT run, split, example, inputs, targets, seed_answer, winner_answer FROM rows_the_winner_broke"

    expected = {
        (1, "dev", "r1", '{"text": "dev r1"}', '["bug"]', "r10", "r12"),
        (1, "dev", "r5", '{"text": "dev r5"}', '["bug"]', "r50", "r52"),
        (1, "test", "t1", '{"text": "test t1"}', '["bug"]', "t1 seed prompt", "t1 best prompt"),
    }
    found = plain(by_hand, sql)
    assert expected == set(found)
    assert len(found) == 3


def test_the_views_read_what_the_store_wrote(store: Store, path: Path) -> None:
    """One journey through the store itself, read with plain SQL."""
    run = store.start_run(RUN, "config")
    rows = tuple(Example(f"r{i}", (("text", f"text {i}"),), ("bug",)) for i in range(1, 5))
    store.add_examples(RUN.data, Dataset((), rows, ()))
    seed = Trial(0, {"a": 1}, PROMPT, State.COMPLETE, 1 / 3, (0.0, 0.9), 3, {}, four(store, run))
    broke = replace(seed.outcomes[0], kind=Kind.WRONG, score=0.0)
    best = replace(seed, number=1, score=0.5, outcomes=(broke, *seed.outcomes[1:]))
    for trial in (seed, best):
        store.save_trial(run, trial, "Sort it.")
    store.update_run(run, status="finished", winner=1)

    assert plain(path, "SELECT example FROM rows_the_winner_broke") == [("r1",)]
    assert plain(path, "SELECT trial, winner FROM best_trials") == [(1, 1), (0, 0)]
    assert {trial: calls for trial, (calls, _) in store.trial_costs(run).items()} == {0: 3, 1: 3}


# --- the other owner --------------------------------------------------------------------------------------


def test_none_of_our_tables_has_a_name_of_optunas(tmp_path: Path, path: Path) -> None:
    """Optuna's own tables stand in the same file."""
    from optuna.storages import RDBStorage

    Store(path, create=True).close()
    RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}").engine.dispose()
    sql = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    theirs, ours = ({name for (name,) in plain(file, sql)} for file in (tmp_path / "optuna.db", path))

    assert {"studies", "trials"} <= theirs
    assert not ours & theirs

    RDBStorage(f"sqlite:///{path}").engine.dispose()
    with Store(path, create=True) as store:
        assert store.runs() == []
    assert theirs | ours == {name for (name,) in plain(path, sql)}
