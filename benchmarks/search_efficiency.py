"""How many calls does a search need? Our engine against the usual methods, where the truth about prompts is known.

    python benchmarks/search_efficiency.py --source landscape table --jobs 2 --log
    python benchmarks/search_efficiency.py --source live

Sources: "landscape" (synthetic, see `landscapes`), "table" (answers and accuracies of real models, see `replays`) and
"live" (other packages on a served model, see `live`). Prints one table; each line compares our engine with the best of
the other methods that its criterion names. A call is one answer of one prompt on one row; regret is how many points of
accuracy the recommended prompt is below the best one in the space.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.landscapes import CALLS, FAMILIES
from benchmarks.problems import Params, Problem
from benchmarks.races import METHODS, OUR_CALLS, OURS, ROOT, Race, Result, Store, all_races, run_all
from benchmarks.replays import LIST_CALLS, Table, tables

LOG = ROOT / "benchmarks" / "LOG.md"
DATA = ROOT.parent / "shared" / "data" / "tabular"
CACHE = Path(tempfile.gettempdir()) / "phrasetune-benchmark"
SEEDS = {"landscape": 40, "table": 24}
READINGS = (500, 1000, 2000, 5000)

CLASSIC = ("random", "tpe", "tpe-halving", "mipro", "capo")  # rivals on a structured space
NOT_HALVING = ("random", "tpe", "tpe-halving", "mipro", "capo")
TOLD = (8, 16, 32, 64, 128)  # prompts
NEAR, NEARER = 5.0, 2.0  # points of regret at which a search has arrived: in a large space, in a list


@dataclass(frozen=True)
class Bar:
    """Ours must be at most `share` of the best of some methods; without methods, at most `share` itself."""

    share: float
    against: tuple[str, ...] = ()

    def judge(self, values: Mapping[str, float]) -> tuple[float, str]:
        """Compute our share, and say whether the bar is passed; "-" if nobody arrives whom it names."""
        mine = values.get(OURS, math.nan)
        rivals = [values[name] for name in self.against if name in values and math.isfinite(values[name])]
        if math.isnan(mine) or (self.against and not rivals):
            return math.nan, "-"
        share = mine / max(min(rivals), 1e-9) if self.against else mine
        return share, "pass" if share <= self.share else "FAIL"


@dataclass(frozen=True)
class Line:
    """A line of the table: a value for each method."""

    where: str
    what: str
    values: Mapping[str, float]
    bar: Bar | None = None
    percent: bool = False


Results = Mapping[Race, Result]


def _by_method(results: Results, names: Sequence[str], measure: Callable[[list[Result]], float]) -> dict[str, float]:
    """Apply a measure to the results of each method on some problems."""
    found: dict[str, float] = {}
    for method in METHODS:
        of_it = [result for race, result in results.items() if race.method == method and race.name in names]
        if of_it:
            found[method] = measure(of_it)
    return found


def _median_regret(calls: int) -> Callable[[list[Result]], float]:
    return lambda results: statistics.median(result.regret(calls) for result in results)


def _mean_regret(calls: int) -> Callable[[list[Result]], float]:
    return lambda results: statistics.fmean(result.regret(calls) for result in results)


def _arrival(results: list[Result]) -> float:
    return statistics.median(result.reached(NEAR) for result in results)


def _stay(results: list[Result]) -> float:
    return statistics.median(result.settled(NEAR, (OUR_CALLS, CALLS)) for result in results)


def _arrival_in_list(results: list[Result]) -> float:
    return min(LIST_CALLS, statistics.median(min(LIST_CALLS, r.settled(NEARER, (LIST_CALLS,))) for r in results))


def _futile(results: list[Result]) -> float:
    return statistics.fmean(result.futile for result in results)


def _false_claims(results: list[Result]) -> float:
    if any(result.claim is None for result in results):
        return math.nan
    return statistics.fmean(bool(result.claim and not result.borne) for result in results)


def landscape_lines(results: Results) -> list[Line]:
    """Regret on the way, and calls until it stays small, for each family of landscapes."""
    lines = []
    for family in FAMILIES:
        if not any(race.name == family for race in results):
            continue
        for calls in READINGS:
            bar = Bar(0.7, CLASSIC) if calls == 2000 and family != "flat" else None
            values = _by_method(results, [family], _median_regret(calls))
            lines.append(Line(family, f"median regret at {calls:,}", values, bar))
        if family == "flat":
            lines += _flat_lines(results, [family], family)
            continue
        for what, measure in (("", _arrival), ("stay ", _stay)):
            values = _by_method(results, [family], measure)
            lines.append(Line(family, f"median calls to {what}< {NEAR:g}", values, Bar(0.4, CLASSIC)))
    return lines


def table_lines(results: Results, found: Sequence[Table]) -> list[Line]:
    """Grids: mean regret. Lists with something to gain: calls until the regret stays small. Flat lists: honesty."""
    run = {race.name for race in results}
    grids = [table.name for table in found if table.family == "grid" and table.name in run]
    lists = [table for table in found if table.family == "list" and table.name in run]
    steep, flat = [t.name for t in lists if not t.flat], [t.name for t in lists if t.flat]
    lines = []
    if grids:
        for calls in READINGS[:3]:
            bar = Bar(0.5, (*CLASSIC, "halving")) if calls == 1000 else None
            values = _by_method(results, grids, _mean_regret(calls))
            lines.append(Line(f"{len(grids)} grids", f"mean regret at {calls:,}", values, bar))
    if steep:
        where = f"{len(steep)} lists, spread > 3"
        by_table = [_by_method(results, [name], _arrival_in_list) for name in steep]
        values = {method: statistics.geometric_mean(each[method] for each in by_table) for method in by_table[0]}
        what = f"calls to stay < {NEARER:g}, geometric mean"
        lines += [Line(where, what, values, Bar(0.9, ("halving",))), Line(where, what, values, Bar(2 / 3, NOT_HALVING))]
        lines += [Line(where, f"mean regret at {n:,}", _by_method(results, steep, _mean_regret(n))) for n in READINGS]
    if flat:
        where = f"{len(flat)} lists, spread <= 3"
        lines += [Line(where, f"mean regret at {n:,}", _by_method(results, flat, _mean_regret(n))) for n in READINGS]
        lines += _flat_lines(results, flat, where)
    return lines


def _flat_lines(results: Results, names: Sequence[str], where: str) -> list[Line]:
    mine = {race: result for race, result in results.items() if race.method == OURS}
    return [
        Line(where, "stopped for futility", _by_method(mine, names, _futile), percent=True),
        Line(where, "claimed a gain that is none", _by_method(mine, names, _false_claims), Bar(0.05), percent=True),
    ]


def floors(found: Sequence[Table], seeds: int) -> str:
    """Say how far the best dev mean of all prompts, each asked every row, lies below the best: a search's floor."""
    said = []
    for what, kind in (("grids", "grid"), ("lists, spread > 3", "list")):
        some = [table for table in found if table.family == kind and not (kind == "list" and table.flat)]
        if some:
            regrets = [[_dev_choice(table.problem(seed)) for seed in range(seeds)] for table in some]
            apart = sum(statistics.median(each) >= NEARER for each in regrets)
            mean = statistics.fmean(itertools.chain.from_iterable(regrets))
            said.append(f"{len(some)} {what}: {mean:.1f} in the mean, {NEARER:g} or more on {apart} of them")
    return "Points by which the best dev mean misses the best prompt when all was asked: " + "; ".join(said) + "."


