"""(answer, accepted answers) -> score in [0, 1]; metrics per row and over the whole set.

A prompt and a trained model are scored by the same functions here. A row that failed has no score: it is left
out, never counted as a zero. Knows neither how an answer was come by nor what it cost. numpy is loaded only
where an interval, a comparison or a set-level metric is asked for.
"""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from optimizer.errors import DataError, TaskError, one_of
from optimizer.records import Comparison, Kind, Outcome
from search_spaces.prompt import Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.intp]
    Floats = NDArray[np.float64]

Row = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """How answers are scored.

    Parameters
    ----------
    name, description
        As a task file names it, and what it says in one line.
    kinds
        The kinds of task that it suits.
    row
        (answer, accepted answers) -> score of one row in [0, 1].
    over
        The statistic of a whole set; None for the mean of the rows' scores. Takes the right labels [..., m] as
        numbers from 0 and the answers [..., m] as the same numbers, -1 for any other answer or none; returns
        one value in [0, 1] for each [...].
    """

    name: str
    description: str
    kinds: tuple[str, ...]
    row: Row
    over: Callable[[Codes, Codes], Floats] | None = None


# --- one row ----------------------------------------------------------------------------------------------


def _best(similarity: Callable[[str, str], float]) -> Row:
    """Score an answer by the accepted answer that it is nearest to."""

    def row(answer: str, targets: Sequence[str]) -> float:
        return max(similarity(answer, target) for target in targets)

    return row


def _accuracy(answer: str, targets: Sequence[str]) -> float:
    return float(answer in targets)


def _exact_match(answer: str, target: str) -> float:
    return float(_words(answer) == _words(target))


def _token_f1(answer: str, target: str) -> float:
    return _overlap(Counter(_words(answer)), Counter(_words(target)))


def _slot_f1(answer: str, target: str) -> float:
    wanted = _slots(target)
    if wanted is None:
        raise DataError(
            f"accepted answer {target[:80]!r} holds no JSON object; slot_f1 compares objects such as "
            '{"city": "Paris"}. Write the target column so, or choose another metric.'
        )
    found = _slots(answer)
    return 0.0 if found is None else _overlap(found, wanted)


def _rouge_l(answer: str, target: str) -> float:
    """ROUGE-L: Lin (2004), eqs. 2-4 with beta = 1, on words of letters and digits, without stemming."""
    a, b = (re.findall(r"[^\W_]+", text.casefold()) or text.split() for text in (answer, target))
    return 2 * _common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def _overlap(found: Counter[Any], wanted: Counter[Any]) -> float:
    """F1 of two bags; two empty ones agree."""
    total = found.total() + wanted.total()
    return 2 * (found & wanted).total() / total if total else 1.0


_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")
_ARTICLES = {"a", "an", "the"}


@lru_cache(maxsize=8192)  # the accepted answers come again with every prompt
def _words(text: str) -> tuple[str, ...]:
    """Words of an answer as SQuAD compares them (Rajpurkar et al. 2016): no case, punctuation or articles.

    We differ where that takes two answers for one. Signs and marks between digits stay, so "-1.5" is not "15";
    "1,000.0" is "1000". What would leave nothing stays: "(A)" is "a", and "?" is not "!".
    """
    text = unicodedata.normalize("NFC", text.casefold()).translate(_DASHES)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)  # thousands
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)  # .5
    text = re.sub(r"(?<![\d.])(\d+)\.(\d+)(?!\.?\d)", _shortest, text)  # 5.00, but no version 1.10.2
    text = "".join(c for c in text if unicodedata.category(c) != "Sc")
    before, after = f" {text}", f"{text[1:]} "
    bare = "".join(c for p, c, n in zip(before, text, after, strict=False) if not _is_mark(c) or _in_number(p, c, n))
    words = tuple(bare.split())
    return tuple(word for word in words if word not in _ARTICLES) or words or tuple(text.split())


