"""The learning curve: nested stratified draws, a known crossover, intervals that cover, marked extrapolation."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.baseline import Budget, Lesson
from optimizer.contenders import BEST, RIVAL, SEED
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import Interrupted, Upgraded
from optimizer.events import Event, Stage
from optimizer.evidence.axes import axes_grid
from optimizer.pages.figures import learning
from optimizer.pages.page import page
from optimizer.records import CurvePoint, Kind, LearningCurve, Outcome, Verdict
from optimizer.reports.curve_tables import curve_grid, pays_off
from optimizer.rivals.curve import Size, grow, measure, order, sentence, sizes
from optimizer.rivals.linear import Refit, train
from optimizer.scoring import METRICS, Metric, score
from optimizer.stats import crossed_difference_interval, crossed_interval, paired_interval
from optimizer.task import load_task
from optimizer.verdict import Entry, decide
from optimizer.watch import Watch
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import BUNDLED, write_task

ACCURACY = METRICS["accuracy"]
LAST = "Training overtakes the best prompt at about 300 labelled rows (95 % interval 128 to more than 300)."
NOT_YET = (
    "Training does not overtake the best prompt within the 300 labelled rows there are (95 % interval from 64 on)."
)
TEST = [Example(f"t{i}", (("text", str(i)),), ("yes" if i % 2 else "no",)) for i in range(300)]


def answers(share: float, rng: np.random.Generator) -> list[str]:
    """Answers of which about a share is right."""
    wrong = {"yes": "no", "no": "yes"}
    return [row.target if rng.random() < share else wrong[row.target] for row in TEST]


def entry(name: str, given: Sequence[str]) -> Entry:
    """A contender that gave these answers."""
    right = [row.target == answer for row, answer in zip(TEST, given, strict=True)]
    outcomes = tuple(
        Outcome(row.id, Kind.RIGHT if hit else Kind.WRONG, float(hit), answer)
        for row, hit, answer in zip(TEST, right, given, strict=True)
    )
    return Entry(name, outcomes, 10, "")


def judged(prompt: float, rival: Sequence[str], seed: int = 0) -> Verdict:
    """A verdict on prompts with these shares of right answers."""
    rng = np.random.default_rng([seed, 1])
    entries = [entry(SEED, answers(0.5, rng)), entry(BEST, answers(prompt, rng)), entry(RIVAL, rival)]
    return decide(entries, TEST, ACCURACY, opened=1, seed=0)


def measured(
    refit: Callable[[Sequence[int]], list[str]],
    targets: Sequence[str],
    verdict: Verdict,
    rng: np.random.Generator,
) -> LearningCurve:
    """The curve of a rival that answers so."""
    several = grow(lambda part: entry("", refit(part)).outcomes, targets, rng)
    return measure(several, len(targets), TEST, ACCURACY, verdict, rng)


def grown(law: dict[int, float] | None = None, *, prompt: float, n: int = 1024, seed: int = 0) -> LearningCurve:
    """The curve of a rival whose error falls by a law: here 1.2 / sqrt(rows), if none is given."""
    rng = np.random.default_rng(seed)

    def share(rows: int) -> float:
        return law[rows] if law else 1 - 1.2 * rows**-0.5

    def refit(part: Sequence[int]) -> list[str]:
        return answers(share(len(part)), rng)

    verdict = judged(prompt, answers(share(n), rng), seed)
    return measured(refit, ["yes", "no"] * (n // 2), verdict, np.random.default_rng(seed))


# --- draws of training rows -------------------------------------------------------------------------------


def test_sizes_double_up_to_all_rows() -> None:
    """8, 16, 32, … and then every row there is."""
    assert sizes(100) == [8, 16, 32, 64, 100]
    assert sizes(64) == [8, 16, 32, 64]
    assert sizes(8) == [8]
    assert sizes(5) == [5]


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_of_a_draw_is_stratified(seed: int) -> None:
    """Each label has its share of the first rows, give or take one; no row comes twice."""
    targets = ["a"] * 300 + ["b"] * 150 + ["c"] * 47 + ["d"] * 3
    rng = np.random.default_rng(seed)

    drawn = order(targets, rng)

    assert sorted(drawn) == list(range(500))
    for size in sizes(500):
        counts = Counter(targets[row] for row in drawn[:size])
        for label, total in Counter(targets).items():
            assert abs(counts[label] - size * total / 500) <= 1.5
    assert list(order(targets, rng)) != list(drawn)


def test_no_test_row_and_no_other_row_is_trained_on() -> None:
    """The rival is trained on nested sets of training rows alone: each smaller one of a draw lies in the larger."""
    asked: list[list[int]] = []

    def refit(part: Sequence[int]) -> list[str]:
        asked.append(list(part))
        return answers(0.5, np.random.default_rng(0))

    rival = answers(0.9, np.random.default_rng(1))
    measured(refit, ["yes", "no"] * 50, judged(0.7, rival), np.random.default_rng(0))

    assert Counter(map(len, asked)) == {8: 5, 16: 5, 32: 5, 64: 5}
    for smaller, larger in zip(asked, asked[5:], strict=False):
        assert smaller == larger[: len(smaller)]
        assert set(larger) <= set(range(100))
        assert len(set(larger)) == len(larger)


# --- the crossover ----------------------------------------------------------------------------------------


def test_a_known_crossover_is_found() -> None:
    """Where the rival's true share passes the prompt's between 64 and 128 rows, nearly every interval holds 128."""
    held, found = 0, []
    for seed in range(20):
        curve = grown(prompt=0.87, seed=seed)  # 1 - 1.2 / sqrt(rows): 0.85 at 64 rows, 0.894 at 128
        low, high = curve.interval
        assert low is not None
        held += low <= 128 <= (high or 10**9)
        found.append(curve.crossover)

    assert held >= 18
    assert Counter(found)[128] >= 8
    assert set(found) <= {64, 128, 256}


def test_the_last_point_is_the_verdicts_own() -> None:
    """On all rows the rival is the one that was judged, with the same score, interval and difference."""
    rival = answers(0.9, np.random.default_rng(5))
    verdict = judged(0.7, rival)

    rng = np.random.default_rng(0)
    curve = measured(lambda _: answers(0.6, np.random.default_rng(0)), ["yes", "no"] * 30, verdict, rng)

    judged_rival, last = verdict.contenders[-1], curve.points[-1]
    assert (last.rows, last.score, last.interval) == (60, judged_rival.score, judged_rival.interval)
    assert last.difference == -verdict.comparisons[1].difference
    assert (curve.prompt, curve.crossover) == (BEST, 60)


def test_without_a_best_prompt_the_seed_prompt_is_overtaken() -> None:
    """The winner may be the seed prompt itself."""
    rng = np.random.default_rng(0)
    rival = answers(0.9, rng)
    verdict = decide([entry(SEED, answers(0.6, rng)), entry(RIVAL, rival)], TEST, ACCURACY, opened=1, seed=0)

    curve = measured(lambda _: rival, ["yes", "no"] * 30, verdict, np.random.default_rng(0))

    assert sentence(curve) == "Training overtakes the seed prompt at 8 labelled rows or fewer."


def test_a_rival_that_is_never_above_is_level_and_overtakes_nothing() -> None:
    """Where both are right on all rows, no size is said to be ahead, neither in the sentence nor in a table."""
    rng = np.random.default_rng(0)
    right = answers(1.0, rng)
    verdict = judged(1.0, right)

    curve = measured(lambda _: right, ["yes", "no"] * 30, verdict, rng)
    axes = axes_grid(replace(verdict, curve=curve))

    assert (curve.crossover, curve.level) == (8, True)
    assert sentence(curve) == "Training is level with the best prompt from 8 labelled rows or fewer on."
    assert "(* = is level with the prompt)" in curve_grid(curve, "accuracy").title
    assert curve_grid(curve, "accuracy", " on 9 rows").columns[3].endswith(" on 9 rows")
    assert "training is level from about 8 rows on" in [row[-1] for row in axes.rows]
    assert "Ring: where training is level with it." in learning(curve, verdict).note


def test_a_rival_overtakes_where_it_is_above() -> None:
    """Not already where it is level."""
    rng = np.random.default_rng(0)
    best, better = answers(0.8, rng), answers(1.0, rng)
    verdict = decide([entry(SEED, best), entry(BEST, best), entry(RIVAL, better)], TEST, ACCURACY, opened=1, seed=0)

    curve = measured(lambda rows: best if len(rows) < 32 else better, ["yes", "no"] * 30, verdict, rng)

    assert [point.difference for point in curve.points][:2] == [0, 0]
    assert (curve.crossover, curve.level) == (32, False)
    assert sentence(curve) == "Training overtakes the best prompt at about 32 labelled rows."


def test_a_flat_rival_overtakes_nothing_and_is_not_extrapolated() -> None:
    """A curve that does not rise says nothing of more rows."""
    curve = grown(dict.fromkeys(sizes(1024), 0.6), prompt=0.95)

    assert (curve.crossover, curve.extrapolated, curve.interval) == (None, False, (None, None))
    assert sentence(curve) == ("Training does not overtake the best prompt within the 1,024 labelled rows there are.")


def test_a_crossover_beyond_the_rows_is_marked_as_extrapolated() -> None:
    """Where the error falls by a power law, the size is near the law's, and the sentence says what it is."""
    curve = grown({n: 1 - 1.6 * n**-0.3 for n in sizes(256)}, prompt=0.75, n=256, seed=3)  # 0.697 at 256; 0.75 at 486
    low, high = curve.interval

    assert curve.extrapolated
    assert curve.crossover is not None
    assert 256 < curve.crossover < 1500
    assert low is not None
    assert 256 <= low <= 486 <= (high or 10**9)
    assert "within the 256 labelled rows there are; extrapolated by a power law" in sentence(curve)


