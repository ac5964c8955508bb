"""Rows as a data frame of pandas or polars, whichever is installed. The door of both, which are needed nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, overload

from optimizer.errors import InputError, one_of

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

LIBRARIES = ("pandas", "polars")

Rows = Sequence[Mapping[str, Any]]


@overload
def frame(rows: Rows, library: Literal["pandas"]) -> pd.DataFrame: ...
@overload
def frame(rows: Rows, library: Literal["polars"]) -> pl.DataFrame: ...
@overload
def frame(rows: Rows, library: None = None) -> Any: ...  # noqa: ANN401 - whichever is installed
def frame(rows: Rows, library: str | None = None) -> Any:
    """Make a data frame of rows that have the same keys.

    Parameters
    ----------
    rows
        The rows; each key becomes a column. Whole numbers stay whole even if some are missing, in pandas as Int64.
    library
        "pandas" or "polars"; by default the first that is installed.

    Raises
    ------
    InputError
        If the library is unknown or not installed.
    """
    if library is not None and library not in LIBRARIES:
        raise InputError(one_of("library of data frames", library, list(LIBRARIES)))
    installed = [name for name in LIBRARIES if find_spec(name)]
    chosen = library or next(iter(installed), None)
    if chosen not in installed:
        missing = library or "neither pandas nor polars"
        raise InputError(
            f"{missing} is {'not ' if library else ''}installed, which a data frame needs. "
            f"Run `pip install {library or 'pandas'}`, or take `facts()`: a dict for each trial."
        )
    if chosen == "polars":
        import polars as pl

        return pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
    import pandas as pd

    gaps = [name for name in (rows[0] if rows else ()) if {type(row[name]) for row in rows} == {int, type(None)}]
    return pd.DataFrame([dict(row) for row in rows]).astype(dict.fromkeys(gaps, "Int64"))
