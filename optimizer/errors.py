"""The errors that a user may see; each message says what was given, what is allowed and what to do.

    PhrasetuneError
    ├── InputError            something that the user gave cannot be used   exit 2
    │   ├── DataError         a data file
    │   ├── TaskError         a task file
    │   ├── SpaceError        a dimension of the search space
    │   ├── StoreError        a results.db
    │   ├── ModelError        a model name, key or price
    │   └── ExportError       a format, or a prompt that the format cannot carry
    ├── BudgetSpent           the next call could exceed a cap              exit 1
    ├── ProviderError         every call is refused, or all answers empty   exit 1
    └── Interrupted           the user stopped the run; it can be resumed   exit 130

Any other exception is a bug, and shows its traceback. `Upgraded` is a warning: nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class PhrasetuneError(Exception):
    """Base class of all these errors."""

    exit_code = 1


class InputError(PhrasetuneError):
    """Something that the user gave cannot be used."""

    exit_code = 2


class DataError(InputError):
    """A data file cannot be used as it is."""


class TaskError(InputError):
    """A task file cannot be used as it is."""


class SpaceError(InputError):
    """The search space has no such dimension or value."""


class StoreError(InputError):
    """A file is not a results.db, was written by a newer version, or cannot be read or written."""


class ModelError(InputError):
    """A model cannot be opened under this name, with this key or at this price."""


class ExportError(InputError):
    """A format is unknown or cannot represent this prompt, or the file cannot be written."""


class BudgetSpent(PhrasetuneError):  # noqa: N818 - a reason to stop, not a fault
    """The next call could exceed a cap; everything bought is saved."""


class ProviderError(PhrasetuneError):
    """The provider refuses every call or returns only empty answers, so that continuing would not help."""


class Interrupted(PhrasetuneError):  # noqa: N818 - not an error, but handled like one
    """The user stopped the run; everything bought is saved."""

    exit_code = 130


class Upgraded(UserWarning):
    """A results.db of an older version was upgraded, after a copy was made."""


def one_of(kind: str, given: object, allowed: list[str], fix: str = "") -> str:
    """Return the error message for an unknown name, with the closest allowed one as a suggestion if it is close."""
    return f"unknown {kind} {given!r}; allowed: {', '.join(allowed)}.{meant(given, allowed)}{' ' + fix if fix else ''}"


def kind_of(given: object) -> str:
    """Return the type of a value with its article, for an error message."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    name = type(given).__name__
    return "None" if given is None else f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def reason_of(error: BaseException) -> str:
    """Return why a run ended: the message of the error; for unexpected ones with the type, as some have no message."""
    said = str(error)
    if isinstance(error, PhrasetuneError | KeyboardInterrupt):
        return said or "stopped"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def resume_note(run: int, db: Path) -> str:
    """Return a note for a traceback: the run is saved, and the same call resumes it."""
    return f"run {run} is kept in {db}: the same call goes on where it stopped"


def meant(given: object, allowed: Sequence[str]) -> str:
    """Return a question whether the closest allowed value was meant, ignoring case; empty if none is close."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in reversed(allowed)}
    close = get_close_matches(str(given).casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
