"""A task from rows that a program hands over, as `phrasetune init` makes one from a file. Writes nothing."""

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

    Equal rows make the same task, whatever they come in, and the same call resumes a run that was stopped.

    Parameters
    ----------
    rows
        A list of dicts, a data frame (pandas, polars, pyarrow), a data set of Hugging Face's `datasets`, DSPy's
        examples, or a mapping of "train", "dev" and "test" to any of these.
    inputs, target
        The columns that the model sees (or the name of a single one), and the one with the wanted answer; columns that
        are called by numbers are called by their digits here. Those of DSPy's examples are what they say; otherwise
        what is left out is guessed, and so are kind, metric, id, group, slices and split column.
    name, description
        Of the task; "task" is the name of one that has none.
    metric
        The name of one, or a function: of an answer and an accepted answer, and if it likes of the row's `inputs`, to a
        score from 0 to 1. With a digest of its source it is called module:function@digest, so that the same function
        resumes a run and another does not; what it uses from elsewhere is not looked at.
    sections
        Sections of a task file, such as search={"calls": 300} or task={"labels": ["ham", "spam"]}. They go before what
        is guessed. What is said here as well as above must be the same, and no data file is named: the rows are here.

    Raises
    ------
    DataError
        If the rows cannot be used.
    TaskError
        If a section holds what it may not, or something else than the arguments, or the metric is neither a name nor a
        function whose source can be read.
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
        del about["metric"]  # it was guessed for the other kind
    given = {"task": about, "data": {**_data(found), **columns}, **sections}
    return check_task(given, "make_task").model_copy(update={"rows": table, "scorer": scorer})


def _section(sections: dict[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Take a section out, to which something is added before all are checked."""
    section: object = sections.pop(name, {})
    if not isinstance(section, Mapping):
        raise TaskError(f"make_task: `{name}` = {section!r}: must be a section with keys of its own.")
    return section


def _data(found: Guess) -> dict[str, Any]:
    """Write down what was guessed of the columns."""
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
    """Put its name in the place of a metric that is a function, and return that."""
    scorer = about.get("metric")
    return (dict(about), None) if not callable(scorer) else ({**about, "metric": handed_name(scorer)}, scorer)


def _names(given: str | int | Iterable[str | int]) -> tuple[str, ...]:
    """Read the name of a column, or several; a frame calls columns that nobody has named by numbers."""
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    return tuple(str(name) for name in several if name != "")


def _once(section: str, said: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what a section says otherwise than the arguments do, where these say anything."""
    for key, value in given.items():
        if value and said.get(key, value) != value:
            raise TaskError(
                f"make_task: {key} is given as {value!r}, and as {said[key]!r} in {section}. Leave one out."
            )
