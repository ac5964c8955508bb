"""Measures of prompts besides the score (cost, latency, tokens), the Pareto front of trials, and hard constraints.

A trial is on the front if no other is at least as good in score, cost and latency and better in one of them. Records
in, records out; knows neither how a search decides nor where trials are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.errors import TaskError, one_of
from optimizer.phrases import counted
from optimizer.records import Outcome, State, Trial
from optimizer.scoring import recall_of
from search_spaces.prompt import Example

ROUNDING = 1e-9  # tolerance, as a share of a limit, for rounding errors of means: a value at the limit keeps it


@dataclass(frozen=True, slots=True)
class Measures:
    """What a prompt takes, averaged over the rows that it answered; failed calls do not count.

    `tokens` are those of a call, prompt and answer together. `cost_per_1000` is 0 if the price is not known.
    """

    rows: int
    cost_per_1000: float
    ms_per_1000: float
    tokens: float
    prompt_tokens: float

    @property
    def known(self) -> bool:
        """Whether anything was measured, as every call takes time."""
        return self.ms_per_1000 > 0


@dataclass(frozen=True, slots=True)
class Constraints:
    """Limits that a winner must keep, whatever its score. 0 means no limit; `min_recall` maps label -> least recall."""

    max_cost_per_1000: float = 0.0
    max_prompt_tokens: float = 0.0
    min_recall: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there are any limits."""
        return bool(self.max_cost_per_1000 or self.max_prompt_tokens or self.min_recall)


@dataclass(frozen=True, slots=True)
class Held:
    """A constraint, its limit, and a prompt's value on `n` rows; the value is None if there are no rows.

    `constraint` is a field of `Constraints`. `interval` is the 95 % interval (Wilson's) of a recall, else None.
    """

    constraint: str
    label: str
    limit: float
    value: float | None
    n: int
    interval: tuple[float, float] | None = None

    @property
    def by(self) -> float:
        """By which share of the limit the prompt breaks it; 0 if it keeps it, or if its value is not known."""
        if self.value is None:
            return 0.0
        over = self.value / self.limit - 1
        over = -over if self.constraint == "min_recall" else over
        return over if over > ROUNDING else 0.0

    @property
    def too_few(self) -> bool:
        """Whether there are too few rows to tell, because the limit is in the interval."""
        return self.interval is not None and self.interval[0] < self.limit <= self.interval[1]

    @property
    def broken(self) -> str:
        """How the constraint is broken, in words; empty if it is kept."""
        if self.value is None or not self.by:
            return ""
        return {
            "max_cost_per_1000": f"costs ${self.value:.4g} per 1,000, more than ${self.limit:g}",
            "max_prompt_tokens": f"{self.value:.1f} prompt tokens, more than {self.limit:g}",
            "min_recall": f"recall of {self.label} {100 * self.value:.1f} %, less than {100 * self.limit:g} %",
        }[self.constraint]


def measures(outcomes: Iterable[Outcome]) -> Measures:
    """Compute the measures of a prompt from its outcomes."""
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    rows = max(1, len(scored))
    return Measures(
        len(scored),
        1000 * sum(outcome.cost for outcome in scored) / rows,
        1e6 * sum(outcome.seconds for outcome in scored) / rows,
        sum(outcome.tokens for outcome in scored) / rows,
        sum(outcome.prompt_tokens for outcome in scored) / rows,
    )


# --- the front --------------------------------------------------------------------------------------------


def front(trials: Sequence[Trial]) -> list[Trial]:
    """List the trials that no other beats, the best score first.

    Parameters
    ----------
    trials
        Trials with their outcomes; only those scored on all rows are compared.

    Notes
    -----
    If nothing was paid, because the price is zero or not known, tokens per call replace the cost. Latency is compared
    to two significant figures, as the rest is noise, and cost to four. Trials that are equal in everything are all
    listed.
    """
    vectors = _vectors(trials)
    held = [t for t in trials if t.number in vectors and not _rivals(vectors, t.number)]
    return sorted(held, key=lambda trial: (vectors[trial.number], trial.number))


