"""Answers that ended at their bound: a sentence on how many, and what to do. Records in, a text out."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.contenders import SEED
from optimizer.records import Contender, Trial


def cut_off(trials: Sequence[Trial], contenders: Sequence[Contender], best: Trial) -> str:
    """Say how many answers of a run were cut off at their bound; nothing if none was.

    Parameters
    ----------
    trials
        All of the run, the seed prompt's first.
    contenders
        Those of its verdict, if it has come to one.
    best
        The winner, whose bound all contenders have but the seed prompt.
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
