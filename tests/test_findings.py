"""What a verdict finds besides the scores: other rows, suspected labels, duplicates, drift; and where it is shown."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.contenders import BEST, CASCADE, RIVAL, SEED
from optimizer.data import audit
from optimizer.errors import BudgetSpent, DataError, Interrupted
from optimizer.events import Event, Stage
from optimizer.evidence.elsewhere import measure
from optimizer.evidence.elsewhere import sentence as away_sentence
from optimizer.evidence.inquiry import Inquiry
from optimizer.evidence.quality import drifts, duplicates, informed, ranked, suspects
from optimizer.evidence.quality import sentence as drift_sentence
from optimizer.findings import Duplicates, Elsewhere, Findings, GroupScore, Suspect
from optimizer.pages.page import page
from optimizer.planning import Probe, Terms, estimate
from optimizer.preparing import looks, prepare
from optimizer.records import Dataset, Kind, Outcome, Verdict
from optimizer.reports.findings_tables import grids, groups_grids, surer, thresholds, to_look_at
from optimizer.reports.plain import verdict_record
from optimizer.scores.metrics import METRICS
from optimizer.verdict import Entry, decide
from optimizer.watch import Watch
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import BUNDLED, write_task
from tests.test_journey import Watched

ACCURACY = METRICS["accuracy"]
ROWS = [Example(f"x{i}", (("text", f"row {i}"),), ("yes",)) for i in range(100)]


def with_away(folder: Path, *, rows: int = 60, search: dict[str, object] | None = None) -> Path:
    """The small task with messages to a library as rows from elsewhere."""
    task = write_task(folder, search=search)
    with (BUNDLED / "library.csv").open(encoding="utf-8", newline="") as file:
        bundled = list(csv.DictReader(file))[:rows]
    with (folder / "away.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(bundled[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(bundled)
    text = task.read_text(encoding="utf-8").replace('file = "rows.csv"', 'file = "rows.csv"\nood = "away.csv"')
    task.write_text(text, encoding="utf-8")
    return task


def given(right: int, of: int = 100, answer: str = "no") -> tuple[Outcome, ...]:
    """Outcomes of which the first so many are right."""
    return tuple(
        Outcome(row.id, Kind.RIGHT if i < right else Kind.WRONG, float(i < right), "yes" if i < right else answer)
        for i, row in enumerate(ROWS[:of])
    )


# --- other rows -------------------------------------------------------------------------------------------


def test_the_loss_has_an_interval_of_different_rows() -> None:
    """90 of 100 on test and 60 of 100 elsewhere: 30 points lost, 18.5 to 41 by Newcombe's method."""
    verdict = decide([Entry(SEED, given(90), 0, ""), Entry(RIVAL, given(50), 9, "")], ROWS, ACCURACY, opened=1, seed=0)

    found = measure(verdict, {"ood": {SEED: given(60), RIVAL: ()}}, ROWS, ACCURACY, 0)

    assert [(each.name, each.rows, each.n, each.score) for each in found] == [(SEED, "ood", 100, 0.6)]
    assert found[0].difference == pytest.approx(-0.3)
    assert found[0].difference_interval == (pytest.approx(-0.409, abs=2e-3), pytest.approx(-0.183, abs=2e-3))
    assert away_sentence(found).startswith("Out of domain, on 100 rows: the seed prompt 60.0 % (-30.0 points, -40.")
    assert away_sentence(()) == ""


def test_the_prompt_out_of_domain_is_the_seed_prompt_where_none_better_was_found() -> None:
    """The best prompt stands for it where there is one."""
    seed, best, rival = (Elsewhere(name, "ood", 60, 0.6, (0.5, 0.7), 0.0, (-0.1, 0.1)) for name in (SEED, BEST, RIVAL))

    assert away_sentence((seed, rival)).startswith("Out of domain, on 60 rows: the seed prompt 60.0 % (+0.0 points")
    assert "seed prompt" not in away_sentence((seed, best, rival))


