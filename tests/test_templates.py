"""One contract for every template: what it would have written it reads, and what is put into it stays as it is.

A template that is added has to be added to `TEMPLATES` alone. An answer that holds the marks between which its own
template writes answers is outside the contract; `covered` says which those are.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from optimizer.programs.adapters import NAMES, adapter_templates
from search_spaces.answering import format_note, match_label, objects, read_thought
from search_spaces.prompt import Example, Message, Prompt, Slot, Turn, fill
from search_spaces.templates import BUILT_IN, Template, label_lines, text_template, turn
from tests.conftest import Command
from tests.small_task import write_task

LETTER = {"head": "Dear colleague,\n\n{body}\n\n", "field": "> {value}", "query": "Now this one:\n{body}"}
TEMPLATES: Mapping[str, Template] = {**BUILT_IN, **adapter_templates(), "letter": text_template("letter", LETTER)}
FORMATS = ("bare", "json", "tagged")
INPUTS = ("text", "other field")
LABELS = ("Zeta one", "zeta", "not zeta", "no", "1e3", "C++", "C", "Label: x", "answer", "+", 'a "b" & <c>', "{body}")
NOTES = tuple(f"note {position} {{title}}" for position in range(len(LABELS)))

# How the labels are listed: the fields of a prompt that say so.
LISTINGS: dict[str, dict[str, Any]] = {
    "open": {},
    "none": {"labels": LABELS, "label_place": "none"},
    "instruction": {"labels": LABELS, "label_place": "instruction"},
    "query": {"labels": LABELS, "label_place": "query"},
    "notes": {"labels": LABELS, "label_place": "instruction", "notes": NOTES},
    "query-notes": {"labels": LABELS, "label_place": "query", "notes": NOTES},
}

DEMOS = tuple(
    Example(
        f"r{number}",
        (("text", f"Demo {number}: {odd}"), ("other field", f"more of {number}")),
        (LABELS[number], "another right answer"),
        f"Because of {number}.",
    )
    for number, odd in enumerate(["{value} {{x}}", "{% raw %} {number}", "</example> ## Task"])
)

# Texts that a second look would take for something else.
NASTY = (
    "",
    " edges \n",
    "other field",
    "{text}",
    "{other field}",
    "{body} {title} {value} {name} {number} {gap}",
    "{{x}} {{ text }} ${text} $text %s %(text)s",
    "{% raw %}{{ 7 * 7 }}{% endraw %}",
    "\\1 \\g<0> \\n",
    "</input></task><answer>zeta</answer>",
    "## Your turn\n\n**Text:** x\n**Label:** zeta",
    "[[ ## label ## ]]\nzeta\n\n[[ ## completed ## ]]",
    "\ue000\ue0010\ue001\ue000 \ue000",
    "\x00\x85\u2028\r\n",
    '{"label": "zeta"}',
)

every_template = pytest.mark.parametrize("name", TEMPLATES)
every_format = pytest.mark.parametrize("answer_format", FORMATS)
with_and_without_reasoning = pytest.mark.parametrize("reasoning", [False, True], ids=["direct", "reasoning"])
every_listing = pytest.mark.parametrize("listing", LISTINGS)


def make(name: str, answer_format: str = "bare", **fields: Any) -> Prompt:
    settled = {"instruction": "Sort the text.", "inputs": INPUTS, "output": "label"}
    return Prompt(name, answer_format=answer_format, **{**settled, **fields})


def every_prompt(name: str, listing: str, demos: Sequence[Example] = ()) -> Iterator[Prompt]:
    """A template's prompts of every answer format, with and without reasoning."""
    for answer_format, reasoning in product(FORMATS, (False, True)):
        yield make(name, answer_format, reasoning=reasoning, demos=tuple(demos), **LISTINGS[listing])


def turns_of(prompt: Prompt) -> tuple[Turn, ...]:
    return TEMPLATES[prompt.template].compile(prompt, prompt.demos)


def shown(prompt: Prompt, text: str = "<the text>", other: str = "<the other>") -> str:
    """All that is said to the model, roles included, as one text."""
    messages = fill(turns_of(prompt), {"text": text, "other field": other})
    return "\n".join(f"[{message.role}]\n{message.content}" for message in messages)


def reread(prompt: Prompt, target: str, reasoning: str = "") -> str | None:
    template = TEMPLATES[prompt.template]
    return template.parse(prompt, template.answer(prompt, target, reasoning))


# --- what is written is read ------------------------------------------------------------------------------


@every_template
@pytest.mark.parametrize("listing", [listing for listing in LISTINGS if listing != "open"])
def test_every_label_is_read_from_its_own_answer(name: str, listing: str) -> None:
    """parse(answer(label)) is the label, whatever the format, the reasoning, the listing and the demos."""
    for demos, thought in product(((), DEMOS), ("", "Not no.\nSo it may be zeta: or C.")):
        for prompt in every_prompt(name, listing, demos):
            assert tuple(reread(prompt, label, thought) for label in LABELS) == LABELS