def _shortest(number: re.Match[str]) -> str:
    return f"{number[1]}.{number[2].rstrip('0')}".rstrip(".")


def _is_mark(c: str) -> bool:
    return c in string.punctuation or unicodedata.category(c).startswith("P")


def _in_number(before: str, mark: str, after: str) -> bool:
    return after.isdigit() and (before.isdigit() or (mark == "-" and not before.isalnum()))


def _slots(text: str) -> Counter[tuple[str, str]] | None:
    """The (slot, value) pairs of the first JSON object in a text; None if there is none."""
    decoder = json.JSONDecoder()
    for brace in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, brace.start())
            return Counter(_pairs("", value))
        except RecursionError:  # nested a thousand deep: no answer, and each brace in it would cost as much again
            return None
        except ValueError:
            continue
    return None


def _pairs(slot: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever JSON holds
    """One pair a value; null and empty texts say, as an absent slot does, that there is no value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _pairs(f"{slot}.{name}" if slot else name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(slot, inner)
    elif value is not None:
        words = _words(value if isinstance(value, str) else json.dumps(value))
        if words:
            yield slot, " ".join(words)


def _common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as bits: Hyyrö (2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(a)) - 1
    row = every
    for word in b:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(a) - row.bit_count()


# --- the whole set ----------------------------------------------------------------------------------------


def _macro_f1(truth: Codes, answers: Codes) -> Floats:
    """Mean F1 of the labels that occur in `truth` [..., m]; an answer of -1 is a miss of its row's label.

    An answer that is no right label of any row here costs its own row, but adds no label to the mean.
    """
    import numpy as np

    truth, answers = np.broadcast_arrays(truth, answers)
    width = int(max(truth.max(), answers.max())) + 1
    wanted, given = _tally(truth, width), _tally(answers, width)
    hit = _tally(np.where(truth == answers, truth, -1), width)
    f1 = 2 * hit / np.maximum(1, wanted + given)
    mean: Floats = f1.sum(axis=-1) / (wanted > 0).sum(axis=-1)
    return mean


def _tally(codes: Codes, width: int) -> Codes:
    """How often each of 0..width-1 occurs: [..., m] -> [..., width]."""
    import numpy as np

    sets = codes.reshape(-1, codes.shape[-1])
    # One count for all sets: each has its own range of numbers, the first of them for -1.
    shifted = sets + 1 + (width + 1) * np.arange(len(sets))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=len(sets) * (width + 1))
    return counts.reshape(*codes.shape[:-1], width + 1)[..., 1:]


_ALL = (
    Metric("accuracy", "share of rows with the right label", ("classification",), _accuracy),
    Metric("macro_f1", "F1 of each label, averaged over the labels", ("classification",), _accuracy, _macro_f1),
    Metric(
        "exact_match",
        "share of rows whose answer equals an accepted one, but for case, punctuation and articles",
        ("qa", "extraction", "generation"),
        _best(_exact_match),
    ),
    Metric("token_f1", "F1 of the words shared with an accepted answer", ("qa", "generation"), _best(_token_f1)),
    Metric("slot_f1", "F1 of the (slot, value) pairs of a JSON object", ("extraction",), _best(_slot_f1)),
    Metric("rouge_l", "F1 of the longest common subsequence of words", ("generation", "qa"), _best(_rouge_l)),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def get_metric(name: str) -> Metric:
    """Look a metric up by its name.

    Raises
    ------
    TaskError
        If there is no such metric.
    """
    if name not in METRICS:
        raise TaskError(one_of("metric", name, list(METRICS), "Set `metric` in the task file to one of them."))
    return METRICS[name]


# --- outcomes ---------------------------------------------------------------------------------------------


def score(metric: Metric, answer: str | None, example: Example) -> tuple[Kind, float]:
    """Score what was read out of one completion; None is an answer that could not be read.

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
    value = metric.row(answer, example.targets)
    return (Kind.RIGHT if value == 1 else Kind.WRONG), value


def summarise(metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example]) -> float | None:
    """The metric over all rows that have a score; None if no row has.

    `examples` holds the rows by id.
    """
    scored = _scored(outcomes)
    if not scored:
        return None
    if metric.over is None:
        return math.fsum(_scores(scored)) / len(scored)
    return float(metric.over(*_codes(scored, examples)))