def test_rows_that_were_not_answered_are_not_counted() -> None:
    """Of 60 rows the prompt answered 58, and of a group of 20 it answered 17."""
    best = Elsewhere(BEST, "ood", 58, 0.6, (0.5, 0.7), 0.0, (-0.1, 0.1))
    groups = [GroupScore(name, "by", "long", n, 0.6, (0.5, 0.7)) for name, n in ((BEST, 17), (RIVAL, 20))]

    said = away_sentence((best, replace(best, name=RIVAL, n=60)))

    assert said.startswith("Out of domain, each on the rows that it answered: the best prompt 60.0 % on 58 (+0.0")
    assert "the trained baseline 60.0 % on 60 (" in said
    assert next(groups_grids(groups)).rows == (("long", "20", "60.0 % (50.0–70.0) on 17", "60.0 % (50.0–70.0)"),)


def test_rows_from_elsewhere_are_answered_by_every_contender(tmp_path: Path) -> None:
    """After the search, through the same ledger; kept, and told."""
    tuned = tune(with_away(tmp_path, search={"calls": 100}), db=tmp_path / "r.db", model=Watched())

    assert tuned.verdict
    assert tuned.verdict.findings
    away = [each for each in tuned.verdict.findings.elsewhere if each.rows == "ood"]
    assert [(each.name, each.n) for each in away] == [(name, 60) for name in (SEED, BEST, RIVAL, CASCADE)]
    assert "Out of domain, on 60 rows: the best prompt" in tuned.verdict.sentence
    assert tuned.verdict.findings == history(tmp_path / "r.db").verdict().findings  # type: ignore[union-attr]


def test_rows_from_elsewhere_are_held_in_the_budget(tmp_path: Path) -> None:
    """They count like test rows: in what the search may look at, in what is held, and in the estimate."""
    without = prepare(write_task(tmp_path, search={"max_calls": 400, "calls": 900}))
    task = with_away(tmp_path, search={"max_calls": 400, "calls": 900})
    plan = prepare(task)
    terms = Terms((0.0, 0.0), None)
    parts = [estimate(each, Probe(), terms, np.random.default_rng(0)).parts[-1] for each in (without, plan)]

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert (looks(without) - looks(plan), plan.sealed - without.sealed) == (120, 60)
    assert [part.calls for part in parts] == [(50, 100), (110, 220)]
    assert tuned.run.bought <= 400
    assert tuned.verdict
    assert tuned.verdict.findings
    assert any(each.rows == "ood" for each in tuned.verdict.findings.elsewhere)


