"""The whole journey on the embedded model, and what must hold on the way: sealed rows, nothing bought twice."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pytest

from optimizer import history, make_task, predict, progress, tune
from optimizer.embedded import EmbeddedModel
from optimizer.errors import InputError, Interrupted, ModelError, StoreError
from optimizer.events import Decided, Event, Stage
from optimizer.preparing import prepare
from optimizer.records import Completion, Kind, Request, State, Trial
from optimizer.store import Store
from optimizer.task import load_task
from optimizer.task_sections import ModelSpec, Proposer
from optimizer.tuned import Tuned
from optimizer.watch import Watch
from tests.small_task import write_task

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Watched:
    """The embedded model at a price, keeping every request that it is sent."""

    name: str = "watched"
    address: str = ""
    price: tuple[float, float] | None = (1e-6, 2e-6)
    asked: list[str] = field(default_factory=list)

    def complete(self, request: Request) -> Completion:
        """Answer as the embedded model does, and charge for it."""
        self.asked.append("\n".join([str(request.settings), *(message.content for message in request.messages)]))
        done = EmbeddedModel().complete(request)
        cost = done.prompt_tokens * 1e-6 + done.completion_tokens * 2e-6
        return Completion(done.text, done.prompt_tokens, done.completion_tokens, cost, 0.001)


def facts(trials: tuple[Trial, ...] | list[Trial]) -> list[tuple[object, ...]]:
    """Say of each trial what must be equal in equal runs."""
    return [
        (t.number, dict(t.params), t.state, t.score, t.n, dict(t.steps), t.reason, t.estimate, t.credible)
        for t in trials
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A run of the small task that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    return tune(write_task(folder), db=folder / "whole.db", model=Watched())


def test_the_journey_ends_with_a_verdict_on_the_same_rows(tmp_path: Path) -> None:
    """Seed prompt, best prompt and baseline are judged on exactly the sealed test rows."""
    task = write_task(tmp_path)

    tuned = tune(task, db=tmp_path / "r.db")

    test = {example.id for example in prepare(task).data.test}
    assert tuned.verdict
    assert [c.name for c in tuned.verdict.contenders] == ["seed prompt", "best prompt", "trained baseline", "cascade"]
    assert all({outcome.example_id for outcome in c.outcomes} == test for c in tuned.verdict.contenders)
    assert [(t.state, t.n) for t in (tuned.trials[0], tuned.best)] == [(State.COMPLETE, 31)] * 2
    assert tuned.run.status == "finished"
    assert tuned.run.bought > 0
    assert tuned.prompt == history(tmp_path / "r.db").show().prompt


def test_what_comes_of_a_run_is_short_when_printed(whole: Tuned) -> None:
    """Run, winner and the verdict's sentence; no rows or outcomes, nor in a trial or the verdict."""
    said, sentence = repr(whole), whole.verdict.sentence if whole.verdict else "no verdict"

    assert f"run {whole.run.id}, small" in said
    assert f"trial {whole.best.number} of {len(whole.trials)}" in said
    assert sentence in said
    assert len(said) < 1_000
    assert "Outcome(" not in repr((*whole.trials, whole.verdict))
    assert "Example(" not in repr(whole.trials)
    assert len(repr(whole.run)) < 500
    assert len(repr(whole.verdict)) < 2_000


def test_a_constraint_is_kept_and_the_front_is_told(tmp_path: Path) -> None:
    """With `pareto` and a limit on tokens the winner keeps the limit, and the front is the same from results.db."""
    search = {"calls": 400, "trials": 40, "pareto": True, "constraints.max_prompt_tokens": 150}

    tuned = tune(write_task(tmp_path, search=search), db=tmp_path / "r.db", model=Watched())

    taken = [outcome.prompt_tokens for outcome in tuned.best.outcomes]
    assert sum(taken) <= 150 * len(taken)
    assert len(tuned.front) > 1
    assert [t.number for t in tuned.front] == [t.number for t in history(tmp_path / "r.db").front()]


