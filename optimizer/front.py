"""What a prompt costs beside what it scores: measures, the front that no other prompt beats, and hard constraints.

A trial stands on the front if no other is at least as good in score, cost and latency and better in one (Pareto).
Records in, records out; knows neither how a search decides nor where trials are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.errors import ModelError, TaskError, one_of
from optimizer.phrases import counted
from optimizer.records import Outcome, State, Trial
from optimizer.scoring import recall_of
from search_spaces.prompt import Example

ROUNDING = 1e-9  # a share of a limit: means of floats are off by less, and what stands at a limit keeps it


@dataclass(frozen=True, slots=True)
class Measures:
    """What a prompt takes, over the rows that it answered: a failed call says nothing about it.

    `tokens` are those of a call, prompt and answer together. `cost_per_1000` is 0 where the price is not known. All are
    0 of a program that is read back: which calls a row took is not written down.
    """

    rows: int
    cost_per_1000: float
    ms_per_1000: float
    tokens: float
    prompt_tokens: float

    @property
    def known(self) -> bool:
        """Whether anything was measured: no call takes no time."""
        return self.ms_per_1000 > 0


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a winner must keep, however well it scores. 0 is no limit; `min_recall` maps label -> least recall."""

    max_cost_per_1000: float = 0.0
    max_prompt_tokens: float = 0.0
    min_recall: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.max_cost_per_1000 or self.max_prompt_tokens or self.min_recall)


@dataclass(frozen=True, slots=True)
class Breach:
    """A constraint that a prompt does not keep, in words, and by which share of the limit."""

    text: str
    by: float


def measures(outcomes: Iterable[Outcome]) -> Measures:
    """Measure a prompt by its outcomes."""
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
        With their outcomes. Only those scored on all rows are compared.

    Notes
    -----
    Where nothing was paid, because the price is zero or not known, tokens per call stand for cost. Of a latency two
    figures count, the rest is the clock's; of a cost four. Trials that are equal in everything stand there together.
    """
    vectors = _vectors(trials)
    held = [t for t in trials if t.number in vectors and not _rivals(vectors, t.number)]
    return sorted(held, key=lambda trial: (vectors[trial.number], trial.number))


def dominated_by(trial: Trial, trials: Sequence[Trial]) -> Trial | None:
    """Find the best trial of the front that beats this one; None if it stands there itself, or has no full score."""
    vectors = _vectors(trials)
    rivals = _rivals(vectors, trial.number) if trial.number in vectors else set()
    return next((held for held in front(trials) if held.number in rivals), None)


def paid(trials: Iterable[Trial]) -> bool:
    """Whether anything was paid for these trials; else tokens stand for cost."""
    return any(outcome.cost for trial in trials for outcome in trial.outcomes)


def _vectors(trials: Sequence[Trial]) -> dict[int, tuple[float, float, float]]:
    """What is to be low for each fully scored trial: minus its score, its cost, its latency."""
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
    """List the trials that are nowhere worse than one, and somewhere better."""
    mine = vectors[number]
    return {
        other
        for other, theirs in vectors.items()
        if theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))
    }


# --- constraints ------------------------------------------------------------------------------------------


def breaches(outcomes: Sequence[Outcome], constraints: Constraints, examples: Mapping[str, Example]) -> list[Breach]:
    """Say which constraints a prompt does not keep on the rows that it answered; `examples` holds the rows by id.

    A label of which no row was answered is not held against it.
    """
    found, m = [], measures(outcomes)
    limit = constraints.max_cost_per_1000
    if limit and m.cost_per_1000 > limit * (1 + ROUNDING):
        text = f"costs ${m.cost_per_1000:.4g} per 1,000, more than ${limit:g}"
        found.append(Breach(text, m.cost_per_1000 / limit - 1))
    limit = constraints.max_prompt_tokens
    if limit and m.prompt_tokens > limit * (1 + ROUNDING):
        found.append(Breach(f"{m.prompt_tokens:.1f} prompt tokens, more than {limit:g}", m.prompt_tokens / limit - 1))
    for label, least in constraints.min_recall.items():
        recall, _ = recall_of(label, outcomes, examples)
        if recall is not None and recall < least:
            text = f"recall of {label} {100 * recall:.1f} %, less than {100 * least:g} %"
            found.append(Breach(text, 1 - recall / least))
    return found


def require_price(name: str, price: tuple[float, float] | None, constraints: Constraints) -> None:
    """Refuse a limit on costs for a model whose price nobody knows."""
    if constraints.max_cost_per_1000 and price is None:
        raise ModelError(
            f"model {name!r} has no known price, so max_cost_per_1000 = {constraints.max_cost_per_1000:g} cannot be "
            "kept. Give its price in [model.price], or set max_prompt_tokens instead."
        )


def require_labels(constraints: Constraints, labels: Sequence[str]) -> None:
    """Refuse a recall of a label that the task does not have."""
    for label in constraints.min_recall:
        if not labels:
            raise TaskError(f"min_recall of {label!r}: only a classification has labels. Leave it out.")
        if label not in labels:
            raise TaskError(one_of("label in min_recall", label, list(labels)))


def require_rows(constraints: Constraints, rows: Sequence[Example]) -> None:
    """Refuse a recall of a label that none of the rows has at which a search looks: no prompt could break it."""
    seen = {row.target for row in rows}
    for label, least in constraints.min_recall.items():
        if least and label not in seen:
            raise TaskError(
                f"min_recall of {label!r}: none of the {counted(len(rows), 'dev row')} that the search looks at has "
                "this label. Look at more rows with more --calls, split them otherwise ([data]), or leave it out."
            )


def violations(trial: Trial, constraints: Constraints, examples: Mapping[str, Example]) -> list[str]:
    """Say in words which constraints a trial does not keep; see `breaches`."""
    return [breach.text for breach in breaches(trial.outcomes, constraints, examples)]


def excess(outcomes: Sequence[Outcome], constraints: Constraints, examples: Mapping[str, Example]) -> float:
    """By how much a prompt breaks the constraints: the sum of the shares of their limits; 0 if it keeps all."""
    return sum(breach.by for breach in breaches(outcomes, constraints, examples))
