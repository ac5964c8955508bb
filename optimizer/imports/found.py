"""What another tool's file contains, as a first task file needs it. Knows no tool."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a file.

    Parameters
    ----------
    format
        What the file is.
    inputs, target
        The columns that are the input, and the one with the answer.
    rows
        Column -> text; empty if the file has none.
    demos
        Examples that the prompt shows as they are: columns of `inputs`, `target` and perhaps "reasoning".
    description
        The wording, verbatim, if it is one for all rows.
    wordings
        Id -> wording, if there are several, or they were changed.
    seed
        Dimension -> its value in the seed prompt.
    model
        In LiteLLM's notation; empty if the file names none that is known.
    made, left_out
        What became of each part, and what was not imported; one sentence each.
    """

    format: str
    inputs: tuple[str, ...]
    target: str
    rows: tuple[Row, ...] = ()
    demos: tuple[Row, ...] = ()
    description: str = ""
    wordings: Mapping[str, str] = field(default_factory=dict)
    seed: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    made: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def columns(rows: Iterable[Row]) -> list[str]:
    """Return all columns of some rows, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_csv(rows: Sequence[Row]) -> bytes:
    """Write rows as `optimizer.rows.tables` reads them."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(rows), restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
