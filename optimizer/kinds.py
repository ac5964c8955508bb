"""The kinds of task: what each is, its default metric, and its trained baseline.

One table for task files, README and tests.
"""

from __future__ import annotations

from typing import NamedTuple

LINEAR = "TF-IDF and a linear classifier"
RETRIEVAL = "retrieval: the answer of the nearest training row"


class Kind(NamedTuple):
    """What a kind of task is, its default metric and its trained baseline."""

    about: str
    usual: str
    baseline: str


KINDS = {
    "classification": Kind("one label of a closed list", "accuracy", LINEAR),
    "multilabel": Kind(
        "one or more labels of a closed list", "micro_f1", "TF-IDF and a linear classifier for each label"
    ),
    "extraction": Kind("a JSON object of slots", "slot_f1", RETRIEVAL),
    "qa": Kind("a short answer", "exact_match", RETRIEVAL),
    "generation": Kind("a text: a summary, a translation, a reply", "rouge_l", RETRIEVAL),
}
