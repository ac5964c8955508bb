"""Every format represents every prompt exactly or refuses it, and no export touches any other file."""

from __future__ import annotations

import ast
import errno
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.errors import ExportError
from optimizer.exports import FORMATS, Exported, Facts, Target, write_bytes
from optimizer.exports import export as write_export
from optimizer.exports.literals import literal
from optimizer.exports.proof import NASTY, Draft, Winner, difference, nasty_rows
from optimizer.scores.calibration import beginnings, choose, scores_of
from search_spaces.answering import objects
from search_spaces.prompt import Example, Prompt, Settings, Turn
from search_spaces.rendering import Renderer
from search_spaces.templates import BUILT_IN, turn
from tests.exporting import export, nasty_texts, prompts, row, simple

EXACT = ("messages", "python", "text", "markdown")
ADAPTERS = ("dspy-chat", "dspy-json", "dspy-xml")
few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def run_module(path: Path) -> SimpleNamespace:
    """Load an exported module."""
    names: dict[str, Any] = {}
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
    return SimpleNamespace(**names)


def read_messages(path: Path, inputs: dict[str, str]) -> list[dict[str, str]]:
    """Fill the neutral format as a user of another language would."""
    return [
        {
            "role": message["role"],
            "content": "".join(p["text"] if "text" in p else inputs[p["slot"]] for p in message["content"]),
        }
        for message in json.loads(path.read_bytes())["messages"]
    ]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """Return a renderer that knows DSPy's adapters too."""
    from optimizer.programs.adapters import adapter_templates

    return Renderer(adapter_templates())


# --- to the letter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reasoning", [False, True])
@pytest.mark.parametrize("answer_format", ["bare", "json", "tagged"])
@pytest.mark.parametrize("template", list(BUILT_IN))
@few
@given(data=st.data())
def test_fixed_prompts_are_carried_exactly(
    data: st.DataObject, template: str, answer_format: str, reasoning: bool, tmp_path: Path
) -> None:
    """A prompt of any texts, laid out in any way, renders from its files as it renders here."""
    inputs = data.draw(st.sampled_from([("text",), ("text", "other field"), ("b", "a", "class")]))
    prompt = data.draw(prompts(inputs, template=template, answer_format=answer_format, reasoning=reasoning))
    values = data.draw(st.tuples(*[nasty_texts for _ in inputs]))
    ours = Renderer()
    done = {f: export(prompt, f, Target(tmp_path, f, force=True), ours, [row(*values, inputs=inputs)]) for f in EXACT}

    expected = [message.to_dict() for message in ours.messages(prompt, row(*values, inputs=inputs))]
    filled = dict(zip(inputs, values, strict=True))
    assert expected == read_messages(done["messages"].files[0], filled)
    assert expected == run_module(done["python"].files[0]).render(**filled)
    assert {"exact"} == {exported.fidelity for exported in done.values()}


@pytest.mark.parametrize("reasoning", [False, True])
@pytest.mark.parametrize("template", [*BUILT_IN, *ADAPTERS])
@few
@given(data=st.data())
def test_nearest_prompts_are_carried_exactly_as_modules(
    data: st.DataObject, template: str, reasoning: bool, tmp_path: Path, renderer: Renderer
) -> None:
    """A module finds the same examples, in the same order, and writes them as the template does."""
    inputs = data.draw(st.sampled_from([("text",), ("text", "other")]))
    nearest = data.draw(st.integers(1, 5))
    prompt = data.draw(prompts(inputs, template=template, reasoning=reasoning, nearest=nearest))
    asked = row(*data.draw(st.tuples(*[nasty_texts for _ in inputs])), inputs=inputs)
    (path,) = export(prompt, "python", Target(tmp_path, force=True), renderer, [asked]).files

    expected = [message.to_dict() for message in renderer.messages(prompt, asked)]
    assert expected == run_module(path).render(**dict(asked.inputs))


def test_examples_are_numbered_beyond_nine(tmp_path: Path) -> None:
    """A template that counts its examples counts them in the module too."""
    pool = tuple(Example(f"{n}", (("text", f"word{n} common"),), ("glad",)) for n in range(15))
    prompt = simple(template="markdown", demos=pool, nearest=12)
    (path,) = export(prompt, "python", Target(tmp_path), Renderer(), []).files
    content = run_module(path).render(text="word7")[0]["content"]

    assert Renderer().messages(prompt, row("word7"))[0].content == content
    assert [f"## Example {n}" for n in range(1, 13)] == [x for x in content.split("\n") if x.startswith("## Example")]


