"""The prompt card shows only what the records say, in Markdown and JSON, and escapes all texts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt  # comes with rich
from markdown_it.token import Token

from optimizer import history, tune
from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError, TaskError
from optimizer.findings import Changed, Findings, GroupGap, GroupScore, Steadiness, Suspect
from optimizer.pages.page import page
from optimizer.power import smallest_gain
from optimizer.preparing import prepare
from optimizer.records import Completion, Request
from optimizer.report import percent, spread
from optimizer.reports.card import UNKNOWN, Card, own
from optimizer.reports.card_text import markdown, record, sections
from optimizer.task import load_task
from tests.conftest import Command
from tests.small_task import write_task
from tests.test_report import PAYLOADS, Tags

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
SIGNS = [
    *PAYLOADS,
    "a | b\n| --- | --- |\n| c",
    "[here](javascript:alert(1)) ![x](//evil.example/x.png) <https://evil.example>",
    "**loud** _soft_ ~~gone~~ `code` \\",
    "\n\n# A heading\n\n- a list\n> a quote\n```\nfence",
    "one\u2028two\x1b[31mred",
    "&lt;b&gt; &#42;",
]


@pytest.fixture
def made(finished: Path) -> Card:
    """The card of the finished run of the small task."""
    return history(finished).card()


def change(db: Path, *statements: str) -> None:
    """Change a results.db behind our back."""
    with sqlite3.connect(db) as connection:
        for statement in statements:
            connection.execute(statement)


def said(card: Card) -> dict[str, str]:
    """What a card says, by the name that stands before it."""
    return {name: text for section in sections(card) for name, text in section.facts}


def kinds(text: str) -> list[tuple[str, str]]:
    """What a reader of Markdown takes a text for: its elements, in order, without their texts."""

    def walk(tokens: Sequence[Token]) -> Iterator[tuple[str, str]]:
        for token in tokens:
            yield token.type, token.tag
            yield from walk(token.children or [])

    return list(walk(MARKDOWN.parse(text)))


# --- what it says -----------------------------------------------------------------------------------------


def test_a_card_says_what_the_records_say(finished: Path, made: Card) -> None:
    """Prompt, data, sizes, dates, scores with intervals, prompts tried and cost are the run's own."""
    records = history(finished)
    run, trials, verdict = records.run(), records.trials(), records.verdict()
    assert verdict
    text = markdown(made)

    assert made.prompt == records.show().prompt
    assert f"\n{made.prompt}\n" in text
    assert (made.origin.data, made.origin.rows) == (run.data, {"train": 100, "dev": 50, "test": 50})
    assert (made.origin.started, made.origin.finished) == (run.started, run.finished)
    assert said(made)["prompts tried"].startswith(f"{len(trials)}, of which {len(records.complete())} on all")
    assert said(made)["the run"] == f"$0; {run.bought:,} completions bought, {run.reused:,} reused"
    for contender in verdict.contenders:
        assert f"| {percent(contender.score)} | {spread(contender.interval)} | {contender.n} |" in text
    assert said(made)["on sealed test rows"] == verdict.sentence


def test_one_completion_is_one_on_a_card(made: Card) -> None:
    """Not one completions."""
    assert said(replace(made, bought=1))["the run"].startswith("$0; 1 completion bought, ")


def test_the_limits_are_counted_and_not_invented(made: Card) -> None:
    """What the rows can show, the labels, the failures, the openings; and what was not measured."""
    ours = own(made.verdict)
    assert ours
    limits = dict(record(made)["limits"])

    able = f"50 test rows can show differences in accuracy from about {100 * smallest_gain(50):.0f} points"
    assert limits["what the rows can show"] == f"31 dev rows are too few to show any; {able}"
    assert limits["answers"] == f"8 labels and nothing else: {', '.join(made.winner.prompt.labels)}"
    unread = made.answers[ours.name].get("unparsed", 0)
    assert limits["failures"].startswith(f"of 50 calls 0 failed and are left out; {unread} answers")
    one = replace(made, answers={**made.answers, ours.name: {"right": 8, "error": 1, "unparsed": 1}})
    assert dict(record(one)["limits"])["failures"] == (
        "of 10 calls 1 failed and is left out; 1 answer could not be read and counts as wrong"
    )
    assert limits["test rows opened"] == "by 1 run up to the verdict"
    assert limits["rows from another domain"] == f"{UNKNOWN}: not measured"
    unknown = ("responsible", "version of the model", "when and how the rows came about")
    assert {UNKNOWN} == {said(made)[name] for name in unknown}


