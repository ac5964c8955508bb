"""The nouns of a run. Frozen, no behaviour, no third-party type; they pass between the rooms.

Scores lie in [0, 1]; costs are US dollars; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_spaces.prompt import Example, Message, Prompt, Settings


class Kind(StrEnum):
    """What came of one prompt on one example. An error says nothing about the prompt."""

    RIGHT = "right"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    ERROR = "error"


class State(StrEnum):
    """How a trial ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows split three ways. `slices` maps example id -> {column: value} for reports by group."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model. `sample` tells repeated calls with equal messages apart."""

    messages: tuple[Message, ...]
    settings: Settings
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered, or why it did not: `error` is empty for an answer."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    finish_reason: str = "stop"
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt (or trained model) on one example. `score` is None exactly when `kind` is ERROR."""

    example_id: str
    kind: Kind
    score: float | None
    answer: str | None
    completion_key: str = ""
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt of a run and what is known of it.

    `score` is the metric over the `n` dev rows seen; `interval` its 95 % interval; `steps` the running score
    after each block, keyed by rows seen.
    """

    number: int
    params: Mapping[str, Any]
    prompt: Prompt
    state: State
    score: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    steps: Mapping[int, float] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """One search as it stands in results.db.

    Times are UTC in ISO 8601; `task` is the task file's content; `cost` is None where the price is not known.
    """

    id: int
    name: str
    task: Mapping[str, Any]
    model: str
    metric: str
    data: str
    status: str
    started: str
    finished: str = ""
    winner: int | None = None
    reason: str = ""
    bought: int = 0
    reused: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The trained rival: what it is, how it was set, how its dev score went by epoch, and its skops file."""

    detail: str
    params: Mapping[str, Any]
    curve: tuple[float, ...]
    dev_score: float
    blob: bytes | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of a verdict: who, how well on the sealed test rows, at what price.

    `cost_per_1000` is None where the price is not known.
    """

    name: str
    score: float
    interval: tuple[float, float]
    n: int
    outcomes: tuple[Outcome, ...]
    cost_per_1000: float | None
    ms_per_1000: float
    train_rows: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contender `a` minus contender `b` on the same rows."""

    a: str
    b: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    test: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: contenders and their comparisons on the sealed test rows, and one plain sentence."""

    metric: str
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    sentence: str
    opened: int = 1


# What the engine says while it works; the command line draws it.


@dataclass(frozen=True, slots=True)
class Stage:
    """A new part of the journey has begun."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlockScored:
    """A block of dev rows was scored for a running trial."""

    number: int
    params: Mapping[str, Any]
    n: int
    of: int
    score: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial was completed, pruned or failed; `best` is the number of the leading trial."""

    trial: Trial
    best: int | None
    planned: int


Event = Stage | BlockScored | TrialEnded
