"""Prompt and baseline together: a threshold chosen on dev, a front on test, and a sentence that claims no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from optimizer.cascade import Answered, Chosen, choose, detail, front, sentence
from optimizer.findings import Cascade
from optimizer.records import Kind, Outcome, Verdict
from optimizer.scoring import METRICS
from optimizer.verdict import BEST, CASCADE, RIVAL, SEED, Entry, decide
from search_spaces.prompt import Example

ACCURACY = METRICS["accuracy"]
NAMES = (BEST, RIVAL)


def outcomes(right: Sequence[bool], *, cost: float = 0.0) -> tuple[Outcome, ...]:
    """What a contender answered that was right on these rows."""
    return tuple(
        Outcome(f"x{i}", Kind.RIGHT if hit else Kind.WRONG, float(hit), "yes" if hit else "no", cost=cost)
        for i, hit in enumerate(right)
    )


def world(n: int, baseline: float, prompt: float, seed: int, *, leaning: float = 2.0, shift: float = 0.0) -> Answered:
    """Rows on which the baseline is right by a logistic law of its confidence, and the prompt nearly everywhere alike.

    `baseline` and `prompt` are log-odds at a confidence of a half; what the baseline states is `shift` too high.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    theirs = rng.random(n) < 1 / (1 + np.exp(-baseline - leaning * x))
    ours = rng.random(n) < 1 / (1 + np.exp(-prompt - 0.2 * x))
    rows = [Example(f"x{i}", (("text", str(i)),), ("yes",)) for i in range(n)]
    stated = 1 / (1 + np.exp(-leaning * x - shift))
    return Answered(rows, outcomes(ours, cost=0.001), outcomes(theirs), stated)


def share(chosen: Chosen, answered: Answered) -> float:
    """How much of the rows goes to the prompt."""
    return 1.0 if chosen.least is None else float((answered.confidence < chosen.least).mean())


def judged(test: Answered, chosen: Chosen) -> tuple[Verdict, Cascade]:
    """A verdict with the cascade, and its front."""
    seed = Entry(SEED, outcomes([i % 3 == 0 for i in range(len(test.rows))]), 0, "")
    entries = [seed, Entry(BEST, tuple(test.prompt), 8, ""), Entry(RIVAL, tuple(test.baseline), 100, "")]
    entries.append(Entry(CASCADE, test.mixed(chosen.least), 100, detail(chosen, test, BEST)))
    ruling = decide(entries, test.rows, ACCURACY, opened=1, seed=0)
    return ruling, front(chosen, test, NAMES, ACCURACY, np.random.default_rng(0), priced=True)


def test_the_better_score_is_kept_at_less_cost() -> None:
    """Where the prompt is better but the baseline sure of half the rows, calls are saved, and no score is lost."""
    shares, kept = [], []
    for seed in range(20):
        chosen, test = choose(world(300, 0.5, 1.6, seed), ACCURACY), world(4000, 0.5, 1.6, seed + 100)
        assert chosen
        mixed = [o.score or 0.0 for o in test.mixed(chosen.least)]
        shares.append(share(chosen, test))
        kept.append(np.mean(mixed) - np.mean([o.score or 0.0 for o in test.prompt]))

    assert 0.2 < np.mean(shares) < 0.7
    assert np.mean(kept) > -0.01


def test_a_baseline_that_is_better_is_asked_alone_unless_the_prompt_is_shown_to_help() -> None:
    """No row is sent to a prompt that is worse where the baseline is unsure; some are to one that is better there."""
    worse = [choose(world(300, 1.5, -0.5, seed, leaning=0.3), ACCURACY) for seed in range(20)]
    helping = [choose(world(600, 2.0, 1.0, seed, leaning=3.0), ACCURACY) for seed in range(20)]

    assert sum(c is not None and c.least == -np.inf for c in worse) >= 19
    sent = [share(c, world(2000, 2.0, 1.0, 99, leaning=3.0)) for c in helping if c]
    assert 0.05 < np.mean(sent) < 0.4


def test_a_confidence_that_says_nothing_decides_nothing() -> None:
    """If the baseline is as often right where it is sure as where it is not, one of the two answers every row."""
    for seed in range(10):
        dev = world(200, 0.0, 1.5, seed, leaning=0.0)
        dev = replace(dev, confidence=np.random.default_rng(seed).random(200))
        chosen = choose(dev, ACCURACY)

        assert chosen
        assert share(chosen, dev) > 0.8


def test_calibration_undoes_a_confidence_that_is_too_high() -> None:
    """The calibrated confidence is within three points of how often the baseline is right."""
    chosen, test = choose(world(2000, 0.0, 0.0, 1, shift=2.0), ACCURACY), world(5000, 0.0, 0.0, 2, shift=2.0)
    assert chosen

    _, cascade = judged(test, chosen)

    assert np.mean(test.confidence) - np.mean([o.score or 0 for o in test.baseline]) > 0.2
    assert abs(cascade.surer) < 0.03
    assert cascade.surer_interval[0] <= cascade.surer <= cascade.surer_interval[1]


