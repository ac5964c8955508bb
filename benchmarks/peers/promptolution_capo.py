"""promptolution's CAPO (Zehle et al. 2025) on one task.

    python promptolution_capo.py JOB.json OUT.json      # in promptolution's own environment

The job names the rows, the labels and the addresses; out go the best prompt's answers to the test inputs. Everything
is left at the defaults of `promptolution.optimize` but for the few-shot rows, which come from the training rows
instead of from the rows that prompts are scored on, the task model's temperature, which is 0, the first ten prompts,
which the proposer writes, and the layout: the embedded model takes a message after a system message for the input, so
there is no system message, and "Input:" stands before the input also where no examples are shown. Without that it
would answer nothing right. Labels are in lower case, as promptolution wants them. Knows nothing of phrasetune.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from promptolution.llms import APILLM
from promptolution.optimizers import CAPO
from promptolution.predictors import MarkerBasedPredictor
from promptolution.tasks import ClassificationTask
from promptolution.utils import create_prompts_from_task_description

STEPS = 10  # the default of promptolution.optimize
FLYING = 4  # calls at a time: the server shares two cores with this process
TOKENS = 256  # room for a short thought and a label


def language_model(job: dict[str, Any], name: str, address: str, temperature: float) -> APILLM:
    """Reach one of the server's models."""
    settings = {"temperature": temperature}
    return APILLM(
        api_url=job[address],
        model_id=name,
        api_key="none",
        max_concurrent_calls=FLYING,
        max_tokens=TOKENS,
        client_kwargs={"max_retries": 0},
        call_kwargs=settings,
    )


class Laid(MarkerBasedPredictor):
    """The usual predictor, with a layout that the embedded model can read."""

    def predict(
        self, prompts: str | list[str], xs: list[str], system_prompts: str | list[str] | None = None
    ) -> tuple[list[str], list[str]]:
        """Ask for the answer of each prompt to its input."""
        del system_prompts
        listed = [prompts] if isinstance(prompts, str) else prompts
        marked = [text if text.endswith("\nInput:") else f"{text}\n\nInput:" for text in listed]
        return super().predict(marked, xs, system_prompts="")


def table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Make promptolution's table of rows."""
    return pd.DataFrame({"x": [row["text"] for row in rows], "y": [row["label"].lower() for row in rows]})


def main() -> None:
    """Optimize, predict, write."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    random.seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - promptolution draws from the global generators
    model = language_model(job, "embedded", "api_base", 0.0)
    proposer = language_model(job, "proposer", "api_base", 1.0)
    # The form stands in the description: release 2.3.0 loses what its predictor says of it.
    labels = f"The possible labels are: {str(job['labels'])[1:-1].lower()}."
    about = f"{job['description']} {labels} Write the label between <final_answer> and </final_answer>."
    predictor = Laid(model)
    task = ClassificationTask(
        table(job["dev"]), task_description=about, eval_strategy="sequential_block", seed=job["seed"]
    )
    first = create_prompts_from_task_description(about, proposer)
    optimizer = CAPO(
        predictor=predictor, task=task, meta_llm=proposer, initial_prompts=first, df_few_shots=table(job["train"])
    )
    best = optimizer.optimize(n_steps=STEPS)[0]
    inputs = [row["text"] for row in job["test"]]
    tested = Laid(language_model(job, "embedded", "test_base", 0.0))
    answers, _ = tested.predict([best.construct_prompt()] * len(inputs), inputs)
    found = {"instruction": best.instruction, "demos": len(best.few_shots)}
    Path(sys.argv[2]).write_text(json.dumps({"answers": answers, **found}), encoding="utf-8")


if __name__ == "__main__":
    main()
