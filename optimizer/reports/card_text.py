"""Writing a prompt card: as sections for a page, as Markdown, as JSON. Takes a card, prints nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from optimizer.findings import Elsewhere
from optimizer.phrases import agreed, counted
from optimizer.records import Verdict
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
from optimizer.reports.card import UNKNOWN, Card, answered, own
from optimizer.reports.front_tables import constraints_grids, constraints_record
from optimizer.reports.grids import Grid, Section
from optimizer.reports.markdown import fenced, inline, table
from search_spaces.program import PROGRAM
from search_spaces.prompt import Prompt

LOOKED = ("dev", "test")  # splits in which wrong labels are looked for


def record(card: Card) -> dict[str, Any]:
    """Return a card for JSON; what is not known is null. Of rows that look mislabelled, it only has the number."""
    said = asdict(card) | {"responsible": card.responsible or None, "judge": card.judge or None}
    said["program"] = card.program or None
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


def sections(card: Card) -> list[Section]:
    """Return the sections of a card, from which both Markdown and the HTML page are made."""
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
        *([("program", card.program)] if card.program else []),
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
    """Count the demos of a prompt, or those of all steps of a program."""
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
    sizes = {"dev": card.winner.n, "test": answered(verdict, card.origin.rows)}
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


def _away(found: Elsewhere) -> str:
    low, high = found.difference_interval
    points = f"{100 * found.difference:+z.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    return f"{found.name} {percent(found.score)} on {found.n:,} rows, {points} over the test score"


def _runs(n: int) -> str:
    return f"{n:,} different runs" if n > 1 else "1 run"


def _failures(answers: Mapping[str, int]) -> str:
    failed, unread, n = answers.get("error", 0), answers.get("unparsed", 0), sum(answers.values())
    left_out = agreed(failed, "failed and is left out", "failed and are left out")
    wrong = agreed(unread, "answer could not be read and counts", "answers could not be read and count")
    return f"of {counted(n, 'call')} {left_out}; {wrong} as wrong"


def _found(card: Card) -> Iterator[Section]:
    """Yield sections on what was found besides the scores, or that it was not examined."""
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
    yield Section("Drift and labels", (("labels to look at", "; ".join(_looked(card))),), tuple(rows))


def _looked(card: Card) -> Iterator[str]:
    """Yield what came of looking for wrong labels, and where and why nobody looked."""
    suspects = ", ".join(f"{n} {split}" for split, n in _suspects(card.verdict).items())
    if suspects:
        yield f"prompt and baseline agree against the labels of these rows: {suspects}"
    elif len(card.unseen) < len(LOOKED):
        yield "none was found"
    for why in dict.fromkeys(card.unseen.values()):
        splits = [split for split in LOOKED if card.unseen.get(split) == why]
        yield f"not looked for in {' and '.join(splits)} rows: {why}"


def _told(title: str, grids: Sequence[Grid], otherwise: str) -> Section:
    return Section(title, () if grids else (("found", f"{UNKNOWN}: {otherwise}"),), tuple(grids))


def _cost(card: Card) -> tuple[tuple[str, str], ...]:
    ours = own(card.verdict)
    bill = next((b for b in card.verdict.bills if ours and b.name == ours.name), None) if card.verdict else None
    use = f"{dollars(ours.cost_per_1000)}, {ours.ms_per_1000:,.0f} ms" if ours else UNKNOWN
    failed = and_failed(card.failed, card.failed_cost)
    bought = f"{counted(card.bought, 'completion')} bought, {card.reused:,} reused{failed}"
    return (
        ("the run", f"{dollars(card.cost)}; {bought}"),
        ("to find it, labels included", dollars(bill.finding) if bill else UNKNOWN),
        ("1,000 rows", use),
    )


# --- Markdown ---------------------------------------------------------------------------------------------


def markdown(card: Card) -> str:
    """Return a card as Markdown (CommonMark with tables), with all texts escaped."""
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
