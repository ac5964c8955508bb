"""Options that several commands take, each said once."""

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
    """Take --db."""
    return click.option("--db", default="results.db", show_default=True, help="The results database.")(command)


def run_option(command: Command) -> Command:
    """Take --run."""
    return click.option("--run", type=int, help="Number of the run; the latest by default.")(command)


def trial_of(text: str | None, run: int | None) -> tuple[int | None, int | None]:
    """Read TRIAL or RUN:TRIAL, beside what --run says -> the trial, the run.

    Raises
    ------
    InputError
        If it is neither, or names another run than --run.
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
    """Take --env-file, and put what it holds into the environment before anything else is looked at."""

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
        help="Take keys from a file of NAME=value lines; no other .env is read.",
    )(command)


def code_option(command: Command) -> Command:
    """Take --allow-code."""
    said = "Run code of your own: the metric that TASK names (module:function), or --program."
    return click.option("--allow-code", is_flag=True, help=said)(command)


def program_option(command: Command) -> Command:
    """Take --program."""
    said = "Tune a program of DSPy beside TASK in its place."
    return click.option("--program", metavar="MODULE:NAME", help=said)(command)


def json_option(command: Command) -> Command:
    """Take --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable results on stdout.")(command)


def tune_options(command: Command) -> Command:
    """Take what overrides a task file."""
    options = [
        click.option("--model", help="Any LiteLLM model, or embedded."),
        click.option("--proposer", metavar="MODEL", help="Who proposes wordings; none: nobody. By default the model."),
        click.option("--teacher", metavar="MODEL", help="Who works on the rows of --worked. By default the model."),
        click.option("--api-base", help="Address of an OpenAI-compatible server."),
        click.option("--calls", type=click.IntRange(1), help="Answers on dev rows that the search may look at."),
        click.option("--trials", type=click.IntRange(1, 500), help="Prompts to try at most."),
        click.option("--max-calls", type=click.IntRange(0), help="Hard cap on calls bought; 0 is none."),
        click.option("--max-usd", type=click.FloatRange(0), help="Hard cap on US dollars; 0 is none."),
        click.option("--max-tokens", type=click.IntRange(0), help="Hard cap on tokens, asked and answered; 0 is none."),
        click.option("--max-minutes", type=click.FloatRange(0), help="Hard cap on minutes; 0 is none."),
        click.option("--sampler", help="pooled; or a control: tpe, random, gp."),
        click.option("--pruner", help="Of a control: halving, racing or none."),
        click.option("--seed", type=int, help="Seed of the search."),
        click.option("--ablate", is_flag=True, default=None, help="Set the winner's ingredients back one by one, too."),
        click.option(
            "--robustness", is_flag=True, default=None, help="Try the winner under changes, too: noise, order."
        ),
        click.option("--hint", is_flag=True, default=None, help="Ask the winner with the baseline's guess as well."),
        click.option(
            "--picked-demos", is_flag=True, default=None, help="Ask the winner with demos that the baseline picks, too."
        ),
        click.option(
            "--tuned-search",
            type=click.IntRange(0),
            help="Answers to look at for a prompt of the tuned model; 0: none.",
        ),
        click.option("--worked", type=click.IntRange(0), help="Training rows to reason about first, for worked demos."),
        click.option("--pareto", is_flag=True, default=None, help="Look for cheap and fast prompts as well."),
        click.option("--max-cost-per-1000", type=click.FloatRange(0), help="US dollars that 1,000 rows may cost."),
        click.option("--max-prompt-tokens", type=click.FloatRange(0), help="Mean tokens that a prompt may have."),
        click.option("--min-recall", multiple=True, metavar="LABEL=X", help="Least recall of a label; repeatable."),
        click.option(
            "--baseline", metavar="KINDS", help="auto; or kinds with commas: linear, encoder, lora, provider."
        ),
        click.option("--workers", type=click.IntRange(1, 256), help="Calls at a time."),
        click.option("--quiet", is_flag=True, help="No live view."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def changed(task: Task, changes: dict[str, Any]) -> Task:
    """Apply the options that were given to a task, under the task file's own rules."""
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
    """Read LABEL=X, each a label and the least recall of it."""
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
