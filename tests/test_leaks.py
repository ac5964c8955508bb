"""No row helps to answer itself: each request in the provider's log is checked for texts of each split's rows."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from server import Asked, ChatServer

from optimizer import Tuned, tune
from optimizer.events import Event, Stage
from optimizer.preparing import prepare
from optimizer.watch import Watch
from tests.proposing import asked_for_wordings
from tests.small_task import BUNDLED

REPEATS = 5  # rows that stand twice, with other white space and letters
MODEL = """
[task]
name = "marked"
description = "Route the message to the team that should handle it."
[data]
file = "rows.csv"
id = "id"
inputs = ["text"]
target = "label"
seed = {seed}
{split}
[model]
name = "openai/test-model"
api_base = "{url}"
price = {{ input = 1.0, output = 1.0 }}
workers = {workers}
[search]
calls = 200
seed = {seed}
{search}
[baseline]
trials = 1
[space]
labels = ["names", "terms"]
calibration = "off"
"""
CASES = {
    "pooled": {"search": "ablate = true"},
    "pareto": {"search": "pareto = true"},
    "tpe": {"search": 'sampler = "tpe"'},
    "given": {"search": "", "split": 'split_column = "part"'},
}


@dataclass
class Journey:
    """A whole run over HTTP: what was asked, in order, and what was asked before the test rows were opened."""

    folder: Path
    tuned: Tuned | None = None
    asked: list[Asked] = field(default_factory=list)
    before: int = 0

    @property
    def tokens(self) -> dict[str, str]:
        """The word that only one row holds -> the row's split, of the rows that are used."""
        data = prepare(self.folder / "task.toml").data
        splits = {"train": data.train, "dev": data.dev, "test": data.test}
        return {
            match: name for name, rows in splits.items() for row in rows for match in re.findall(r"zq\d+zq", row.text)
        }


def mark(number: int) -> str:
    return f"zq{number}zq"


def write(folder: Path, url: str, seed: int, **changes: str) -> None:
    """Write 160 marked rows, some of them twice, with a split column that puts repeated rows into two splits."""
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:160]
    lines = [
        [f"r{n}", row["label"], f"{row['text']} {mark(n)}", ("train", "test", "dev", "train")[n % 4]]
        for n, row in enumerate(rows)
    ]
    lines += [
        [f"again{n}", label, f"  {text.upper().replace('ZQ', 'zq')}\t", "train"]
        for n, (_, label, text, _) in enumerate(lines[:REPEATS])
    ]
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "label", "text", "part"], *lines])
    text = MODEL.format(url=url, seed=seed, workers=4, **{"split": "", **changes})
    (folder / "task.toml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module", params=CASES)
def journey(
    request: pytest.FixtureRequest, running_server: ChatServer, tmp_path_factory: pytest.TempPathFactory
) -> Journey:
    """One run for all that must hold of it."""
    running_server.forget()
    made = Journey(tmp_path_factory.mktemp("leaks"))
    write(made.folder, running_server.url, seed=list(CASES).index(request.param), **CASES[request.param])

    def watch(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "verdict":
            made.before = len(running_server.log)

    made.tuned = tune(made.folder / "task.toml", db=made.folder / "r.db", watch=Watch(watch))
    made.asked = list(running_server.log)
    return made


def shown(asked: Asked, tokens: dict[str, str]) -> list[str]:
    """The splits of the rows that a request shows, in the order in which they stand there."""
    return [tokens.get(word, "left out") for word in re.findall(r"zq\d+zq", json.dumps(asked.body))]


def test_no_test_row_is_sent_before_the_verdict(journey: Journey) -> None:
    """Neither its text nor its word; and all of them are sent afterwards."""
    tokens = journey.tokens
    assert journey.before > 100

    early = [split for asked in journey.asked[: journey.before] for split in shown(asked, tokens)]
    late = {word for asked in journey.asked[journey.before :] for word in re.findall(r"zq\d+zq", str(asked.body))}

    assert set(early) == {"train", "dev"}
    assert {word for word, split in tokens.items() if split == "test"} <= late


def test_rows_that_are_scored_are_shown_as_what_is_asked_alone(journey: Journey) -> None:
    """Each request for an answer asks one row of dev or test, the last in it; shown before are training rows."""
    tokens = journey.tokens
    for number, asked in enumerate(journey.asked):
        if asked_for_wordings(asked.body["messages"][0]["content"]):
            assert number < journey.before
            continue
        *demos, query = shown(asked, tokens)

        assert set(demos) <= {"train"}
        assert query == ("dev" if number < journey.before else "test")
    assert any(len(shown(asked, tokens)) > 4 for asked in journey.asked)  # there were demos


def test_no_row_of_one_text_stands_in_two_splits(journey: Journey) -> None:
    """A text that stands twice is in one split, or left out of the earlier one; and the run says so."""
    assert journey.tuned
    data = prepare(journey.folder / "task.toml").data
    homes: dict[str, set[str]] = {}
    for name, rows in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        for row in rows:
            homes.setdefault(" ".join(row.text.casefold().split()), set()).add(name)

    assert {len(splits) for splits in homes.values()} == {1}
    said = [note for note in journey.tuned.notes if "repeat the inputs" in note or "were left out" in note]
    assert len(said) == 1
    assert re.match(rf"{REPEATS} rows repeat|\d+ of train", said[0])


def test_each_test_row_is_asked_by_two_prompts_at_most(journey: Journey) -> None:
    """By the seed prompt and by the one that was chosen before; nobody looks at them a second time."""
    assert journey.tuned
    assert journey.tuned.verdict
    tokens = journey.tokens
    rows = sum(split == "test" for split in tokens.values())
    late = journey.asked[journey.before :]

    assert rows <= len(late) <= 2 * rows
    assert {contender.n for contender in journey.tuned.verdict.contenders} == {rows}
