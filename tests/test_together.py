"""Combining prompt and baseline: a threshold chosen on dev, a front on test, distillation, hints, and the sentences."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.baseline import Budget, Lesson, Rival
from optimizer.contenders import BEST, CASCADE, DISTILLED, HINTED, PICKED, RIVAL, SEED
from optimizer.engine.studies import best_hyperparameters
from optimizer.events import Event, Stage
from optimizer.evidence import together
from optimizer.evidence.cascade import Answered, Chosen, choose, detail, front, known, sentence
from optimizer.findings import Cascade
from optimizer.pages.figures import cascade as draw_cascade
from optimizer.planning import Probe, Terms, estimate
from optimizer.preparing import prepare
from optimizer.records import Dataset, Kind, Outcome, Verdict
from optimizer.report import percent
from optimizer.rivals import linear
from optimizer.scores.metrics import METRICS
from optimizer.store import Store
from optimizer.verdict import Entry, decide
from optimizer.watch import Watch
from search_spaces.prompt import Example, Prompt
from tests.small_task import BUNDLED, write_task
from tests.test_journey import Watched

ACCURACY = METRICS["accuracy"]
NAMES = (BEST, RIVAL)


def outcomes(right: Sequence[bool], *, cost: float = 0.0) -> tuple[Outcome, ...]:
    """What a contender answered that was right on these rows."""
    return tuple(
        Outcome(f"x{i}", Kind.RIGHT if hit else Kind.WRONG, float(hit), "yes" if hit else "no", cost=cost)
        for i, hit in enumerate(right)
    )


def world(n: int, baseline: float, prompt: float, seed: int, *, leaning: float = 2.0, shift: float = 0.0) -> Answered:
    """Rows on which the baseline is right by a logistic law of its confidence, and the prompt nearly everywhere alike.

    `baseline` and `prompt` are log-odds at a confidence of a half; what the baseline states is `shift` too high.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    theirs = rng.random(n) < 1 / (1 + np.exp(-baseline - leaning * x))
    ours = rng.random(n) < 1 / (1 + np.exp(-prompt - 0.2 * x))
    rows = [Example(f"x{i}", (("text", str(i)),), ("yes",)) for i in range(n)]
    stated = 1 / (1 + np.exp(-leaning * x - shift))
    return Answered(rows, outcomes(ours, cost=0.001), outcomes(theirs), stated)


def share(chosen: Chosen, answered: Answered) -> float:
    """How much of the rows goes to the prompt."""
    return 1.0 if chosen.least is None else float((answered.confidence < chosen.least).mean())


def judged(test: Answered, chosen: Chosen) -> tuple[Verdict, Cascade]:
    """A verdict with the cascade, and its front."""
    seed = Entry(SEED, outcomes([i % 3 == 0 for i in range(len(test.rows))]), 0, "")
    entries = [seed, Entry(BEST, tuple(test.prompt), 8, ""), Entry(RIVAL, tuple(test.baseline), 100, "")]
    entries.append(Entry(CASCADE, test.mixed(chosen.least), 100, detail(chosen, test, BEST)))
    ruling = decide(entries, test.rows, ACCURACY, opened=1, seed=0)
    return ruling, front(chosen, test, NAMES, ACCURACY, 0, priced=(True, True))


def test_the_better_score_is_kept_at_less_cost() -> None:
    """Where the prompt is better but the baseline sure of half the rows, calls are saved, and no score is lost."""
    shares, kept = [], []
    for seed in range(20):
        chosen, test = choose(world(300, 0.5, 1.6, seed), ACCURACY), world(4000, 0.5, 1.6, seed + 100)
        assert chosen
        mixed = [o.score or 0.0 for o in test.mixed(chosen.least)]
        shares.append(share(chosen, test))
        kept.append(np.mean(mixed) - np.mean([o.score or 0.0 for o in test.prompt]))

    assert 0.2 < np.mean(shares) < 0.7
    assert np.mean(kept) > -0.01


def test_a_baseline_that_is_better_is_asked_alone_unless_the_prompt_is_shown_to_help() -> None:
    """No row is sent to a prompt that is worse where the baseline is unsure; some are to one that is better there."""
    worse = [choose(world(300, 1.5, -0.5, seed, leaning=0.3), ACCURACY) for seed in range(20)]
    helping = [choose(world(600, 2.0, 1.0, seed, leaning=3.0), ACCURACY) for seed in range(20)]

    assert sum(c is not None and c.least == -np.inf for c in worse) >= 19
    sent = [share(c, world(2000, 2.0, 1.0, 99, leaning=3.0)) for c in helping if c]
    assert 0.05 < np.mean(sent) < 0.4


