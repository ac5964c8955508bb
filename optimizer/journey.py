"""The whole journey on one page: the only room that knows the others.

data -> splits -> space -> search -> verdict, with every completion in the ledger and every trial in results.db.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optimizer import baseline, search, verdict
from optimizer.archive import renderer_for
from optimizer.data import SplitPlan, split, to_examples
from optimizer.errors import BudgetSpent, InputError, Interrupted, TaskError
from optimizer.evaluate import Evaluator
from optimizer.ledger import Budget, Ledger
from optimizer.mirror import mirror, study_name
from optimizer.models import Model, open_model
from optimizer.records import Dataset, Event, Outcome, Run, Stage, Trial, TrialEnded, Verdict
from optimizer.scoring import get_metric, interval, score, summarise
from optimizer.store import Store
from optimizer.tables import read_table
from optimizer.task import Task, load_task
from optimizer.version import __version__
from search_spaces.prompt import Example, Turn, digest
from search_spaces.rendering import Renderer
from search_spaces.space import DimensionError, Facts, Space, load_space

NOT_COURSE = {"workers", "timeout"}  # settings that change how fast a run goes, not where


@dataclass(frozen=True, slots=True)
class Plan:
    """A task made ready: its rows, its space, what renders its prompts, and a digest of rows and splits."""

    task: Task
    data: Dataset
    labels: tuple[str, ...]
    space: Space
    renderer: Renderer
    data_digest: str

    @property
    def config(self) -> str:
        """Names all that decides the course of a run."""
        task = self.task.model_dump(mode="json")
        task["model"] = {name: value for name, value in task["model"].items() if name not in NOT_COURSE}
        return digest([task, self.data_digest, self.space.digest, __version__])


@dataclass(frozen=True, slots=True)
class Tuned:
    """What `tune` returns: the run as results.db has it, its trials, the winner and the verdict.

    `verdict` is None if the budget did not cover it.
    """

    run: Run
    trials: tuple[Trial, ...]
    best: Trial
    verdict: Verdict | None


@dataclass
class Watch:
    """How the outside follows a run and stops it."""

    event: Callable[[Event], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)


def prepare(task: Task | str | Path) -> Plan:
    """Read a task's rows, split them and open its space; nothing is bought.

    Raises
    ------
    InputError
        If the task file, the data file or the space cannot be used.
    """
    if not isinstance(task, Task):
        task = load_task(task)
    data, labels = read_rows(task)
    facts = Facts(
        task.task.kind,
        tuple(task.data.inputs),
        task.data.target,
        data.train,
        labels,
        task.task.labels if isinstance(task.task.labels, dict) else {},
        task.task.description,
        task.model.max_tokens,
    )
    try:
        space = load_space(facts, task.space, task.seed)
    except DimensionError as error:
        raise TaskError(str(error)) from None
    rows = [[example.to_dict() for example in split] for split in (data.train, data.dev, data.test)]
    return Plan(task, data, labels, space, renderer(space), digest(rows))


def read_rows(task: Task) -> tuple[Dataset, tuple[str, ...]]:
    """Read and split the rows of a task; the labels are those declared, else those found."""
    table = read_table(task.data_file)
    closed = task.task.kind == "classification"
    examples = to_examples(
        table,
        inputs=task.data.inputs,
        target=task.data.target,
        id_column=task.data.id,
        labels=list(task.task.labels) if closed else [],
        answers_column=task.data.answers,
    )
    shares = {"train": task.data.train, "dev": task.data.dev, "test": task.data.test}
    plan = SplitPlan(shares, task.data.seed, task.data.split_column, task.data.group, stratify=closed)
    labels = tuple(task.task.labels) or tuple(sorted({example.target for example in examples}))
    for example in examples:
        score(get_metric(task.metric), example.target, example)  # a target that the metric cannot read is refused here
    return split(examples, table, plan, slices=task.data.slices), labels if closed else ()


def renderer(space: Space) -> Renderer:
    """Make a renderer for the templates of a space; DSPy is loaded only if one of them is its adapter's."""
    from optimizer import programs

    adapters = [name for name in space["template"].choices if name in programs.NAMES]
    return Renderer(programs.adapter_templates() if adapters else None)


