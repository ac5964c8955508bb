"""Commands around a search: what it will take, and what other tools may call.

Each parses, calls one function, draws. `cli` puts them into the command line.
"""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optimizer.cli_programs import require_allowed
from optimizer.errors import InputError
from optimizer.options import changed, code_option, db_option, env_option, json_option, program_option, tune_options
from optimizer.terminal import err, next_step, out, out_grid, out_json, stoppable

if TYPE_CHECKING:
    from optimizer.checks import Check
    from optimizer.journey import Watch
    from optimizer.models import Model
    from optimizer.planning import Estimate, Probe, Terms
    from optimizer.preparing import Plan
    from optimizer.task import Task
    from optimizer.task_sections import ModelSpec


@click.command()
@click.argument("task", type=click.Path())
@tune_options
@program_option
@click.option("--offline", is_flag=True, help="Make no call; know only what earlier calls have shown.")
@code_option
@env_option
@db_option
@json_option
def plan(task: str, db: str, offline: bool, allow_code: bool, as_json: bool, **changes: Any) -> None:  # noqa: ANN401
    """Say what `tune` would take on TASK: calls, tokens, dollars and time, and how small a gain the rows can show.

    It takes the options of `tune`. First the seed prompt is asked 5 training rows, to measure what a call takes; a
    program is run on 4, as it came and with the most demos.
    """
    from optimizer import ladder
    from optimizer.journey import Watch
    from optimizer.planning import Terms
    from optimizer.preparing import pace, prepare
    from optimizer.task import load_task

    del changes["quiet"]  # there is no live view
    program = changes.pop("program")
    if program:
        require_allowed(program, allowed=allow_code)
    ready = prepare(changed(load_task(task), changes), allow_code=allow_code)
    ladder.choose(ready.task, labelled=bool(ready.labels))
    model = _priced(ready.task, ready.task.model, keyless=offline)
    beside = {role: _priced(ready.task, spec, keyless=offline) for role, spec in ready.beside.items()}
    say = err if as_json else out
    _say_place(ready, model, beside, say)
    others = {role: Terms(each.price, pace(each, ready.beside[role])) for role, each in beside.items()}
    terms = Terms(model.price, pace(model, ready.task.model), others)
    stop = threading.Event()
    with stoppable(stop, err):
        asked = (ready, model, terms, db, Watch(stop=stop))
        found = _of_program(program, *asked, offline=offline) if program else _of_prompts(*asked, offline=offline)
    _say_rows(ready, found, say)
    if as_json:
        out_json(_plan_record(ready, model, found))
        return
    _estimate_text(ready, found)
    again = [word for word in sys.argv[2:] if word not in {"--offline", "--quiet"}]
    most = ready.task.search.max_calls
    if most and most <= found.held:
        next_step(f"allow more than {found.held:,} calls (--max-calls): `tune` refuses so few")
        return
    next_step(shlex.join(["phrasetune", "tune", *again]))


