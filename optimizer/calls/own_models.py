"""Models that a caller brings: their names, or objects of their own."""

from __future__ import annotations

from optimizer.errors import ModelError, kind_of
from optimizer.models import LocalModel, Model, RemoteModel, open_model
from optimizer.records import Completion


def opened(given: Model | str, *, api_base: str = "") -> Model:
    """Open what a caller has given as a model: its name, or a model that is open already, such as one of their own.

    Raises
    ------
    ModelError
        As `open_model` does, and if it is neither.
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
    """Return what a model has answered, if it is an answer: models of a user's own may give anything.

    Raises
    ------
    ModelError
        If it is none.
    """
    if not isinstance(given, Completion):
        raise ModelError(
            f"model {model.name!r} answered with {kind_of(given)}; allowed: a Completion of optimizer.records. Return "
            "Completion(text), with the numbers of tokens where they are known."
        )
    return given
