"""How many dev rows should a search with few calls use? On synthetic landscapes with known truth.

    python benchmarks/dev_rows.py --seeds 16 --jobs 2 --calls 100 250 500 1000

Each search is repeated with other values of `board.CALLS_A_ROW`, the least number of calls per dev row: with 1, it uses
as many rows as there are, up to its number of calls. Prints, for each number of calls, the mean regret of the winner in
points of accuracy with its standard error, and how often the dev rows show a gain over the seed prompt.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from multiprocessing import get_context
from typing import NamedTuple

from benchmarks.landscapes import FAMILIES, landscape
from benchmarks.races import ours
from optimizer.engine import board

CALLS = (250, 500, 1000)
EACH = (1, 2, 4, 8, 16)
STEEP = [family for family in FAMILIES if family != "flat"]


class Setting(NamedTuple):
    """One search."""

    family: str
    seed: int
    calls: int
    each: int


def search(setting: Setting) -> tuple[float, bool]:
    """Run it: the winner's regret in points, and whether the dev rows show a gain."""
    board.CALLS_A_ROW = setting.each
    problem = landscape(setting.family, setting.seed)
    found = ours(problem, setting.calls, setting.seed)
    return problem.regret(found.best.params), found.claim


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=16, help="searches of each family")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="calls of a search")
    parser.add_argument("--each", type=int, nargs="+", default=EACH, help="calls for each dev row, at least")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args(arguments)
    print("| calls | calls a row | rows | regret | gain shown |\n|---|---|---|---|---|")
    with get_context("spawn").Pool(args.jobs) as pool:
        for calls in args.calls:
            for each in args.each:
                settings = [Setting(family, seed, calls, each) for family in STEEP for seed in range(args.seeds)]
                found = pool.map(search, settings)
                regrets = [regret for regret, _ in found]
                error = statistics.stdev(regrets) / len(regrets) ** 0.5
                rows = min(len(landscape(STEEP[0], 0).rows), max(board.FEWEST_ROWS, calls // each))
                shown = statistics.fmean(claim for _, claim in found)
                print(f"| {calls:,} | {each} | {rows} | {statistics.fmean(regrets):.1f} ± {error:.1f} | {shown:.0%} |")


if __name__ == "__main__":
    main()
