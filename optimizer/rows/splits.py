"""Splitting examples into train, dev and test, so that no text and no group is in two splits.

Knows the columns that determine the split, no prompt and no score. No row is lost silently: `Dataset.notes` says what
was left out, and what could not be done as requested.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from optimizer.errors import DataError
from optimizer.phrases import agreed, counted
from optimizer.records import Dataset
from optimizer.rows.cells import shown
from optimizer.rows.overlap import SPLITS, differ, same_inputs
from optimizer.rows.tables import Table
from search_spaces.prompt import Example

# Least rows of a split: with fewer, two labels cannot be balanced, and no difference below 25 points can be seen.
LEAST_ROWS = 4
# Most characters of a slice's name; longer values are texts.
SLICE_LENGTH = 60
# Values allowed in a split column. "eval" is not, because it is as often used for dev as for test.
SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "holdout"), "test"),
}


@dataclass(frozen=True)
class SplitPlan:
    """How rows are split.

    Parameters
    ----------
    fractions
        Requested shares of "train", "dev" and "test", each above 0, with sum 1.
    seed
        Seed of the random generator.
    column
        A column that names each row's split; empty to split by `fractions`.
    group
        A column whose equal values stay together in one split; each row with an empty value is its own group.
    stratify
        Whether to give each target the same share of every split. This is not done for open answers, which have fewer
        than three rows per target on average.
    """

    fractions: Mapping[str, float]
    seed: int
    column: str = ""
    group: str = ""
    stratify: bool = True


def split(examples: Sequence[Example], table: Table, plan: SplitPlan, slices: Sequence[str] = ()) -> Dataset:
    """Split examples into train, dev and test, so that no text and no group is in two of them.

    Rows with identical inputs (ignoring case and white space) and rows of one group are placed as one block. The
    largest blocks come first, each where it most lowers the squared distance to the requested counts of its targets.
    Single rows then fill each target's shares by largest remainder, so that without blocks every count differs by less
    than one row from its share. The order within a split is random, so that its first n rows are a random sample.

    If the plan names a split column, that is followed instead. A text that it puts in two splits is left out of train
    first, then of dev; if it names no dev rows, they are taken from train.

    Parameters
    ----------
    examples
        One for each row of the table, in the same order.
    table
        The table with the columns of the plan and the slices.
    plan
        How to split.
    slices
        Columns to report scores by; a column that is an input or has long texts is left out with a note.

    Raises
    ------
    DataError
        If a column or the name of a split is unknown, the fractions are not positive with sum 1, all targets are
        equal, or a split would have fewer than 4 rows.
    """
    assert len(examples) == len(table.rows)
    shares = _shares(table, plan.fractions)
    _check_material(examples, table, plan, slices)
    rng = Random(plan.seed)
    keys = [same_inputs(example) for example in examples]
    groups = [row[plan.group].strip() if plan.group else "" for row in table.rows]
    strata = _strata(examples) if plan.stratify else [""] * len(examples)
    notes = _repeats(examples, keys, given=bool(plan.column))
    if plan.column:
        homes = _given(table, plan.column)
        without_dev = "dev" not in homes.values()
        notes += _drop_repeats(homes, keys) + _divided_groups(homes, groups, plan.group)
        if without_dev:
            rows = [row for row, home in homes.items() if home == "train"]
            carved = {name: shares[name] / (shares["train"] + shares["dev"]) for name in ("train", "dev")}
            homes |= _allocate(_blocks(rows, keys, groups), strata, carved, rng)
            taken = sum(home == "dev" for home in homes.values())
            notes.append(f"column {plan.column!r} names no dev rows: {taken} were taken from train (seed {plan.seed}).")
    else:
        homes = _allocate(_blocks(range(len(examples)), keys, groups), strata, shares, rng)
    parts = {name: [examples[row] for row in sorted(homes) if homes[row] == name] for name in SPLITS}
    _check_sizes(table, parts, plan)
    for name in SPLITS:
        rng.shuffle(parts[name])
    notes += _unseen(parts, strata)
    kept, left_out = _slices(examples, table, sorted(homes), slices)
    return Dataset(**{name: tuple(parts[name]) for name in SPLITS}, slices=kept, notes=(*notes, *left_out))


def divide(examples: Sequence[Example], shares: Mapping[str, float], seed: int) -> dict[str, tuple[Example, ...]]:
    """Split rows without a table as `split` does: stratified by label, with equal inputs together.

    `shares` maps the name of each part, including "train", to its share of the rows; a part may be empty.
    """
    keys, strata = [same_inputs(example) for example in examples], _strata(examples)
    rng = Random(seed)
    blocks = _blocks(range(len(examples)), keys, [""] * len(examples))
    homes = _allocate(blocks, strata, shares, rng)
    parts = {name: [examples[row] for row in sorted(homes) if homes[row] == name] for name in shares}
    for part in parts.values():
        rng.shuffle(part)
    return {name: tuple(part) for name, part in parts.items()}


def _shares(table: Table, fractions: Mapping[str, float]) -> dict[str, float]:
    fix = "Write three numbers above 0 that sum to 1, such as train 0.5, dev 0.25, test 0.25."
    given = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
    if set(fractions) != set(SPLITS):
        raise DataError(f"{table.path}: fractions are given for {given}; allowed: {', '.join(SPLITS)}. {fix}")
    if not all(share > 0 for share in fractions.values()):  # also refuses NaN
        raise DataError(f"{table.path}: fractions {given}: each must be above 0. {fix}")
    total = math.fsum(fractions.values())
    if not abs(total - 1) <= 1e-6:
        raise DataError(f"{table.path}: fractions {given} sum to {total:g}, not to 1. {fix}")
    return {name: fractions[name] / total for name in SPLITS}


def _check_material(examples: Sequence[Example], table: Table, plan: SplitPlan, slices: Sequence[str]) -> None:
    roles = [("split", plan.column), ("group", plan.group), *(("slice", name) for name in slices)]
    for role, name in roles:
        if name or role == "slice":
            table.check_column(name, role)
    if len(examples) < LEAST_ROWS * len(SPLITS):
        raise DataError(
            f"{table.path}: has {counted(len(examples), 'row')}; train, dev and test need at least {LEAST_ROWS} each, "
            f"together {LEAST_ROWS * len(SPLITS)}. Add rows."
        )
    if len({example.target for example in examples}) == 1:
        raise DataError(
            f"{table.path}: every row has the target {shown(examples[0].target)}; at least two are needed to tell "
            "a good prompt from a bad one. Add rows with other targets, or name another target column."
        )


def _strata(examples: Sequence[Example]) -> list[str]:
    targets = [example.target for example in examples]
    closed = len(set(targets)) <= max(2, len(targets) / len(SPLITS))
    return targets if closed else [""] * len(targets)


def _repeats(examples: Sequence[Example], keys: Sequence[Hashable], *, given: bool) -> list[str]:
    """Return notes on rows with identical inputs, and on those whose targets differ."""
    same: dict[Hashable, list[Example]] = defaultdict(list)
    for example, key in zip(examples, keys, strict=True):
        same[key].append(example)
    repeated = [group for group in same.values() if len(group) > 1]
    notes = []
    if repeated and not given:
        rows = agreed(sum(len(group) - 1 for group in repeated), "row repeats", "rows repeat")
        notes.append(f"{rows} the inputs of another row; each stands in the same split as that row.")
    disputed = [group for group in repeated if differ(group)]
    if disputed:
        ids = ", ".join(example.id for example in disputed[0])
        notes.append(f"{len(disputed)} texts stand with different targets (such as rows {ids}): correct one of them.")
    return notes


def _blocks(rows: Iterable[int], keys: Sequence[Hashable], groups: Sequence[str]) -> list[list[int]]:
    """Return blocks of rows that must stay together: connected by equal texts or groups, also through other rows."""
    parent: dict[int, int] = {}
    first: dict[tuple[str, Hashable], int] = {}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for row in rows:
        parent[row] = row
        for bond in (("text", keys[row]), ("group", groups[row])):
            if bond[1]:
                parent[root(row)] = root(first.setdefault(bond, row))
    blocks: dict[int, list[int]] = defaultdict(list)
    for row in parent:
        blocks[root(row)].append(row)
    return list(blocks.values())


# How many rows of a stratum each split still lacks, by (split, stratum).
Missing = dict[tuple[str, str], float]


def _allocate(
    blocks: list[list[int]], strata: Sequence[str], shares: Mapping[str, float], rng: Random
) -> dict[int, str]:
    """Assign every row of every block to a split."""
    totals = Counter(strata[row] for block in blocks for row in block)
    missing = {(name, stratum): share * n for name, share in shares.items() for stratum, n in totals.items()}
    rng.shuffle(blocks)
    blocks.sort(key=len, reverse=True)
    homes: dict[int, str] = {}
    for block in (block for block in blocks if len(block) > 1):
        counts = Counter(strata[row] for row in block)
        gains = {
            name: sum(n * missing[name, stratum] / totals[stratum] for stratum, n in counts.items()) for name in shares
        }
        home = max(gains, key=lambda name: gains[name])
        for stratum, n in counts.items():
            missing[home, stratum] -= n
        homes |= dict.fromkeys(block, home)
    singles: dict[str, list[int]] = defaultdict(list)
    for block in blocks:
        if len(block) == 1:
            singles[strata[block[0]]].append(block[0])
    debt = dict.fromkeys(shares, 0.0)
    # Rarest first, so that later strata can compensate for the rounding of small ones.
    for stratum in sorted(singles, key=lambda stratum: (len(singles[stratum]), stratum)):
        started = missing["train", stratum] < shares["train"] * totals[stratum]
        wanted = {name: max(0.0, missing[name, stratum]) for name in shares}
        scale = len(singles[stratum]) / math.fsum(wanted.values())
        quotas = {name: value * scale for name, value in wanted.items()}
        sizes = _rounded(quotas, debt, first="" if started or not stratum else "train")
        homes |= zip(singles[stratum], (name for name in sizes for _ in range(sizes[name])), strict=True)
    return homes


def _rounded(quotas: Mapping[str, float], debt: dict[str, float], first: str) -> dict[str, int]:
    """Round quotas up or down to whole numbers with the same sum.

    What a split has lost by rounding (`debt`, changed here) is carried from one stratum to the next, so that the totals
    are right, too. The split `first`, if any, gets one before the others, so that train has each label.
    """
    sizes = {name: math.floor(quota + 1e-9) for name, quota in quotas.items()}
    rests = {name: quotas[name] - sizes[name] for name in quotas}
    for name, rest in rests.items():
        debt[name] += rest
    order = sorted(rests, key=lambda name: (name != first or sizes[name] > 0, -round(debt[name], 9)))
    for name in [name for name in order if rests[name] > 1e-9][: round(math.fsum(rests.values()))]:
        sizes[name] += 1
        debt[name] -= 1
    return sizes


def _given(table: Table, column: str) -> dict[int, str]:
    """Return the split of each row, as the split column names it."""
    values = [row[column].strip() for row in table.rows]
    homes = {row: SPELLINGS.get(value.casefold(), "") for row, value in enumerate(values)}
    strange = [row for row, home in homes.items() if not home]
    if strange:
        unknown = list(dict.fromkeys(values[row] for row in strange))
        listed = ", ".join(map(shown, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        fix = f"Allowed: {', '.join(SPELLINGS)}. Correct it, or leave the split column out."
        table.refuse(strange, f"split column {column!r} holds {listed}", fix)
    met = sorted(set(homes.values()))
    for name in ("train", "test"):
        if name not in homes.values():
            raise DataError(
                f"{table.path}: split column {column!r} names no {name} rows, only {', '.join(met)}; "
                "train and test are needed. Mark some rows, or leave the split column out."
            )
    return homes


def _drop_repeats(homes: dict[int, str], keys: Sequence[Hashable]) -> list[str]:
    """Remove from `homes` the rows whose text is in a later split, too; return a note on how many."""
    latest: dict[Hashable, int] = {}
    for row, home in homes.items():
        latest[keys[row]] = max(SPLITS.index(home), latest.get(keys[row], 0))
    dropped = Counter(homes.pop(row) for row in list(homes) if SPLITS.index(homes[row]) < latest[keys[row]])
    if not dropped:
        return []
    counts = " and ".join(f"{dropped[name]} of {name}" for name in SPLITS if dropped[name])
    return [f"{counts} were left out, as their inputs stand in a later split too (test keeps its rows)."]


def _divided_groups(homes: Mapping[int, str], groups: Sequence[str], column: str) -> list[str]:
    """Return a note on the groups that the split column divides."""
    met: dict[str, set[str]] = defaultdict(set)
    for row, home in homes.items():
        met[groups[row]].add(home)
    divided = [group for group, found in met.items() if group and len(found) > 1]
    if not divided:
        return []
    return [f"{len(divided)} groups of {column!r} stand in several of the given splits (such as {shown(divided[0])})."]


def _check_sizes(table: Table, parts: Mapping[str, Sequence[Example]], plan: SplitPlan) -> None:
    small = min(SPLITS, key=lambda name: len(parts[name]))
    if len(parts[small]) >= LEAST_ROWS:
        return
    sizes = ", ".join(f"{name} {len(parts[name])}" for name in SPLITS)
    fix = "Add rows, or raise its fraction."
    if plan.column:
        fix = "Mark more rows for it, or leave the split column out."
    elif plan.group:
        fix = f"Rows with one value of {plan.group!r} stay together: add groups, or leave the group column out."
    raise DataError(f"{table.path}: split {small!r} is too small ({sizes}); each needs at least {LEAST_ROWS}. {fix}")


def _unseen(parts: Mapping[str, Sequence[Example]], strata: Sequence[str]) -> list[str]:
    """Return a note on the labels without a row in train."""
    if not any(strata):
        return []
    seen = {example.target for example in parts["train"]}
    unseen = sorted({e.target for name in ("dev", "test") for e in parts[name]} - seen)
    return [f"train has no row of {len(unseen)} labels: {', '.join(unseen)}."] if unseen else []


def _slices(
    examples: Sequence[Example], table: Table, rows: Sequence[int], columns: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return the values of the slice columns by example id, and a note on each unsuitable column."""
    asked = {name for name, _ in examples[0].inputs}
    unfit = [
        name for name in columns if name in asked or any(len(row[name].strip()) > SLICE_LENGTH for row in table.rows)
    ]
    kept = [name for name in columns if name not in unfit]
    notes = [f"column {name!r} is no slice: it is an input or holds long texts." for name in unfit]
    found = {examples[row].id: {name: table.rows[row][name].strip() for name in kept} for row in rows}
    return (found if kept else {}), notes