def test_nothing_is_extrapolated_beyond_ten_times_the_rows() -> None:
    """A law may hold for a while, not for ever."""
    curve = grown({n: 1 - 1.2 * n**-0.1 for n in sizes(256)}, prompt=0.97, n=256)

    assert (curve.crossover, curve.extrapolated) == (None, False)


def once(law: Callable[[int], float], counts: Sequence[int], *, prompt: float, seed: int) -> LearningCurve:
    """The curve of a rival that was trained once on each of some numbers of rows, the last of which are all."""
    rng = np.random.default_rng(seed)
    verdict = judged(prompt, answers(law(counts[-1]), rng), seed)
    several = [Size(rows, (entry("", answers(law(rows), rng)).outcomes,)) for rows in counts[:-1]]
    return measure(several, counts[-1], TEST, ACCURACY, verdict, rng)


def test_one_draw_of_far_sizes_claims_no_more_than_it_shows() -> None:
    """The interval begins right after the size that is not enough: the true crossover, 85 rows, lies in it."""
    curves = [once(lambda n: 1 - 1.2 * n**-0.5, (16, 256, 1024), prompt=0.87, seed=seed) for seed in range(20)]

    assert sum((curve.interval[0] or 0) <= 85 <= (curve.interval[1] or 10**9) for curve in curves) >= 18
    assert Counter(curve.interval[0] for curve in curves)[17] >= 15
    assert {point.repeats for curve in curves for point in curve.points} == {1}
    assert sentence(curves[0]).endswith(
        "Training was tried on 16, 256 and 1,024 rows, and on no number between. Each number was drawn once: its "
        "intervals tell of the test rows, not of the luck of the draw."
    )


