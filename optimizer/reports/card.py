"""A prompt card: what a prompt is, what it was tuned on, what it scores, what is not known of it.

Takes records; opens nothing, prints nothing. After the model cards of Mitchell et al. 2019 (arXiv 1810.03993): the same
questions, asked of a prompt. What no record says is said to be unknown. A `Card` holds no text of a row but those that
the prompt itself shows, no address and no folder, so that it can be handed on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

from optimizer.contenders import RIVAL
from optimizer.front import Held
from optimizer.records import Contender, Run, State, Trial, Verdict

UNKNOWN = "unknown"
ABSOLUTE = re.compile(r"(?:^|(?<=/))/.*/|^(?:~|[A-Za-z]:)[\\/].*[\\/]")  # folders of a path, also behind "provider/"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a prompt was tuned on, and when; times are UTC in ISO 8601.

    `data` is the digest of all rows and their splits, `rows` the size of each split. `versions` is what the provider
    called the model behind the answers of this prompt; empty where it does not say.
    """

    file: str
    data: str
    inputs: tuple[str, ...]
    target: str
    rows: Mapping[str, int]
    model: str
    versions: tuple[str, ...]
    started: str
    finished: str


@dataclass(frozen=True, slots=True)
class Card:
    """All that is known of the winner of a finished run.

    `answers` counts, for each contender, what came of its calls on the test rows, and `cut` how many of its answers
    there ended at their bound; `smallest_gain` is the least difference that the rows of a split can show, as far as it
    is known; `constraints` are those of the search, as the winner keeps them on the rows of a split. `responsible` is
    empty, and `verdict` None, where they are not known; the verdict is without its outcomes and its learning curve.
    """

    run: int
    task: str
    kind: str
    description: str
    responsible: str
    metric: str
    judge: str
    origin: Origin
    prompt: str
    winner: Trial
    tried: int
    scored: int
    bought: int
    reused: int
    cost: float | None
    failed: int
    failed_cost: float | None
    answers: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, int]
    smallest_gain: Mapping[str, float]
    verdict: Verdict | None
    constraints: Mapping[str, Sequence[Held]]


def make(  # noqa: PLR0913 - a card is put together from as many records
    run: Run,
    trials: Sequence[Trial],
    prompt: str,
    *,
    rows: Mapping[str, int],
    versions: Sequence[str],
    verdict: Verdict | None,
    kept: Mapping[str, Sequence[Held]],
) -> Card:
    """Put a card together.

    Parameters
    ----------
    run
        A finished run with a winner.
    trials
        All its trials.
    prompt
        The winner's text as a person reads it.
    rows
        Split -> number of rows.
    versions
        What the provider called the model behind the winner's answers.
    verdict
        The verdict, if the run has come to one.
    kept
        Split -> what the winner has of each constraint of the search.
    """
    about, data = run.task["task"], run.task["data"]
    judge = run.task["judge"]["model"]["name"] if about["metric"] == "judge" else ""
    file = file_name(data["file"])
    model = placeless(run.model)
    dates = run.started, run.finished
    origin = Origin(file, run.data, tuple(data["inputs"]), data["target"], dict(rows), model, tuple(versions), *dates)
    contenders = verdict.contenders if verdict else ()
    winner = next(trial for trial in trials if trial.number == run.winner)
    return Card(
        run.id,
        about["name"],
        about["kind"],
        about["description"],
        about.get("responsible", ""),
        run.metric,
        placeless(judge),
        origin,
        prompt,
        replace(winner, outcomes=()),
        len(trials),
        sum(trial.state is State.COMPLETE for trial in trials),
        run.bought,
        run.reused,
        run.cost,
        run.failed,
        None if run.cost is None else run.failed_cost,
        {c.name: dict(Counter(outcome.kind.value for outcome in c.outcomes)) for c in contenders},
        {c.name: sum(outcome.cut for outcome in c.outcomes) for c in contenders},
        _gains(run.metric, winner.n, rows["test"], verdict),
        verdict and _handed_on(verdict, run.task),
        kept,
    )


def _gains(metric: str, dev: int, test: int, verdict: Verdict | None) -> dict[str, float]:
    """Split -> the least difference that its rows show: by their number of rows right or wrong, else as measured."""
    from optimizer.power import shown_gain
    from optimizer.scores.metrics import METRICS
    from optimizer.verdict import least

    if metric in METRICS and METRICS[metric].mean and not METRICS[metric].graded:
        return {"dev": shown_gain(dev), "test": shown_gain(test)}
    compared = sorted(verdict.comparisons if verdict else (), key=lambda comparison: comparison.b != RIVAL)
    return {"test": least(compared[0], test)} if compared else {}


def placeless(name: str) -> str:
    """Leave the folders of an absolute path out."""
    return ABSOLUTE.sub("", name)


def file_name(path: str) -> str:
    """Leave all folders of a path out, whichever system wrote it."""
    return PureWindowsPath(path).name


def _handed_on(verdict: Verdict, task: Mapping[str, Any]) -> Verdict:
    """Leave out of a verdict what a card does not tell: each answer, and where models and files lie."""
    baseline = task.get("baseline", {})
    named = [baseline.get(kind, {}).get("model", "") for kind in ("encoder", "lora", "provider")]
    named += [task["data"].get(file, "") for file in ("file", "ood", "unlabelled")]

    def told(text: str) -> str:
        for name in named:
            text = text.replace(name, placeless(name)) if name else text
        return text

    contenders = tuple(replace(c, outcomes=(), detail=told(c.detail)) for c in verdict.contenders)
    return replace(verdict, contenders=contenders, sentence=told(verdict.sentence), curve=None, ladder=())


# --- machine-readable -------------------------------------------------------------------------------------


def own(verdict: Verdict | None) -> Contender | None:
    """Find the winner among the contenders: the seed prompt, where none better was found."""
    by_name = {c.name: c for c in verdict.contenders} if verdict else {}
    return by_name.get("best prompt") or by_name.get("seed prompt")
