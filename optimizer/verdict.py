"""The verdict: seed prompt, best prompt and trained rival on the sealed test rows, by one metric.

Every contender is scored once, by the same code on the same rows. Does not know how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.contenders import BEST, CASCADE, DISTILLED, HINTED, LEVEL, PICKED, RIVAL, SEED, TUNED, on_both, shared
from optimizer.errors import ProviderError
from optimizer.phrases import counted, rough
from optimizer.power import measured_gain, rows_to_show, shown_gain
from optimizer.records import Comparison, Contender, Kind, Outcome, Verdict
from optimizer.report import shows
from optimizer.scoring import EXACT, Metric, compare, interval, summarise
from search_spaces.prompt import Example

BARELY = 0.0005  # smaller differences are printed as 0
MOSTLY = 0.5  # a larger share of unreadable answers is stated in the verdict
ERRORS = 0.2  # with a larger share of failed calls there is no verdict


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender before it is judged; `note` is added to it. `priced` is False if a cost of 0 means an unknown one."""

    name: str
    outcomes: tuple[Outcome, ...]
    train_rows: int
    detail: str
    priced: bool = True
    note: str = ""


def decide(entries: Sequence[Entry], rows: Sequence[Example], metric: Metric, *, opened: int, seed: int) -> Verdict:
    """Judge the contenders.

    Parameters
    ----------
    entries
        The seed prompt first; then the best prompt, unless it is the seed prompt; then the trained rival, and any
        combinations of prompt and rival.
    rows
        The sealed test rows.
    metric
        The metric.
    opened
        How many different runs have opened these test rows, including this one.
    seed
        Seed of the resampling, the same for all contenders and comparisons, so that equal outcomes have equal
        intervals.
    """
    examples = {row.id: row for row in rows}
    contenders = tuple(_contender(entry, examples, metric, seed) for entry in entries)
    by_name = {entry.name: entry for entry in entries}
    prompt = BEST if BEST in by_name else SEED
    pairs = [(BEST, SEED), (BEST, RIVAL), (SEED, RIVAL), (CASCADE, prompt), (CASCADE, RIVAL)]
    pairs += [(DISTILLED, RIVAL), (DISTILLED, prompt)]
    pairs += [(name, other) for name in (HINTED, PICKED, TUNED) for other in (prompt, RIVAL)]
    pairs = [pair for pair in pairs if set(pair) <= set(by_name)]
    if CASCADE in by_name:  # it may be the baseline itself, or the prompt
        pairs = [pair for pair in pairs if pair[0] != CASCADE or not _same(*(by_name[name] for name in pair))]
    comparisons = tuple(
        compare(metric, by_name[a].outcomes, by_name[b].outcomes, examples, np.random.default_rng(seed), (a, b))
        for a, b in pairs
    )
    notes = [entry.note for entry in entries if entry.note]
    sentence = " ".join([*_sentences(contenders, comparisons, metric), *notes])
    return Verdict(metric.name, contenders, comparisons, sentence, opened)


def _same(a: Entry, b: Entry) -> bool:
    """Whether two contenders have the same answers from the same calls."""
    first, second = ([(o.example_id, o.score, o.answer, o.completion_key) for o in each.outcomes] for each in (a, b))
    return first == second


def _contender(entry: Entry, examples: Mapping[str, Example], metric: Metric, seed: int) -> Contender:
    scored = [outcome for outcome in entry.outcomes if outcome.score is not None]
    value = summarise(metric, scored, examples)
    failed = [outcome for outcome in entry.outcomes if outcome.score is None]
    if value is None or len(failed) > ERRORS * len(entry.outcomes):
        raise ProviderError(
            f"{entry.name}: {len(failed)} of {len(entry.outcomes)} calls failed ({failed[0].text}), too many for a "
            "verdict. When the model answers again, give the same command: it asks for those rows alone."
        )
    return Contender(
        entry.name,
        value,
        interval(metric, scored, examples, np.random.default_rng(seed)),
        len(scored),
        entry.outcomes,
        float(np.mean([outcome.cost for outcome in scored])) * 1000 if entry.priced else None,
        float(np.mean([outcome.seconds for outcome in scored])) * 1000 * 1000,
        entry.train_rows,
        entry.detail,
    )


