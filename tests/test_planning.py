"""Estimates of what a run takes: ranges that contain what it took, from rendered prompts and measured calls."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server import ChatServer, Latency, says, status

from optimizer import load_task, make_task, plan
from optimizer.calls.gateway import Pace
from optimizer.commands.options import changed
from optimizer.embedded import EmbeddedModel
from optimizer.errors import ModelError, TaskError
from optimizer.events import Destination, Notice
from optimizer.planning import Estimate, Probe, Terms, estimate
from optimizer.preparing import Plan, held_calls, prepare
from optimizer.records import Completion
from optimizer.reports.planning_tables import basis, caps_text, estimate_grid, probe_text
from optimizer.task_sections import PROPOSER, Baseline
from optimizer.watch import Watch
from tests.conftest import Command
from tests.small_task import write_task

PRICE = (2e-6, 8e-6)
PROBED = Probe((400, 800), (Completion("a", 100, 2, seconds=0.5), Completion("b", 200, 4, seconds=1.0)), 2)
REMOTE = Terms(PRICE, Pace(workers=4))


def planned(folder: Path, **search: object) -> Plan:
    """The small task, made ready."""
    return prepare(write_task(folder, search=search))


def of(plan: Plan, probe: Probe = PROBED, terms: Terms = REMOTE) -> Estimate:
    """What it takes."""
    return estimate(plan, probe, terms, np.random.default_rng(0))


def test_the_parts_and_their_sum(tmp_path: Path) -> None:
    """Search, baseline and verdict; an ablation only where it is wanted."""
    plan = planned(tmp_path, calls=400)
    found = of(plan)

    assert [part.name for part in found.parts] == ["search", "baseline", "verdict"]
    assert found.parts[0].calls == (100, 400)  # two prompts on 50 dev rows, at least
    assert found.parts[2].calls == (50, 100)  # the seed prompt alone, or the best as well
    assert found.total.calls == (150, 500)
    for name in ("prompt_tokens", "completion_tokens", "usd", "seconds"):
        low, high = getattr(found.total, name)
        assert 0 < low < high
        assert low == pytest.approx(sum(getattr(part, name)[0] for part in found.parts))
        assert high == pytest.approx(sum(getattr(part, name)[1] for part in found.parts))
    ablated = of(planned(tmp_path, calls=400, ablate=True))
    assert "ablation" in [part.name for part in ablated.parts]
    assert ablated.total.calls.high > found.total.calls.high


@pytest.mark.parametrize(("calls", "low"), [(30, 0), (100, 3)])
def test_proposals_may_never_be_asked_for_where_no_calls_are_to_spare(tmp_path: Path, calls: int, low: int) -> None:
    """Seed prompt and leader on 20 dev rows each come first."""
    plan = prepare(write_task(tmp_path, search={"calls": calls}, proposer="openai/x"))
    found = of(plan, terms=replace(REMOTE, beside={PROPOSER: REMOTE}))

    assert {part.name: part.calls for part in found.parts}["proposals"] == (low, 15)


def test_baselines_that_are_bought_are_planned(tmp_path: Path) -> None:
    """Each has its own line: what embeddings cost, what is trained at a provider, and what its answers cost."""
    plan = planned(tmp_path)
    told: dict[str, Any] = {
        "kinds": ["encoder", "provider"],
        "encoder": {"model": "openai/text-embedding-3-small"},
        "provider": {"model": "openai/gpt-4o-mini-2024-07-18", "training_price": 3.0},
    }
    priced = plan.task.model_copy(update={"baseline": Baseline.model_validate(told)})

    found = {part.name: part for part in of(replace(plan, task=priced)).parts}

    assert found["baseline: encoder"].calls == (4, 5)  # 200 rows
    assert found["baseline: provider"].calls == (100, 200)  # dev and test rows; dev rows of two earlier epochs
    assert found["baseline: provider"].seconds is None
    for name in ("baseline: encoder", "baseline: provider"):
        usd = found[name].usd
        assert usd is not None
        assert 0 < usd.low < usd.high < 1
    told["provider"] = {"model": "openai/x"}
    unpriced = plan.task.model_copy(update={"baseline": Baseline.model_validate(told)})
    assert of(replace(plan, task=unpriced)).total.usd is None


def test_the_calls_that_are_kept_for_the_verdict_are_not_the_search_s(tmp_path: Path) -> None:
    """A cap on calls leaves fewer to look at."""
    assert of(planned(tmp_path, calls=250, max_calls=150)).total.calls.high == 150


def test_dollars_are_tokens_at_their_price(tmp_path: Path) -> None:
    """And not known where the price is not."""
    plan = planned(tmp_path)
    total = of(plan).total

    assert total.usd == pytest.approx(
        [p * PRICE[0] + c * PRICE[1] for p, c in zip(total.prompt_tokens, total.completion_tokens, strict=True)]
    )
    unpriced = Terms(None, Pace())
    assert of(plan, terms=unpriced).total.usd is None
    assert "price in [model]" in basis(PROBED, unpriced)[-1]
    assert estimate_grid(of(plan, terms=unpriced)).rows[-1][4] == "unknown"


def test_without_a_call_tokens_come_from_characters_and_time_is_unknown(tmp_path: Path) -> None:
    """From 5 characters to 3 bytes a token; the measured ratio, here 4 characters, lies between them."""
    plan = planned(tmp_path)
    offline, measured = of(plan, Probe()), of(plan)

    assert offline.parts[0].seconds is None
    assert offline.total.seconds is None
    assert offline.prompt.low == pytest.approx(measured.prompt.low * 4 / 5)
    assert offline.prompt.high >= measured.prompt.high * 4 / 3
    assert offline.total.completion_tokens.low < measured.total.completion_tokens.low
    assert probe_text(Probe(), REMOTE) == "probe: none (no call was made, and none like it before)"
    cut = Probe((10, 10), (Completion("{", 9, 63, finish_reason="length"), Completion("{}", 9, 2)), 2)
    assert "; 1 answer cut off (max_tokens in [model] bounds them); 0 calls were bought" in probe_text(cut, REMOTE)


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [(Pace(1), 50 * 0.5), (Pace(4), 50 * 0.5 / 4), (Pace(4, requests_per_minute=10), 300)],
)
def test_time_follows_from_workers_and_caps_per_minute(tmp_path: Path, pace: Pace, seconds: float) -> None:
    """50 calls at half a second each, so many at a time, no faster than is allowed."""
    verdict = of(planned(tmp_path), terms=Terms(PRICE, pace)).parts[-1]

    assert verdict.seconds is not None
    assert verdict.seconds.low == pytest.approx(seconds)
    assert verdict.seconds.high >= 2 * seconds


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({}, "caps: none; --max-usd, --max-calls, --max-tokens and --max-minutes set them"),
        ({"max_usd": 9}, "caps: $9"),
        ({"max_usd": 0.5, "max_minutes": 600}, "caps: $0.5 (may end it early), 600 minutes"),
        ({"max_tokens": 900}, "caps: 900 tokens (will end it early)"),
    ],
)
def test_caps_are_held_against_the_estimate(tmp_path: Path, search: dict[str, Any], said: str) -> None:
    """Which of them may end the run early."""
    plan = planned(tmp_path, **search)

    assert said == caps_text(plan, of(plan), held_calls(plan))


def test_a_run_takes_what_was_estimated(finished: Path) -> None:
    """Calls and tokens of a whole run lie within their ranges."""
    completion = Completion("billing", 100, 2, seconds=0.001)  # the embedded model counts 4 characters a token
    probe = Probe((400,), (completion,), 1)
    found = of(prepare(finished.parent / "task.toml"), probe, Terms((0.0, 0.0), None)).total

    sums = "COUNT(*), SUM(prompt_tokens), SUM(completion_tokens)"
    with closing(sqlite3.connect(finished)) as conn:
        took = conn.execute(f"SELECT {sums} FROM completions WHERE run = 1").fetchone()
    for number, (low, high) in zip(took, (found.calls, found.prompt_tokens, found.completion_tokens), strict=True):
        assert low <= number <= high


def test_failed_and_unreadable_answers_of_a_probe_are_counted() -> None:
    """In words, with what was bought."""
    probe = replace(PROBED, readable=1, failed=1, note="HTTP 400: too long")

    said = probe_text(probe, REMOTE)

    assert "on 3 training rows: 1 readable answers" in said
    assert "1 failed (HTTP 400: too long)" in said


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Command:
    """Run phrasetune beside the small task, at a price."""
    with write_task(tmp_path).open("a", encoding="utf-8") as file:
        file.write("[model]\nprice = { input = 2.0, output = 8.0 }\npatience = 0.02\n")
    return command


def test_plan_measures_with_five_calls_and_buys_them_once(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """Address, rows, power, probe, ranges, caps, and the command that follows; a second look costs nothing."""
    server.wait(Latency(0.05))
    options = ["--model", "openai/test-model", "--api-base", server.url, "--max-usd", "1"]

    first = run("plan", "task.toml", *options).stdout
    again = run("plan", "task.toml", *options, "--json")
    offline = run("plan", "task.toml", *options, "--offline", "--json", key=None)

    assert len(server.log) == 5
    for fact in (
        "small on openai/test-model, judged by accuracy",
        f"calls go to {server.url} (key: OPENAI_API_KEY)",
        "rows: 100 train, 50 dev, 50 test",
        "the search looks at 31 of the dev rows",
        "power: 31 dev rows are too few to show any gain, 50 test rows show gains from about",
        "probe: the seed prompt on 5 training rows: 5 readable answers; ",
        "5 calls were bought for it, $0.00",
        "112–350",
        "caps: $1",
        f"Next: phrasetune tune task.toml --model openai/test-model --api-base {server.url} --max-usd 1",
    ):
        assert fact in first
    known, unbought = json.loads(again.stdout), json.loads(offline.stdout)
    assert known["probe"]["bought"] == unbought["probe"]["bought"] == {"calls": 0, "usd": 0.0, "tokens": 0}
    assert known["probe"]["calls"] == 5
    assert known["total"] == unbought["total"]
    assert known["total"]["usd"][0] > 0
    assert known["total"]["seconds"][0] >= 112 * 0.05 / 8
    assert (known["key"], unbought["key"]) == ("OPENAI_API_KEY", "")
    assert f"calls go to {server.url}" in again.stderr


def test_plan_offline_sends_nothing_and_writes_nothing(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """Not even a key is needed."""
    said = run("plan", "task.toml", "--model", "openai/gpt-4o-mini", "--offline", key=None).stdout

    assert "calls go to https://api.openai.com/v1 (no key in the environment)" in said
    assert "probe: none" in said
    assert not (tmp_path / "results.db").exists()
    assert server.log == []


def test_plan_says_how_many_dev_rows_the_calls_can_use(run: Command) -> None:
    """The search looks at an eighth of its calls' number, and what it can show follows from that."""
    few = ["plan", "task.toml", "--model", "embedded", "--offline", "--calls", "250"]

    said = run(*few).stdout
    known, all_of_them = (json.loads(run(*few[:-1], calls, "--json").stdout) for calls in ("250", "400"))

    assert (
        "the search looks at 31 of the dev rows, as many as 250 calls can use\npower: 31 dev rows are too few" in said
    )
    assert (known["rows"]["dev"], known["searched"], all_of_them["searched"]) == (50, 31, 50)
    assert known["smallest_gain"]["dev"] > all_of_them["smallest_gain"]["dev"]
    assert known["parts"][0]["calls"] == [62, 250]


