"""Programs of DSPy tuned on a task: under its caps, resumed where they stopped, with a proposer and a teacher."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Signal
from typing import Any

import dspy
import pytest
from server import ChatServer, Latency

from optimizer import PromptSearch, history
from optimizer.calls.clerk import Clerk
from optimizer.errors import Interrupted, ProviderError, TaskError
from optimizer.events import Event, Notice
from optimizer.programs.adapted import adapt
from optimizer.programs.tuning import TunedProgram, tune_program
from optimizer.records import Completion, Request
from optimizer.store import Store
from optimizer.task import load_task
from optimizer.watch import Watch
from search_spaces.prompt import Message, Settings
from tests import proposing
from tests.conftest import Command
from tests.proposing import Proposing
from tests.small_task import write_task

PROGRAM = """
import dspy

class Sort(dspy.Module):
    def __init__(self):
        super().__init__()
        self.label = dspy.Predict("text -> label")

    def forward(self, text):
        return self.label(text=text)

class Other(Sort):
    def forward(self, text):
        return dspy.Prediction(mood="good")

def broken():
    raise RuntimeError("no")
"""


def test_a_program_is_tuned_from_the_command_line(command: Command, tmp_path: Path) -> None:
    """`tune --program` searches on dev rows, judges on the sealed ones, and saves what a fresh program can load."""
    task, saved = write_task(tmp_path, rows=60, search={"calls": 120}), tmp_path / "sort.json"
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")
    options = ["--program", "programs:Sort", "--allow-code", "--db", str(tmp_path / "results.db"), "--json"]

    told = json.loads(command("tune", str(task), *options, "--save", str(saved)).stdout)
    again = json.loads(command("tune", str(task), *options).stdout)

    assert told["calls"] <= 120
    assert told["verdict"]["contenders"][0]["name"] == "seed prompt"
    assert (told["verdict"]["opened"], again["verdict"]["opened"]) == (1, 1)  # the same run again is no other look
    assert again["best"]["params"] == told["best"]["params"]
    assert "label.adapter" in command("history", *options[-3:-1]).stdout
    shown = command("show", *options[-3:-1]).stdout
    assert "\n      phrasetune report" in shown
    assert "nobody knows" not in shown
    demos = sum(len(step["demos"]) for step in json.loads(history(tmp_path / "results.db").show().prompt).values())
    card = command("card", *options[-3:-1]).stdout
    assert "- **settings**: as its steps set them" in card
    assert f"- **training rows that it holds word for word**: {demos}\n" in card
    sides = [line.split() for line in command("compare", "1:0", "1", *options[-3:-1]).stdout.splitlines()[2:4]]
    assert [side[-3] for side in sides] == ["$0"] * 2
    assert all(int(side[-2].replace(",", "")) > 0 for side in sides)
    loaded = adapt(dspy.Predict("text -> label"))
    loaded.load_state(json.loads(saved.read_text(encoding="utf-8"))["label"])
    assert loaded.adapter == told["best"]["params"]["label.adapter"]


STEPS = """
import dspy

class Sort(dspy.Module):
    def __init__(self):
        super().__init__()
        self.think = dspy.Predict("text -> summary")
        self.label = dspy.Predict("text, summary -> label")

    def forward(self, text):
        return self.label(text=text, summary=self.think(text=text).summary)
