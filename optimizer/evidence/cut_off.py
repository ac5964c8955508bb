"""A sentence on how many answers were cut off at `max_tokens`, and what to do. Records in, text out."""

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