def told(found: Sequence[Table], seeds: int, calls: int = 1000) -> str:
    """Say what halving reaches on grids if it is told which prompts are the best: what it is worth to know them."""
    grids, told_of = [table for table in found if table.family == "grid"], {n: list[float]() for n in TOLD}
    for table in grids:
        for seed in range(seeds):
            problem, rng = table.problem(seed), np.random.default_rng(seed)
            best = sorted(problem.space.points(), key=problem.regret)
            for n, regrets in told_of.items():
                regrets.append(problem.regret(_halved(problem, best[:n], calls, rng)))
    said = "; ".join(f"{n:,}: {statistics.fmean(regrets):.1f}" for n, regrets in told_of.items() if regrets)
    what = f"Mean regret on {len(grids)} grids at {calls:,} calls of halving that is told the best so many prompts"
    return f"{what}: {said}." if grids else ""


def _halved(problem: Problem, prompts: Sequence[Params], calls: int, rng: np.random.Generator) -> Params:
    """Halve prompts until one is left, each time for an equal share of the calls, all on the same rows."""
    able = [prompts[i] for i in rng.permutation(len(prompts))]
    rows, asked, rounds = rng.permutation(len(problem.rows)), 0, math.ceil(math.log2(len(prompts)))
    while len(able) > 1:
        asked += min(calls // rounds // len(able), len(rows) - asked)
        able.sort(key=lambda params: -float(problem.column(params)[rows[:asked]].sum()))
        able = able[: -(-len(able) // 2)]
    return able[0]


def _dev_choice(problem: Problem) -> float:
    return problem.regret(max(problem.space.points(), key=lambda params: float(problem.column(params).mean())))


def each_lines(results: Results) -> list[Line]:
    """Every table by itself: median regret, and median calls until it stays small."""
    names = sorted({race.name for race in results})
    lines = []
    for name in names:
        lines += [
            Line(name, f"median regret at {n:,}", _by_method(results, [name], _median_regret(n))) for n in (1000,)
        ]
        lines.append(Line(name, f"median calls to stay < {NEARER:g}", _by_method(results, [name], _arrival_in_list)))
        lines.append(Line(name, "seconds a run", _by_method(results, [name], _seconds)))
    return lines


def _seconds(results: list[Result]) -> float:
    return statistics.fmean(result.seconds for result in results)


# --- the table ---------------------------------------------------------------------------------------------


def render(lines: Sequence[Line]) -> str:
    """Write lines as a table in Markdown."""
    methods = [method for method in METHODS if any(method in line.values for line in lines)]
    heads = ["where", "what", *methods, "ours / best", "bar", "verdict"]
    rows = [heads, ["---"] * len(heads)]
    for before, line in zip([None, *lines], lines, strict=False):
        values = [_number(line.values.get(method, math.nan), percent=line.percent) for method in methods]
        share, verdict = line.bar.judge(line.values) if line.bar else (math.nan, "")
        bar = f"<= {line.bar.share:.2g}{_named(line.bar)}" if line.bar else ""
        where = "" if before and before.where == line.where else line.where
        rows.append([where, line.what, *values, "" if math.isnan(share) else f"{share:.2f}", bar, verdict])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _named(bar: Bar) -> str:
    return f" of {bar.against[0]}" if len(bar.against) == 1 else ""


def _number(value: float, *, percent: bool) -> str:
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "never"
    if percent:
        return f"{100 * value:.0f} %"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def log(text: str, path: Path = LOG) -> None:
    """Put an entry at the top of the log, below its heading."""
    before = path.read_text(encoding="utf-8")
    head, mark, rest = before.partition("\n## ")
    path.write_text(f"{head}\n{text}\n{mark}{rest}", encoding="utf-8")


def entry(table: str, args: argparse.Namespace) -> str:
    """Write an entry for the log."""
    seeds = ", ".join(f"{args.seeds or SEEDS[source]} seeds a {source}" for source in args.source)
    return (
        f"## {dt.datetime.now(tz=dt.UTC).date()} · calls that a search needs\n\n"
        f"`python benchmarks/search_efficiency.py --source {' '.join(args.source)}`: {seeds}.\n"
        f"Regret in points of accuracy; ours with {OUR_CALLS:,} calls, or the problem's if that has fewer.\n\n{table}\n"
    )


# --- the command -------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    found = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    found.add_argument("--source", nargs="+", choices=(*SEEDS, "live"), default=list(SEEDS))
    found.add_argument("--data", type=Path, default=DATA, help="folder of tables")
    found.add_argument("--cache", type=Path, default=CACHE, help="folder where results are kept")
    found.add_argument("--seeds", type=int, help=f"runs of each problem; else {SEEDS}")
    found.add_argument("--only", nargs="+", default=[], help="problems whose names contain one of these")
    found.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    found.add_argument("--jobs", type=int, default=2, help="processes")
    found.add_argument("--each", action="store_true", help="list every problem by itself, too")
    found.add_argument("--log", action="store_true", help="put the table into LOG.md")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    args, rest = parser().parse_known_args(arguments)
    if "live" in args.source:
        from benchmarks import live  # it starts a server and reads a model: only if it is asked for

        rows = live.run(live.parser().parse_args(rest))
        print(live.report(rows))
        if args.log:
            log(f"## {dt.datetime.now(tz=dt.UTC).date()} · other packages, live\n\n{live.report(rows)}\n")
        args.source = [source for source in args.source if source != "live"]
    elif rest:
        sys.exit(f"not understood: {' '.join(rest)}. See --help.")
    if not args.source:
        return
    seeds = {source: args.seeds or SEEDS[source] for source in args.source}
    data = args.data.resolve()
    races = [
        race
        for race in all_races(data, args.source, args.methods, seeds)
        if not args.only or any(part in race.name for part in args.only)
    ]
    results = run_all(races, data, Store(args.cache / "results.jsonl"), args.jobs)
    lines = landscape_lines(results)
    lines += table_lines(results, tables(data)) if "table" in args.source else []
    table = render(lines)
    if "table" in args.source:
        run = {race.name for race in races}
        found = [one for one in tables(data) if one.name in run]
        table += f"\n\n{floors(found, seeds['table'])}\n{told(found, seeds['table'])}"
    print(table)
    if args.each:
        print("\n" + render(each_lines(results)))
    if args.log:
        log(entry(table, args))


if __name__ == "__main__":
    main()
