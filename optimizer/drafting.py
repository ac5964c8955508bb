"""Writing a first task file for a data file, with comments on how to change it, and describing what the rows can show.

Returns text; reads no file and calls no model.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.phrases import counted
from optimizer.power import graded_gain, shown_gain
from optimizer.records import Dataset
from optimizer.rows.cells import shown
from optimizer.rows.columns import Guess
from optimizer.rows.overlap import audit
from optimizer.rows.tables import Table
from optimizer.scores import label_sets
from optimizer.scores.metrics import METRICS

SHOWN_LABELS = 12
SHOWN_LEAKS = 5
SHOWN_ODD = 5
APART = 0.2  # assumed root mean square difference of two prompts' scores of a row, if rows can be partly right

TEMPLATE = """\
# What phrasetune guessed from {file}. Everything may be changed; `phrasetune space {path}` shows what it leads to.

[task]
name = {name}
{kind}# classification, multilabel, extraction, qa or generation
{metric}# {why}or {metrics}
# One sentence saying what is wanted. It becomes a wording of the search, often the best one.
description = {description}
# responsible = ""           # who answers for the prompt; stands in its card
{labels}
[data]
file = {data}
{query}{inputs}# the columns that the model sees
{target}# the column with the wanted answer
{roles}{empty}seed = 0                     # of the splits
{shares}
[model]
{model}# or any LiteLLM name: "openai/gpt-4o-mini", "ollama_chat/llama3.1", "hosted_vllm/…"
# api_base = "http://localhost:8000/v1"
# price = {{ input = 0.15, output = 0.60 }}   # US dollars per million tokens, where the price table is silent

[search]
calls = 2000                 # answers on dev rows that the search may look at
# max_calls = 4000           # hard caps; the verdict's calls are kept back from them
# max_usd = 5.0
seed = 0

{ingredients}"""

INGREDIENTS = """\
# [space]                    # lock, narrow or extend any dimension; `phrasetune space` lists them
# template = ["plain", "chat"]
# demos = "balanced"
# k = [0, 4, 8]
# instruction = { add = ["My own wording of the task."] }

