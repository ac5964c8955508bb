"""A task made ready: its rows read and split, its space opened, its model named. Nothing is bought here.

What `tune`, `predict` and the commands that only look need alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optimizer import label_sets, own_metric, row_metrics
from optimizer.budget import Caps
from optimizer.data import SplitPlan, split, to_examples
from optimizer.errors import DataError, SpaceError, TaskError, one_of
from optimizer.front import Constraints, require_labels
from optimizer.gateway import Pace
from optimizer.metrics import Metric, get_metric
from optimizer.model_tables import JUDGE, PROPOSER, ROLES, TEACHER, ModelSpec
from optimizer.model_tables import Judge as Judging
from optimizer.models import Model, open_model
from optimizer.oddities import oddities
from optimizer.overlap import same_inputs
from optimizer.prices import known_context
from optimizer.propose import ASKED_AT_ONCE, EACH, INSTRUCTION, KEPT_IDS, MOST_CALLS
from optimizer.records import Dataset
from optimizer.sampling import Draw
from optimizer.scoring import score
from optimizer.splits import LEAST_ROWS
from optimizer.swaps import swapped
from optimizer.tables import Table, drawn, read_table
from optimizer.task import Task, load_task
from optimizer.version import __version__
from search_spaces.opening import DimensionError, load_space
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
        """How many rows every contender answers when the search is over; a judge sees the test rows alone."""
        return len(self.data.test) + (0 if self.judging else len(self.ood))

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
    def judging(self) -> Judging | None:
        """Who judges, where the metric is a judge's."""
        return self.task.judge if self.metric.judged else None


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
    away, left_out = _others(task, data, plan.metric, named, task.data.ood)
    more, seen = _others(task, data, plan.metric, (), task.data.unlabelled, targets=False)
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
    given, hidden = _given(task, data, named)
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
        space = load_space(facts, task.space, task.seed, task.templates, proposed=proposed if task.proposing else {})
    except DimensionError as error:
        raise SpaceError(str(error)) from None
    rows = [[example.to_dict() for example in split] for split in (data.train, data.dev, data.test)]
    data = replace(data, notes=(*data.notes, *hidden))
    return Plan(task, data, labels, space, renderer(space, task), digest(rows), metric, several)


def _own_metric(task: Task, *, allow_code: bool) -> Metric | None:
    """Load the metric of the user's own, if the task names one and it may be run."""
    if not own_metric.is_own(task.metric):
        return None
    if not allow_code:
        raise TaskError(
            f"metric {task.metric!r} is code of your own, and is run only if that is allowed. "
            "Read it, then give --allow-code (from Python allow_code=True), or name a metric that is built in."
        )
    return own_metric.load(task.metric, task.folder)


def objective(task: Task, labels: Sequence[str]) -> Metric:
    """Get the built-in metric of a task; ordered labels are those declared, or numbers."""
    numbers = all(row_metrics.placed(())(label) is not None for label in labels)
    order = labels if task.task.labels or task.task.kind == "multilabel" or numbers else ()
    return get_metric(task.metric, order, several=task.task.kind == "multilabel")


def read_rows(task: Task, table: Table | None = None, *, own: Metric | None = None) -> tuple[Dataset, tuple[str, ...]]:
    """Read and split the rows of a task; the labels are those declared, else those found; none for open answers.

    Parameters
    ----------
    task
        Whose rows are wanted.
    table
        What its data file holds, if that has been read already.
    own
        The metric, if it is none of ours.
    """
    closed = task.task.kind == "classification"
    if table is None:
        label = task.data.target if closed else ""
        draw = Draw(task.data.max_rows, task.data.seed, task.data.split_column, label)
        table = drawn(task.rows, draw) if task.rows else read_table(task.data_file, draw, task.data.query)
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
    labels = labels_of(task, examples)
    if task.task.kind == "multilabel":
        examples = _label_sets(examples, table, labels)
    metric = own or objective(task, labels)
    # A target that the metric cannot read is refused here; of code that may be slow one row is a test.
    for example in () if metric.judged else examples[:1] if own else examples:
        score(metric, example.target, example)
    data = split(examples, table, plan, slices=task.data.slices)
    left_out = [table.note] if table.note else []
    return replace(data, notes=(*left_out, *data.notes, *oddities(data, task.data.target, labels))), labels


