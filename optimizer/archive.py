"""Reading a results.db: its runs, trials, prompts and verdicts.

Reads records from the store and passes them to the modules that show or export them. Buys nothing, and imports no heavy
package unless a prompt must be rendered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from optimizer.contenders import RIVAL
from optimizer.database import slots
from optimizer.database.completions import located
from optimizer.database.trial_facts import facts
from optimizer.errors import InputError
from optimizer.frames import frame
from optimizer.front import Constraints, Held, front, hold
from optimizer.pages.story import Story, Walk
from optimizer.records import Ablation, Importance, Run, State, Trial, Verdict, Wording
from optimizer.report import Change, changes
from optimizer.reports import card as cards
from optimizer.reports import card_text
from optimizer.reports.rungs import best_on_dev
from optimizer.store import Store
from search_spaces.program import PROGRAM
from search_spaces.prompt import Example

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from optimizer.comparing import Compared
    from optimizer.handover import Handover


@dataclass(frozen=True, slots=True)
class Shown:
    """A trial as shown to a person: its prompt, the seed prompt, and the dev rows that it fixes and breaks.

    `late` are those of its wordings that were added during the search.
    """

    run: Run
    trial: Trial
    prompt: str
    seed_prompt: str
    fixed: Sequence[Change] = field(repr=False)
    broken: Sequence[Change] = field(repr=False)
    late: Sequence[Wording] = ()


class History:
    """The runs of a results.db: what was tried, what it scored, and the verdicts. Only reads.

    `runs` and `trials` list them, `frame` returns the trials as a data frame, `show` a prompt with the rows that it
    fixes and breaks, `verdict` the verdict of a run, and `compare` compares two prompts. If no run is named, the latest
    is meant.

    Parameters
    ----------
    db
        The file, which must exist.

    Raises
    ------
    StoreError
        If the file is missing, is not a results.db, or was written by a newer version.
    """

    def __init__(self, db: str | Path = "results.db") -> None:
        self.db = str(db)  # as it was given; `path` stays valid if the process changes its working directory
        self.path = located(db).absolute()
        Store(self.path).close()

    def __repr__(self) -> str:
        """Return its file."""
        return f"History({str(self.path)!r})"

    def runs(self) -> list[Run]:
        """Return all runs, the latest first."""
        with Store(self.path) as store:
            return store.runs()

    def run(self, run: int | None = None, *, won: bool = False) -> Run:
        """Return one run; by default the latest, or with `won` the latest that has a winner."""
        with Store(self.path) as store:
            return store.run(run, won=won)

    def trials(self, run: int | None = None) -> list[Trial]:
        """Return the trials of a run in order, without their outcomes."""
        with Store(self.path) as store:
            return store.trials(store.run(run).id, outcomes=False)

    def complete(self, run: int | None = None) -> list[Trial]:
        """Return the trials of a run that were scored on all dev rows of the search, with their outcomes."""
        with Store(self.path) as store:
            number = store.run(run).id
            trials = [t for t in store.trials(number, outcomes=False) if t.state is State.COMPLETE]
            return [replace(trial, outcomes=store.outcomes(number, trial.number)) for trial in trials]

    def facts(self, run: int | None = None, where: str = "") -> list[dict[str, Any]]:
        """Return a dict for each trial of a run: the columns of the view `history`, then its parameters.

        `where` is an SQL condition on these.

        Raises
        ------
        InputError
            If the condition is not valid SQL, or would do more than read.
        """
        return facts(self.path, self.run(run).id, where)

    @overload
    def frame(self, run: int | None = None, where: str = "", *, library: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def frame(self, run: int | None = None, where: str = "", *, library: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def frame(self, run: int | None = None, where: str = "", *, library: None = None) -> Any: ...  # noqa: ANN401
    def frame(
        self, run: int | None = None, where: str = "", *, library: Literal["pandas", "polars"] | None = None
    ) -> Any:
        """Return the trials of a run as a data frame: a row for each trial, with the columns of `facts`.

        `winner` is a boolean, and `started` a time in UTC. Unless `library` is named, the frame is of pandas if that is
        installed, else of polars. `where` is an SQL condition on the columns.

        Raises
        ------
        InputError
            As in `facts`, and if the library is not installed.
        """
        told = [fact | {"winner": bool(fact["winner"])} for fact in self.facts(run, where)]
        return frame([fact | {"started": datetime.fromisoformat(fact["started"])} for fact in told], library)

    def front(self, run: int | None = None) -> list[Trial]:
        """Return the trials that no other beats in score, cost and latency, with their outcomes; best score first."""
        return front(self.complete(run))

    def costs(self, run: int | None = None) -> Mapping[int, tuple[int, float | None]]:
        """Return trial number -> (calls, US dollars); None instead of dollars if the price is not known."""
        with Store(self.path) as store:
            return store.trial_costs(store.run(run).id)

    def verdict(self, run: int | None = None) -> Verdict | None:
        """Return the verdict of a run; None if it has none."""
        with Store(self.path) as store:
            return store.verdict(store.run(run).id)

    def constraints(self, trial: int | None = None, run: int | None = None) -> dict[str, list[Held]]:
        """Return how a trial (by default the winner) meets the constraints of its search: split -> constraints.

        They are measured on the dev rows that it answered, for the winner also on the test rows of the verdict. Empty
        if the search had no constraints.
        """
        with Store(self.path) as store:
            found = store.run(run, won=True)
            return _held(store, found, store.trial(found, trial), store.verdict(found.id))

    def importances(self, run: int | None = None) -> list[Importance]:
        """Return how much each dimension of a run's space explains, largest first; empty if a control searched."""
        with Store(self.path) as store:
            return store.importances(store.run(run).id)

    def ablations(self, run: int | None = None) -> list[Ablation]:
        """Return what each ingredient of a run's winner is worth; empty unless requested and within the budget."""
        with Store(self.path) as store:
            return store.ablations(store.run(run).id)

    def wordings(self, run: int | None = None) -> list[Wording]:
        """Return the wordings of a run's space: those that it began with, then those added later."""
        with Store(self.path) as store:
            return slots.wordings(store, store.run(run).id)

    def lineage(self, run: int | None = None) -> list[slots.Lineage]:
        """Return the wordings of a run's space with their origin and the best trial with each."""
        with Store(self.path) as store:
            return slots.lineage(store, store.run(run).id)

    def show(self, trial: int | None = None, run: int | None = None) -> Shown:
        """Return a trial of a run (by default the winner), compared with the seed prompt.

        Raises
        ------
        InputError
            If the run has no such trial, or no winner yet.
        """
        with Store(self.path) as store:
            found = store.run(run, won=True)
            chosen = store.trial(found, trial)
            dev = {example.id: example for example in store.examples(found.data, "dev")}
            seed, outcomes = store.outcomes(found.id, 0), store.outcomes(found.id, chosen.number)
            fixed, broken = changes(seed, outcomes, dev)
            texts = store.prompt_text(found.id, chosen.number), store.prompt_text(found.id, 0)
            late = [w for w in slots.wordings(store, found.id, late=True) if chosen.params.get(w.dimension) == w.id]
            return Shown(found, chosen, *texts, fixed, broken, late)

    def compare(self, a: str | int, b: str | int) -> Compared:
        """Compare prompt `b` with prompt `a` on the rows that both have answered.

        Each is a run, for its winner, or "RUN:TRIAL". The difference is `b` minus `a`: above 0 if `b` is better.

        Raises
        ------
        InputError
            If they do not name two prompts, or if the prompts' answers cannot be paired.
        """
        from optimizer.comparing import named, side_by_side

        return side_by_side(self.path, named(str(a)), named(str(b)))

    def story(self, run: int | None = None) -> Story:
        """Collect all that the HTML report shows of a run."""
        shown = self.show(run=run)
        with Store(self.path) as store:
            found = shown.run
            return Story(
                _walk(store, found),
                store.trial_costs(found.id),
                store.verdict(found.id),
                shown.prompt,
                shown.seed_prompt,
                {split: store.examples(found.data, split) for split in ("train", "dev", "test")},
                store.slices(found.data, "test"),
                (shown.fixed, shown.broken),
                store.importances(found.id),
                store.ablations(found.id),
                self.front(found.id),
                card_text.sections(_card(store, found)) if found.status == "finished" else (),
                _control(store, found),
                self.constraints(run=found.id),
            )

    def card(self, run: int | None = None) -> cards.Card:
        """Collect what the card shows about the winner of a finished run; by default of the latest run with a winner.

        Raises
        ------
        InputError
            If the run is not finished.
        """
        with Store(self.path) as store:
            found = store.run(run, won=True)
            if found.status != "finished" or found.winner is None:
                raise InputError(
                    f"run {found.id} is not finished ({found.status}); a card tells of a finished one. "
                    "Resume it with the `phrasetune tune` that began it, or name another of `phrasetune history --all`."
                )
            return _card(store, found)

    def texts(self, run: int | None = None) -> dict[str, str]:
        """Return the texts of a run's dev and test rows by example id."""
        with Store(self.path) as store:
            return _texts(store, store.run(run))

    def splits(self, run: int | None = None) -> dict[str, list[Example]]:
        """Return the rows of a run: "train", "dev" and "test"."""
        with Store(self.path) as store:
            found = store.run(run, won=True)
            return {split: store.examples(found.data, split) for split in ("train", "dev", "test")}

    def trained_model(self, run: int | None = None) -> bytes:
        """Return the trained baseline of a run as a skops file; for an encoder, only its head.

        Raises
        ------
        InputError
            If the run has no trained baseline, or one of a kind that a skops file cannot hold.
        """
        with Store(self.path) as store:
            found = store.run(run, won=True)
            trained = best_on_dev(store.ladder(found.id))
        if trained and trained.kind not in {"linear", "encoder"}:
            raise InputError(
                f"the trained baseline of run {found.id} is of kind {trained.kind!r}, which no skops file holds; "
                'allowed: linear and encoder. Export the prompt, or search again with kinds = ["linear"] in [baseline].'
            )
        if trained is None or trained.blob is None:
            raise InputError(
                f"run {found.id} has no trained baseline ({found.status}). Finish it with `phrasetune tune`."
            )
        return trained.blob

    def handover(self, trial: int | None, run: int | None) -> Handover:
        """Collect what an export of a trial (by default the winner) is made from and checked with."""
        from optimizer.handover import hand_over

        with Store(self.path) as store:
            found = store.run(run, won=True)
            return hand_over(store, found, store.trial(found, trial), store.trial(found, 0))


