"""What a contender costs, and when the dearer one has paid off, compared with calculations by hand."""

from __future__ import annotations

import pytest

from optimizer.evidence.money import bill, break_even
from optimizer.records import Bill, Contender


def entered(name: str, finding: float | None, use: float | None) -> Bill:
    return Bill(name, finding, 0.0, 10, 1.0, use, 5.0)


def test_labels_enter_the_price_of_finding() -> None:
    """509 rows at 10 cents are $50.90, on top of what the calls cost; use is as the verdict measured it."""
    contender = Contender("best prompt", 0.8, (0.7, 0.9), 100, (), 0.25, 900.0, 339)

    found = bill(contender, spent=1.5, seconds=60.0, labelled=509, label_cost=0.1)

    assert (found.name, found.labelled, found.cost_per_1000, found.ms_per_1000) == ("best prompt", 509, 0.25, 900.0)
    assert found.labels == pytest.approx(50.9)
    assert found.finding == pytest.approx(52.4)


def test_a_price_that_is_not_known_stays_so() -> None:
    """Labels do not make an unknown price known."""
    contender = Contender("best prompt", 0.8, (0.7, 0.9), 100, (), None, 900.0, 339)

    assert bill(contender, spent=None, seconds=1.0, labelled=5, label_cost=1.0).finding is None


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("prompt", "rival", "outcome", "requests", "said"),
    [
        # $50 more to find, $0.25 less per 1,000: 50 / 0.25 * 1,000
        ((1.0, 0.25), (51.0, 0.0), "after", 200_000, "the rival has paid off after 200,000 requests: it costs $50.00"),
        ((0.5, 1.5), (1.0, 0.0), "after", 334, "the rival has paid off after 334 requests"),  # 333.3, rounded up
        ((5.0, 0.1), (1.0, 0.5), "after", 10_000, "the prompt has paid off after 10,000 requests"),
        ((0.1, 0.0), (0.0, 0.2345), "after", 427, "it costs $0.10 more to find and $0.2345 less per 1,000"),
        ((0.001, 0.0), (0.0, 1.0), "after", 1, "the prompt has paid off after 1 request: it costs $0.001 more"),
        ((0.0, 0.25), (0.0, 0.0), "after", 0, "the rival has paid off after 0 requests: it costs no more to find"),
        ((1.0, 0.25), (0.0, 0.0), "never", None, "the prompt costs $1.00 more to find and $0.25 more per 1,000"),
        ((1.0, 0.0), (0.0, 0.0), "never", None, "the prompt costs $1.00 more to find and no less per 1,000"),
        ((0.0, 0.0), (0.0, 0.0), "never", None, "cost the same to find and to use"),
        ((1.0, None), (0.0, 0.0), "unknown", None, "the price of the prompt is not known"),
        ((None, 0.1), (0.0, 0.0), "unknown", None, "the price of the prompt is not known"),
    ],
)
def test_break_even_is_as_computed_by_hand(
    prompt: tuple[float | None, float | None],
    rival: tuple[float | None, float | None],
    outcome: str,
    requests: int | None,
    said: str,
    *,
    swapped: bool,
) -> None:
    """Whichever is named first."""
    bills = entered("prompt", *prompt), entered("rival", *rival)

    found = break_even(*(bills[::-1] if swapped else bills))

    assert (found.outcome, found.requests) == (outcome, requests)
    assert said in found.said
