"""Tables, differences and the page have the same figures everywhere, and show all data as text only."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from optimizer import history, tune
from optimizer.pages.figures import best_so_far, figures
from optimizer.pages.mistakes import rows_grid, squares
from optimizer.pages.page import page
from optimizer.pages.plot import Scale, round_steps, scores
from optimizer.records import Kind, Outcome, State
from optimizer.report import best_first, changes, changes_grid, dollars, percent, prompt_diff, trials_grid
from optimizer.reports.plain import trial_record, trials_csv, verdict_record
from search_spaces.prompt import Example
from tests.small_task import write_task

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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.3, "$0.30"),
        (0.2345, "$0.2345"),
        (0.99999, "$1.00"),
        (0.001, "$0.001"),
        (0.0005, "$0.0005"),
        (0.000273, "$0.00027"),
        (0.00003, "$0.00003"),
        (0.0000014, "$0.000001"),
        (0.000001, "$0.000001"),
        (0.0000009, "<$0.000001"),
    ],
)
def test_small_amounts_are_not_zero(value: float, said: str) -> None:
    """Cents are whole, then as many places as count; below a tenth of a cent two figures, as far as six places go."""
    assert dollars(value) == said


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


def test_the_head_of_the_page_writes_large_numbers_as_elsewhere(finished: Path) -> None:
    """With a mark between thousands."""
    story = history(finished).story()
    many = replace(story.run, bought=2510, reused=1188)

    drawn = page(replace(story, walk=replace(story.walk, run=many)))

    assert "2,510 completions bought, 1,188 reused" in drawn.partition("</header>")[0]


def test_one_completion_is_one_at_the_head_of_the_page(finished: Path) -> None:
    """Not one completions."""
    story = history(finished).story()

    drawn = page(replace(story, walk=replace(story.walk, run=replace(story.run, bought=1))))

    assert "1 completion bought" in drawn.partition("</header>")[0]


def test_the_page_copes_with_many_trials(finished: Path) -> None:
    """Fully scored trials and estimates are drawn, the rest says too little; the five hundred best are listed."""
    story = history(finished).story()
    seed = next(trial for trial in story.trials if trial.number == 0)
    short = replace(seed, state=State.PRUNED, score=1.0, n=1, estimate=None, credible=None)
    many = [replace(short, number=number, estimate=0.4 if number % 2 else None) for number in range(1, 800)]
    many[199] = replace(seed, number=200, state=State.COMPLETE, score=0.95)

    text = page(
        replace(story, walk=replace(story.walk, trials=[seed, *many], asked=[(number, 5) for number in range(800)]))
    )

    search = text[text.index("Score of the prompts against the answers") : text.index("A point is a prompt")]
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


# --- pictures ---------------------------------------------------------------------------------------------


def test_pictures_stand_alone(finished: Path) -> None:
    """Each is an SVG that is well formed, loads nothing and brings its colours, and a PNG of twice its width."""
    drawn = figures(history(finished).story())

    assert {"contenders", "quality", "cascade", "learning", "search", "importance"} <= set(drawn)
    for figure in drawn.values():
        root = ET.fromstring(figure.file())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.search("href|url\\(|<script", figure.file())
        assert figure.png()[:4] == b"\x89PNG"
        assert int.from_bytes(figure.png()[16:20], "big") == 2 * 720


def test_a_picture_holds_no_text_that_acts(finished: Path) -> None:
    """A contender with a name in markup is written, not drawn."""
    story = history(finished).story()
    assert story.verdict
    first, *others = story.verdict.contenders
    hostile = replace(story, verdict=replace(story.verdict, contenders=(replace(first, name=PAYLOADS[1]), *others)))

    drawn = figures(hostile)["contenders"].file()

    assert "<img" not in drawn
    assert "".join(ET.fromstring(drawn).itertext()).count(PAYLOADS[1]) >= 1


def test_marks_stand_where_their_values_are() -> None:
    """Places rise with values, between the two ends; ticks are round and cover the values."""
    scale = scores([0.31, 0.58], 250, 12)

    assert [said for _, said in scale.ticks] == ["20", "30", "40", "50", "60", "70"]
    assert (scale(0.2), scale(0.7)) == (250, 12)
    assert scale(0.45) == pytest.approx(131)
    assert round_steps(0, 1900) == [0, 500, 1000, 1500, 2000]
    log = Scale(8, 512, 0, 60, (), logarithmic=True)
    assert [log(value) for value in (8, 64, 512)] == pytest.approx([0, 30, 60])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([-0.12, 0.31], ["-20", "-10", "0", "10", "20", "30", "40"]),
        ([-0.98, 0.97], ["-100", "-50", "0", "50", "100"]),
        ([0.02, 0.31], ["0", "10", "20", "30", "40"]),
        ([0.0, 0.31], ["0", "10", "20", "30", "40"]),
    ],
)
def test_a_scale_reaches_down_as_far_as_the_scores(values: list[float], ticks: list[str]) -> None:
    """A correlation may be negative; a score that is not is drawn on a scale from 0 on."""
    scale = scores(values, 250, 12)

    assert [said for _, said in scale.ticks] == ticks
    assert all(12 <= scale(value) <= 250 for value in values)


def test_the_best_so_far_only_rises(finished: Path) -> None:
    """The line of the search begins at the seed prompt and ends at the best that is known."""
    walk = history(finished).story().walk

    line = best_so_far(walk)

    values = [point.value for _, point in line]
    assert values == sorted(values)
    assert [calls for calls, _ in line] == sorted(calls for calls, _ in line)
    known = [t.score if t.state is State.COMPLETE else t.estimate for t in walk.trials]
    assert values[-1] == max(value for value in known if value is not None)


def test_a_random_search_of_the_same_rows_is_drawn_beside(tmp_path: Path) -> None:
    """Once the file holds one; not beside itself, and not one of other rows."""
    db = tmp_path / "results.db"
    tune(write_task(tmp_path, search={"calls": 60}), db=db)
    before = history(db).story()
    tune(write_task(tmp_path, search={"calls": 60, "sampler": "random"}), db=db)

    beside = history(db).story(1)

    assert before.control is None
    assert beside.control
    assert beside.control.run.id == 2
    assert "a random search of the same rows" in page(beside)
    assert history(db).story(2).control is None


# --- rows -------------------------------------------------------------------------------------------------


def test_every_answer_is_counted_once(finished: Path) -> None:
    """Each line of a square has all test rows with that label; the diagonal is what is right."""
    story = history(finished).story()
    assert story.verdict

    for square in squares(story):
        contender = next(c for c in story.verdict.contenders if c.name == square.title)
        wanted = [row.target for row in story.rows["test"]]
        assert [sum(line) for line in square.counts] == [wanted.count(label) for label in square.labels]
        right = sum(line[row] for row, line in enumerate(square.counts))
        assert right / contender.n == pytest.approx(contender.score)


def test_rows_that_changed_or_went_wrong_are_listed(finished: Path) -> None:
    """Test rows that all have right are not; fixed and broken ones are those between the two prompts."""
    story = history(finished).story()
    assert story.verdict
    by = {c.name: {o.example_id: o for o in c.outcomes} for c in story.verdict.contenders}

    listed = rows_grid(story).rows

    tested = {row[2]: row[0] for row in listed if row[1] == "test"}
    for row in story.rows["test"]:
        told = [by[name][row.id].score for name in ("seed prompt", "best prompt", "trained baseline")]
        assert (row.id in tested) == any(score != 1 for score in told)
        if row.id in tested and told[0] != told[1]:
            assert tested[row.id] == ("fixed" if told[1] == 1 else "broken")
    assert [row[0] for row in listed if row[1] == "dev"].count("fixed") == len(story.changed[0])
