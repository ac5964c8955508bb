"""Models that a caller passes: by name, or as objects."""

from __future__ import annotations

from optimizer.errors import ModelError, kind_of
from optimizer.models import LocalModel, Model, RemoteModel, open_model
from optimizer.records import Completion


def opened(given: Model | str, *, api_base: str = "") -> Model:
    """Return the model that a caller gives by name or as an object, such as a model of their own.

    Raises
    ------
    ModelError
        As in `open_model`, and if it is neither a name nor a model.
    """
    if isinstance(given, str):
        return open_model(given, api_base=api_base)
    if isinstance(given, type) or not isinstance(given, LocalModel | RemoteModel):
        raise ModelError(
            f"{kind_of(given)} was given as a model; allowed: a name, such as 'openai/gpt-4o-mini' or 'embedded', or "
            "an object that has name, address, price and complete(request). Give one of these."
        )
    return given


def completed(model: Model, given: object) -> Completion:
    """Return a model's answer, after checking its type: a user's own model may return anything.

    Raises
    ------
    ModelError
        If it is not a Completion.
    """
    if not isinstance(given, Completion):
        raise ModelError(
            f"model {model.name!r} answered with {kind_of(given)}; allowed: a Completion of optimizer.records. Return "
            "Completion(text), with the numbers of tokens where they are known."
        )
    return given
