"""Every built-in space loads and builds, a task file changes it as specified, and its size is counted correctly."""

from __future__ import annotations

import json
import math
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.programs.adapters import adapter_templates
from search_spaces import space as room
from search_spaces.demos import ORDERS, STRATEGIES
from search_spaces.opening import DimensionError, load_space
from search_spaces.prompt import Example
from search_spaces.rendering import Renderer
from search_spaces.space import KINDS, POOL_LIMIT, REASONING_TOKENS, Facts, Space, Value

LABELS = ("bug", "billing", "praise")
TOPICS = {
    "bug": ["crash on start", "crash while saving a file", "it froze and then a crash", "blank page, crash"],
    "billing": ["invoice is wrong", "second invoice for May", "invoice without tax number, please", "an invoice twice"],
    "praise": ["lovely", "what a lovely update this is", "lovely work, thanks", "my team says: lovely tool"],
}
ROWS = tuple(
    Example(
        f"{label}{number}", (("text", f"{text} {suffix}"), ("product_name", f"P{number}")), (label,), f"Said {text}."
    )
    for label, texts in TOPICS.items()
    for number, (text, suffix) in enumerate((text, suffix) for text in texts for suffix in ("again", "since yesterday"))
)
NOTES = {"bug": "something broke", "praise": "someone is glad"}


def facts(kind: str = "classification", **changes: Any) -> Facts:
    given = Facts(kind, ("text", "product_name"), "main_topic", ROWS, description="Sort mails.")
    closed = {"labels": LABELS, "label_notes": NOTES} if kind == "classification" else {}
    return replace(given, **{**closed, **changes})


class Wish:
    """Chooses what was wished for, else the seed."""

    def __init__(self, space: Space, wishes: Mapping[str, Value]) -> None:
        self.space, self.wishes = space, wishes
        self.asked: list[str] = []

    def _choose(self, name: str) -> Any:
        self.asked.append(name)
        return self.wishes.get(name, self.space[name].seed)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self._choose(name) in choices
        assert list(choices) == list(self.space[name].choices)
        return self._choose(name)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        assert low <= self._choose(name) <= high
        return int(self._choose(name))

    def suggest_float(self, name: str, low: float, high: float) -> float:
        assert low <= self._choose(name) <= high
        return float(self._choose(name))


