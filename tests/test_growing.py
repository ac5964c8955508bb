"""With a judge: free analyses are always done; others are bought once if affordable, or reported as missing."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from optimizer import history, tune
from optimizer.contenders import CASCADE, DISTILLED, RIVAL, SEED
from optimizer.errors import Interrupted
from optimizer.events import Event, Stage
from optimizer.evidence.axes import axes_grid
from optimizer.planning import Probe, Terms, estimate
from optimizer.preparing import prepare
from optimizer.records import Completion, LearningCurve, Request, Verdict
from optimizer.rivals.curve import Size, thinned
from optimizer.store import Store
from optimizer.task import load_task
from optimizer.task_sections import JUDGE
from optimizer.tuned import Tuned
from optimizer.watch import Watch
from tests.small_task import BUNDLED
from tests.test_judge import Answering, Judging, write

ROOT = Path(__file__).resolve().parents[1]
NAMED = '[verdict]\nrobustness = true\nhint = true\npicked_demos = true\nswaps = [["my", "your"]]\n'


def task(folder: Path, *, further: int | None = None, calls: int = 80, search: str = "", named: bool = False) -> Path:
    """The task of replies, with groups, and with rows from elsewhere and all else that can be named if it is wanted."""
    told = 'model = "openai/judge"' + ("" if further is None else f"\nfurther = {further}")
    path = write(folder, judge=told, search=f"calls = {calls}\ntrials = 6\n{search}")
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        bundled = [*csv.DictReader(file)]
    for name, rows in (("rows.csv", bundled[:120]), ("ood.csv", bundled[200:212])):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            lines = [(row["text"], f"Thank you, this goes to {row['label']}", row["channel"]) for row in rows]
            csv.writer(file).writerows([("text", "reply", "channel"), *lines])
    ood = 'ood = "ood.csv"\n' if named else ""
    text = path.read_text(encoding="utf-8").replace("[judge]", f'slices = ["channel"]\n{ood}[judge]')
    path.write_text(f"{text}{NAMED if named else ''}", encoding="utf-8")
    return path


Ran = tuple[Tuned, Verdict, Judging]


def ran(path: Path, judge: Judging | None = None, db: str = "r.db", watch: Watch | None = None) -> Ran:
    """The run of a task, its verdict, and the judge that was asked."""
    judge = judge or Judging()
    tuned = tune(path, db=path.parent / db, model=Answering(), judge=judge, watch=watch)
    assert tuned.verdict
    return tuned, tuned.verdict, judge


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A task whose judge may be asked all there is, and its run."""
    path = task(tmp_path_factory.mktemp("covered"), further=2000)
    return path, ran(path)


def judged(judge: Judging) -> Counter[str]:
    """How often each answer to each row was judged."""
    return Counter(request.messages[-1].content for request in judge.asked)


def drawn(curve: LearningCurve | None) -> list[tuple[int, int]]:
    """The sizes of a curve, and the draws of each."""
    assert curve
    return [(point.rows, point.repeats) for point in curve.points]


# --- what is free, and what is not ------------------------------------------------------------------------


def test_what_is_free_is_there_and_no_more_is_bought(tmp_path: Path) -> None:
    """With nothing allowed beside the scores, groups, drift and the prompts' dev scores stand; the rest is priced."""
    tuned, verdict, judge = ran(task(tmp_path, further=0))

    found = verdict.findings
    assert found
    assert {score.name for score in found.groups} == {contender.name for contender in verdict.contenders}
    assert {(each.name, each.rows) for each in found.elsewhere} >= {(SEED, "dev")}
    assert RIVAL not in {each.name for each in found.elsewhere}
    assert found.drifts
    assert (found.cascade, verdict.curve) == (None, None)
    assert "allow more as further in [judge]" in axes_grid(verdict).rows[1][-1]
    shown = [o for trial in tuned.trials for o in trial.outcomes] + [o for c in verdict.contenders for o in c.outcomes]
    assert len(judge.asked) == len({(o.example_id, o.answer) for o in shown if o.answer is not None})
    assert "no cascade and no dev score of the trained baseline: it takes " in tuned.run.reason
    assert "; no learning curve: it takes " in tuned.run.reason
    assert "; no train score of the trained baseline: it takes " in tuned.run.reason
    assert tuned.run.reason.count("$") == tuned.run.reason.count("and `further` in [judge] leaves 0") == 3


