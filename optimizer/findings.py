"""Records of what a verdict finds besides the scores: the cascade, other rows, doubtful rows, groups, robustness.

Frozen, without behaviour. Scores, shares and confidences are in [0, 1]; intervals are 95 % intervals.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CascadePoint:
    """The cascade at one threshold: the baseline answers rows on which it is confident enough, the prompt the others.

    `threshold` is a calibrated confidence; None means that the prompt answers all rows. `share` is the share of the
    test rows that go to the prompt. `cost_per_1000` is None if the price is not known.
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
    """The front of a cascade of two contenders, by the share of rows for the prompt; one point was chosen on dev.

    `confidence` is the chosen threshold as the baseline's confidence before calibration; None if all rows go to the
    prompt. `surer` is the baseline's mean calibrated confidence on the test rows minus its score there.
    """

    prompt: str
    baseline: str
    points: tuple[CascadePoint, ...]
    confidence: float | None
    surer: float
    surer_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A contender on rows other than the test rows: "train", "dev" or "ood". `difference` is minus the test score."""

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
    """How many groups of rows of these splits are "identical", "contradicting" or "near", with one example."""

    kind: str
    splits: str
    groups: int
    example: str


@dataclass(frozen=True, slots=True)
class Drift:
    """How different the rows of two splits are.

    For "texts", `size` is the AUC of a classifier that tells them apart (0.5: not different); for "labels", the total
    variation distance (0: not different). `p_value` is corrected for the number of such tests.
    """

    what: str
    a: str
    b: str
    size: float
    p_value: float


@dataclass(frozen=True, slots=True)
class GroupScore:
    """A contender's score on the `n` test rows with one value in a column."""

    name: str
    column: str
    value: str
    n: int
    score: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class GroupGap:
    """The two of a column's `groups` that differ most in a contender's mean row score; the same one if all are alike.

    The interval is simultaneous for all pairs of groups; the p-value is corrected for groups and columns.
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
    """How many of `n` rows got a different answer from a contender when the listed terms in them were swapped.

    `interval` is that of their share; `difference` is the score on the swapped rows minus that on the original rows.
    """

    name: str
    n: int
    flips: int
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Changed:
    """A contender on `n` test rows with a change that should not matter; `difference` is minus the unchanged score.

    They are the rows that it answered with the change and without.
    """

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

    `difference` is the mean minus the score without a change. The interval of the worst difference is simultaneous for
    all changes.
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
    """What a verdict found besides the scores. `cascade` is None if there were too few dev rows to choose one."""

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