@click.command()
@click.argument("task", type=click.Path(), required=False)
@click.option("--model", help="Any LiteLLM model, or embedded; that of TASK by default.")
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
    """Check that all is in place: Python, packages, results.db, disk, and with TASK its file, its rows and its model.

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
    """Check the machine, then the task, then its model or the one that is named."""
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


def _priced(task: Task, spec: ModelSpec, *, keyless: bool) -> Model:
    """Open a model of a task, and refuse caps that need a price that nobody knows."""
    from optimizer import front, ledger
    from optimizer.preparing import constraints, task_model

    model = task_model(spec, keyless=keyless)
    ledger.require_price(model, task.search.max_usd)
    front.require_price(model.name, model.price, constraints(task))
    return model


@dataclass(frozen=True)
class _Planned:
    """An estimate and what it is made from.

    `size` is that of the space, `rows` how many of the dev rows the search looks at, `looks` how many answers, `held`
    the calls that are kept for the verdict. `head`, `foot` and `more` are what else is to be said, in text and in JSON.
    """

    estimate: Estimate
    probe: Probe
    size: float
    rows: int
    looks: int
    held: int
    head: Sequence[str]
    foot: Sequence[str]
    more: Mapping[str, Any]


def _of_prompts(ready: Plan, model: Model, terms: Terms, db: str, watch: Watch, *, offline: bool) -> _Planned:
    """Ask the seed prompt a few rows, and estimate what a search of prompts takes."""
    import numpy as np

    from optimizer.planning import estimate
    from optimizer.planning_tables import basis, probe_text
    from optimizer.preparing import dev_rows, held_calls, looks
    from optimizer.probing import probe

    shown = probe(ready, model, db, watch, offline=offline)
    found = estimate(ready, shown, terms, np.random.default_rng(ready.task.search.seed))
    space = f"space: {ready.space.size:,.0f} prompts of {found.prompt.low:,.0f} to {found.prompt.high:,.0f} tokens"
    head = (space, probe_text(shown, terms))
    counts = (ready.space.size, len(dev_rows(ready)), looks(ready), held_calls(ready))
    return _Planned(found, shown, *counts, head, basis(shown, terms), {})


def _of_program(  # noqa: PLR0913 - as above
    name: str, ready: Plan, model: Model, terms: Terms, db: str, watch: Watch, *, offline: bool
) -> _Planned:
    """Run a program on a few rows, and estimate what a search of programs takes."""
    from optimizer.planning_tables import program_basis, program_text
    from optimizer.program_planning import estimate, try_program

    tried = try_program(ready, name, model, db, watch, offline=offline)
    head, more = program_text(tried, terms), {"program": name, "calls_per_row": tried.calls}
    found, foot = estimate(ready, tried, terms), program_basis(terms)
    counts = (tried.size, tried.rows(ready), tried.looks(ready), tried.held)
    return _Planned(found, tried.probe, *counts, head, foot, more)


def _say_place(ready: Plan, model: Model, beside: Mapping[str, Model], say: Callable[[str], None]) -> None:
    """Say where calls go, before anything is sent."""
    from optimizer.models import destination

    place = destination(model)
    say(f"{ready.task.task.name} on {model.name}, judged by {ready.task.metric}")
    say(f"calls go to {place}" if place else "calls do not leave this process")
    for role, other in beside.items():
        place = destination(other)
        say(f"the {role} is {other.name}; its calls {f'go to {place}' if place else 'do not leave this process'}")


def _say_rows(ready: Plan, found: _Planned, say: Callable[[str], None]) -> None:
    """Say what rows there are, how many the search looks at, and what they can show."""
    from optimizer.drafting import power, splits

    say(splits(ready.data))
    if found.rows < len(ready.data.dev):
        say(f"the search looks at {found.rows:,} of the dev rows, as many as {found.looks:,} calls can use")
    say(power(found.rows, len(ready.data.test), ready.task.metric))


def _estimate_text(ready: Plan, found: _Planned) -> None:
    from optimizer.planning_tables import caps_text, estimate_grid

    for line in found.head:
        out(line)
    out()
    out_grid(estimate_grid(found.estimate))
    out()
    for line in found.foot:
        out(line)
    out(caps_text(ready, found.estimate, found.held))


def _plan_record(ready: Plan, model: Model, found: _Planned) -> dict[str, Any]:
    from dataclasses import asdict

    from optimizer.drafting import least_gain
    from optimizer.models import destination
    from optimizer.preparing import caps

    place, data, shown, done = destination(model), ready.data, found.probe, found.probe.completions
    rows = {"train": len(data.train), "dev": len(data.dev), "test": len(data.test)}
    used = {"dev": found.rows, "test": len(data.test)}
    return {
        "task": ready.task.task.name,
        "model": model.name,
        "address": place and place.address,
        "key": place and place.key,
        "price": model.price and [1e6 * each for each in model.price],
        "rows": rows,
        "searched": found.rows,
        "smallest_gain": {name: least_gain(n, ready.task.metric) for name, n in used.items()},
        "space": found.size if found.size != float("inf") else None,
        **found.more,
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
        "caps": asdict(caps(ready.task)),
    }


@click.command()
@db_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8780, show_default=True, help="0 takes any that is free."
)
def dashboard(db: str, port: int) -> None:
    """Show the runs of results.db in a browser on this machine, while they go on, until Ctrl-C."""
    from optimizer.dashboard import serve

    serve(db, port, lambda address: out(f"{db} is shown at {address}; Ctrl-C ends it"))


@click.command("serve-embedded")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; other machines reach 0.0.0.0.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any that is free."
)
def serve_embedded(host: str, port: int) -> None:
    """Serve the embedded model over the OpenAI protocol, for other tools to call, until Ctrl-C."""
    from optimizer.serving import MODEL, serve

    def ready(address: str) -> None:
        out(f"model {MODEL!r} answers at {address}; Ctrl-C ends it")
        next_step(f"OPENAI_API_KEY=none phrasetune tune task.toml --model openai/{MODEL} --api-base {address}")

    serve(host, port, ready)
