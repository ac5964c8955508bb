"""DSPy's adapters as templates: they say what DSPy would say, and a winner is the same program inside DSPy."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.programs.adapters import (
    NAMES,
    AdapterTemplate,
    adapter_templates,
    field_names,
    program_files,
    render_program,
    signature_texts,
    to_dspy,
)
from search_spaces.prompt import Example, Message, Prompt, Settings
from search_spaces.rendering import Renderer

ADAPTERS = {"dspy-chat": dspy.ChatAdapter, "dspy-json": dspy.JSONAdapter, "dspy-xml": dspy.XMLAdapter}
LABELS = ("very glad", "sad", 'a "b" & <c>')
NOTES = ("smiles", "", "{odd}")
LISTINGS: dict[str, dict[str, Any]] = {
    "open": {},
    "none": {"labels": LABELS, "label_place": "none"},
    "instruction": {"labels": LABELS},
    "query": {"labels": LABELS, "label_place": "query"},
    "notes": {"labels": LABELS, "notes": NOTES},
    "query-notes": {"labels": LABELS, "notes": NOTES, "label_place": "query"},
}
DEMOS = (
    Example("r1", (("text", 'It\'s "fine"\n\nreally {text}'), ("title", "")), ("very glad",), "Fine is good."),
    Example("r2", (("text", "\\n <b> & co"), ("title", "[[ ## text ## ]]")), ("sad", "very glad"), "Because:\nso."),
)
PROBES: list[dict[str, str]] = [
    {"text": "hello", "title": "x"},
    {"text": " {title} [[ ## label ## ]]\n", "title": "\u2028 \\ ''' \"\"\""},
    {"text": "", "title": "\ue000\ue0010\ue001\ue000"},
]

every_adapter = pytest.mark.parametrize("name", NAMES)


def make(name: str = "dspy-chat", **fields: Any) -> Prompt:
    settled = {
        "instruction": "How does the writer feel?",
        "inputs": ("text", "title"),
        "output": "label",
        "demos": DEMOS,
    }
    return Prompt(name, **{**settled, **fields})


def reload(prompt: Prompt, folder: Path, inputs: Mapping[str, str]) -> tuple[Message, ...]:
    """Write a prompt as a program, load it as a user would, and return what it sends."""
    for file, text in program_files(prompt).items():
        (folder / file).write_bytes(text.encode())
    return render_program(str(folder), inputs)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """A renderer that knows the adapters."""
    return Renderer(adapter_templates())


# --- the adapters as templates ----------------------------------------------------------------------------


def test_there_is_a_template_for_each_adapter() -> None:
    """Each adapter is known by its id, and is DSPy's own."""
    templates = adapter_templates()

    assert tuple(templates) == NAMES == tuple(ADAPTERS)
    for name, template in templates.items():
        assert isinstance(template, AdapterTemplate)
        assert template.id == name
        assert type(template.adapter) is ADAPTERS[name]


@every_adapter
@pytest.mark.parametrize("reasoning", [False, True], ids=["direct", "reasoning"])
def test_messages_are_those_that_dspy_sends(name: str, reasoning: bool, renderer: Renderer) -> None:
    """A signature written by hand, formatted by the adapter with the inputs in it, gives the same messages."""
    fields: dict[str, Any] = {"text": (str, dspy.InputField()), "title": (str, dspy.InputField())}
    fields |= {"reasoning": (str, dspy.OutputField())} if reasoning else {}
    fields |= {"label": (str, dspy.OutputField(desc="one of: very glad, sad"))}
    signature = dspy.make_signature(fields, "How does the writer feel?")
    demos = [
        {**dict(demo.inputs), "label": demo.target} | ({"reasoning": demo.reasoning} if reasoning else {})
        for demo in DEMOS
    ]
    prompt = make(name, labels=("very glad", "sad"), label_place="query", reasoning=reasoning)
    for inputs in PROBES[:2]:
        sent = [message.to_dict() for message in renderer.messages(prompt, Example("x", tuple(inputs.items())))]

        # The adapters strip the last message; what stands there after the inputs is never white space.
        assert sent == ADAPTERS[name]().format(signature, demos, inputs)


