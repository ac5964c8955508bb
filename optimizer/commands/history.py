"""The commands that compare results with each other, with limits and with new answers: `compare`, `assert`, `recheck`.

Each parses its options, calls one function and prints the result. `cli` adds them to the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.options import db_option, env_option, json_option, run_option
from optimizer.commands.terminal import err, next_step, out, out_grid, out_json, stoppable, where
from optimizer.errors import ExportError, InputError

if TYPE_CHECKING:
    from optimizer.assertions import Assertion
    from optimizer.exports import Target


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--run", metavar="N", type=int, help="Number of the run whose trials A and B are.")
@db_option
@click.option(
    "--rows", default=10, show_default=True, metavar="N", type=click.IntRange(0), help="Rows fixed and broken to list."
)
@json_option
def compare(a: str, b: str, run: int | None, db: str, rows: int, as_json: bool) -> None:
    """Compare two prompts on the rows that both have answered.

    What prompt B gains over prompt A, which rows it fixes and which it breaks.

    `compare 1 2` takes the winners of two runs, `compare 1:12 2:40` trials of them, `compare --run 1 12 40` trials of
    one. Winners and seed prompts are compared on the sealed test rows where both runs have opened them, others on dev
    rows.
    """
    from optimizer.comparing import named, side_by_side
    from optimizer.reports.comparing_tables import diff, grids, record, sentence

    found = side_by_side(db, named(a, run), named(b, run))
    if as_json:
        out_json(record(found))
        return
    for grid in grids(found, rows):
        out_grid(grid) if grid.rows else out(grid.title)
        out()
    out(f"Difference of the prompts:\n\n{diff(found) or '(none in the text)'}\n")
    out(sentence(found))
    next_step(f"phrasetune show {found.b.trial.number}{where(db, found.b.run.id)}")


@click.command("assert")
@run_option
@db_option
@click.option(
    "--min-score", metavar="X", type=click.FloatRange(-1, 1), help="Least score on the test rows: 0.8 for 80 %."
)
@click.option("--no-regression-from", "before", metavar="RUN", help="No loss is shown against the winner of RUN.")
@click.option(
    "--max-drop", metavar="X", type=click.FloatRange(0, 100), help="With it: at most so many points less, shown or not."
)
@click.option("--lower-bound", is_flag=True, help="Hold the lower 95 % limit to --min-score and --max-drop.")
@click.option("--max-cost-per-1000", metavar="X", type=click.FloatRange(0), help="Most US dollars per 1,000 rows.")
@click.option("--junit", type=click.Path(), help="JUnit XML file to write; a former one is replaced.")
@json_option
def assert_(run: int | None, db: str, junit: str | None, as_json: bool, **limits: Any) -> None:  # noqa: ANN401
    """Check the winner against limits, for a pipeline.

    The exit code is 0, or 1 if a limit is broken.

    The winner is judged on the run's sealed test rows; where no better prompt was found, it is the seed prompt.
    """
    from dataclasses import asdict

    from optimizer.archive import History
    from optimizer.assertions import assertions_grid, junit_xml

    target = _junit_target(junit)
    found = History(db).run(run, won=True)
    assertions = _assertions(db, found.id, **limits)
    kept = all(assertion.holds for assertion in assertions)
    title = f"{found.name}, run {found.id}"
    if target:
        from optimizer.exports import write_bytes

        err(f"{write_bytes(junit_xml(title, assertions).encode(), target)}: written")
    if as_json:
        out_json({"run": found.id, "holds": kept, "assertions": [asdict(assertion) for assertion in assertions]})
    else:
        out_grid(assertions_grid(title, assertions))
    click.get_current_context().exit(0 if kept else 1)


def _assertions(db: str, run: int, **limits: Any) -> list[Assertion]:  # noqa: ANN401 - as click gives them
    from optimizer.archive import History
    from optimizer.assertions import cost_at_most, drop_at_most, no_regression, score_at_least
    from optimizer.comparing import Named, named, side_by_side
    from optimizer.contenders import rivalled

    least, before, drop, lower = (limits[name] for name in ("min_score", "before", "max_drop", "lower_bound"))
    if nan := [name for name, value in limits.items() if value != value]:  # noqa: PLR0124 - true of nan alone
        raise InputError(f"--{nan[0].replace('_', '-')} is nan, which nothing reaches. Give a number.")
    if drop is not None and before is None:
        raise InputError("--max-drop says against no run. Give --no-regression-from RUN with it.")
    if lower and least is None and drop is None:
        raise InputError("--lower-bound has nothing to hold. Give --min-score or --max-drop with it.")
    if least is None and before is None and limits["max_cost_per_1000"] is None:
        raise InputError(
            "nothing to assert; allowed: --min-score, --no-regression-from, --max-cost-per-1000. Give one."
        )
    verdict = History(db).verdict(run)
    if verdict is None:
        raise InputError(f"run {run} has no verdict. Finish it, or see in `phrasetune history` why it has none.")
    winner, asserted = rivalled(verdict), []
    if least is not None:
        asserted.append(score_at_least(winner, least, lower_bound=lower))
    if before is not None:
        compared = side_by_side(db, named(before), Named(run))
        asserted.append(no_regression(compared) if drop is None else drop_at_most(compared, drop, lower_bound=lower))
    if (most := limits["max_cost_per_1000"]) is not None:
        asserted.append(cost_at_most(winner, most))
    return asserted


def _junit_target(path: str | None) -> Target | None:
    """Return where the report goes; of existing files, only an earlier report is replaced."""
    from optimizer.exports import Target

    if path is None:
        return None
    file = Path(path)
    former = file.is_file() and b"<testsuites " in file.read_bytes()[:200]
    if file.exists() and not former:
        raise ExportError(f"{path}: exists already and is no JUnit report; it was left as it is. Choose another name.")
    target = Target(file.parent, file.name, former)
    target.check()
    return target


@click.command()
@run_option
@click.option(
    "--rows", default=50, show_default=True, metavar="N", type=click.IntRange(1), help="How many rows to ask."
)
@click.option(
    "--max-calls", metavar="N", type=click.IntRange(0), default=0, help="Hard cap on calls bought; 0: no cap."
)
@click.option(
    "--max-usd", metavar="X", type=click.FloatRange(0), default=0.0, help="Hard cap on US dollars; 0: no cap."
)
@env_option
@db_option
@json_option
def recheck(run: int | None, rows: int, max_calls: int, max_usd: float, db: str, as_json: bool) -> None:
    """Buy the winner's answers again, to see whether the provider has changed.

    It is asked rows that it has answered before, the same ones each time, so that a trend can be seen. A recheck that
    was stopped can be resumed for a day.
    """
    import threading

    from optimizer.archive import History
    from optimizer.events import Destination, Notice
    from optimizer.phrases import counted
    from optimizer.rechecking import recheck as ask_again
    from optimizer.reports.rechecking_tables import record, sentences, trend_grid
    from optimizer.watch import Watch

    def event(told: object) -> None:
        if isinstance(told, Destination):
            err(f"calls go to {told}")
        elif isinstance(told, Notice):
            err(f"note: {told.text}")

    stop, chosen = threading.Event(), History(db).run(run, won=True)
    with stoppable(stop, err):
        found = ask_again(chosen, rows=rows, max_calls=max_calls, max_usd=max_usd, db=db, watch=Watch(event, stop))
    if as_json:
        out_json(record(found))
        return
    out(f"run {chosen.id}, trial {chosen.winner} on {chosen.model}: {counted(found.bought, 'completion')} bought")
    out_grid(trend_grid(found.all, chosen.metric))
    out("\n" + "\n".join(sentences(found)))
    next_step(f"phrasetune show {chosen.winner}{where(db, chosen.id)}")
