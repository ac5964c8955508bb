"""A frozen sentence encoder with a trained head. The door of sentence-transformers.

Texts are encoded once; the head is the linear classifier, or the nearest training row, of `linear`. Knows nothing of
prompts, of the test rows, or of where the vectors come from: a model on this machine, or a paid one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizer.baseline import Counted, Floats, Lesson, Refit, Rival, Texts
from optimizer.errors import InputError
from optimizer.records import Completion, TrainedModel
from optimizer.rivals.linear import (
    answered,
    certainty,
    dump,
    fit,
    held,
    labels_of,
    nearest,
    refitted,
    retrieving,
    undump,
    whole,
)
from optimizer.rivals.torch_hardware import device, few_threads, fitting
from search_spaces.prompt import Example
from search_spaces.space import Chooser, Value

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def priced(self) -> bool:
        """Whether its price is known."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Texts, shape (n,) -> vectors of length 1, shape (n, k); the same text always gets the same vector."""

    @property
    def paid(self) -> Callable[[Sequence[str]], list[Completion]] | None:
        """Texts, shape (n,) -> what was bought for each, shape (n,); None if they cost nothing."""


class SentenceEncoder:
    """A model of sentence-transformers on this machine, on a GPU if there is one.

    Parameters
    ----------
    name
        A folder, or a name on the hub.

    Raises
    ------
    InputError
        If it cannot be loaded.
    """

    priced, paid = True, None

    def __init__(self, name: str) -> None:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.name, self._known = name, dict[str, Vectors]()
        try:
            self._model = SentenceTransformer(name, device=device(), local_files_only=Path(name).is_dir())
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            said = str(error).strip().split("\n", 1)[0]
            raise InputError(
                f"sentence encoder {name!r} cannot be loaded ({said}). Name a folder that holds one."
            ) from None

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; each text is encoded once."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            with few_threads(), fitting():
                made = self._model.encode(new, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
            self._known |= dict(zip(new, np.asarray(made, dtype=np.float32), strict=True))
        return np.stack([self._known[text] for text in texts])


def train(lesson: Lesson, embed: Embedder) -> Rival:
    """Train a head on the vectors of the training rows, choosing hyperparameters and epoch on the dev rows."""
    started = time.perf_counter()
    texts = [row.text for row in (*lesson.rows, *lesson.dev)]
    vectors = embed(texts)
    training, dev = vectors[: len(lesson.rows)], vectors[len(lesson.rows) :]
    head, trained = _head(training, dev, embed.name, lesson)
    paid = sum(share.cost for share in bought(texts)) if (bought := embed.paid) else 0.0
    seconds = time.perf_counter() - started
    trained = replace(trained, kind="encoder", cost=paid if embed.priced else None, seconds=seconds)
    return _rival(trained, head, embed, lesson.budget.seed)


def _head(training: Vectors, dev: Vectors, encoder: str, lesson: Lesson) -> tuple[Any, TrainedModel]:
    """Train a head on the training rows' vectors [n, k], choosing on the dev rows' [m, k]."""
    if not lesson.classes:
        head = nearest(training, [row.target for row in lesson.rows])
        found = [str(answer) for answer in head.predict(dev)]
        detail = f"answer of the nearest training row by {encoder}"
        return head, retrieving(TrainedModel(detail, {"encoder": encoder}, (), 0.0, dump(head)), found, lesson)
    search = Counted(lesson.search)
    params = search(lambda chooser: max(fit(training, dev, _choose(chooser), lesson)[1]), lesson.budget)
    head, curve = fit(training, dev, params, lesson)
    head, params = whole(head, params, lesson)
    detail = f"{encoder}, frozen, + linear head, {len(curve)} epochs"
    params = {"encoder": encoder, **params}
    return head, TrainedModel(detail, params, tuple(curve), max(curve), dump(head), trials=search.trials)


def load(trained: TrainedModel, embed: Embedder, seed: int) -> Rival:
    """Restore a trained rival; its head is a skops file, and nothing in it is executed."""
    return _rival(trained, undump(trained), embed, seed)


def _choose(chooser: Chooser) -> dict[str, Value]:
    return {
        "log10_alpha": chooser.suggest_float("log10_alpha", -6.0, -2.5),
        "class_weight": chooser.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def _rival(trained: TrainedModel, head: Any, embed: Embedder, seed: int) -> Rival:  # noqa: ANN401 - scikit-learn's
    def refit(rows: Sequence[Example], unseen: Sequence[Example]) -> Refit:
        vectors, questions = embed([row.text for row in rows]), embed([row.text for row in unseen])
        targets, how = np.array([row.target for row in rows]), (len(rows), seed, labels_of(trained))

        def on_part(part: Sequence[int]) -> list[str]:
            return refitted(vectors[part], questions, targets[part], trained, how)

        return on_part

    def kin(rows: Sequence[Example], texts: Texts) -> tuple[Floats, Floats]:
        vectors = embed(texts)
        near = (vectors @ embed([row.text for row in rows]).T).astype(np.float64)
        return near, held(head, near, vectors, [row.target for row in rows], trained)

    return Rival(
        trained,
        answer=lambda texts: answered(head, embed(texts), trained),
        confidence=lambda texts: certainty(head, embed(texts), trained),
        paid=embed.paid,
        refit=refit,
        priced=embed.priced,
        retrain=lambda lesson: train(lesson, embed),
        kin=kin,
    )
