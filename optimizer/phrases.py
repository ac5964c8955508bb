"""How numbers are said: of things, roughly, and of US dollars."""

from __future__ import annotations

import math

FINE_DOLLARS = 0.001  # below a tenth of a cent four places show a figure that counts, or none
MOST_PLACES = 6  # of an amount: a millionth of a dollar is the price of a few tokens


def counted(n: int, what: str) -> str:
    """Say how many: "1 row", "2 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def agreed(n: int, one: str, many: str) -> str:
    """Say how many with their verb: "1 row stands", "2 rows stand"."""
    return f"{n:,} {one if n == 1 else many}"


def rough(number: float) -> str:
    """Write a number with two figures that count."""
    places = 1 - math.floor(math.log10(number)) if number >= 1 else 0
    return f"{round(number, min(0, places)):,.0f}"


def amount(usd: float) -> str:
    """Write an amount of dollars; what is small is not zero."""
    if 0 < usd < FINE_DOLLARS:
        # Two figures that count, as far as there is room for them.
        places = min(MOST_PLACES, 1 - math.floor(math.log10(usd)))
        least = 10.0**-MOST_PLACES
        return f"<${least:.{MOST_PLACES}f}" if usd < least else f"${usd:.{places}f}".rstrip("0")
    return "$0" if usd == 0 else f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"
