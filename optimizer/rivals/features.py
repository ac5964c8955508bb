"""Texts as vectors: TF-IDF of words and characters, computed once and shared by all models trained on them.

A door of scikit-learn, beside `linear`. Knows no classifier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from search_spaces.prompt import Example

# Single precision: SGD with many labels then takes a seventh of the time, at the same accuracy.
WORDS = {
    "token_pattern": r"(?u)\b\w+\b",
    "ngram_range": (1, 2),
    "sublinear_tf": True,
    "max_features": 10_000,
    "dtype": np.float32,
}
CHARACTERS = {
    "analyzer": "char_wb",
    "ngram_range": (2, 5),
    "sublinear_tf": True,
    "max_features": 20_000,
    "dtype": np.float32,
}


class Features:
    """The texts as vectors: computed once per kind of features and shared by all trials."""

    def __init__(self, rows: Sequence[Example], dev: Sequence[Example], several: Sequence[str]) -> None:
        self.rows, self.dev, self.several = rows, dev, several
        self.targets = np.array([row.target for row in rows])
        self.vectors = cache(self._vectors)

    def _vectors(self, kind: str) -> tuple[Any, Any, Any]:
        """Fitted vectorizer, training matrix and dev matrix."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_union

        vectorizer = make_union(*(TfidfVectorizer(**options) for options in parts(kind, self.rows)))
        training = vectorizer.fit_transform([row.text for row in self.rows])
        return vectorizer, training, vectorizer.transform([row.text for row in self.dev])

    def pipeline(self, kind: str, model: Any) -> Any:  # noqa: ANN401 - scikit-learn is untyped
        """Join the fitted vectorizer and the model."""
        from sklearn.pipeline import make_pipeline, make_union

        fitted = [light(part) for _, part in self.vectors(kind)[0].transformer_list]
        return make_pipeline(make_union(*fitted), model)


def parts(kind: str, rows: Sequence[Example]) -> list[dict[str, Any]]:
    """Return the settings of the vectorizers that make up a kind of features."""
    # Texts without a single word character, such as emoji, have character features only.
    if kind == "characters" or not any(re.search(r"\w", row.text) for row in rows):
        return [CHARACTERS]
    return [WORDS] if kind == "words" else [WORDS, CHARACTERS]


def light(vectorizer: Any) -> Any:  # noqa: ANN401
    """Copy a fitted vectorizer with its terms as one array: skops writes a dict's items as a file each."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    terms = np.array(vectorizer.get_feature_names_out(), dtype=str)
    copy = TfidfVectorizer(**{**vectorizer.get_params(), "vocabulary": terms, "max_features": None})
    copy.idf_ = vectorizer.idf_
    del copy.vocabulary_  # the dict; it is rebuilt from the array at the first use
    return copy


def weighed(counts: Any, unseen: Any, most: int) -> tuple[Any, Any]:  # noqa: ANN401
    """Compute TF-IDF from term counts as `TfidfVectorizer` would if it were fitted on the rows of `counts` only.

    `most` is the largest number of terms that are kept, by their frequency.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    totals = np.asarray(counts.sum(axis=0)).ravel()
    (kept,) = np.nonzero(totals)
    if len(kept) > most:
        kept = np.sort(kept[(-totals[kept]).argsort()[:most]])
    if not len(kept):
        return counts[:, kept], unseen[:, kept]
    weigh = TfidfTransformer(sublinear_tf=True)
    return weigh.fit_transform(counts[:, kept]), weigh.transform(unseen[:, kept])
