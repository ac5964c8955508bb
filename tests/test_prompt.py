"""The data classes are values: frozen, equal if their fields are, preserved by JSON, and identified by a digest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.prompt import Example, Message, Prompt, Settings, Slot, Turn, digest, fill

texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=6)


def plain(*values: str) -> Prompt:
    """A prompt with one demo for each value."""
    demos = tuple(Example(f"r{number}", (("text", value),), ("a",)) for number, value in enumerate(values))
    return Prompt("plain", "Do it.", ("text",), "label", labels=("a", "b"), demos=demos)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    inputs = draw(st.dictionaries(names, texts, max_size=3))
    targets = draw(st.lists(texts, max_size=3))
    return Example(draw(names), tuple(inputs.items()), tuple(targets), draw(texts))


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    labels = draw(st.lists(texts, max_size=3, unique=True))
    noted = draw(st.booleans())
    return Prompt(
        template=draw(names),
        instruction=draw(texts),
        inputs=tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True))),
        output=draw(names),
        labels=tuple(labels),
        notes=tuple(draw(texts) for _ in labels) if noted else (),
        label_place=draw(st.sampled_from(["none", "instruction", "query"])),
        answer_format=draw(st.sampled_from(["bare", "json", "tagged"])),
        reasoning=draw(st.booleans()),
        demos=tuple(draw(st.lists(examples(), max_size=3))),
        nearest=draw(st.integers(0, 3)),
        nearest_last=draw(st.booleans()),
        settings=Settings(draw(st.floats(0, 2)), draw(st.integers(1, 4096)), draw(st.booleans())),
        prior=tuple((label, draw(st.floats(-30, 0))) for label in labels),
    )


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


# --- examples ---------------------------------------------------------------------------------------------


def test_the_first_target_is_the_preferred_one() -> None:
    """Of several accepted answers the first is the one to show; without any it is an empty text."""
    assert Example("1", (), ("x", "y")).target == "x"
    assert Example("1", ()).target == ""


def test_the_text_of_an_example_is_its_inputs_alone() -> None:
    """Similarity is measured on the inputs, in order, and on nothing that tells the answer."""
    example = Example("id", (("title", "One"), ("body", "Two\nThree")), ("answer",), "because")

    assert example.text == "One\nTwo\nThree"


@given(example=examples())
def test_examples_survive_json(example: Example) -> None:
    """An example that was written as JSON and read again is the same."""
    assert Example.from_dict(through_json(example.to_dict())) == example


def test_an_example_without_reasoning_is_read() -> None:
    """JSON that says nothing of a worked solution makes an example without one."""
    data = {"id": "1", "inputs": {"text": "x"}, "targets": ["a"]}

    assert Example.from_dict(data) == Example("1", (("text", "x"),), ("a",))


# --- turns ------------------------------------------------------------------------------------------------


def test_slots_are_filled_and_texts_left_alone() -> None:
    """Slots take the inputs of their names; a text that looks like a slot is a text."""
    turn = Turn("user", ("{a} ", Slot("a"), "{{b}}", Slot("b"), Slot("a")))

    assert turn.fill({"a": "1", "b": "2"}) == Message("user", "{a} 1{{b}}21")


@given(a=st.text(alphabet="ab{}$%", max_size=8), b=st.text(alphabet="ab{}$%", max_size=8))
def test_filling_is_one_pass(a: str, b: str) -> None:
    """An input is put where its slot is, whatever it holds."""
    turns = (Turn("system", ("rules",)), Turn("user", (Slot("b"), "|", Slot("a"))))

    assert fill(turns, {"a": a, "b": b}) == (Message("system", "rules"), Message("user", f"{b}|{a}"))


def test_a_slot_without_an_input_is_a_bug() -> None:
    """A slot is never left out in silence."""
    with pytest.raises(KeyError):
        Turn("user", (Slot("a"),)).fill({"b": "x"})


def test_a_message_is_written_as_chat_models_take_it() -> None:
    """A message has a role and a content, and nothing else."""
    assert Message("user", "Hi").to_dict() == {"role": "user", "content": "Hi"}


# --- prompts ----------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(prompt=prompts())
def test_prompts_survive_json(prompt: Prompt) -> None:
    """A prompt that was written as JSON and read again is the same, and has the same digest and hash."""
    again = Prompt.from_dict(through_json(prompt.to_dict()))

    assert again == prompt
    assert again.digest == prompt.digest
    assert hash(again) == hash(prompt)


@pytest.mark.parametrize("value", [Example("1", ()), Message("user", ""), Slot("a"), Turn("user", ()), plain()])
def test_nouns_are_frozen(value: Any) -> None:
    """A fact does not change once it is made."""
    name = dataclasses.fields(value)[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "other")


CHANGES: dict[str, Any] = {
    "template": "xml",
    "instruction": "Do it",
    "inputs": ("text", "title"),
    "output": "Label",
    "labels": ("b", "a"),
    "notes": ("", "note"),
    "label_place": "query",
    "answer_format": "json",
    "reasoning": True,
    "demos": plain("y", "x").demos,
    "nearest": 1,
    "nearest_last": False,
    "settings": Settings(0.5, 64),
    "prior": (("a", 0.0), ("b", -0.5)),
}


def test_every_field_counts_in_the_digest() -> None:
    """Two prompts that differ in one field have different digests, and every field was tried."""
    prompt = plain("x", "y")
    changed = {name: replace(prompt, **{name: value}).digest for name, value in CHANGES.items()}

    assert {field.name for field in dataclasses.fields(Prompt)} == set(changed)
    assert len({prompt.digest, *changed.values()}) == len(CHANGES) + 1


@pytest.mark.parametrize(
    "demo",
    [
        Example("r0", (("text", "X"),), ("a",)),
        Example("r0", (("Text", "x"),), ("a",)),
        Example("r0", (("text", "x"),), ("b",)),
        Example("r0", (("text", "x"),), ("a",), "because"),
    ],
)
def test_every_part_of_a_demo_counts_in_the_digest(demo: Example) -> None:
    """A prompt that shows another text, answer or reasoning is another prompt."""
    assert replace(plain("x"), demos=(demo,)).digest != plain("x").digest


def test_the_room_for_the_answer_counts_in_the_digest() -> None:
    """The same messages with other settings are another prompt."""
    assert replace(plain(), settings=Settings(0.0, 65)).digest != plain().digest


def test_settings_are_sent_as_chat_models_take_them() -> None:
    """Of log-probabilities nothing is said unless they are wanted."""
    assert Settings(0.5, 64).to_dict() == {"temperature": 0.5, "max_tokens": 64}
    assert Settings(0.5, 64, logprobs=True).to_dict().items() >= {"logprobs": True, "top_logprobs": 20}.items()


def test_a_prompt_written_before_there_was_calibration_is_read() -> None:
    """It is not calibrated."""
    data = plain().to_dict()
    del data["prior"], data["settings"]["logprobs"]

    assert Prompt.from_dict(data) == plain()
    assert not plain().calibrated


def test_a_digest_is_the_hash_of_the_canonical_json() -> None:
    """A digest is the start of the SHA-256 of ASCII JSON with sorted keys: any program can compute it."""
    expected = hashlib.sha256(b'{"a":null,"b":[1,"\\u00e9",0.5]}').hexdigest()[:16]

    assert digest({"b": [1, "é", 0.5], "a": None}) == expected
    assert digest({"a": None, "b": (1, "é", 0.5)}) == expected


def test_texts_do_not_run_together_in_a_digest() -> None:
    """The same characters, cut elsewhere, are another value."""
    cuts = [["ab", "c"], ["a", "bc"], ["abc"], ["ab,c"], 'ab","c']

    assert len({digest(cut) for cut in cuts}) == len(cuts)