def test_examples_with_and_without_reasoning_keep_dspys_order(tmp_path: Path, renderer: Renderer) -> None:
    """DSPy shows the examples that lack a field first, and so does the module."""
    pool = tuple(Example(f"{n}", (("text", f"apple {'pear ' * n}"),), ("glad",), "So." * (n % 2)) for n in range(6))
    prompt = simple(template="dspy-chat", reasoning=True, demos=pool, nearest=4)
    (path,) = export(prompt, "python", Target(tmp_path), renderer, [row("apple pear")]).files

    assert '"early": True' in path.read_text()
    expected = [message.to_dict() for message in renderer.messages(prompt, row("pear apple pear"))]
    assert expected == run_module(path).render(text="pear apple pear")


@pytest.mark.parametrize("reasoning", [False, True])
@pytest.mark.parametrize("template", ADAPTERS)
@settings(few, max_examples=6)
@given(data=st.data())
def test_adapter_prompts_are_exact_dspy_programs(
    data: st.DataObject, template: str, reasoning: bool, tmp_path: Path, renderer: Renderer
) -> None:
    """A prompt tuned with an adapter sends the same messages when DSPy loads it."""
    from optimizer.programs.adapters import render_program

    inputs = data.draw(st.sampled_from([("text",), ("text", "other")]))
    prompt = data.draw(prompts(inputs, template=template, reasoning=reasoning))
    prompt = replace(prompt, instruction=" ".join(prompt.instruction.split()))  # DSPy cleans indents twice
    asked = row(*data.draw(st.tuples(*[nasty_texts for _ in inputs])), inputs=inputs)
    done = export(prompt, "dspy", Target(tmp_path, force=True), renderer, [asked])

    folder = tmp_path / "dspy_program"
    assert (folder / "program.json", folder / "program.py") == done.files
    assert set(done.files) == set(folder.iterdir())
    assert done.fidelity == "exact"
    assert renderer.messages(prompt, asked) == render_program(str(folder), dict(asked.inputs))


@pytest.mark.parametrize("template", list(BUILT_IN))
def test_other_prompts_are_partial_dspy_programs(template: str, tmp_path: Path) -> None:
    """Instruction and examples reach DSPy word for word; that the layout is another one is said."""
    done = export(simple(template=template, label_place="none"), "dspy", Target(tmp_path), Renderer(), [row("x")])
    state = json.loads(done.files[0].read_text(encoding="utf-8"))

    assert done.fidelity == "partial"
    assert "measure it again" in done.note
    assert state["signature"]["instructions"] == "How does the writer feel?"
    assert state["demos"] == [{"text": "I am glad", "label": "glad"}, {"text": "I am sad", "label": "sad"}]


def test_exporting_twice_writes_the_same_bytes(tmp_path: Path, renderer: Renderer) -> None:
    """Nothing in the files depends on when or where they were written."""
    prompt = simple()
    for name in FORMATS:
        one, two = (export(prompt, name, Target(tmp_path, f"{name}{n}"), renderer, []) for n in (1, 2))
        assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in two.files]


