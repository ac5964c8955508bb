"""The nouns of a run. Frozen, no behaviour, no third-party type; they pass between the rooms.

Scores lie in [0, 1]; costs are US dollars; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from optimizer.findings import Findings
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
    """What a model answered, or why it did not: `error` is empty for an answer.

    A `finish_reason` among `REFUSALS` says that the provider, or the model, would not answer. `logprobs` holds
    beginnings that the answer could have had, no two of which can both come true, with their log-probabilities; empty
    where none were asked for or none came. Of the tokens, `cached_tokens` of the prompt were read from the provider's
    cache, and `reasoning_tokens` of the answer are not in its text. `version` and `fingerprint` are what the provider
    calls the model and the machine that answered. Zero and empty where it does not say.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    finish_reason: str = "stop"
    error: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    version: str = ""
    fingerprint: str = ""


REFUSALS = {"content_filter", "refusal"}
CUT = "length"  # the `finish_reason` of an answer that ended at its bound


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a call that gave no answer: why, after how many seconds, and what it cost.

    A `cost` of None is not known: it may have been charged, at most the highest price of the call.
    """

    said: str
    seconds: float
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt (or trained model) on one example. `score` is None exactly when `kind` is ERROR.

    `step` is the decision of a search that asked for it, counted from 0. `tokens` are those of prompt and answer. `cut`
    tells that the answer ended at its bound, `max_tokens`.
    """

    example_id: str
    kind: Kind
    score: float | None
    answer: str | None
    completion_key: str = ""
    tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    text: str = ""
    step: int = 0
    prompt_tokens: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt of a run and what is known of it.

    `score` is the metric over the `n` dev rows seen; `interval` its 95 % interval; `steps` the running score
    after each block, keyed by rows seen. `estimate` is what all answers together say about its score on new
    rows, corrected for having been chosen, and `credible` that estimate's 95 % interval; None from a control.
    """

    number: int
    params: Mapping[str, Any]
    prompt: Prompt = field(repr=False)  # it may hold all training rows, to choose examples from
    state: State
    score: float | None = None
    interval: tuple[float, float] | None = None
    n: int = 0
    steps: Mapping[int, float] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)
    reason: str = ""
    seconds: float = 0.0
    estimate: float | None = None
    credible: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """A text behind an id of a dimension of a run's space.

    `origin` says where it comes from: "space" for those that the run began with; of those that came later "user", or
    "model" if one has proposed it. Of these `step` is the decision of the search at which they entered, None while they
    wait.
    """

    dimension: str
    id: str
    text: str
    origin: str = "user"
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One search as it stands in results.db.

    Times are UTC in ISO 8601; `task` is the task file's content; `cost` is None where the price is not known. `failed`
    attempts gave no answer, and cost `failed_cost` of it, or at most that.
    """

    id: int
    name: str
    task: Mapping[str, Any] = field(repr=False)
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
    failed: int = 0
    failed_cost: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained rival: what it is, how it was set, how its dev score went by epoch, and its weights.

    `seconds` and `cost`, in US dollars, are what it took to find its hyperparameters in `trials` and to train it; a
    cost of None is not known. `blob` is a skops file, or one of safetensors for a `kind` that learns with LoRA.
    """

    detail: str
    params: Mapping[str, Any]
    curve: tuple[float, ...]
    dev_score: float
    blob: bytes | None = None
    seconds: float = 0.0
    kind: str = "linear"
    cost: float | None = 0.0
    trials: int = 0


@dataclass(frozen=True, slots=True)
class Rung:
    """One kind of trained rival: what became of it, or why it was left out."""

    kind: str
    trained: TrainedModel | None = None
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class TuningJob:
    """A fine-tuning job at a provider, as far as it has come; `tuned` names the model that came of it.

    `file` and `dev_file` are the provider's names of the rows, `usd` and `tokens` the most that it may cost, and from
    its end on what it did cost.
    """

    key: str
    model: str
    usd: float
    tokens: int
    file: str = ""
    dev_file: str = ""
    job: str = ""
    status: str = ""
    tuned: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of a verdict: who, how well on the sealed test rows, at what price.

    `cost_per_1000` is None where the price is not known.
    """

    name: str
    score: float
    interval: tuple[float, float]
    n: int
    outcomes: tuple[Outcome, ...] = field(repr=False)
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
class Importance:
    """What one dimension explains of the differences between prompts, as the pooled model has it.

    `share` is the share of the variance that it explains alone, from `low` to `high`, and `total` the share in which it
    takes part. `best` is its best level and `gain` that level's mean score less that of the seed prompt's level.
    """

    dimension: str
    share: float
    low: float
    high: float
    best: Any
    gain: float
    gain_low: float
    gain_high: float
    total: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """The winner less the winner with one dimension set back to the seed prompt's value, on the same dev rows."""

    dimension: str
    winner_value: Any
    seed_value: Any
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The trained rival on so many of its training rows: the mean of `repeats` draws of them, on the test rows.

    `difference` is that mean less the prompt's score on the same test rows. Intervals are 95 %.
    """

    rows: int
    score: float
    interval: tuple[float, float]
    repeats: int
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How the trained rival grows with its training rows, and from how many on it is better than a prompt.

    `crossover` is the least size where it is better and from which on it never is worse; if it never is better, where
    it is as good. If no size from there on shows that it is better, it is `level`, and also if the verdict's paired
    test shows no difference with all rows (`shown`). It is None where no size is known; of its 95 % interval None is
    more than can be said, above all training rows. With `extrapolated` it lies beyond the rows there are, on a power
    law through the last points.
    """

    prompt: str
    points: tuple[CurvePoint, ...]
    crossover: int | None
    interval: tuple[int | None, int | None]
    extrapolated: bool = False
    shown: bool = True

    @property
    def level(self) -> bool:
        """Whether the rival is as good as the prompt from the crossover on, and not shown to be better."""
        if self.crossover is None or self.extrapolated:
            return False
        later = [point for point in self.points if point.rows >= self.crossover]
        return not self.shown or all(point.difference_interval[0] <= 0 for point in later)


@dataclass(frozen=True, slots=True)
class Bill:
    """What it takes to find a contender, and to use it.

    `finding` is in US dollars and includes `labels`, the price of the `labelled` rows; None where it is not known.
    """

    name: str
    finding: float | None
    labels: float
    labelled: int
    seconds: float
    cost_per_1000: float | None
    ms_per_1000: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: contenders and their comparisons on the sealed test rows, and one plain sentence.

    `curve`, `bills` (the prompt's, then the trained rival's) and `findings` are missing from runs of earlier versions;
    `curve` also where it would have cost more than was allowed. `ladder` has the kinds of trained rivals, without
    their weights: the best on dev is the contender.
    """

    metric: str
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]
    sentence: str
    opened: int = 1
    curve: LearningCurve | None = field(default=None, repr=False)
    bills: tuple[Bill, ...] = field(default=(), repr=False)
    findings: Findings | None = field(default=None, repr=False)
    ladder: tuple[Rung, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.sentence
