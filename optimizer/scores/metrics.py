"""The metrics that a task may name: what each scores, and which kinds of task it suits.

A row's score is in [0, 1]; a metric of the whole set may be as low as -1, and is reported as it is. Knows neither
outcomes nor where an answer comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from optimizer.errors import TaskError, one_of
from optimizer.scores import label_sets, translation
from optimizer.scores.row_metrics import (
    Row,
    accuracy,
    best,
    closeness,
    exact_match,
    holds_object,
    plain_words,
    position,
    rouge_l,
    slot_f1,
    slots,
    token_f1,
    words,
)
from optimizer.scores.set_metrics import balance, bleu, chrf, kappa, macro_f1, mcc, micro, spearman

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.intp]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """How answers are scored.

    Parameters
    ----------
    name, description
        Its name in a task file, and one line about it.
    kinds
        The kinds of task that it suits.
    row
        (answer, accepted answers) -> score of one row in [0, 1].
    reads
        (answer) -> what it says, however it is written: two answers that say the same are one to `row`.
    over
        The statistic of a whole set; None for the mean of the rows' scores. Takes the correct labels [..., m] as
        numbers from 0 and the answers [..., m] as the same numbers, with -1 for any other answer or none; returns one
        value in [low, 1] for each [...].
    tally, pool
        Instead of `over`, for a statistic of sums: (answer, accepted answers) -> counts of one row [k], and counts
        summed over a whole set [..., k] -> one value in [low, 1] for each [...].
    low
        The lowest possible value of a whole set.
    weigh
        Correct labels [m] as numbers -> how informative each row is about the statistic [m]; None if all are equally
        so.
    ordered
        Whether answers are compared by their order: numbers, or the labels of `order` from lowest to highest.
    inputs
        Whether `row` also takes the row's inputs, as a keyword argument.
    formed
        (answer) -> whether it has the form that `row` can compare; None if any text has it.
    graded
        Whether a row can be partly right: a score between 0 and 1.
    judged
        Whether a model scores the rows instead of `row`; see `judge`.
    feedback
        Takes the arguments of `row` and returns the reason for the score; None if the metric gives none.
    code
        Digest of the user's code behind it; empty for a built-in metric.
    """

    name: str
    description: str
    kinds: tuple[str, ...]
    row: Row
    reads: Callable[[str], Hashable] = field(default=str, kw_only=True)
    over: Callable[[Codes, Codes], Floats] | None = None
    low: float = 0.0
    weigh: Callable[[Codes], Floats] | None = None
    ordered: bool = False
    order: tuple[str, ...] = ()
    tally: Callable[[str, Sequence[str]], tuple[float, ...]] | None = None
    pool: Callable[[Floats], Floats] | None = None
    inputs: bool = False
    formed: Callable[[str], bool] | None = None
    graded: bool = False
    judged: bool = False
    feedback: Callable[..., str] | None = None
    code: str = ""

    @property
    def mean(self) -> bool:
        """Whether its value for a whole set is the mean of the rows' scores."""
        return self.over is None and self.pool is None


def _never(answer: str, targets: Sequence[str]) -> float:
    raise AssertionError(answer, targets)


_LABELS, _SETS, _BOTH = ("classification",), ("multilabel",), ("classification", "multilabel")
_TEXTS = ("generation", "qa")
_ALL = (
    Metric("accuracy", "share of rows with the right label, or exactly the right labels", _BOTH, accuracy),
    Metric("macro_f1", "F1 of each label, averaged over the labels", _BOTH, accuracy, macro_f1, weigh=balance),
    Metric("mcc", "Matthews' correlation of answers and labels, -1 to 1", _LABELS, accuracy, mcc, -1.0, balance),
    Metric(
        "kappa",
        "Cohen's kappa with quadratic weights, of labels in the order declared, -1 to 1",
        _LABELS,
        closeness(()),
        kappa,
        low=-1.0,
        ordered=True,
        reads=position(()),
        graded=True,
    ),
    Metric(
        "closeness",
        "1 less the mean absolute error, as a share of the range of the labels in the order declared",
        _LABELS,
        closeness(()),
        ordered=True,
        reads=position(()),
        graded=True,
    ),
    Metric(
        "spearman",
        "rank correlation of numbers, or of labels in the order declared, -1 to 1",
        ("classification", "qa"),
        closeness(()),
        spearman,
        low=-1.0,
        ordered=True,
        reads=position(()),
        graded=True,
    ),
    Metric(
        "exact_match",
        "share of rows whose answer equals an accepted one, but for case, punctuation and articles",
        ("qa", "extraction", "generation"),
        best(exact_match),
        reads=words,
    ),
    Metric("micro_f1", "F1 of all labels of all rows together", _SETS, accuracy, pool=micro),
    Metric(
        "jaccard",
        "labels shared, as a share of those given or wanted, in the mean over rows",
        _SETS,
        accuracy,
        graded=True,
    ),
    Metric(
        "token_f1", "F1 of the words shared with an accepted answer", _TEXTS, best(token_f1), graded=True, reads=words
    ),
    Metric(
        "slot_f1",
        "F1 of the (slot, value) pairs of a JSON object",
        ("extraction",),
        best(slot_f1),
        graded=True,
        reads=slots,
        formed=holds_object,
    ),
    Metric(
        "rouge_l",
        "F1 of the longest common subsequence of words",
        _TEXTS,
        best(rouge_l),
        graded=True,
        reads=plain_words,
    ),
    Metric(
        "bleu",
        "BLEU of all rows together, by sacrebleu",
        ("generation",),
        translation.bleu_row,
        tally=translation.bleu_counts,
        pool=bleu,
        graded=True,
    ),
    Metric(
        "chrf",
        "chrF of all rows together, by sacrebleu",
        ("generation",),
        translation.chrf_row,
        tally=translation.chrf_counts,
        pool=chrf,
        graded=True,
    ),
    Metric(
        "judge",
        "the score that a second model gives under your rubric, in the mean over rows",
        ("generation", "qa", "extraction"),
        _never,
        graded=True,
        judged=True,
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def get_metric(name: str, labels: Sequence[str] = (), *, several: bool = False) -> Metric:
    """Look up a metric by its name.

    Parameters
    ----------
    name
        Its name in the task file.
    labels
        The labels in the order that the task declares, or in any order if they are numbers. A metric of ordered answers
        needs them unless the answers are numbers; with them, it scores a row by how close the answer is.
    several
        Whether an answer may name several of the labels.

    Raises
    ------
    TaskError
        If there is no such metric.
    """
    if name not in METRICS:
        raise TaskError(one_of("metric", name, list(METRICS), "Set `metric` in the task file to one of them."))
    metric, order = METRICS[name], tuple(labels)
    if several:
        tally, pool = label_sets.counts(name, order)
        row, reads = label_sets.row(name, order), partial(label_sets.read, labels=order)
        return replace(metric, row=row, reads=reads, over=None, weigh=None, tally=tally, pool=pool)
    if not (metric.ordered and order):
        return metric
    return replace(metric, row=closeness(order), reads=position(order), order=order)
