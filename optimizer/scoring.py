"""Scores of rows and of whole sets of them, with intervals and comparisons. The door to the table of `metrics`.

A prompt and a trained model are scored by the same functions here. A row that failed has no score: it is left
out, never counted as a zero. A row's score lies in [0, 1]; a metric of the whole set may reach down to -1, and is
reported as it is. Knows neither how an answer was come by nor what it cost. numpy is loaded only where an interval, a
comparison or a set-level metric is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from optimizer.errors import DataError
from optimizer.records import Comparison, Kind, Outcome
from optimizer.scores.metrics import METRICS, Metric, get_metric
from optimizer.scores.row_metrics import placed
from search_spaces.prompt import Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.intp]
    Floats = NDArray[np.float64]
    Over = Callable[[Codes, Codes], Floats]

EXACT = "exact McNemar test"  # of rows that are right or wrong, and nothing between

Grade = tuple[Kind, float | None, str]  # kind and score of an answer, and why it has none
Grader = Callable[[Sequence[tuple[Example, str | None]]], list[Grade]]  # rows and what was read as their answers

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
    "recall_of",
    "resampled",
    "score",
    "summarise",
    "weights",
]


def weights(metric: Metric, rows: Sequence[Example]) -> Floats:
    """How much each of these rows tells about the metric over all of them [rows]; 1 on average.

    A search that learns row by row sees the mean of the rows' scores. Weighted so, that mean moves with the metric
    of the whole set: see `set_metrics.balance`. All rows count alike for a metric that is itself a mean, and for a
    rank correlation, which to first order sums the rows' squared distances (Spearman 1904): there the rows' own
    scores say how near an answer came.
    """
    import numpy as np

    if metric.weigh is None or not rows:
        return np.ones(len(rows))
    numbers = _numbered([row.target for row in rows])
    return metric.weigh(np.array([numbers[row.target] for row in rows], dtype=np.intp))


# --- outcomes ---------------------------------------------------------------------------------------------


def score(metric: Metric, answer: str | None, example: Example) -> tuple[Kind, float]:
    """Score what was read out of one completion; None is an answer that could not be read.

    One that is not in the form that the metric compares could not be read either, such as a text without an object
    where an object is wanted.

    Raises
    ------
    DataError
        If the row has no accepted answer, or none that this metric can compare with.
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
    """What a metric says of an answer beside its score; nothing where it says nothing."""
    if metric.feedback is None or answer is None:
        return ""
    return metric.feedback(answer, example.targets, **({"inputs": dict(example.inputs)} if metric.inputs else {}))


def grader(metric: Metric) -> Grader:
    """Score rows by a metric that is computed."""
    return lambda rows: [(*score(metric, answer, example), "") for example, answer in rows]


def summarise(metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example]) -> float | None:
    """The metric over all rows that have a score; None if no row has.

    `examples` holds the rows by id.
    """
    scored = _scored(outcomes)
    if not scored:
        return None
    if metric.mean:
        return math.fsum(_scores(scored)) / len(scored)
    over, codes = _measured(metric, examples, scored)
    return float(over(*codes))


def interval(
    metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example], rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of `summarise`; all that the metric can be if no row has a score.

    The same outcomes have the same interval from the same `rng`, in whatever order they come.
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
    """Share of the rows of one label that were answered rightly, with its 95 % interval (Wilson's).

    None and (0, 1) if no row of the label has a score. `examples` holds the rows by id.
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
    """Compare two contenders on the rows that both have a score for.

    Parameters
    ----------
    metric
        What is compared; also decides the test, which the result names.
    a, b
        One outcome a row each, in any order.
    examples
        The rows by id.
    rng
        Draws resamples.
    names
        What the contenders are called.

    Returns
    -------
    Comparison
        `a` less `b`, with its 95 % interval. Without a shared row nothing is known: 0, any difference and p = 1.
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
    """The metric of contenders on the rows that all have a score for, and on resamples of these rows.

    Each resample is of the same rows for all contenders. Returns shapes [contenders] and [contenders, resamples].

    Raises
    ------
    ValueError
        If no row has a score from all.
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
    """Compare by a statistic of the whole set, of the right labels and both contenders' answers [n]."""
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
    """The outcomes that have a score, by id: no result depends on the order in which rows came in."""
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
    """The statistic of a whole set, and what it takes of the right labels and of each contender's answers [n].

    Of a statistic of sums the codes are numbers of rows in a table of counts; the right labels are in the counts.
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
    """Right labels [n], then each contender's answers [n], as numbers; those of ordered answers stand in order.

    What could not be read is -1, as is in an order what has no place there; a label that none of these rows has comes
    after those that they have. The contenders' outcomes are of the same rows in the same order. An accepted answer
    counts as the preferred one.
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
    """Number the right labels, then other answers that were given."""
    labels = {text for text in right if text is not None}
    others = {text for side in given for text in side if text is not None} - labels
    return {label: number for number, label in enumerate([*sorted(labels), *sorted(others)])}


def _ordered(order: Sequence[str], texts: Sequence[Sequence[str | None]]) -> dict[str, int]:
    """Number the answers in their order, equal ones alike: 2 and 2.0 are one. Labels keep their place among all."""
    place = placed(order)
    places = {
        text: value for text in {*order, *chain(*texts)} if text is not None and (value := place(text)) is not None
    }
    numbers = {value: number for number, value in enumerate(sorted(set(places.values())))}
    return {text: numbers[value] for text, value in places.items()}
