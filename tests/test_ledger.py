"""A completion is bought once, recorded at once, and never beyond a cap, whatever goes wrong."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from optimizer.budget import Budget, Caps, Spent
from optimizer.calls.faults import CallFailed, Fate
from optimizer.calls.gateway import Pace
from optimizer.errors import BudgetSpent, Interrupted, ModelError, ProviderError
from optimizer.ledger import Ledger
from optimizer.records import Completion, Request
from optimizer.store import Store
from search_spaces.prompt import Message, Settings

ROOT = Path(__file__).resolve().parents[1]
PRICE = (0.001, 0.01)  # US dollars per token: prices at which a few calls are seen

every_way = pytest.mark.parametrize("workers", [0, 1, 8])


def paced(workers: int) -> Pace | None:
    """Calls at a time; none are made one after the other in the same thread."""
    return Pace(workers) if workers else None


def ask(text: str | int, *, sample: int = 0, max_tokens: int = 8) -> Request:
    return Request((Message("user", str(text)),), Settings(0.0, max_tokens), sample)


def asked(request: Request) -> str:
    return request.messages[0].content


def answer(request: Request) -> Completion:
    """Answer at the highest price that a call of this size can have: a token a byte, and every token allowed."""
    prompt = sum(len(message.content.encode()) + 8 for message in request.messages)
    cost = prompt * PRICE[0] + request.settings.max_tokens * PRICE[1]
    return Completion(f"re: {asked(request)}", prompt, request.settings.max_tokens, cost, 0.01)


@dataclass
class Oracle:
    """A model that answers as it is told and keeps its own books: `calls` made, and those `answered`."""

    act: Callable[[int, Request], Completion] = lambda _, request: answer(request)
    price: tuple[float, float] | None = PRICE
    name: str = "oracle"
    address: str = ""
    calls: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    usd: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, request: Request) -> Completion:
        """Count the call, act, and count the answer."""
        with self.lock:
            self.calls.append(asked(request))
            number = len(self.calls)
        completion = self.act(number, request)
        with self.lock:
            self.usd += completion.cost
            if not completion.error:
                self.answered.append(asked(request))
        return completion


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path, create=True) as opened:
        yield opened


def on_disk(path: Path) -> list[str]:
    """The texts that another connection finds, sorted."""
    with Store(path) as reader:
        return sorted(row["text"] for row in reader.conn.execute("SELECT text FROM completions"))


def written(model: Oracle) -> list[str]:
    """The texts that should be found: all that was answered."""
    return sorted(f"re: {text}" for text in model.answered)


# --- once -------------------------------------------------------------------------------------------------


@every_way
def test_the_same_request_is_bought_once(store: Store, workers: int) -> None:
    """Asked again it is looked up, with the same key and the same figures."""
    model = Oracle()
    ledger = Ledger(model, store, 1, pace=paced(workers))

    first = ledger.complete([ask("a"), ask("b")])
    again = ledger.complete([ask("b"), ask("a")])

    assert sorted(model.calls) == ["a", "b"]
    assert first[::-1] == again
    assert (ledger.bought, ledger.reused) == (2, 2)


@every_way
def test_answers_come_in_the_order_of_the_requests(store: Store, workers: int) -> None:
    """With those known already among them."""
    ledger = Ledger(Oracle(), store, 1, pace=paced(workers))
    ledger.complete([ask(5), ask(17)])

    done = ledger.complete([ask(i) for i in range(30)])

    assert [f"re: {i}" for i in range(30)] == [completion.text for _, completion in done]
    assert [ledger.key(ask(i)) for i in range(30)] == [key for key, _ in done]


@every_way
def test_equal_requests_of_one_batch_are_bought_once(store: Store, workers: int) -> None:
    """Each gets the answer."""
    model = Oracle()

    done = Ledger(model, store, 1, pace=paced(workers)).complete([ask("a"), ask("b"), ask("a"), ask("a")])

    assert sorted(model.calls) == ["a", "b"]
    assert [completion.text for _, completion in done] == ["re: a", "re: b", "re: a", "re: a"]


@every_way
def test_nothing_asked_is_nothing_bought(store: Store, workers: int) -> None:
    """An empty batch is answered by an empty list."""
    model = Oracle()

    assert Ledger(model, store, 1, pace=paced(workers)).complete([]) == []
    assert model.calls == []


def test_two_ledgers_on_one_store_buy_once(store: Store) -> None:
    """Also for different runs."""
    model = Oracle()

    first = Ledger(model, store, 1).complete([ask("a")])
    second = Ledger(model, store, 2).complete([ask("a")])

    assert model.calls == ["a"]
    assert first == second
    assert store.spent(2) == Spent()


def test_a_later_process_buys_nothing_again(path: Path) -> None:
    """What another process bought is found under the same key."""
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_ledger import *\n"
        "with Store(sys.argv[1], create=True) as store:\n"
        "    Ledger(Oracle(), store, 1, pace=paced(2)).complete([ask(i) for i in range(5)])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=True)
    model = Oracle()

    with Store(path, create=True) as store:
        done = Ledger(model, store, 2).complete([ask(i) for i in range(6)])

    assert model.calls == ["5"]
    assert [f"re: {i}" for i in range(6)] == [completion.text for _, completion in done]


def test_two_that_buy_at_the_same_time_end_with_one_copy(path: Path) -> None:
    """Both go on: a completion that stands already is left as it stands."""
    both = threading.Barrier(2)
    requests = [ask(i) for i in range(20)]
    done: dict[int, list[tuple[str, Completion]]] = {}

    def buy(run: int) -> None:
        with Store(path, create=True) as store:
            both.wait()
            done[run] = Ledger(Oracle(), store, run, pace=paced(1)).complete(requests)

    buyers = [threading.Thread(target=buy, args=(run,)) for run in (1, 2)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()

    assert done[1] == done[2]
    assert sorted(f"re: {i}" for i in range(20)) == on_disk(path)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, Request]:
    """A model's name and address, and what it is asked: from so few that equal ones are met."""
    few = st.sampled_from(["", "a", "b", "é"])
    said = draw(st.lists(st.builds(Message, st.sampled_from(["user", "system"]), few), min_size=1, max_size=2))
    asking = Settings(draw(st.sampled_from([0, 0.0, 0.5, 1])), draw(st.sampled_from([8, 9])))
    return draw(few), draw(few), Request(tuple(said), asking, draw(st.integers(0, 1)))


