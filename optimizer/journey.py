"""The whole workflow on one page: the only room that knows the others.

data -> splits -> space -> search -> verdict, with every completion in the ledger and every trial in results.db.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from optimizer import search
from optimizer.budget import Budget, Caps, Spent
from optimizer.calling import announce, doubtful, may_cost, open_ledger, require_prices
from optimizer.engine.arrivals import View
from optimizer.errors import Interrupted, reason_of, resume_note
from optimizer.evaluate import Evaluator
from optimizer.events import Decided, Event, Stage
from optimizer.evidence.ablation import ablate
from optimizer.evidence.concluding import Conclusion
from optimizer.evidence.cut_off import cut_off
from optimizer.ledger import Ledger
from optimizer.models import Model
from optimizer.phrases import counted
from optimizer.preparing import (
    NOBODY,
    Plan,
    caps,
    constraints,
    dev_rows,
    held_calls,
    looks,
    require_calls,
)
from optimizer.prompt_text import prompt_text
from optimizer.proposals import rounds, wordings, worked
from optimizer.proposals.grounding import failures, grounds, screen
from optimizer.records import Ablation, Run, Trial, Verdict, Wording
from optimizer.reserve import Reserve
from optimizer.rivals import ladder
from optimizer.scores.judge import Judge, brief
from optimizer.store import Store
from optimizer.task_sections import JUDGE, PROPOSER, TEACHER, ModelSpec
from optimizer.tuned import Tuned
from optimizer.watch import Watch

AHEAD = 1  # decisions made while answers from outside this process are awaited


def walk(
    plan: Plan,
    model: Model,
    beside: Mapping[str, Model] = NOBODY,
    *,
    db: str | Path,
    watch: Watch,
    kept: bool = True,
) -> Tuned:
    """Run a prepared task from its search to its verdict; without test rows it ends before the verdict.

    `beside` are the plan's models besides the one that answers, by role. Unless `kept`, what only serves later readers
    of results.db is left out. Raises what `tune` does.
    """
    require_calls(plan)
    places = ladder.reach(plan.task, labelled=bool(plan.labels))
    announce(model, beside, watch, places)
    require_prices(plan.task, model, beside.values())
    said: list[str] = []
    with Store(db, create=True, paid=may_cost(model, *beside.values()) or bool(places)) as store:
        return _Journey(plan, model, beside, store, watch.noting(said), kept, said).walk()


@dataclass
class _Journey:
    """One run, from its first trial to its verdict."""

    plan: Plan
    model: Model
    beside: Mapping[str, Model]
    store: Store
    watch: Watch
    kept: bool
    said: list[str]  # notices that the watch got
    ablated: float = field(default=0.0, init=False)  # seconds that the ablation took

    def walk(self) -> Tuned:
        plan, store = self.plan, self.store
        store.add_examples(plan.data_digest, plan.data)
        self.id, replay = self._start()
        self.reused = store.run(self.id).reused  # before this process
        self.ledger = self._ledger()
        self.ledger.listener.heard = any(o.completion_key and o.text for trial in replay for o in trial.outcomes)
        self.role_ledgers = {role: self._beside(model, plan.beside[role], role) for role, model in self.beside.items()}
        self.judge = self._judge(replay)
        self.evaluate = Evaluator(self.ledger, plan.renderer, plan.metric, judge=self.judge)
        self.evaluate.recall(replay)  # a resumed search calibrates on the same rows
        self.reserve = Reserve(plan, self.ledger, self.judge, self.watch.notice)
        try:
            self._worked_demos(begun=bool(replay))
            found = self._found(replay) or self._search(replay)
            # From here on the winner is fixed: a run that is resumed after the test rows were opened chooses no other.
            with store.together():
                store.save_worth(self.id, found.importances)
                store.update_run(self.id, winner=found.best.number, reason=found.reason)
            ablations, lacking = self._ablations(found.best)
            ruling, reason = self._conclude(found)
            reason += f"; {'ablation cut short' if ablations else 'no ablation'}: {lacking}" if lacking else ""
            self._mirror(found.trials)
            store.update_run(self.id, status="finished", reason=reason, **self._totals())
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            for ledger in self._ledgers():
                ledger.close()
        run, notes = store.run(self.id), (*plan.data.notes, *self._notes(found, ruling))
        spent = store.spent_by_model(self.id)
        beside = {role: spent.get(ledger.buyer, Spent()) for role, ledger in self.role_ledgers.items()}
        return Tuned(
            run,
            found.trials,
            found.best,
            ruling,
            notes,
            found.importances,
            ablations,
            judged=beside.get(JUDGE),
            proposed=beside.get(PROPOSER),
            taught=beside.get(TEACHER),
            said=tuple(self.said),
        )

    def _conclude(self, found: search.Found) -> tuple[Verdict | None, str]:
        """Reach a verdict, if there are rows for one."""
        if not self.plan.data.test:
            return None, found.reason
        helpers = [self.role_ledgers[role] for role in (PROPOSER, TEACHER) if role in self.role_ledgers]
        those = self.plan, self.evaluate, self.store, self.id, self._stage
        return Conclusion(*those, self.judge, helpers, self.ablated).reach(found)

    def _notes(self, found: search.Found, ruling: Verdict | None) -> list[str]:
        """Return notes on what was odd in the calls of this run, and on wordings that it had no calls for."""
        versions = self.store.versions(self.id, self.model.name)
        changed = f"the provider's model changed during the run: {', then '.join(versions)}" if versions[1:] else ""
        kept_out = wordings.kept_out(self.store, self.id)
        short = cut_off(found.trials, ruling.contenders if ruling else (), found.best)
        return [note for note in (doubtful(self.store, self.id), short, changed, kept_out) if note]

    def _start(self) -> tuple[int, list[Trial]]:
        """Resume the unfinished run of this configuration, or start a new one."""
        config = self.plan.config(self.model, self.beside)
        self.store.bury()
        with self.store.together():  # no other process begins or resumes it meanwhile
            unfinished = self.store.unfinished_run(config)
            if unfinished is None:
                return self._begin(config), []
            replay = self.store.trials(unfinished)
            self.store.update_run(unfinished, status="running")
        self.watch.event(Stage("resuming", f"run {unfinished} after {counted(len(replay), 'trial')}"))
        if said := doubtful(self.store, unfinished):
            self.watch.notice(said)
        return unfinished, replay

    def _begin(self, config: str) -> int:
        plan = self.plan
        task = plan.task.model_dump(mode="json")
        # Rows with several labels are stored in our own notation, in which their labels cannot be detected again.
        task["task"]["labels"] = task["task"]["labels"] or list(plan.several)
        name, metric = plan.task.task.name, plan.task.metric
        new = Run(0, name, task, self.model.name, metric, plan.data_digest, "running", "")
        started = self.store.start_run(new, config)
        wordings.begin(self.store, started, plan.space)
        return started

    def _found(self, replay: Sequence[Trial]) -> search.Found | None:
        """Return the result of a resumed run whose search was over, else None."""
        run = self.store.run(self.id)
        if run.winner is None:
            return None
        for trial in replay:
            self.reserve.learn(trial)
        worth = tuple(self.store.importances(self.id))
        return search.Found(tuple(replay), replay[run.winner], run.reason, importances=worth)

    def _worked_demos(self, *, begun: bool) -> None:
        """Gather worked demos before the search, if wanted. A resumed run uses only answers that are bought already."""
        plan, options, told = self.plan, self.plan.task.search, self.plan.task.teaching
        if not options.worked:
            return
        space, teacher = plan.space, self.role_ledgers.get(TEACHER)
        asked = worked.lesson(space, options.worked, options.seed, told.max_tokens if told else None)
        who = f"{told.name} reasons" if told else "reasoning"
        self._stage("worked demos", f"{who} about {len(asked.rows)} training rows")
        evaluate = replace(self.evaluate, ledger=teacher, batches={}) if teacher else self.evaluate
        done = worked.work(asked, evaluate, screen(plan).refuse_thought, begun=begun)
        self.watch.notice(done.said)
        self.plan = replace(plan, space=space.with_train(worked.with_reasoning(space.facts.train, done.rows)))

    def _ahead(self) -> int:
        """How many decisions to take while answers are awaited; none where the order of arrival would matter."""
        most = self.ledger.budget.caps
        # With a second model, the order also decides whose calls fit in.
        certain = most == (Caps() if len(self._ledgers()) > 1 else Caps(calls=most.calls))
        return AHEAD if self.ledger.pace and certain else 0

    def _ledger(self) -> Ledger:
        held, spent = Spent(calls=held_calls(self.plan)), self.store.spent(self.id)
        failed, worked = self.store.run(self.id).failed, self.store.worked(self.id)
        budget = Budget(caps(self.plan.task), spent, held, worked_before=worked, failed=failed)
        return open_ledger(self.model, self.plan.task.model, self.store, self.id, budget, self.watch)

    def _judge(self, replay: Sequence[Trial]) -> Judge | None:
        """Make the judge, under the same caps, and let it recall what it has judged before."""
        told = self.plan.judging
        if told is None or JUDGE not in self.role_ledgers:
            return None
        judge = Judge(self.role_ledgers[JUDGE], brief(self.plan.task), self.plan.further)
        rows = {row.id: row for row in self.plan.data.dev}
        judge.recall([(rows[o.example_id], o.answer) for trial in replay for o in trial.outcomes])
        return judge

    def _beside(self, model: Model, spec: ModelSpec, role: str) -> Ledger:
        """Open the ledger of a model besides the one that answers, under the same caps."""
        return open_ledger(model, spec, self.store, self.id, self.ledger.budget, self.watch, role=role)

    def _ledgers(self) -> list[Ledger]:
        return [self.ledger, *self.role_ledgers.values()]

    def _search(self, replay: Sequence[Trial]) -> search.Found:
        options = self.plan.task.search
        space = self.plan.space
        arrivals = wordings.Arrivals(self.store, self.id, replay, self._arrived)
        rows, dev = len(dev_rows(self.plan)), len(self.plan.data.dev)
        most = f"{rows:,} of {dev:,} dev rows, as many as {looks(self.plan):,} calls can use"
        those = f"{dev:,} dev rows" if rows == dev else most
        self._stage("search", f"{space.size:,.0f} prompts, {those}")
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
            hooks=search.Hooks(self._event, self._keep, self._rounds(arrivals.replayed), arrivals),
        )

    def _rounds(self, replayed: int) -> Callable[[int, View], None]:
        """Return what lets a model propose wordings between the decisions; without a proposer, it does nothing."""
        plan, options = self.plan, self.plan.task.search
        proposer = self.role_ledgers.get(PROPOSER)
        if proposer is None:
            return lambda *_: None
        shown, rows, notice = (grounds(plan), screen(plan)), dev_rows(plan), self.watch.notice
        return rounds.Rounds(
            proposer, self.store, self.id, *shown, rows, options.block, replayed, notice, failures(plan)
        )

    def _stage(self, name: str, detail: str) -> None:
        """Announce a part of the journey; raise `Interrupted` if the user has stopped it."""
        if self.watch.stop.is_set():
            raise Interrupted("stopped")
        self.watch.event(Stage(name, detail))

    def _arrived(self, wording: Wording) -> None:
        where = f"{wording.dimension} = {wording.id} enters at step {wording.step}"
        self.watch.event(Stage("search", f"{where}: {wording.text}"))

    def _event(self, event: Event) -> None:
        if isinstance(event, Decided):
            self.reserve.hold({event.best, *self.reserve.asked})
            self.reserve.warn()
        self.watch.event(event)

    def _keep(self, trials: Sequence[Trial]) -> None:
        """Store trials as they stand, in one transaction."""
        with self.store.together():
            for trial in trials:
                self.reserve.learn(trial)
                self.store.save_trial(self.id, trial, prompt_text(self.plan.renderer, trial))
            self.store.update_run(self.id, **self._totals())

    def _ablations(self, best: Trial) -> tuple[tuple[Ablation, ...], str]:
        """Reset the winner's ingredients one by one, if that is wanted and leaves enough for the verdict."""
        plan, options = self.plan, self.plan.task.search
        if not options.ablate:
            return (), ""
        self._stage("ablation", "the winner without each of its ingredients")
        self.reserve.hold({best.number})
        began = self.ledger.budget.worked()
        space = wordings.entered(self.store, self.id, plan.space)
        ablations, lacking = ablate(space, best, self.evaluate, dev_rows(plan), options.seed)
        self.store.save_worth(self.id, ablations)
        self.ablated = self.ledger.budget.worked() - began
        return ablations, lacking

    def _totals(self) -> dict[str, int | float | None]:
        priced = all(ledger.model.price for ledger in self._ledgers())
        return {
            "bought": self.store.bought(self.id),
            "reused": self.reused + sum(ledger.reused for ledger in self._ledgers()),
            "cost": self.store.spent(self.id).usd if priced else None,
            "worked": self.ledger.budget.worked(),
        }

    def _leave(self, error: BaseException) -> None:
        status = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
        error.add_note(resume_note(self.id, self.store.path))
        self.store.update_run(self.id, status=status, **self._totals())
        if self.store.run(self.id).winner is None:  # else the reason is why the search ended
            self.store.update_run(self.id, reason=reason_of(error))
        if status == "interrupted":
            self._mirror(self.store.trials(self.id))

    def _mirror(self, trials: Sequence[Trial]) -> None:
        """Copy the trials for Optuna's tools; a copy that fails must not lose the result."""
        if not self.kept:
            return
        from optimizer.database.mirror import mirror, study_name  # SQLAlchemy

        name = study_name(self.plan.task.task.name, self.id)
        self.watch.event(Stage("mirror", "copying the trials into Optuna's tables"))
        try:
            mirror(self.store.path, name, self.plan.space, trials, text=self._text)
        except Exception as error:  # noqa: BLE001 - whatever Optuna's storage raises
            self.watch.event(Stage("mirror", f"Optuna's tables could not be written: {error}"))

    def _text(self, trial: Trial) -> str:
        return self.store.prompt_text(self.id, trial.number)
