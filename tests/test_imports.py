"""Making a task from other tools' files: how each part is converted, what is left out, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import DataError
from optimizer.exports.yaml import write_yaml
from optimizer.imports import Found, as_csv, columns, read_foreign
from optimizer.preparing import Plan, prepare
from optimizer.programs import adapters as programs
from optimizer.rows.tables import read_table
from search_spaces.prompt import Example, Message
from tests.conftest import Command
from tests.small_task import BUNDLED

with (BUNDLED / "support.csv").open(encoding="utf-8", newline="") as FILE:
    ROWS = list(csv.DictReader(FILE))[:80]


def lines(path: Path, values: Sequence[object]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def said(role: str, content: object, **more: object) -> dict[str, object]:
    """Return a message."""
    return {"role": role, "content": content, **more}


def seed_messages(plan: Plan, text: str) -> tuple[Message, ...]:
    """Render the seed prompt of a plan for a text."""
    row = Example("", tuple((name, text) for name in plan.task.data.inputs))
    return plan.renderer.messages(plan.space.build(plan.space.seed()), row)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(rows=st.lists(st.fixed_dictionaries({"a;b": texts, "c|d\t": texts.filter(bool)}), min_size=1, max_size=8))
@settings(max_examples=60)
def test_rows_that_are_written_are_read_as_they_were(rows: list[dict[str, str]], tmp_path_factory: Any) -> None:
    """Whatever stands in them: quotes, separators, line ends of every kind."""
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(as_csv(rows))

    found = read_table(path)

    assert [{name.strip(): text for name, text in row.items()} for row in rows] == [dict(row) for row in found.rows]


# --- OpenAI -----------------------------------------------------------------------------------------------


def test_a_fine_tuning_file_becomes_a_task(tmp_path: Path, command: Command) -> None:
    """The system message is the seed prompt's wording, user messages are inputs, the last answers are targets."""
    system = said("system", "Route the {message}.\nOne word.")
    lines(
        tmp_path / "chats.jsonl",
        [{"messages": [system, said("user", r["text"]), said("assistant", r["label"])], "tools": []} for r in ROWS],
    )

    output = command("import", "chats.jsonl").output

    assert "80 conversations -> rows: input (the user's message) -> answer" in output
    assert "left out: 80 × key 'tools'" in output
    assert "task.toml: classification of input -> answer" in output
    plan = prepare("task.toml")
    assert {row["text"].strip() for row in ROWS} == {
        row.text for rows in (plan.data.train, plan.data.dev, plan.data.test) for row in rows
    }
    prompt = plan.space.build(plan.space.seed())
    assert prompt.instruction == "Route the {message}.\nOne word."


def test_samples_of_evals_become_a_task(tmp_path: Path, command: Command) -> None:
    """Examples that stand before every row are shown by the seed prompt; several ideals are all accepted."""
    before = [
        said("system", "Name the capital."),
        said("system", "France", name="example_user"),
        said("system", "Paris", name="example_assistant"),
    ]
    samples = [
        {"input": [*before, said("user", f"Country number {n}")], "ideal": [f"City {n}", f"city of {n}"]}
        for n in range(30)
    ]
    lines(tmp_path / "samples.jsonl", samples)

    output = command("import", "samples.jsonl", "-o", "capitals.toml").output

    assert "1 example before every row -> demos, shown by the seed prompt" in output
    plan = prepare("capitals.toml")
    assert ("Country number 7", ("City 7", "city of 7")) in {
        (row.text, row.targets) for rows in (plan.data.train, plan.data.dev, plan.data.test) for row in rows
    }
    prompt = plan.space.build(plan.space.seed())
    assert [(demo.text, demo.target) for demo in prompt.demos] == [("France", "Paris")]
    assert prompt.instruction == "Name the capital."


def test_longer_conversations_are_one_text(tmp_path: Path) -> None:
    """Several turns stand each after its role; systems that differ stand among them; parts of text are joined."""
    found = read_foreign(
        lines(
            tmp_path / "chats.jsonl",
            [
                {
                    "messages": [
                        said("developer", f"Be {mood}."),
                        said("user", [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]),
                        said("assistant", "Hello"),
                        said("user", "Bye"),
                        said("assistant", mood),
                    ]
                }
                for mood in ("glad", "sad")
            ],
        )
    )

    assert found.inputs == ("conversation",)
    assert found.rows[1] == {
        "conversation": "developer: Be sad.\n\nuser: Hi you\n\nassistant: Hello\n\nuser: Bye",
        "answer": "sad",
    }
    assert found.description == ""


