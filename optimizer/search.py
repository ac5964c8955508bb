"""Ask, evaluate, tell: which prompt to try next, on how many rows, and when to stop. The door of Optuna.

Knows no model, no database and no price: `evaluate` is handed in, trials are handed out. Optuna runs in memory;
a resumed search replays the trials it is given. The sampler is seeded anew for every trial number, so that a
resumed search goes on exactly as an uninterrupted one would.

A trial meets the dev rows block by block, always in the same order. After each block it is compared with the
leading trial on the same rows (racing: Maron and Moore 1994, here with an exact sign test) and, at 1/8, 1/4 and
1/2 of the rows, with all trials that came as far (asynchronous successive halving: Li et al. 2020).
"""

from __future__ import annotations

import random
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from optimizer.errors import BudgetSpent, InputError, one_of
from optimizer.records import BlockScored, Event, Outcome, State, Trial, TrialEnded
from optimizer.scoring import METRICS, Metric, summarise
from optimizer.scoring import interval as interval_of
from optimizer.stats import wilson, worse_than
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Chooser, Space, Value

ALPHA = 0.05  # a trial is raced out when the rows say "worse" this surely
KEEP = 1 / 3  # the share of trials that successive halving lets pass a rung (Li et al. use 1/4)
RUNGS = (1 / 8, 1 / 4, 1 / 2)  # shares of the dev rows at which trials are halved
ENOUGH = 4  # trials that must have reached a rung before it halves: of fewer, half is luck
TRIES = 10  # asks in a row that bring only prompts tried before: TPE likes to stay where it is good
DRAWS = 200  # random draws after that, before the space is taken as exhausted
SMALL = 5000  # a space of so many prompts is walked through instead
ERRORS = 0.2  # a trial with a larger share of failed calls is not scored at all
STARTUP = 10  # random trials before TPE models anything: Optuna's own default

Evaluate = Callable[[Prompt, Sequence[Example]], Sequence[Outcome]]


@dataclass(frozen=True, slots=True)
class Options:
    """What to maximize and how to look: sampler ("tpe" or "random"), trials, rows per block, seed."""

    metric: Metric = METRICS["accuracy"]
    sampler: str = "tpe"
    trials: int = 40
    block: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is told to the outside: events to draw, and finished trials to keep."""

    event: Callable[[Event], None] = lambda _: None
    keep: Callable[[Trial], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found, and why it stopped."""

    trials: tuple[Trial, ...]
    best: Trial
    reason: str


def run(
    space: Space,
    evaluate: Evaluate,
    rows: Sequence[Example],
    options: Options = Options(),
    *,
    replay: Sequence[Trial] = (),
    hooks: Hooks = Hooks(),
) -> Found:
    """Search a space for the prompt that scores best on the rows.

    Parameters
    ----------
    space
        What may be said.
    evaluate
        (prompt, rows) -> one outcome per row. It may raise `BudgetSpent` to end the search.
    rows
        The dev rows.
    options
        What to maximize and how to look.
    replay
        The trials of an interrupted search, in order.
    hooks
        Where events and finished trials go.

    Raises
    ------
    BudgetSpent
        If the budget does not even cover the seed prompt.
    InputError
        If the sampler is not known, or no row of the seed prompt could be scored.
    """
    race = _Race(space, evaluate, _in_turn(rows, options.seed), options, hooks)
    for trial in replay:
        race.enter(trial)
    reason = f"all {options.trials} trials are done"
    while len(race.trials) < options.trials:
        params = race.ask()
        if params is None:
            reason = "every prompt of the space that was drawn has been tried"
            break
        try:
            trial = race.run_trial(params)
        except BudgetSpent as spent:
            if not race.trials:
                raise BudgetSpent(f"{spent}: it does not cover the seed prompt's {len(rows)} dev rows") from None
            reason = str(spent)
            break
        race.enter(trial)
        best = race.best
        if best is None:  # and nothing is kept, so that the next run begins with the seed prompt again
            raise InputError(f"no prompt could be scored: {trial.reason}. Check the model, then run again.")
        hooks.keep(trial)
        hooks.event(TrialEnded(trial, best.number, options.trials))
    best = race.best
    assert best is not None
    return Found(tuple(race.trials), best, reason)