def test_a_confidence_that_says_nothing_decides_nothing() -> None:
    """If the baseline is as often right where it is sure as where it is not, one of the two answers every row."""
    for seed in range(10):
        dev = world(200, 0.0, 1.5, seed, leaning=0.0)
        dev = replace(dev, confidence=np.random.default_rng(seed).random(200))
        chosen = choose(dev, ACCURACY)

        assert chosen
        assert share(chosen, dev) > 0.8


def test_calibration_undoes_a_confidence_that_is_too_high() -> None:
    """The calibrated confidence is within three points of how often the baseline is right."""
    chosen, test = choose(world(2000, 0.0, 0.0, 1, shift=2.0), ACCURACY), world(5000, 0.0, 0.0, 2, shift=2.0)
    assert chosen

    _, cascade = judged(test, chosen)

    assert np.mean(test.confidence) - np.mean([o.score or 0 for o in test.baseline]) > 0.2
    assert abs(cascade.surer) < 0.03
    assert cascade.surer_interval[0] <= cascade.surer <= cascade.surer_interval[1]


def test_the_front_goes_from_the_baseline_to_the_prompt() -> None:
    """Its ends are the two alone, its cost rises with the share, and the chosen point is the contender."""
    chosen, test = choose(world(300, 0.5, 1.6, 0), ACCURACY), world(500, 0.5, 1.6, 1)
    assert chosen

    ruling, cascade = judged(test, chosen)

    scores = {c.name: c.score for c in ruling.contenders}
    points = cascade.points
    assert (points[0].share, points[0].score, points[0].cost_per_1000) == (0, scores[RIVAL], 0)
    assert (points[-1].share, points[-1].score, points[-1].threshold) == (1, scores[BEST], None)
    assert points[-1].cost_per_1000 == pytest.approx(1)
    assert [p.share for p in points] == sorted(p.share for p in points)
    drawn = draw_cascade(cascade, ruling.metric).file()
    assert drawn.count('class="ring"') == 1
    assert all(f"{percent(p.share)} to the prompt: accuracy {percent(p.score)}" in drawn for p in points)
    assert "$0 for 1,000" in drawn
    assert "$1.00 for 1,000" in drawn
    assert [p.threshold for p in points[:-1]] == sorted(p.threshold or 0.0 for p in points[:-1])
    (mine,) = [p for p in points if p.chosen]
    contender = ruling.contenders[-1]
    assert (contender.name, contender.score, contender.interval) == (CASCADE, mine.score, mine.interval)
    assert contender.detail == f"{100 * mine.share:.0f} % of the rows to the best prompt"
    assert [(c.a, c.b) for c in ruling.comparisons[-2:]] == [(CASCADE, BEST), (CASCADE, RIVAL)]


def test_a_cascade_that_sends_no_row_costs_what_the_baseline_does() -> None:
    """A prompt of unknown price that is not asked costs nothing; once it is asked a row, nobody knows."""
    chosen, test = choose(world(300, 0.5, 1.6, 0), ACCURACY), world(500, 0.5, 1.6, 1)
    assert chosen

    cascade = front(chosen, test, NAMES, ACCURACY, 0, priced=(False, True))

    assert cascade.points[0].share == 0
    assert [p.cost_per_1000 for p in cascade.points] == [0, *[None] * (len(cascade.points) - 1)]
    assert known(test, -np.inf, (False, True))
    assert not known(test, chosen.least, (False, True))
    assert not known(test, -np.inf, (True, False))


def test_the_sentence_tells_what_is_saved() -> None:
    """With the share of calls and the interval of the difference to the prompt alone."""
    chosen, test = choose(world(300, 0.5, 1.6, 0), ACCURACY), world(500, 0.5, 1.6, 1)
    assert chosen
    ruling, cascade = judged(test, chosen)

    said = sentence(cascade, ruling)

    mine = next(p for p in cascade.points if p.chosen)
    assert said.startswith("Together: with the trained baseline answering where it is at least ")
    assert f"{100 * mine.share:.0f} % of the rows go to the best prompt" in said
    assert "against the best prompt alone." in said


def test_a_cascade_that_asks_nobody_or_everybody_is_not_worth_a_sentence() -> None:
    """It is then one of the two contenders, of which the verdict has spoken."""
    dev, test = world(300, 0.5, 1.6, 0), world(500, 0.5, 1.6, 1)
    chosen = choose(dev, ACCURACY)
    assert chosen

    for least in (-np.inf, None):
        ruling, cascade = judged(test, replace(chosen, least=least))

        assert sentence(cascade, ruling) == ""


