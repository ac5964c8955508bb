"""Reading the rows of a task: its own, split; those of other files; examples to show; and new rows to answer.

Also determines their labels and metric. Knows no space, no model and no results.db.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from optimizer.data import SplitPlan, split, to_examples
from optimizer.errors import DataError, TaskError, meant, one_of
from optimizer.kinds import KINDS
from optimizer.phrases import agreed, counted
from optimizer.records import Dataset
from optimizer.rows.cells import shown
from optimizer.rows.columns import empty_rows
from optimizer.rows.handed import as_table
from optimizer.rows.oddities import oddities
from optimizer.rows.overlap import same_inputs
from optimizer.rows.querying import SUFFIXES
from optimizer.rows.sampling import Draw
from optimizer.rows.splits import LEAST_ROWS
from optimizer.rows.tables import Table, drawn, read_table
from optimizer.scores import label_sets, own_metric, row_metrics
from optimizer.scores.metrics import METRICS, Metric, get_metric
from optimizer.scoring import score
from optimizer.task import Task
from search_spaces.prompt import Example

Reading = Callable[[str | None], Hashable]


def objective(task: Task, labels: Sequence[str], rows: Sequence[Example] = ()) -> Metric:
    """Return the metric of a task, built in or passed by a program; labels are ordered if declared, or if numbers.

    If answers are open numbers, the targets of `rows` determine the range on which their distances are measured.
    """
    if task.scorer:
        return own_metric.metric_of(task.metric, task.scorer, task.metric.partition("@")[2])
    numbers = all(row_metrics.number(label) is not None for label in labels)
    order = labels if task.task.labels or task.task.kind == "multilabel" or numbers else ()
    if task.task.kind == "qa" and rows:
        scale = sorted((row.target for row in rows), key=lambda target: row_metrics.number(target) or 0.0)
        order = (scale[0], scale[-1])
    return get_metric(task.metric, order, several=task.task.kind == "multilabel")


def reading(task: Task, labels: Sequence[str]) -> Reading:
    """Return what a task's metric reads in an answer, so that one that is merely written otherwise stays the same.

    A judge and the user's own code do not say what they read: then it is what the usual metric of the kind reads. Slots
    are read as slots by any metric. None is an answer that could not be read.
    """
    kind = task.task.kind
    unsaid = kind == "extraction" or task.metric not in METRICS or METRICS[task.metric].judged
    usual = get_metric(KINDS[kind].usual, labels, several=kind == "multilabel")
    reads = usual.reads if unsaid else objective(task, labels).reads
    return lambda answer: None if answer is None else reads(answer)


def read_rows(task: Task, table: Table | None = None, *, own: Metric | None = None) -> tuple[Dataset, tuple[str, ...]]:
    """Read and split the rows of a task; return them with the labels: declared or found, and none for open answers.

    Parameters
    ----------
    task
        The task.
    table
        Its data file, if it has been read already.
    own
        The metric, if it is a function in a module.
    """
    closed = task.task.kind == "classification"
    if table is None:
        label = task.data.target if closed else ""
        draw = Draw(task.data.max_rows, task.data.seed, task.data.split_column, label)
        table = drawn(task.rows, draw) if task.rows else read_table(task.data_file, draw, task.data.query)
    table = _filled(task, table)
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
    # A target that the metric cannot read is refused here; the user's code may be slow, so it is tested on one row.
    _check_targets(table, list(enumerate(() if metric.judged else examples[:1] if metric.code else examples)), metric)
    data = split(examples, table, plan, slices=task.data.slices)
    left_out = [table.note] if table.note else []
    lists = bool(task.data.answers) or task.task.kind == "multilabel"
    odd = oddities(data, task.data.target, labels, lists=lists)
    return replace(data, notes=(*left_out, *data.notes, *odd)), labels


def _filled(task: Task, table: Table) -> Table:
    """Leave out the rows without an answer or a text if the task has `skip_empty`."""
    data = task.data
    empty = empty_rows(table, data.inputs, data.target) if data.skip_empty else set()
    of = "" if task.rows and table.path == task.rows.path else f" of {Path(table.path).name}"
    what = f"{counted(len(empty), 'row')}{of} without an answer or a text: left out (skip_empty)."
    return table.without(empty, what) if empty else table


def labels_of(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the closed list of labels: those declared, else those found; empty for open answers."""
    if task.task.kind == "multilabel":
        return tuple(task.task.labels) or tuple(label_sets.found([example.target for example in examples]))
    closed = task.task.kind == "classification"
    return tuple(task.task.labels) or tuple(sorted({example.target for example in examples})) if closed else ()


