"""`phrasetune doctor` finds problems before a run does, and says what to do; it makes one call and shows no key."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from server import ChatServer, Fault, cut, filtered, hang, quota, says, status

from optimizer import checks
from optimizer.database.owner import me
from tests.conftest import Command
from tests.small_task import write_task

Doctor = Callable[..., dict[str, tuple[bool, str]]]


@pytest.fixture
def doctor(command: Command) -> Doctor:
    """Run the checks; name -> (ok, what is said), with the exit code that follows from them."""

    def run(*arguments: str, fails: tuple[str, ...] = (), **how: Any) -> dict[str, tuple[bool, str]]:
        done = command("doctor", *arguments, "--json", code=1 if fails else 0, **how)
        record = json.loads(done.stdout)
        assert record["ok"] == (not fails)
        assert fails == tuple(check["name"] for check in record["checks"] if not check["ok"])
        return {check["name"]: (check["ok"], check["said"]) for check in record["checks"]}

    return run


def remote(server: ChatServer) -> tuple[str, ...]:
    """Name the model on loopback."""
    return "--model", "openai/test-model", "--api-base", server.url


def test_all_is_well(server: ChatServer, command: Command, tmp_path: Path) -> None:
    """One line a check, each with what was found; a single call; nothing is written."""
    with write_task(tmp_path).open("a", encoding="utf-8") as file:
        file.write("[model]\nprice = { input = 2.0, output = 8.0 }\ncontext = 4096\n")

    said = command("doctor", "task.toml", *remote(server)).stdout

    lines = [line.split(maxsplit=2) for line in said.split("\n\n")[0].splitlines()]
    found = {name: text for _, name, text in lines}
    assert {"OK"} == {ok for ok, *_ in lines}
    machine = ["python", "packages", "database", "disk"]
    assert list(found) == [*machine, *"task data power leaks key price endpoint answer logprobs".split()]
    assert found["task"] == "task.toml: classification, judged by accuracy"
    assert found["data"] == "100 train, 50 dev, 50 test (sealed until the verdict); 8 labels"
    assert found["key"] == f"OPENAI_API_KEY is set, and goes to {server.url}"
    assert found["price"] == "$2 and $8 per million tokens asked and answered; it takes 4,096 tokens"
    assert " tokens, $0.00013" in found["answer"]
    assert "Next: phrasetune plan task.toml" in said
    assert len(server.log) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"task.toml", "rows.csv"}


def test_without_a_task_the_machine_and_a_model_are_checked(server: ChatServer, doctor: Doctor) -> None:
    """A model may be named all the same."""
    assert list(doctor()) == ["python", "packages", "database", "disk"]
    assert list(doctor("--model", "embedded")) == ["python", "packages", "database", "disk", "model"]
    assert doctor(*remote(server))["price"][1].startswith("not known")
    assert len(server.log) == 1


# --- the machine ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_cannot_be_written_to_is_found(doctor: Doctor) -> None:
    """Also where the user may do anything: /proc takes no file from anybody."""
    found = doctor("--db", "/proc/results.db", fails=("database", "disk"))

    assert found["database"][1].startswith("/proc: cannot be written to")
    assert "make room" in found["disk"][1]


@pytest.mark.skipif(os.geteuid() == 0, reason="for root every folder can be written to")
def test_a_read_only_folder_is_found(doctor: Doctor, tmp_path: Path) -> None:
    """It is named, with what to do."""
    (tmp_path / "sealed").mkdir(mode=0o500)

    assert "Make it writable" in doctor("--db", "sealed/results.db", fails=("database",))["database"][1]


def test_a_damaged_database_is_found(doctor: Doctor, finished: Path, tmp_path: Path) -> None:
    """A file in the middle of which a page was lost, and one that is none of ours."""
    whole = finished.read_bytes()
    (tmp_path / "results.db").write_bytes(whole)
    assert doctor()["database"] == (True, "results.db: whole, and can be written")

    with (tmp_path / "results.db").open("r+b") as file:
        file.seek(len(whole) // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096 * 4)
    (tmp_path / "other.db").write_text("not a database", encoding="utf-8")

    assert "results.db: " in doctor(fails=("database",))["database"][1]
    assert "not an SQLite file" in doctor("--db", "other.db", fails=("database",))["database"][1]


def test_who_holds_the_database_is_said(doctor: Doctor, finished: Path, tmp_path: Path) -> None:
    """A run under way is no fault; a lock that is not given back is."""
    shutil.copy(finished, tmp_path / "results.db")
    with closing(sqlite3.connect(tmp_path / "results.db")) as conn:
        conn.execute("UPDATE runs SET status = 'running', owner = ?", (me(),))
        conn.commit()
        assert f"run 1 is being worked on by process {os.getpid()}" in doctor()["database"][1]

        conn.execute("BEGIN IMMEDIATE")
        said = doctor(fails=("database",))["database"][1]

    assert "locked" in said
    assert "Wait for the program that holds it" in said


def test_missing_and_poisoned_packages_are_found(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and release."""
    versions = {"litellm": "1.82.7"}
    real = metadata.version

    def version(name: str) -> str:
        if name == "optuna":
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(checks.metadata, "version", version)
    said = doctor(fails=("packages",))["packages"][1]

    assert "optuna is not installed" in said
    assert "litellm 1.82.7 is a poisoned release" in said


