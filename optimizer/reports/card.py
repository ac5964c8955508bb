"""A prompt card: what a prompt is, what it was tuned on, what it scores, and what is not known about it.

Takes records; opens no file, prints nothing. Modelled on the model cards of Mitchell et al. 2019 (arXiv 1810.03993),
with the same questions about a prompt. What the records do not say is marked as unknown. A `Card` has no texts of rows
except those that the prompt itself shows, no address and no folder, so that it can be shared.
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
ABSOLUTE = re.compile(r"(?:^|(?<=/))/.*/|^(?:~|[A-Za-z]:)[\\/].*[\\/]")  # folders of a path, also after "provider/"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a prompt was tuned on, and when; times are UTC in ISO 8601.

    `data` is the digest of all rows and their splits, `rows` the size of each split. `versions` are the provider's
    names of the model versions that gave this prompt's answers; empty if it does not return them.
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
    """All that is known about the winner of a finished run, a prompt or the `program` of that name.

    `answers` counts, for each contender, the kinds of its outcomes on the test rows, and `cut` how many of its answers
    there were cut off at `max_tokens`. `smallest_gain` is the smallest difference that the rows of a split can show, if
    known. `constraints` are those of the search, with the winner's values on the rows of a split. `unseen` says of a
    split why no wrong labels were looked for in it. `responsible` is
    empty, and `verdict` None, if they are not known; the verdict comes without its outcomes and its learning curve.
    """

    run: int
    task: str
    program: str
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
    unseen: Mapping[str, str]


def make(  # noqa: PLR0913 - a card is made from so many records
    run: Run,
    trials: Sequence[Trial],
    prompt: str,
    *,
    rows: Mapping[str, int],
    versions: Sequence[str],
    verdict: Verdict | None,
    kept: Mapping[str, Sequence[Held]],
    unseen: Mapping[str, str],
) -> Card:
    """Make a card.

    Parameters
    ----------
    run
        A finished run with a winner.
    trials
        All its trials.
    prompt
        The winner as readable text.
    rows
        Split -> number of rows.
    versions
        The provider's names of the model versions that gave the winner's answers.
    verdict
        The verdict, if the run has one.
    kept
        Split -> the winner's value of each constraint of the search.
    unseen
        Split -> why no wrong labels were looked for in it.
    """
    about, data = run.task["task"], run.task["data"]
    judge = run.task["judge"]["model"]["name"] if about["metric"] == "judge" else ""
    file, model = file_name(data["file"]), placeless(run.model)
    dates = run.started, run.finished
    origin = Origin(file, run.data, tuple(data["inputs"]), data["target"], dict(rows), model, tuple(versions), *dates)
    contenders = verdict.contenders if verdict else ()
    winner = next(trial for trial in trials if trial.number == run.winner)
    return Card(
        run.id,
        about["name"],
        run.program,
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
        *(run.bought, run.reused, run.cost, run.failed, None if run.cost is None else run.failed_cost),
        {c.name: dict(Counter(outcome.kind.value for outcome in c.outcomes)) for c in contenders},
        {c.name: sum(outcome.cut for outcome in c.outcomes) for c in contenders},
        _gains(run.metric, winner.n, answered(verdict, rows), verdict),
        verdict and _handed_on(verdict, run.task),
        kept,
        unseen,
    )


def _gains(metric: str, dev: int, test: int, verdict: Verdict | None) -> dict[str, float]:
    """Return split -> the smallest difference its rows can show: from their number if right or wrong, else measured."""
    from optimizer.power import shown_gain
    from optimizer.scores.metrics import METRICS
    from optimizer.verdict import least

    if metric in METRICS and METRICS[metric].mean and not METRICS[metric].graded:
        return {"dev": shown_gain(dev), "test": shown_gain(test)}
    compared = sorted(verdict.comparisons if verdict else (), key=lambda comparison: comparison.b != RIVAL)
    return {"test": least(compared[0], test)} if compared else {}


def placeless(name: str) -> str:
    """Remove the folders of an absolute path."""
    return ABSOLUTE.sub("", name)


def file_name(path: str) -> str:
    """Remove all folders of a path, of any operating system."""
    return PureWindowsPath(path).name


def _handed_on(verdict: Verdict, task: Mapping[str, Any]) -> Verdict:
    """Remove from a verdict what a card does not show: the answers, and the folders of models and files."""
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


def answered(verdict: Verdict | None, rows: Mapping[str, int]) -> int:
    """Return how many test rows the winner has a score on: all of them, but for calls that failed."""
    ours = own(verdict)
    return ours.n if ours else rows["test"]


def own(verdict: Verdict | None) -> Contender | None:
    """Return the winner among the contenders, which is the seed prompt if none better was found."""
    by_name = {c.name: c for c in verdict.contenders} if verdict else {}
    return by_name.get("best prompt") or by_name.get("seed prompt")