def labels_of(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """The closed list of labels: those declared, else those found; none where answers are open."""
    if task.task.kind == "multilabel":
        return tuple(task.task.labels) or tuple(label_sets.found([example.target for example in examples]))
    closed = task.task.kind == "classification"
    return tuple(task.task.labels) or tuple(sorted({example.target for example in examples})) if closed else ()


def _label_sets(examples: Sequence[Example], table: Table, labels: tuple[str, ...]) -> tuple[Example, ...]:
    """Write the labels of each row in one way, in the order of the list."""
    if not label_sets.separator(labels):
        raise TaskError("the labels hold commas, semicolons and |, so that nothing can stand between two. Rename some.")
    named = [frozenset(label_sets.pieces(e.target, label_sets.signs(labels))) for e in examples]
    strange = [row for row, found in enumerate(named) if not found or not found <= set(labels)]
    if strange:
        given = min(named[strange[0]] - set(labels), default="")
        fix = 'Write a comma between two, or a JSON list; for rows without any, declare a label such as "none".'
        table.refuse(strange, one_of("label", given, list(labels)).rstrip("."), fix)
    written = [label_sets.write(found, labels) for found in named]
    return tuple(replace(e, targets=(text,)) for e, text in zip(examples, written, strict=True))


def _others(
    task: Task, data: Dataset, metric: Metric, labels: tuple[str, ...], file: str, *, targets: bool = True
) -> tuple[tuple[Example, ...], list[str]]:
    """Read the rows of a second file that a task names, and say which were left out as the run's own rows.

    Parameters
    ----------
    task
        Whose rows are wanted; they have the columns of its data file, but for an id, which they may lack.
    data
        The rows of its data file.
    metric
        The objective.
    labels
        The labels that may stand in them; empty for open answers.
    file
        The second file; empty for none.
    targets
        Whether the rows have targets; else those that stand there are not read.

    Raises
    ------
    DataError
        If the file cannot be used, or fewer than 4 of its rows are not among those of the data file.
    """
    if not file:
        return (), []
    table = read_table(task.folder / file, Draw(task.data.max_rows, task.data.seed, "", ""))
    examples = to_examples(
        table,
        inputs=task.data.inputs,
        target=task.data.target if targets else "",
        id_column=task.data.id if task.data.id in table.columns else "",
        labels=labels if task.task.kind == "classification" else (),
        answers_column=task.data.answers if targets else "",
        unanswered=not targets,
    )
    if targets and task.task.kind == "multilabel":
        examples = _label_sets(examples, table, labels)
    known = {same_inputs(row) for row in (*data.train, *data.dev, *data.test)}
    kept = tuple(row for row in examples if same_inputs(row) not in known)
    if len(kept) < LEAST_ROWS:
        raise DataError(
            f"{table.path}: has {len(kept)} rows that are not in {task.data.file}; at least {LEAST_ROWS} are needed. "
            f"Add rows, or take the file out of [data]."
        )
    for row in kept if targets and not metric.judged and not metric.code else ():
        score(metric, row.target, row)
    left_out = len(examples) - len(kept)
    said = f"{left_out} rows of {file} stand in {task.data.file} too: they were left out of the former."
    return kept, [said] if left_out else []


def _given(task: Task, data: Dataset, labels: tuple[str, ...]) -> tuple[tuple[Example, ...], list[str]]:
    """Read the examples that a task wants shown as they are; none may be a row that the prompt is judged by.

    Raises
    ------
    DataError
        If the file cannot be used, or nothing of it is left.
    """
    if not task.data.demos:
        return (), []
    table = read_table(task.folder / task.data.demos)
    closed = labels if task.task.kind == "classification" else ()
    examples = to_examples(table, inputs=task.data.inputs, target=task.data.target, labels=closed)
    if task.task.kind == "multilabel":
        examples = _label_sets(examples, table, labels)
    thoughts = (row.get("reasoning", "").strip() for row in table.rows)
    examples = tuple(
        replace(e, id=f"given {e.id}", reasoning=thought) for e, thought in zip(examples, thoughts, strict=True)
    )
    sealed = {same_inputs(row) for row in (*data.dev, *data.test)}
    kept = tuple(row for row in examples if same_inputs(row) not in sealed)
    if not kept:
        raise DataError(
            f"{table.path}: all of its rows are dev or test rows too, which no prompt may show. Add others."
        )
    said = f"{len(examples) - len(kept)} rows of {task.data.demos} are dev or test rows too: they are not shown."
    return kept, [said] if len(kept) < len(examples) else []


def renderer(space: Space, task: Task) -> Renderer:
    """Make a renderer for the templates of a space; DSPy is loaded only if one of them is its adapter's."""
    from optimizer import programs

    own = {name: text_template(name, layout.model_dump(exclude_none=True)) for name, layout in task.templates.items()}
    adapters = [name for name in space["template"].choices if name in programs.NAMES]
    return Renderer({**own, **(programs.adapter_templates() if adapters else {})})


def constraints(task: Task) -> Constraints:
    """What the winner of a task must keep."""
    bounds = task.search.constraints
    return Constraints(bounds.max_cost_per_1000, bounds.max_prompt_tokens, bounds.min_recall)


def task_model(spec: ModelSpec, *, keyless: bool = False) -> Model:
    """Open the model that a task names; with `keyless` a missing key is let pass: to look, not to call."""
    price = (spec.price.input, spec.price.output) if spec.price else None
    return open_model(spec.name, api_base=spec.api_base, price=price, keyless=keyless)


def context(spec: ModelSpec) -> int:
    """How many tokens the model of a task takes, prompt and answer together; 0 if nobody says."""
    return spec.context or known_context(spec.name)


def pace(model: Model, spec: ModelSpec) -> Pace | None:
    """How calls are made. In this process one takes about a millisecond, and threads would only take turns: none."""
    caps = (spec.requests_per_minute, spec.tokens_per_minute)
    return None if model.name == "embedded" else Pace(spec.workers, spec.timeout, spec.patience, *caps)


def looks(plan: Plan) -> int:
    """How many answers the search may look at: what is kept for the verdict is not its own."""
    options = plan.task.search
    each = 2 if plan.judging else 1  # an answer, and its judgement
    first = (MOST_CALLS if plan.task.proposing else 0) + min(options.worked, len(plan.data.train))
    left = (options.max_calls - held_calls(plan) - first) // each
    return min(options.calls, max(1, left)) if options.max_calls else options.calls


def held_calls(plan: Plan) -> int:
    """How many calls are kept for the verdict: two prompts' answers, and the judgement of three contenders."""
    return (5 if plan.judging else 2) * plan.sealed


def caps(task: Task) -> Caps:
    """What a run may spend."""
    search = task.search
    return Caps(search.max_calls, search.max_usd, search.max_tokens, search.max_minutes)


def new_rows(path: Path, task: Task) -> tuple[Example, ...]:
    """Read rows to be answered; those that have a wanted answer can be scored."""
    table = read_table(path)
    data = task.data
    known = data.target in table.columns
    return to_examples(
        table,
        inputs=data.inputs,
        target=data.target if known else "",
        id_column=data.id if data.id in table.columns else "",
        answers_column=data.answers if known and data.answers in table.columns else "",
        unanswered=True,
    )