# --- the task ---------------------------------------------------------------------------------------------


def test_a_task_file_that_cannot_be_used_is_found(doctor: Doctor, tmp_path: Path) -> None:
    """With the line that `tune` would give."""
    assert "no such task file" in doctor("task.toml", fails=("task",))["task"][1]
    write_task(tmp_path, search={"calls": -1})
    assert "`search.calls` = -1" in doctor("task.toml", fails=("task",))["task"][1]


def test_rows_that_cannot_be_used_are_found(doctor: Doctor, tmp_path: Path) -> None:
    """The model is checked all the same."""
    write_task(tmp_path)
    (tmp_path / "rows.csv").unlink()

    found = doctor("task.toml", fails=("data",))

    assert "rows.csv" in found["data"][1]
    assert found["model"][0]


def test_a_constraint_that_no_prompt_could_break_is_found(doctor: Doctor, command: Command, tmp_path: Path) -> None:
    """Of the three commands that prepare a task none goes on where the search would look at no row of the label."""
    rows = [f"row {i},{'a' if i % 2 else 'b'}" for i in range(800)] + ["one,c", "two,c", "three,c"]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    command("init", "rows.csv")
    task = tmp_path / "task.toml"
    bounded = "calls = 100\nconstraints.min_recall = { c = 0.5 } #"
    task.write_text(task.read_text(encoding="utf-8").replace("calls = 2000", bounded, 1), encoding="utf-8")

    said = doctor("task.toml", fails=("data",))["data"][1]

    assert said.startswith("min_recall of 'c': none of the ")
    for name in ("plan", "tune"):
        assert said in command(name, "task.toml", code=2).stderr


def test_rows_that_leak_or_are_too_few_are_found(doctor: Doctor, tmp_path: Path) -> None:
    """Pairs in two splits, of which one is named; a label that is never shown, and too few rows to show any gain."""
    task = write_task(tmp_path)
    text = task.read_text(encoding="utf-8").replace("[data]", 'labels = ["a", "b", "never"]\n[data]')
    task.write_text(text, encoding="utf-8")
    rows = [f"{i},web,{'ab'[i % 3 == 0]},the quick brown fox {i // 2} jumps over it{'!' * (i % 2)}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,channel,label,text", *rows]) + "\n", encoding="utf-8")

    found = doctor("task.toml", fails=("labels", "power"))

    assert found["labels"][1].startswith("no training row is labelled never. ")
    assert "too few to show any gain" in found["power"][1]
    pairs = r"\d+ pairs of nearly equal rows stand in two splits: \d+ and \d+, and \d+ more\. "
    assert re.match(pairs, found["leaks"][1])


def test_rows_that_only_look_alike_are_no_failure(command: Command, tmp_path: Path) -> None:
    """Questions after one pattern, whose answers differ, are a warning in splits of our own, with what may be done."""
    write_task(tmp_path)
    kinds = ("capital", "largest city", "highest mountain")
    rows = [f"{i},web,{'ab'[i % 2]},{f'{i * i * 7919} ' * 5}row about {i}" for i in range(120)]
    rows += [f"{200 + i},web,{'ab'[i % 2]},What is the {kinds[i % 3]} of the country of {i:02}?" for i in range(80)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,channel,label,text", *rows]) + "\n", encoding="utf-8")

    said = command("doctor", "task.toml").stdout

    assert "WARN  leaks" in said
    assert "name the column that they have in common as group in [data]" in said


def test_rows_that_leak_between_given_splits_are_no_failure(command: Command, tmp_path: Path) -> None:
    """Splits that a column gives are not ours to change: a warning, with advice that keeps them."""
    task = write_task(tmp_path)
    text = task.read_text(encoding="utf-8").replace("[data]", '[data]\nsplit_column = "channel"', 1)
    task.write_text(text.replace('slices = ["channel"]', ""), encoding="utf-8")
    rows = [
        f"{i},{('train', 'dev', 'test')[i % 3]},{'ab'[i % 2]},{f'{i * i * 7919} ' * 5}row about {i}" for i in range(300)
    ]
    leaking = "the quick brown fox jumps over the lazy dog near the river"
    rows += [f"900,train,a,{leaking}", f"901,test,a,{leaking}!"]
    (tmp_path / "rows.csv").write_text("\n".join(["id,channel,label,text", *rows]) + "\n", encoding="utf-8")

    said = command("doctor", "task.toml").stdout
    found = {check["name"]: check for check in json.loads(command("doctor", "task.toml", "--json").stdout)["checks"]}

    assert "WARN  leaks     1 pair of nearly equal rows stands in two splits: 900 and 901. The column ch" in said
    assert "group in [data]" not in said
    assert (found["leaks"]["ok"], found["leaks"]["warned"], found["power"]["warned"]) == (True, True, False)


# --- the model --------------------------------------------------------------------------------------------


def test_a_missing_key_is_found(server: ChatServer, doctor: Doctor) -> None:
    """By the name of its variable; nothing is sent."""
    said = doctor("--model", "openai/gpt-4o-mini", fails=("key",), key=None)["key"][1]

    assert "needs OPENAI_API_KEY in the environment" in said
    assert server.log == []


def test_an_unknown_provider_is_found(doctor: Doctor) -> None:
    """With what is allowed."""
    assert "unknown model 'nobody/x'" in doctor("--model", "nobody/x", fails=("key",))["key"][1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(401), "refuses the key"),
        (status(404), "does not know this model"),
        (quota(), "the quota is used up"),
        (status(429), "Wait, or ask the provider for higher limits."),
        (status(500), "HTTP 500"),
        (cut(), "It may have been charged."),
        (Fault(302, {}, {"Location": "http://127.0.0.1:9/"}), "Give the right api_base."),
    ],
)
def test_a_model_that_does_not_answer_is_found(server: ChatServer, doctor: Doctor, fault: Fault, said: str) -> None:
    """With the cause and what to do, after one attempt."""
    server.misbehave(fault)

    found = doctor(*remote(server), fails=("answer",))

    assert said in found["answer"][1]
    assert "resume" not in found["answer"][1]
    assert found["endpoint"][0]
    assert len(server.log) == 1


