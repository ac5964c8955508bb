"""The events that the engine yields while it works: frozen records, which the command line draws.

Scores are in [0, 1]; costs are in US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.records import Trial


@dataclass(frozen=True, slots=True)
class Destination:
    """Where calls to a model go, and the name of the variable whose key goes with them, or an empty text.

    `role` is the model's role, if it is not the one that answers.
    """

    address: str
    key: str = ""
    role: str = ""

    def __str__(self) -> str:
        whose = f", as {self.role}" if self.role else ""
        return f"{self.address}{whose} ({f'key: {self.key}' if self.key else 'no key in the environment'})"


@dataclass(frozen=True, slots=True)
class Stage:
    """A new stage of the run has begun."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BlockScored:
    """A block of dev rows was scored for a running trial."""

    number: int
    params: Mapping[str, Any]
    n: int
    of: int
    score: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial was completed, pruned or failed; `best` is the number of the leading trial."""

    trial: Trial
    best: int | None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the search was carried out: `calls` of `planned` answers were used; trial `best` leads now.

    `cost` is what those answers cost when they were bought.
    """

    calls: int
    planned: int
    best: int
    params: Mapping[str, Any]
    estimate: float | None = None
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A note for the user, always shown."""

    text: str


Event = Destination | Stage | BlockScored | TrialEnded | Decided | Notice