@given(calls(), calls())
@settings(max_examples=300)
def test_two_calls_share_a_key_exactly_if_they_are_the_same(
    one: tuple[str, str, Request], other: tuple[str, str, Request]
) -> None:
    """Model, address, messages, settings and sample decide, and nothing else."""
    keys = [Ledger(Oracle(name=name, address=address), Nowhere(), 1).key(r) for name, address, r in (one, other)]

    assert (one == other) == (keys[0] == keys[1])
    assert [len(key) for key in keys] == [32, 32]


@pytest.mark.parametrize(
    "different",
    [
        (Oracle(name="another"), ask("a")),
        (Oracle(address="http://127.0.0.1:1/v1"), ask("a")),
        (Oracle(), ask("a ")),
        (Oracle(), ask("a", sample=1)),
        (Oracle(), ask("a", max_tokens=9)),
        (Oracle(), replace(ask("a"), settings=Settings(0.1, 8))),
        (Oracle(), replace(ask("a"), messages=(Message("system", "a"),))),
        (Oracle(), replace(ask("a"), messages=(Message("user", "a"), Message("user", "")))),
    ],
)
def test_whatever_could_change_the_answer_is_bought_apart(store: Store, different: tuple[Oracle, Request]) -> None:
    """Model, address, text, role, number of messages, settings, sample."""
    model, request = different
    Ledger(Oracle(), store, 1).complete([ask("a")])

    Ledger(replace(model, calls=[]), store, 1).complete([request])

    assert store.bought(1) == 2


