"""One of DSPy's optimizers on one task: MIPROv2, BootstrapFewShotWithRandomSearch or GEPA.

    python dspy_peers.py JOB.json OUT.json      # in DSPy's own environment

The job names the optimizer, the rows, the labels and the addresses; out go the program's answers to the test inputs.
Everything is left at the optimizer's documented defaults (`auto="light"` where there is one) but for caches, which
are off, and the task model's temperature, which is 0. The program is `dspy.Predict` on "text -> label" with the labels
as a Literal type. Knows nothing of phrasetune.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import dspy

SEED = 1000  # added to the job's: MIPROv2 takes seed 0 for none


def language_model(job: dict[str, Any], name: str, address: str, **settings: Any) -> dspy.LM:  # noqa: ANN401
    """Reach one of the server's models; nothing is cached and nothing retried, so that every call counts once."""
    model = f"openai/{name}"
    return dspy.LM(model, api_base=job[address], api_key="none", cache=False, num_retries=0, **settings)


def examples(rows: list[dict[str, str]]) -> list[dspy.Example]:
    """Make DSPy's examples of rows."""
    return [dspy.Example(text=row["text"], label=row["label"]).with_inputs("text") for row in rows]


def right(gold: dspy.Example, said: dspy.Prediction, trace: object = None) -> bool:
    """Score an answer by the label alone, in any case."""
    del trace
    return str(getattr(said, "label", "")).strip().casefold() == gold.label.strip().casefold()


def explained(
    gold: dspy.Example,
    said: dspy.Prediction,
    trace: object = None,
    pred_name: str | None = None,
    pred_trace: object = None,
) -> dspy.Prediction:
    """Score an answer, and say in words what would have been right: what GEPA learns from."""
    del pred_name, pred_trace
    met = right(gold, said, trace)
    return dspy.Prediction(score=float(met), feedback="Correct." if met else f"The right label is {gold.label}.")


def mipro(job: dict[str, Any], proposer: dspy.LM) -> Callable[..., dspy.Module]:
    """MIPROv2 (Opsahl-Ong et al. 2024)."""
    seed = SEED + job["seed"]
    return dspy.MIPROv2(
        metric=right, auto="light", prompt_model=proposer, num_threads=job["threads"], seed=seed
    ).compile


def bootstrap(job: dict[str, Any], proposer: dspy.LM) -> Callable[..., dspy.Module]:
    """BootstrapFewShotWithRandomSearch (Khattab et al. 2023); it proposes nothing, and its seeds are fixed."""
    del proposer
    return dspy.BootstrapFewShotWithRandomSearch(metric=right, num_threads=job["threads"]).compile


def gepa(job: dict[str, Any], proposer: dspy.LM) -> Callable[..., dspy.Module]:
    """GEPA (Agrawal et al. 2025)."""
    seed, threads = SEED + job["seed"], job["threads"]
    return dspy.GEPA(metric=explained, auto="light", reflection_lm=proposer, num_threads=threads, seed=seed).compile


OPTIMIZERS = {"mipro": mipro, "bootstrap": bootstrap, "gepa": gepa}


def predict(program: dspy.Module, rows: list[dict[str, str]]) -> list[str]:
    """Ask the program for the label of each input; an answer that DSPy cannot read is an empty one."""
    said = []
    for row in rows:
        try:
            said.append(str(program(text=row["text"]).label))
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises at an answer it cannot read
            print("unread:", error, file=sys.stderr)
            said.append("")
    return said


def main() -> None:
    """Optimize, predict, write."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    dspy.configure(lm=language_model(job, "embedded", "api_base", temperature=0.0), disable_history=True)
    proposer = language_model(job, "proposer", "api_base", temperature=1.0)
    label: Any = Literal[tuple(job["labels"])]
    signature = dspy.Signature("text: str -> label", job["description"]).with_updated_fields("label", type_=label)
    compiled = OPTIMIZERS[job["peer"]](job, proposer)
    program = compiled(dspy.Predict(signature), trainset=examples(job["train"]), valset=examples(job["dev"]))
    with dspy.context(lm=language_model(job, "embedded", "test_base", temperature=0.0)):
        answers = predict(program, job["test"])
    state = program.dump_state()
    found = {"instruction": state["signature"]["instructions"], "demos": len(state["demos"])}
    Path(sys.argv[2]).write_text(json.dumps({"answers": answers, **found}), encoding="utf-8")


if __name__ == "__main__":
    main()
