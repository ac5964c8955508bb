"""How fast calls are made: our evaluation against DSPy's and against the ideal, on one server in one run.

    PYTHONPATH=tests python -m benchmarks.throughput [--calls 4096]

The tests' server runs in its own process, and answers every call after the same wait. The ideal time is calls x wait /
calls at a time. Ours does everything that a paid run does: render, look up, reserve, claim, call, record with a disk
flush, parse, score; with direct calls and with LiteLLM. The bare client posts the same bytes over the same pool of
connections, decodes the answers and does nothing else: our CPU time is compared with its CPU time. DSPy evaluates a
`dspy.Predict` with as many threads, without its cache. A first, shorter run warms up all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from server import ChatServer, Latency

from optimizer.calls.gateway import Pace
from optimizer.evaluate import Evaluator
from optimizer.ledger import Ledger
from optimizer.models import LiteLLMModel, Model, open_model
from optimizer.records import Run
from optimizer.scoring import METRICS
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt, Settings
from search_spaces.rendering import Renderer

SETTINGS = ((0.3, 64, 0.90), (0.05, 16, 0.75))  # seconds, calls at a time, least share of the ideal
MOST_CPU = 1.0  # milliseconds of our own on top of the client library
PROMPT = Prompt("plain", "Say what the message is about.", inputs=("text",), output="label", settings=Settings(0.0, 16))
PRICE = (0.15, 0.6)


@dataclass(frozen=True, slots=True)
class Took:
    """Wall-clock and processor seconds of one go."""

    wall: float
    cpu: float


@contextmanager
def clocked(into: list[Took]) -> Iterator[None]:
    """Measure what happens inside."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into.append(Took(time.perf_counter() - wall, time.process_time() - cpu))


def rows(calls: int, go: str) -> list[Example]:
    """Make as many different rows; those of another go differ, too."""
    return [
        Example(f"{n}", (("text", f"{go} {n}: the parcel was late and nobody called back"),), ("late",))
        for n in range(calls)
    ]


def ours(model: Model, workers: int, examples: Sequence[Example], into: list[Took]) -> None:
    """Evaluate a prompt as a paid run does."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "r.db", create=True, paid=True) as store:
        run = store.start_run(Run(0, "t", {}, model.name, "accuracy", "d", "running", ""), "c")
        with closing(Ledger(model, store, run, pace=Pace(workers))) as ledger:
            evaluate = Evaluator(ledger, Renderer(), METRICS["accuracy"])
            with clocked(into):
                outcomes = evaluate.rows(PROMPT, examples)
    assert all(outcome.score is not None for outcome in outcomes)


def bare(url: str, workers: int, examples: Sequence[Example], into: list[Took]) -> None:
    """Post the same bytes and decode the answers."""
    renderer = Renderer()
    bodies = [
        json.dumps(
            {
                "model": "m",
                "messages": [message.to_dict() for message in renderer.messages(PROMPT, example)],
                "temperature": 0.0,
                "max_tokens": 16,
            }
        ).encode()
        for example in examples
    ]

    async def run() -> None:
        waiting = iter(bodies)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def work() -> None:
                for body in waiting:
                    async with session.post(f"{url}/chat/completions", data=body) as response:
                        json.loads(await response.read())["choices"][0]["message"]["content"]

            with clocked(into):
                await asyncio.gather(*(work() for _ in range(workers)))

    asyncio.run(run())


def dspys(url: str, workers: int, examples: Sequence[Example], into: list[Took]) -> None:
    """Evaluate a predictor with DSPy."""
    import dspy

    lm = dspy.LM("openai/m", api_base=url, api_key="none", cache=False, num_retries=0, max_tokens=16, temperature=0.0)
    data = [dspy.Example(text=e.inputs[0][1], label=e.target).with_inputs("text") for e in examples]
    evaluate = dspy.Evaluate(
        devset=data,
        metric=lambda row, said, _=None: row.label == said.label,
        num_threads=workers,
        max_errors=len(data),
        provide_traceback=False,
        display_progress=False,
    )
    with dspy.context(lm=lm), clocked(into):
        evaluate(dspy.Predict("text -> label"))


def line(name: str, took: Sequence[Took], calls: int, ideal: float, beside: float | None) -> str:
    """One row of the table: medians over the goes."""
    share = statistics.median(ideal / t.wall for t in took)
    cpu = statistics.median(1000 * t.cpu / calls for t in took)
    own = "" if beside is None else f"{cpu - beside:.2f}"
    return f"| {name} | {share:.0%} | {calls / statistics.median(t.wall for t in took):.0f} | {cpu:.2f} | {own} |"


def measure(server: ChatServer, seconds: float, workers: int, calls: int, goes: int) -> dict[str, list[Took]]:
    """Measure everybody in turn, so that a slow moment of the machine meets all."""
    lean = open_model("openai/m", api_base=server.url, price=PRICE)
    everybody: dict[str, Callable[[Sequence[Example], list[Took]], None]] = {
        "bare client": lambda examples, into: bare(server.url, workers, examples, into),
        "phrasetune, lean lane": lambda examples, into: ours(lean, workers, examples, into),
        "phrasetune, LiteLLM": lambda examples, into: ours(
            LiteLLMModel("openai/m", server.url, lean.price, {}), workers, examples, into
        ),
        "DSPy Evaluate": lambda examples, into: dspys(server.url, workers, examples, into),
    }
    found: dict[str, list[Took]] = {name: [] for name in everybody}
    for go in range(goes + 1):
        for name, run in everybody.items():
            server.forget()
            server.wait(Latency(seconds))
            run(rows(calls if go else 5 * workers, f"{name} {go}"), found[name])
    return {name: took[1:] for name, took in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4096)
    parser.add_argument("--goes", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    logging.disable(logging.WARNING)
    with ChatServer() as server:
        for seconds, workers, least in SETTINGS:
            found = measure(server, seconds, workers, given.calls, given.goes)
            beside = statistics.median(1000 * t.cpu / given.calls for t in found["bare client"])
            ideal = given.calls * seconds / workers
            print(f"\n{seconds * 1000:.0f} ms x {workers} at a time, {given.calls} calls, {given.goes} goes\n")
            print("| | of the ideal | calls / s | ms of processor a call | of our own |\n|---|---|---|---|---|")
            for name, took in found.items():
                print(line(name, took, given.calls, ideal, None if name == "bare client" else beside), flush=True)
            share = statistics.median(ideal / t.wall for t in found["phrasetune, lean lane"])
            own = statistics.median(1000 * t.cpu / given.calls for t in found["phrasetune, lean lane"]) - beside
            print(
                f"\nbars: {share:.0%} of the ideal (at least {least:.0%}): {'pass' if share >= least else 'FAIL'}; ",
                end="",
            )
            print(f"{own:.2f} ms of our own (at most {MOST_CPU:g}): {'pass' if own <= MOST_CPU else 'FAIL'}")


if __name__ == "__main__":
    main()
