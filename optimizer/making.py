"""A task from rows that a program hands over, as `phrasetune init` makes one from a file. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optimizer.columns import Guess, guess
from optimizer.handed import NAME, as_table, fields
from optimizer.own_metric import handed_name
from optimizer.task import Task, check_task


def make_task(
    rows: object,
    *,
    inputs: str | Sequence[str] = (),
    target: str = "",
    name: str = "task",
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
        The columns that the model sees (or the name of a single one), and the one with the wanted answer. Those of
        DSPy's examples are what they say; otherwise what is left out is guessed, and so are kind, metric, id, group,
        slices and split column.
    name, description
        Of the task.
    metric
        The name of one, or a function: of an answer and an accepted answer, and if it likes of the row's `inputs`, to a
        score from 0 to 1. With a digest of its source it is called module:function@digest, so that the same function
        resumes a run and another does not; what it uses from elsewhere is not looked at.
    sections
        Sections of a task file, such as search={"calls": 300} or task={"labels": ["ham", "spam"]}. They go before what
        is guessed.

    Raises
    ------
    DataError
        If the rows cannot be used.
    TaskError
        If a section holds what it may not, or the metric is neither a name nor a function whose source can be read.
    """
    told, answered = fields(rows)
    table = as_table(rows)
    asked = (inputs,) if inputs and isinstance(inputs, str) else inputs
    found = guess(table, inputs=asked or told, target=target or answered)
    about = {"name": name, "kind": found.kind, "metric": found.metric, "description": description}
    said, scorer = _named({**({"metric": metric} if metric else {}), **sections.pop("task", {})})
    about |= said
    if about["kind"] != found.kind and "metric" not in said:
        del about["metric"]  # it was guessed for the other kind
    given = {"task": about, "data": {**_data(found), **sections.pop("data", {})}, **sections}
    return check_task(given, "make_task").model_copy(update={"rows": table, "scorer": scorer})


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
