"""Rechecking a winner: answers are really bought, on the same rows, and a changed provider is reported."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from server import ChatServer, Fault, says, status

from optimizer import make_task, tune
from optimizer.comparing import Named, side_by_side
from optimizer.errors import BudgetSpent, InputError, Interrupted, ProviderError
from optimizer.rechecking import Rechecked, recheck
from optimizer.records import Completion, Request, Run
from optimizer.reports.rechecking_tables import record, sentences
from optimizer.store import Store
from optimizer.watch import Watch
from search_spaces.rendering import Renderer
from search_spaces.templates import BUILT_IN
from tests.conftest import Command
from tests.recorded import Tried, write_run
from tests.test_multilabel import write

ANSWERED = "1" * 20  # rows take turns: bug, praise, bug, …


@pytest.fixture
def db(tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose winner had every test row right, answered by x-1 on machine f; its model is the server now."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    path = tmp_path / "results.db"
    write_run(path, [Tried("10" * 10, "10" * 10), Tried(ANSWERED, ANSWERED)], api_base=server.url)
    return path


def now(server: ChatServer, text: str, version: str = "x-1", fingerprint: str = "f") -> None:
    """Let the provider say this to everything, under these names."""
    server.misbehave(Fault(choice=says(text).choice, answer={"model": version, "system_fingerprint": fingerprint}))


def run_of(db: Path) -> Run:
    with Store(db) as store:
        return store.run()


def again(db: Path, rows: int = 20) -> Rechecked:
    return recheck(run_of(db), rows=rows, db=db)


def test_every_call_is_bought_anew_each_time(db: Path, server: ChatServer) -> None:
    """Twenty rows are asked twice; in the ledger stand all answers, old and new."""
    now(server, "bug")

    assert [again(db).bought for _ in range(2)] == [20, 20]
    assert len(server.log) == 40
    with sqlite3.connect(db) as conn:
        assert conn.execute("SELECT COUNT(*) FROM ledger WHERE version = 'x-1' AND text = 'bug'").fetchone()[0] >= 40
    conn.close()


def test_a_run_is_named_by_its_number_or_is_the_latest(db: Path, server: ChatServer) -> None:
    now(server, "bug")

    assert [recheck(run, rows=20, db=db).latest.run for run in (1, None)] == [1, 1]


@pytest.mark.parametrize("rows", [0, -5, "12"])
def test_no_rows_are_refused_before_anything_is_begun(db: Path, server: ChatServer, rows: Any) -> None:
    with pytest.raises(InputError, match=f"rows = {rows!r}: none would be asked; allowed: 1 or more"):
        again(db, rows)
    assert not server.log
    with sqlite3.connect(db) as conn:
        assert conn.execute("SELECT COUNT(*) FROM rechecks").fetchone() == (0,)
    conn.close()


def test_the_difference_is_paired_with_what_was_recorded(db: Path, server: ChatServer) -> None:
    """Who says bug to everything loses the ten rows of praise; half of the answers have changed."""
    now(server, "bug", version="x-2")

    found = again(db)

    r = found.latest
    assert (r.n, r.changed, r.split, r.scores) == (20, 10, "test", (1.0, 0.5))
    assert r.comparison
    assert r.comparison.difference == pytest.approx(-0.5)
    assert r.comparison.p_value == pytest.approx(2 / 2**10)
    assert (r.origins_then, r.origins) == ((("x-1", "f"),), (("x-2", "f"),))
    said = " ".join(sentences(found))
    assert "10 of 20 answers changed (50.0 %, 95 % interval 29.9–70.1)." in said
    assert "The winner scores worse than it did: -50.0 points" in said
    assert "Were this chance alone, two runs of the prompt on 20 rows would lie up to 35.0 points apart." in said
    assert "The provider has another model: x-1 answered then, x-2 now." in said


def test_labels_in_another_order_are_no_other_answer(
    tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer has changed if the metric reads another one in it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    cells = ["price, bug", "thanks"] * 20
    task = write(tmp_path, cells, metric="micro_f1", labels='labels = ["price", "bug", "thanks"]')
    with task.open("a", encoding="utf-8") as file:
        file.write(f'reasoning = "off"\n[model]\nname = "openai/x"\napi_base = "{server.url}"\n')
    server.misbehave(says('"price, bug"'))
    run = tune(task, db=tmp_path / "r.db").run
    server.misbehave(says('"Bug"; "price"'))

    assert recheck(run, rows=10, db=tmp_path / "r.db").latest.changed == 0
    server.misbehave(says("price"))
    assert recheck(run, rows=10, db=tmp_path / "r.db").latest.changed == 10


@pytest.mark.parametrize(
    ("fingerprint", "said"),
    [("f", "The same model answered: x-1 f."), ("g", "that of the machine is not: x-1 f then, x-1 g now")],
)
def test_a_machine_that_changes_is_told_from_a_model(db: Path, server: ChatServer, fingerprint: str, said: str) -> None:
    """A fingerprint changes often, and is said to be one."""
    now(server, "bug", fingerprint=fingerprint)

    assert said in " ".join(sentences(again(db)))


def test_chance_is_told_for_all_rows_of_the_split(db: Path, server: ChatServer) -> None:
    """Twelve rows were asked, twenty have decided; where no score has changed nothing is said of chance."""
    now(server, "bug")
    some = again(db, 12)
    assert some.noise
    assert (some.noise.rows, some.latest.n) == (20, 12)

    assert not [said for said in sentences(replace(some, noise=replace(some.noise, flips=0.0))) if "chance" in said]


def test_fewer_rows_are_a_part_of_more(db: Path, server: ChatServer) -> None:
    """So that one recheck can be held against another; the trend is kept, in the order of time."""
    now(server, "bug")
    few = again(db, 6)
    asked = {entry.body["messages"][-1]["content"] for entry in server.log}
    server.forget()
    now(server, "praise")
    many = again(db, 500)

    assert asked < {entry.body["messages"][-1]["content"] for entry in server.log}
    assert [few.latest, many.latest] == list(many.all)
    assert [r.n for r in many.all] == [6, 20]


def test_a_cap_ends_it_and_the_same_command_goes_on(db: Path, server: ChatServer) -> None:
    """What was bought is kept: nothing is bought twice within one recheck, and it counts once."""
    now(server, "bug")
    with pytest.raises(BudgetSpent, match=r"what was bought is kept\. Give the command again to go on"):
        recheck(run_of(db), rows=20, max_calls=7, db=db)

    found = again(db)

    assert (found.bought, len(server.log), len(found.all), found.latest.id) == (13, 20, 1, 1)


def test_one_that_is_gone_on_with_after_another_is_the_one_that_is_told(db: Path, server: ChatServer) -> None:
    """A later recheck of fewer rows came to its end first; each tells of its own rows."""
    now(server, "bug")
    with pytest.raises(BudgetSpent):
        recheck(run_of(db), rows=20, max_calls=7, db=db)
    between = again(db, 6)

    found = again(db)

    assert [(r.latest.id, r.latest.n) for r in (between, found)] == [(2, 6), (1, 20)]
    assert "10 of 20 answers changed (50.0 %, 95 % interval 29.9–70.1)." in sentences(found)
    assert record(found)["recheck"]["id"] == 1


def test_one_that_was_stopped_long_ago_is_not_gone_on_with(db: Path, server: ChatServer) -> None:
    """Answers of another week say nothing of today."""
    now(server, "bug")
    with pytest.raises(BudgetSpent):
        recheck(run_of(db), rows=20, max_calls=7, db=db)
    with sqlite3.connect(db) as conn:
        conn.execute("UPDATE rechecks SET started = '2020-01-01T00:00:00+00:00'")
    conn.close()

    assert (again(db).bought, again(db).latest.id) == (20, 3)


def test_failed_calls_are_left_out(db: Path, server: ChatServer) -> None:
    """Three refused rows are no changed answers; with none answered there is no result."""
    now(server, "bug")
    server.misbehave(status(400), 1, 2, 3)

    found = again(db)

    assert (found.latest.n, found.failed) == (17, 3)
    assert "3 of 20 calls failed; they are left out." in sentences(found)
    server.misbehave(status(400))
    with pytest.raises(ProviderError):
        again(db)


def test_a_recheck_changes_no_result(db: Path, server: ChatServer) -> None:
    """What was recorded of the run stays what it was."""
    before = side_by_side(db, Named(1, 0), Named(1, 1))
    now(server, "praise")
    again(db)

    assert before == side_by_side(db, Named(1, 0), Named(1, 1))


def test_without_a_verdict_dev_rows_are_asked(db: Path, server: ChatServer) -> None:
    """The test rows were not opened for it, and stay sealed."""
    write_run(db, [Tried("10" * 10), Tried(ANSWERED)], api_base=server.url)
    now(server, "bug")

    assert again(db).latest.split == "dev"
    assert not any("test row" in entry.body["messages"][-1]["content"] for entry in server.log)


def test_a_run_without_a_winner_is_refused(db: Path, server: ChatServer) -> None:
    """There is nobody to ask."""
    write_run(db, [Tried("10" * 10)], winner=None, api_base=server.url)

    with pytest.raises(InputError, match="run 2 has no winner"):
        again(db)


def test_another_model_is_no_answer(db: Path, server: ChatServer) -> None:
    """What changes then is not the provider."""
    from optimizer.models import open_model

    with pytest.raises(InputError, match="run 1 was tuned on 'openai/x', not 'embedded'"):
        recheck(run_of(db), db=db, model=open_model("embedded"))


def test_one_that_is_stopped_says_how_to_go_on(db: Path, server: ChatServer) -> None:
    """As under a cap."""
    watch = Watch()
    watch.stop.set()

    with pytest.raises(Interrupted, match=r"stopped; what was bought is kept\. Give the command again to go on"):
        recheck(run_of(db), db=db, watch=watch)


def test_a_metric_that_costs_or_is_code_leaves_scores_out(db: Path, server: ChatServer) -> None:
    """Answers are compared all the same."""
    with sqlite3.connect(db) as conn:
        conn.execute("UPDATE runs SET metric = 'gone:score'")
    conn.close()
    now(server, "bug")

    found = again(db)

    assert (found.latest.changed, found.latest.scores, found.latest.comparison) == (10, None, None)
    assert "Not scored: only tune asks a judge, or runs a metric of your own." in sentences(found)


class Fenced:
    """Puts the number of the last text into an object between fences."""

    name = "fenced"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer."""
        number = request.messages[-1].content.rpartition("room ")[2].split()[0]
        return Completion(f'```json\n{{"room": "{number}"}}\n```')