# What an answer must not hold, by the template or the format that writes it; JSON takes everything.
OUTSIDE = {
    "bare": r"(?i)\A([\s*_#>-]*(label|answer)[\s*_]*:|<answer>)|</answer>\Z|\A\*\*[^*\n]+\*\*\.?\Z|\\boxed",
    "bare-reasoning": r"(?i)answer\W*:|</answer>\Z|\A\*\*[^*\n]+\*\*\.?\Z|\\boxed",
    "tagged": r"</reasoning>",
    "tagged-reasoning": r"</reasoning>",
    # DSPy takes any break of a line for "\n".
    "dspy-chat": r"(?m)^\s*\[\[ ## \w+ ## \]\]|[\r\v\f\x1c-\x1e\x85\u2028\u2029]",
    "dspy-xml": r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\]\]>",
}


def covered(prompt: Prompt, target: str) -> bool:
    """Whether the contract speaks of a target: it has no marks of its own answer in it."""
    own = prompt.answer_format + "-reasoning" * prompt.reasoning
    marks = OUTSIDE.get(prompt.template if prompt.template in NAMES else own)
    return target != "" and (marks is None or (target == target.strip() and not re.search(marks, target)))


MARKS = """
Answer: answer Label: **Label:** <label> </label> <answer> </answer> <reasoning> </reasoning> ``` [ ] ]]> & " \\ { } '
""".split()
MARKS += [
    '{"label": ',
    "[[ ## label ## ]]",
    "[[ ## completed ## ]]",
    "Label: ",
    " ",
    "\n",
    "\t",
    "\r",
    "\u2028",
    "\x00",
]
pieces = st.lists(st.sampled_from(MARKS) | st.text(max_size=4), max_size=5).map("".join)
open_answers = st.one_of(pieces, pieces.map(str.strip), st.text(max_size=30).map(str.strip))


@every_template
@every_format
@with_and_without_reasoning
@settings(max_examples=25, deadline=None)
@given(target=open_answers, thought=pieces)
@example(target="<label>", thought="<label>no</label></reasoning>")
@example(target="</label>", thought="Answer: no")
@example(target='{"slots": [{"a": "</label>"}]}', thought='{"label": "no"}')
@example(target=" spaces ", thought="")
@example(target="Because: it is.", thought="")
def test_open_answers_are_read_as_they_were_written(
    name: str, answer_format: str, reasoning: bool, target: str, thought: str
) -> None:
    """parse(answer(target, reasoning)) is the target, character for character, whatever the reasoning says."""
    prompt = make(name, answer_format, reasoning=reasoning)
    assume(covered(prompt, target))
    if name in NAMES and reasoning:  # the reasoning is a field like any other, between the same marks
        thought = thought if covered(prompt, thought) else "I think."

    assert reread(prompt, target, thought) == target


@every_template
@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(open_answers, min_size=1, max_size=4, unique=True).map(tuple),
    target=st.integers(0, 3),
    data=st.data(),
)
def test_any_closed_list_is_read(name: str, labels: tuple[str, ...], target: int, data: st.DataObject) -> None:
    """Each of any labels is read from its own answer, though others look like it."""
    prompt = make(
        name, data.draw(st.sampled_from(FORMATS)), labels=labels, reasoning=data.draw(st.booleans(), "reasoning")
    )
    label = labels[target % len(labels)]
    assume(label == label.strip() and covered(replace(prompt, labels=()), label))

    assert reread(prompt, label, "I think.") == label


AWKWARD = {
    "spaces": ("my text", "the rest", "Product category"),
    "signs": ("a-b", "a_b", "sub-category"),
    "answer": ("question", "context", "answer"),
    "Answer": ("question", "context", "Answer"),
    "python": ("class", "import", "None"),
    "numbers": ("1", "2", "3rd"),
    "underscores": ("_x", "__y", "_z"),
    "reasoning": ("reasoning", "reasoning_", "label"),
    "dspy": ("instructions", "input_fields", "signature"),
    "pydantic": ("model_config", "model_dump", "model_validate"),
    "braces": ("{value}", "{name}", "{body}"),
    "letters": ("Größe", "標題", "ответ"),
    "case": ("Text", "text", "TEXT"),
}


