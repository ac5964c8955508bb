"""Estimating what `tune` would take, from a prepared task and a few calls that measure it.

Where the calls go is reported to the watch before anything is sent.
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
    """What `plan` returns: what a run will take, and the basis of the estimate.

    `estimate.total` has calls, tokens, US dollars and seconds, each as a range, and `estimate.parts` the same for each
    part of the run; dollars and seconds are None if they are not known. `probe` are the calls that were made to
    measure, `terms` what calls cost and how they are made. `size` is the number of prompts in the space, `searched` the
    number of dev rows that the search uses, `looks` the answers that it may use, and `held` the calls that are kept for
    the verdict. `tried` is what running a program took, if one is to be tuned.
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
        """Return the total estimate, without the rows, which would fill the screen."""
        name = self.ready.task.task.name
        return f"<Planned: {name} on {self.model.name}; {total_text(self.estimate)}>"


def plan(  # noqa: PLR0913 - the models that may be passed, as in `tune`
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
    """Estimate what `tune` would take: calls, tokens, dollars and time.

    First the seed prompt answers 5 training rows, to measure what a call takes; a program is run on 4, as it is and
    with the most demos. `tune` does not buy these calls again.

    Parameters
    ----------
    task
        A task, or the path of its file.
    db
        The results database.
    model, judge, proposer, teacher
        As in `tune`; only the first is called.
    program
        module:name of a DSPy program beside the task file, which is tuned instead of a prompt.
    offline
        Whether to make no calls, and estimate only from cached ones.
    watch
        Follows the calls, and can stop them.
    allow_code
        Whether the user's own metric or program may be run.

    Raises
    ------
    InputError
        If an argument cannot be used.
    ProviderError
        If the provider refuses every call.
    Interrupted
        If the watch stopped it.
    """
    watch = Watch.of(watch)
    if program:
        require_allowed(f"program {program!r}", allowed=allow_code)
    task, models = brought(task, {MODEL: model, JUDGE: judge, PROPOSER: proposer, TEACHER: teacher})
    ready = _prepared(task, program, allow_code=allow_code)
    ladder.choose(ready.task, labelled=bool(ready.labels))  # raises for a kind that cannot be trained
    asked, beside = open_models(ready, models, keyless=offline)
    terms = _terms(ready, asked, beside)
    _say_places(ready, asked, beside, watch)
    if program:
        from optimizer.programs.planning import try_program

        return _of_program(ready, asked, terms, try_program(ready, program, asked, db, watch, offline=offline))
    return _of_prompts(ready, asked, terms, probe(ready, asked, db, watch, offline=offline))


def _prepared(task: Task, program: str, *, allow_code: bool) -> Plan:
    if not program:
        return prepare(task, allow_code=allow_code)
    from optimizer.programs.tasks import prepare_program

    return prepare_program(task)


def _of_prompts(ready: Plan, model: Model, terms: Terms, shown: Probe) -> Planned:
    found = estimate(ready, shown, terms, np.random.default_rng(ready.task.search.seed))
    counts = (len(dev_rows(ready)), looks(ready), held_calls(ready))
    return Planned(ready, model, terms, found, shown, ready.space.size, *counts)


def _of_program(ready: Plan, model: Model, terms: Terms, tried: Tried) -> Planned:
    from optimizer.programs.planning import estimate as estimate_program

    found, counts = estimate_program(ready, tried, terms), (tried.rows(ready), tried.looks(ready), tried.held)
    return Planned(ready, model, terms, found, tried.probe, tried.size, *counts, tried)


def _terms(ready: Plan, model: Model, beside: Mapping[str, Model]) -> Terms:
    """Return what calls cost and how they are made; raise for caps that need an unknown price."""
    require_prices(ready.task, model, beside.values())
    others = {role: Terms(each.price, pace(each, ready.beside[role])) for role, each in beside.items()}
    return Terms(model.price, pace(model, ready.task.model), others)


def _say_places(ready: Plan, model: Model, beside: Mapping[str, Model], watch: Watch) -> None:
    """Report to the watch where calls go, before anything is sent."""
    watch.notice(f"{ready.task.task.name} on {model.name}, judged by {ready.task.metric}")
    if place := destination(model):
        watch.event(place)
    else:
        watch.notice("calls do not leave this process")
    for role, other in beside.items():
        place = destination(other)
        where = f"go to {place}" if place else "do not leave this process"
        watch.notice(f"the {role} is {other.name}; its calls {where}")
