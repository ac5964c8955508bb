"""Tables, differences and the page: the same figures everywhere, and no text of the data that is not just text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from optimizer import history
from optimizer.pages.page import page
from optimizer.plain import trial_record, trials_csv, verdict_record
from optimizer.records import Kind, Outcome, State
from optimizer.report import best_first, changes, changes_grid, dollars, percent, prompt_diff, trials_grid
from search_spaces.prompt import Example

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "</title></style><iframe src=//evil.example>",
    "javascript:alert(1)//' onclick='x",
]


class Tags(HTMLParser):
    """Collects a page's tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag in."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_tells_the_run(finished: Path) -> None:
    """Verdict, contenders, slices, the prompt and the best trials stand in the page."""
    story = history(finished).story()

    text = page(story)

    assert story.verdict
    for contender in story.verdict.contenders:
        assert contender.name in text
        assert f"{100 * contender.score:.1f} %" in text
    assert "By channel" in text
    assert f"<td>{min(story.trials, key=best_first).number}" in text


def test_the_page_loads_nothing_and_runs_nothing(finished: Path) -> None:
    """No outside address, no script but the page's own, and a policy that allows neither; links stay on the page."""
    text = page(history(finished).story())
    parsed = Tags(text)

    assert not parsed.tags & {"img", "iframe", "link", "object", "form"}
    assert not {name for name in parsed.attributes if name == "src" or name.startswith("on")}
    assert all(target.startswith("#") for target in re.findall('href="([^"]*)"', text))
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert "connect-src" not in text


def test_the_links_of_the_page_lead_somewhere(finished: Path) -> None:
    """Each part that is named at the top is there, once."""
    text = page(history(finished).story())

    for target in re.findall('href="#([^"]*)"', text):
        assert text.count(f'id="{target}"') == 1, target


def test_the_page_holds_its_figures_as_json(finished: Path) -> None:
    """Another program reads out of it what the tables show."""
    story = history(finished).story()
    held = re.search('<script type="application/json" id="record">(.*?)</script>', page(story), re.DOTALL)

    assert held
    record = json.loads(held.group(1))
    assert [trial["trial"] for trial in record["trials"]] == [trial.number for trial in story.trials]
    assert story.verdict
    assert record["verdict"]["sentence"] == story.verdict.sentence


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_texts_stay_texts(finished: Path, payload: str) -> None:
    """Names, prompts, reasons, rows and answers that hold markup are shown, not obeyed."""
    story = history(finished).story()
    assert story.verdict
    plain = Tags(page(story))
    hostile = replace(
        story,
        walk=replace(
            story.walk,
            run=replace(story.run, name=payload, model=payload, reason=payload),
            trials=[replace(trial, reason=payload, params={"template": payload}) for trial in story.trials],
        ),
        prompt=payload,
        seed_prompt="seed " + payload,
        verdict=replace(story.verdict, sentence=payload),
        slices={id_: {payload: payload} for id_ in story.slices},
        changed=([replace(change, text=payload, answer=payload) for change in story.changed[0]], []),
    )

    text = page(hostile)

    assert (plain.tags, plain.attributes) == (Tags(text).tags, Tags(text).attributes)
    assert payload not in text or not re.search(r"[<>\"]", payload)


def test_fixed_and_broken_rows_are_those_that_changed() -> None:
    """Rows are compared where both have a score; unreadable answers are named."""
    rows = {f"r{i}": Example(f"r{i}", (("text", f"t{i}"),), ("a",)) for i in range(4)}
    seed = [
        Outcome("r0", Kind.WRONG, 0.0, "b"),
        Outcome("r1", Kind.RIGHT, 1.0, "a"),
        Outcome("r2", Kind.RIGHT, 1.0, "a"),
        Outcome("r3", Kind.ERROR, None, None),
    ]
    other = [
        Outcome("r0", Kind.RIGHT, 1.0, "a"),
        Outcome("r1", Kind.UNPARSED, 0.0, None),
        Outcome("r2", Kind.RIGHT, 1.0, "a"),
        Outcome("r3", Kind.RIGHT, 1.0, "a"),
    ]

    fixed, broken = changes(seed, other, rows)

    assert [(c.example_id, c.seed_answer, c.answer) for c in fixed] == [("r0", "b", "a")]
    assert [(c.example_id, c.seed_answer, c.answer) for c in broken] == [("r1", "a", "(unreadable)")]
    assert changes_grid("Broken", broken, 5).title == "Broken: 1"


def test_a_diff_shows_only_what_differs() -> None:
    """Equal prompts have no diff; another line is shown with its sign."""
    assert prompt_diff("same\ntext", "same\ntext") == ""
    assert "-old" in prompt_diff("a\nold", "a\nnew").splitlines()
    assert "+new" in prompt_diff("a\nold", "a\nnew").splitlines()


