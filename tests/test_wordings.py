"""Wordings added during a search: in the space, in the search, in results.db, and from another process."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner

from optimizer import Tuned, Watch, add_wording, export, history, tune
from optimizer.cli import main
from optimizer.database.owner import me
from optimizer.engine.board import searched as searched_rows
from optimizer.engine.studies import Declared, distribution
from optimizer.errors import InputError, Interrupted
from optimizer.events import Decided, Event, Stage
from optimizer.records import State, Trial, Wording
from optimizer.search import Found, Hooks, Options, run
from optimizer.store import Store
from search_spaces.opening import DimensionError
from search_spaces.prompt import Prompt
from search_spaces.space import Space
from tests.conftest import Command
from tests.landscape import DEV, Landscape, smooth, space
from tests.small_task import write_task

FEW = DEV[:48]
TEXT = "Say which {output} it is, MAGIC."
LATE = Wording("instruction", "late1", TEXT)
every_sampler = pytest.mark.parametrize("sampler", ["pooled", "tpe", "random"])


def magic(prompt: Prompt) -> float:
    """A landscape on which the late wording is by far the best one."""
    return 0.7 * smooth(prompt) + (0.3 if "MAGIC" in prompt.instruction else 0.0)


def at(*steps: int, seen: list[int] | None = None) -> Callable[[int], Sequence[Wording]]:
    """Let the i-th late wording enter at the i-th of these steps."""

    def arrivals(step: int) -> Sequence[Wording]:
        if seen is not None:
            seen.append(step)
        texts = enumerate(steps, start=1)
        return [replace(LATE, id=f"late{i}", text=f"{TEXT} {i}", step=step) for i, s in texts if s == step]

    return arrivals


def searched(sampler: str, arrivals: Callable[[int], Sequence[Wording]], **given: object) -> Found:
    """Search the landscape."""
    options = Options(sampler=sampler, calls=int(given.pop("calls", 300)), seed=int(given.pop("seed", 0)))  # type: ignore[call-overload]
    replay = given.pop("replay", ())
    landscape = given.pop("landscape", None) or Landscape(magic)
    return run(space(), landscape, FEW, options, replay=replay, hooks=Hooks(arrivals=arrivals, **given))  # type: ignore[arg-type]


def late(trials: Sequence[Trial], number: int = 1) -> list[Trial]:
    """The trials with a late wording."""
    return [trial for trial in trials if trial.params["instruction"] == f"late{number}"]


# --- in the space -----------------------------------------------------------------------------------------


def test_a_slot_is_no_choice_before_it_has_a_text() -> None:
    """Size, points and choices count what has a text; what is declared to Optuna, and the digest, never change."""
    narrow = space(template=["plain", "xml"], labels="names", demos="none", answer_format="bare", reasoning="off")
    wide = narrow.filled("instruction", "late1", TEXT)

    assert (narrow["instruction"].slots[0], narrow["instruction"].slots[-1]) == ("late1", "late8")
    assert narrow["instruction"].choices == ("direct", "decide", "single")
    assert (3 * narrow.size, 4 * wide.size) == (wide.size / 4 * 3 * 3, narrow.size / 3 * 4 * 4)
    assert len(list(wide.points())) == wide.size == narrow.size / 3 * 4
    assert distribution(narrow["instruction"]) == distribution(wide["instruction"])
    assert narrow.digest == wide.digest
    assert wide.build({**wide.seed(), "instruction": "late1"}).instruction == "Say which label it is, MAGIC."


def test_slots_are_filled_in_any_order_and_declared_in_one() -> None:
    """The order in which texts come does not show in what Optuna is told."""
    wide = space().filled("instruction", "late3", "c").filled("instruction", "late1", "a")

    assert distribution(space()["instruction"]) == distribution(wide["instruction"])
    assert wide["instruction"].choices[-2:] == ("late3", "late1")
    for wrong in ("late1", "late9", "direct"):
        with pytest.raises(ValueError, match="no free slot"):
            wide.filled("instruction", wrong, "again")


def test_a_task_file_says_how_many_are_kept() -> None:
    """Eight by default where there is a choice, none where a dimension is locked, else as many as asked for."""
    assert space()["persona"].slots == ()
    assert space(persona={"only": ["none"], "reserved": 2})["persona"].slots == ("late1", "late2")
    assert not space(persona={"only": ["none"], "reserved": 2})["persona"].locked
    assert space(instruction={"reserved": 0})["instruction"].slots == ()
    assert space()["instruction"].slots == tuple(f"late{i}" for i in range(1, 9))
    assert space(instruction={"reserved": 3}).digest != space(instruction={"reserved": 2}).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"instruction": {"reserved": -1}},
            r"\[space.instruction\] reserved = -1; allowed: whole numbers from 0 to 64",
        ),
        ({"instruction": {"reserved": True}}, "reserved = True; allowed: whole numbers"),
        ({"template": {"reserved": 2}}, r"\[space.template\] takes no `reserved`: it has no wordings"),
        ({"instruction": {"add": {"late2": "x"}}}, "the id 'late2' is kept for wordings that come later"),
    ],
)
def test_what_cannot_be_kept_is_refused(change: dict[str, object], message: str) -> None:
    """The message names the key and what is allowed."""
    with pytest.raises(DimensionError, match=message):
        space(**change)


def test_optuna_never_chooses_a_closed_slot() -> None:
    """Where its sampler suggests one, an open choice takes its place, each about as often as another."""
    opened = space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [opened.choose(Declared(opened, study.ask(), seed))["instruction"] for seed in range(300)]

    shares = [chosen.count(choice) / len(chosen) for choice in opened["instruction"].choices]
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) > 0.25


# --- in the search ----------------------------------------------------------------------------------------


@every_sampler
def test_a_late_wording_is_looked_at_first_and_can_win(sampler: str) -> None:
    """At the step at which it comes the leader's prompt is opened with it, for one block; on its landscape it wins."""
    decided: list[Event] = []
    landscape = Landscape(magic)

    found = searched(sampler, at(9), landscape=landscape, event=decided.append)

    first = late(found.trials)[0]
    leader = next(e for e, after in itertools.pairwise(decided) if isinstance(e, Decided) and _is(after, first))
    assert isinstance(leader, Decided)
    assert {**leader.params, "instruction": "late1"} == first.params
    assert [(prompt, outcome.example_id) for (prompt, _), outcome in landscape.log[9]] == [
        (first.prompt, outcome.example_id) for outcome in first.outcomes if outcome.step == 9
    ]
    assert len(landscape.log[9]) == Options().block
    assert found.best.params["instruction"] == "late1"
    assert "MAGIC" in found.best.prompt.instruction
    assert found.best.state is State.COMPLETE


