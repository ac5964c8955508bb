"""Checking a run against limits, for a pipeline: each assertion with its finding, as a table and as JUnit XML.

Judges the prompt that a run recommends by its sealed test rows. Takes records, opens no files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from optimizer.comparing import Compared
from optimizer.contenders import LEVEL
from optimizer.front import ROUNDING
from optimizer.records import Contender
from optimizer.report import dollars, percent, spread
from optimizer.reports.grids import Grid, visible
from optimizer.verdict import able, figures


@dataclass(frozen=True, slots=True)
class Assertion:
    """A requirement, whether it holds, and what was found."""

    name: str
    holds: bool
    found: str


def score_at_least(contender: Contender, least: float, *, lower_bound: bool) -> Assertion:
    """Assert that the test score, or with `lower_bound` the lower limit of its 95 % interval, is at least `least`."""
    value = contender.interval[0] if lower_bound else contender.score
    what = "lower limit of the score" if lower_bound else "score"
    found = f"{percent(contender.score)} (95 % interval {spread(contender.interval)}) on {contender.n} test rows"
    return Assertion(f"{what} is at least {percent(least)}", value >= least - ROUNDING, found)


def cost_at_most(contender: Contender, most: float) -> Assertion:
    """Assert that 1,000 rows cost at most `most` US dollars; fails if the price is not known."""
    cost = contender.cost_per_1000
    holds = cost is not None and cost <= most * (1 + ROUNDING)
    return Assertion(f"1,000 rows cost at most {dollars(most)}", holds, dollars(cost))


def no_regression(compared: Compared) -> Assertion:
    """Assert that the paired test shows no loss of `b` against `a`."""
    c = compared.comparison
    lost = c.p_value < LEVEL and c.difference < 0
    return Assertion(f"no loss against {compared.a.name} is shown", not lost, _difference(compared))


def drop_at_most(compared: Compared, points: float, *, lower_bound: bool) -> Assertion:
    """Assert that `b` loses at most so many points against `a`, or with `lower_bound` that the interval shows this."""
    c = compared.comparison
    value = c.interval[0] if lower_bound else c.difference
    what = f"a loss of more than {points:g} {'point' if points == 1 else 'points'} against {compared.a.name} is"
    name = f"{what} ruled out" if lower_bound else f"{what} not found"
    return Assertion(name, value >= -points / 100 - ROUNDING, _difference(compared))


def _difference(compared: Compared) -> str:
    c = compared.comparison
    told = f"{figures(c)} on {compared.split} rows"
    return told if c.p_value < LEVEL else f"{told}; {compared.n} rows {able(c, compared.n)}"


def assertions_grid(title: str, assertions: Sequence[Assertion]) -> Grid:
    """Return assertions as a table."""
    rows = tuple(("ok" if a.holds else "FAILED", a.name, a.found) for a in assertions)
    return Grid(title, ("", "assertion", "found"), rows)


def junit_xml(suite: str, assertions: Sequence[Assertion]) -> str:
    """Return assertions as JUnit XML for CI servers, one test case each."""
    failed = sum(not assertion.holds for assertion in assertions)
    counts = f'tests="{len(assertions)}" failures="{failed}" errors="0" skipped="0" time="0"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {counts}>"]
    lines.append(f'  <testsuite name="{_attribute(suite)}" {counts}>')
    for assertion in assertions:
        case = f'    <testcase classname="phrasetune" name="{_attribute(assertion.name)}" time="0"'
        if assertion.holds:
            lines += [f"{case}>", f"      <system-out>{_text(assertion.found)}</system-out>", "    </testcase>"]
        else:
            said = f'<failure type="assertion" message="{_attribute(assertion.found)}"/>'
            lines += [f"{case}>", f"      {said}", "    </testcase>"]
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _text(text: str) -> str:
    """Escape a text for XML 1.0, which does not allow control characters, surrogates, U+FFFE and U+FFFF at all."""
    return escape(re.sub("[\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", visible(text)))


def _attribute(text: str) -> str:
    return _text(" ".join(text.split()))
