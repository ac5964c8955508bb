"""Finding personal data and keys in texts: addresses, numbers, keys.

Prefers missing one to false alarms: what can be verified is verified (Luhn's checksum, ISO 7064 for an IBAN, a token's
header), and addresses reserved for documentation are accepted. Knows texts, no prompt.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

SHOWN = 3  # characters of a finding that are shown: enough to find it, too few to use it


@dataclass(frozen=True, slots=True)
class Span:
    """A finding in a text: `text[start:end]` is of a `kind`."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Span]:
    """Return the findings in a text, in order and without overlaps."""
    found: list[Span] = []
    for kind, (pattern, is_one) in _KINDS.items():
        for match in pattern.finditer(text):
            group = "found" if match.groupdict().get("found") else 0
            start, end = match.span(group)
            free = all(end <= other.start or other.end <= start for other in found)
            if free and is_one(match[group]):
                found.append(Span(start, end, kind))
    return sorted(found, key=lambda span: span.start)


def mask(text: str) -> str:
    """Replace each finding by its kind: "write to a@b.eu" becomes "write to [e-mail address]"."""
    for span in reversed(find(text)):
        text = f"{text[: span.start]}[{span.kind}]{text[span.end :]}"
    return text


def hint(text: str, span: Span) -> str:
    """Return the beginning of a finding."""
    return f"{text[span.start : min(span.end, span.start + SHOWN)]}…"


def _always(_: str) -> bool:
    return True


# Names reserved for examples and tests: RFC 2606 and RFC 6761.
_MADE_UP = re.compile(r"(?:\A|[@.])(?:example\.(?:com|net|org|edu)|(?:[\w-]+\.)*(?:example|test|invalid|localhost))\Z")


def _is_mail(text: str) -> bool:
    return not _MADE_UP.search(text.casefold())


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdecimal())


def _is_phone(text: str) -> bool:
    """Whether it has as many digits as E.164 allows, and is not one of the fictitious numbers 555-01xx."""
    digits = _digits(text)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2 and not re.search(r"55501\d\d\Z", digits)


# First digits and lengths of card numbers: ISO/IEC 7812, as issuers use it.
_CARDS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|6(?:011|5\d\d|4[4-9]\d)\d{12}"
)


def _is_card(text: str) -> bool:
    """Whether issuers use such numbers, and the check digit is correct (ISO/IEC 7812-1, annex B: Luhn)."""
    digits = _digits(text)
    doubled = (sum(divmod(int(d) * (1 + place % 2), 10)) for place, d in enumerate(reversed(digits)))
    return bool(_CARDS.fullmatch(digits)) and sum(doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether the check digits are correct (ISO 13616, ISO 7064 MOD 97-10)."""
    code = "".join(text.split()).upper()
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    """Whether it is a public IP address; short ones such as 1.2.3.4 are more likely to be version numbers."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return found.is_global and (found.version == 6 or max(map(len, text.split("."))) == 3)


def _is_token(text: str) -> bool:
    """Whether the first part of a JSON web token is its header (RFC 7519)."""
    header = text.partition(".")[0]
    try:
        return "alg" in json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, TypeError):
        return False


def _is_secret(text: str) -> bool:
    """Whether it looks random: letters and digits, with few repetitions; "your-api-key-1" is only a placeholder."""
    if re.search(r"your|example|xxx|\*\*\*|placeholder|redacted|hidden|changeme|123456|<|\[|\{", text, re.IGNORECASE):
        return False
    both = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    share = [n / len(text) for n in Counter(text).values()]
    longest = max(sum(1 for _ in run) for _, run in groupby(text))
    return both and longest < 5 and -sum(p * math.log2(p) for p in share) > 2.5


# Kind -> its pattern, and a further check. If kinds overlap, the first one wins.
_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "private key": (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*-----)?", re.DOTALL), _always),
    "JSON web token": (re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]*"), _is_token),
    "key": (
        re.compile(
            r"(?<![\w-])(?:sk|rk|pk)[-_](?:live|test|proj|ant|or|svcacct)[-_][\w-]{16,}"
            r"|(?<![\w-])sk-[A-Za-z0-9]{20,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
            r"|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}|\bxox[abeprs]-[\w-]{10,}"
            r"|\bAIza[\w-]{35}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{40,}"
            r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bya29\.[\w-]{20,}|\bgsk_[A-Za-z0-9]{30,}"
        ),
        _is_secret,
    ),
    "password or key": (
        re.compile(
            r"(?:pass(?:word|wd|phrase)|secret|(?:api|access|auth)[-_ ]?(?:key|token)|\btoken|\bbearer)"
            r"['\"]?(?:\s*[:=]\s*|\s+is\s+|(?<=bearer)\s+)['\"]?(?P<found>[^\s'\",;]{8,})",
            re.IGNORECASE,
        ),
        _is_secret,
    ),
    "e-mail address": (
        re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b"),
        _is_mail,
    ),
    "IBAN": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"), _is_iban),
    "card number": (re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)"), _is_card),
    "IP address": (
        re.compile(
            r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)|[23][0-9a-f]{3}:[0-9a-f:]{3,}\b)", re.IGNORECASE
        ),
        _is_address,
    ),
    "phone number": (
        re.compile(
            r"(?<![\w.+-])(?:\+|00(?=[1-9]\d[ ./-]))[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,5}+\)?){2,7}+(?![\w-])"
            r"|(?<![\w.-])\(\d{3}\) ?\d{3}[-. ]\d{4}(?![\w-])|(?<![\w.-])[2-9]\d{2}([-.])[2-9]\d{2}\1\d{4}(?![\w-])"
            r"|\b(?:phone|tel|telephone|telefon|mobile|cell|fax|call(?: me)?(?: on| at)?|text|ring|whatsapp)"
            r"[.:]*(?: number)?(?: is)? {0,2}(?P<found>0\d(?:[ ./-]?\d){7,11})(?![\w-])",
            re.IGNORECASE,
        ),
        _is_phone,
    ),
}
