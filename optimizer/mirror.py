"""Finished trials, copied into Optuna's own tables of the same results.db, so that Optuna's tools read them.

Written after the search, never read by it. `optuna.load_study` and optuna-dashboard open the file as any other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from optimizer.records import State, Trial
from optimizer.studies import frozen_trial
from search_spaces.space import Space


def study_name(task: str, run: int) -> str:
    """Name the Optuna study of a run."""
    return f"{task}-{run}"


def mirror(path: Path, name: str, space: Space, trials: Sequence[Trial], *, seconds: float = math.inf) -> int:
    """Add the finished trials that the study does not hold yet; return how many were added.

    A trial takes Optuna some 40 ms; after `seconds` the rest is left to a later call.
    """
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 30}})
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        held = {trial.user_attrs.get("trial") for trial in study.get_trials(deepcopy=False)}
        missing = [trial for trial in trials if trial.number not in held and trial.state is not State.RUNNING]
        until = time.monotonic() + seconds
        for added, trial in enumerate(missing):
            if time.monotonic() > until:
                return added
            study.add_trial(frozen_trial(space, trial))
    finally:
        storage.engine.dispose()
    return len(missing)
