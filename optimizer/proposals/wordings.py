"""Wordings that arrive during a search: added from outside, taken in by the run at its next decision.

`add_wording` stores one, from any process; `Arrivals` passes it to the run. The step at which a wording enters is
stored before it is tried, so that a resumed run lets it enter at the same step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from optimizer.database import slots
from optimizer.errors import InputError, kind_of
from optimizer.records import Run, Trial, Wording
from optimizer.store import Store
from search_spaces.instructions import FOUND_WORDS, TASK_WORDS, complaint, described_labels
from search_spaces.program import WORDS
from search_spaces.space import Space, Value


def add_wording(
    text: str, *, dimension: str = "instruction", run: int | None = None, db: str | Path = "results.db"
) -> Wording:
    """Add a wording to a run that is searching or waits to be resumed; the search tries it next.

    Parameters
    ----------
    text
        The wording; `{description}`, `{inputs}`, `{output}` and `{labels}` stand for the task's own words, `{terms}`,
        `{length}`, `{form}` or `{keys}` for what its training rows show.
    dimension
        Which part of the prompt it is for. For `labels` it describes them, one line each as LABEL: description.
    run
        Number of the run; by default the latest that is still searching.
    db
        The results database.

    Raises
    ------
    InputError
        If there is no such run or its search is over, the dimension has no wordings or was locked, the text is empty,
        known already or has an unknown name in braces, or all ids reserved for late wordings are taken.
    """
    if not isinstance(text, str):
        raise InputError(f"{kind_of(text)} was given as a wording; allowed: a text. Write one.")
    found = searching(run, db)
    with Store(db) as store:
        if dimension == "labels":
            _require_labels(store, found, text)
        elif said := complaint(text, tuple(WORDS) if "." in dimension else (*TASK_WORDS, *FOUND_WORDS)):
            raise InputError(said)
    with Store(db, create=True) as store:
        return slots.fill(store, found, dimension, text.strip())


def _require_labels(store: Store, run: Run, text: str) -> None:
    """Refuse a text that does not describe labels of a run."""
    declared = run.task["task"]["labels"]
    labels = sorted({*declared, *(row.target for row in store.examples(run.data, "train"))})
    try:
        described_labels(text, labels)
    except ValueError as error:
        raise InputError(f"{error}. Write a line for each as LABEL: description, of {', '.join(labels)}.") from None


def searching(number: int | None, db: str | Path) -> Run:
    """Read the run of that number, or the latest, whose search is not over.

    Raises
    ------
    InputError
        If there is none.
    """
    with Store(db) as store:
        runs = store.runs() if number is None else [store.run(number)]
    for run in runs:
        if run.status != "finished" and run.winner is None:
            return run
    fix = "Put the wording into the task file, as `add` of its dimension in [space], and start a new run."
    if number is not None:
        raise InputError(f"the search of run {number} is over ({runs[0].status}). {fix}")
    raise InputError(f"{db}: no run here is searching, or waits to be resumed. {fix}")


def when(run: Run, db: str | Path) -> str:
    """Say when a run will take in a wording that was just added."""
    with Store(db) as store:
        if store.under_way(run.id):
            return "the search takes it in at its next decision"
    why = f" ({run.status})" if run.status != "running" else ""  # its process was killed
    return f"no process here is at work on the run{why}: its search takes it in once `phrasetune tune` resumes it"


def begin(store: Store, run: int, space: Space) -> None:
    """Store what the ids of a run's space stand for, and which are reserved for later wordings."""
    worded = [d for d in space.dimensions if d.texts or d.slots]
    known = [Wording(d.name, str(c), d.texts[str(c)], "space") for d in worded for c in d.choices if c in d.texts]
    slots.begin(store, run, known, [(d.name, id_) for d in worded for id_ in d.slots])


def kept_out(store: Store, run: int) -> str:
    """Return a note on late wordings that never entered a run; empty if all have."""
    waiting = [f"{w.dimension} = {w.id}" for w in slots.wordings(store, run, late=True) if w.step is None]
    return f"never tried, since no calls could be spared for them: {', '.join(waiting)}" if waiting else ""


def entered(store: Store, run: int, space: Space) -> Space:
    """Return a run's space with the late wordings that its search has taken in."""
    for wording in slots.wordings(store, run, late=True):
        if wording.step is not None:
            space = space.filled(wording.dimension, wording.id, wording.text)
    return space


def of_training_rows(store: Store, run: int, space: Space, params: Mapping[str, Value]) -> bool:
    """Whether a prompt draws on all training rows, in its parts or in a wording by a model that has read them."""
    proposed = {(w.dimension, w.id) for w in slots.wordings(store, run, late=True) if w.origin == "model"}
    return entered(store, run, space).uses_training_rows(params) or not proposed.isdisjoint(params.items())


class Arrivals:
    """Tells a search which late wordings enter at a step.

    Parameters
    ----------
    store, run
        Where they are read, and stored when they enter.
    replay
        The trials of an interrupted search. While its steps are replayed, only those wordings enter that entered then.
    tell
        Called with each wording that enters for the first time.
    """

    def __init__(self, store: Store, run: int, replay: Sequence[Trial], tell: Callable[[Wording], None]) -> None:
        self._store, self._run, self._tell = store, run, tell
        self.replayed = max((outcome.step for trial in replay for outcome in trial.outcomes), default=-1)

    def __call__(self, step: int) -> list[Wording]:
        """Return the wordings that enter at a step."""
        late = slots.wordings(self._store, self._run, late=True)
        waiting = step > self.replayed
        arrived = [replace(w, step=step) for w in late if w.step == step or (w.step is None and waiting)]
        new = [w for w in arrived if w not in late]
        if new:
            slots.enter(self._store, self._run, new)
        for wording in new:
            self._tell(wording)
        return arrived