class Dice:
    """Chooses at random, and finite numbers where the range is of real ones."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float) -> float:
        return self.rng.uniform(low, high)


class Steps:
    """Chooses by position, and notes how many positions there were: the wheel of an odometer at each question."""

    def __init__(self, positions: Sequence[int]) -> None:
        self.positions, self.sizes = positions, list[int]()

    def _next(self, options: Sequence[Any]) -> Any:
        at = len(self.sizes)
        self.sizes.append(len(options))
        return options[self.positions[at] if at < len(self.positions) else 0]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._next(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self._next(range(low, high + 1)))

    def suggest_float(self, name: str, low: float, high: float) -> float:
        raise AssertionError(f"{name} cannot be counted")


def every_choice(space: Space) -> Iterator[dict[str, Value]]:
    """All choices of a space, found by turning the odometer, without a look at its size or conditions."""
    positions: list[int] | None = []
    while positions is not None:
        steps = Steps(positions)
        yield space.choose(steps)
        wheel = [*positions, *[0] * (len(steps.sizes) - len(positions))]
        turn = next((i for i in range(len(wheel) - 1, -1, -1) if wheel[i] + 1 < steps.sizes[i]), None)
        positions = None if turn is None else [*wheel[:turn], wheel[turn] + 1]


def values(space: Space, name: str) -> list[Value]:
    """All values of a dimension; of a range of whole numbers, each of them."""
    dimension = space[name]
    if dimension.choices:
        return list(dimension.choices)
    assert isinstance(dimension.low, int)
    assert isinstance(dimension.high, int)
    return list(range(dimension.low, dimension.high + 1))


def reach(space: Space, name: str, value: Value) -> dict[str, Value]:
    """The seed, changed so that a dimension applies and has a value."""
    wishes: dict[str, Value] = {name: value}
    for parent, allowed in space[name].when.items():
        wishes |= reach(space, parent, allowed[0])
    return wishes


every_kind = pytest.mark.parametrize("kind", KINDS)
DIMENSIONS = [(kind, dimension.name) for kind in KINDS for dimension in load_space(facts(kind)).dimensions]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """A renderer for every template of the ready-made spaces."""
    return Renderer(adapter_templates())


# --- the ready-made spaces --------------------------------------------------------------------------------


@every_kind
def test_every_kind_has_a_ready_made_space(kind: str) -> None:
    """The space of a kind holds what every kind shares and what its own file adds, each with a word on what it is."""
    space = load_space(facts(kind))
    files = [Path(room.__file__).parent / f"{file}.toml" for file in ("every_kind", kind)]
    declared = {name for file in files for name in tomllib.loads(file.read_text(encoding="utf-8"))}

    assert {dimension.name for dimension in space.dimensions} == declared
    assert all(dimension.about for dimension in space.dimensions)
    assert not [d.name for d in space.dimensions if d.locked and d.name != "form"]  # of which these rows say little


def test_every_ready_made_file_is_of_a_kind() -> None:
    """No file is left that no task and no program opens."""
    files = {file.stem for file in Path(room.__file__).parent.glob("*.toml")}

    assert files == {*KINDS, "every_kind", "program"}


@pytest.mark.parametrize(("kind", "name"), DIMENSIONS)
def test_seeds_and_conditions_name_what_there_is(kind: str, name: str) -> None:
    """A seed is a value of its dimension; a condition names values of a dimension that is chosen before."""
    space = load_space(facts(kind))
    names = [dimension.name for dimension in space.dimensions]

    assert space[name].holds(space[name].seed)
    for parent, allowed in space[name].when.items():
        assert names.index(parent) < names.index(name)
        assert all(space[parent].holds(value) for value in allowed if value != "many_terms")  # these rows have few


@pytest.mark.parametrize(("kind", "name"), DIMENSIONS)
def test_every_value_builds_another_prompt_that_renders(kind: str, name: str, renderer: Renderer) -> None:
    """Each value of each dimension can be reached, makes a prompt of its own, and is shown in what is sent."""
    space = load_space(facts(kind))
    found: dict[str, Value] = {}
    sent: dict[tuple[Any, ...], Value] = {}
    for value in values(space, name):
        params = space.choose(Wish(space, {"demos": "random", **reach(space, name, value)}))
        prompt = space.build(params)
        messages = renderer.messages(prompt, ROWS[0])

        assert params[name] == value
        assert renderer.parse(prompt, renderer.templates[prompt.template].answer(prompt, "bug")) == "bug"
        assert ROWS[0].inputs[0][1] in messages[-1].content
        found[prompt.digest] = value
        sent[(messages, prompt.settings)] = value

    assert list(found.values()) == list(sent.values()) == values(space, name)


@every_kind
@pytest.mark.parametrize("description", ["", "Sort mails."])
def test_wordings_leave_no_name_unfilled(kind: str, description: str) -> None:
    """Every wording speaks of this task: its words are put in, and no brace or empty sentence is left."""
    space = load_space(facts(kind, description=description))
    for name in ("persona", "instruction", "caution"):
        for value in values(space, name):
            params = space.choose(Wish(space, {name: value}))
            text = space.build(params).instruction
            wording = space["instruction"].texts[str(params["instruction"])]

            assert text.strip() == text != ""
            assert [odd for odd in ("{", "  ", "product_name", "main_topic") if odd in text] == []
            assert ("Sort mails." in text) == ("{description}" in wording)


@every_kind
def test_ids_are_short_and_wordings_whole(kind: str) -> None:
    """Every choice with a text behind it has one; ids are words that a results table can show."""
    for dimension in load_space(facts(kind)).dimensions:
        for choice in dimension.choices:
            assert not isinstance(choice, str) or choice.replace("_", "").replace("-", "").isalnum()
            assert not dimension.texts or isinstance(dimension.texts[str(choice)], str)


def test_the_space_knows_every_strategy_and_order() -> None:
    """What the demos can do, the space can choose."""
    space = load_space(facts())

    assert set(space["demos"].choices) == {"none", "nearest", *STRATEGIES}
    assert set(space["demo_order"].choices) == set(ORDERS)


def test_the_space_knows_every_template(renderer: Renderer) -> None:
    """What can be laid out, the space can choose."""
    assert set(load_space(facts())["template"].choices) == set(renderer.templates)


# --- conditions -------------------------------------------------------------------------------------------


@every_kind
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_does_not_apply_is_not_chosen(kind: str, seed: int) -> None:
    """A dimension has a value exactly when its conditions hold, and the value is one of its own."""
    space = load_space(facts(kind))
    params = space.choose(Dice(seed))
    for dimension in space.dimensions:
        applies = all(params.get(parent) in allowed for parent, allowed in dimension.when.items())

        assert (dimension.name in params) == applies == dimension.applies(params)
        assert not applies or dimension.holds(params[dimension.name])


def test_the_conditions_are_those_of_the_task() -> None:
    """Zero-shot prompts have no number of demos, nearest ones no draw, unlisted labels no place, adapters no format.

    What does not begin with a label is not calibrated.
    """
    space = load_space(facts())

    def asked(**wishes: Value) -> set[str]:
        return set(space.choose(Wish(space, wishes)))

    of_demos = {"k", "demo_order", "demo_seed", "nearest_order"}
    assert asked(demos="none") & of_demos == set()
    assert asked(demos="nearest") & of_demos == {"k", "nearest_order"}
    assert asked(demos="balanced") & of_demos == {"k", "demo_order", "demo_seed"}
    assert "label_place" not in asked(labels="none")
    assert "label_place" in asked(labels="terms")
    assert "answer_format" not in asked(template="dspy-xml")
    assert "answer_format" in asked(template="xml")
    assert "calibration" in asked(answer_format="bare", reasoning="off")
    assert "calibration" not in asked(answer_format="json") | asked(template="dspy-xml") | asked(reasoning="on")


def test_a_locked_dimension_is_not_asked_for() -> None:
    """A chooser sees only what there is to choose, and the locked value is taken."""
    space = load_space(facts(), {"template": "xml", "k": 3, "demos": ["random"], "demo_seed": {"low": 4, "high": 4}})
    chooser = Wish(space, {})
    params = space.choose(chooser)

    assert {"template", "k", "demos", "demo_seed"} & set(chooser.asked) == set()
    assert {name: params[name] for name in ("template", "k", "demos", "demo_seed")} == {
        "template": "xml",
        "k": 3,
        "demos": "random",
        "demo_seed": 4,
    }


# --- size -------------------------------------------------------------------------------------------------

NARROWED: dict[str, dict[str, Any]] = {
    "all conditions": {
        "template": ["plain", "dspy-chat"],
        "demos": ["none", "random", "nearest"],
        "k": [1, 2],
        "demo_order": ["drawn", "reversed"],
        "demo_seed": {"low": 3, "high": 5},
        "answer_format": ["json", "bare"],
        "persona": "none",
        "instruction": ["task", "direct"],
        "caution": "none",
        "labels": ["names", "none"],
        "temperature": 0.0,
        "reasoning": "off",
    },
    "nothing": {
        "template": "plain",
        "demos": "none",
        "answer_format": "bare",
        "persona": "none",
        "instruction": "direct",
        "caution": "none",
        "labels": "none",
        "temperature": 0.0,
        "reasoning": "off",
    },
}
NARROWED["one range"] = {**NARROWED["nothing"], "demos": ["random"], "k": {"low": 0, "high": 3}, "demo_order": "drawn"}
NARROWED["locked ranges"] = {**NARROWED["one range"], "demo_seed": {"low": 2, "high": 2}, "k": {"low": 1, "high": 1}}
NARROWED["no adapters"] = {**NARROWED["all conditions"], "template": {"drop": ["dspy-chat", "dspy-json", "dspy-xml"]}}


# Templates with their formats (bare ones calibrated or not), times demos (none, drawn, nearest), times listings with
# their places, times wordings.
SIZES = {
    "all conditions": (1 + 2 + 1) * (1 + 2 * 2 * 3 + 2 * 2) * (2 + 1) * 2,
    "nothing": 2,
    "one range": 2 * 4 * 10,
    "locked ranges": 2,
    "no adapters": (4 * (1 + 2)) * (1 + 2 * 2 * 3 + 2 * 2) * (2 + 1) * 2,
}


@pytest.mark.parametrize(("name", "expected"), list(SIZES.items()), ids=SIZES)
def test_the_size_is_the_number_of_choices(name: str, expected: int) -> None:
    """The size is what enumeration counts: values multiply, and what does not apply does not count."""
    space = load_space(facts(), NARROWED[name])
    choices = list(every_choice(space))

    assert len(choices) == space.size == expected
    assert len({json.dumps(params, sort_keys=True) for params in choices}) == expected
    assert list(space.points()) == choices


def test_a_dimension_lists_its_values() -> None:
    """The values are the choices, or every whole number of a range, or the one that a range is locked to."""
    space = load_space(facts(), {"temperature": {"low": 0.3, "high": 0.3}, "k": [4]})

    assert space["k"].values == (4,)
    assert space["demo_seed"].values == tuple(range(10))
    assert space["temperature"].values == (0.3,)
    assert all(len(dimension.values) == dimension.size for dimension in space.dimensions)


@every_kind
def test_ready_made_spaces_are_larger_than_any_search(kind: str) -> None:
    """Nobody tries every prompt, so that there is something to search; all of it can be counted."""
    assert 10_000 < load_space(facts(kind)).size < math.inf


def test_a_range_of_real_numbers_has_no_size() -> None:
    """There is no end to numbers between two numbers, unless they are one."""
    assert load_space(facts(), {"temperature": {"low": 0.0, "high": 1.0}}).size == math.inf
    assert load_space(facts(), {"temperature": {"low": 0.3, "high": 0.3}}).size < math.inf


# --- building ---------------------------------------------------------------------------------------------


@every_kind
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_building_is_deterministic(kind: str, seed: int) -> None:
    """The same parameters make the same prompt, in another space of the same facts and after other prompts."""
    one, other = load_space(facts(kind)), load_space(facts(kind))
    params = one.choose(Dice(seed))
    prompt = one.build(params)
    other.suggest(Dice(seed + 1))

    assert other.build(dict(reversed(params.items()))) == prompt
    assert one.suggest(Dice(seed)) == prompt


@pytest.mark.parametrize("strategy", [*STRATEGIES, "nearest"])
def test_zero_demos_are_none(strategy: str) -> None:
    """Zero demos of any strategy make the same prompt as no demos."""
    space = load_space(facts(), {"k": {"add": [0]}})
    none = space.build(space.choose(Wish(space, {"demos": "none"})))
    zero = space.build(space.choose(Wish(space, {"demos": strategy, "k": 0})))

    assert none.demos == ()
    assert zero.digest == none.digest


@pytest.mark.parametrize("strategy", [*STRATEGIES, "nearest"])
def test_no_rows_are_no_demos(strategy: str) -> None:
    """Where no row has an answer, there is nothing to show, whatever was chosen."""
    blank = tuple(replace(row, targets=()) for row in ROWS)
    space = load_space(facts(train=blank))

    assert space.build(space.choose(Wish(space, {"demos": strategy}))).demos == ()


def test_demos_are_as_many_as_chosen() -> None:
    """k demos of the training rows; with `nearest` the whole pool, of which k are shown; all, if k is larger."""
    space = load_space(facts(), {"k": {"add": [500]}})
    four, all_of_them, near, near_all = (
        space.build(space.choose(Wish(space, {"demos": strategy, "k": k})))
        for strategy in ("random", "nearest")
        for k in (4, 500)
    )

    assert (len(four.demos), four.nearest) == (4, 0)
    assert sorted(demo.id for demo in all_of_them.demos) == sorted(row.id for row in ROWS)
    assert (near.demos, near.nearest, near.nearest_last) == (ROWS, 4, True)
    assert (near_all.demos, near_all.nearest) == (ROWS, len(ROWS))


def test_the_draw_depends_on_its_seed_and_strategy_alone() -> None:
    """Another wording or template shows the same demos, so that they can be told apart from them; order moves them."""
    space = load_space(facts())

    def shown(**wishes: Value) -> tuple[Example, ...]:
        return space.build(space.choose(Wish(space, {"demos": "random", **wishes}))).demos

    assert shown() == shown(template="chat", instruction="direct", reasoning="on", labels="none")
    assert shown() != shown(demo_seed=1)
    assert shown(demo_order="reversed") == shown()[::-1]
    assert shown(nearest_order="similar_first") == shown()


def test_settings_come_from_the_space_and_the_task() -> None:
    """Temperature is chosen; there is room for the longest known answer, and for thinking if asked; or as told.

    Log-probabilities are asked for where they are used.
    """
    space = load_space(facts())
    long = load_space(facts(train=(*ROWS, replace(ROWS[0], targets=("x" * 3000,)))))
    told = load_space(facts(max_tokens=7))

    def room_of(space: Space, **wishes: Value) -> int:
        return space.build(space.choose(Wish(space, wishes))).settings.max_tokens

    assert space.build(space.choose(Wish(space, {"temperature": 0.5}))).settings.temperature == 0.5
    assert room_of(space, reasoning="on") == room_of(space) + REASONING_TOKENS
    assert room_of(space) == 48 + len("billing") // 3
    assert room_of(long) == 48 + 1000
    assert room_of(told) == room_of(told, reasoning="on") == 7
    assert space.build(space.choose(Wish(space, {"calibration": "on"}))).settings.logprobs
    assert not space.build(space.seed()).settings.logprobs


def test_labels_are_listed_as_chosen() -> None:
    """By name, with their most telling words, with the descriptions given, or not at all; they stay closed."""
    space = load_space(facts())
    listed = {
        listing: space.build(space.choose(Wish(space, {"labels": listing, "label_place": "query"})))
        for listing in ("names", "none", "terms", "described")
    }

    assert {name: prompt.labels for name, prompt in listed.items()} == dict.fromkeys(listed, LABELS)
    assert {name: prompt.label_place for name, prompt in listed.items()} == {
        "names": "query",
        "none": "none",
        "terms": "query",
        "described": "query",
    }
    assert listed["names"].notes == listed["none"].notes == ()
    assert listed["described"].notes == ("something broke", "", "someone is glad")
    assert [note.split(", ")[0] for note in listed["terms"].notes] == ["crash", "invoice", "lovely"]


TELLING = " ".join(f"word{'abcdefghijkl'[n]}" for n in range(12))
OPEN = tuple(replace(row, targets=(f"{row.id[-1]} things",)) for row in ROWS)
FROM_ROWS = {  # kind -> facts with rows that tell something, and which choices say it
    "classification": (
        facts(train=(*ROWS, *(replace(ROWS[n], id=f"m{n}", inputs=(("text", TELLING),)) for n in range(2)))),
        {"telling", "terms", "many_terms", "described_terms", "own_terms"},
    ),
    "multilabel": (facts("multilabel", labels=LABELS, label_notes=NOTES), {"terms", "count", "own_terms"}),
    "extraction": (
        facts("extraction", train=tuple(replace(row, targets=('{"city": "Rome"}',)) for row in ROWS)),
        {"keys", "only_keys"},
    ),
    "qa": (facts("qa", train=OPEN), {"length", "written", "both"}),
    "generation": (facts("generation", train=OPEN), {"length", "written", "both"}),
}


@every_kind
def test_what_training_rows_tell_is_known_from_what_they_do_not(kind: str) -> None:
    """A prompt without demos uses training rows exactly where it would say something else without any."""
    told, expected = FROM_ROWS[kind]
    own = {"own_terms": "Mind {terms}.", "own_names": "Mind the {inputs}, of {labels}."}
    space = load_space(told, {"persona": {"add": own}} if told.labels else {})
    without = Space(space.dimensions, replace(told, train=()))
    using = set[Value]()
    for name in ("persona", "instruction", "form", "caution", "labels"):
        for value in values(space, name) if name in space.seed() else ():
            params = space.choose(Wish(space, {"demos": "none", **reach(space, name, value)}))
            said, bare = ((p.instruction, p.notes) for p in (space.build(params), without.build(params)))

            assert space.uses_training_rows(params) == (said != bare)
            using |= {value} if space.uses_training_rows(params) else set()

    assert using == expected


def test_open_answers_have_no_labels() -> None:
    """A kind without a closed list builds prompts without one."""
    space = load_space(facts("qa"))

    assert "labels" not in space.seed()
    assert space.build(space.seed()).labels == ()
    assert space.build(space.seed()).label_place == "none"


def test_rows_to_draw_from_are_limited_and_spread() -> None:
    """Of many rows, demos are drawn from a limited number, at even distances."""
    many = tuple(replace(ROWS[0], id=str(number)) for number in range(5 * POOL_LIMIT // 2))
    pool = [int(row.id) for row in load_space(facts(train=many)).pool.examples]

    assert len(pool) == len(set(pool)) == POOL_LIMIT
    assert pool == sorted(pool)
    assert pool[0] == 0
    assert {b - a for a, b in pairwise(pool)} == {2, 3}
    assert load_space(facts(train=many[:POOL_LIMIT])).pool.examples == many[:POOL_LIMIT]


# --- the task's own changes -------------------------------------------------------------------------------


def test_a_value_locks_and_a_list_narrows() -> None:
    """A value leaves nothing to choose; a list leaves what it names, in its order, each once."""
    space = load_space(facts(), {"template": "xml", "demos": ["nearest", "none", "nearest"], "temperature": 1})

    assert (space["template"].choices, space["template"].locked) == (("xml",), True)
    assert space["demos"].choices == ("nearest", "none")
    assert space["temperature"].choices == (1.0,)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("template", {"only": ["chat", "xml"]}, ("chat", "xml")),
        ("template", {"only": "xml"}, ("xml",)),
        ("answer_format", {"drop": ["json"]}, ("bare", "tagged")),
        ("answer_format", {"drop": "bare"}, ("json", "tagged")),
        ("answer_format", {"drop": []}, ("bare", "json", "tagged")),
        ("demos", {"only": ["none", "random", "nearest"], "drop": ["none"]}, ("random", "nearest")),
        ("caution", {"drop": "near"}, ("none", "literal", "data")),
        ("k", {"only": 4}, (4,)),
        ("k", [32, 0], (32, 0)),
        ("k", {"drop": [1, 16]}, (2, 4, 8)),
        ("k", {"drop": 16}, (1, 2, 4, 8)),
        ("k", {"add": [32, 4]}, (1, 2, 4, 8, 16, 32)),
        ("k", {"add": 3, "drop": [2, 4, 8, 16]}, (1, 3)),
        ("demo_seed", [7, 3], (7, 3)),
        ("demo_seed", {"only": [7], "add": [12]}, (7, 12)),
        ("demo_seed", {}, ()),
        ("temperature", [0, 1, 0.0], (0.0, 1.0)),
        ("temperature", {"only": [1], "add": [0.5]}, (1.0, 0.5)),
        ("temperature", {"add": [2]}, (0.0, 0.5, 2.0)),
    ],
)
def test_changes_do_what_they_say(name: str, change: Any, expected: tuple[Value, ...]) -> None:
    """`only` keeps, `drop` takes away, `add` puts behind; a single value stands for a list of one."""
    dimension = load_space(facts(), {name: change})[name]

    assert dimension.choices == expected
    assert dimension.holds(dimension.seed)
    assert {type(choice) for choice in expected} <= {type(dimension.seed)}


def test_dropping_an_id_drops_no_part_of_it() -> None:
    """To drop "task_rules" is to drop neither "task" nor "rules"."""
    before = load_space(facts())["instruction"].choices
    after = load_space(facts(), {"instruction": {"drop": "task_rules"}})["instruction"].choices

    assert set(before) - set(after) == {"task_rules"}


@pytest.mark.parametrize(
    ("name", "low", "high", "whole", "seed"),
    [
        ("k", 1, 12, True, 8),
        ("k", 0, 3, True, 0),
        ("demo_seed", 5, 29, True, 5),
        ("temperature", 0, 1, False, 0.0),
        ("temperature", 0.5, 2, False, 0.5),
    ],
)
def test_a_range_is_of_the_numbers_of_its_dimension(
    name: str, low: float, high: float, whole: bool, seed: float
) -> None:
    """Between low and high lie whole or real numbers, as the dimension has them and however the ends are written."""
    space = load_space(facts(), {name: {"low": low, "high": high}, "demos": "random"})
    drawn = [space.choose(Dice(number))[name] for number in range(300)]

    assert space[name].whole == whole
    assert {type(number) for number in drawn} == {int if whole else float}
    assert all(low <= float(number) <= high for number in drawn)
    assert len(set(drawn)) == (high - low + 1 if whole else len(drawn))
    assert space[name].seed == seed
    assert space[name].holds(seed)
    assert not space[name].holds(high + 1)


@pytest.mark.parametrize(
    ("added", "ids"),
    [
        (["Is this a {output}?", "{inputs}: say {labels}."], ("own1", "own2")),
        ({"ask": "Is this a {output}?", "say": "{inputs}: say {labels}."}, ("ask", "say")),
    ],
    ids=["list", "table"],
)
def test_own_wordings_are_added(added: Any, ids: tuple[str, str]) -> None:
    """Wordings of the user's, with ids of their own or given ones, are filled and chosen as the built-in ones are."""
    space = load_space(facts(), {"instruction": {"only": ["direct"], "add": added}})

    assert space["instruction"].choices == ("direct", *ids)
    assert [space.build(space.choose(Wish(space, {"instruction": id_}))).instruction for id_ in ids] == [
        "Is this a main topic?",
        "text and product name: say bug, billing, praise.",
    ]


