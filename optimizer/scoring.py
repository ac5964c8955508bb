"""Scores of rows and of whole sets, with intervals and comparisons. The door to `scores/`.

Prompts and trained models are scored by the same functions. A failed row has no score: it is left out, never counted as
zero. A row's score is in [0, 1]; a metric of the whole set may be as low as -1, and is reported as it is. Does not know
where an answer comes from or what it cost. numpy is imported only for an interval, a comparison or a metric of whole
sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from optimizer.errors import DataError
from optimizer.records import Comparison, Kind, Outcome
from optimizer.scores.metrics import METRICS, Metric, get_metric
from optimizer.scores.row_metrics import accuracy, placed
from search_spaces.prompt import Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.intp]
    Floats = NDArray[np.float64]
    Over = Callable[[Codes, Codes], Floats]

EXACT = "exact McNemar test"  # for rows that are right or wrong, with nothing in between

Grade = tuple[Kind, float | None, str]  # kind and score of an answer, and why it has no score
Grader = Callable[[Sequence[tuple[Example, str | None]]], list[Grade]]  # takes rows with their parsed answers

__all__ = [
    "EXACT",
    "METRICS",
    "Grade",
    "Grader",
    "Metric",
    "compare",
    "get_metric",
    "grader",
    "interval",
    "of_rows",
    "recall_of",
    "resampled",
    "score",
    "summarise",
    "weights",
]


def weights(metric: Metric, rows: Sequence[Example]) -> Floats:
    """Return how informative each row is about the metric of the whole set; shape [rows], mean 1.

    A search that learns row by row sees the mean of the rows' scores. With these weights, that mean moves with the
    metric of the whole set: see `set_metrics.balance`. All rows count equally for a metric that is itself a mean, and
    for a rank correlation, which to first order sums the rows' squared distances (Spearman 1904) and whose row scores
    say how close an answer is.
    """
    import numpy as np

    if metric.weigh is None or not rows:
        return np.ones(len(rows))
    numbers = _numbered([row.target for row in rows])
    return metric.weigh(np.array([numbers[row.target] for row in rows], dtype=np.intp))


# --- outcomes ---------------------------------------------------------------------------------------------


def score(metric: Metric, answer: str | None, example: Example) -> tuple[Kind, float]:
    """Score the answer parsed from one completion; None is an answer that could not be parsed.

    An answer that is not in the form that the metric compares counts as unparsed, too, such as a text without a JSON
    object if an object is expected.

    Raises
    ------
    DataError
        If the row has no accepted answer, or one that this metric cannot compare with.
    """
    if not example.targets:
        raise DataError(
            f"row {example.id!r} has no accepted answer; a scored row needs at least one. "
            "Fill its target column or leave the row out."
        )
    if answer is None:
        return Kind.UNPARSED, 0.0
    value = metric.row(answer, example.targets, **({"inputs": dict(example.inputs)} if metric.inputs else {}))
    if metric.formed and not metric.formed(answer):
        return Kind.UNPARSED, 0.0
    return (Kind.RIGHT if value == 1 else Kind.WRONG), value


def feedback(metric: Metric, answer: str | None, example: Example) -> str:
    """Return a metric's feedback on an answer; empty if it gives none."""
    if metric.feedback is None or answer is None:
        return ""
    return metric.feedback(answer, example.targets, **({"inputs": dict(example.inputs)} if metric.inputs else {}))


def grader(metric: Metric) -> Grader:
    """Return the function that grades rows by a computed metric."""
    return lambda rows: [(*score(metric, answer, example), "") for example, answer in rows]


def summarise(metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example]) -> float | None:
    """Return the metric over all rows that have a score; None if no row has one.

    `examples` has the rows by id.
    """
    scored = _scored(outcomes)
    if not scored:
        return None
    if metric.mean:
        return math.fsum(_scores(scored)) / len(scored)
    over, codes = _measured(metric, examples, scored)
    return float(over(*codes))


def of_rows(metric: Metric) -> str:
    """Name what the mean of the rows' scores is, if it is not the metric of the whole set; else an empty text."""
    if metric.mean:
        return ""
    return "accuracy" if metric.row is accuracy else "closeness" if metric.ordered else "the mean row score"


