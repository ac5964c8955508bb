"""Runs methods on problems, in several processes, and caches the results in a file outside the repository.

A result is cached by a digest of the code that made it, so after a change of the engine only the engine runs again.
Knows the problems and the methods, but no criterion of success.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

from benchmarks import rivals
from benchmarks.landscapes import FAMILIES, landscape
from benchmarks.problems import Params, Problem
from benchmarks.replays import Table, tables
from optimizer import search
from optimizer.events import Decided, Event

ROOT = Path(__file__).resolve().parents[1]
OURS = "ours"
METHODS = (OURS, *rivals.METHODS)
OUR_CALLS = 5_000  # at most; all readings are taken on the way
PROBLEMS = ("benchmarks/problems.py", "benchmarks/landscapes.py", "benchmarks/replays.py")
RIVALS = ("benchmarks/bookkeeping.py", "benchmarks/rivals.py")
ENGINE = (
    "optimizer/search.py",
    "optimizer/selection.py",
    "search_spaces/space.py",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("optimizer/engine/*.py"))),
)
FORM = 1  # of the results in the file: to be raised when `run_race` or `Result` changes
FUTILE = re.compile("futil|to gain|to be gained")  # in the reason why our engine stopped


@dataclass(frozen=True, slots=True)
class Race:
    """One method on one problem: a landscape of a family, or a table of the data folder."""

    source: str
    name: str
    seed: int
    method: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a race.

    `curve` holds (calls, points of regret of the prompt that would be recommended from there on), the first at the
    first recommendation; `start` is the seed prompt's regret. `reason`, `futile`, `claim` and `borne` are of our engine
    alone: why it stopped, whether because nothing is to be gained, whether it claims a gain over the seed prompt, and
    whether the truth bears that out.
    """

    curve: tuple[tuple[int, float], ...]
    start: float
    rows: int
    calls: int
    seconds: float
    reason: str = ""
    futile: bool = False
    claim: bool | None = None
    borne: bool | None = None

    def regret(self, calls: int) -> float:
        """Points that the recommended prompt lies below the best after so many calls."""
        return next((regret for n, regret in reversed(self.curve) if n <= calls), self.start)

    def reached(self, bound: float) -> float:
        """Calls after which the regret is below a bound for the first time; infinite if it never is.

        As with `settled`, an arrival before there were calls for one prompt on all rows counts as after so many.
        """
        return next((max(self.rows, calls) for calls, regret in self.curve if regret < bound), math.inf)

    def settled(self, bound: float, horizons: Sequence[int]) -> float:
        """Calls after which the regret stays below a bound up to a horizon, the first that it does; else infinite.

        The first horizon is the budget of all, later ones are for methods that need more. An arrival before there were
        calls for one prompt on all rows is luck, and counts as after so many: who evaluates in full cannot be earlier.
        """
        for horizon in horizons:
            within = [point for point in self.curve if point[0] <= horizon]
            if within and within[-1][1] < bound:
                above = max((i for i, point in enumerate(within) if point[1] >= bound), default=-1)
                return max(self.rows, within[above + 1][0])
        return math.inf


# --- one race ----------------------------------------------------------------------------------------------


def ours(
    problem: Problem, calls: int, seed: int, follow: Callable[[int, Params], None] = lambda *_: None
) -> search.Found:
    """Run our engine, and tell what it would recommend after each decision."""

    def event(said: Event) -> None:
        if isinstance(said, Decided):
            follow(said.calls, said.params)

    options = search.Options(sampler="pooled", calls=calls, seed=seed)
    return search.run(problem.space, problem.evaluate, problem.rows, options, hooks=search.Hooks(event=event))