@pytest.mark.parametrize(
    ("change", "choices"),
    [
        ({"add": {"mine": "Say it."}, "only": ["mine"]}, ("mine",)),
        ({"add": {"mine": "Say it.", "other": "Tell it."}, "only": ["other", "direct"]}, ("other", "direct")),
        ({"add": ["Say it.", "Tell it."], "only": "own2"}, ("own2",)),
        ({"add": ["Say it.", "Tell it."], "only": ["own1", "own2"], "drop": ["own1"]}, ("own2",)),
    ],
)
def test_only_ones_own_wordings_are_kept(change: dict[str, Any], choices: tuple[str, ...]) -> None:
    """`only` may name what is added, and then keeps nothing else; the seed prompt has the first of them."""
    space = load_space(facts(), {"instruction": change})

    assert space["instruction"].choices == choices
    assert space.seed()["instruction"] == choices[0]
    assert space["instruction"].locked == (len(choices) == 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Choose one of {lables}.", r"holds \{lables\}, which stands .*, \{labels\},.* Did you mean \{labels\}\?"),
        ("Read {text}: {labels}?", r"\{text\}, which stands for nothing; .* put in by the template.*write \{ text \}"),
        ("Read {{text}}.", r"holds \{text\}"),
        ("Answer in {length}.", r"holds \{length\}"),  # labels have no usual length
    ],
)
def test_a_wording_with_a_name_that_stands_for_nothing_is_refused(text: str, said: str) -> None:
    """It would be sent with its braces, and bought; the line says what may stand in them."""
    with pytest.raises(DimensionError, match=said):
        load_space(facts(), {"instruction": {"add": [text]}})