def test_a_second_run_buys_nothing(copied: Path) -> None:
    """The same task on the same database finds every completion in the ledger, and comes to the same end."""
    first = history(copied)

    second = tune(copied.parent / "task.toml", db=copied)

    assert second.run.bought == 0
    assert facts(first.trials(1)) == facts(second.trials)
    verdict = first.verdict(1)
    assert verdict
    assert second.verdict
    assert verdict.sentence == second.verdict.sentence
    assert (verdict.opened, second.verdict.opened) == (1, 1)  # no further look


def test_no_test_row_is_sent_before_the_verdict(tmp_path: Path) -> None:
    """Test rows reach the model only after the search, and no dev or test row is ever shown as a demo."""
    task = write_task(tmp_path, marked=True)
    model, sent_before = Watched(), []

    def watch(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "verdict":
            sent_before.extend(model.asked)

    tune(task, db=tmp_path / "r.db", model=model, watch=Watch(watch))

    data = prepare(task).data
    marks = {split: {row.text.split()[-1] for row in getattr(data, split)} for split in ("dev", "test")}
    assert sent_before
    assert not [mark for mark in marks["test"] if any(mark in text for text in sent_before)]
    # A request holds the marks of its demos and of its own row: at most one that is not a training row's.
    for text in model.asked:
        assert (
            sum(word in marks["dev"] | marks["test"] for word in text.replace("<", " ").replace('"', " ").split()) == 1
        )


@dataclass
class Stopping(Watched):
    """Stops the run, as Ctrl-C does, when so many calls were made."""

    after: int = 0
    watch: Watch = field(default_factory=Watch)

    def complete(self, request: Request) -> Completion:
        """Answer all the same."""
        if len(self.asked) == self.after:
            self.watch.stop.set()
        return super().complete(request)


@pytest.mark.parametrize("after", [3, 100, 290])
def test_a_stopped_run_is_resumed_to_the_same_end(whole: Tuned, tmp_path: Path, after: int) -> None:
    """A run stopped after some calls and started again equals one that was left alone, call for call."""
    task = write_task(tmp_path)

    stopping = Stopping(after=after)
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", model=stopping, watch=stopping.watch)
    assert history(tmp_path / "r.db").run().status == "interrupted"

    model = Watched()
    resumed = tune(task, db=tmp_path / "r.db", model=model)

    assert len(history(tmp_path / "r.db").runs()) == 1
    assert facts(whole.trials) == facts(resumed.trials)
    assert whole.run.bought == resumed.run.bought == len(stopping.asked) + len(model.asked)
    assert not Counter(stopping.asked) & Counter(model.asked)


def test_what_was_reused_before_a_stop_counts_too(copied: Path) -> None:
    """A second run that buys nothing, stopped after ten decisions and resumed, counts no less than one left alone."""
    task = copied.parent / "task.toml"
    alone = tune(task, db=copied).run
    text = task.read_text(encoding="utf-8")
    task.write_text(text.replace("trials = 3", "trials = 4"), encoding="utf-8")  # another run that asks the same
    left = 10

    def stop(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, Decided)
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(task, db=copied, watch=Watch(stop))
    stopped = history(copied).run()
    resumed = tune(task, db=copied).run

    assert (stopped.id, stopped.status) == (resumed.id, "interrupted")
    assert 0 < stopped.reused < alone.reused <= resumed.reused


@pytest.mark.parametrize("decisions", [1, 3, 10])
def test_a_run_that_is_stopped_while_it_is_resumed_can_be_resumed(whole: Tuned, tmp_path: Path, decisions: int) -> None:
    """What it has come to again is no less than what it had come to."""
    task, db, stopping, left = write_task(tmp_path), tmp_path / "r.db", Stopping(after=200), decisions
    with pytest.raises(Interrupted):
        tune(task, db=db, model=stopping, watch=stopping.watch)

    def stop(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, Decided)
        if not left:
            raise KeyboardInterrupt

    again = Watched()
    with pytest.raises(KeyboardInterrupt):
        tune(task, db=db, model=again, watch=Watch(stop))
    last = Watched()
    resumed = tune(task, db=db, model=last)

    assert facts(whole.trials) == facts(resumed.trials)
    assert not again.asked
    assert not Counter(stopping.asked) & Counter(last.asked)


KILLED = """
import os, sys
from pathlib import Path
from optimizer import tune
from tests.test_journey import Watched

class Logged(Watched):
    def complete(self, request):
        done = super().complete(request)
        fd = os.open(sys.argv[3], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(fd, (str(hash((request.messages, request.settings))) + "\\n").encode())
        os.close(fd)
        return done

tune(Path(sys.argv[1]), db=Path(sys.argv[2]), model=Logged())
"""


@pytest.mark.parametrize("after", [20, 150])
def test_a_killed_run_loses_at_most_what_was_in_flight(whole: Tuned, tmp_path: Path, after: int) -> None:
    """After kill -9, at most the calls in flight are bought again, and the run comes to the same end."""
    task = write_task(tmp_path)
    log, db = tmp_path / "calls.log", tmp_path / "r.db"
    command = [sys.executable, "-c", KILLED, str(task), str(db), str(log)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        while not log.exists() or log.read_text().count("\n") < after:
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)

    subprocess.run(command, cwd=ROOT, env=environment, check=True)

    calls = Counter(log.read_text().split())
    workers = load_task(task).model.workers
    assert calls.total() - len(calls) <= workers
    assert facts(whole.trials) == facts(history(db).trials())
    with sqlite3.connect(db) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert [(len(calls),)] == connection.execute("SELECT COUNT(*) FROM completions").fetchall()


def test_a_cap_on_calls_is_kept_and_leaves_enough_for_the_verdict(tmp_path: Path) -> None:
    """The search ends early, so that the test rows can still be scored within the cap."""
    task = write_task(tmp_path, search={"max_calls": 300, "calls": 2000})
    model = Watched()

    tuned = tune(task, db=tmp_path / "r.db", model=model)

    assert len(model.asked) <= 300
    assert tuned.verdict
    assert re.match(r"200 answers were looked at|the \d calls left cannot score another prompt", tuned.run.reason)
    assert "; max_calls = 300 leaves the search 200 of its 2,000 answers" in tuned.run.reason


def test_a_cap_on_dollars_is_kept(tmp_path: Path) -> None:
    """What is spent never passes the cap, by the model's own account."""
    task = write_task(tmp_path, search={"max_usd": 0.1, "calls": 2000})

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    assert 0 < tuned.run.cost <= 0.1
    assert "the budget of $0.1 is used up" in tuned.run.reason
    assert tuned.verdict


def test_a_cap_on_dollars_needs_a_price(tmp_path: Path) -> None:
    """A model without a known price is refused before the first call."""
    task = write_task(tmp_path, search={"max_usd": 1.0})
    model = Watched(price=None)

    with pytest.raises(ModelError, match="has no known price"):
        tune(task, db=tmp_path / "r.db", model=model)

    assert model.asked == []


def test_other_rows_are_another_run(tmp_path: Path) -> None:
    """A run that was stopped is not resumed when the rows have changed."""
    task = write_task(tmp_path)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", watch=watch)
    rows = (tmp_path / "rows.csv").read_text(encoding="utf-8")
    (tmp_path / "rows.csv").write_text(rows.rsplit("\n", 2)[0] + "\n", encoding="utf-8")

    tune(task, db=tmp_path / "r.db")

    assert [run.status for run in history(tmp_path / "r.db").runs()] == ["finished", "interrupted"]


def test_optuna_reads_the_trials(finished: Path) -> None:
    """Every finished trial stands in Optuna's own tables, with its value, parameters, state and steps."""
    records = history(finished)
    trials, winner = records.trials(), records.run().winner
    assert winner is not None

    study = optuna.load_study(study_name="small-1", storage=f"sqlite:///{finished}")

    assert len(trials) == len(study.trials)
    assert trials[winner].score == study.best_value
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    mirrored = {trial.user_attrs["trial"]: trial for trial in study.trials}
    for trial in trials:
        theirs = mirrored[trial.number]
        assert trial.state.value.upper() == theirs.state.name
        assert (trial.score if trial.state is State.COMPLETE else None) == theirs.value
        assert dict(trial.steps) == theirs.intermediate_values
        assert theirs.params.items() <= trial.params.items()
        assert theirs.params


def test_a_run_that_ends_before_its_trials_are_copied_is_gone_on_with(tmp_path: Path) -> None:
    """No run is finished without its study; what was bought for it, the verdict too, stays as it is."""
    task, db = write_task(tmp_path), tmp_path / "r.db"

    def end(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "mirror":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(task, db=db, model=Watched(), watch=Watch(end))

    model = Watched()
    tuned = tune(task, db=db, model=model)

    study = optuna.load_study(study_name="small-1", storage=f"sqlite:///{db}")
    assert len(study.trials) == len(tuned.trials)
    assert [run.status for run in history(db).runs()] == ["finished"]
    assert not model.asked
    assert tuned.verdict
    assert tuned.verdict.opened == 1


def test_optuna_gets_trials_when_they_have_ended(tmp_path: Path) -> None:
    """Those still under way when a run is stopped are copied later, when it is resumed; no trial stands there twice."""
    task = write_task(tmp_path)
    model = Watched()
    watch = Watch(lambda _: watch.stop.set() if len(model.asked) > 120 else None)
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", model=model, watch=watch)
    before = optuna.load_study(study_name="small-1", storage=f"sqlite:///{tmp_path / 'r.db'}").trials

    tuned = tune(task, db=tmp_path / "r.db", model=Watched())

    after = optuna.load_study(study_name="small-1", storage=f"sqlite:///{tmp_path / 'r.db'}").trials
    assert "RUNNING" not in {trial.state.name for trial in before}
    assert len(before) < len(after)
    assert sorted(trial.user_attrs["trial"] for trial in after) == list(range(len(tuned.trials)))


@pytest.mark.parametrize("after", [120, 200, 290])
def test_optunas_copy_of_a_run_that_was_stopped_says_what_one_that_was_not_says(
    whole: Tuned, tmp_path: Path, after: int
) -> None:
    """What a trial cost and how good it is held to be, though it was copied before the search knew."""
    task, db, stopping = write_task(tmp_path), tmp_path / "r.db", Stopping(after=after)
    with pytest.raises(Interrupted):
        tune(task, db=db, model=stopping, watch=stopping.watch)
    tune(task, db=db, model=Watched())

    study = optuna.load_study(study_name="small-1", storage=f"sqlite:///{db}")

    copied = {trial.user_attrs["trial"]: trial for trial in study.trials}
    for trial in whole.trials:
        theirs = copied[trial.number]
        said = theirs.user_attrs
        assert (said["estimate"], said["rows"], said["reason"]) == (trial.estimate, trial.n, trial.reason)
        assert said["cost"] == pytest.approx(sum(outcome.cost for outcome in trial.outcomes))
        assert dict(trial.steps) == theirs.intermediate_values
        assert trial.state.value.upper() == theirs.state.name


def test_the_winner_answers_new_rows(copied: Path, tmp_path: Path) -> None:
    """New rows get an answer each, and a score where they have a target; asking again buys nothing."""
    run = history(copied).run()
    new = tmp_path / "new.csv"
    new.write_text("text,label\nI was charged twice,billing\nThe app crashes,bug\n", encoding="utf-8")
    bare = tmp_path / "bare.csv"
    bare.write_text("text\nplease cancel my plan\n", encoding="utf-8")

    first, again = (predict(new, run, db=copied) for _ in range(2))
    without = predict(bare, run, db=copied)

    labels = set(prepare(tmp_path / "task.toml").labels)
    assert set(first.answers) <= labels
    assert first.score is not None
    assert (first.bought, again.bought) == (2, 0)
    assert None is without.score
    assert len(without.answers) == 1


def test_rows_without_the_prompts_input_are_refused(copied: Path, tmp_path: Path) -> None:
    """A file that lacks the input column gets one clear error."""
    new = tmp_path / "new.csv"
    new.write_text("message\nhello\n", encoding="utf-8")

    with pytest.raises(InputError, match="text"):
        predict(new, history(copied).run(), db=copied)


def test_a_prompt_that_says_what_training_rows_show_has_used_them(tmp_path: Path) -> None:
    """Telling words in the instruction come from all training rows, as those beside the labels do."""
    changes = {"space": {"demos": "none", "labels": "names"}, "seed": {"instruction": "telling"}}
    task = load_task(write_task(tmp_path, rows=60, search={"calls": 40})).model_copy(update=changes)

    verdict = tune(task, db=tmp_path / "r.db").verdict

    assert verdict
    assert verdict.contenders[0].train_rows == 30


def test_open_answers_get_a_rival_that_says_what_it_is(tmp_path: Path) -> None:
    """Without labels the rival retrieves, and the verdict's detail says so."""
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "answer"])
        rows.writerows([f"what is {a} plus {b}", str(a + b)] for a in range(9) for b in range(9))
    (tmp_path / "task.toml").write_text(
        '[task]\nname = "sums"\nkind = "qa"\n[data]\nfile = "rows.csv"\ninputs = ["question"]\ntarget = "answer"\n'
        '[search]\ncalls = 80\n[space]\ntemplate = ["plain", "chat"]\n',
        encoding="utf-8",
    )

    tuned = tune(tmp_path / "task.toml", db=tmp_path / "r.db")

    assert tuned.verdict
    assert tuned.verdict.metric == "exact_match"
    assert "nearest training row" in tuned.verdict.contenders[2].detail