"""


def test_what_a_program_takes_is_planned(command: Command, tmp_path: Path) -> None:
    """Tuning takes no less and no more than the plan says, and none of the plan's calls is bought again."""
    write_task(tmp_path, rows=80, search={"calls": 240})
    (tmp_path / "programs.py").write_text(STEPS, encoding="utf-8")
    given = ("task.toml", "--program", "programs:Sort", "--allow-code", "--db", str(tmp_path / "results.db"))

    nothing = command("plan", *given, "--offline", code=2).stderr
    said = command("plan", *given).stdout
    planned = json.loads(command("plan", *given, "--offline", "--json").stdout)
    tuned = json.loads(command("tune", *given, "--json").stdout)

    assert "holds no call of the program yet. Leave --offline out." in nothing
    assert "programs of 2 predictors\nprobe: the program on training rows: 2.0 calls a row; " in said
    assert f"Next: phrasetune tune {shlex.join(given)}" in said
    assert (planned["program"], planned["calls_per_row"]) == ("programs:Sort", 2)
    assert planned["probe"]["bought"]["calls"] == 0
    assert planned["searched"] == tuned["best"]["rows"]
    with Store(tmp_path / "results.db") as store:
        (bought, tokens), (before,) = (
            tuple(store.rows(f"SELECT {what} FROM completions WHERE run = ?", run)[0])
            for what, run in (("COUNT(*), SUM(prompt_tokens)", 1), ("COUNT(*)", 0))
        )
    low, high = planned["total"]["calls"]
    assert 0 < before <= 16
    assert low - before <= bought <= high
    low, high = planned["total"]["prompt_tokens"]
    assert low - before * planned["prompt_tokens"][1] <= tokens <= high


FAILING = """
import dspy

class Breaks(dspy.Module):
    def __init__(self):
        super().__init__()
        self.label = dspy.Predict("text -> label")

    def forward(self, text):
        raise KeyError("my own bug")
"""


def test_a_plan_says_what_is_wrong_with_a_program(command: Command, tmp_path: Path) -> None:
    """One that fails before its first call, a results.db without it, and a cap that `tune` refuses."""
    write_task(tmp_path, rows=60)
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    given, small = ("plan", "task.toml", "--allow-code", "--program"), ("--max-calls", "12")
    command("plan", "task.toml")

    failed = command(*given, "failing:Breaks", code=2).stderr
    unknown = command(*given, "programs:Sort", "--offline", code=2).stderr
    refused = command(*given, "programs:Sort", *small, code=2).stderr

    assert "'failing:Breaks': no call of it was answered (failing.py, line 10: KeyError: 'my own bug')" in failed
    assert "results.db holds no call of the program yet. Leave --offline out." in unknown
    assert "max_calls = 12: the test rows alone take 30 calls. Allow more." in refused
    assert refused == command("tune", *given[1:], "programs:Sort", *small, code=2).stderr.splitlines(keepends=True)[-1]


def test_a_plan_minds_the_cap_and_knows_long_prompts_without_a_call(command: Command, tmp_path: Path) -> None:
    """The search gets what the verdict leaves of the cap; offline the demos are reckoned from their characters."""
    write_task(tmp_path, rows=60, search={"calls": 3000})
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")
    given = ("task.toml", "--allow-code", "--program", "programs:Sort", "--json", "--max-calls", "120")

    command("tune", *given)
    offline = json.loads(command("plan", *given, "--offline").stdout)
    asked = json.loads(command("plan", *given).stdout)

    assert asked["parts"][0]["calls"][1] == 90
    assert asked["total"]["calls"][1] == 120
    assert offline["probe"]["failed"] == 0
    least, most = offline["prompt_tokens"]
    assert 2 * least < most
    assert asked["prompt_tokens"][1] / 2 < most < 3 * asked["prompt_tokens"][1]


def test_who_waits_for_a_purchase_is_told_that_nobody_buys() -> None:
    """As where Ctrl-C comes between two purchases; later askers are told at once."""
    clerk = Clerk(None)  # type: ignore[arg-type] # which buys nothing here
    request = Request((Message("user", "x"),), Settings())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(clerk.ask, request)
        clerk.leave(KeyboardInterrupt("stopped"))

        with pytest.raises(RuntimeError, match="not bought: stopped"):
            waiting.result(timeout=5)
    with pytest.raises(RuntimeError, match="not bought: stopped"):
        clerk.ask(request)


def test_a_program_is_planned_only_if_it_may_run(command: Command, tmp_path: Path) -> None:
    """As it is tuned."""
    write_task(tmp_path, rows=60)
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")

    assert "give --allow-code" in command("plan", "task.toml", "--program", "programs:Sort", code=2).stderr
    assert not (tmp_path / "results.db").exists()