def dominated_by(trial: Trial, trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial of the front that beats this one; None if it is on the front, or has no full score."""
    vectors = _vectors(trials)
    rivals = _rivals(vectors, trial.number) if trial.number in vectors else set()
    return next((held for held in front(trials) if held.number in rivals), None)


def paid(trials: Iterable[Trial]) -> bool:
    """Return whether anything was paid for these trials; if not, tokens replace the cost."""
    return any(outcome.cost for trial in trials for outcome in trial.outcomes)


def _vectors(trials: Sequence[Trial]) -> dict[int, tuple[float, float, float]]:
    """Return, for each fully scored trial, what should be low: minus its score, its cost, its latency."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE and trial.score is not None]
    priced, found = paid(complete), {}
    for trial in complete:
        m = measures(trial.outcomes)
        expense = m.cost_per_1000 if priced else 1000 * m.tokens
        # Rounded as in the view pareto_front: sums in another order differ in their last digits.
        score = round(trial.score or 0.0, 6)
        found[trial.number] = (-score, float(f"{expense:.4g}"), float(f"{m.ms_per_1000:.2g}"))
    return found


def _rivals(vectors: Mapping[int, tuple[float, ...]], number: int) -> set[int]:
    """Return the trials that are nowhere worse than this one, and better somewhere."""
    mine = vectors[number]
    return {
        other
        for other, theirs in vectors.items()
        if theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))
    }


# --- constraints ------------------------------------------------------------------------------------------


def hold(outcomes: Sequence[Outcome], constraints: Constraints, examples: Mapping[str, Example]) -> list[Held]:
    """Evaluate each constraint on a prompt's outcomes; `examples` has the rows by id.

    The recall of a label without answered rows is None, which breaks nothing.
    """
    m, found = measures(outcomes), list[Held]()
    for name, limit, value in (
        ("max_cost_per_1000", constraints.max_cost_per_1000, m.cost_per_1000),
        ("max_prompt_tokens", constraints.max_prompt_tokens, m.prompt_tokens),
    ):
        if limit:
            found.append(Held(name, "", limit, value if m.rows else None, m.rows))
    for label, least in constraints.min_recall.items():
        if least:
            recall, interval = recall_of(label, outcomes, examples)
            n = sum(o.score is not None and examples[o.example_id].target == label for o in outcomes)
            found.append(Held("min_recall", label, least, recall, n, interval))
    return found


def breaches(outcomes: Sequence[Outcome], constraints: Constraints, examples: Mapping[str, Example]) -> list[str]:
    """Return in words which constraints a prompt breaks; see `hold`."""
    return [held.broken for held in hold(outcomes, constraints, examples) if held.broken]


def require_labels(constraints: Constraints, labels: Sequence[str]) -> None:
    """Raise TaskError for the recall of a label that the task does not have."""
    for label in constraints.min_recall:
        if not labels:
            raise TaskError(f"min_recall of {label!r}: only a classification has labels. Leave it out.")
        if label not in labels:
            raise TaskError(one_of("label in min_recall", label, list(labels)))


def require_rows(constraints: Constraints, rows: Sequence[Example]) -> None:
    """Raise TaskError for the recall of a label that no row of the search has: no prompt could break it."""
    seen = {row.target for row in rows}
    for label, least in constraints.min_recall.items():
        if least and label not in seen:
            raise TaskError(
                f"min_recall of {label!r}: none of the {counted(len(rows), 'dev row')} that the search looks at has "
                "this label. Look at more rows with more --calls, split them otherwise ([data]), or leave it out."
            )


def excess(outcomes: Sequence[Outcome], constraints: Constraints, examples: Mapping[str, Example]) -> float:
    """Return by how much a prompt breaks the constraints, summed as shares of their limits; 0 if it keeps all."""
    return sum(held.by for held in hold(outcomes, constraints, examples))
