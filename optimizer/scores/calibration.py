"""Batch calibration: what a model says of every row alike is a habit, and is taken off before a label is chosen.

A model that tends to "positive" gives it a high log-probability on any row. A calibrated prompt answers with the label
whose log-probability rises most above its mean over other rows of the same prompt. Those rows need no wanted answers
(Zhou et al. 2023, "Batch Calibration", arXiv 2309.17249). A mean of log-probabilities, not of probabilities: on the
table of `benchmarks/batch_calibration.py` both help the median prompt alike, and it helps the best one more.

It takes a closed list of labels and answers that begin with one. A label is known by an answer's first words, so a row
keeps the answer that the model wrote where most of the probability lies on beginnings that several labels share ("card"
of "card lost" and "card stolen"; but an answer that was "card" and no more is that of a label "card"), where fewer than
two labels are in sight, and where labels differ in nothing but signs. Where labels are of very different frequency
calibration may hurt; then the search finds it better left off.

Knows no model, no ledger and no score. Some functions go into exported modules as they are written here, so this file
uses the standard library alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.prompt import Prompt

DEPTH = 12  # tokens of an answer that are looked at: enough for "<answer>" and a label of several words
NEVER = -30.0  # log-probabilities end here: providers write -9999 or minus infinity for what cannot be
# A mean over few rows is drawn towards none, as if one further row had been seen on which all labels were alike. The
# best number of such rows is the variance within a prompt over that between prompts, as for any normal mean with a
# normal prior: 0.7 on the benchmark's table. From 16 rows on it hardly matters, and no least number of rows is needed.
FURTHER_ROWS = 1

Scores = Mapping[str, float]  # label -> log-probability


# --- from tokens to labels --------------------------------------------------------------------------------


def beginnings(tokens: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """List the beginnings that an answer could have had, with log-probabilities: first what was said, then others.

    Each of the others leaves what was said at another token, so no two can both come true.

    Parameters
    ----------
    tokens
        `choices[0].logprobs.content` of a chat-completions response: the text and the log-probability of each token
        that was said, and of its likeliest alternatives (`top_logprobs`).
    """
    said, so_far, least = "", 0.0, NEVER
    found: list[tuple[str, float]] = []
    for place, token in enumerate(tokens[:DEPTH]):
        others = [other for other in token.get("top_logprobs") or [] if other["token"] != token["token"]]
        passed = [(said + other["token"], max(NEVER, so_far + other["logprob"])) for other in others]
        if place == 0:  # what is less likely than all that the first token tells of is not told of later either
            least = min((value for _, value in passed), default=NEVER)
        found += [(text, value) for text, value in passed if value >= least]
        said, so_far = said + token["token"], max(NEVER, so_far + token["logprob"])
    return tuple((text, round(value, 4)) for text, value in [(said, so_far), *found]) if found else ()


def label_scores(labels: Sequence[str], output: str, logprobs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Add up what the beginnings of an answer say of each label in sight; nothing where that cannot be told.

    Parameters
    ----------
    labels
        The closed list.
    output
        The name of the answer's field: an answer may begin with it ("Label: bug").
    logprobs
        Beginnings of the answer and their log-probabilities; the first is the answer that was given.
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
    """List the labels that an answer may become that has begun so, or the longest that it has said already.

    One that has ended becomes no other than the label that it is.
    """
    near = [label for label, name in names.items() if name.startswith(said)]
    if ended and said in names.values():
        return [label for label in near if names[label] == said]
    return near or sorted((label for label, name in names.items() if said.startswith(f"{name} ")), key=len)[-1:]


def _worded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def choose(scores: Mapping[str, float], prior: Mapping[str, float]) -> str:
    """Choose the label that stands highest above its prior; the first of equals."""
    return max(scores, key=lambda label: scores[label] - prior[label])


# --- the batch --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """The log-probabilities that one prompt gave its labels, by row.

    A row's prior comes from the other rows, as that of a new row will, and does not depend on their order.
    """

    labels: tuple[str, ...]
    rows: dict[str, Scores] = field(default_factory=dict)

    def add(self, row: str, scores: Scores, logprobs: Sequence[tuple[str, float]]) -> None:
        """Take a row in. A label out of sight counts as the least likely beginning: it is no likelier than that."""
        if scores:
            least = min(value for _, value in logprobs)
            self.rows[row] = {label: scores.get(label, least) for label in self.labels}

    def prior(self, without: str | None = None) -> dict[str, float]:
        """Return each label's mean log-probability over the rows, one of them left out."""
        rows = [scores for row, scores in self.rows.items() if row != without]
        # fsum is exact, so that the order in which answers came in leaves no trace.
        return {label: math.fsum(row[label] for row in rows) / (len(rows) + FURTHER_ROWS) for label in self.labels}


def scores_of(prompt: Prompt, logprobs: Sequence[tuple[str, float]]) -> Scores:
    """Tell how likely each label of a prompt was; nothing where that cannot be told, or nobody asks."""
    return label_scores(prompt.labels, prompt.output, logprobs) if prompt.calibrated else {}


def settle(prompt: Prompt, answers: Iterable[Sequence[tuple[str, float]]]) -> Prompt:
    """Fix the prior of a calibrated prompt, by the log-probabilities of its answers; leave any other as it is.

    One whose answers came without any was read as the model wrote them: it is calibrated no more.
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
