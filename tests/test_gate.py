"""The gate allows as many calls, and as fast, as a provider can take; the tests control the clock."""

from __future__ import annotations

import math

import pytest

from optimizer.calls.gate import FIRST, Gate


def test_it_never_lets_out_more_than_the_user_allows() -> None:
    """Room comes back when a call lands."""
    gate = Gate(3)
    for _ in range(3):
        assert gate.wait(0.0) == 0
        gate.leave(0.0)

    assert gate.wait(0.0) == math.inf
    gate.answered(1.0, 1.0)
    assert gate.wait(1.0) == 0


def test_it_grows_with_answers_up_to_the_cap() -> None:
    """From its first guess to the user's cap, one for each answer."""
    gate = Gate(64)
    assert gate.at_once == FIRST
    for step in range(100):
        gate.leave(float(step))
        gate.answered(step + 0.3, 0.3)

    assert gate.at_once == 64


def test_calls_that_were_under_way_together_cut_it_once() -> None:
    """Ten refusals of one burst are one sign of trouble."""
    gate = Gate(16)
    for _ in range(10):
        gate.leave(0.0)
    for _ in range(10):
        gate.failed(1.0, 0.0, busy=True)

    assert gate.at_once == pytest.approx(12)
    gate.leave(2.0)
    gate.failed(3.0, 2.0, busy=True)
    assert gate.at_once == pytest.approx(9)


def test_a_rate_limit_is_learnt_from_what_was_answered() -> None:
    """Eight answers in the last second, then a refusal: a little over six a second from now on."""
    gate = Gate(16)
    for step in range(8):
        gate.leave(step / 10)
        gate.answered(step / 10 + 0.05, 0.05)
    gate.leave(0.8)
    gate.limited(0.85, 0.8, None)

    assert gate.rate == pytest.approx(6.4)
    assert gate.wait(0.85) == pytest.approx(1 / 6.4)


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (3600.0, 60.0)])
def test_the_provider_says_how_long_to_wait(asked: float, waited: float) -> None:
    """Its Retry-After holds for all calls, up to the user's patience."""
    gate = Gate(16, longest=60.0)
    gate.leave(0.0)
    gate.limited(1.0, 0.0, asked)

    assert gate.wait(1.0) == pytest.approx(waited)


def test_refusals_at_random_do_not_bring_it_to_a_halt() -> None:
    """Where every other call is refused however few are made, it keeps to the fifth of a second that is asked for."""
    gate, now = Gate(16), 0.0
    for step in range(200):
        now += max(0.05, gate.wait(now))
        gate.leave(now)
        now += 0.05
        if step % 2:
            gate.limited(now, now - 0.05, 0.2)
        else:
            gate.answered(now, 0.05)

    assert now < 150
    assert gate.rate >= 2.5


def test_a_rate_that_was_refused_once_is_tried_again() -> None:
    """A limit that the provider has lifted since costs a dozen answers, not a hundred."""
    gate, now = Gate(16), 0.0
    for step in range(8):
        gate.leave(step / 10)
        gate.answered(step / 10 + 0.05, 0.05)
    gate.leave(0.8)
    gate.limited(0.85, 0.8, None)
    refused, now = gate.rate / 0.8, 0.85

    for _ in range(20):
        now += gate.wait(now)
        gate.leave(now)
        gate.answered(now + 0.05, 0.05)

    assert gate.rate > 1.5 * refused


def test_the_users_pace_is_kept_by_even_spacing() -> None:
    """120 a minute are two a second; 6,000 tokens a minute are 100 a second."""
    calls, tokens = Gate(16, per_minute=120), Gate(16, tokens_per_minute=6000)
    calls.leave(0.0)
    tokens.leave(0.0, tokens=300)

    assert calls.wait(0.0) == pytest.approx(0.5)
    assert tokens.wait(0.0) == pytest.approx(3.0)


def test_answers_that_take_three_times_as_long_are_a_sign_of_trouble() -> None:
    """Fewer are let out at a time; a single slow answer changes nothing."""
    gate = Gate(16)
    for step in range(20):
        gate.leave(float(step))
        gate.answered(step + 0.1, 0.1)
    gate.leave(20.0)
    gate.answered(20.5, 0.5)
    assert gate.at_once == 16
    for step in range(21, 35):
        gate.leave(float(step))
        gate.answered(step + 0.6, 0.6)

    assert gate.at_once < 16
