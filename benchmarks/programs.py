"""phrasetune against DSPy's optimizers on a program of two predictors: same server, rows, metric; calls counted there.

    python benchmarks/programs.py --sets sst2 ag_news --seeds 2

The program finds a clue in a text, then the label from text and clue. All call the embedded model through one
OpenAI-compatible server on loopback (`live_server`), which counts the different requests of each; MIPROv2, GEPA and
SIMBA may ask its "proposer" for instructions. They run with their documented defaults (`auto="light"` if there is one).
Then `PromptSearch` runs with as many calls as each of them has spent, and is scored on the same test rows.

A limit for all: the embedded model is not a language model. It learns from demonstrations similar to the input and
hardly from wordings; our space has demonstrations chosen for each input, which none of these optimizers uses. `--fixed`
removes them from ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from benchmarks.live_peers import SIZES, Rows, accuracy, counted, load_rows, serving
from optimizer import PromptSearch
from search_spaces import program as program_space

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEED = 1000  # added to the seed: MIPROv2 takes seed 0 for none
THREADS = 2  # one waits for the server while the other works


class Sort(dspy.Module):  # type: ignore[misc] # DSPy has no types
    """Extract, then classify."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        label: Any = Literal[labels]
        self.extract = dspy.Predict(dspy.Signature("text -> clue", "Name the words of the text that tell its label."))
        signature = dspy.Signature("text, clue -> label", "Classify the text by label.")
        self.classify = dspy.Predict(signature.with_updated_fields("label", type_=label))

    def forward(self, text: str) -> dspy.Prediction:
        """Classify a text."""
        return self.classify(text=text, clue=self.extract(text=text).clue)


def right(gold: dspy.Example, said: dspy.Prediction, trace: object = None) -> bool:
    """Score an answer by the label alone."""
    del trace
    return bool(str(getattr(said, "label", "")).strip().casefold() == gold.label.strip().casefold())


def explained(
    gold: dspy.Example, said: dspy.Prediction, trace: object = None, pred_name: object = None, pred_trace: object = None
) -> dspy.Prediction:
    """Score an answer, and say what would have been right: what GEPA learns from."""
    del trace, pred_name, pred_trace
    met = right(gold, said)
    return dspy.Prediction(score=float(met), feedback="Correct." if met else f"The right label is {gold.label}.")


def mipro(proposer: dspy.LM, seed: int) -> Teleprompter:
    """MIPROv2 (Opsahl-Ong et al. 2024)."""
    return dspy.MIPROv2(metric=right, auto="light", prompt_model=proposer, num_threads=THREADS, seed=SEED + seed)


def bootstrap(proposer: dspy.LM, seed: int) -> Teleprompter:
    """BootstrapFewShotWithRandomSearch (Khattab et al. 2023); its seeds are fixed."""
    del proposer, seed
    return dspy.BootstrapFewShotWithRandomSearch(metric=right, num_threads=THREADS)


def gepa(proposer: dspy.LM, seed: int) -> Teleprompter:
    """GEPA (Agrawal et al. 2025)."""
    return dspy.GEPA(metric=explained, auto="light", reflection_lm=proposer, num_threads=THREADS, seed=SEED + seed)


def simba(proposer: dspy.LM, seed: int) -> Teleprompter:
    """SIMBA; it takes no validation set, and its seed is one of `compile`."""
    del seed
    return dspy.SIMBA(metric=right, prompt_model=proposer, num_threads=THREADS)


PEERS: dict[str, Callable[[dspy.LM, int], Teleprompter]] = {
    "mipro": mipro,
    "bootstrap": bootstrap,
    "gepa": gepa,
    "simba": simba,
}


def examples(rows: list[dict[str, str]]) -> list[dspy.Example]:
    """Make DSPy's examples of rows."""
    return [dspy.Example(text=row["text"], label=row["label"]).with_inputs("text") for row in rows]


