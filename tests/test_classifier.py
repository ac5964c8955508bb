"""A prompt as a scikit-learn classifier: scikit-learn's own checks, and what the class promises in addition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from optimizer import PromptClassifier, history
from optimizer.classifier import UnansweredWarning
from optimizer.errors import TaskError
from optimizer.records import Completion, Request

THINGS = "food wine room view staff bed pool sauna".split()
TEXTS = [f"I {verb} the {thing}" for thing in THINGS for verb in ("love", "hate")]
MOODS = ["good", "bad"] * len(THINGS)


class Moody:
    """A model in this process that counts how often it is asked; it knows love and hate."""

    name = "moody"
    address = ""
    price = (0.0, 0.0)

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, request: Request) -> Completion:
        """Answer by what stands last, and in no other form than the plainest."""
        self.asked += 1
        said = request.messages[-1].content
        love, hate = said.rfind("love"), said.rfind("hate")
        return Completion("" if love == hate else "good" if love > hate else "bad")


def lowered(texts: list[str]) -> list[str]:
    """Write texts in lower case, as a step of a pipeline."""
    return [text.lower() for text in texts]


def moody(**changes: Any) -> PromptClassifier:
    """Make a classifier whose prompt is one that this model reads."""
    return PromptClassifier(Moody(), **{"budget": 30, "space": {"demos": "none"}} | changes)


# scikit-learn tests on tables of numbers, which the model answers as well as it can.
@pytest.mark.filterwarnings("ignore::optimizer.classifier.UnansweredWarning", "ignore:.*unique classes:UserWarning")
@parametrize_with_checks([PromptClassifier(budget=15)], expected_failed_checks=lambda _: {})
def test_scikit_learn_takes_it_for_one_of_its_own(estimator: PromptClassifier, check: Callable[[Any], None]) -> None:
    """Every check that applies to a classifier is passed; none is excused."""
    check(estimator)


def test_a_pipeline_of_texts_can_be_cross_validated() -> None:
    """`cross_val_score` takes a list of texts through a pipeline; this model knows every answer."""
    steps = Pipeline([("lower", FunctionTransformer(lowered)), ("prompt", moody())])

    assert cross_val_score(steps, TEXTS, MOODS, cv=2).tolist() == [1.0, 1.0]


def test_a_grid_search_chooses_its_parameters() -> None:
    """Parameters are set and clones are made, of an array of texts."""
    grid = GridSearchCV(moody(), {"budget": [10, 30]}, cv=2)

    grid.fit(np.array(TEXTS), np.array(MOODS))

    assert grid.best_score_ == 1.0
    assert len(grid.cv_results_["params"]) == 2


def test_the_same_seed_finds_the_same_prompt() -> None:
    """Same seed, rows and answers: same prompt; a clone has what its original was given, and nothing that it learnt."""
    first = PromptClassifier(budget=60, random_state=3).fit(TEXTS, MOODS)
    second = clone(first)

    assert not hasattr(second, "prompt_")
    assert second.fit(TEXTS, MOODS).prompt_ == first.prompt_
    assert (second.trial_.params, second.trial_.score) == (first.trial_.params, first.trial_.score)


def test_nothing_is_bought_above_the_budget_and_nothing_twice_with_a_db(tmp_path: Path) -> None:
    """`budget` caps what `fit` buys; with `db` a second fit and prediction buy nothing, and runs are kept."""
    db = tmp_path / "results.db"
    model = Moody()
    fitted = PromptClassifier(model, budget=25, db=db).fit(TEXTS, MOODS)
    bought = model.asked
    labels = fitted.predict(["I love the lake", "I hate the rain"])
    again = PromptClassifier(model, budget=25, db=db).fit(TEXTS, MOODS)

    assert bought == fitted.calls_ <= 25
    assert again.predict(["I love the lake", "I hate the rain"]).tolist() == labels.tolist()
    assert model.asked == bought + 2
    assert again.calls_ == 0
    assert [run.status for run in history(db).runs()] == ["finished", "finished"]
    assert history(db).verdict(1) is None


def test_columns_are_inputs_and_classes_keep_their_type() -> None:
    """A table's columns are inputs of the prompt; what was a number is a number again."""
    table = np.array([[text, "web"] for text in TEXTS], dtype=object)
    fitted = PromptClassifier(budget=30).fit(table, np.array([1, 0] * len(THINGS)))

    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.predict(table).dtype == fitted.classes_.dtype
    assert "{x0}" in fitted.prompt_
    assert "{x1}" in fitted.prompt_


def test_a_row_without_an_answer_gets_the_usual_class_and_is_told_of() -> None:
    """What no answer was got to is not lost in silence."""
    fitted = moody().fit([*TEXTS, "I love it"], [*MOODS, "good"])

    with pytest.warns(UnansweredWarning, match=r"1 of 2 rows got no usable answer and are taken for 'good'"):
        assert fitted.predict(["", "I hate the rain"]).tolist() == ["good", "bad"]


@pytest.mark.parametrize(
    ("changes", "texts", "moods", "error", "said"),
    [
        ({}, TEXTS, ["good"] * len(TEXTS), ValueError, "one class"),
        ({}, ["the same"] * len(TEXTS), MOODS, ValueError, "X holds 1 distinct row, none of them left to compare"),
        ({}, ["a", "b"] * (len(TEXTS) // 2), MOODS, ValueError, "X holds 2 distinct rows, .* Give more that differ"),
        ({}, TEXTS[:4], MOODS[:4], ValueError, "minimum of 8"),
        ({}, "one text", list("one text"), TypeError, "Give a list of texts"),
        ({}, TEXTS, list(range(len(TEXTS)))[1:], ValueError, "inconsistent numbers"),
        ({"budget": 0}, TEXTS, MOODS, TaskError, "search.calls"),
        ({"metric": "taste"}, TEXTS, MOODS, TaskError, "unknown metric 'taste'"),
    ],
)
def test_what_cannot_be_used_is_refused(
    changes: dict[str, Any], texts: list[str] | str, moods: list[Any], error: type[Exception], said: str
) -> None:
    """One clear error before anything is bought."""
    model = Moody()

    with pytest.raises(error, match=said):
        PromptClassifier(model, **changes).fit(texts, moods)
    assert model.asked == 0
