"""The page: tables and pictures of a run in one HTML file, which loads nothing and sends nothing.

Every text is escaped, and the page's content security policy allows only the script that it was written with.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from optimizer.pages.figures import figures
from optimizer.pages.mistakes import confusions, rows_grid, squares
from optimizer.pages.story import Story
from optimizer.phrases import counted
from optimizer.records import Run
from optimizer.report import (
    best_first,
    comparisons_grid,
    dollars,
    minute,
    prompt_diff,
    run_failed,
    runs_grid,
    slices_grid,
    trials_grid,
    verdict_grid,
    worth_grids,
)
from optimizer.reports import curve_tables, findings_tables
from optimizer.reports.front_tables import constraints_grids, front_grid
from optimizer.reports.grids import Grid, visible
from optimizer.reports.plain import run_record, trial_record, verdict_record

if TYPE_CHECKING:
    import jinja2

LISTED = 500  # trials in the page's table
FEW = 30  # labels whose shares are listed


def page(story: Story, *, live: bool = False) -> str:
    """Draw a run as one HTML page.

    Parameters
    ----------
    story
        The run.
    live
        Whether the page asks its server for news while the run goes on.
    """
    script, verdict = _own("page.js"), story.verdict
    trials = sorted(story.trials, key=best_first)[:LISTED]
    seed = story.trials[0].params if story.trials else {}
    drawn = (
        _environment()
        .get_template("page.html")
        .render(
            story=story,
            run=story.run,
            started=minute(story.run.started),
            bought=counted(story.run.bought, "completion"),
            failed=run_failed(story.run),
            verdict=verdict,
            live=live and story.run.status == "running",
            style=_own("page.css"),
            script=script,
            policy=_policy(script, live=live),
            figures=figures(story),
            verdict_grids=_verdict_grids(story),
            grown=curve_tables.grids(verdict),
            pays_off=curve_tables.pays_off(verdict) if verdict else "",
            found=findings_tables.grids(verdict, story.texts),
            surer=findings_tables.surer(verdict) if verdict else "",
            worth=worth_grids(story.importances, story.ablations),
            front=front_grid(story.run, story.front, seed),
            trials=trials_grid(story.run, trials, story.costs, seed),
            diff=prompt_diff(story.seed_prompt, story.prompt),
            confusions=confusions(story),
            squares=squares(story),
            rows=rows_grid(story),
            splits=splits_grid(story),
            budget=budget_grid(story),
            record=_embedded(story),
        )
    )
    return visible(drawn)


def runs_page(runs: Sequence[Run]) -> str:
    """Draw the list of runs; each number leads to the page of that run."""
    told = {"runs": runs, "grid": runs_grid(runs), "style": _own("page.css")}
    return visible(_environment().get_template("runs.html").render(**told))


def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.PackageLoader("optimizer", "pages")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


@cache
def _own(name: str) -> str:
    return resources.files("optimizer.pages").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str, *, live: bool) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'"]
    rules += ["base-uri 'none'", "form-action 'none'", *(["connect-src 'self'"] if live else [])]
    return "; ".join(rules)


def _embedded(story: Story) -> str:
    """Return the run's figures as JSON that is safe in a page: nothing in it ends the element that holds it."""
    trials = [trial_record(trial, story.costs.get(trial.number, (0, 0.0))) for trial in story.trials]
    record: dict[str, Any] = {"run": run_record(story.run), "trials": trials, "verdict": verdict_record(story.verdict)}
    text = json.dumps(record, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _verdict_grids(story: Story) -> list[Grid]:
    if story.verdict is None:
        return []
    told = story.verdict.findings is not None and story.verdict.findings.groups  # by group, with intervals
    columns = [] if told else sorted({column for row in story.slices.values() for column in row})
    by_slice = [slices_grid(story.verdict, story.slices, column) for column in columns]
    kept = constraints_grids(story.constraints)
    return [verdict_grid(story.verdict), comparisons_grid(story.verdict), *kept, *by_slice]


def splits_grid(story: Story) -> Grid:
    """Show how many rows each split has and, if there are few labels, how often each of them is wanted."""
    counts = {split: Counter(row.target for row in rows) for split, rows in story.rows.items()}
    labels = sorted(set().union(*counts.values()), key=lambda label: -counts["train"][label])
    sizes = ("rows", *(f"{len(story.rows[split]):,}" for split in counts))
    shares = [(label, *(_share(counts[split], label) for split in counts)) for label in labels]
    return Grid("The rows", ("wanted", *counts), (sizes, *(shares if len(labels) <= FEW else ())))


def _share(counts: Counter[str], label: str) -> str:
    return f"{counts[label]:,} ({100 * counts[label] / max(1, counts.total()):.1f} %)"


def budget_grid(story: Story) -> Grid:
    """Show what the run was allowed and what it took."""
    run, search = story.run, story.run.task["search"]
    looked = sum(rows for _, rows in story.walk.asked)

    def cap(name: str, write: str = "{:,}") -> str:
        return write.format(search[name]) if search[name] else "no cap"

    rows = (
        (
            f"answers looked at by the search{', with failed calls' if run.failed else ''}",
            f"{search['calls']:,}",
            f"{looked:,}",
        ),
        ("prompts tried", f"{search['trials']:,}", f"{len(story.trials):,}"),
        ("completions bought", cap("max_calls"), f"{run.bought:,} (and {run.reused:,} reused{run_failed(run)})"),
        ("US dollars", dollars(search["max_usd"]) if search["max_usd"] else "no cap", dollars(run.cost)),
        ("tokens", cap("max_tokens"), "see the ledger"),
        ("minutes", cap("max_minutes", "{:g}"), f"{minute(run.started)} to {minute(run.finished) or 'now'} (UTC)"),
    )
    return Grid("What it was allowed, and what it took", ("", "allowed", "taken"), rows)
