"""Programs of DSPy, tuned by this engine: one of DSPy's optimizers in form. A door of DSPy.

A whole configuration of a program, what each of its predictors is told and shown and how that is laid out, is one point
of one study: what a wording of the first step is worth is learnt from the same runs as what the second step's examples
are. Decides nothing itself: `search` does.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from optimizer import search
from optimizer.adapted import AdaptedPredict, adapt
from optimizer.budget import Budget, Caps
from optimizer.clerk import Clerk
from optimizer.errors import InputError
from optimizer.journey import Watch
from optimizer.ledger import Ledger
from optimizer.metrics import METRICS
from optimizer.models import Model, open_model
from optimizer.overlap import same_inputs
from optimizer.preparing import pace
from optimizer.program_runs import Judged, Runner
from optimizer.records import Outcome, Stage
from optimizer.splits import LEAST_ROWS, divide
from optimizer.store import Store
from optimizer.task_sections import ModelSpec
from search_spaces.program import Demo, Predictor, ProgramSpace
from search_spaces.prompt import Example, Prompt

BOOTSTRAP = 0.15  # share of the budget that goes at most into examples of a teacher's work …
WORKED = 200  # … and rows that it works on, which are enough to draw from
MEAN = METRICS["exact_match"]  # what is searched for is the mean of the rows' scores, as it is of this metric
HALVES = {"train": 0.5, "dev": 0.5}  # of a training set that comes without a validation set


class PromptSearch(Teleprompter):  # type: ignore[misc] # DSPy has no types
    """Search the instruction, the examples and the adapter of every predictor of a program, all in one study.

    Parameters
    ----------
    metric
        (example, prediction, trace) -> a number from 0 to 1, a bool, or a `dspy.Prediction` of `score` and `feedback`;
        of the three a metric may take only two.
    model
        The model that answers, through a ledger that buys nothing twice: provider/model as LiteLLM writes it,
        "embedded", or an opened model. Without one the program asks its own language model, or DSPy's.
    budget
        Calls that may be made in all: no more with `model`; else by those of one round more.
    instructions
        Further wordings to try: predictor's name -> texts.
    api_base
        Address of an OpenAI-compatible server, where the provider of `model` needs one.
    workers
        Rows that are answered at once.
    db
        The results.db that keeps what `model` has answered; without one it is forgotten.
    seed
        Of every choice: the same seed, rows and answers give the same program.
    watch
        Follows the search.

    Attributes
    ----------
    found : optimizer.search.Found
        After `compile`: the trials, the best one with its score and what that is worth on new rows, and why it ended.
    calls, bought : int
        Calls that it took, and how many of them were bought and not known before.
    """

    def __init__(  # noqa: PLR0913 - settings, each with a value that suits
        self,
        metric: Callable[..., Any],
        *,
        model: str | Model | None = None,
        budget: int = 2000,
        instructions: Mapping[str, Sequence[str]] | None = None,
        api_base: str = "",
        workers: int = 8,
        db: str | Path | None = None,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> None:
        super().__init__()
        self.metric = Judged(metric)
        self.model, self.budget, self.instructions = model, budget, dict(instructions or {})
        self.api_base, self.workers, self.db, self.seed = api_base, workers, db, seed
        self.watch = watch or Watch()

    def compile(
        self,
        student: Any,  # noqa: ANN401 - DSPy has no types
        *,
        trainset: Sequence[Any],
        teacher: Any = None,  # noqa: ANN401
        valset: Sequence[Any] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return the best configuration of a program that the budget finds; the student is left as it is.

        Parameters
        ----------
        student
            The program. Predictors of sub-modules that were compiled before stay as they are.
        trainset
            Examples with their inputs named: what demos come from.
        teacher
            The program whose work on `trainset`, where it was right, becomes demos; else the student.
        valset
            Examples to compare configurations on; without them a half of `trainset`.

        Raises
        ------
        InputError
            If the program has no predictor, there are too few examples, or every run fails.
        BudgetSpent
            If the budget does not cover a first look at the student.
        """
        rows = _Rows.of(trainset, valset, self.seed)
        program = adapt(student.deepcopy())
        names = [name for name, predictor in program.named_predictors() if isinstance(predictor, AdaptedPredict)]
        if not names:
            raise InputError("the program has no dspy.Predict to tune. Give one that has, such as dspy.Predict itself.")
        if unknown := set(self.instructions) - set(names):
            raise InputError(f"instructions: no predictor {min(unknown)!r}; allowed: {', '.join(names)}.")
        with self._runner(self.budget) as runner:
            self.watch.event(Stage("demos", "letting the teacher work on rows of the training set"))
            demos, runs = self._bootstrap(adapt((teacher or student).deepcopy()), rows, runner)
            space = ProgramSpace([self._predictor(name, program, demos, rows) for name in names])
            each = max(1.0, runner.spent / runs)
            looks = max(1, int((self.budget - runner.spent) / each))
            evaluate = _Evaluate(program, space, rows.known, runner)
            self.watch.event(
                Stage("search", f"{space.size:,.0f} programs, {len(rows.dev)} rows, {each:.1f} calls each")
            )
            options = search.Options(MEAN, calls=looks, seed=self.seed)
            self.found = search.run(space, evaluate, rows.dev, options, hooks=search.Hooks(self.watch.event))
            self.calls, self.bought = runner.spent, runner.bought
        best = evaluate.program(self.found.best.prompt)
        best._compiled = True  # noqa: SLF001 - DSPy's own mark: a program around it leaves it as it is
        return best

    def evaluate(self, program: Any, examples: Sequence[Any]) -> list[Outcome]:  # noqa: ANN401
        """Score a program on examples, in order, with as many calls as that takes; the ids are "v1", "v2", …."""
        rows = [_row(id_, example) for id_, example in _named("v", examples).items()]
        with self._runner(0) as runner:
            ran = runner.run([(program, example) for example in examples])
        return [one.outcome(row.id, _answer(one.prediction)) for one, row in zip(ran, rows, strict=True)]

    @contextmanager
    def _runner(self, budget: int) -> Iterator[Runner]:
        """Ask through a ledger if there is a model to ask, else leave that to DSPy."""
        if self.model is None:
            yield Runner(self.metric, None, self.workers, budget)
            return
        model = open_model(self.model, api_base=self.api_base) if isinstance(self.model, str) else self.model
        how = pace(model, ModelSpec(name=model.name, workers=self.workers))
        with tempfile.TemporaryDirectory() as folder:
            path = self.db or Path(folder) / "results.db"
            with Store(path, create=True, paid=model.price != (0.0, 0.0)) as store:
                ledger = Ledger(model, store, 0, Budget(Caps(calls=budget)), how, self.watch.stop)
                with closing(ledger):
                    yield Runner(self.metric, Clerk(ledger), self.workers if how else 1, budget)

    def _bootstrap(self, teacher: Any, rows: _Rows, runner: Runner) -> tuple[dict[str, _Work], int]:  # noqa: ANN401
        """Let the teacher work on rows of the training set, and say what each predictor did, and on how many rows."""
        names = {id(predictor): name for name, predictor in teacher.named_predictors()}
        found = {name: _Work() for name in names.values()}
        queue = random.Random(f"demos {self.seed}").sample(list(rows.train), len(rows.train))[:WORKED]
        runs = 0
        while queue and (not runs or runner.spent < BOOTSTRAP * self.budget):
            block, queue = queue[: self.workers], queue[self.workers :]
            given = [rows.known[row.id] for row in block]
            for example, ran in zip(given, runner.run([(teacher, example) for example in given]), strict=True):
                runs += 1
                # Of a predictor that worked several times, the first time.
                steps = {names[id(step[0])]: step for step in reversed(ran.trace) if id(step[0]) in names}
                for name, (_, inputs, said) in steps.items():
                    found[name].take(example, inputs, dict(said.items()), right=ran.score == 1)
        return found, runs

    def _predictor(self, name: str, program: Any, work: Mapping[str, _Work], rows: _Rows) -> Predictor:  # noqa: ANN401
        """Say what there is to choose for a predictor."""
        predictor = dict(program.named_predictors())[name]
        inputs, outputs = tuple(predictor.signature.input_fields), tuple(predictor.signature.output_fields)
        done, fields = work.get(name, _Work()), [*inputs, *outputs]
        train = [rows.known[row.id] for row in rows.train]
        whole = [dspy.Example({name: row[name] for name in fields}) for row in train if {*fields} <= {*row.keys()}]
        pools = {"own": list(predictor.demos), "labelled": whole or done.labelled, "bootstrapped": done.right}
        told = str(predictor.signature.instructions)
        return Predictor(name, told, inputs, outputs, pools, tuple(self.instructions.get(name, ())))


