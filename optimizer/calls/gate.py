"""How many calls may be in flight, and how fast they may follow each other, adapted to what the provider can take.

Calls at a time: doubled with every round of answers until the first sign of trouble, then one more with every round;
cut to three quarters on a rate limit or an overload, and when answers take three times as long as usual (additive
increase, multiplicative decrease: Chiu and Jain 1989; a rise of latency as a signal: Brakmo and Peterson 1995).
Calls per second: unlimited until the first rate limit; then four fifths of the rate at which calls were answered in the
last second, or in the time of the last few calls if they are slower, or two fifths of the present rate if none was
answered. It does not fall far below what the wait that the provider asks for suggests: some refuse calls at random,
however few are made. Each answer raises the rate by half a call per second, so that it doubles in about a second and a
half; near the rate last refused by a fiftieth, doubled with each further answer, since that rate may be out of date.

A state machine; the time is passed in. Knows no model, no thread and no event loop.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

FIRST = 16  # calls at a time before anything is known about the provider
LESS, SLOWER = 0.75, 0.8  # factors on the calls at a time and on the calls per second
FASTER, NEAR = 0.5, 0.02  # calls per second that an answer adds; at rates below one per second, shares of the rate
LAST = 5.0  # calls at the present rate that say how fast calls are answered, if they take more than a second
LEAST_RATE = 0.2  # calls per second: even after many refusals, one is tried every five seconds …
LEAST_ASKED, MOST_LEAST = 0.5, 5.0  # … or, if the provider asks for a wait, one in so many waits, at most so many
UNKNOWN_RATE = 2.0  # calls per second that are assumed if the very first calls were refused
LATE = 3.0  # times the usual latency that count as trouble


@dataclass
class Gate:
    """Decides when the next call may be sent.

    Parameters
    ----------
    most
        The user's cap on calls at a time.
    longest
        The longest wait in seconds, even if a provider asks for a longer one.
    per_minute, tokens_per_minute
        The user's caps on calls and tokens per minute; 0 means none. Calls are spaced evenly to keep them.
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
    _too_fast: float = math.inf  # the rate last refused
    _streak: int = 0  # answers since then
    _cut_at: float = -math.inf
    _not_before: float = -math.inf
    _slot: float = -math.inf
    _answers: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    _usual: float = math.inf
    _latency: float = 0.0

    def __post_init__(self) -> None:
        self.at_once = float(min(self.most, FIRST))

    def wait(self, now: float) -> float:
        """Return the seconds until the next call may be sent: 0 for now, infinite if another one must return first."""
        if self.flying >= int(self.at_once):
            return math.inf
        return max(0.0, self._not_before - now, self._slot - now)

    def leave(self, now: float, tokens: int = 0) -> None:
        """Count a call that is sent now; it takes at most `tokens` tokens."""
        self.flying += 1
        spacing = max(
            min(self.longest, 1 / self.rate),
            60 / self.per_minute if self.per_minute else 0.0,
            60 * tokens / self.tokens_per_minute if self.tokens_per_minute else 0.0,
        )
        self._slot = max(now, self._slot) + spacing

    def answered(self, now: float, seconds: float) -> None:
        """Count a call that returned an answer after so many seconds."""
        self.flying -= 1
        self.answered_at = now
        self._answers.append(now)
        self.at_once = min(self.most, self.at_once + (1 / self.at_once if self._troubled else 1))
        self._streak += 1
        near = 0.9 * self._too_fast < self.rate < 1.1 * self._too_fast
        step = min(FASTER, NEAR * 2.0**self._streak) if near else FASTER
        self.rate *= 1 + step / max(1.0, self.rate)
        self._latency = seconds if not self._latency else 0.8 * self._latency + 0.2 * seconds
        self._usual = min(1.002 * self._usual, self._latency)  # a latency that stays high becomes the usual one
        if self._latency > LATE * self._usual and self._trouble(now, now - seconds):
            self._usual = self._latency / 2

    def failed(self, now: float, sent: float, *, busy: bool = False) -> None:
        """Count a call, sent at time `sent`, that returned no answer; `busy` if the provider is overloaded."""
        self.flying -= 1
        if busy:
            self._trouble(now, sent)

    def limited(self, now: float, sent: float, wait: float | None) -> None:
        """Count a call, sent at time `sent`, that hit a rate limit; the provider asks to wait `wait` seconds."""
        self.flying -= 1
        self._streak = 0
        if self._trouble(now, sent):
            span = max(1.0, LAST / self.rate)
            answered = sum(at > now - span for at in self._answers) / span
            known = answered or not math.isinf(self.rate)  # otherwise, too many calls were sent at the very start
            at = min(self.rate, answered or UNKNOWN_RATE)
            self._too_fast = at if known else math.inf
            asked = min(MOST_LEAST, LEAST_ASKED / wait) if wait else 0.0
            self.rate = max(LEAST_RATE, asked, (SLOWER if answered else SLOWER / 2) * at)
        self._not_before = max(self._not_before, now + min(self.longest, 1 / self.rate if wait is None else wait))

    def _trouble(self, now: float, sent: float) -> bool:
        """Lower the calls at a time, once for all calls that were in flight together; return whether it was done."""
        if sent < self._cut_at:
            return False
        self._troubled, self._cut_at = True, now
        self.at_once = max(1.0, LESS * self.at_once)
        return True
