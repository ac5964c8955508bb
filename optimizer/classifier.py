"""A prompt as a scikit-learn classifier: `fit` searches for it, `predict` uses it. A door of scikit-learn.

The search is that of `journey`, up to the winner. There are no test rows, so there is neither a verdict nor a trained
baseline: use scikit-learn's own tools to compare. Knows no space and no score of its own.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from optimizer.budget import Budget
from optimizer.calling import may_cost, open_ledger
from optimizer.calls.own_models import opened
from optimizer.evaluate import Evaluator
from optimizer.handover import renderer_for
from optimizer.journey import walk
from optimizer.models import Model
from optimizer.phrases import counted
from optimizer.preparing import ready, task_model
from optimizer.records import Dataset
from optimizer.rows.cells import as_text
from optimizer.rows.splits import LEAST_ROWS, divide
from optimizer.scores.calibration import settle
from optimizer.scores.own_metric import handed_name
from optimizer.store import Store
from optimizer.task import Task, check_task
from optimizer.task_rows import objective
from optimizer.watch import Watch
from search_spaces.prompt import Example

SHARES = {"train": 2 / 3, "dev": 1 / 3}  # demos are drawn from train, prompts are compared on dev


class UnansweredWarning(UserWarning):
    """Rows without a usable answer from the model were given the most frequent class."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Classify texts with the best prompt that a search finds.

    A row without a usable answer from the model gets the most frequent class of the rows of `fit`, and an
    `UnansweredWarning` says how many there were. There is no `predict_proba`: most models return no probabilities of
    whole answers, and a share of correct answers is not one.

    Parameters
    ----------
    model
        "embedded", provider/model as in LiteLLM, or an opened model.
    budget
        Calls that `fit` may buy; `predict` buys one more for each row.
    description
        The task, in a sentence or two, as you would explain it to a person.
    metric
        The metric to maximize: its name as in a task file, or a function as in `make_task`.
    space
        What is locked, narrowed or added, as in `[space]` of a task file.
    api_base
        Address of an OpenAI-compatible server, if the provider needs one.
    db
        The results.db that keeps the run and caches its completions, so that none is bought twice. Without one, nothing
        is kept, and a row that is predicted twice is bought twice.
    random_state
        Seed of the split and of the search: the same seed, rows and answers give the same prompt.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, whose texts are the labels that the model answers with.
    prompt_ : str
        The prompt that was found, as text, with {name} for each input.
    trial_ : Trial
        The same prompt with its parameters, its score on the third of the rows on which prompts were compared, and its
        estimated score on new rows.
    calls_ : int
        Calls that `fit` bought.
    n_features_in_, feature_names_in_
        As in all of scikit-learn; the feature names are the names of the prompt's inputs.
    """

    def __init__(  # noqa: PLR0913 - scikit-learn sets parameters by name
        self,
        model: str | Model = "embedded",
        *,
        budget: int = 500,
        description: str = "",
        metric: str | Callable[..., Any] = "accuracy",
        space: Mapping[str, Any] | None = None,
        api_base: str = "",
        db: str | Path | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.model = model
        self.budget = budget
        self.description = description
        self.metric = metric
        self.space = space
        self.api_base = api_base
        self.db = db
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn has no types
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.classifier_tags.poor_score = True  # on tables of numbers, for which prompts are not made
        return tags

    def fit(self, X: Any, y: Any) -> PromptClassifier:  # noqa: ANN401, N803 - scikit-learn's names
        """Search for the best prompt for these rows.

        Parameters
        ----------
        X
            Texts of shape (n,), or a table of shape (n, inputs); the prompt shows numbers as they are written.
        y
            Classes of shape (n,): texts, numbers or booleans.

        Raises
        ------
        ValueError
            If rows or classes are not as scikit-learn requires.
        InputError
            If the model, the space or another parameter cannot be used.
        BudgetSpent
            If the budget does not even cover the seed prompt.
        """
        cells, classes = validate_data(self, _table(X), y, dtype=None, ensure_min_samples=2 * LEAST_ROWS)
        check_classification_targets(classes)
        self.classes_, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class, {self.classes_.tolist()[0]!r}; at least two are needed to tell prompts apart."
            )
        self._usual = int(counts.argmax())
        self._labels = tuple(as_text("y", "y", label) for label in self.classes_.tolist())
        self._inputs = _input_names(self, X, cells)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        parts = divide(self._examples("r", cells, [self._labels[code] for code in codes]), SHARES, seed)
        if not parts["dev"]:
            distinct = counted(len(np.unique(cells.astype(str), axis=0)), "distinct row")
            raise ValueError(f"X holds {distinct}, none of them left to compare prompts on. Give more that differ.")
        self._task = self._spelled_out(_answer_name(self._inputs, y), seed)
        plan = ready(
            self._task,
            Dataset(parts["train"], parts["dev"], test=()),
            self._labels,
            objective(self._task, self._labels),
        )
        with self._book() as book:
            tuned = walk(plan, self._opened(), db=book, watch=Watch(), kept=self.db is not None)
            with Store(book) as store:
                bought = store.find_completions([outcome.completion_key for outcome in tuned.best.outcomes])
        self.trial_ = replace(tuned.best, prompt=settle(tuned.best.prompt, (c.logprobs for c in bought.values())))
        self.prompt_ = tuned.prompt
        self.calls_, self._run = tuned.run.bought, tuned.run.id
        return self

    def predict(self, X: Any) -> Any:  # noqa: ANN401, N803
        """Return the predicted classes of rows: an array of shape (n,) with values from `classes_`."""
        check_is_fitted(self)
        cells = validate_data(self, _table(X), dtype=None, reset=False)
        rows = self._examples("new", cells, [""] * len(cells))
        model, spec = self._opened(), self._task.model
        with self._book() as book, Store(book, create=True, paid=may_cost(model)) as store:
            ledger = open_ledger(model, spec, store, self._run, Budget(), Watch())
            with closing(ledger):
                evaluate = Evaluator(
                    ledger, renderer_for(self.trial_, self._task.model_dump()), objective(self._task, self._labels)
                )
                answers = [answer for _, _, answer in evaluate.answer(self.trial_.prompt, rows)]
        lacking = sum(answer not in self._labels for answer in answers)
        if lacking:
            usual = self._labels[self._usual]
            said = (
                f"{lacking} of {len(rows)} rows got no usable answer and are taken for {usual!r}, the most usual class."
            )
            warnings.warn(said, UnansweredWarning, stacklevel=2)
        codes = {label: code for code, label in enumerate(self._labels)}
        return self.classes_[[codes.get(answer or "", self._usual) for answer in answers]]

    def _examples(self, prefix: str, cells: NDArray[Any], targets: Sequence[str]) -> list[Example]:
        """Make an example of each row; with another prefix, the ids differ from those of the rows of `fit`."""
        examples = []
        for row, (values, target) in enumerate(zip(cells.tolist(), targets, strict=True), start=1):
            texts = [as_text(f"row {row}", name, v).strip() for name, v in zip(self._inputs, values, strict=True)]
            inputs = tuple(zip(self._inputs, texts, strict=True))
            examples.append(Example(f"{prefix}{row}", inputs, (target,) if target else ()))
        return examples

    def _spelled_out(self, answer: str, seed: int) -> Task:
        """Return the task as a task file would define it; X and y are in place of the data file."""
        model = self.model if isinstance(self.model, str) else opened(self.model).name
        about = {"name": "classifier", "description": self.description, "labels": list(self._labels)}
        scorer = None if isinstance(self.metric, str) else self.metric
        content = {
            "task": about | {"metric": handed_name(scorer) if scorer else self.metric},
            "data": {"file": "X, y", "inputs": list(self._inputs), "target": answer},
            "model": {"name": model, "api_base": self.api_base},
            "search": {"calls": self.budget, "max_calls": self.budget, "seed": seed},
            "space": dict(self.space or {}),
        }
        return check_task(content, "PromptClassifier").model_copy(update={"scorer": scorer})

    def _opened(self) -> Model:
        return task_model(self._task.model) if isinstance(self.model, str) else opened(self.model)

    @contextmanager
    def _book(self) -> Iterator[Path]:
        """Yield the path of the user's results.db, or of a temporary one."""
        if self.db is not None:
            yield Path(self.db)
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "results.db"


