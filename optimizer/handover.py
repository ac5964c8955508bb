"""Collecting what an export is made of: a trial of a run, its seed prompt, rows, provenance and scores.

Reads records from the store. Test rows are included only once the run itself has opened them; until then, dev rows are.
No folder names are included, but the model's address is, so that rows are sent to the same place as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optimizer.contenders import SEED
from optimizer.errors import ExportError
from optimizer.exports.lint import Linted, lint, masked
from optimizer.exports.proof import Facts
from optimizer.models import EMBEDDED
from optimizer.phrases import save_program
from optimizer.records import Contender, Outcome, Run, Trial, Verdict
from optimizer.reports import card
from optimizer.scores.calibration import settle
from optimizer.scores.metrics import METRICS
from optimizer.scores.own_metric import is_own
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, objective, several_of
from search_spaces.program import PROGRAM
from search_spaces.prompt import Example
from search_spaces.rendering import Renderer
from search_spaces.templates import text_template

SERVED = "openai/embedded", "http://127.0.0.1:8765/v1"  # how other tools reach `phrasetune serve-embedded`


@dataclass(frozen=True, slots=True)
class Handover:
    """A trial to export, its renderer, the facts about it, and the dev rows that an export is checked with.

    `outcomes` are the trial's recorded outcomes on the rows of `facts`; empty if it was not evaluated on them.
    """

    run: Run
    trial: Trial
    renderer: Renderer
    facts: Facts
    probes: tuple[Example, ...]
    outcomes: tuple[Outcome, ...]


def hand_over(store: Store, run: Run, trial: Trial, seed: Trial) -> Handover:
    """Collect what an export of a trial needs.

    Raises
    ------
    ExportError
        If it is of a program.
    """
    require_prompt(run, trial)
    recorded = store.outcomes(run.id, trial.number)
    answers = store.find_completions([outcome.completion_key for outcome in recorded])
    trial = replace(trial, prompt=settle(trial.prompt, (completion.logprobs for completion in answers.values())))
    rows = {split: store.examples(run.data, split) for split in ("train", "dev", "test")}
    task, known = Task.model_validate(run.task), [row for found in rows.values() for row in found]
    verdict = store.verdict(run.id)
    contender = _contender(run, trial, verdict)
    split = "test" if verdict else "dev"
    model, address = SERVED if run.model in EMBEDDED else (card.placeless(run.model), _address(run))
    facts = Facts(
        run.name,
        model,
        seed.prompt,
        renderer_for(seed, run.task),
        tuple(rows[split]),
        split,
        tuple(rows["train"]),
        {
            "provenance": _provenance(run, trial, {name: len(found) for name, found in rows.items()}),
            "scores": {"dev": _dev(run, trial), "test": _test(run, contender)},
        },
        several_of(task, known),
        None if is_own(run.metric) or METRICS[run.metric].judged else objective(task, labels_of(task, known)),
        address,
    )
    scored = recorded if split == "dev" else contender.outcomes if contender else ()
    return Handover(run, trial, renderer_for(trial, run.task), facts, tuple(rows["dev"]), tuple(scored))


def require_prompt(run: Run, trial: Trial) -> Trial:
    """Return the trial; raise ExportError if it is a configuration of a whole program, which has no renderer."""
    if trial.prompt.template == PROGRAM:
        raise ExportError(
            f"run {run.id} tuned the program {run.program or 'of several steps'}, which is no prompt. Save it: "
            f"`{save_program(run.program)}`, with the options of that run, buys nothing again. In Python, "
            "`adapt(your_program).load('program.json')` loads it."
        )
    return trial


def renderer_for(trial: Trial, task: Mapping[str, Any]) -> Renderer:
    """Make a renderer with the template of a trial; DSPy is imported only for its own templates."""
    slots = task.get("task", {}).get("kind") == "extraction"
    if not trial.prompt.template.startswith("dspy-"):
        own = task.get("templates", {})
        return Renderer({name: text_template(name, _given(shapes)) for name, shapes in own.items()}, slots=slots)
    from optimizer.programs.adapters import adapter_templates

    return Renderer(adapter_templates(), slots=slots)


def _given(shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _contender(run: Run, trial: Trial, verdict: Verdict | None) -> Contender | None:
    """Return the trial's contender in the verdict; None if it is neither the winner nor the seed prompt."""
    if trial.number == run.winner:
        return card.own(verdict)
    seeds = [c for c in (verdict.contenders if verdict else ()) if c.name == SEED]
    return seeds[0] if seeds and trial.number == 0 else None


def _provenance(run: Run, trial: Trial, sizes: dict[str, int]) -> dict[str, Any]:
    data = run.task["data"]
    return {
        "run": run.id,
        "trial": trial.number,
        "won": trial.number == run.winner,
        "params": dict(trial.params),
        "task": run.name,
        "kind": run.task["task"]["kind"],
        "model": card.placeless(run.model),
        "address": _address(run),
        "data": {
            "file": card.file_name(data["file"]),
            "digest": run.data,
            "inputs": list(data["inputs"]),
            "target": data["target"],
            "rows": sizes,
        },
        "started": run.started,
        "finished": run.finished or None,
    }


def _address(run: Run) -> str:
    """Return the address of the model, if the task names it; task files with a key in an address are refused."""
    model = run.task["model"]
    return str(model["api_base"]) if model["name"] == run.model else ""


def _dev(run: Run, trial: Trial) -> dict[str, Any] | None:
    if trial.score is None:
        return None
    known = asdict(trial)
    return {"metric": run.metric, **{name: known[name] for name in ("score", "interval", "n", "estimate", "credible")}}


def _test(run: Run, contender: Contender | None) -> dict[str, Any] | None:
    if contender is None:
        return None
    return {"metric": run.metric, "score": contender.score, "interval": contender.interval, "n": contender.n}


def looked_over(
    handover: Handover, rows: Mapping[str, Sequence[Example]], *, mask: bool, allow: bool
) -> tuple[Handover, Linted]:
    """Lint what is to be exported; with `mask`, its prompts are replaced by masked ones. See `lint`."""
    run, trial, facts = handover.run, handover.trial, handover.facts
    linted = lint(trial.prompt, handover.renderer, rows, mask=mask, allow=allow)
    if run.winner is None:
        early = f"Run {run.id} has no winner ({run.status}): this is trial {trial.number}, which no verdict judged."
        linted = replace(linted, said=(*linted.said, early))
    if mask and facts.seed:
        facts = replace(facts, seed=masked(facts.seed))
    return replace(handover, trial=replace(trial, prompt=linted.prompt), facts=facts), linted


def given(handover: Handover, rows: Sequence[Example]) -> Handover:
    """Return the handover with other rows instead of the run's own."""
    return replace(handover, facts=replace(handover.facts, rows=tuple(rows), split="given"), outcomes=())
