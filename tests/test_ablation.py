"""Ablation resets one ingredient of the winner at a time: which prompts these are, what they cost, what is recorded."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from optimizer import history, tune
from optimizer.budget import Budget, Caps, Spent
from optimizer.cli import main
from optimizer.embedded import EmbeddedModel
from optimizer.evaluate import Evaluator
from optimizer.evidence.ablation import variants
from optimizer.ledger import Ledger
from optimizer.preparing import dev_rows, prepare
from optimizer.records import State, Trial
from optimizer.scoring import get_metric
from optimizer.store import Store
from optimizer.tuned import Tuned
from tests.landscape import space
from tests.small_task import write_task

ROWS = 100
SEARCH = {"calls": 150, "trials": 15, "ablate": True}

CALLS, DOLLAR, TOKENS = Caps(calls=100), Caps(usd=1.0), Caps(tokens=10_000)
TAKES = "it takes 21 calls (about $0.21)"


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned]:
    """A run that has set its winner's ingredients back."""
    folder = tmp_path_factory.mktemp("ablated")
    return folder, tune(write_task(folder, rows=ROWS, search=SEARCH), db=folder / "r.db")


def winner(**params: object) -> Trial:
    """A winner with these parameters, the seed prompt's otherwise."""
    opened = space()
    chosen = {**opened.seed(), **params}
    return Trial(3, chosen, opened.build(chosen), State.COMPLETE)


def test_every_difference_to_the_seed_prompt_is_set_back_by_itself() -> None:
    """One variant a dimension that differs, the others as the winner has them."""
    opened = space()
    best = winner(template="xml", answer_format="json")

    found = {v.dimension: v for v in variants(opened, best)}

    assert {"template", "answer_format"} == set(found)
    seed = opened.seed()
    assert opened.build({**best.params, "template": seed["template"]}) == found["template"].prompt
    assert opened.build({**best.params, "answer_format": seed["answer_format"]}) == found["answer_format"].prompt
    assert ("xml", seed["template"]) == (found["template"].winner_value, found["template"].seed_value)


def test_what_depends_on_an_ingredient_goes_with_it() -> None:
    """Without demos their number does not apply; set back alone, it takes its own seed value."""
    opened = space()
    assert opened.seed()["demos"] == "none"
    k = next(level for level in opened["k"].values if level not in (0, opened["k"].seed))
    best = winner(demos="nearest", k=k, nearest_order="similar_last")

    found = {v.dimension: v for v in variants(opened, best)}

    assert opened.build(opened.seed()) == found["demos"].prompt
    assert found["k"].seed_value == opened["k"].seed
    assert (best.prompt.nearest, found["k"].prompt.nearest) == (k, opened["k"].seed)


def test_the_seed_prompt_has_nothing_to_set_back() -> None:
    """A winner that is the seed prompt has no variants."""
    assert variants(space(), winner()) == []


def test_ablations_are_written_down_beside_the_importances(ablated: tuple[Path, Tuned]) -> None:
    """Both stand in results.db as they were returned; the variants are no trials, and the test rows stay theirs."""
    folder, tuned = ablated
    seed, best, records = tuned.trials[0], tuned.best, history(folder / "r.db")

    assert tuned.importances
    assert list(tuned.importances) == records.importances()
    assert list(tuned.ablations) == records.ablations(tuned.run.id)
    differs = {n for n, v in best.params.items() if v != prepare(folder / "task.toml").space[n].seed}
    assert differs
    assert differs == {a.dimension for a in tuned.ablations}
    for ablation in tuned.ablations:
        assert best.params[ablation.dimension] == ablation.winner_value
        assert ablation.low <= ablation.difference <= ablation.high
        assert 0 <= ablation.p_value <= 1
    assert seed.number == 0
    assert len(records.trials()) == len(tuned.trials)
    assert tuned.verdict


def test_an_ablation_is_the_difference_on_the_same_dev_rows(ablated: tuple[Path, Tuned]) -> None:
    """The figure is the winner's score less the variant's, whose answers are all in the ledger."""
    folder, tuned = ablated
    plan = prepare(folder / "task.toml")
    ablations = {a.dimension: a for a in tuned.ablations}
    with Store(folder / "r.db") as store:
        ledger = Ledger(EmbeddedModel(), store, tuned.run.id)
        evaluate = Evaluator(ledger, plan.renderer, get_metric("accuracy"))
        whole = [outcome.score or 0.0 for outcome in evaluate.rows(tuned.best.prompt, dev_rows(plan))]
        for variant in variants(plan.space, tuned.best):
            scores = [outcome.score or 0.0 for outcome in evaluate.rows(variant.prompt, dev_rows(plan))]

            assert (sum(whole) - sum(scores)) / len(scores) == pytest.approx(ablations[variant.dimension].difference)
    assert ledger.bought == 0