def test_braces_that_hold_no_name_stay_as_they_are() -> None:
    """As in JSON, or with spaces."""
    text = 'Answer {"label": ...} or { label }.'
    space = load_space(facts(), {"instruction": {"add": [text]}})

    assert space.build(space.choose(Wish(space, {"instruction": "own1"}))).instruction == text


def test_parts_of_the_instruction_are_joined() -> None:
    """Persona, wording and caution stand behind each other; what is empty leaves no gap."""
    space = load_space(
        facts(), {name: {"add": {"own": f"My {name}."}} for name in ("persona", "instruction", "caution")}
    )
    both = {"persona": "own", "instruction": "own"}

    assert space.build(space.choose(Wish(space, {**both, "caution": "own"}))).instruction == (
        "My persona. My instruction. My caution."
    )
    assert (
        space.build(space.choose(Wish(space, {**both, "caution": "none"}))).instruction == "My persona. My instruction."
    )


def test_what_the_task_has_no_words_for_is_left_out() -> None:
    """Without descriptions of labels none can be shown, and without a description of the task no wording has a hole."""
    bare = load_space(facts(description="", label_notes={"bug": ""}))
    full = load_space(facts())

    assert set(full["labels"].choices) - set(bare["labels"].choices) == {"described", "described_terms"}
    assert set(full["instruction"].choices) - set(bare["instruction"].choices) == {"task", "task_rules"}
    assert (full["instruction"].seed, bare["instruction"].seed) == ("task", "direct")


