"""Turning rows that a program passes into a Table: dicts, data frames, data sets, DSPy examples. The door of narwhals.

The library they come from is recognised by their attributes, without importing it. Values become the same texts as in a
file: numpy numbers as Python's, classes by their names, missing values as "".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from optimizer.errors import DataError, kind_of, one_of
from optimizer.rows.splits import SPELLINGS
from optimizer.rows.tables import Table, table_from

NAME = "rows"  # their name in errors
SPLIT = "split"  # the column added to rows of a mapping of splits
TAKEN = (
    "a list of dicts, a data frame (pandas, polars, pyarrow), a data set of `datasets`, or a list of DSPy's examples"
)

Row = Mapping[str, object]


def as_table(rows: object) -> Table:
    """Make a table of rows.

    Parameters
    ----------
    rows
        An iterable of mappings from column names to values; a data frame that narwhals can read; a data set of Hugging
        Face's `datasets`, whose class numbers become names; DSPy examples; or a mapping of "train", "dev" and "test"
        to any of these, which adds a column "split".

    Raises
    ------
    DataError
        If they are something else, if there are none, or if they contain what a file of rows could not.
    """
    found = _plain_rows(rows)
    first = next(found, None)
    if first is None:
        raise DataError(f"{NAME}: there are none. Hand over one for each example.")
    return table_from(NAME, enumerate(chain([first], found), start=1))


def fields(rows: object) -> tuple[tuple[str, ...], str]:
    """Return the input fields and the target that a list of DSPy examples declares; empty if it does not."""
    first = rows[0] if isinstance(rows, (list, tuple)) and rows else None
    if first is None or not callable(getattr(first, "toDict", None)):
        return (), ""
    try:
        inputs, answers = tuple(first.inputs().keys()), tuple(first.labels().keys())
    except ValueError:  # raised by DSPy if the inputs are not declared
        return (), ""
    return inputs, answers[0] if len(answers) == 1 else ""


def _plain_rows(rows: object) -> Iterator[object]:
    """Yield rows as dicts of plain values; the table refuses anything else."""
    if isinstance(rows, Mapping):
        yield from _splits(rows)
    elif hasattr(rows, "column_names") and hasattr(rows, "features"):
        yield from _data_set(rows)
    elif isinstance(rows, (list, tuple)):
        yield from map(_row, rows)
    elif (frame := _frame(rows)) is not None:
        # Every library has its own value for missing cells, so narwhals is asked which are null.
        for row, empty in zip(frame.iter_rows(named=True), frame.select(_is_null()).iter_rows(), strict=True):
            yield {
                name: None if gone else _value(value) for (name, value), gone in zip(row.items(), empty, strict=True)
            }
    elif isinstance(rows, Iterable) and not isinstance(rows, (str, bytes, Path)):
        yield from map(_row, rows)
    else:
        fix = f"Name a file in [data]{'' if isinstance(rows, (str, Path)) else ', or hand over one of these'}."
        raise DataError(f"{NAME}: {kind_of(rows)} was given; allowed: {TAKEN}. {fix}")


def _splits(splits: Mapping[Any, object]) -> Iterator[object]:
    for name in splits:
        if str(name).casefold() not in SPELLINGS:
            fix = f"A mapping is one of splits; a single set of rows is {TAKEN}."
            raise DataError(f"{NAME}: {one_of('split', name, list(SPELLINGS), fix)}")
    for name, rows in splits.items():
        for row in _plain_rows(rows):
            if isinstance(row, Mapping) and SPLIT in row:
                raise DataError(f"{NAME}: those of {name!r} have a column {SPLIT!r} already. Rename it.")
            yield {**row, SPLIT: name} if isinstance(row, Mapping) else row


def _row(row: object) -> object:
    """Return a mapping or a DSPy example as a dict of plain values; anything else as it is, for the table to refuse."""
    if not isinstance(row, Mapping) and callable(told := getattr(row, "toDict", None)):
        row = told()
    return {name: _value(value) for name, value in row.items()} if isinstance(row, Mapping) else row


def _value(value: object) -> object:
    """Turn numpy numbers, arrays and tensors into Python numbers and lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def _data_set(rows: Any) -> Iterator[Row]:  # noqa: ANN401 - its library need not be installed
    """Yield the rows of a data set of `datasets`, with the names of its classes."""
    named = {name: _classes(feature) for name, feature in (rows.features or {}).items()}
    for row in rows:
        yield {name: named.get(name, _value)(value) for name, value in row.items()}


def _classes(feature: Any) -> Callable[[object], object]:  # noqa: ANN401
    """Return a function that turns a feature's values into plain ones: class numbers into names, -1 into None."""
    if hasattr(feature, "int2str"):
        return lambda value: feature.int2str(int(value)) if isinstance(value, int) and value >= 0 else None
    if hasattr(inner := getattr(feature, "feature", None), "int2str"):
        name = _classes(inner)
        return lambda values: [name(value) for value in values] if isinstance(values, list) else values
    return _value


def _frame(rows: object) -> Any:  # noqa: ANN401
    """Return a narwhals data frame, collected if it is lazy; None if the rows are not a data frame."""
    import narwhals as nw

    try:
        frame = nw.from_native(rows, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        twice = ", ".join(line.lstrip("- ") for line in str(error).splitlines()[1:])
        raise DataError(f"{NAME}: names of columns stand more than once ({twice}). Rename or remove some.") from None
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame if isinstance(frame, nw.DataFrame) else None


def _is_null() -> Any:  # noqa: ANN401
    import narwhals as nw

    return nw.all().is_null()
