"""Baselines that cost money: embeddings and fine-tuning jobs are bought once, counted, capped, and found again."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from server import ChatServer, Fault, cut, malformed, reset, status

from optimizer import tune as tune_task
from optimizer.baseline import Budget as Training
from optimizer.baseline import Lesson, Rival
from optimizer.budget import Budget, Caps, Spent
from optimizer.calls.embeddings import BATCH, BoughtVectors, EmbeddingModel
from optimizer.calls.gateway import Pace
from optimizer.calls.prices import known_price
from optimizer.contenders import CASCADE, RIVAL, TUNED
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import BudgetSpent, Interrupted, ModelError, ProviderError
from optimizer.events import Event, Notice, Stage
from optimizer.evidence import together
from optimizer.ledger import Ledger
from optimizer.models import open_model, open_service
from optimizer.phrases import amount
from optimizer.records import Dataset, Run
from optimizer.rivals import encoder, provider_tuning
from optimizer.rivals.ladder import choose, reach
from optimizer.rivals.provider_tuning import Means, Order, chat_lines, most, tune
from optimizer.scores.metrics import METRICS
from optimizer.store import Store
from optimizer.task import Task, load_task
from optimizer.task_sections import Baseline, Search
from optimizer.watch import Watch
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import write_task
from tests.test_together import bundled

ROWS = [Example(f"r{i}", (("text", f"message {i}"),), ("bug" if i % 2 else "how-to",)) for i in range(8)]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A results.db with one run."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setattr(provider_tuning, "FIRST_LOOK", 0.0)
    with Store(tmp_path / "r.db", create=True) as opened:
        opened.start_run(Run(0, "n", {}, "m", "accuracy", "d", "running", ""), "config")
        yield opened


# --- embeddings -------------------------------------------------------------------------------------------


def vectors(server: ChatServer, store: Store, budget: Budget | None = None) -> BoughtVectors:
    """Embeddings of the loopback server at a dollar for a token."""
    service = open_service("openai/embedder", api_base=server.url)
    model = EmbeddingModel(service, server.url, 1.0)
    return BoughtVectors(Ledger(model, store, 1, budget or Budget(), Pace(workers=2, timeout=10, patience=0.1)))


def test_a_text_is_embedded_once(server: ChatServer, store: Store) -> None:
    """In batches; results.db gives them back to the next run, and they are counted as spent."""
    texts = [f"word{i} and" for i in range(BATCH + 6)]
    budget = Budget()

    first = vectors(server, store, budget)(texts)
    first_again = vectors(server, store)(texts)

    assert [len(asked.body["input"]) for asked in server.log] in ([BATCH, 6], [6, BATCH])
    assert first.shape == (BATCH + 6, 96)
    assert (first**2).sum(axis=1) == pytest.approx(1, abs=1e-3)
    assert (first == first_again).all()
    assert budget.spent == store.spent(1) == Spent(2, 2 * len(texts), 2 * len(texts))


def test_each_text_has_its_share_of_the_price(server: ChatServer, store: Store) -> None:
    """Of the tokens of its batch."""
    bought = vectors(server, store)
    bought(["a b", "c d e f"])

    assert [(share.prompt_tokens, share.cost) for share in bought.paid(["a b", "c d e f"])] == [(3, 3), (3, 3)]


def test_embeddings_keep_to_the_cap(server: ChatServer, store: Store) -> None:
    """A batch that could pass it is not sent."""
    with pytest.raises(BudgetSpent):
        vectors(server, store, Budget(Caps(usd=3)))(["a b c d"])

    assert server.log == []


@pytest.mark.parametrize("fault", [status(500), malformed(), Fault(answer={"data": []}), reset()])
def test_a_passing_fault_passes(server: ChatServer, store: Store, fault: Fault) -> None:
    """The batch is asked for again."""
    server.misbehave(fault, 1)

    assert vectors(server, store)(["a b"]).shape == (1, 96)


def test_a_refusal_is_said(server: ChatServer, store: Store) -> None:
    """As of any model."""
    server.misbehave(status(401))

    with pytest.raises(ProviderError, match="refuses the key"):
        vectors(server, store)(["a b"])


def test_an_encoder_knows_which_rows_are_akin_and_learns_from_more(server: ChatServer, store: Store) -> None:
    """By its own vectors; the likeliest answers of rows are those that it gives; nothing is bought twice."""
    rows = [Example(f"e{i}", (("text", f"{'crash' if i % 2 else 'how'} {i}"),), ROWS[i % 2].targets) for i in range(30)]
    embed = vectors(server, store)
    rival = encoder.train(Lesson(rows, rows[:6], METRICS["accuracy"], best_hyperparameters, True, Training(1)), embed)
    asked, texts = len(server.log), [row.text for row in rows[:6]]

    assert rival.kin
    near, likely = rival.kin(rows, texts)

    data = Dataset(tuple(rows[:20]), tuple(rows[:6]), tuple(rows[20:]))
    pupil = together.distil(rival, data, rows[20:], METRICS["accuracy"], (), 0)

    assert pupil.trained.params == rival.trained.params
    assert pupil.answer(texts) == rival.answer(texts)
    assert list(near.argmax(axis=1)) == list(range(6))
    assert [rows[row].target for row in likely.argmax(axis=1)] == rival.answer(texts)
    assert len(server.log) == asked


# --- fine-tuning jobs -------------------------------------------------------------------------------------


def order(server: ChatServer, price: float | None = 1e6) -> Order:
    """Two epochs at a dollar for a token."""
    return Order(open_service("openai/small-1", api_base=server.url), "Sort it.", 2, price)


def means(store: Store, budget: Budget | None = None, pause: Any = lambda _: False) -> Means:
    """Follow without waiting."""
    return Means(store, 1, budget or Budget(), pause, lambda _: None)


def calls(server: ChatServer) -> list[str]:
    """What was asked, by its path."""
    return [asked.path.removeprefix("/v1/").replace("fine_tuning/", "") for asked in server.log]


def test_rows_are_written_as_chat() -> None:
    """One conversation a line: the description, the row, the answer."""
    lines = chat_lines(ROWS[:1], Order(None, "Sort it.", 2, None))  # type: ignore[arg-type]

    roles = [(m["role"], m["content"]) for m in json.loads(lines)["messages"]]
    assert roles == [("system", "Sort it."), ("user", "message 0"), ("assistant", "how-to")]


def test_a_job_is_submitted_followed_and_paid(server: ChatServer, store: Store) -> None:
    """Rows are sent, the job is looked at until it has ended, and what it took is counted."""
    server.tune(looks=3)
    budget = Budget()

    job = tune(ROWS, ROWS[:2], order(server), means(store, budget))

    assert calls(server) == ["files", "files", "jobs", *["jobs/ftjob-1"] * 4]
    assert server.log[2].body["hyperparameters"] == {"n_epochs": 2}
    assert (job.status, job.tuned) == ("succeeded", "ft:small-1:org::ftjob-1")
    assert job.tokens == job.usd == 2 * 8 * (2 + 2 + 1)
    assert budget.spent == store.spent(1) == Spent(0, job.usd, job.tokens)
    assert budget.reserved == Spent()


def test_a_job_is_bought_once(server: ChatServer, store: Store) -> None:
    """The same rows and settings find the model that came of it; others are another job."""
    first = tune(ROWS, ROWS[:2], order(server), means(store))
    asked = len(server.log)

    assert tune(ROWS, ROWS[:2], order(server), means(store)) == first
    assert len(server.log) == asked
    assert tune(ROWS, ROWS[:2], replace(order(server), epochs=3), means(store)).job == "ftjob-2"


def test_a_job_that_could_pass_a_cap_is_not_submitted(server: ChatServer, store: Store) -> None:
    """Nothing is sent, not even the rows."""
    bound = most(ROWS, order(server))

    with pytest.raises(BudgetSpent):
        tune(ROWS, ROWS[:2], order(server), means(store, Budget(Caps(usd=bound.usd - 1))))

    assert server.log == []
    assert tune(ROWS, ROWS[:2], order(server), means(store, Budget(Caps(usd=bound.usd)))).usd < bound.usd


def test_a_stopped_run_finds_its_job_again(server: ChatServer, store: Store) -> None:
    """It counts with its highest price meanwhile; nothing is submitted twice."""
    with pytest.raises(Interrupted):
        tune(ROWS, ROWS[:2], order(server), means(store, pause=lambda _: True))
    meanwhile = store.spent(1)

    job = tune(ROWS, ROWS[:2], order(server), means(store))

    assert meanwhile == most(ROWS, order(server))
    assert calls(server).count("jobs") == 1
    assert store.spent(1) == Spent(0, job.usd, job.tokens)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("submitted", [True, False])
def test_a_run_that_was_killed_around_the_submission_submits_once(
    server: ChatServer, store: Store, monkeypatch: pytest.MonkeyPatch, submitted: bool
) -> None:
    """After the job was submitted and before its name was written down, or before either."""
    with monkeypatch.context() as patched:
        real = provider_tuning._Calls.submit

        def submit(self: Any, *arguments: Any) -> str:
            if submitted:
                real(self, *arguments)
            raise Killed

        patched.setattr(provider_tuning._Calls, "submit", submit)
        with pytest.raises(Killed):
            tune(ROWS, ROWS[:2], order(server), means(store))

    job = tune(ROWS, ROWS[:2], order(server), means(store))

    assert job.tuned
    assert sum(asked.path.endswith("/jobs") and bool(asked.body) for asked in server.log) == 1


def test_a_lost_answer_to_the_submission_is_found(server: ChatServer, store: Store) -> None:
    """The provider's list of jobs knows whether it was taken."""
    server.misbehave(cut(), 3)

    job = tune(ROWS, ROWS[:2], order(server), means(store))

    assert job.tuned
    assert calls(server)[:4] == ["files", "files", "jobs", "jobs"]


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_job_that_fails_says_why_and_is_submitted_anew(server: ChatServer, store: Store, end: str) -> None:
    """And costs what was trained: nothing."""
    server.tune(looks=0, end=end)

    with pytest.raises(ProviderError, match=f"job ftjob-1 has {end}: the rows are no use"):
        tune(ROWS, ROWS[:2], order(server), means(store))
    server.tune(looks=0)

    assert store.spent(1) == Spent()
    assert tune(ROWS, ROWS[:2], order(server), means(store)).job == "ftjob-2"