# --- the seed prompt --------------------------------------------------------------------------------------


def test_the_seed_is_what_anyone_would_try_first() -> None:
    """The seed prompt is the task in its own words, the labels by name, no demos, and what it names is built."""
    space = load_space(facts())

    assert space.seed() == {
        "template": "plain",
        "demos": "none",
        "answer_format": "bare",
        "reasoning": "off",
        "temperature": 0.0,
        "persona": "none",
        "instruction": "task",
        "caution": "none",
        "labels": "names",
        "label_place": "instruction",
        "calibration": "off",
    }
    assert space.build(space.seed()).instruction == "Sort mails."


def test_the_seed_can_be_given() -> None:
    """A task file may say where to begin; dimensions that then apply are part of it, with numbers as they are."""
    space = load_space(
        facts(), {"k": {"add": [5]}}, {"demos": "random", "k": 5, "temperature": 0, "template": "dspy-json"}
    )

    assert {name: space.seed()[name] for name in ("demos", "k", "demo_seed", "temperature")} == {
        "demos": "random",
        "k": 5,
        "demo_seed": 0,
        "temperature": 0.0,
    }
    assert isinstance(space.seed()["temperature"], float)
    assert "answer_format" not in space.seed()


@pytest.mark.parametrize(
    ("change", "seed"),
    [(["xml", "chat"], "xml"), ({"drop": ["plain"]}, "markdown"), (["xml", "plain"], "plain"), ("chat", "chat")],
)
def test_the_seed_moves_only_if_it_must(change: Any, seed: str) -> None:
    """A seed that was taken away gives way to the first that is left."""
    assert load_space(facts(), {"template": change})["template"].seed == seed