def interval(
    metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of `summarise`; the metric's whole range if no row has a score.

    The same outcomes and `rng` give the same interval, whatever the order of the outcomes.
    """
    from optimizer import stats

    scored = sorted(_scored(outcomes), key=lambda outcome: outcome.example_id)
    if not scored:
        return (metric.low, 1.0)
    if metric.mean:
        return stats.mean_interval(_scores(scored), rng)
    over, (truth, answers) = _measured(metric, examples, scored)
    return stats.statistic_interval(lambda rows: over(truth[rows], answers[rows]), len(scored), rng, low=metric.low)


def recall_of(
    label: str, outcomes: Sequence[Outcome], examples: Mapping[str, Example]
) -> tuple[float | None, tuple[float, float]]:
    """Return the share of the rows of one label that were answered correctly, with its 95 % interval (Wilson's).

    None and (0, 1) if no row of the label has a score. `examples` has the rows by id.
    """
    from optimizer import stats

    wanted = [(o, row) for o in _scored(outcomes) if (row := examples[o.example_id]).target == label]
    hits = sum(outcome.answer in row.targets for outcome, row in wanted)
    return (hits / len(wanted) if wanted else None, stats.wilson(hits, len(wanted)))


def compare(
    metric: Metric,
    a: Sequence[Outcome],
    b: Sequence[Outcome],
    examples: Mapping[str, Example],
    rng: np.random.Generator,
    names: tuple[str, str] = ("a", "b"),
) -> Comparison:
    """Compare two contenders on the rows on which both have a score.

    Parameters
    ----------
    metric
        The metric, which also determines the test that the result names.
    a, b
        The contenders' outcomes, one per row, in any order.
    examples
        The rows by id.
    rng
        Draws resamples.
    names
        The names of the contenders.

    Returns
    -------
    Comparison
        `a` minus `b`, with its 95 % interval. Without a shared row: difference 0, the widest interval, and p = 1.
    """
    first, second = _scored(a), _scored(b)
    shared = {outcome.example_id for outcome in first} & {outcome.example_id for outcome in second}
    first = [outcome for outcome in first if outcome.example_id in shared]
    second = [outcome for outcome in second if outcome.example_id in shared]
    if not shared:
        return Comparison(*names, 0.0, (metric.low - 1, 1 - metric.low), 1.0, "none: no row has a score from both")
    if metric.mean:
        return _compare_means(_scores(first), _scores(second), rng, names)
    return _compare_sets(metric, _measured(metric, examples, first, second), rng, names)


def resampled(
    metric: Metric,
    contenders: Sequence[Sequence[Outcome]],
    examples: Mapping[str, Example],
    rng: np.random.Generator,
    *,
    resamples: int,
) -> tuple[Floats, Floats]:
    """Return the metric of contenders on the rows on which all have a score, and on resamples of these rows.

    Each resample has the same rows for all contenders. Shapes: [contenders] and [contenders, resamples].

    Raises
    ------
    ValueError
        If no row has a score from all contenders.
    """
    import numpy as np

    from optimizer import stats

    every = [_scored(outcomes) for outcomes in contenders]
    shared = set.intersection(*({outcome.example_id for outcome in scored} for scored in every))
    if not shared:
        raise ValueError("no row has a score from all contenders")
    every = [[outcome for outcome in scored if outcome.example_id in shared] for scored in every]
    rows = [np.arange(len(shared))[None]]
    rows += [rng.integers(len(shared), size=(size, len(shared))) for size in stats.batches(resamples, len(shared))]
    if metric.mean:
        means = [np.array(_scores(scored)) for scored in every]
        values = np.array([np.concatenate([scores[batch].mean(axis=-1) for batch in rows]) for scores in means])
    else:
        over, (truth, *answers) = _measured(metric, examples, *every)
        values = np.array([np.concatenate([over(truth[batch], given[batch]) for batch in rows]) for given in answers])
    return values[:, 0], values[:, 1:]


def _compare_means(
    first: list[float], second: list[float], rng: np.random.Generator, names: tuple[str, str]
) -> Comparison:
    from optimizer import stats

    difference = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    limits = stats.paired_interval(first, second)
    if {*first, *second} <= {0.0, 1.0}:
        return Comparison(*names, difference, limits, stats.mcnemar(first, second), EXACT)
    p = stats.paired_permutation(first, second, rng)
    return Comparison(*names, difference, limits, p, "sign-flip permutation test")


def _compare_sets(
    metric: Metric,
    measured: tuple[Over, tuple[Codes, ...]],
    rng: np.random.Generator,
    names: tuple[str, str],
) -> Comparison:
    """Compare by a statistic of the whole set, given the correct labels and both contenders' answers [n]."""
    import numpy as np

    from optimizer import stats

    over, (truth, first, second) = measured
    (unequal,) = np.nonzero(first != second)

    def difference(rows: Codes) -> Floats:
        return over(truth[rows], first[rows]) - over(truth[rows], second[rows])

    def swapped_difference(swapped: NDArray[np.bool_]) -> Floats:
        rows = np.zeros((*swapped.shape[:-1], len(truth)), dtype=np.bool_)
        rows[..., unequal] = swapped
        return over(truth, np.where(rows, second, first)) - over(truth, np.where(rows, first, second))

    limits = stats.paired_statistic_interval(difference, len(truth), rng, most=1 - metric.low)
    p = stats.swap_permutation(swapped_difference, len(unequal), rng, resamples=stats.RESAMPLES)
    observed = float(difference(np.arange(len(truth))))
    return Comparison(*names, observed, limits, p, "answer-swap permutation test")


def _scored(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes that have a score, sorted by id, so that no result depends on their order."""
    scored = sorted((o for o in outcomes if o.score is not None), key=lambda outcome: outcome.example_id)
    for outcome, following in pairwise(scored):
        if outcome.example_id == following.example_id:
            raise ValueError(f"two outcomes for row {outcome.example_id!r}; a contender answers a row once")
    return scored


def _scores(scored: Sequence[Outcome]) -> list[float]:
    return [outcome.score for outcome in scored if outcome.score is not None]


def _measured(
    metric: Metric, examples: Mapping[str, Example], *contenders: Sequence[Outcome]
) -> tuple[Over, tuple[Codes, ...]]:
    """Return the statistic of a whole set, and its arguments: the correct labels and each contender's answers [n].

    For a statistic of sums, the answers are indices into a table of counts, which already include the correct labels.
    """
    import numpy as np

    tally, pool = metric.tally, metric.pool
    if pool is None or tally is None:
        assert metric.over is not None
        return metric.over, _codes(metric, examples, *contenders)
    numbers: dict[tuple[float, ...], int] = {}
    sides = [
        [numbers.setdefault(tally(o.answer or "", examples[o.example_id].targets), len(numbers)) for o in outcomes]
        for outcomes in contenders
    ]
    columns = np.array(list(numbers), dtype=np.float64).T

    def over(_: Codes, answers: Codes) -> Floats:
        return pool(np.stack([column[answers].sum(axis=-1) for column in columns], axis=-1))

    truth = np.zeros(len(sides[0]), dtype=np.intp)
    return over, (truth, *(np.array(side, dtype=np.intp) for side in sides))


def _codes(metric: Metric, examples: Mapping[str, Example], *contenders: Sequence[Outcome]) -> tuple[Codes, ...]:
    """Return the correct labels [n], then each contender's answers [n], as numbers; in order for an ordered metric.

    Unparsed answers are -1, as are answers without a place in the order; labels that none of these rows has come after
    those that they have. The contenders' outcomes must be of the same rows in the same order. Any accepted answer is
    replaced by the preferred one.
    """
    import numpy as np

    rows = [examples[outcome.example_id] for outcome in contenders[0]]
    texts: list[list[str | None]] = [[row.target for row in rows]]
    for outcomes in contenders:
        answered = zip(outcomes, rows, strict=True)
        texts.append([row.target if outcome.answer in row.targets else outcome.answer for outcome, row in answered])
    numbers = _ordered(metric.order, texts) if metric.ordered else _numbered(*texts)
    codes = [[-1 if text is None else numbers.get(text, -1) for text in side] for side in texts]
    return tuple(np.array(side, dtype=np.intp) for side in codes)


def _numbered(right: Sequence[str | None], *given: Sequence[str | None]) -> dict[str, int]:
    """Number the correct labels, then the other answers that were given."""
    labels = {text for text in right if text is not None}
    others = {text for side in given for text in side if text is not None} - labels
    return {label: number for number, label in enumerate([*sorted(labels), *sorted(others)])}


def _ordered(order: Sequence[str], texts: Sequence[Sequence[str | None]]) -> dict[str, int]:
    """Number answers in order, with equal values such as 2 and 2.0 as one; all labels of `order` are counted."""
    place = placed(order)
    places = {
        text: value for text in {*order, *chain(*texts)} if text is not None and (value := place(text)) is not None
    }
    numbers = {value: number for number, value in enumerate(sorted(set(places.values())))}
    return {text: numbers[value] for text, value in places.items()}