def test_faults_on_the_way_pass(server: ChatServer, store: Store) -> None:
    """Each call but the submission is made again."""
    for number in (1, 3, 6):
        server.misbehave(status(503), number)

    assert tune(ROWS, ROWS[:2], order(server), means(store)).tuned


def test_a_refusal_costs_nothing(server: ChatServer, store: Store) -> None:
    """Neither now nor in what is written down."""
    server.misbehave(status(400, said="no such base model"), 3)
    budget = Budget(Caps(usd=1e6))

    with pytest.raises(ProviderError, match="no such base model"):
        tune(ROWS, ROWS[:2], order(server), means(store, budget))

    assert store.spent(1) == budget.spent == budget.reserved == Spent()


@pytest.mark.parametrize("code", [302, 307])
def test_rows_are_not_sent_elsewhere(server: ChatServer, stranger: ChatServer, store: Store, code: int) -> None:
    """No redirect is followed."""
    server.misbehave(Fault(code, {"error": {}}, {"Location": f"{stranger.url}/files"}))
    with pytest.raises(ProviderError, match="leads elsewhere"):
        tune(ROWS, ROWS[:2], order(server), means(store))

    assert stranger.log == []


def test_a_proxy_sees_no_rows_without_tls(
    server: ChatServer, stranger: ChatServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is called itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, stranger.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    assert tune(ROWS, ROWS[:2], order(server), means(store)).tuned
    assert vectors(server, store)(["a"]).size
    assert stranger.log == []


def trained(server: ChatServer, store: Store, budget: Budget, jobs: int = 1) -> Rival:
    """Three epochs on bundled messages, judged on others; a dollar for a token of an answer."""
    spend = means(store, budget)

    def ledger(name: str) -> Ledger:
        model = open_model(f"openai/{name}", api_base=server.url, price=(0, 1e6))
        return Ledger(model, store, 1, budget, Pace(workers=2, timeout=10, patience=0.1))

    lesson = Lesson(bundled(0, 20), bundled(20, 30), METRICS["accuracy"], best_hyperparameters, True)
    return provider_tuning.train(lesson, replace(order(server), epochs=3, jobs=jobs), spend, ledger)


def test_the_dev_rows_choose_among_the_epochs_that_were_kept(server: ChatServer, store: Store) -> None:
    """As early stopping would; the others' answers are paid as well, and the curve says how it went."""
    server.ask("services:overtrained")
    server.tune(looks=0, kept=3)  # the last is of the last epoch
    budget = Budget()

    rival = trained(server, store, budget)

    asked = [request.body["model"].partition("::")[2] for request in server.log if "messages" in request.body]
    assert asked == [f"ftjob-1{step}" for step in ("", ":ckpt-step-20", ":ckpt-step-10") for _ in range(10)]
    assert rival.trained.params["tuned"] == "ft:small-1:org::ftjob-1:ckpt-step-20"
    assert "over 2 epochs" in rival.trained.detail
    assert rival.trained.curve == (1.0, 1.0, rival.trained.curve[-1])
    assert rival.trained.curve[-1] < 1.0 == rival.trained.dev_score
    assert rival.trained.cost == pytest.approx(budget.spent.usd) == pytest.approx(store.spent(1).usd)


def test_further_jobs_search_the_learning_rate(server: ChatServer, store: Store) -> None:
    """The first has the provider's own; each is submitted once, judged, paid, and found again by a second run."""
    server.ask("services:overtrained")
    server.tune(looks=0, kept=0)
    budget = Budget()

    rival = trained(server, store, budget, jobs=3)

    rates = [
        r.body["hyperparameters"].get("learning_rate_multiplier") for r in server.log if "hyperparameters" in r.body
    ]
    assert rates[0] is None
    assert len(rates) == len(set(rates)) == 3
    assert all(0.25 <= rate <= 4 for rate in rates[1:])
    assert rival.trained.trials == 3
    assert rival.trained.cost == pytest.approx(budget.spent.usd) == pytest.approx(store.spent(1).usd)
    asked = len(server.log)
    again = trained(server, store, Budget(), jobs=3)
    assert again.trained.params == rival.trained.params
    assert [r.path for r in server.log[asked:] if r.path.endswith("/jobs") and r.method == "POST"] == []


def test_a_job_that_the_caps_do_not_cover_ends_the_search(server: ChatServer, store: Store) -> None:
    """What was tuned by then stands."""
    server.tune(looks=0, kept=0)
    one = trained(server, store, free := Budget())
    assert one.trained.trials == 1

    rival = trained(server, store, Budget(Caps(tokens=int(2.5 * free.spent.tokens))), jobs=5)

    assert 1 <= rival.trained.trials < 5
    assert rival.trained.params["tuned"] == one.trained.params["tuned"]


def test_earlier_epochs_are_judged_while_the_caps_cover_it(server: ChatServer, store: Store) -> None:
    """The model that was paid for stands, judged or not."""
    server.ask("services:overtrained")
    server.tune(looks=0, kept=2)

    rival = trained(server, store, Budget(Caps(calls=15)))

    assert len(rival.trained.curve) == 1
    assert rival.trained.params["tuned"] == "ft:small-1:org::ftjob-1"


# --- the whole journey ------------------------------------------------------------------------------------


def with_baseline(tmp_path: Path, max_usd: float = 0.0, **options: Any) -> Task:
    """The small task with other options of its baseline."""
    task = load_task(write_task(tmp_path))
    search = Search.model_validate({"max_usd": max_usd})
    return task.model_copy(update={"baseline": Baseline.model_validate(options), "search": search})


def test_auto_takes_nothing_that_costs_money(tmp_path: Path) -> None:
    """It says how to have it all the same."""
    options: dict[str, Any] = {"encoder": {"model": "openai/text-embedding-3-small"}, "provider": {"model": "openai/y"}}

    chosen = choose(with_baseline(tmp_path, **options), labelled=True)

    assert chosen["encoder"] == "it costs money; name encoder in kinds"
    assert chosen["provider"] == "it costs money; name provider in kinds"
    assert choose(with_baseline(tmp_path, kinds=["auto", "provider"], **options), labelled=True)["provider"] == ""


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("provider", {"model": "openai/y"}, r"Give it as training_price in \[baseline.provider\]"),
        ("provider", {"model": "anthropic/y"}, "fine-tuning of anthropic is not reached"),
        ("encoder", {"model": "openai/y", "api_base": "http://127.0.0.1:1/v1"}, "no known price"),
    ],
)
def test_what_cannot_be_kept_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], said: str
) -> None:
    """Before anything is bought."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary-0123456789")

    with pytest.raises(ModelError, match=said):
        reach(with_baseline(tmp_path, max_usd=1, kinds=kind, **{kind: options}), labelled=True)


@pytest.fixture
def tuning(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task whose embeddings and whose fine-tuning the loopback server sells, and whose tuned model knows it all."""
    monkeypatch.setattr(provider_tuning, "FIRST_LOOK", 0.0)
    server.ask("services:learned")
    task = write_task(tmp_path, search={"calls": 60, "max_usd": 1000})
    address = f'api_base = "{server.url}"'
    kinds = 'kinds = ["encoder", "provider"]\ntrials = 3'
    task.write_text(
        f"{task.read_text(encoding='utf-8').replace('trials = 3', kinds)}\n"
        f'[baseline.encoder]\nmodel = "openai/e"\n{address}\nprice = 2.0\n'
        f'[baseline.provider]\nmodel = "openai/t"\n{address}\ntraining_price = 5.0\n'
        "price = { input = 1.0, output = 2.0 }\n",
        encoding="utf-8",
    )
    return task


