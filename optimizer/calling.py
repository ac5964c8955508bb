"""How the models of a task are called: what must be known first, where calls go, and the ledgers that buy them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Real

from optimizer.budget import Budget, Caps
from optimizer.calls.book import Book
from optimizer.calls.gateway import Pace
from optimizer.calls.prices import known_context
from optimizer.errors import InputError, ModelError
from optimizer.events import Destination
from optimizer.ledger import Ledger, require_price
from optimizer.models import Model, destination
from optimizer.phrases import counted
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_sections import ModelSpec
from optimizer.watch import Watch

FREE = (0.0, 0.0)  # US dollars per prompt token and per completion token


def context(spec: ModelSpec) -> int:
    """Return how many tokens the model of a task takes, prompt and answer together; 0 if that is not known."""
    return spec.context or known_context(spec.name)


def pace(model: Model, spec: ModelSpec) -> Pace | None:
    """Return how calls are made; None for the embedded model.

    A call in this process takes about a millisecond, and threads would only take turns.
    """
    caps = (spec.requests_per_minute, spec.tokens_per_minute)
    return None if model.name == "embedded" else Pace(spec.workers, spec.timeout, spec.patience, *caps)


def may_cost(*models: Model) -> bool:
    """Whether a call to one of these models costs money, or may because its price is not known."""
    return any(model.price != FREE for model in models)


def require_prices(task: Task, model: Model, beside: Iterable[Model] = ()) -> None:
    """Refuse limits in dollars that could not be kept: the cap on everything bought, or the constraint on the answers.

    Raises
    ------
    ModelError
        If a price that such a limit needs is not known.
    """
    for called in (model, *beside):
        require_price(called, task.search.max_usd)
    most = task.search.constraints.max_cost_per_1000
    if most and model.price is None:
        raise ModelError(
            f"model {model.name!r} has no known price, so max_cost_per_1000 = {most:g} cannot be kept. Give its price "
            "in [model.price], or set max_prompt_tokens instead."
        )


def capped(caps: Caps, max_calls: int | None, max_usd: float | None) -> Caps:
    """Replace caps by those that a caller gives; None leaves one as it is.

    Raises
    ------
    InputError
        If one is not a number of at least 0.
    """
    for name, cap in (("max_calls", max_calls), ("max_usd", max_usd)):
        if cap is not None and not (isinstance(cap, Real) and cap >= 0):
            raise InputError(f"{name} = {cap!r}: must be a number of at least 0 (0 is no cap). Give another.")
    return replace(
        caps, calls=caps.calls if max_calls is None else max_calls, usd=caps.usd if max_usd is None else max_usd
    )


def announce(model: Model, beside: Mapping[str, Model], watch: Watch, more: Iterable[Destination] = ()) -> None:
    """Announce where calls will go: those of the model that answers, other places, and the other models by role."""
    for place in dict.fromkeys(place for place in (destination(model), *more) if place):
        watch.event(place)
    for role, second in beside.items():
        if there := destination(second):
            watch.event(replace(there, role=role))


def open_ledger(  # noqa: PLR0913 - all that a purchase needs to know
    model: Model, spec: ModelSpec, book: Book, run: int, budget: Budget, watch: Watch, *, role: str = ""
) -> Ledger:
    """Open a model's ledger under a budget, with its section of the task; the watch gets notices, and can stop it."""
    return Ledger(model, book, run, budget, pace(model, spec), watch.stop, watch.notice, context(spec), role)


def doubtful(store: Store, run: int) -> str:
    """Return a note on how many calls of a run may have been paid without an answer; empty if there are none."""
    found = store.possibly_paid(run)
    if not found.calls:
        return ""
    most = f", at most ${found.usd:.4g}" if found.usd else ""
    return f"{counted(found.calls, 'call')} of run {run} gave no answer, possibly paid{most}"