@pytest.mark.parametrize(
    ("options", "search", "said"),
    [
        (["--program", "programs:Sort"], {}, "run only if that is allowed"),
        (["--program", "programs", "--allow-code"], {}, "must be module:name"),
        (["--program", "nowhere:Sort", "--allow-code"], {}, "cannot be read"),
        (["--program", "programs:Missing", "--allow-code"], {}, "has no module of DSPy 'Missing'"),
        (["--program", "programs:broken", "--allow-code"], {}, "failed (RuntimeError: no)"),
        (["--program", "programs:Other", "--allow-code"], {}, "has no field 'label'; it has mood"),
        (["--program", "programs:Sort", "--allow-code", "--teacher", "openai/x"], {}, "none are wanted"),
        (["--program", "programs:Sort", "--allow-code"], {"max_calls": 20}, "the test rows alone take"),
        (["--save", "program.json"], {}, "no program is tuned"),
        (["--program", "programs:Sort", "--allow-code", "--save", "task.toml"], {}, "must be a new file"),
        (["--program", "programs:Sort", "--allow-code", "--save", "no/p.json"], {}, "no such folder"),
    ],
)
def test_a_program_that_cannot_be_tuned_is_refused(
    options: list[str], search: dict[str, Any], said: str, command: Command, tmp_path: Path
) -> None:
    """Exit code 2 and one line."""
    task = write_task(tmp_path, rows=60, search={"calls": 60, **search})
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")

    done = command("tune", str(task), *options, "--quiet", "--db", str(tmp_path / "results.db"), code=2)

    assert said in done.stderr


# --- caps, and stopping -----------------------------------------------------------------------------------


@dataclass
class Sorter:
    """A model in this process, at a price, that takes all for a bug and can read what it is told about bugs."""

    name: str = "sorter"
    address: str = ""
    price: tuple[float, float] | None = (1e-6, 2e-6)
    stop: Signal = field(default_factory=Signal)
    after: int = -1
    asked: list[Request] = field(default_factory=list)

    def complete(self, request: Request) -> Completion:
        """Answer in DSPy's chat layout, and stop the run before a call if that is wanted."""
        if len(self.asked) == self.after:
            self.stop.set()
        self.asked.append(request)
        text = "[[ ## label ## ]]\nbug\n\n[[ ## completed ## ]]"
        return Completion(text, 100, 10, 100 * 1e-6 + 10 * 2e-6, 0.001)


def tuned(
    folder: Path,
    model: Sorter,
    name: str = "r.db",
    said: list[str] | None = None,
    program: str = PROGRAM,
    **more: Any,
) -> TunedProgram:
    """Tune the program of one predictor on the small task that stands in the folder."""
    (folder / "programs.py").write_text(program, encoding="utf-8")

    def event(event: Event) -> None:
        if isinstance(event, Notice) and said is not None:
            said.append(event.text)

    watch, task = Watch(event, model.stop), load_task(folder / "task.toml")
    task.space.pop("template")  # it is one of prompts
    return tune_program(task, "programs:Sort", db=folder / name, model=model, watch=watch, **more)


def trials(db: Path) -> list[tuple[object, float | None, int]]:
    """What was tried, its scores, and on how many rows."""
    with Store(db) as store:
        return [(trial.params, trial.score, trial.n) for trial in store.trials(1)]


@pytest.mark.parametrize("search", [{"pareto": True}, {"constraints.max_prompt_tokens": 100.0}])
def test_what_holds_for_prompts_alone_is_refused(tmp_path: Path, search: dict[str, object]) -> None:
    """Before anything is bought or written, instead of passed over in silence."""
    write_task(tmp_path, rows=60, search={"calls": 200, **search})

    with pytest.raises(TaskError, match=r"\[search\.constraints\] hold for prompts"):
        tuned(tmp_path, Sorter())

    assert not (tmp_path / "results.db").exists()


