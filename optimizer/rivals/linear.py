"""The cheapest trained rivals: a linear classifier, or the nearest training row. The door of scikit-learn.

With labels: TF-IDF of words and characters and a linear classifier (one per label if an answer may name several),
trained epoch by epoch while the dev score is watched. Without labels: the answer of the nearest training row, if that
is better than a random row's. The rival can be retrained on parts of its rows. The classifiers and the nearest row also
work on vectors other than TF-IDF. Knows nothing of prompts or of the test rows.
"""

from __future__ import annotations

import math
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from optimizer.baseline import SERVES, UNFIT, Counted, Floats, Lesson, Rival, Texts, unreadable
from optimizer.records import TrainedModel
from optimizer.rivals.features import CHARACTERS, Features, light, parts, weighed
from optimizer.rivals.onevsrest import OneVsRest, answers
from optimizer.scores import label_sets
from optimizer.scoring import compare
from search_spaces.prompt import Example
from search_spaces.space import Chooser, Value

EPOCHS = 40  # most passes over the training rows
PATIENCE = 5  # epochs without a better dev score before training stops
TRUSTED = ["scipy.sparse._csr.csr_matrix"]  # holds the training rows of the retrieving rival; arrays, no code
NEAREST = "answer of the nearest training row (no linear model serves where the answers are open)"
LEVEL = 0.05  # below this p-value retrieved answers are better than those of random rows
SEVERAL = "several"  # an answer may name more than one label


def train(lesson: Lesson) -> Rival:
    """Train the rival on the training rows, choosing its hyperparameters and its last epoch on the dev rows.

    If the answers are not a closed list, it retrieves.
    """
    started = time.perf_counter()
    rival = _linear(lesson) if lesson.classes else _retrieval(lesson)
    trained = replace(rival.trained, seconds=time.perf_counter() - started)
    return replace(rival, trained=trained, refit=_refits(trained, lesson.budget.seed))


def _linear(lesson: Lesson) -> Rival:
    """Search a linear classifier's hyperparameters and train it."""
    features, search = Features(lesson.rows, lesson.dev, lesson.several), Counted(lesson.search)

    def fitted(params: Mapping[str, Value]) -> tuple[Any, list[float]]:
        _, training, dev = features.vectors(str(params["features"]))
        return fit(training, dev, params, lesson)

    params = search(lambda chooser: max(fitted(_choose(chooser))[1]), lesson.budget)
    model, curve = fitted(params)
    model, params = whole(model, params, lesson)
    pipeline = features.pipeline(str(params["features"]), model)
    each = " for each label" if lesson.several else ""
    detail = f"TF-IDF ({params['features']}) + linear model{each}, {len(curve)} epochs"
    trained = TrainedModel(detail, params, tuple(curve), max(curve), dump(pipeline), trials=search.trials)
    return _rival(trained, pipeline)


def load(trained: TrainedModel, seed: int) -> Rival:
    """Restore a trained rival from its skops file; nothing in it is executed."""
    return replace(_rival(trained, undump(trained)), refit=_refits(trained, seed))


def _rival(trained: TrainedModel, pipeline: Any) -> Rival:  # noqa: ANN401 - scikit-learn is untyped
    """Wrap a fitted pipeline as a rival."""

    def answer(texts: Sequence[str]) -> list[str]:
        return answered(pipeline[-1], pipeline[:-1].transform(list(texts)), trained)

    def confidence(texts: Sequence[str]) -> list[float]:
        return certainty(pipeline[-1], pipeline[:-1].transform(list(texts)), trained)

    def kin(rows: Sequence[Example], texts: Texts) -> tuple[Floats, Floats]:
        training, asked = (pipeline[:-1].transform(list(each)) for each in ([row.text for row in rows], texts))
        near = (asked @ training.T).toarray().astype(np.float64)
        return near, held(pipeline[-1], near, asked, [row.target for row in rows], trained)

    return Rival(trained, answer, confidence, retrain=train, kin=kin)


