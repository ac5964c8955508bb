"""The cheap trained rival: the same rows, the same objective, scored by the same code. The door of scikit-learn.

With labels: TF-IDF of words and characters and a linear classifier, or one for each label where an answer may name
several, trained epoch by epoch while the dev score is watched. Without labels: the answer of the nearest training row,
if that is better than any row's. It can be trained anew on parts of its rows. Knows nothing of prompts or of the test
rows.
"""

from __future__ import annotations

import math
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from optimizer.errors import StoreError
from optimizer.features import CHARACTERS, Features, light, parts, weighed
from optimizer.onevsrest import OneVsRest, answers
from optimizer.records import Outcome, TrainedModel
from optimizer.scoring import METRICS, Grader, Metric, compare, grader, score, summarise
from search_spaces.prompt import Example
from search_spaces.space import Chooser, Value

EPOCHS = 40  # the most passes over the training rows
NEAREST = "answer of the nearest training row (no linear model serves where the answers are open)"
UNFIT = "; not shown to be better than the answer of any training row"
RETRIEVES = "No linear model serves open answers: the baseline is the answer of the nearest training row."
NONE_SERVES = (
    "No trained baseline serves this task: no linear model takes open answers, and the answer of the nearest training "
    "row is not shown to be better than that of any other."
)
LEVEL = 0.05  # below this p-value a retrieved answer is better than any
SEVERAL = "several"  # an answer may name more than one label
PATIENCE = 5  # epochs without a better dev score before training stops
TRUSTED = ["scipy.sparse._csr.csr_matrix"]  # holds the training rows of the retrieving rival; arrays, no code


class Minimal(Protocol):
    """Searches hyperparameters; `studies.best_hyperparameters` fits."""

    def __call__(
        self, objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int
    ) -> dict[str, Value]:
        """Return the best parameters found."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long the rival's hyperparameters are searched."""

    trials: int = 15
    seconds: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rival:
    """A trained rival at work: `answer` maps texts, shape (n,), to answers, shape (n,).

    `confidence` maps texts to how sure it is of each answer, in [0, 1]: what the model itself says, not calibrated.
    """

    trained: TrainedModel
    answer: Callable[[Sequence[str]], list[str]]
    confidence: Callable[[Sequence[str]], list[float]]

    @property
    def note(self) -> str:
        """What a verdict has to say of it: that no linear model serves, or that no baseline does."""
        if self.trained.params:
            return ""
        return RETRIEVES if self.serves else NONE_SERVES

    @property
    def serves(self) -> bool:
        """Whether it is worth comparing with, as far as the dev rows show."""
        return not self.trained.detail.endswith(UNFIT)

    def outcomes(self, examples: Sequence[Example], metric: Metric, judge: Grader | None = None) -> tuple[Outcome, ...]:
        """Score it on examples as the prompts are. `seconds` is the mean time of a row in the batch."""
        started = time.perf_counter()
        answers = self.answer([example.text for example in examples])
        each = (time.perf_counter() - started) / max(1, len(examples))
        grades = (judge or grader(metric))([*zip(examples, answers, strict=True)])
        return tuple(
            Outcome(example.id, kind, value, answer, seconds=each, text=said)
            for example, answer, (kind, value, said) in zip(examples, answers, grades, strict=True)
        )


def train(  # noqa: PLR0913 - the kinds of answers
    rows: Sequence[Example],
    dev: Sequence[Example],
    metric: Metric,
    search: Minimal,
    *,
    labelled: bool,
    several: Sequence[str] = (),
    budget: Budget = Budget(),
) -> Rival:
    """Train the rival on the training rows, choosing its hyperparameters and its last epoch on the dev rows.

    Parameters
    ----------
    rows, dev
        Training and dev rows; the same that the prompts draw their demos from and are chosen on.
    metric
        The objective; where it is a judge's, ROUGE-L stands in, so that training takes no calls.
    search
        Searches the hyperparameters.
    labelled
        Whether the answers are a closed list; otherwise the rival retrieves.
    several
        The closed list, if an answer may name several of its labels.
    budget
        How long to search.
    """
    started = time.perf_counter()
    metric = METRICS["rouge_l"] if metric.judged else metric
    linear = (labelled or len(several) > 1) and len({row.target for row in rows}) > 1
    rival = _linear(rows, dev, metric, search, budget, several) if linear else _retrieval(rows, dev, metric)
    return replace(rival, trained=replace(rival.trained, seconds=time.perf_counter() - started))


