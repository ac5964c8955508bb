"""BLEU and chrF of texts: the score of one row, and the counts that are summed over a whole set. The door of sacrebleu.

sacrebleu splits texts and counts; `set_metrics` computes scores from sums of counts. It is an extra that most tasks do
not need, so it is imported only when a row is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from optimizer.errors import TaskError

SEEN = 50_000  # rows whose counts are cached: a search sums them again after every block


@cache
def _scorers() -> tuple[Any, Any]:
    """Make sacrebleu's BLEU (with effective order, for single rows) and chrF, otherwise with default settings."""
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise TaskError(
            "metrics bleu and chrf need the package sacrebleu, which is not installed. "
            'Run pip install "phrasetune[translation]", or choose another metric.'
        ) from None
    return BLEU(effective_order=True), CHRF()


@lru_cache(maxsize=SEEN)
def _bleu(answer: str, targets: tuple[str, ...]) -> Any:  # noqa: ANN401 - sacrebleu's score
    return _scorers()[0].sentence_score(answer, list(targets))


def bleu_row(answer: str, targets: Sequence[str]) -> float:
    """Return BLEU of one row in [0, 1], of the orders for which the answer is long enough."""
    return 1.0 if answer in targets else min(1.0, float(_bleu(answer, tuple(targets)).score) / 100)


def bleu_counts(answer: str, targets: Sequence[str]) -> tuple[float, ...]:
    """Return length, length of the nearest reference, hits of orders 1 to 4, and n-grams of orders 1 to 4 [10]."""
    found = _bleu(answer, tuple(targets))
    return (found.sys_len, found.ref_len, *found.counts, *found.totals)


def chrf_row(answer: str, targets: Sequence[str]) -> float:
    """Return chrF of one row in [0, 1], for the most similar accepted answer."""
    if answer in targets:
        return 1.0
    return min(1.0, float(_scorers()[1].sentence_score(answer, list(targets)).score) / 100)


@lru_cache(maxsize=SEEN)
def _chrf(answer: str, targets: tuple[str, ...]) -> tuple[float, ...]:
    # sacrebleu has no public function for these counts; a test compares the scores made from them with its own.
    ((*counts,),) = _scorers()[1]._extract_corpus_statistics([answer], [[target] for target in targets])  # noqa: SLF001
    return tuple(counts)


def chrf_counts(answer: str, targets: Sequence[str]) -> tuple[float, ...]:
    """Return the given, wanted and shared character n-grams for each of orders 1 to 6 [18]."""
    return _chrf(answer, tuple(targets))
