"""What can go wrong with a call, and what is to be done about it.

    LIMITED   too fast: the same call will be answered later               waits, as often as it takes
    PASSING   a fault of the moment: the same call may be answered now     is made again, a few times
    FINAL     this call will never be answered: too long, not allowed      is written down as failed
    REFUSED   no call will be answered: key, quota, model, address         stops the run at once

Both lanes to a provider, `direct` and LiteLLM in `models`, classify what they meet here, so that they act alike.
Knows HTTP's numbers and providers' words, and no client. Nothing that leaves this room looks like a key.
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

HIDDEN = "[hidden]"  # in the place of a key
HANDED = "provided|supplied|received|specified|passed|given"  # what is said of a key before it is repeated
TOO_LONG = ("context_length", "context window", "maximum context", "too long", "too many tokens")
SPENT = ("insufficient_quota", "billing_hard_limit", "credit balance", "exceeded your current quota")
BUSY = {503, 529}  # the provider has more to do than it can: fewer calls at a time help


class Fate(StrEnum):
    """What becomes of a call that failed."""

    LIMITED = "limited"
    PASSING = "passing"
    FINAL = "final"
    REFUSED = "refused"


@dataclass(eq=False)
class CallFailed(Exception):  # noqa: N818 - it is a fact about a call, judged before it is an error
    """One attempt at a call gave no answer that can be used.

    Parameters
    ----------
    fate
        What is to be done.
    said
        Why, in one line without keys.
    wait
        Seconds after which the provider asks to be called again; None if it does not say.
    billed
        Whether the attempt may have been charged: it had been sent, and nobody said that it was not worked on.
    busy
        Whether fewer calls at a time would have helped.
    answer
        What came all the same, such as an empty text: it stands if nothing better comes.
    absent
        Whether nobody listens there: the connection was refused.
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
    """Whether an error comes of a refused connection, however many layers have reworded it."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def classify(status: int, said: str, wait: float | None = None) -> CallFailed:
    """Classify a refusal by its HTTP status and the provider's words.

    Parameters
    ----------
    status
        HTTP status of the response.
    said
        The response's body, or what a client made of it.
    wait
        Seconds of its Retry-After.
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
    """Say in one line what went wrong, with nothing in it that is a key, looks like one, or acts on a terminal."""
    for key in _keys():
        for form in {key, quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1]}:
            text = text.replace(form, HIDDEN)
    told = rf"(key (?:{HANDED})(?: in)?\s*[:=]\s*)(?:'[^']*'|\"[^\"]*\"|\S+)"
    text = re.sub(told, rf"\1{HIDDEN}", text, flags=re.IGNORECASE)
    word = rf"(?!(?:{HANDED})\.?(?![\w*.-]))"  # those words alone are no key
    text = re.sub(rf"(sk-|key[-_ ]?{word}|bearer )[\w*.-]{{6,}}", HIDDEN, text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=//)[^/?#\s]*@", f"{HIDDEN}@", text)
    text = re.sub(r"(?<=[?&])([\w-]*(?:key|token|secret|sig|password)[\w-]*)=[^&\s\"']+", rf"\1={HIDDEN}", text)
    line = " ".join(text.split())[:200]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) or "no message"


def _keys() -> list[str]:
    """What the environment holds under a name that speaks of secrets, the longest first."""
    names = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
    found = {value for name, value in os.environ.items() if names.search(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)


def unfit_address(address: str) -> str:
    """Say why an address cannot be taken: it is none, or holds what may be a key; empty if it can.

    An address is written down with the task and shown, so that a key in it would be, too.
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
