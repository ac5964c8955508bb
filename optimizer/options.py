"""Options that several commands take, each said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def db_option(command: Command) -> Command:
    """Take --db."""
    return click.option("--db", default="results.db", show_default=True, help="The results database.")(command)


def run_option(command: Command) -> Command:
    """Take --run."""
    return click.option("--run", type=int, help="Number of the run; the latest by default.")(command)


def json_option(command: Command) -> Command:
    """Take --json."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable results on stdout.")(command)


def tune_options(command: Command) -> Command:
    """Take what overrides a task file."""
    options = [
        click.option("--model", help="Any LiteLLM model, or embedded."),
        click.option("--api-base", help="Address of an OpenAI-compatible server."),
        click.option("--trials", type=click.IntRange(1), help="Prompts to try."),
        click.option("--max-calls", type=click.IntRange(0), help="Hard cap on calls bought; 0 is none."),
        click.option("--max-usd", type=click.FloatRange(0), help="Hard cap on US dollars; 0 is none."),
        click.option("--sampler", help="tpe or random."),
        click.option("--seed", type=int, help="Seed of the search."),
        click.option("--workers", type=click.IntRange(1, 256), help="Calls at a time."),
        click.option("--quiet", is_flag=True, help="No live view."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