def test_a_run_with_bought_baselines(command: Command, server: ChatServer, tmp_path: Path, tuning: Path) -> None:
    """The tuned model wins; what each cost comes from the budget of the run, and is what finding the winner took."""
    done = command("tune", tuning.name)
    shown = json.loads(command("show", "--json").stdout)["verdict"]

    ladder = {rung["kind"]: rung["trained"] for rung in shown["ladder"] if rung["trained"]}
    (rival,) = (c for c in shown["contenders"] if c["name"] == RIVAL)
    assert list(ladder) == ["linear", "encoder", "provider"]
    assert (rival["score"], rival["detail"]) == (1.0, ladder["provider"]["detail"])
    assert rival["cost_per_1000"] > 0
    (cascade,) = (c for c in shown["contenders"] if c["name"] == CASCADE)
    assert cascade["cost_per_1000"] == rival["cost_per_1000"]  # no row goes to the prompt, which is free
    assert ladder["provider"]["cost"] > ladder["encoder"]["cost"] > 0
    assert shown["bills"][1]["finding"] == pytest.approx(sum(trained["cost"] for trained in ladder.values()))
    assert shown["curve"] is None
    assert "How the provider baseline grows with its rows was not measured" in done.stdout
    assert server.url in done.stderr + done.stdout
    with Store(tmp_path / "results.db") as opened:
        answered = rival["cost_per_1000"] * 50 / 1000  # the test rows
        assert opened.spent(1).usd == pytest.approx(shown["bills"][1]["finding"] + answered)
    command("report")
    told = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Trained baselines" in told
    assert "name numbers of them as curve in [baseline.provider]" in told
    assert "which no skops file holds" in command("export", "--format", "skops", code=2).stderr


