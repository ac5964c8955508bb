"""A task made ready: its rows read and split, its space opened, its model named. Nothing is bought here.

What `tune`, `predict` and the commands that only look need alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimizer.budget import Caps
from optimizer.calls.own_models import opened
from optimizer.engine.board import searched
from optimizer.errors import InputError, SpaceError, TaskError
from optimizer.evidence.swaps import swapped
from optimizer.front import Constraints, require_labels, require_rows
from optimizer.models import Model, offers_logprobs, open_model
from optimizer.propose import ASKED_AT_ONCE, EACH, INSTRUCTION, KEPT_IDS, MOST_CALLS
from optimizer.records import Dataset, Run
from optimizer.scores import own_metric
from optimizer.scores.metrics import METRICS, Metric
from optimizer.task import Task, load_task, with_models
from optimizer.task_rows import objective, other_rows, read_rows, shown_rows
from optimizer.task_sections import JUDGE, MODEL, PROPOSER, ROLES, TEACHER, ModelSpec
from optimizer.task_sections import Judge as Judging
from optimizer.version import __version__
from search_spaces.opening import DimensionError, load_space, tables_of
from search_spaces.prompt import Example, digest
from search_spaces.rendering import Renderer
from search_spaces.space import Facts, Space
from search_spaces.templates import text_template

# Settings that change how fast a run goes, not where.
NOT_COURSE = {"workers", "timeout", "patience", "requests_per_minute", "tokens_per_minute"}

NOBODY: Mapping[str, Model] = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """A task made ready: its rows, its space, what renders its prompts, a digest of rows and splits, and its metric.

    `labels` are those of a classification, `several` those of which an answer may name more than one. `ood` are the
    rows from elsewhere, and `unlabelled` those without a target, if the task names files of such.
    """

    task: Task
    data: Dataset
    labels: tuple[str, ...]
    space: Space
    renderer: Renderer
    data_digest: str
    metric: Metric
    several: tuple[str, ...] = ()
    ood: tuple[Example, ...] = ()
    unlabelled: tuple[Example, ...] = ()

    @property
    def sealed(self) -> int:
        """How many rows every contender answers when the search is over."""
        return len(self.data.test) + len(self.ood)

    @property
    def swapped(self) -> list[Example]:
        """The test rows that the winner answers again, with the task's terms swapped, if the caps cover that."""
        return swapped(self.data.test, self.task.verdict.swaps)

    @property
    def beside(self) -> dict[str, ModelSpec]:
        """The models that are asked beside the one that answers, by their roles."""
        judge = self.judging.model if self.judging else None
        named = {JUDGE: judge, PROPOSER: self.task.proposing, TEACHER: self.task.teaching}
        return {role: spec for role, spec in named.items() if spec}

    def config(self, model: Model, beside: Mapping[str, Model] = NOBODY) -> str:
        """Name all that decides the course of a run with a model, and with those beside it, by their roles."""
        task = self.task.model_dump(mode="json")
        task["model"] = {name: value for name, value in task["model"].items() if name not in NOT_COURSE}
        if told := task.pop("judge"):
            task["judge"] = told | {"model": {k: v for k, v in told["model"].items() if k not in NOT_COURSE}}
        for role, asked in ((PROPOSER, self.task.proposing), (TEACHER, self.task.teaching)):
            if (told := task.pop(role)["model"]) and asked:
                task[role] = {k: v for k, v in told.items() if k not in NOT_COURSE}
        del task["task"]["responsible"]  # decides nothing
        del task["baseline"]["label_cost"]  # prices labels alone
        for name in ("max_rows", "query", "demos"):  # what they do stands in the digests of rows and space
            del task["data"][name]
        identity = [model.name, model.address, model.price]
        away = [digest([row.to_dict() for row in rows]) for rows in (self.ood, self.unlabelled) if rows]
        code = [self.metric.code] if self.metric.code else []
        others = [[beside[role].name, beside[role].address, beside[role].price] for role in ROLES if role in beside]
        return digest([task, identity, self.data_digest, self.space.digest, __version__, *code, *others, *away])

    @property
    def taught(self) -> Metric:
        """The metric by which rivals are trained: a judge would be asked too often, and ROUGE-L stands in for it."""
        return METRICS["rouge_l"] if self.metric.judged else self.metric

    @property
    def further(self) -> int:
        """How many calls the judge may take for analyses beside the verdict: `further`, or half of `calls`."""
        told = self.judging
        return 0 if told is None else self.task.search.calls // 2 if told.further is None else told.further

    @property
    def judging(self) -> Judging | None:
        """Who judges, where the metric is a judge's."""
        return self.task.judge if self.metric.judged else None