def _linear(
    rows: Sequence[Example],
    dev: Sequence[Example],
    metric: Metric,
    search: Minimal,
    budget: Budget,
    several: Sequence[str],
) -> Rival:
    """Search a linear classifier's hyperparameters and train it."""
    features = Features(rows, dev, several)

    def objective(chooser: Chooser) -> float:
        return max(_fit(features, _choose(chooser), metric, budget.seed)[1])

    params = search(objective, trials=budget.trials, seconds=budget.seconds, seed=budget.seed)
    model, curve = _fit(features, params, metric, budget.seed)
    if isinstance(model, OneVsRest):
        model, params = model.whole(_classifier(params, budget.seed)), {**params, "labels": SEVERAL}
    pipeline = features.pipeline(str(params["features"]), model)
    trained = TrainedModel(
        f"TF-IDF ({params['features']}) + linear model{' for each label' if several else ''}, {len(curve)} epochs",
        params,
        tuple(curve),
        max(curve),
        _dump(pipeline),
    )
    return _rival(trained, pipeline)


def load(trained: TrainedModel) -> Rival:
    """Bring a trained rival back from its skops file; nothing in it is executed.

    Raises
    ------
    StoreError
        If it is no such file, or holds what such a rival is not made of.
    """
    return _rival(trained, _pipeline(trained))


def _pipeline(trained: TrainedModel) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    import skops.io

    assert trained.blob is not None
    try:
        return skops.io.loads(trained.blob, trusted=TRUSTED)
    except Exception as error:  # whatever a damaged or forged file makes it raise
        raise StoreError(
            f"the trained baseline in the results database cannot be read ({type(error).__name__}). "
            "Start anew with another --db."
        ) from error


def _choose(chooser: Chooser) -> dict[str, Value]:
    """The rival's hyperparameters."""
    return {
        "features": chooser.suggest_categorical("features", ["words", "characters", "both"]),
        "log10_alpha": chooser.suggest_float("log10_alpha", -6.0, -2.5),
        "class_weight": chooser.suggest_categorical("class_weight", ["none", "balanced"]),
    }


def _fit(features: Features, params: Mapping[str, Value], metric: Metric, seed: int) -> tuple[Any, list[float]]:
    """Train by epochs, stop when the dev score no longer rises, and keep the best epoch."""
    _, training, dev = features.vectors(str(params["features"]))
    curve: list[float] = []
    best: tuple[float, Any] = (-1.0, None)
    examples = {example.id: example for example in features.dev}
    for model in islice(_passes(training, features, params, seed), EPOCHS):
        outcomes = [
            Outcome(example.id, *score(metric, str(answer), example), str(answer))
            for example, answer in zip(features.dev, model.predict(dev), strict=True)
        ]
        curve.append(summarise(metric, outcomes, examples) or 0.0)
        if curve[-1] > best[0]:
            best = (curve[-1], (model.coef_.copy(), model.intercept_.copy()))
        if len(curve) - 1 - int(np.argmax(curve)) >= PATIENCE:
            break
    model.coef_, model.intercept_ = best[1]
    return model, curve


def _passes(training: Any, features: Features, params: Mapping[str, Value], seed: int) -> Iterator[Any]:  # noqa: ANN401
    """Train a linear classifier for ever; yields it after each pass over the rows."""
    targets = features.targets
    model = _for_labels(features.several, params, seed) if features.several else _classifier(params, seed)
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


def _answers(pipeline: Any, params: Mapping[str, Value]) -> Callable[[Sequence[str]], list[str]]:  # noqa: ANN401
    def answer(texts: Sequence[str]) -> list[str]:
        if params.get("labels") == SEVERAL:
            return answers(pipeline.decision_function(list(texts)), [str(label) for label in pipeline[-1].classes_])
        return [str(label) for label in pipeline.predict(list(texts))]

    return answer


def _confidence(pipeline: Any, params: Mapping[str, Value]) -> Callable[[Sequence[str]], list[float]]:  # noqa: ANN401
    """The highest probability of a label; of several, that all are right; of retrieval, how similar the row is."""

    def confidence(texts: Sequence[str]) -> list[float]:
        model = pipeline[-1]
        if hasattr(model, "kneighbors"):
            sure = 1 - model.kneighbors(pipeline[:-1].transform(list(texts)), return_distance=True)[0][:, 0]
        elif params.get("labels") == SEVERAL:
            sure = 1 / (1 + np.exp(-np.clip(np.abs(pipeline.decision_function(list(texts))), 0, 30)))
            sure = sure.reshape(len(texts), -1).prod(axis=1)
        else:
            sure = pipeline.predict_proba(list(texts)).max(axis=1)
        return [float(value) for value in np.clip(sure, 0, 1)]

    return confidence