def _refits(trained: TrainedModel, seed: int) -> Callable[[Sequence[Example], Sequence[Example]], Refit]:
    return lambda rows, unseen: Refit(rows, unseen, trained, seed)


def _choose(chooser: Chooser) -> dict[str, Value]:
    """Choose the rival's hyperparameters."""
    return {
        "features": chooser.suggest_categorical("features", ["words", "characters", "both"]),
        "log10_alpha": chooser.suggest_float("log10_alpha", -6.0, -2.5),
        "class_weight": chooser.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def fit(training: Any, dev: Any, params: Mapping[str, Value], lesson: Lesson) -> tuple[Any, list[float]]:  # noqa: ANN401
    """Train a linear classifier by epochs, stop when the dev score no longer rises, and keep the best epoch.

    Parameters
    ----------
    training, dev
        Vectors of the training rows and of the dev rows: arrays or sparse matrices, shapes (n, k) and (m, k).
    params
        `log10_alpha`, the strength of the L2 penalty, and `class_weight`, "balanced" or "none".
    lesson
        Holds the rows and the metric.

    Returns
    -------
    The model, and the dev score after each epoch.
    """
    curve: list[float] = []
    best: tuple[float, Any] = (-math.inf, None)  # MCC may be -1
    targets = np.array([row.target for row in lesson.rows])
    for model in islice(_passes(training, targets, params, lesson), EPOCHS):
        curve.append(lesson.dev_score([str(answer) for answer in model.predict(dev)]))
        if curve[-1] > best[0]:
            best = (curve[-1], (model.coef_.copy(), model.intercept_.copy()))
        if len(curve) - 1 - int(np.argmax(curve)) >= PATIENCE:
            break
    model.coef_, model.intercept_ = best[1]
    return model, curve


def whole(model: Any, params: Mapping[str, Value], lesson: Lesson) -> tuple[Any, Mapping[str, Value]]:  # noqa: ANN401
    """Merge classifiers of single labels into one of scikit-learn, and note it in `params`; others stay as they are."""
    if not isinstance(model, OneVsRest):
        return model, params
    return model.whole(_classifier(params, lesson.budget.seed)), {**params, "labels": SEVERAL}


def answered(model: Any, vectors: Any, trained: TrainedModel) -> list[str]:  # noqa: ANN401
    """Return a model's answers to rows of vectors [n, k] -> [n]."""
    if trained.params.get("labels") == SEVERAL:
        return answers(model.decision_function(vectors), [str(label) for label in model.classes_])
    return [str(label) for label in model.predict(vectors)]


def _passes(training: Any, targets: Any, params: Mapping[str, Value], lesson: Lesson) -> Iterator[Any]:  # noqa: ANN401
    """Train a linear classifier without end; yield it after each pass over the rows."""
    seed, several = lesson.budget.seed, lesson.several
    model = _for_labels(several, params, seed) if several else _classifier(params, seed)
    weights = _weights(params, targets)
    labels, rng = np.unique(targets), np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(targets))
        yield model.partial_fit(training[order], targets[order], classes=labels, sample_weight=weights[order])


def _classifier(params: Mapping[str, Value], seed: int) -> Any:  # noqa: ANN401
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", alpha=10.0 ** float(params["log10_alpha"]), random_state=seed)


def _for_labels(labels: Sequence[str], params: Mapping[str, Value], seed: int, **settings: object) -> OneVsRest:
    """Make a classifier for each label."""
    return OneVsRest(
        labels, lambda: _classifier(params, seed).set_params(**settings), lambda wanted: _weights(params, wanted)
    )


def _weights(params: Mapping[str, Value], targets: Any) -> Any:  # noqa: ANN401
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced" if params["class_weight"] == "balanced" else None, targets)


