"""The budget of a run: caps on the calls, dollars, tokens and minutes of all its models together.

The highest possible cost of a call is reserved before it is made, so that the caps hold; its actual cost replaces the
reservation when it returns. Knows no model and no file.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from optimizer.errors import BudgetSpent
from optimizer.phrases import amount, counted
from optimizer.records import Completion, Request

MOST_ATTEMPTS = 2.0  # of a call that must still be paid at the end
ROOM = 1.2  # safety factor on the mean cost of similar calls: prompts and rows differ in length


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent; 0 means no cap."""

    calls: int = 0
    usd: float = 0.0
    tokens: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls, US dollars and tokens: what was spent, what one call may cost at most, or what is reserved."""

    calls: int = 0
    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.calls + other.calls, self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.calls - other.calls, self.usd - other.usd, self.tokens - other.tokens)

    def __mul__(self, number: int) -> Spent:
        return Spent(self.calls * number, self.usd * number, self.tokens * number)

    @property
    def said(self) -> str:
        """The number of calls, and their cost if it is known, in words."""
        return f"{counted(self.calls, 'call')}{f' (about {amount(self.usd)})' if self.usd else ''}"


def most(request: Request, price: tuple[float, float] | None) -> Spent:
    """Return the most that one attempt at a call can cost, since each token has at least one byte."""
    per_prompt, per_token = price or (0.0, 0.0)
    size = sum(len(message.content.encode()) + 8 for message in request.messages)
    bound = request.settings.max_tokens
    return Spent(1, size * per_prompt + bound * per_token, size + bound)


def larger(a: Spent, b: Spent) -> Spent:
    """Take the larger of each kind."""
    return Spent(max(a.calls, b.calls), max(a.usd, b.usd), max(a.tokens, b.tokens))


def taken(completion: Completion) -> Spent:
    """Return what an answered call took."""
    return Spent(1, completion.cost, completion.prompt_tokens + completion.completion_tokens)


def further(before: Sequence[Spent]) -> Spent:
    """Estimate what one more call may take, from those before."""
    n, total = max(1, len(before)), sum(before, Spent())
    return Spent(1, ROOM * total.usd / n, int(ROOM * total.tokens / n))


LONGEST = 16  # most bytes of a token: few words are longer, and no widely used tokenizer joins two words …
REPEATED = re.compile(r"(\S)\1{3,}")  # … but some join repeated characters, such as a line of dashes


def too_long(request: Request, context: int) -> str:
    """Return why a request cannot fit into a context of so many tokens, prompt and answer; empty if it may fit.

    The prompt is assumed to have as few tokens as possible: one for each word, and more for words of more than 16
    bytes. English text has a quarter to a half more tokens, Chinese several times as many; requests that are too long
    nevertheless are refused by the provider.
    """
    texts, bound = [message.content for message in request.messages], request.settings.max_tokens
    if sum(map(len, texts)) + bound <= context:  # the estimate below is never above one token per character
        return ""
    words = (word for text in texts for word in REPEATED.sub(r"\1", text).split())
    least = sum(1 + (len(word.encode()) - 1) // LONGEST for word in words)
    if least + bound <= context:
        return ""
    return f"prompt of at least {least:,} tokens, and up to {bound:,} for the answer; the model takes {context:,}"


@dataclass
class Budget:
    """The caps of a run, and what was spent.

    `held` is kept for the final evaluation, and `held_minutes` for the time that it takes. `failed` is how many of the
    calls `spent` were attempts that returned no answer but may have been charged. `worked_before` are the seconds that
    earlier processes worked on the run.
    """

    caps: Caps = Caps()
    spent: Spent = Spent()
    held: Spent = Spent()
    held_minutes: float = 0.0
    reserved: Spent = Spent()
    worked_before: float = 0.0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, call: Spent) -> None:
        """Reserve the highest possible cost of a call.

        Raises
        ------
        BudgetSpent
            If the call could exceed a cap.
        """
        with self._lock:
            if reason := self._lacking(self.spent + self.reserved + call):
                raise BudgetSpent(reason)
            self.reserved += call

    def settle(self, reserved: Spent, spent: Spent, *, failed: int = 0) -> None:
        """Replace a reservation by the actual cost; `failed` is how many of its attempts failed."""
        with self._lock:
            self.reserved -= reserved
            self.spent += spent
            self.failed += failed

    @property
    def attempts(self) -> float:
        """How many attempts a call is foreseen to take: the mean so far, and not more than `MOST_ATTEMPTS`.

        An outage at the start must not keep the budget from a search that goes on when it is over.
        """
        return min(MOST_ATTEMPTS, 1 + self.failed / max(1, self.spent.calls - self.failed))

    def foreseen(self, calls: int) -> int:
        """Return how many attempts so many calls will hardly exceed, if they fail as often as those before.

        The failures have a negative binomial distribution; the result is two standard deviations above its mean.
        """
        failures = calls * (self.attempts - 1)
        return math.ceil(calls + failures + 2 * math.sqrt(failures * self.attempts))

    def lacking(self, more: Spent) -> str:
        """Return why the caps do not cover `more` calls, dollars and tokens; empty if they do."""
        caps, free = self.caps, Spent(self.caps.calls, self.caps.usd, self.caps.tokens) - self.spent - self.held
        if caps.calls and more.calls > free.calls:
            return f"it takes {more.said}, and the budget has {max(0, free.calls)} left"
        if caps.usd and more.usd > free.usd:
            return f"it takes {more.said}, and the budget has {amount(max(0.0, free.usd))} left"
        if caps.tokens and more.tokens > free.tokens:
            takes = f"{counted(more.calls, 'call')} (about {more.tokens:,} tokens)"
            return f"it takes {takes}, and the budget has {max(0, free.tokens):,} tokens left"
        return self.late()

    def share(self) -> float:
        """Return the spent share, from 0 to 1, of the cap that is nearest to being reached; 0 without caps."""
        caps, spent = self.caps, self.spent
        pairs = ((spent.calls, caps.calls), (spent.usd, caps.usd), (spent.tokens, caps.tokens))
        return max((used / cap for used, cap in (*pairs, (self._minutes(), caps.minutes)) if cap), default=0.0)

    def _lacking(self, all_in: Spent) -> str:
        caps, spent, held = self.caps, self.spent, self.held
        if caps.calls and all_in.calls > caps.calls - held.calls:
            kept = f" but for {held.calls} kept for the verdict" if held.calls else ""
            return f"the budget of {caps.calls} calls is used up{kept}"
        if caps.usd and all_in.usd > caps.usd - held.usd:
            kept = f", {amount(held.usd)} kept for the verdict" if held.usd else ""
            return f"the budget of ${caps.usd:g} is used up ({amount(spent.usd)} spent{kept})"
        if caps.tokens and all_in.tokens > caps.tokens - held.tokens:
            kept = f", {held.tokens:,} kept for the verdict" if held.tokens else ""
            return f"the budget of {caps.tokens:,} tokens is used up ({spent.tokens:,} spent{kept})"
        return self.late()

    def late(self) -> str:
        """Return a message if the minutes are used up, else an empty text."""
        if self.caps.minutes and self._minutes() > self.caps.minutes - self.held_minutes:
            return f"the budget of {self.caps.minutes:g} minutes is used up"
        return ""

    def worked(self) -> float:
        """Return how many seconds all processes have worked on the run."""
        return self.worked_before + time.monotonic() - self.began

    def _minutes(self) -> float:
        return self.worked() / 60
