"""The search space: dimensions declared as data, and the prompt that a choice of a value for each of them makes.

A dimension is a list of ids (some stand for texts) or numbers, or a range of numbers; it may apply only `when` another
dimension has certain values. The built-in spaces are TOML files in this package; `opening` reads them and applies what
a task file changes. Nothing here knows a score: a `Chooser` chooses the values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from search_spaces import demos as demo_strategies
from search_spaces.instructions import (
    FOUND_WORDS,
    MANY_TERMS,
    NOTE_TERMS,
    SHORT_TERMS,
    described_labels,
    fill_wording,
    many,
    names_in,
    said_terms,
    task_words,
    telling_terms,
)
from search_spaces.prompt import Example, Prompt, Settings, digest
from search_spaces.shapes import answer_words

Value = str | int | float
KINDS = ("classification", "multilabel", "extraction", "qa", "generation")
PARTS = ("persona", "instruction", "form", "caution")  # dimensions whose texts make the instruction, in this order
POOL_LIMIT = 2000  # most rows that demos are drawn from: comparing more takes longer than the calls it saves
REASONING_TOKENS = 300  # added to `max_tokens` for the reasoning


class Chooser(Protocol):
    """Chooses the values of a point; an Optuna trial has the same methods."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401
        """Choose one of the choices."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Choose a whole number, both ends included."""

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """Choose a number between the ends."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One hyperparameter of a prompt.

    `choices` are ids or numbers, and empty for a range; `texts` maps ids to wordings; `seed` is the value of the seed
    prompt. `slots` are ids reserved for wordings that are added later; each becomes a choice once it has a text.
    """

    name: str
    about: str
    seed: Value
    choices: tuple[Value, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    slots: tuple[str, ...] = ()

    @property
    def declared(self) -> tuple[Value, ...]:
        """All values that may ever be choices, in an order that does not change when a slot gets its text."""
        return (*(choice for choice in self.choices if choice not in self.slots), *self.slots)

    @property
    def locked(self) -> bool:
        """Whether there is nothing to choose, now or later."""
        return len(self.declared) == 1 or (not self.declared and self.low == self.high)

    def filled(self, id_: str, text: str) -> Dimension:
        """Return the dimension with a text in one of its slots.

        Raises
        ------
        ValueError
            If there is no such slot, or if it has a text already.
        """
        if id_ not in self.slots or id_ in self.choices:
            raise ValueError(f"{self.name} has no free slot {id_!r}")
        return replace(self, choices=(*self.choices, id_), texts={**self.texts, id_: text})

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """How many values there are; infinite for a range of real numbers."""
        if self.choices:
            return len(self.choices)
        assert self.low is not None
        assert self.high is not None
        return self.high - self.low + 1 if self.whole or self.locked else float("inf")

    @property
    def values(self) -> tuple[Value, ...]:
        """All values of a dimension; not for a range of real numbers."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return (self.low,) if self.locked else tuple(range(int(self.low), int(self.high) + 1))

    def applies(self, params: Mapping[str, Value]) -> bool:
        """Whether the dimension applies, given the values chosen so far."""
        return all(params.get(name) in values for name, values in self.when.items())

    def choose(self, chooser: Chooser) -> Value:
        """Let the chooser choose a value; if the dimension is locked, return its only one without asking."""
        if self.choices:
            value: Value = self.choices[0]
            if not self.locked:
                value = chooser.suggest_categorical(self.name, list(self.choices))
            return value
        assert self.low is not None
        assert self.high is not None
        if self.locked:
            return self.low
        if self.whole:
            return chooser.suggest_int(self.name, int(self.low), int(self.high))
        return chooser.suggest_float(self.name, self.low, self.high)

    def holds(self, value: object) -> bool:
        """Whether a value belongs to the dimension."""
        if self.choices:
            return value in self.choices and not isinstance(value, bool)
        assert self.low is not None
        assert self.high is not None
        number = isinstance(value, int) or (isinstance(value, float) and not self.whole)
        return number and not isinstance(value, bool) and self.low <= float(value) <= self.high  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a space needs to know about the task.

    Demos and the words that describe labels are made from `train`, the training rows. `given` are examples that the
    user wrote, to be shown as they are. `worked` is whether some training rows have their reasoning, or will have it.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    train: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    label_notes: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    max_tokens: int | None = None
    given: tuple[Example, ...] = ()
    worked: bool = False


class Space:
    """Dimensions, and the facts that turn a value of each into a `Prompt`."""

    def __init__(self, dimensions: Sequence[Dimension], facts: Facts) -> None:
        self.dimensions = tuple(dimensions)
        self.facts = facts
        rows = [example for example in facts.train if example.targets]
        self.pool = demo_strategies.DemoPool(_limited(rows))
        self._worked = demo_strategies.DemoPool([row for row in rows if row.reasoning])
        # If an answer may name several labels, it is an open answer to the templates: the wordings list the labels.
        self._closed = () if facts.kind == "multilabel" else facts.labels
        self._terms = telling_terms(rows, facts.labels, MANY_TERMS) if facts.labels else {}
        self._words = words_of(facts, self._terms)
        longest = max((len(example.target) for example in rows), default=0)
        # A token is rarely shorter than three characters; 48 are for braces, tags and markers.
        self._answer_tokens = 48 + longest // 3

    def __getitem__(self, name: str) -> Dimension:
        """Return the dimension of that name."""
        return next(dimension for dimension in self.dimensions if dimension.name == name)

    @property
    def words(self) -> dict[str, str]:
        """The texts that replace the placeholders of wordings, by name."""
        return self._words

    def filled(self, name: str, id_: str, text: str) -> Space:
        """Return the space with a wording in one of a dimension's slots; its digest stays the same."""
        wider = copy(self)
        wider.dimensions = tuple(d.filled(id_, text) if d.name == name else d for d in self.dimensions)
        return wider

    def with_train(self, rows: Sequence[Example]) -> Space:
        """Return the space with these training rows: the same ones, some of them now with their reasoning."""
        return Space(self.dimensions, replace(self.facts, train=tuple(rows)))

    def choose(self, chooser: Chooser) -> dict[str, Value]:
        """Let a chooser choose a value for every dimension that applies."""
        params: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.applies(params):
                params[dimension.name] = dimension.choose(chooser)
        return params

    def suggest(self, chooser: Chooser) -> Prompt:
        """Let a chooser choose a value for every dimension, and return the prompt."""
        return self.build(self.choose(chooser))

    def seed(self) -> dict[str, Value]:
        """Return the parameters of the seed prompt, which every run evaluates in full."""
        params: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.applies(params):
                params[dimension.name] = dimension.seed
        return params

    def build(self, params: Mapping[str, Value]) -> Prompt:
        """Return the prompt that the parameters describe; the same parameters always make the same prompt."""
        facts = self.facts
        listing = str(params.get("labels", "none"))
        reasoning = params.get("reasoning", "off") == "on"
        room = self._answer_tokens + (REASONING_TOKENS if reasoning else 0)
        prompt = Prompt(
            template=str(params["template"]),
            instruction=self._instruction(params),
            inputs=facts.inputs,
            output=facts.output,
            labels=self._closed,
            notes=self._notes(listing),
            label_place="none" if listing == "none" else str(params.get("label_place", "instruction")),
            answer_format=str(params.get("answer_format", "bare")),
            reasoning=reasoning,
            settings=Settings(
                float(params.get("temperature", 0.0)),
                facts.max_tokens or room,
                params.get("calibration", "off") == "on",
            ),
        )
        return self._with_demos(prompt, params)

    def uses_training_rows(self, params: Mapping[str, Value]) -> bool:
        """Whether the wordings or the list of labels state something found in all training rows; demos do not count."""
        found = self._words.keys() & {*FOUND_WORDS}  # a placeholder without words is not replaced
        said = any(names_in(text) & found for text in self._wordings(params))
        return said or (bool(self._closed) and self._terms_beside(str(params.get("labels", "none"))) > 0)

    def _wordings(self, params: Mapping[str, Value]) -> list[str]:
        """List the texts that make the instruction, with their placeholders."""
        return [self[name].texts[str(params[name])] for name in PARTS if name in params]

    def _instruction(self, params: Mapping[str, Value]) -> str:
        return " ".join(fill_wording(text, self._words) for text in self._wordings(params) if text)

    def _terms_beside(self, listing: str) -> int:
        """Return how many distinctive words a way to list the labels shows with each of them."""
        return many(self._closed) if listing == "many_terms" else NOTE_TERMS if "terms" in listing else 0

    def _notes(self, listing: str) -> tuple[str, ...]:
        if listing in {"names", "none"} or not self._closed:
            return ()
        if late := self["labels"].texts.get(listing):
            described = described_labels(late, self._closed)
            return tuple(described.get(label, "") for label in self._closed)
        most = self._terms_beside(listing)
        written = self.facts.label_notes if "described" in listing else {}
        notes = [(written.get(label, ""), ", ".join(self._terms[label][:most])) for label in self._closed]
        return tuple("; ".join(filter(None, note)) for note in notes)

    def _with_demos(self, prompt: Prompt, params: Mapping[str, Value]) -> Prompt:
        strategy, k = str(params.get("demos", "none")), int(params.get("k", 0))
        if strategy == "given":
            return replace(prompt, demos=self.facts.given)
        k = min(k, len(self.pool.examples))
        if strategy == "none" or k == 0:
            return prompt
        if strategy == "nearest":
            last = params.get("nearest_order", "similar_last") == "similar_last"
            return replace(prompt, demos=self.pool.examples, nearest=k, nearest_last=last)
        rng = random.Random(f"{strategy} {params.get('demo_seed', 0)}")
        pool, strategy = (self._worked, "random") if strategy == "worked" else (self.pool, strategy)
        drawn = demo_strategies.pick(pool, strategy, k, rng)
        return replace(prompt, demos=demo_strategies.arrange(drawn, str(params.get("demo_order", "drawn"))))

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield the parameters of every prompt; for a small space without ranges of real numbers."""

        def walk(position: int, params: dict[str, Value]) -> Iterator[dict[str, Value]]:
            if position == len(self.dimensions):
                yield params
                return
            dimension = self.dimensions[position]
            values = dimension.values if dimension.applies(params) else ()
            for value in values:
                yield from walk(position + 1, {**params, dimension.name: value})
            if not values:
                yield from walk(position + 1, params)

        yield from walk(0, {})

    @property
    def size(self) -> float:
        """How many points the space has; infinite if it has a range of real numbers."""
        deciding = {name for dimension in self.dimensions for name in dimension.when}

        def count(position: int, params: dict[str, Value]) -> float:
            if position == len(self.dimensions):
                return 1
            dimension = self.dimensions[position]
            if not dimension.applies(params):
                return count(position + 1, params)
            if dimension.name not in deciding or not dimension.choices:
                return dimension.size * count(position + 1, params)
            return sum(count(position + 1, {**params, dimension.name: value}) for value in dimension.choices)

        return count(0, {})

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify everything that parameters can mean here, except the texts of slots."""
        dimensions = [
            [d.name, d.seed, d.declared, _opening_texts(d), d.low, d.high, {k: list(v) for k, v in d.when.items()}]
            for d in self.dimensions
        ]
        facts = [self.facts.kind, self.facts.inputs, self.facts.output, self.facts.labels]
        rows = [example.to_dict() for example in (*self.pool.examples, *self.facts.given)]
        made = [dict(self.facts.label_notes), self.facts.max_tokens, self._words, self._terms, self._answer_tokens]
        return digest([dimensions, facts, made, rows])


def words_of(facts: Facts, terms: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the texts for the placeholders of wordings: the task's own words, and what its training rows show.

    `terms` maps each label to its most distinctive words. Placeholders for which the rows show nothing are left out.
    """
    rows = [] if facts.kind == "classification" else [row for row in facts.train if row.targets]
    several = facts.labels if facts.kind == "multilabel" else ()
    listed = [_noted(label, facts.label_notes) for label in facts.labels] if several else facts.labels
    brief = [_noted(label, {label: ", ".join(words[:SHORT_TERMS])}) for label, words in terms.items()]
    found = {
        **answer_words(rows, sets=several),
        "terms": ", ".join(said_terms(terms)),
        "labels_and_terms": ", ".join(brief if any(terms.values()) else ()),
    }
    words = task_words(facts.description, facts.inputs, facts.output, listed)
    return words | {name: word for name, word in found.items() if word}  # those left out are not replaced


def _noted(label: str, notes: Mapping[str, str]) -> str:
    return f"{label} ({notes[label]})" if notes.get(label) else label


def _opening_texts(dimension: Dimension) -> dict[str, str]:
    """Return the texts that a dimension began with, without those of slots."""
    return {id_: text for id_, text in dimension.texts.items() if id_ not in dimension.slots}


def _limited(rows: Sequence[Example]) -> list[Example]:
    """Return at most POOL_LIMIT rows, spread evenly over those given."""
    step = max(1.0, len(rows) / POOL_LIMIT)
    return [rows[int(i * step)] for i in range(min(len(rows), POOL_LIMIT))]