def test_of_graded_rows_a_card_tells_what_was_measured(copied: Path) -> None:
    """By the paired interval against the baseline, under the metric's name; of dev rows nothing is known."""
    told = "UPDATE comparisons SET low = -0.007, high = 0.007, test = 't'"
    change(copied, "UPDATE runs SET metric = 'token_f1'", told)

    shown = dict(record(history(copied).card())["limits"])["what the rows can show"]

    assert shown == "50 test rows can show differences in token_f1 from about 1.0 points"


def test_calls_that_failed_show_nothing(copied: Path) -> None:
    """The rows that can show a difference are those that the winner answered."""
    records = history(copied)
    made = records.card()
    assert made.verdict
    contenders = tuple(replace(c, n=41) for c in made.verdict.contenders)

    fewer = replace(made, verdict=replace(made.verdict, contenders=contenders))

    assert "; 41 test rows can show differences" in dict(record(fewer)["limits"])["what the rows can show"]
    change(copied, "UPDATE contenders SET n = 41")
    assert history(copied).card().smallest_gain["test"] > made.smallest_gain["test"]


def test_what_was_found_stands_in_it(made: Card) -> None:
    """Groups with their gap, changes and how many labels to look at; of rows that look mislabelled only the number."""
    assert made.verdict
    gap = GroupGap("best prompt", "channel", "chat", "email", 5, 0.31, (0.1, 0.5), 0.04)
    found = Findings(
        suspects=(Suspect("row-7", "dev", "bug", "access", 0.9), Suspect("row-8", "dev", "bug", "access", 0.8)),
        groups=(GroupScore("best prompt", "channel", "chat", 20, 0.77, (0.6, 0.9)),),
        gaps=(gap,),
        changed=(Changed("best prompt", "typos", 50, 0.4, (0.3, 0.5), -0.123, (-0.2, 0.0)),),
        steadiness=(Steadiness("best prompt", 1, 0.4, (0.3, 0.5), -0.1, (-0.2, 0.0), "typos", 0.4, -0.1, (-0.2, 0.0)),),
    )
    card = replace(made, verdict=replace(made.verdict, findings=found))
    text = markdown(card)

    for figure in ("77.0 % (60.0–90.0)", "| chat − email | 5 | +31.0 |", "| typos | 50 | 40.0 % |", "-12.3"):
        assert figure in text
    assert said(card)["labels to look at"].endswith(": 2 dev")
    assert record(card)["verdict"]["findings"]["suspects"] == {"dev": 2}
    assert "row-7" not in text + json.dumps(record(card))


@pytest.mark.parametrize(
    ("unseen", "looked"),
    [
        ({}, "none was found"),
        ({"dev": "why"}, "none was found; not looked for in dev rows: why"),
        ({"dev": "why", "test": "why"}, "not looked for in dev and test rows: why"),
    ],
)
def test_labels_that_nobody_looked_at_are_not_said_to_be_right(made: Card, unseen: dict[str, str], looked: str) -> None:
    """Where they were not looked for, the card says why."""
    assert made.verdict
    assert made.verdict.findings
    bare = replace(made.verdict, findings=replace(made.verdict.findings, suspects=()))

    assert said(replace(made, verdict=bare, unseen=unseen))["labels to look at"] == looked


@dataclass
class Same:
    """A model that gives the same answer to everything."""

    name: str = "same"
    address: str = ""
    price: tuple[float, float] | None = None

    def complete(self, _: Request) -> Completion:
        """Answer."""
        return Completion("access", 10, 1, 0.0, 0.001)


def test_a_prompt_that_knows_nothing_looks_at_no_labels(tmp_path: Path) -> None:
    """One that is right no more often than the most frequent answer would be confirms no suspicion."""
    tune(write_task(tmp_path, search={"calls": 60, "trials": 2}), db=tmp_path / "r.db", model=Same())

    unseen = history(tmp_path / "r.db").card().unseen

    assert {*unseen} == {"dev", "test"}
    assert "no more often than the most frequent answer" in unseen["test"]


