"""What tuning a DSPy program will take, measured beforehand by running it on a few training rows.

It is run as given, and with as many demos as the space allows; other programs of the space lie between. The calls go
through the ledger and belong to no run. Tuning begins with the same calls, so none of them is bought twice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from optimizer.budget import Budget, Spent
from optimizer.calling import may_cost, open_ledger
from optimizer.calls.clerk import Clerk
from optimizer.engine.board import searched
from optimizer.engine.pooled import PICKS
from optimizer.errors import BudgetSpent, InputError
from optimizer.ledger import NOT_BOUGHT
from optimizer.models import Model
from optimizer.planning import OCTETS, Call, Estimate, Probe, Range, Terms, costed, together, unprobed
from optimizer.preparing import Plan, caps
from optimizer.probing import NO_RUN
from optimizer.programs.runs import Judged, Ran, Runner
from optimizer.programs.search import BOOTSTRAP, WORKED, ProgramSearch, Teaching
from optimizer.programs.tasks import held_calls, load_program, program_search, rows_of_task, scorer, space_of
from optimizer.propose import INSTRUCTION, MOST_CALLS, ROOM, drafts
from optimizer.records import Completion, Kind, Request
from optimizer.store import Store
from optimizer.task_sections import PROPOSER, TEACHER
from optimizer.watch import Watch
from search_spaces.program import NEAREST, UNSHOWN, ProgramSpace
from search_spaces.space import Value

ROWS = 4  # each is run twice


@dataclass(frozen=True, slots=True)
class Tried:
    """What a program took on a few training rows: its completions as given, and with the most demos.

    `size` is the number of programs in its space, `steps` that of its predictors, `held` that of the calls set aside
    for the verdict, and `calls` that of the calls per row. `prompt` is the mean number of tokens of a call's prompt,
    from the program as given to one with all demos that the search may show; if these few runs gave fewer demos (they
    come from the program's own work), the rest is extrapolated. `probe` holds both sets of runs, `drafts` the first
    requests to a proposer.
    """

    size: float
    steps: int
    held: int
    calls: float
    prompt: Range
    own: tuple[Completion, ...]
    shown: tuple[Completion, ...]
    probe: Probe
    drafts: tuple[Request, ...]

    def most(self, plan: Plan) -> int:
        """Return how many calls the search may make."""
        options = plan.task.search
        return min(options.calls, options.max_calls - self.held) if options.max_calls else options.calls

    def looks(self, plan: Plan) -> int:
        """Return how many rows the search may have answered, without those that demos come from."""
        calls, worked = self.most(plan), min(WORKED, len(plan.data.train)) * self.calls
        return int((calls - (0 if TEACHER in plan.beside else min(BOOTSTRAP * calls, worked))) / self.calls)

    def rows(self, plan: Plan) -> int:
        """Return how many of the dev rows the search uses."""
        return len(searched(plan.data.dev, self.looks(plan), plan.task.search.seed))


def try_program(plan: Plan, name: str, model: Model, db: str | Path, watch: Watch, *, offline: bool = False) -> Tried:
    """Run a program on a few training rows; with `offline` only look up what was bought before.

    Raises
    ------
    InputError
        If the program cannot be loaded or does not fit the task, or nothing was bought before.
    BudgetSpent
        If the task's caps do not cover it.
    ProviderError
        If the provider refuses every call.
    Interrupted
        If the watch stopped it.
    """
    student, _ = load_program(name, plan.task.folder)
    _, passed_over = space_of(plan, student)
    if passed_over:
        watch.notice(passed_over)
    held = held_calls(plan, student)
    unknown = f"--offline: {db} holds no call of the program yet. Leave --offline out."
    if offline and not Path(db).exists():
        raise InputError(unknown)
    rows, options = rows_of_task(plan), plan.task.search
    # The same rows that the search begins with.
    first = random.Random(f"demos {options.seed}").sample(list(rows.train), len(rows.train))[:ROWS]
    with Store(db, create=not offline, paid=may_cost(model)) as store:
        ledger = open_ledger(model, plan.task.model, store, NO_RUN, Budget(caps(plan.task)), watch)
        with closing(ledger):
            workers = plan.task.model.workers if ledger.pace else 1
            runner = Runner(Judged(scorer(plan, rows)), Clerk(ledger), workers, 0, plan.task.model.max_tokens or 0)
            asked = program_search(plan, student, rows, runner, options.calls)
            asked.open(Teaching(student, runner, ROWS), begun=offline)
            found = list[list[Ran]]()
            longest = _longest(asked.space)
            for params in (asked.space.seed(), longest):
                program = asked.set(asked.space.build(params))
                with suppress(BudgetSpent):  # then the first run must do
                    found.append(runner.run([(program, rows.known[row.id]) for row in first], recalling=offline))
            spent = ledger.budget.spent
    runs = [ran for each in found for ran in each if not _unasked(ran)]
    if not any(not completion.error for ran in runs for completion in ran.bought):
        failed = next((ran.feedback for ran in runs if ran.kind is Kind.ERROR), "it asked its model nothing")
        raise InputError(unknown if offline else f"program {name!r}: no call of it was answered ({failed}). Mend it.")
    return _tried(plan, asked, found, longest, spent, held)


def _unasked(ran: Ran) -> bool:
    """Whether a run needed an answer that was not bought before, and was not allowed to buy it."""
    return ran.kind is Kind.ERROR and NOT_BOUGHT in ran.feedback


def _longest(space: ProgramSpace) -> dict[str, Value]:
    """Return the parameters of the program as given, with as many demos as the space allows."""
    params: dict[str, Value] = space.seed()
    for name in (predictor.name for predictor in space.predictors):
        kinds = {str(kind) for kind in space[f"{name}.demos"].choices} - UNSHOWN
        drawn = {kind for kind in kinds if not kind.endswith(NEAREST)}
        if kinds:
            most: dict[str, Value] = {"demos": max(drawn or kinds), "k": max(space[f"{name}.k"].values), "draw": 0}
            params |= {f"{name}.{part}": value for part, value in most.items()}
    return params


def _tried(
    plan: Plan,
    asked: ProgramSearch,
    found: Sequence[Sequence[Ran]],
    longest: Mapping[str, Value],
    spent: Spent,
    held: int,
) -> Tried:
    own, shown = (tuple(c for ran in runs for c in ran.bought if not c.error) for runs in (*found, ())[:2])
    runs = [ran for each in found for ran in each if not _unasked(ran)]
    failed = [ran.feedback for ran in runs if ran.kind is Kind.ERROR]
    probe = Probe(
        (), (*own, *shown), sum(ran.prediction is not None for ran in runs), len(failed), next(iter(failed), ""), spent
    )
    names = [predictor.name for predictor in asked.space.predictors]
    known = {f"{name}.{INSTRUCTION}": [*asked.space[f"{name}.{INSTRUCTION}"].texts.values()] for name in names}
    ground = asked.ground(plan.task.task.description, plan.task.proposal_tokens or ROOM)
    requests = tuple(ask.request for ask in drafts(ground, known))
    calls = sum(len(ran.bought) for ran in runs) / max(1, sum(bool(ran.bought) for ran in runs))
    least = _mean(own or shown)
    settings = asked.space.settings(asked.space.build(longest))
    wanted = {name: int(longest[f"{name}.k"]) for name in names if f"{name}.k" in longest}  # as if there were enough
    demos = [demo for name, most in wanted.items() for demo in settings[name].demos[:most]]
    octets = sum(len(str(value).encode()) for demo in demos for value in dict(demo).values())
    more = _mean(shown) - least if shown else octets / OCTETS / len(names)
    prompt = Range(least, least + max(0.0, more) * sum(wanted.values()) / max(1, len(demos)))
    return Tried(asked.space.size, len(names), held, calls, prompt, own or shown, shown, probe, requests)


def _mean(completions: Sequence[Completion]) -> float:
    return sum(completion.prompt_tokens for completion in completions) / len(completions)


def estimate(plan: Plan, tried: Tried, terms: Terms) -> Estimate:
    """Estimate what tuning takes, part by part."""
    options, dev, test = plan.task.search, tried.rows(plan), len(plan.data.test)
    least, _ = tried.prompt
    own, some = _call(Range(least, least), tried.own), _call(tried.prompt, [*tried.own, *tried.shown])
    # At least: the program as given and the leader on all dev rows, in a search that finds nothing to gain.
    searching = Range(min(tried.most(plan), 2 * dev * tried.calls), tried.most(plan))
    judged = Range(test * tried.calls, test * tried.calls)
    parts = [
        costed("search", [(searching, some)], terms, PICKS * options.block),
        costed("verdict", [(judged, own), (Range(0, judged.high), some)], terms),
    ]
    if proposing := terms.beside.get(PROPOSER):
        parts.append(costed("proposals", [(Range(0, MOST_CALLS), unprobed(tried.drafts))], proposing))
    if teaching := terms.beside.get(TEACHER):
        lessons = min(options.worked, len(plan.data.train)) * tried.calls
        parts.insert(0, costed("worked demos", [(Range(lessons, lessons), own)], teaching))
    return Estimate(tuple(parts), together(parts), some.prompt)


def _call(prompt: Range, tried: Sequence[Completion]) -> Call:
    """Return what a call takes, with the range of answer tokens and seconds."""
    written, seconds = [c.completion_tokens for c in tried], [c.seconds for c in tried]
    return Call(prompt, Range(min(written), max(written)), Range(min(seconds), max(seconds)))
