"""Two more ways to use prompt and baseline together: one teaches the other, or one whispers to the other.

The prompt labels rows that nobody has labelled, and the baseline learns from them too (distillation); or the baseline's
guess stands beside each input of the prompt (hint). Buys nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from optimizer import linear
from optimizer.baseline import Budget, Lesson, Refit, Rival
from optimizer.contenders import DISTILLED, HINTED, RIVAL
from optimizer.records import Comparison, Dataset, Outcome, Verdict
from optimizer.scoring import Metric
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Chooser, Value

FOLDS = 5  # of the training rows: each is guessed by a baseline that has read four fifths of them


# --- distillation -----------------------------------------------------------------------------------------


def labelled(rows: Sequence[Example], answers: Sequence[str | None], labels: Sequence[str]) -> list[Example]:
    """The rows with a prompt's answers [n] as targets; those without an answer, or with no label as one, are left out.

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
    """Train the linear baseline on the training rows and on more that a prompt has labelled; its hyperparameters stay.

    Parameters
    ----------
    rival
        The baseline as trained on the training rows.
    data
        Training rows, and dev rows on which the last epoch is chosen.
    more
        The rows that the prompt has labelled.
    metric
        The objective.
    several
        The closed list, if an answer may name several of its labels.
    seed
        Of the training.
    """

    def same(objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int) -> dict[str, Value]:  # noqa: ARG001
        return dict(rival.trained.params)

    labelled = bool(rival.trained.params)
    return linear.train(Lesson([*data.train, *more], data.dev, metric, same, labelled, Budget(seed=seed), several))


# --- hint -------------------------------------------------------------------------------------------------


def guesses(refit: Refit, rows: Sequence[Example], seed: int) -> dict[str, str]:
    """What baselines guess of training rows that they have not read: example id -> answer, by cross-fitting.

    A baseline's guess of a row that it has learned is nearly always right, and would teach the prompt to copy it.
    """
    fold = np.random.default_rng(seed).permutation(len(rows)) % min(FOLDS, len(rows))
    guessed: dict[str, str] = {}
    for number in np.unique(fold):
        answers = refit([int(row) for row in np.nonzero(fold != number)[0]])
        guessed |= {rows[int(row)].id: answers[int(row)] for row in np.nonzero(fold == number)[0]}
    return guessed


def hinted(prompt: Prompt, guessed: Mapping[str, str], right: float) -> Prompt:
    """A prompt with the baseline's guess beside each input, of its demos too, and a line that says what it is worth.

    Parameters
    ----------
    prompt
        The prompt.
    guessed
        Demo id -> the guess of a baseline that has not read the row.
    right
        Share of the dev rows that the baseline guesses rightly.
    """
    name = hint_name(prompt.inputs)
    worth = f"The {name} is a simple classifier's, right for {100 * right:.0f} of 100 inputs; weigh it yourself."
    demos = tuple(with_hint([demo], [guessed[demo.id]], name)[0] for demo in prompt.demos)
    instruction = f"{prompt.instruction} {worth}".strip()
    return replace(prompt, inputs=(*prompt.inputs, name), demos=demos, instruction=instruction)


def hint_name(inputs: Sequence[str]) -> str:
    """What the guess is called beside inputs of these names."""
    return next(name for name in ("guess", "classifier guess", "guess of the classifier") if name not in inputs)


def with_hint(rows: Sequence[Example], answers: Sequence[str], name: str) -> list[Example]:
    """The rows [n] with guesses [n] beside their inputs."""
    pairs = zip(rows, answers, strict=True)
    return [replace(row, inputs=(*row.inputs, (name, answer))) for row, answer in pairs]


# --- in words ---------------------------------------------------------------------------------------------


def sentence(verdict: Verdict, prompt: str) -> str:
    """Say what distillation and hint have brought: against the baseline, and against the prompt."""
    scores = {c.name: c.score for c in verdict.contenders}
    versus = {(c.a, c.b): c for c in verdict.comparisons}
    said = []
    for name, against in ((DISTILLED, RIVAL), (HINTED, prompt)):
        if found := versus.get((name, against)):
            said.append(f"The {name} scores {100 * scores[name]:.1f} %: {_figures(found)} against the {against}.")
    return " ".join(said)


def _figures(found: Comparison) -> str:
    low, high = (100 * limit for limit in found.interval)
    return f"{100 * found.difference:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, p = {found.p_value:.2g})"


def share_right(outcomes: Sequence[Outcome]) -> float:
    """The mean score of rows."""
    return float(np.mean([outcome.score or 0.0 for outcome in outcomes]))