def test_answers_that_are_not_learnt_from_are_counted(tmp_path: Path) -> None:
    """OpenAI leaves an answer of weight 0 out of training; so are the rows here."""
    chat = [said("user", "a"), said("assistant", "b")]
    found = read_foreign(
        lines(
            tmp_path / "c.jsonl",
            [{"messages": chat}, {"messages": [said("user", "c"), said("assistant", "d", weight=0)]}],
        )
    )

    assert len(found.rows) == 1
    assert found.left_out == ("1 × conversation whose answer has the weight 0",)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "c.jsonl:1: is no object"),
        ({"prompt": "a", "completion": "b"}, "has the keys prompt, completion; allowed: .*`phrasetune init`"),
        ({"custom_id": "1", "body": {}}, "has the keys custom_id, body; allowed"),
        ({"messages": [said("user", "a")]}, "its last message is not the assistant's"),
        ({"messages": []}, "its last message is not the assistant's"),
        ({"messages": [said("tool", "a"), said("assistant", "b")]}, "message 1: has role 'tool'"),
        ({"messages": [said("user", "a"), said("assistant", None, tool_calls=[{}])]}, "message 2: has tool_calls"),
        ({"messages": [said("user", [{"type": "image_url"}]), said("assistant", "b")]}, "message 1: its content is no"),
        ({"input": "a", "ideal": {}}, "`ideal` is no text"),
        ({"input": {}, "ideal": "a"}, "its messages are no list"),
        ({"input": "\ud83d", "ideal": "a"}, "c.jsonl:1: column .input. holds half a character"),
        ({"messages": [said("user", "a"), said("assistant", "\ud83d")]}, "column .messages. holds half a character"),
    ],
)
def test_lines_that_cannot_be_read_are_refused(tmp_path: Path, value: object, complaint: str) -> None:
    """The line, the message, what is allowed."""
    with pytest.raises(DataError, match=complaint):
        read_foreign(lines(tmp_path / "c.jsonl", [value]))


# --- promptfoo --------------------------------------------------------------------------------------------


def configuration(folder: Path, **parts: object) -> Path:
    """Write a configuration of promptfoo."""
    path = folder / "promptfooconfig.yaml"
    path.write_text(write_yaml(parts), encoding="utf-8")
    return path


def equals(label: str, **variables: object) -> dict[str, object]:
    """Return a test."""
    return {"vars": variables, "assert": [{"type": "equals", "value": label}]}


def test_a_configuration_becomes_a_task(tmp_path: Path, command: Command) -> None:
    """Prompts are wordings of which the first is the seed's, tests are rows, the provider is the model."""
    configuration(
        tmp_path,
        description="Support",
        prompts=[
            "Which team should answer?\n\nMessage: {{ text }}\nTeam:",
            {"raw": "Route the following {{text}} to a team.", "label": "short"},
            json.dumps([said("system", "You route messages."), said("user", "<text>\n{{text}}\n</text>")]),
        ],
        providers=["openai:chat:gpt-4o-mini", "anthropic:messages:x"],
        defaultTest={"assert": [{"type": "latency", "threshold": 9}]},
        tests=[equals(row["label"], text=row["text"]) for row in ROWS] + [{"vars": {"text": "no answer"}}],
    )

    output = command("import", "promptfooconfig.yaml").output

    assert "prompt 1 -> wording promptfoo1, without 'Message: {{ text }}', 'Team:'" in output
    assert "80 tests -> rows: text -> wanted" in output
    assert "provider openai:chat:gpt-4o-mini -> model openai/gpt-4o-mini (1 other provider left out)" in output
    assert "left out: 81 × assertion of type latency" in output
    assert "left out: test without vars and an assertion of type equals" in output
    assert "left out: key 'description'" in output
    plan = prepare("task.toml")
    wordings = plan.space["instruction"].texts
    assert wordings["promptfoo1"] == "Which team should answer?"
    assert wordings["promptfoo2"] == "Route the following text to a team."
    assert wordings["promptfoo3"] == "You route messages."
    assert plan.space.seed()["instruction"] == "promptfoo1"
    assert plan.task.model.name == "openai/gpt-4o-mini"
    assert len(plan.data.train) == 40