def test_a_cap_on_dollars_is_kept_and_covers_the_verdict(tmp_path: Path) -> None:
    """What the test rows will take is kept back, so that the search ends before the cap."""
    write_task(tmp_path, rows=60, search={"calls": 200, "max_usd": 0.012})
    found = tuned(tmp_path, Sorter())

    assert "$0.012 is used up" in found.run.reason
    assert found.run.cost is not None
    assert 0.006 < found.run.cost <= 0.012
    assert found.verdict


def test_a_verdict_that_the_caps_do_not_cover_is_left_out(tmp_path: Path) -> None:
    """What was found stands all the same."""
    write_task(tmp_path, rows=60, search={"calls": 60, "max_tokens": 8000})
    found = tuned(tmp_path, Sorter(after=-1, price=None))
    again = history(tmp_path / "r.db").run()

    assert found.run.cost is None
    assert (found.verdict is None) == ("no verdict: the budget of 8,000 tokens" in found.run.reason)
    assert again.status == "finished"
    assert again.winner == found.found.best.number


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that nobody stops: its results.db, and the calls that it took."""
    folder, model = tmp_path_factory.mktemp("whole"), Sorter()
    write_task(folder, rows=60, search={"calls": 80})
    tuned(folder, model)
    return folder / "r.db", len(model.asked)


@pytest.mark.parametrize("after", [3, 31, 82])
def test_a_program_that_was_stopped_goes_on_where_it_was(whole: tuple[Path, int], tmp_path: Path, after: int) -> None:
    """Among the teacher's work, in the search and in the verdict: the same run, no call twice, the same trials."""
    write_task(tmp_path, rows=60, search={"calls": 80})
    stopping, going_on = Sorter(after=after), Sorter()
    with pytest.raises(Interrupted):
        tuned(tmp_path, stopping)
    status = history(tmp_path / "r.db").run().status
    with closing(sqlite3.connect(tmp_path / "r.db")) as conn, conn:
        conn.execute("INSERT INTO failures VALUES (NULL, 1, 'k', 'm', 'e', 0, 1, 'now', 0, 1)")
    said = list[str]()
    resumed = tuned(tmp_path, going_on, said=said)

    assert status == "interrupted"
    assert "1 call of run 1 gave no answer, possibly paid" in said
    assert resumed.run.id == 1
    assert trials(tmp_path / "r.db") == trials(whole[0])
    assert len(stopping.asked) + len(going_on.asked) == whole[1] == resumed.run.bought


def test_what_a_program_reused_before_a_stop_counts_too(whole: tuple[Path, int], tmp_path: Path) -> None:
    """Another run that asks much the same, stopped halfway and resumed, says no less than one left alone."""
    write_task(tmp_path, rows=60, search={"calls": 90})
    (tmp_path / "alone.db").write_bytes(whole[0].read_bytes())
    (tmp_path / "r.db").write_bytes(whole[0].read_bytes())
    alone = tuned(tmp_path, Sorter(), "alone.db").run
    with pytest.raises(Interrupted):
        tuned(tmp_path, Sorter(after=0))
    stopped = history(tmp_path / "r.db").run()
    resumed = tuned(tmp_path, Sorter()).run

    assert (stopped.id, stopped.status) == (resumed.id, "interrupted")
    assert 0 < stopped.reused <= alone.reused <= resumed.reused


def test_a_program_that_is_another_one_by_now_begins_anew(tmp_path: Path) -> None:
    """Where its file is the same, but not what it makes: the trials of the old run stay as they were."""
    write_task(tmp_path, rows=60, search={"calls": 80})
    reading = PROGRAM.replace('dspy.Predict("text -> label")', 'dspy.Predict(dspy.Signature("text -> label", told()))')
    told = "def told():\n    from pathlib import Path\n    return Path(__file__).with_name('told.txt').read_text()\n"
    said: list[str] = []
    (tmp_path / "told.txt").write_text("Sort it.", encoding="utf-8")
    with pytest.raises(Interrupted):
        tuned(tmp_path, Sorter(after=31), program=reading + told)
    before = trials(tmp_path / "r.db")
    (tmp_path / "told.txt").write_text("Sort it well.", encoding="utf-8")
    found = tuned(tmp_path, Sorter(), said=said, program=reading + told)

    assert found.run.id == 2
    assert said[0] == "run 1 cannot go on: its program is another one than it was. A new run begins."
    assert trials(tmp_path / "r.db") == before