def model(address: str, client: str, name: str = "embedded", temperature: float = 0.0) -> dspy.LM:
    """Reach a model of the server under a client's name; nothing is cached and nothing retried."""
    base = f"{address}/count/{client}/v1"
    return dspy.LM(f"openai/{name}", api_base=base, api_key="none", cache=False, num_retries=0, temperature=temperature)


def peer(name: str, rows: Rows, address: str) -> dict[str, Any]:
    """Let a peer compile the program; its calls and its accuracy on the test rows."""
    client, started = f"{name}-{rows.name}-{rows.seed}", time.monotonic()
    # What a peer prints is no part of the table.
    with dspy.context(lm=model(address, client)), redirect_stdout(sys.stderr):
        optimizer = PEERS[name](model(address, client, "proposer", 1.0), rows.seed)
        train, dev = examples(rows.splits["train"]), examples(rows.splits["dev"])
        sets = {"trainset": [*train, *dev], "seed": SEED + rows.seed} if name == "simba" else {}
        best = optimizer.compile(Sort(rows.labels), **(sets or {"trainset": train, "valset": dev}))
    found = {"calls": counted(address, client)["distinct"], "seconds": round(time.monotonic() - started)}
    return found | {"accuracy": test(best, rows, address)}


def ours(rows: Rows, address: str, budget: int) -> dict[str, Any]:
    """Search with so many calls."""
    client, started = f"ours-{rows.name}-{rows.seed}-{budget}", time.monotonic()
    base = f"{address}/count/{client}/v1"
    search = PromptSearch(right, model="openai/embedded", api_base=base, budget=budget, workers=THREADS, seed=rows.seed)
    train, dev = examples(rows.splits["train"]), examples(rows.splits["dev"])
    best = search.compile(Sort(rows.labels), trainset=train, valset=dev)
    found = {"calls": counted(address, client)["distinct"], "seconds": round(time.monotonic() - started)}
    chosen = dict(search.found.best.params)
    return found | {"accuracy": test(best, rows, address), "reason": search.found.reason, "chosen": chosen}


def test(program: dspy.Module, rows: Rows, address: str) -> float:
    """Score a program on the test rows; an answer that cannot be read is a wrong one."""
    said = []
    with dspy.context(lm=model(address, "test")):
        for row in rows.splits["test"]:
            try:
                said.append(str(program(text=row["text"]).label))
            except Exception:  # noqa: BLE001 - whatever an adapter raises
                said.append(None)
    return accuracy(said, rows.splits["test"])


def main() -> None:
    """Compare, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["sst2", "ag_news"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--fixed", action="store_true", help="without examples chosen anew for each input")
    options = parser.parse_args()
    if options.fixed:
        tables = program_space.tables_of("program")
        kept = [kind for kind in tables["demos"]["choices"] if not kind.endswith(program_space.NEAREST)]
        tables["demos"]["choices"] = kept
        program_space.tables_of = lambda _: tables
    SIZES.update(train=100, dev=100, test=300)
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    dspy.configure(disable_history=True)
    print("| set | peer | calls | peer | ours, as many calls | as it was |\n|---|---|---|---|---|---|", flush=True)
    with serving() as address:
        for name in options.sets:
            all_rows = [load_rows(DATA, name, seed) for seed in range(options.seeds)]
            plain = [test(Sort(rows.labels), rows, address) for rows in all_rows]
            for rival in options.peers:
                theirs = [peer(rival, rows, address) for rows in all_rows]
                mine = [ours(rows, address, one["calls"]) for rows, one in zip(all_rows, theirs, strict=True)]
                print(json.dumps([theirs, mine], default=str), file=sys.stderr, flush=True)
                means = [statistics.mean(one["accuracy"] for one in found) for found in (theirs, mine)]
                calls = "/".join(f"{one['calls']:,}" for one in theirs)
                scores = f"{means[0]:.3f} | {means[1]:.3f} | {statistics.mean(plain):.3f}"
                print(f"| {name} | {rival} | {calls} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