def _table(rows: Any) -> Any:  # noqa: ANN401
    """Turn texts into a table of one column; leave anything else to scikit-learn to accept or refuse."""
    if isinstance(rows, str):
        raise TypeError("X is one text, whose letters would be rows. Give a list of texts: [text].")
    plain = getattr(rows, "ndim", 1) == 1 and hasattr(rows, "__len__")
    if plain and any(isinstance(row, str) for row in rows):
        return np.array([[row] for row in rows], dtype=object)
    return rows


def _input_names(fitted: BaseEstimator, rows: object, cells: NDArray[Any]) -> tuple[str, ...]:
    """Return the names of the frame's columns or of the series; else "text", or x0, x1, … for several columns."""
    if hasattr(fitted, "feature_names_in_"):
        return tuple(fitted.feature_names_in_.tolist())
    if cells.shape[1] == 1:
        name = getattr(rows, "name", None)
        return (name if isinstance(name, str) and name.strip() else "text",)
    return tuple(f"x{column}" for column in range(cells.shape[1]))


def _answer_name(inputs: Sequence[str], classes: object) -> str:
    """Return the name of the series of classes, else "label"; changed if an input has the same name."""
    name = getattr(classes, "name", None)
    name = name if isinstance(name, str) and name.strip() else "label"
    while name in inputs:
        name += "_"
    return name