def test_plan_says_how_many_answers_could_be_read(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """A model that does not answer in the form that was asked for is seen before money is spent."""
    server.misbehave(says("no idea"), 1, 2)

    said = run("plan", "task.toml", "--model", "openai/test-model", "--api-base", server.url).stdout

    assert "on 5 training rows: 3 readable answers" in said


def test_a_probe_stays_within_the_caps(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """What cannot be paid is not asked; the rest is said all the same."""
    options = ["--model", "openai/test-model", "--api-base", server.url, "--max-calls", "2"]

    said = run("plan", "task.toml", *options).stdout

    assert len(server.log) == 2
    assert "on 2 training rows" in said
    assert "caps: 2 calls (no search begins: 100 are kept for the verdict)" in said
    assert "Next: allow more than 100 calls (--max-calls): `tune` refuses so few" in said


def test_plan_from_python_is_what_the_command_says(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """Through the same ledger; the watch is told where calls go before any does."""
    options = ["--model", "openai/test-model", "--api-base", server.url]
    known = json.loads(run("plan", "task.toml", *options, "--json").stdout)
    told = list[object]()

    task = changed(load_task(tmp_path / "task.toml"), {"model": "openai/test-model", "api_base": server.url})
    planned = plan(task, db=tmp_path / "results.db", watch=Watch(told.append))

    assert len(server.log) == 5
    assert [list(part.calls) for part in planned.estimate.parts] == [part["calls"] for part in known["parts"]]
    assert planned.estimate.total.usd == tuple(known["total"]["usd"])
    assert (planned.searched, planned.held, planned.looks) == (known["searched"], 100, 250)
    assert told == [Notice("small on openai/test-model, judged by accuracy"), Destination(server.url)]
    assert repr(planned).startswith("<Planned: small on openai/test-model; 112–350 calls, $0.0")


def test_plan_looks_at_rows_that_a_program_hands_over(tmp_path: Path) -> None:
    """With a model of one's own as well; offline nothing is made."""
    rows = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(40)]
    task = make_task(rows, search={"calls": 50}, space={"template": "plain"})

    offline = plan(task, db=tmp_path / "r.db", model=EmbeddedModel(), offline=True)
    made = (tmp_path / "r.db").exists()
    asked = plan(task, db=tmp_path / "r.db", model=EmbeddedModel(), proposer=EmbeddedModel())

    assert (offline.probe.completions, made) == ((), False)
    assert len(asked.probe.completions) == 5
    assert asked.estimate.total.usd == (0, 0)
    assert "proposals" in [part.name for part in asked.estimate.parts]
    assert "proposals" not in [part.name for part in offline.estimate.parts]
    with pytest.raises(TaskError, match=r"'programs:Sort' is code of your own.*allow_code=True"):
        plan(task, db=tmp_path / "r.db", program="programs:Sort")


@pytest.mark.parametrize(
    ("fault", "said"),
    [(status(401), "refuses the key"), (status(404), "does not know this model")],
)
def test_plan_stops_where_every_call_is_refused(server: ChatServer, run: Command, fault: Any, said: str) -> None:
    """With the cause, and nothing estimated."""
    server.misbehave(fault)

    done = run("plan", "task.toml", "--model", "openai/test-model", "--api-base", server.url, code=1)

    assert said in done.stderr
    assert "What it takes" not in done.stdout
    assert len(server.log) <= 5


def test_plan_says_that_nobody_answers(run: Command, tmp_path: Path) -> None:
    """While it waits."""
    with write_task(tmp_path).open("a", encoding="utf-8") as file:
        file.write("[model]\npatience = 1\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    done = run("plan", "task.toml", "--model", "openai/m", "--api-base", address, code=1)

    assert f"nobody answers at {address} (connection refused); waiting for it\n" in done.stdout


def test_a_limit_on_what_answers_cost_needs_the_price_of_the_model_that_answers(tmp_path: Path) -> None:
    """Alone: what another one proposes is no part of it."""
    with write_task(tmp_path, proposer="openai/test-model").open("a", encoding="utf-8") as file:
        file.write("[search.constraints]\nmax_cost_per_1000 = 1.0\n")
    task = load_task(tmp_path / "task.toml")

    assert PROPOSER in plan(task, db=tmp_path / "r.db", offline=True).terms.beside
    with pytest.raises(ModelError, match="'openai/other' has no known price, so max_cost_per_1000 = 1 cannot be kept"):
        plan(task, db=tmp_path / "r.db", model="openai/other", offline=True)


def test_a_cap_on_dollars_needs_a_price(server: ChatServer, run: Command, tmp_path: Path) -> None:
    """As for `tune`; nothing is sent."""
    write_task(tmp_path)
    options = ["--model", "openai/test-model", "--api-base", server.url, "--max-usd", "1"]

    done = run("plan", "task.toml", *options, code=2)

    assert "has no known price" in done.stderr
    assert server.log == []
