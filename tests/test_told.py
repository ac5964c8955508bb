"""What a run reports: answers that were cut off or unreadable, and attempts that were paid for without an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from server import ChatServer, Fault

from optimizer import history, tune
from optimizer.budget import Budget, Spent
from optimizer.calls.faults import CallFailed, Fate
from optimizer.calls.gateway import Pace
from optimizer.calls.listener import MUTE
from optimizer.contenders import rivalled
from optimizer.errors import Interrupted
from optimizer.events import Stage
from optimizer.evidence.axes import axes_grid
from optimizer.holding import PerRow, keep_back
from optimizer.ledger import Ledger
from optimizer.pages.page import page
from optimizer.records import Completion, Failure, Kind, Outcome, Request
from optimizer.report import dollars
from optimizer.reports.card import Card
from optimizer.reports.card_text import sections
from optimizer.scoring import METRICS
from optimizer.store import Store
from optimizer.tuned import Tuned
from optimizer.verdict import Entry, decide
from optimizer.watch import Watch
from search_spaces.prompt import Example, Message, Settings
from tests.conftest import Command

CITIES = ("Rome", "Oslo", "Lima", "Bonn", "Cork")
TASK = """[task]
name = "slots"
kind = "extraction"
[data]
file = "rows.jsonl"
inputs = ["text"]
target = "answer"
[model]
max_tokens = 49
[search]
calls = 60
[baseline]
trials = 1
[space]
template = ["plain", "xml"]
"""


@dataclass
class Told:
    """A model that answers as a function of the last message says, at a price."""

    say: Callable[[str], Completion]
    name: str = "told"
    address: str = ""
    price: tuple[float, float] | None = (1e-6, 2e-6)

    def complete(self, request: Request) -> Completion:
        """Ask the function."""
        return self.say(request.messages[-1].content)


def extraction(folder: Path, *, search: str = "calls = 60") -> Path:
    """Write a task of rows whose answers are JSON objects."""
    rows = [
        {"text": f"book a table for {n} in {city}", "answer": {"party": str(n), "city": city}}
        for n in range(2, 14)
        for city in CITIES
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "task.toml").write_text(TASK.replace("calls = 60", search), encoding="utf-8")
    return folder / "task.toml"


def said(card: Card) -> dict[str, str]:
    """What a card says, by the name that stands before it."""
    return {name: text for section in sections(card) for name, text in section.facts}


def city_of(message: str) -> str:
    """The city that a message asks about: the last that it names."""
    return max(CITIES, key=message.rfind)


def half(message: str) -> Completion:
    """Answer with an object; for two of the cities with one that was cut off at its bound."""
    whole, city = json.dumps({"party": "2", "city": city_of(message)}), city_of(message)
    if city in CITIES[:2]:
        return Completion(whole[:-9], 20, 49, 0.0001, 0.001, finish_reason="length")
    return Completion(whole, 20, 12, 0.0001, 0.001)


@pytest.fixture(scope="module")
def shortened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuned, Path]:
    """A run of an extraction of which some answers were cut off within their object."""
    folder = tmp_path_factory.mktemp("shortened")
    return tune(extraction(folder), db=folder / "r.db", model=Told(half)), folder / "r.db"


def test_answers_without_an_object_are_not_in_the_wanted_form(shortened: tuple[Tuned, Path]) -> None:
    """Where an object is wanted: the axes and the card count them as answers that could not be read."""
    tuned, db = shortened
    assert tuned.verdict
    prompt = rivalled(tuned.verdict)  # the seed prompt: all are right on the same rows
    cut = sum(outcome.cut for outcome in prompt.outcomes)
    unread = sum(outcome.kind is Kind.UNPARSED for outcome in prompt.outcomes)

    assert 0 < cut == unread < prompt.n
    control = next(row for row in axes_grid(tuned.verdict).rows if row[0] == "control")
    assert control[2].startswith(f"{100 * (prompt.n - unread) / prompt.n:.1f} % ({cut} cut off)")
    assert f"; {unread} answers could not be read" in said(history(db).card())["failures"]


def test_answers_that_were_cut_off_are_told(shortened: tuple[Tuned, Path]) -> None:
    """In a note of the run with what to do, on the card by contender, and from results.db as from the run."""
    tuned, db = shortened
    assert tuned.verdict
    own = [o for trial in tuned.trials for o in trial.outcomes]
    own += [o for contender in tuned.verdict.contenders for o in contender.outcomes if o.completion_key]
    keys = {o.completion_key: o.cut for o in own}

    note = f"{sum(keys.values())} of {len(keys)} answers were cut off at max_tokens = 49; raise max_tokens in [model]"
    assert note in tuned.notes
    seed = tuned.verdict.contenders[0]
    told = said(history(db).card())["answers cut off at max_tokens"]
    assert told.startswith(f"{sum(o.cut for o in seed.outcomes)} of {seed.n} of the seed prompt")
    kept = history(db).verdict()
    assert kept
    assert [o.cut for o in kept.contenders[0].outcomes] == [
        o.cut for o in sorted(seed.outcomes, key=lambda o: o.example_id)
    ]


# --- answers that say nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", None])
def test_a_model_that_says_nothing_ends_the_run(command: Command, server: ChatServer, content: str | None) -> None:
    """After a few answers, not after all of them, and with what to do."""
    server.misbehave(Fault(choice={"message": {"content": content}}))
    task = extraction(Path())
    model = f'[model]\nname = "openai/mute"\napi_base = "{server.url}"\npatience = 0.02\n'
    task.write_text(task.read_text(encoding="utf-8").replace("[model]\n", model), encoding="utf-8")

    done = command("tune", str(task), code=1)

    assert "openai/mute: the first 1" in done.output
    assert "answers were all empty, and paid. Check the model" in done.output
    assert len(server.log) < 3 * (2 * MUTE + 8)


def test_a_model_that_was_heard_may_say_nothing_for_a_while(tmp_path: Path) -> None:
    """Some prompts are answered with nothing, and lose by it: only a model that never said a word is given up."""
    said = iter([Completion("yes"), *[Completion("")] * (MUTE + 5)])
    asked = [Request((Message("user", str(i)),), Settings()) for i in range(MUTE + 6)]
    with Store(tmp_path / "r.db", create=True) as store:
        once = closing(Ledger(Told(lambda _: next(said)), store, 1, pace=Pace(1)))
        with once as ledger:
            texts = [completion.text for _, completion in ledger.complete(asked)]

            assert texts == ["yes", *[""] * (MUTE + 5)]


def test_a_verdict_says_that_most_answers_could_not_be_read() -> None:
    """Of prompts and baseline, not of the cascade, which they make; and not of some answers."""
    kinds = {"seed prompt": 6, "best prompt": 11, "trained baseline": 0, "cascade": 11}
    rows = [Example(f"x{i}", (("text", str(i)),), ("yes",)) for i in range(20)]
    entries = [
        Entry(
            name,
            tuple(
                Outcome(row.id, *((Kind.UNPARSED, 0.0, None) if i < unread else (Kind.RIGHT, 1.0, "yes")))
                for i, row in enumerate(rows)
            ),
            1,
            "detail",
        )
        for name, unread in kinds.items()
    ]

    sentence = decide(entries, rows, METRICS["accuracy"], opened=1, seed=0).sentence

    assert "Most answers of the best prompt could not be read (11 of 20)." in sentence
    assert sentence.count("could not be read") == 1


# --- attempts that failed, and were paid ------------------------------------------------------------------


@dataclass
class Faltering:
    """A priced model of which attempts break off, as `fails` says by the number of the attempt."""

    fails: Callable[[int], bool]
    name: str = "faltering"
    address: str = ""
    price: tuple[float, float] | None = (1e-6, 2e-6)
    attempts: int = 0

    async def ask(self, request: Request) -> Completion:
        """Break off, or name the city that was asked about."""
        self.attempts += 1
        if self.fails(self.attempts):
            raise CallFailed(Fate.PASSING, "connection reset", billed=True)
        text = json.dumps({"party": "2", "city": city_of(request.messages[-1].content)})
        return Completion(text, 20, 12, 44e-6, 0.001)

    async def leave(self) -> None:
        """Nothing is open."""


def faltered(folder: Path, model: Faltering, *, watch: Watch | None = None, **search: object) -> Tuned:
    """Tune on a model some attempts of which fail."""
    task = extraction(folder, search="\n".join(f"{key} = {value}" for key, value in {"calls": 60, **search}.items()))
    task.write_text(task.read_text().replace("[model]\n", "[model]\npatience = 0.01\nworkers = 1\n"), encoding="utf-8")
    return tune(task, db=folder / "r.db", model=model, watch=watch)


def test_attempts_that_failed_are_told_with_what_they_cost(tmp_path: Path) -> None:
    """Beside the completions, in the summary, on the card and the page; and in what it took to find the prompt."""
    tuned = faltered(tmp_path, Faltering(lambda n: n % 3 == 0))
    run, text = (
        tuned.run,
        f"{tuned.run.failed} attempts failed ({dollars(tuned.run.failed_cost)}; without free retries)",
    )

    with Store(tmp_path / "r.db") as store:
        rows = store.rows("SELECT cost FROM failures ORDER BY id")
    assert (run.failed, run.failed_cost) == (len(rows), pytest.approx(sum(row["cost"] for row in rows)))
    assert run.failed > 20
    assert run.cost == pytest.approx(44e-6 * run.bought + run.failed_cost)
    assert said(history(tmp_path / "r.db").card())["the run"].endswith(f"0 reused, {text}")
    assert f"0 reused, {text}" in page(history(tmp_path / "r.db").story())
    assert tuned.verdict
    searched = 44e-6 * sum(len(trial.outcomes) for trial in tuned.trials)
    finding = tuned.verdict.bills[0].finding
    assert finding
    assert searched + 15 * rows[0]["cost"] < finding < searched + run.failed_cost


def test_the_verdict_is_kept_calls_for_attempts_that_will_fail(tmp_path: Path) -> None:
    """Where every second attempt fails, twice the calls and some more are left for the 30 answers to the test rows."""
    tuned = faltered(tmp_path, Faltering(lambda n: n % 2 == 0), calls=200, max_calls=130)

    assert re.match(r"the budget of 130 calls is used up but for 7\d kept for the verdict", tuned.run.reason)
    assert tuned.verdict
    assert tuned.verdict.contenders[0].n == 15


def test_a_verdict_lost_after_the_test_rows_were_opened_is_told(tmp_path: Path) -> None:
    """That they were is a fact, though nobody has seen a score."""
    model, since = Faltering(lambda _: False), list[int]()
    model.fails = lambda n: bool(since) and (n - since[0]) % 4 > 0
    watch = Watch(lambda event: since.append(model.attempts) if getattr(event, "name", "") == "verdict" else None)

    tuned = faltered(tmp_path, model, watch=watch, max_calls=90)

    assert tuned.verdict is None
    assert tuned.run.reason.endswith("no verdict: the budget of 90 calls is used up, after the test rows were opened")


def test_test_rows_that_cannot_be_paid_stay_sealed(tmp_path: Path) -> None:
    """A run that is resumed when its minutes are used up comes to no verdict, and opens nothing."""
    watch = Watch()
    watch.event = lambda event: watch.stop.set() if isinstance(event, Stage) and event.name == "baseline" else None
    with pytest.raises(Interrupted):
        faltered(tmp_path, Faltering(lambda _: False), watch=watch, max_minutes=5)
    with Store(tmp_path / "r.db") as store:
        store.update_run(1, worked=300.0)

    tuned = faltered(tmp_path, Faltering(lambda _: False), max_minutes=5)

    assert tuned.run.reason.endswith("no verdict: the budget of 5 minutes is used up")
    with Store(tmp_path / "r.db") as store:
        assert store.opened(tuned.run.data) == 0


def test_calls_that_nobody_knows_to_have_been_paid_are_told_once(command: Command, server: ChatServer) -> None:
    """When a run is resumed; its notes do not say it again at the end."""
    task = extraction(Path())
    model = f'[model]\nname = "openai/test"\napi_base = "{server.url}"\n'
    task.write_text(task.read_text(encoding="utf-8").replace("[model]\n", model), encoding="utf-8")
    stopping = Watch()
    stopping.event = lambda event: stopping.stop.set() if getattr(event, "name", "") == "baseline" else None
    with pytest.raises(Interrupted):
        tune(task, db="results.db", watch=stopping)
    with Store("results.db") as store:
        store.add_failures(1, "openai/test", [("00", Failure("connection reset", 0.0, None), Spent(1, 0.001, 10))])

    told = command("tune", "task.toml").output

    assert told.count("1 call of run 1 gave no answer, possibly paid") == 1


def test_an_outage_at_the_start_does_not_keep_the_budget_from_the_search() -> None:
    """What is kept for the verdict is at most about twice its calls."""
    broken, healthy = Budget(spent=Spent(calls=65), failed=60), Budget(spent=Spent(calls=65))

    assert healthy.foreseen(340) == 340
    assert 340 < broken.foreseen(340) < 2.5 * 340


def test_as_much_as_the_last_call_may_take_is_kept_too() -> None:
    """It is reserved at its highest price, whatever the mean."""
    plain, careful = Budget(), Budget()
    keep_back(plain, 10, [PerRow(0.01, 100, 1)], 10)
    keep_back(careful, 10, [PerRow(0.01, 100, 1)], 10, Spent(1, 0.5, 9000))

    assert careful.held.usd - plain.held.usd == pytest.approx(0.5)
    assert careful.held.tokens - plain.held.tokens == 9000
    assert careful.held.calls == plain.held.calls
