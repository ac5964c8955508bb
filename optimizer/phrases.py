"""How a number of things is said."""

from __future__ import annotations


def counted(n: int, what: str) -> str:
    """Say how many: "1 row", "2 rows"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
