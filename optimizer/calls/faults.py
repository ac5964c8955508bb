"""How a call can fail, and what follows.

    LIMITED   rate limit: the same call will be answered later             is retried as often as necessary
    PASSING   a transient fault: the same call may be answered now         is retried a few times
    FINAL     this call will never be answered: too long, not allowed      is recorded as failed
    REFUSED   no call will be answered: key, quota, model, address         stops the run at once

Both ways to a provider, `direct` and LiteLLM in `models`, classify their errors here, so that they act alike. Knows
HTTP status codes and providers' messages, but no client. Messages from here contain no key, nor what looks like one.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import quote, quote_plus

from optimizer.records import Completion

HIDDEN = "[hidden]"  # replaces a key
HANDED = "provided|supplied|received|specified|passed|given"  # words before a key that a message repeats
TOO_LONG = ("context_length", "context window", "maximum context", "too long", "too many tokens")
SPENT = ("insufficient_quota", "billing_hard_limit", "credit balance", "exceeded your current quota")
BUSY = {503, 529}  # the provider is overloaded: fewer calls at a time help


class Fate(StrEnum):
    """What follows when a call failed."""

    LIMITED = "limited"
    PASSING = "passing"
    FINAL = "final"
    REFUSED = "refused"


@dataclass(eq=False)
class CallFailed(Exception):  # noqa: N818 - whether it is an error is decided later
    """One attempt at a call returned no usable answer.

    Parameters
    ----------
    fate
        What follows.
    said
        The reason, in one line without keys.
    wait
        Seconds after which the provider asks to be called again; None if it does not say.
    billed
        Whether the attempt may have been charged: it was sent, and no response says that it was not processed.
    busy
        Whether fewer calls at a time would have helped.
    answer
        The answer that came nevertheless, such as an empty text; it is kept if retries bring no better one.
    absent
        Whether no server is there: the connection was refused.
    """

    fate: Fate
    said: str
    wait: float | None = None
    billed: bool = False
    busy: bool = False
    answer: Completion | None = None
    absent: bool = False

    def __str__(self) -> str:
        return self.said


def unheard(error: BaseException | None) -> bool:
    """Return whether an error was caused by a refused connection, through any number of wrapping errors."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def classify(status: int, said: str, wait: float | None = None) -> CallFailed:
    """Classify an error response by its HTTP status and the provider's message.

    Parameters
    ----------
    status
        HTTP status of the response.
    said
        The response's body, or a client's message about it.
    wait
        Seconds in its Retry-After header; None without one.
    """
    words, line = said.lower(), f"HTTP {status}: {one_line(said)}"
    spent = status == 402 or (status in {400, 403, 429} and any(word in words for word in SPENT))
    for met, remedy in (
        (spent, "the quota is used up ({}). Top it up; then resume."),
        (status in {401, 403}, "the provider refuses the key ({}). Check the key; then resume."),
        (status == 404, "the provider does not know this model ({}). Check its name and the address."),
        (300 <= status < 400, "the address leads elsewhere ({}). Give the right api_base."),
    ):
        if met:
            return CallFailed(Fate.REFUSED, remedy.format(line))
    if status == 429:
        return CallFailed(Fate.LIMITED, line, wait)
    if status in {408, 409, 425} or status >= 500:
        return CallFailed(Fate.PASSING, line, wait, busy=status in BUSY)
    long = any(word in words for word in TOO_LONG)
    return CallFailed(Fate.FINAL, f"too long for this model ({line})" if long else line)


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date (RFC 9110, 10.2.3); None if it is neither."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def one_line(text: str) -> str:
    """Return a message in one line of at most 200 characters, without keys, what looks like keys, or control codes."""
    for key in _keys():
        for form in {key, quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1]}:
            text = text.replace(form, HIDDEN)
    told = rf"(key (?:{HANDED})(?: in)?\s*[:=]\s*)(?:'[^']*'|\"[^\"]*\"|\S+)"
    text = re.sub(told, rf"\1{HIDDEN}", text, flags=re.IGNORECASE)
    word = rf"(?!(?:{HANDED})\.?(?![\w*.-]))"  # one of these words alone is not a key
    text = re.sub(rf"(sk-|key[-_ ]?{word}|bearer )[\w*.-]{{6,}}", HIDDEN, text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=//)[^/?#\s]*@", f"{HIDDEN}@", text)
    text = re.sub(r"(?<=[?&])([\w-]*(?:key|token|secret|sig|password)[\w-]*)=[^&\s\"']+", rf"\1={HIDDEN}", text)
    line = " ".join(text.split())[:200]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) or "no message"


def _keys() -> list[str]:
    """Return the values of environment variables whose names suggest a secret, longest first."""
    names = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
    found = {value for name, value in os.environ.items() if names.search(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)


def unfit_address(address: str) -> str:
    """Return why an address is not accepted: it is not an address, or may contain a key; empty if it is accepted.

    Addresses are stored with the task and shown, so a key in one would be, too.
    """
    authority = re.split(r"[/?#\\]", address.split("//", 1)[-1], maxsplit=1)[0]
    if "@" in authority:
        what = "holds a user or a password before the @"
    elif re.search(r"#|\?(?!api-version=[\w.-]*$)", address):
        what = "holds more than an address, from the ? or # on"
    elif not re.fullmatch(r"https?://(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?(?:/\S*)?", address.partition("?")[0]):
        what = "is none"
    else:
        return ""
    return (
        f"{what}; allowed is an address alone, such as http://localhost:8000/v1, or one that ends with ?api-version=. "
        "A key belongs in the environment, as in OPENAI_API_KEY, or in the file of --env-file"
    )