def _texts(store: Store, run: Run) -> dict[str, str]:
    return {row.id: row.text for split in ("dev", "test") for row in store.examples(run.data, split)}


def _walk(store: Store, run: Run) -> Walk:
    return Walk(run, store.trials(run.id, outcomes=False), store.asked(run.id))


def _control(store: Store, run: Run) -> Walk | None:
    """Return the latest random search with the same rows, model and metric, unless this run is itself a random one."""
    if run.task["search"]["sampler"] == "random":
        return None
    like = (run.data, run.model, run.metric)
    for other in store.runs():
        if other.task["search"]["sampler"] == "random" and (other.data, other.model, other.metric) == like:
            return _walk(store, other)
    return None


def _held(store: Store, run: Run, trial: Trial, verdict: Verdict | None) -> dict[str, list[Held]]:
    """Return how a trial meets the constraints of its run; empty for a program, whose search has none."""
    constraints = Constraints(**run.task.get("search", {}).get("constraints", {}))  # runs of older versions lack them
    if not constraints or trial.prompt.template == PROGRAM:
        return {}
    answers = {"dev": store.outcomes(run.id, trial.number)}
    if trial.number == run.winner and (own := cards.own(verdict)):
        answers["test"] = own.outcomes
    return {
        split: hold(outcomes, constraints, {row.id: row for row in store.examples(run.data, split)})
        for split, outcomes in answers.items()
    }