def test_kill_9_costs_no_call_twice(server: ChatServer, command: Command, tmp_path: Path) -> None:
    """A program that was killed goes on under the same command; only what was in flight is asked again."""
    task = write_task(tmp_path, rows=60, search={"calls": 80})
    text = task.read_text(encoding="utf-8")
    model = f'[model]\nname = "openai/m"\napi_base = "{server.url}"\nworkers = 4\n'
    task.write_text(text.replace("[search]", f"{model}[search]"), encoding="utf-8")
    (tmp_path / "programs.py").write_text(PROGRAM, encoding="utf-8")
    server.wait(Latency(0.01))
    options = ["tune", str(task), "--program", "programs:Sort", "--allow-code", "--quiet", "--json", "--db"]
    told = json.loads(command(*options, str(tmp_path / "whole.db")).stdout)
    requests = len(server.log)
    server.forget()
    code = f"from optimizer.cli import main; main({[*options, str(tmp_path / 'r.db')]!r})"
    environment = {**os.environ, "OPENAI_API_KEY": "sk-x"}
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=environment)
    server.kill(child.pid, after=45)

    assert child.wait(timeout=60) == -signal.SIGKILL
    again = json.loads(command(*options, str(tmp_path / "r.db")).stdout)

    assert again["run"] == 1
    assert trials(tmp_path / "r.db") == trials(tmp_path / "whole.db")
    assert again["best"]["params"] == told["best"]["params"]
    assert requests <= len(server.log) <= requests + 4
    assert again["bought"] == requests


def test_rows_that_take_more_calls_than_predictors_have_a_verdict(command: Command, tmp_path: Path) -> None:
    """Where nobody set a cap on calls, nothing ends the verdict; what bounds an answer bounds a program's too."""
    task = write_task(tmp_path, rows=60, search={"calls": 60})
    bounded = '[model]\nname = "embedded"\nmax_tokens = 31\n[search]'
    task.write_text(task.read_text(encoding="utf-8").replace("[search]", bounded), encoding="utf-8")
    thrice = "return [self.label(text=f'{text}{mark}') for mark in ('', '!', '?')][0]"
    (tmp_path / "programs.py").write_text(PROGRAM.replace("return self.label(text=text)", thrice), encoding="utf-8")

    said = command("tune", str(task), "--program", "programs:Sort", "--allow-code").stdout

    assert "programs tried; " in said
    assert f"Next: phrasetune tune {task} --program programs:Sort --allow-code --save program.json" in said
    assert "Verdict: " in said
    assert "no verdict" not in said
    with Store(tmp_path / "results.db") as store:
        longest = store.rows("SELECT MAX(completion_tokens) AS most FROM completions")[0]["most"]
        verdict = store.verdict(1)
    assert verdict
    assert verdict.contenders[0].train_rows == 0  # as it came it shows none
    assert longest <= 31


# --- a proposer -------------------------------------------------------------------------------------------

HINT = "Judge the mood by the verb of the {inputs}, whatever it is about."
THINGS = "food wine room view staff bed pool sauna bath desk lamp sofa".split()
EXAMPLES = [
    dspy.Example(text=f"I truly {verb} the old {thing} down there", label=label).with_inputs("text")
    for thing in THINGS
    for verb, label in (("adore", "good"), ("loathe", "bad"))
]


class Reader:
    """A model in this process that is right about moods only where it is told to judge by the verb."""

    name = "reader"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer in DSPy's chat layout."""
        said = request.messages[-1].content.split("[[ ## text ## ]]\n")[-1].split("\n")[0]
        if "`topic` (str)" in request.messages[0].content.partition("Your output fields are")[2].split("All inter")[0]:
            return Completion("[[ ## topic ## ]]\nold things\n\n[[ ## completed ## ]]")
        right = "bad" if "loathe" in said else "good"
        label = right if "by the verb" in request.messages[0].content else "good"
        return Completion(f"[[ ## label ## ]]\n{label}\n\n[[ ## completed ## ]]")


