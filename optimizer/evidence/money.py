"""What it takes to find and to use a contender, and after how many requests the one dearer to find has paid off.

Records in, records out. Amounts are in US dollars, times in seconds; None is an unknown price, not zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from optimizer.phrases import amount, counted
from optimizer.records import Bill, Contender


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When the contender that is dearer to find has paid off: "after" so many `requests`, "never", or "unknown".

    `requests` is None unless the outcome is "after".
    """

    outcome: Literal["after", "never", "unknown"]
    requests: int | None
    said: str


def bill(contender: Contender, *, spent: float | None, seconds: float, labelled: int, label_cost: float) -> Bill:
    """Return the bill of a contender.

    Parameters
    ----------
    contender
        A contender of the verdict, with its cost per 1,000 requests.
    spent
        US dollars paid to find it, without labels; None if not known.
    seconds
        Seconds spent to find it.
    labelled
        Labelled rows that it needs for training and selection.
    label_cost
        US dollars per labelled row.
    """
    labels = labelled * label_cost
    finding = None if spent is None else spent + labels
    use = contender.cost_per_1000, contender.ms_per_1000
    return Bill(contender.name, finding, labels, labelled, seconds, *use)


def break_even(a: Bill, b: Bill) -> BreakEven:
    """Return after how many requests the one that is dearer to find, but cheaper to use, has paid off."""
    if a.finding is None or b.finding is None or a.cost_per_1000 is None or b.cost_per_1000 is None:
        unknown = next(each.name for each in (a, b) if each.finding is None or each.cost_per_1000 is None)
        return BreakEven("unknown", None, f"Break-even: unknown, because the price of the {unknown} is not known.")
    more, saved = a.finding - b.finding, b.cost_per_1000 - a.cost_per_1000
    if more < 0 or (more == 0 and saved < 0):
        return break_even(b, a)
    if saved > 0:
        requests = math.ceil(round(1000 * more / saved, 6))
        extra = f"it costs {amount(more)} more to find" if more else "it costs no more to find"
        after = f"the {a.name} has paid off after {counted(requests, 'request')}"
        said = f"{after}: {extra} and {amount(saved)} less per 1,000."
        return BreakEven("after", requests, f"Break-even: {said}")
    if not more:
        return BreakEven("never", None, f"Break-even: never; {a.name} and {b.name} cost the same to find and to use.")
    dearer = f"costs {amount(more)} more to find and {amount(-saved) + ' more' if saved else 'no less'} per 1,000"
    return BreakEven("never", None, f"Break-even: never; the {a.name} {dearer} than the {b.name}.")
