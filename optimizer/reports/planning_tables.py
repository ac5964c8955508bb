"""The estimate of what a run will take, as a table and text. Takes an estimate, makes no call, prints nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from optimizer.phrases import counted, rough
from optimizer.planning import CHARACTERS, OCTETS, TAIL, Estimate, Probe, Range, Terms
from optimizer.preparing import Plan, caps
from optimizer.records import CUT
from optimizer.reports.grids import Grid

if TYPE_CHECKING:
    from optimizer.programs.planning import Tried

AGAIN = "Calls that have to be made again come on top; what results.db holds already is not bought."


def estimate_grid(found: Estimate) -> Grid:
    """Return a table of what a run takes."""
    rows = tuple(
        (
            part.name,
            _range(part.calls, "{:,.0f}".format),
            _range(part.prompt_tokens, rough),
            _range(part.completion_tokens, rough),
            _range(part.usd, _dollars),
            _range(part.seconds, _time),
        )
        for part in (*found.parts, found.total)
    )
    return Grid("What it takes", ("part", "calls", "prompt tokens", "answer tokens", "dollars", "time"), rows)


def total_text(found: Estimate) -> str:
    """Return a line with the total of what a run takes."""
    total = found.total
    usd = "at an unknown price" if total.usd is None else _range(total.usd, _dollars)
    time = "in an unknown time" if total.seconds is None else _range(total.seconds, _time)
    return f"{_range(total.calls, '{:,.0f}'.format)} calls, {usd}, {time}"


def probe_text(probe: Probe, terms: Terms) -> str:
    """Return a line on what the probe showed and cost."""
    done = probe.completions
    if not done and not probe.failed:
        return f"probe: none ({probe.note or 'no call was made, and none like it before'})"
    said = [f"the seed prompt on {len(done) + probe.failed} training rows: {probe.readable} readable answers"]
    if done:
        prompt, written = (
            sum(each) / len(done) for each in ([c.prompt_tokens for c in done], [c.completion_tokens for c in done])
        )
        said.append(
            f"{prompt:,.0f} + {written:,.0f} tokens and {_second(sum(c.seconds for c in done) / len(done))} a call"
        )
    if probe.failed:
        said.append(f"{probe.failed} failed ({probe.note})")
    return f"probe: {'; '.join(said)}; {_cut(probe)}{_bought(probe, terms)}"


def program_text(tried: Tried, terms: Terms) -> list[str]:
    """Return lines on the size of a program's space, and what its trial runs showed and cost."""
    done, probe = tried.probe.completions, tried.probe
    written = sum(completion.completion_tokens for completion in done) / len(done)
    seconds = _second(sum(completion.seconds for completion in done) / len(done))
    asked = f"{tried.prompt.low:,.0f} (with the most demos {tried.prompt.high:,.0f}) + {written:,.0f} tokens"
    said = [f"{tried.calls:.1f} calls a row", f"{asked} and {seconds} a call"]
    if probe.failed:
        said.append(f"{counted(probe.failed, 'run')} failed ({probe.note})")
    return [
        f"space: {tried.size:,.0f} programs of {counted(tried.steps, 'predictor')}",
        f"probe: the program on training rows: {'; '.join(said)}; {_cut(probe)}{_bought(probe, terms)}",
    ]


def _cut(probe: Probe) -> str:
    """Return a note on how many answers of the probe were cut off at `max_tokens`; empty if none was."""
    cut = sum(completion.finish_reason == CUT for completion in probe.completions)
    return f"{counted(cut, 'answer')} cut off (max_tokens in [model] bounds them); " if cut else ""


def _bought(probe: Probe, terms: Terms) -> str:
    spent = probe.spent
    usd = "" if not spent.calls else f", {_dollars(spent.usd)}" if terms.price else ", at an unknown price"
    return f"{spent.calls} calls were bought for it{usd}"


def basis(probe: Probe, terms: Terms) -> list[str]:
    """Return lines on what the ends of the ranges mean, and how to provide what is not known."""
    known = bool(probe.completions)
    counted = any(completion.prompt_tokens for completion in probe.completions)
    least, most = ("", "") if counted else (f", {CHARACTERS:g} characters a token", f", {OCTETS:g} bytes a token")
    least += "; short answers; the probe's quickest call" if known else "; answers of a token"
    most += "; thinking up to its bound; the probe's slowest call" if known else "; answers up to their bound"
    said = [
        f"low:  the search soon finds nothing to gain; short prompts ({100 * TAIL:.0f} % are shorter){least}",
        f"high: it uses all of its calls; long prompts ({100 * TAIL:.0f} % are longer){most}",
        AGAIN,
    ]
    return said + _unknown(terms)


def program_basis(terms: Terms) -> list[str]:
    """Return lines on what the ends of the ranges mean for a program."""
    return [
        "low:  the search soon finds nothing to gain; the program as it came; the shortest answers, the quickest call",
        "high: it uses all of its calls; the most demos; the longest answers, the slowest call",
        AGAIN,
        *_unknown(terms),
    ]


def _unknown(terms: Terms) -> list[str]:
    said = [
        f"The {role} is not asked before the run: its tokens come from characters, its time is unknown."
        for role in terms.beside
    ]
    if terms.price is None:
        said.append("The price is not known: give it as price in [model], in US dollars per million tokens.")
    return said


def caps_text(plan: Plan, found: Estimate, held: int) -> str:
    """Return a line on the caps and which may end the run early; `held` calls are kept for the verdict."""
    cap, total = caps(plan.task), found.total
    tokens = Range(*map(sum, zip(total.prompt_tokens, total.completion_tokens, strict=True)))
    minutes = Range(*(seconds / 60 for seconds in total.seconds)) if total.seconds else None
    said = [
        f"{text}{_reached(most, expected)}"
        for text, most, expected in (
            (f"{cap.calls:,} calls", cap.calls, total.calls if cap.calls > held else None),
            (f"${cap.usd:g}", cap.usd, total.usd),
            (f"{cap.tokens:,} tokens", cap.tokens, tokens),
            (f"{cap.minutes:g} minutes", cap.minutes, minutes),
        )
        if most
    ]
    if said and 0 < cap.calls <= held:
        said[0] += f" (no search begins: {held:,} are kept for the verdict)"
    return f"caps: {', '.join(said) or 'none; --max-usd, --max-calls, --max-tokens and --max-minutes set them'}"


def _reached(most: float, expected: Range | None) -> str:
    if expected is None or expected.high <= most:
        return ""
    return " (will end it early)" if expected.low > most else " (may end it early)"


def _range(found: Range | None, write: Callable[[float], str]) -> str:
    if found is None:
        return "unknown"
    low, high = write(found.low), write(found.high)
    return low if low == high else f"up to {high}" if not found.low else f"{low}–{high}"


def _dollars(usd: float) -> str:
    if not usd:
        return "$0"
    return f"${usd:,.{min(6, max(2, 1 - math.floor(math.log10(usd))))}f}" if usd < 100 else f"${usd:,.0f}"


def _second(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