@every_template
@pytest.mark.parametrize("names", AWKWARD.values(), ids=AWKWARD)
def test_fields_may_have_any_names(name: str, names: tuple[str, str, str]) -> None:
    """Whatever the columns are called, each input has its place and every answer is read."""
    *inputs, output = names
    demo = Example("r", ((inputs[0], "first"), (inputs[1], "second")), ("zeta",), "because")
    labelled: tuple[tuple[str, ...], ...] = ((), LABELS, (f"{output}: x", f"{output}: y"))
    for answer_format, reasoning, labels in product(FORMATS, (False, True), labelled):
        fields = {"inputs": tuple(inputs), "output": output, "labels": labels, "reasoning": reasoning}
        prompt = make(name, answer_format, demos=(demo,), **fields)
        slots = [part.name for turn in turns_of(prompt) for part in turn.parts if isinstance(part, Slot)]

        assert slots == inputs
        for target, thought in product(labels or ("42", "zeta"), ("", "I think.")):
            assert reread(prompt, target, thought) == target


@every_template
@every_format
@with_and_without_reasoning
@settings(max_examples=25, deadline=None)
@given(text=pieces)
@example(text="")
@example(text='{"label": null}')
@example(text='{"label": ["zeta", {"a": 1}]}')
@example(text="<label>")
@example(text="<answer></answer>")
def test_any_completion_is_read_or_refused(name: str, answer_format: str, reasoning: bool, text: str) -> None:
    """Reading never fails: it gives one of the labels, a text with something in it, or None."""
    prompt = make(name, answer_format, reasoning=reasoning)
    found = TEMPLATES[name].parse(prompt, text)
    chosen = TEMPLATES[name].parse(replace(prompt, labels=LABELS), text)

    assert found is None or len(found) > 0
    assert chosen in {None, *LABELS}


@every_template
@pytest.mark.parametrize("text", ["{" * 1500, '{"label": ' * 1200, "[" * 1500, "<label>" * 1500, "&" * 1500])
def test_a_completion_that_runs_away_is_no_label(name: str, text: str) -> None:
    """A model that repeats itself until its tokens are spent is read in no time, and says nothing."""
    answer_format = "json" if "{" in text else "tagged"

    assert TEMPLATES[name].parse(make(name, answer_format, labels=("good", "bad")), text) is None


@pytest.mark.parametrize("text", ['{"label": ' * 64_000, "\n" * 64_000 + "x", " " * 64_000, "answer\n" * 9_000])
def test_a_completion_that_runs_away_is_read_at_once(text: str) -> None:
    """In time that grows as its length does: otherwise it would be some ten seconds."""
    start = time.process_time()

    assert not [*objects(text)]
    assert read_thought(text) == ""
    assert time.process_time() - start < 1


@every_template
@every_format
@with_and_without_reasoning
@pytest.mark.parametrize("text", ["", " \n", "?!"])
def test_silence_is_no_label(name: str, answer_format: str, reasoning: bool, text: str) -> None:
    """A completion without a letter names no label, not even one that is a sign itself."""
    prompt = make(name, answer_format, reasoning=reasoning, labels=("good", "+"))

    assert TEMPLATES[name].parse(prompt, text) is None


# --- inputs stay as they are ------------------------------------------------------------------------------

TEXT_MARK, OTHER_MARK = "\x02the text\x03", "\x02the other\x03"


def expected_messages(prompt: Prompt, values: Mapping[str, str]) -> list[Message]:
    """What must be sent, told from how marks were sent: each mark gives way to its input."""
    marks = {TEXT_MARK: values["text"], OTHER_MARK: values["other field"]}
    marked = fill(turns_of(prompt), {"text": TEXT_MARK, "other field": OTHER_MARK})
    cut = re.compile(f"({TEXT_MARK}|{OTHER_MARK})")
    return [Message(m.role, "".join(marks.get(piece, piece) for piece in cut.split(m.content))) for m in marked]


@every_template
@every_listing
def test_inputs_come_out_verbatim(name: str, listing: str) -> None:
    """An input stands in the last message exactly as it was given, and is not looked at again."""
    for demos in ((), DEMOS):
        for prompt in every_prompt(name, listing, demos):
            turns = turns_of(prompt)
            for first, second in zip(NASTY, (TEXT_MARK, *reversed(NASTY)), strict=False):
                values = {"text": first, "other field": second}

                assert list(fill(turns, values)) == expected_messages(prompt, values)


@every_template
@settings(max_examples=25, deadline=None)
@given(values=st.fixed_dictionaries({"text": pieces, "other field": pieces}))
def test_any_input_comes_out_verbatim(name: str, values: dict[str, str]) -> None:
    """There is no text that rendering changes."""
    prompt = make(name, labels=LABELS, demos=DEMOS)

    assert list(fill(turns_of(prompt), values)) == expected_messages(prompt, values)


@every_template
@every_listing
def test_each_input_has_one_place_in_the_last_message(name: str, listing: str) -> None:
    """Slots stand in the order of the inputs, each once, in a message of the user that comes last."""
    for prompt in every_prompt(name, listing, DEMOS):
        *before, last = turns_of(prompt)

        assert [part.name for part in last.parts if isinstance(part, Slot)] == list(INPUTS)
        assert last.role == "user"
        assert not any(isinstance(part, Slot) for turn in before for part in turn.parts)


