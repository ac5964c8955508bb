"""The search, on landscapes whose truth is known: what must hold for the pooled searcher and for the controls alike.

No model, and no database but where a round trip through one is the point.
"""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.engine.board import CALLS_A_ROW
from optimizer.errors import BudgetSpent, InputError
from optimizer.events import BlockScored, Decided, Event, TrialEnded
from optimizer.records import Kind, Outcome, Run, State, Trial
from optimizer.scoring import METRICS
from optimizer.search import Cell, Found, Hooks, Options, run
from optimizer.store import Store
from search_spaces.prompt import Example, Prompt
from tests.landscape import DEV, Landscape, smooth, space

FEW = DEV[:36]
WAYS = {  # sampler, pruner
    "pooled": ("pooled", "none"),
    "tpe, halved": ("tpe", "halving"),
    "tpe, raced": ("tpe", "racing"),
    "random, in full": ("random", "none"),
}
CONTROLS = [way for way in WAYS if way != "pooled"]
every_way = pytest.mark.parametrize("way", WAYS)


def options(way: str, calls: int = 300, **changes: object) -> Options:
    """Options of a way to search."""
    sampler, pruner = WAYS[way]
    return replace(Options(sampler=sampler, pruner=pruner, calls=calls), **changes)  # type: ignore[arg-type]


def facts(trials: Sequence[Trial]) -> list[tuple[object, ...]]:
    """All that is said of trials, except what came of the clock."""
    return [
        (
            *(t.number, dict(t.params), t.prompt, t.state, t.score, t.interval, t.n, dict(t.steps), t.reason),
            *(t.estimate, t.credible, {(o.example_id, o.kind, o.score, o.answer, o.text, o.step) for o in t.outcomes}),
        )
        for t in trials
    ]


# --- what it finds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "calls"), [("pooled", 400), ("tpe, halved", 900), ("tpe, raced", 900)])
def test_finds_a_much_better_prompt(way: str, calls: int) -> None:
    """On a smooth landscape the winner's true accuracy is far above the seed's, for every seed tried."""
    for seed in range(2):
        found = run(space(), Landscape(), FEW, options(way, calls, seed=seed))

        assert smooth(found.best.prompt) > smooth(found.trials[0].prompt) + 0.15


def test_the_pooled_searcher_comes_further_than_a_control() -> None:
    """With the same few calls its winners are truly better than those of TPE, on average over seeds."""
    means = {}
    for way in ("pooled", "tpe, halved"):
        found = [run(space(), Landscape(), FEW, options(way, 300, seed=seed)) for seed in range(4)]
        means[way] = sum(smooth(f.best.prompt) for f in found) / len(found)

    assert means["pooled"] > means["tpe, halved"] + 0.03


def test_few_calls_on_many_rows_are_not_spent_on_the_seed_prompt() -> None:
    """On 25 of 96 rows 200 calls find a much better prompt; nearly half of them would go to the seed prompt on all."""
    for seed in range(4):
        found = run(space(), Landscape(), DEV, options("pooled", 200, seed=seed))

        assert found.trials[0].n == found.best.n == 25
        assert len(found.trials) > 20
        assert smooth(found.best.prompt) > smooth(found.trials[0].prompt) + 0.24


@pytest.mark.parametrize("calls", [100, 250])
def test_the_last_calls_lead_to_a_winner(calls: int) -> None:
    """Few as they are, the calls kept for the race end with a full score of the prompt that leads then."""
    for seed in range(8):
        found = run(space(), Landscape(), FEW, options("pooled", calls, seed=seed))

        assert found.best.number != 0, f"seed {seed}: nothing but the seed prompt was scored in full"


@pytest.mark.parametrize(("way", "share"), [("pooled", 0.3), ("tpe, halved", 0.9), ("tpe, raced", 0.9)])
def test_trials_cost_far_less_than_full_evaluations(way: str, share: float) -> None:
    """What is hardly among the best is dropped after a few rows."""
    landscape = Landscape()

    found = run(space(), landscape, FEW, options(way, 800 if way in CONTROLS else 300, seed=1))

    assert landscape.calls < share * len(found.trials) * len(FEW)
    assert {State.COMPLETE, State.PRUNED} == {trial.state for trial in found.trials}