def _is(event: Event, trial: Trial) -> bool:
    return getattr(event, "number", None) == trial.number


def test_the_pooled_searcher_proposes_a_late_wording_in_other_prompts() -> None:
    """A promising one is combined with other ingredients."""
    found = searched("pooled", at(8), calls=400)

    assert len(late(found.trials)) > 1


@every_sampler
def test_before_it_comes_nothing_is_different(sampler: str) -> None:
    """Up to the step at which a wording comes, a search takes the course of one without; then it takes another."""
    without, with_one = (searched(sampler, arrivals) for arrivals in (at(), at(9)))

    assert _course(without, 9) == _course(with_one, 9)
    assert not late(without.trials)
    assert without.trials != with_one.trials


def _course(found: Found, steps: int) -> list[tuple[object, ...]]:
    cells = [
        (o.step, t.number, o.example_id, dict(t.params)) for t in found.trials for o in t.outcomes if o.step < steps
    ]
    return sorted(cells, key=lambda cell: cell[:3])


@every_sampler
def test_several_come_together(sampler: str) -> None:
    """Each gets a block at that step."""
    landscape = Landscape(magic)

    found = searched(sampler, at(7, 7, 12), landscape=landscape)

    assert len(landscape.log[7]) == 2 * Options().block
    assert all(late(found.trials, number) for number in (1, 2, 3))
    assert landscape.calls <= 300


