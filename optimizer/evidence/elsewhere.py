"""The contenders' scores on rows other than the sealed test rows: rows for training or selection, and other domains.

Knows neither where rows come from nor how they were answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from optimizer.contenders import BEST, SEED
from optimizer.findings import Elsewhere
from optimizer.phrases import counted
from optimizer.records import Outcome, Verdict
from optimizer.scoring import Metric, interval, summarise
from optimizer.unpaired import unpaired_interval
from search_spaces.prompt import Example

TRAIN, DEV, OOD = "train", "dev", "ood"

Given = Mapping[str, Sequence[Outcome]]  # contender -> its outcomes on some rows


def measure(
    verdict: Verdict, given: Mapping[str, Given], rows: Sequence[Example], metric: Metric, seed: int
) -> tuple[Elsewhere, ...]:
    """Score contenders on other rows, and compare with their test scores.

    Parameters
    ----------
    verdict
        Their scores on the test rows.
    given
        Name of the rows -> contender -> its outcomes on them.
    rows
        All these rows.
    metric
        The metric.
    seed
        Seed of the resampling, the same for each contender.

    Returns
    -------
    tuple of Elsewhere
        Those with a score. The intervals of the differences are unpaired, because the rows differ.
    """
    examples, found = {row.id: row for row in rows}, []
    for contender in verdict.contenders:
        for place, by_name in given.items():
            outcomes = [outcome for outcome in by_name.get(contender.name, ()) if outcome.score is not None]
            score = summarise(metric, outcomes, examples)
            if score is None:
                continue
            limits = interval(metric, outcomes, examples, np.random.default_rng(seed))
            apart = unpaired_interval(score, limits, contender.score, contender.interval)
            found.append(Elsewhere(contender.name, place, len(outcomes), score, limits, score - contender.score, apart))
    return tuple(found)


def sentence(found: Sequence[Elsewhere]) -> str:
    """Return a sentence on what the contenders lose out of domain; empty without such rows."""
    away = [each for each in found if each.rows == OOD]
    if any(each.name == BEST for each in away):
        away = [each for each in away if each.name != SEED]
    alike = len({each.n for each in away}) == 1  # else calls failed
    said = [
        f"the {each.name} {100 * each.score:z.1f} %{'' if alike else f' on {each.n:,}'} "
        f"({100 * each.difference:+z.1f} points, "
        f"{100 * each.difference_interval[0]:+.1f} to {100 * each.difference_interval[1]:+.1f})"
        for each in away
    ]
    where = f", on {counted(away[0].n, 'row')}" if alike else ", each on the rows that it answered"
    return f"Out of domain{where}: {', '.join(said)}." if said else ""