class Steps(dspy.Module):
    """Find the topic, then the mood."""

    def __init__(self) -> None:
        super().__init__()
        self.extract = dspy.Predict(dspy.Signature("text -> topic", "Find the topic."))
        self.classify = dspy.Predict(dspy.Signature("text, topic -> label", "Tell the mood."))

    def forward(self, text: str) -> Any:
        """Return the mood of a text."""
        return self.classify(text=text, topic=self.extract(text=text).topic)


def explained(example: Any, prediction: Any) -> Any:
    """Compare labels, and say what would have been right."""
    right = example.label == prediction.label
    return dspy.Prediction(score=float(right), feedback="" if right else f"The verb makes it {example.label}.")


def mending(system: str, asked: str) -> str:
    """Mend the step that the metric's feedback is about; everything else is of no use."""
    given = proposing.fields(asked)
    if "parts" not in given:
        return proposing.reply([f"Write {sum(map(ord, asked))} about the {{inputs}}, as {i} would." for i in range(2)])
    if "The verb makes it bad." not in given["failures"]:
        return proposing.reply([])
    return proposing.reply([HINT], "It does not look at the verb.", "classify.instruction")


def searched(says: Callable[[str, str], str] = mending, budget: int = 600, **more: Any) -> PromptSearch:
    """Search the program of two steps beside a proposer."""
    search = PromptSearch(explained, model=Reader(), proposer=Proposing(says), budget=budget, **more)
    search.compile(Steps(), trainset=EXAMPLES[:12], valset=EXAMPLES[12:])
    return search


def test_what_a_metric_says_is_read_by_the_proposer() -> None:
    """From rows that fail, with what each step did, it words the step that is to blame; that wins in the same study."""
    model = Proposing(mending)
    search = PromptSearch(explained, model=Reader(), proposer=model, budget=600)
    best = search.compile(Steps(), trainset=EXAMPLES[:12], valset=EXAMPLES[12:])
    repairs = [given for r in model.asked if "parts" in (given := proposing.fields(r.messages[-1].content))]
    failed = json.loads(repairs[0]["failures"])[0]

    assert set(json.loads(repairs[0]["parts"])) == {"extract.instruction", "classify.instruction"}
    assert failed["feedback"] == "The verb makes it bad."
    assert json.loads(failed["steps"]) == [{"extract": {"topic": "old things"}}, {"classify": {"label": "good"}}]
    assert '"extract"' in repairs[0]["task"]
    won = next(wording for wording in search.wordings if wording.text == HINT)
    assert (won.dimension, str(won.reason)) == ("classify.instruction", "repair: It does not look at the verb.")
    assert search.found.best.params["classify.instruction"] == won.id
    assert search.found.best.score == 1.0
    assert (
        best.classify.signature.instructions
        == "Judge the mood by the verb of the text and topic, whatever it is about."
    )
    assert {each.dimension for each in search.wordings} == {"extract.instruction", "classify.instruction"}


def leaking(system: str, asked: str) -> str:
    """Whatever rows it has read, as wordings of a step."""
    given = proposing.fields(asked)
    rows = json.loads(given.get("failures", given.get("rows", "[]")))
    return proposing.reply([f"For example: {row['text']}" for row in rows][:2], part="classify.instruction")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (proposing.rubbish, "no wordings could be read from the reply"),
        (proposing.hostile, "speaks against the task, or of scores: 'Ignore the task'"),
    ],
)
def test_a_bad_proposer_of_a_program_costs_its_replies_alone(says: Callable[[str, str], str], why: str) -> None:
    """Nothing of it enters, what was refused is told, and the search comes to its end."""
    said: list[str] = []

    def event(event: Event) -> None:
        if isinstance(event, Notice):
            said.append(event.text)

    search = searched(says, 200, watch=Watch(event))

    assert search.wordings == []
    assert why in said[0]
    assert search.found.best.score is not None


