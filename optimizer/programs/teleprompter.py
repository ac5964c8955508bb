"""Tunes DSPy programs with this engine, in the form of a DSPy optimizer. A door of DSPy.

A configuration of the whole program (each predictor's instruction, examples and adapter) is one point of one study: the
same runs show what a wording of the first step is worth and what the second step's examples are worth. `search` decides
what to try.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dspy.teleprompt import Teleprompter

from optimizer.budget import Budget, Caps
from optimizer.calling import may_cost, open_ledger
from optimizer.calls.clerk import Clerk
from optimizer.calls.own_models import opened
from optimizer.database import slots
from optimizer.errors import InputError
from optimizer.events import Event
from optimizer.evidence.cut_off import cut_steps
from optimizer.ledger import Ledger
from optimizer.models import Model
from optimizer.phrases import counted
from optimizer.programs.keeping import Kept, Proposing
from optimizer.programs.rows import named, row_of, rows_of
from optimizer.programs.runs import Judged, Runner
from optimizer.programs.search import ProgramSearch, Teaching
from optimizer.proposals import wordings
from optimizer.records import Outcome, Run
from optimizer.report import percent
from optimizer.store import Store
from optimizer.task_sections import PROPOSER, ModelSpec
from optimizer.watch import Watch


@dataclass(frozen=True, slots=True)
class _Desk:
    """What runs programs, what buys proposals, and a temporary database."""

    runner: Runner
    proposer: Ledger | None
    scratch: Path


class PromptSearch(Teleprompter):  # type: ignore[misc] # DSPy has no types
    """Search the instruction, the examples and the adapter of every predictor of a program, all in one study.

    Parameters
    ----------
    metric
        (example, prediction, trace) -> a number from 0 to 1, a bool, or a `dspy.Prediction` with `score` and
        `feedback`; the trace may be left out.
    model
        The model that answers, through a ledger that buys nothing twice: provider/model in LiteLLM's notation,
        "embedded", or an opened model. Without one, the program asks its own language model, or DSPy's.
    proposer
        The model that writes instructions for the predictors, given like `model`: first from training rows, then from
        rows that the leading program fails on, with what its steps did and the metric's feedback.
    budget
        Calls that may be made in all, at least 1. With `model` this is exact; without, the last round of calls and the
        proposer's calls may exceed it.
    instructions
        Further wordings to try: predictor's name -> texts.
    api_base
        Address of an OpenAI-compatible server, if the provider of `model` needs one.
    workers
        Rows that are answered at once.
    db
        The results.db that caches the answers of `model`; without one they are not kept.
    seed
        Of every choice: the same seed, rows and answers give the same program.
    watch
        Follows the search.

    Raises
    ------
    InputError
        If the budget is below 1.

    Attributes
    ----------
    found : optimizer.search.Found
        After `compile`: the trials, the best one with its score and its estimate on new rows, and why the search ended.
    calls, bought : int
        Calls that programs made, and how many of them were bought and not cached.
    wordings : list of optimizer.database.slots.Lineage
        What the proposer has written: for which predictor, from what and why, and the best trial with it.
    """

    def __init__(  # noqa: PLR0913 - settings, each with a value that suits
        self,
        metric: Callable[..., Any],
        *,
        model: str | Model | None = None,
        proposer: str | Model | None = None,
        budget: int = 2000,
        instructions: Mapping[str, Sequence[str]] | None = None,
        api_base: str = "",
        workers: int = 8,
        db: str | Path | None = None,
        seed: int = 0,
        watch: Watch | Callable[[Event], None] | None = None,
    ) -> None:
        super().__init__()
        if budget < 1:
            raise InputError(f"PromptSearch: `budget` = {budget}: must be greater than 0.")
        self.metric = Judged(metric)
        self.model, self.proposer, self.budget = model, proposer, budget
        self.instructions = dict(instructions or {})
        self.api_base, self.workers, self.db, self.seed = api_base, workers, db, seed
        self.watch = Watch.of(watch)

    def __repr__(self) -> str:
        """Show the model, the budget and, if there is one, the best score."""
        model = getattr(self.model, "name", self.model)
        found = getattr(self, "found", None)
        best = f"; best on dev {percent(found.best.score)} after {self.calls:,} calls" if found else ""
        return f"<PromptSearch: {counted(self.budget, 'call')} of {model or 'the language model of the program'}{best}>"

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
            The program whose right answers on `trainset` become demos; by default the student.
        valset
            Examples to compare configurations on; without them, half of `trainset`.

        Raises
        ------
        InputError
            If the program or an example is not one, the program has no predictor, there are too few examples, or every
            run fails.
        BudgetSpent
            If the budget does not cover a first look at the student.
        """
        rows = rows_of(trainset, valset, self.seed)
        with self._desk(self.budget) as desk:
            asked = ProgramSearch(
                student,
                rows,
                desk.runner,
                self.budget,
                self.seed,
                self.instructions,
                proposed=desk.proposer is not None,
                event=self.watch.event,
            )
            asked.open(Teaching(teacher or student, desk.runner))
            with Store(desk.scratch, create=True) as store:
                run = store.start_run(Run(0, "program", {}, "", "program", "", "running", ""), "")
                wordings.begin(store, run, asked.space)
                proposing = Proposing(desk.proposer) if desk.proposer else None
                self.found = asked.search(Kept(store, run, self.watch.event).hooks(asked, proposing))
                self.wordings = [each for each in slots.lineage(store, run) if each.origin == "model"]
            self.calls, self.bought = desk.runner.spent, desk.runner.bought
        for said in filter(None, (cut_steps(self.found.trials), desk.runner.odd)):
            self.watch.notice(said)
        return asked.winner(self.found.best.prompt)

    def evaluate(self, program: Any, examples: Sequence[Any]) -> list[Outcome]:  # noqa: ANN401
        """Score a program on examples, in order, with as many calls as needed; the ids are "v1", "v2", …."""
        rows = [row_of(id_, example) for id_, example in named("v", examples).items()]
        with self._desk(0) as desk:
            ran = desk.runner.run([(program, example) for example in examples])
        return [one.outcome(row.id) for one, row in zip(ran, rows, strict=True)]

    @contextmanager
    def _desk(self, budget: int) -> Iterator[_Desk]:
        """Open ledgers for the models that were given; without a model, DSPy makes the calls."""
        model, proposer = (
            None if each is None else opened(each, api_base=self.api_base) for each in (self.model, self.proposer)
        )
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            paid = may_cost(*(each for each in (model, proposer) if each))
            store = stack.enter_context(Store(self.db or folder / "bought.db", create=True, paid=paid))
            shared = Budget(Caps(calls=budget))

            def ledger(each: Model, role: str = "") -> Ledger:
                spec = ModelSpec(name=each.name, workers=self.workers)
                return stack.enter_context(closing(open_ledger(each, spec, store, 0, shared, self.watch, role=role)))

            clerk = Clerk(ledger(model)) if model else None
            workers = self.workers if clerk is None or clerk.ledger.pace else 1
            runner = Runner(self.metric, clerk, workers, budget)
            yield _Desk(runner, ledger(proposer, PROPOSER) if proposer else None, folder / "search.db")