def test_a_curve_that_is_covered_is_whole_and_judged_once(covered: tuple[Path, Ran]) -> None:
    """Five draws of each size; the last point is the verdict's; the same task comes to the same for nothing."""
    path, (tuned, verdict, judge) = covered
    again, other, unasked = ran(path)

    assert drawn(verdict.curve) == [(8, 5), (16, 5), (32, 5), (60, 1)]
    assert verdict.curve
    (rival,) = (contender for contender in verdict.contenders if contender.name == RIVAL)
    assert verdict.curve.points[-1].score == rival.score
    assert "Training " in verdict.sentence
    assert CASCADE in {contender.name for contender in verdict.contenders}
    assert max(judged(judge).values()) == 1
    assert "further" not in tuned.run.reason
    assert verdict.findings
    assert {(each.name, each.rows) for each in verdict.findings.elsewhere} >= {(RIVAL, "dev"), (RIVAL, "train")}
    assert unasked.asked == []
    assert (again.run.bought, other.sentence, other.curve) == (0, verdict.sentence, verdict.curve)
    (kept,) = [history(path.parent / "r.db").verdict(tuned.run.id)]
    assert kept
    assert (kept.curve, kept.sentence) == (verdict.curve, verdict.sentence)


def test_a_judge_is_asked_half_as_often_as_the_search_looks(tmp_path: Path) -> None:
    """If nothing else was said; the curve has fewer draws then, and the reason says what all of it would take."""
    path = task(tmp_path, calls=150)

    tuned, verdict, judge = ran(path)

    assert prepare(path).further == 75
    assert 2 <= drawn(verdict.curve)[0][1] < 5
    assert "learning curve of 3 sizes in " in tuned.run.reason
    assert " draws alone: as a whole it takes " in tuned.run.reason
    assert len(judge.asked) <= 150 + 3 * 30 + 75


def test_a_curve_is_thinned_to_two_draws_and_every_second_size() -> None:
    """Draws go first; two of each size and two sizes are the least."""
    whole = [Size(rows, tuple(range(5))) for rows in (8, 16, 32, 64, 128)]

    found = [[(size.rows, len(size.draws)) for size in kept] for kept in thinned(whole)]

    assert found == [
        *([(rows, draws) for rows in (8, 16, 32, 64, 128)] for draws in (5, 4, 3, 2)),
        [(8, 2), (32, 2), (128, 2)],
        [(8, 2), (128, 2)],
    ]
    assert [*thinned([])] == [[]]


def test_what_was_named_is_judged_too(tmp_path: Path) -> None:
    """Rows from elsewhere, swapped terms, changes, hints and picked demos; each answer to a row is judged once."""
    path = task(tmp_path, further=100, named=True)
    tuned, verdict, judge = ran(path)

    found = verdict.findings
    assert found
    assert {each.name for each in found.flips} >= {RIVAL}
    assert {each.name for each in found.steadiness} >= {RIVAL}
    assert {each.name for each in found.elsewhere if each.rows == "ood"} >= {SEED, RIVAL}
    assert {"hinted prompt", "prompt with picked demos"} <= {contender.name for contender in verdict.contenders}
    assert max(judged(judge).values()) == 1
    plan = prepare(path)
    terms = Terms((1e-6, 2e-6), None, {JUDGE: Terms((1e-6, 2e-6), None)})
    parts = {part.name: part for part in estimate(plan, Probe(), terms, np.random.default_rng(0)).parts}
    calls = parts["judge"].calls, parts["judge: further"].calls
    assert calls[1] == (0, 100)
    assert calls[0].low <= len(judge.asked) <= calls[0].high + calls[1].high
    assert tuned.judged
    assert tuned.judged.calls == len(judge.asked)


def test_where_no_baseline_serves_the_judge_is_spared(tmp_path: Path) -> None:
    """A curve of answers that are no better than any row's would be money for nothing."""
    path = task(tmp_path, further=2000)
    words = np.random.default_rng(0).permutation([f"word{i}" for i in range(120)])
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        lines = [(row["text"], word, row["channel"]) for row, word in zip(rows, words, strict=True)]
        csv.writer(file).writerows([("text", "reply", "channel"), *lines])

    tuned, verdict, judge = ran(path)

    assert "No trained baseline serves this task" in verdict.sentence
    assert verdict.curve is None
    assert "no cascade and no learning curve: no trained baseline serves, and the judge is spared" in tuned.run.reason
    assert len(judge.asked) <= 80 + 3 * 30