def _card(store: Store, run: Run) -> cards.Card:
    assert run.winner is not None
    verdict = store.verdict(run.id)
    own = cards.own(verdict)
    answers = (*store.outcomes(run.id, run.winner), *(own.outcomes if own else ()))
    bought = store.find_completions([outcome.completion_key for outcome in answers if outcome.completion_key])
    return cards.make(
        run,
        store.trials(run.id, outcomes=False),
        store.prompt_text(run.id, run.winner),
        rows={split: len(store.examples(run.data, split)) for split in ("train", "dev", "test")},
        versions=sorted({c.version for c in bought.values() if c.version}) or store.versions(run.id, run.model),
        verdict=verdict,
        kept=_held(store, run, store.trial(run, None), verdict),
        unseen=_unseen(store, run, verdict),
    )


def _unseen(store: Store, run: Run, verdict: Verdict | None) -> dict[str, str]:
    """Return split -> why no labels of it were looked for that prompt and baseline agree against."""
    from optimizer.evidence.quality import informed  # numpy

    own, found = cards.own(verdict), verdict.findings if verdict else None
    if own is None or found is None or run.winner is None:
        return {}
    given = {"dev": store.outcomes(run.id, run.winner), "test": own.outcomes}
    unsure = [split for split, outcomes in given.items() if not informed(store.examples(run.data, split), outcomes)]
    said = dict.fromkeys(unsure, "the prompt is right no more often than the most frequent answer would be")
    unjudged = not any((each.name, each.rows) == (RIVAL, "dev") for each in found.elsewhere)
    return said | ({"dev": f"the {RIVAL} has no scores there"} if unjudged else {})


def history(db: str | Path = "results.db") -> History:
    """Open the history of a results.db."""
    return History(db)
