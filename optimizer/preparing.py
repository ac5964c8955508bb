"""A task made ready: its rows read and split, its space opened, its model named. Nothing is bought here.

What `tune`, `predict` and the commands that only look need alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optimizer.budget import Caps
from optimizer.data import SplitPlan, split, to_examples
from optimizer.errors import DataError, SpaceError
from optimizer.front import Constraints, require_labels
from optimizer.gateway import Pace
from optimizer.models import Model, known_context, open_model
from optimizer.oddities import oddities
from optimizer.overlap import same_inputs
from optimizer.records import Dataset
from optimizer.sampling import Draw
from optimizer.scoring import get_metric, score
from optimizer.splits import LEAST_ROWS
from optimizer.swaps import swapped
from optimizer.tables import Table, read_table
from optimizer.task import ModelSpec, Task, load_task
from optimizer.version import __version__
from search_spaces.opening import DimensionError, load_space
from search_spaces.prompt import Example, digest
from search_spaces.rendering import Renderer
from search_spaces.space import Facts, Space

# Settings that change how fast a run goes, not where.
NOT_COURSE = {"workers", "timeout", "patience", "requests_per_minute", "tokens_per_minute"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A task made ready: its rows, its space, what renders its prompts, and a digest of rows and splits.

    `ood` are the rows from elsewhere, and `unlabelled` those without a target, if the task names files of such.
    """

    task: Task
    data: Dataset
    labels: tuple[str, ...]
    space: Space
    renderer: Renderer
    data_digest: str
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

    def config(self, model: Model) -> str:
        """Name all that decides the course of a run with a model."""
        task = self.task.model_dump(mode="json")
        task["model"] = {name: value for name, value in task["model"].items() if name not in NOT_COURSE}
        del task["baseline"]["label_cost"]  # prices labels alone
        del task["data"]["max_rows"]  # what it does stands in the digest of the rows
        identity = [model.name, model.address, model.price]
        away = [digest([row.to_dict() for row in rows]) for rows in (self.ood, self.unlabelled) if rows]
        return digest([task, identity, self.data_digest, self.space.digest, __version__, *away])


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
    require_labels(constraints(task), labels)
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
        raise SpaceError(str(error)) from None
    rows = [[example.to_dict() for example in split] for split in (data.train, data.dev, data.test)]
    away, left_out = _others(task, data, labels, task.data.ood)
    more, seen = _others(task, data, (), task.data.unlabelled, targets=False)
    data = replace(data, notes=(*data.notes, *left_out, *seen))
    return Plan(task, data, labels, space, renderer(space), digest(rows), away, more)


def read_rows(task: Task, table: Table | None = None) -> tuple[Dataset, tuple[str, ...]]:
    """Read and split the rows of a task; the labels are those declared, else those found.

    Parameters
    ----------
    task
        Whose rows are wanted.
    table
        What its data file holds, if that has been read already.
    """
    closed = task.task.kind == "classification"
    if table is None:
        label = task.data.target if closed else ""
        table = read_table(task.data_file, Draw(task.data.max_rows, task.data.seed, task.data.split_column, label))
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
    data, labels = split(examples, table, plan, slices=task.data.slices), labels if closed else ()
    drawn = [table.note] if table.note else []
    return replace(data, notes=(*drawn, *data.notes, *oddities(data, task.data.target, labels))), labels


def _others(
    task: Task, data: Dataset, labels: Sequence[str], file: str, *, targets: bool = True
) -> tuple[tuple[Example, ...], list[str]]:
    """Read the rows of a second file that a task names, and say which were left out as the run's own rows.

    Parameters
    ----------
    task
        Whose rows are wanted; they have the columns of its data file, but for an id, which they may lack.
    data
        The rows of its data file.
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
        labels=labels,
        answers_column=task.data.answers if targets else "",
        unanswered=not targets,
    )
    known = {same_inputs(row) for row in (*data.train, *data.dev, *data.test)}
    kept = tuple(row for row in examples if same_inputs(row) not in known)
    if len(kept) < LEAST_ROWS:
        raise DataError(
            f"{table.path}: has {len(kept)} rows that are not in {task.data.file}; at least {LEAST_ROWS} are needed. "
            f"Add rows, or take the file out of [data]."
        )
    for row in kept if targets else ():
        score(get_metric(task.metric), row.target, row)
    left_out = len(examples) - len(kept)
    said = f"{left_out} rows of {file} stand in {task.data.file} too: they were left out of the former."
    return kept, [said] if left_out else []


def renderer(space: Space) -> Renderer:
    """Make a renderer for the templates of a space; DSPy is loaded only if one of them is its adapter's."""
    from optimizer import programs

    adapters = [name for name in space["template"].choices if name in programs.NAMES]
    return Renderer(programs.adapter_templates() if adapters else None)


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


def pace(model: Model, task: Task) -> Pace | None:
    """How calls are made. In this process one takes about a millisecond, and threads would only take turns: none."""
    spec = task.model
    caps = (spec.requests_per_minute, spec.tokens_per_minute)
    return None if model.name == "embedded" else Pace(spec.workers, spec.timeout, spec.patience, *caps)


def looks(plan: Plan) -> int:
    """How many answers the search may look at: what is kept for the verdict is not its own."""
    options = plan.task.search
    held = 2 * plan.sealed
    return min(options.calls, max(1, options.max_calls - held)) if options.max_calls else options.calls


def caps(task: Task) -> Caps:
    """What a run may spend."""
    search = task.search
    return Caps(search.max_calls, search.max_usd, search.max_tokens, search.max_minutes)