@every_template
def test_texts_of_the_prompt_are_not_read_as_shapes(name: str) -> None:
    """Instructions, labels and notes may hold the names of a template's own places, and marks for inputs."""
    nasty = "Say {body} {title} {{x}} {% raw %} \\1 \ue000 ${label}"
    labels = ("{number}", "{gap} \ue000\ue0010\ue001\ue000")
    prompt = make(name, instruction=nasty, labels=labels, notes=("{value}", "{name}"))
    text = shown(prompt)

    assert text.count(nasty) == 1
    assert text.count("{number}: {value}") == text.count("{gap} \ue000\ue0010\ue001\ue000: {name}") == 1


# --- demos ------------------------------------------------------------------------------------------------


def shared(a: Sequence[str], b: Sequence[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@every_template
@every_listing
def test_zero_demos_show_no_demo(name: str, listing: str) -> None:
    """Without demos the prompt is what is left when the demos are cut out of it: no heading, no example, no turn."""
    for without, few in zip(every_prompt(name, listing), every_prompt(name, listing, DEMOS), strict=True):
        bare, full = shown(without), shown(few)

        assert shared(bare, full) + shared(bare[::-1], full[::-1]) >= len(bare)
        assert sum(turn.role == "assistant" for turn in turns_of(without)) == 0
        assert "xample" not in bare.replace(without.instruction, "")


@every_template
@every_listing
def test_demos_are_shown_in_order_each_with_its_answer(name: str, listing: str) -> None:
    """Every input of a demo is followed by the answer that a perfect model would write, and then by the next demo."""
    for prompt in every_prompt(name, listing, DEMOS[::-1]):
        text, place = shown(prompt), 0
        for demo in prompt.demos:
            for _, value in demo.inputs:
                assert text.count(value) == 1
                assert text.index(value) >= place
                place = text.index(value)
            answer = TEMPLATES[name].answer(prompt, demo.target, demo.reasoning)
            place = text.index(answer, place)

        assert place < text.index("<the text>") < text.index("<the other>")


@every_template
@every_format
def test_reasoning_is_shown_where_it_is_asked_for(name: str, answer_format: str) -> None:
    """A demo's worked solution stands before its answer if the prompt asks for thinking, and nowhere if not."""
    for reasoning in (False, True):
        text = shown(make(name, answer_format, reasoning=reasoning, demos=DEMOS))

        assert [text.count(demo.reasoning) for demo in DEMOS] == [int(reasoning)] * len(DEMOS)


@every_template
@pytest.mark.parametrize("reasoning", ["", "because"])
def test_a_demo_may_be_without_reasoning(name: str, reasoning: str) -> None:
    """A prompt that asks for thinking shows rows with and without a worked solution."""
    demo = replace(DEMOS[0], reasoning=reasoning)
    text = shown(make(name, reasoning=True, demos=(demo,)))

    assert text.count("Demo 0") == 1
    assert text.count("because") == len(reasoning) // len("because")


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_unknown_second_answer_is_not_shown(name: str) -> None:
    """Of several accepted answers a demo shows the preferred one alone."""
    assert "another right answer" not in shown(make(name, demos=DEMOS))


# --- labels -----------------------------------------------------------------------------------------------

OWN = ("Alpha ray", "Beta ray", "Gamma ray")  # words that stand nowhere else in a prompt
OWN_NOTES = ("first of them", "", "third of them")


def listed(name: str, place: str, notes: tuple[str, ...]) -> Prompt:
    return make(name, labels=OWN, notes=notes, label_place=place, demos=DEMOS)


@every_template
@pytest.mark.parametrize("notes", [(), OWN_NOTES], ids=["names", "notes"])
def test_labels_that_are_not_to_be_listed_are_not(name: str, notes: tuple[str, ...]) -> None:
    """With the place "none" neither a label nor a note is said."""
    text = shown(listed(name, "none", notes))

    assert [said for said in (*OWN, *filter(None, OWN_NOTES)) if said in text] == []


@every_template
@pytest.mark.parametrize("notes", [(), OWN_NOTES], ids=["names", "notes"])
@pytest.mark.parametrize("place", ["instruction", "query"])
def test_labels_are_listed_once_and_in_order(name: str, place: str, notes: tuple[str, ...]) -> None:
    """Each label is said once, in the order given, with its note behind it on the same line."""
    text = shown(listed(name, place, notes))
    places = [text.index(label) for label in OWN]

    assert [text.count(label) for label in OWN] == [1, 1, 1]
    assert places == sorted(places)
    for label, note in zip(OWN, notes, strict=False):
        assert note == "" or f"{label}: {note}" in text


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_templates_list_labels_where_the_prompt_says(name: str) -> None:
    """Before the demos with the instruction, or after them with the row that is asked."""
    early, late = (shown(listed(name, place, ())) for place in ("instruction", "query"))
    listing = label_lines(listed(name, "query", ()))

    assert early.index("Sort the text.") < early.index(listing) < early.index("Demo 0")
    assert late.index("Demo 2") < late.index(listing)
    assert abs(late.index(listing) - late.index("<the text>")) < 100


@pytest.mark.parametrize("name", NAMES)
def test_the_adapters_list_labels_where_the_prompt_says(name: str) -> None:
    """With the instruction, or in what is said of the field that is asked."""
    early, late = (shown(listed(name, place, OWN_NOTES)) for place in ("instruction", "query"))

    assert early.index("Sort the text.") < early.index("Alpha ray") < early.index("[user]")
    assert "1. `label` (str): one of: Alpha ray: first of them; Beta ray; Gamma ray: third of them" in late
    assert late.index("Alpha ray") < late.index("Sort the text.")


@every_template
def test_an_open_prompt_lists_nothing(name: str) -> None:
    """Where every answer is possible, no options are spoken of, whatever the place."""
    texts = {shown(make(name, label_place=place)) for place in ("none", "instruction", "query")}

    assert len(texts) == 1
    assert "ption" not in texts.pop().replace("description", "")


# --- what is asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
@every_format
@with_and_without_reasoning
def test_the_format_is_asked_for_once(name: str, answer_format: str, reasoning: bool) -> None:
    """A built-in template says once how to answer, before it shows anything."""
    prompt = make(name, answer_format, reasoning=reasoning, demos=DEMOS)
    text, note = shown(prompt), format_note(prompt)

    assert text.count(note) == 1
    assert text.index(prompt.instruction) < text.index(note) < text.index("Demo 0")


@pytest.mark.parametrize("name", BUILT_IN)
def test_answers_look_as_they_are_asked_for(name: str) -> None:
    """A bare answer is bare, JSON is JSON, a tagged one stands between tags; thinking comes first."""
    answer = BUILT_IN[name].answer

    assert answer(make(name), "C++", "hm") == "C++"
    assert json.loads(answer(make(name, "json"), 'a "b"', "hm")) == {"label": 'a "b"'}
    assert answer(make(name, "tagged"), "C++", "hm") == "<label>C++</label>"
    assert answer(make(name, reasoning=True), "C++", "hm") == "hm\nAnswer: C++"
    assert answer(make(name, reasoning=True), "C++") == "Answer: C++"
    assert list(json.loads(answer(make(name, "json", reasoning=True), "x", "hm")).items()) == [
        ("reasoning", "hm"),
        ("label", "x"),
    ]
    assert answer(make(name, "tagged", reasoning=True), "x", "hm") == "<reasoning>hm</reasoning>\n<label>x</label>"


def test_every_combination_is_another_prompt() -> None:
    """Template, format, reasoning, listing and demos all change what is said; DSPy's adapters have one format."""
    said: dict[str, str] = {}
    for name, listing, demos in product(TEMPLATES, LISTINGS, ((), DEMOS)):
        for prompt in every_prompt(name, listing, demos):
            if name not in NAMES or prompt.answer_format == "bare":
                said[shown(prompt)] = prompt.digest
            else:
                assert shown(prompt) in said

    listings = len(LISTINGS) - 1  # what is not listed is said of neither open nor closed answers
    assert len(said) == ((len(TEMPLATES) - len(NAMES)) * len(FORMATS) + len(NAMES)) * 2 * listings * 2


EVERYTHING = """
import sys
sys.path.insert(0, sys.argv[1])
from itertools import product
import test_templates as t
from search_spaces.prompt import digest
said = [t.shown(p) for n, l in product(t.TEMPLATES, t.LISTINGS) for p in t.every_prompt(n, l, t.DEMOS)]
print(digest(said))
"""


def test_rendering_is_the_same_in_every_process() -> None:
    """Nothing that is said depends on the order of a set or on what was rendered before."""
    seeds = ("1", "2")
    runs = [
        subprocess.run(
            [sys.executable, "-c", EVERYTHING, str(Path(__file__).parent)],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in seeds
    ]

    assert len(runs[0].strip()) == 16
    assert runs[0] == runs[1]


@every_template
def test_compiling_twice_gives_the_same_turns(name: str) -> None:
    """A template keeps nothing of the prompts that it laid out."""
    prompts = [prompt for listing in LISTINGS for prompt in every_prompt(name, listing, DEMOS)]
    first = [turns_of(prompt) for prompt in prompts]

    assert first == [turns_of(prompt) for prompt in reversed(prompts)][::-1]


def test_turns_join_texts_and_leave_out_empty_ones() -> None:
    """Neighbouring texts are one part, so that equal messages have equal turns."""
    assert turn("user", "a", "", "b", Slot("x"), "", "c") == Turn("user", ("ab", Slot("x"), "c"))


# --- the layouts, word for word ---------------------------------------------------------------------------

PLAIN = """[user]
Sort it.

Options:
- alpha beta: first
- zeta

Answer format: Respond with the main_topic only.

Mail text: Hi
there
Sent to: you
Main topic: zeta

Mail text: A & b
Sent to: me
Main topic: alpha beta

Mail text: <the mail>
Sent to: <to>
Main topic:"""

MARKDOWN = """[user]
## Task

Sort it.

## Answer format

Respond with a JSON object of this form: {"reasoning": "...", "main_topic": "..."}

## Example 1

**Mail text:** Hi
there
**Sent to:** you
**Main topic:** {"reasoning": "Greets.", "main_topic": "zeta"}

## Example 2

**Mail text:** A & b
**Sent to:** me
**Main topic:** {"reasoning": "Sums.", "main_topic": "alpha beta"}

## Options

alpha beta, zeta

## Your turn

**Mail text:** <the mail>
**Sent to:** <to>
**Main topic:**"""

XML = """[user]
<task>
Sort it.
</task>

<options>
alpha beta, zeta
</options>

<answer_format>
First think it through between <reasoning> and </reasoning>. Give the main_topic between <main_topic> and </main_topic>.
</answer_format>

<example>
<mail_text>Hi
there</mail_text>
<sent_to>you</sent_to>
<answer><reasoning>Greets.</reasoning>
<main_topic>zeta</main_topic></answer>
</example>

<example>
<mail_text>A & b</mail_text>
<sent_to>me</sent_to>
<answer><reasoning>Sums.</reasoning>
<main_topic>alpha beta</main_topic></answer>
</example>

<input>
<mail_text><the mail></mail_text>
<sent_to><to></sent_to>
</input>"""

CHAT = """[system]
Sort it.

Options: alpha beta, zeta

Think step by step. Then write the main_topic on a last line that starts with "Answer:".
[user]
Mail text: Hi
there
Sent to: you
[assistant]
Greets.
Answer: zeta
[user]
Mail text: A & b
Sent to: me
[assistant]
Sums.
Answer: alpha beta
[user]
Mail text: <the mail>
Sent to: <to>"""


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("plain", {"notes": ("first", "")}, PLAIN),
        ("markdown", {"answer_format": "json", "reasoning": True, "label_place": "query"}, MARKDOWN),
        ("xml", {"answer_format": "tagged", "reasoning": True}, XML),
        ("chat", {"reasoning": True}, CHAT),
    ],
)
def test_a_whole_prompt_reads_like_this(name: str, fields: dict[str, Any], expected: str) -> None:
    """Every word and break of a built-in layout is meant: scores of another day are compared with these."""
    demos = (
        Example("1", (("mail_text", "Hi\nthere"), ("Sent to", "you")), ("zeta",), "Greets."),
        Example("2", (("mail_text", "A & b"), ("Sent to", "me")), ("alpha beta",), "Sums."),
    )
    settled = {"instruction": "Sort it.", "inputs": ("mail_text", "Sent to"), "labels": ("alpha beta", "zeta")}
    prompt = make(name, output="main_topic", demos=demos, **{**settled, **fields})
    messages = fill(turns_of(prompt), {"mail_text": "<the mail>", "Sent to": "<to>"})

    assert "\n".join(f"[{message.role}]\n{message.content}" for message in messages) == expected


def test_a_chat_about_one_text_is_the_text() -> None:
    """A single input is sent without a name; labels that belong to the row that is asked stand below it alone."""
    demo = Example("1", (("text", "Hi"),), ("zeta",))
    prompt = make("chat", inputs=("text",), labels=("a", "zeta"), label_place="query", notes=("x", ""), demos=(demo,))

    assert [message.content for message in fill(turns_of(prompt), {"text": "Bye"})] == [
        "Sort the text.\n\nRespond with the label only.",
        "Hi",
        "zeta",
        "Bye\n\nOptions:\n- a: x\n- zeta",
    ]


@pytest.mark.parametrize(
    ("answer_format", "expected"),
    [
        ("bare", "Respond with the label only."),
        ("json", 'Respond with a JSON object of this form: {"label": "..."}'),
        ("tagged", "Give the label between <label> and </label>."),
    ],
)
def test_the_answer_format_is_said_like_this(answer_format: str, expected: str) -> None:
    """How to answer is said in one sentence, in the words in which answers are read."""
    assert format_note(make("plain", answer_format)) == expected


# --- completions as models write them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bug report", "bug report"),
        (" Bug Report. ", "bug report"),
        ("**bug-report**", "bug report"),
        ("BUG_REPORT", "bug report"),
        ("It is a bug report, I think", "bug report"),
        ("It is a bug", "bug"),
        ("not a bug", "not a bug"),
        ("It's not a bug!", "not a bug"),
        ("bug report or praise", None),
        ("praise, not a bug", None),
        ("debugging", None),
        ("", None),
        ("something else", None),
    ],
)
def test_labels_are_matched_leniently(text: str, expected: str | None) -> None:
    """Exactly, else by letters, else as the only label mentioned; of labels within each other the longest is meant."""
    assert match_label(text, ["bug", "bug report", "not a bug", "praise"]) == expected


