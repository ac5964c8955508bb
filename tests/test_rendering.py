"""A row is rendered with the prompt's demos, or with the nearest of them, and never with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.prompt import Example, Message, Prompt, Slot, Turn
from search_spaces.rendering import Renderer
from search_spaces.templates import BUILT_IN


def row(number: int, text: str, target: str = "a") -> Example:
    return Example(f"r{number}", (("text", text),), (target,))


POOL = (
    row(0, "the printer is out of paper"),
    row(1, "the printer is out of ink"),
    row(2, "my invoice shows the wrong sum", "b"),
    row(3, "my invoice never came", "b"),
    row(4, "lovely weather today", "c"),
)


def prompt(template: str = "chat", nearest: int = 0, demos: tuple[Example, ...] = POOL) -> Prompt:
    return Prompt(template, "Sort it.", ("text",), "label", labels=("a", "b", "c"), demos=demos, nearest=nearest)


def numbers(demos: Sequence[Example]) -> list[int]:
    return [int(demo.id[1:]) for demo in demos]


def shown(messages: Sequence[Message], pool: Sequence[Example] = POOL) -> list[int]:
    """Numbers of the rows whose text is shown, in the order in which they are."""
    text = "\n".join(message.content for message in messages)
    return [number for place, number in sorted((text.find(demo.text), int(demo.id[1:])) for demo in pool) if place >= 0]


@pytest.mark.parametrize("template", BUILT_IN)
def test_fixed_demos_are_shown_to_every_row(template: str) -> None:
    """Without `nearest` each row is shown the same demos, in the order of the prompt."""
    renderer, fixed = Renderer(), prompt(template, demos=POOL[:3][::-1])

    for asked in ("the invoice of the printer", "anything"):
        assert shown(renderer.messages(fixed, row(9, asked))) == [2, 1, 0]
        assert numbers(renderer.demos(fixed, row(9, asked))) == [2, 1, 0]


@pytest.mark.parametrize("template", BUILT_IN)
def test_each_row_is_shown_its_nearest_demos(template: str) -> None:
    """With `nearest` a row is shown as many of the pool as the prompt says: those most like it."""
    renderer, near = Renderer(), prompt(template, nearest=2)

    assert sorted(shown(renderer.messages(near, row(9, "printer without paper")))) == [0, 1]
    assert sorted(shown(renderer.messages(near, row(9, "wrong invoice")))) == [2, 3]


@pytest.mark.parametrize("template", BUILT_IN)
def test_the_nearest_stands_last_or_first(template: str) -> None:
    """The order of the nearest demos is by similarity, and the prompt says which end it is at."""
    renderer, asked = Renderer(), row(9, "out of paper: the printer")
    last = prompt(template, nearest=3)
    first = replace(last, nearest_last=False)

    assert shown(renderer.messages(last, asked))[-2:] == [1, 0]
    assert shown(renderer.messages(first, asked))[:2] == [0, 1]
    assert renderer.demos(last, asked) == renderer.demos(first, asked)[::-1]


@given(number=st.integers(0, 4), nearest=st.integers(1, 6), last=st.booleans())
def test_a_row_is_never_its_own_demo(number: int, nearest: int, last: bool) -> None:
    """A row of the pool is shown the others alone, and as many as there are or as were asked for."""
    asked = replace(prompt(nearest=nearest), nearest_last=last)
    demos = Renderer().demos(asked, POOL[number])

    assert POOL[number] not in demos
    assert len(set(demos)) == len(demos) == min(nearest, len(POOL) - 1)


def test_another_row_with_the_same_text_may_be_shown() -> None:
    """A row is known by its id: a duplicate in the pool is another row."""
    twin = replace(POOL[0], id="r7")

    assert numbers(Renderer().demos(prompt(nearest=1), twin)) == [0]


def test_a_row_is_only_shown_once() -> None:
    """A prompt whose only possible demo is the row itself shows none."""
    own = prompt(nearest=1, demos=POOL[:1])
    messages = Renderer().messages(own, POOL[0])

    assert [message.role for message in messages] == ["system", "user"]
    assert messages == Renderer().messages(replace(own, demos=(), nearest=0), POOL[0])


@pytest.mark.parametrize("template", BUILT_IN)
def test_nearest_demos_are_laid_out_as_fixed_ones_are(template: str) -> None:
    """A row with nearest demos is sent what a prompt that fixes these demos would send."""
    renderer, near = Renderer(), prompt(template, nearest=3)
    for asked in (*POOL, row(9, "ink")):
        fixed = replace(near, demos=renderer.demos(near, asked), nearest=0)

        assert renderer.messages(near, asked) == renderer.messages(fixed, asked)


@settings(max_examples=30, deadline=None)
@given(
    asked=st.lists(st.sampled_from([*POOL, row(9, "ink"), row(8, "sum")]), max_size=8),
    order=st.permutations([prompt(), prompt("xml"), prompt(nearest=2), prompt("plain", 4), prompt(demos=POOL[:1])]),
)
def test_a_renderer_remembers_nothing_that_changes_what_it_says(asked: list[Example], order: list[Prompt]) -> None:
    """One renderer for many prompts and rows says the same as a new one for each."""
    one = Renderer()
    for example in asked:
        for each in order:
            assert one.messages(each, example) == Renderer().messages(each, example)


def test_turns_are_the_messages_before_their_inputs() -> None:
    """A prompt with fixed demos has turns with slots, and filling them is rendering."""
    renderer, fixed = Renderer(), prompt()
    turns = renderer.turns(fixed)

    assert turns[-1] == Turn("user", (Slot("text"),))
    assert tuple(turn.fill({"text": "x {text}"}) for turn in turns) == renderer.messages(fixed, row(9, "x {text}"))


def test_inputs_that_a_prompt_does_not_name_are_not_sent() -> None:
    """The slots take what they name; other columns of a row stay at home."""
    example = Example("r9", (("secret", "the answer"), ("text", "ink")))

    assert Renderer().messages(prompt(demos=()), example)[-1] == Message("user", "ink")


@dataclass(frozen=True)
class Shout:
    """A template from elsewhere."""

    id: str = "shout"

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        return (Turn("user", (f"{prompt.instruction.upper()} {len(demos)} ", Slot("text"))),)

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        return target.upper()

    def parse(self, prompt: Prompt, text: str) -> str | None:
        return text.lower() or None


def test_templates_can_be_handed_in() -> None:
    """A renderer knows the built-in templates and those that it was given, and uses the one that a prompt names."""
    renderer = Renderer({"shout": Shout()})

    assert set(renderer.templates) == {*BUILT_IN, "shout"}
    assert renderer.messages(prompt("shout", nearest=2), row(9, "ink")) == (Message("user", "SORT IT. 2 ink"),)
    assert renderer.parse(prompt("shout"), "ABC") == "abc"
    assert renderer.parse(prompt("shout"), "") is None
    assert renderer.parse(prompt("chat"), "B.") == "b"


def test_handing_in_templates_changes_no_other_renderer() -> None:
    """Each renderer has its own set of templates."""
    Renderer({"plain": Shout(), "shout": Shout()})

    assert Renderer().templates == dict(BUILT_IN)
