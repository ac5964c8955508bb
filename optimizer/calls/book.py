"""The interface through which a ledger records completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from optimizer.budget import Spent
from optimizer.records import Completion, Failure


class Book(Protocol):
    """Where completions are recorded; a `Store` has these methods."""

    def find_completions(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Return the completions, by key, of those calls that were bought already."""

    def claim(self, run: int, model: str, calls: Mapping[str, Spent]) -> set[str]:
        """Record that these calls are being made, with the most each can cost; return those another process makes."""

    def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
        """Record completions and the end of their calls; when this returns, they are safely stored."""

    def add_failures(self, run: int, model: str, failures: Sequence[tuple[str, Failure, Spent]]) -> None:
        """Record attempts that returned no answer, each with the most that it can have cost."""

    def release(self, keys: Iterable[str]) -> None:
        """Record that these calls have ended."""

    def together(self) -> AbstractContextManager[None]:
        """Make all writes in the context one transaction."""