def brought(task: Task | str | Path, given: Mapping[str, Model | str | None]) -> tuple[Task, dict[str, Model | None]]:
    """Merge the models that a caller passes, by their roles, into the task: the digest of a run covers them.

    A name is written into the task. An object must be a model, and is returned; its name is written into the task
    where that names none.

    Raises
    ------
    InputError
        If the task file cannot be used, something is neither a name nor a model, or a judge is brought to a task that
        no judge scores.
    """
    task = task if isinstance(task, Task) else load_task(task)
    if given[JUDGE] and task.metric != JUDGE:
        raise TaskError(f"a judge is given, and the metric is {task.metric!r}. Leave it out, or name the metric judge.")
    named = {role: each for role, each in given.items() if isinstance(each, str)}
    models = {role: None if each is None or role in named else opened(each) for role, each in given.items()}
    task = with_models(task, named) if named else task
    known = {PROPOSER: task.proposing, TEACHER: task.teaching}
    unnamed = {role: model.name for role in known if (model := models[role]) and not known[role]}
    task = with_models(task, unnamed) if unnamed else task
    if task.proposer.model is None:  # then the model that answers proposes as well
        models[PROPOSER] = models[MODEL]
    return task, models


def open_models(
    plan: Plan, models: Mapping[str, Model | None], *, keyless: bool = False
) -> tuple[Model, dict[str, Model]]:
    """Return the model that answers and those that a plan wants beside it: each as it was `brought`, else opened."""
    beside = {role: models[role] or task_model(spec, keyless=keyless) for role, spec in plan.beside.items()}
    return models[MODEL] or task_model(plan.task.model, keyless=keyless), beside


def prepare(task: Task | str | Path, *, allow_code: bool = False) -> Plan:
    """Read a task's rows, split them and open its space; nothing is bought.

    Parameters
    ----------
    task
        A task, or the path of its file.
    allow_code
        Whether a metric of the user's own, which is code, may be run.

    Raises
    ------
    InputError
        If the task file, the data file or the space cannot be used.
    """
    if not isinstance(task, Task):
        task = load_task(task)
    own = _own_metric(task, allow_code=allow_code)
    data, named = read_rows(task, own=own)
    plan = ready(task, data, named, own or objective(task, named))
    away, left_out = other_rows(task, data, plan.metric, named, task.data.ood)
    more, seen = other_rows(task, data, plan.metric, (), task.data.unlabelled, targets=False)
    noted = replace(plan.data, notes=(*plan.data.notes, *left_out, *seen))
    return replace(plan, data=noted, ood=away, unlabelled=more)


def ready(task: Task, data: Dataset, named: tuple[str, ...], metric: Metric) -> Plan:
    """Open the space of a task whose rows are at hand; its data file is not read.

    Parameters
    ----------
    task
        What is wanted.
    data
        Its rows; without test rows there is no verdict.
    named
        The labels; empty for open answers.
    metric
        The objective.

    Raises
    ------
    InputError
        If the space cannot be used.
    """
    if task.teaching and not task.search.worked:
        raise TaskError(
            f"[teacher] {task.teaching.name!r} reasons about rows for worked demos, and none are wanted. "
            "Say how many rows in [search] (--worked), such as worked = 40."
        )
    labels, several = ((), named) if task.task.kind == "multilabel" else (named, ())
    require_labels(constraints(task), labels)
    _require_fewer(task, len(data.train))
    given, hidden = shown_rows(task, data, named)
    facts = Facts(
        task.task.kind,
        tuple(task.data.inputs),
        task.data.target,
        data.train,
        named,
        task.task.labels if isinstance(task.task.labels, dict) else {},
        task.task.description,
        task.model.max_tokens,
        given,
        worked=task.search.worked > 0,
    )
    try:
        # Optuna's samplers, which get drafts alone, suggest ids without a text as often as others.
        proposed = KEPT_IDS if task.search.sampler == "pooled" else {INSTRUCTION: EACH * ASKED_AT_ONCE}
        changes = {**_without_logprobs(task), **task.space}
        space = load_space(facts, changes, task.seed, task.templates, proposed=proposed if task.proposing else {})
    except DimensionError as error:
        raise SpaceError(str(error)) from None
    rows = [[example.to_dict() for example in split] for split in (data.train, data.dev, data.test)]
    data = replace(data, notes=(*data.notes, *hidden))
    plan = Plan(task, data, labels, space, renderer(space, task), digest(rows), metric, several)
    require_rows(constraints(task), dev_rows(plan))
    return plan


