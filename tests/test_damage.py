"""A results.db of an older version is upgraded after a copy was made; a damaged one is refused."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from optimizer.cli import main
from optimizer.database import slots
from optimizer.errors import StoreError, Upgraded
from optimizer.records import (
    Comparison,
    Completion,
    Contender,
    Dataset,
    Importance,
    Kind,
    Outcome,
    Run,
    Rung,
    State,
    TrainedModel,
    Trial,
    Verdict,
)
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt

MIGRATIONS = sorted((Path(__file__).resolve().parents[1] / "optimizer" / "migrations").glob("[0-9]*.sql"))
KEYS = [f"{i:032x}" for i in range(4)]
PROMPT = Prompt("plain", "Sort it.", ("text",), "label", ("bug", "praise"))


def add(conn: sqlite3.Connection, table: str, **values: object) -> None:
    """Put a row in with plain SQL."""
    marks = ", ".join("?" * len(values))
    conn.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))


def old_file(path: Path, schema: int, *, owner: str = "", status: str = "finished") -> Path:
    """Write a file as the phrasetune of a schema has left it: a run of two trials, and a verdict."""
    with closing(sqlite3.connect(path)) as conn:
        for migration in MIGRATIONS[:schema]:
            conn.executescript(migration.read_text(encoding="utf-8"))
        conn.execute("PRAGMA journal_mode = WAL")
        run = {"config": "c", "task": "{}", "model": "openai/x", "metric": "accuracy", "data": "D", "reason": "done"}
        add(
            conn,
            "runs",
            id=1,
            name="old",
            status=status,
            started="2026-11-01T08:00:00+00:00",
            winner=1,
            owner=owner,
            **run,
        )
        add(conn, "prompts", digest="p", json=json.dumps(PROMPT.to_dict()), text="Sort it.")
        told = {"cached_tokens": 7, "version": "x-1", "fingerprint": "f"} if schema > 1 else {}
        for i, text in enumerate(["bug", '{"label": "praise"}', "I would say", "bug"]):
            bought = {"finish_reason": "stop", "run": 1, "bought": "2026-11-01T08:00:01+00:00", **told}
            spent = {"prompt_tokens": 30 + i, "completion_tokens": 4, "cost": 0.25 * i, "seconds": 0.5}
            add(conn, "completions", key=KEYS[i], model="openai/x", text=text, **bought, **spent)
        conn.execute('UPDATE completions SET logprobs = \'[["bug",-0.1],["praise",-2.5]]\' WHERE key = ?', [KEYS[3]])
        for number, first in ((0, "right"), (1, "wrong")):
            steps = {"params": "{}", "steps": "{}", "reason": "", "seconds": 1.0, "low": 0.0, "high": 1.0}
            add(conn, "prompt_trials", run=1, number=number, prompt="p", state="complete", score=0.5, n=3, **steps)
            for row, (kind, answer, key) in enumerate(
                [
                    (first, "bug", KEYS[0]),
                    ("wrong", "praise", KEYS[1]),
                    ("unparsed", None, KEYS[2]),
                    ("error", None, ""),
                ]
            ):
                score = {"right": 1.0, "error": None}.get(kind, 0.0)
                said = {"kind": kind, "score": score, "answer": answer, "completion": key, "step": row}
                error = "overloaded" if kind == "error" else ""
                add(conn, "outcomes", run=1, trial=number, example=f"r{row}", error=error, **said)
        add(
            conn,
            "examples",
            data="D",
            id="r0",
            split="dev",
            position=0,
            inputs='{"text":"it fails"}',
            targets='["bug"]',
        )
        figures = {"score": 0.5, "low": 0.1, "high": 0.9, "n": 1, "ms_per_1000": 1.0, "train_rows": 0, "detail": ""}
        for position, (name, key) in enumerate([("seed prompt", KEYS[3]), ("trained baseline", "")]):
            add(conn, "contenders", run=1, name=name, position=position, **figures)
            said = {"kind": "right", "score": 1.0, "answer": "bug", "completion": key}
            add(conn, "contender_outcomes", run=1, name=name, example="t1", **said)
        add(conn, "verdicts", run=1, metric="accuracy", sentence="No difference.", opened=1)
        conn.commit()
    return path


def questions(path: Path) -> list[list[tuple[Any, ...]]]:
    """Ask what a person asks of any schema."""
    asked = (
        "SELECT run, trial, score, state, winner, prompt FROM best_trials",
        "SELECT * FROM cost_per_trial ORDER BY run, trial",
        "SELECT * FROM pareto_front",
        "SELECT * FROM rows_the_winner_broke",
    )
    with closing(sqlite3.connect(path)) as conn:
        return [conn.execute(sql).fetchall() for sql in asked]


# --- older schemas ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [1, 2, 3])  # what outcomes and completions look like has changed with the fourth
def test_an_older_file_is_brought_up_to_date_beside_a_copy(tmp_path: Path, schema: int) -> None:
    """Every row says what it said, the views answer as before, and the copy is the file as it was, private."""
    path = old_file(tmp_path / "r.db", schema)
    before, backup = questions(path), tmp_path / f"r.db.schema{schema}.bak"

    with pytest.warns(Upgraded, match=rf"r\.db: written by an older phrasetune.*it stands in .*schema{schema}\.bak"):
        store = Store(path)
    with store:
        first, second = store.trials(1)
        found = store.find_completions(KEYS)
        verdict = store.verdict(1)

    told = {"cached_tokens": 7, "version": "x-1", "fingerprint": "f"} if schema > 1 else {}
    assert [found[key].text for key in KEYS] == ["bug", '{"label": "praise"}', "I would say", "bug"]
    assert found[KEYS[3]] == Completion("bug", 33, 4, 0.75, 0.5, logprobs=(("bug", -0.1), ("praise", -2.5)), **told)
    assert first.outcomes == (
        Outcome("r0", Kind.RIGHT, 1.0, "bug", KEYS[0], 34, 0.0, 0.5, "bug", 0, 30),
        Outcome("r1", Kind.WRONG, 0.0, "praise", KEYS[1], 35, 0.25, 0.5, '{"label": "praise"}', 1, 31),
        Outcome("r2", Kind.UNPARSED, 0.0, None, KEYS[2], 36, 0.5, 0.5, "I would say", 2, 32),
        Outcome("r3", Kind.ERROR, None, None, text="overloaded", step=3),
    )
    assert second.outcomes[0].kind is Kind.WRONG
    assert verdict is not None
    assert [c.outcomes[0].answer for c in verdict.contenders] == ["bug", "bug"]
    assert [c.outcomes[0].completion_key for c in verdict.contenders] == [KEYS[3], ""]
    assert before == questions(path) == questions(backup)
    with closing(sqlite3.connect(backup)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (schema,)
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_the_views_are_for_people(tmp_path: Path) -> None:
    """`ledger`, `answers` and `test_answers` show keys, models, times and answers as texts."""
    path = old_file(tmp_path / "r.db", 2)
    with pytest.warns(Upgraded):
        Store(path).close()

    with closing(sqlite3.connect(path)) as conn:
        bought = conn.execute("SELECT key, model, version, text, bought FROM ledger LIMIT 1").fetchone()
        answers = conn.execute("SELECT example, answer, cost FROM answers WHERE trial = 0 ORDER BY 1").fetchall()
        tested = conn.execute("SELECT name, answer FROM test_answers ORDER BY 1").fetchall()

    assert bought == (KEYS[0], "openai/x", "x-1", "bug", "2026-11-01T08:00:01+00:00")
    assert answers == [("r0", "bug", 0.0), ("r1", "praise", 0.25), ("r2", None, 0.5), ("r3", None, None)]
    assert tested == [("seed prompt", "bug"), ("trained baseline", "bug")]


def test_a_copy_replaces_no_file(tmp_path: Path) -> None:
    """If there is one of its name already, the copy takes another."""
    path, taken = old_file(tmp_path / "r.db", 1), tmp_path / "r.db.schema1.bak"
    taken.write_bytes(b"mine")

    with pytest.warns(Upgraded, match=r"schema1-2\.bak"):
        Store(path, create=True).close()

    assert taken.read_bytes() == b"mine"
    assert (tmp_path / "r.db.schema1-2.bak").exists()


def test_the_command_line_says_it_once(tmp_path: Path) -> None:
    """As a note on stderr; the second time there is nothing to say."""
    path = old_file(tmp_path / "r.db", 2)

    first, second = (CliRunner().invoke(main, ["history", "--json", "--db", str(path)]) for _ in range(2))

    assert first.stderr.startswith(f"note: {path}: written by an older phrasetune and brought up to date")
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert json.loads(first.stdout)["trials"][0]["score"] == 0.5


def test_a_file_that_an_older_program_is_writing_is_left_alone(tmp_path: Path) -> None:
    """Its statements would not fit the new tables."""
    code = "import sys\nfrom optimizer.database.owner import me\nprint(me(), flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=MIGRATIONS[0].parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        path = old_file(tmp_path / "r.db", 2, owner=other.stdout.readline().strip(), status="running")

        with pytest.raises(StoreError, match=r"an older phrasetune is at work on it \(run 1\)\. Wait for it"):
            Store(path)
        other.kill()

    assert not list(tmp_path.glob("*.bak"))
    with pytest.warns(Upgraded):
        Store(path).close()


def test_a_file_whose_upgrade_fails_stays_as_it_is(tmp_path: Path) -> None:
    """All of a migration or nothing of it; the copy stays."""
    path = old_file(tmp_path / "r.db", 3)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE origins (mine TEXT)")  # the migration makes one of its own
        conn.commit()
    before = questions(path)

    with pytest.raises(StoreError, match=r"cannot be used as results database \(table origins already exists\)"):
        Store(path)

    assert before == questions(path)
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (3,)


# --- damaged files ----------------------------------------------------------------------------------------


def write(path: Path) -> None:
    """Write a run of five trials and all that belongs to it through the store."""
    rng = random.Random(0)
    rows = [Example(f"r{i}", (("text", f"message {i}"),), ("bug",)) for i in range(60)]
    with Store(path, create=True) as store:
        store.add_examples("D", Dataset(tuple(rows[:20]), tuple(rows[20:40]), tuple(rows[40:])))
        run = store.start_run(Run(0, "t", {"a": 1}, "openai/x", "accuracy", "D", "running", ""), "c")
        slots.begin(store, run, [], [("instruction", "late1")])
        outcomes: tuple[Outcome, ...] = ()
        for number in range(5):
            bought = {
                rng.randbytes(16).hex(): Completion(f'{{"label": "bug {i}"}}', 30, 4, 0.001, 0.5 + i) for i in range(20)
            }
            store.add_completions(run, "openai/x", bought)
            outcomes = tuple(Outcome(f"r{20 + i}", Kind.RIGHT, 1.0, "bug", key) for i, key in enumerate(bought))
            prompt, steps = replace(PROMPT, instruction=f"Sort it {number}."), {20: 0.5}
            trial = Trial(number, {"k": number}, prompt, State.COMPLETE, 0.5, (0.1, 0.9), 20, steps, outcomes)
            store.save_trial(run, trial, "Sort it.")
        store.save_rung(run, Rung("linear", TrainedModel("TF-IDF", {"a": 1}, (0.1, 0.2), 0.5, b"blob")))
        store.save_worth(run, [Importance("k", 0.1, 0.0, 0.2, 3, 0.1, 0.0, 0.2, 0.3)])
        contender = Contender("seed prompt", 0.5, (0.1, 0.9), 20, outcomes, 0.1, 2.0, 3)
        compared = Comparison("a", "b", 0.1, (0.0, 0.2), 0.5, "exact")
        store.save_verdict(run, Verdict("accuracy", (contender,), (compared,), "No.", 1))
        store.update_run(run, status="finished", winner=1)


Found = tuple[set[tuple[str, Completion]], list[tuple[object, ...]]]


def read(path: Path, keys: list[str]) -> Found:
    """Read all that there is; return the completions, and what was measured."""
    with Store(path) as store:
        run = store.run()
        trials, verdict = store.trials(run.id), store.verdict(run.id)
        for split in ("train", "dev", "test"):
            store.examples("D", split)
        store.slices("D", "dev")
        store.ladder(run.id)
        store.importances(run.id)
        slots.wordings(store, run.id)
        [store.prompt_text(run.id, trial.number) for trial in trials]
        store.trial_costs(run.id)
        store.spent(run.id)
        store.versions(run.id, run.model)
        found = set(store.find_completions(keys).items())
    outcomes = {trial.number: trial.outcomes for trial in trials}
    outcomes |= {contender.name: contender.outcomes for contender in verdict.contenders} if verdict else {}
    return found, [
        (whose, o.example_id, o.kind, o.score, o.answer, o.completion_key, o.text, o.tokens, o.cost, o.seconds)
        for whose, group in outcomes.items()
        for o in group
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str], Found]:
    """The bytes of a file, the keys of its completions, and what is read from it."""
    path = tmp_path_factory.mktemp("whole") / "r.db"
    write(path)
    with closing(sqlite3.connect(path)) as conn:
        keys = [key for (key,) in conn.execute("SELECT key FROM ledger")]
    return path.read_bytes(), keys, read(path, keys)


def refusal(path: Path, keys: list[str]) -> tuple[str, Found | None]:
    """Read a damaged file: the one line that refuses it, or what was read; in no case is a byte changed."""
    before = path.read_bytes()
    try:
        found, said = read(path, keys), ""
    except StoreError as error:
        found, said = None, str(error)
        assert said.startswith(f"{path}: ")
        assert "--db" in said
        assert "\n" not in said

    assert path.read_bytes() == before
    return said, found


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, whole: tuple[bytes, list[str], Found]) -> None:
    """At every page, and anywhere within one."""
    data, keys, _ = whole
    path, rng = tmp_path / "r.db", random.Random(1)
    lengths = [*range(0, len(data), 4096), *(rng.randrange(1, len(data)) for _ in range(20))]

    for length in lengths:
        path.write_bytes(data[:length])

        assert refusal(path, keys)[0], length


def test_a_flipped_bit_is_noticed_or_changes_no_answer(tmp_path: Path, whole: tuple[bytes, list[str], Found]) -> None:
    """No traceback; a completion is the one that was bought or is missing, and what was measured is as it was.

    A flipped bit that leaves another text of a prompt or a row, or another figure of a run, is not noticed.
    """
    data, keys, (completions, measured) = whole
    path, rng, refused = tmp_path / "r.db", random.Random(2), 0
    for _ in range(150):
        damaged = bytearray(data)
        at = rng.randrange(len(data))
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)

        said, found = refusal(path, keys)

        refused += bool(said)
        if found:
            assert found[0] <= completions, at
            assert set(found[1]) <= set(measured), at
    assert refused > 5


@pytest.mark.parametrize("table", ["completions", "outcomes"])
def test_another_text_of_an_answer_is_noticed(
    tmp_path: Path, whole: tuple[bytes, list[str], Found], table: str
) -> None:
    """Every completion, and the outcomes of every trial, have a checksum."""
    data, keys, _ = whole
    path = tmp_path / "r.db"
    path.write_bytes(data)
    change = {"completions": "text = 'another'", "outcomes": "score = 0"}[table]
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(
            f"UPDATE {table} SET {change} WHERE rowid = 7"
            if table == "completions"
            else f"UPDATE {table} SET {change} WHERE trial = 1 AND example = 'r25'"
        )
        conn.commit()

    assert "checksum" in refusal(path, keys)[0]


def test_damage_is_one_line_on_the_command_line(tmp_path: Path, whole: tuple[bytes, list[str], Found]) -> None:
    """With exit code 2, and for a run as well, which writes nothing."""
    path = tmp_path / "r.db"
    path.write_bytes(whole[0][:8192])

    done = CliRunner().invoke(main, ["history", "--db", str(path)])

    assert done.exit_code == 2
    assert done.stderr.startswith(f"phrasetune: {path}: cannot be used as results database (")
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(StoreError, match="cannot be used as results database"):
        Store(path, create=True)
    assert path.read_bytes() == whole[0][:8192]


def test_damage_that_is_met_in_writing_is_an_error_of_the_file(
    tmp_path: Path, whole: tuple[bytes, list[str], Found]
) -> None:
    """Whatever page it is on."""
    path = tmp_path / "r.db"
    path.write_bytes(whole[0])
    with closing(sqlite3.connect(path)) as conn:
        page = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'completions'").fetchone()[0]
    data = bytearray(whole[0])
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)

    with (
        Store(path, create=True) as store,
        pytest.raises(StoreError, match=r"cannot be written \(database disk image is malformed\)"),
    ):
        store.add_completions(1, "m", {KEYS[0]: Completion("x")})


def test_a_damaged_older_file_is_not_brought_up_to_date(tmp_path: Path) -> None:
    """What cannot be copied whole is left as it is, and no half copy stays."""
    path = old_file(tmp_path / "r.db", 2)
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as conn:
        page = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'examples'").fetchone()[0]
    data[(page - 1) * 4096 : (page - 1) * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)

    with pytest.raises(StoreError, match=r"cannot be used as results database \(database disk image is malformed\)"):
        Store(path)

    assert path.read_bytes() == bytes(data)
    assert not list(tmp_path.glob("*.bak"))


def test_without_its_log_a_file_is_as_it_was_before(tmp_path: Path) -> None:
    """A log that was deleted takes the last writes along, and nothing else; beside an empty file it is kept."""
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    with Store(path, create=True) as store:
        store.add_completions(1, "m", {KEYS[0]: Completion("first")})
        store.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.add_completions(1, "m", {KEYS[1]: Completion("second")})
        shutil.copy(path, copy)
        log = (tmp_path / "r.db-wal").read_bytes()

    with Store(copy) as store:
        assert [c.text for c in store.find_completions(KEYS).values()] == ["first"]

    copy.write_bytes(b"")
    (tmp_path / "copy.db-wal").write_bytes(log)
    for create in (False, True):
        with pytest.raises(StoreError, match="cut off in the middle; it was left as it is"):
            Store(copy, create=create)
    assert (tmp_path / "copy.db-wal").read_bytes() == log
