"""The progress of a run as lines of text, for a notebook or a log, which cannot show the command line's live view."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.events import Decided, Destination, Event, Notice, Stage
from optimizer.watch import Watch

STEPS = 10  # lines for each search


def progress(write: Callable[[str], object] = print) -> Watch:
    """Make a watch that writes where calls go, each stage, which trial leads at each tenth of a search, and notes.

    Parameters
    ----------
    write
        Called with each line: `print`, or a logger's `info`.
    """
    last = calls = 0

    def event(told: Event) -> None:
        nonlocal last, calls
        if isinstance(told, Destination):
            write(f"calls go to {told}")
        elif isinstance(told, Stage):
            write(f"{told.name}: {told.detail}")
        elif isinstance(told, Notice):
            write(f"note: {told.text}")
        elif isinstance(told, Decided):
            step, begun = STEPS * told.calls // told.planned, told.calls < calls  # another search
            if begun or step > last:
                last = step
                write(f"{told.calls:,} of {told.planned:,} answers: trial {told.best} leads")
            calls = told.calls

    return Watch(event)
