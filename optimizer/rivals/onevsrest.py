"""One linear classifier per label, with the interface of a single one: for answers that name several labels.

`linear` trains it like any other classifier, and chooses its hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.scores import label_sets

Floats = NDArray[np.float64]


class OneVsRest:
    """Classifiers of one label each, with the interface of one.

    Parameters
    ----------
    labels
        The closed list.
    make
        Makes the classifier of one label.
    weigh
        Whether each row has the label, shape (n,) -> weight of each row, shape (n,).
    """

    def __init__(
        self, labels: Sequence[str], make: Callable[[], Any], weigh: Callable[[NDArray[np.bool_]], Floats]
    ) -> None:
        self.labels, self.weigh = tuple(labels), weigh
        self.models = [make() for _ in self.labels]
        self.coef_, self.intercept_ = np.zeros((len(labels), 0)), np.zeros(len(labels))

    def partial_fit(self, vectors: Any, targets: Iterable[str], **_: object) -> OneVsRest:  # noqa: ANN401
        """Make one pass over rows; the targets are texts."""
        for model, wanted in zip(self.models, self._wanted(targets), strict=True):
            model.partial_fit(vectors, wanted, classes=[False, True], sample_weight=self.weigh(wanted))
        return self._joined(vectors)

    def fit(self, vectors: Any, targets: Iterable[str], **_: object) -> OneVsRest:  # noqa: ANN401
        """Train on rows; a label that all of them have, or none, gets a constant decision."""
        for model, wanted in zip(self.models, self._wanted(targets), strict=True):
            if len({*wanted}) == 2:
                model.fit(vectors, wanted, sample_weight=self.weigh(wanted))
            else:
                model.coef_ = np.zeros((1, vectors.shape[1]))
                model.intercept_ = np.array([1.0 if wanted[0] else -1.0])
        return self._joined(vectors)

    def predict(self, vectors: Any) -> list[str]:  # noqa: ANN401
        """Answer rows."""
        return answers(vectors @ self.coef_.T + self.intercept_, self.labels)

    def whole(self, empty: Any) -> Any:  # noqa: ANN401
        """Put the weights into an untrained scikit-learn classifier, which then has one decision per label."""
        empty.coef_, empty.intercept_ = self.coef_, self.intercept_
        empty.classes_, empty.n_features_in_ = np.array(self.labels, dtype=str), self.coef_.shape[1]
        return empty

    def _wanted(self, targets: Iterable[str]) -> NDArray[np.bool_]:
        named = [label_sets.read(str(target), self.labels) for target in targets]
        return np.array([[label in one for one in named] for label in self.labels], dtype=np.bool_)

    def _joined(self, vectors: Any) -> OneVsRest:  # noqa: ANN401
        self.coef_ = np.concatenate([model.coef_ for model in self.models]).reshape(len(self.labels), vectors.shape[1])
        self.intercept_ = np.concatenate([model.intercept_ for model in self.models])
        return self


def answers(decisions: Floats, labels: Sequence[str]) -> list[str]:
    """Name the labels with a decision above 0, shape (n, labels); if there is none, the likeliest."""
    chosen = decisions >= np.minimum(0.0, decisions.max(axis=1, keepdims=True))
    listed = [frozenset(label for label, on in zip(labels, row, strict=True) if on) for row in chosen]
    return [label_sets.write(named, labels) for named in listed]