def _without_logprobs(task: Task) -> dict[str, Any]:
    """Lock calibration off where the model gives nothing to calibrate by."""
    calibrates = "calibration" in tables_of(task.task.kind) and "calibration" not in {**task.space, **task.seed}
    return {"calibration": "off"} if calibrates and not offers_logprobs(task.model.name) else {}


def _require_fewer(task: Task, rows: int) -> None:
    """Refuse a learning curve of jobs on as many rows as there are, or more."""
    sizes = task.baseline.provider.curve if "provider" in task.baseline.kinds else []
    if sizes and sizes[-1] >= rows:
        raise TaskError(
            f"curve in [baseline.provider] names {sizes[-1]} rows, and there are {rows} training rows, on all of which "
            "a model is tuned anyway. Name fewer."
        )


def _own_metric(task: Task, *, allow_code: bool) -> Metric | None:
    """Load the metric of the user's own, if the task names one and it may be run."""
    if task.scorer or not own_metric.is_own(task.metric):
        return None
    if own_metric.is_handed(task.metric):
        raise TaskError(
            f"metric {task.metric!r} is a function that a program hands over. Hand it over again, as metric= of "
            "make_task, or name a metric that is built in."
        )
    own_metric.require_allowed(f"metric {task.metric!r}", allowed=allow_code, instead="name a metric that is built in")
    return own_metric.load(task.metric, task.folder)


def renderer(space: Space, task: Task) -> Renderer:
    """Make a renderer for the templates of a space; DSPy is loaded only if one of them is its adapter's."""
    from optimizer.programs import adapters

    own = {name: text_template(name, layout.model_dump(exclude_none=True)) for name, layout in task.templates.items()}
    named = [name for name in space["template"].choices if name in adapters.NAMES]
    return Renderer({**own, **(adapters.adapter_templates() if named else {})})


def constraints(task: Task) -> Constraints:
    """What the winner of a task must keep."""
    bounds = task.search.constraints
    return Constraints(bounds.max_cost_per_1000, bounds.max_prompt_tokens, bounds.min_recall)


def task_model(spec: ModelSpec, *, keyless: bool = False) -> Model:
    """Open the model that a task names; with `keyless` a missing key is let pass: to look, not to call."""
    price = (spec.price.input, spec.price.output) if spec.price else None
    return open_model(spec.name, api_base=spec.api_base, price=price, keyless=keyless)


def run_model(run: Run, task: Task, given: Model | str | None) -> Model:
    """Open the model that a run was tuned on, or take what was brought in its place.

    Raises
    ------
    InputError
        If it cannot be opened, or is another.
    """
    if given is None or given == task.model.name:
        model = task_model(task.model)  # with all that the task says of it
    else:
        model = opened(given, api_base=task.model.api_base)
    if model.name != run.model:
        raise InputError(
            f"run {run.id} was tuned on {run.model!r}, not {model.name!r}. Hand that model over: model=… from Python."
        )
    return model


def looks(plan: Plan) -> int:
    """How many answers the search may look at: what is kept for the verdict is not its own."""
    options = plan.task.search
    each = 2 if plan.judging else 1  # an answer, and its judgement
    first = (MOST_CALLS if plan.task.proposing else 0) + min(options.worked, len(plan.data.train))
    left = (options.max_calls - held_calls(plan) - first) // each
    return min(options.calls, max(1, left)) if options.max_calls else options.calls


def bounded(plan: Plan) -> list[str]:
    """Say where a cap on calls leaves the search fewer answers than it might look at."""
    most, options = looks(plan), plan.task.search
    said = f"max_calls = {options.max_calls:,} leaves the search {most:,} of its {options.calls:,} answers"
    return [said] if most < options.calls else []


def dev_rows(plan: Plan) -> list[Example]:
    """List the dev rows that the search looks at."""
    return searched(plan.data.dev, looks(plan), plan.task.search.seed)


def held_calls(plan: Plan) -> int:
    """How many calls are kept for the verdict: two prompts' answers, and the judgement of three contenders."""
    return (5 if plan.judging else 2) * plan.sealed


def require_calls(plan: Plan) -> None:
    """Raise TaskError if the calls leave the search none beside the verdict's."""
    most, held = plan.task.search.max_calls, held_calls(plan)
    if most and most <= held:
        raise TaskError(f"max_calls = {most:,}: {held:,} are kept for the verdict on the sealed test rows. Allow more.")


def caps(task: Task) -> Caps:
    """What a run may spend."""
    search = task.search
    return Caps(search.max_calls, search.max_usd, search.max_tokens, search.max_minutes)