@every_way
def test_the_seed_prompt_comes_first_and_is_scored_in_full(way: str) -> None:
    """Trial 0 is the seed prompt with all dev rows, however bad it is; so is the winner."""
    found = run(space(), Landscape(), FEW, options(way))

    assert space().build(space().seed()) == found.trials[0].prompt
    assert [(trial.state, trial.n) for trial in (found.trials[0], found.best)] == [(State.COMPLETE, len(FEW))] * 2
    assert found.trials[found.best.number] == found.best


@every_way
def test_trials_are_numbered_as_they_were_opened_and_no_prompt_twice(way: str) -> None:
    """Numbers count from 0, and every trial is another prompt, made from its parameters."""
    found = run(space(), Landscape(), FEW, options(way))

    assert list(range(len(found.trials))) == [trial.number for trial in found.trials]
    assert len({trial.prompt.digest for trial in found.trials}) == len(found.trials)
    assert [space().build(trial.params) for trial in found.trials] == [trial.prompt for trial in found.trials]


@every_way
def test_every_stopped_trial_says_why(way: str) -> None:
    """No trial is left running, each ends with a reason, and so does the search."""
    found = run(space(), Landscape(), FEW, options(way))

    assert all(trial.reason for trial in found.trials)
    assert State.RUNNING not in {trial.state for trial in found.trials}
    assert found.reason


def test_racing_and_halving_say_which_of_them_it_was() -> None:
    """A control's pruned trials name the pruner."""
    for way, reason in (("tpe, halved", "halved"), ("tpe, raced", "raced out")):
        found = run(space(), Landscape(), FEW, options(way, 800))

        pruned = {trial.reason.split(":")[0] for trial in found.trials if trial.state is State.PRUNED}
        assert reason in pruned
        assert pruned <= {reason, "the search ended"}


@every_way
def test_another_seed_takes_another_course(way: str) -> None:
    """The seed decides the trials."""
    one, other = (run(space(), Landscape(), FEW, options(way, 200, seed=seed)) for seed in (0, 1))

    assert [dict(t.params) for t in one.trials] != [dict(t.params) for t in other.trials]


# --- cells and calls --------------------------------------------------------------------------------------


def shaky(prompt: Prompt, row: Example, attempt: int) -> bool:
    """About a call in twenty fails, half of those twice."""
    luck = random.Random(f"{prompt.digest} {row.id} shaky").random()
    return luck < 0.05 and (attempt == 1 or luck < 0.025)


@every_way
@pytest.mark.parametrize("fails", [None, shaky])
def test_no_cell_is_asked_twice_unless_its_call_failed(way: str, fails: object) -> None:
    """And then once more, not for ever."""
    landscape = Landscape(fails=shaky) if fails else Landscape()

    run(space(), landscape, FEW, options(way, 400))

    met: dict[tuple[str, str], list[Kind]] = {}
    for (prompt, row), outcome in (entry for step in landscape.log for entry in step):
        met.setdefault((prompt.digest, row.id), []).append(outcome.kind)
    assert {1, 2} >= {len(kinds) for kinds in met.values()}
    assert all(kinds[0] is Kind.ERROR for kinds in met.values() if len(kinds) == 2)
    assert bool(fails) == any(len(kinds) == 2 for kinds in met.values())


@every_way
def test_failed_calls_are_no_answers_that_were_looked_at(way: str) -> None:
    """They count against `calls`, and are told beside the answers."""
    landscape = Landscape(fails=shaky)

    found = run(space(), landscape, FEW, options(way, 61))

    kinds = [outcome.kind for step in landscape.log for _, outcome in step]
    failed = kinds.count(Kind.ERROR)
    assert failed
    said = f"{len(kinds) - failed} answers were looked at and {failed} call{'s' * (failed > 1)} failed"
    assert found.reason.startswith(said)


@every_way
@pytest.mark.parametrize("calls", [3, 20, 61, 250])
def test_no_more_answers_are_looked_at_than_allowed(way: str, calls: int) -> None:
    """`calls` is a hard limit, however few they are; a search that leaves some of them unused says why."""
    landscape = Landscape()

    found = run(space(), landscape, FEW, options(way, calls))

    assert landscape.calls <= calls
    if landscape.calls == calls or way in CONTROLS:
        said, more = found.reason[: len(f"{calls} answers were looked at")], "another prompt" in found.reason
        assert said == f"{calls} answers were looked at"
        assert more == (len(found.trials) == 1 and way == "pooled")
    else:
        left = calls - landscape.calls
        few = f"the {left} call{'s' * (left > 1)} left cannot score another prompt"
        assert found.reason.startswith(("nothing to gain: ", "every prompt that might be the best", few))


