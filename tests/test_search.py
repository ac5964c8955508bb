"""The search, on landscapes whose truth is known: no model, no database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from optimizer.errors import BudgetSpent, InputError
from optimizer.records import BlockScored, Event, Kind, Outcome, State, Trial, TrialEnded
from optimizer.scoring import METRICS
from optimizer.search import Hooks, Options, best_hyperparameters, run
from search_spaces.opening import load_space
from search_spaces.prompt import Example, Prompt
from search_spaces.space import Facts, Space

LABELS = ("good", "bad")
TRAIN = tuple(Example(f"t{i}", (("text", f"row {i} word{i % 7}"),), (LABELS[i % 2],)) for i in range(30))
DEV = tuple(Example(f"d{i}", (("text", f"dev {i}"),), (LABELS[i % 2],)) for i in range(96))


def space(**changes: object) -> Space:
    """A small space of classification prompts."""
    narrowed = {
        "template": ["plain", "markdown", "xml", "chat"],
        "persona": "none",
        "caution": "none",
        "instruction": ["direct", "decide", "single"],
        "demo_seed": [0, 1],
        "temperature": 0.0,
    }
    return load_space(Facts("classification", ("text",), "label", TRAIN, LABELS), {**narrowed, **changes})


def smooth(prompt: Prompt) -> float:
    """Accuracy that each ingredient adds to."""
    value = 0.45 + 0.012 * min(len(prompt.demos) if not prompt.nearest else prompt.nearest, 16)
    value += {"plain": 0.0, "markdown": 0.03, "xml": 0.1, "chat": 0.06}[prompt.template]
    return value + (0.1 if prompt.nearest else 0.0) + (0.05 if prompt.answer_format == "json" else 0.0)


@dataclass
class Landscape:
    """Answers for a prompt with a known accuracy; the same prompt and row always get the same answer."""

    truth: Callable[[Prompt], float]
    calls: int = 0
    budget: int = 10**9
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __call__(self, prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        """Score a prompt on rows."""
        if self.calls + len(rows) > self.budget:
            raise BudgetSpent(f"the budget of {self.budget} calls is used up")
        self.calls += len(rows)
        self.asked.update((prompt.digest, row.id) for row in rows)
        return [self._answer(prompt, row) for row in rows]

    def _answer(self, prompt: Prompt, row: Example) -> Outcome:
        # Rows differ in difficulty: half of what decides an answer is the row's own.
        ease, luck = random.Random(row.id).random(), random.Random(prompt.digest + row.id).random()
        right = 0.5 * ease + 0.5 * luck < self.truth(prompt)
        kind, answer = (Kind.RIGHT, row.target) if right else (Kind.WRONG, "other")
        return Outcome(row.id, kind, float(right), answer)


def test_finds_a_much_better_prompt() -> None:
    """On a smooth landscape the winner's true accuracy is far above the seed's, for every seed tried."""
    for seed in range(4):
        landscape = Landscape(smooth)

        found = run(space(), landscape, DEV, Options(trials=40, seed=seed))

        assert smooth(found.best.prompt) > smooth(found.trials[0].prompt) + 0.15


def test_racing_and_halving_spend_fewer_calls_than_full_evaluation() -> None:
    """Forty trials cost far less than forty full evaluations."""
    landscape = Landscape(smooth)

    found = run(space(), landscape, DEV, Options(trials=40))

    assert len(found.trials) == 40
    assert landscape.calls < 0.6 * 40 * len(DEV)
    assert {State.COMPLETE, State.PRUNED} == {trial.state for trial in found.trials}


def test_the_seed_prompt_comes_first_and_is_scored_in_full() -> None:
    """Trial 0 is the seed prompt with all dev rows, however bad it is."""
    found = run(space(), Landscape(smooth), DEV, Options(trials=6))

    assert space().build(space().seed()) == found.trials[0].prompt
    assert State.COMPLETE is found.trials[0].state
    assert len(DEV) == found.trials[0].n


def test_no_prompt_meets_a_row_twice() -> None:
    """A prompt that was evaluated is never evaluated again."""
    landscape = Landscape(smooth)

    run(space(), landscape, DEV, Options(trials=60))

    assert max(landscape.asked.values()) == 1


def test_every_stopped_trial_says_why() -> None:
    """Each trial ends with a reason; racing and halving both occur."""
    found = run(space(), Landscape(smooth), DEV, Options(trials=60))

    reasons = {trial.reason.split(":")[0] for trial in found.trials if trial.state is State.PRUNED}
    assert {"raced out", "halved"} == reasons
    assert all(trial.reason for trial in found.trials)
    assert found.reason == "all 60 trials are done"


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("cut", [1, 7, 15])
def test_a_resumed_search_equals_an_uninterrupted_one(sampler: str, cut: int) -> None:
    """With the first trials replayed, the rest comes out the same."""
    options = Options(sampler=sampler, trials=24, seed=3)
    whole = run(space(), Landscape(smooth), DEV, options)

    resumed = run(space(), Landscape(smooth), DEV, options, replay=whole.trials[:cut])

    assert [_facts(trial) for trial in whole.trials] == [_facts(trial) for trial in resumed.trials]
    assert whole.best.number == resumed.best.number


def _facts(trial: Trial) -> tuple[object, ...]:
    return trial.number, dict(trial.params), trial.state, trial.score, dict(trial.steps), trial.reason


def test_another_seed_takes_another_course() -> None:
    """The seed decides the trials."""
    one, other = (run(space(), Landscape(smooth), DEV, Options(trials=8, seed=s)) for s in (0, 1))

    assert [dict(t.params) for t in one.trials] != [dict(t.params) for t in other.trials]


def test_the_budget_ends_the_search_with_what_was_found() -> None:
    """When the budget is used up the best so far is returned, and the reason says so."""
    found = run(space(), Landscape(smooth, budget=400), DEV, Options(trials=40))

    assert len(found.trials) < 40
    assert found.reason == "the budget of 400 calls is used up"


def test_a_budget_below_the_seed_prompt_is_refused() -> None:
    """Without a full score of the seed prompt nothing could be said."""
    with pytest.raises(BudgetSpent, match="does not cover the seed prompt's 96 dev rows"):
        run(space(), Landscape(smooth, budget=90), DEV)


def test_a_small_space_is_exhausted() -> None:
    """When every prompt has been tried, the search stops and says so."""
    small = space(template=["plain", "xml"], instruction="direct", demos="none", answer_format="bare", labels="names")
    assert small.size == 8

    found = run(small, Landscape(smooth), DEV, Options(trials=40))

    assert len(found.trials) == 8
    assert found.reason == "every prompt of the space that was drawn has been tried"


def test_failed_calls_are_no_wrong_answers() -> None:
    """A prompt whose calls fail is neither scored nor ever the winner."""

    def evaluate(prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        if prompt.template == "xml":
            return [Outcome(row.id, Kind.ERROR, None, None, text="overloaded") for row in rows]
        return Landscape(smooth)(prompt, rows)

    found = run(space(), evaluate, DEV, Options(trials=30))

    failed = [trial for trial in found.trials if trial.prompt.template == "xml"]
    assert failed
    assert {State.FAILED} == {trial.state for trial in failed}
    assert {None} == {trial.score for trial in failed}
    assert failed[0].reason == "16 of 16 calls failed (overloaded)"


def test_a_few_failed_calls_are_left_out_of_the_score() -> None:
    """A score is over the rows that could be scored; its n says how many."""

    def evaluate(prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        return [
            Outcome(row.id, Kind.ERROR, None, None) if row.id == "d7" else Outcome(row.id, Kind.RIGHT, 1.0, row.target)
            for row in rows
        ]

    found = run(space(), evaluate, DEV, Options(trials=1))

    assert found.best.score == 1.0
    assert len(DEV) - 1 == found.best.n


def test_a_seed_prompt_that_cannot_be_scored_is_an_error() -> None:
    """If every call of the seed prompt fails there is nothing to search."""

    def evaluate(_prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        return [Outcome(row.id, Kind.ERROR, None, None, text="no route to host") for row in rows]

    with pytest.raises(InputError, match=r"no prompt could be scored: 16 of 16 calls failed \(no route to host\)"):
        run(space(), evaluate, DEV)


def test_an_unknown_sampler_is_refused() -> None:
    """The message names the samplers that exist."""
    with pytest.raises(InputError, match=r"unknown sampler 'tpee'; allowed: tpe, random\. Did you mean 'tpe'"):
        run(space(), Landscape(smooth), DEV, Options(sampler="tpee", trials=3))


def test_events_and_kept_trials_tell_the_whole_course() -> None:
    """Every trial is kept once, in order, and every block is announced."""
    events: list[Event] = []
    kept: list[Trial] = []

    found = run(space(), Landscape(smooth), DEV, Options(trials=10), hooks=Hooks(events.append, kept.append))

    assert list(found.trials) == kept
    assert [trial.number for trial in kept] == [e.trial.number for e in events if isinstance(e, TrialEnded)]
    assert sum(len(trial.steps) for trial in kept) == sum(isinstance(event, BlockScored) for event in events)


def test_blocks_hold_the_answers_evenly() -> None:
    """The first block of an uneven dev set has each answer in about its share."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("rare" if i < 12 else "common",)) for i in range(96)]
    met: list[Example] = []

    def evaluate(_prompt: Prompt, block: Sequence[Example]) -> list[Outcome]:
        met.extend(block)
        return [Outcome(row.id, Kind.RIGHT, 1.0, row.target) for row in block]

    run(space(), evaluate, rows, Options(trials=1))

    for start in range(0, 96, 16):
        assert sum(row.target == "rare" for row in met[start : start + 16]) == 2


