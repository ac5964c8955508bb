"""The user's own program, tuned on the rows of a task and judged on its sealed test rows.

The program is code, so it is run only if the user allowed that. Connects what `preparing` reads with `search`; an
interrupted run is resumed by replaying its trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimizer import search, verdict
from optimizer.budget import Budget, Caps, Spent
from optimizer.calling import announce, doubtful, may_cost, open_ledger, require_prices
from optimizer.calls.clerk import Clerk
from optimizer.contenders import BEST, SEED
from optimizer.database import slots
from optimizer.errors import BudgetSpent, Interrupted, reason_of, resume_note
from optimizer.events import Stage
from optimizer.evidence.cut_off import cut_steps
from optimizer.holding import PerRow, dearest, keep_back, per_row
from optimizer.ledger import Ledger
from optimizer.models import Model
from optimizer.phrases import counted
from optimizer.preparing import Plan, caps, task_model
from optimizer.programs.keeping import Kept, Proposing
from optimizer.programs.rows import Rows
from optimizer.programs.runs import Judged, Runner
from optimizer.programs.search import ProgramSearch, Teaching
from optimizer.programs.tasks import (
    held_calls,
    load_program,
    prepare_program,
    program_search,
    rows_of_task,
    scorer,
    space_of,
)
from optimizer.proposals import wordings
from optimizer.propose import MOST_CALLS, ROOM
from optimizer.records import Run, Trial, Verdict
from optimizer.store import Store
from optimizer.task import Task
from optimizer.task_sections import PROPOSER, TEACHER
from optimizer.watch import Watch
from search_spaces.prompt import digest


@dataclass(frozen=True, slots=True)
class TunedProgram:
    """What `tune_program` returns: its run in results.db, the program, how it was found, and its verdict.

    `verdict` is None if the budget did not cover it. `calls` are those that programs made in this process. `beside` is
    what was spent on other models than the one that answers, by role. `notes` say what was odd in the calls.
    """

    run: Run
    program: Any
    found: search.Found
    calls: int
    verdict: Verdict | None
    beside: Mapping[str, Spent]
    notes: tuple[str, ...] = ()


def tune_program(  # noqa: PLR0913 - the models that may be passed
    task: Task,
    name: str,
    *,
    db: str | Path,
    model: Model | None = None,
    proposer: Model | None = None,
    teacher: Model | None = None,
    watch: Watch | None = None,
) -> TunedProgram:
    """Tune a DSPy program on a task.

    The program gets the task's input columns as its inputs; the task's metric scores the field of its prediction that
    is named like the target. The search may make as many calls as `search.calls` says. The task's caps hold, and what
    the test rows will cost is set aside. The same call resumes a run that was interrupted.

    Parameters
    ----------
    task
        Provides the rows, the metric and the models.
    name
        module:name beside the task file: a DSPy module, or a callable that returns one.
    db
        The results.db that stores the run and its completions.
    model, proposer, teacher
        Replace those that the task names.
    watch
        Follows the run, and stops it.

    Raises
    ------
    TaskError
        If the program cannot be loaded, or the metric cannot score a row alone.
    ProviderError
        If the provider refuses every call.
    BudgetSpent
        If the budget does not cover a first look at the program.
    Interrupted
        If the watch stopped the run.
    """
    watch = watch or Watch()
    watch.event(Stage("reading", "the task and its rows"))
    plan = prepare_program(task)
    student, source = load_program(name, task.folder)
    _, passed_over = space_of(plan, student)  # raises for a dimension or value that it does not have
    if passed_over:
        watch.notice(passed_over)
    brought = {PROPOSER: proposer, TEACHER: teacher}
    beside = {role: brought.get(role) or task_model(spec) for role, spec in plan.beside.items()}
    model = model or task_model(task.model)
    announce(model, beside, watch)
    require_prices(plan.task, model, beside.values())
    with Store(db, create=True, paid=may_cost(model, *beside.values())) as store:
        room = [f"room {task.model.max_tokens}"] if task.model.max_tokens else []
        config = digest(["program", name, source, plan.config(model, beside), *room])
        return _Tuning(plan, name, student, model, beside, store, watch, config).run()


@dataclass
class _Tuning:
    """One run of a program, from its first trial to its verdict."""

    plan: Plan
    name: str
    student: Any
    model: Model
    beside: Mapping[str, Model]
    store: Store
    watch: Watch
    config: str

    def run(self) -> TunedProgram:
        self.kept = held_calls(self.plan, self.student)  # raises if the caps are too low, before a run begins
        self.id, replay = self._start()
        self.reused = self.store.run(self.id).reused  # before this process
        most = self._caps(self.store.possibly_paid(self.id).calls)
        paid, worked = self.store.spent(self.id), self.store.worked(self.id)
        failed = self.store.run(self.id).failed
        self.budget = Budget(most, paid, Spent(calls=self.kept), worked_before=worked, failed=failed)
        self.costs: dict[int, PerRow] = {}
        with ExitStack() as stack:
            self.ledgers = {role: self._ledger(role, stack) for role in ("", *self.beside)}
            try:
                asked, replay = self._program(replay)
                found = self._search(asked, replay)
                calls, best = asked.runner.spent, asked.winner(found.best.prompt)
                self.store.update_run(self.id, winner=found.best.number, reason=found.reason)
                ruling, lacking = self._conclude(asked, found, best)
            except BaseException as error:
                stopped = isinstance(error, Interrupted | KeyboardInterrupt)
                error.add_note(resume_note(self.id, self.store.path))
                self._leave("interrupted" if stopped else "failed", reason_of(error))
                raise
            self._leave("finished", found.reason + (f"; no verdict: {lacking}" if lacking else ""))
        spent = self.store.spent_by_model(self.id)
        beside = {role: spent.get(self.ledgers[role].buyer, Spent()) for role in self.beside}
        odd = (cut_steps(found.trials, ruling.contenders if ruling else ()), asked.runner.odd)
        notes = tuple(note for note in odd if note)
        return TunedProgram(self.store.run(self.id), best, found, calls, ruling, beside, notes)

    # --- its caps, and what it continues from -----------------------------------------------------------------

    def _caps(self, lost: int = 0) -> Caps:
        """Return the task's caps, with no more calls than the run's parts may make and calls that were lost."""
        most, options = caps(self.plan.task), self.plan.task.search
        lessons = options.worked * len(self.student.predictors()) if TEACHER in self.beside else 0
        calls = lost + options.calls + self.kept + lessons + (MOST_CALLS if PROPOSER in self.beside else 0)
        return replace(most, calls=min(calls, most.calls or calls))

    def _start(self) -> tuple[int, list[Trial]]:
        """Resume the unfinished run of this configuration, or start a new one."""
        plan, store = self.plan, self.store
        store.bury()
        store.add_examples(plan.data_digest, plan.data)
        with store.together():  # no other process begins or resumes it meanwhile
            unfinished = store.unfinished_run(self.config)
            if unfinished is None:
                return self._begin(), []
            replay = store.trials(unfinished)
            store.update_run(unfinished, status="running")
        self.watch.event(Stage("resuming", f"run {unfinished} after {counted(len(replay), 'trial')}"))
        if said := doubtful(store, unfinished):
            self.watch.notice(said)
        return unfinished, replay

    def _begin(self) -> int:
        task, digest_ = self.plan.task, self.plan.data_digest
        about = task.model_dump(mode="json")
        run = Run(0, task.task.name, about, self.model.name, task.metric, digest_, "running", "", program=self.name)
        return self.store.start_run(run, self.config)

    def _anew(self) -> None:
        """End a run whose trials would differ now, as if a file that the program reads has changed; begin a new one."""
        said = f"run {self.id} cannot go on: its program is another one than it was. A new run begins."
        self.watch.notice(said)
        self.store.update_run(self.id, status="failed", reason=said, **self._totals())
        self.budget.spent, self.budget.worked_before = Spent(), 0.0
        self.id, self.reused = self._begin(), 0
        for ledger in self.ledgers.values():
            ledger.run, ledger.reused = self.id, 0

    def _ledger(self, role: str, stack: ExitStack) -> Ledger:
        """Open a model's ledger; all share the same caps."""
        model, spec = (self.beside[role], self.plan.beside[role]) if role else (self.model, self.plan.task.model)
        bought = open_ledger(model, spec, self.store, self.id, self.budget, self.watch, role=role)
        return stack.enter_context(closing(bought))

    def _runner(self, role: str, rows: Rows) -> Runner:
        ledger, workers = self.ledgers[role], self.plan.task.model.workers
        spec = self.plan.beside[role] if role else self.plan.task.model
        scored = Judged(scorer(self.plan, rows))
        return Runner(scored, Clerk(ledger), workers if ledger.pace else 1, 0, spec.max_tokens or 0)

    # --- the search -----------------------------------------------------------------------------------------

    def _program(self, replay: list[Trial]) -> tuple[ProgramSearch, list[Trial]]:
        """Make the search, let the teacher work for it, and return the trials that it continues from."""
        options, rows = self.plan.task.search, rows_of_task(self.plan)
        runner, budget = self._runner("", rows), min(options.calls, self.budget.caps.calls - self.kept)
        asked = program_search(self.plan, self.student, rows, runner, budget, self.watch.event)
        teaching = Teaching(self.student, runner, options.worked)
        if TEACHER in self.beside:
            refuse = asked.screen(self._hidden()).refuse_thought
            teaching = Teaching(self.student, self._runner(TEACHER, rows), options.worked, refuse, self.watch.notice)
        asked.open(teaching, begun=bool(replay))
        if not asked.meant(replay, wordings.entered(self.store, self.id, asked.space)):
            self._anew()
            replay, teaching.runner.asked = [], 0
            asked.open(teaching)
        if not slots.wordings(self.store, self.id):
            wordings.begin(self.store, self.id, asked.space)
        self.each = asked.each
        return asked, replay

    def _search(self, asked: ProgramSearch, replay: Sequence[Trial]) -> search.Found:
        """Search, or return the result of a resumed run whose search was over."""
        run = self.store.run(self.id)
        if run.winner is not None:
            # The space needs the late wordings that the winner may contain.
            wordings.entered(self.store, self.id, asked.space).build(replay[run.winner].params)
            return search.Found(tuple(replay), replay[run.winner], run.reason)
        kept = Kept(self.store, self.id, self.watch.event, replay)
        return asked.search(kept.hooks(asked, self._proposing(), self._hold), replay)

    def _proposing(self) -> Proposing | None:
        task = self.plan.task
        if task.proposing is None:
            return None
        room = task.proposal_tokens or ROOM
        return Proposing(self.ledgers[PROPOSER], task.task.description, room, self._hidden())

    def _hidden(self) -> list[str]:
        """List the texts of the sealed test rows, which nothing that is shown may contain."""
        return [text for row in self.plan.data.test for text in (row.text, *row.targets)]

    def _hold(self, trials: Sequence[Trial]) -> None:
        """Set aside what the verdict may cost, and store the run's totals."""
        self.costs |= {trial.number: per_row(trial) for trial in trials}
        workers, every, spent = self.ledgers[""].workers, [*self.costs.values()], self.budget.spent
        # Answers from before a resumption have no known cost each, so their mean is used.
        mean = PerRow(spent.usd, spent.tokens, 0.0).times(self.each / max(1, spent.calls))
        seed = dearest([mean, self.costs.get(0, mean)])
        contenders = [each.times(1, workers) for each in (seed, dearest([mean, *every]))]
        keep_back(self.budget, len(self.plan.data.test), contenders, self.kept)
        self.store.update_run(self.id, **self._totals())

    # --- the verdict ----------------------------------------------------------------------------------------

    def _conclude(self, asked: ProgramSearch, found: search.Found, best: Any) -> tuple[Verdict | None, str]:  # noqa: ANN401 - DSPy has no types
        """Score the seed and the found program on the test rows; return the verdict, or why the budget allows none."""
        plan, test = self.plan, self.plan.data.test
        self.watch.event(Stage("verdict", f"opening the {len(test)} sealed test rows"))
        self.budget.held, self.budget.held_minutes = Spent(), 0.0
        if (
            not plan.task.search.max_calls
        ):  # a row may take more calls than there are predictors, and so than were set aside
            self.budget.caps = replace(self.budget.caps, calls=0)
        seed = asked.set(found.trials[0].prompt)  # what trial 0 was, without DSPy's own second try in JSON
        judged = {SEED: (seed, 0)} | ({BEST: (best, found.best.number)} if found.best.number else {})
        priced, entries = self.model.price is not None, []
        opened = self.store.open_test(plan.data_digest, self.id)
        try:
            for who, (program, number) in judged.items():
                outcomes = asked.score(program, test)
                trial = found.trials[number]
                whole = wordings.of_training_rows(self.store, self.id, asked.space, trial.params)
                learnt = len(plan.data.train) if whole else asked.shown(trial)
                entries.append(verdict.Entry(who, outcomes, learnt, f"trial {number}", priced=priced))
        except BudgetSpent as spent:
            return None, str(spent)
        ruling = verdict.decide(entries, test, plan.metric, opened=opened, seed=plan.task.search.seed)
        self.store.save_verdict(self.id, ruling)
        return ruling, ""

    def _totals(self) -> dict[str, int | float | None]:
        priced = all(ledger.model.price for ledger in self.ledgers.values())
        return {
            "bought": self.store.bought(self.id),
            "reused": self.reused + sum(ledger.reused for ledger in self.ledgers.values()),
            "cost": self.store.spent(self.id).usd if priced else None,
            "worked": self.budget.worked(),
        }

    def _leave(self, status: str, reason: str) -> None:
        found = self.store.run(self.id).winner is not None and status != "finished"
        said = {} if found else {"reason": reason}  # else keep why the search ended, for when the run is resumed
        self.store.update_run(self.id, status=status, **said, **self._totals())