def test_nothing_is_extrapolated_from_one_draw_of_each_size() -> None:
    """A law through four points may be the luck of four draws; with more draws the same law is followed."""

    def law(rows: int) -> float:
        return 1 - 1.6 * rows**-0.3

    curves = [once(law, (32, 64, 128, 256), prompt=0.75, seed=seed) for seed in range(10)]

    assert not any(curve.extrapolated for curve in curves)
    assert None in {curve.crossover for curve in curves}
    assert grown({n: law(n) for n in sizes(256)}, prompt=0.75, n=256, seed=3).extrapolated


@pytest.mark.parametrize(
    ("crossover", "interval", "said"),
    [
        (128, (64, 256), "Training overtakes the best prompt at about 128 labelled rows (95 % interval 64 to 256)."),
        (300, (128, None), LAST),
        (8, (8, 16), "Training overtakes the best prompt at 8 labelled rows or fewer (95 % interval 8 to 16)."),
        (None, (64, None), NOT_YET),
    ],
)
def test_the_sentence_says_how_sure_it_is(
    crossover: int | None, interval: tuple[int | None, int | None], said: str
) -> None:
    """An upper limit beyond the rows is more than all of them."""
    points = tuple(CurvePoint(n, 0.5, (0.4, 0.6), 5, 0.06, (0.01, 0.11)) for n in sizes(300))

    assert said == sentence(LearningCurve(BEST, points, crossover, interval))


