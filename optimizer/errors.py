"""The errors that a user may meet, each saying what was given, what is allowed and what to do.

    PhrasetuneError
    ├── InputError            something the user gave cannot be used        exit 2
    │   ├── DataError         a data file
    │   ├── TaskError         a task file
    │   ├── SpaceError        a dimension of the search space
    │   ├── StoreError        a results.db
    │   ├── ModelError        a model name, key or price
    │   └── ExportError       a format, or a prompt that the format cannot carry
    ├── BudgetSpent           the next call could pass a cap                exit 1
    ├── ProviderError         the provider refuses every call, or is mute exit 1
    └── Interrupted           the user stopped the run; it can be resumed   exit 130

Anything else that is raised is a bug, and shows its traceback. `Upgraded` is a warning: nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class PhrasetuneError(Exception):
    """Root of the tree."""

    exit_code = 1


class InputError(PhrasetuneError):
    """Something the user gave cannot be used."""

    exit_code = 2


class DataError(InputError):
    """A data file cannot be used as it is."""


class TaskError(InputError):
    """A task file cannot be used as it is."""


class SpaceError(InputError):
    """A dimension of the search space was given something it does not hold."""


class StoreError(InputError):
    """A results.db is not ours, is newer than this program, or cannot be written."""


class ModelError(InputError):
    """A model cannot be opened under this name, with this key or at this price."""


class ExportError(InputError):
    """A format is unknown, or cannot carry this prompt."""


class BudgetSpent(PhrasetuneError):  # noqa: N818 - a reason to stop, not a fault
    """The next call could pass a cap; what was bought is written down."""


class ProviderError(PhrasetuneError):
    """The provider refuses every call, so that going on would only repeat the refusal."""


class Interrupted(PhrasetuneError):  # noqa: N818 - it is no error, but it leaves by the same door
    """The user stopped the run; everything bought is written down."""

    exit_code = 130


class Upgraded(UserWarning):
    """A results.db of an older phrasetune was brought up to date, and a copy made."""


def one_of(kind: str, given: object, allowed: list[str], fix: str = "") -> str:
    """Word the most common complaint, with the closest allowed value if one is near."""
    return f"unknown {kind} {given!r}; allowed: {', '.join(allowed)}.{meant(given, allowed)}{' ' + fix if fix else ''}"


def kind_of(given: object) -> str:
    """Name what a caller has given by its type, with the article."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    name = type(given).__name__
    return "None" if given is None else f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def reason_of(error: BaseException) -> str:
    """Say why a run was left: what an error of ours says; of any other its type, too, for some say nothing."""
    said = str(error)
    if isinstance(error, PhrasetuneError | KeyboardInterrupt):
        return said or "stopped"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def resume_note(run: int, db: Path) -> str:
    """Note for a traceback: the run is saved, and the same call resumes it."""
    return f"run {run} is kept in {db}: the same call goes on where it stopped"


def meant(given: object, allowed: Sequence[str]) -> str:
    """Ask whether the closest allowed value was meant, if one is near; case makes no distance."""
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in reversed(allowed)}
    close = get_close_matches(str(given).casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