def test_without_a_verdict_all_that_it_would_say_is_unknown(copied: Path) -> None:
    """A finished run whose budget did not cover the test rows has a card without scores on them."""
    change(copied, "DELETE FROM verdicts")

    card = history(copied).card()

    assert record(card)["verdict"] is None
    names = ("on sealed test rows", "rows from another domain", "failures", "test rows opened", "found", "1,000 rows")
    assert all(said(card)[name].startswith(UNKNOWN) for name in names)
    assert "Verdict on the sealed test rows" not in markdown(card)


@dataclass
class Versioned:
    """The embedded model, which says which version of it answers."""

    name: str = "versioned"
    address: str = ""
    price: tuple[float, float] | None = None

    def complete(self, request: Request) -> Completion:
        """Answer as the embedded model does."""
        return replace(EmbeddedModel().complete(request), version="model-2026-11-01")


def test_who_is_responsible_and_which_version_answered_are_told(tmp_path: Path) -> None:
    """The task file names the one, the provider the other; a price that is not known is no zero."""
    task = write_task(tmp_path, search={"calls": 60})
    text = task.read_text(encoding="utf-8").replace("[data]", 'responsible = "Jane Doe, room 7"\n[data]')
    task.write_text(text, encoding="utf-8")

    tune(task, db=tmp_path / "r.db", model=Versioned())
    card = history(tmp_path / "r.db").card()

    assert said(card)["responsible"] == record(card)["responsible"] == "Jane Doe, room 7"
    assert said(card)["version of the model"] == "model-2026-11-01"
    assert said(card)["the run"].startswith("unknown; ")
    assert said(card)["1,000 rows"].startswith("unknown, ")


def test_who_is_responsible_decides_nothing(tmp_path: Path) -> None:
    """A run is resumed under another name; another description is another run."""
    task = load_task(write_task(tmp_path))
    changed = [
        task.model_copy(update={"task": task.task.model_copy(update=update)})
        for update in ({}, {"responsible": "Jane Doe"}, {"description": "Route it."})
    ]

    same, renamed, other = (prepare(each).config(EmbeddedModel()) for each in changed)

    assert same == renamed != other


@pytest.mark.parametrize("text", ["Jane\\nDoe", "Jane\\u2028Doe", "Jane\\n"])
def test_who_is_responsible_stands_on_one_line(tmp_path: Path, text: str) -> None:
    """Anything else is refused, with its key."""
    task = write_task(tmp_path)
    content = task.read_text(encoding="utf-8").replace("[data]", f'responsible = "{text}"\n[data]')
    task.write_text(content, encoding="utf-8")

    with pytest.raises(TaskError, match=r"`task.responsible`: must stand on one line. Name a person or a team"):
        load_task(task)


# --- where it goes ----------------------------------------------------------------------------------------


def test_json_comes_back_as_it_was(command: Command, finished: Path, made: Card, tmp_path: Path) -> None:
    """On stdout and in a file; what is not known is null, and no answer to a row is in it."""
    plain = json.loads(json.dumps(record(made)))

    shown = json.loads(command("card", "--json", "--db", str(finished)).output)
    command("card", "1", "--json", "--db", str(finished), "-o", "card.json")

    assert plain == shown == json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert plain["responsible"] is None
    assert [c["interval"] for c in plain["verdict"]["contenders"]] == [
        list(c.interval) for c in (made.verdict.contenders if made.verdict else ())
    ]
    assert "outcomes" not in json.dumps(plain)


def test_markdown_goes_to_stdout_or_into_a_new_file(
    command: Command, finished: Path, made: Card, tmp_path: Path
) -> None:
    """The same text in both; what stands there already is replaced with --force alone."""
    given = ("card", "--db", str(finished))

    assert command(*given).output == markdown(made)
    command(*given, "-o", "card.md")
    assert "card.md" in command(*given, "-o", "card.md", code=2).output
    command(*given, "-o", "card.md", "--force")
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == markdown(made)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_has_no_card(command: Command, copied: Path, status: str) -> None:
    """One line says so and what to do; its page goes without."""
    change(copied, f"UPDATE runs SET status = '{status}'")

    done = command("card", "1", code=2)

    assert done.output.count("\n") == 1
    assert f"run 1 is not finished ({status})" in done.output
    assert "Resume it with" in done.output
    assert "Prompt card" not in page(history(copied).story())


def test_a_run_that_is_not_there_is_refused(finished: Path) -> None:
    """With the numbers that are."""
    with pytest.raises(InputError, match="has no run 9; allowed: 1"):
        history(finished).card(9)