def tune(
    task: Task | str | Path, *, db: str | Path = "results.db", model: Model | None = None, watch: Watch | None = None
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
    watch
        Follows the run, and stops it.

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
    plan = prepare(task)
    model = model or task_model(plan.task)
    with Store(db, create=True, paid=model.price != (0.0, 0.0)) as store:
        return _Journey(plan, model, store, watch).walk()


def task_model(task: Task) -> Model:
    """Open the model that a task names."""
    spec = task.model
    price = (spec.price.input, spec.price.output) if spec.price else None
    return open_model(spec.name, api_base=spec.api_base, price=price, timeout=spec.timeout)


def _workers(model: Model, task: Task) -> int:
    """Calls at a time. In this process a call takes about a millisecond, and threads would only take turns."""
    return 0 if model.name == "embedded" else task.model.workers


@dataclass
class _Journey:
    """One run, from its first trial to its verdict."""

    plan: Plan
    model: Model
    store: Store
    watch: Watch

    def walk(self) -> Tuned:
        plan, store, task = self.plan, self.store, self.plan.task
        store.add_examples(plan.data_digest, plan.data)
        self.id, replay = self._start()
        self.ledger = self._ledger()
        self.evaluate = Evaluator(self.ledger, plan.renderer, get_metric(task.metric))
        try:
            found = self._search(replay)
            self._stage("baseline", "training the rival on the same rows")
            rival = self._rival()
            self._stage("verdict", f"opening the {len(plan.data.test)} sealed test rows")
            ruling, reason = self._verdict(found, rival)
        except BaseException as error:
            self._leave("interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed", str(error))
            raise
        store.update_run(self.id, status="finished", winner=found.best.number, reason=reason, **self._totals())
        self._mirror(found.trials)
        return Tuned(store.run(self.id), found.trials, found.best, ruling)

    def _start(self) -> tuple[int, list[Trial]]:
        """Resume the unfinished run of this configuration, or start a new one."""
        plan = self.plan
        unfinished = self.store.unfinished_run(plan.config)
        if unfinished is not None:
            replay = self.store.trials(unfinished)
            self.store.update_run(unfinished, status="running")
            self.watch.event(Stage("resuming", f"run {unfinished} after {len(replay)} trials"))
            return unfinished, replay
        task = plan.task.model_dump(mode="json")
        name, metric = plan.task.task.name, plan.task.metric
        new = Run(0, name, task, self.model.name, metric, plan.data_digest, "running", "")
        return self.store.start_run(new, plan.config), []

    def _ledger(self) -> Ledger:
        options = self.plan.task.search
        calls, usd = self.store.spent(self.id)
        budget = Budget(options.max_calls, options.max_usd, calls, usd, held_calls=2 * len(self.plan.data.test))
        return Ledger(self.model, self.store, self.id, budget, _workers(self.model, self.plan.task), self.watch.stop)

    def _search(self, replay: Sequence[Trial]) -> search.Found:
        options = self.plan.task.search
        space = self.plan.space
        self._stage("search", f"{space.size:,.0f} prompts, {len(self.plan.data.dev)} dev rows")
        return search.run(
            space,
            self.evaluate,
            self.plan.data.dev,
            search.Options(self.evaluate.metric, options.sampler, options.trials, options.block, options.seed),
            replay=replay,
            hooks=search.Hooks(self._event, self._keep),
        )

    def _stage(self, name: str, detail: str) -> None:
        """Announce a part of the journey, unless the user has stopped it."""
        if self.watch.stop.is_set():
            raise Interrupted("stopped")
        self.watch.event(Stage(name, detail))

    def _event(self, event: Event) -> None:
        if isinstance(event, TrialEnded) and event.trial.outcomes:
            # What the verdict will cost is known from what the dearest trial did cost.
            mean = sum(outcome.cost for outcome in event.trial.outcomes) / len(event.trial.outcomes)
            budget = self.ledger.budget
            budget.held_usd = max(budget.held_usd, 2 * len(self.plan.data.test) * mean * 1.2)
        self.watch.event(event)

    def _keep(self, trial: Trial) -> None:
        self.store.save_trial(self.id, trial, prompt_text(self.plan.renderer, trial))
        self.store.update_run(self.id, **self._totals())

    def _rival(self) -> baseline.Rival:
        plan, options = self.plan, self.plan.task.baseline
        rival = baseline.train(
            plan.data.train,
            plan.data.dev,
            get_metric(plan.task.metric),
            search.best_hyperparameters,
            labelled=bool(plan.labels),
            budget=baseline.Budget(options.trials, options.seconds, plan.task.search.seed),
        )
        self.store.save_baseline(self.id, rival.trained)
        return rival

    def _verdict(self, found: search.Found, rival: baseline.Rival) -> tuple[Verdict | None, str]:
        """Open the test rows once, for all contenders."""
        plan = self.plan
        rows, metric = plan.data.test, get_metric(plan.task.metric)
        budget = self.ledger.budget
        budget.held_calls, budget.held_usd = 0, 0.0
        opened = self.store.open_test(plan.data_digest, self.id)
        seed, best = found.trials[0], found.best
        try:
            entries = [self._entry(verdict.SEED, seed, self.evaluate(seed.prompt, rows))]
            if best.number != seed.number:
                entries.append(self._entry(verdict.BEST, best, self.evaluate(best.prompt, rows)))
        except BudgetSpent as spent:
            return None, f"{found.reason}; no verdict: {spent}"
        detail = rival.trained.detail
        entries.append(verdict.Entry(verdict.RIVAL, rival.outcomes(rows, metric), len(plan.data.train), detail))
        ruling = verdict.decide(entries, rows, metric, opened=opened, seed=plan.task.search.seed)
        self.store.save_verdict(self.id, ruling)
        return ruling, found.reason

    def _entry(self, name: str, trial: Trial, outcomes: tuple[Outcome, ...]) -> verdict.Entry:
        used = len(self.plan.data.train) if trial.params.get("labels") == "terms" else len(trial.prompt.demos)
        return verdict.Entry(name, outcomes, used, f"trial {trial.number}", priced=self.model.price is not None)

    def _totals(self) -> dict[str, int | float]:
        calls, usd = self.store.spent(self.id)
        return {"bought": calls, "reused": self.ledger.reused, "cost": usd}

    def _leave(self, status: str, reason: str) -> None:
        self.store.update_run(self.id, status=status, reason=reason or "stopped", **self._totals())

    def _mirror(self, trials: Sequence[Trial]) -> None:
        self.watch.event(Stage("mirror", "copying the trials into Optuna's tables"))
        mirror(self.store.path, study_name(self.plan.task.task.name, self.id), self.plan.space, trials)


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


@dataclass(frozen=True, slots=True)
class Predicted:
    """What `predict_file` returns: the rows with their answers, and the score where the rows have a target."""

    rows: tuple[Example, ...]
    answers: tuple[str | None, ...]
    inputs: tuple[str, ...]
    target: str
    metric: str
    score: float | None
    interval: tuple[float, float]
    bought: int
    reused: int


def predict_file(
    path: Path, run: Run, *, db: str | Path = "results.db", model: Model | None = None, watch: Watch | None = None
) -> Predicted:
    """Apply the winner of a run to the rows of a file, through the same ledger.

    An answer is None where none could be had.

    Raises
    ------
    InputError
        If the run has no winner, or the rows lack an input of its prompt.
    """
    if run.winner is None:
        raise InputError(f"run {run.id} has no winner ({run.status}). Finish it with `phrasetune tune`.")
    task = Task.model_validate(run.task)
    table = read_table(path)
    scored = task.data.target in table.columns
    rows = to_examples(
        table,
        inputs=task.data.inputs,
        target=task.data.target if scored else "",
        id_column=task.data.id if task.data.id in table.columns else "",
        answers_column=task.data.answers if scored else "",
    )
    model = model or task_model(task)
    metric = get_metric(run.metric)
    with Store(db, create=True, paid=model.price != (0.0, 0.0)) as store:
        trial = store.trials(run.id, outcomes=False)[run.winner]
        ledger = Ledger(model, store, run.id, workers=_workers(model, task), stop=(watch or Watch()).stop)
        evaluate = Evaluator(ledger, renderer_for(trial), metric)
        answers = tuple(answer for _, _, answer in evaluate.answer(trial.prompt, rows))
        outcomes = evaluate(trial.prompt, rows) if scored else ()
    examples = {row.id: row for row in rows}
    between = interval(metric, outcomes, examples, np.random.default_rng(0))
    value = summarise(metric, outcomes, examples) if scored else None
    counts = (ledger.bought, len(rows) - ledger.bought)
    return Predicted(rows, answers, trial.prompt.inputs, trial.prompt.output, metric.name, value, between, *counts)