def test_texts_of_a_configuration_stay_as_they_are_written(tmp_path: Path) -> None:
    """`no`, numbers and dates are texts to promptfoo's YAML or were meant so; a common answer may be a variable."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "prompts: ['Is it {{a}}? {{b}}']\n"
        "defaultTest: {vars: {b: usual}, assert: [{type: equals, value: '{{ gold }}'}]}\n"
        "tests: [{vars: {a: 1.0, gold: no}}, {vars: {a: 2026-01-02, gold: on, b: 1e3}}]\n"
    )

    found = read_foreign(path)

    assert [dict(row) for row in found.rows] == [
        {"a": "1.0", "b": "usual", "wanted": "no"},
        {"a": "2026-01-02", "b": "1e3", "wanted": "on"},
    ]
    assert found.wordings == {"promptfoo1": "Is it a? b"}


@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_characters_that_are_escaped_by_halves_are_joined(tmp_path: Path, name: str) -> None:
    """As any program writes an emoji that keeps JSON in ASCII."""
    content = {
        "prompts": ["\N{POUTING FACE} {{a}}"],
        "tests": [{"vars": {"a": "\N{POUTING FACE}"}, "assert": [{"type": "equals", "value": "x"}]}],
    }
    (tmp_path / name).write_text(json.dumps(content))

    found = read_foreign(tmp_path / name)

    assert as_csv(found.rows).decode().count("\N{POUTING FACE}") == 1
    assert "\N{POUTING FACE}" in found.wordings["promptfoo1"]


@pytest.mark.parametrize(
    ("prompt", "wording"),
    [
        (
            "Convert the following text to {{language}}: {{text}}",
            "Convert the following text to language.",
        ),
        ("Sum up {{text}} in {{language}}.", "Sum up text in language."),
        ("Translate.\n\n{{text}}", "Translate."),
        ("Text: {{text}}\n\nLanguage: {{language}}\n\nTranslate it.\nAnswer:", "Translate it."),
        ("Translate.\n```\n{{text}}\n```\n\n- To {{language}}", "Translate.\n\n- To language"),
        ('Options:\n- a\n- b\n\nText: "{{text}}" ({{language}})', "Options:\n- a\n- b"),
        ("Answer this: {{text}}\nBe brief:", ""),
    ],
)
def test_what_becomes_of_prompts(tmp_path: Path, prompt: str, wording: str) -> None:
    """Lines and ends that show inputs go; what is said stays, with inputs called by their names."""
    test = equals("x", text="a", language="b")

    assert list(read_foreign(configuration(tmp_path, prompts=[prompt], tests=[test])).wordings.values()) == (
        [wording] if wording else []
    )


def test_what_changes_an_answer_before_it_is_compared_is_told(tmp_path: Path) -> None:
    """A transformation is code, and not taken along."""
    check = {"type": "equals", "value": "x", "transform": "output.category"}
    path = configuration(tmp_path, prompts=["Say {{a}}"], tests=[{"vars": {"a": "1"}, "assert": [check]}])

    assert "key 'transform' of assertions" in read_foreign(path).left_out


def test_alternatives_are_all_accepted(tmp_path: Path) -> None:
    """A set of which one must hold is several accepted answers."""
    one_of = {"type": "assert-set", "threshold": 0.5, "assert": [{"type": "equals", "value": v} for v in ("x", "y")]}
    path = configuration(tmp_path, prompts=["Say {{a}}"], tests=[{"vars": {"a": "1"}, "assert": [one_of]}])

    (row,) = read_foreign(path).rows

    assert row == {"a": "1", "wanted": "x", "answers": '["x", "y"]'}


def test_rows_from_elsewhere_take_the_place_of_tests(tmp_path: Path, command: Command) -> None:
    """What stands in another file can be given; the prompts' variables are its columns."""
    (tmp_path / "rows.csv").write_bytes(as_csv(ROWS))
    configuration(tmp_path, prompts=["Route {{text}}"], tests="file://tests.csv")

    refused = command("import", "promptfooconfig.yaml", code=2).output
    done = command("import", "promptfooconfig.yaml", "--rows", "rows.csv").output

    assert "tests = 'file://tests.csv' is another file, which is not followed. Give --rows" in refused
    assert "task.toml: classification of text -> label" in done
    assert prepare("task.toml").space.seed()["instruction"] == "promptfoo1"


