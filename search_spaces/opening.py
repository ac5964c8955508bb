"""Opening a space: the built-in one for a kind of task, as locked, narrowed or extended by a task file.

Knows which values a dimension may take, and writes the error messages for the others.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from search_spaces.instructions import FOUND_WORDS, NOTE_TERMS, complaint, many, names_in, telling_terms
from search_spaces.space import Dimension, Facts, Space, Value, words_of

RESERVED = 8  # more wordings than a person adds during one run; a reserved id costs the search nothing until it is used
MOST_RESERVED = 64


class DimensionError(ValueError):
    """A dimension or value that the space does not have."""


def load_space(
    facts: Facts,
    changes: Mapping[str, Any] | None = None,
    seed: Mapping[str, Any] | None = None,
    templates: Iterable[str] = (),
    *,
    proposed: Mapping[str, int] = {},
) -> Space:
    """Open the built-in space for the task's kind and apply the changes of a task file.

    Parameters
    ----------
    facts
        What the space needs to know about the task.
    changes
        Dimension name -> a value (locks it), a list (narrows it), or a table with `only`, `drop`, `add`, `low`,
        `high`, `reserved`. Wordings are named by ids; texts in `add` get the ids "own1", … unless a table gives theirs.
        `reserved` is how many ids ("late1", …) are kept for wordings that are added during a search.
    seed
        Dimension name -> value of the seed prompt.
    templates
        Ids of further templates, which become values of the dimension "template".
    proposed
        Dimension -> how many more ids to keep for wordings that a model proposes, if the space has that dimension and
        it is not locked. Wordings of `labels` are descriptions of the labels.

    Raises
    ------
    DimensionError
        If a dimension, key or value is not allowed.
    """
    tables = {**tables_of("every_kind"), **tables_of(facts.kind)}
    terms = telling_terms(facts.train, facts.labels, NOTE_TERMS + 1) if facts.labels else {}
    words = words_of(facts, terms)
    without = _unsaid(facts, words, terms)
    declared = {name: _fit(as_dimension(name, table), without) for name, table in tables.items()}
    layout = declared["template"]
    declared["template"] = replace(layout, choices=(*layout.choices, *templates))
    for name, change in (changes or {}).items():
        if name not in declared:
            raise DimensionError(f"[space] has no dimension {name!r}; allowed: {', '.join(declared)}")
        declared[name] = changed(declared[name], change, tuple(words))
    declared = {name: reserve(dimension, (changes or {}).get(name)) for name, dimension in declared.items()}
    for name, count in proposed.items():
        if name in declared and (declared[name].slots or (name == "labels" and not declared[name].locked)):
            declared[name] = more(declared[name], count)
    listed = declared["labels"].slots if "labels" in declared else ()
    declared = {name: _beside_labels(dimension, listed) for name, dimension in declared.items()}
    for name, value in (seed or {}).items():
        if name not in declared:
            raise DimensionError(f"[seed] has no dimension {name!r}; allowed: {', '.join(declared)}")
        declared[name] = seeded(declared[name], value)
    return Space(list(declared.values()), facts)


def tables_of(file: str) -> dict[str, Any]:
    """Read a TOML file of this package, without its extension: dimension name -> table."""
    return tomllib.loads(resources.files(__package__).joinpath(f"{file}.toml").read_text(encoding="utf-8"))


def as_dimension(name: str, table: Mapping[str, Any]) -> Dimension:
    """Make a dimension from its TOML table."""
    texts = table.get("texts", {})
    choices = tuple(table.get("choices", texts))
    when = {key: tuple(values) for key, values in table.get("when", {}).items()}
    seed = table.get("seed", choices[0] if choices else table.get("low"))
    return Dimension(name, table["about"], seed, choices, texts, table.get("low"), table.get("high"), when)


def _unsaid(facts: Facts, words: Mapping[str, str], terms: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """List what the task has no data for: placeholders of wordings, demo strategies, and ways to list its labels."""
    unsaid = {name for name in ("description", *FOUND_WORDS) if not words.get(name)}
    if not facts.given:
        unsaid |= {"given"}
    if not facts.worked:
        unsaid |= {"worked"}
    if not any(facts.label_notes.values()):
        unsaid |= {"described", "described_terms"}
    if many(facts.labels) <= NOTE_TERMS or not any(len(listed) > NOTE_TERMS for listed in terms.values()):
        unsaid |= {"many_terms"}
    return frozenset(unsaid)


def _fit(dimension: Dimension, unsaid: frozenset[str]) -> Dimension:
    """Remove the choices that the task has no data for."""
    without = {id_ for id_, text in dimension.texts.items() if names_in(text) & unsaid}
    if dimension.name == "labels":
        without = set(unsaid)
    if dimension.name == "demos":
        without = {"given", "worked"} & unsaid
    later = {"worked"} & unsaid
    when = {name: tuple(value for value in values if value not in later) for name, values in dimension.when.items()}
    dimension = replace(dimension, when=when)
    return narrowed(dimension, [choice for choice in dimension.choices if choice not in without])


def changed(dimension: Dimension, change: Any, names: Sequence[str]) -> Dimension:  # noqa: ANN401 - it comes from a TOML file
    """Change a dimension as a task file says; `names` are the placeholders that its wordings may have.

    Raises
    ------
    DimensionError
        If a key or value is not allowed.
    """
    if not isinstance(change, Mapping):
        return _only(dimension, _listed(change))
    if unknown := set(change) - {"only", "drop", "add", "low", "high", "reserved"}:
        raise DimensionError(
            f"[space.{dimension.name}] has no key {min(unknown)!r}; allowed: only, drop, add, low, high, reserved"
        )
    if "low" in change or "high" in change:
        return _range(dimension, change)
    if "only" in change and "add" in change and dimension.texts:
        dimension = _add_only(dimension, change["add"], _listed(change["only"]), names)
        change = {key: value for key, value in change.items() if key != "add"}
    elif "only" in change:
        dimension = _only(dimension, _listed(change["only"]))
    if not dimension.choices and change:
        raise DimensionError(
            f"[space.{dimension.name}] is a range of {_allowed(dimension)}; allowed: only, low and high"
        )
    dropped = _listed(change.get("drop", []))
    _check(dimension, dropped)
    if "add" in change:  # before `drop`, so that the user's own wordings may be the only ones left
        dimension = _add(dimension, change["add"], names)
    return narrowed(dimension, [c for c in dimension.choices if c not in dropped]) if dropped else dimension


def seeded(dimension: Dimension, value: Any) -> Dimension:  # noqa: ANN401
    """Give a dimension another value in the seed prompt.

    Raises
    ------
    DimensionError
        If it does not have that value.
    """
    if not dimension.holds(value):
        raise DimensionError(f"[seed] {dimension.name} = {value!r}; allowed: {_allowed(dimension)}")
    return replace(dimension, seed=type(dimension.seed)(value))


def reserve(dimension: Dimension, change: Any, usual: int = RESERVED) -> Dimension:  # noqa: ANN401
    """Reserve ids for wordings that are added later; for a locked dimension, only if the task file asks for it.

    Raises
    ------
    DimensionError
        If it asks for what is not allowed, or gives a wording such an id.
    """
    count = change.get("reserved") if isinstance(change, Mapping) else None
    if count is None:
        count = usual if dimension.texts and not dimension.locked else 0
    elif not dimension.texts:
        raise DimensionError(f"[space.{dimension.name}] takes no `reserved`: it has no wordings; leave it out")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_RESERVED:
        raise DimensionError(
            f"[space.{dimension.name}] reserved = {count!r}; allowed: whole numbers from 0 to {MOST_RESERVED}"
        )
    return more(dimension, count)


def more(dimension: Dimension, count: int) -> Dimension:
    """Reserve more ids; raise DimensionError if a wording has one of them."""
    first = len(dimension.slots) + 1
    slots = tuple(f"late{position}" for position in range(first, first + count))
    if taken := set(slots) & set(dimension.texts):
        raise DimensionError(
            f"[space.{dimension.name}] add: the id {min(taken)!r} is kept for wordings that come later; choose another"
        )
    return replace(dimension, slots=(*dimension.slots, *slots))


def _beside_labels(dimension: Dimension, listed: tuple[str, ...]) -> Dimension:
    """Let a dimension that depends on how the labels are listed apply with descriptions added later, too."""
    when = {name: (*values, *listed) if name == "labels" else values for name, values in dimension.when.items()}
    return replace(dimension, when=when)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [value]


def _only(dimension: Dimension, values: list[Any]) -> Dimension:
    if not values:
        raise DimensionError(f"[space] {dimension.name} is empty; allowed: {_allowed(dimension)}")
    if _numeric(dimension):
        numbers = _checked_numbers(dimension, values)
        return narrowed(replace(dimension, low=None, high=None), list(dict.fromkeys(numbers)))
    _check(dimension, values)
    return narrowed(dimension, list(dict.fromkeys(values)))


def narrowed(dimension: Dimension, choices: Sequence[Value]) -> Dimension:
    """Leave a dimension these choices only; its seed stays if it is one of them, and else becomes the first."""
    if not choices and not dimension.choices:
        return dimension
    if not choices:
        raise DimensionError(f"[space] {dimension.name} has nothing left; allowed: {_allowed(dimension)}")
    seed = dimension.seed if dimension.seed in choices else choices[0]
    return replace(dimension, choices=tuple(choices), seed=seed)


def _add(dimension: Dimension, added: Any, names: Sequence[str]) -> Dimension:  # noqa: ANN401
    if _numeric(dimension):
        numbers = _checked_numbers(dimension, _listed(added))
        return replace(dimension, choices=tuple(dict.fromkeys([*dimension.choices, *numbers])))
    if not dimension.texts:
        raise DimensionError(f"[space.{dimension.name}] takes no `add`; allowed: {_allowed(dimension)}")
    if isinstance(added, list):
        added = {f"own{position}": text for position, text in enumerate(added, start=1)}
    if not isinstance(added, Mapping) or not all(isinstance(t, str) and t.strip() for t in added.values()):
        raise DimensionError(f"[space.{dimension.name}] add must be texts, or a table of ids and texts")
    if taken := set(added) & set(dimension.texts):
        raise DimensionError(f"[space.{dimension.name}] add: the id {min(taken)!r} is taken; choose another")
    if said := next(filter(None, (complaint(text, names) for text in added.values())), ""):
        raise DimensionError(f"[space.{dimension.name}] add: {said}")
    return replace(dimension, choices=(*dimension.choices, *added), texts={**dimension.texts, **added})


def _add_only(dimension: Dimension, added: Any, only: list[Any], names: Sequence[str]) -> Dimension:  # noqa: ANN401
    """Add wordings, and keep only those in `only` and the added ones; if `only` names some of these, only them."""
    extended = _add(dimension, added, names)
    own = [id_ for id_ in extended.choices if id_ not in dimension.choices]
    return _only(extended, only if not only or any(id_ in own for id_ in only) else [*only, *own])


def _range(dimension: Dimension, change: Mapping[str, Any]) -> Dimension:
    if not _numeric(dimension):
        raise DimensionError(f"[space.{dimension.name}] takes no range; allowed: {_allowed(dimension)}")
    if set(change) != {"low", "high"}:
        raise DimensionError(f"[space.{dimension.name}] a range needs low and high, and nothing else")
    low, high = _checked_numbers(dimension, [change["low"], change["high"]])
    if low > high:
        raise DimensionError(f"[space.{dimension.name}] low = {low} is above high = {high}")
    inside = isinstance(dimension.seed, int | float) and low <= dimension.seed <= high
    return replace(dimension, choices=(), low=low, high=high, seed=dimension.seed if inside else low)


def _numeric(dimension: Dimension) -> bool:
    return not isinstance(dimension.seed, str)


def _checked_numbers(dimension: Dimension, values: list[Any]) -> list[Any]:
    """Return numbers in the dimension's type: 1 becomes 1.0 if it takes real numbers."""
    whole = isinstance(dimension.seed, int)
    allowed, most = ("whole numbers from 0", float("inf")) if whole else ("numbers from 0 to 2", 2.0)
    for value in values:
        fits = isinstance(value, int) if whole else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or not 0 <= value <= most:
            raise DimensionError(f"[space] {dimension.name} = {value!r}; allowed: {allowed}")
    return values if whole else [float(value) for value in values]


def _check(dimension: Dimension, values: list[Any]) -> None:
    for value in values:
        if not dimension.holds(value):
            raise DimensionError(f"[space] {dimension.name} = {value!r}; allowed: {_allowed(dimension)}")


def _allowed(dimension: Dimension) -> str:
    if dimension.choices:
        return ", ".join(str(choice) for choice in dimension.choices)
    return f"{dimension.low} to {dimension.high}"
