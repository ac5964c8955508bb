"""phrasetune against DSPy and promptolution on a live server: the same model, rows and metric, calls counted there.

    python benchmarks/live.py --seeds 5 --sets sst2 ag_news --peers bootstrap capo

All call the embedded model through one OpenAI-compatible server on loopback (`live_server`), which counts the different
requests of each; test inputs are sent under another name. `live_peers` has the peers and the rows. The questions:

(i)  after as many calls as a peer has spent, is our test accuracy at least the peer's?
(ii) after how many calls does the prompt that we would recommend reach the best peer's test accuracy, and stay there?

It is as fair to the peers as we can make it: the embedded model cannot write instructions, so if a peer needs a model
that can, the server's "proposer" answers with the wordings of our own space; a peer's repeated requests count once, as
if it had a cache; its labels and layout are such that the embedded model can read them. A limit for all: the embedded
model is not a language model. It learns mainly from demonstrations, above all from those similar to the input, and
hardly from wordings. Our space has demonstrations chosen for each input; DSPy has them, too (KNNFewShot), but none of
these four optimizers uses them, and GEPA shows none at all. So (i) measures space and search together. How a real model
would answer the same prompts is not measured here.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.live_peers import PEERS, SETS, Rows, accuracy, counted, load_rows, run_peer, serving
from benchmarks.live_server import respond
from optimizer import search
from optimizer.budget import Budget, Caps, Spent
from optimizer.calls.gateway import Pace
from optimizer.evaluate import Evaluator
from optimizer.events import Decided, Event
from optimizer.ledger import Ledger
from optimizer.models import Model, open_model
from optimizer.preparing import Plan, prepare
from optimizer.records import Completion, Failure, Request
from optimizer.scores.calibration import beginnings
from optimizer.scoring import METRICS
from optimizer.task import check_task
from search_spaces.prompt import Prompt

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
CACHE = Path(tempfile.gettempdir()) / "phrasetune-live"
WORKERS = 2  # one call waits for the server while the other is made; more only take turns
SPACE: dict[str, Any] = {}  # the whole space, as it is for any task

Result = dict[str, Any]


# --- ours -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """How to run ours: the sampler, and the server's address ("" asks the embedded model in this process)."""

    sampler: str = "pooled"
    address: str = ""


