"""The live view of a run on stderr; drawn only on a terminal.

Part of the command line: it draws the events that the engine yields.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from optimizer.events import BlockScored, Decided, Destination, Event, Notice, Stage, TrialEnded
from optimizer.records import State, Trial
from optimizer.report import dollars, params_text, percent, spread
from optimizer.reports.grids import visible

SHOWN = 8  # most ended trials in view: the latest ones; the best trial is shown above them


class LiveView:
    """Draws events as they come.

    Parameters
    ----------
    quiet
        Whether to draw nothing even on a terminal.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        self._on = self._console.is_terminal and not quiet
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._started = time.monotonic()
        self._stage = Stage("starting")
        self._block: BlockScored | None = None
        self._ended: deque[Trial] = deque(maxlen=SHOWN)
        self._best: Trial | None = None
        self._leader: Decided | None = None
        self._done = self._planned = 0  # answers

    def __enter__(self) -> Self:
        if self._on:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event, and redraw."""
        if isinstance(event, Stage):
            self._stage, self._block = event, None
        elif isinstance(event, BlockScored):
            self._block = event
        elif isinstance(event, Decided):
            self._leader, self._done, self._planned = event, event.calls, event.planned
        elif isinstance(event, Notice):
            self.tell(event.text)
        elif isinstance(event, Destination):  # always shown, so that no key is sent without the user knowing where
            self._console.print(Text(f"calls go to {event}"), soft_wrap=True)
        else:
            self._end(event)
        if self._on:
            self._live.update(self._draw())

    def tell(self, text: str) -> None:
        """Print a note, above the view if there is one."""
        self._console.print(Text(visible(f"note: {text}")), soft_wrap=not self._console.is_terminal)

    def say(self, text: str) -> None:
        """Print a line above the view; only if the view is drawn."""
        if self._on:
            self._console.print(Text(visible(text)))

    def _end(self, event: TrialEnded) -> None:
        trial = event.trial
        self._ended.append(trial)
        if event.best == trial.number:
            self._best = trial

    def _draw(self) -> Group:
        seconds = time.monotonic() - self._started
        left = f", about {self._left(seconds):.0f} s left" if self._done and self._stage.name == "search" else ""
        head = Text(visible(f"{self._stage.name}: {self._stage.detail}  ({seconds:.0f} s{left})"), style="bold")
        lines: list[Text | Table] = [head]
        if self._leader:
            estimate = f", about {percent(self._leader.estimate)}" if self._leader.estimate is not None else ""
            best = f"leader: trial {self._leader.best}{estimate}; {self._done:,} of {self._planned:,} answers looked at"
            lines.append(Text(f"{best}; they cost {dollars(self._leader.cost)}", style="green"))
        if self._block:
            b = self._block
            between = f" ({spread(b.interval)})" if b.interval else ""
            seen = f"trial {b.number}: {b.n}/{b.of} rows, {percent(b.score)}{between}"
            lines.append(Text(visible(f"{seen}  {params_text(b.params)}"), overflow="ellipsis"))
        lines.append(self._table())
        return Group(*lines)

    def _left(self, seconds: float) -> float:
        return seconds / self._done * (self._planned - self._done)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("trial", "score", "rows", "state"):
            table.add_column(name, no_wrap=True)
        table.add_column("why")  # the only column that may be narrowed: rich shrinks columns that can wrap
        best = [self._best] if self._best and self._best not in self._ended else []
        for trial in [*best, *self._ended]:
            style = "green" if trial is self._best else "" if trial.state is State.COMPLETE else "dim"
            cells = (str(trial.number), percent(trial.score), str(trial.n), trial.state.value, trial.reason)
            table.add_row(*(Text(visible(cell), no_wrap=True, overflow="ellipsis") for cell in cells), style=style)
        return table
