"""Changes that should not matter are seeded, small and of the right kind; and their mean and worst are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.contenders import BEST, RIVAL
from optimizer.evidence.robustness import NOISE, ROWS, measure, most_calls, noisy, reworked, sentence
from optimizer.planning import Probe, Terms, estimate
from optimizer.preparing import prepare
from optimizer.records import Kind, Outcome
from optimizer.reports.findings_tables import grids
from optimizer.scores.metrics import METRICS
from optimizer.task import load_task
from search_spaces.prompt import Example
from search_spaces.space import Space, Value
from tests.conftest import Command
from tests.small_task import write_task
from tests.test_journey import Watched

ACCURACY = METRICS["accuracy"]
TEXT = "The printer on the second floor does not print since this morning, and nobody knows why."
TEXTS = [Example(f"x{i}", (("text", f"{TEXT} {i}"),), ("yes",)) for i in range(300)]


def given(share: float, seed: int, n: int = 200) -> list[Outcome]:
    """Outcomes of which about a share is right."""
    hits = np.random.default_rng(seed).random(n) < share
    return [
        Outcome(f"x{i}", Kind.RIGHT if hit else Kind.WRONG, float(hit), str(bool(hit))) for i, hit in enumerate(hits)
    ]


# --- changes ----------------------------------------------------------------------------------------------


def test_noise_changes_what_it_should_and_nothing_else() -> None:
    """White space leaves the words, case the letters, typos most of them; ids and targets stay."""
    found = noisy(TEXTS, np.random.default_rng(0))

    assert list(found) == list(NOISE) == ["white space", "case", "typos"]
    for kind, rows in found.items():
        assert len(rows) == ROWS
        assert [(row.id, row.targets) for row in rows] == [(row.id, row.targets) for row in TEXTS[:ROWS]]
        assert sum(new.text != old.text for new, old in zip(rows, TEXTS, strict=False)) > 0.9 * ROWS, kind
    assert all(new.text.split() == old.text.split() for new, old in zip(found["white space"], TEXTS, strict=False))
    assert {row.text.isupper() for row in found["case"]} == {True, False}
    assert all(new.text.lower() == old.text.lower() for new, old in zip(found["case"], TEXTS, strict=False))
    kept = [len(set(new.text.split()) & set(old.text.split())) for new, old in zip(found["typos"], TEXTS, strict=False)]
    assert 0.6 < np.mean(kept) / len(set(TEXT.split())) < 0.95


def test_the_same_seed_makes_the_same_changes() -> None:
    """So that no call is bought twice."""
    first, again, other = (noisy(TEXTS[:20], np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"demos": "random", "k": 8}, ["demo order 1", "demo order 2", "demo order 3"]),
        ({"demos": "random", "k": 2}, ["demo order 1"]),
        ({"demos": "random", "k": 1}, []),
        ({"demos": "nearest", "k": 8}, ["demos turned round"]),
        ({"demos": "none"}, []),
    ],
)
def test_demos_are_put_into_other_orders(tmp_path: Path, params: Mapping[str, Value], names: list[str]) -> None:
    """The same demos, no order twice, and three other wordings of the instruction; the rest of the prompt stays."""
    space: Space = prepare(write_task(tmp_path)).space
    whole = {**space.seed(), **params}
    prompt = space.build(whole)

    found = reworked(prompt, whole, space, np.random.default_rng(0))

    assert len(set(found.values())) == len(found)
    assert [name for name in found if name.startswith("demo")] == names
    for name, other in found.items():
        assert other != prompt
        assert Counter(other.demos) == Counter(prompt.demos)
        if name.startswith("instruction"):
            assert replace(other, instruction=prompt.instruction) == prompt
    assert sum(name.startswith("instruction") for name in found) == 3


def test_a_single_wording_has_no_other(tmp_path: Path) -> None:
    """A space in which the instruction is locked leaves that part out."""
    task = write_task(tmp_path)
    task.write_text(task.read_text(encoding="utf-8") + 'instruction = "task"\n', encoding="utf-8")
    space = prepare(task).space

    assert reworked(space.build(space.seed()), space.seed(), space, np.random.default_rng(0)) == {}


# --- what came of them ------------------------------------------------------------------------------------


def test_the_mean_and_the_worst_are_told() -> None:
    """The worst change is the worst; its interval is wider than that of the change alone, and holds the truth."""
    before = given(0.8, 0)
    after = {"white space": before, "case": given(0.75, 1), "typos": given(0.5, 2)}

    changed, steady = measure(BEST, before, after, TEXTS, ACCURACY, np.random.default_rng(0))

    assert steady
    assert [c.change for c in changed] == list(after)
    assert changed[0].difference == 0
    assert (steady.worst, steady.worst_score) == ("typos", changed[2].score)
    low, high = changed[2].difference_interval
    assert steady.worst_interval[0] < low < -0.3 < high < steady.worst_interval[1]
    assert steady.mean == pytest.approx(np.mean([c.score for c in changed]))
    assert steady.difference == pytest.approx(np.mean([c.difference for c in changed]))
    assert steady.mean_interval[0] < steady.mean < steady.mean_interval[1]
    assert steady.difference_interval[0] < -0.1 < steady.difference_interval[1]
    assert "at worst (typos: -" in sentence([steady])
    assert sentence([]) == ""


def test_intervals_of_the_worst_hold_for_all_changes_together() -> None:
    """Where no change matters, the worst of nine is shown to be worse in about one in twenty cases at most."""
    shown = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        before = given(0.7, 1000 + seed, 80)
        after = {}
        for change in range(9):
            flip = rng.random(80) < 0.2
            # A flip is as often to the better as to the worse: the score does not change in the mean.
            right = [bool(rng.random() < 0.7) if f else bool(o.score) for f, o in zip(flip, before, strict=True)]
            after[str(change)] = [replace(o, score=float(r), answer=str(r)) for o, r in zip(before, right, strict=True)]
        _, steady = measure(BEST, before, after, TEXTS, ACCURACY, rng)
        assert steady
        shown += steady.worst_interval[1] < 0

    assert shown <= 9


def test_failed_calls_are_left_out() -> None:
    """Each change is scored and compared on the rows answered both ways; without any there is nothing to say."""
    before = given(0.8, 0)
    gone = [Outcome(o.example_id, Kind.ERROR, None, None) for o in before]

    changed, steady = measure(BEST, before, {"case": [*gone[:50], *before[50:]]}, TEXTS, ACCURACY,
                              np.random.default_rng(0))  # fmt: skip
    assert steady
    assert [c.n for c in changed] == [150]
    (both,), _ = measure(BEST, [*before[:190], *gone[190:]], {"case": [*gone[:50], *before[50:]]}, TEXTS, ACCURACY,
                         np.random.default_rng(0))  # fmt: skip
    assert both.n == 140
    assert (both.score, both.difference) == (np.mean([o.score for o in before[50:190]]), 0)
    assert measure(BEST, before, {"case": gone}, TEXTS, ACCURACY, np.random.default_rng(0)) == ([], None)


# --- in a run ---------------------------------------------------------------------------------------------


def test_the_winner_is_tried_if_that_is_asked_for(tmp_path: Path, command: Command) -> None:
    """Kept, told, and no more calls than `plan` has counted."""
    task = load_task(write_task(tmp_path, search={"calls": 100}))
    asked = task.model_copy(update={"verdict": task.verdict.model_copy(update={"robustness": True})})
    parts = {p.name: p for p in estimate(prepare(asked), Probe(), Terms(None, None), np.random.default_rng(0)).parts}

    plain = tune(task, db=tmp_path / "r.db", model=Watched())
    tuned = tune(asked, db=tmp_path / "r.db", model=Watched())

    verdict = history(tmp_path / "r.db").verdict()
    assert plain.verdict
    assert plain.verdict.findings
    assert plain.verdict.findings.steadiness == ()
    assert tuned.verdict
    assert tuned.verdict.findings
    found = tuned.verdict.findings
    assert [s.name for s in found.steadiness] == [tuned.verdict.contenders[-3].name, RIVAL]
    assert [c.change for c in found.changed if c.name == RIVAL] == list(NOISE)
    assert parts["robustness"].calls == most_calls(50) == (150, 450)
    assert 150 <= tuned.run.bought <= 450
    assert "Under changes that should not matter: the " in tuned.verdict.sentence
    assert verdict
    assert verdict.findings == found
    titles = [grid.title for grid in grids(verdict)]
    assert {"Under changes that should not matter", "Robustness: accuracy over all changes"} <= set(titles)


def test_changes_that_the_caps_do_not_cover_are_left_out(tmp_path: Path, command: Command) -> None:
    """The option asks for them; no call is made for them, and the reason says so."""
    write_task(tmp_path, search={"calls": 100, "max_calls": 205})

    said = command("tune", "task.toml", "--robustness", "--quiet").output

    assert "; no robustness: it takes " in said
    assert "Robustness:" not in said
