"""What is known of the calls of a program: its trials' cost, and answers of its steps that were cut off."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from test_program_tuning import STEPS, Sorter, tuned

from optimizer import history
from optimizer.errors import Interrupted
from optimizer.records import Completion, Request
from optimizer.store import Store
from tests.small_task import write_task


class Halves(Sorter):
    """A model that thinks about some rows for longer than it may."""

    def complete(self, request: Request) -> Completion:
        """Answer both steps in DSPy's chat layout; the first one's answer is cut off for texts with an x."""
        self.asked.append(request)
        told = request.messages[-1].content
        if len(self.asked) == self.after:
            self.stop.set()
        if "[[ ## summary ## ]]\n" in told:
            return Completion("[[ ## label ## ]]\nbug\n\n[[ ## completed ## ]]", 100, 10, 12e-5, 0.001)
        end = "length" if "x" in told.split("[[ ## text ## ]]\n")[-1].split("\n")[0] else "stop"
        return Completion("[[ ## summary ## ]]\nshort\n\n[[ ## completed ## ]]", 50, 1000, 2e-3, 0.001, end)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results.db of a program of two steps."""
    folder = tmp_path_factory.mktemp("steps")
    write_task(folder, rows=60, search={"calls": 120})
    tuned(folder, Halves(), program=STEPS)
    return folder / "r.db"


def test_a_programs_trials_tell_what_they_took(two_steps: Path) -> None:
    """The calls of all steps, with their cost per call and per row, and from the rows as from the totals."""
    past = history(two_steps)
    seed, (calls, cost) = past.show(0).trial, past.costs()[0]
    fact = past.facts(where="trial = 0")[0]
    with Store(two_steps) as store:
        outcomes = store.outcomes(1, 0)
        steps = store.rows("SELECT * FROM program_calls WHERE trial = 0")
        paid = store.rows("SELECT SUM(cost) FROM ledger")[0][0]

    assert calls == len(steps) == 2 * seed.n
    assert cost == pytest.approx(seed.n * (2e-3 + 12e-5)) == pytest.approx(sum(o.cost for o in outcomes))
    assert cost <= paid
    assert fact["cost_per_1000"] == pytest.approx(1000 * (2e-3 + 12e-5))
    assert fact["seconds_per_call"] == pytest.approx(0.001)
    assert [o.tokens for o in outcomes] == [1160] * seed.n


def test_a_program_that_was_stopped_still_knows_what_its_rows_took(two_steps: Path, tmp_path: Path) -> None:
    """Trials that a resumed run reads back and stores again keep their calls."""
    write_task(tmp_path, rows=60, search={"calls": 120})
    with pytest.raises(Interrupted):
        tuned(tmp_path, Halves(after=80), program=STEPS)
    tuned(tmp_path, Halves(), program=STEPS)

    took, whole = history(tmp_path / "r.db").costs(), history(two_steps).costs()
    assert [(number, calls) for number, (calls, _) in took.items()] == [(n, calls) for n, (calls, _) in whole.items()]
    assert [cost for _, cost in took.values()] == pytest.approx([cost for _, cost in whole.values()])


def test_steps_that_were_cut_off_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the run, with what to do, instead of by DSPy for each answer; and on the card."""
    write_task(tmp_path, rows=60, search={"calls": 120})
    with caplog.at_level(logging.WARNING, "dspy.clients.lm"):
        found = tuned(tmp_path, Halves(), program=STEPS)
    assert found.verdict
    rows = {o.calls: o.cut for trial in found.found.trials for o in trial.outcomes}
    rows |= {o.calls: o.cut for contender in found.verdict.contenders for o in contender.outcomes}

    assert 0 < sum(rows.values()) < len(rows)
    assert found.notes[0].startswith(f"in {sum(rows.values())} of {len(rows)} runs of the program on a row")
    assert "truncated" not in caplog.text
