"""The metric of a run as a Python module, `score(answer, targets)`, for tools that score answers themselves.

A metric that needs a judge, the user's own code or a package cannot be exported: then an answer is correct if it equals
an accepted one, and the note says so. Knows no tool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from optimizer.errors import DataError
from optimizer.exports.literals import Value, literal
from optimizer.exports.proof import NASTY, Facts
from optimizer.exports.sources import Function, imports, load, sources
from optimizer.scores import label_sets, row_metrics
from search_spaces.prompt import Example

OPENING = '''\
"""The score of an answer, as the run that tuned the prompt gave it; needs the standard library alone."""

from __future__ import annotations
'''
SCORE = '''
def score(answer: str | None, targets: Sequence[str]) -> float:
    """Score what was read as an answer by the wanted ones, from 0 to 1; None is an answer that could not be read.

    Where no answer is known to be right, none scores.
    """
    return 0.0 if answer is None or not targets else {call}
'''
EACH = "max({name}(answer, target) for target in targets)"
BY_NAME: Mapping[str, tuple[str, Function]] = {
    "exact_match": (EACH, row_metrics.exact_match),
    "token_f1": (EACH, row_metrics.token_f1),
    "slot_f1": (EACH, row_metrics.slot_f1),
    "rouge_l": (EACH, row_metrics.rouge_l),
    **dict.fromkeys(("accuracy", "macro_f1", "mcc"), ("accuracy(answer, targets)", row_metrics.accuracy)),
    **dict.fromkeys(("kappa", "closeness", "spearman"), ("closeness(LABELS)(answer, targets)", row_metrics.closeness)),
}
SETS = "row(METRIC, LABELS)(answer, targets)"


def is_carried(facts: Facts) -> bool:
    """Return whether the module scores a row as the run did."""
    return facts.metric is not None and (bool(facts.several) or facts.metric.name in BY_NAME)


def score_note(facts: Facts) -> str:
    """Return a note on how rows are scored, and how that differs from the run."""
    if not is_carried(facts):
        return "An answer is right if it equals a wanted one; the run's own metric is not computed there."
    assert facts.metric
    how = f"Answers are read and scored as in the run, by {facts.metric.name}."
    return how if facts.metric.mean else f"{how} That is one figure of all rows, and here the mean of their own scores."


def score_module(facts: Facts) -> str:
    """Return the source of the module."""
    call, constants, functions = _call(facts)
    code = [SCORE.format(call=call), *sources(*functions)]
    lines = [f"{name} = {literal(value)}" for name, value in constants.items()]
    return "\n".join([OPENING, *imports(code), "", *lines, "", "\n\n\n".join(each.strip() for each in code), ""])


def _call(facts: Facts) -> tuple[str, dict[str, Value], list[Function]]:
    if not is_carried(facts):
        return "float(answer in targets)", {}, []
    assert facts.metric
    name = facts.metric.name
    if facts.several:
        return SETS, {"METRIC": name, "LABELS": tuple(facts.several)}, [label_sets.row]
    call, function = BY_NAME[name]
    order: dict[str, Value] = {"LABELS": tuple(facts.metric.order)} if facts.metric.ordered else {}
    return call.format(name=name), order, [function]


def score_fault(path: Path, facts: Facts) -> str:
    """Return where a written module scores differently from the run; empty if nowhere."""
    score: Callable[[str | None, Sequence[str]], float] = load(path).score
    if score(None, ["x"]) or score("x", []):
        return "score() gives something for nothing"
    for row, answer in _answered(facts.rows) if is_carried(facts) else ():
        assert facts.metric
        with suppress(DataError):  # a row from the user may have a target that the metric cannot compare with
            if facts.metric.row(answer, row.targets) != score(answer, row.targets):
                return f"score() scores {answer!r} otherwise for row {row.id!r}"
    return ""


def _answered(rows: Sequence[Example]) -> list[tuple[Example, str]]:
    """Return rows with correct, wrong and difficult answers, of at most 40 rows."""
    judged = [row for row in rows if row.targets][:40]
    said = [*NASTY, *(f" {target.upper()}." for row in judged[:5] for target in row.targets)]
    return [(row, answer) for row in judged for answer in (*row.targets, *said)]
