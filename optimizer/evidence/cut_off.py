"""Sentences on how many answers were cut off at `max_tokens`, and what to do. Records in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.contenders import SEED
from optimizer.records import Contender, Trial


def cut_off(trials: Sequence[Trial], contenders: Sequence[Contender], best: Trial) -> str:
    """Return a sentence on how many answers of a run were cut off at `max_tokens`; empty if none was.

    Parameters
    ----------
    trials
        All trials of the run, the seed prompt's first.
    contenders
        Those of its verdict, if it has one.
    best
        The winner, whose `max_tokens` all contenders have except the seed prompt.
    """
    asked = [(trial, trial.outcomes) for trial in trials]
    asked += [(trials[0] if each.name == SEED else best, each.outcomes) for each in contenders]
    answers = {o.completion_key: (o.cut, t) for t, outcomes in asked for o in outcomes if o.completion_key}
    cut = [trial.prompt.settings.max_tokens for short, trial in answers.values() if short]
    if not cut:
        return ""
    bounds = str(min(cut)) if len(set(cut)) == 1 else f"{min(cut)} to {max(cut)}"
    return (
        f"{len(cut):,} of {len(answers):,} answers were cut off at max_tokens = {bounds}; raise max_tokens in [model]"
    )


def cut_steps(trials: Sequence[Trial], contenders: Sequence[Contender] = ()) -> str:
    """Return a sentence on how many rows a program lost an answer of a step on; empty if it lost none.

    Parameters
    ----------
    trials
        All trials of the run.
    contenders
        Those of its verdict, if it has one.
    """
    outcomes = [o for trial in trials for o in trial.outcomes] + [o for c in contenders for o in c.outcomes]
    rows = {o.calls: o.cut for o in outcomes if o.calls}
    cut = sum(rows.values())
    if not cut:
        return ""
    return (
        f"in {cut:,} of {len(rows):,} runs of the program on a row, a step's answer was cut off at max_tokens; "
        "raise it in [model], or in the step that sets its own"
    )
