"""From a table to examples, and the door to `rows/`.

There, `tables` reads files, `columns` guesses what each column means, `splits` splits, and `overlap` finds duplicate
rows. Knows no prompt, no model and no score.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.errors import DataError, one_of
from optimizer.rows.cells import read_answers, shown
from optimizer.rows.columns import Guess, guess
from optimizer.rows.overlap import Audit, audit
from optimizer.rows.splits import SplitPlan, split
from optimizer.rows.tables import Table, read_table, table_from
from search_spaces.prompt import Example

__all__ = [
    "Audit",
    "Guess",
    "SplitPlan",
    "Table",
    "audit",
    "guess",
    "read_table",
    "split",
    "table_from",
    "to_examples",
]


def to_examples(  # noqa: PLR0913 - the roles that a column can have
    table: Table,
    *,
    inputs: Sequence[str],
    target: str,
    id_column: str = "",
    labels: Sequence[str] = (),
    answers_column: str = "",
    unanswered: bool = False,
) -> tuple[Example, ...]:
    """Make an example of each row, in the table's order.

    Parameters
    ----------
    table
        The rows.
    inputs, target
        The input columns, in order, and the column of the answer; an empty target is for rows whose answer is not
        known. White space around their texts is removed.
    id_column
        A column of unique names; if empty, the ids are "r1", "r2", ... by the rows' numbers in the file.
    labels
        The closed list of targets, if there is one.
    answers_column
        A column with a JSON list of all accepted answers, of which the target is the preferred one; if it is the target
        column itself, the first in the list is preferred. A plain cell is a single accepted answer.
    unanswered
        Whether rows may lack a target, or all inputs.

    Raises
    ------
    DataError
        If a column is missing, a target or all inputs of a row are empty, a target is not among the labels, or an id
        occurs twice.
    """
    _check_roles(table, inputs, target, id_column, answers_column)
    ids = _ids(table, id_column)
    examples = []
    for row, cells in enumerate(table.rows):
        texts = tuple((name, cells[name].strip()) for name in inputs)
        targets = _targets(table, row, target, answers_column)
        examples.append(Example(ids[row], texts, targets))
    fix = "Write the wanted answer, remove the row, or say skip_empty = true in [data]."
    empty = [row for row, e in enumerate(examples) if target and not unanswered and not e.targets]
    table.refuse(empty, f"column {target!r} is empty", fix)
    blank = [row for row, e in enumerate(examples) if not unanswered and not e.text.strip()]
    table.refuse(blank, f"nothing stands in {', '.join(map(repr, inputs))}", "Write the text, or remove the row.")
    if labels:
        _check_labels(table, examples, labels)
    return tuple(examples)


def _check_roles(table: Table, inputs: Sequence[str], target: str, id_column: str, answers_column: str) -> None:
    if not inputs:
        raise DataError(f"{table.path}: no input column was named; allowed: {', '.join(table.columns)}. Name one.")
    roles = [*(("input", name) for name in inputs), ("target", target), ("id", id_column), ("answers", answers_column)]
    for role, name in roles:
        if name or role == "input":
            table.check_column(name, role)
    for name in inputs:
        if name in {target, answers_column} or list(inputs).count(name) > 1:
            raise DataError(
                f"{table.path}: column {name!r} has two roles; an input can be neither the answer nor an input twice. "
                "Name another column."
            )


def _ids(table: Table, column: str) -> list[str]:
    if not column:
        return [f"r{table.number(row)}" for row in range(len(table.rows))]
    ids = [row[column].strip() for row in table.rows]
    fix = "Give every row an id of its own, or leave the id column out."
    table.refuse([row for row, id_ in enumerate(ids) if not id_], f"the id in {column!r} is empty", fix)
    first: dict[str, int] = {}
    for row, id_ in enumerate(ids):
        if first.setdefault(id_, row) != row:
            raise DataError(f"{table.place(row)}: the id {shown(id_)} stands at {table.place(first[id_])} too. {fix}")
    return ids


def _targets(table: Table, row: int, target: str, answers_column: str) -> tuple[str, ...]:
    """Return all accepted answers of a row, the preferred one first; none if the target is empty."""
    if not target:
        return ()
    cells = table.rows[row]
    preferred = cells[target].strip()
    if not answers_column or not preferred:
        return (preferred,) if preferred else ()
    text = cells[answers_column].strip()
    answers = read_answers(text) if text else []
    if answers is None:
        raise DataError(
            f"{table.place(row)}: column {answers_column!r} holds {shown(text)}; allowed is a JSON list of texts, "
            'or one plain answer. Write ["one answer", "another"].'
        )
    found = [answer.strip() for answer in answers]
    return tuple(dict.fromkeys(text for text in ([] if target == answers_column else [preferred]) + found if text))


def _check_labels(table: Table, examples: Sequence[Example], labels: Sequence[str]) -> None:
    allowed = set(labels)
    strange = [row for row, e in enumerate(examples) if not allowed.issuperset(e.targets)]
    if strange:
        given = next(t for t in examples[strange[0]].targets if t not in allowed)
        table.refuse(strange, one_of("label", given, list(labels)).rstrip("."), "Correct it, or declare the label.")
