"""A prepared task: its rows read and split, its space opened, its model named. Nothing is bought here.

What `tune`, `predict` and the commands that only look at a task have in common.
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

# Settings that change how fast a run goes, but not its course.
NOT_COURSE = {"workers", "timeout", "patience", "requests_per_minute", "tokens_per_minute"}

NOBODY: Mapping[str, Model] = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """A prepared task: its rows, space, renderer, digest of rows and splits, and metric.

    `labels` are those of a classification, `several` those of which an answer may name more than one. `ood` are the
    out-of-domain rows, and `unlabelled` those without a target, if the task names files of such rows.
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
        """The models that are called besides the one that answers, by role."""
        judge = self.judging.model if self.judging else None
        named = {JUDGE: judge, PROPOSER: self.task.proposing, TEACHER: self.task.teaching}
        return {role: spec for role, spec in named.items() if spec}

    def config(self, model: Model, beside: Mapping[str, Model] = NOBODY) -> str:
        """Return a digest of everything that determines a run's course with these models."""
        task = self.task.model_dump(mode="json")
        task["model"] = {name: value for name, value in task["model"].items() if name not in NOT_COURSE}
        if told := task.pop("judge"):
            task["judge"] = told | {"model": {k: v for k, v in told["model"].items() if k not in NOT_COURSE}}
        for role, asked in ((PROPOSER, self.task.proposing), (TEACHER, self.task.teaching)):
            if (told := task.pop(role)["model"]) and asked:
                task[role] = {k: v for k, v in told.items() if k not in NOT_COURSE}
        del task["task"]["responsible"]  # has no effect on a run
        del task["baseline"]["label_cost"]  # only prices labels
        for name in ("max_rows", "query", "demos"):  # the digests of rows and space cover them
            del task["data"][name]
        identity = [model.name, model.address, model.price]
        away = [digest([row.to_dict() for row in rows]) for rows in (self.ood, self.unlabelled) if rows]
        code = [self.metric.code] if self.metric.code else []
        others = [[beside[role].name, beside[role].address, beside[role].price] for role in ROLES if role in beside]
        return digest([task, identity, self.data_digest, self.space.digest, __version__, *code, *others, *away])

    @property
    def taught(self) -> Metric:
        """The metric that rivals are trained by; for a judge, which would be asked too often, this is ROUGE-L."""
        return METRICS["rouge_l"] if self.metric.judged else self.metric

    @property
    def further(self) -> int:
        """How many calls the judge may take for analyses besides the verdict: `further`, or half of `calls`."""
        told = self.judging
        return 0 if told is None else self.task.search.calls // 2 if told.further is None else told.further

    @property
    def judging(self) -> Judging | None:
        """The judge's settings, if the metric is a judge's."""
        return self.task.judge if self.metric.judged else None


def brought(task: Task | str | Path, given: Mapping[str, Model | str | None]) -> tuple[Task, dict[str, Model | None]]:
    """Write the models that a caller passes, by role, into the task: the digest of a run then covers them.

    A name is written into the task. An object must be a model, and is returned; if it is a proposer or teacher and the
    task names none, its name is written there, too.

    Raises
    ------
    InputError
        If the task file cannot be used, something is neither a name nor a model, or a judge is passed for a task with
        another metric.
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
    """Return the model that answers and the plan's other models: as passed to `brought`, else opened here."""
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
    plan = ready(task, data, named, own or objective(task, named, (*data.train, *data.dev)))
    away, left_out = other_rows(task, data, plan.metric, named, task.data.ood)
    more, seen = other_rows(task, data, plan.metric, (), task.data.unlabelled, targets=False)
    noted = replace(plan.data, notes=(*plan.data.notes, *left_out, *seen))
    return replace(plan, data=noted, ood=away, unlabelled=more)


