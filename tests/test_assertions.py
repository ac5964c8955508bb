"""Limits for a pipeline: whether they hold, what is found, the exit code, and JUnit XML that any reader accepts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.assertions import Assertion, junit_xml
from tests.conftest import Command
from tests.recorded import Tried, write_run

GOOD, SLIP, LOSS = "1" * 18 + "00", "1" * 16 + "0000", "1" * 8 + "0" * 12  # 90, 80 and 40 %


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Four runs on the same rows: a good winner, one that is 10 points worse, one that is 50, and one without price."""
    path = tmp_path / "results.db"
    for test in (GOOD, SLIP, LOSS):
        write_run(path, [Tried("10" * 10, "10" * 10), Tried("1" * 20, test)])
    write_run(path, [Tried("10" * 10, "10" * 10), Tried("1" * 20, GOOD)], cost=None)
    return path


@pytest.mark.parametrize(
    ("run", "limits", "code"),
    [
        (1, "--min-score 0.9", 0),
        (1, "--min-score 0.91", 1),
        (1, "--min-score 0.79 --lower-bound", 0),  # the interval reaches 10 points down
        (1, "--min-score 0.81 --lower-bound", 1),
        (1, "--max-cost-per-1000 1", 0),
        (1, "--max-cost-per-1000 0.9999999999", 0),  # a mean of floats may be off by so little
        (1, "--max-cost-per-1000 0.99", 1),
        (4, "--max-cost-per-1000 100", 1),  # not known is not kept
        (2, "--no-regression-from 1", 0),  # two rows of twenty are no proof
        (3, "--no-regression-from 1", 1),
        (1, "--no-regression-from 3", 0),
        (2, "--no-regression-from 1 --max-drop 10", 0),
        (2, "--no-regression-from 1 --max-drop 9.9", 1),
        (2, "--no-regression-from 1 --max-drop 10 --lower-bound", 1),
        (2, "--no-regression-from 1 --max-drop 40 --lower-bound", 0),
        (3, "--min-score 0.3 --no-regression-from 1 --max-cost-per-1000 5", 1),
    ],
)
def test_a_limit_is_kept_or_not(db: Path, command: Command, run: int, limits: str, code: int) -> None:
    """The exit code says so, and the JSON of each assertion."""
    told = json.loads(command("assert", "--run", str(run), *limits.split(), "--json", code=code).stdout)

    assert (told["run"], told["holds"]) == (run, code == 0)
    assert code == int(not all(assertion["holds"] for assertion in told["assertions"]))


def test_what_was_found_stands_beside_each_assertion(db: Path, command: Command) -> None:
    """As a table and as JUnit XML; a former report is replaced."""
    arguments = ("assert", "--run", "3", "--min-score", "0.3", "--no-regression-from", "1", "--junit", "j.xml")
    for _ in range(2):
        said = " ".join(command(*arguments, code=1).output.split())

    assert "ok score is at least 30.0 % 40.0 % (95 % interval 30.0–50.0) on 20 test rows" in said
    assert "FAILED no loss against 1:1 is shown -50.0 points (95 % interval" in said
    suite = ET.parse("j.xml").getroot()[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("sorting, run 3", "2", "1")
    assert [f if (f := case.find("failure")) is None else f.get("type") for case in suite] == [None, "assertion"]
    assert "-50.0 points" in str(suite[1][0].get("message"))
    assert "20 rows can show differences" not in said
    one = ("assert", "--run", "2", "--no-regression-from", "1", "--max-drop", "1", "--max-cost-per-1000", "0.3")
    told = " ".join(command(*one, code=1).output.split())
    assert "a loss of more than 1 point against 1:1" in told
    assert "1,000 rows cost at most $0.30 " in told
    assert "20 rows are too few to show any" in command("assert", "--run", "2", "--no-regression-from", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "nothing to assert; allowed: --min-score"),
        ("--max-drop 1", "--max-drop says against no run. Give --no-regression-from"),
        ("--lower-bound --max-cost-per-1000 1", "--lower-bound has nothing to hold"),
        ("--min-score 0.1 --run 9", "has no run 9; allowed: 4, 3, 2, 1"),
        ("--no-regression-from last", "'last' names no prompt"),
        ("--no-regression-from 4", "both are 4:1"),
        ("--min-score 80", "--min-score"),
        ("--max-cost-per-1000 nan", "--max-cost-per-1000 is nan"),
        ("--min-score 0.1 --junit results.db", "results.db: exists already and is no JUnit report"),
        ("--min-score 0.1 --junit none/j.xml", "no such folder"),
    ],
)
def test_bad_input_is_no_failed_assertion(db: Path, command: Command, arguments: str, said: str) -> None:
    """Exit code 2, one error, and no file touched."""
    before = db.read_bytes()

    assert said in command("assert", *arguments.split(), code=2).output
    assert before == db.read_bytes()


def test_a_run_without_a_verdict_cannot_be_judged(db: Path, command: Command) -> None:
    """Nothing is known of its test rows."""
    write_run(db, [Tried("10" * 10), Tried("1" * 20)])

    assert "run 5 has no verdict" in command("assert", "--min-score", "0.1", code=2).output


@given(st.text(st.characters(categories=("L", "C", "Z", "P", "S"))), st.text(), st.text(), st.booleans())
def test_any_text_makes_well_formed_xml(suite: str, name: str, found: str, holds: bool) -> None:
    """Control characters, lone surrogates and markup included; what can be written is read back."""
    written = junit_xml(suite, [Assertion(name, holds, found)])

    case = ET.fromstring(written.encode())[0][0]
    assert (case.find("failure") is None) == holds
    if name.isascii() and name.isprintable():
        assert " ".join(name.split()) == case.get("name")
