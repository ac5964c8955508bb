"""Formatting numbers: counts with their nouns, rough numbers, and US dollars."""

from __future__ import annotations

import math
import shlex

FINE_DOLLARS = 0.001  # below this, four decimal places would show one significant figure or none
MOST_PLACES = 6  # most decimal places of an amount: a millionth of a dollar is the price of a few tokens


def counted(n: int, what: str) -> str:
    """Return a count with its noun: "1 row", "2 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def agreed(n: int, one: str, many: str) -> str:
    """Return a count with a phrase in agreement: "1 row stands", "2 rows stand"."""
    return f"{n:,} {one if n == 1 else many}"


def rough(number: float) -> str:
    """Round a number to a whole one with two significant figures."""
    places = 1 - math.floor(math.log10(number)) if number >= 1 else 0
    return f"{round(number, min(0, places)):,.0f}"


def amount(usd: float) -> str:
    """Format an amount of US dollars; a small amount never becomes $0."""
    if 0 < usd < FINE_DOLLARS:
        # Two significant figures, as far as MOST_PLACES allows.
        places = min(MOST_PLACES, 1 - math.floor(math.log10(usd)))
        least = 10.0**-MOST_PLACES
        return f"<${least:.{MOST_PLACES}f}" if usd < least else f"${usd:.{places}f}".rstrip("0")
    if usd == 0 or usd >= 1:
        return f"${usd:,.2f}" if usd else "$0"
    whole, _, cents = f"{usd:.4f}".partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"


def save_program(name: str) -> str:
    """Return the command that saves the DSPy program that a run tuned, by the program's module:name."""
    return f"phrasetune tune TASK --program {shlex.quote(name or 'MODULE:NAME')} --allow-code --save program.json"