@every_sampler
def test_the_calls_are_kept_whenever_one_comes(sampler: str) -> None:
    """It enters only while calls can be spared beside those for the seed prompt and the leader."""
    for step in (1, 30, 50):
        seen: list[int] = []
        landscape = Landscape(magic)
        found = searched(sampler, at(step, seen=seen), calls=120, landscape=landscape)

        assert landscape.calls <= 120
        assert found.trials[0].n == len(searched_rows(FEW, 120, 0))
        assert min(seen) == 1
        assert bool(late(found.trials)) == (step in seen)


def test_a_wording_that_says_what_another_says_opens_nothing_twice() -> None:
    """Its prompt is the leader's own, or one opened before: no cell is asked again."""
    landscape = Landscape(magic)
    same = Wording("instruction", "late1", "Classify the {inputs} by {output}.")

    found = searched("pooled", lambda step: [same] if step == 6 else [], landscape=landscape)

    assert len({trial.prompt.digest for trial in found.trials}) == len(found.trials)
    assert max(landscape.asked.values()) == 1


def test_a_search_that_had_nothing_to_gain_hopes_again() -> None:
    """One that comes after the rest of the space was given up reopens the search, and wins it."""
    opened = space(template="plain", labels="names", demos="none")

    def truth(prompt: Prompt) -> float:
        return 0.9 if "MAGIC" in prompt.instruction else 0.5

    options = Options(calls=3000)
    plain = run(opened, Landscape(truth), DEV, options)
    last = max(o.step for t in plain.trials for o in t.outcomes)
    found = run(opened, Landscape(truth), DEV, options, hooks=Hooks(arrivals=at(last + 1)))

    assert plain.reason.startswith("nothing to gain")
    assert found.best.params["instruction"] == "late1"
    assert [len(DEV)] * 2 == [found.trials[0].n, found.best.n]


@every_sampler
@pytest.mark.parametrize("cut", [5, 10, 14])
def test_a_resumed_search_goes_on_alike(sampler: str, cut: int) -> None:
    """Cut before, at or after the step at which a wording came, with it entering at the same step: the same course."""
    whole = searched(sampler, at(9))
    kept = [
        replace(t, outcomes=tuple(o for o in t.outcomes if o.step < cut), state=State.RUNNING)
        for t in whole.trials
        if any(o.step < cut for o in t.outcomes)
    ]
    landscape = Landscape(magic)

    resumed = searched(sampler, at(9), replay=kept, landscape=landscape)

    assert late(whole.trials)
    assert resumed == whole
    assert landscape.calls == sum(len(t.outcomes) for t in whole.trials) - sum(len(t.outcomes) for t in kept)


# --- in a run ---------------------------------------------------------------------------------------------


def small(folder: Path) -> Path:
    """A task that takes a second or two."""
    task = write_task(folder, rows=160, search={"calls": 150, "trials": 12})
    task.write_text(task.read_text(encoding="utf-8") + 'calibration = "off"\n', encoding="utf-8")
    return task


class Adding:
    """Adds a wording, from a thread of its own, once the search has decided so often; may stop it later."""

    def __init__(self, db: Path, after: int, stop: int = 10**9) -> None:
        self.db, self.after, self.stop_after = db, after, stop
        self.decided = 0
        self.watch = Watch(self)
        self.stages: list[Stage] = []

    def __call__(self, event: Event) -> None:
        """Follow the run."""
        if isinstance(event, Stage):
            self.stages.append(event)
        if isinstance(event, Decided):
            self.decided += 1
            if self.decided == self.after:
                adder = threading.Thread(target=add_wording, args=(TEXT,), kwargs={"db": self.db})
                adder.start()
                adder.join()
            if self.decided == self.stop_after:
                self.watch.stop.set()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuned, Adding]:
    """A run that was not interrupted, to which a wording was added after four decisions."""
    folder = tmp_path_factory.mktemp("whole")
    adding = Adding(folder / "results.db", 4)
    return folder / "results.db", tune(small(folder), db=folder / "results.db", watch=adding.watch), adding


