"""What a task's proposals are based on, how they are screened, and what is told of failures. Makes no calls."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.preparing import Plan
from optimizer.proposals.screening import Screen, copies
from optimizer.propose import ROOM, Failure, Ground
from optimizer.records import Outcome, Trial
from optimizer.scoring import feedback


def grounds(plan: Plan) -> Ground:
    """Return what proposals from a model are based on: only the task and its training rows."""
    about, seed, room = plan.task.task.description, plan.task.search.seed, plan.task.proposal_tokens or ROOM
    return Ground(about, plan.space.words, plan.data.train, plan.labels, room, seed)


def failures(plan: Plan) -> Callable[[Trial, Outcome], Failure] | None:
    """Return a function that adds the metric's feedback to a failure; None if the metric gives a score only."""
    if plan.metric.feedback is None:
        return None
    rows = {row.id: row for row in plan.data.dev}

    def failure(_: Trial, outcome: Outcome) -> Failure:
        row = rows[outcome.example_id]
        said = feedback(plan.metric, outcome.answer, row)
        return Failure(row, outcome.answer, {"feedback": said} if said else {})

    return failure


def screen(plan: Plan) -> Screen:
    """Return the screen of proposals: the names they may use in braces, and the rows they may not copy."""
    notes = plan.space.facts.label_notes.values()
    known = [*(t for d in plan.space.dimensions for t in d.texts.values()), *plan.space.words.values(), *notes]
    shown = [text for row in plan.data.train for text in (row.text, row.target)]
    hidden = [text for row in (*plan.data.dev, *plan.data.test, *plan.ood) for text in (row.text, *row.targets)]
    return Screen(frozenset(plan.space.words), copies(hidden, [*known, *shown]), plan.labels)
