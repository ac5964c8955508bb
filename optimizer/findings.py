"""The nouns of what a verdict finds beside the scores: prompt and baseline together, other rows, doubtful rows.

Frozen, no behaviour. Scores, shares and confidences lie in [0, 1]; intervals are 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CascadePoint:
    """The cascade at one threshold: the baseline answers where it is at least so sure, the prompt elsewhere.

    `threshold` is a calibrated confidence, None where none is enough; `share` of the test rows goes to the prompt.
    `cost_per_1000` is None where the price is not known.
    """

    threshold: float | None
    share: float
    dev_score: float
    score: float
    interval: tuple[float, float]
    cost_per_1000: float | None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Cascade:
    """The front of a cascade of two contenders, by the share that goes to the prompt; one point was chosen on dev.

    `confidence` is the chosen threshold as the baseline states it, before calibration; None where all rows go to the
    prompt. `surer` is the baseline's mean calibrated confidence on the test rows less its score there.
    """

    prompt: str
    baseline: str
    points: tuple[CascadePoint, ...]
    confidence: float | None
    surer: float
    surer_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A contender on other rows than the test rows: "train", "dev" or "ood". `difference` is less the test score."""

    name: str
    rows: str
    n: int
    score: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row on which prompt and baseline agree against the label; `confidence` is the baseline's, calibrated."""

    example: str
    split: str
    label: str
    answer: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How many groups of rows of these splits are "identical", "contradicting" or "near", and one of them."""

    kind: str
    splits: str
    groups: int
    example: str


@dataclass(frozen=True, slots=True)
class Drift:
    """How well rows of two splits can be told apart.

    Of "texts", `size` is the AUC of a classifier (0.5: not at all); of "labels", the total variation distance (0: not
    at all). `p_value` is corrected for the number of such tests.
    """

    what: str
    a: str
    b: str
    size: float
    p_value: float


@dataclass(frozen=True, slots=True)
class GroupScore:
    """A contender on the `n` test rows that have one value in a column."""

    name: str
    column: str
    value: str
    n: int
    score: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class GroupGap:
    """The two of so many `groups` of a column that are farthest apart in a contender's mean row score.

    The interval is one of all pairs of groups together, the p-value corrected for groups and columns.
    """

    name: str
    column: str
    best: str
    worst: str
    groups: int
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Flips:
    """How many of `n` rows got another answer from a contender when the listed terms in them were swapped.

    `interval` is that of their share; `difference` is the score on swapped rows less that on the same rows as they are.
    """

    name: str
    n: int
    flips: int
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Changed:
    """A contender on `n` test rows under a change that should not matter. `difference` is less the same without it."""

    name: str
    change: str
    n: int
    score: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Steadiness:
    """A contender under so many `changes`: the mean score, and the worst change.

    `difference` is the mean less the score without a change. The interval of the worst difference is one of all changes
    together.
    """

    name: str
    changes: int
    mean: float
    mean_interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    worst: str
    worst_score: float
    worst_difference: float
    worst_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a verdict found beside the scores. `cascade` is None where the dev rows were too few to choose one."""

    cascade: Cascade | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    drifts: tuple[Drift, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    gaps: tuple[GroupGap, ...] = ()
    flips: tuple[Flips, ...] = ()
    changed: tuple[Changed, ...] = ()
    steadiness: tuple[Steadiness, ...] = ()