def test_rows_to_compare_on_stand_in_no_wording_of_a_program() -> None:
    """One that answers with the rows that it has read gets training rows in, and no other."""
    search = searched(leaking, 400)

    texts = "\n".join(trial.prompt.instruction for trial in search.found.trials)
    assert not [row.text for row in EXAMPLES[12:] if row.text in texts]


@pytest.mark.parametrize("refuses", [True, False])
def test_a_proposer_that_is_down_costs_no_program(tmp_path: Path, refuses: bool) -> None:
    """The run says so and goes on with what it has; a proposer that is up is written down with its role."""

    class Down(Proposing):
        def complete(self, request: Request) -> Completion:
            self.asked.append(request)
            if refuses:
                raise ProviderError("the provider refuses every call: wrong key")
            return Completion("", error="status 500")

    write_task(tmp_path, rows=60, search={"calls": 60}, proposer="openai/x")
    said: list[str] = []
    found = tuned(tmp_path, Sorter(), said=said, proposer=Down())

    assert "no proposals: " in said[0]
    assert found.verdict


def test_proposals_for_a_program_are_written_down_and_resumed(tmp_path: Path) -> None:
    """With their predictor, parent and price in results.db; a run that was stopped buys none twice."""
    write_task(tmp_path, rows=60, search={"calls": 80}, proposer="openai/x")
    whole, stopped, resumed = Proposing(), Proposing(), Proposing()
    tuned(tmp_path, Sorter(), "whole.db", proposer=whole)
    with pytest.raises(Interrupted):
        tuned(tmp_path, Sorter(after=60), proposer=stopped)
    found = tuned(tmp_path, Sorter(), proposer=resumed)
    late = [w for w in history(tmp_path / "r.db").lineage() if w.origin == "model"]
    first = [w for w in history(tmp_path / "whole.db").lineage() if w.origin == "model"]
    with Store(tmp_path / "r.db") as store:
        spent = store.spent_by_model(1)

    assert [(w.dimension, w.id, w.step, w.text) for w in late] == [(w.dimension, w.id, w.step, w.text) for w in first]
    assert {w.dimension for w in late} == {"label.instruction"}
    assert all(w.trials and w.cost for w in late)
    assert trials(tmp_path / "r.db") == trials(tmp_path / "whole.db")
    assert len(stopped.asked) + len(resumed.asked) == len(whole.asked) == spent["proposing as proposer"].calls
    assert found.verdict


def test_a_teacher_of_a_program_works_for_its_demos(tmp_path: Path) -> None:
    """It runs the program on so many rows, in its role and under the same caps; hostile work is not shown."""
    write_task(tmp_path, rows=60, search={"calls": 60, "worked": 12})
    with (tmp_path / "task.toml").open("a", encoding="utf-8") as file:
        file.write('\n[teacher]\nmodel = "openai/t"\n')
    teacher = Sorter(name="teacher")
    found = tuned(tmp_path, Sorter(), teacher=teacher)
    with Store(tmp_path / "r.db") as store:
        spent = store.spent_by_model(1)

    assert len(teacher.asked) == 12 == spent["teacher as teacher"].calls
    assert any(trial.params["label.demos"] == "bootstrapped" for trial in found.found.trials)
    assert found.verdict


def test_a_teacher_of_a_program_that_is_down_costs_no_run(tmp_path: Path) -> None:
    """It is told, and the search goes on without its work."""

    class Down(Sorter):
        def complete(self, request: Request) -> Completion:
            raise ProviderError("the provider refuses every call: wrong key")

    write_task(tmp_path, rows=60, search={"calls": 60, "worked": 12})
    with (tmp_path / "task.toml").open("a", encoding="utf-8") as file:
        file.write('\n[teacher]\nmodel = "openai/t"\n')
    said: list[str] = []
    found = tuned(tmp_path, Sorter(), said=said, teacher=Down(name="teacher"))

    assert said == ["the teacher cannot go on: the provider refuses every call: wrong key"]
    assert not any(trial.params["label.demos"] == "bootstrapped" for trial in found.found.trials)
    assert found.verdict