def test_the_front_goes_from_the_baseline_to_the_prompt() -> None:
    """Its ends are the two alone, its cost rises with the share, and the chosen point is the contender."""
    chosen, test = choose(world(300, 0.5, 1.6, 0), ACCURACY), world(500, 0.5, 1.6, 1)
    assert chosen

    ruling, cascade = judged(test, chosen)

    scores = {c.name: c.score for c in ruling.contenders}
    points = cascade.points
    assert (points[0].share, points[0].score, points[0].cost_per_1000) == (0, scores[RIVAL], 0)
    assert (points[-1].share, points[-1].score, points[-1].threshold) == (1, scores[BEST], None)
    assert points[-1].cost_per_1000 == pytest.approx(1)
    assert [p.share for p in points] == sorted(p.share for p in points)
    assert [p.threshold for p in points[:-1]] == sorted(p.threshold or 0.0 for p in points[:-1])
    (mine,) = [p for p in points if p.chosen]
    contender = ruling.contenders[-1]
    assert (contender.name, contender.score, contender.interval) == (CASCADE, mine.score, mine.interval)
    assert contender.detail == f"{100 * mine.share:.0f} % of the rows to the best prompt"
    assert [(c.a, c.b) for c in ruling.comparisons[-2:]] == [(CASCADE, BEST), (CASCADE, RIVAL)]


def test_the_sentence_tells_what_is_saved() -> None:
    """With the share of calls and the interval of the difference to the prompt alone."""
    chosen, test = choose(world(300, 0.5, 1.6, 0), ACCURACY), world(500, 0.5, 1.6, 1)
    assert chosen
    ruling, cascade = judged(test, chosen)

    said = sentence(cascade, ruling)

    mine = next(p for p in cascade.points if p.chosen)
    assert said.startswith("Together: with the trained baseline answering where it is at least ")
    assert f"{100 * mine.share:.0f} % of the rows go to the best prompt" in said
    assert "against the best prompt alone." in said


def test_a_cascade_that_asks_nobody_or_everybody_is_not_worth_a_sentence() -> None:
    """It is then one of the two contenders, of which the verdict has spoken."""
    dev, test = world(300, 0.5, 1.6, 0), world(500, 0.5, 1.6, 1)
    chosen = choose(dev, ACCURACY)
    assert chosen

    for least in (-np.inf, None):
        ruling, cascade = judged(test, replace(chosen, least=least))

        assert sentence(cascade, ruling) == ""


def test_failed_calls_and_unanswered_rows_are_left_out() -> None:
    """A dev row that the prompt was not asked counts for neither; a failed call of a sent row stays a failed call."""
    dev = world(100, 0.5, 1.6, 0)
    gone = Outcome("x0", Kind.ERROR, None, None, text="gone")
    some = replace(dev, prompt=(gone, *dev.prompt[1:60]))
    chosen = choose(some, ACCURACY)

    assert chosen
    assert len(chosen.dev.rows) == 59
    assert some.mixed(None)[0] == gone
    assert len(some.mixed(None)) == 60
    assert choose(replace(dev, prompt=dev.prompt[:19]), ACCURACY) is None


def test_every_metric_has_a_cascade() -> None:
    """Also one of the whole set, on labels of different frequency."""
    rng = np.random.default_rng(0)
    rows = [Example(f"x{i}", (("text", str(i)),), ("rare" if i % 5 == 0 else "common",)) for i in range(200)]

    def given(share: float) -> tuple[Outcome, ...]:
        hits = rng.random(200) < share
        return tuple(
            Outcome(row.id, Kind.RIGHT if hit else Kind.WRONG, float(hit), row.target if hit else "common")
            for row, hit in zip(rows, hits, strict=True)
        )

    answered = Answered(rows, given(0.9), given(0.6), rng.random(200))
    for name in ("macro_f1", "mcc", "accuracy"):
        chosen = choose(answered, METRICS[name])
        assert chosen

        cascade = front(chosen, answered, NAMES, METRICS[name], np.random.default_rng(0), priced=False)

        assert all(p.interval[0] <= p.score <= p.interval[1] and p.cost_per_1000 is None for p in cascade.points)


def test_calibration_takes_all_dev_rows() -> None:
    """Also those that the prompt was not asked: the search asks it the most telling rows, not a sample."""
    dev = world(400, 0.5, 1.6, 0)
    hardest = [ours for ours, theirs in zip(dev.prompt, dev.baseline, strict=True) if not theirs.score][:60]
    whole, some = choose(dev, ACCURACY), choose(replace(dev, prompt=hardest), ACCURACY)

    assert whole
    assert some
    assert (whole.level, whole.slope, whole.grid) == (some.level, some.slope, some.grid)
    assert len(some.dev.rows) == 60