@every_way
def test_no_more_prompts_are_opened_than_allowed(way: str) -> None:
    """`trials` is a hard limit too."""
    found = run(space(), Landscape(), FEW, options(way, 500, trials=6))

    assert len(found.trials) <= 6
    assert found.reason


@every_way
def test_the_budget_ends_the_search_with_what_was_found(way: str) -> None:
    """When the budget is used up the best so far is returned, and the reason says so."""
    landscape = Landscape(budget=170)

    found = run(space(), landscape, FEW, options(way, 2000))

    assert landscape.calls <= 170
    assert found.reason == "the budget of 170 calls is used up"
    assert State.RUNNING not in {trial.state for trial in found.trials}
    assert found.best in found.trials


@every_way
def test_a_budget_below_the_first_look_is_refused(way: str) -> None:
    """Without an answer of the seed prompt nothing could be said."""
    with pytest.raises(BudgetSpent, match="used up: it does not cover a first look at the seed prompt"):
        run(space(), Landscape(budget=2), FEW, options(way))


def test_an_unknown_sampler_or_pruner_is_refused() -> None:
    """The message names those that exist; nothing is asked before."""
    landscape = Landscape()

    with pytest.raises(InputError, match=r"unknown sampler 'tpee'; allowed: pooled, tpe, random, gp\. Did you mean"):
        run(space(), landscape, FEW, Options(sampler="tpee"))
    for sampler in ("pooled", "random"):
        with pytest.raises(InputError, match=r"unknown pruner 'halve'; allowed: halving, racing, none\. Did you mean"):
            run(space(), landscape, FEW, Options(sampler=sampler, pruner="halve"))

    assert landscape.calls == 0