# --- the module -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nearest", [0, 1])
def test_the_module_runs_without_any_package(nearest: int, tmp_path: Path) -> None:
    """Isolated and without site-packages, the module renders and reads an answer."""
    prompt = simple(nearest=nearest)
    (path,) = export(prompt, "python", Target(tmp_path), Renderer(), []).files
    code = (
        f"import runpy, json; m = runpy.run_path({str(path)!r});"
        "print(json.dumps([m['render'](text='I am sad\\u2028'), m['parse']('**Sad.**'), m['SETTINGS']]))"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    expected = [message.to_dict() for message in Renderer().messages(prompt, row("I am sad\u2028"))]
    assert [expected, "sad", {"temperature": 0.0, "max_tokens": 64}] == json.loads(run.stdout)


@pytest.mark.parametrize("prompt", [simple(), simple(nearest=1, template="markdown", reasoning=True)])
def test_the_module_only_defines(prompt: Prompt, tmp_path: Path) -> None:
    """Importing it does nothing but define functions and literal constants."""
    (path,) = export(prompt, "python", Target(tmp_path), Renderer(), []).files
    docstring, *body = ast.parse(path.read_text(encoding="utf-8")).body

    assert isinstance(docstring, ast.Expr)
    for node in body:
        if isinstance(node, ast.Assign):
            ast.literal_eval(node.value)
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
    imported = {n.module for n in body if isinstance(n, ast.ImportFrom)}
    imported |= {alias.name for n in body if isinstance(n, ast.Import) for alias in n.names}
    assert imported <= {*sys.stdlib_module_names, "collections.abc"}


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({}, "misses the input 'text'"),
        ({"text": "x", "txt": "y"}, "unknown input 'txt'"),
        ({"text": 3}, "'text' must be a text, not int"),
    ],
)
def test_the_module_names_a_wrong_input(inputs: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    """A missing, unknown or unfit input is a TypeError that names it."""
    (path,) = export(simple(), "python", Target(tmp_path), Renderer(), []).files

    with pytest.raises(TypeError, match=complaint):
        run_module(path).render(**inputs)


def test_the_module_takes_inputs_by_name_alone(tmp_path: Path) -> None:
    """Inputs given by position are refused."""
    (path,) = export(simple(), "python", Target(tmp_path), Renderer(), []).files

    with pytest.raises(TypeError):
        run_module(path).render("x")


@pytest.mark.parametrize("template", list(BUILT_IN))
@pytest.mark.parametrize("answer_format", ["bare", "json", "tagged"])
@few
@given(text=nasty_texts, labels=st.sampled_from([(), ("glad", "sad", "not sad")]), reasoning=st.booleans())
def test_the_module_reads_answers_as_we_do(
    text: str, labels: tuple[str, ...], reasoning: bool, answer_format: str, template: str, tmp_path: Path
) -> None:
    """Its parse() reads the same answer out of a worked answer, a wrapped one and noise."""
    ours = Renderer()
    prompt = simple(template=template, answer_format=answer_format, reasoning=reasoning, labels=labels)
    (path,) = export(prompt, "python", Target(tmp_path, force=True), ours, []).files
    parse = run_module(path).parse

    for target in ("glad", text):
        answer = ours.templates[template].answer(prompt, target, "Because.")
        for completion in (answer, f"Label: {answer}", f"<answer>{answer}</answer>\n", text):
            assert ours.parse(prompt, completion) == parse(completion)


@pytest.mark.parametrize("template", list(BUILT_IN))
@pytest.mark.parametrize("answer_format", ["bare", "json", "tagged"])
def test_the_module_reads_several_labels_as_they_are_scored(answer_format: str, template: str, tmp_path: Path) -> None:
    """It gives the labels of the list alone, in its order, without any package; a prompt of open answers knows none."""
    prompt = simple(template=template, answer_format=answer_format, labels=(), output="tags", demos=())
    facts = Facts(several=("price", "late delivery", "bug"))
    (path,) = write_export(prompt, "python", Target(tmp_path), Renderer(), [], facts).files
    answer = Renderer().templates[template].answer
    texts = [answer(prompt, said) for said in ("Bug.</tag>, speed; **price**", '["late-delivery"]', "speed", "")]
    texts += [answer(prompt, said) for said in ("price and bug", '{"price": false, "bug": true}')]
    code = f"import runpy, json; m = runpy.run_path({str(path)!r}); print(json.dumps([*map(m['parse'], {texts!r})]))"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(run.stdout) == ["price, bug", "late delivery", None, None, "price, bug", "bug"]


@pytest.mark.parametrize("template", list(BUILT_IN))
@pytest.mark.parametrize("answer_format", ["bare", "json", "tagged"])
@pytest.mark.parametrize("reasoning", [False, True])
def test_the_module_reads_an_object_as_it_is_scored(
    *, reasoning: bool, answer_format: str, template: str, tmp_path: Path
) -> None:
    """It takes fences and sentences off, without any package."""
    ours, object_ = Renderer(slots=True), '{"city": "Rome", "at": {"hour": 9}}'
    prompt = simple(
        template=template, answer_format=answer_format, reasoning=reasoning, labels=(), output="slots", demos=()
    )
    (path,) = export(prompt, "python", Target(tmp_path), ours, []).files
    repeated = f'In {{"city": "Oslo"}} I fill {{}} with:\n{object_}'
    said = (object_, f"Sure {{it}} is:\n```json\n{object_}\n```", repeated, f"{object_}: {{}}", "none")
    texts = [ours.templates[template].answer(prompt, text, "Because.") for text in said]
    code = f"import runpy, json; m = runpy.run_path({str(path)!r}); print(json.dumps([*map(m['parse'], {texts!r})]))"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(run.stdout) == [ours.parse(prompt, text) for text in texts] == [*[object_] * 4, "none"]


def calibrated(**changes: Any) -> Prompt:
    """A prompt that asks for log-probabilities and has its prior."""
    prior = tuple((label, -0.75 * n) for n, label in enumerate(changes.get("labels", ("glad", "sad"))))
    return simple(**{"settings": Settings(0.0, 9, logprobs=True), "prior": prior, **changes})


shares = st.floats(-12, 0)
tellings = st.lists(
    st.builds(
        lambda said, value, others: {
            "token": said,
            "logprob": value,
            "top_logprobs": [{"token": text, "logprob": other} for text, other in others],
        },
        st.sampled_from(["glad", " sad", "sa", "g", "Label", ":", "x"]),
        shares,
        st.lists(st.tuples(st.sampled_from(["glad", "sad", " SAD", "not", "Not sad", "\n", "s"]), shares), max_size=6),
    ),
    max_size=3,
)


@pytest.mark.parametrize("nearest", [0, 1])
@pytest.mark.parametrize("template", list(BUILT_IN))
@few
@given(told=tellings, text=nasty_texts)
def test_the_module_chooses_labels_as_we_do(
    told: list[dict[str, Any]], text: str, nearest: int, template: str, tmp_path: Path
) -> None:
    """Its calibrate() takes what a provider sends as JSON, and reads the text where that does not tell."""
    ours = Renderer()
    prompt = calibrated(template=template, nearest=nearest, labels=("glad", "sad", "not sad"))
    (path,) = export(prompt, "python", Target(tmp_path, force=True), ours, [row("I am sad")]).files
    module = run_module(path)

    scores = scores_of(prompt, beginnings(told))
    expected = choose(scores, dict(prompt.prior)) if scores else ours.parse(prompt, text)
    assert module.calibrate(text, told) == expected
    assert module.calibrate("Sad!", None) == "sad"
    assert module.SETTINGS == {"temperature": 0.0, "max_tokens": 9, "logprobs": True, "top_logprobs": 20}


def test_a_calibrated_module_runs_without_any_package(tmp_path: Path) -> None:
    """Isolated and without site-packages; the prior turns a close call."""
    (path,) = export(calibrated(), "python", Target(tmp_path), Renderer(), []).files
    told = [{"token": "glad", "logprob": -0.5, "top_logprobs": [{"token": "sad", "logprob": -1.0}]}]
    code = (
        f"import runpy; m = runpy.run_path({str(path)!r}); print(m['calibrate']('glad', {told!r}), m['parse']('glad'))"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["sad", "glad"]


broken = st.text("<>/[]# {}'\":,\n&;\\ labeltrsong", max_size=60)


@pytest.mark.parametrize("template", ADAPTERS)
@few
@given(
    texts=st.lists(st.one_of(nasty_texts, broken), max_size=12),
    labels=st.sampled_from([(), ("glad", "sad", "not sad")]),
    reasoning=st.booleans(),
    output=st.sampled_from(["label", "my_label", "reasoning"]),
)
def test_the_module_reads_answers_as_dspy_does(
    template: str,
    tmp_path: Path,
    renderer: Renderer,
    *,
    texts: list[str],
    labels: tuple[str, ...],
    reasoning: bool,
    output: str,
) -> None:
    """Worked answers, what stands around them, fields twice, in another order or left out; but mended JSON."""
    prompt = simple(template=template, reasoning=reasoning, labels=labels, output=output)
    ours = Renderer(renderer.templates, slots=not labels)
    done = export(prompt, "python", Target(tmp_path, force=True), ours, [])
    parse = run_module(done.files[0]).parse

    for target in ("glad", *texts):
        answer = renderer.templates[template].answer(prompt, target, f"Because {target}")
        for text in (answer, f"So:\n{answer}\n{answer}", answer[:-9], f"{answer}\n\n[[ ## completed ## ]]\n", target):
            found = parse(text)
            mended = template == "dspy-json" and not any(output in value for value, _ in objects(text))
            assert found == ours.parse(prompt, text) or (mended and found is None)
    assert parse(renderer.templates[template].answer(prompt, "glad", "Yes.")) == "glad"
    assert ("mends what is broken" in done.note) == (template == "dspy-json")


@pytest.mark.parametrize(
    ("template", "text", "found"),
    [
        ("dspy-chat", "[[ ## label ## ]]\nsad\n\n[[ ## label ## ]] glad", "glad"),
        ("dspy-chat", "glad", None),
        ("dspy-xml", "<label>sad</label>\n<label>not <b>glad</b></label>", "not <b>glad</b>"),
        ("dspy-xml", "<label>glad", None),
        ("dspy-json", 'I say {"label": "sad"} no, {"label": ["glad", 1]}.', '["glad", 1]'),
        ("dspy-json", "{'label': 'glad',}", None),
    ],
)
def test_a_module_of_an_adapter_runs_without_any_package(
    template: str, text: str, found: str | None, tmp_path: Path, renderer: Renderer
) -> None:
    """Isolated and without site-packages; of several answers the last counts."""
    (path,) = export(simple(template=template, labels=()), "python", Target(tmp_path), renderer, []).files
    code = f"import runpy; print(repr(runpy.run_path({str(path)!r})['parse']({text!r})))"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == repr(found)


values = st.recursive(
    st.one_of(nasty_texts, st.text(max_size=400), st.floats(allow_nan=False, allow_infinity=False), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.dictionaries(nasty_texts, inner, max_size=3)),
    max_leaves=8,
)


@given(value=values)
def test_a_literal_is_the_value_and_prints(value: Any) -> None:
    """A literal evaluates to the value, and holds only characters that print."""
    source = literal(value)

    assert value == ast.literal_eval(source)
    assert source.replace("\n", "").isprintable() or source == "''"


# --- for people -------------------------------------------------------------------------------------------


def test_the_text_is_headed_by_roles_and_marks_its_inputs(tmp_path: Path) -> None:
    """An ordinary prompt reads as it is sent, with its input in braces."""
    done = export(simple(template="chat", demos=()), "text", Target(tmp_path), Renderer(), [])

    expected = (
        "[system]\nHow does the writer feel?\n\nOptions: glad, sad\n\nRespond with the label only.\n\n[user]\n{text}\n"
    )
    assert expected == done.files[0].read_bytes().decode()
    assert tmp_path / "prompt.txt" == done.files[0]


def test_marks_and_headings_give_way_to_the_prompts_own_words(tmp_path: Path) -> None:
    """Where the prompt holds {text} or a line [user], wider ones are chosen, and the note says so."""
    prompt = simple(template="chat", demos=(), instruction="Fill {text}.\n[user]\nGo.")
    done = export(prompt, "text", Target(tmp_path), Renderer(), [])

    assert done.files[0].read_text().endswith("[[user]]\n<<text>>\n")
    assert "as <<text>>, since {text} stands" in done.note
    assert "headed [[user]]" in done.note


@pytest.mark.parametrize("format_name", ["text", "markdown"])
def test_a_prompt_that_holds_every_mark_is_refused(format_name: str, tmp_path: Path) -> None:
    """Where no mark would be told from the text, nothing is written."""
    prompt = simple(instruction="{text} " + " ".join("<" * n + "text" + ">" * n for n in range(1, 10)))

    with pytest.raises(ExportError, match="holds every mark"):
        export(prompt, format_name, Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_holds_every_heading_is_refused(tmp_path: Path) -> None:
    """Where no heading would be told from the text, nothing is written."""
    prompt = simple(instruction="\n".join("[" * n + "user" + "]" * n for n in range(1, 10)))

    with pytest.raises(ExportError, match="every heading"):
        export(prompt, "text", Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


@few
@given(prompt=prompts(template="chat"))
def test_markdown_is_read_by_a_markdown_reader(prompt: Prompt, tmp_path: Path) -> None:
    """CommonMark's own rules find the same messages in the fences."""
    reader = pytest.importorskip("markdown_it", reason="markdown-it-py comes with rich").MarkdownIt()
    done = export(prompt, "markdown", Target(tmp_path, force=True), Renderer(), [])
    fences = [token.content for token in reader.parse(done.files[0].read_text()) if token.type == "fence"]

    mark = "<<text>>" if "<<text>>" in done.note else "{text}"
    if "<<<" not in done.note:  # a prompt that holds both is for another test
        shown = [message.content + "\n" for message in Renderer().messages(prompt, row(mark))]
        assert [_as_commonmark(text) for text in shown] == fences


def _as_commonmark(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def test_markdown_tells_the_parameters(tmp_path: Path) -> None:
    """The table holds the template, the number of examples and the settings, and stays a table."""
    prompt = simple(inputs=("a|b`c\nd",), demos=(), settings=Settings(0.25, 99))
    (path,) = export(prompt, "markdown", Target(tmp_path), Renderer(), []).files
    table = path.read_text().split("\n\n")[1].split("\n")

    assert "| template | `plain` |" in table
    assert "| examples | 0 |" in table
    assert "| temperature | 0.25 |" in table
    assert "| max_tokens | 99 |" in table
    assert "| inputs | `` {a\\|b`c d} `` |" in table


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["messages", "text", "markdown", "dspy"])
def test_examples_that_depend_on_the_input_are_refused(format_name: str, tmp_path: Path) -> None:
    """A format of fixed messages says why it cannot, what can, and leaves nothing behind."""
    with pytest.raises(ExportError, match=r"depend on the input \(the nearest 1 of 2\).*Export it as python"):
        export(simple(nearest=1), format_name, Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in {"python", "winner"}])
def test_calibrated_prompts_are_refused_by_what_carries_messages_alone(format_name: str, tmp_path: Path) -> None:
    """A format without code would make another answer of them; the refusal names the one that can."""
    with pytest.raises(ExportError, match=r"calibrated log-probabilities.*Export it as python"):
        export(calibrated(), format_name, Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("changes", "fault"), [({"prior": ()}, "has no prior yet")])
def test_a_calibrated_prompt_that_cannot_choose_makes_no_module(
    changes: dict[str, Any], fault: str, tmp_path: Path, renderer: Renderer
) -> None:
    """It lacks its prior, or the reading to fall back on."""
    with pytest.raises(ExportError, match=fault):
        export(calibrated(**changes), "python", Target(tmp_path), renderer, [])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_pool_depends_on_nothing(tmp_path: Path) -> None:
    """Without examples to choose from, a prompt is as fixed as any."""
    done = export(simple(nearest=3, demos=()), "messages", Target(tmp_path), Renderer(), [])

    assert done.fidelity == "exact"


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """The complaint lists the formats and guesses the one meant."""
    with pytest.raises(ExportError, match=r"unknown export format 'pyton'; allowed: winner, messages, .*mean 'python'"):
        export(simple(), "pyton", Target(tmp_path), Renderer(), [])


@pytest.mark.parametrize("name", ["review text", "class", "_hidden", 'a"b', "input_fields"])
def test_fields_that_dspy_cannot_name_are_refused(name: str, tmp_path: Path) -> None:
    """A column whose name is no DSPy field is named, and nothing is left behind."""
    with pytest.raises(ExportError, match=r"field|DSPy refuses"):
        export(simple(inputs=(name,), demos=()), "dspy", Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


def test_an_installation_without_sources_makes_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our functions cannot be read, the module that needs them is refused."""

    def absent(_: object) -> str:
        raise OSError

    monkeypatch.setattr(inspect, "getsource", absent)
    with pytest.raises(ExportError, match="installed with its sources"):
        export(simple(), "python", Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_half_a_character_is_refused(format_name: str, tmp_path: Path) -> None:
    """A lone surrogate, which UTF-8 cannot hold, is refused by every format."""
    with pytest.raises(ExportError, match="half of a character"):
        export(simple(instruction="a\ud800b"), format_name, Target(tmp_path), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


class Counting:
    """A template whose first words depend on all the examples together."""

    id = "counting"

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        return (turn("user", f"{len(demos)} examples: ", *(demo.text + " " for demo in demos)),)

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        return target

    def parse(self, prompt: Prompt, text: str) -> str | None:
        return text


def test_a_template_that_does_not_string_its_examples_is_refused(tmp_path: Path) -> None:
    """A layout that no row of pieces can rebuild is not guessed at."""
    with pytest.raises(ExportError, match="one after another"):
        export(
            simple(template="counting", nearest=1), "python", Target(tmp_path), Renderer({"counting": Counting()}), []
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format_name", "right", "wrong"),
    [
        ("messages", "glad", "gladd"),
        ("messages", '"role": "user"', '"role": "tool"'),
        ("messages", '"max_tokens": 64', '"max_tokens": 65'),
        ("python", "glad", "gladd"),
        ("python", '.removeprefix("<answer>")', '.removeprefix("<reply>")'),
        ("python", "(?:answer|{name})", "(?:reply|{name})"),
        ("python", "text.casefold()", "text"),
        ("python", "-1.25", "1.25"),
        ("python", "NEVER = -30.0", "NEVER = -3.0"),
        ("python", "so_far + other", "other"),
        ("python", "scores[label] - prior[label]", "scores[label]"),
        ("text", "glad", "gladd"),
        ("markdown", "glad", "gladd"),
    ],
)
def test_a_file_that_differs_is_never_left(
    format_name: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong word in what was written, and the export fails with the place and leaves nothing behind."""
    honest = FORMATS[format_name]

    def spoilt(winner: Winner) -> Draft:
        draft = honest.draft(winner)
        assert isinstance(draft.content, str)
        assert right in draft.content
        return replace(draft, content=draft.content.replace(right, wrong))

    monkeypatch.setitem(FORMATS, format_name, replace(honest, draft=spoilt))
    prompt = simple(labels=(), template="xml") if "answer" in right else simple(labels=("glad", "sad"))
    if {"-1.25", "-30.0", "so_far", "scores[label]"} & set(right.split()):
        prompt = calibrated(prior=(("glad", 0.0), ("sad", -1.25)))
    with pytest.raises(ExportError, match=r"is not the prompt: .*Nothing was left behind"):
        export(prompt, format_name, Target(tmp_path), Renderer(), [row("x")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("right", "wrong"), [("How does", "How did"), ("I am glad", "I was glad")])
def test_a_dspy_program_that_differs_is_never_left(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instruction or an example that did not arrive is noticed in the loaded program."""
    honest = FORMATS["dspy"]

    def spoilt(winner: Winner) -> Draft:
        draft = honest.draft(winner)
        assert not isinstance(draft.content, str)
        return replace(draft, content={name: text.replace(right, wrong) for name, text in draft.content.items()})

    monkeypatch.setitem(FORMATS, "dspy", replace(honest, draft=spoilt))
    with pytest.raises(ExportError, match=r"is not the prompt: .*Nothing was left behind"):
        export(simple(), "dspy", Target(tmp_path), Renderer(), [row("x")])
    assert list(tmp_path.iterdir()) == []


def test_a_difference_is_told_by_message_and_character() -> None:
    """The complaint says which message differs, from which character on, and how."""
    draft = Draft("", Winner(simple(template="chat", demos=()), Renderer()))
    messages = [message.to_dict() for message in Renderer().messages(draft.prompt, row("x"))]
    other = [messages[0], {"role": "user", "content": "y"}]

    assert (
        difference(lambda _: other, draft, [row("x")])
        == "for the inputs {'text': 'x'} message 2 differs from character 1 on: 'y', not 'x'"
    )
    assert "it makes 1 messages, not 2" in difference(lambda _: messages[:1], draft, [row("x")])
    assert "message 2 has the role 'tool', not 'user'" in difference(
        lambda _: [messages[0], {"role": "tool", "content": "x"}], draft, [row("x")]
    )


def test_probes_hold_every_nasty_text_and_the_slots_own_marks() -> None:
    """Every input meets every text of the corpus, and the marks of the other inputs."""
    met = {dict(probe.inputs)["b"] for probe in nasty_rows(simple(inputs=("a", "b")))}

    assert {*NASTY, "{a}", "<<a>>"} <= met


# --- where it is written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("a/b", "../up", "..", ".", "/abs", "a\\b", "C:x", ".hidden", "-option", "x.", "x ", "a*b", "a?b", 'a"b'),
        *("nul", "NUL.txt", "Con", "com1.py", "LPT9", "COM\u00b9", "aux .md", "a\nb", "a\0b", "a\u202eb", "a\u2028b"),
        *("\ud800", "n" * 256, "\u00e9" * 128),
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(name: str, tmp_path: Path) -> None:
    """No name leads out of the folder, hides, looks like an option or means something to a system."""
    folder = tmp_path / "folder"
    folder.mkdir()

    with pytest.raises(ExportError, match="a plain file name is allowed"):
        export(simple(), "text", Target(folder, name, force=True), Renderer(), [])
    assert [folder] == list(tmp_path.iterdir())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["x", "console.txt", "com10", "prompt (2).txt", "\u00fcber.txt", "n" * 255])
def test_a_plain_name_is_taken(name: str, tmp_path: Path) -> None:
    """An ordinary name is used as it is given."""
    done = export(simple(), "text", Target(tmp_path, name), Renderer(), [])

    assert (tmp_path / name,) == done.files
    assert [tmp_path / name] == list(tmp_path.iterdir())


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_what_stands_there_is_kept_unless_forced(format_name: str, tmp_path: Path) -> None:
    """An earlier export is refused a second time, and replaced when that is allowed."""
    first = export(simple(), format_name, Target(tmp_path), Renderer(), [])
    before = [path.read_bytes() for path in first.files]
    other = simple(instruction="Another one.")

    with pytest.raises(ExportError, match=r"exists already.*--force"):
        export(other, format_name, Target(tmp_path), Renderer(), [])
    assert before == [path.read_bytes() for path in first.files]
    second = export(other, format_name, Target(tmp_path, force=True), Renderer(), [])
    assert first.files == second.files
    assert before != [path.read_bytes() for path in first.files]
    assert [FORMATS[format_name].usual_name] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_a_folder_of_the_users_is_never_replaced(format_name: str, tmp_path: Path) -> None:
    """Even with force, a folder that holds anything else stays as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.csv").write_text("a,b")

    with pytest.raises(ExportError, match="no earlier export"):
        export(simple(), format_name, Target(tmp_path, "mine", force=True), Renderer(), [])
    assert [tmp_path / "mine"] == list(tmp_path.iterdir())
    assert (tmp_path / "mine" / "data.csv").read_text() == "a,b"


@pytest.mark.parametrize("format_name", list(FORMATS))
@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_link_is_never_followed(format_name: str, kind: str, tmp_path: Path) -> None:
    """A link is refused, and with force replaced itself; what it points to stays as it is."""
    goal, folder = tmp_path / "goal", tmp_path / "folder"
    folder.mkdir()
    if kind == "file":
        goal.write_text("mine")
    elif kind == "folder":
        goal.mkdir()
    try:
        (folder / "name").symlink_to(goal)
    except OSError:
        pytest.skip("this system makes no links")

    with pytest.raises(ExportError, match="exists already"):
        export(simple(), format_name, Target(folder, "name"), Renderer(), [])
    export(simple(), format_name, Target(folder, "name", force=True), Renderer(), [])
    assert not (folder / "name").is_symlink()
    assert [folder / "name"] == list(folder.iterdir())
    assert {"file": "mine", "folder": [], "nothing": None}[kind] == _content(goal)


def _content(path: Path) -> object:
    if path.is_dir():
        return list(path.iterdir())
    return path.read_text() if path.exists() else None


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """A folder that does not exist is named, not made."""
    with pytest.raises(ExportError, match="no such folder"):
        export(simple(), "text", Target(tmp_path / "none"), Renderer(), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", ["text", "dspy"])
def test_a_full_disk_leaves_what_was_there(format_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails, the earlier export stays and nothing half-written is left beside it."""
    done = export(simple(), format_name, Target(tmp_path), Renderer(), [])
    before = [path.read_bytes() for path in done.files]

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="No space left"):
        export(simple(instruction="New."), format_name, Target(tmp_path, force=True), Renderer(), [])
    assert before == [path.read_bytes() for path in done.files]
    assert [FORMATS[format_name].usual_name] == [path.name for path in tmp_path.iterdir()]


def test_a_failed_move_puts_the_earlier_program_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new folder cannot take its place, the old one returns to it."""
    done = export(simple(), "dspy", Target(tmp_path), Renderer(), [])
    before = [path.read_bytes() for path in done.files]
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name == "dspy_program" and target.name == "dspy_program":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(ExportError, match="cannot be written"):
        export(simple(instruction="New."), "dspy", Target(tmp_path, force=True), Renderer(), [])
    assert before == [path.read_bytes() for path in done.files]
    assert [tmp_path / "dspy_program"] == list(tmp_path.iterdir())


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_every_format_tells_what_it_is(format_name: str, tmp_path: Path) -> None:
    """Each has one line about it, a usual name that is a plain one, and reports what it wrote."""
    exporter = FORMATS[format_name]
    done = export(simple(), format_name, Target(tmp_path), Renderer(), [])

    assert "\n" not in exporter.about
    assert isinstance(done, Exported)
    assert format_name == done.format
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in done.files)


def test_bytes_are_written_with_the_same_care(tmp_path: Path) -> None:
    """A single file lands whole, is kept unless forced, and never leaves the folder."""
    data = bytes(range(256))

    assert write_bytes(data, Target(tmp_path, "model.bin")) == tmp_path / "model.bin"
    assert (tmp_path / "model.bin").read_bytes() == data
    with pytest.raises(ExportError, match="exists already"):
        write_bytes(b"", Target(tmp_path, "model.bin"))
    write_bytes(b"new", Target(tmp_path, "model.bin", force=True))
    assert (tmp_path / "model.bin").read_bytes() == b"new"
    for name in ("", "../model.bin"):
        with pytest.raises(ExportError, match="a plain file name is allowed"):
            write_bytes(b"", Target(tmp_path, name))
    assert list(tmp_path.iterdir()) == [tmp_path / "model.bin"]