def _rival(trained: TrainedModel, pipeline: Any) -> Rival:  # noqa: ANN401
    return Rival(trained, _answers(pipeline, trained.params), _confidence(pipeline, trained.params))


def _dump(model: Any) -> bytes:  # noqa: ANN401
    import skops.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED))


def _retrieval(rows: Sequence[Example], dev: Sequence[Example], metric: Metric) -> Rival:
    """Answer as the nearest training row does: what can be had without a model where the answers are open."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    vectorizer = TfidfVectorizer(**CHARACTERS)
    training = vectorizer.fit_transform([row.text for row in rows])
    pipeline = make_pipeline(light(vectorizer), _nearest(training, [row.target for row in rows]))
    detail, examples = NEAREST, {row.id: row for row in dev}
    draft = _rival(TrainedModel(detail, {}, (), 0.0), pipeline)
    found = draft.outcomes(dev, metric)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(rows), size=len(dev))
    others = replace(draft, answer=lambda _: [rows[row].target for row in drawn]).outcomes(dev, metric)
    better = compare(metric, found, others, examples, rng)
    if better.difference <= 0 or better.p_value >= LEVEL:
        detail += UNFIT
    dev_score = summarise(metric, found, examples) or 0.0
    return replace(draft, trained=TrainedModel(detail, {}, (), dev_score, _dump(pipeline)))


def _nearest(training: Any, targets: Any) -> Any:  # noqa: ANN401
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(n_neighbors=1, metric="cosine", algorithm="brute")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there are nearly as many answers as rows is the point
        return nearest.fit(training, targets)


# --- on parts of the training rows ------------------------------------------------------------------------


class Refit:
    """The rival trained anew on a part of its training rows, and its answers to rows that it has not seen.

    Its hyperparameters are those that were found on all training rows. It makes as many steps as on all of them, but
    at most 40 epochs, so that no dev row is looked at again; on all rows it is the rival but for their order in an
    epoch. The terms of all training rows are counted once. Which terms there are, the most frequent that are kept, and
    their weights come from the part alone, exactly as if nothing else had ever been read: a term that the part lacks
    is dropped, and IDF is computed of the part's counts.

    Parameters
    ----------
    rows
        All training rows.
    unseen
        The rows to answer; they add no term and no weight.
    trained
        The rival as trained on all rows.
    seed
        As it was trained with.
    """

    def __init__(self, rows: Sequence[Example], unseen: Sequence[Example], trained: TrainedModel, seed: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.targets = np.array([row.target for row in rows])
        self.trained, self.seed, self._unseen = trained, seed, len(unseen)
        self.several = _several(trained)
        self._counted: list[tuple[Any, Any, int]] = []
        for options in parts(str(trained.params.get("features", "characters")), rows):
            own = {name: value for name, value in options.items() if name not in {"sublinear_tf", "max_features"}}
            counter = CountVectorizer(**own)
            counts = counter.fit_transform([row.text for row in rows])
            self._counted.append((counts, counter.transform([row.text for row in unseen]), options["max_features"]))

    def __call__(self, part: Sequence[int]) -> list[str]:
        """Train on the rows of these numbers, shape (n,), and answer the unseen rows, shape (m,)."""
        targets = self.targets[part]
        pairs = [weighed(counts[part], unseen, most) for counts, unseen, most in self._counted]
        pairs = [pair for pair in pairs if pair[0].shape[1]]
        if not pairs or len(set(targets)) < 2:
            labels, numbers = np.unique(targets, return_counts=True)
            return [str(labels[numbers.argmax()])] * self._unseen
        from scipy.sparse import hstack

        training, unseen = (hstack(side, format="csr") for side in zip(*pairs, strict=True))
        return [str(answer) for answer in self._model(training, targets).predict(unseen)]

    def _model(self, training: Any, targets: Any) -> Any:  # noqa: ANN401
        if not self.trained.params:
            return _nearest(training, targets)
        best = 1 + int(np.argmax(self.trained.curve))
        epochs = min(EPOCHS, math.ceil(best * len(self.targets) / len(targets)))
        # All epochs in one call: a call for each takes longer than the training where there are many labels.
        if self.several:
            return _for_labels(self.several, self.trained.params, self.seed, max_iter=epochs, tol=None).fit(
                training, targets
            )
        model = _classifier(self.trained.params, self.seed).set_params(max_iter=epochs, tol=None)
        return model.fit(training, targets, sample_weight=_weights(self.trained.params, targets))


def _several(trained: TrainedModel) -> list[str]:
    """Read the labels of a rival whose answers name several."""
    if trained.params.get("labels") != SEVERAL:
        return []
    return [str(label) for label in _pipeline(trained)[-1].classes_]