@every_kind
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_seeds_belong_however_a_space_is_narrowed(kind: str, data: st.DataObject) -> None:
    """Whatever is left of each dimension holds its seed, and the seed prompt can be built and chosen."""
    ready = load_space(facts(kind))
    changes = {
        dimension.name: data.draw(st.lists(st.sampled_from(values(ready, dimension.name)), min_size=1, unique=True))
        for dimension in data.draw(st.lists(st.sampled_from(ready.dimensions), unique_by=lambda d: d.name))
    }
    space = load_space(facts(kind), changes)

    assert all(dimension.holds(dimension.seed) for dimension in space.dimensions)
    assert space.choose(Wish(space, {})) == space.seed()
    assert space.build(space.seed()).template == space["template"].seed


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tempelate": "xml"}, ["'tempelate'", "template, demos, k"]),
        ({"template": "xmll"}, ["template = 'xmll'", "allowed: plain, markdown, xml"]),
        ({"template": ["xml", "x"]}, ["template = 'x'", "allowed: plain, markdown, xml"]),
        ({"template": {"only": "x"}}, ["template = 'x'", "allowed: plain"]),
        ({"template": []}, ["template is empty", "allowed: plain"]),
        ({"template": {"only": []}}, ["template is empty", "allowed: plain"]),
        ({"template": [["xml"]]}, ["template = ['xml']", "allowed: plain"]),
        ({"template": 3}, ["template = 3", "allowed: plain"]),
        ({"template": {"drop": ["x"]}}, ["template = 'x'", "allowed: plain"]),
        ({"template": {"only": ["xml"], "drop": ["xml"]}}, ["template has nothing left", "allowed: xml"]),
        ({"template": {"add": ["x"]}}, ["template] takes no `add`", "allowed: plain"]),
        ({"template": {"keep": ["xml"]}}, ["template] has no key 'keep'", "allowed: only, drop, add, low, high"]),
        ({"template": {"low": 0, "high": 1}}, ["template] takes no range", "allowed: plain"]),
        ({"reasoning": True}, ["reasoning = True", "allowed: off, on"]),
        ({"k": -1}, ["k = -1", "whole numbers from 0"]),
        ({"k": [4, 1.5]}, ["k = 1.5", "whole numbers from 0"]),
        ({"k": "4"}, ["k = '4'", "whole numbers from 0"]),
        ({"k": True}, ["k = True", "whole numbers from 0"]),
        ({"k": {"drop": [3]}}, ["k = 3", "allowed: 1, 2, 4, 8, 16"]),
        ({"k": {"add": [-3]}}, ["k = -3", "whole numbers from 0"]),
        ({"k": {"low": 1}}, ["k] a range needs low and high"]),
        ({"k": {"low": 1, "high": 4, "drop": [2]}}, ["k] a range needs low and high", "nothing else"]),
        ({"k": {"low": 4, "high": 1}}, ["low = 4 is above high = 1"]),
        ({"k": {"low": 1, "high": 4.5}}, ["k = 4.5", "whole numbers from 0"]),
        ({"demo_seed": {"drop": [3]}}, ["demo_seed] is a range of 0 to 9", "allowed: only, low and high"]),
        ({"demo_seed": {"add": [12]}}, ["demo_seed] is a range of 0 to 9", "allowed: only, low and high"]),
        ({"temperature": 2.5}, ["temperature = 2.5", "numbers from 0 to 2"]),
        ({"temperature": math.nan}, ["temperature = nan", "numbers from 0 to 2"]),
        ({"temperature": {"low": 0, "high": math.inf}}, ["temperature = inf", "numbers from 0 to 2"]),
        ({"temperature": False}, ["temperature = False", "numbers from 0 to 2"]),
        ({"instruction": {"add": ["  "]}}, ["instruction] add must be texts"]),
        ({"instruction": {"add": [3]}}, ["instruction] add must be texts"]),
        ({"instruction": {"add": "One text."}}, ["instruction] add must be texts"]),
        ({"instruction": {"add": {"direct": "Mine."}}}, ["'direct' is taken", "choose another"]),
        ({"instruction": {"add": {"mine": "Mine."}, "only": ["mien"]}}, ["instruction = 'mien'", "question", "mine"]),
        ({"instruction": {"add": {"mine": "Mine."}, "only": []}}, ["instruction is empty", "mine"]),
    ],
)
def test_changes_that_cannot_be_made_are_refused(changes: dict[str, Any], said: list[str]) -> None:
    """A refusal names the dimension and what was given, and says what is allowed."""
    with pytest.raises(DimensionError) as caught:
        load_space(facts(), changes)

    assert [part for part in said if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        ({"tempelate": "xml"}, ["[seed]", "'tempelate'", "template, demos"]),
        ({"template": "x"}, ["[seed] template = 'x'", "allowed: plain"]),
        ({"template": ["xml"]}, ["[seed] template = ['xml']", "allowed: plain"]),
        ({"k": 3}, ["[seed] k = 3", "allowed: 1, 2, 4, 8, 16"]),
        ({"k": True}, ["[seed] k = True", "allowed: 1, 2"]),
        ({"demo_seed": 10}, ["[seed] demo_seed = 10", "allowed: 0 to 9"]),
        ({"demo_seed": 1.5}, ["[seed] demo_seed = 1.5", "allowed: 0 to 9"]),
        ({"demo_seed": False}, ["[seed] demo_seed = False", "allowed: 0 to 9"]),
    ],
)
def test_seeds_that_do_not_belong_are_refused(seed: dict[str, Any], said: list[str]) -> None:
    """The seed prompt is a point of the space, after its changes."""
    with pytest.raises(DimensionError) as caught:
        load_space(facts(), None, seed)

    assert [part for part in said if part not in str(caught.value)] == []