def test_a_budget_that_ends_before_the_rows_from_elsewhere_keeps_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says what is lacking."""

    def spent(_: Inquiry) -> None:
        raise BudgetSpent("the budget of 9 calls is used up")

    monkeypatch.setattr(Inquiry, "_away", spent)

    tuned = tune(with_away(tmp_path, search={"calls": 100}), db=tmp_path / "r.db")

    assert tuned.verdict
    assert tuned.verdict.findings
    assert {each.rows for each in tuned.verdict.findings.elsewhere} == {"train", "dev"}
    assert tuned.run.reason.endswith("; no score on the ood rows: the budget of 9 calls is used up")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("billing", "nonsense"), "nonsense"),
        (lambda text: "\n".join(text.splitlines()[:2]) + "\n", "has 1 row that is not in rows.csv; at least 4"),
        (lambda text: text.splitlines()[0] + "\n", "out-of-domain rows need at least 4|no rows|empty"),
        (lambda text: text.replace("label", "class", 1), "label"),
    ],
)
def test_rows_from_elsewhere_that_cannot_be_used_are_refused(tmp_path: Path, change: object, said: str) -> None:
    """Another label, no rows, a missing column: the file and what to do are named."""
    task = with_away(tmp_path)
    away = tmp_path / "away.csv"
    away.write_text(change(away.read_text(encoding="utf-8")), encoding="utf-8")  # type: ignore[operator]

    with pytest.raises(DataError, match=said) as caught:
        prepare(task)

    assert "away.csv" in str(caught.value)


def test_rows_of_the_run_itself_are_not_from_elsewhere(tmp_path: Path) -> None:
    """They are left out, and a note says how many."""
    task = with_away(tmp_path)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        own = next(csv.DictReader(file))
    with (tmp_path / "away.csv").open("a", encoding="utf-8", newline="") as file:
        columns = (tmp_path / "away.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        csv.writer(file).writerow([{**own, "id": "twice"}.get(column, "") for column in columns])

    plan = prepare(task)

    assert len(plan.ood) == 60
    assert "1 row of away.csv stands in rows.csv too, and was left out of the former." in plan.data.notes


# --- labels, duplicates, drift ----------------------------------------------------------------------------


def test_rows_on_which_both_agree_against_the_label_are_suspected() -> None:
    """Not where they differ, where one could not be read, or where the baseline is unsure; however it is written."""
    prompt, baseline = list(given(95)), list(given(95))
    prompt[96] = replace(prompt[96], answer="maybe")
    prompt[97] = replace(prompt[97], kind=Kind.UNPARSED, answer=None)
    baseline[99] = replace(baseline[99], answer="NO")
    confidence = {row.id: 0.5 + i / 300 for i, row in enumerate(ROWS)} | {"x98": 0.4}

    def read(answer: str | None) -> str | None:
        return answer and answer.casefold()

    found = ranked(suspects("dev", ROWS, prompt, baseline, confidence, read))

    assert found == (
        Suspect("x99", "dev", "yes", "NO", confidence["x99"]),
        Suspect("x95", "dev", "yes", "no", confidence["x95"]),
    )


def test_the_agreement_of_a_prompt_that_knows_nothing_confirms_nothing() -> None:
    """A prompt must be right more often than the most frequent label is, on the rows that it has answered."""
    rows = [replace(row, targets=("no",)) if i < 40 else row for i, row in enumerate(ROWS)]

    assert not informed(rows, given(60))
    assert informed(rows, given(61))
    assert not informed(rows, given(40, of=40))
    assert informed(rows, given(41, of=50))
    assert not informed(rows, ())


def test_duplicates_are_counted_by_kind_and_place() -> None:
    """Identical, contradicting, nearly equal; within a split and across."""

    def row(name: str, text: str, label: str = "a") -> Example:
        return Example(name, (("text", text),), (label,))

    long = "the printer on the second floor does not print anything since this morning and blinks red"
    data = Dataset(
        (row("1", "one text"), row("2", "One  text"), row("3", "two"), row("4", "two", "b"), row("5", long)),
        (row("6", "quite another matter"),),
        (row("7", f"{long} again"),),
    )

    assert duplicates(data, audit(data)) == (
        Duplicates("identical", "train", 1, "1, 2"),
        Duplicates("contradicting", "train", 1, "3, 4"),
        Duplicates("near", "train–test", 1, "5, 7"),
    )


def test_drift_is_found_where_it_is_and_nowhere_else() -> None:
    """Splits of one source are alike; other words and other labels are told, of ood rows without an alarm."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(60)])

    def rows(n: int, low: int, high: int, share: float = 0.5) -> list[Example]:
        return [
            Example(f"{i}", (("text", " ".join(words[rng.integers(low, high, 12)])),), (str(rng.random() < share),))
            for i in range(n)
        ]

    splits = {"train": rows(300, 0, 50), "dev": rows(100, 0, 50), "test": rows(100, 10, 60, 0.9), "ood": rows(5, 0, 60)}
    found = drifts(splits, np.random.default_rng(0), labelled=True)

    told = {(d.what, d.b): (d.size, d.p_value) for d in found}
    assert set(told) == {("texts", "dev"), ("labels", "dev"), ("texts", "test"), ("labels", "test")}
    assert told["texts", "test"][0] > 0.7
    assert told["labels", "test"][0] > 0.25
    assert all(told[what, "test"][1] < 0.05 < told[what, "dev"][1] for what in ("texts", "labels"))
    assert drift_sentence(found).startswith("The splits differ: their texts tell the test rows from the train rows")
    assert drift_sentence([replace(d, b="ood") for d in found]) == ""
    assert drifts({"dev": splits["dev"]}, rng, labelled=True) == ()


