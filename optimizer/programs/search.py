"""The search for a DSPy program: its space, the demos that a teacher's work adds to it, and the search. A door of DSPy.

The caller opens the ledger, stores the trials, and passes in a `Runner` and hooks. `search` decides what to try.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dspy

from optimizer import search
from optimizer.errors import BudgetSpent, InputError, ProviderError
from optimizer.events import Event, Stage
from optimizer.phrases import counted
from optimizer.programs.adapted import AdaptedPredict, adapt, require_program
from optimizer.programs.rows import Rows
from optimizer.programs.runs import Ran, Runner
from optimizer.proposals.screening import Screen, copies
from optimizer.propose import CUT, INSTRUCTION, MOST_PROPOSED, ROOM, Failure, Ground, quoted
from optimizer.records import Outcome, Trial
from optimizer.scores.metrics import METRICS
from search_spaces.program import WORDS, Demo, Predictor, ProgramSpace, by_dimension
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Space

BOOTSTRAP = 0.15  # largest share of the budget for demos from a teacher's work …
WORKED = 200  # … and most rows that it works on, which are enough to draw from
LESSONS = 8  # rows at a time, whatever the number of workers, so that a resumed run uses the same rows
LEAST_IDS = 4  # ids reserved for proposals per predictor, however many predictors there are
MEAN = METRICS["exact_match"]  # the search maximizes the mean of the rows' scores, as with this metric


@dataclass
class ProgramSearch:
    """A program, the rows that it is tuned on, and what runs it.

    Parameters
    ----------
    student
        The program; it is left as it is.
    rows
        What it is tuned on.
    runner
        Runs it on rows.
    budget
        Calls that may be made in all.
    seed
        Of every choice.
    instructions
        Further wordings: predictor's name -> texts.
    changes, seeds
        What a task file says of the space and of the seed program, by dimension.
    proposed
        Whether ids are reserved for wordings that a model proposes.
    event
        Called with what happens.

    Raises
    ------
    InputError
        If it is not a program or has no predictor to tune, or `instructions` names a predictor that it does not have.
    """

    student: Any
    rows: Rows
    runner: Runner
    budget: int
    seed: int = 0
    instructions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[str] = field(default=(), init=False)
    proposed: bool = False
    event: Callable[[Event], None] = lambda _: None

    def __post_init__(self) -> None:
        require_program(self.student)
        self.program = adapt(self.student.deepcopy())
        for predictor in self.program.predictors():
            if isinstance(predictor, AdaptedPredict):
                predictor.scored = {}  # settings of an earlier search: this one has its own
        predictors = dict(self.program.named_predictors())
        self.names = [name for name, each in predictors.items() if isinstance(each, AdaptedPredict)]
        if not self.names:
            raise InputError("the program has no dspy.Predict to tune. Give one that has, such as dspy.Predict itself.")
        if unknown := set(self.instructions) - set(self.names):
            raise InputError(f"instructions: no predictor {min(unknown)!r}; allowed: {', '.join(self.names)}.")
        self.programs: dict[str, Any] = {}

    # --- before the search --------------------------------------------------------------------------------

    def change(self, space: Mapping[str, Any], seed: Mapping[str, Any]) -> None:
        """Let a task file change the space and the seed program; `others` are its names that no dimension has.

        Raises
        ------
        DimensionError
            If a key or value is not allowed.
        """
        (self.changes, others), (self.seeds, more) = (by_dimension(table, self.names) for table in (space, seed))
        self.others = [*others, *more]
        self.possible()

    def possible(self) -> ProgramSpace:
        """Return the space as it is if rows of the training set make demos of every kind."""
        known = [self._predictor(name, {}) for name in self.names]
        some = {"labelled": [dspy.Example()], "bootstrapped": [dspy.Example()]}
        return self._space([replace(each, pools={**some, **_filled(each.pools)}) for each in known])

    def _space(self, predictors: Sequence[Predictor]) -> ProgramSpace:
        return ProgramSpace(predictors, self.changes, self.seeds)

    def open(self, teaching: Teaching, *, begun: bool = False) -> ProgramSpace:
        """Let a teacher work on rows of the training set, and open the space.

        If the search had `begun`, only completions from before are used, and nothing is bought.
        """
        self.event(Stage("demos", "letting the teacher work on rows of the training set"))
        try:
            work, runs = self._bootstrap(teaching, begun=begun)
        except (BudgetSpent, ProviderError) as error:
            if teaching.runner is self.runner and isinstance(error, BudgetSpent):
                raise BudgetSpent(f"{error}: it does not cover the work that demos come from") from None
            if teaching.runner is self.runner:
                raise
            teaching.say(f"the teacher cannot go on: {error}")
            teaching.runner.asked = 0
            work, runs = self._bootstrap(teaching, begun=True)  # the same as when the run is resumed
        raised = teaching.runner.raised
        if teaching.runner is self.runner and len(raised) == runs:
            raise InputError(f"the program raised on each of {counted(runs, 'row')} ({raised[0]}). Mend it.")
        self.each = max(1.0, teaching.runner.spent / max(1, runs))  # calls per row
        self.space = self._space([self._predictor(name, work) for name in self.names])
        return self.space

    def _bootstrap(self, teaching: Teaching, *, begun: bool) -> tuple[dict[str, _Work], int]:
        """Return the work of each of the teacher's predictors, and the number of rows that the teacher worked on."""
        require_program(teaching.program)
        teacher = adapt(teaching.program.deepcopy())
        names = {id(predictor): name for name, predictor in teacher.named_predictors()}
        found = {name: _Work(teaching.refuse) for name in names.values()}
        rows, runner, runs = self.rows, teaching.runner, 0
        queue = random.Random(f"demos {self.seed}").sample(list(rows.train), len(rows.train))[: teaching.rows or WORKED]
        while queue and (not runs or teaching.rows or runner.spent < BOOTSTRAP * self.budget):
            block, queue = queue[:LESSONS], queue[LESSONS:]
            given = [rows.known[row.id] for row in block]
            done = runner.run([(teacher, example) for example in given], recalling=begun)
            for example, ran in zip(given, done, strict=True):
                runs += 1
                # If a predictor was called several times, its first call.
                steps = {names[id(step[0])]: step for step in reversed(ran.trace) if id(step[0]) in names}
                for name, (_, inputs, said) in steps.items():
                    found[name].take(example, inputs, dict(said.items()), right=ran.score == 1)
        return found, runs

    def _predictor(self, name: str, work: Mapping[str, _Work]) -> Predictor:
        """Return what can be chosen for a predictor."""
        predictor = dict(self.program.named_predictors())[name]
        inputs, outputs = tuple(predictor.signature.input_fields), tuple(predictor.signature.output_fields)
        done, fields = work.get(name) or _Work(), [*inputs, *outputs]
        train = [self.rows.known[row.id] for row in self.rows.train]
        whole = [dspy.Example({name: row[name] for name in fields}) for row in train if {*fields} <= {*row.keys()}]
        pools = {"own": list(predictor.demos), "labelled": whole or done.labelled, "bootstrapped": done.right}
        told = str(predictor.signature.instructions)
        kept = max(LEAST_IDS, MOST_PROPOSED // len(self.names)) if self.proposed else 0
        own = tuple(self.instructions.get(name, ()))
        return Predictor(name, told, inputs, outputs, pools, own, kept, predictor.adapter, predictor.nearest)

    # --- the search ---------------------------------------------------------------------------------------

    def meant(self, replay: Sequence[Trial], space: Space) -> bool:
        """Whether the parameters of trials still build the same configurations in this space."""
        return all(space.build(trial.params).digest == trial.prompt.digest for trial in replay)

    def search(self, hooks: search.Hooks, replay: Sequence[Trial] = ()) -> search.Found:
        """Search the space that was opened.

        Raises
        ------
        InputError
            If every run fails.
        BudgetSpent
            If the budget does not cover a first look at the student.
        """
        looks = max(1, int((self.budget - self.runner.spent) / self.each))
        size, rows = self.space.size, len(self.rows.dev)
        self.event(Stage("search", f"{size:,.0f} programs, {rows} rows, {self.each:.1f} calls each"))
        options = search.Options(MEAN, calls=looks, seed=self.seed)
        return search.run(self.space, self.evaluate, self.rows.dev, options, replay=replay, hooks=hooks)

    def score(self, program: Any, rows: Sequence[Example]) -> tuple[Outcome, ...]:  # noqa: ANN401 - DSPy has no types
        """Score a program on rows, in order."""
        ran = self.runner.run([(program, self.rows.known[row.id]) for row in rows])
        return tuple(one.outcome(row.id) for one, row in zip(ran, rows, strict=True))

    def evaluate(self, cells: Sequence[tuple[Prompt, Example]]) -> list[Outcome]:
        """Score cells, each a configuration on a row, in order."""
        ran = self.runner.run([(self.set(prompt), self.rows.known[row.id]) for prompt, row in cells])
        return [one.outcome(row.id) for one, (_, row) in zip(ran, cells, strict=True)]

    def set(self, prompt: Prompt) -> Any:  # noqa: ANN401
        """Return the program with its predictors set to a configuration."""
        key = prompt.digest
        if key not in self.programs:
            program = self.program.deepcopy()
            settings = self.space.settings(prompt)
            for name, predictor in program.named_predictors():
                if name in settings:
                    told = settings[name]
                    predictor.signature = predictor.signature.with_instructions(told.instruction)
                    predictor.demos, predictor.nearest, predictor.adapter = list(told.demos), told.nearest, told.adapter
            self.programs[key] = program
        return self.programs[key]

    def shown(self, trial: Trial) -> int:
        """Return how many demos a configuration shows, without the program's own, in the step that shows the most."""
        settings = self.space.settings(trial.prompt)
        return max(0 if trial.params[f"{name}.demos"] == "own" else len(s.demos) for name, s in settings.items())

    def winner(self, best: Prompt) -> Any:  # noqa: ANN401
        """Return the program of a configuration, marked as one that was compiled."""
        program = self.set(best)
        for predictor in program.predictors():
            if isinstance(predictor, AdaptedPredict):
                predictor.scored = self.runner.defaults
        program._compiled = True  # noqa: SLF001 - DSPy's own mark: a program around it leaves it as it is
        return program

    # --- what proposals are grounded in -------------------------------------------------------------------

    def ground(self, description: str, max_tokens: int = ROOM) -> Ground:
        """Return what a proposer is told: the program's task, its steps, and which instructions may be reworded."""
        steps = {
            p.name: {"inputs": p.inputs, "outputs": p.outputs, "instruction": p.instruction[:CUT]}
            for p in self.space.predictors
        }
        task = f"{description}\nA program does it in these steps, as JSON: {quoted(steps)}".strip()
        parts = {f"{name}.{INSTRUCTION}": f"the instruction of the step {name!r}" for name in steps}
        return Ground(task, WORDS, self.rows.train, (), max_tokens, self.seed, parts)

    def screen(self, hidden: Sequence[str] = ()) -> Screen:
        """Return the screen of proposals: they may not copy hidden texts, unless training rows contain them as well."""
        shown = [str(value) for row in self.rows.train for value in self.rows.known[row.id].toDict().values()]
        told = [text for dimension in self.possible().dimensions for text in dimension.texts.values()]
        own = [str(predictor.signature.instructions) for _, predictor in self.program.named_predictors()]
        return Screen(frozenset(WORDS), copies([*self.rows.texts, *hidden], [*shown, *told, *own]))

    def failure(self, trial: Trial, outcome: Outcome) -> Failure:
        """Describe how a configuration failed on a row: the metric's feedback, and what each step did."""
        row = next(row for row in self.rows.dev if row.id == outcome.example_id)
        program = self.set(trial.prompt)
        ran = self.runner.again(program, self.rows.known[row.id]) or Ran(feedback=outcome.text)
        names = {id(predictor): name for name, predictor in program.named_predictors()}
        steps = [{names[id(by)]: dict(said.items())} for by, _, said in ran.trace if id(by) in names]
        told = {"feedback": ran.feedback, "steps": quoted(steps)[:CUT] if len(self.names) > 1 and steps else ""}
        return Failure(row, outcome.answer, {name: text for name, text in told.items() if text})


@dataclass(frozen=True, slots=True)
class Teaching:
    """The teacher that works on training rows, so that its right answers become demos.

    `rows` is the number of rows that it works on; 0 means as many as a share of the budget covers. `refuse` returns why
    one of its texts may not be shown, and `say` is called if it cannot go on.
    """

    program: Any
    runner: Runner
    rows: int = 0
    refuse: Callable[[str], str] = lambda _: ""
    say: Callable[[str], None] = lambda _: None


@dataclass
class _Work:
    """The work of a teacher's predictor as demos: `right` from rows that came out right, `labelled` with true answers.

    Labelled demos have the inputs that the predictor got from the steps before it, and the row's fields as its outputs.
    """

    refuse: Callable[[str], str] = lambda _: ""
    right: list[Demo] = field(default_factory=list)
    labelled: list[Demo] = field(default_factory=list)

    def take(self, example: Any, inputs: Mapping[str, Any], said: Mapping[str, Any], *, right: bool) -> None:  # noqa: ANN401
        """Add one call, unless it contains a text that may not be shown."""
        if any(self.refuse(str(text)) for text in said.values()):
            return
        if right:
            self.right.append(dspy.Example(augmented=True, **{**inputs, **said}))
        wanted = dict(example.labels().items())
        if {*said} <= {*wanted}:
            self.labelled.append(dspy.Example(augmented=True, **{**inputs, **{name: wanted[name] for name in said}}))


def _filled(pools: Mapping[str, Sequence[Demo]]) -> dict[str, Sequence[Demo]]:
    return {kind: pool for kind, pool in pools.items() if pool}
