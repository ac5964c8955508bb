"""A saved program in plain DSPy: the requests that it sends there are those that were scored."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from server import ChatServer
from test_program_tuning import PROGRAM

from optimizer import PromptSearch
from optimizer.programs.adapted import adapt
from tests.conftest import Command
from tests.small_task import write_task

ROWS = [
    dspy.Example(text=f"I {verb} the {thing}", label=label).with_inputs("text")
    for thing in "food wine room view staff bed".split()
    for verb, label in (("adore", "good"), ("loathe", "bad"))
]
SENT = ("messages", "temperature", "response_format")


def sent(server: ChatServer) -> list[dict[str, Any]]:
    """What was asked, by what decides an answer; DSPy has another name for max_tokens."""
    bodies = [asked.body for asked in server.log]
    bound = [body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies]
    return [{n: body.get(n) for n in SENT} | {"bound": b} for body, b in zip(bodies, bound, strict=True)]


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_a_saved_program_sends_what_was_scored(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """Settings included, with a model for which DSPy would ask for structured outputs; in each layout."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    name = "openai/gpt-4o-mini"
    search = PromptSearch(lambda row, said: row.label == said.label, model=name, api_base=server.url, budget=40)
    winner = search.compile(dspy.Predict("text -> label"), trainset=ROWS[:6], valset=ROWS[6:])
    for predictor in winner.predictors():
        predictor.adapter = adapter
    server.forget()
    search.evaluate(winner, ROWS[6:7])
    winner.save(tmp_path / "saved.json")
    loaded = adapt(dspy.Predict("text -> label"))
    loaded.load(tmp_path / "saved.json")
    plain = dspy.LM(name, api_base=server.url, api_key="sk-x", cache=False, num_retries=0)
    ours = dspy.context(lm=plain, adapter=dspy.TwoStepAdapter(plain))
    with ours, suppress(AdapterParseError):  # the embedded model knows no layout but the chat's
        loaded(**ROWS[6].inputs())

    scored, now = sent(server)
    assert now == scored
    assert (scored["temperature"], scored["bound"], scored["response_format"]) == (0.0, 1000, None)


def test_a_program_that_is_tuned_again_is_asked_anew(server: ChatServer) -> None:
    """Settings of an earlier search are neither sent for dev rows nor saved: the new one has its own."""
    student = adapt(dspy.Predict("text -> label"))
    student.scored = {"temperature": 0.7, "max_tokens": 50}
    search = PromptSearch(lambda row, said: row.label == said.label, model="openai/m", api_base=server.url, budget=40)

    winner = search.compile(student, trainset=ROWS[:6], valset=ROWS[6:])

    asked = [a for a in sent(server) if any(row.text in a["messages"][-1]["content"] for row in ROWS[6:])]
    assert {(a["temperature"], a["bound"]) for a in asked} == {(0.0, 1000)}
    assert winner.scored == {"temperature": 0.0, "max_tokens": 1000}


def test_what_the_program_or_its_model_sets_stays(server: ChatServer) -> None:
    """A temperature of the step, of its call or of its language model is not overwritten."""
    model = dspy.LM("openai/m", api_base=server.url, api_key="sk-x", cache=False, num_retries=0, temperature=0.3)
    cold = dspy.LM("openai/m", api_base=server.url, api_key="sk-x", cache=False, num_retries=0)
    for own, lm, call in (({}, model, {}), ({"temperature": 0.3}, cold, {}), ({}, cold, {"temperature": 0.3})):
        step = adapt(dspy.Predict("text -> label", **own))
        step.scored = {"temperature": 0.0, "max_tokens": 7}
        server.forget()
        with dspy.context(lm=lm):
            step(text="I adore it", config=call)

        assert [(asked["temperature"], asked["bound"]) for asked in sent(server)] == [(0.3, 7)]


def test_a_run_says_which_program_it_tuned(command: Command, tmp_path: Path) -> None:
    """Wherever it is listed or shown, and in the database; where a prompt is wanted, how to save the program."""
    write_task(tmp_path, rows=60, search={"calls": 60})
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")
    tuned = command("tune", "task.toml", "--program", "programs:Sort", "--allow-code").stdout
    bought = sqlite(tmp_path, "SELECT COUNT(*) FROM completions")
    save = "phrasetune tune TASK --program programs:Sort --allow-code --save program.json"
    command("report", "-o", "r.html")

    assert "run 1: programs:Sort on embedded" in tuned
    assert "Run 1: small (programs:Sort) on embedded" in command("history").stdout
    assert "small (programs:Sort)" in command("history", "--all").stdout
    assert json.loads(command("history", "--all", "--json").stdout)[0]["program"] == "programs:Sort"
    assert (
        command("history", "--where", "program = 'programs:Sort'", "--columns", "program").stdout.count("programs") > 1
    )
    assert f"Next: {save}" in command("show").stdout
    assert "run 1 of programs:Sort, trial " in command("show").stdout
    assert json.loads(command("show", "--json").stdout)["program"] == "programs:Sort"
    assert "- **program**: programs:Sort" in command("card").stdout
    assert json.loads(command("card", "--json").stdout)["program"] == "programs:Sort"
    assert "program programs:Sort" in (tmp_path / "r.html").read_text(encoding="utf-8")
    for given in (["export", "--format", "dspy"], ["predict", "rows.csv"], ["recheck"]):
        assert (
            f"run 1 tuned the program programs:Sort, which is no prompt. Save it: `{save}`"
            in command(*given, code=2).stderr
        )

    command(*save.replace("TASK", "task.toml").split()[1:])

    assert sqlite(tmp_path, "SELECT COUNT(*) FROM completions") == bought
    assert (tmp_path / "program.json").exists()


def sqlite(folder: Path, sql: str) -> list[Any]:
    """Ask the results.db of a folder."""
    with closing(sqlite3.connect(folder / "results.db")) as conn:
        return conn.execute(sql).fetchall()
