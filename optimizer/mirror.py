"""Finished trials, copied into Optuna's own tables of the same results.db, so that Optuna's tools read them.

Written after the search, never read by it. `optuna.load_study` and optuna-dashboard open the file as any other; the
latter shows a prompt as the note of its trial.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from optimizer.markdown import fenced
from optimizer.records import State, Trial
from optimizer.studies import frozen_trial
from search_spaces.space import Space

NOTE_PART = 2045  # characters: optuna-dashboard splits notes so, for databases whose texts are short


def study_name(task: str, run: int) -> str:
    """Name the Optuna study of a run."""
    return f"{task}-{run}"


def mirror(
    path: Path,
    name: str,
    space: Space,
    trials: Sequence[Trial],
    *,
    text: Callable[[Trial], str] | None = None,
    seconds: float = math.inf,
) -> int:
    """Add the finished trials that the study does not hold yet; return how many were added.

    Parameters
    ----------
    path
        The results.db.
    name
        Of the study.
    space
        Of the run.
    trials
        Those of the run so far.
    text
        Gives a prompt as a person reads it. It becomes a note of those trials that were scored in full: most others
        were given up after a few rows, and a note takes Optuna some 10 ms beside the 40 ms of its trial.
    seconds
        After which the rest is left to a later call.
    """
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 30}})
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        number = storage.get_study_id_from_name(name)
        held = {trial.user_attrs.get("trial") for trial in study.get_trials(deepcopy=False)}
        missing = [trial for trial in trials if trial.number not in held and trial.state is not State.RUNNING]
        until = time.monotonic() + seconds
        for added, trial in enumerate(missing):
            if time.monotonic() > until:
                return added
            made = storage.create_new_trial(number, template_trial=frozen_trial(space, trial))
            if text and trial.state is State.COMPLETE:
                for key, value in note(made, text(trial)).items():
                    storage.set_study_system_attr(number, key, value)
    finally:
        storage.engine.dispose()
    return len(missing)


def note(trial: int, prompt: str) -> dict[str, str | int]:
    """Write a prompt as a note of the trial with this id in Optuna's tables: attributes of the study.

    As `save_note` of optuna-dashboard 0.21 does, which needs a live trial.
    """
    body = "\n".join(fenced(prompt))
    parts = [body[start : start + NOTE_PART] for start in range(0, len(body), NOTE_PART)]
    texts = {f"dashboard:{trial}:note_str:{i}": part for i, part in enumerate(parts)}
    return {f"dashboard:{trial}:note_ver": 1, **texts}