def test_too_few_tests_are_a_beginning_all_the_same(tmp_path: Path, command: Command) -> None:
    """The files are written, and what is missing is said."""
    configuration(tmp_path, prompts=["Route {{text}}"], tests=[equals("a", text="b"), equals("c", text="d")])

    output = command("import", "promptfooconfig.yaml").output

    assert "not ready to be tuned: " in output
    assert Path("task.toml").exists()
    assert [dict(row) for row in read_table(Path("task.rows.csv")).rows] == [
        {"text": "b", "wanted": "a"},
        {"text": "d", "wanted": "c"},
    ]


GOOD: Mapping[str, Any] = {"prompts": ["Say {{a}}"], "tests": [equals("x", a="1")]}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompts": "file://prompt.txt"}, "prompt 1: 'file://prompt.txt' is another file"),
        ({"prompts": ["prompts/a.txt"]}, "prompt 1: 'prompts/a.txt' is another file"),
        ({"prompts": [{"id": "prompt.py:make"}]}, "'prompt.py:make' is another file"),
        ({"prompts": [{"label": "f", "function": "x"}]}, "is a function, which only promptfoo can run"),
        ({"prompts": ["{% if a %}x{% endif %} {{a}}"]}, "holds '{% if a %}'; of templates only {{name}} is read"),
        ({"prompts": ["{{ a | upper }}"]}, "holds '{{ a | upper }}'"),
        ({"prompts": ["{{ a.b }}"]}, "holds '{{ a.b }}'"),
        ({"prompts": ["Say {labels} {{a}}"]}, "holds {labels}, which phrasetune would fill in"),
        (
            {"prompts": ["Say {x} {{a}}"]},
            "holds {x}, which phrasetune would fill in. Write it otherwise, or with spaces.",
        ),
        ({"prompts": [json.dumps([said("assistant", "x")])]}, "more than texts of system and user"),
        ({"prompts": ["Say {{b}}"]}, "shows {{b}}, which no test has"),
        ({"tests": []}, "no test has vars and an assertion of type equals"),
        ({"tests": ["file://a.yaml"]}, "test 1: 'file://a.yaml' is another file"),
        ({"tests": [equals("x", a="file://a.txt")]}, r"vars.a = 'file://a.txt' is not taken as it stands"),
        ({"tests": [equals("x", a="{{b}}")]}, r"vars.a = '{{b}}' is not taken as it stands"),
        ({"tests": [equals("{{ b | trim }}", a="1")]}, "an assertion = '{{ b | trim }}' is not taken"),
        ({"tests": [equals("x", a=["1", "2"])]}, "vars.a is a list; only texts are read. Write a test for each"),
        ({"tests": [equals("x", a="1", wanted="2")]}, "has a variable 'wanted'"),
        ({"defaultTest": "file://d.yaml"}, "defaultTest = 'file://d.yaml' is another file"),
    ],
)
def test_what_only_promptfoo_can_read_is_refused(tmp_path: Path, changes: Any, complaint: str) -> None:
    """Files, functions and logic are named with their place; nothing is guessed."""
    with pytest.raises(DataError) as caught:
        read_foreign(configuration(tmp_path, **{**GOOD, **changes}))

    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.yaml", "prompts: [", "cannot be read"),
        ("c.json", "{", "cannot be read"),
        ("c.json", "[1]", "is none of what can be read"),
        ("c.yaml", "a: 1", "is none of what can be read"),
        ("c.js", "module.exports = {}", "allowed are conversations"),
        ("c.csv", "a,b", "Rows are read by `phrasetune init`"),
        ("c.yaml", "&a [*a]", "cannot be read"),
        ("c.yaml", 'prompts: ["\\ud83d {{a}}"]', "cannot be read"),  # half a character
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    """One clear error, whatever it is."""
    (tmp_path / name).write_text(text)

    with pytest.raises(DataError, match=complaint):
        read_foreign(tmp_path / name)


# --- DSPy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thinks", [False, True])
def test_a_program_becomes_the_seed_prompt_to_the_letter(tmp_path: Path, command: Command, thinks: bool) -> None:
    """What DSPy would send for the program that was saved is what the seed prompt sends."""
    import dspy

    (tmp_path / "rows.csv").write_bytes(as_csv([{"text": r["text"], "label": r["label"]} for r in ROWS]))
    signature = dspy.Signature("text -> label", 'Route it.\n  Mind {braces}, and "quotes".')
    program = dspy.ChainOfThought(signature) if thinks else dspy.Predict(signature)
    predictor = program.predict if thinks else program
    thoughts = {"reasoning": "It says so."} if thinks else {}
    predictor.demos = [
        dspy.Example(augmented=True, text="My invoice is wrong", **thoughts, label="billing"),
        dspy.Example(text="It crashes", **thoughts, label="bug"),
    ]
    program.save(str(tmp_path / "program.json"))

    output = command("import", "program.json", "--rows", "rows.csv").output

    assert "2 demos -> demos, shown by the seed prompt as they are" in output
    assert "left out: types of fields, and the adapter" in output
    plan = prepare("task.toml")
    asked = dspy.ChatAdapter().format(predictor.signature, predictor.demos, {"text": "Hello?"})
    assert [(m["role"], m["content"]) for m in asked] == [(m.role, m.content) for m in seed_messages(plan, "Hello?")]
    assert programs.NAMES[0] == plan.space.seed()["template"]


def program(**changes: Any) -> dict[str, Any]:
    """Return a program's state as DSPy saves it."""
    fields = [
        {"prefix": "Support Text:", "description": "${support_text}"},
        {"prefix": "Label:", "description": "${label}"},
    ]
    state = {"traces": [], "train": [], "demos": [], "signature": {"instructions": "Do.", "fields": fields}, "lm": None}
    return {**state, "metadata": {"dependency_versions": {"dspy": "3.4.1"}}, **changes}


def read_state(folder: Path, state: object, *names: str) -> Found:
    """Write a program's state and read it beside rows with these columns."""
    (folder / "p.json").write_text(json.dumps(state))
    return read_foreign(folder / "p.json", names or None)


def test_fields_are_found_among_the_columns(tmp_path: Path) -> None:
    """DSPy saves how a field is shown and not its name; what is torn or told elsewhere is left out and said."""
    demos = [{"SupportText": "a", "label": "b"}, {"SupportText": "a"}]
    state = program(demos=demos, lm={"model": "x"}, train=[{}])
    state["signature"]["fields"][0] = {"prefix": "Supporttext:", "description": "what came"}

    found = read_state(tmp_path, state, "id", "SupportText", "label")

    assert (found.inputs, found.target) == (("SupportText",), "label")
    assert len(found.demos) == 1
    assert "1 demo without all fields" in found.left_out
    assert "descriptions of 1 field: put what they say into the description" in found.left_out


@pytest.mark.parametrize(
    ("state", "names", "complaint"),
    [
        (program(), (), r"has no rows to tune it on. Give them: --rows FILE"),
        (program(), ("text", "label"), "unknown column 'support_text'; allowed: text, label"),
        ({"a": program(), "b": program()}, ("support_text", "label"), r"has 2 predictors \(a, b\)"),
        ({"signature": {}}, ("text",), "is none of what can be read"),
    ],
)
def test_programs_that_cannot_be_tuned_are_refused(tmp_path: Path, state: Any, names: Any, complaint: str) -> None:
    """No rows, other fields, several prompts."""
    with pytest.raises(DataError, match=complaint):
        read_state(tmp_path, state, *names)


# --- the command ------------------------------------------------------------------------------------------


def test_nothing_is_replaced_and_nothing_half_written(tmp_path: Path, command: Command) -> None:
    """If any of the files is there, none is written; --force replaces them."""
    lines(tmp_path / "c.jsonl", [{"input": r["text"], "ideal": r["label"]} for r in ROWS])
    (tmp_path / "task.rows.csv").write_text("mine")

    refused = command("import", "c.jsonl", code=2).output

    assert "task.rows.csv: exists already" in refused
    assert not Path("task.toml").exists()
    assert Path("task.rows.csv").read_text() == "mine"
    command("import", "c.jsonl", "--force")
    assert columns(read_table(Path("task.rows.csv")).rows) == ["input", "answer"]