def test_failed_calls_and_unanswered_rows_are_left_out() -> None:
    """A dev row that the prompt was not asked counts for neither; a failed call of a sent row stays a failed call."""
    dev = world(100, 0.5, 1.6, 0)
    gone = Outcome("x0", Kind.ERROR, None, None, text="gone")
    some = replace(dev, prompt=(gone, *dev.prompt[1:60]))
    chosen = choose(some, ACCURACY)

    assert chosen
    assert len(chosen.dev.rows) == 59
    assert some.mixed(None)[0] == gone
    assert len(some.mixed(None)) == 60
    assert choose(replace(dev, prompt=dev.prompt[:19]), ACCURACY) is None


def test_every_metric_has_a_cascade() -> None:
    """Also one of the whole set; the end that is the baseline alone has the interval of the baseline."""
    rng = np.random.default_rng(0)
    rows = [Example(f"x{i}", (("text", str(i)),), ("rare" if i % 5 == 0 else "common",)) for i in range(200)]

    def given(share: float) -> tuple[Outcome, ...]:
        hits = rng.random(200) < share
        return tuple(
            Outcome(row.id, Kind.RIGHT if hit else Kind.WRONG, float(hit), row.target if hit else "common")
            for row, hit in zip(rows, hits, strict=True)
        )

    answered = Answered(rows, given(0.9), given(0.6), rng.random(200))
    rival = Entry(RIVAL, tuple(answered.baseline), 0, "")
    for name in ("macro_f1", "mcc", "accuracy"):
        chosen = choose(answered, METRICS[name])
        assert chosen

        cascade = front(chosen, answered, NAMES, METRICS[name], 0, priced=(False, False))

        assert all(p.interval[0] <= p.score <= p.interval[1] and p.cost_per_1000 is None for p in cascade.points)
        ruling = decide([Entry(SEED, tuple(answered.prompt), 0, ""), rival], rows, METRICS[name], opened=1, seed=0)
        assert cascade.points[0].interval == ruling.contenders[-1].interval


def test_calibration_takes_all_dev_rows() -> None:
    """Also those that the prompt was not asked: the search asks it the most telling rows, not a sample."""
    dev = world(400, 0.5, 1.6, 0)
    hardest = [ours for ours, theirs in zip(dev.prompt, dev.baseline, strict=True) if not theirs.score][:60]
    whole, some = choose(dev, ACCURACY), choose(replace(dev, prompt=hardest), ACCURACY)

    assert whole
    assert some
    assert (whole.level, whole.slope, whole.grid) == (some.level, some.slope, some.grid)
    assert len(some.dev.rows) == 60


# --- distillation and hint --------------------------------------------------------------------------------


def bundled(first: int, last: int) -> list[Example]:
    """Some of the bundled messages."""
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[first:last]
    return [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in rows]


@pytest.fixture(scope="module")
def rival() -> Rival:
    """A baseline trained on 150 messages."""
    return linear.train(
        Lesson(bundled(0, 150), bundled(150, 250), ACCURACY, best_hyperparameters, labelled=True, budget=Budget(2))
    )


def test_rows_without_a_label_are_not_learned_from() -> None:
    """An answer that could not be read, or is no label, teaches nothing."""
    rows = [Example(f"u{i}", (("text", str(i)),)) for i in range(4)]

    found = together.labelled(rows, ["bug", None, "", "nonsense"], ["bug", "billing"])

    assert found == [replace(rows[0], targets=("bug",))]
    assert [row.id for row in together.labelled(rows, ["bug", None, "", "nonsense"], ())] == ["u0", "u3"]


def test_a_distilled_baseline_learns_from_what_a_good_prompt_says(rival: Rival) -> None:
    """With true labels for 250 more messages it is better; its hyperparameters are those of before."""
    data = Dataset(tuple(bundled(0, 150)), tuple(bundled(150, 250)), tuple(bundled(500, 679)))

    pupil = together.distil(rival, data, bundled(250, 500), ACCURACY, (), 0)

    before, after = (np.mean([o.score or 0 for o in each.outcomes(data.test, ACCURACY)]) for each in (rival, pupil))
    assert pupil.trained.params == rival.trained.params
    assert after > before + 0.03


