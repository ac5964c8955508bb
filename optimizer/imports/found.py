"""What another tool's file holds, as a first task file needs it. Knows no tool."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Parameters
    ----------
    format
        What the file is.
    inputs, target
        The columns that are asked, and the one that is answered.
    rows
        Column -> text; empty where the file holds none.
    demos
        Examples that the prompt shows as they are: columns of `inputs`, `target` and perhaps "reasoning".
    description
        The wording, if it is one for all rows, to the letter.
    wordings
        Id -> wording, if they are several, or changed.
    seed
        Dimension -> its value in the seed prompt.
    model
        As LiteLLM names it; empty where the file names none that is known.
    made, left_out
        What became of each part, and what of it was not taken; a sentence each.
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
    """All columns of some rows, in the order in which they are met."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_csv(rows: Sequence[Row]) -> bytes:
    """Write rows as `optimizer.rows.tables` reads them."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(rows), restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
