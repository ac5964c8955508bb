"""Records as rows of tables: a field is in the column of its name, an interval in two columns, `low` and `high`.

`interval` is stored as `low` and `high`, `mean_interval` as `mean_low` and `mean_high`. Knows no table.
"""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol, TypeVar


class Noun(Protocol):
    """A record: any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class Row(Protocol):
    """A row of a query: a value for each column."""

    def __getitem__(self, column: str, /) -> Any: ...  # noqa: ANN401 - what a column holds


Record = TypeVar("Record", bound=Noun)


def row_of(record: Noun, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Convert a record to a row, without the fields `but` that are stored elsewhere."""
    row: dict[str, Any] = {}
    for field in fields(record):
        if field.name not in but:
            value = getattr(record, field.name)
            row |= zip(ends, value, strict=True) if (ends := _ends(field)) else {field.name: value}
    return row


def record_of(kind: type[Record], row: Row, **elsewhere: object) -> Record:
    """Read a record from a row; the fields that are stored elsewhere are passed in."""
    values = {field.name: _value(field, row) for field in fields(kind) if field.name not in elsewhere}
    return kind(**values, **elsewhere)


def _value(field: Field[Any], row: Row) -> object:
    if ends := _ends(field):
        return tuple(row[end] for end in ends)
    return bool(row[field.name]) if field.type == "bool" else row[field.name]


def _ends(field: Field[Any]) -> tuple[str, str] | None:
    """Name the two columns of an interval."""
    if not field.name.endswith("interval"):
        return None
    stem = field.name.removesuffix("interval")
    return f"{stem}low", f"{stem}high"
