"""What a ledger needs of the place where completions are written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from optimizer.budget import Spent
from optimizer.records import Completion, Failure


class Book(Protocol):
    """Where completions are written down; a `Store` happens to fit."""

    def find_completions(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Look up which of these were bought already."""

    def claim(self, run: int, model: str, calls: Mapping[str, Spent]) -> set[str]:
        """Write down that these calls go out, at these prices at most; return those that another process makes."""

    def add_completions(self, run: int, model: str, completions: Mapping[str, Completion]) -> None:
        """Write these down, and that their calls are over; they are safe when this returns."""

    def add_failures(self, run: int, model: str, failures: Sequence[tuple[str, Failure, Spent]]) -> None:
        """Write attempts down that gave no answer, each with the most that it can have cost."""

    def release(self, keys: Iterable[str]) -> None:
        """Write down that these calls are over."""

    def together(self) -> AbstractContextManager[None]:
        """Write all or nothing."""