@dataclass
class _Work:
    """What a teacher's predictor did, as demos: where the row came out right, and with the answer that the row wants.

    The latter are what the predictor was given by the steps before it, with fields of the row in place of what it said.
    """

    right: list[Demo] = field(default_factory=list)
    labelled: list[Demo] = field(default_factory=list)

    def take(self, example: Any, inputs: Mapping[str, Any], said: Mapping[str, Any], *, right: bool) -> None:  # noqa: ANN401
        """Note one piece of it."""
        if right:
            self.right.append(dspy.Example(augmented=True, **{**inputs, **said}))
        wanted = dict(example.labels().items())
        if {*said} <= {*wanted}:
            self.labelled.append(dspy.Example(augmented=True, **{**inputs, **{name: wanted[name] for name in said}}))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Examples of DSPy as rows of ours, and, by their ids, as they were given."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    known: Mapping[str, Any]

    @classmethod
    def of(cls, trainset: Sequence[Any], valset: Sequence[Any] | None, seed: int) -> _Rows:
        """Take the rows in; a row to compare on is never shown, and stands in no pool of demos."""
        given = {**_named("t", trainset), **_named("v", valset or ())}
        rows = {id_: _row(id_, example) for id_, example in given.items()}
        train = tuple(row for id_, row in rows.items() if id_.startswith("t"))
        dev = tuple(row for id_, row in rows.items() if id_.startswith("v"))
        if valset is None:
            parts = divide(train, HALVES, seed)
            train, dev = parts["train"], parts["dev"]
        seen = {same_inputs(row) for row in dev}
        train = tuple(row for row in train if same_inputs(row) not in seen)
        if min(len(train), len(dev)) < LEAST_ROWS:
            raise InputError(
                f"{len(train)} examples to learn from that are not among the {len(dev)} to compare on; at least "
                f"{LEAST_ROWS} of each are needed. Give more, or a valset of others."
            )
        return cls(train, dev, given)


