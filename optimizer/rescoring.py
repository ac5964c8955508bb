"""Scoring an export on the rows of its run, rendered by the tool that it is for, and comparing with the recorded score.

Uses the ledger: messages that equal the recorded ones are answered from the cache, at no cost; only those that the
format has changed are bought.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.budget import Budget, Caps
from optimizer.calling import may_cost, open_ledger
from optimizer.errors import ExportError
from optimizer.evaluate import Evaluator
from optimizer.exports import FORMATS, Exported
from optimizer.exports.proof import Render
from optimizer.exports.readers import READERS
from optimizer.handover import Handover
from optimizer.models import Model, destination
from optimizer.predicting import why_unscored
from optimizer.preparing import task_model
from optimizer.scoring import interval, summarise
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_rows import labels_of, objective
from optimizer.watch import Watch
from search_spaces.prompt import Example, Message, Prompt
from search_spaces.rendering import Renderer


@dataclass(frozen=True, slots=True)
class Rescored:
    """The score of an export, and the recorded score of its prompt on the same rows.

    `turned` is the number of answers that differ. If the prompt was not evaluated on these rows, `recorded` is None and
    `turned` is 0. `reader` is the tool that rendered the export, or empty if we read it ourselves.
    """

    metric: str
    split: str
    n: int
    score: float | None
    interval: tuple[float, float]
    recorded: float | None
    turned: int
    bought: int
    reused: int
    reader: str


class _FromFile(Renderer):
    """Renders with an exported file, and parses answers with the prompt's template."""

    def __init__(self, render: Render, renderer: Renderer) -> None:
        super().__init__(renderer.templates, slots=renderer.slots)
        self._render = render

    def messages(self, prompt: Prompt, example: Example) -> tuple[Message, ...]:
        inputs = {name: dict(example.inputs)[name] for name in prompt.inputs}
        return tuple(Message(message["role"], message["content"]) for message in self._render(inputs))


def rescore(
    done: Exported,
    told: Handover,
    *,
    db: str | Path = "results.db",
    max_calls: int = 0,
    model: Model | None = None,
    watch: Watch | None = None,
) -> Rescored:
    """Answer the rows of a run with an export of its prompt, and score the answers as the run did.

    Parameters
    ----------
    done, told
        The export, and what it was made from.
    max_calls
        The most calls to buy; 0 means no cap. If more are needed, none is bought.
    model
        The model; by default the run's.

    Raises
    ------
    ExportError
        If the format contains no prompt to render, if the metric is a judge or the user's code, or if the cap does not
        cover the calls.
    """
    if unscored := why_unscored(told.run.metric):
        raise ExportError(f"{unscored} The export stands as it was written.")
    task = Task.model_validate(told.run.task)
    model, watch = model or task_model(task.model), watch or Watch()
    if place := destination(model):
        watch.event(place)
    render, reader = _render(done)
    prompt, rows = done.draft.prompt, [row for row in told.facts.rows if row.targets]
    with Store(db, create=True, paid=may_cost(model)) as store:
        known = [row for name in ("train", "dev", "test") for row in store.examples(told.run.data, name)]
        metric = objective(task, labels_of(task, known))
        ledger = open_ledger(model, task.model, store, told.run.id, Budget(Caps(calls=max_calls)), watch)
        evaluate = Evaluator(ledger, _FromFile(render, done.draft.renderer), metric)
        with closing(ledger):
            _refuse_dear(evaluate.missing([(prompt, row) for row in rows]), max_calls)
            outcomes = evaluate.rows(prompt, rows)
    examples = {row.id: row for row in rows}
    before = {outcome.example_id: outcome.answer for outcome in told.outcomes}
    return Rescored(
        told.run.metric,
        told.facts.split,
        len(rows),
        summarise(metric, outcomes, examples),
        interval(metric, outcomes, examples, np.random.default_rng(0)),
        summarise(metric, told.outcomes, examples) if before else None,
        sum(before[outcome.example_id] != outcome.answer for outcome in outcomes if outcome.example_id in before),
        ledger.bought,
        ledger.reused,
        reader,
    )


def _refuse_dear(needed: int, max_calls: int) -> None:
    if 0 < max_calls < needed:
        raise ExportError(
            f"rescoring takes {needed} calls, and --max-calls allows {max_calls}; none was bought. Allow more. "
            "The export stands as it was written."
        )


def _render(done: Exported) -> tuple[Render, str]:
    """Return how to render an export, and with what: the tool that it is for if installed, else our own reader."""
    reader, ours = READERS.get(done.format), FORMATS[done.format].read
    if reader and reader.load and reader.installed:
        return reader.load(done.path, done.draft), reader.installed
    if ours is None:
        able = ", ".join(name for name, exporter in FORMATS.items() if exporter.read)
        raise ExportError(
            f"the format {done.format} holds messages that are rendered already, so there is nothing to rescore; "
            f"allowed: {able}. The export stands as it was written."
        )
    return ours(done.path, done.draft), ""