# --- where it is told -------------------------------------------------------------------------------------


def test_a_run_tells_what_it_found(finished: Path, command: Command) -> None:
    """`show` of the winner, the page and --json have the front, the other rows, drift and suspects."""
    records = history(finished)
    verdict = records.verdict()
    assert verdict
    assert verdict.findings
    assert verdict.findings.cascade

    said = command("show", "--db", str(finished)).output
    told = json.loads(command("show", "--json", "--db", str(finished)).stdout)["verdict"]["findings"]
    seed = command("show", "0", "--db", str(finished)).output
    drawn = page(records.story())

    titles = [grid.title for grid in grids(verdict, records.texts())]
    assert [title.split(":")[0] for title in titles][:2] == ["Together", "On other rows than the test rows"]
    assert "Drift between splits" in titles
    assert drawn.count("Ring: chosen on dev rows.") == 1
    assert all(title.split(" (")[0] in drawn for title in titles)
    assert "On other rows than the test rows" in said
    assert "calibrated confidence" in surer(verdict)
    exact = replace(verdict.findings.cascade, surer=0.0)
    exactly = surer(replace(verdict, findings=replace(verdict.findings, cascade=exact)))
    assert "calibrated confidence is as high as its score (95 %" in exactly
    assert surer(verdict) in " ".join(said.split())
    assert "Drift between splits" not in seed
    assert [point["chosen"] for point in told["cascade"]["points"]].count(True) == 1
    assert [(e["name"], e["rows"]) for e in told["elsewhere"]] == [
        (SEED, "dev"), (BEST, "dev"), (RIVAL, "train"), (RIVAL, "dev"), (CASCADE, "dev")]  # fmt: skip
    assert {e["n"] for e in told["elsewhere"] if e["rows"] == "dev"} == {records.show().trial.n}  # not of all dev rows


def test_suspects_are_listed_with_their_texts() -> None:
    """At most 50 of them; without texts they are counted."""
    verdict = decide([Entry(SEED, given(90), 0, ""), Entry(RIVAL, given(50), 9, "")], ROWS, ACCURACY, opened=1, seed=0)
    many = tuple(Suspect(f"x{i}", "test", "yes", "no", 0.9) for i in range(60))
    verdict = replace(verdict, findings=Findings(suspects=many))

    (grid,) = grids(verdict, {row.id: row.text for row in ROWS})

    assert "60 rows, of which the 50 surest are shown" in grid.title
    assert grid.rows[0] == ("x0", "test", "row 0", "yes", "no", "90.0 %")
    assert grids(verdict) == []
    assert to_look_at(verdict).startswith("60 rows have labels that prompt and baseline agree against")
    one = replace(verdict, findings=replace(verdict.findings, suspects=verdict.findings.suspects[:1]))
    assert to_look_at(one).startswith("1 row has a label that")
    assert to_look_at(one).endswith("lists it.")
    assert surer(verdict) == ""
    assert verdict_record(verdict)["findings"]["suspects"][0]["answer"] == "no"  # type: ignore[index]


def test_a_run_that_is_stopped_at_its_findings_comes_to_the_same(tmp_path: Path) -> None:
    """The threshold, the other rows and the drift of a resumed run are those of one that was left alone."""
    task, watch = with_away(tmp_path, search={"calls": 100}), Watch()

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "findings":
            watch.stop.set()

    watch.event = stop
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", watch=watch)

    whole, resumed = (tune(task, db=tmp_path / name) for name in ("whole.db", "r.db"))

    found: list[Verdict | None] = [whole.verdict, resumed.verdict]
    assert found[0]
    assert found[1]
    assert found[0].findings == found[1].findings


def test_unequal_thresholds_are_told_apart() -> None:
    """With no more places than that takes; the ends have names."""
    assert thresholds([0.0, 0.633, 0.644, None]) == ["always", "63.3 %", "64.4 %", "never"]
    assert thresholds([0.96031, 0.96034, 0.9611]) == ["96.031 %", "96.034 %", "96.110 %"]
    assert thresholds([0.5, 0.5]) == ["50.0 %", "50.0 %"]