def test_a_gaussian_process_without_torch_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install and what else there is; nothing is asked before."""
    landscape, find = Landscape(), importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))

    with pytest.raises(InputError, match="needs torch, and torch is not installed; allowed without it: pooled, tpe"):
        run(space(), landscape, FEW, Options(sampler="gp"))

    assert landscape.calls == 0


# --- calls that fail --------------------------------------------------------------------------------------


@every_way
def test_failed_calls_are_no_wrong_answers(way: str) -> None:
    """A prompt whose calls all fail is neither scored nor ever the winner; others are not drawn into it."""
    landscape = Landscape(fails=lambda prompt, *_: prompt.template == "xml")

    found = run(space(template=["plain", "xml"]), landscape, FEW, options(way, 400))

    lost = [trial for trial in found.trials if trial.prompt.template == "xml"]
    assert {(None, 0, ())} == {(trial.score, trial.n, tuple(trial.steps)) for trial in lost}
    assert found.best.prompt.template != "xml"
    failed = [trial for trial in found.trials if trial.state is State.FAILED]
    assert failed or way == "pooled"  # which has learnt of their template before it has lost so many calls to one
    for trial in failed:
        assert trial in lost
        assert trial.reason == f"{len(trial.outcomes)} of {len(trial.outcomes)} calls failed (overloaded)"


@pytest.mark.parametrize("seed", range(4))
def test_who_fails_where_others_answer_poorly_does_not_draw_the_search(seed: int) -> None:
    """One template is the best on the half of the rows that it answers; no verdict could be had on it."""

    def truth(prompt: Prompt) -> float:
        return {"chat": 0.9, "xml": 0.65}.get(prompt.template, 0.45)

    landscape = Landscape(truth, fails=lambda prompt, row, _: prompt.template == "chat" and int(row.id[1:]) % 2 == 0)

    found = run(space(), landscape, DEV[:60], Options(seed=seed, calls=900))

    assert (found.best.prompt.template, found.best.state) == ("xml", State.COMPLETE)
    asked = sum(len(trial.outcomes) for trial in found.trials if trial.prompt.template == "chat")
    assert asked < 0.25 * landscape.calls


def test_a_seed_prompt_of_which_too_many_calls_fail_is_an_error() -> None:
    """Also if it fails more quietly than chance could: nothing is left that could win."""
    landscape = Landscape(fails=lambda _, row, __: row.id == FEW[0].id)

    with pytest.raises(InputError, match=r"no prompt could be scored: 1 of 4 calls failed \(overloaded\)"):
        run(space(), landscape, FEW[:4], Options(calls=8))


def test_a_space_of_one_prompt_is_searched() -> None:
    """With every dimension locked the seed prompt is scored, and that is all."""
    opened = space()
    seed = opened.seed()
    locked = space(
        **{dimension.name: seed[dimension.name] for dimension in opened.dimensions if dimension.name in seed}
    )

    found = run(locked, Landscape(), FEW, Options(calls=100))

    assert (len(found.trials), found.best.number, found.best.state) == (1, 0, State.COMPLETE)


@every_way
def test_a_row_that_no_prompt_can_answer_is_left_out(way: str) -> None:
    """A score is over the rows that could be scored; its n says how many, its reason how many are lacking."""
    landscape = Landscape(fails=lambda _, row, __: row.id == "d7")

    found = run(space(), landscape, FEW, options(way))

    assert found.trials[0].state is State.COMPLETE
    assert len(FEW) - 1 == found.trials[0].n
    assert found.trials[0].reason == "scored on all 36 dev rows; without 1 failed call"


@every_way
def test_a_fault_that_passes_costs_neither_a_row_nor_a_prompt(way: str) -> None:
    """Cells whose call failed are asked once more, and then count like any other."""
    landscape = Landscape(fails=lambda _, row, attempt: attempt == 1 and int(row.id[1:]) % 24 == 0)

    found = run(space(), landscape, FEW, options(way, 400))

    assert State.FAILED not in {trial.state for trial in found.trials}
    assert len(FEW) == found.trials[0].n == found.best.n


@every_way
def test_a_seed_prompt_that_cannot_be_scored_is_an_error(way: str) -> None:
    """If every call of the seed prompt fails there is nothing to search, and nothing is kept to be replayed."""
    kept: list[Trial] = []

    with pytest.raises(InputError, match=r"no prompt could be scored: 5 of 5 calls failed \(overloaded\)"):
        run(space(), Landscape(fails=lambda *_: True), FEW, options(way), hooks=Hooks(keep=kept.extend))

    assert kept == []


@every_way
def test_a_prompt_that_fails_on_hard_rows_is_not_the_better_for_it(way: str) -> None:
    """Which rows a prompt could be scored on is no merit of its own."""
    hard = {f"d{i}" for i in range(0, 36, 12)}  # few enough to be left out

    @dataclass
    class Uneven(Landscape):
        def _answer(self, prompt: Prompt, row: Example) -> Outcome:
            self.asked[prompt.digest, row.id] += 1
            if prompt.template == "xml" and row.id in hard:
                return Outcome(row.id, Kind.ERROR, None, None, text="too long")
            if row.id in hard or (prompt.template == "xml" and row.id == "d1"):
                return Outcome(row.id, Kind.WRONG, 0.0, "x")
            return Outcome(row.id, Kind.RIGHT, 1.0, row.target)

    found = run(space(template=["plain", "xml"]), Uneven(), FEW, options(way, 600))

    assert any(trial.prompt.template == "xml" for trial in found.trials)
    assert found.best.prompt.template != "xml"


# --- an interrupted search --------------------------------------------------------------------------------


@cache
def whole(way: str) -> tuple[Landscape, Found]:
    """An uninterrupted search in which some calls fail, and what was asked in it."""
    landscape = Landscape(fails=shaky)
    return landscape, run(space(), landscape, FEW, options(way, 250, seed=3))


def interrupted(way: str, cut: int, torn: random.Random) -> tuple[list[Trial], Counter[tuple[str, str]]]:
    """The trials that a search leaves behind which stops in step `cut`, of which some answers are kept; and its calls.

    Of the trials no more is left than their outcomes: states and scores say nothing to a replay.
    """
    landscape, found = whole(way)
    kept: dict[str, dict[str, Outcome]] = {}
    asked: Counter[tuple[str, str]] = Counter()
    for step, entries in enumerate(landscape.log[: cut + 1]):
        for (prompt, row), outcome in entries:
            if step < cut or torn.random() < 0.5:
                kept.setdefault(prompt.digest, {})[row.id] = replace(outcome, step=step)
                asked[prompt.digest, row.id] += 1
    trials = [
        replace(
            trial,
            state=torn.choice(list(State)),
            score=None,
            interval=None,
            n=0,
            steps={},
            reason="",
            outcomes=tuple(kept[trial.prompt.digest].values()),
        )
        for trial in found.trials
        if trial.prompt.digest in kept
    ]
    return trials, asked


def assert_equal_end(way: str, replay: Sequence[Trial], asked: Counter[tuple[str, str]]) -> None:
    """Resume, and compare with the uninterrupted search: the end, and what was asked for it."""
    landscape, found = whole(way)
    rest = Landscape(fails=shaky, asked=Counter(asked))

    resumed = run(space(), rest, FEW, options(way, 250, seed=3), replay=replay)

    assert facts(found.trials) == facts(resumed.trials)
    assert (found.best.number, found.reason) == (resumed.best.number, resumed.reason)
    assert landscape.asked == rest.asked, "nothing was asked again, and nothing else"


@pytest.mark.parametrize("way", ["pooled", "tpe, halved", "random, in full"])
@given(cut=st.floats(0, 1), torn=st.randoms(use_true_random=False))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_a_resumed_search_equals_an_uninterrupted_one(way: str, cut: float, torn: random.Random) -> None:
    """Cut at any step, with any part of that step's answers kept, the replay comes to the same end."""
    trials, asked = interrupted(way, int(cut * len(whole(way)[0].log)), torn)

    assert_equal_end(way, trials, asked)