def test_a_lead_that_is_not_shown_is_no_overtaking() -> None:
    """The verdict says beside it that no difference is shown between the two."""
    points = [CurvePoint(n, 0.5, (0.4, 0.6), 5, 0.01 if n >= 128 else -0.1, (-0.2, 0.1)) for n in sizes(300)]
    curve = LearningCurve(BEST, tuple(points), 128, (64, 256))
    shown = replace(curve, points=(*points[:-1], replace(points[-1], difference_interval=(0.01, 0.1))))

    assert curve.level
    assert "is level with the best prompt from about 128 labelled rows on" in sentence(curve)
    assert not shown.level
    assert replace(shown, shown=False).level  # the paired test with all rows decides
    assert "overtakes the best prompt at about 128 labelled rows" in sentence(shown)


# --- intervals --------------------------------------------------------------------------------------------


def test_intervals_cover_the_mean_over_rows_and_draws() -> None:
    """Both the luck of the draw and of the test rows are in: 95 % of intervals hold the truth, and not all."""
    rng, held, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        skill, ease = rng.normal(0.7, 0.05, size=(5, 1)), rng.normal(0, 0.15, size=(1, 80))
        scores = (rng.random((5, 80)) < np.clip(skill + ease, 0, 1)).astype(float)
        drawn = scores.mean(axis=0)[rng.integers(80, size=(200, 80))].mean(axis=1)
        low, high = crossed_interval(scores.mean(axis=1), drawn, 80)
        held += low <= 0.697 <= high

    assert 0.93 <= held / trials <= 0.99


def test_equal_answers_leave_a_difference_as_wide_as_their_rows_allow() -> None:
    """No row differs: what so many rows still leave open is Tango's interval, as for two contenders alone."""
    alike = np.ones(50)

    low, high = crossed_difference_interval([0.0, 0.0, 0.0], [0.0, 0.0], 50)

    assert (low, high) == paired_interval(alike, alike)
    assert high < 0.1


def test_equal_answers_leave_an_interval() -> None:
    """Rows that are all right do not prove that every row is."""
    low, high = crossed_interval([1.0, 1.0], [1.0, 1.0], 50)

    assert (round(low, 3), high) == (0.929, 1.0)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "mcc"])