def test_finding_the_prompt_took_no_time_of_the_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls are not part of the prompt's dollars either."""

    def slow(_: object, __: Trial, evaluate: Evaluator, *___: object) -> tuple[tuple[()], str]:
        evaluate.ledger.budget.worked_before += 3600
        return (), ""

    monkeypatch.setattr("optimizer.journey.ablate", slow)

    tuned = tune(write_task(tmp_path, search={"calls": 40, "trials": 3, "ablate": True}), db=tmp_path / "r.db")

    assert tuned.verdict
    assert 0 < tuned.verdict.bills[0].seconds < 3600


def test_the_same_run_again_buys_no_ablation_twice(ablated: tuple[Path, Tuned]) -> None:
    """Its completions are in the ledger, and the figures are the same."""
    folder, tuned = ablated
    with sqlite3.connect(folder / "r.db") as db:
        bought = db.execute("SELECT COUNT(*) FROM completions").fetchone()[0]

    again = tune(write_task(folder, rows=ROWS, search=SEARCH), db=folder / "r.db")

    assert again.run.bought == 0
    assert again.ablations == tuned.ablations
    assert again.importances == tuned.importances
    with sqlite3.connect(folder / "r.db") as db:
        assert bought == db.execute("SELECT COUNT(*) FROM completions").fetchone()[0]


def test_show_and_report_tell_which_ingredient_paid(
    ablated: tuple[Path, Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the text, as JSON and on the page."""
    folder, tuned = ablated
    monkeypatch.chdir(folder)
    runner = CliRunner()

    text = runner.invoke(main, ["show", "--db", "r.db"]).output
    data = json.loads(runner.invoke(main, ["show", "--db", "r.db", "--json"]).output)
    other = runner.invoke(main, ["show", "0", "--db", "r.db"]).output
    runner.invoke(main, ["report", "--db", "r.db"])

    assert "Which ingredient paid" in text
    assert "The winner without it" in text
    assert "The winner without it" not in other
    assert [i.dimension for i in tuned.importances] == [i["dimension"] for i in data["importances"]]
    assert [a.difference for a in tuned.ablations] == [a["difference"] for a in data["ablations"]]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Which ingredient paid" in page
    assert "The winner without it" in page


def test_an_ablation_that_the_caps_do_not_cover_is_left_out_and_said_so(tmp_path: Path) -> None:
    """The verdict's calls are kept back, and are all that is left. The importances cost no call."""
    task = write_task(tmp_path, rows=ROWS, search={**SEARCH, "max_calls": 150})

    tuned = tune(task, db=tmp_path / "r.db")

    assert tuned.importances
    assert tuned.ablations == ()
    assert tuned.verdict
    assert "no ablation: it takes " in tuned.run.reason
    assert tuned.run.bought <= 150


@pytest.mark.parametrize(
    ("budget", "calls", "said"),
    [
        (Budget(), 10**6, ""),
        (Budget(CALLS, Spent(calls=60), Spent(calls=20)), 20, ""),
        (
            Budget(CALLS, Spent(calls=60), Spent(calls=20)),
            21,
            f"{TAKES}, and the budget has 20 left",
        ),
        (
            Budget(DOLLAR, Spent(usd=0.5), Spent(usd=0.3)),
            21,
            f"{TAKES}, and the budget has $0.20 left",
        ),
        (Budget(DOLLAR, Spent(usd=0.5), Spent(usd=0.3)), 20, ""),
        (Budget(TOKENS, Spent(tokens=5000), Spent(tokens=3000)), 20, ""),
        (
            Budget(TOKENS, Spent(tokens=5000), Spent(tokens=3000)),
            21,
            "it takes 21 calls (about 2,100 tokens), and the budget has 2,000 tokens left",
        ),
    ],
)
def test_a_budget_says_what_it_lacks(budget: Budget, calls: int, said: str) -> None:
    """What is held back is not there to be spent; a call costs a cent, and 100 tokens."""
    assert said == replace(budget).lacking(Spent(calls, calls * 0.01 - 1e-9, calls * 100))


@pytest.mark.parametrize(("spent", "failed", "foreseen"), [(100, 0, 60), (1000, 1, 61), (100, 40, 117), (0, 0, 60)])
def test_attempts_are_foreseen_by_those_that_failed(spent: int, failed: int, foreseen: int) -> None:
    """Of 100 attempts 40 failed: 60 calls take 100 in the mean, and 17 more in one of 40 cases at most."""
    assert Budget(spent=Spent(spent), failed=failed).foreseen(60) == foreseen