def interval(
    metric: Metric, outcomes: Sequence[Outcome], examples: Mapping[str, Example], rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of `summarise`; (0, 1) if no row has a score."""
    from optimizer import stats

    scored, over = _scored(outcomes), metric.over
    if over is None or not scored:
        return stats.mean_interval(_scores(scored), rng)
    truth, answers = _codes(scored, examples)
    return stats.statistic_interval(lambda rows: over(truth[rows], answers[rows]), len(scored), rng)


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
        `a` less `b`, with its 95 % interval. Without a shared row nothing is known: 0, (-1, 1) and p = 1.
    """
    first, second = _scored(a), _scored(b)
    shared = {outcome.example_id for outcome in first} & {outcome.example_id for outcome in second}
    first = [outcome for outcome in first if outcome.example_id in shared]
    second = [outcome for outcome in second if outcome.example_id in shared]
    if not shared:
        return Comparison(*names, 0.0, (-1.0, 1.0), 1.0, "none: no row has a score from both")
    if metric.over is None:
        return _compare_means(_scores(first), _scores(second), rng, names)
    truth, answers = _codes(first, examples)
    _, others = _codes(second, examples)
    return _compare_sets(metric.over, (truth, answers, others), rng, names)


def _compare_means(
    first: list[float], second: list[float], rng: np.random.Generator, names: tuple[str, str]
) -> Comparison:
    from optimizer import stats

    difference = math.fsum(first) / len(first) - math.fsum(second) / len(second)
    limits = stats.paired_interval(first, second)
    if {*first, *second} <= {0.0, 1.0}:
        return Comparison(*names, difference, limits, stats.mcnemar(first, second), "exact McNemar test")
    p = stats.paired_permutation(first, second, rng)
    return Comparison(*names, difference, limits, p, "sign-flip permutation test")


def _compare_sets(
    over: Callable[[Codes, Codes], Floats],
    codes: tuple[Codes, Codes, Codes],
    rng: np.random.Generator,
    names: tuple[str, str],
) -> Comparison:
    """Compare by a statistic of the whole set; `codes` are the right labels and both contenders' answers [n]."""
    import numpy as np

    from optimizer import stats

    truth, first, second = codes
    (unequal,) = np.nonzero(first != second)

    def difference(rows: Codes) -> Floats:
        return over(truth[rows], first[rows]) - over(truth[rows], second[rows])

    def swapped_difference(swapped: NDArray[np.bool_]) -> Floats:
        rows = np.zeros((*swapped.shape[:-1], len(truth)), dtype=np.bool_)
        rows[..., unequal] = swapped
        return over(truth, np.where(rows, second, first)) - over(truth, np.where(rows, first, second))

    limits = stats.paired_statistic_interval(difference, len(truth), rng)
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


def _codes(scored: Sequence[Outcome], examples: Mapping[str, Example]) -> tuple[Codes, Codes]:
    """Right labels and answers [n] as numbers; an accepted answer counts as the preferred one."""
    import numpy as np

    rows = [examples[outcome.example_id] for outcome in scored]
    numbers = {label: number for number, label in enumerate(sorted({row.target for row in rows}))}
    answers = [
        row.target if outcome.answer in row.targets else outcome.answer
        for outcome, row in zip(scored, rows, strict=True)
    ]
    return (
        np.array([numbers[row.target] for row in rows], dtype=np.intp),
        np.array([numbers.get(answer, -1) if answer is not None else -1 for answer in answers], dtype=np.intp),
    )
