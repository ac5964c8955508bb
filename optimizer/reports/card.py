"""A prompt card: what a prompt is, what it was tuned on, what it scores, what is not known of it.

Takes records; opens nothing, prints nothing. After the model cards of Mitchell et al. 2019 (arXiv 1810.03993): the same
questions, asked of a prompt. What no record says is said to be unknown. A `Card` holds no text of a row but those that
the prompt itself shows, no address and no folder, so that it can be handed on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PureWindowsPath
from typing import Any

from optimizer.contenders import RIVAL
from optimizer.findings import Elsewhere
from optimizer.front import Held
from optimizer.records import Contender, Run, State, Trial, Verdict
from optimizer.report import (
    and_failed,
    comparisons_grid,
    dollars,
    estimated,
    params_text,
    percent,
    shows,
    spread,
    verdict_grid,
)
from optimizer.reports import findings_tables
from optimizer.reports.front_tables import constraints_grids, constraints_record
from optimizer.reports.grids import Grid, Section
from optimizer.reports.markdown import fenced, inline, table
from search_spaces.program import PROGRAM
from search_spaces.prompt import Prompt

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


def record(card: Card) -> dict[str, Any]:
    """Give a card as JSON takes it; what is not known is null. Of rows that look mislabelled their number is told."""
    said = asdict(card) | {"responsible": card.responsible or None, "judge": card.judge or None}
    said["constraints"] = constraints_record(card.constraints)
    said["winner"] = {
        "trial": card.winner.number,
        "dev_score": card.winner.score,
        "dev_interval": card.winner.interval,
        "dev_estimate": card.winner.estimate,
        "dev_credible": card.winner.credible,
        "params": dict(card.winner.params),
        "labels": list(card.winner.prompt.labels),
        "settings": None if card.winner.prompt.template == PROGRAM else asdict(card.winner.prompt.settings),
        "demos": _demos(card.winner.prompt),
    }
    if card.verdict:
        for name in ("curve", "ladder"):
            del said["verdict"][name]
        for contender in said["verdict"]["contenders"]:
            del contender["outcomes"]
        if card.verdict.findings:
            del said["verdict"]["findings"]["cascade"]
            said["verdict"]["findings"]["suspects"] = _suspects(card.verdict)
    return said | {"limits": dict(_limits(card))}


def _suspects(verdict: Verdict | None) -> dict[str, int]:
    found = verdict.findings.suspects if verdict and verdict.findings else ()
    return dict(Counter(suspect.split for suspect in found))


# --- for people -------------------------------------------------------------------------------------------


def sections(card: Card) -> list[Section]:
    """Draw up a card, part by part; Markdown and the page are made from the same parts."""
    return [
        Section("What it is for", _about(card)),
        Section("The prompt", _how(card), text=card.prompt),
        Section("What it was tuned on", _tuned_on(card)),
        _scores(card),
        Section("Limits", tuple(_limits(card))),
        *_found(card),
        Section("Cost", _cost(card)),
    ]


def _about(card: Card) -> tuple[tuple[str, str], ...]:
    judged = f", by the judge {card.judge}" if card.judge else ""
    return (
        ("task", f"{card.task} ({card.kind})"),
        ("what is wanted", card.description or UNKNOWN),
        ("responsible", card.responsible or UNKNOWN),
        ("objective", card.metric + judged),
        ("run", f"{card.run}, trial {card.winner.number}"),
        ("prompts tried", f"{card.tried:,}, of which {card.scored:,} on all dev rows that the search looked at"),
    )


def _how(card: Card) -> tuple[tuple[str, str], ...]:
    prompt = card.winner.prompt
    shown = f", of which {prompt.nearest} are shown for each input" if prompt.nearest else ""
    settings = f"temperature {prompt.settings.temperature:g}, at most {prompt.settings.max_tokens} tokens"
    return (
        ("model", card.origin.model),
        ("version of the model", ", ".join(card.origin.versions) or UNKNOWN),
        ("settings", "as its steps set them" if prompt.template == PROGRAM else settings),
        ("training rows that it holds word for word", f"{_demos(prompt):,}{shown}"),
        ("parameters", params_text(card.winner.params)),
    )


def _demos(prompt: Prompt) -> int:
    """Count the rows that a prompt shows, or the steps of a program together."""
    if prompt.template == PROGRAM:
        return sum(len(step["demos"]) for step in json.loads(prompt.instruction).values())
    return len(prompt.demos)


def _tuned_on(card: Card) -> tuple[tuple[str, str], ...]:
    origin = card.origin
    sizes = ", ".join(f"{n:,} {split}" for split, n in origin.rows.items())
    return (
        ("file", origin.file),
        ("digest of the rows and their splits", origin.data),
        ("columns", f"{', '.join(origin.inputs)} → {origin.target}"),
        ("rows", sizes),
        ("searched (UTC)", f"{origin.started or UNKNOWN} to {origin.finished or UNKNOWN}"),
        ("when and how the rows came about", UNKNOWN),
    )


def _scores(card: Card) -> Section:
    winner = card.winner
    estimate = "" if winner.estimate is None else f"; corrected for the choice {estimated(winner)}"
    dev = f"{percent(winner.score)} (95 % interval {spread(winner.interval)}), on which it was chosen{estimate}"
    kept = tuple(constraints_grids(card.constraints))
    facts = [(f"{card.metric} on {winner.n:,} dev rows", dev)]
    if card.verdict is None:
        return Section("Scores", (*facts, ("on sealed test rows", f"{UNKNOWN}: the run came to no verdict")), kept)
    facts += [("on sealed test rows", card.verdict.sentence)]
    facts += [(c.name, c.detail) for c in card.verdict.contenders if c.name == "trained baseline"]
    return Section("Scores", tuple(facts), (verdict_grid(card.verdict), comparisons_grid(card.verdict), *kept))


def _limits(card: Card) -> Iterator[tuple[str, str]]:
    prompt, verdict = card.winner.prompt, card.verdict
    yield "intended use", "rows like those that it was tuned on"
    sizes = {"dev": card.winner.n, "test": card.origin.rows["test"]}
    what = f"differences in {card.metric}"
    able = [f"{sizes[split]:,} {split} rows {shows(what, gain)}" for split, gain in card.smallest_gain.items()]
    yield "what the rows can show", "; ".join(able) or f"{UNKNOWN}: the run came to no verdict"
    labels = ", ".join(prompt.labels)
    yield "answers", f"{len(prompt.labels)} labels and nothing else: {labels}" if labels else "open texts"
    away = [e for e in (verdict.findings.elsewhere if verdict and verdict.findings else ()) if e.rows == "ood"]
    yield "rows from another domain", "; ".join(map(_away, away)) or f"{UNKNOWN}: not measured"
    ours = own(card.verdict)
    yield "failures", _failures(card.answers[ours.name]) if ours else f"{UNKNOWN}: the run came to no verdict"
    cut = [f"{n:,} of {sum(card.answers[name].values()):,} of the {name}" for name, n in card.cut.items() if n]
    if cut:
        yield "answers cut off at max_tokens", ", ".join(cut)
    yield "test rows opened", f"by {_runs(verdict.opened)} up to the verdict" if verdict else UNKNOWN
    if prompt.calibrated:
        yield "calibration", "answers are chosen by calibrated log-probabilities, which the model must give"
    else:
        yield "calibration", "none: answers are those that the model wrote, without a confidence"
    if verdict and (said := findings_tables.surer(verdict)):
        yield "calibration of the cascade", said


def own(verdict: Verdict | None) -> Contender | None:
    """Find the winner among the contenders: the seed prompt, where none better was found."""
    by_name = {c.name: c for c in verdict.contenders} if verdict else {}
    return by_name.get("best prompt") or by_name.get("seed prompt")


def _away(found: Elsewhere) -> str:
    low, high = found.difference_interval
    points = f"{100 * found.difference:+z.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return f"{found.name} {percent(found.score)} on {found.n:,} rows, {points} over the test score"


def _runs(n: int) -> str:
    return f"{n:,} different runs" if n > 1 else "1 run"


def _failures(answers: Mapping[str, int]) -> str:
    failed, unread, n = answers.get("error", 0), answers.get("unparsed", 0), sum(answers.values())
    return f"of {n:,} calls {failed:,} failed and are left out; {unread:,} answers could not be read and count as wrong"


def _found(card: Card) -> Iterator[Section]:
    """Tell what was found beside the scores, or that nobody looked."""
    verdict = card.verdict
    found = verdict.findings if verdict else None
    if found is None or verdict is None:
        for title in ("Groups", "Robustness", "Drift and labels"):
            yield Section(title, (("found", f"{UNKNOWN}: not looked into"),))
        return
    groups = list(findings_tables.groups_grids(found.groups))
    groups += [findings_tables.gaps_grid(found.gaps)] if found.gaps else []
    groups += [findings_tables.flips_grid(found.flips, verdict.metric)] if found.flips else []
    yield _told("Groups", groups, "the run reports by no column")
    changes: list[Grid] = []
    if found.steadiness:
        changes += [findings_tables.changed_grid(found.changed, verdict.metric)]
        changes += [findings_tables.steadiness_grid(found.steadiness, verdict.metric)]
    yield _told("Robustness", changes, "the winner was not tried under changes")
    rows = [findings_tables.elsewhere_grid(found.elsewhere, verdict.metric)] if found.elsewhere else []
    rows += [findings_tables.drifts_grid(found.drifts)] if found.drifts else []
    rows += [findings_tables.duplicates_grid(found.duplicates)] if found.duplicates else []
    suspects = ", ".join(f"{n} {split}" for split, n in _suspects(verdict).items())
    looked = f"prompt and baseline agree against the labels of these rows: {suspects}" if suspects else "none was found"
    yield Section("Drift and labels", (("labels to look at", looked),), tuple(rows))


def _told(title: str, grids: Sequence[Grid], otherwise: str) -> Section:
    return Section(title, () if grids else (("found", f"{UNKNOWN}: {otherwise}"),), tuple(grids))


def _cost(card: Card) -> tuple[tuple[str, str], ...]:
    ours = own(card.verdict)
    bill = next((b for b in card.verdict.bills if ours and b.name == ours.name), None) if card.verdict else None
    use = f"{dollars(ours.cost_per_1000)}, {ours.ms_per_1000:,.0f} ms" if ours else UNKNOWN
    failed = and_failed(card.failed, card.failed_cost)
    bought = f"{card.bought:,} completions bought, {card.reused:,} reused{failed}"
    return (
        ("the run", f"{dollars(card.cost)}; {bought}"),
        ("to find it, labels included", dollars(bill.finding) if bill else UNKNOWN),
        ("1,000 rows", use),
    )


# --- Markdown ---------------------------------------------------------------------------------------------


def markdown(card: Card) -> str:
    """Write a card as Markdown (CommonMark with tables); no text in it can end its place."""
    lines = [f"# Prompt card: {inline(card.task)}"]
    for section in sections(card):
        lines += ["", f"## {section.title}"]
        lines += (
            ["", *(f"- **{inline(name)}**: {inline(said)}" for name, said in section.facts)] if section.facts else []
        )
        for grid in section.grids:
            lines += ["", f"### {inline(grid.title)}", "", *table(grid)]
        if section.text:
            lines += ["", *fenced(section.text)]
    return "\n".join(lines) + "\n"
