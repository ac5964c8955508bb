"""The door of Optuna: samplers, distributions, and trials as it keeps them."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from optimizer.engine.studies import (
    Declared,
    PooledSampler,
    best_hyperparameters,
    control,
    distribution,
    frozen_trial,
    mixed,
)
from optimizer.errors import InputError
from optimizer.records import Kind, Outcome, State, Trial
from search_spaces.space import Dimension
from tests.landscape import space

SPACE = space(temperature={"low": 0.0, "high": 1.0})
SEED = SPACE.seed()
SHOWN = {**SEED, "demos": "nearest", "k": 4, "nearest_order": "similar_first", "temperature": 0.25}


@pytest.mark.parametrize("params", [SEED, SHOWN])
def test_the_pooled_sampler_is_a_sampler_of_optuna(params: dict[str, object]) -> None:
    """A study that is asked suggests what the model proposes, also of ranges and of what applies only sometimes."""
    sampler = PooledSampler(SPACE, lambda: params)  # type: ignore[arg-type, return-value]
    study = optuna.create_study(direction="maximize", sampler=sampler)

    chosen = SPACE.choose(Declared(SPACE, study.ask()))

    assert isinstance(sampler, optuna.samplers.BaseSampler)
    assert params == chosen


def test_the_pooled_sampler_is_asked_anew_for_each_trial() -> None:
    """Told trials and all, a study follows the proposals."""
    proposals = [SEED, SHOWN, {**SEED, "template": "xml"}]
    turn = iter(proposals)
    study = optuna.create_study(direction="maximize", sampler=PooledSampler(SPACE, lambda: next(turn)))

    found = []
    for score in (0.2, 0.7, 0.5):
        trial = study.ask()
        found.append(SPACE.choose(Declared(SPACE, trial)))
        study.tell(trial, score)

    assert proposals == found
    assert study.best_trial.number == 1


def test_the_pooled_sampler_makes_nothing_up() -> None:
    """A parameter that the model did not propose is an error, not a guess."""
    study = optuna.create_study(sampler=PooledSampler(SPACE, lambda: {"template": "xml"}))

    with pytest.raises(AssertionError, match="of trial 0 was not proposed"):
        SPACE.choose(Declared(SPACE, study.ask()))


def test_dimensions_become_distributions() -> None:
    """Choices, whole numbers and real numbers keep their kinds and their ends."""
    assert distribution(Dimension("a", "", "x", ("x", "y"))) == CategoricalDistribution(("x", "y"))
    assert distribution(Dimension("a", "", 0, low=0, high=8)) == IntDistribution(0, 8)
    assert distribution(Dimension("a", "", 0.0, low=0.0, high=1.5)) == FloatDistribution(0.0, 1.5)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_controls_are_seeded(name: str) -> None:
    """The same seed asks for the same, another for something else."""

    def asked(seed: int) -> list[dict[str, object]]:
        study = optuna.create_study(sampler=control(name, seed))
        return [dict(SPACE.choose(Declared(SPACE, study.ask()))) for _ in range(4)]

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_an_unknown_control_is_refused() -> None:
    """The message names those that exist."""
    with pytest.raises(InputError, match=r"'rando'; allowed: pooled, tpe, random, gp\. Did you mean 'random'"):
        control("rando", 0)


def test_seeds_are_mixed_from_all_their_parts() -> None:
    """Each part changes the seed, and so does the order."""
    seeds = [mixed(*numbers) for numbers in ((1, 2), (2, 1), (12,), (1, 2, 0), (1, 3))]

    assert len(set(seeds)) == len(seeds)
    assert mixed(1, 2) == seeds[0]


def trial(state: State, score: float | None = 0.5) -> Trial:
    """A trial that ended so."""
    outcomes = (Outcome("d1", Kind.RIGHT, 1.0, "good", cost=0.25), Outcome("d2", Kind.WRONG, 0.0, "bad", cost=0.5))
    return Trial(3, SHOWN, SPACE.build(SHOWN), state, score, (0.1, 0.9), 2, {1: 1.0, 2: 0.5}, outcomes, "why", 0.0, 0.6)


@pytest.mark.parametrize(
    ("state", "theirs", "value"),
    [
        (State.COMPLETE, TrialState.COMPLETE, 0.5),
        (State.PRUNED, TrialState.PRUNED, None),
        (State.FAILED, TrialState.FAIL, None),
        (State.RUNNING, TrialState.RUNNING, None),
    ],
)
def test_a_trial_is_kept_as_optuna_keeps_it(state: State, theirs: TrialState, value: float | None) -> None:
    """State, value of complete ones, running scores, and what else is known of it; a study takes it in."""
    frozen = frozen_trial(SPACE, trial(state))
    study = optuna.create_study(direction="maximize")
    study.add_trial(frozen)

    (kept,) = study.trials
    assert (theirs, value, {1: 1.0, 2: 0.5}) == (kept.state, kept.value, kept.intermediate_values)
    facts = {"trial": 3, "rows": 2, "interval": [0.1, 0.9], "estimate": 0.6, "cost": 0.75, "reason": "why"}
    assert facts == kept.user_attrs


def test_what_is_locked_is_no_parameter_there() -> None:
    """Optuna sees what could have been chosen, with its distribution."""
    frozen = frozen_trial(SPACE, trial(State.COMPLETE))

    unlocked = {name: value for name, value in SHOWN.items() if not SPACE[name].locked}
    assert "persona" in SHOWN
    assert unlocked == frozen.params
    assert {name: distribution(SPACE[name]) for name in unlocked} == frozen.distributions


def test_hyperparameters_are_searched_within_their_budget() -> None:
    """The best of a few trials comes near the top of a hill, the same for the same seed."""
    asked = []

    def hill(chooser: object) -> float:
        x = chooser.suggest_float("x", -4.0, 4.0)  # type: ignore[attr-defined]
        asked.append(x)
        return -((x - 1.0) ** 2)

    best = best_hyperparameters(hill, trials=40, seconds=30, seed=0)

    assert len(asked) == 40
    assert abs(best["x"] - 1.0) < 0.5  # type: ignore[operator]
    assert best == best_hyperparameters(hill, trials=40, seconds=30, seed=0)
