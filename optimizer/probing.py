"""A few calls before a run that measure the seed prompt on training rows, through the ledger, so none is bought twice.

They belong to no run: the task's caps limit them, but they do not count against the caps of the run.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from optimizer.budget import Budget
from optimizer.calling import may_cost, open_ledger
from optimizer.errors import BudgetSpent
from optimizer.evaluate import Evaluator
from optimizer.models import Model
from optimizer.planning import Probe, characters
from optimizer.preparing import Plan, caps
from optimizer.store import Store
from optimizer.watch import Watch

ROWS = 5
NO_RUN = 0  # runs are counted from 1


def probe(plan: Plan, model: Model, db: str | Path, watch: Watch, *, offline: bool = False) -> Probe:
    """Answer a few training rows with the seed prompt; with `offline`, only look up cached answers.

    Raises
    ------
    ProviderError
        If the provider refuses every call.
    Interrupted
        If the watch stopped it.
    """
    if offline and not Path(db).exists():
        return Probe()
    rows = plan.data.train[:ROWS]
    prompt = plan.space.build(plan.space.seed())
    note = ""
    with Store(db, create=not offline, paid=may_cost(model)) as store:
        ledger = open_ledger(model, plan.task.model, store, NO_RUN, Budget(caps(plan.task)), watch)
        evaluate = Evaluator(ledger, plan.renderer, plan.metric)
        with closing(ledger):
            try:
                answered = [] if offline else evaluate.answer(prompt, rows)
            except BudgetSpent as spent:
                answered, note = [], f"{spent}: too little for a probe of {len(rows)} calls"
            if not answered:
                rows = tuple(row for row in rows if not evaluate.missing([(prompt, row)]))
                answered = evaluate.answer(prompt, rows)
        spent_now = ledger.budget.spent
    pairs = list(zip(rows, answered, strict=True))
    done = [(row, completion) for row, (_, completion, _) in pairs if not completion.error]
    failed = [completion.error for _, (_, completion, _) in pairs if completion.error]
    return Probe(
        tuple(characters(plan.renderer.messages(prompt, row)) for row, _ in done),
        tuple(completion for _, completion in done),
        sum(answer is not None for _, (_, _, answer) in pairs),
        len(failed),
        note or next(iter(failed), ""),
        spent_now,
    )