@every_way
def test_a_search_is_resumed_from_a_results_database(way: str, tmp_path: Path) -> None:
    """Trials that went through a store are replayed alike."""
    trials, asked = interrupted(way, len(whole(way)[0].log) // 2, random.Random(5))
    with Store(tmp_path / "results.db", create=True) as store:
        number = store.start_run(Run(0, "x", {}, "m", "accuracy", "d", "running", ""), "config")
        for trial in trials:
            store.save_trial(number, trial, "text")
        replay = store.trials(number)

    assert_equal_end(way, replay, asked)


@every_way
def test_a_finished_search_is_replayed_without_a_call(way: str) -> None:
    """All that was asked is known."""
    landscape, found = whole(way)

    assert_equal_end(way, found.trials, landscape.asked)


# --- what it tells ----------------------------------------------------------------------------------------


@every_way
def test_events_and_kept_trials_tell_the_whole_course(way: str) -> None:
    """Blocks, decisions and ends are announced; what is kept last of each trial is what the search returns."""
    events: list[Event] = []
    kept: dict[int, Trial] = {}
    landscape = Landscape(fails=shaky)

    def keep(trials: Sequence[Trial]) -> None:
        kept.update({trial.number: trial for trial in trials})

    found = run(space(), landscape, FEW, options(way), hooks=Hooks(events.append, keep))

    decided = [event for event in events if isinstance(event, Decided)]
    ended = [event.trial.number for event in events if isinstance(event, TrialEnded)]
    assert list(found.trials) == [kept[number] for number in sorted(kept)]
    assert sorted(ended) == list(range(len(found.trials)))
    assert [event.calls for event in decided] == sorted({event.calls for event in decided})
    assert (decided[-1].calls, decided[-1].planned) == (landscape.calls, 300)
    assert all(found.trials[event.best].params == event.params for event in decided)
    steps = sum(isinstance(event, BlockScored) for event in events)
    assert steps == sum(len({prompt.digest for (prompt, _), _ in entries}) for entries in landscape.log)


@every_way
def test_a_step_is_kept_before_the_next_is_asked(way: str) -> None:
    """Whatever was answered before stands in the kept trials when more is asked for."""
    kept: dict[int, Trial] = {}

    @dataclass
    class Watched(Landscape):
        def __call__(self, cells: Sequence[Cell]) -> list[Outcome]:
            known = {(t.prompt.digest, o.example_id) for t in kept.values() for o in t.outcomes}
            assert known == set(self.asked)
            return super().__call__(cells)

    def keep(trials: Sequence[Trial]) -> None:
        kept.update({trial.number: trial for trial in trials})

    run(space(), Watched(), FEW, options(way), hooks=Hooks(keep=keep))


def test_what_the_answers_cost_is_told() -> None:
    """The last decision names the cost of all answers."""
    events: list[Event] = []

    def evaluate(cells: Sequence[Cell]) -> list[Outcome]:
        return [replace(outcome, cost=0.25) for outcome in Landscape()(cells)]

    run(space(), evaluate, FEW, options("pooled", 100), hooks=Hooks(events.append))

    decided = [event for event in events if isinstance(event, Decided)]
    assert decided[-1].cost == 0.25 * decided[-1].calls


@pytest.mark.parametrize("way", CONTROLS)
def test_blocks_hold_the_answers_evenly(way: str) -> None:
    """The first rows of an uneven dev set have each answer in about its share."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("rare" if i < 12 else "common",)) for i in range(96)]
    landscape = Landscape()

    run(space(), landscape, rows, options(way, CALLS_A_ROW * len(rows), block=16))

    for entries in landscape.log:
        assert sum(row.target == "rare" for (_, row), _ in entries) == 2


# --- spaces of all sorts ----------------------------------------------------------------------------------

LOCKED = {
    "template": "plain",
    "instruction": "direct",
    "demos": "none",
    "answer_format": "bare",
    "labels": "names",
    "label_place": "instruction",
    "reasoning": "off",
}


@every_way
def test_a_small_space_is_exhausted(way: str) -> None:
    """When every prompt has been tried the search stops and says so; the best of them has won."""
    small = space(**{**LOCKED, "template": ["plain", "xml"], "label_place": ["instruction", "query"]})
    assert small.size == 4
    landscape = Landscape()

    found = run(small, landscape, FEW, options(way, 5000))

    assert len(found.trials) == 4
    assert landscape.calls <= 4 * len(FEW)
    assert found.reason
    assert found.best.prompt.template == "xml"


@pytest.mark.parametrize("way", ["tpe, raced", "random, in full"])
def test_a_narrow_space_is_searched_to_its_last_prompt(way: str) -> None:
    """TPE likes to stay where it is good; what it would leave out is tried all the same."""
    narrow = space(**{**LOCKED, "instruction": ["direct", "decide"], "demos": ["none", "nearest"], "k": [2, 4]})

    found = run(narrow, Landscape(), FEW, options(way, 5000))

    assert len(found.trials) == narrow.size == 10
    assert found.reason == "every prompt of the space that was drawn has been tried"


@every_way
def test_a_space_of_one_prompt_is_scored_and_no_more(way: str) -> None:
    """With everything locked the seed prompt is the winner."""
    alone = space(**LOCKED)
    assert alone.size == 1
    landscape = Landscape()

    found = run(alone, landscape, FEW, options(way, 5000))

    assert found.best == found.trials[0]
    assert (found.best.state, landscape.calls) == (State.COMPLETE, len(FEW))
    assert found.reason


@every_way
def test_ranges_of_real_numbers_are_searched(way: str) -> None:
    """Values lie within the range; where the best ones lie is found."""
    ranged = space(**{**LOCKED, "temperature": {"low": 0.0, "high": 1.0}})

    def warm(prompt: Prompt) -> float:
        return 0.9 - 0.8 * abs(prompt.settings.temperature - 0.75)

    found = run(ranged, Landscape(warm), DEV, options(way, 700))

    tried = [float(trial.params["temperature"]) for trial in found.trials]
    assert all(0.0 <= temperature <= 1.0 for temperature in tried)
    assert len(set(tried)) > 3
    assert warm(found.best.prompt) > warm(found.trials[0].prompt) + 0.2


@every_way
def test_dimensions_that_do_not_apply_are_no_parameters(way: str) -> None:
    """A trial has exactly the parameters that its own values call for."""
    found = run(space(), Landscape(), FEW, options(way))

    strategies = set()
    for trial in found.trials:
        assert [d.name for d in space().dimensions if d.applies(trial.params)] == list(trial.params)
        assert all(space()[name].holds(value) for name, value in trial.params.items())
        strategies.add(trial.params["demos"])
    assert len(strategies) > 2


@every_way
def test_every_row_may_have_a_target_of_its_own(way: str) -> None:
    """Open answers have nothing to balance."""
    rows = [Example(f"d{i}", (("text", str(i)),), (f"answer {i}",)) for i in range(30)]

    assert run(space(), Landscape(), rows, options(way, 240)).best.n == 30


# --- other metrics ----------------------------------------------------------------------------------------


@every_way
def test_graded_scores_are_searched(way: str) -> None:
    """A metric between 0 and 1 leads to a better prompt as well, and its scores lie within their intervals."""
    found = run(space(), Landscape(graded=True), DEV, options(way, 1000, metric=METRICS["token_f1"]))

    assert smooth(found.best.prompt) > smooth(found.trials[0].prompt) + 0.1
    assert any(0 < outcome.score < 1 for outcome in found.best.outcomes if outcome.score is not None)
    for trial in found.trials:
        assert trial.score is not None
        assert trial.interval
        assert trial.interval[0] <= trial.score <= trial.interval[1]


@every_way
def test_a_metric_of_the_whole_set_is_not_raced_by_rows(way: str) -> None:
    """Under macro-F1 always saying the commonest answer is no leader, and a score lies within its interval."""
    rows = [Example(f"d{i}", (("text", str(i)),), ("bad" if i % 8 == 0 else "good",)) for i in range(96)]

    def answer(prompt: Prompt, row: Example) -> str:
        if prompt.template == "plain":
            return "good"
        return "bad" if row.target == "bad" or row.id in {"d3", "d9", "d15"} else "good"

    def evaluate(cells: Sequence[Cell]) -> list[Outcome]:
        answers = [answer(prompt, row) for prompt, row in cells]
        return [
            Outcome(row.id, Kind.RIGHT if said == row.target else Kind.WRONG, float(said == row.target), said)
            for (_, row), said in zip(cells, answers, strict=True)
        ]

    found = run(space(), evaluate, rows, options(way, 600, metric=METRICS["macro_f1"]))

    assert found.best.prompt.template != "plain"
    assert found.trials[0].score is not None
    assert found.best.score is not None
    assert found.best.score > found.trials[0].score
    for trial in found.trials:
        assert trial.interval
        assert trial.score is not None
        assert trial.interval[0] <= trial.score <= trial.interval[1]
        assert "raced out" not in trial.reason


# --- answers that are slow --------------------------------------------------------------------------------


@dataclass
class Late:
    """Answers when they are waited for, and notes what was asked and what was waited for."""

    landscape: Landscape
    said: list[tuple[str, int]]
    asked: int = 0

    def __call__(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        self.asked += 1
        self.said.append(("asked", self.asked))
        return self.wait(cells, self.asked)

    def wait(self, cells: Sequence[Cell], number: int) -> Iterator[Outcome]:
        self.said.append(("waited", number))
        yield from self.landscape(cells)


@pytest.mark.parametrize("ahead", [1, 3])
def test_decisions_do_not_wait_for_slow_answers(ahead: int) -> None:
    """So many further decisions are taken before the answers to one must have come; none before the first answers."""
    said: list[tuple[str, int]] = []

    found = run(space(), Late(Landscape(), said), FEW, options("pooled", ahead=ahead))

    order = {entry: place for place, entry in enumerate(said)}
    last = max(number for _, number in said)
    assert said[:2] == [("asked", 1), ("waited", 1)]
    assert all(order["asked", n + ahead] < order["waited", n] for n in range(2, last - ahead - 12))
    assert [number for what, number in said if what == "waited"] == list(range(1, last + 1))
    assert smooth(found.best.prompt) > smooth(found.trials[0].prompt)


@pytest.mark.parametrize("ahead", [1, 3])
def test_looking_ahead_breaks_no_rule(ahead: int) -> None:
    """No cell is asked twice, no answer beyond the calls, the seed prompt and the winner are scored in full."""
    landscape = Landscape()

    found = run(space(), landscape, FEW, options("pooled", 300, ahead=ahead))

    cells = [(trial.number, o.example_id) for trial in found.trials for o in trial.outcomes]
    assert len(cells) == len(set(cells)) == landscape.calls <= 300
    assert [(trial.state, trial.n) for trial in (found.trials[0], found.best)] == [(State.COMPLETE, len(FEW))] * 2
    assert State.RUNNING not in {trial.state for trial in found.trials}


@pytest.mark.parametrize("after", [40, 150])
def test_a_search_that_looked_ahead_is_resumed_to_the_same_end(after: int) -> None:
    """What was under way at the end is asked again; all else is as it was."""
    whole = run(space(), Landscape(), FEW, options("pooled", ahead=1))
    kept: dict[int, Trial] = {}
    landscape = Landscape()

    def stopping(cells: Sequence[Cell]) -> Sequence[Outcome]:
        if landscape.calls > after:
            raise KeyboardInterrupt
        return landscape(cells)

    with pytest.raises(KeyboardInterrupt):
        run(
            space(),
            stopping,
            FEW,
            options("pooled", ahead=1),
            hooks=Hooks(keep=lambda ts: kept.update({t.number: t for t in ts})),
        )

    again = run(space(), Landscape(), FEW, options("pooled", ahead=1), replay=[kept[n] for n in sorted(kept)])

    assert facts(again.trials) == facts(whole.trials)
    assert (again.best.number, again.reason) == (whole.best.number, whole.reason)
