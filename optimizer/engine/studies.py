"""The interface to Optuna: its samplers as controls, the pooled model as one of its samplers, and trials in its format.

Studies live in memory here; `mirror` copies finished ones into Optuna's tables. A sampler is seeded anew for every
trial number, so that a resumed search continues exactly as an uninterrupted one would.
"""

from __future__ import annotations

import importlib.util
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optimizer.errors import InputError, one_of
from optimizer.records import State, Trial
from search_spaces.space import Chooser, Dimension, Space, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)

CONTROLS = ("tpe", "random", "gp")
STARTUP = 10  # random trials before a sampler fits a model: Optuna's own default

_STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}


class PooledSampler(BaseSampler):
    """An Optuna sampler that proposes the prompts of the pooled model.

    Parameters
    ----------
    space
        Its dimensions are suggested.
    propose
        () -> the parameters of the next prompt: the highest point of a draw from the posterior.
    """

    def __init__(self, space: Space, propose: Callable[[], Mapping[str, Value]]) -> None:
        self._space, self._propose = space, propose

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        """Return the distributions of all dimensions that are not locked."""
        return {d.name: distribution(d) for d in self._space.dimensions if not d.locked}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Propose a value for every dimension that applies."""
        return {name: value for name, value in self._propose().items() if name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - as Optuna declares it
        """Refuse: the pooled model proposes whole prompts."""
        raise AssertionError(f"{param_name} of trial {trial.number} was not proposed: {param_distribution}, {study}")


class Declared:
    """An Optuna trial as the chooser of a space; it is asked among all ids that may ever be choices.

    Optuna refuses a list of choices that changes, so the ids of later wordings are on it from the start. If the trial
    suggests one that has no text yet, a uniformly drawn choice replaces it.

    Parameters
    ----------
    space
        The prompt's space.
    trial
        Suggests the values.
    seed
        Draws the replacements.
    """

    def __init__(self, space: Space, trial: Chooser, seed: int = 0) -> None:
        self._space, self._trial, self._seed = space, trial, seed

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:  # noqa: ANN401 - a Chooser's form
        """Suggest one of the choices."""
        value = self._trial.suggest_categorical(name, self._space[name].declared)
        return value if value in choices else random.Random(f"{self._seed} {name}").choice(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Suggest a whole number."""
        return self._trial.suggest_int(name, low, high)

    def suggest_float(self, name: str, low: float, high: float) -> float:
        """Suggest a number."""
        return self._trial.suggest_float(name, low, high)


def control(name: str, seed: int) -> BaseSampler:
    """Make one of Optuna's own samplers.

    Raises
    ------
    InputError
        If there is no such sampler, or it needs a package that is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "tpe":
            # `group` lets dimensions that apply only sometimes be modelled together where they do apply.
            return optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP, constant_liar=False
            )
        if name == "gp":
            if importlib.util.find_spec("torch") is None:
                raise InputError(
                    "sampler 'gp' is Optuna's, which needs torch, and torch is not installed; "
                    "allowed without it: pooled, tpe, random. Run `pip install torch`, or choose another sampler."
                )
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    raise InputError(one_of("sampler", name, ["pooled", *CONTROLS]))


def mixed(*numbers: int) -> int:
    """Mix numbers into one seed."""
    return random.Random(" ".join(map(str, numbers))).getrandbits(32)


def frozen_trial(space: Space, trial: Trial) -> FrozenTrial:
    """Convert a trial to Optuna's format, in which locked dimensions are no parameters."""
    chosen = [space[name] for name in trial.params if not space[name].locked]
    return optuna.trial.create_trial(
        state=_STATES[trial.state],
        params={d.name: trial.params[d.name] for d in chosen},
        distributions={d.name: distribution(d) for d in chosen},
        value=trial.score if trial.state is State.COMPLETE else None,
        intermediate_values=dict(trial.steps),
        user_attrs={
            "trial": trial.number,
            "rows": trial.n,
            "interval": list(trial.interval) if trial.interval else None,
            "estimate": trial.estimate,
            "cost": sum(outcome.cost for outcome in trial.outcomes),
            "reason": trial.reason,
        },
    )


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension's Optuna distribution."""
    if dimension.choices:
        return CategoricalDistribution(dimension.declared)
    assert dimension.low is not None
    assert dimension.high is not None
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high)


def best_hyperparameters(
    objective: Callable[[Chooser], float], *, trials: int, seconds: float, seed: int
) -> dict[str, Value]:
    """Tune a few hyperparameters with TPE, as for the trained baseline.

    Parameters
    ----------
    objective
        Takes a chooser, returns the score to maximize.
    trials, seconds
        The search ends when either is used up, but runs at least one trial.
    seed
        Of the sampler.
    """
    began = time.monotonic()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=1)
    if trials > 1:
        study.optimize(objective, n_trials=trials - 1, timeout=seconds - (time.monotonic() - began))
    return dict(study.best_params)