def test_answers_that_were_read_otherwise_have_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older version recorded is read anew before it is compared."""
    rows = [{"text": f"book room {i} now", "slots": {"room": str(i)}} for i in range(1, 41)]
    space = {"template": "plain", "answer_format": "bare", "reasoning": "off"}
    small: Any = {"search": {"calls": 12, "trials": 2}, "baseline": {"trials": 1}, "space": space}
    task = make_task(rows, target="slots", task={"kind": "extraction"}, **small)
    with monkeypatch.context() as older:
        older.setattr(Renderer, "parse", lambda _, prompt, text: BUILT_IN[prompt.template].parse(prompt, text))
        tuned = tune(task, db=tmp_path / "r.db", model=Fenced())

    found = recheck(tuned.run, db=tmp_path / "r.db", model=Fenced())

    assert (tuned.best.outcomes[0].answer or "").startswith("```json")
    assert found.latest.changed == 0
    assert found.latest.scores == (1, 1)


def test_one_row_asked_again_takes_one_completion(db: Path, server: ChatServer, command: Command) -> None:
    """Not one completions."""
    now(server, "bug")

    assert ": 1 completion bought\n" in command("recheck", "--rows", "1").output


def test_the_command_shows_the_trend(db: Path, server: ChatServer, command: Command) -> None:
    """Where calls go, each recheck in a row, and what is said; as JSON as well."""
    now(server, "bug")
    command("recheck", "--rows", "10")
    said = " ".join(command("recheck", "--rows", "10").output.split())

    assert f"calls go to {server.url}" in said
    assert "run 1, trial 1 on openai/x: 10 completions bought" in said
    assert "accuracy then now points 95 % p answered by" in said
    told = json.loads(command("recheck", "--rows", "12", "--json").stdout)
    assert [r["id"] for r in told["rechecks"]] == [1, 2, 3]
    assert (told["bought"], told["recheck"]["n"]) == (12, 12)
