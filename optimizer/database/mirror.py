"""Finished trials, copied into Optuna's own tables of the same results.db, so that Optuna's tools can read them.

Written after the search, never read by it. `optuna.load_study` and optuna-dashboard open the file like any other; the
latter shows a prompt as the note of its trial.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

from optimizer.engine.studies import frozen_trial
from optimizer.records import State, Trial
from optimizer.reports.markdown import fenced
from search_spaces.space import Space

NOTE_PART = 2045  # characters: optuna-dashboard splits notes like this, for databases with short text columns


def study_name(task: str, run: int) -> str:
    """Name the Optuna study of a run."""
    return f"{task}-{run}"


def mirror(
    path: Path, name: str, space: Space, trials: Sequence[Trial], *, text: Callable[[Trial], str] | None = None
) -> int:
    """Add the finished trials that the study does not hold yet, all or none; return how many were added.

    For those that it holds, the user attributes are updated: a search that is resumed learns more about them.

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
        Returns a prompt as readable text. It becomes the note of a trial that was scored in full.

    Notes
    -----
    Optuna's own way to add a trial makes a dozen queries per parameter, 20 ms a trial. Its table classes, which are not
    public, add all trials in that time.
    """
    storage = RDBStorage(f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 30}})
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        number, there = storage.get_study_id_from_name(name), study.get_trials(deepcopy=False)
        held = {trial.user_attrs.get("trial"): trial for trial in there}
        missing = [trial for trial in trials if trial.number not in held and trial.state is not State.RUNNING]
        rows = [_row(frozen_trial(space, trial), number, place) for place, trial in enumerate(missing, len(there))]
        known = [(frozen_trial(space, trial), held[trial.number]) for trial in trials if trial.number in held]
        told = {storage.get_trial_id_from_study_id_trial_number(number, old.number): (new, old) for new, old in known}
        with storage.scoped_session() as session, session.begin():
            for id_, (new, old) in told.items():
                for key, value in new.user_attrs.items():
                    if old.user_attrs.get(key) != value:
                        attribute = session.query(models.TrialUserAttributeModel).filter_by(trial_id=id_, key=key)
                        attribute.update({"value_json": json.dumps(value)})
            session.add_all(rows)
            session.flush()  # assigns the ids, which the notes' keys contain
            for row, trial in zip(rows, missing, strict=True):
                if text and trial.state is State.COMPLETE:
                    session.add_all(
                        models.StudySystemAttributeModel(study_id=number, key=key, value_json=json.dumps(value))
                        for key, value in note(row.trial_id, text(trial)).items()
                    )
    finally:
        storage.engine.dispose()
    return len(missing)


def _row(trial: FrozenTrial, study: int, number: int) -> Any:  # noqa: ANN401 - its attributes are made by SQLAlchemy
    """Write a trial as the storage does, with the rows that belong to it."""
    row: Any = models.TrialModel(study_id=study, number=number, state=trial.state)
    row.datetime_start, row.datetime_complete = trial.datetime_start, trial.datetime_complete
    row.params = [
        models.TrialParamModel(
            param_name=name,
            param_value=distribution.to_internal_repr(trial.params[name]),
            distribution_json=distribution_to_json(distribution),
        )
        for name, distribution in trial.distributions.items()
    ]
    if trial.value is not None:
        value, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
        row.values = [models.TrialValueModel(objective=0, value=value, value_type=kind)]
    row.user_attributes = [
        models.TrialUserAttributeModel(key=key, value_json=json.dumps(value)) for key, value in trial.user_attrs.items()
    ]
    for step, score in trial.intermediate_values.items():
        stored, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(score)
        row.intermediate_values.append(
            models.TrialIntermediateValueModel(step=step, intermediate_value=stored, intermediate_value_type=sort)
        )
    return row


def note(trial: int, prompt: str) -> dict[str, str | int]:
    """Return a prompt as the note of the trial with this id in Optuna's tables: attributes of the study.

    Like `save_note` of optuna-dashboard 0.21, which needs a live trial.
    """
    body = "\n".join(fenced(prompt))
    parts = [body[start : start + NOTE_PART] for start in range(0, len(body), NOTE_PART)]
    texts = {f"dashboard:{trial}:note_str:{i}": part for i, part in enumerate(parts)}
    return {f"dashboard:{trial}:note_ver": 1, **texts}