@dataclass
class _Race:
    """A search under way."""

    space: Space
    evaluate: Evaluate
    rows: Sequence[Example]
    options: Options
    hooks: Hooks
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize")
        self._tried: set[str] = set()
        self._examples = {example.id: example for example in self.rows}

    @property
    def best(self) -> Trial | None:
        """The leading trial: the best score over all rows; of equals the one with the fewest tokens, then the first."""
        complete = [trial for trial in self.trials if trial.state is State.COMPLETE]
        return max(complete, key=self._rank, default=None)

    def _rank(self, trial: Trial) -> tuple[float, float, int]:
        """Order trials. One that lacks rows is placed by its lead over the seed prompt on the rows that it has.

        Otherwise a prompt that fails on hard rows would be the better for it.
        """
        seed, score = self.trials[0], trial.score or 0.0
        if trial.n < len(self.rows):
            scored = {outcome.example_id for outcome in trial.outcomes if outcome.score is not None}
            shared = [outcome for outcome in seed.outcomes if outcome.example_id in scored]
            score += (seed.score or 0.0) - (summarise(self.options.metric, shared, self._examples) or 0.0)
        tokens = sum(outcome.tokens for outcome in trial.outcomes) / max(1, len(trial.outcomes))
        return (score, -tokens, -trial.number)

    def ask(self) -> dict[str, Value] | None:
        """Propose the parameters of a prompt that was not tried before; the seed prompt comes first."""
        number = len(self.trials)
        if number == 0:
            return self.space.seed()
        for attempt in range(TRIES + DRAWS):
            name = self.options.sampler if attempt < TRIES else "random"
            if attempt == TRIES and self.space.size <= SMALL:
                return self._untried()
            self._study.sampler = _sampler(name, _mix(self.options.seed, number, attempt))
            asked = self._study.ask()
            params = self.space.choose(asked)
            self._study.tell(asked, state=_optuna_state(State.FAILED))  # the finished trial is added by `enter`
            if self.space.build(params).digest not in self._tried:
                return params
        return None

    def _untried(self) -> dict[str, Value] | None:
        """Walk through a small space for a prompt that was not tried yet."""
        points = list(self.space.points())
        random.Random(_mix(self.options.seed, len(self.trials))).shuffle(points)
        return next((point for point in points if self.space.build(point).digest not in self._tried), None)

    def enter(self, trial: Trial) -> None:
        """Count a finished trial in, whether it ran here or is replayed."""
        self.trials.append(trial)
        self._tried.add(trial.prompt.digest)
        self._study.add_trial(frozen_trial(self.space, trial))

    def run_trial(self, params: Mapping[str, Value]) -> Trial:
        """Evaluate a prompt block by block until it is through or out."""
        started = time.monotonic()
        trial = Trial(len(self.trials), dict(params), self.space.build(params), State.RUNNING)
        outcomes: list[Outcome] = []
        steps: dict[int, float] = {}
        reason = ""
        for start in range(0, len(self.rows), self.options.block):
            outcomes += self.evaluate(trial.prompt, self.rows[start : start + self.options.block])
            if _failing(outcomes):
                break
            steps[len(outcomes)] = self._announce(trial, outcomes)
            # The seed prompt is always scored in full: without it nobody could say "no improvement".
            last = len(outcomes) == len(self.rows)
            reason = "" if last or trial.number == 0 else self._out(outcomes, steps[len(outcomes)])
            if reason:
                break
        else:
            outcomes = self._again(trial.prompt, outcomes)
        return self._ended(replace(trial, steps=steps, seconds=time.monotonic() - started), outcomes, reason)

    def _announce(self, trial: Trial, outcomes: Sequence[Outcome]) -> float:
        """Tell how a running trial stands, and return its score."""
        metric, n = self.options.metric, len(outcomes)
        scored = [outcome.score for outcome in outcomes if outcome.score is not None]
        score = summarise(metric, outcomes, self._examples) or 0.0
        # The interval of a set-level metric needs a bootstrap: too slow for every block.
        interval = wilson(sum(scored), len(scored)) if metric.over is None else None
        self.hooks.event(BlockScored(trial.number, trial.params, n, len(self.rows), score, interval))
        return score

    def _again(self, prompt: Prompt, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Ask once more for the rows whose calls failed: a fault that has passed should not cost a row."""
        failed = {outcome.example_id for outcome in outcomes if outcome.score is None}
        if not failed:
            return list(outcomes)
        rows = [row for row in self.rows if row.id in failed]
        second = {outcome.example_id: outcome for outcome in self.evaluate(prompt, rows)}
        return [second.get(outcome.example_id, outcome) for outcome in outcomes]

    def _ended(self, trial: Trial, outcomes: Sequence[Outcome], reason: str) -> Trial:
        """Close a trial: failed, stopped for a reason, or scored in full."""
        metric = self.options.metric
        if _failing(outcomes):
            return replace(trial, state=State.FAILED, steps={}, outcomes=tuple(outcomes), reason=_failure(outcomes))
        rng = np.random.default_rng(_mix(self.options.seed, trial.number))
        n = sum(outcome.score is not None for outcome in outcomes)
        lacking = f"; {len(outcomes) - n} calls failed and are left out" if n < len(outcomes) else ""
        return replace(
            trial,
            state=State.PRUNED if reason else State.COMPLETE,
            score=summarise(metric, outcomes, self._examples) or 0.0,
            interval=interval_of(metric, outcomes, self._examples, rng),
            n=n,
            outcomes=tuple(outcomes),
            reason=(reason or f"scored on all {len(self.rows)} dev rows") + lacking,
        )

    def _out(self, outcomes: Sequence[Outcome], score: float) -> str:
        """Say why a trial should not go on, or nothing."""
        leader = self.best
        assert leader is not None
        n = len(outcomes)
        # The sign test compares rows. Where the metric is one of the whole set, halving alone decides.
        difference, p_value = _compare(outcomes, leader.outcomes) if self.options.metric.over is None else (0.0, 1.0)
        if difference < 0 and p_value < ALPHA:
            behind = f"{-100 * difference:.1f} points behind trial {leader.number} on the same {n} rows"
            return f"raced out: {behind} (p = {p_value:.3f})"
        rung = next((int(share * len(self.rows)) for share in RUNGS[::-1] if n >= share * len(self.rows)), None)
        if rung is None or n - self.options.block >= rung:
            return ""
        reached = [step for trial in self.trials if (step := _step_at(trial, n)) is not None]
        if len(reached) >= ENOUGH and sum(other > score for other in reached) >= KEEP * (len(reached) + 1):
            ahead = sum(other > score for other in reached)
            return f"halved: {ahead} of {len(reached)} trials were ahead at {n} rows"
        return ""


def _step_at(trial: Trial, n: int) -> float | None:
    return trial.steps.get(n)


def _compare(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> tuple[float, float]:
    """Mean difference of scores over the rows that both have, and the one-sided p of "worse"."""
    other = {outcome.example_id: outcome.score for outcome in theirs}
    pairs = [(o.score, other[o.example_id]) for o in ours if o.score is not None and o.example_id in other]
    differences = np.array([a - b for a, b in pairs if b is not None])
    return (float(differences.mean()), worse_than(differences)) if len(differences) else (0.0, 1.0)


def _failing(outcomes: Sequence[Outcome]) -> bool:
    """Whether too many calls failed for a score."""
    return sum(outcome.score is None for outcome in outcomes) > ERRORS * len(outcomes)


def _failure(outcomes: Sequence[Outcome]) -> str:
    failed = [outcome for outcome in outcomes if outcome.score is None]
    return f"{len(failed)} of {len(outcomes)} calls failed ({failed[0].text})"


def _in_turn(rows: Sequence[Example], seed: int) -> list[Example]:
    """Shuffle the rows so that every block holds the answers in about equal numbers."""
    by_target: dict[str, list[Example]] = defaultdict(list)
    for row in random.Random(f"rows {seed}").sample(list(rows), len(rows)):
        by_target[row.target].append(row)
    # The i-th of m rows of a target stands at (i + 1/2) / m of the way: each target is spread evenly.
    placed = [
        ((position + 0.5) / len(group), order, row)
        for order, group in enumerate(by_target.values())
        for position, row in enumerate(group)
    ]
    return [row for _, _, row in sorted(placed, key=lambda place: place[:2])]


# --- Optuna -----------------------------------------------------------------------------------------------

SAMPLERS = ("tpe", "random")


def _sampler(name: str, seed: int) -> Any:  # noqa: ANN401 - an Optuna sampler
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "tpe":
            # `group` lets dimensions that apply only sometimes be modelled together where they do apply.
            return optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP, constant_liar=False
            )
    raise InputError(one_of("sampler", name, list(SAMPLERS)))


def _mix(*numbers: int) -> int:
    return random.Random(" ".join(map(str, numbers))).getrandbits(32)


def _optuna_state(state: State) -> Any:  # noqa: ANN401
    import optuna

    states = {State.COMPLETE: "COMPLETE", State.PRUNED: "PRUNED", State.FAILED: "FAIL"}
    return optuna.trial.TrialState[states[state]]


def frozen_trial(space: Space, trial: Trial) -> Any:  # noqa: ANN401 - an Optuna FrozenTrial
    """Write a finished trial as Optuna keeps it; dimensions that are locked are no parameters there."""
    import optuna

    chosen = [space[name] for name in trial.params if not space[name].locked]
    return optuna.trial.create_trial(
        state=_optuna_state(trial.state),
        params={d.name: trial.params[d.name] for d in chosen},
        distributions={d.name: _distribution(d) for d in chosen},
        value=trial.score if trial.state is State.COMPLETE else None,
        intermediate_values=dict(trial.steps),
        user_attrs={
            "trial": trial.number,
            "rows": trial.n,
            "interval": list(trial.interval) if trial.interval else None,
            "reason": trial.reason,
        },
    )


def _distribution(dimension: Any) -> Any:  # noqa: ANN401
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    return (IntDistribution if dimension.whole else FloatDistribution)(dimension.low, dimension.high)


def best_hyperparameters(
    objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int
) -> dict[str, Value]:
    """Search any few hyperparameters with TPE: what the trained rival is tuned with.

    Parameters
    ----------
    objective
        Takes a chooser, returns the score to maximize.
    trials, seconds
        The search ends when either is used up.
    seed
        Of the sampler.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials, timeout=seconds)
    return dict(study.best_params)
