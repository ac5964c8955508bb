"""Finding suspicious rows: texts that imitate answers or commands, labels in two spellings, lists as targets.

Changes no row; what it finds is reported in notes.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence

from optimizer.phrases import agreed, counted
from optimizer.records import Dataset
from optimizer.rows.cells import shown


def oddities(data: Dataset, output: str, labels: Sequence[str], *, lists: bool = False) -> list[str]:
    """Return a note on each kind of oddity in the texts of rows.

    Parameters
    ----------
    data
        All rows.
    output
        Name of the answer field.
    labels
        The closed list of answers; empty for open ones.
    lists
        Whether targets are known to be lists of accepted answers or labels; then these are not reported.
    """
    return [*_forged(data, _marks(output)), *_alike(labels), *([] if lists else _listed(data, output))]


def _marks(output: str) -> re.Pattern[str]:
    """Return a pattern of what prompts and chats write around roles and answers, and of usual prompt injections."""
    name = rf"(?:{re.escape(output)}|answer)"
    marks = (
        *(r"<\|\w+\|>", r"\[/?INST\]", r"<</?SYS>>", r"^(?:human|assistant|system): ", r"\[\[ ## \w+ ## \]\]"),
        *(rf"</?(?:{name}|reasoning)>", rf"^\W*{name}\W*?:", rf'[{{,]\s*"{name}"\s*:'),
        r"ignore (?:(?:all|any|the|your) )*(?:previous|prior|above|earlier) (?:instructions|prompts?)",
    )
    return re.compile("|".join(marks), re.IGNORECASE | re.MULTILINE)


def _forged(data: Dataset, marks: re.Pattern[str]) -> list[str]:
    rows = (*data.train, *data.dev, *data.test)
    found = [(row.id, match.group().strip()) for row in rows if (match := marks.search(row.text))]
    if not found:
        return []
    such = f"such as {found[0][0]}: {shown(found[0][1])}"
    hold = agreed(len(found), "row holds", "rows hold")
    return [f"{hold} what looks like an answer, a role or a command ({such}), which is sent as data."]


def _alike(labels: Sequence[str]) -> list[str]:
    spelt: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        spelt[" ".join(label.casefold().split())].append(label)
    twice = [same for same in spelt.values() if len(same) > 1]
    return [
        f"labels {' and '.join(map(shown, same))} differ in case or white space alone: correct them if one is meant."
        for same in twice
    ]


def _listed(data: Dataset, output: str) -> list[str]:
    rows = (*data.train, *data.dev, *data.test)
    found = [row for row in rows if row.target.startswith("[") and _is_list(row.target)]
    if not found:
        return []
    what = f"{counted(len(found), 'target')} written as a JSON list (such as {found[0].id}: {shown(found[0].target)})"
    fix = f'write answers = {json.dumps(output, ensure_ascii=False)} into [data], or kind = "multilabel" into [task]'
    return [f"{what}, to be answered as it is. If it lists accepted answers, or several labels, {fix}."]


def _is_list(text: str) -> bool:
    """Whether a text is a JSON list of texts; a list of numbers or objects may well be an answer."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(items) and all(isinstance(item, str) for item in items)