@every_adapter
def test_rows_without_reasoning_are_shown_first(name: str, renderer: Renderer) -> None:
    """DSPy shows an example that lacks a field before those that lack none, and says so; order is kept within."""
    demos = tuple(
        Example(f"r{number}", (("text", f"Text {number}"), ("title", "")), ("sad",), reasoning)
        for number, reasoning in enumerate(["so", "", "so", ""])
    )
    messages = renderer.messages(make(name, reasoning=True, demos=demos), Example("x", tuple(PROBES[0].items())))
    shown = [message.content for message in messages if "Text " in message.content]

    assert [int(content.split("Text ")[1][0]) for content in shown] == [1, 3, 0, 2]
    assert ["not supplied" in content for content in shown] == [True, True, False, False]


@every_adapter
def test_answers_are_those_of_the_demos(name: str, renderer: Renderer) -> None:
    """A worked answer is what the adapter shows as the assistant's in a demo."""
    for reasoning in (False, True):
        prompt = make(name, reasoning=reasoning)
        assistant = [turn.fill({}).content for turn in renderer.turns(prompt) if turn.role == "assistant"]

        assert assistant == [renderer.templates[name].answer(prompt, d.target, d.reasoning) for d in DEMOS]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("How does the writer feel?", "")),
        ({"labels": ("a", "b"), "label_place": "none"}, ("How does the writer feel?", "")),
        ({"labels": ("a", "b"), "label_place": "none", "notes": ("x", "y")}, ("How does the writer feel?", "")),
        ({"labels": ("a", "b")}, ("How does the writer feel?\n\nOptions: a, b", "")),
        (
            {"labels": ("a", "b"), "notes": ("x", "")},
            ("How does the writer feel?\n\nOptions:\n- a: x\n- b", ""),
        ),
        ({"labels": ("a", "b"), "label_place": "query"}, ("How does the writer feel?", "one of: a, b")),
        (
            {"labels": ("a", "b"), "label_place": "query", "notes": ("x", "")},
            ("How does the writer feel?", "one of: a: x; b"),
        ),
    ],
)
def test_labels_become_part_of_the_signature(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    """Labels stand in the instruction or describe the answer field, as the prompt says, and nowhere else."""
    assert signature_texts(make(**fields)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("text", "label"), ["text", "label"]),
        (("Product category", "sub-category"), ["Product_category", "sub_category"]),
        (("a b", "a-b", "a_b"), ["a_b", "a_b_", "a_b__"]),
        (("_x", "1st"), ["field__x", "field_1st"]),
        (("instructions", "model_dump_all"), ["field_instructions", "field_model_dump_all"]),
        (("reasoning", "label"), ["reasoning_", "label"]),
        (("Größe", "標題"), ["Größe", "標題"]),
        (("class", "model_name"), ["class", "model_name"]),
    ],
)
def test_fields_get_names_that_dspy_takes(names: tuple[str, ...], expected: list[str]) -> None:
    """A name that DSPy takes stays; any other becomes one, and no two become the same."""
    prompt = make(inputs=names[:-1], output=names[-1], demos=(), reasoning=True)

    assert field_names(prompt) == dict(zip(names, expected, strict=True))


def test_reasoning_may_be_a_field_where_nobody_is_asked_to_think() -> None:
    """The name "reasoning" is taken only by a prompt that asks for reasoning."""
    prompt = make(inputs=("reasoning",), demos=())

    assert field_names(prompt)["reasoning"] == "reasoning"
    assert field_names(replace(prompt, reasoning=True))["reasoning"] == "reasoning_"


# --- a winner as a program --------------------------------------------------------------------------------


@every_adapter
@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("reasoning", [False, True], ids=["direct", "reasoning"])
def test_a_program_sends_what_was_scored(
    name: str, listing: str, reasoning: bool, renderer: Renderer, tmp_path: Path
) -> None:
    """A program that was written, loaded and rendered inside DSPy sends the messages of the search, byte for byte."""
    for demos in ((), DEMOS):
        prompt = make(name, reasoning=reasoning, demos=demos, **LISTINGS[listing])
        for inputs in PROBES:
            expected = renderer.messages(prompt, Example("x", tuple(inputs.items())))

            assert reload(prompt, tmp_path, inputs) == expected


nasty = st.text(alphabet="ab \n\t{}[]#<>&\\'\"$%é\u2028", min_size=1, max_size=12)


