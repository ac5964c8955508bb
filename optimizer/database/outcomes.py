"""results.db: how outcomes are stored, each beside the completion that it was read from, and their checksums.

Knows nothing of whose outcomes they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from optimizer.database.completions import compact, completion, unpacked
from optimizer.database.opening import checksum
from optimizer.records import CUT, Completion, Kind, Outcome

# An outcome's price and text are stored with its completion.
ANSWERED = "c.*, o.version, o.fingerprint"
# What a program took for a row is stored with the completions of its calls.
CALLED = "JOIN json_each(a.calls) j JOIN completions c ON c.id = j.value JOIN origins o ON o.id = c.origin"
BOUGHT = "LEFT JOIN completions c ON c.id = a.completion LEFT JOIN origins o ON o.id = c.origin"


def outcome_row(outcome: Outcome, known: Mapping[str, tuple[int, str]]) -> tuple[object, ...]:
    """Return example, kind, score, answer, completion, calls; an answer that is the whole text is not stored again."""
    number, text = known.get(outcome.completion_key, (None, None))
    whole = outcome.answer == text and outcome.kind in _READ
    calls = compact([known[key][0] for key in outcome.calls if key in known]) if outcome.calls else None
    return (outcome.example_id, outcome.kind.value, outcome.score, None if whole else outcome.answer, number, calls)


def outcomes_checksum(outcomes: Sequence[Outcome], known: Collection[str]) -> int:
    """Return the checksum of what was measured, in the order in which it is read."""
    return checksum(
        *(
            (
                o.example_id,
                o.kind.value,
                _real(o.score),
                o.answer,
                o.completion_key if o.completion_key in known else "",
            )
            for o in sorted(outcomes, key=lambda outcome: outcome.example_id)
        )
    )


def _real(score: float | None) -> float | None:
    return None if score is None else float(score)


def check(whose: str, found: Sequence[Outcome], wanted: Sequence[sqlite3.Row]) -> None:
    """Raise ValueError unless the outcomes read are those that were written."""
    keys = {outcome.completion_key for outcome in found}
    if any(row["checksum"] not in (None, outcomes_checksum(found, keys)) for row in wanted):
        raise ValueError(f"the outcomes of {whose} do not fit their checksum")


_READ = (Kind.RIGHT, Kind.WRONG)  # kinds with a readable answer


def outcome(row: sqlite3.Row) -> Outcome:
    """Read an outcome with its completion; raise ValueError if that is damaged."""
    found = Outcome(row["example"], Kind(row["kind"]), row["score"], row["answer"])
    if row["completion"] is None:
        return found
    bought = completion(row)
    tokens = bought.prompt_tokens + bought.completion_tokens
    answer = bought.text if found.answer is None and found.kind in _READ else found.answer
    found = replace(found, answer=answer, completion_key=unpacked(row["key"]), tokens=tokens, cost=bought.cost)
    cut = bought.finish_reason == CUT
    return replace(found, seconds=bought.seconds, text=bought.text, prompt_tokens=bought.prompt_tokens, cut=cut)


def with_calls(found: Sequence[Outcome], calls: Sequence[sqlite3.Row]) -> list[Outcome]:
    """Add to a program's outcomes what its calls took; each call has its row's id as `example`.

    Raises
    ------
    ValueError
        If a completion is damaged.
    """
    took: dict[str, list[tuple[str, Completion]]] = {}
    for row in calls:
        took.setdefault(row["example"], []).append((unpacked(row["key"]), completion(row)))
    return [_with_calls(each, took[each.example_id]) if each.example_id in took else each for each in found]


def _with_calls(found: Outcome, calls: Sequence[tuple[str, Completion]]) -> Outcome:
    bought = [each for _, each in calls]
    asked = sum(each.prompt_tokens for each in bought)
    return replace(
        found,
        tokens=asked + sum(each.completion_tokens for each in bought),
        cost=sum(each.cost for each in bought),
        seconds=sum(each.seconds for each in bought),
        prompt_tokens=asked,
        cut=any(each.finish_reason == CUT for each in bought),
        calls=tuple(key for key, _ in calls),
    )
