"""DSPy examples converted to our rows, and looked up again by the rows' ids. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.errors import InputError, kind_of
from optimizer.rows.overlap import same_inputs
from optimizer.rows.splits import LEAST_ROWS, divide
from search_spaces.prompt import Example

HALVES = {"train": 0.5, "dev": 0.5}  # shares of a training set without a validation set


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to learn from and rows to compare on; `known` maps each id to its example."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    known: Mapping[str, Any]

    @property
    def texts(self) -> list[str]:
        """All texts in the rows to compare on, which no prompt may show."""
        return [str(value) for row in self.dev for value in self.known[row.id].toDict().values()]


def rows_of(trainset: Sequence[Any], valset: Sequence[Any] | None, seed: int) -> Rows:
    """Convert examples; a row to compare on is never shown, and removed from the pool of demos.

    Parameters
    ----------
    trainset
        Examples with their inputs named: what demos come from.
    valset
        Examples to compare configurations on; without them, half of `trainset`.
    seed
        Draws that half.

    Raises
    ------
    InputError
        If there are too few, or an example does not say which fields are inputs.
    """
    given = {**named("t", trainset), **named("v", valset or ())}
    rows = {id_: row_of(id_, example) for id_, example in given.items()}
    train = tuple(row for id_, row in rows.items() if id_.startswith("t"))
    dev = tuple(row for id_, row in rows.items() if id_.startswith("v"))
    if valset is None:
        parts = divide(train, HALVES, seed)
        train, dev = parts["train"], parts["dev"]
    seen = {same_inputs(row) for row in dev}
    train = tuple(row for row in train if same_inputs(row) not in seen)
    if min(len(train), len(dev)) < LEAST_ROWS:
        raise InputError(
            f"{len(train)} examples to learn from that are not among the {len(dev)} to compare on; at least "
            f"{LEAST_ROWS} of each are needed. Give more, or a valset of others."
        )
    return Rows(train, dev, given)


def named(prefix: str, examples: Sequence[Any]) -> dict[str, Any]:
    """Give examples ids: "t1", "t2", …."""
    return {f"{prefix}{number}": example for number, example in enumerate(examples, start=1)}


def row_of(id_: str, example: Any) -> Example:  # noqa: ANN401 - DSPy has no types
    """Convert an example to a row; if its answer is a single text, that is its target, by which rows are balanced.

    Raises
    ------
    InputError
        If it is not an example, or does not say which fields are inputs.
    """
    if not callable(getattr(example, "inputs", None)):
        raise InputError(
            f"example {id_[1:]}: {kind_of(example)} was given; allowed: a dspy.Example that says which fields are "
            'inputs. Write dspy.Example(**row).with_inputs("text").'
        )
    try:
        inputs = tuple((name, str(value)) for name, value in example.inputs().items())
    except ValueError as error:
        raise InputError(
            f"example {id_[1:]} does not say which fields are inputs. Call its with_inputs(...)."
        ) from error
    labels = [str(value) for value in example.labels().values()]
    return Example(id_, inputs, (labels[0],) if len(labels) == 1 else ())