def test_what_a_task_has_no_words_for_cannot_be_asked_for() -> None:
    """Descriptions of labels that were not given cannot be shown, and the refusal lists what can."""
    with pytest.raises(DimensionError, match=r"labels = 'described'; allowed: names, none, terms$"):
        load_space(facts(label_notes={}), {"labels": "described"})

    with pytest.raises(DimensionError, match=r"instruction = 'task'; allowed: direct, "):
        load_space(facts(description=""), None, {"instruction": "task"})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "classification"])
def test_dimensions_of_another_kind_are_refused(kind: str) -> None:
    """A task without a closed list has no labels to list."""
    with pytest.raises(DimensionError, match="no dimension 'labels'"):
        load_space(facts(kind), {"labels": "none"})


# --- the digest -------------------------------------------------------------------------------------------


def changed_facts() -> dict[str, Facts]:
    """The facts, changed in one thing each."""
    row, *rest = ROWS
    return {
        "kind": facts("qa"),
        "inputs": facts(inputs=("product_name", "text")),
        "output": facts(output="topic"),
        "description": facts(description="Sort mail."),
        "labels": facts(labels=LABELS[::-1]),
        "notes": facts(label_notes={**NOTES, "billing": "money"}),
        "max_tokens": facts(max_tokens=50),
        "fewer rows": facts(train=tuple(rest)),
        "order of rows": facts(train=(*rest, row)),
        "text": facts(train=(replace(row, inputs=(("text", "other"), row.inputs[1])), *rest)),
        "target": facts(train=(replace(row, targets=("praise",)), *rest)),
        "targets": facts(train=(replace(row, targets=(*row.targets, "praise")), *rest)),
        "reasoning": facts(train=(replace(row, reasoning=""), *rest)),
        "id": facts(train=(replace(row, id="other"), *rest)),
    }