def test_the_real_rival_grows_with_its_rows(name: str) -> None:
    """On the bundled messages the score rises, and the same seed gives the same curve, under every metric."""
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        rows = [Example(row["id"], (("text", row["text"]),), (row["label"],)) for row in csv.DictReader(file)]
    np.random.default_rng(3).shuffle(rows)  # type: ignore[arg-type]
    training, dev, test = rows[:200], rows[200:250], rows[250:400]
    metric = METRICS[name]
    rival = train(Lesson(training, dev, metric, best_hyperparameters, labelled=True, budget=Budget(2)))
    prompt = tuple(Outcome(row.id, Kind.RIGHT, 1.0, row.target) if i % 3 else Outcome(row.id, Kind.WRONG, 0.0, "none")
                   for i, row in enumerate(test))  # fmt: skip
    entries = [Entry(SEED, prompt, 0, ""), Entry(RIVAL, rival.outcomes(test, metric), 200, "")]
    verdict = decide(entries, test, metric, opened=1, seed=0)

    def curve() -> LearningCurve:
        refit, targets = Refit(training, test, rival.trained, 0), [row.target for row in training]
        rng = np.random.default_rng(0)
        several = grow(lambda part: scored(metric, refit(part)), targets, rng)
        return measure(several, len(targets), test, metric, verdict, rng)

    def scored(metric: Metric, given: Sequence[str]) -> list[Outcome]:
        return [Outcome(row.id, *score(metric, answer, row), answer) for row, answer in zip(test, given, strict=True)]

    found = curve()

    assert found.points[0].score + 0.1 < found.points[-1].score
    assert all(p.interval[0] <= p.score <= p.interval[1] for p in found.points)
    assert all(p.difference_interval[0] <= p.difference <= p.difference_interval[1] for p in found.points)
    assert found == curve()


# --- in a run ---------------------------------------------------------------------------------------------


def test_a_run_keeps_its_curve_and_bills(finished: Path) -> None:
    """They come back from results.db, stand on the page, and end the verdict's sentence."""
    records = history(finished)
    found, drawn = records.verdict(), page(records.story())

    assert found
    assert found.curve
    assert [point.rows for point in found.curve.points] == [8, 16, 32, 64, 100]
    assert found.curve.points[-1].score == found.contenders[2].score
    assert sentence(found.curve) in found.sentence
    assert [(bill.name, bill.finding, bill.labels) for bill in found.bills] == [(BEST, 0, 0), (RIVAL, 0, 0)]
    assert all(bill.seconds > 0 for bill in found.bills)
    assert found.bills[1].labelled == 150
    assert "Score of the trained baseline by its labelled rows" in drawn
    assert all(f">{text}<" in drawn for text in ("What each costs", "labelled rows", "64", pays_off(found)))


def test_a_prompt_is_charged_for_the_dev_rows_that_it_looked_at(tmp_path: Path) -> None:
    """Six calls look at few of 50 dev rows; the baseline is chosen on all of them."""
    task = load_task(write_task(tmp_path, search={"calls": 12, "trials": 3, "block": 4}))

    tuned = tune(task, db=tmp_path / "r.db")

    looked = {outcome.example_id for trial in tuned.trials for outcome in trial.outcomes}
    assert tuned.verdict
    prompt, rival = tuned.verdict.bills
    used = {contender.name: contender.train_rows for contender in tuned.verdict.contenders}
    assert len(looked) < 50
    assert prompt.labelled == used[prompt.name] + len(looked)
    assert rival.labelled == 150


def test_show_tells_the_curve_of_the_winner_alone(command: Command, finished: Path) -> None:
    """As a table, and with --json as plain numbers."""
    best = history(finished).run().winner
    said = command("show", "--db", str(finished)).output
    told = json.loads(command("show", "--json", "--db", str(finished)).stdout)
    seed = command("show", "0", "--db", str(finished)).output

    assert best
    assert "The trained baseline by its labelled rows" in said
    assert "Break-even: " in said
    assert [point["rows"] for point in told["verdict"]["curve"]["points"]] == [8, 16, 32, 64, 100]
    assert told["verdict"]["break_even"]["outcome"] == "never"
    assert "labelled rows" not in seed


