"""An export on the rows that its prompt was scored on, rendered as its reader does, beside the recorded score.

Goes through the ledger: messages that are the recorded ones are answered as they were, at no cost, and what a format
has changed is bought.
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
    """The score of an export beside the recorded one of its prompt, on the same rows.

    `recorded` is None where the prompt was not asked these rows; then `turned`, the number of answers that are others,
    is 0. `reader` names the tool that rendered the export, or is empty where it was read by ourselves.
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
    """Renders as an exported file does, and reads answers as the prompt's template does."""

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
    """Ask a model an export on the rows of its run, and score the answers as the run did.

    Parameters
    ----------
    done, told
        What was written, and what from.
    max_calls
        The most calls to buy; 0 is no cap. If more are needed, none is bought.
    model
        That of the run, if none is given.

    Raises
    ------
    ExportError
        If the format renders nothing, the metric is not free, or the cap does not cover the calls.
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
    """Load what was written: with the tool that it is for if that is installed, else as we read it ourselves."""
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