def test_amounts_that_are_not_known_are_not_zero() -> None:
    """An unknown price is said to be unknown."""
    assert [dollars(x) for x in (None, 0, 0.0012, 1234.5)] == ["unknown", "$0", "$0.0012", "$1,234.50"]


def test_tables_name_the_winner_and_every_reason(finished: Path) -> None:
    """The winner is marked, and each trial says why it ended."""
    records = history(finished)
    run = records.run()

    grid = trials_grid(run, records.trials(), records.costs(), records.trials()[0].params)

    assert [f"{run.winner} *"] == [row[0] for row in grid.rows if "*" in row[0]]
    assert all(row[-1] for row in grid.rows)


def test_an_estimate_stands_beside_the_score(finished: Path) -> None:
    """With its interval; a trial without one has a dash. The score stays what it is."""
    records = history(finished)
    seed, other = records.trials()[:2]
    known = replace(seed, estimate=0.625, credible=(0.5, 0.75))
    unknown = replace(other, estimate=None, credible=None)

    grid = trials_grid(records.run(), [known, unknown], {}, seed.params)

    place = grid.columns.index("estimate (95 %)")
    assert [row[place] for row in grid.rows] == ["62.5 % (50.0–75.0)", "–"]
    assert [row[1] for row in grid.rows] == [percent(seed.score), percent(other.score)]
    record, table = trial_record(known), trials_csv([known, unknown], {})
    assert [record[key] for key in ("score", "estimate", "estimate_low", "estimate_high")] == [
        seed.score,
        0.625,
        0.5,
        0.75,
    ]
    first = table.columns.index("estimate")
    assert [row[first : first + 3] for row in table.rows] == [("0.625", "0.5", "0.75"), ("", "", "")]


def test_the_best_trials_come_first(finished: Path) -> None:
    """Fully scored ones by their score, the others by their estimate, and last those that have none."""
    seed = history(finished).trials()[0]
    facts = [
        (State.PRUNED, 1.0, None),
        (State.PRUNED, 0.9, 0.4),
        (State.FAILED, None, None),
        (State.COMPLETE, 0.5, 0.9),
        (State.RUNNING, 0.1, 0.6),
        (State.COMPLETE, 0.7, 0.2),
    ]
    trials = [
        replace(seed, number=number, state=state, score=score, estimate=estimate)
        for number, (state, score, estimate) in enumerate(facts)
    ]

    assert [trial.number for trial in sorted(trials, key=best_first)] == [5, 3, 4, 1, 0, 2]


def test_the_page_copes_with_many_trials(finished: Path) -> None:
    """Fully scored trials and estimates are drawn, the rest says too little; the five hundred best are listed."""
    story = history(finished).story()
    seed = next(trial for trial in story.trials if trial.number == 0)
    short = replace(seed, state=State.PRUNED, score=1.0, n=1, estimate=None, credible=None)
    many = [replace(short, number=number, estimate=0.4 if number % 2 else None) for number in range(1, 800)]
    many[199] = replace(seed, number=200, state=State.COMPLETE, score=0.95)

    text = page(replace(story, walk=replace(story.walk, trials=[seed, *many])))

    search = text[text.index("Score of the prompts against the answers") : text.index("Line: the best of the prompts")]
    assert "The 500 best of 800 trials" in text
    assert search.count("<circle") == 2 + 400
    assert search.count('class="mark"') == 2
    listed = text[text.index("The 500 best of 800 trials") : text.index('<h2 id="prompt">')]
    assert listed.count("<tr>") == 1 + 500
    assert listed.index("<td>200") < listed.index("<td>0")


def test_a_page_of_a_run_that_has_only_begun_is_drawn(finished: Path) -> None:
    """One trial under way, no score in full, no verdict."""
    story = history(finished).story()
    begun = replace(story.trials[0], number=0, state=State.RUNNING, score=0.5, n=3, estimate=None, credible=None)

    text = page(
        replace(story, walk=replace(story.walk, run=replace(story.run, winner=None), trials=[begun]), verdict=None)
    )

    assert "No verdict yet." in text
    assert "All 1 trials" in text


def test_the_json_of_a_verdict_holds_no_rows(finished: Path) -> None:
    """Outcomes stay in the database."""
    record = verdict_record(history(finished).verdict())

    assert record
    said = {"metric", "contenders", "comparisons", "sentence", "opened", "curve", "bills", "break_even"}
    assert said | {"findings", "ladder"} == set(record)
    assert "outcomes" not in record["contenders"][0]
    assert None is verdict_record(None)
