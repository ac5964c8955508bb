"""The whole journey on one page: the only room that knows the others.

data -> splits -> space -> search -> verdict, with every completion in the ledger and every trial in results.db.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from optimizer import front, ladder, search, wordings
from optimizer.ablation import ablate
from optimizer.budget import Budget, Caps, Spent
from optimizer.concluding import Conclusion
from optimizer.errors import Interrupted
from optimizer.evaluate import Evaluator
from optimizer.judge import ROLE, Judge, brief
from optimizer.ledger import Ledger, require_price
from optimizer.mirror import mirror, study_name
from optimizer.models import Model, destination
from optimizer.preparing import Plan, caps, constraints, context, held_calls, looks, pace, prepare, task_model
from optimizer.records import Ablation, Decided, Event, Importance, Notice, Run, Stage, Trial, Verdict, Wording
from optimizer.store import Store
from optimizer.task import Task
from search_spaces.prompt import Turn
from search_spaces.rendering import Renderer

WARN_AT = (0.5, 0.8)  # shares of a cap
AHEAD = 1  # decisions taken while answers from outside this process are waited for
LEAVING = 0.5  # seconds that a user who has stopped a run waits for Optuna's tables: they are completed later


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `tune` returns: the run as results.db has it, its trials, the winner and the verdict.

    `verdict` is None if the budget did not cover it; `notes` say what was odd in the rows; `judged` is what the run
    has spent on its judge, if it has one.
    """

    run: Run
    trials: tuple[Trial, ...]
    best: Trial
    verdict: Verdict | None
    notes: tuple[str, ...] = ()
    importances: tuple[Importance, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    judged: Spent | None = None

    @property
    def front(self) -> list[Trial]:
        """The trials that no other beats in score, cost and latency, the best score first."""
        return front.front(self.trials)

    def to_dspy(self) -> Any:  # noqa: ANN401 - DSPy has no types
        """Make a `dspy.Predict` of the best prompt; where DSPy lays it out in another way, a warning says so."""
        from optimizer import programs

        return programs.to_dspy(self.best.prompt)


@dataclass
class Watch:
    """How the outside follows a run and stops it."""

    event: Callable[[Event], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)


def tune(
    task: Task | str | Path,
    *,
    db: str | Path = "results.db",
    model: Model | None = None,
    judge: Model | None = None,
    watch: Watch | None = None,
    allow_code: bool = False,
) -> Tuned:
    """Search the best prompt for a task, compare it with a trained rival, and write everything down.

    An interrupted run of the same task, data and settings is resumed; a completion that results.db holds is
    never bought again.

    Parameters
    ----------
    task
        A task, or the path of its file.
    db
        The results database; made if it is missing.
    model
        Overrides the model that the task names.
    judge
        Overrides the judge that the task names, where its metric is a judge's.
    watch
        Follows the run, and stops it.
    allow_code
        Whether a metric of the user's own, which is code, may be run.

    Raises
    ------
    InputError
        If something that was given cannot be used.
    ProviderError
        If the provider refuses every call.
    BudgetSpent
        If the budget does not cover even the seed prompt.
    Interrupted
        If the watch stopped the run; the same call resumes it.
    """
    watch = watch or Watch()
    watch.event(Stage("reading", "the task and its rows"))
    plan = prepare(task, allow_code=allow_code)
    judge = (judge or task_model(plan.judging.model)) if plan.judging else None
    return walk(plan, model or task_model(plan.task.model), judge, db=db, watch=watch)


def walk(
    plan: Plan, model: Model, judge: Model | None = None, *, db: str | Path, watch: Watch, kept: bool = True
) -> Tuned:
    """Walk the journey of a task that is ready; without test rows it ends where a verdict would be come to.

    What is only for those who look into results.db later is left out if it is not `kept`. Raises what `tune` does.
    """
    places = [destination(model), *ladder.reach(plan.task, labelled=bool(plan.labels))]
    for place in dict.fromkeys(place for place in places if place):
        watch.event(place)
    if judge and (there := destination(judge)):
        watch.event(replace(there, role=ROLE))
    for called in (model, judge) if judge else (model,):
        require_price(called, plan.task.search.max_usd)
    front.require_price(model.name, model.price, constraints(plan.task))
    paid = any(called.price != (0.0, 0.0) for called in (model, judge) if called) or len(places) > 1
    with Store(db, create=True, paid=paid) as store:
        return _Journey(plan, model, judge, store, watch, kept).walk()


@dataclass
class _Journey:
    """One run, from its first trial to its verdict."""

    plan: Plan
    model: Model
    judging: Model | None
    store: Store
    watch: Watch
    kept: bool

    def walk(self) -> Tuned:
        plan, store = self.plan, self.store
        store.add_examples(plan.data_digest, plan.data)
        self.id, replay = self._start()
        self.ledger = self._ledger()
        self.judge = self._judge(replay)
        self.evaluate = Evaluator(self.ledger, plan.renderer, plan.metric, judge=self.judge)
        self.evaluate.recall(replay)  # a resumed search calibrates on the same rows
        self.costs: dict[int, _PerCall] = {}
        self.warned: set[float] = set()
        self.asked: set[int] = set()
        try:
            found = self._found(replay) or self._search(replay)
            # From here on the winner stands: a run that is resumed after the test rows were opened chooses no other.
            with store.together():
                store.save_worth(self.id, found.importances)
                store.update_run(self.id, winner=found.best.number, reason=found.reason)
            ablations, lacking = self._ablations(found.best)
            ruling, reason = self._conclude(found)
            reason += f"; {'ablation cut short' if ablations else 'no ablation'}: {lacking}" if lacking else ""
        except BaseException as error:
            self._leave("interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed", str(error))
            raise
        finally:
            self.ledger.close()
            if self.judge:
                self.judge.ledger.close()
        store.update_run(self.id, status="finished", reason=reason, **self._totals())
        self._mirror(found.trials)
        run, notes = store.run(self.id), (*plan.data.notes, *self._notes())
        spent = store.spent_by_model(self.id)
        judged = spent.get(self.judge.ledger.buyer, Spent()) if self.judge else None
        return Tuned(run, found.trials, found.best, ruling, notes, found.importances, ablations, judged)

    def _conclude(self, found: search.Found) -> tuple[Verdict | None, str]:
        """Come to a verdict, if there are rows for one."""
        if not self.plan.data.test:
            return None, found.reason
        return Conclusion(self.plan, self.evaluate, self.store, self.id, self._stage, self.judge).reach(found)

    def _notes(self) -> list[str]:
        """What was odd in the calls of this run."""
        versions = self.store.versions(self.id, self.model.name)
        changed = f"the provider's model changed during the run: {', then '.join(versions)}" if versions[1:] else ""
        return [note for note in (self._doubtful(self.id), changed) if note]

    def _doubtful(self, run: int) -> str:
        """Say how many calls nobody knows to have been paid."""
        doubtful = self.store.possibly_paid(run)
        if not doubtful.calls:
            return ""
        most = f", at most ${doubtful.usd:.4g}" if doubtful.usd else ""
        return f"{doubtful.calls} calls of run {run} gave no answer and were possibly paid{most}"

    def _start(self) -> tuple[int, list[Trial]]:
        """Resume the unfinished run of this configuration, or start a new one."""
        plan = self.plan
        config = plan.config(self.model, self.judging)
        self.store.bury()
        unfinished = self.store.unfinished_run(config)
        if unfinished is not None:
            replay = self.store.trials(unfinished)
            self.store.update_run(unfinished, status="running")
            self.watch.event(Stage("resuming", f"run {unfinished} after {len(replay)} trials"))
            if said := self._doubtful(unfinished):
                self._notice(said)
            return unfinished, replay
        task = plan.task.model_dump(mode="json")
        name, metric = plan.task.task.name, plan.task.metric
        new = Run(0, name, task, self.model.name, metric, plan.data_digest, "running", "")
        with self.store.together():
            started = self.store.start_run(new, config)
            wordings.begin(self.store, started, plan.space)
        return started, []

    def _found(self, replay: Sequence[Trial]) -> search.Found | None:
        """Return what the search of a resumed run had found, if it was over."""
        run = self.store.run(self.id)
        if run.winner is None:
            return None
        self.costs |= {trial.number: _per_call(trial) for trial in replay}
        worth = tuple(self.store.importances(self.id))
        return search.Found(tuple(replay), replay[run.winner], run.reason, importances=worth)

    def _ahead(self) -> int:
        """How many decisions to take ahead; none under a cap that chance would decide which calls still fit into."""
        most = self.ledger.budget.caps
        # With a judge it also decides whose calls those are.
        certain = most == (Caps() if self.judge else Caps(calls=most.calls))
        return AHEAD if self.ledger.pace and certain else 0

    def _ledger(self) -> Ledger:
        held = Spent(calls=held_calls(self.plan))
        budget = Budget(caps(self.plan.task), self.store.spent(self.id), held, worked_before=self.store.worked(self.id))
        how = pace(self.model, self.plan.task.model)
        return Ledger(
            self.model, self.store, self.id, budget, how, self.watch.stop, self._notice, context(self.plan.task.model)
        )

    def _judge(self, replay: Sequence[Trial]) -> Judge | None:
        """Let the judge buy under the same caps, and remember what it has said."""
        told = self.plan.judging
        if told is None or self.judging is None:
            return None
        how, most = pace(self.judging, told.model), context(told.model)
        budget, stop = self.ledger.budget, self.watch.stop
        ledger = Ledger(self.judging, self.store, self.id, budget, how, stop, self._notice, most, ROLE)
        judge = Judge(ledger, brief(self.plan.task))
        rows = {row.id: row for row in self.plan.data.dev}
        judge.recall([(rows[o.example_id], o.answer) for trial in replay for o in trial.outcomes])
        return judge

    def _notice(self, text: str) -> None:
        self.watch.event(Notice(text))

    def _search(self, replay: Sequence[Trial]) -> search.Found:
        options = self.plan.task.search
        space = self.plan.space
        arrivals = wordings.Arrivals(self.store, self.id, replay, self._arrived)
        self._stage("search", f"{space.size:,.0f} prompts, {len(self.plan.data.dev)} dev rows")
        return search.run(
            space,
            self.evaluate.begin,
            self.plan.data.dev,
            search.Options(
                self.evaluate.metric,
                options.sampler,
                options.pruner,
                looks(self.plan),
                options.trials,
                options.block,
                options.seed,
                explain=self.kept,
                pareto=options.pareto,
                constraints=constraints(self.plan.task),
                ahead=self._ahead(),
            ),
            replay=replay,
            hooks=search.Hooks(self._event, self._keep, arrivals),
        )

    def _stage(self, name: str, detail: str) -> None:
        """Announce a part of the journey, unless the user has stopped it."""
        if self.watch.stop.is_set():
            raise Interrupted("stopped")
        self.watch.event(Stage(name, detail))

    def _arrived(self, wording: Wording) -> None:
        where = f"{wording.dimension} = {wording.id} enters at step {wording.step}"
        self.watch.event(Stage("search", f"{where}: {wording.text}"))

    def _event(self, event: Event) -> None:
        if isinstance(event, Decided):
            self._hold({event.best, *self.asked})
            self._warn()
        self.watch.event(event)

    def _warn(self) -> None:
        """Say when half and four fifths of a cap are spent."""
        share = self.ledger.budget.share()
        passed = [mark for mark in WARN_AT if share >= mark and mark not in self.warned]
        if passed:
            self.warned |= set(passed)
            spent = self.ledger.budget.spent
            cost = f"${spent.usd:.4g}" if self.model.price else "dollars unknown"
            self._notice(f"{share:.0%} of the budget is spent: {spent.calls:,} calls, {spent.tokens:,} tokens, {cost}")

    def _hold(self, winners: Collection[int]) -> None:
        """Keep back what the verdict may cost: sealed rows at the mean prices of the seed prompt and the dearest."""
        seed, rows, budget = self.costs[0], self.plan.sealed, self.ledger.budget
        every = [self.costs[number] for number in winners]
        usd = seed.usd + max(cost.usd for cost in every)
        tokens = seed.tokens + max(cost.tokens for cost in every)
        spare = 1.2 * rows  # rows differ in length
        seconds = (seed.seconds + max(cost.seconds for cost in every)) / _workers(self.ledger)
        if self.judge:  # of both prompts and of the rival
            reply = self.judge.mean
            usd, tokens = usd + 3 * reply.cost, tokens + 3 * (reply.prompt_tokens + reply.completion_tokens)
            seconds += 3 * reply.seconds / _workers(self.judge.ledger)
        budget.held = Spent(budget.held.calls, usd * spare, int(tokens * spare))
        budget.held_minutes = seconds * spare / 60

    def _keep(self, trials: Sequence[Trial]) -> None:
        """Write trials down as they stand, together."""
        with self.store.together():
            for trial in trials:
                self.costs[trial.number] = _per_call(trial)
                if len(trial.outcomes) >= self.plan.task.search.block:  # after another it may lead
                    self.asked.add(trial.number)
                self.store.save_trial(self.id, trial, prompt_text(self.plan.renderer, trial))
            self.store.update_run(self.id, **self._totals())

    def _ablations(self, best: Trial) -> tuple[tuple[Ablation, ...], str]:
        """Set the winner's ingredients back one by one, if that is wanted and the verdict can be paid all the same."""
        plan, options = self.plan, self.plan.task.search
        if not options.ablate:
            return (), ""
        self._stage("ablation", "the winner without each of its ingredients")
        self._hold({best.number})
        space = wordings.entered(self.store, self.id, plan.space)
        ablations, lacking = ablate(space, best, self.evaluate, plan.data.dev, options.seed)
        self.store.save_worth(self.id, ablations)
        return ablations, lacking

    def _totals(self) -> dict[str, int | float | None]:
        usd = self.store.spent(self.id).usd
        bought = self.store.bought(self.id)
        priced = all(called.price for called in (self.model, self.judging) if called)
        return {
            "bought": bought,
            "reused": self.ledger.reused + (self.judge.ledger.reused if self.judge else 0),
            "cost": usd if priced else None,
            "worked": self.ledger.budget.worked(),
        }

    def _leave(self, status: str, reason: str) -> None:
        self.store.update_run(self.id, status=status, **self._totals())
        if self.store.run(self.id).winner is None:  # else the reason is why the search ended
            self.store.update_run(self.id, reason=reason or "stopped")
        if status == "interrupted":
            self._mirror(self.store.trials(self.id, outcomes=False), LEAVING)

    def _mirror(self, trials: Sequence[Trial], seconds: float = math.inf) -> None:
        """Copy the trials for Optuna's tools; a copy that fails must not cost the result."""
        if not self.kept:
            return
        name = study_name(self.plan.task.task.name, self.id)
        self.watch.event(Stage("mirror", "copying the trials into Optuna's tables"))
        try:
            mirror(self.store.path, name, self.plan.space, trials, text=self._text, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - whatever Optuna's storage raises
            self.watch.event(Stage("mirror", f"Optuna's tables could not be written: {error}"))

    def _text(self, trial: Trial) -> str:
        return self.store.prompt_text(self.id, trial.number)


def _workers(ledger: Ledger) -> int:
    return ledger.pace.workers if ledger.pace else 1


class _PerCall(NamedTuple):
    """What a call of a trial took on average."""

    usd: float
    tokens: float
    seconds: float


def _per_call(trial: Trial) -> _PerCall:
    n, outcomes = max(1, len(trial.outcomes)), trial.outcomes
    sums = (sum(o.cost for o in outcomes), sum(o.tokens for o in outcomes), sum(o.seconds for o in outcomes))
    return _PerCall(*(each / n for each in sums))


def prompt_text(renderer: Renderer, trial: Trial) -> str:
    """Write a prompt as a person reads it; inputs stand as {name}, demos chosen per input as one line."""
    prompt = trial.prompt
    if not prompt.nearest:
        return as_text(renderer.turns(prompt))
    shown = renderer.templates[prompt.template].compile(prompt, ())
    place = f"[{prompt.nearest} examples, the most similar of {len(prompt.demos)} to each input]"
    return f"{place}\n\n{as_text(shown)}"


def as_text(turns: Sequence[Turn]) -> str:
    """Write turns as a person reads them."""
    return "\n\n".join(
        f"[{turn.role}]\n" + "".join(p if isinstance(p, str) else f"{{{p.name}}}" for p in turn.parts) for turn in turns
    )