def ready(task: Task, data: Dataset, named: tuple[str, ...], metric: Metric) -> Plan:
    """Prepare a task whose rows are at hand; its data file is not read.

    Parameters
    ----------
    task
        The task.
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
        # Optuna's samplers suggest ids without a text as often as others, so they get drafts only, and few ids.
        proposed = KEPT_IDS if task.search.sampler == "pooled" else {INSTRUCTION: EACH * ASKED_AT_ONCE}
        changes = {**_without_logprobs(task), **task.space}
        space = load_space(facts, changes, task.seed, task.templates, proposed=proposed if task.proposing else {})
    except DimensionError as error:
        raise SpaceError(f"{task.file}: {error}" if task.file else str(error)) from None
    rows = [[example.to_dict() for example in split] for split in (data.train, data.dev, data.test)]
    data = replace(data, notes=(*data.notes, *hidden))
    plan = Plan(task, data, labels, space, renderer(space, task), digest(rows), metric, several)
    require_rows(constraints(task), dev_rows(plan))
    return plan


def _without_logprobs(task: Task) -> dict[str, Any]:
    """Lock calibration off if the model returns no log-probabilities."""
    calibrates = "calibration" in tables_of(task.task.kind) and "calibration" not in {**task.space, **task.seed}
    return {"calibration": "off"} if calibrates and not offers_logprobs(task.model.name) else {}


def _require_fewer(task: Task, rows: int) -> None:
    """Refuse a learning curve of fine-tuning jobs on as many rows as there are, or more."""
    sizes = task.baseline.provider.curve if "provider" in task.baseline.kinds else []
    if sizes and sizes[-1] >= rows:
        raise TaskError(
            f"curve in [baseline.provider] names {sizes[-1]} rows, and there are {rows} training rows, on all of which "
            "a model is tuned anyway. Name fewer."
        )


def _own_metric(task: Task, *, allow_code: bool) -> Metric | None:
    """Load the user's own metric, if the task names one; refuse it if it may not be run."""
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
    """Make a renderer for the templates of a space; DSPy is loaded only if one of them is a DSPy adapter's."""
    from optimizer.programs import adapters

    own = {name: text_template(name, layout.model_dump(exclude_none=True)) for name, layout in task.templates.items()}
    named = [name for name in space["template"].choices if name in adapters.NAMES]
    others = adapters.adapter_templates() if named else {}
    return Renderer({**own, **others}, slots=task.task.kind == "extraction")


def constraints(task: Task) -> Constraints:
    """Return what the winner of a task must keep."""
    bounds = task.search.constraints
    return Constraints(bounds.max_cost_per_1000, bounds.max_prompt_tokens, bounds.min_recall)


def task_model(spec: ModelSpec, *, keyless: bool = False) -> Model:
    """Open the model that a task names; `keyless` tolerates a missing key, for looking without calling."""
    price = (spec.price.input, spec.price.output) if spec.price else None
    return open_model(spec.name, api_base=spec.api_base, price=price, keyless=keyless)


def run_model(run: Run, task: Task, given: Model | str | None) -> Model:
    """Open the model that a run was tuned on, or the one that is given instead.

    Raises
    ------
    InputError
        If it cannot be opened, or is a different one.
    """
    if given is None or given == task.model.name:
        model = task_model(task.model)  # with its settings in the task
    else:
        model = opened(given, api_base=task.model.api_base)
    if model.name != run.model:
        raise InputError(
            f"run {run.id} was tuned on {run.model!r}, not {model.name!r}. Hand that model over: model=… from Python."
        )
    return model


def looks(plan: Plan) -> int:
    """Return how many answers the search may look at, without the calls set aside for the verdict."""
    options = plan.task.search
    each = 2 if plan.judging else 1  # an answer, and its judgement
    first = (MOST_CALLS if plan.task.proposing else 0) + min(options.worked, len(plan.data.train))
    left = (options.max_calls - held_calls(plan) - first) // each
    return min(options.calls, max(1, left)) if options.max_calls else options.calls


def bounded(plan: Plan) -> list[str]:
    """Say if a cap on calls leaves the search fewer answers than it might look at."""
    most, options = looks(plan), plan.task.search
    said = f"max_calls = {options.max_calls:,} leaves the search {most:,} of its {options.calls:,} answers"
    return [said] if most < options.calls else []


def dev_rows(plan: Plan) -> list[Example]:
    """List the dev rows that the search uses."""
    return searched(plan.data.dev, looks(plan), plan.task.search.seed)


def held_calls(plan: Plan) -> int:
    """Return the calls set aside for the verdict: answers of two prompts, and with a judge three contenders' scores."""
    return (5 if plan.judging else 2) * plan.sealed


def require_calls(plan: Plan) -> None:
    """Raise TaskError if the verdict leaves no calls for the search."""
    most, held = plan.task.search.max_calls, held_calls(plan)
    if most and most <= held:
        raise TaskError(f"max_calls = {most:,}: {held:,} are kept for the verdict on the sealed test rows. Allow more.")


def caps(task: Task) -> Caps:
    """Return what a run may spend."""
    search = task.search
    return Caps(search.max_calls, search.max_usd, search.max_tokens, search.max_minutes)