# --- caps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "most", "named"), [("max_calls", 330, True), ("max_usd", 0.018, False), ("max_tokens", 17_500, False)]
)
def test_a_cap_ends_a_part_and_not_the_verdict(tmp_path: Path, key: str, most: float, named: bool) -> None:
    """Whatever was covered stands, nothing is spent beyond the cap, and what is missing is told."""
    tuned, verdict, _ = ran(task(tmp_path, further=2000, named=named, search=f"{key} = {most}"))

    with Store(tmp_path / "r.db") as store:
        spent = store.spent(tuned.run.id)
    assert {"max_calls": spent.calls, "max_usd": spent.usd, "max_tokens": spent.tokens}[key] <= most
    assert verdict.findings
    assert "learning curve" in tuned.run.reason
    assert tuned.run.status == "finished"


def test_a_judge_that_fails_beside_the_scores_leaves_the_verdict(covered: tuple[Path, Ran]) -> None:
    """A curve of the few rows that it scored throughout would tell nothing."""
    judge = Judging()

    def fail(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "curve":
            judge.says = "Fine!"

    tuned, verdict, _ = ran(covered[0], judge, "failing.db", Watch(fail))

    assert verdict.curve is None
    assert [c.score for c in verdict.contenders] == [c.score for c in covered[1][1].contenders]
    assert "no learning curve: the judge gave no score too often" in tuned.run.reason


# --- resumed ----------------------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from optimizer import tune
from tests.test_judge import Answering, Judging

def logged(kind, name):
    class Logged(kind):
        def complete(self, request):
            done = super().complete(request)
            fd = os.open(sys.argv[3], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
            os.write(fd, f"{name}{hash((request.messages, request.settings))}\\n".encode())
            os.close(fd)
            return done
    return Logged()

tune(Path(sys.argv[1]), db=Path(sys.argv[2]), model=logged(Answering, "a"), judge=logged(Judging, "j"))
"""


def test_a_run_killed_in_its_curve_buys_no_judgement_twice(covered: tuple[Path, Ran], tmp_path: Path) -> None:
    """But for the calls in flight; and it comes to the same end."""
    path, (whole, verdict, judge) = covered
    log, db = tmp_path / "calls.log", path.parent / "killed.db"
    command = [sys.executable, "-c", KILLED, str(path), str(db), str(log)]
    places = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        while not log.exists() or log.read_text().count("\n") < whole.run.bought - 60:
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
    asked = Counter(log.read_text().split())

    _, same, rest = ran(path, db="killed.db")

    workers = load_task(path).model.workers
    assert max(asked.values()) == 1
    assert 0 < len(rest.asked) <= 60 + workers  # those in flight may have given no answer
    assert len(rest.asked) + sum(key.startswith("j") for key in asked) <= len(judge.asked) + workers
    assert (same.curve, same.sentence) == (verdict.curve, verdict.sentence)


def test_a_run_stopped_in_its_curve_finds_the_same_room(tmp_path: Path) -> None:
    """What it had bought of the curve is not counted again: it has as many draws, within the same cap."""
    path = task(tmp_path, further=2000, search="max_calls = 340")
    whole, verdict, judge = ran(path, db="whole.db")

    @dataclass
    class Stopping(Judging):
        watch: Watch = field(default_factory=Watch)

        def complete(self, request: Request) -> Completion:
            if len(self.asked) == len(judge.asked) - 20:
                self.watch.stop.set()
            return super().complete(request)

    stopping = Stopping()
    with pytest.raises(Interrupted):
        tune(path, db=tmp_path / "r.db", model=Answering(), judge=stopping, watch=stopping.watch)
    resumed, same, rest = ran(path)

    assert "learning curve of 3 sizes in " in whole.run.reason
    assert drawn(verdict.curve)[0][1] < 5
    assert (same.curve, same.sentence) == (verdict.curve, verdict.sentence)
    assert max((judged(stopping) + judged(rest)).values()) == 1
    assert resumed.run.bought == whole.run.bought <= 340


# --- a pupil ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "left_out"), [(0, False), (308, True)])
def test_a_baseline_that_learns_from_the_winner_is_judged_too(tmp_path: Path, most: int, left_out: bool) -> None:
    """It stands in the verdict if the caps cover its labels and its judgement, and is told of if they do not."""
    path = task(tmp_path, further=0, search=f"max_calls = {most}")
    with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][300:330]
    with (tmp_path / "more.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text",), *((text,) for text in texts)])
    said = path.read_text(encoding="utf-8").replace("slices =", 'unlabelled = "more.csv"\nslices =')
    path.write_text(said, encoding="utf-8")

    tuned, verdict, judge = ran(path)

    assert (DISTILLED not in {contender.name for contender in verdict.contenders}) == left_out
    assert ("no distillation: it takes " in tuned.run.reason) == left_out
    assert max(judged(judge).values()) == 1
    assert not most or tuned.run.bought <= most
