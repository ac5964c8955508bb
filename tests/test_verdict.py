"""The verdict: the same rows, intervals, paired tests, and one plain sentence that claims no more than was shown."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from optimizer.contenders import BEST, CASCADE, RIVAL, SEED
from optimizer.errors import ProviderError
from optimizer.records import Kind, Outcome
from optimizer.report import comparisons_grid, percent, spread
from optimizer.scoring import METRICS
from optimizer.verdict import Entry, able, decide
from search_spaces.prompt import Example

ROWS = [Example(f"x{i}", (("text", str(i)),), ("yes",)) for i in range(200)]
ACCURACY = METRICS["accuracy"]


def entry(name: str, share: float, seed: int = 0, **changes: object) -> Entry:
    """A contender that is right on a share of the rows."""
    right = set(random.Random(f"{name} {seed}").sample(range(200), round(200 * share)))
    outcomes = tuple(
        Outcome(row.id, Kind.RIGHT if i in right else Kind.WRONG, float(i in right), "yes", cost=2e-6, seconds=0.01)
        for i, row in enumerate(ROWS)
    )
    return Entry(name, outcomes, 10, "detail", **changes)  # type: ignore[arg-type]


def test_a_clear_gain_and_a_clear_rival_are_said() -> None:
    """The sentence names who wins, by how much, and how sure that is."""
    verdict = decide([entry(SEED, 0.3), entry(BEST, 0.6), entry(RIVAL, 0.9)], ROWS, ACCURACY, opened=1, seed=0)

    assert "The search improved on the seed prompt by +30.0 points" in verdict.sentence
    assert "The trained baseline (90.0 %) beats the best prompt (60.0 %) in accuracy: -30.0 points" in verdict.sentence
    assert "p = " in verdict.sentence


def test_no_difference_shown_is_a_verdict() -> None:
    """What the rows cannot tell apart is not told apart."""
    verdict = decide([entry(SEED, 0.6), entry(BEST, 0.62), entry(RIVAL, 0.63)], ROWS, ACCURACY, opened=1, seed=0)

    assert "No improvement over the seed prompt is shown: +2.0 points" in verdict.sentence
    assert "No difference shown between best prompt (62.0 %) and trained baseline (63.0 %)" in verdict.sentence
    assert "200 rows can show differences from about 10 points" in verdict.sentence


def test_what_is_not_shown_comes_with_the_rows_that_would_show_it() -> None:
    """A gain that is likely but unproven says how many rows to label; a loss, and no difference at all, do not."""
    likely = decide([entry(SEED, 0.6), entry(BEST, 0.62), entry(RIVAL, 0.58)], ROWS, ACCURACY, opened=1, seed=0)
    no_gain = decide([entry(SEED, 0.62), entry(BEST, 0.6), entry(RIVAL, 0.6)], ROWS, ACCURACY, opened=1, seed=0)

    assert re.search(r"No improvement .* p = 0\.\d+\); one as large as this takes about [\d,]+ rows\.", likely.sentence)
    assert re.search(r"from about 10 points, and one as large as this takes about [\d,]+ rows\.", likely.sentence)
    assert "takes about" not in no_gain.sentence


def test_prompts_that_disagree_often_need_more_rows_than_is_assumed() -> None:
    """What so many rows can show is no less than what they have not shown."""
    rows, right = ROWS[:100], {SEED: range(45, 73), BEST: range(45)}

    def said(name: str) -> Entry:
        scores = [float(i in right[name]) for i in range(100)]
        outcomes = (Outcome(r.id, Kind.RIGHT, score, "yes") for r, score in zip(rows, scores, strict=True))
        return Entry(name, tuple(outcomes), 10, "detail")

    entries = [said(SEED), said(BEST)]

    compared = decide(entries, rows, ACCURACY, opened=1, seed=0).comparisons[0]

    assert (compared.difference, compared.p_value > 0.05) == (pytest.approx(0.17), True)
    shown = "can show differences from about 2[0-9] points, and one as large as this takes about 2[0-9]0 rows"
    assert re.fullmatch(shown, able(compared, 100))


def test_an_interval_that_says_more_than_the_test_is_explained() -> None:
    """Of five rows that differ the permutation test shows nothing, wherever the interval of macro-F1 lies."""
    rows = [Example(f"x{i}", (("text", str(i)),), ("rare" if i < 5 else "usual",)) for i in range(40)]

    def said(name: str, rare: str) -> Entry:
        answers = [rare] * 5 + ["usual"] * 35
        right = [(answer,) == row.targets for answer, row in zip(answers, rows, strict=True)]
        kinds = [Kind.RIGHT if each else Kind.WRONG for each in right]
        outcomes = map(Outcome, [row.id for row in rows], kinds, map(float, right), answers)
        return Entry(name, tuple(outcomes), 10, "detail")

    verdict = decide([said(SEED, "usual"), said(BEST, "rare")], rows, METRICS["macro_f1"], opened=1, seed=0)

    assert verdict.comparisons[0].interval[0] > 0
    assert verdict.sentence.endswith("p = 0.062); too few rows differ for the test to show this.")


def test_what_rows_of_graded_scores_can_show_is_measured() -> None:
    """Two prompts that lie two points apart on each row are told apart by far less than by rows right or wrong."""
    scores = {SEED: [0.5, 0.52], BEST: [0.52, 0.5], RIVAL: [0.5, 0.52]}
    entries = [
        Entry(name, tuple(Outcome(row.id, Kind.WRONG, two[i % 2], "yes") for i, row in enumerate(ROWS)), 10, "detail")
        for name, two in scores.items()
    ]

    verdict = decide(entries, ROWS, METRICS["token_f1"], opened=1, seed=0)

    assert "200 rows can show differences from about 0.4 points" in verdict.sentence


def test_equal_outcomes_have_equal_intervals() -> None:
    """A cascade that is the baseline differs from it in no figure, however its interval is drawn."""
    scores = [0.1 * (i % 9) for i in range(200)]
    outcomes = tuple(Outcome(row.id, Kind.WRONG, s, "yes") for row, s in zip(ROWS, scores, strict=True))
    entries = [Entry(name, outcomes, 10, "") for name in (SEED, RIVAL, CASCADE)]

    verdict = decide(entries, ROWS, METRICS["token_f1"], opened=1, seed=0)

    assert len({contender.interval for contender in verdict.contenders}) == 1


def test_equal_pairs_of_answers_have_equal_intervals_and_p_values() -> None:
    """A cascade that is the baseline differs from the prompt as the baseline does, however often was drawn before."""
    rows = [Example(f"x{i}", (("text", str(i)),), ("rare" if i % 5 == 0 else "common",)) for i in range(60)]

    def answered(step: int) -> tuple[Outcome, ...]:
        said = ["common" if i % step == 0 else row.target for i, row in enumerate(rows)]
        pairs = zip(rows, said, strict=True)
        return tuple(Outcome(row.id, Kind.WRONG, float(answer == row.target), answer) for row, answer in pairs)

    answers = {SEED: answered(2), BEST: answered(3), RIVAL: answered(1), CASCADE: answered(1)}
    entries = [Entry(name, outcomes, 10, "") for name, outcomes in answers.items()]

    verdict = decide(entries, rows, METRICS["macro_f1"], opened=1, seed=0)

    found = {(c.a, c.b): c for c in verdict.comparisons}
    ours, theirs = found[BEST, RIVAL], found[CASCADE, BEST]
    assert ours.interval == pytest.approx((-theirs.interval[1], -theirs.interval[0]))
    assert ours.p_value == theirs.p_value


def test_a_cascade_that_is_the_baseline_is_not_compared_with_it() -> None:
    """It sends no row to the prompt; against the prompt it is compared, and one that sends a row against both."""
    rival, other = entry(RIVAL, 0.7), entry(CASCADE, 0.71)
    same = Entry(CASCADE, rival.outcomes, 10, "0 % of the rows to the seed prompt")

    alone, sends = (decide([entry(SEED, 0.5), rival, c], ROWS, ACCURACY, opened=1, seed=0) for c in (same, other))

    assert [(c.a, c.b) for c in alone.comparisons] == [(SEED, RIVAL), (CASCADE, SEED)]
    assert [(c.a, c.b) for c in sends.comparisons] == [(SEED, RIVAL), (CASCADE, SEED), (CASCADE, RIVAL)]


def test_a_cascade_that_is_the_prompt_is_not_compared_with_it() -> None:
    """It sends all rows: the baseline that is asked first adds its time and price, but no answer."""
    prompt = entry(BEST, 0.7)
    prompt = replace(prompt, outcomes=tuple(replace(o, completion_key=o.example_id) for o in prompt.outcomes))
    both = tuple(replace(outcome, seconds=outcome.seconds + 1) for outcome in prompt.outcomes)
    entries = [entry(SEED, 0.5), prompt, entry(RIVAL, 0.4), Entry(CASCADE, both, 10, "100 % to the best prompt")]

    compared = [(c.a, c.b) for c in decide(entries, ROWS, ACCURACY, opened=1, seed=0).comparisons]

    assert [pair for pair in compared if CASCADE in pair] == [(CASCADE, RIVAL)]


def test_a_score_just_below_zero_is_written_as_zero() -> None:
    """Such as a correlation of -0.0001."""
    assert (percent(-0.0001), spread((-0.0001, 0.01))) == ("0.0 %", "0.0–1.0")


def test_what_is_noted_of_a_contender_is_said() -> None:
    """That no linear model serves stands in the sentence."""
    rival = entry(RIVAL, 0.1, note="No trained baseline serves this task.")

    verdict = decide([entry(SEED, 0.6), rival], ROWS, ACCURACY, opened=1, seed=0)

    assert verdict.sentence.endswith(" No trained baseline serves this task.")


def test_a_winner_that_is_the_seed_prompt_is_no_improvement() -> None:
    """With nothing better found, the seed prompt meets the rival itself."""
    verdict = decide([entry(SEED, 0.8), entry(RIVAL, 0.4)], ROWS, ACCURACY, opened=1, seed=0)

    assert verdict.sentence.startswith("The search found no prompt better than the seed prompt.")
    assert "The seed prompt (80.0 %) beats the trained baseline (40.0 %)" in verdict.sentence


def test_a_prompt_that_is_worse_on_the_test_rows_is_said_to_be() -> None:
    """A loss against the seed prompt is not hidden."""
    verdict = decide([entry(SEED, 0.8), entry(BEST, 0.4), entry(RIVAL, 0.4)], ROWS, ACCURACY, opened=1, seed=0)

    assert "The chosen prompt is worse than the seed prompt on the test rows: -40.0 points" in verdict.sentence


def test_costs_and_times_are_per_thousand_rows() -> None:
    """Mean cost and time of a row, times 1,000; an unknown price is not zero."""
    entries = [entry(SEED, 0.5), entry(BEST, 0.5, priced=False), entry(RIVAL, 0.5)]

    verdict = decide(entries, ROWS, ACCURACY, opened=1, seed=0)

    assert [c.cost_per_1000 and round(c.cost_per_1000, 9) for c in verdict.contenders] == [0.002, None, 0.002]
    assert [round(c.ms_per_1000, 6) for c in verdict.contenders] == [10_000.0] * 3


def test_failed_calls_are_left_out_of_every_figure() -> None:
    """A contender is scored on the rows that it could answer, and its n says so."""
    failing = entry(BEST, 1.0)
    outcomes = (Outcome("x0", Kind.ERROR, None, None, text="gone"), *failing.outcomes[1:])

    verdict = decide(
        [entry(SEED, 0.5), Entry(BEST, outcomes, 0, ""), entry(RIVAL, 0.5)], ROWS, ACCURACY, opened=1, seed=0
    )

    assert (verdict.contenders[1].n, verdict.contenders[1].score) == (199, 1.0)
    assert "1 of 200 calls of the best prompt failed; it is left out." in verdict.sentence


def failing(name: str, share: float, failed: int) -> Entry:
    """A contender that is right on a share of the rows, whose first calls failed."""
    good = entry(name, share)
    bad = tuple(Outcome(row.id, Kind.ERROR, None, None, text="gone") for row in ROWS[:failed])
    return replace(good, outcomes=(*bad, *good.outcomes[failed:]))


def test_a_difference_on_other_rows_than_the_scores_says_on_which() -> None:
    """Else the two scores and their difference would not add up; where all rows were answered nothing is said."""
    entries = [entry(SEED, 0.3), failing(BEST, 0.9, 4), entry(RIVAL, 0.6)]
    close = [entry(SEED, 0.6), failing(BEST, 0.62, 4), entry(RIVAL, 0.63)]

    clear, unclear = (decide(each, ROWS, ACCURACY, opened=1, seed=0) for each in (entries, close))
    whole = decide([entry(SEED, 0.3), entry(BEST, 0.9), entry(RIVAL, 0.6)], ROWS, ACCURACY, opened=1, seed=0)

    assert re.search(r"improved on the seed prompt by .*?\) on the 196 rows that both answered\. The", clear.sentence)
    assert re.search(r"beats the trained .*?, p = \S+\) on the 196 rows that both answered\. 4 of 200", clear.sentence)
    assert "trained baseline (63.0 %) in accuracy on the 196 rows that both answered: " in unclear.sentence
    assert "; 196 rows can show" in unclear.sentence
    assert comparisons_grid(clear).title == "Paired comparisons, each on the rows that both answered"
    assert comparisons_grid(whole).title == "Paired comparisons"
    assert "both answered" not in whole.sentence


def test_failed_calls_are_told_of_those_who_made_them() -> None:
    """A cascade asks nobody: what failed in it are the prompt's calls."""
    prompt = failing(BEST, 0.9, 4)
    cascade = Entry(CASCADE, (*prompt.outcomes[:100], *entry(RIVAL, 0.6).outcomes[100:]), 10, "")

    verdict = decide([entry(SEED, 0.3), prompt, entry(RIVAL, 0.6), cascade], ROWS, ACCURACY, opened=1, seed=0)

    assert verdict.sentence.endswith("4 of 200 calls of the best prompt failed; they are left out.")
    assert verdict.sentence.count("failed") == 1