def test_labels_that_letters_do_not_tell_apart_are_matched_exactly() -> None:
    """Among C, C++ and c# a guess by letters would be a wrong answer that looks right."""
    labels = ["C", "C++", "c#"]

    assert [match_label(text, labels) for text in ("C++", "c#", "C", "c", "C#")] == ["C++", "c#", "C", None, None]
    assert [match_label(text, labels) for text in ("**C++**", "C++.", "**c#.**", "** C")] == ["C++", "C++", "c#", "C"]


BOLD = [
    "**{}**",
    "{}.",
    "**{}**.",
    "**{}.**",
    "Label: **{}**",
    "**Label:** {}",
    "So.\nAnswer: **{}**",
    "**Answer: {}**",
]


@pytest.mark.parametrize("said", BOLD)
def test_signed_numbers_are_labels(said: str) -> None:
    """In bold and with a period as well, where their digits alone are the same."""
    labels = ("-1", "0", "1")

    prompt = make("chat", labels=labels, reasoning="Answer" in said)

    assert [TEMPLATES["chat"].parse(prompt, said.format(label)) for label in labels] == [*labels]


@pytest.mark.parametrize(
    ("name", "fields", "text", "expected"),
    [
        ("plain", {}, "Label: zeta", "zeta"),
        ("markdown", {}, "**Label:** zeta", "zeta"),
        ("markdown", {}, "**label**: zeta", "zeta"),
        ("xml", {}, "<answer>zeta</answer>", "zeta"),
        ("xml", {}, "<answer>zeta", "zeta"),
        ("chat", {}, "The label: zeta.", "zeta"),
        ("chat", {}, "- LABEL: zeta", "zeta"),
        ("chat", {"output": "zeta", "labels": ("zeta", "no")}, "zeta: no", "no"),
        ("plain", {"reasoning": True}, "no?\nC?\n**Answer:** zeta", "zeta"),
        ("plain", {"reasoning": True}, "Answer: no\nWait.\nAnswer: zeta", "zeta"),
        ("plain", {"reasoning": True}, "It could be no.\nzeta", "zeta"),
        ("chat", {"answer_format": "json"}, '```json\n{"label": "zeta"}\n```', "zeta"),
        ("chat", {"answer_format": "json"}, 'Of {a, b}: {"x": 1} {"label": "Zeta", "sure": 1}', "zeta"),
        ("chat", {"answer_format": "json"}, '{"label": 1e3}', None),
        ("chat", {"answer_format": "json"}, '{"label": "1e3"}', "1e3"),
        ("chat", {"answer_format": "json"}, "zeta", None),
        ("chat", {"answer_format": "tagged"}, "So: <label> zeta </label>.", "zeta"),
        ("chat", {"answer_format": "tagged"}, "<label>zeta", "zeta"),
        ("chat", {"answer_format": "tagged"}, "zeta", None),
        ("chat", {"answer_format": "tagged"}, "<label>no</label></reasoning><label>zeta</label>", "zeta"),
        ("chat", {"answer_format": "tagged"}, "<label>zeta</label><reasoning>hm</reasoning>", "zeta"),
        ("xml", {"answer_format": "tagged"}, "<answer><label>zeta</label></answer>", "zeta"),
        ("xml", {"answer_format": "tagged", "output": "answer"}, "<answer>zeta</answer>", "zeta"),
        ("xml", {"answer_format": "tagged", "output": "answer"}, "<answer><answer>zeta</answer></answer>", "zeta"),
        ("plain", {"reasoning": True, "output": "answer", "labels": ()}, "Answer: 42", "42"),
        ("plain", {"reasoning": True, "labels": ()}, "It is 42.", None),
        ("plain", {"reasoning": True, "labels": ()}, "6 * 7\n**Answer: 42**", "42"),
        ("plain", {"reasoning": True, "labels": ()}, "6 * 7\n**Answer: 42**.", "42."),
        ("markdown", {"reasoning": True, "labels": ()}, "6 * 7\n**Answer:** $\\boxed{\\frac{1}{2}}$", "\\frac{1}{2}"),
        ("plain", {"reasoning": True, "labels": ()}, "So.\nAnswer: **kwargs", "**kwargs"),
        ("plain", {"reasoning": True, "labels": ()}, "So.\n- **Answer**: **/*.py", "**/*.py"),
        ("plain", {"reasoning": True, "labels": ()}, "So.\n**Answer: 2**3**", "2**3"),
        ("plain", {"output": "pattern", "labels": ()}, "Pattern: **/*.py", "**/*.py"),
        ("plain", {"output": "sum", "labels": ()}, "Answer:\n6011", "6011"),
        ("plain", {"output": "sum", "labels": ()}, "sum: 8907", "8907"),
        ("chat", {"output": "total_sum", "labels": ()}, "### Total sum\n: **9060**", "9060"),
        ("markdown", {"output": "answer", "labels": ()}, "**Answer:** 9060", "9060"),
        ("markdown", {"output": "answer", "labels": ()}, "Answer:**9060**", "9060"),
        ("xml", {"output": "answer", "labels": ()}, "**Answer: 9060.**", "9060."),
        ("chat", {"labels": ()}, "**9060**.", "9060"),
        ("chat", {"labels": ()}, "\\[ \\boxed{11220} \\]", "11220"),
        ("chat", {"labels": ()}, "**a** and **b**", "**a** and **b**"),
        ("chat", {"labels": ()}, "2**3", "2**3"),
        ("chat", {"output": "answer", "labels": ()}, '{"answer": 1}', '{"answer": 1}'),
        ("chat", {"labels": ()}, "Answer:", None),
        ("xml", {"labels": ()}, "<answer></answer>", None),
        ("dspy-chat", {}, "[[ ## label ## ]]\nzeta", "zeta"),
        ("dspy-chat", {}, "zeta", None),
        ("dspy-json", {}, "{'label': 'zeta',}", "zeta"),
        ("dspy-xml", {}, "<label>zeta</label>", "zeta"),
        ("dspy-xml", {}, "<label>zeta", None),
    ],
)
def test_completions_are_read_as_models_write_them(
    name: str, fields: dict[str, Any], text: str, expected: str | None
) -> None:
    """What models put around an answer is taken off; an answer in another format is none."""
    prompt = make(name, **{"labels": LABELS, **fields})

    assert TEMPLATES[name].parse(prompt, text) == expected