shown = st.builds(
    lambda number, text, title, target: Example(f"r{number}", (("text", text), ("title", title)), (target,)),
    st.integers(0, 99),
    nasty,
    nasty,
    nasty,
)
prompts = st.builds(
    make,
    st.sampled_from(NAMES),
    instruction=nasty.map(str.strip).filter(bool),  # DSPy dedents a text, each time anew if it begins with a break
    labels=st.lists(nasty, max_size=3, unique=True).map(tuple),
    label_place=st.sampled_from(["instruction", "query"]),
    demos=st.lists(shown, max_size=2).map(tuple),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=prompts, asked=st.tuples(nasty, nasty))
def test_any_words_survive_the_program(
    prompt: Prompt, asked: tuple[str, str], renderer: Renderer, tmp_path: Path
) -> None:
    """Instructions, labels and demos may hold quotes, braces, breaks and marks."""
    inputs = dict(zip(("text", "title"), asked, strict=True))

    assert reload(prompt, tmp_path, inputs) == renderer.messages(prompt, Example("x", tuple(inputs.items())))


def test_the_state_is_plain_json_and_names_no_model() -> None:
    """The state holds the instruction and the demos, the versions it was made with, and nothing of a model."""
    files = program_files(make(labels=LABELS))
    state = json.loads(files["program.json"])

    assert set(files) == {"program.json", "program.py"}
    assert state["lm"] is None
    assert state["signature"]["instructions"] == signature_texts(make(labels=LABELS))[0]
    assert state["demos"] == [{**dict(demo.inputs), "label": demo.target} for demo in DEMOS]
    assert set(state["metadata"]["dependency_versions"]) >= {"dspy", "python"}


@pytest.mark.parametrize("name", ["plain", *NAMES])
def test_a_program_brings_its_adapter(name: str, tmp_path: Path) -> None:
    """The module has the adapter of its template, DSPy's usual one for other layouts, and none asks a second time."""
    path = tmp_path / "program.py"
    path.write_text(program_files(make(name))["program.py"], encoding="utf-8")
    adapter = runpy.run_path(str(path))["ADAPTER"]

    assert type(adapter) is ADAPTERS.get(name, dspy.ChatAdapter)
    assert name == "dspy-json" or adapter.use_json_adapter_fallback is False


@pytest.mark.parametrize("name", ["my text", "_x", "instructions", "model_dump"])
def test_a_field_that_dspy_does_not_take_is_refused(name: str) -> None:
    """A program's fields are called by the names of the columns, so a name that cannot be one is refused."""
    demo = Example("r", ((name, "x"), ("title", "y")), ("sad",))
    with pytest.raises(ValueError, match=f"'{name}' cannot name a field"):
        program_files(make(inputs=(name, "title"), demos=(demo,)))


# --- a winner as a predictor ------------------------------------------------------------------------------


@every_adapter
@pytest.mark.parametrize("chosen", [{}, {"reasoning": True}, {"nearest": 1}, {"nearest": 2, "nearest_last": False}])
def test_a_predictor_sends_the_messages_that_were_scored(name: str, chosen: dict[str, Any], renderer: Renderer) -> None:
    """`to_dspy` carries wording, demos, also those chosen anew for each input, adapter and settings."""
    prompt = make(name, labels=("very glad", "sad"), label_place="query", **chosen)
    for inputs in PROBES:
        lm = DummyLM([{"reasoning": "So.", "label": "sad"}], adapter=ADAPTERS[name]())
        with dspy.context(lm=lm):
            said = to_dspy(prompt)(**inputs)
        told = lm.history[-1]

        expected = [message.to_dict() for message in renderer.messages(prompt, Example("x", tuple(inputs.items())))]
        assert told["messages"] == expected
        assert said.label == "sad"
        assert (told["kwargs"]["temperature"], told["kwargs"]["max_tokens"]) == (0.0, 64)


@pytest.mark.parametrize("change", [{"template": "plain"}, {"settings": Settings(logprobs=True)}])
def test_what_a_predictor_cannot_carry_is_said(change: dict[str, Any]) -> None:
    """Another template, and calibration, are given up with a warning."""
    with pytest.warns(UserWarning, match="measure the program"):
        to_dspy(replace(make(), **change))
