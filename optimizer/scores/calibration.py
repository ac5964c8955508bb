"""Batch calibration: subtracting a model's bias towards each label before a label is chosen.

A model biased towards "positive" gives it a high log-probability on every row. A calibrated prompt answers with the
label whose log-probability is highest above its mean over other rows of the same prompt. Those rows need no labels
(Zhou et al. 2023, "Batch Calibration", arXiv 2309.17249). We take the mean of log-probabilities, not of probabilities:
in `benchmarks/batch_calibration.py` both help the median prompt equally, and the former helps the best one more.

It needs a closed list of labels, and answers that begin with one. A label is recognised by the first words of an
answer, so a row keeps the answer that the model wrote if most of the probability is on beginnings that several labels
share ("card" of "card lost" and "card stolen"; but a complete answer "card" means a label "card"), if fewer than two
labels are among the likely beginnings, or if labels differ only in punctuation. If labels differ very much in
frequency, calibration may hurt; the search will then find that it is better off.

Knows no model, no ledger and no score. Some functions are copied into exported modules, so this file uses only the
standard library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.prompt import Prompt

DEPTH = 12  # tokens of an answer that are read: enough for "<answer>" and a label of several words
NEVER = -30.0  # least log-probability: providers return -9999 or minus infinity for the impossible
# The mean over few rows is shrunk towards no bias, as if one further row had equal log-probabilities for all labels. As
# for any normal mean with a normal prior, the best number of such rows is the variance within a prompt divided by that
# between prompts: 0.7 in the benchmark. From 16 rows on it hardly matters, and no minimum of rows is needed.
FURTHER_ROWS = 1

Scores = Mapping[str, float]  # label -> log-probability


# --- from tokens to labels --------------------------------------------------------------------------------


def beginnings(tokens: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """List possible beginnings of an answer with their log-probabilities: first the given answer's, then alternatives.

    Each alternative departs from the given answer at another token or by another token, so they exclude each other.

    Parameters
    ----------
    tokens
        `choices[0].logprobs.content` of a chat-completions response: the text and log-probability of each token of the
        answer, and of its likeliest alternatives (`top_logprobs`).
    """
    said, so_far, least = "", 0.0, NEVER
    found: list[tuple[str, float]] = []
    for place, token in enumerate(tokens[:DEPTH]):
        others = [other for other in token.get("top_logprobs") or [] if other["token"] != token["token"]]
        passed = [(said + other["token"], max(NEVER, so_far + other["logprob"])) for other in others]
        if place == 0:  # later alternatives less likely than all those of the first token are left out, as theirs are
            least = min((value for _, value in passed), default=NEVER)
        found += [(text, value) for text, value in passed if value >= least]
        said, so_far = said + token["token"], max(NEVER, so_far + token["logprob"])
    return tuple((text, round(value, 4)) for text, value in [(said, so_far), *found]) if found else ()


def label_scores(labels: Sequence[str], output: str, logprobs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the log-probability of each label that the beginnings of an answer name; empty if they do not tell.

    Parameters
    ----------
    labels
        The closed list.
    output
        Name of the answer's field, with which an answer may begin ("Label: bug").
    logprobs
        Beginnings of the answer and their log-probabilities; the first is the given answer's.
    """
    names = {label: _worded(label) for label in labels}
    if "" in names.values() or len(set(names.values())) < len(names):
        return {}
    found: dict[str, float] = {}
    shared = 0.0
    for place, (text, value) in enumerate(logprobs):
        said, ended = _worded(text), place == 0
        near = _begun(said, names, ended)
        for head in (_worded(output), "answer"):
            if not near and f"{said} ".startswith(f"{head} "):
                near = _begun(said[len(head) :].strip(), names, ended)
        if len(near) == 1:
            found[near[0]] = found.get(near[0], 0.0) + math.exp(value)
        elif near:
            shared += math.exp(value)
    if len(found) < 2 or shared > sum(found.values()):
        return {}
    return {label: math.log(found[label]) for label in labels if label in found}


def _begun(said: str, names: Mapping[str, str], ended: bool) -> list[str]:
    """List the labels that begin with a text, or else the longest label with which the text begins.

    If the answer has `ended` and is itself a label, list only that label.
    """
    near = [label for label, name in names.items() if name.startswith(said)]
    if ended and said in names.values():
        return [label for label in near if names[label] == said]
    return near or sorted((label for label, name in names.items() if said.startswith(f"{name} ")), key=len)[-1:]


def _worded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def choose(scores: Mapping[str, float], prior: Mapping[str, float]) -> str:
    """Return the label whose score is highest above its prior; the first of equals."""
    return max(scores, key=lambda label: scores[label] - prior[label])


# --- the batch --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """The log-probabilities of a prompt's labels, by row.

    A row's prior is computed from the other rows, as that of a new row will be, and does not depend on their order.
    """

    labels: tuple[str, ...]
    rows: dict[str, Scores] = field(default_factory=dict)

    def add(self, row: str, scores: Scores, logprobs: Sequence[tuple[str, float]]) -> None:
        """Add a row. A label without a score gets that of the least likely beginning, since it is no likelier."""
        if scores:
            least = min(value for _, value in logprobs)
            self.rows[row] = {label: scores.get(label, least) for label in self.labels}

    def prior(self, without: str | None = None) -> dict[str, float]:
        """Return each label's mean log-probability over the rows, leaving out the row `without`."""
        rows = [scores for row, scores in self.rows.items() if row != without]
        # fsum is exact, so that the order in which the answers came does not matter.
        return {label: math.fsum(row[label] for row in rows) / (len(rows) + FURTHER_ROWS) for label in self.labels}


def scores_of(prompt: Prompt, logprobs: Sequence[tuple[str, float]]) -> Scores:
    """Return the log-probabilities of a prompt's labels; empty if they are unknown, or if it is not calibrated."""
    return label_scores(prompt.labels, prompt.output, logprobs) if prompt.calibrated else {}


def settle(prompt: Prompt, answers: Iterable[Sequence[tuple[str, float]]]) -> Prompt:
    """Fix the prior of a calibrated prompt from the log-probabilities of its answers; return any other as it is.

    If no answer has log-probabilities, the answers were read as the model wrote them, so calibration is turned off.
    """
    if not prompt.calibrated or prompt.prior:
        return prompt
    batch, told = Batch(prompt.labels), list(answers)
    for row, logprobs in enumerate(told):
        batch.add(str(row), scores_of(prompt, logprobs), logprobs)
    if told and not any(told):
        return replace(prompt, settings=replace(prompt.settings, logprobs=False))
    prior = batch.prior()
    top = max(prior.values(), default=0.0)  # only differences matter: the likeliest label's is 0
    return replace(prompt, prior=tuple((label, round(value - top, 4)) for label, value in prior.items()))
