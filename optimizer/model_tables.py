"""The tables of a task file that name a model: the one that answers, and those that are asked beside it.

Knows how a model is named and reached, not what it is asked.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from optimizer.faults import unfit_address

Name = Annotated[str, Field(min_length=1, max_length=200)]
STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)  # of every table: a key or type is known, or refused
JUDGE, PROPOSER, TEACHER = ROLES = ("judge", "proposer", "teacher")  # as results.db has them, behind a model's name


class _Section(BaseModel):
    model_config = STRICT


class Price(_Section):
    """`[model.price]`: US dollars for a million tokens, where the price table is wrong or silent."""

    input: Annotated[float, Field(ge=0)]  #: of what is asked
    output: Annotated[float, Field(ge=0)]  #: of what is answered


def _fit(address: str) -> str:
    if address and (said := unfit_address(address)):
        raise ValueError(f"{said}.")
    return address


Address = Annotated[str, AfterValidator(_fit)]


class ModelSpec(_Section):
    """`[model]`: which model completes, and how it is reached. Keys come from the environment, never from here.

    `workers` caps the calls at a time; `timeout` is what one attempt may take and `patience` the longest wait between
    two, in seconds. Requests and tokens per minute are caps, too; 0 is none. `context` is how many tokens the model
    takes, prompt and answer together, where the price table is wrong or silent.
    """

    name: Name = "embedded"  #: as LiteLLM knows it, or embedded
    api_base: Address = ""  #: address of a server; left out, the provider's
    price: Price | None = None  #: what it costs
    max_tokens: Annotated[int, Field(gt=0)] | None = None  #: most tokens of an answer; else as the rows need
    context: Annotated[int, Field(gt=0)] | None = None  #: tokens that it takes, prompt and answer together
    workers: Annotated[int, Field(gt=0, le=256)] = 8  #: calls at a time
    timeout: Annotated[float, Field(gt=0)] = 60.0  #: seconds that one attempt may take
    patience: Annotated[float, Field(ge=0)] = 60.0  #: the longest wait between two attempts, in seconds
    requests_per_minute: Annotated[float, Field(ge=0)] = 0.0  #: a cap; 0 is none
    tokens_per_minute: Annotated[float, Field(ge=0)] = 0.0  #: a cap; 0 is none


def _named(model: object) -> object:
    """Take the name of a model for the table of it."""
    return {"name": model} if isinstance(model, str) else model


class Judge(_Section):
    """`[judge]`: for the metric "judge", the model that scores answers, by its name or as a table as `[model]` is one.

    `rubric` says what it judges by, `scale` its lowest and highest score.
    """

    model: ModelSpec  #: who scores
    rubric: str = ""  #: what it judges by
    scale: Annotated[list[int], Field(min_length=2, max_length=2)] = [1, 5]  #: lowest and highest score

    _named = field_validator("model", mode="before")(_named)

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: list[int]) -> list[int]:
        if not scale[0] < scale[1]:
            raise ValueError(f"{scale}; the first number must be the lower one.")
        return scale


class Proposer(_Section):
    """`[proposer]`: the model that proposes wordings, by its name or as a table as `[model]` is one.

    Left out, it is the task's own model, but for the embedded one, which has no words; "none" asks nobody.
    """

    model: ModelSpec | None = None  #: who proposes

    _named = field_validator("model", mode="before")(_named)


class Teacher(_Section):
    """`[teacher]`: the model that reasons about training rows for worked demos, by its name or as a table as above.

    Left out, or "none", it is the task's own model.
    """

    model: ModelSpec | None = None  #: who reasons

    _named = field_validator("model", mode="before")(_named)