def test_the_digest_changes_with_every_fact() -> None:
    """Spaces in which the same parameters may mean another prompt have different digests."""
    digests = {name: load_space(changed).digest for name, changed in changed_facts().items()}

    assert len({load_space(facts()).digest, *digests.values()}) == len(digests) + 1


def test_the_digest_changes_with_every_dimension() -> None:
    """A space that was narrowed, widened, reordered, reworded or begun elsewhere is another space."""
    changes: list[Any] = [
        {"template": "xml"},
        {"template": ["plain", "xml"]},
        {"template": ["xml", "plain"]},
        {"k": {"low": 1, "high": 16}},
        {"k": {"low": 1, "high": 17}},
        {"k": {"add": [3]}},
        {"temperature": {"low": 0, "high": 1}},
        {"instruction": {"add": {"own": "One."}}},
        {"instruction": {"add": {"own": "Two."}}},
        {"instruction": {"add": {"mine": "Two."}}},
        {"caution": {"add": {"mine": "Two."}}},
    ]
    digests = [load_space(facts(), change).digest for change in changes]
    seeded = [load_space(facts(), None, seed).digest for seed in ({"template": "xml"}, {"k": 4})]

    assert len({load_space(facts()).digest, *digests, *seeded}) == 1 + len(changes) + 2


def test_the_digest_of_the_same_space_is_the_same() -> None:
    """What does not matter to a prompt, or is said in another way, does not change the digest."""
    same = {
        "rows without answers": load_space(facts(train=(*ROWS, Example("x", (("text", "crash"),))))),
        "order of notes": load_space(facts(label_notes=dict(reversed(NOTES.items())))),
        "no changes": load_space(facts(), {}, {}),
        "the seed itself": load_space(facts(), {}, {"template": "plain", "temperature": 0}),
        "all values": load_space(facts(), {"reasoning": ["off", "on"], "temperature": [0, 0.5]}),
        "nothing dropped": load_space(facts(), {"template": {"drop": []}}),
    }
    used = load_space(facts())
    used.build(used.choose(Wish(used, {"demos": "hardest"})))

    assert {name for name, space in same.items() if space.digest != used.digest} == set()


def test_the_digest_sees_rows_that_no_demo_is_drawn_from() -> None:
    """Among very many rows, one that is not in the pool still tells the words of its label and the longest answer."""
    many = tuple(
        Example(
            str(number),
            (("text", f"{'crash' if number % 2 else 'invoice'} {number}"),),
            (("bug", "billing")[number % 2],),
        )
        for number in range(POOL_LIMIT + 10)
    )
    space = load_space(facts(train=many))
    outside = next(i for i, row in enumerate(many) if row not in space.pool.examples)
    row = many[outside]
    near = next(i for i in range(outside + 1, len(many)) if many[i].target == row.target)
    reworded = {
        outside: replace(row, inputs=(("text", "gadget"),)),
        near: replace(many[near], inputs=(("text", "gadget"),)),
    }
    longer = {outside: replace(row, targets=("x" * 100,))}
    digests = {
        load_space(facts(train=tuple(changed.get(i, row) for i, row in enumerate(many)))).digest
        for changed in ({}, reworded, longer)
    }

    assert len(digests) == 3


def test_own_wordings_may_be_all_there_are() -> None:
    """With every built-in wording dropped, what was added is left, and becomes the seed prompt's."""
    facts = Facts("classification", ("text",), "label", (), ("a", "b"))
    every = list(load_space(facts)["instruction"].choices)

    own = load_space(facts, {"instruction": {"add": ["Mine?"], "drop": every}})

    assert own["instruction"].choices == ("own1",)
    assert own.build(own.seed()).instruction == "Mine?"
