"""Metrics of whole sets of answers, for many sets at once, and the weight of each row in them.

Codes in, numbers out: the correct labels `truth` [..., m] as numbers from 0, the `answers` [..., m] as the same
numbers, with -1 for any other answer or none; one value for each [...]. Some take sums of counts instead. Knows no
text, label or outcome. numpy is imported when a function is called, so that listing the metrics does not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = NDArray[np.intp]
    Floats = NDArray[np.float64]


def macro_f1(truth: Codes, answers: Codes) -> Floats:
    """Return the mean F1 of the labels that occur in `truth`, in [0, 1]; an answer of -1 is a miss of its row's label.

    An answer with a label that occurs in no row of the set is wrong for its row, but adds no label to the mean.
    """
    import numpy as np

    truth, answers = np.broadcast_arrays(truth, answers)
    width = _width(truth, answers)
    wanted, given = _tally(truth, width), _tally(answers, width)
    hit = _tally(np.where(truth == answers, truth, -1), width)
    f1 = 2 * hit / np.maximum(1, wanted + given)
    mean: Floats = f1.sum(axis=-1) / (wanted > 0).sum(axis=-1)
    return mean


def mcc(truth: Codes, answers: Codes) -> Floats:
    """Return the multiclass Matthews correlation, in [-1, 1]: Gorodkin (2004), eq. 8; answers of -1 are a class, too.

    If all rows or all answers are of one class, it is 0/0; the result is then 1 if every answer is correct, else 0.
    """
    import numpy as np

    truth, answers = np.broadcast_arrays(truth, answers)
    width, m = _width(truth, answers), float(truth.shape[-1])
    wanted, given = _tally(truth, width).astype(float), _tally(answers, width).astype(float)
    hits = (truth == answers).sum(axis=-1)
    together = m * hits - (wanted * given).sum(axis=-1)
    other = m - given.sum(axis=-1)
    apart = (m**2 - (wanted**2).sum(axis=-1)) * (m**2 - (given**2).sum(axis=-1) - other**2)
    return _ratio(together, np.sqrt(np.maximum(apart, 0.0)), hits == m)


def spearman(truth: Codes, answers: Codes) -> Floats:
    """Return the rank correlation, in [-1, 1]: Spearman (1904), with mean ranks for ties. Codes must be in order.

    An answer of -1 counts as a random one, which correlates neither positively nor negatively: the correlation of the
    other rows is multiplied by their share. If all rows or all answers are equal, the result is 1 if every answer is
    correct, else 0.
    """
    import numpy as np

    truth, answers = np.broadcast_arrays(truth, answers)
    given, width = answers >= 0, _width(truth, answers)
    x, y = _ranks(np.where(given, truth, -1), width), _ranks(answers, width)
    together = (x * y).sum(axis=-1)
    apart = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    share: Floats = given.mean(axis=-1)
    return share * _ratio(together, apart, (~given | (truth == answers)).all(axis=-1))


def kappa(truth: Codes, answers: Codes) -> Floats:
    """Return Cohen's kappa with quadratic weights, in [-1, 1]: Cohen (1968), eq. 7; codes are places in the order.

    With these weights it is 1 - sum (t - a)^2 / (sum over all pairs of rows (t_i - a_j)^2 / n), which needs only means
    and variances. An answer of -1 counts as a random one, as in `spearman`. If all rows and all answers have one label,
    the result is 1.
    """
    import numpy as np

    truth, answers = np.broadcast_arrays(truth, answers)
    given = answers >= 0
    share: Floats = given.mean(axis=-1)
    n = np.maximum(1, given.sum(axis=-1))

    def mean(values: Floats | Codes) -> Floats:
        means: Floats = np.where(given, values, 0).sum(axis=-1) / n
        return means

    observed = mean((truth - answers) ** 2)
    # The mean over all pairs is E t^2 + E a^2 - 2 E t E a.
    expected = mean(truth**2) + mean(answers**2) - 2 * mean(truth) * mean(answers)
    return share * _ratio(expected - observed, expected, observed == 0)


def balance(truth: Codes) -> Floats:
    """Return how informative each row is about macro-F1 and MCC, from its label in `truth` [m]; shape [m], mean 1.

    A row's weight is 1 / sqrt(rows of its label). To first order, a correct answer changes either metric by an amount
    proportional to 1 / (rows of its label) if answers are no better than chance, and by the same for all rows if they
    are perfect (then a correct answer for a rare label also avoids a false positive of a common one). The weight is the
    geometric mean of the two. On simulated prompts with labels of 90 and 10 %, the weighted share of correct answers
    has a correlation of 0.99 with macro-F1 (0.92 with 1 / rows of the label, 0.88 without weights), and of 0.97 with
    MCC (0.91, 0.87).
    """
    import numpy as np

    weights = 1 / np.sqrt(np.bincount(truth)[truth])
    mean_one: Floats = weights / weights.mean()
    return mean_one


# --- of sums ----------------------------------------------------------------------------------------------
# Counts summed over the rows of a set [..., k] in; one value for each [...].


def micro(counts: Floats) -> Floats:
    """Return the F1 of (hits, given, wanted) [..., 3]; 1 if nothing is given or wanted."""
    hits, given, wanted = counts[..., 0], counts[..., 1], counts[..., 2]
    return _ratio(2 * hits, given + wanted, given + wanted == 0)


def macro(counts: Floats) -> Floats:
    """Return the mean F1 of the labels wanted in any row, from (hits, given, wanted) of each label [..., 3 labels]."""
    import numpy as np

    hits, given, wanted = counts[..., 0::3], counts[..., 1::3], counts[..., 2::3]
    f1 = 2 * hits / np.maximum(1, given + wanted) * (wanted > 0)
    mean: Floats = f1.sum(axis=-1) / np.maximum(1, (wanted > 0).sum(axis=-1))
    return mean


def bleu(counts: Floats) -> Floats:
    """Return BLEU in [0, 1] from length, reference length, and hits and n-grams of orders 1 to 4 [..., 10].

    Papineni et al. (2002), with the exponential smoothing of orders without a hit that sacrebleu uses (Chen and
    Cherry 2014, method 3).
    """
    import numpy as np

    length, wanted, hits, grams = counts[..., 0], counts[..., 1], counts[..., 2:6], counts[..., 6:10]
    halved = 0.5 ** np.cumsum(hits == 0, axis=-1)  # for each order without a hit, so far
    precisions = np.where(hits > 0, hits, halved) / np.maximum(1, grams)
    brevity = np.exp(np.minimum(0, 1 - wanted / np.maximum(1, length)))
    score: Floats = brevity * np.exp(np.log(precisions).mean(axis=-1))
    return np.where((hits[..., 0] > 0) & (grams > 0).all(axis=-1), np.minimum(1.0, score), 0.0)


def chrf(counts: Floats) -> Floats:
    """Return chrF2 in [0, 1] from given, wanted and shared character n-grams of orders 1 to 6 [..., 18].

    Popović (2015). As in sacrebleu, orders for which the answers or the references are too short are left out.
    """
    import numpy as np

    given, wanted, shared = counts[..., 0::3], counts[..., 1::3], counts[..., 2::3]
    able = (given > 0) & (wanted > 0)
    orders = np.maximum(1, able.sum(axis=-1))
    precision = (able * shared / np.maximum(1, given)).sum(axis=-1) / orders
    recall = (able * shared / np.maximum(1, wanted)).sum(axis=-1) / orders
    return _ratio(5 * precision * recall, 4 * precision + recall, np.zeros(precision.shape, dtype=np.bool_))


def _width(truth: Codes, answers: Codes) -> int:
    return int(max(truth.max(), answers.max())) + 1


def _tally(codes: Codes, width: int) -> Codes:
    """Count how often each of 0..width-1 occurs: [..., m] -> [..., width]."""
    import numpy as np

    sets = codes.reshape(-1, codes.shape[-1])
    # One bincount for all sets: each set has its own range of numbers, the first of which is for -1.
    shifted = sets + 1 + (width + 1) * np.arange(len(sets))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=len(sets) * (width + 1))
    return counts.reshape(*codes.shape[:-1], width + 1)[..., 1:]


def _ranks(codes: Codes, width: int) -> Floats:
    """Return the ranks of codes (mean ranks for ties) minus the mean rank [..., m]; 0 for -1, which has no rank."""
    import numpy as np

    counts = _tally(codes, width)
    middle = counts.cumsum(axis=-1) - (counts - 1) / 2  # the mean rank of each code, counted from 1
    ranked = counts.sum(axis=-1, keepdims=True)
    centred: Floats = np.take_along_axis(middle, codes, axis=-1) - (ranked + 1) / 2
    return np.where(codes < 0, 0.0, centred)


def _ratio(above: Floats, below: Floats, perfect: NDArray[np.bool_]) -> Floats:
    """Divide; 0/0 is 1 where `perfect`, else 0. The result is clipped to [-1, 1]."""
    import numpy as np

    ratio: Floats = np.where(below > 0, above / np.where(below > 0, below, 1.0), perfect * 1.0)
    return np.clip(ratio, -1.0, 1.0)