def test_one_is_added_while_a_run_searches(whole: tuple[Path, Tuned, Adding]) -> None:
    """It enters at the next decision, which is told, and it is written down."""
    db, tuned, adding = whole

    (added,) = [w for w in history(db).wordings() if w.origin == "user"]
    assert Wording("instruction", "late1", TEXT, "user", 4) == added
    assert [f"instruction = late1 enters at step 4: {TEXT}"] == [s.detail for s in adding.stages if "late1" in s.detail]
    assert min(o.step for t in late(tuned.trials) for o in t.outcomes) == 4


def test_a_late_wording_is_shown_and_exported(whole: tuple[Path, Tuned, Adding], tmp_path: Path) -> None:
    """Its trials are as any other; `show` says where the wording comes from."""
    db, tuned, _ = whole
    trial = late(tuned.trials)[0]

    text = CliRunner().invoke(main, ["show", str(trial.number), "--db", str(db)], catch_exceptions=False).output
    (path, *_) = export("python", trial=trial.number, db=db, folder=tmp_path).files
    assert "instruction = late1, added by the user, entered at step 4" in text
    assert "Say which label it is, MAGIC." in text
    assert "MAGIC" in Path(path).read_text(encoding="utf-8")
    assert not history(db).show(0).late


def test_optunas_tables_take_a_late_wording(whole: tuple[Path, Tuned, Adding]) -> None:
    """Every trial is in the study, and those before and after the wording came have the same categories."""
    db, tuned, _ = whole
    study = optuna.load_study(study_name=f"small-{tuned.run.id}", storage=f"sqlite:///{db}")

    assert len(study.trials) == len(tuned.trials)
    assert "late1" in {t.params.get("instruction") for t in study.trials}
    assert len({str(t.distributions["instruction"]) for t in study.trials}) == 1


def test_a_stopped_run_goes_on_as_if_it_had_not_been(whole: tuple[Path, Tuned, Adding], tmp_path: Path) -> None:
    """A wording enters at the same step again, and the same run is found although its space has grown."""
    db, task = tmp_path / "results.db", small(tmp_path)
    with pytest.raises(Interrupted):
        tune(task, db=db, watch=Adding(db, 4, 6).watch)

    tuned = tune(task, db=db)

    assert tuned.run.id == 1
    assert _facts(whole[1]) == _facts(tuned)


def _facts(tuned: Tuned) -> list[tuple[object, ...]]:
    return [(dict(t.params), t.state, t.score, t.reason, t.estimate, t.n) for t in tuned.trials]


