"""How fast the gate lets calls through, and how many are refused, at providers that refuse in different ways.

    python benchmarks/pacing.py --calls 300

A simulation: the clock is made up, the gate is the real one. Buckets refill evenly, windows at once; "random" refuses a
share of all calls, however few are made. The header is the wait that a refusal asks for ("exact": until a call would
be let through).
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from optimizer.calls.gate import Gate

REFUSED = 0.05  # seconds until a refusal is back
HORIZON = 3600.0  # seconds after which a run is given up

Provider = Callable[[float], float | None]  # time of a call -> None if it is answered, else the wait; nan: none is told


@dataclass
class Bucket:
    """Lets `rate` calls a second through, `burst` at once."""

    rate: float
    burst: float
    told: bool
    _left: float = field(init=False)
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = self.burst

    def __call__(self, now: float) -> float | None:
        """Take a call."""
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return None
        return (1 - self._left) / self.rate if self.told else math.nan


@dataclass
class Window:
    """Lets so many calls through in each window of so many seconds."""

    calls: int
    seconds: float
    told: bool
    _number: int = 0
    _taken: int = 0

    def __call__(self, now: float) -> float | None:
        """Take a call."""
        if int(now // self.seconds) != self._number:
            self._number, self._taken = int(now // self.seconds), 0
        self._taken += 1
        if self._taken <= self.calls:
            return None
        return (self._number + 1) * self.seconds - now if self.told else math.nan


@dataclass
class Random:
    """Refuses a share of all calls, and asks for the same wait each time."""

    share: float
    wait: float
    rng: random.Random

    def __call__(self, _: float) -> float | None:
        """Take a call."""
        return self.wait if self.rng.random() < self.share else None


def run(provider: Provider, calls: int, seconds: float, rng: random.Random) -> tuple[float, int, int]:
    """Make calls that take about so many seconds; return the time, and how many were answered and refused."""
    gate, now, waiting, sent, answered, refused = Gate(8), 0.0, calls, 0, 0, 0
    back: list[tuple[float, int, float, float | None]] = []
    while answered < calls and now < HORIZON:
        if waiting and gate.wait(now) == 0:
            gate.leave(now)
            wait = provider(now)
            lasts = seconds * rng.uniform(0.7, 1.3) if wait is None else REFUSED
            sent, waiting = sent + 1, waiting - 1
            heapq.heappush(back, (now + lasts, sent, now, wait))
            continue
        free = now + gate.wait(now) if waiting else math.inf
        if back and back[0][0] <= free:
            now, _, left, wait = heapq.heappop(back)
            if wait is None:
                gate.answered(now, now - left)
                answered += 1
            else:
                gate.limited(now, left, None if math.isnan(wait) else wait)
                refused, waiting = refused + 1, waiting + 1
        else:
            now = max(free, now + 1e-9)
    return now, answered, refused


def providers(rng: random.Random) -> dict[str, Callable[[], Provider]]:
    """Name the providers, each made anew for a run."""
    found: dict[str, Callable[[], Provider]] = {}
    for share in (0.1, 0.3, 0.5):
        for wait in (math.nan, 0.2, 1.0):
            header = "no header" if math.isnan(wait) else f"{wait:g} s"
            found[f"random {share:.0%}, {header}"] = partial(Random, share, wait, rng)
    for header, told in (("no header", False), ("exact", True)):
        for rate, burst in ((1, 1), (5, 5), (5, 60), (20, 20)):
            found[f"{rate} a second, {burst} at once, {header}"] = partial(Bucket, rate, burst, told)
        for calls, seconds in ((60, 60), (10, 10)):
            found[f"{calls} in each {seconds} s, {header}"] = partial(Window, calls, seconds, told)
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0.5, help="that an answer takes")
    args = parser.parse_args()
    print("| provider | seconds | answered | refused |\n| --- | --- | --- | --- |")
    for name, made in providers(random.Random(1)).items():
        now, answered, refused = run(made(), args.calls, args.seconds, random.Random(2))
        print(f"| {name} | {now:,.0f} | {answered:,} | {refused:,} |")


if __name__ == "__main__":
    main()
