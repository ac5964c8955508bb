"""Commands around a search (`plan`, `doctor`) and local servers (`dashboard`, `serve-embedded`).

Each parses its options, calls one function and prints the result. `cli` adds them to the command line.
"""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.commands.options import (
    changed,
    code_option,
    db_option,
    env_option,
    json_option,
    program_option,
    tune_options,
)
from optimizer.commands.terminal import err, next_step, out, out_grid, out_json, stoppable
from optimizer.errors import InputError

if TYPE_CHECKING:
    from optimizer.checks import Check
    from optimizer.outlook import Planned


@click.command()
@click.argument("task", type=click.Path())
@tune_options
@program_option
@click.option("--offline", is_flag=True, help="Make no calls; use only what earlier calls have shown.")
@code_option
@env_option
@db_option
@json_option
def plan(task: str, db: str, offline: bool, allow_code: bool, as_json: bool, **changes: Any) -> None:  # noqa: ANN401
    """Estimate what `tune` will take, before it spends.

    Calls, tokens, dollars and time, and the smallest gain that the rows can detect.

    It takes the options of `tune`. First the seed prompt is asked 5 training rows, to measure what a call takes; a
    program is run on 4, as it came and with the most demos.
    """
    from optimizer.events import Destination, Notice
    from optimizer.outlook import plan as look_ahead
    from optimizer.task import load_task
    from optimizer.watch import Watch

    del changes["quiet"]  # there is no live view
    program, stop, say = changes.pop("program") or "", threading.Event(), err if as_json else out

    def event(told: object) -> None:
        if isinstance(told, Destination | Notice):
            say(told.text if isinstance(told, Notice) else f"calls go to {told}")

    with stoppable(stop, err):
        ours, watch = changed(load_task(task), changes), Watch(event, stop)
        found = look_ahead(ours, db=db, program=program, offline=offline, watch=watch, allow_code=allow_code)
    _say_rows(found, say)
    if as_json:
        out_json(_plan_record(found, program))
        return
    _estimate_text(found)
    again = [word for word in sys.argv[2:] if word not in {"--offline", "--quiet"}]
    most = found.ready.task.search.max_calls
    if most and most <= found.held:
        next_step(f"allow more than {found.held:,} calls (--max-calls): `tune` refuses so few")
        return
    next_step(shlex.join(["phrasetune", "tune", *again]))


@click.command()
@click.argument("task", type=click.Path(), required=False)
@click.option("--model", help="Any LiteLLM model, or embedded; TASK's by default.")
@click.option("--api-base", help="Address of an OpenAI-compatible server.")
@code_option
@env_option
@db_option
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    /,
    task: str | None,
    db: str,
    allow_code: bool,
    as_json: bool,
    **changes: Any,  # noqa: ANN401
) -> None:
    """Check machine, database, task, key, price and model.

    Without TASK: Python, packages, results.db and disk. With TASK also its file, its rows and its model.

    The model is asked for one word, which is all that is bought. Exit code 1 if anything is wrong.
    """
    from dataclasses import asdict

    found, say = [], err if as_json else out
    for check in _checks(task, Path(db), changes, allow_code=allow_code):
        found.append(check)
        say(f"{'WARN' if check.warned else 'OK  ' if check.ok else 'FAIL'}  {check.name:8}  {check.said}")
    wrong = sum(not check.ok for check in found)
    if as_json:
        out_json({"ok": not wrong, "checks": [asdict(check) for check in found]})
    elif wrong:
        out(f"\n{wrong} of {len(found)} checks failed")
    else:
        next_step(f"phrasetune plan {task}" if task else "phrasetune doctor TASK")
    context.exit(1 if wrong else 0)


def _checks(task: str | None, db: Path, options: dict[str, Any], *, allow_code: bool) -> Iterator[Check]:
    """Check the machine, then the task if there is one, then its models or the model named in the options."""
    from optimizer import checks
    from optimizer.task import load_task
    from optimizer.task_sections import ModelSpec

    yield from checks.machine(db)
    ready = None
    if task is not None:
        try:
            ready = changed(load_task(task), dict(options))
        except InputError as error:
            yield checks.Check("task", ok=False, said=str(error))
        else:
            yield checks.Check("task", ok=True, said=f"{task}: {ready.task.kind}, judged by {ready.metric}")
            yield from checks.rows(ready, allow_code=allow_code)
    if ready is not None:
        yield from checks.model(ready, ready.model)
        if ready.judge and ready.metric == "judge":
            yield checks.Check("judge", ok=True, said=f"{ready.judge.model.name} scores the answers; of it:")
            yield from checks.model(ready, ready.judge.model)
        if ready.proposing and ready.proposing != ready.model:
            yield checks.Check("proposer", ok=True, said=f"{ready.proposing.name} proposes wordings; of it:")
            yield from checks.model(ready, ready.proposing)
        if ready.teaching and ready.teaching != ready.model:
            yield checks.Check("teacher", ok=True, said=f"{ready.teaching.name} reasons about training rows; of it:")
            yield from checks.model(ready, ready.teaching)
    elif options["model"]:
        yield from checks.model(None, ModelSpec(name=options["model"], api_base=options["api_base"] or ""))