@pytest.mark.parametrize("failed", [41, 200])
def test_a_contender_that_failed_on_many_rows_stops_the_verdict(failed: int) -> None:
    """A verdict on the few rows that were answered would mislead; the run can be resumed."""
    good = entry(BEST, 0.5).outcomes
    bad = tuple(Outcome(row.id, Kind.ERROR, None, None, text="no route") for row in ROWS[:failed])

    with pytest.raises(ProviderError, match=rf"best prompt: {failed} of 200 calls failed \(no route\)"):
        decide(
            [entry(SEED, 0.5), Entry(BEST, (*bad, *good[failed:]), 0, ""), entry(RIVAL, 0.5)],
            ROWS,
            ACCURACY,
            opened=1,
            seed=0,
        )


def test_the_claims_are_rarely_wrong_where_nothing_differs() -> None:
    """Of 200 verdicts on equals, at most 6 % of the rivalries claim a winner."""
    claims = 0
    for seed in range(200):
        entries = [entry(SEED, 0.6, seed), entry(RIVAL, 0.6 + random.Random(seed).choice([-0.01, 0.0, 0.01]), seed)]
        verdict = decide(entries, ROWS, ACCURACY, opened=1, seed=seed)
        claims += "beats" in verdict.sentence

    assert claims <= 12
