"""How many calls may be under way, and how fast they may follow each other: adapts to what the provider bears.

At a time: doubled with every round of answers until the first sign of trouble, then one more with every round; three
quarters on a rate limit or an overload, and when answers take three times as long as they did (additive increase,
multiplicative decrease: Chiu and Jain 1989; the rise of latency as a signal: Brakmo and Peterson 1995).
Per second: unlimited until the first rate limit; then four fifths of what was answered in the last second, half as
much again after each refusal as long as nothing is answered. With every answer it rises by half a call a second, so
that it doubles in a second and a half, but only by a fiftieth of a call near the rate that was too much.

A state machine over a clock that is handed in; knows no model, no thread and no event loop.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

FIRST = 16  # calls at a time before anything is known of the provider
LESS, SLOWER = 0.75, 0.8
FASTER, NEAR = 0.5, 0.02  # calls a second that an answer adds; from less than one a second as shares of it
LEAST_RATE = 0.2  # calls a second: even after many refusals, one is tried every five seconds
UNKNOWN_RATE = 2.0  # calls a second that are tried where the very first call was refused
LATE = 3.0  # times the usual latency


@dataclass
class Gate:
    """Lets calls out.

    Parameters
    ----------
    most
        The user's cap on calls at a time.
    longest
        The longest wait, in seconds, that a provider's limits are granted.
    per_minute, tokens_per_minute
        The user's caps on the pace; 0 is none. They are kept by even spacing.
    """

    most: int
    longest: float = 60.0
    per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    at_once: float = field(init=False)
    rate: float = math.inf
    flying: int = 0
    answered_at: float = -math.inf
    _troubled: bool = False
    _too_fast: float = math.inf  # the rate that was refused last
    _cut_at: float = -math.inf
    _not_before: float = -math.inf
    _slot: float = -math.inf
    _answers: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    _usual: float = math.inf
    _latency: float = 0.0

    def __post_init__(self) -> None:
        self.at_once = float(min(self.most, FIRST))

    def wait(self, now: float) -> float:
        """Seconds until the next call may leave: 0 is now; infinite if another one has to land first."""
        if self.flying >= int(self.at_once):
            return math.inf
        return max(0.0, self._not_before - now, self._slot - now)

    def leave(self, now: float, tokens: int = 0) -> None:
        """A call leaves; `tokens` is what it will take at most."""
        self.flying += 1
        spacing = max(
            min(self.longest, 1 / self.rate),
            60 / self.per_minute if self.per_minute else 0.0,
            60 * tokens / self.tokens_per_minute if self.tokens_per_minute else 0.0,
        )
        self._slot = max(now, self._slot) + spacing

    def answered(self, now: float, seconds: float) -> None:
        """A call came back with an answer after so many seconds."""
        self.flying -= 1
        self.answered_at = now
        self._answers.append(now)
        self.at_once = min(self.most, self.at_once + (1 / self.at_once if self._troubled else 1))
        near = 0.9 * self._too_fast < self.rate < 1.1 * self._too_fast
        self.rate *= 1 + (NEAR if near else FASTER) / max(1.0, self.rate)
        self._latency = seconds if not self._latency else 0.8 * self._latency + 0.2 * seconds
        self._usual = min(1.002 * self._usual, self._latency)  # what takes longer for long is usual in the end
        if self._latency > LATE * self._usual and self._trouble(now, now - seconds):
            self._usual = self._latency / 2

    def failed(self, now: float, sent: float, *, busy: bool = False) -> None:
        """A call that was sent at a time came back without an answer; `busy` if the provider has too much to do."""
        self.flying -= 1
        if busy:
            self._trouble(now, sent)

    def limited(self, now: float, sent: float, wait: float | None) -> None:
        """A call that was sent at a time was refused as too fast; `wait` is what the provider asks for, in seconds."""
        self.flying -= 1
        if self._trouble(now, sent):
            answered = sum(at > now - 1 for at in self._answers)
            known = answered or not math.isinf(self.rate)  # else the very first calls were too many at once
            at = min(self.rate, answered or UNKNOWN_RATE)
            self._too_fast = at if known else math.inf
            self.rate = max(LEAST_RATE, (SLOWER if answered else SLOWER / 2) * at)
        self._not_before = max(self._not_before, now + min(self.longest, 1 / self.rate if wait is None else wait))

    def _trouble(self, now: float, sent: float) -> bool:
        """Let fewer out at a time, once for all the calls that were under way together."""
        if sent < self._cut_at:
            return False
        self._troubled, self._cut_at = True, now
        self.at_once = max(1.0, LESS * self.at_once)
        return True