def _sentences(contenders: Sequence[Contender], comparisons: Sequence[Comparison], metric: Metric) -> list[str]:
    """Return the sentences on what was shown and what was not."""
    found = {(comparison.a, comparison.b): comparison for comparison in comparisons}
    scores = {contender.name: contender.score for contender in contenders}
    gain, rivalry = found.get((BEST, SEED)), found.get((BEST, RIVAL)) or found.get((SEED, RIVAL))
    said = [_gain(gain, contenders)] if gain else ["The search found no prompt better than the seed prompt."]
    if rivalry:
        said.append(_rivalry(rivalry, scores, contenders, metric))
    said += [text for contender in contenders if (text := _unread(contender))]
    # The cascade makes no calls of its own.
    failing = [c for c in contenders if c.n < len(c.outcomes) and c.name != CASCADE]
    return said + [failures(len(c.outcomes) - c.n, len(c.outcomes), f" of the {c.name}") for c in failing]


def _unread(contender: Contender) -> str:
    """Return a sentence if most answers of a contender could not be read; for the cascade, its two parts have it."""
    unread = sum(outcome.kind is Kind.UNPARSED for outcome in contender.outcomes)
    if contender.name == CASCADE or unread <= MOSTLY * contender.n:
        return ""
    return f"Most answers of the {contender.name} could not be read ({unread} of {contender.n})."


def failures(failed: int, calls: int, whose: str = "") -> str:
    """Return a sentence on calls that failed."""
    return f"{failed:,} of {counted(calls, 'call')}{whose} failed; {'it is' if failed == 1 else 'they are'} left out."


def _gain(gain: Comparison, contenders: Sequence[Contender]) -> str:
    where = on_both(contenders, gain.a, gain.b)
    if gain.p_value >= LEVEL:
        takes = _takes(gain, shared(contenders, gain.a, gain.b)) if gain.difference > 0 else ""
        return f"No improvement over the seed prompt is shown: {figures(gain)}{where}{takes and f'; {takes}'}."
    if gain.difference > 0:
        return f"The search improved on the seed prompt by {figures(gain)}{where}."
    return f"The chosen prompt is worse than the seed prompt on the test rows: {figures(gain)}{where}."


def _rivalry(rivalry: Comparison, scores: Mapping[str, float], contenders: Sequence[Contender], metric: Metric) -> str:
    n, where = shared(contenders, rivalry.a, rivalry.b), on_both(contenders, rivalry.a, rivalry.b)
    ours, theirs = f"{rivalry.a} ({100 * scores[rivalry.a]:z.1f} %)", f"{rivalry.b} ({100 * scores[rivalry.b]:z.1f} %)"
    if rivalry.p_value >= LEVEL:
        return (
            f"No difference shown between {ours} and {theirs} in {metric.name}{where or f' on {n:,} test rows'}: "
            f"{figures(rivalry)}; "
            f"{n:,} rows {able(rivalry, n)}."
        )
    if rivalry.difference > 0:
        return f"The {ours} beats the {theirs} in {metric.name} by {figures(rivalry)}{where}."
    return f"The {theirs} beats the {ours} in {metric.name}: {figures(rivalry)}{where}."


def figures(comparison: Comparison) -> str:
    """Format a difference with its interval and p-value."""
    low, high = comparison.interval
    return (
        f"{100 * comparison.difference:+z.1f} points "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p = {comparison.p_value:.2g})"
    )


def least(comparison: Comparison, n: int) -> float:
    """Return the smallest difference that `n` rows can show between contenders like these; 1 if none."""
    return shown_gain(n) if comparison.test == EXACT else measured_gain(comparison.interval)


def able(comparison: Comparison, n: int) -> str:
    """Return in words how small a difference `n` rows can show, and how many rows would show the measured one."""
    takes, gain = _takes(comparison, n), least(comparison, n)
    if takes and gain <= abs(comparison.difference):  # they disagree on more rows than is assumed
        gain = measured_gain(comparison.interval)
    return shows("differences", gain) + (takes and f", and {takes}")


def _takes(comparison: Comparison, n: int) -> str:
    """Return in words how many rows would show the difference measured on `n`; empty if it is about 0."""
    if abs(comparison.difference) < BARELY:
        return ""
    needed = rows_to_show(comparison.difference, comparison.interval, n)
    if needed <= n:  # its interval already excludes 0
        return "too few rows differ for the test to show this"
    return f"one as large as this takes about {rough(needed)} rows"