@dataclass
class _Evaluate:
    """Scores cells, each a configuration on a row."""

    student: Any
    space: ProgramSpace
    known: Mapping[str, Any]
    runner: Runner
    programs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, cells: Sequence[tuple[Prompt, Example]]) -> list[Outcome]:
        """Run each, in order."""
        ran = self.runner.run([(self.program(prompt), self.known[row.id]) for prompt, row in cells])
        return [one.outcome(row.id, _answer(one.prediction)) for one, (_, row) in zip(ran, cells, strict=True)]

    def program(self, prompt: Prompt) -> Any:  # noqa: ANN401
        """Set the predictors of the student as a configuration says."""
        key = prompt.digest
        if key not in self.programs:
            program = self.student.deepcopy()
            settings = self.space.settings(prompt)
            for name, predictor in program.named_predictors():
                if name in settings:
                    told = settings[name]
                    predictor.signature = predictor.signature.with_instructions(told.instruction)
                    predictor.demos, predictor.nearest, predictor.adapter = list(told.demos), told.nearest, told.adapter
            self.programs[key] = program
        return self.programs[key]


def _named(prefix: str, examples: Sequence[Any]) -> dict[str, Any]:
    return {f"{prefix}{number}": example for number, example in enumerate(examples, start=1)}


def _row(id_: str, example: Any) -> Example:  # noqa: ANN401
    """Write an example as a row; its answer is a label to balance by where it is one text."""
    try:
        inputs = tuple((name, str(value)) for name, value in example.inputs().items())
    except ValueError as error:
        raise InputError(
            f"example {id_[1:]} does not say which fields are inputs. Call its with_inputs(...)."
        ) from error
    labels = [str(value) for value in example.labels().values()]
    return Example(id_, inputs, (labels[0],) if len(labels) == 1 else ())


def _answer(prediction: Any) -> str:  # noqa: ANN401
    return "" if prediction is None else str(dict(prediction.items()))