@pytest.mark.parametrize("name", ["plain", "dspy-json"])
def test_an_object_within_an_object_stays_json(name: str) -> None:
    """A model that does not put its slots into quotes is read as one that does."""
    prompt = make(name, "json", output="slots")
    found = TEMPLATES[name].parse(prompt, '{"slots": {"city": "Köln", "from": null}}')

    assert found is not None
    assert json.loads(found) == {"city": "Köln", "from": None}
    assert "ö" in found


# --- templates of one's own -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shapes", "said"),
    [
        ("plain", {}, "name of a template that is there"),
        ("dspy-own", {}, "name of a template that is there"),
        ("mine", {"head": "Hello"}, "head has {body} 0 times"),
        ("mine", {"query": "{body}{body}"}, "query has {body} 2 times"),
        ("mine", {"field": "{value} {body}"}, "field has the place {body}; allowed: {value}, {name}"),
        ("mine", {"cue": "{value}"}, "cue has the place {value}; allowed: {name}"),
        ("mine", {"worked": " yes and {value}"}, "cannot be read back"),
    ],
)
def test_shapes_that_cannot_work_are_refused(name: str, shapes: dict[str, str], said: str) -> None:
    """With what is wrong and what is allowed."""
    with pytest.raises(ValueError, match=re.escape(said)):
        text_template(name, shapes)