def test_training_rows_are_guessed_by_baselines_that_have_not_read_them(rival: Rival) -> None:
    """The guesses are about as often right as on new rows, while the baseline itself knows its rows by heart."""
    rows, new = bundled(0, 150), bundled(250, 450)

    assert rival.refit
    guessed = together.guesses(rival.refit(rows, rows), rows, 0)

    right = np.mean([guessed[row.id] == row.target for row in rows])
    unseen = np.mean([o.score or 0 for o in rival.outcomes(new, ACCURACY)])
    assert set(guessed) == {row.id for row in rows}
    assert np.mean([o.score or 0 for o in rival.outcomes(rows, ACCURACY)]) > 0.9
    assert abs(right - unseen) < 0.15
    assert guessed == together.guesses(rival.refit(rows, rows), rows, 0)


def test_a_hint_stands_beside_every_input() -> None:
    """As another field of the query and of each demo, under a name that no input has, with what it is worth."""
    demo = Example("d", (("text", "It crashes"), ("guess", "mine")), ("bug",))
    prompt = Prompt("plain", "Which team?", ("text", "guess"), "label", demos=(demo,))

    found = together.hinted(prompt, {"d": "billing"}, 0.766)

    assert found.inputs == ("text", "guess", "classifier guess")
    assert found.demos[0].inputs == (*demo.inputs, ("classifier guess", "billing"))
    assert found.instruction.startswith(
        "Which team? The classifier guess is a simple classifier's, right for 77 of 100"
    )
    assert together.with_hint([demo], ["praise"], "x")[0].inputs[-1] == ("x", "praise")


def test_an_answer_has_demos_in_proportion_to_its_probability() -> None:
    """By highest averages; the rows nearest to the query take the seats of their answer, while it has any."""
    answers, near = np.array([0, 0, 0, 1, 1, 2]), np.array([0.1, 0.9, 0.5, 0.2, 0.8, 1.0])

    def seats(*chances: float, k: int = 4) -> list[int]:
        return together.seated(near, np.array(chances)[answers], answers, k)

    assert seats(0.6, 0.3, 0.1) == [1, 2, 4, 0]
    assert seats(0.9, 0.09, 0.01) == [1, 2, 0, 4]
    assert seats(0.34, 0.33, 0.33, k=3) == [1, 4, 5]
    assert sorted(seats(0.9, 0.09, 0.01, k=9)) == [0, 1, 2, 3, 4, 5]


def test_open_answers_are_picked_by_similarity() -> None:
    """Where it stands for the probability, each row has an answer of its own, and the nearest are shown."""
    near = np.array([0.2, 0.9, 0.5])

    assert together.seated(near, near, np.arange(3), 2) == [1, 2]


def test_a_sure_baseline_shows_its_guess_at_work(rival: Rival) -> None:
    """Most demos of a row that it is sure of have its guess, and are like it; they stand before it, likeliest last."""
    pool, rows = bundled(0, 150), bundled(250, 450)
    prompt = Prompt("plain", "Which team?", ("text",), "label", demos=(*pool[:2],), nearest=2)

    found = together.picked(prompt, rival, pool, rows)

    texts = [row.text for row in rows]
    guessed, sure = rival.answer(texts), rival.confidence(texts)
    assert {len(one.demos) for one in found} == {2}
    assert {one.nearest for one in found} == {0}
    assert [one.demos[-1].target for one in found] == guessed
    shown = [len({demo.target for demo in one.demos}) for one in found]
    assert np.mean([n for n, p in zip(shown, sure, strict=True) if p > 0.7]) < np.mean(
        [n for n, p in zip(shown, sure, strict=True) if p < 0.5]
    )
    assert len(together.picked(replace(prompt, demos=(), nearest=0), rival, pool, rows)[0].demos) == together.SHOWN