def test_slots_are_extracted_under_their_own_metric(tmp_path: Path) -> None:
    """An extraction task runs from rows of JSON answers to a verdict in slot F1."""
    rows = [
        {"text": f"book a table for {n} in {city}", "answer": {"party": str(n), "city": city}}
        for n in range(2, 14)
        for city in ("Rome", "Oslo", "Lima", "Bonn")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "task.toml").write_text(
        '[task]\nname = "slots"\nkind = "extraction"\n[data]\nfile = "rows.jsonl"\ninputs = ["text"]\n'
        'target = "answer"\n[search]\ncalls = 80\n[space]\ntemplate = ["plain", "xml"]\n',
        encoding="utf-8",
    )

    tuned = tune(tmp_path / "task.toml", db=tmp_path / "r.db")

    assert tuned.verdict
    assert tuned.verdict.metric == "slot_f1"
    assert 0 < tuned.verdict.contenders[2].score < 1


def test_a_run_stopped_after_the_test_was_opened_chooses_no_other_winner(tmp_path: Path) -> None:
    """Resumed in its verdict, a run goes on to the verdict; it does not search on."""
    task = write_task(tmp_path, search={"max_usd": 0.1, "calls": 2000})
    whole = tune(task, db=tmp_path / "whole.db", model=Watched())
    watch = Watch()
    model = Watched()

    def stop(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "verdict":
            watch.stop.set()

    watch.event = stop
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", model=model, watch=watch)

    resumed = tune(task, db=tmp_path / "r.db", model=Watched())

    assert facts(whole.trials) == facts(resumed.trials)
    assert (whole.best.number, whole.run.reason) == (resumed.best.number, resumed.run.reason)
    assert whole.verdict
    assert resumed.verdict
    assert whole.verdict.sentence == resumed.verdict.sentence


@pytest.mark.parametrize("workers", [1, 16])
def test_a_cap_on_dollars_ends_the_search_alike_for_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    """What is in flight is awaited before a call is refused, so that haste costs no calls."""
    task = load_task(write_task(tmp_path, search={"max_usd": 0.1, "calls": 2000}))
    eight = tune(task, db=tmp_path / "eight.db", model=Watched())

    other = task.model_copy(update={"model": task.model.model_copy(update={"workers": workers})})
    tuned = tune(other, db=tmp_path / "other.db", model=Watched())

    assert abs(len(eight.trials) - len(tuned.trials)) <= 1


def test_another_model_is_another_run(tmp_path: Path) -> None:
    """A run that one model began is not continued by another, and is not applied with another."""
    task = write_task(tmp_path)
    watch = Watch(lambda event: watch.stop.set() if getattr(event, "best", None) is not None else None)
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", model=Watched(), watch=watch)

    tune(task, db=tmp_path / "r.db", model=Watched(name="other"))

    assert [(run.model, run.status) for run in history(tmp_path / "r.db").runs()] == [
        ("other", "finished"),
        ("watched", "interrupted"),
    ]
    with pytest.raises(InputError, match="was tuned on 'other', not 'embedded'"):
        predict(tmp_path / "rows.csv", history(tmp_path / "r.db").run(), db=tmp_path / "r.db")


def test_a_model_of_ones_own_needs_four_names(tmp_path: Path) -> None:
    """What it says of an error is final and no answer; what it raises ends the run, which the same call resumes."""
    rows = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(60)]
    task = make_task(rows, search={"calls": 80, "trials": 2}, baseline={"trials": 1}, space={"template": "plain"})

    with pytest.raises(RuntimeError, match="out of memory"):
        tune(task, db=tmp_path / "r.db", model=Own(most=20))
    (tuned, whole), model = (history(tmp_path / "r.db").runs()[0], Own()), Own()
    again = tune(task, db=tmp_path / "r.db", model=model)
    alike = tune(task, db=tmp_path / "whole.db", model=whole)

    assert (tuned.status, again.run.id) == ("failed", 1)
    assert model.asked < whole.asked
    assert facts(again.trials) == facts(alike.trials)
    failed = [outcome for outcome in again.trials[0].outcomes if outcome.kind is Kind.ERROR]
    assert {outcome.text for outcome in failed} == {"no answer to a seven"}


