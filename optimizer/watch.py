"""How the outside follows a run, and stops it. Knows nothing of what is followed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from optimizer.errors import InputError, kind_of
from optimizer.events import Event, Notice


@dataclass
class Watch:
    """How the outside follows a run and stops it."""

    event: Callable[[Event], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, given: Watch | Callable[[Event], None] | None) -> Watch:
        """Take what a caller gave: a watch, a function that is told of events, or nothing."""
        if given is None or isinstance(given, cls):
            return given or cls()
        if not callable(given):
            raise InputError(f"{kind_of(given)} was given as watch; allowed: a Watch, or a function of an event.")
        return cls(given)

    def noting(self, said: list[str]) -> Watch:
        """Keep what is told in words, too, at the end of a list."""

        def event(happened: Event) -> None:
            if isinstance(happened, Notice):
                said.append(happened.text)
            self.event(happened)

        return Watch(event, self.stop)

    def notice(self, text: str) -> None:
        """Tell something in words."""
        self.event(Notice(text))
