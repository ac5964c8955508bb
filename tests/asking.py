"""Calling a model, local or remote, as the ledger does; and opening a model with direct calls or with LiteLLM."""

from __future__ import annotations

from contextlib import closing

from optimizer.calls.gateway import Gateway, Landed, Pace
from optimizer.models import LiteLLMModel, LocalModel, Model, RemoteModel, open_model
from optimizer.records import Completion, Request

QUICK = Pace(4, timeout=10, patience=0.02)  # tests do not wait between attempts
LANES = ("lean", "litellm")


def landed(model: Model, request: Request, pace: Pace = QUICK) -> Landed:
    """What becomes of one call to a remote model."""
    assert isinstance(model, RemoteModel)
    with closing(Gateway(model, pace)) as gateway:
        return gateway.submit(request).result(timeout=60)


def answer(model: Model, request: Request, pace: Pace = QUICK) -> Completion:
    """What a model answers; raises what ends a run."""
    if isinstance(model, LocalModel):
        return model.complete(request)
    result = landed(model, request, pace)
    if result.trouble is not None:
        raise result.trouble
    assert result.completion is not None
    return result.completion


def open_lane(lane: str, name: str, address: str, price: tuple[float, float] | None = None) -> Model:
    """Open a model over one of the two lanes."""
    model = open_model(name, api_base=address, price=price)
    return model if lane == "lean" else LiteLLMModel(name, address, model.price, {})