def run_race(problem: Problem, method: str, seed: int) -> Result:
    """Run a method on a problem and follow what it recommends."""
    started = time.perf_counter()
    curve: list[tuple[int, float]] = []
    used = [0]

    def follow(calls: int, params: Params) -> None:
        regret = problem.regret(params)
        used[0] = calls
        if not curve or curve[-1][1] != regret:
            curve.append((calls, regret))

    def result() -> Result:
        start, seconds = problem.regret(problem.space.seed()), time.perf_counter() - started
        return Result(tuple(curve), start, len(problem.rows), used[0], seconds)

    if method != OURS:
        for calls, params in rivals.METHODS[method](problem, problem.calls, seed):
            follow(calls, params)
        return result()
    found = ours(problem, min(problem.calls, OUR_CALLS), seed, follow)
    follow(used[0], found.best.params)
    gain = problem.truth(found.best.params) - problem.truth(problem.space.seed())
    claim = getattr(found, "claim", None)
    return replace(result(), reason=found.reason, futile=bool(FUTILE.search(found.reason)), claim=claim, borne=gain > 0)


# --- many of them ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Store:
    """Results in a file of JSON lines, each under a digest of its race and of the code behind it."""

    path: Path

    def load(self) -> dict[str, Result]:
        """Read all results."""
        found = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                curve = tuple((n, regret) for n, regret in record["result"].pop("curve"))
                found[record["key"]] = Result(curve=curve, **record["result"])
        return found

    def add(self, key: str, result: Result) -> None:
        """Write a result at the end of the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "result": asdict(result)}) + "\n")


def run_all(races: Sequence[Race], data: Path, store: Store, jobs: int) -> dict[Race, Result]:
    """Run the races whose results are not stored, and return all results."""
    stored = store.load()
    keys = {race: _key(race, data) for race in races}
    done = {race: stored[key] for race, key in keys.items() if key in stored}
    missing = sorted((race for race in races if race not in done), key=lambda r: (r.source, r.name, r.seed, r.method))
    groups = [list(group) for _, group in groupby(missing, key=lambda r: (r.source, r.name, r.seed))]
    for finished in _spread([(group, data) for group in groups], jobs):
        for race, result in finished:
            store.add(keys[race], result)
            done[race] = result
    return done


def _spread(work: Sequence[tuple[list[Race], Path]], jobs: int) -> Iterator[list[tuple[Race, Result]]]:
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited: threads of numpy's would take the processes' turns
    if jobs <= 1 or len(work) <= 1:
        yield from map(_work, work)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_work, work)


def _work(item: tuple[list[Race], Path]) -> list[tuple[Race, Result]]:
    """Run several methods on one problem."""
    races, data = item
    first = races[0]
    if first.source == "landscape":
        problem = landscape(first.name, first.seed)
    else:
        problem = _tables(data)[first.name].problem(first.seed)
    return [(race, run_race(problem, race.method, race.seed)) for race in races]


@cache
def _tables(data: Path) -> dict[str, Table]:
    return {table.name: table for table in tables(data)}


def all_races(data: Path, sources: Sequence[str], methods: Sequence[str], seeds: dict[str, int]) -> list[Race]:
    """List every race of some sources: `seeds` of each, for "landscape" and "table"."""
    names = {"landscape": list(FAMILIES), "table": list(_tables(data)) if "table" in sources else []}
    return [
        Race(source, name, seed, method)
        for source in sources
        for name in names[source]
        for seed in range(seeds[source])
        for method in methods
    ]


def _key(race: Race, data: Path) -> str:
    parts = [*asdict(race).values(), _code(race.method)]
    if race.source == "table":  # another folder may hold another table of that name
        table = _tables(data)[race.name]
        parts += [table.prompts, round(table.best, 4), round(table.middle, 4)]
    return "|".join(map(str, parts))


@cache
def _code(method: str) -> str:
    """Digest the files whose change may change a method's results."""
    files = [*PROBLEMS, *(ENGINE if method == OURS else RIVALS)]
    text = b"".join((ROOT / name).read_bytes() for name in files)
    return f"{FORM}-{hashlib.sha256(text).hexdigest()[:12]}"
