"""What the pages tell of the program, read off the program: its commands, task file, database and Python names.

A page keeps a place for it by a comment, `<!-- made -->`. Markdown out; knows nothing of Sphinx but autodoc's words.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

import optimizer
from optimizer import task, task_sections
from optimizer.cli import main
from optimizer.database import schema

PLACE = "<!-- made -->"

Schema = Mapping[str, Any]  # JSON Schema, as pydantic writes it
NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}

# What the docstrings of these modules call by name: the nouns of a prompt, and those of a run.
NOUNS = (
    "search_spaces.prompt",
    "search_spaces.answering",
    "search_spaces.templates",
    "search_spaces.rendering",
    "search_spaces.space",
)
RECORDS = ("optimizer.records", "optimizer.events", "optimizer.findings", "optimizer.errors")
RETURNED = (
    "optimizer.outlook.Planned",
    *(f"optimizer.planning.{name}" for name in ("Estimate", "Part", "Probe")),
    "optimizer.predicting.Predicted",
    "optimizer.rechecking.Rechecked",
)
MODELS = tuple(f"optimizer.models.{name}" for name in ("Model", "LocalModel", "RemoteModel"))


def filled(page: str, source: str) -> str:
    """Put what is made into the place that a page keeps for it; other pages stay as they are."""
    return source.replace(PLACE, MADE[page]()) if page in MADE else source


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


# --- the command line -------------------------------------------------------------------------------------


def commands() -> str:
    """Describe each command: what it does, what it takes."""
    return "\n\n".join(_command(name, command) for name, command in main.commands.items())


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"phrasetune {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    options = [option for option in command.params if isinstance(option, click.Option)]
    return "\n\n".join(
        [
            f"## {name}",
            inspect.cleandoc(command.help or ""),
            f"```text\n{usage}\n```",
            _table(("option", "value", "what it does"), (_option(option, context) for option in options)),
        ]
    )


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    more = option.get_help_extra(context)
    value = "" if option.is_flag else option.make_metavar(context)
    allowed = [_code(value), more.get("range", ""), f"default {_code(more['default'])}" if "default" in more else ""]
    return _code(", ".join(option.opts)), ", ".join(filter(None, allowed)), option.help or ""


# --- the task file ----------------------------------------------------------------------------------------


def task_file() -> str:
    """Describe each section and key of a task file, from the models that validate it."""
    whole = task.Task.model_json_schema()
    homes: dict[str, str] = {}
    for path, name in _sections(whole, whole["$defs"]):
        homes.setdefault(name, path)  # a judge is a model like another
    parts = []
    for name, path in homes.items():
        model = getattr(task_sections, name)
        said = inspect.cleandoc(model.__doc__).partition(": ")[2]
        rows = _keys(whole["$defs"][name], explained(model), homes)
        parts += [
            f"## `[{path}]`",
            said[:1].upper() + said[1:],
            _table(("key", "value", "default", "what it is"), rows),
        ]
    return "\n\n".join(parts)


def _sections(told: Schema, models: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """List the sections below one, each with the name of its model."""
    for key, value in told["properties"].items():
        if name := _section(value):
            home = f"{path}{key}.NAME" if "additionalProperties" in value else f"{path}{key}"
            yield home, name
            yield from _sections(models[name], models, f"{home}.")


def _section(value: Schema) -> str:
    """Find the model of a key that is a section; nothing of another key."""
    named = value.get("additionalProperties")
    within = (value, *value.get("anyOf", ()), named if isinstance(named, dict) else {})
    return next((each["$ref"].rpartition("/")[2] for each in within if "$ref" in each), "")


def _keys(told: Schema, said: Mapping[str, str], homes: Mapping[str, str]) -> Iterator[Sequence[str]]:
    for key, value in told["properties"].items():
        name, default = _section(value), value.get("default")
        shown = "" if name or default in (None, "", [], {}) else _code(json.dumps(default))
        yield (
            _code(key),
            f"section `[{homes[name]}]`" if name else _value(value),
            "must be given" if key in told.get("required", ()) else shown,
            said[key],
        )


def _value(told: Schema) -> str:
    """Say in words what a value may be."""
    if several := told.get("anyOf", told.get("oneOf")):
        return " or ".join(_value(each) for each in several if each.get("type") != "null")
    if allowed := told.get("enum"):
        return ", ".join(_code(json.dumps(each)) for each in allowed)
    if told["type"] == "array":
        return f"list of {_value(told['items'])}"
    if told["type"] == "object":
        return f"table of names, each with a {_value(told['additionalProperties'])}"
    return ", ".join([NAMES[told["type"]], *(f"{word} {told[key]}" for key, word in LIMITS.items() if key in told)])


def explained(model: type) -> dict[str, str]:
    """Read what stands behind `#:` beside each key of a section."""
    return dict(re.findall(r"^    (\w+): .*#: (.+)$", inspect.getsource(model), re.MULTILINE))


# --- the database -----------------------------------------------------------------------------------------


def database() -> str:
    """Describe the tables and views, without the title, which the page has."""
    return schema.markdown().partition("\n")[2]


# --- Python -----------------------------------------------------------------------------------------------


def names() -> str:
    """Name what autodoc is to describe: all that is public, and the nouns that it hands out."""
    public = [name for name in optimizer.__all__ if not name.startswith("__")]
    functions = [name for name in public if inspect.isfunction(getattr(optimizer, name))]
    classes = [name for name in public if name not in functions]
    return "\n\n".join(
        [
            "## Functions",
            _directives("autofunction", [f"optimizer.{name}" for name in functions]),
            "## Classes",
            _directives("autoclass", [f"optimizer.{name}" for name in classes]),
            "## What functions return",
            _directives("autoclass", RETURNED),
            "## Models",
            _directives("autofunction", ["optimizer.models.open_model"]),
            _directives("autoclass", MODELS),
            "## What a run is made of",
            _directives("automodule", RECORDS),
            "## What a prompt is made of",
            _directives("automodule", NOUNS),
        ]
    )


def _directives(directive: str, of: Iterable[str]) -> str:
    return "\n\n".join(f"```{{eval-rst}}\n.. {directive}:: {name}\n```" for name in of)


MADE: Mapping[str, Callable[[], str]] = {
    "reference/commands": commands,
    "reference/task-file": task_file,
    "reference/results-db": database,
    "reference/python": names,
}