# --- at once ----------------------------------------------------------------------------------------------


@every_way
def test_everything_is_on_disk_when_the_answers_are_given(store: Store, path: Path, workers: int) -> None:
    """Another connection finds it."""
    model = Oracle()

    Ledger(model, store, 1, pace=paced(workers)).complete([ask(i) for i in range(20)])

    assert written(model) == on_disk(path)
    assert len(model.answered) == 20


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_what_has_landed_is_on_disk_before_the_next_call(store: Store, path: Path, workers: int) -> None:
    """Of the calls before it, at most those still in flight are missing."""
    found: list[int] = []

    def look(number: int, request: Request) -> Completion:
        found.append(number - len(on_disk(path)))
        return answer(request)

    Ledger(Oracle(look), store, 1, pace=paced(workers)).complete([ask(i) for i in range(20)])

    assert len(found) == 20
    assert max(found) <= workers


@pytest.mark.parametrize("workers", [1, 3])
def test_a_process_that_is_killed_loses_only_what_was_in_flight(path: Path, workers: int) -> None:
    """Nothing that had been answered before the last call went out is paid for again."""
    code = (
        "import os, signal, sys; sys.path.insert(0, 'tests'); from test_ledger import *\n"
        "def act(number, request):\n"
        "    if number == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return answer(request)\n"
        "with Store(sys.argv[1], create=True, paid=True) as store:\n"
        "    Ledger(Oracle(act), store, 1, pace=paced(int(sys.argv[2]))).complete([ask(i) for i in range(12)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), str(workers)], cwd=ROOT, check=False)
    kept = on_disk(path)
    model = Oracle()

    with Store(path, create=True) as store:
        Ledger(model, store, 1, pace=paced(workers)).complete([ask(i) for i in range(12)])

    assert done.returncode == -9
    assert 9 - workers <= len(kept) <= 8
    assert len(model.calls) == 12 - len(kept)


# --- caps -------------------------------------------------------------------------------------------------


@every_way
def test_the_cap_on_calls_is_reached_and_not_passed(store: Store, path: Path, workers: int) -> None:
    """What was bought until then is written down; a larger cap goes on from there."""
    model = Oracle()

    with pytest.raises(BudgetSpent, match=r"^the budget of 7 calls is used up$"):
        Ledger(model, store, 1, Budget(Caps(calls=7)), paced(workers)).complete([ask(i) for i in range(20)])

    assert len(model.calls) == 7
    assert written(model) == on_disk(path)

    assert store.spent(1).calls == 7
    larger = Budget(Caps(calls=20), store.spent(1))
    Ledger(model, store, 1, larger, paced(workers)).complete([ask(i) for i in range(20)])

    assert len(model.calls) == 20


@every_way
def test_calls_kept_for_the_verdict_are_not_spent_before(store: Store, workers: int) -> None:
    """They are there when they are released."""
    model = Oracle()
    budget = Budget(Caps(calls=10), held=Spent(calls=4))
    ledger = Ledger(model, store, 1, budget, paced(workers))

    with pytest.raises(BudgetSpent, match=r"the budget of 10 calls is used up but for 4 kept for the verdict"):
        ledger.complete([ask(i) for i in range(10)])
    assert len(model.calls) == 6

    budget.held = Spent()
    ledger.complete([ask(i) for i in range(10)])

    assert len(model.calls) == 10


@every_way
def test_dollars_kept_for_the_verdict_are_not_spent_before(store: Store, workers: int) -> None:
    """They are there when they are released."""
    model = Oracle()
    each = answer(ask(1)).cost
    budget = Budget(Caps(usd=each * 10.5), held=Spent(usd=each * 4))
    ledger = Ledger(model, store, 1, budget, paced(workers))

    with pytest.raises(BudgetSpent, match=r"kept for the verdict\)$"):
        ledger.complete([ask(i) for i in range(10)])
    assert len(model.calls) == 6

    budget.held = Spent()
    ledger.complete([ask(i) for i in range(10)])

    assert len(model.calls) == 10


@every_way
def test_what_stands_in_the_ledger_costs_no_budget(store: Store, workers: int) -> None:
    """A spent budget still reads what was bought."""
    ledger = Ledger(Oracle(), store, 1, Budget(Caps(calls=3)), paced(workers))
    first = ledger.complete([ask(i) for i in range(3)])

    assert first == ledger.complete([ask(i) for i in range(3)])


class Nowhere:
    """A book that forgets, for tests of the budget alone."""

    def find_completions(self, keys: object) -> dict[str, Completion]:
        """Know nothing."""
        return {}

    def claim(self, run: int, model: str, calls: object) -> set[str]:
        """Let everything out."""
        return set()

    def add_completions(self, run: int, model: str, completions: object) -> None:
        """Keep nothing."""

    def add_failures(self, run: int, model: str, failures: object) -> None:
        """Keep nothing."""

    def release(self, keys: object) -> None:
        """Keep nothing."""

    def together(self) -> AbstractContextManager[None]:
        """Be ready at once."""
        return nullcontext()


sizes = st.lists(st.tuples(st.text(max_size=40), st.integers(1, 30)), min_size=1, max_size=12, unique_by=lambda t: t[0])


@given(sizes, st.integers(0, 30), st.floats(0.01, 3), st.sampled_from([0, 1, 8]), st.floats(0, 1))
@settings(max_examples=60)
def test_no_cap_is_ever_passed(
    drawn: list[tuple[str, int]], max_calls: int, max_usd: float, workers: int, share: float
) -> None:
    """By the model's own books, though every call may cost all that its size allows; a refusal has its reason."""
    model = Oracle(lambda _, request: replace(answer(request), cost=answer(request).cost * share))
    ledger = Ledger(model, Nowhere(), 1, Budget(Caps(max_calls, max_usd)), paced(workers))
    requests = [ask(text, max_tokens=size) for text, size in drawn]
    refused = False
    try:
        ledger.complete(requests)
    except BudgetSpent:
        refused = True

    assert model.usd <= max_usd + 1e-9
    assert not max_calls or len(model.calls) <= max_calls
    assert pytest.approx(model.usd) == ledger.budget.spent.usd
    assert abs(ledger.budget.reserved.usd) < 1e-9
    assert refused == (len(model.calls) < len(drawn))
    if refused:
        most = sum(answer(request).cost for request in requests)
        assert most > max_usd or len(model.calls) == max_calls


def test_a_dollar_cap_needs_a_known_price(store: Store) -> None:
    """It is refused before the first call; a cap on calls needs none."""
    model = Oracle(price=None)

    with pytest.raises(ModelError, match=r"'oracle' has no known price, so a cap of \$2\.5 cannot be kept\. Give its"):
        Ledger(model, store, 1, Budget(Caps(usd=2.5)))
    assert model.calls == []

    Ledger(model, store, 1, Budget(Caps(calls=1))).complete([ask("a")])

    assert model.calls == ["a"]


# --- stopping ---------------------------------------------------------------------------------------------


@every_way
def test_a_stop_loses_nothing(store: Store, path: Path, workers: int) -> None:
    """Calls in flight are awaited and written down; the next run buys only the rest."""
    stop = threading.Event()

    def act(number: int, request: Request) -> Completion:
        if number == 5:
            stop.set()
        return answer(request)

    model = Oracle(act)
    with pytest.raises(Interrupted):
        Ledger(model, store, 1, pace=paced(workers), stop=stop).complete([ask(i) for i in range(30)])

    assert 5 <= len(model.calls) <= 5 + workers
    assert written(model) == on_disk(path)

    Ledger(model, store, 1, pace=paced(workers)).complete([ask(i) for i in range(30)])

    assert sorted(map(str, range(30))) == sorted(model.calls)


def test_calls_in_flight_at_a_stop_are_written_down(store: Store, path: Path) -> None:
    """Three are under way when the stop comes; all three arrive, and none goes out after them."""
    stop, all_under_way = threading.Event(), threading.Barrier(3)

    def act(_: int, request: Request) -> Completion:
        all_under_way.wait(5)
        stop.set()
        return answer(request)

    model = Oracle(act)
    with pytest.raises(Interrupted):
        Ledger(model, store, 1, pace=paced(3), stop=stop).complete([ask(i) for i in range(30)])

    assert on_disk(path) == ["re: 0", "re: 1", "re: 2"]
    assert len(model.calls) == 3


@every_way
def test_a_stop_before_the_first_call_buys_nothing(store: Store, workers: int) -> None:
    """Not even what is known is handed out: the run is to end."""
    stop = threading.Event()
    model = Oracle()
    ledger = Ledger(model, store, 1, pace=paced(workers), stop=stop)
    ledger.complete([ask("known")])
    stop.set()

    for text in ("known", "new"):
        with pytest.raises(Interrupted):
            ledger.complete([ask(text)])
    assert model.calls == ["known"]


# --- failing ----------------------------------------------------------------------------------------------


@every_way
def test_a_failed_call_is_given_back_and_not_written_down(store: Store, path: Path, workers: int) -> None:
    """Later it is asked again; what it cost is counted."""
    model = Oracle(
        lambda number, request: Completion("", cost=0.25, error="no answer") if number == 1 else answer(request)
    )
    ledger = Ledger(model, store, 1, pace=paced(workers))

    (_, failed), (_, same) = ledger.complete([ask("a"), ask("a")])

    assert (failed.error, same) == ("no answer", failed)
    assert on_disk(path) == []
    assert (ledger.bought, ledger.budget.spent.usd) == (0, 0.25)

    ((_, done),) = ledger.complete([ask("a")])

    assert done.text == "re: a"
    assert model.calls == ["a", "a"]


@every_way
@pytest.mark.parametrize("error", [ProviderError("no more"), ZeroDivisionError("a bug")], ids=["refusal", "bug"])
def test_an_error_that_is_raised_takes_no_answer_with_it(
    store: Store, path: Path, workers: int, error: Exception
) -> None:
    """It ends the buying; what others answer meanwhile is written down."""

    def act(number: int, request: Request) -> Completion:
        if number == 4:
            raise error
        return answer(request)

    model = Oracle(act)
    ledger = Ledger(model, store, 1, pace=paced(workers))
    with pytest.raises(type(error), match=str(error)):
        ledger.complete([ask(i) for i in range(30)])

    assert 4 <= len(model.calls) <= 4 + workers
    assert written(model) == on_disk(path)
    assert len(model.answered) == len(model.calls) - 1
    assert abs(ledger.budget.reserved.usd) < 1e-9 or not workers


def test_calls_in_flight_at_an_error_are_written_down(store: Store, path: Path) -> None:
    """The refusal of one comes while two others are under way; both arrive."""
    all_under_way, refused = threading.Barrier(3), threading.Event()

    def act(number: int, request: Request) -> Completion:
        all_under_way.wait(5)
        if number == 1:
            refused.set()
            raise ProviderError("no more")
        refused.wait(5)
        return answer(request)

    model = Oracle(act)
    with pytest.raises(ProviderError, match="no more"):
        Ledger(model, store, 1, pace=paced(3)).complete([ask(i) for i in range(3)])

    assert len(model.answered) == 2
    assert written(model) == on_disk(path)


# --- all of it together -----------------------------------------------------------------------------------


class Buying(RuleBasedStateMachine):
    """Batches, failures, refusals, stops, caps and new processes in any order, against an oracle's books."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = Oracle(self.act)
        self.failing: set[str] = set()
        self.refused: set[str] = set()
        self.stop_in = 0
        self.caps = Caps()
        self.paid: set[str] = set()
        self.failed_usd = 0.0
        self.store = Store(self.folder / "results.db", create=True)
        self.open_ledger()

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.store.close()
        shutil.rmtree(self.folder)

    def open_ledger(self) -> None:
        """Start as a resumed run does: with what the store says was spent."""
        self.stop = threading.Event()
        budget = Budget(self.caps, self.store.spent(1))
        self.ledger = Ledger(self.model, self.store, 1, budget, paced(1), self.stop)

    def act(self, _: int, request: Request) -> Completion:
        """Do what the rules have arranged for this call."""
        with self.model.lock:
            self.stop_in -= 1
            if self.stop_in == 0:
                self.stop.set()
        if asked(request) in self.refused:
            raise ProviderError(asked(request))
        if asked(request) in self.failing:
            return Completion("", error="failed")
        return replace(answer(request), cost=answer(request).cost / 2)

    @rule(texts=st.lists(st.sampled_from("abcdefgh"), max_size=8), workers=st.sampled_from([0, 1, 3]))
    def send(self, texts: list[str], workers: int) -> None:
        """Ask for a batch, and compare what comes with the oracle's books."""
        self.ledger.close()
        self.ledger.pace = paced(workers)
        before, missing = len(self.model.calls), set(texts) - self.paid
        trouble: Exception | None = None
        try:
            done = self.ledger.complete([ask(text) for text in texts])
        except (BudgetSpent, Interrupted, ProviderError) as error:
            trouble = error
        made = self.model.calls[before:]

        assert len(set(made)) == len(made)
        assert set(made) <= missing
        self.paid |= set(made) - self.failing - self.refused
        if trouble is None:
            assert set(made) == missing
            for text, (_, completion) in zip(texts, done, strict=True):
                assert (f"re: {text}" if text in self.paid else "") == completion.text
                assert (text in self.paid) == (not completion.error)
        elif isinstance(trouble, ProviderError):
            assert str(trouble) in self.refused & set(made)
        elif isinstance(trouble, Interrupted):
            assert self.stop.is_set()
        else:
            assert self.caps != Caps()

    @rule(text=st.sampled_from("abcdefgh"))
    def fail(self, text: str) -> None:
        """Let every call for this text fail."""
        self.failing |= {text}

    @rule(text=st.sampled_from("abcdefgh"))
    def refuse(self, text: str) -> None:
        """Let the provider refuse at this text."""
        self.refused |= {text}

    @rule()
    def mend(self) -> None:
        """Let every call succeed again."""
        self.failing, self.refused = set(), set()

    @rule(calls=st.integers(1, 4))
    def stop_soon(self, calls: int) -> None:
        """Let the user stop the run within a call."""
        self.stop_in = calls

    @rule()
    def reopen(self) -> None:
        """Go on in another process."""
        self.store.close()
        self.store = Store(self.folder / "results.db", create=True)
        self.stop_in = 0
        self.open_ledger()

    @rule(calls=st.integers(0, 6), usd=st.sampled_from([0.0, 0.1, 0.5]))
    def cap(self, calls: int, usd: float) -> None:
        """Allow so much more, or anything."""
        budget = self.ledger.budget
        self.caps = Caps(calls and budget.spent.calls + calls, usd and budget.spent.usd + usd)
        budget.caps = self.caps

    @invariant()
    def all_that_was_answered_is_on_disk(self) -> None:
        """Once each, and nothing else."""
        assert sorted(f"re: {text}" for text in self.paid) == on_disk(self.folder / "results.db")
        assert sorted(self.paid) == sorted(self.model.answered)

    @invariant()
    def no_cap_is_passed(self) -> None:
        """Nor is the budget's count behind the books."""
        budget = self.ledger.budget
        assert not budget.caps.calls or budget.spent.calls <= budget.caps.calls
        assert not budget.caps.usd or budget.spent.usd <= budget.caps.usd + 1e-9
        assert budget.spent.usd == pytest.approx(self.model.usd)
        assert budget.spent.calls >= len(self.paid)


Buying.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestBuying = Buying.TestCase


def test_calls_in_flight_are_written_down_when_the_buying_is_broken_off(tmp_path: Path) -> None:
    """A second Ctrl-C, or any other break, still leaves what was paid for on disk."""
    started = threading.Barrier(4, timeout=20)

    class Together:
        name, address, price = "together", "", (1e-6, 1e-6)

        def complete(self, request: Request) -> Completion:
            started.wait()  # all four calls are under way before any of them answers
            return Completion(request.messages[0].content, cost=1e-6)

    class Breaking(Store):
        broken = False

        def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
            if not self.broken:
                self.broken = True
                raise KeyboardInterrupt
            super().add_completions(run, model, completions)

    asked = [Request((Message("user", f"question {i}"),), Settings()) for i in range(4)]
    with Breaking(tmp_path / "r.db", create=True) as store:
        ledger = Ledger(Together(), store, 1, pace=paced(4))
        with pytest.raises(KeyboardInterrupt):
            ledger.complete(asked)

        assert len(store.find_completions([ledger.key(request) for request in asked])) == 4


@pytest.mark.parametrize("workers", [0, 4])
def test_calls_that_failed_are_remembered_with_their_price(tmp_path: Path, workers: int) -> None:
    """A filtered answer that was charged counts against the caps also after a resume, and is asked for again."""

    class Filtering:
        name, address, price = "filtering", "", (1e-6, 1e-6)
        asked = 0

        def complete(self, request: Request) -> Completion:
            self.asked += 1
            return Completion("", cost=0.5, error="content filter")

    model = Filtering()
    with Store(tmp_path / "r.db", create=True) as store:
        Ledger(model, store, 1, pace=paced(workers)).complete([Request((Message("user", "x"),), Settings())])

        assert (store.bought(1), store.spent(1)) == (0, Spent(1, 0.5))
        with pytest.raises(BudgetSpent):
            Ledger(model, store, 1, Budget(Caps(usd=0.5), store.spent(1)), paced(workers)).complete(
                [Request((Message("user", "x"),), Settings())]
            )
        assert model.asked == 1
        Ledger(model, store, 1, pace=paced(workers)).complete([Request((Message("user", "x"),), Settings())])
        assert store.spent(1) == Spent(2, 1.0)


def test_an_attempt_that_may_have_been_paid_is_written_down_before_the_next(store: Store, path: Path) -> None:
    """Else a kill between two attempts at a call would hide one of them, and its price, for ever."""

    class Resetting:
        name, address, price = "resetting", "", (1e-6, 1e-6)

        def __init__(self) -> None:
            self.found: list[int] = []

        async def ask(self, request: Request) -> Completion:
            with closing(sqlite3.connect(path)) as other:
                counted = "SELECT COUNT(*) FROM failures WHERE possibly_paid"
                self.found.append(other.execute(counted).fetchone()[0])
            if len(self.found) < 3:
                raise CallFailed(Fate.PASSING, "connection reset", billed=True)
            return answer(request)

        async def leave(self) -> None:
            """Nothing is open."""

    model = Resetting()
    budget = Budget(Caps(calls=9))
    with closing(Ledger(model, store, 1, budget, Pace(2, patience=0.01))) as ledger:
        ledger.complete([ask("a")])

    assert model.found == [0, 1, 2]
    assert (budget.spent.calls, budget.reserved) == (3, Spent())


def test_that_nobody_answers_is_said_once(store: Store) -> None:
    """Not for each call, and before the run ends for it."""

    class Away:
        name, address, price = "away", "http://localhost:1/v1", (1e-6, 1e-6)

        async def ask(self, _: Request) -> Completion:
            raise CallFailed(Fate.PASSING, "no connection", absent=True)

        async def leave(self) -> None:
            """Nothing is open."""

    said: list[str] = []
    with (
        closing(Ledger(Away(), store, 1, pace=Pace(2, patience=0.01), notice=said.append)) as ledger,
        pytest.raises(ProviderError, match="nobody answers"),
    ):
        ledger.complete([ask("a"), ask("b"), ask("c")])

    assert said == ["nobody answers at http://localhost:1/v1 (connection refused); waiting for it"]


# --- several orders under way -----------------------------------------------------------------------------


def test_a_slow_call_of_one_order_does_not_hold_back_another(store: Store) -> None:
    """The second is begun while a call of the first is under way, and both are collected whole."""
    slow = threading.Event()

    def act(_: int, request: Request) -> Completion:
        if asked(request) == "slow":
            assert slow.wait(20)
        elif asked(request) == "other":
            slow.set()  # the first order's call lands only when the second order's is under way
        return answer(request)

    model = Oracle(act)
    with closing(Ledger(model, store, 1, pace=paced(4))) as ledger:
        first = ledger.begin([ask("slow"), ask("quick")])
        second = ledger.begin([ask("other"), ask("quick")])

        assert [c.text for _, c in ledger.collect(first)] == ["re: slow", "re: quick"]
        assert [c.text for _, c in ledger.collect(second)] == ["re: other", "re: quick"]
    assert sorted(model.calls) == ["other", "quick", "slow"]


def test_a_call_that_failed_is_asked_again_by_a_later_order(store: Store) -> None:
    """Also while another order is open; not by one that was begun before it failed."""
    model = Oracle(lambda number, request: answer(request) if number > 1 else Completion("", error="filtered"))
    with closing(Ledger(model, store, 1, pace=paced(1))) as ledger:
        first, beside = ledger.begin([ask("x")]), ledger.begin([ask("x"), ask("y")])
        assert [c.error for _, c in ledger.collect(first)] == ["filtered"]
        assert [c.error for _, c in ledger.collect(beside)] == ["filtered", ""]

        assert [c.text for _, c in ledger.complete([ask("x")])] == ["re: x"]
    assert model.calls == ["x", "y", "x"]


def test_a_stop_waits_for_the_calls_of_all_orders(store: Store) -> None:
    """What is under way when the next order is refused is written down, and is no doubtful call."""
    stop, release = threading.Event(), threading.Event()
    both = threading.Barrier(3, timeout=20)

    def act(_: int, request: Request) -> Completion:
        both.wait()
        assert release.wait(20)
        return answer(request)

    ledger = Ledger(Oracle(act), store, 1, pace=paced(4), stop=stop)
    ledger.begin([ask("a"), ask("b")])
    both.wait()  # both calls are under way
    stop.set()
    threading.Timer(0.3, release.set).start()

    with closing(ledger), pytest.raises(Interrupted):
        ledger.begin([ask("c")])

    assert (store.bought(1), store.possibly_paid(1).calls) == (2, 0)


def test_a_cap_refuses_the_order_that_would_pass_it(store: Store) -> None:
    """The order before it is answered; the one that is refused says so whenever it is collected."""
    with closing(Ledger(Oracle(), store, 1, Budget(Caps(calls=3)), paced(2))) as ledger:
        first, second = ledger.begin([ask("a"), ask("b")]), ledger.begin([ask("c"), ask("d")])

        assert [c.text for _, c in ledger.collect(first)] == ["re: a", "re: b"]
        with pytest.raises(BudgetSpent):
            ledger.collect(second)
        assert [c.text for _, c in ledger.complete([ask("c")])] == ["re: c"]
    assert store.bought(1) == 3


def test_what_nobody_collects_is_written_down_in_the_end(store: Store) -> None:
    """A search that is broken off between two orders loses no answer that comes within a moment."""
    ledger = Ledger(Oracle(), store, 1, pace=paced(4))
    ledger.begin([ask("a"), ask("b")])

    ledger.close()

    assert (store.bought(1), store.possibly_paid(1).calls) == (2, 0)