def certainty(model: Any, vectors: Any, trained: TrainedModel) -> list[float]:  # noqa: ANN401
    """Return how sure a model is of its answers to rows of vectors [n, k] -> [n], in [0, 1].

    For a classifier this is the probability of the answer; several labels are taken as independent. The nearest row has
    no probability, so its cosine similarity is used.
    """
    if trained.params.get("labels") == SEVERAL:
        likely = 1 / (1 + np.exp(-np.abs(model.decision_function(vectors))))
        return [float(each) for each in likely.prod(axis=1)]
    if hasattr(model, "kneighbors"):
        distances, _ = model.kneighbors(vectors)
        return [float(each) for each in np.clip(1 - distances[:, 0], 0, 1)]
    return [float(each) for each in model.predict_proba(vectors).max(axis=1)]


def held(model: Any, near: Floats, vectors: Any, targets: Sequence[str], trained: TrainedModel) -> Floats:  # noqa: ANN401
    """Return how probable a model finds the answers of training rows [m] for other rows [n] -> [n, m].

    Several labels are taken as independent. The nearest row has no probabilities, so the similarities `near` [n, m] are
    used. `vectors` [n, k] are those of the other rows.
    """
    if hasattr(model, "kneighbors"):
        return near
    labels = tuple(str(label) for label in model.classes_)
    if trained.params.get("labels") != SEVERAL:
        return np.asarray(model.predict_proba(vectors)[:, [labels.index(target) for target in targets]])
    each = np.clip(1 / (1 + np.exp(-model.decision_function(vectors))), 1e-9, 1 - 1e-9)
    named = np.array([[label in label_sets.read(target, labels) for label in labels] for target in targets])
    return np.asarray(np.exp(np.log(each) @ named.T + np.log(1 - each) @ ~named.T))


def dump(model: Any) -> bytes:  # noqa: ANN401
    """Write a model as a skops file."""
    import skops.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED))


def undump(trained: TrainedModel) -> Any:  # noqa: ANN401
    """Read a model from its skops file.

    Raises
    ------
    StoreError
        If it is not such a file, or contains a type that no such rival uses.
    """
    import skops.io

    assert trained.blob is not None
    try:
        return skops.io.loads(trained.blob, trusted=TRUSTED)
    except Exception as error:  # whatever a damaged or forged file makes it raise
        raise unreadable(error) from error


def _retrieval(lesson: Lesson) -> Rival:
    """Answer as the nearest training row does: the baseline for answers that are not a closed list."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    vectorizer = TfidfVectorizer(**CHARACTERS)
    training = vectorizer.fit_transform([row.text for row in lesson.rows])
    pipeline = make_pipeline(light(vectorizer), nearest(training, [row.target for row in lesson.rows]))
    rival = _rival(TrainedModel(NEAREST, {}, (), 0.0, dump(pipeline)), pipeline)
    found = rival.answer([row.text for row in lesson.dev])
    return replace(rival, trained=retrieving(rival.trained, found, lesson))


def retrieving(trained: TrainedModel, found: Sequence[str], lesson: Lesson) -> TrainedModel:
    """Add the dev score of retrieved answers, and whether they are better than the answers of random training rows."""
    rng, examples = np.random.default_rng(0), {row.id: row for row in lesson.dev}
    others = [lesson.rows[row].target for row in rng.integers(len(lesson.rows), size=len(lesson.dev))]
    better = compare(lesson.metric, lesson.outcomes(found), lesson.outcomes(others), examples, rng)
    serves = bool(better.difference > 0 and better.p_value < LEVEL)
    detail, params = trained.detail + ("" if serves else UNFIT), {**trained.params, SERVES: serves}
    return replace(trained, detail=detail, params=params, dev_score=lesson.dev_score(found))


def nearest(training: Any, targets: Any) -> Any:  # noqa: ANN401
    """Make a model that gives the answer of the training row with the highest cosine similarity."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=1, metric="cosine", algorithm="brute")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of nearly as many answers as rows, which is intended
        return model.fit(training, targets)


# --- on parts of the training rows ------------------------------------------------------------------------