@dataclass
class Memory:
    """A book of completions that is gone with the run: every search pays for all that it asks."""

    known: dict[str, Completion] = field(default_factory=dict)

    def find_completions(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Look up which of these were bought already."""
        return {key: self.known[key] for key in keys if key in self.known}

    def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
        """Keep these."""
        del run, model
        self.known |= completions

    def claim(self, run: int, model: str, calls: Mapping[str, Spent]) -> set[str]:
        """Let every call out."""
        del run, model, calls
        return set()

    def release(self, keys: Iterable[str]) -> None:
        """Nothing was written down of calls under way."""

    def together(self) -> AbstractContextManager[None]:
        """Be ready at once."""
        return nullcontext()

    def add_failures(self, run: int, model: str, failures: Sequence[tuple[str, Failure, Spent]]) -> None:
        """Stop: on loopback no call should fail."""
        del run, model
        raise RuntimeError(f"{len(failures)} calls failed: {failures[0][1].said}")


def plan(rows: Rows, folder: Path) -> Plan:
    """Make the task that `init` would make of these rows ready."""
    file = folder / "rows.jsonl"
    lines = [json.dumps(row | {"split": split}) for split, part in rows.splits.items() for row in part]
    file.write_text("\n".join(lines), encoding="utf-8")
    content = {
        "task": {"name": rows.name, "kind": "classification", "labels": list(rows.labels)},
        "data": {"file": str(file), "id": "id", "inputs": ["text"], "target": "label", "split_column": "split"},
        "space": SPACE,
    }
    return prepare(check_task(content, rows.name))


class Served:
    """The server's model in this process: what it answers passes through the protocol all the same."""

    name = "openai/embedded"
    address = ""
    price = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer as the server would."""
        messages = [message.to_dict() for message in request.messages]
        said = respond({"model": "embedded", "messages": messages, **request.settings.to_dict()})
        choice, usage = said["choices"][0], said["usage"]
        return Completion(
            choice["message"]["content"],
            usage["prompt_tokens"],
            usage["completion_tokens"],
            finish_reason=choice["finish_reason"],
            logprobs=beginnings((choice["logprobs"] or {}).get("content", [])),
        )


def ours(rows: Rows, calls: int, name: str, setting: Setting) -> Result:
    """Search with so many calls; follow what would be recommended, and test it as if nobody counted.

    Returns
    -------
    The winner's test accuracy, the calls spent, and the path: test accuracy of each recommendation by calls.
    """
    with tempfile.TemporaryDirectory() as folder:
        ready = plan(rows, Path(folder))
    evaluate = evaluator(ready, setting, name, calls)
    options = search.Options(METRICS["accuracy"], setting.sampler, calls=calls, seed=rows.seed)
    trail = Trail(ready, evaluate)
    found = search.run(ready.space, evaluate, ready.data.dev, options, hooks=search.Hooks(event=trail.follow))
    bought, winner = evaluate.ledger.bought, evaluate.settle(found.best)
    local = evaluator(ready, Setting(), "", 0)
    tested = {prompt: test(local, ready, prompt, rows) for prompt in {winner, *(prompt for _, prompt in trail.seen)}}
    path = [(spent, tested[prompt]) for spent, prompt in [*trail.seen, (bought, winner)]]
    result = {"accuracy": tested[winner], "calls": bought, "path": path, "best": dict(found.best.params)}
    if setting.address:
        remote = test(evaluator(ready, setting, f"{name}-test", 0), ready, winner, rows)
        counts = counted(setting.address, name)["distinct"]
        if (counts, remote) != (bought, tested[winner]):
            raise RuntimeError(f"{name}: {counts} calls and {remote:.3f} at the server, but here {result}")
    return result | {"reason": found.reason, "opened": len(found.trials)}


@dataclass
class Trail:
    """Writes down, with the calls bought until then, each prompt that is recommended in place of another.

    A calibrated prompt becomes another one as its rows come in: it is written down again whenever they have doubled.
    """

    ready: Plan
    evaluate: Evaluator
    seen: list[tuple[int, Prompt]] = field(default_factory=list)
    last: tuple[int, int] = (-1, 0)

    def follow(self, event: Event) -> None:
        """Look at a decision."""
        if not isinstance(event, Decided):
            return
        prior: Mapping[str, float] = {}
        answered = 0
        calibrated = event.params.get("calibration") == "on"
        if calibrated and (batch := self.evaluate.batches.get(self.ready.space.build(event.params))):
            prior, answered = batch.prior(), len(batch.rows)
        if (now := (event.best, answered.bit_length())) != self.last:
            prompt = replace(self.ready.space.build(event.params), prior=tuple(prior.items()))
            self.seen.append((self.evaluate.ledger.bought, prompt))
            self.last = now


def evaluator(ready: Plan, setting: Setting, name: str, calls: int) -> Evaluator:
    """Ask the server under a name, with so many calls at most (0: no end), and remember nothing of before."""
    model: Model = Served()
    if setting.address:
        model = open_model("openai/embedded", api_base=f"{setting.address}/count/{name}/v1")
    pace = Pace(WORKERS) if setting.address else None
    ledger = Ledger(model, Memory(), 0, Budget(Caps(calls=calls)), pace)
    return Evaluator(ledger, ready.renderer, METRICS["accuracy"])


def test(evaluate: Evaluator, ready: Plan, prompt: Prompt, rows: Rows) -> float:
    """Accuracy of a prompt on the test rows, by the scorer of all."""
    examples = {example.id: example for example in ready.data.test}
    asked = [examples[row["id"]] for row in rows.splits["test"]]
    return accuracy([answer for _, _, answer in evaluate.answer(prompt, asked)], rows.splits["test"])


def stays(path: Sequence[tuple[int, float]], goal: float) -> float:
    """Calls after which a path reaches a goal and never falls below it again; infinite if it does not."""
    reached = math.inf
    for spent, value in reversed(path):
        if value < goal:
            break
        reached = spent
    return reached


# --- the comparison ---------------------------------------------------------------------------------------


def compare(rows: Rows, peers: Sequence[Result], setting: Setting) -> list[Result]:
    """Run ours at each peer's number of calls, and see how soon it reaches the best peer."""
    best = min(peers, key=lambda peer: (-peer["accuracy"], peer["calls"]["distinct"]))
    compared = []
    for peer in peers:
        spent = peer["calls"]["distinct"]
        mine = ours(rows, spent, f"ours-{peer['peer']}-{rows.name}-{rows.seed}", setting)
        row = {name: peer[name] for name in ("set", "seed", "peer", "accuracy")}
        row |= {"calls": spent, "requests": peer["calls"]["requests"], "ours": mine["accuracy"], "run": mine}
        if peer is best:
            at = stays(mine["path"], peer["accuracy"])
            row |= {"reached": at, "ratio": at / spent}
        compared.append(row)
    return compared


def run(args: argparse.Namespace) -> list[Result]:
    """Run the comparison as the command line asks for it; one row for each peer, set and seed."""
    with serving() as address:
        every = [load_rows(args.data, name, seed) for seed, name in product(range(args.seeds), args.sets)]
        with ThreadPoolExecutor(args.jobs) as threads:
            jobs = [(rows, peer) for rows in every for peer in args.peers]
            done = list(threads.map(lambda job: _peer(job[1], job[0], args.cache, address), jobs))
        if args.peers_only:
            return done
        results = [done[at : at + len(args.peers)] for at in range(0, len(done), len(args.peers))]
        setting = Setting(args.sampler, "" if args.in_process else address)
        pool = ProcessPoolExecutor(args.jobs, get_context("spawn")) if args.jobs > 1 else nullcontext()
        with pool as processes:
            apply = processes.map if processes else map
            compared = list(apply(compare, every, results, [setting] * len(every)))
    return [row for rows in compared for row in rows]


def _peer(peer: str, rows: Rows, cache: Path, address: str) -> Result:
    result = run_peer(peer, rows, cache, address)
    calls, seconds = result["calls"]["distinct"], result["seconds"]
    print(f"{peer} {rows.name} {rows.seed}: {result['accuracy']:.3f}, {calls} calls, {seconds} s", flush=True)
    return result


# --- the table --------------------------------------------------------------------------------------------


def report(rows: Sequence[Result]) -> str:
    """Write the table: medians over seeds by set and peer, then both questions over all."""
    lines = ["| set | peer | calls | test accuracy | ours | points | calls to the best peer's | ratio |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row["set"] for row in rows):
        for peer in dict.fromkeys(row["peer"] for row in rows):
            lines.append(_line([row for row in rows if (row["set"], row["peer"]) == (name, peer)]))
    lines += ["", "| over all sets and seeds | median | at least as good | bar |", "|---|---|---|---|"]
    for peer in dict.fromkeys(row["peer"] for row in rows):
        gains = [row["ours"] - row["accuracy"] for row in rows if row["peer"] == peer]
        median, share = statistics.median(gains), statistics.mean(gain >= 0 for gain in gains)
        lines.append(f"| points over {peer} | {100 * median:+.1f} | {100 * share:.0f} % | {_verdict(median >= 0)} |")
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    if ratios:
        median, share = statistics.median(ratios), statistics.mean(ratio <= 0.5 for ratio in ratios)
        verdict = _verdict(median <= 0.5)
        lines.append(f"| our calls / the best peer's | {median:.2f} | {100 * share:.0f} % at most half | {verdict} |")
    return "\n".join(lines)


def _line(rows: Sequence[Result]) -> str:
    """One set and peer; the last two cells tell of the seeds in which this peer was the best."""
    calls, theirs, mine = (statistics.median(row[name] for row in rows) for name in ("calls", "accuracy", "ours"))
    gain = statistics.median(row["ours"] - row["accuracy"] for row in rows)
    best = [row for row in rows if "ratio" in row]
    reached = ", ".join("never" if row["reached"] == math.inf else str(row["reached"]) for row in best)
    ratio = f"{statistics.median(row['ratio'] for row in best):.2f}" if best else ""
    first = rows[0]
    cells = [f"{calls:.0f}", f"{theirs:.3f}", f"{mine:.3f}", f"{100 * gain:+.1f}", reached, ratio]
    return f"| {first['set']} | {first['peer']} | {' | '.join(cells)} |"


def _verdict(passed: bool) -> str:
    return "pass" if passed else "fail"


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    found = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    found.add_argument("--data", type=Path, default=DATA, help="folder of the data sets")
    found.add_argument("--cache", type=Path, default=CACHE, help="folder of the peers' environments and results")
    found.add_argument("--seeds", type=int, default=5, help="how many draws of rows")
    found.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    found.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    found.add_argument("--sampler", choices=search.SAMPLERS, default="pooled", help="ours")
    found.add_argument("--in-process", action="store_true", help="ours without the server: same answers, sooner")
    found.add_argument("--peers-only", action="store_true", help="fill the cache, and stop")
    found.add_argument("--jobs", type=int, default=1, help="runs at a time")
    found.add_argument("--json", type=Path, help="where to write every row")
    return found


def main() -> None:
    """Run, and print the table."""
    args = parser().parse_args()
    rows = run(args)
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")
    if not args.peers_only:
        print(report(rows))


if __name__ == "__main__":
    main()
