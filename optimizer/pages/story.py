"""All that a page shows of a run, as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.front import Held
from optimizer.records import Ablation, Importance, Run, Trial, Verdict
from optimizer.report import Change
from optimizer.reports.grids import Section
from search_spaces.prompt import Example


@dataclass(frozen=True, slots=True)
class Walk:
    """A search, answer by answer: `asked` has (trial, rows) in the order in which the rows were asked."""

    run: Run
    trials: Sequence[Trial]
    asked: Sequence[tuple[int, int]]

    def opened(self) -> dict[int, int]:
        """Return, by trial, how many answers the search had looked at when that trial's first rows were answered."""
        calls, opened = 0, dict[int, int]()
        for trial, rows in self.asked:
            calls += rows
            opened.setdefault(trial, calls)
        return opened


@dataclass(frozen=True, slots=True)
class Story:
    """A run with its search, its winner and its verdict.

    Trials come without their outcomes, except those of the `front`. `costs` maps trial -> (calls, US dollars), `rows`
    split -> its rows, `slices` test row -> {column: value}; `changed` has the dev rows that the winner fixed and those
    that it broke. `control` is a random search on the same rows with the same model, if the file has one. `constraints`
    maps split -> the winner's value of each constraint there.
    """

    walk: Walk
    costs: Mapping[int, tuple[int, float | None]]
    verdict: Verdict | None
    prompt: str
    seed_prompt: str
    rows: Mapping[str, Sequence[Example]]
    slices: Mapping[str, Mapping[str, str]]
    changed: tuple[Sequence[Change], Sequence[Change]]
    importances: Sequence[Importance] = ()
    ablations: Sequence[Ablation] = ()
    front: Sequence[Trial] = ()
    card: Sequence[Section] = ()
    control: Walk | None = None
    constraints: Mapping[str, Sequence[Held]] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        """The run that is shown."""
        return self.walk.run

    @property
    def trials(self) -> Sequence[Trial]:
        """Its trials, in order."""
        return self.walk.trials

    @property
    def texts(self) -> Mapping[str, str]:
        """Dev and test row -> its text."""
        return {row.id: row.text for split in ("dev", "test") for row in self.rows[split]}