def _say_rows(found: Planned, say: Callable[[str], None]) -> None:
    """Print the number of rows, how many of them the search uses, and the smallest gain that they can show."""
    from optimizer.drafting import power, splits

    data = found.ready.data
    say(splits(data))
    if found.searched < len(data.dev):
        say(f"the search looks at {found.searched:,} of the dev rows, as many as {found.looks:,} calls can use")
    say(power(found.searched, len(data.test), found.ready.task.metric))


def _estimate_text(found: Planned) -> None:
    from optimizer.reports.planning_tables import (
        basis,
        caps_text,
        estimate_grid,
        probe_text,
        program_basis,
        program_text,
    )

    terms, prompt = found.terms, found.estimate.prompt
    if found.tried:
        head, foot = program_text(found.tried, terms), program_basis(terms)
    else:
        space = f"space: {found.size:,.0f} prompts of {prompt.low:,.0f} to {prompt.high:,.0f} tokens"
        head, foot = [space, probe_text(found.probe, terms)], basis(found.probe, terms)
    for line in head:
        out(line)
    out()
    out_grid(estimate_grid(found.estimate))
    out()
    for line in foot:
        out(line)
    out(caps_text(found.ready, found.estimate, found.held))


def _plan_record(found: Planned, program: str) -> dict[str, Any]:
    from dataclasses import asdict

    from optimizer.drafting import least_gain
    from optimizer.models import destination
    from optimizer.preparing import caps

    task, data, model, shown = found.ready.task, found.ready.data, found.model, found.probe
    place, done = destination(model), shown.completions
    rows = {"train": len(data.train), "dev": len(data.dev), "test": len(data.test)}
    used = {"dev": found.searched, "test": len(data.test)}
    return {
        "task": task.task.name,
        "model": model.name,
        "address": place and place.address,
        "key": place and place.key,
        "price": model.price and [1e6 * each for each in model.price],
        "rows": rows,
        "searched": found.searched,
        "smallest_gain": {name: least_gain(n, task.metric) for name, n in used.items()},
        "space": found.size if found.size != float("inf") else None,
        **({"program": program, "calls_per_row": found.tried.calls} if found.tried else {}),
        "prompt_tokens": found.estimate.prompt,
        "probe": {
            "calls": len(done) + shown.failed,
            "readable": shown.readable,
            "failed": shown.failed,
            "note": shown.note,
            "prompt_tokens": [completion.prompt_tokens for completion in done],
            "completion_tokens": [completion.completion_tokens for completion in done],
            "seconds": [completion.seconds for completion in done],
            "bought": asdict(shown.spent),
        },
        "parts": [asdict(part) for part in found.estimate.parts],
        "total": asdict(found.estimate.total),
        "caps": asdict(caps(task)),
    }


@click.command()
@db_option
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=8780,
    show_default=True,
    help="0 takes any that is free.",
)
def dashboard(db: str, port: int) -> None:
    """Show runs in a browser on this machine, until Ctrl-C."""
    from optimizer.dashboard import serve

    serve(db, port, lambda address: out(f"{db} is shown at {address}; Ctrl-C ends it"))


@click.command("serve-embedded")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; other machines reach 0.0.0.0.")
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0 takes any that is free.",
)
def serve_embedded(host: str, port: int) -> None:
    """Serve the embedded model over the OpenAI protocol.

    For other tools to call, until Ctrl-C.
    """
    from optimizer.serving import MODEL, serve

    def ready(address: str) -> None:
        out(f"model {MODEL!r} answers at {address}; Ctrl-C ends it")
        next_step(f"OPENAI_API_KEY=none phrasetune tune task.toml --model openai/{MODEL} --api-base {address}")

    serve(host, port, ready)
