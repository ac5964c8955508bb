"""Answering new rows: the estimate comes first, and what ends early is kept and can be resumed."""

from __future__ import annotations

import csv
import json
import re
import runpy
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest
from server import ChatServer, too_long

from optimizer import history, make_task, predict, tune
from optimizer.errors import BudgetSpent, InputError, Interrupted, StoreError
from optimizer.exports import Target, export
from optimizer.records import Completion, Request
from optimizer.store import Store
from optimizer.watch import Watch
from tests.conftest import Command
from tests.recorded import Tried, write_run

ANSWERED = "1" * 20


@pytest.fixture
def db(tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on the server with two prompts, and thirty new rows beside it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    path = tmp_path / "results.db"
    write_run(path, [Tried("10" * 10, "10" * 10), Tried(ANSWERED, ANSWERED, text="Say which.")], api_base=server.url)
    rows = [f"new message {i},{'bug' if i % 2 else 'praise'}" for i in range(30)]
    (tmp_path / "new.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def answers(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["label_predicted"] for row in csv.DictReader(file)]


def test_a_cap_keeps_what_there_is_and_the_command_goes_on(db: Path, server: ChatServer, command: Command) -> None:
    """Rows that were not asked have no answer; the command that is named buys only those."""
    predict = ("predict", "new.csv", "-o", "a.csv")

    ended = command(*predict, "--max-calls", "12", code=1).output
    first = answers(db.parent / "a.csv")
    again = command(*predict, "--force").output

    assert "30 rows: it takes 30 calls (about $0.0373), and the budget has 12" in ended
    assert "30 rows, 0 without a readable answer, 18 not asked; 12 completions bought (unknown), 0 reused" in ended
    assert "the budget of 12 calls is used up; rows that were not asked have no answer." in ended
    assert "phrasetune predict new.csv -o a.csv --max-calls 12 --force\n" in ended
    assert "Next: " not in ended
    assert sum(map(bool, first)) == 12
    assert "30 rows: it takes 18 calls" in again
    assert "18 completions bought (unknown), 12 reused" in again
    assert all(answers(db.parent / "a.csv"))
    assert len(server.log) == 30


def test_a_file_keeps_all_its_columns(db: Path, command: Command) -> None:
    """In their order and as they were written; the answer is last, under a free name, and no id is made up."""
    given = ["extra,text,label_predicted,label", '"a, b",  hello ,mine,bug', '"c\nd",there,,']
    (db.parent / "new.csv").write_text("\n".join(given) + "\n", encoding="utf-8")

    command("predict", "new.csv", "-o", "a.csv")
    handed = predict([{"id": 7, "text": "hello", "label": None}], 1, db=db)

    with (db.parent / "a.csv").open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    assert names == ["extra", "text", "label_predicted", "label", "label_predicted_2"]
    assert [row[:-1] for row in rows] == [["a, b", "  hello ", "mine", "bug"], ["c\nd", "there", "", ""]]
    assert all(row[-1] in {"bug", "praise"} for row in rows)
    assert handed.table.rows == ({"id": "7", "text": "hello", "label": "", "label_predicted": handed.answers[0]},)


def test_a_row_without_a_text_costs_no_other_its_answer(db: Path, server: ChatServer, command: Command) -> None:
    """It is not asked, has no answer, and is counted."""
    (db.parent / "new.csv").write_text("text,label\nhello,bug\n ,bug\nthere,praise\n", encoding="utf-8")

    said = command("predict", "new.csv", "-o", "a.csv").output

    assert [bool(answer) for answer in answers(db.parent / "a.csv")] == [True, False, True]
    assert "3 rows, 0 without a readable answer, 1 without a text; 2 completions bought" in said
    assert len(server.log) == 2


def test_one_row_takes_one_completion(db: Path, command: Command) -> None:
    """Not one completions."""
    (db.parent / "new.csv").write_text("text\nhello\n", encoding="utf-8")

    said = command("predict", "new.csv", "-o", "a.csv").output

    assert "1 row, 0 without a readable answer; 1 completion bought" in said


def test_a_label_that_the_task_does_not_know_is_said_and_not_scored(db: Path, command: Command) -> None:
    """Before anything is bought; a score of 0 would be one of the file, not of the prompt."""
    rows = [f"message {i},{'BUG' if i < 4 else 'praise'}" for i in range(6)]
    (db.parent / "new.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")

    said = " ".join(command("predict", "new.csv", "-o", "a.csv").output.split())

    what = "new.csv: 4 rows with a wanted answer that the task does not know, such as r1: 'BUG'"
    assert said.index(f"{what}. Answered, and not scored. Did you mean 'bug'?") < said.index("6 rows: it takes")
    assert all(answers(db.parent / "a.csv"))
    assert "accuracy: 0.0 % (95 % interval 0.0–65.8)" in said or "accuracy: 100.0 %" in said  # of two rows


def test_rows_of_the_runs_own_data_are_known_in_any_case(db: Path, command: Command) -> None:
    """As where the rows were split: neither case nor white space makes a new row."""
    with Store(db) as store:
        own = store.examples(store.run().data, "dev")[:5]
    rows = [f"{row.text.upper()} ,{row.target}" for row in own]
    (db.parent / "new.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")

    assert "5 of the scored rows stood in the run's own data" in command("predict", "new.csv", "-o", "a.csv").output


def test_a_database_is_asked_what_the_task_asks(db: Path, command: Command) -> None:
    """The run's own file can be given as it is; where the task asks none, the user is told what to do."""
    with closing(sqlite3.connect(db.parent / "shop.db")) as shop, shop:
        shop.execute("CREATE TABLE tickets (text, label)")
        shop.executemany("INSERT INTO tickets VALUES (?, ?)", [(f"message {i}", "bug") for i in range(6)])

    refused = command("predict", "shop.db", "-o", "a.csv", code=2).output
    with closing(sqlite3.connect(db)) as store, store:
        store.execute("UPDATE runs SET task = json_set(task, '$.data.query', 'SELECT * FROM tickets')")
    asked = command("predict", "shop.db", "-o", "a.csv").output

    assert "for predict, save the rows as CSV" in " ".join(refused.split())
    assert "6 rows, 0 without a readable answer; 6 completions bought" in asked


def test_options_take_the_place_of_the_caps_of_the_task(db: Path, command: Command) -> None:
    """A run's own cap ends a prediction, unless it is overridden; dollars without a price cannot be capped."""
    with sqlite3.connect(db) as store:
        store.execute("UPDATE runs SET task = json_set(task, '$.search.max_calls', 12)")
    store.close()

    assert "the budget of 12 calls is used up" in command("predict", "new.csv", code=1).output
    assert "no known price" in command("predict", "new.csv", "--max-usd", "1", code=2).output
    assert "18 completions bought" in command("predict", "new.csv", "--max-calls", "0").output


def test_what_is_stopped_is_returned(db: Path) -> None:
    """As far as it went."""
    watch = Watch()
    watch.stop.set()
    with Store(db) as store:
        run = store.run()

    capped = predict(db.parent / "new.csv", run, max_calls=5, db=db)
    stopped = predict(db.parent / "new.csv", run, db=db, watch=watch)

    assert isinstance(capped.ended, BudgetSpent)
    assert isinstance(stopped.ended, Interrupted)
    assert (capped.bought, stopped.bought) == (5, 0)
    assert capped.answers == stopped.answers
    assert sum(answer is not None for answer in stopped.answers) == 5


def test_rows_of_a_program_are_asked_as_those_of_a_file(db: Path, server: ChatServer) -> None:
    """Whatever they come in: in their order, scored where an answer is wanted, and none bought twice."""
    with (db.parent / "new.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    bare: list[dict[str, str | None]] = [{"text": row["text"], "label": None} for row in reversed(rows)]

    of_file = predict(str(db.parent / "new.csv"), db=db)
    of_frame = predict(pa.Table.from_pylist(rows), 1, db=db, max_calls=0)
    unscored = predict([*bare, {"text": " "}], 1, trial=1, db=db)

    assert (of_file.bought, of_frame.bought, len(server.log)) == (30, 0, 30)
    assert of_frame.answers == of_file.answers
    assert of_frame.score == of_file.score is not None
    assert unscored.answers == (*reversed(of_file.answers), None)
    assert (unscored.score, unscored.unasked) == (None, 1)
    assert repr(unscored) == "<Predicted: 30 answers to 31 rows; 0 bought>"


def test_a_model_of_ones_own_is_handed_over_again(tmp_path: Path) -> None:
    """A run that was tuned on one cannot be asked without it, and says so."""
    rows = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(40)]
    model = Upper()
    task = make_task(rows, search={"calls": 12, "trials": 2}, baseline={"trials": 1}, space={"template": "plain"})
    tuned = tune(task, db=tmp_path / "r.db", model=model)

    found = predict([{"text": "row a"}, {"text": "row b"}], tuned.run, db=tmp_path / "r.db", model=model)

    assert found.answers == ("a", "b")
    with pytest.raises(InputError, match=r"was tuned on 'upper', not 'embedded'\. Hand that model over: model="):
        predict([{"text": "row a"}], tuned.run, db=tmp_path / "r.db")


class Upper:
    """Answers with the last letter of the last text, if that is a label."""

    name = "upper"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer."""
        return Completion("b" if "row b" in request.messages[-1].content else "a")


class Chatty:
    """Says the number of the last text in an object, with a fence and a sentence around it; or nothing of use."""

    name = "chatty"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer."""
        number = request.messages[-1].content.rpartition("room ")[2].split()[0]
        if number == "0":
            return Completion("I see no room.")
        return Completion(f'Sure! Here {{it}} is:\n```json\n{{"floor": null, "room": "{number}"}}\n```')


SEEN: set[str] = set()


def seen(answer: str, target: str) -> bool:
    """A metric of one's own that is strict about what it takes."""
    SEEN.add(answer)
    return bool(json.loads(answer)["room"] == json.loads(target)["room"])


@pytest.mark.parametrize("metric", ["exact_match", "slot_f1", seen])
def test_of_an_extraction_the_object_is_read_and_nothing_around_it(metric: Any, tmp_path: Path) -> None:
    """Answers are predicted, scored and handed to a metric of one's own as the object; an exported parse() agrees."""
    rows = [{"text": f"book room {i} now", "slots": {"room": str(i)}} for i in range(1, 41)]
    small: Any = {
        "search": {"calls": 12, "trials": 2},
        "baseline": {"trials": 1},
        "space": {"template": "plain", "answer_format": "bare", "reasoning": "off"},
    }
    task = make_task(rows, target="slots", task={"kind": "extraction"}, metric=metric, **small)
    tuned = tune(task, db=tmp_path / "r.db", model=Chatty())

    found = predict([{"text": "room 7"}, {"text": "room 0"}], tuned.run, db=tmp_path / "r.db", model=Chatty())
    told = history(tmp_path / "r.db").handover(None, None)
    (path,) = export(told.trial.prompt, "python", Target(tmp_path), told.renderer, [], told.facts).files
    parse = runpy.run_path(str(path))["parse"]

    assert tuned.best.score == 1
    assert found.answers == ('{"floor": null, "room": "7"}', "I see no room.")
    assert parse('So: {"room": "7"}.') == '{"room": "7"}'
    assert metric is not seen or all(answer.startswith("{") for answer in SEEN)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"rows": 5}, InputError, "rows: an int was given"),
        ({"rows": [{"message": "hello"}]}, InputError, "rows: unknown input column 'text'; allowed: message"),
        ({"run": 7}, StoreError, "has no run 7; allowed: 1"),
        ({"trial": 7}, InputError, "run 1 has no trial 7"),
        ({"max_calls": -1}, InputError, "max_calls = -1: must be a number of at least 0"),
        ({"max_calls": "3"}, InputError, "max_calls = '3': must be a number of at least 0"),
        ({"max_usd": float("nan")}, InputError, "max_usd = nan: must be"),
        ({"db": "none.db"}, StoreError, "none.db: no results here"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_bought(
    db: Path, server: ChatServer, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    """In one sentence; nothing is made."""
    with pytest.raises(error, match=said):
        predict(**{"rows": [{"text": "hello"}], "db": db, **given})

    assert len(server.log) == 0
    assert not Path("none.db").exists()


def test_another_trial_than_the_winner_is_applied(db: Path, server: ChatServer, command: Command) -> None:
    """By its number, or with its run; one that is not there is refused."""
    command("predict", "new.csv", "--trial", "0")
    said = command("predict", "new.csv", "--trial", "1:0").output
    winner = command("predict", "new.csv").output

    assert "0 completions bought" in said
    assert "30 completions bought" in winner
    assert len(server.log) == 60
    assert "run 1 has no trial 7" in command("predict", "new.csv", "--trial", "7", code=2).output
    assert "'x' names no trial" in command("predict", "new.csv", "--trial", "x", code=2).output


def test_a_server_that_is_not_there_is_waited_for_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is answered the user knows why, and where."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    path, said = tmp_path / "results.db", list[str]()
    write_run(path, [Tried("10" * 10, "10" * 10), Tried(ANSWERED, ANSWERED, text="Say which.")], api_base=address)
    (tmp_path / "new.csv").write_text("text\nhello\n", encoding="utf-8")
    stop = Event()

    def event(told: object) -> None:
        said.append(str(getattr(told, "text", told)))
        if "nobody answers" in said[-1]:
            stop.set()

    with Store(path) as store:
        run = store.run()
    done = predict(tmp_path / "new.csv", run, db=path, watch=Watch(event, stop))

    assert isinstance(done.ended, Interrupted)
    assert said[-1] == f"nobody answers at {address} (connection refused); waiting for it"


def test_why_a_row_got_no_answer_is_said(db: Path, server: ChatServer, command: Command) -> None:
    """The first reason, and of how many rows; from Python the reason of each."""
    server.misbehave(too_long(), 2, 3)

    said = command("predict", "new.csv", "-o", "a.csv").output

    why = "too long for this model (HTTP 400: "
    assert "30 rows, 2 without a readable answer; 28 completions bought" in said
    assert f"2 rows got no answer, the first: {why}" in said
    server.misbehave(too_long())
    assert [failure[: len(why)] for failure in predict(db.parent / "new.csv", db=db).failures] == [why] * 2


def test_what_it_takes_is_reckoned_by_the_rows_own_lengths(tmp_path: Path) -> None:
    """A long row is foreseen as long: the dollars are those that it then costs, not those of the run's short rows."""

    class PerCharacter:
        name, address, price = "per character", "", (1e-6, 2e-6)

        def complete(self, request: Request) -> Completion:
            asked = sum(len(message.content) for message in request.messages)
            return Completion("bug", asked, 5, asked * 1e-6 + 5 * 2e-6, 0.001)

    rows = [{"text": f"message {i:02}", "label": ("bug", "praise")[i % 2]} for i in range(60)]
    task = make_task(rows, search={"calls": 40}, model={"name": "per character"}, baseline={"trials": 1})
    tuned = tune(task, db=tmp_path / "r.db", model=PerCharacter())
    told: list[str] = []
    long = [{"text": "word " * 20_000}, {"text": "another message"}]
    watch = Watch(lambda event: told.append(str(event)))

    done = predict(long, tuned.run, db=tmp_path / "r.db", model=PerCharacter(), watch=watch)

    foreseen = float(re.findall(r"takes 2 calls \(about \$([\d.]+)\)", " ".join(told))[0])
    assert done.usd is not None
    assert done.usd > 0.1
    assert done.usd <= foreseen <= 1.3 * done.usd
