"""What `tune` would take, before it begins: a task made ready, a few calls to measure by, and an estimate.

What is to be known before anything is sent goes to the watch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optimizer.calling import pace, require_prices
from optimizer.events import Event
from optimizer.models import Model, destination
from optimizer.planning import Estimate, Probe, Terms, estimate
from optimizer.preparing import Plan, brought, dev_rows, held_calls, looks, open_models, prepare
from optimizer.probing import probe
from optimizer.reports.planning_tables import total_text
from optimizer.rivals import ladder
from optimizer.scores.own_metric import require_allowed
from optimizer.task import Task
from optimizer.task_sections import JUDGE, MODEL, PROPOSER, TEACHER
from optimizer.watch import Watch

if TYPE_CHECKING:
    from optimizer.programs.planning import Tried


@dataclass(frozen=True, slots=True)
class Planned:
    """What `plan` returns: what a run takes, and what that is known from.

    `estimate.total` has calls, tokens, US dollars and seconds, each from a low to a high figure, and `estimate.parts`
    the same of each part; dollars and seconds are None where nobody knows. `probe` are the calls that were made to
    measure by, `terms` what calls cost and how they are made. `size` counts the prompts of the space, `searched` the
    dev rows that the search looks at, `looks` the answers that it may look at, and `held` the calls that are kept for
    the verdict. `tried` is what a program took, where one is to be tuned.
    """

    ready: Plan = field(repr=False)
    model: Model
    terms: Terms
    estimate: Estimate
    probe: Probe
    size: float
    searched: int
    looks: int
    held: int
    tried: Tried | None = None

    def __repr__(self) -> str:
        """Say what the run takes; its rows would fill the screen."""
        name = self.ready.task.task.name
        return f"<Planned: {name} on {self.model.name}; {total_text(self.estimate)}>"


def plan(  # noqa: PLR0913 - the models that may be brought, as to `tune`
    task: Task | str | Path,
    *,
    db: str | Path = "results.db",
    model: Model | str | None = None,
    judge: Model | str | None = None,
    proposer: Model | str | None = None,
    teacher: Model | str | None = None,
    program: str = "",
    offline: bool = False,
    watch: Watch | Callable[[Event], None] | None = None,
    allow_code: bool = False,
) -> Planned:
    """Say what `tune` would take: calls, tokens, dollars and time.

    The seed prompt is asked 5 training rows first, to measure what a call takes; a program is run on 4, as it came and
    with the most demos. `tune` does not buy these again.

    Parameters
    ----------
    task
        A task, or the path of its file.
    db
        The results database.
    model, judge, proposer, teacher
        As they are brought to `tune`; only the first is asked.
    program
        module:name of a program of DSPy beside the task file, to be tuned in the place of a prompt.
    offline
        Whether to make no call, and know only what earlier calls have shown.
    watch
        Follows the calls, and stops them.
    allow_code
        Whether a metric or a program of the user's own, which is code, may be run.

    Raises
    ------
    InputError
        If something that was given cannot be used.
    ProviderError
        If the provider refuses every call.
    Interrupted
        If the watch stopped it.
    """
    watch = Watch.of(watch)
    if program:
        require_allowed(f"program {program!r}", allowed=allow_code)
    task, models = brought(task, {MODEL: model, JUDGE: judge, PROPOSER: proposer, TEACHER: teacher})
    ready = prepare(task, allow_code=allow_code)
    ladder.choose(ready.task, labelled=bool(ready.labels))  # refuses a kind that cannot be trained
    asked, beside = open_models(ready, models, keyless=offline)
    terms = _terms(ready, asked, beside)
    _say_places(ready, asked, beside, watch)
    if program:
        from optimizer.programs.planning import try_program

        return _of_program(ready, asked, terms, try_program(ready, program, asked, db, watch, offline=offline))
    return _of_prompts(ready, asked, terms, probe(ready, asked, db, watch, offline=offline))


def _of_prompts(ready: Plan, model: Model, terms: Terms, shown: Probe) -> Planned:
    found = estimate(ready, shown, terms, np.random.default_rng(ready.task.search.seed))
    counts = (len(dev_rows(ready)), looks(ready), held_calls(ready))
    return Planned(ready, model, terms, found, shown, ready.space.size, *counts)


def _of_program(ready: Plan, model: Model, terms: Terms, tried: Tried) -> Planned:
    from optimizer.programs.planning import estimate as estimate_program

    found, counts = estimate_program(ready, tried, terms), (tried.rows(ready), tried.looks(ready), tried.held)
    return Planned(ready, model, terms, found, tried.probe, tried.size, *counts, tried)


def _terms(ready: Plan, model: Model, beside: Mapping[str, Model]) -> Terms:
    """Refuse caps that need a price which nobody knows, and say what calls cost and how they are made."""
    require_prices(ready.task, model, beside.values())
    others = {role: Terms(each.price, pace(each, ready.beside[role])) for role, each in beside.items()}
    return Terms(model.price, pace(model, ready.task.model), others)


def _say_places(ready: Plan, model: Model, beside: Mapping[str, Model], watch: Watch) -> None:
    """Say where calls go, before anything is sent."""
    watch.notice(f"{ready.task.task.name} on {model.name}, judged by {ready.task.metric}")
    if place := destination(model):
        watch.event(place)
    else:
        watch.notice("calls do not leave this process")
    for role, other in beside.items():
        place = destination(other)
        where = f"go to {place}" if place else "do not leave this process"
        watch.notice(f"the {role} is {other.name}; its calls {where}")
