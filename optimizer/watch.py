"""Following a run from outside, and stopping it. Does not know what is followed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from optimizer.errors import InputError, kind_of
from optimizer.events import Event, Notice


@dataclass
class Watch:
    """Follows a run: `event` is called with each event, and setting `stop` ends the run."""

    event: Callable[[Event], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, given: Watch | Callable[[Event], None] | None) -> Watch:
        """Return a watch for what a caller gave: a watch, a function that takes events, or None.

        Raises
        ------
        InputError
            If it is something else.
        """
        if given is None or isinstance(given, cls):
            return given or cls()
        if not callable(given):
            raise InputError(f"{kind_of(given)} was given as watch; allowed: a Watch, or a function of an event.")
        return cls(given)

    def noting(self, said: list[str]) -> Watch:
        """Return a watch that also appends the text of each notice to a list."""

        def event(happened: Event) -> None:
            if isinstance(happened, Notice):
                said.append(happened.text)
            self.event(happened)

        return Watch(event, self.stop)

    def notice(self, text: str) -> None:
        """Send a notice."""
        self.event(Notice(text))