def test_a_run_distils_hints_and_picks_demos_if_that_is_asked_for(tmp_path: Path) -> None:
    """All are judged on the same test rows; rows are labelled before these are opened, and counted in the plan."""
    task = with_more(tmp_path, {"calls": 100})
    plan, model, at_opening = prepare(task), Watched(), list[str]()

    def watch(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "verdict":
            at_opening.extend(model.asked)

    tuned = tune(task, db=tmp_path / "r.db", model=model, watch=Watch(watch))

    assert tuned.verdict
    names = [c.name for c in tuned.verdict.contenders]
    assert names[-5:] == [RIVAL, DISTILLED, HINTED, PICKED, CASCADE]
    pupil, hinted, picked = tuned.verdict.contenders[-4:-1]
    assert f"The {PICKED} scores {100 * picked.score:.1f} %: " in tuned.verdict.sentence
    assert [c.b for c in tuned.verdict.comparisons if c.a == PICKED] == [names[-6], RIVAL]
    assert "that the baseline picks for each row" in picked.detail
    assert picked.ms_per_1000 > tuned.verdict.contenders[-5].ms_per_1000
    assert {o.example_id for o in hinted.outcomes} == {row.id for row in plan.data.test}
    assert 100 < pupil.train_rows <= 160
    assert "rows labelled by the" in pupil.detail
    assert f"The hinted prompt scores {100 * hinted.score:.1f} %: " in tuned.verdict.sentence
    assert f"The distilled baseline scores {100 * pupil.score:.1f} %: " in tuned.verdict.sentence
    assert all(any(row.text in text for text in at_opening) for row in plan.unlabelled)
    assert not any(row.text in text for row in plan.data.test for text in at_opening)
    assert any("Guess: " in text or "guess" in text for text in model.asked)
    assert history(tmp_path / "r.db").verdict().contenders[-2].detail == picked.detail  # type: ignore[union-attr]
    parts = {p.name: p for p in estimate(plan, Probe(), Terms(None, None), np.random.default_rng(0)).parts}
    assert parts["distillation"].calls == (60, 60)
    assert parts["verdict"].calls == (50, 200)


def test_what_the_caps_do_not_cover_is_left_out(tmp_path: Path) -> None:
    """Neither rows, hints nor demos are bought at the cost of the verdict."""
    task = with_more(tmp_path, {"calls": 100, "max_calls": 202})

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert tuned.verdict
    assert {DISTILLED, HINTED, PICKED}.isdisjoint(c.name for c in tuned.verdict.contenders)
    assert "no distillation: it takes " in tuned.run.reason
    assert tuned.run.bought <= 202


def test_demos_that_cost_more_than_was_reckoned_cost_no_verdict(tmp_path: Path) -> None:
    """A winner without demos says little of what those that are picked will cost."""
    task = write_task(tmp_path, search={"calls": 60, "seed": 3})
    told = task.read_text(encoding="utf-8") + "k = [0]\n[verdict]\npicked_demos = true\n"
    task.write_text(told, encoding="utf-8")
    free = tune(task, db=tmp_path / "free.db", model=Watched())
    assert free.verdict
    (picked,) = (c for c in free.verdict.contenders if c.name == PICKED)
    most = (free.run.cost or 0) - sum(outcome.cost for outcome in picked.outcomes) / 3
    task.write_text(told.replace("calls = 60", f"calls = 60\nmax_usd = {most}"), encoding="utf-8")

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert tuned.verdict
    assert PICKED not in {c.name for c in tuned.verdict.contenders}
    assert "no picked demos: the budget of $" in tuned.run.reason
    assert (tuned.run.cost or 0) <= most


def test_what_passes_a_cap_on_tokens_is_left_out_too(tmp_path: Path) -> None:
    """Counted beforehand as calls and dollars are, so that not one of its calls is made in vain."""
    task = write_task(tmp_path, search={"calls": 60, "seed": 3})
    told = task.read_text(encoding="utf-8") + "[verdict]\nrobustness = true\n"
    task.write_text(told, encoding="utf-8")
    free = tune(task, db=tmp_path / "free.db", model=Watched())
    with Store(tmp_path / "free.db") as store:
        tokens = store.spent(free.run.id).tokens
    task.write_text(told.replace("calls = 60", f"calls = 60\nmax_tokens = {tokens - 2000}"), encoding="utf-8")

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert free.verdict
    assert free.verdict.findings
    assert free.verdict.findings.steadiness
    assert tuned.verdict
    assert tuned.verdict.findings
    assert tuned.verdict.findings.steadiness == ()
    left_out = re.search(
        r"no robustness: it takes (\d+) calls \(about [\d,]+ tokens\), and the budget has", tuned.run.reason
    )
    assert left_out
    assert tuned.run.bought + int(left_out[1]) == free.run.bought


def with_more(folder: Path, search: dict[str, object]) -> Path:
    """The small task with 60 rows to label, hints and picked demos."""
    task = write_task(folder, search=search)
    with (folder / "more.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text"])
        writer.writerows([row.text] for row in bundled(300, 360))
    text = task.read_text(encoding="utf-8").replace('file = "rows.csv"', 'file = "rows.csv"\nunlabelled = "more.csv"')
    task.write_text(text + "[verdict]\nhint = true\npicked_demos = true\n", encoding="utf-8")
    return task
