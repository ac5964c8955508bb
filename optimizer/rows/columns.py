"""Guessing what each column of a table means, so that a first task file need not be written by hand.

Judges by names first and by values second. The result is only a proposal: `phrasetune init` writes it for the user to
correct. Knows no task file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from optimizer.errors import DataError
from optimizer.kinds import KINDS
from optimizer.rows.cells import read_list
from optimizer.rows.splits import SPELLINGS
from optimizer.rows.tables import Table
from optimizer.scores import label_sets

# Names, the most reliable first; compared in lower case with underscores.
TARGETS = (
    "label category class intent sentiment target answer output response summary labels gold gold_label topic emotion "
    "polarity rating stars completion expected expected_output ground_truth reference translation reply tag y answers"
).split()
ANSWERS = "answers accepted_answers all_answers gold_answers references aliases targets".split()
IDS = "id uid uuid guid key idx index row row_id example_id".split()
SPLIT_NAMES = "split set fold partition subset data_split".split()
GROUPS = (
    "group user customer client author writer speaker session conversation dialogue dialog thread document doc "
    "patient account source_document"
).split()
PAIRS = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text1", "text2")),
    *(("text_a", "text_b"), ("context", "question"), ("passage", "question"), ("document", "question")),
    *(("question", "choices"), ("question", "options"), ("instruction", "input"), ("subject", "body")),
    *(("title", "text"), ("title", "body"), ("title", "content"), ("title", "description"), ("title", "abstract")),
)
TEXTS = (
    "text message question input sentence utterance query prompt body content comment review tweet post email ticket "
    "document article passage abstract description source title instruction"
).split()

# If targets have more different values than this, or longer ones (characters), they are open answers.
MOST_LABELS, LABEL_LENGTH = 200, 200
# Most values of a slice column, and their most characters: a report shows a line for each value.
SLICE_VALUES, SLICE_LENGTH = 20, 40
# Most characters of a group's name; longer values are texts.
GROUP_LENGTH = 60
# Median words of a target: above the first, it is generated text; above the second, exact match is too strict.
GENERATION_WORDS, EXACT_WORDS = 12, 5
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
# If the largest class is more than so many times the smallest, accuracy rewards ignoring the smallest.
IMBALANCE = 3

# If at least this share of the targets are JSON objects, the task is extraction, and the others are slips.
MOSTLY = 0.95

# If at least this share of the targets name several labels, the task is multilabel.
OFTEN_SEVERAL = 0.05

Kind = Literal["classification", "multilabel", "extraction", "qa", "generation"]


@dataclass(frozen=True)
class Guess:
    """The proposed role of each column; "" means that no column has it.

    `labels` are sorted, and empty for open answers. `empty` counts the rows without an answer or without any input,
    `unused` are the columns without a role, and `odd` are the rows, counted from 0, whose target is not a JSON object
    while nearly all others are.
    """

    inputs: tuple[str, ...]
    target: str
    id_column: str
    split_column: str
    group_column: str
    slices: tuple[str, ...]
    kind: Kind
    labels: tuple[str, ...]
    metric: str
    answers_column: str
    empty: int = 0
    unused: tuple[str, ...] = ()
    odd: tuple[int, ...] = ()

    @property
    def used(self) -> set[str]:
        """The columns that have a role."""
        roles = (self.target, self.id_column, self.split_column, self.group_column, self.answers_column)
        return {*self.inputs, *roles, *self.slices}


@dataclass(frozen=True)
class _Column:
    """A column: its name as written and as compared, its stripped values, and how often each value occurs."""

    name: str
    plain: str
    values: tuple[str, ...]
    counts: Counter[str]


def guess(table: Table, *, inputs: Sequence[str] = (), target: str = "") -> Guess:
    """Propose what each column means; `inputs` and `target` are the columns whose role is already known.

    The target is found by its name; otherwise it is the last column with few distinct values, or the last column. The
    inputs are found by name, a pair (such as premise and hypothesis) before a single text; otherwise the column with
    the longest texts is taken. No more are proposed, because a further column may give away the answer. A group is
    recognised by its name only, an id and a split by name and values. Targets are labels if there are at least 2 and at
    most n/4 different ones (200 at most), most of them occur more than once, and none is longer than 200 characters.
    Cells name several labels if there are more different cells than labels that they can be split into.

    Raises
    ------
    DataError
        If no column is left for an input besides the target, or if a known column is not in the table.
    """
    for role, name in (*(("input", name) for name in inputs), ("target", target)):
        if name:
            table.check_column(name, role)
    known = {*inputs, target}
    columns = [_column(table, name) for name in table.columns]
    varied = [column for column in columns if len(column.counts) > 1 or column.name in known]
    split = next((c.name for c in varied if c.plain in SPLIT_NAMES and _is_split(c)), "")
    id_column = next((c.name for c in varied if _is_id(c)), "")
    free = [column for column in varied if column.name not in {split, id_column} - known]
    wanted = next((column for column in free if column.name == target), None) or _target(
        [column for column in free if column.name not in inputs]
    )
    free = [column for column in free if wanted and column.name != wanted.name]
    if wanted is None or not free:
        raise DataError(
            f"{table.path}: columns {', '.join(table.columns)} hold no input beside a target. At least two columns "
            "that vary are needed: add one, or name them in a task file."
        )
    kind = _kind(wanted)
    answers = "" if kind in {"classification", "multilabel"} else _answers([*free, wanted])
    answers = wanted.name if kind == "qa" and _is_lists(wanted) else answers
    free = [column for column in free if column.name != answers] or free
    group = next((c.name for c in free if _is_group(c) and c.name not in inputs), "")
    asked = tuple(inputs) or _inputs([c for c in free if c.name != group] or free)
    group = "" if group in asked else group
    taken = {*asked, group}
    found = Guess(
        inputs=asked,
        target=wanted.name,
        id_column="" if id_column in known else id_column,
        split_column="" if split in known else split,
        group_column=group,
        slices=tuple(c.name for c in free if c.name not in taken and _is_slice(c, wanted)),
        kind=kind,
        labels=_labels(kind, wanted),
        metric=_metric(kind, _preferred(wanted) if answers == wanted.name else wanted),
        answers_column=answers if answers not in asked else "",
        empty=len(empty_rows(table, asked, wanted.name)),
        odd=_no_objects(wanted) if kind == "extraction" else (),
    )
    return replace(found, unused=tuple(name for name in table.columns if name not in found.used))


def empty_rows(table: Table, inputs: Sequence[str], target: str) -> set[int]:
    """Return the rows without an answer (or with an empty list) or without any input; none if a column is missing."""
    if not {*inputs, target} <= set(table.columns):
        return set()
    return {
        row
        for row, cells in enumerate(table.rows)
        if cells[target].strip() in {"", "[]"} or not any(cells[name].strip() for name in inputs)
    }


def _column(table: Table, name: str) -> _Column:
    values = tuple(row[name].strip() for row in table.rows)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _Column(name, re.sub(r"[\W_]+", "_", spaced.casefold()).strip("_"), values, Counter(values))


def _is_split(column: _Column) -> bool:
    homes = {SPELLINGS.get(value.casefold(), "") for value in column.counts}
    return "" not in homes and {"train", "test"} <= homes


def _is_id(column: _Column) -> bool:
    named = column.plain in IDS or column.plain.endswith("_id")
    return named and "" not in column.counts and len(column.counts) == len(column.values)


def _is_group(column: _Column) -> bool:
    """Whether its name is that of a group, and it has enough groups for three splits."""
    named = column.plain.removesuffix("_id").removesuffix("_name") in GROUPS
    return named and 3 <= len(column.counts) < len(column.values) and _longest(column) <= GROUP_LENGTH


def _is_slice(column: _Column, target: _Column) -> bool:
    """Whether it has a few short values, and is not the target under another name."""
    few = 2 <= len(column.counts) <= min(SLICE_VALUES, len(column.values) / 2)
    if not few or _longest(column) > SLICE_LENGTH or any(value[:1] in {"[", "{"} for value in column.counts):
        return False
    pairs = set(zip(column.values, target.values, strict=True))
    return not len(pairs) == len(column.counts) == len(target.counts)


def _longest(column: _Column) -> int:
    return max(map(len, column.counts))


def _named(columns: Sequence[_Column], names: Sequence[str]) -> _Column | None:
    by_name = {column.plain: column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _target(columns: Sequence[_Column]) -> _Column | None:
    found = _named(columns, TARGETS)
    if found is None:
        found = next((c for c in columns if c.plain.rpartition("_")[2] in TARGETS[:3]), None)
    if found is None:
        unlike = [c for c in columns if c.plain not in (*TEXTS, *GROUPS)] or list(columns)
        closed = [column for column in unlike if _is_closed(column)]
        found = next(reversed(closed or unlike), None)
    return found


def _is_lists(column: _Column) -> bool:
    """Whether its values are JSON lists, each of all accepted answers to a row."""
    values = [value for value in column.counts if value]
    return bool(values) and all(value[0] == "[" and read_list(value) is not None for value in values)


def _preferred(column: _Column) -> _Column:
    """Return a column of lists with only the first answer of each, on which the metric is chosen."""
    values = tuple(next((item.strip() for item in read_list(value) or ()), "") for value in column.values)
    return replace(column, values=values, counts=Counter(values))


def _is_closed(column: _Column) -> bool:
    n, distinct = len(column.values), len(column.counts)
    repeated = sum(count > 1 for count in column.counts.values())
    few = 2 <= distinct <= max(2, min(MOST_LABELS, n / 4)) and 2 * repeated > distinct
    return few and _longest(column) <= LABEL_LENGTH


def _answers(columns: Sequence[_Column]) -> str:
    found = _named(columns, ANSWERS)
    if found is None or any(value and read_list(value) is None for value in found.counts):
        return ""
    return found.name


def _inputs(columns: Sequence[_Column]) -> tuple[str, ...]:
    by_name = {column.plain: column.name for column in columns}
    for pair in PAIRS:
        if pair[0] in by_name and pair[1] in by_name:
            return (by_name[pair[0]], by_name[pair[1]])
    found = _named(columns, TEXTS)
    if found is None:
        found = max(columns, key=lambda column: sum(map(len, column.values)))
    return (found.name,)


def _kind(target: _Column) -> Kind:
    if len(_no_objects(target)) <= (1 - MOSTLY) * sum(map(bool, target.values)):
        return "extraction"
    if _is_several(target):
        return "multilabel"
    if _is_lists(target):
        return "qa"
    if _is_closed(target):
        return "classification"
    return "generation" if _median_words(target) > GENERATION_WORDS else "qa"


def _is_several(column: _Column) -> bool:
    """Whether its cells name several of a few labels: more different cells than labels, each label more than once."""
    cells = [value for value in column.values if value]
    named, mark = label_sets.found(cells), label_sets.mark(cells)
    cut = [label_sets.pieces(cell, mark) for cell in cells]
    several = sum(len(pieces) > 1 for pieces in cut)
    often = Counter(piece for pieces in cut for piece in pieces)
    return (
        several >= max(2, OFTEN_SEVERAL * len(cells))
        and 2 <= len(named) <= min(MOST_LABELS, len(cells) / 4, len(column.counts) - 1)
        and min(often.values()) > 1
        and max(map(len, named)) <= GROUP_LENGTH
        and bool(label_sets.separator(named))
    )


def _labels(kind: Kind, target: _Column) -> tuple[str, ...]:
    cells = [value for value in target.counts if value]
    if kind == "multilabel":
        return tuple(label_sets.found(cells))
    return tuple(sorted(cells)) if kind == "classification" else ()


def _no_objects(column: _Column) -> tuple[int, ...]:
    odd = {value for value in column.counts if value and not _is_object(value)}
    return tuple(row for row, value in enumerate(column.values) if value in odd)


def _is_object(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _median_words(column: _Column) -> float:
    return median(len(value.split()) for value in column.values)


def _metric(kind: Kind, target: _Column) -> str:
    if kind == "classification":
        sizes = [count for label, count in target.counts.items() if label]
        return "macro_f1" if max(sizes) > IMBALANCE * min(sizes) else "accuracy"
    if kind == "qa" and _is_measured(target):
        return "spearman"
    return "token_f1" if kind == "qa" and _median_words(target) > EXACT_WORDS else KINDS[kind].usual


def _is_measured(column: _Column) -> bool:
    """Whether its values are numbers, most with decimals: measurements, which can be nearly right, unlike years."""
    values = [value for value in column.counts if value]
    return all(map(NUMBER.fullmatch, values)) and 2 * sum("." in value for value in values) > len(values)