def test_a_run_that_is_stopped_at_its_curve_is_resumed_to_the_same(tmp_path: Path) -> None:
    """Stopped after the test rows were opened, it measures the same curve as a run that was left alone."""
    task = load_task(write_task(tmp_path))
    task = task.model_copy(update={"baseline": task.baseline.model_copy(update={"label_cost": 0.5})})
    watch = Watch()

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "verdict":
            watch.stop.set()

    watch.event = stop
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", watch=watch)
    assert history(tmp_path / "r.db").verdict() is None

    whole, resumed = (tune(task, db=tmp_path / name) for name in ("whole.db", "r.db"))

    assert len(history(tmp_path / "r.db").runs()) == 1
    assert whole.verdict
    assert resumed.verdict
    assert whole.verdict.curve == resumed.verdict.curve == history(tmp_path / "r.db").verdict().curve  # type: ignore[union-attr]
    assert [bill.labels for bill in resumed.verdict.bills] == [0.5 * bill.labelled for bill in resumed.verdict.bills]
    assert resumed.verdict.bills[1].finding == 75  # 100 training rows and 50 dev rows at 50 cents


def test_a_curve_ends_with_the_seconds_of_the_baseline(tmp_path: Path) -> None:
    """Training anew on fewer rows may take longer than the training; a stop is heeded before each number of rows."""
    task = load_task(write_task(tmp_path))
    hurried = task.model_copy(update={"baseline": task.baseline.model_copy(update={"seconds": 1e-9})})
    watch, seen = Watch(), list[str]()

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "curve":
            seen.append(event.detail)
            watch.stop.set()

    watch.event = stop
    none = tune(hurried, db=tmp_path / "hurried.db")
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "stopped.db", watch=watch)

    assert none.verdict
    assert none.verdict.curve is None
    assert "no learning curve: 1e-09 s, the seconds of [baseline], were over before 8 rows" in none.run.reason
    assert seen == ["training the rival on 8 rows"]


def test_growing_ends_where_there_is_no_time() -> None:
    """Before a number of rows, never within it."""
    whole, part = (
        grow(lambda rows: [*rows], ["a", "b"] * 40, np.random.default_rng(0), go_on=go_on)
        for go_on in (lambda _: True, lambda rows: rows < 32)
    )

    assert [size.rows for size in whole] == [8, 16, 32, 64]
    assert part == whole[:2]


def test_a_database_of_an_earlier_version_still_opens(finished: Path, tmp_path: Path) -> None:
    """Its verdict has no curve, no bills and no findings, and is shown without them."""
    old, later = tmp_path / "old.db", ["cascade_points", "cascades", "elsewhere", "suspects", "duplicates", "drifts"]
    later += [
        "changed",
        "steadiness",
        "group_scores",
        "group_gaps",
        "flips",
        "learning_points",
        "learning_curves",
        "bills",
    ]
    with closing(sqlite3.connect(finished)) as source, closing(sqlite3.connect(old)) as conn:
        source.backup(conn)
        conn.executescript(
            "".join(f"DROP TABLE {table};" for table in (*later, "baselines", "tuning_jobs", "rechecks", "proposals"))
            + "".join(f"DROP VIEW {view};" for view in ("history", "program_calls", "pareto_front", "cost_per_trial"))
            + "CREATE VIEW pareto_front AS SELECT 1; CREATE VIEW cost_per_trial AS SELECT 1;"
            "ALTER TABLE outcomes DROP COLUMN calls; ALTER TABLE contender_outcomes DROP COLUMN calls;"
            "ALTER TABLE prompt_trials DROP COLUMN answered; ALTER TABLE runs DROP COLUMN program;"
            "ALTER TABLE wordings DROP COLUMN reason; ALTER TABLE wordings DROP COLUMN cost;"
            "CREATE TABLE baselines (run INTEGER PRIMARY KEY, detail, params, curve, dev_score, model);"
            "PRAGMA user_version = 4;"
        )

    with pytest.warns(Upgraded):
        verdict = history(old).verdict()

    assert verdict
    assert (verdict.curve, verdict.bills, verdict.findings) == (None, (), None)
    assert "Score of the trained baseline by its labelled rows" not in page(history(old).story())