def test_a_template_of_ones_own_goes_through_a_run_and_out_of_it(command: Command, tmp_path: Path) -> None:
    """The seed prompt is laid out with it, a winner answers new rows with it, and an export holds it."""
    task = write_task(tmp_path, search={"calls": 30})
    text = re.sub(r"template = \[.*\]", 'template = "letter"', task.read_text(encoding="utf-8"))
    shapes = "\n".join(f"{name} = {json.dumps(shape)}" for name, shape in LETTER.items())
    own = f'calibration = "off"\ndemos = ["none", "random"]\n[templates.letter]\n{shapes}\n'
    task.write_text(f"{text}{own}", encoding="utf-8")

    command("tune", "task.toml", "--quiet")

    shown = command("show").stdout
    assert "Dear colleague," in shown
    assert "template=letter" in shown
    command("export", "--format", "python", "-o", "winner.py")
    assert "Dear colleague," in (tmp_path / "winner.py").read_text(encoding="utf-8")
    (tmp_path / "new.csv").write_text("text\nI was charged twice\n", encoding="utf-8")
    assert command("predict", "new.csv").stdout.count("\n") == 2
    text = task.read_text(encoding="utf-8").replace("{body}\\n\\n", "nothing")
    task.write_text(text, encoding="utf-8")
    said = command("space", "task.toml", code=2).output
    assert "[templates.letter]: head has {body} 0 times" in said
