"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from optimizer.errors import InputError

if TYPE_CHECKING:
    from optimizer.task import Task

Command = Callable[..., Any]


def db_option(command: Command) -> Command:
    """Add --db."""
    return click.option("--db", default="results.db", show_default=True, help="The results database.")(command)


def run_option(command: Command) -> Command:
    """Add --run."""
    return click.option("--run", metavar="N", type=int, help="Number of the run; the latest by default.")(command)


def trial_of(text: str | None, run: int | None) -> tuple[int | None, int | None]:
    """Read TRIAL or RUN:TRIAL, and return the trial and the run; `run` is the value of --run.

    Raises
    ------
    InputError
        If the text is neither, or names another run than --run.
    """
    if text is None:
        return None, run
    found = re.fullmatch(r"(?:(\d{1,9}):)?(\d{1,9})", text, re.ASCII)
    if found is None:
        raise InputError(f"{text!r} names no trial; allowed: TRIAL or RUN:TRIAL, such as 17 or 2:17. See `history`.")
    named = run if found[1] is None else int(found[1])
    if run not in (None, named):
        raise InputError(f"{text} is a trial of run {named}, but --run is {run}. Leave one of them out.")
    return int(found[2]), named


def env_option(command: Command) -> Command:
    """Add --env-file, whose variables are put into the environment before other options are processed."""

    def load(_context: click.Context, _option: click.Parameter, path: str | None) -> None:
        if path is not None:
            from optimizer.models import load_keys

            load_keys(path)

    return click.option(
        "--env-file",
        type=click.Path(),
        callback=load,
        expose_value=False,
        is_eager=True,
        help="Read keys from a file of NAME=value lines; no other .env is read.",
    )(command)


def code_option(command: Command) -> Command:
    """Add --allow-code."""
    said = "Allow your own code to run: the metric that TASK names (module:function), or --program."
    return click.option("--allow-code", is_flag=True, help=said)(command)


def program_option(command: Command) -> Command:
    """Add --program."""
    said = "Tune this DSPy program, beside TASK, instead of a prompt."
    return click.option("--program", metavar="MODULE:NAME", help=said)(command)


def json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable results on stdout.")(command)


def _count(name: str, least: int, said: str, *, most: int | None = None) -> Callable[[Command], Command]:
    return click.option(name, metavar="N", type=click.IntRange(least, most), help=said)


def _amount(name: str, said: str) -> Callable[[Command], Command]:
    return click.option(name, metavar="X", type=click.FloatRange(0), help=said)


def _flag(name: str, said: str) -> Callable[[Command], Command]:
    """Make a flag whose default None leaves the task's setting as it is."""
    return click.option(name, is_flag=True, default=None, help=said)


def tune_options(command: Command) -> Command:
    """Add the options that override the task file."""
    options: list[Callable[[Command], Command]] = [
        click.option("--model", help="Any LiteLLM model, or embedded."),
        click.option("--proposer", metavar="MODEL", help="Model that writes wordings, or none. Default: the task's."),
        click.option("--teacher", metavar="MODEL", help="Model that reasons for --worked. Default: the task's."),
        click.option("--api-base", help="Address of an OpenAI-compatible server."),
        _count("--calls", 1, "Answers on dev rows that the search may use."),
        _count("--trials", 1, "Most prompts to try.", most=500),
        _count("--max-calls", 0, "Hard cap on calls bought; 0: no cap."),
        _amount("--max-usd", "Hard cap on US dollars; 0: no cap."),
        _count("--max-tokens", 0, "Hard cap on tokens, of prompts and answers; 0: no cap."),
        _amount("--max-minutes", "Hard cap on minutes; 0: no cap."),
        click.option("--sampler", help="pooled; or a control: tpe, random, gp."),
        click.option("--pruner", help="For a control: halving, racing or none."),
        click.option("--seed", metavar="N", type=int, help="Random seed of the search."),
        _flag("--ablate", "Also reset the winner's ingredients one by one."),
        _flag("--robustness", "Also test the winner under noise and other orders of its demos."),
        _flag("--hint", "Also give the winner the baseline's guess as a hint."),
        _flag("--picked-demos", "Also give the winner demos that the baseline picks."),
        _count("--tuned-search", 0, "Answers that a search for the provider-tuned model may use; 0: none."),
        _count("--worked", 0, "Training rows to reason about first, for worked demos."),
        _flag("--pareto", "Also look for cheap and fast prompts."),
        _amount("--max-cost-per-1000", "Constraint: most US dollars per 1,000 rows."),
        _amount("--max-prompt-tokens", "Constraint: most tokens per prompt, in the mean."),
        click.option(
            "--min-recall", multiple=True, metavar="LABEL=X", help="Constraint: least recall of a label; repeatable."
        ),
        click.option(
            "--baseline", metavar="KINDS", help="auto, or kinds with commas: linear, encoder, lora, provider."
        ),
        _count("--workers", 1, "Calls at a time.", most=256),
        click.option("--quiet", is_flag=True, help="No live view."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def changed(task: Task, changes: dict[str, Any]) -> Task:
    """Return the task with the given options applied, validated like a task file."""
    from optimizer.errors import TaskError
    from optimizer.task import name_models, remade
    from optimizer.task_sections import MODEL, PROPOSER, TEACHER

    content = task.model_dump(mode="json", exclude_unset=True)
    sections = {
        **dict.fromkeys(("api_base", "workers"), "model"),
        **dict.fromkeys(("robustness", "hint", "picked_demos", "tuned_search"), "verdict"),
    }
    if recalls := _recalls(changes.pop("min_recall", ())):
        constraints = content.setdefault("search", {}).setdefault("constraints", {})
        constraints["min_recall"] = constraints.get("min_recall", {}) | recalls
    for option in ("max_cost_per_1000", "max_prompt_tokens"):
        if (most := changes.pop(option, None)) is not None:
            content.setdefault("search", {}).setdefault("constraints", {})[option] = most
    if kinds := changes.pop("baseline", None):
        content.setdefault("baseline", {})["kinds"] = [kind.strip() for kind in kinds.split(",")]
    named = {role: changes.pop(role, None) for role in (MODEL, PROPOSER, TEACHER)}
    name_models(content, {role: name for role, name in named.items() if name is not None})
    for option, value in changes.items():
        if value is not None:
            content.setdefault(sections.get(option, "search"), {})[option] = value
    try:
        return remade(task, content, "options")
    except TaskError as error:
        raise InputError(str(error)) from None


def _recalls(given: Sequence[str]) -> dict[str, float]:
    """Read texts LABEL=X as label -> least recall."""
    recalls = {}
    for text in given:
        label, _, least = text.rpartition("=")
        try:
            recalls[label] = float(least)
        except ValueError:
            label = ""
        if not label:
            raise InputError(f"--min-recall {text!r}: must be LABEL=X, such as billing=0.8.")
    return recalls