def test_a_run_that_is_resumed_buys_no_baseline_twice(
    server: ChatServer, tmp_path: Path, tuning: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the verdict, it brings its tuned model back, and the prompt that was found for it."""
    with tuning.open("a", encoding="utf-8") as file:
        file.write("[verdict]\ntuned_search = 40\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    stop = threading.Event()

    def event(said: Event) -> None:
        if isinstance(said, Stage) and said.name == "verdict":
            stop.set()

    with pytest.raises(Interrupted):
        tune_task(tuning, db=tmp_path / "r.db", watch=Watch(event, stop))
    before = len(server.log)

    resumed = tune_task(tuning, db=tmp_path / "r.db")

    assert resumed.verdict
    assert {c.name: c.score for c in resumed.verdict.contenders}[RIVAL] == 1
    asked = [request.body["messages"] for request in server.log[before:]]
    plain = [messages for messages in asked if messages[0]["role"] == "system" and len(messages[0]["content"]) < 80]
    assert len(asked) == 100  # the test rows, as it was trained and with the prompt
    assert len(plain) == 50


# --- its learning curve -----------------------------------------------------------------------------------


@pytest.fixture
def curved(tuning: Path) -> Path:
    """The task, whose tuned model is also wanted on 20 and 60 of the 100 training rows; no embeddings."""
    text = tuning.read_text(encoding="utf-8").replace('["encoder", "provider"]', '["provider"]')
    tuning.write_text(text.replace("training_price = 5.0", "training_price = 5.0\ncurve = [20, 60]"), encoding="utf-8")
    return tuning


def submitted(server: ChatServer) -> list[int]:
    """How many rows each job was given, in the order of submission."""
    files = [request.body for request in server.log if request.path.endswith("/files")]
    trained = [body["file"].count("\n") for body in files if body["filename"] == "train.jsonl"]
    assert len(trained) == sum(r.path.endswith("/jobs") and bool(r.body) for r in server.log)
    return trained


def test_each_size_of_a_curve_is_a_job(command: Command, server: ChatServer, tmp_path: Path, curved: Path) -> None:
    """Planned with its price, paid once, said to be of one draw, and shown wherever a curve is shown."""
    planned = json.loads(command("plan", curved.name, "--offline", "--json").stdout)
    done = command("tune", curved.name)
    shown = json.loads(command("show", "--json").stdout)["verdict"]
    command("report")

    assert submitted(server) == [100, 20, 60]
    assert [(p["rows"], p["repeats"]) for p in shown["curve"]["points"]] == [(20, 1), (60, 1), (100, 1)]
    assert (shown["curve"]["crossover"], shown["curve"]["extrapolated"]) == (20, False)
    (part,) = (part for part in planned["parts"] if part["name"] == "learning curve")
    with Store(tmp_path / "results.db") as opened:
        spent = opened.spent(1).usd
        jobs = opened.rows("SELECT usd FROM tuning_jobs ORDER BY rowid")
    answered = next(c["cost_per_1000"] for c in shown["contenders"] if c["name"] == RIVAL) * 50 / 1000
    took = spent - shown["bills"][1]["finding"] - answered
    paid = sum(row["usd"] for row in jobs[1:])
    assert paid < took <= part["usd"][1]
    assert f" It took 2 more fine-tuning jobs, {amount(paid)}." in shown["sentence"]
    assert part["calls"] == [0, 100]
    said = (
        "Training overtakes the best prompt at 20 labelled rows or fewer. Training was tried on 20, 60 and 100 rows, "
        "and on no number between. Each number was drawn once: its intervals tell of the test rows, not of the luck of "
    )
    assert f"{said}the draw." in done.stdout
    assert "each number was drawn once" in (tmp_path / "report.html").read_text(encoding="utf-8")
    asked = len(server.log)
    command("tune", curved.name)
    assert not any(request.body for request in server.log[asked:])


def test_a_curve_that_is_stopped_follows_its_jobs(
    server: ChatServer, curved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was submitted once, also the one that was running; the verdict is that of a run that was left alone."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    stop = threading.Event()

    def event(said: Event) -> None:
        if isinstance(said, Notice) and "ftjob-3 was submitted" in said.text:
            stop.set()

    server.tune(looks=2)
    with pytest.raises(Interrupted):
        tune_task(curved, db=curved.parent / "r.db", watch=Watch(event, stop))
    with Store(curved.parent / "r.db") as opened:
        assert opened.spent(1).usd <= 1000

    resumed = tune_task(curved, db=curved.parent / "r.db")

    assert submitted(server) == [100, 20, 60]
    assert resumed.verdict
    assert resumed.verdict.curve
    assert [point.rows for point in resumed.verdict.curve.points] == [20, 60, 100]


def test_a_curve_ends_where_the_caps_do(command: Command, server: ChatServer, curved: Path) -> None:
    """With its answers a job would pass them: it is not submitted, and what it would take is told."""
    text = curved.read_text(encoding="utf-8").replace("calls = 60", "calls = 60\nmax_calls = 330")
    curved.write_text(text, encoding="utf-8")

    told = json.loads(command("tune", curved.name, "--json").stdout)

    assert submitted(server) == [100, 20]
    assert "no learning curve at 60 rows: a job on 60 rows takes up to $0." in told["run"]["reason"]
    assert [point["rows"] for point in told["verdict"]["curve"]["points"]] == [20, 100]
    assert told["run"]["bought"] <= 330


def test_a_job_that_fails_leaves_its_point_out(command: Command, server: ChatServer, curved: Path) -> None:
    """The other points stand, and so does the verdict."""
    server.tune(looks=0, refused=[20])

    told = json.loads(command("tune", curved.name, "--json").stdout)

    assert [point["rows"] for point in told["verdict"]["curve"]["points"]] == [60, 100]
    assert "no learning curve at 20 rows: " in told["run"]["reason"]


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        ("[60, 20]", r"`baseline.provider.curve`: \[60, 20\]; numbers of rows must rise"),
        ("[4]", r"`baseline.provider.curve"),
        ("[20, 100]", r"curve in \[baseline.provider\] names 100 rows, and there are 100 training rows"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(
    command: Command, server: ChatServer, curved: Path, curve: str, said: str
) -> None:
    """Before anything is bought."""
    curved.write_text(curved.read_text(encoding="utf-8").replace("[20, 60]", curve), encoding="utf-8")

    assert re.search(said, command("tune", curved.name, code=2).stderr)
    assert server.log == []


# --- a prompt for the tuned model -------------------------------------------------------------------------


def test_a_prompt_is_searched_for_the_tuned_model(
    command: Command, server: ChatServer, tmp_path: Path, tuning: Path
) -> None:
    """It is a contender, bought from the same budget; a run of the tuned model's own finds it again for nothing.

    That run's verdict has another rival: the seed prompt, which it asks the 50 test rows, unless it is the one found.
    """
    command("tune", tuning.name, "--tuned-search", "40")
    shown = json.loads(command("show", "--json").stdout)["verdict"]

    (found,) = (c for c in shown["contenders"] if c["name"] == TUNED)
    tuned = "openai/ft:t:org::ftjob-1"
    assert found["detail"].startswith(f"{tuned}, trial ")
    assert found["cost_per_1000"] > 0
    assert found["train_rows"] == 100
    assert [c["b"] for c in shown["comparisons"] if c["a"] == TUNED][-1] == RIVAL
    assert f"The {TUNED} scores {100 * found['score']:.1f} %: " in shown["sentence"]
    searched = float(found["detail"].rpartition("$")[2])
    with Store(tmp_path / "results.db") as opened:
        paid = shown["bills"][1]["finding"] + searched
        answered = sum(c["cost_per_1000"] for c in shown["contenders"] if c["name"] in {RIVAL, TUNED}) * 50 / 1000
        assert opened.spent(1).usd == pytest.approx(paid + answered, rel=1e-3)
    own = tuning.read_text(encoding="utf-8").replace('kinds = ["encoder", "provider"]', "")
    price = "[model]\nprice = { input = 1.0, output = 2.0 }\n"
    tuning.write_text(own + price, encoding="utf-8")
    before = len(server.log)

    command("tune", tuning.name, "--model", tuned, "--api-base", server.url, "--calls", "40")

    assert len(server.log) == before + (0 if ", trial 0 of" in found["detail"] else 50)
    with Store(tmp_path / "results.db") as opened:
        assert f"trial {opened.run(2).winner} of {len(opened.trials(2))}," in found["detail"]


def test_a_tuned_model_without_calls_to_spare_keeps_its_plain_prompt(command: Command, tuning: Path) -> None:
    """The verdict is not searched away, and says what is missing."""
    planned = json.loads(command("plan", tuning.name, "--tuned-search", "40", "--offline", "--json").stdout)
    done = command("tune", tuning.name, "--tuned-search", "40", "--max-calls", "270", "--json")

    told = json.loads(done.stdout)
    assert TUNED not in {c["name"] for c in told["verdict"]["contenders"]}
    assert "no prompt for the tuned model: it takes 90 calls" in told["run"]["reason"]
    (part,) = (part for part in planned["parts"] if part["name"] == "tuned search")
    assert part["calls"] == [0, 90]
    assert part["usd"][1] > 0


def test_a_tuned_model_costs_what_the_table_says_of_its_base() -> None:
    """Whatever it is called after that."""
    base = known_price("ft:gpt-4o-mini-2024-07-18")

    assert base
    assert known_price("openai/ft:gpt-4o-mini-2024-07-18:org::job") == base
    assert known_price("ft:no-such-model:org::job") is None


def test_a_search_for_a_tuned_model_needs_one(command: Command, tmp_path: Path) -> None:
    """It is refused before anything is bought."""
    done = command("tune", write_task(tmp_path).name, "--tuned-search", "40", code=2)

    assert 'tuned_search = 40 in [verdict] needs a model that is tuned. Add "provider" to kinds' in done.stderr
