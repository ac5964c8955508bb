"""The records of a run, which pass between modules: frozen, without behaviour, and without third-party types.

Scores are in [0, 1], costs in US dollars, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from optimizer.findings import Findings
from search_spaces.prompt import Example, Message, Prompt, Settings


class Kind(StrEnum):
    """The kind of a prompt's outcome on an example. An error says nothing about the prompt."""

    RIGHT = "right"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    ERROR = "error"


class State(StrEnum):
    """Whether a trial is running, and how it ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in three splits. `slices` maps example id -> {column: value} for reports by group."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    slices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model. `sample` distinguishes repeated calls with equal messages."""

    messages: tuple[Message, ...]
    settings: Settings
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered, or why it did not: `error` is empty for an answer.

    A `finish_reason` in `REFUSALS` means that the provider or the model refused to answer. `logprobs` has mutually
    exclusive beginnings that the answer could have had, with their log-probabilities; empty if none were requested or
    returned. `cached_tokens` of the prompt were read from the provider's cache, and `reasoning_tokens` of the answer
    are not in its text. `version` and `fingerprint` are the provider's names of the model and backend that answered.
    They are 0 or empty if the provider does not return them.
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
CUT = "length"  # the `finish_reason` of an answer that was cut off at `max_tokens`


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a call that returned no answer: the reason, after how many seconds, and what it cost.

    A `cost` of None is unknown: up to the highest possible cost of the call may have been charged.
    """

    said: str
    seconds: float
    cost: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one prompt (or trained model) on one example. `score` is None exactly if `kind` is ERROR.

    `step` is the decision of the search that requested it, counted from 0. `tokens` are those of prompt and answer.
    `cut` is whether the answer was cut off at `max_tokens`. A program makes several calls for a row: `calls` are the
    keys of their completions, in order, and the figures are those of all of them.
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
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt of a run, and what is known about it.

    `score` is the metric on the `n` dev rows that it answered, `interval` its 95 % interval, and `steps` the running
    score after each block, keyed by the number of rows. `estimate` is its estimated score on new rows, from all answers
    of the run and corrected for the choice of the best, and `credible` the estimate's 95 % interval; both are None for
    a control.
    """

    number: int
    params: Mapping[str, Any]
    prompt: Prompt = field(repr=False)  # it may contain all training rows, as a pool of demos
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
    """A wording of a run's space: a dimension's id with its text.

    `origin` is "space" for a wording that the run began with; for one added later, "user", or "model" if a model
    proposed it. For these, `step` is the decision of the search from which on it was a choice, None while it waits.
    """

    dimension: str
    id: str
    text: str
    origin: str = "user"
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One search, as recorded in results.db.

    Times are UTC in ISO 8601; `task` is the task file's content; `cost` is None if the price is not known. `failed`
    attempts returned no answer, and cost at most `failed_cost` of it; those tried again at no charge are not counted.
    `program` is the module:name of the DSPy program that it tuned; empty for a prompt.
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
    program: str = ""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained rival: a description, its hyperparameters, its dev score by epoch, and its weights.

    `seconds` and `cost` (US dollars) are what finding its hyperparameters in `trials` and training it took; a cost of
    None is unknown. `blob` is a skops file, or a safetensors file for a `kind` trained with LoRA.
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
    """One kind of trained rival: the trained model, or why it was left out."""

    kind: str
    trained: TrainedModel | None = None
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class TuningJob:
    """The state of a fine-tuning job at a provider; `tuned` is the name of the resulting model.

    `file` and `dev_file` are the provider's names for the files of rows; `usd` and `tokens` are the most that the job
    may cost, and once it has ended, what it did cost.
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
    """One row of a verdict: a prompt or trained model, its score on the sealed test rows, and its cost and latency.

    `cost_per_1000` is None if the price is not known.
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
    """How much of the differences between prompts one dimension explains, according to the pooled model.

    `share` is the share of the variance that it explains alone, with its interval from `low` to `high`, and `total` the
    share including its interactions. `best` is its best level, and `gain` that level's mean score minus that of the
    seed prompt's level.
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
    """The winner minus the winner with one dimension reset to the seed prompt's value, on the same dev rows."""

    dimension: str
    winner_value: Any
    seed_value: Any
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The trained rival with so many training rows: the mean test score over `repeats` random draws of them.

    `difference` is that mean minus the prompt's score on the same test rows. Intervals are 95 % intervals.
    """

    rows: int
    score: float
    interval: tuple[float, float]
    repeats: int
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How the trained rival's score grows with its training rows, and from how many on it is better than a prompt.

    `crossover` is the smallest size at which it is better and from which on it is never worse, or, if it is never
    better, at which it is equally good; None if there is no such size. The rival counts as `level` with the prompt if
    no size from there on shows that it is better, or if the verdict's paired test with all rows shows no difference
    (`shown` is False). In the 95 % `interval`, None means more than all training rows. If `extrapolated`, the crossover
    lies beyond the available rows, on a power law through the last points.
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

    `finding` is in US dollars and includes `labels`, the price of the `labelled` rows; None if it is not known.
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
    """The result of a run: contenders and their comparisons on the sealed test rows, and one plain sentence.

    `curve`, `bills` (the prompt's, then the trained rival's) and `findings` are missing in runs of earlier versions;
    `curve` also if it would have cost more than was allowed. `ladder` has all kinds of trained rivals, without their
    weights; the best on dev is the contender.
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