@pytest.mark.parametrize("fault", [filtered(), says("")])
def test_an_empty_answer_is_one(server: ChatServer, doctor: Doctor, fault: Fault) -> None:
    """The model was reached, and that is what is asked."""
    server.misbehave(fault)

    assert doctor(*remote(server))["answer"][1].startswith("'' in ")
    assert len(server.log) == 1


def test_a_model_that_hangs_is_given_up(server: ChatServer, doctor: Doctor, tmp_path: Path) -> None:
    """At its deadline."""
    with write_task(tmp_path).open("a", encoding="utf-8") as file:
        file.write("[model]\ntimeout = 0.3\n")
    server.misbehave(hang())

    said = doctor("task.toml", *remote(server), fails=("answer",))["answer"][1]

    assert said == "no answer within 0.3 s. Raise timeout in [model], or check the server. It may have been charged."


def test_an_endpoint_that_nobody_answers_at_is_found(doctor: Doctor) -> None:
    """No call is tried."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    found = doctor("--model", "openai/test-model", "--api-base", address, fails=("endpoint",))

    assert found["endpoint"][1].startswith(f"{address} cannot be reached (Connection refused)")
    assert "answer" not in found


def test_a_cap_on_dollars_without_a_price_is_found(server: ChatServer, doctor: Doctor, tmp_path: Path) -> None:
    """It could not be kept."""
    write_task(tmp_path, search={"max_usd": 1})

    assert "has no known price" in doctor("task.toml", *remote(server), fails=("price",))["price"][1]


def test_a_limit_on_what_answers_cost_needs_no_price_of_a_proposer(
    server: ChatServer, doctor: Doctor, tmp_path: Path
) -> None:
    """It bounds the answers alone, as when tuning; a cap on all dollars does need it."""
    task = write_task(tmp_path, proposer="openai/test-model")
    named = f'model = {{ name = "openai/test-model", api_base = "{server.url}" }}'
    text = task.read_text(encoding="utf-8").replace('model = "openai/test-model"', named)
    task.write_text(f"{text}[search.constraints]\nmax_cost_per_1000 = 1.0\n", encoding="utf-8")

    constrained = doctor("task.toml")
    task.write_text(text.replace("[search]\n", "[search]\nmax_usd = 1\n"), encoding="utf-8")
    capped = doctor("task.toml", fails=("price",))

    assert constrained["price"][0]
    assert "so a cap of $1 cannot be kept" in capped["price"][1]


def test_log_probabilities_are_found(server: ChatServer, doctor: Doctor) -> None:
    """They are asked for with the one call."""
    told, other = {"token": "OK", "logprob": -0.1}, {"token": "Okay", "logprob": -2.5}
    server.misbehave(Fault(choice={"logprobs": {"content": [{**told, "top_logprobs": [told, other]}]}}))

    assert doctor(*remote(server))["logprobs"] == (True, "offered")
    assert len(server.log) == 1


def test_a_provider_may_refuse_log_probabilities(server: ChatServer, doctor: Doctor) -> None:
    """A refusal is not bought; the call is made without them."""
    server.misbehave(status(400, said="logprobs are not supported"), 1, 2)

    found = doctor(*remote(server))

    assert found["logprobs"][1].startswith("not offered")
    assert "logprobs" not in server.log[2].body