# [seed]                     # the prompt to start from and to be compared with
# instruction = "task"       # the description above, once there is one
"""


# Why a metric other than the default of the task's kind was chosen.
REASONS = {
    "macro_f1": "some labels are rare; ",
    "token_f1": "few answers of several words are the same to the letter; ",
    "spearman": "numbers come near or not, so it compares their order; ",
}
MOST_DEV = 500  # most dev rows of a large file: as many as a search of 4,000 calls can use …
MOST_TEST = 1000  # … and most test rows: enough to show 5 points; the verdict needs two calls for each


@dataclass(frozen=True, slots=True)
class Start:
    """What is known about a task besides its rows.

    Parameters
    ----------
    description
        What the task is.
    query
        The SQL query for the rows, if the data file is a database.
    demos
        A file of examples to show as they are.
    model
        The model's name.
    wordings
        Id -> wording of the task, in addition to those of the space.
    seed
        Dimension -> its value in the seed prompt.
    """

    description: str = ""
    query: str = ""
    demos: str = ""
    model: str = "embedded"
    wordings: Mapping[str, str] = field(default_factory=dict)
    seed: Mapping[str, str] = field(default_factory=dict)


NOTHING = Start()


def draft(  # noqa: PLR0913
    guess: Guess, rows: int, *, file: str, path: str, name: str, metrics: Sequence[str], start: Start = NOTHING
) -> str:
    """Write a commented task file.

    Parameters
    ----------
    guess
        The guessed roles of the columns.
    rows
        The number of rows of the data file.
    file, path
        The data file, relative to the task file, and the task file itself.
    name
        The task's name.
    metrics
        The metrics that suit the task's kind.
    start
        What else is known about the task.
    """
    roles = [
        ("answers", guess.answers_column, "a JSON list of all accepted answers"),
        ("id", guess.id_column, "names the rows"),
        ("split_column", guess.split_column, "says train, dev or test"),
        ("group", guess.group_column, "rows of equal value stay in one split"),
    ]
    roles.append(("demos", start.demos, 'examples to show as they are, where demos = "given"'))
    lines = [f"{_pad(key, _text(column))}# {about}\n" for key, column, about in roles if column]
    if guess.slices:
        lines.append(f"{_pad('slices', _list(guess.slices))}# columns to report the scores by\n")
    if said := unused(guess):
        lines.append(f"# {said}\n")
    return TEMPLATE.format(
        file=_line(file),
        path=_line(path),
        name=_text(name),
        kind=_pad("kind", _text(guess.kind)),
        metric=_pad("metric", _text(guess.metric)),
        why=REASONS.get(guess.metric, ""),
        metrics=", ".join(metric for metric in metrics if metric != guess.metric),
        labels=_labels(guess),
        data=_text(file),
        query=f"query = {_text(start.query)}\n" if start.query else "",
        description=_text(start.description),
        model=_pad("name", _text(start.model)),
        ingredients=_ingredients(start),
        inputs=_pad("inputs", _list(guess.inputs)),
        target=_pad("target", _text(guess.target)),
        roles="".join(lines),
        empty=f"{_pad('skip_empty', 'true')}# leaves out {counted(guess.empty, 'row')} without an answer or a text\n"
        if guess.empty
        else "",
        shares="" if guess.split_column else _shares(rows),
    )


def unused(guess: Guess) -> str:
    """Return a line with the columns that have no role; empty if each has one."""
    return f"not used: {', '.join(map(_line, guess.unused))}" if guess.unused else ""


def odd(guess: Guess, table: Table) -> str:
    """Return a note on the rows whose target is not a JSON object while nearly all others are."""
    which = ", ".join(f"{table.place(row)} ({shown(table.rows[row][guess.target])})" for row in guess.odd[:SHOWN_ODD])
    more = ", …" if len(guess.odd) > SHOWN_ODD else ""
    what = f"{counted(len(guess.odd), 'row')} whose {_line(guess.target)} is no JSON object: {which}{more}"
    return f"{what}. Correct or remove what is odd; tune refuses it."


def _shares(rows: int) -> str:
    """Return the shares: half of the rows for train, a quarter each for dev and test; less of large files."""
    dev, test = (max(0.01, min(0.25, round(most / rows, 2))) for most in (MOST_DEV, MOST_TEST))
    train = f"train = {1 - dev - test:.4g}\ndev = {dev:.4g}\n"
    return train + _pad("test", f"{test:.4g}") + "# sealed until the verdict, which asks two prompts all of them\n"


def _ingredients(start: Start) -> str:
    """Return the sections of the known wordings and seed prompt, or commented examples of them."""
    if not start.wordings and not start.seed:
        return INGREDIENTS
    lines = []
    if start.wordings:
        lines += ["[space.instruction.add]      # wordings beside phrasetune's own", *_keys(start.wordings), ""]
    if start.seed:
        lines += ["[seed]                       # the prompt to start from and to be compared with", *_keys(start.seed)]
    return "\n".join(lines).rstrip() + "\n"


def _keys(table: Mapping[str, str]) -> list[str]:
    bare = re.compile(r"[\w-]+", re.ASCII)
    return [f"{key if bare.fullmatch(key) else _text(key)} = {_text(value)}" for key, value in table.items()]


def _labels(guess: Guess) -> str:
    """Return the section of the labels, with an empty description for each."""
    if not guess.labels:
        return ""
    rows = "".join(f'{_text(label)} = ""\n' for label in guess.labels)
    about = "# The closed list of answers. Describe each in a few words: descriptions can be part of the prompt."
    return f"\n{about}\n[task.labels]\n{rows}"


def _pad(key: str, value: str) -> str:
    """Return a line padded to the column where comments begin."""
    return f"{key} = {value}".ljust(28) + " "


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, except for DEL, which JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(name: str) -> str:
    """Return a file's or column's name in a form that cannot end a comment."""
    return name if name.isprintable() else json.dumps(name)


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"


# --- what the rows can show -------------------------------------------------------------------------------


def facts(data: Dataset, labels: Sequence[str], metric: str) -> list[str]:
    """Return lines on the sizes of the splits, oddities in the rows, and how small a gain they can show.

    `metric` is the name of the task's metric.
    """
    found = audit(data)
    said = [splits(data)]
    said += [f"note: {note}" for note in data.notes]
    said += [
        f"exact duplicates: {len(found.duplicates)} groups, each kept in one split; {len(found.conflicts)} disagree",
        f"near-duplicates: {len(found.near)} pairs; {len(found.leaks)} of them stand in two different splits",
    ]
    said += [f"  {one} ~ {other} ({100 * likeness:.0f} % alike)" for one, other, likeness in found.leaks[:SHOWN_LEAKS]]
    if labels:
        said.append(_balance(data, labels))
    return [*said, power(len(data.dev), len(data.test), metric)]


def splits(data: Dataset) -> str:
    """Return a line with the sizes of the splits."""
    return f"rows: {len(data.train)} train, {len(data.dev)} dev, {len(data.test)} test (sealed until the verdict)"


def least_gain(n: int, metric: str) -> float | None:
    """Return the smallest gain of a metric that so many rows can show; 1 if they cannot show any.

    If rows can be partly right, it is proportional to the assumption `APART`; None if the metric is then not a mean of
    the rows' scores.
    """
    known = METRICS.get(metric)  # None for the user's own metric, a mean of any scores
    if known and not known.graded:
        return shown_gain(n)
    return graded_gain(n, apart=APART) if known is None or known.mean else None


def power(dev: int, test: int, metric: str) -> str:
    """Return a line on how small a gain of a metric the rows can show, and under which assumption."""
    sizes = (("dev", dev, least_gain(dev, metric)), ("test", test, least_gain(test, metric)))
    shown = [f"{n} {name} rows {_power(least, metric)}" for name, n, least in sizes if least is not None]
    if not shown:
        return f"power: how small a gain in {metric} shows depends on the answers; the verdict says it"
    known = METRICS.get(metric)
    assumed = (
        f"whose {metric} of a row lies {100 * APART:.0f} points apart; less or more in proportion"
        if known is None or known.graded
        else "that disagree on a quarter of the rows"
    )
    return f"power: {', '.join(shown)} (80 % power, for two prompts {assumed})"


def _power(least: float, metric: str) -> str:
    known = METRICS.get(metric)
    what = "gains" if known is None or known.mean else "gains in accuracy"  # computed for rows that are right or wrong
    return "are too few to show any gain" if least >= 1 else f"show {what} from about {100 * least:.0f} points"


def _balance(data: Dataset, labels: Sequence[str]) -> str:
    rows = [*data.train, *data.dev, *data.test]
    counts = Counter(
        label
        for row in rows
        for label in ([row.target] if row.target in labels else label_sets.pieces(row.target, label_sets.signs(labels)))
    ).most_common(SHOWN_LABELS)
    shares = ", ".join(f"{label} {100 * count / len(rows):.0f} %" for label, count in counts)
    return f"labels: {len(labels)}: {shares}{', …' if len(labels) > SHOWN_LABELS else ''}"