def test_another_process_adds_one_before_a_run_is_resumed(tmp_path: Path) -> None:
    """It waits in results.db, and enters at the first new step; what was bought before is not bought again."""
    db, task = tmp_path / "results.db", small(tmp_path)
    adding = Adding(db, 10**9, 4)
    with pytest.raises(Interrupted):
        tune(task, db=db, watch=adding.watch)
    command = [sys.executable, "-m", "optimizer.cli", "add-wording", TEXT, "--db", str(db), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with Store(db) as store:
        replayed = max(o.step for t in store.trials(1) for o in t.outcomes)

    tuned = tune(task, db=db)

    assert json.loads(done.stdout)["run"] == 1
    assert json.loads(done.stdout)["id"] == "late1"
    (added,) = [w for w in history(db).wordings() if w.origin == "user"]
    assert added.step == replayed + 1
    assert min(o.step for t in late(tuned.trials) for o in t.outcomes) == added.step


def test_one_that_no_call_could_be_spared_for_is_told(command: Command, tmp_path: Path) -> None:
    """It waited in vain: the run says so at its end, and it is no longer said to wait."""
    db, task = tmp_path / "results.db", small(tmp_path)
    task.write_text(task.read_text(encoding="utf-8").replace("calls = 150", "calls = 30"), encoding="utf-8")

    tuned = tune(task, db=db, watch=Adding(db, 1).watch)
    listed = command("wordings", "--dimension", "instruction").output

    assert "never tried, since no calls could be spared for them: instruction = late1" in tuned.notes
    assert ", never tried" in listed
    assert ", waits" not in listed


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results.db with a run that was stopped, whose persona is locked and which keeps two ids for instructions."""
    folder = tmp_path_factory.mktemp("interrupted")
    task = small(folder)
    text = task.read_text(encoding="utf-8") + 'persona = "none"\ninstruction = { reserved = 2 }\n'
    task.write_text(text, encoding="utf-8")
    with pytest.raises(Interrupted):
        tune(task, db=folder / "results.db", watch=Adding(folder / "results.db", 10**9, 1).watch)
    return folder / "results.db"


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("  ", "instruction", "the wording is empty"),
        ("Classify the {inputs} by {output}. ", "instruction", "has this wording already: instruction = direct"),
        ("x", "instructions", "unknown dimension with wordings 'instructions'; allowed: persona, instruction, caution"),
        ("x", "template", "unknown dimension with wordings 'template'"),
        (
            "Say {lables}.",
            "instruction",
            "'Say {lables}.' holds {lables}, which stands for nothing; allowed: {description},",
        ),
        ("Read {{text}}.", "instruction", "For braces as they are write { text }, with spaces."),
        ("x", "persona", "persona of run 1 takes no further wordings: it is locked"),
    ],
)
def test_what_cannot_be_added_is_refused(interrupted: Path, text: str, dimension: str, message: str) -> None:
    """One clear line, exit code 2, and nothing is written."""
    arguments = ["add-wording", text, "--dimension", dimension, "--db", str(interrupted)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)

    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert {w.origin for w in history(interrupted).wordings()} == {"space"}


def test_ids_run_out(interrupted: Path, tmp_path: Path) -> None:
    """A third wording finds no place; one that is there already is not taken twice."""
    db = tmp_path / "results.db"
    with sqlite3.connect(interrupted) as old, sqlite3.connect(db) as new:
        old.backup(new)

    assert [add_wording(text, db=db).id for text in ("one", "two")] == ["late1", "late2"]
    with pytest.raises(InputError, match="has this wording already: instruction = late2"):
        add_wording(" two", db=db)
    with pytest.raises(InputError, match="all 2 ids that run 1 keeps for late wordings of instruction are taken"):
        add_wording("three", db=db)


@pytest.mark.parametrize(
    ("status", "owner", "said"),  # no owner: this process
    [
        ("running", "", "the search takes it in at its next decision"),
        ("running", "elsewhere:1:1", "no process here is at work on the run: its search takes it in once"),
        ("interrupted", "", "on the run (interrupted): its search takes it in once `phrasetune tune` resumes it"),
        ("failed", "", "on the run (failed): its search takes it in once `phrasetune tune` resumes it"),
    ],
)
def test_when_a_wording_is_taken_in_is_told_as_it_is(
    interrupted: Path, command: Command, status: str, owner: str, said: str
) -> None:
    """Soon, where a process searches; else when somebody has resumed the run."""
    with sqlite3.connect(interrupted) as old, sqlite3.connect("results.db") as new:
        old.backup(new)
        new.execute("UPDATE runs SET status = ?, owner = ?", (status, owner or me()))

    assert said in " ".join(command("add-wording", "one").output.split())


def test_a_finished_run_takes_none(finished: Path, tmp_path: Path) -> None:
    """Neither by its number nor as the latest; a missing results.db is not made."""
    with pytest.raises(InputError, match=r"the search of run 1 is over \(finished\)"):
        add_wording("x", run=1, db=finished)
    with pytest.raises(InputError, match="no run here is searching"):
        add_wording("x", db=finished)
    with pytest.raises(InputError, match="has no run 7"):
        add_wording("x", run=7, db=finished)
    with pytest.raises(InputError, match="no results here"):
        add_wording("x", db=tmp_path / "none.db")

    assert not (tmp_path / "none.db").exists()


def test_results_db_says_what_every_id_stands_for(finished: Path) -> None:
    """The wordings that a run began with are there to be read, too."""
    opened: Space = space()
    texts = {(w.dimension, w.id): w.text for w in history(finished).wordings()}

    assert texts["instruction", "direct"] == opened["instruction"].texts["direct"]
    assert {"persona", "instruction", "caution"} == {dimension for dimension, _ in texts}
