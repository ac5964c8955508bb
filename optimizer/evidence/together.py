"""More ways to combine prompt and baseline: distillation, hints and picked demos.

The prompt labels unlabelled rows, on which the baseline is also trained (distillation); or the baseline's guess is
added to each input of the prompt (hint); or the baseline picks the demos for each input. Buys nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optimizer.baseline import Budget, Floats, Lesson, Refit, Rival
from optimizer.contenders import DISTILLED, HINTED, PICKED, RIVAL, TUNED, on_both
from optimizer.records import Comparison, Dataset, Outcome, Verdict
from optimizer.scoring import Metric
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Chooser, Value

FOLDS = 5  # folds of the training rows: each is guessed by a baseline trained on the other four
SHOWN = 4  # demos picked for a prompt without demos: enough for the likeliest answer and its rivals
BATCH = 256  # texts compared with all training rows at a time: with ten thousand rows, that takes 20 MB


# --- distillation -----------------------------------------------------------------------------------------


def labelled(rows: Sequence[Example], answers: Sequence[str | None], labels: Sequence[str]) -> list[Example]:
    """Return the rows with a prompt's answers [n] as targets, without rows whose answer is missing or not a label.

    `labels` is the closed list of answers; empty for open ones.
    """
    pairs = zip(rows, answers, strict=True)
    return [replace(row, targets=(answer,)) for row, answer in pairs if answer and (not labels or answer in labels)]


def distil(
    rival: Rival,
    data: Dataset,
    more: Sequence[Example],
    metric: Metric,
    several: Sequence[str],
    seed: int,
) -> Rival:
    """Train a baseline on the training rows and on rows that a prompt has labelled, with the same hyperparameters.

    Parameters
    ----------
    rival
        The baseline trained on the training rows; it must have `retrain`.
    data
        The training rows, and the dev rows on which the last epoch is chosen.
    more
        The rows that the prompt has labelled.
    metric
        The metric.
    several
        The closed list, if an answer may name several of its labels.
    seed
        Seed of the training.
    """

    def same(objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int) -> dict[str, Value]:  # noqa: ARG001
        return dict(rival.trained.params)

    assert rival.retrain is not None
    labelled = bool(rival.trained.curve)
    return rival.retrain(Lesson([*data.train, *more], data.dev, metric, same, labelled, Budget(seed=seed), several))


# --- hint -------------------------------------------------------------------------------------------------


def guesses(refit: Refit, rows: Sequence[Example], seed: int) -> dict[str, str]:
    """Return out-of-fold guesses of the baseline on training rows, by cross-fitting: example id -> answer.

    A baseline's guess on a row that it was trained on is nearly always right, and would teach the prompt to copy it.
    """
    fold = np.random.default_rng(seed).permutation(len(rows)) % min(FOLDS, len(rows))
    guessed: dict[str, str] = {}
    for number in np.unique(fold):
        answers = refit([int(row) for row in np.nonzero(fold != number)[0]])
        guessed |= {rows[int(row)].id: answers[int(row)] for row in np.nonzero(fold == number)[0]}
    return guessed


def hinted(prompt: Prompt, guessed: Mapping[str, str], right: float) -> Prompt:
    """Return a prompt with the baseline's guess as a further input, also of its demos, and a sentence on its accuracy.

    Parameters
    ----------
    prompt
        The prompt.
    guessed
        Demo id -> the guess of a baseline that was not trained on the row.
    right
        Share of the dev rows that the baseline guesses correctly.
    """
    name = hint_name(prompt.inputs)
    worth = f"The {name} is a simple classifier's, right for {100 * right:.0f} of 100 inputs; weigh it yourself."
    demos = tuple(with_hint([demo], [guessed[demo.id]], name)[0] for demo in prompt.demos)
    instruction = f"{prompt.instruction} {worth}".strip()
    return replace(prompt, inputs=(*prompt.inputs, name), demos=demos, instruction=instruction)


def hint_name(inputs: Sequence[str]) -> str:
    """Return a name for the guess that differs from those of the inputs."""
    return next(name for name in ("guess", "classifier guess", "guess of the classifier") if name not in inputs)


def with_hint(rows: Sequence[Example], answers: Sequence[str], name: str) -> list[Example]:
    """Return rows [n] with guesses [n] as a further input."""
    pairs = zip(rows, answers, strict=True)
    return [replace(row, inputs=(*row.inputs, (name, answer))) for row, answer in pairs]


# --- demos ------------------------------------------------------------------------------------------------


def picked(prompt: Prompt, rival: Rival, pool: Sequence[Example], rows: Sequence[Example]) -> list[Prompt]:
    """Return a prompt for each row, with demos that the baseline picks for it, as many as the prompt has.

    Each answer gets demos in proportion to its probability according to the baseline, by D'Hondt's method of highest
    averages: the next demo goes to the answer with the largest probability / (demos it has + 1). So a confident
    baseline shows examples of its guess, and an unsure one shows what the row may be confused with. For each answer,
    the training rows most similar to the row are taken. If answers are open, similarity replaces probability.

    Parameters
    ----------
    prompt
        The prompt; one without demos gets SHOWN.
    rival
        A baseline with features.
    pool
        The training rows.
    rows
        The rows to answer.
    """
    k = prompt.nearest or len(prompt.demos) or SHOWN
    _, answers = np.unique([row.target for row in pool], return_inverse=True)
    found = []
    for near, likely in _compared(rival, pool, rows):
        shown = [pool[position] for position in seated(near, likely, answers, k)]
        demos = tuple(shown[::-1] if prompt.nearest_last else shown)
        found.append(replace(prompt, demos=demos, nearest=0))
    return found


def seated(near: Floats, likely: Floats, answers: NDArray[np.intp], k: int) -> list[int]:
    """Return the indices of the `k` rows that are picked, in the order of picking; all, if there are fewer.

    `near` is the similarity of each row, `likely` the probability of its answer, and `answers` the number of its
    answer, all of shape (m,).
    """
    order = np.argsort(-near, kind="stable")
    ranked = answers[order]
    _, first, size = np.unique(ranked, return_index=True, return_counts=True)
    chance, taken, seats = likely[order[first]], np.zeros(len(size), dtype=np.intp), list[int]()
    while len(seats) < min(k, len(order)):
        answer = int(np.argmax(np.where(taken < size, chance / (taken + 1), -1.0)))
        seats.append(int(order[np.flatnonzero(ranked == answer)[taken[answer]]]))
        taken[answer] += 1
    return seats


def _compared(rival: Rival, pool: Sequence[Example], rows: Sequence[Example]) -> Iterator[tuple[Floats, Floats]]:
    """Yield, for each row, its similarity to the training rows and the probability of their answers, both (m,)."""
    assert rival.kin is not None
    for start in range(0, len(rows), BATCH):
        texts = [row.text for row in rows[start : start + BATCH]]
        yield from zip(*rival.kin(pool, texts), strict=True)


def after(asked: Sequence[Outcome], first: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Return outcomes of a prompt that needs the baseline's answers first, with the cost and time of both."""
    pairs = zip(asked, first, strict=True)
    return tuple(replace(a, cost=a.cost + b.cost, seconds=a.seconds + b.seconds) for a, b in pairs)


# --- in words ---------------------------------------------------------------------------------------------


def sentence(verdict: Verdict, prompt: str) -> str:
    """Return sentences on what each combination gains over the prompt or baseline that it extends."""
    scores = {c.name: c.score for c in verdict.contenders}
    versus = {(c.a, c.b): c for c in verdict.comparisons}
    said = []
    for name, against in ((DISTILLED, RIVAL), (HINTED, prompt), (PICKED, prompt), (TUNED, RIVAL)):
        if found := versus.get((name, against)):
            where = on_both(verdict.contenders, name, against)
            said.append(
                f"The {name} scores {100 * scores[name]:.1f} %: {_figures(found)} against the {against}{where}."
            )
    return " ".join(said)


def _figures(found: Comparison) -> str:
    low, high = (100 * limit for limit in found.interval)
    return f"{100 * found.difference:+z.1f} points (95 % interval {low:+.1f} to {high:+.1f}, p = {found.p_value:.2g})"


def share_right(outcomes: Sequence[Outcome]) -> float:
    """Return the mean score of rows; rows without a score count as 0."""
    return float(np.mean([outcome.score or 0.0 for outcome in outcomes]))