def test_the_page_holds_the_card(finished: Path, made: Card) -> None:
    """Folded up, with the same sections and the same limits."""
    text = page(history(finished).story())

    folded = text[text.index('id="card"') :]
    folded = folded[: folded.index("</details>")]
    assert [f"<h3>{section.title}</h3>" in folded for section in sections(made)] == [True] * len(sections(made))
    assert "<li><b>test rows opened</b>: by 1 run up to the verdict</li>" in folded


# --- texts that want out ----------------------------------------------------------------------------------


def hostile(card: Card, text: str) -> Card:
    """A card in which all that comes from outside is this text."""
    assert card.verdict
    prompt = replace(card.winner.prompt, labels=(text,) * len(card.winner.prompt.labels))
    contenders = tuple(replace(c, name=text, detail=text) for c in card.verdict.contenders[:1])
    found = Findings(groups=(GroupScore(text, text, text, 20, 0.5, (0.4, 0.6)),))
    return replace(
        card,
        task=text,
        description=text,
        responsible=text,
        metric=text,
        judge=text,
        origin=replace(card.origin, file=text, inputs=(text,), target=text, model=text, versions=(text,)),
        prompt=text,
        winner=replace(card.winner, prompt=prompt, params={text: text}),
        verdict=replace(card.verdict, sentence=text, contenders=contenders, findings=found),
    )


@pytest.mark.parametrize("text", SIGNS)
def test_hostile_texts_stay_in_their_places(made: Card, text: str) -> None:
    """A reader of Markdown finds the same elements in the same order, whatever the texts are; so does a browser."""
    wild = markdown(hostile(made, text))

    assert kinds(markdown(hostile(made, "plain"))) == kinds(wild)
    (prompt,) = [token for token in MARKDOWN.parse(wild) if token.type == "fence"]
    assert prompt.content.splitlines() == text.splitlines()
    assert "\x1b" not in wild.replace(text, "")


@pytest.mark.parametrize("text", SIGNS)
def test_hostile_texts_are_shown_on_the_page(finished: Path, made: Card, text: str) -> None:
    """They add no element and no attribute to it."""
    story = history(finished).story()
    plain, wild = (page(replace(story, card=sections(hostile(made, each)))) for each in ("plain", text))

    assert (Tags(plain).tags, Tags(plain).attributes) == (Tags(wild).tags, Tags(wild).attributes)


@pytest.mark.parametrize("ticks", ["```", "~~~", "`" * 9, "a\n````\nb\n```` \n```"])
def test_a_prompt_with_fences_stays_in_its_own(made: Card, ticks: str) -> None:
    """The fence is longer than any that stands in the prompt."""
    (fence,) = [t for t in MARKDOWN.parse(markdown(replace(made, prompt=ticks))) if t.type == "fence"]

    assert fence.content == f"{ticks}\n"


@pytest.mark.parametrize("folder", ["/srv/secret place", "C:\\secret place", "~/secret place"])
def test_no_folder_and_no_address_is_told(copied: Path, folder: str) -> None:
    """Of files and models the names remain, also in the sentence of the verdict; the address is left out."""
    slash = "\\" if "\\" in folder else "/"
    with sqlite3.connect(copied) as db:
        task: dict[str, Any] = json.loads(db.execute("SELECT task FROM runs").fetchone()[0])
        task["data"]["file"] = f"{folder}{slash}rows.csv"
        task["model"]["api_base"] = "http://inside.example:8000/v1"
        task["baseline"]["encoder"]["model"] = f"{folder}{slash}small-encoder"
        db.execute("UPDATE runs SET task = ?, model = ?", [json.dumps(task), "hosted_vllm//srv/secret place/llama"])
        detail = f"{folder}{slash}small-encoder, frozen, + linear head"
        db.execute("UPDATE contenders SET detail = ? WHERE name = 'trained baseline'", [detail])
        db.execute("UPDATE verdicts SET sentence = ?", [f"It is {detail}."])

    card = history(copied).card()

    told = markdown(card) + json.dumps(record(card))
    assert "secret" not in told
    assert "inside.example" not in told
    assert (card.origin.file, card.origin.model) == ("rows.csv", "hosted_vllm/llama")
    assert said(card)["trained baseline"] == "small-encoder, frozen, + linear head"