def several_of(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels of a run's rows if an answer may name several of them, else an empty tuple.

    Also empty if the task declares no labels and the rows do not tell which signs separate labels.
    """
    if task.task.kind != "multilabel":
        return ()
    texts = [text for row in examples for text in row.targets]
    signs = sum(any(sign in text for text in texts) for sign in "|;,")
    return labels_of(task, examples) if task.task.labels or signs < 2 else ()


def _check_targets(table: Table, numbered: Sequence[tuple[int, Example]], metric: Metric) -> None:
    """Raise DataError, with the row's place in the table, for a target that the metric cannot read."""
    for row, example in numbered:
        try:
            score(metric, example.target, example)
        except DataError as error:
            raise DataError(f"{table.place(row)}: {error}") from None


def _label_sets(examples: Sequence[Example], table: Table, labels: tuple[str, ...]) -> tuple[Example, ...]:
    """Rewrite the labels of each row in a uniform way, in the order of the list."""
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


def other_rows(
    task: Task, data: Dataset, metric: Metric, labels: tuple[str, ...], file: str, *, targets: bool = True
) -> tuple[tuple[Example, ...], list[str]]:
    """Read a second file of rows that a task names, without rows that are in its data file, and a note on these.

    Parameters
    ----------
    task
        The task; the rows have the columns of its data file, except that they may lack an id.
    data
        The rows of its data file.
    metric
        The task's metric.
    labels
        The allowed labels; empty for open answers.
    file
        The second file; empty for none.
    targets
        Whether the rows have targets; if not, a target column is ignored.

    Raises
    ------
    DataError
        If the file cannot be used, or has fewer than 4 rows that are not in the data file.
    """
    if not file:
        return (), []
    table = read_table(task.folder / file, Draw(task.data.max_rows, task.data.seed, "", ""))
    table = _filled(task, table) if targets else table
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
    kept = [(n, row) for n, row in enumerate(examples) if same_inputs(row) not in known and row.text.strip()]
    if len(kept) < LEAST_ROWS:
        few = agreed(len(kept), "row that is", "rows that are")
        raise DataError(
            f"{table.path}: has {few} not in {task.data.file}; at least {LEAST_ROWS} are needed. "
            f"Add rows, or take the file out of [data]."
        )
    if targets and not metric.judged and not metric.code:
        _check_targets(table, kept, metric)
    left_out = len(examples) - len(kept)
    rows = agreed(left_out, f"row of {file} stands", f"rows of {file} stand")
    said = f"{rows} in {task.data.file} too, and {'was' if left_out == 1 else 'were'} left out of the former."
    return tuple(row for _, row in kept), [said] if left_out else []


def shown_rows(task: Task, data: Dataset, labels: tuple[str, ...]) -> tuple[tuple[Example, ...], list[str]]:
    """Read the examples that a task wants to show as they are, without dev and test rows, and a note on these.

    Raises
    ------
    DataError
        If the file cannot be used, or if no example is left.
    """
    if not task.data.demos:
        return (), []
    table = _filled(task, read_table(task.folder / task.data.demos))
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
    file, hidden = task.data.demos, len(examples) - len(kept)
    said = agreed(hidden, f"row of {file} is a dev or test row too", f"rows of {file} are dev or test rows too")
    return kept, [f"{said}: not shown."] if hidden else []


def new_rows(rows: object, task: Task) -> tuple[Table, tuple[Example, ...]]:
    """Read rows to be answered, from a file or a program; return them as a table and as examples.

    Rows may lack a target, in which case they cannot be scored, or a text, in which case they cannot be answered.
    """
    data = task.data
    if isinstance(rows, str | Path):
        table = read_table(Path(rows), query=data.query if Path(rows).suffix.lower() in SUFFIXES else "")
    else:
        table = as_table(rows)
    known = data.target in table.columns
    return table, to_examples(
        table,
        inputs=data.inputs,
        target=data.target if known else "",
        id_column=data.id if data.id in table.columns else "",
        answers_column=data.answers if known and data.answers in table.columns else "",
        unanswered=True,
    )


def strange(rows: Sequence[Example], task: Task, metric: Metric, labels: Sequence[str]) -> tuple[set[str], str]:
    """Return the ids of rows whose target the task does not know, so that no answer to them could be correct.

    Also return a note on how many they are, and what the first may have meant; empty if there are none.
    """
    found = {row.id: row.target for row in rows if row.targets and not _known(row, task, metric, labels)}
    if not found:
        return set(), ""
    name, first = next(iter(found.items()))
    many = f"{counted(len(found), 'row')} with a wanted answer that the task does not know"
    return set(found), f"{many}, such as {name}: {shown(first)}. Answered, and not scored.{meant(first, labels)}"


def _known(row: Example, task: Task, metric: Metric, labels: Sequence[str]) -> bool:
    if task.task.kind == "multilabel":
        return set(label_sets.pieces(row.target, label_sets.signs(labels))) <= set(labels)
    if labels:
        return set(row.targets) <= set(labels)
    try:
        score(metric, row.target, row)
    except DataError:
        return False
    return True
