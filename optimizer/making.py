"""Making a task from rows that a program passes, as `phrasetune init` does from a file. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optimizer.errors import TaskError
from optimizer.rows.columns import Guess, guess
from optimizer.rows.handed import NAME, as_table, fields
from optimizer.scores.own_metric import handed_name
from optimizer.task import Task, check_task


def make_task(
    rows: object,
    *,
    inputs: str | int | Iterable[str | int] = (),
    target: str | int = "",
    name: str = "",
    description: str = "",
    metric: str | Callable[..., Any] = "",
    **sections: Mapping[str, Any],
) -> Task:
    """Make a task for rows: `tune(make_task(frame, inputs=["text"], target="label"))`.

    Equal rows make the same task, in whatever form they are passed, and the same call resumes a run that was stopped.

    Parameters
    ----------
    rows
        A list of dicts, a data frame (pandas, polars, pyarrow), a data set of Hugging Face's `datasets`, DSPy examples,
        or a mapping of "train", "dev" and "test" to any of these.
    inputs, target
        The columns that the model sees (or the name of a single one), and the column of the answer. A column whose name
        is a number may be given by the number. By default, they are taken from DSPy examples that declare them, and
        otherwise guessed, as are kind, metric, id, group, slices and split column.
    name, description
        The task's name ("task" by default) and description.
    metric
        The name of a metric, or a function of an answer, an accepted answer and optionally the row's `inputs`, which
        returns a score from 0 to 1. A function is named module:function@digest, with a digest of its source, so that
        the same function resumes a run and a changed one does not; other code that it uses is not part of the digest.
    sections
        Sections of a task file, such as search={"calls": 300} or task={"labels": ["ham", "spam"]}. They override what
        is guessed. They must not contradict the other arguments, or name a data file.

    Raises
    ------
    DataError
        If the rows cannot be used.
    TaskError
        If a section is not valid or contradicts the arguments, or if the metric is neither a name nor a function whose
        source can be read.
    """
    told, answered = fields(rows)
    table = as_table(rows)
    asked, wanted = _names(inputs), "".join(_names(target))
    task, columns = _section(sections, "task"), _section(sections, "data")
    _once("task", task, {"name": name, "description": description, "metric": metric})
    _once("data", columns, {"file": NAME, "inputs": list(asked), "target": wanted})
    found = guess(table, inputs=asked or told, target=wanted or answered)
    about = {"name": name or "task", "kind": found.kind, "metric": found.metric, "description": description}
    said, scorer = _named({**({"metric": metric} if metric else {}), **task})
    about |= said
    if about["kind"] != found.kind and "metric" not in said:
        del about["metric"]  # it was guessed for the guessed kind
    given = {"task": about, "data": {**_data(found), **columns}, **sections}
    return check_task(given, "make_task").model_copy(update={"rows": table, "scorer": scorer})


def _section(sections: dict[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Remove a section from `sections` and return it; raise TaskError if it is not a mapping."""
    section: object = sections.pop(name, {})
    if not isinstance(section, Mapping):
        raise TaskError(f"make_task: `{name}` = {section!r}: must be a section with keys of its own.")
    return section


def _data(found: Guess) -> dict[str, Any]:
    """Return the [data] section with the guessed columns."""
    return {
        "file": NAME,
        "inputs": list(found.inputs),
        "target": found.target,
        "answers": found.answers_column,
        "id": found.id_column,
        "split_column": found.split_column,
        "group": found.group_column,
        "slices": list(found.slices),
        "skip_empty": found.empty > 0,
    }


def _named(about: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[..., Any] | None]:
    """Replace a metric that is a function by its name; return the section and the function, or None."""
    scorer = about.get("metric")
    return (dict(about), None) if not callable(scorer) else ({**about, "metric": handed_name(scorer)}, scorer)


def _names(given: str | int | Iterable[str | int]) -> tuple[str, ...]:
    """Return one or several column names as texts; data frames number columns without a name."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return tuple(str(name) for name in several if name != "")


def _once(section: str, said: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise TaskError if a section contradicts an argument that was given."""
    for key, value in given.items():
        if value and said.get(key, value) != value:
            raise TaskError(
                f"make_task: {key} is given as {value!r}, and as {said[key]!r} in {section}. Leave one out."
            )