def test_hyperparameters_are_searched_within_their_budget() -> None:
    """The best of a few trials comes near the top of a hill, the same for the same seed."""

    def hill(chooser: object) -> float:
        x = chooser.suggest_float("x", -4.0, 4.0)  # type: ignore[attr-defined]
        return -((x - 1.0) ** 2)

    best = best_hyperparameters(hill, trials=40, seconds=30, seed=0)

    assert abs(best["x"] - 1.0) < 0.5  # type: ignore[operator]
    assert best == best_hyperparameters(hill, trials=40, seconds=30, seed=0)


def test_a_narrow_space_is_searched_to_its_last_prompt() -> None:
    """TPE likes to stay where it is good; what it would leave out is tried all the same."""
    narrow = space(template=["plain", "xml"], instruction=["direct", "decide"], demos=["none", "nearest"], k=[2, 4])

    found = run(narrow, Landscape(smooth), DEV, Options(trials=1000))

    assert len({trial.prompt.digest for trial in found.trials}) == narrow.size == len(found.trials)


def test_a_failed_first_trial_is_not_kept() -> None:
    """What cannot be scored leaves nothing behind that a later run would have to replay."""
    kept: list[Trial] = []

    def evaluate(_prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        return [Outcome(row.id, Kind.ERROR, None, None, text="gone") for row in rows]

    with pytest.raises(InputError):
        run(space(), evaluate, DEV, hooks=Hooks(keep=kept.append))

    assert kept == []


def test_a_fault_that_passes_costs_no_row() -> None:
    """Rows whose call failed are asked once more at the end of the trial."""
    asked: Counter[str] = Counter()

    def evaluate(_prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        asked.update(row.id for row in rows)
        return [
            Outcome(row.id, Kind.ERROR, None, None)
            if row.id in {"d3", "d50"} and asked[row.id] == 1
            else Outcome(row.id, Kind.RIGHT, 1.0, row.target)
            for row in rows
        ]

    found = run(space(), evaluate, DEV, Options(trials=1))

    assert found.best.n == len(DEV)
    assert asked.total() == len(DEV) + 2


def test_a_prompt_that_fails_on_hard_rows_is_not_the_better_for_it() -> None:
    """Trials that lack rows are ranked by their lead over the seed prompt on the rows they have."""
    hard = {f"d{i}" for i in range(0, 96, 24)}  # few enough to be left out, also of a block

    def evaluate(prompt: Prompt, rows: Sequence[Example]) -> list[Outcome]:
        failing = prompt.template == "xml"
        return [
            Outcome(row.id, Kind.ERROR, None, None, text="too long")
            if failing and row.id in hard
            else Outcome(row.id, Kind.WRONG, 0.0, "x")
            if row.id in hard
            else Outcome(row.id, Kind.RIGHT, 1.0, row.target)
            for row in rows
        ]

    found = run(space(), evaluate, DEV, Options(trials=20))

    failing = [trial for trial in found.trials if trial.prompt.template == "xml" and trial.state is State.COMPLETE]
    assert failing
    assert failing[0].score == 1.0
    assert found.best.prompt.template != "xml"


def test_a_metric_of_the_whole_set_is_not_raced_by_rows() -> None:
    """Under macro-F1 always saying the commonest answer is no leader, and a score lies within its interval."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("bad" if i % 8 == 0 else "good",)) for i in range(96)]

    def evaluate(prompt: Prompt, block: Sequence[Example]) -> list[Outcome]:
        careful = prompt.template != "plain"
        answers = [row.target if careful and (row.target == "bad" or int(row.id[1:]) % 3) else "good" for row in block]
        answers = [
            "bad" if careful and row.id in {"d3", "d9", "d15"} else a for row, a in zip(block, answers, strict=True)
        ]
        kinds = [Kind.RIGHT if a == row.target else Kind.WRONG for row, a in zip(block, answers, strict=True)]
        return [Outcome(r.id, k, float(k is Kind.RIGHT), a) for r, k, a in zip(block, kinds, answers, strict=True)]

    found = run(space(), evaluate, rows, Options(METRICS["macro_f1"], trials=12))

    assert found.best.prompt.template != "plain"
    assert found.trials[0].score is not None
    assert found.best.score is not None
    assert found.best.score > found.trials[0].score
    for trial in found.trials:
        assert trial.interval
        assert trial.score is not None
        assert trial.interval[0] <= trial.score <= trial.interval[1]
        assert "raced out" not in trial.reason