class Own:
    """Answers a, but to rows with a seven, until it has been asked `most` times."""

    name, address, price = "own", "", (0.0, 0.0)

    def __init__(self, most: int = 10**6) -> None:
        self.most, self.asked = most, 0

    def complete(self, request: Request) -> Completion:
        """Answer, fail, or break down."""
        self.asked += 1
        if self.asked > self.most:
            raise RuntimeError("out of memory")
        failed = "7" in request.messages[-1].content.rpartition("row")[2]
        return Completion("", error="no answer to a seven") if failed else Completion("a", 3, 1)


def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path: Path) -> None:
    """Two commands never write into one run; a run whose process has died is taken over."""
    task = write_task(tmp_path)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Interrupted):
        tune(task, db=tmp_path / "r.db", watch=watch)
    with subprocess.Popen(
        [sys.executable, "-c", "from optimizer.database.owner import me; print(me(), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as other:
        assert other.stdout
        owner = other.stdout.readline().strip()
        with sqlite3.connect(tmp_path / "r.db") as db:
            db.execute("UPDATE runs SET status = 'running', owner = ?", [owner])
        with pytest.raises(StoreError, match=f"run 1 is being worked on by process {other.pid}"):
            tune(task, db=tmp_path / "r.db")
        other.kill()

    assert tune(task, db=tmp_path / "r.db").run.id == 1


def test_a_run_that_another_thread_works_on_is_left_to_it(tmp_path: Path) -> None:
    """Nor do two parts of one process write into one run; what an earlier part left is taken over."""
    task, db = write_task(tmp_path), tmp_path / "r.db"
    refused: list[str] = []

    def again(event: Event) -> None:
        if isinstance(event, Decided) and not refused:
            with pytest.raises(StoreError) as told:
                tune(task, db=db)
            refused.append(str(told.value))

    assert tune(task, db=db, watch=Watch(again)).run.status == "finished"
    assert [f"run 1 is being worked on by process {os.getpid()} (this one). Wait" in said for said in refused] == [True]
    with closing(sqlite3.connect(db)) as left, left:
        left.execute("UPDATE runs SET status = 'running'")
    assert tune(task, db=db).run.id == 1


def test_a_run_that_is_interrupted_in_its_last_step_says_so(tmp_path: Path) -> None:
    """Another process may then finish it, though this one goes on to live."""
    task, db = write_task(tmp_path), tmp_path / "r.db"

    def interrupt(event: Event) -> None:
        if isinstance(event, Stage) and event.name == "mirror" and history(db).run().status == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as broken:
        tune(task, db=db, watch=Watch(interrupt))

    assert broken.value.__notes__ == [f"run 1 is kept in {db}: the same call goes on where it stopped"]
    assert [run.status for run in history(db).runs()] == ["interrupted"]
    assert (tune(task, db=db).run.id, history(db).run(1).status) == (1, "finished")


def test_a_notebook_shows_the_verdict_as_tables(whole: Tuned) -> None:
    """In Markdown: a line for each contender and comparison, then the sentence."""
    shown = whole._repr_markdown_()

    assert whole.verdict
    for contender in whole.verdict.contenders:
        assert re.search(rf"^\| {contender.name}.* \| {100 * contender.score:.1f} % \|", shown, re.MULTILINE)
    for c in whole.verdict.comparisons:
        assert f"| {c.a} − {c.b} | {100 * c.difference:+.1f} |" in shown
    assert shown.endswith(whole.verdict.sentence.replace("~", "\\~"))


def test_progress_is_told_in_lines(tmp_path: Path) -> None:
    """Each part, who leads at each tenth of the answers, and notes."""
    told: list[str] = []

    watch = progress(told.append)
    tune(write_task(tmp_path), db=tmp_path / "r.db", watch=watch)

    parts = [line.partition(":")[0] for line in told if " answers" not in line]
    assert [parts.count(part) for part in ("reading", "search", "baseline", "verdict")] == [1] * 4
    looked = [re.fullmatch(r"(\d+) of 250 answers: trial \d+ leads", line) for line in told]
    counts = [int(found[1]) for found in looked if found]
    assert counts == sorted(counts)
    assert 8 <= len({10 * count // 250 for count in counts}) == len(counts) <= 10
    late, begun = Stage("search", "a late wording"), "25 of 250 answers: trial 0 leads"
    for each in (Decided(25, 250, 0, {}), late, Decided(30, 250, 0, {}), Decided(25, 250, 0, {})):
        watch.event(each)
    assert told[-3:] == [begun, "search: a late wording", begun]


def test_a_proposer_that_is_brought_is_asked(tmp_path: Path) -> None:
    """Whether the task names one or not; the model that is brought proposes where the task leaves that to its own."""
    proposer, model = Watched("writer"), Watched("openai/x")

    brought = tune(write_task(tmp_path), db=tmp_path / "brought.db", model=Watched(), proposer=proposer)
    task = load_task(write_task(tmp_path)).model_copy(
        update={"model": ModelSpec(name=model.name), "proposer": Proposer()}
    )
    tune(task, db=tmp_path / "own.db", model=model)

    assert proposer.asked
    assert any(said.startswith("proposals: 0 wordings enter") for said in brought.said)
    assert any("wordings" in asked for asked in model.asked)
    with pytest.raises(InputError, match="a judge is given, and the metric is 'accuracy'"):
        tune(write_task(tmp_path), db=tmp_path / "judged.db", judge=Watched())


def test_rows_without_a_wanted_answer_are_answered_too(copied: Path, tmp_path: Path) -> None:
    """An empty target column is no error in rows to be answered; rows from the run's own data are counted."""
    run = history(copied).run()
    new = tmp_path / "new.csv"
    new.write_text("text,label\nI was charged twice,billing\nno answer yet,\n", encoding="utf-8")

    done = predict(new, run, db=copied)
    own = predict(tmp_path / "rows.csv", run, db=copied)

    assert len(done.answers) == 2
    assert (done.seen, own.seen) == (0, 200)
    assert done.score is not None


def test_texts_without_words_get_a_rival_too(tmp_path: Path) -> None:
    """Rows of single signs do not bring the training down."""
    rows = "".join(f"{'🙂🙃'[i % 2]}{'!' * (i // 2)},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (tmp_path / "task.toml").write_text(
        '[task]\nname = "signs"\n[data]\nfile = "rows.csv"\ninputs = ["text"]\ntarget = "label"\n'
        '[search]\ncalls = 40\n[space]\ntemplate = "plain"\n',
        encoding="utf-8",
    )

    assert tune(tmp_path / "task.toml", db=tmp_path / "r.db").verdict


def test_the_cap_on_minutes_counts_what_was_worked_before_a_stop(tmp_path: Path) -> None:
    """A resumed run goes on from the seconds in results.db, and ends where they reach the cap."""
    task = write_task(tmp_path, search={"calls": 250, "max_minutes": 30})
    db = tmp_path / "r.db"

    def stopped() -> float:
        watch = Watch(lambda event: watch.stop.set() if getattr(event, "best", None) is not None else None)
        with pytest.raises(Interrupted):
            tune(task, db=db, watch=watch)
        with closing(sqlite3.connect(db)) as conn:
            return float(conn.execute("SELECT worked FROM runs").fetchone()[0])

    first, second = stopped(), stopped()
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("UPDATE runs SET worked = ?", (second + 30 * 60,))
        conn.commit()
    tuned = tune(task, db=db)

    assert 0 < first < second < 60
    assert "the budget of 30 minutes is used up" in tuned.run.reason
    assert tuned.verdict is None
    with Store(db) as store:
        assert store.worked(tuned.run.id) > second + 30 * 60