class Refit:
    """The rival retrained on a part of its training rows, and its answers to rows that it has not seen.

    It keeps the hyperparameters found on all training rows, and makes as many steps as on all of them, but at most 40
    epochs, so that no dev row is needed. On all rows it is the same rival, except for the order of rows within an
    epoch. The terms of all training rows are counted once. Which terms are kept (the most frequent) and their weights
    depend on the part alone, exactly as if nothing else had been read: terms that the part lacks are dropped, and IDF
    is computed from the part's counts.

    Parameters
    ----------
    rows
        All training rows.
    unseen
        The rows to answer; they add no term and no weight.
    trained
        The rival as trained on all rows.
    seed
        The seed it was trained with.
    """

    def __init__(self, rows: Sequence[Example], unseen: Sequence[Example], trained: TrainedModel, seed: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.targets = np.array([row.target for row in rows])
        self.trained, self.seed, self._unseen = trained, seed, len(unseen)
        self.labels = labels_of(trained)
        self._counted: list[tuple[Any, Any, int]] = []
        for options in parts(str(trained.params.get("features", "characters")), rows):
            own = {name: value for name, value in options.items() if name not in {"sublinear_tf", "max_features"}}
            counter = CountVectorizer(**own)
            counts = counter.fit_transform([row.text for row in rows])
            self._counted.append((counts, counter.transform([row.text for row in unseen]), options["max_features"]))

    def __call__(self, part: Sequence[int]) -> list[str]:
        """Train on the rows with these indices, shape (n,), and answer the unseen rows, shape (m,)."""
        targets = self.targets[part]
        pairs = [weighed(counts[part], unseen, most) for counts, unseen, most in self._counted]
        pairs = [pair for pair in pairs if pair[0].shape[1]]
        if not pairs:
            return _commonest(targets, self._unseen)
        from scipy.sparse import hstack

        training, unseen = (hstack(side, format="csr") for side in zip(*pairs, strict=True))
        return refitted(training, unseen, targets, self.trained, (len(self.targets), self.seed, self.labels))


def refitted(
    training: Any,  # noqa: ANN401
    unseen: Any,  # noqa: ANN401
    targets: Any,  # noqa: ANN401
    trained: TrainedModel,
    how: tuple[int, int, Sequence[str]],
) -> list[str]:
    """Retrain a rival's model on vectors [n, k] and labels [n] of a part of its rows; see `Refit`.

    `how` holds the number of all its rows, its seed, and its labels if an answer may name several, else none.

    Returns
    -------
    Its answers to the vectors `unseen` [m, k].
    """
    if not trained.params.get("class_weight"):
        return [str(answer) for answer in nearest(training, targets).predict(unseen)]
    if len(set(targets)) < 2:
        return _commonest(targets, unseen.shape[0])
    rows, seed, labels = how
    best = 1 + int(np.argmax(trained.curve))
    epochs = min(EPOCHS, math.ceil(best * rows / len(targets)))
    # All epochs in one call: with many labels, one call per epoch takes longer than the training.
    if labels:
        return (
            _for_labels(labels, trained.params, seed, max_iter=epochs, tol=None).fit(training, targets).predict(unseen)
        )
    model = _classifier(trained.params, seed).set_params(max_iter=epochs, tol=None)
    model.fit(training, targets, sample_weight=_weights(trained.params, targets))
    return [str(answer) for answer in model.predict(unseen)]


def _commonest(targets: Any, count: int) -> list[str]:  # noqa: ANN401
    """Answer with the most frequent label, because nothing can be learned."""
    labels, numbers = np.unique(targets, return_counts=True)
    return [str(labels[numbers.argmax()])] * count


def labels_of(trained: TrainedModel) -> list[str]:
    """Return the labels of a rival whose answers may name several; empty for others."""
    if trained.params.get("labels") != SEVERAL:
        return []
    model = undump(trained)
    return [str(label) for label in (model if trained.kind == "encoder" else model[-1]).classes_]
