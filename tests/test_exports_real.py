"""Every export is loaded by the tool that it is for, and renders there what was scored, byte for byte.

A format is skipped where its tool is missing: `make test-exports` installs those of Python, `make test-node` promptfoo
and dotprompt's own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import ChatServer

from optimizer.errors import ExportError
from optimizer.exports import FORMATS, Exported, Target
from optimizer.exports import export as write_export
from optimizer.exports.proof import NASTY, Draft, nasty_rows
from optimizer.exports.readers import READERS
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer
from search_spaces.templates import BUILT_IN
from tests.exporting import SCORED, TEXTS, export, prompts, simple

SLOW = {"curl", "inspect", "promptfoo"}  # each starts a program: the whole corpus goes through one prompt
MANY = [name for name in READERS if name not in SLOW]
NODE = pytest.param("promptfoo", marks=pytest.mark.node)


@pytest.fixture(autouse=True)
def _their_warnings() -> Iterator[None]:
    """Let the tools warn of what they like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def proved(name: str, prompt: Prompt, folder: Path) -> bool:
    """Export, and let the tool find no fault; or be refused with a reason."""
    reader = READERS[name]
    if not reader.installed:
        pytest.skip(f"needs {reader.needed}")
    try:
        texts = NASTY if name in SLOW else TEXTS
        done = export(prompt, name, Target(folder, FORMATS[name].usual_name, force=True), Renderer(), [], texts)
    except ExportError as error:
        return _refused(str(error))
    assert reader.fault(done.path, done.draft, list(nasty_rows(prompt))) == ""
    return True


def _refused(said: str) -> bool:
    """Check that the refusal has a reason; the prompt was not carried."""
    assert said.endswith("Nothing was left behind.")
    assert any(why in said for why in ("cannot hold", "does not take", "DSPy refuses", "holds every mark"))
    return False


def nasty(template: str, texts: tuple[str, ...], **changes: Any) -> Prompt:
    """A prompt that says these texts in its instruction and in each of its examples."""
    demos = [Example(f"demo-{number}", (("text", text),), (text,)) for number, text in enumerate(texts)]
    return simple(template=template, instruction="|".join(texts), demos=tuple(demos), labels=(), **changes)


@pytest.mark.parametrize("template", ["xml", "chat"])
@pytest.mark.parametrize("name", [name for name in MANY if name != "dspy"])  # DSPy is what reads its programs anyway
def test_each_nasty_text_is_rendered_by_the_tool(name: str, template: str, tmp_path: Path) -> None:
    """Alone in a prompt, each text of the corpus arrives, or the prompt is refused; most are not."""
    carried = [proved(name, nasty(template, (text,)), tmp_path) for text in NASTY]

    assert sum(carried) > len(NASTY) / 3


@pytest.mark.parametrize("template", [*BUILT_IN])
@pytest.mark.parametrize("name", [*(name for name in READERS if name != "promptfoo"), NODE])
def test_an_ordinary_prompt_is_rendered_by_the_tool(name: str, template: str, tmp_path: Path) -> None:
    """None refuses it, whatever its inputs hold."""
    assert proved(name, simple(template=template), tmp_path)


@pytest.mark.parametrize("name", ["curl", "inspect", NODE])
def test_nasty_texts_together_are_rendered_by_the_tool(name: str, tmp_path: Path) -> None:
    """One program reads a prompt of the whole corpus."""
    assert proved(name, nasty("chat", NASTY), tmp_path)


@pytest.mark.parametrize("name", MANY)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_drawn_prompts_are_rendered_by_the_tool(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Prompts of any texts, with one input or several, whatever these are called."""
    inputs = data.draw(st.sampled_from([("text",), ("text", "other field"), ("class", "Größe (cm)", "input")]))
    if name == "dspy":
        inputs = ("text", "other")
    prompt = data.draw(prompts(inputs, template=data.draw(st.sampled_from([*BUILT_IN]))))

    proved(name, prompt, tmp_path)


@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].load])
def test_a_tool_notices_a_prompt_that_is_another(name: str, tmp_path: Path) -> None:
    """The proof can fail: of another prompt the tool's messages differ."""
    if not READERS[name].installed:
        pytest.skip(f"needs {READERS[name].needed}")
    done = export(simple(), name, Target(tmp_path), Renderer(), [])
    other = replace(done.draft.winner, prompt=replace(done.draft.prompt, instruction="How did the writer feel?"))

    assert "differs from character" in READERS[name].fault(done.path, replace(done.draft, winner=other), [])


@pytest.mark.parametrize("name", ["curl", "mlflow", "prompty", "inspect", NODE])
def test_a_tool_takes_the_address_of_a_model(name: str, tmp_path: Path) -> None:
    """A file that names a server is loaded as others are."""
    if not READERS[name].installed:
        pytest.skip(f"needs {READERS[name].needed}")
    done = export(simple(), name, Target(tmp_path), Renderer(), [], address="http://127.0.0.1:8091/v1")

    assert "http://127.0.0.1:8091/v1" in "".join(file.read_text("utf-8") for file in done.files)
    assert READERS[name].fault(done.path, done.draft, []) == ""


# --- beyond the messages ----------------------------------------------------------------------------------


def test_mlflow_registers_it_with_its_settings(tmp_path: Path) -> None:
    """A registry of its own takes the file's JSON as it is, and gives prompt and settings back."""
    mlflow = pytest.importorskip("mlflow.genai", reason="needs mlflow-skinny") and pytest.importorskip("mlflow")
    done = export(simple(template="chat"), "mlflow", Target(tmp_path), Renderer(), [])
    told = json.loads(done.path.read_bytes())
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_registry_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.genai.register_prompt(**told)
    prompt = mlflow.genai.load_prompt("prompts:/support/1")

    assert prompt.format(text="{{ x }}") == rendered(done, "{{ x }}")
    assert {"temperature": 0.0, "max_tokens": 64, "model_name": "gpt-4o-mini"}.items() <= prompt.model_config.items()


def rendered(done: Exported, text: str) -> list[dict[str, str]]:
    """Our own messages."""
    row = Example("", (("text", text),))
    return [message.to_dict() for message in done.draft.renderer.messages(done.draft.prompt, row)]


def test_inspect_scores_answers_as_we_read_them(tmp_path: Path) -> None:
    """Of three rows with the answer "glad", one that is said in other words counts, and one that is wrong does not."""
    inspect_ai = pytest.importorskip("inspect_ai", reason="needs inspect-ai")
    model = pytest.importorskip("inspect_ai.model")
    done = export(simple(), "inspect", Target(tmp_path), Renderer(), [])
    import runpy

    outputs = [model.ModelOutput.from_content("mockllm/model", said) for said in ("glad", "**Glad.**", "sad")]
    for output in outputs:
        output.usage = model.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    task = runpy.run_path(str(done.path / "task.py"))["support"]()
    mock = model.get_model("mockllm/model", custom_outputs=outputs)
    [log] = inspect_ai.eval(task, model=mock, log_dir=str(tmp_path / "logs"), display="none", max_samples=1)

    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(2 / 3)
    assert (task.config.temperature, task.config.max_tokens) == (0.0, 64)


@pytest.mark.parametrize("name", SCORED)
def test_inspect_scores_as_the_run_does(name: str, tmp_path: Path) -> None:
    """Each row by the run's own metric, whatever that is."""
    inspect_ai = pytest.importorskip("inspect_ai", reason="needs inspect-ai")
    model = pytest.importorskip("inspect_ai.model")
    import runpy

    case = SCORED[name]
    done = write_export(case.prompt, "inspect", Target(tmp_path), case.renderer, [], case.facts)
    outputs = [model.ModelOutput.from_content("mockllm/model", said) for said in case.said]
    for output in outputs:
        output.usage = model.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    task = runpy.run_path(str(done.path / "task.py"))["support"]()
    mock = model.get_model("mockllm/model", custom_outputs=outputs)
    [log] = inspect_ai.eval(task, model=mock, log_dir=str(tmp_path / "logs"), display="none", max_samples=1)
    found = {sample.id: sample.scores["answer"].value for sample in log.samples}

    assert [found[row.id] for row in case.facts.rows] == pytest.approx(case.scores)
    assert next(iter(log.results.scores[0].metrics)) == ("mean" if case.metric.graded else "accuracy")


@pytest.mark.parametrize("name", ["openai", "anthropic", "batch", "finetune"])
def test_the_clients_types_refuse_a_wrong_role(name: str, tmp_path: Path) -> None:
    """The types that we let judge are no rubber stamp."""
    if not READERS[name].installed:
        pytest.skip(f"needs {READERS[name].needed}")
    done = export(simple(), name, Target(tmp_path), Renderer(), [])
    done.path.write_text(done.path.read_text().replace('"role": "user"', '"role": "nobody"'))

    assert "validation error" in READERS[name].fault(done.path, done.draft, [])


@pytest.mark.node
def test_promptfoo_scores_as_the_run_does(tmp_path: Path, server: ChatServer) -> None:
    """It asks the model at the address of the run, and scores each row by the run's own metric."""
    if not READERS["promptfoo"].installed:
        pytest.skip("needs promptfoo")
    server.ask("server:repeat")
    for name, case in SCORED.items():
        facts = replace(case.facts, address=server.url)
        done = write_export(case.prompt, "promptfoo", Target(tmp_path, name), case.renderer, [], facts)
        results = evaluated(done.path, tmp_path / f"{name}.json")
        found = {one["metadata"]["id"]: one for one in results}

        assert [found[row.id]["score"] for row in facts.rows] == pytest.approx(case.scores)
        assert [found[row.id]["success"] for row in facts.rows] == [value == 1 for value in case.scores]
    assert len(server.log) == sum(len(case.said) for case in SCORED.values())


def evaluated(folder: Path, told: Path) -> list[dict[str, Any]]:
    """Let promptfoo ask the model, and return its results."""
    quiet = ("PROMPTFOO_DISABLE_TELEMETRY=1", "PROMPTFOO_DISABLE_UPDATE=1", f"PROMPTFOO_CONFIG_DIR={folder}")
    asked = ("promptfoo", "eval", "-c", folder / "promptfooconfig.yaml", "-o", told, "--no-write", "--no-cache")
    command = ["/usr/bin/env", *quiet, "OPENAI_API_KEY=sk-x", *map(str, asked)]
    subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return list(json.loads(told.read_bytes())["results"]["results"])


# --- Node -------------------------------------------------------------------------------------------------

RENDER = """
const { Dotprompt } = require("dotprompt");
const { readFileSync } = require("fs");
const { source, inputs } = JSON.parse(readFileSync(0, "utf8"));
const dotprompt = new Dotprompt();
Promise.all(inputs.map(input => dotprompt.render(source, { input }))).then(all => console.log(JSON.stringify(
  all.map(one => one.messages.map(m => ({ role: m.role, content: m.content.map(part => part.text).join("") }))))));
"""


def node(source: str, inputs: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """Render with dotprompt's own package."""
    program = shutil.which("node")
    there = program and subprocess.run([program, "-e", "require('dotprompt')"], capture_output=True, check=False)
    if not program or not there or there.returncode:
        pytest.skip("needs Node and its package dotprompt")
    told = json.dumps({"source": source, "inputs": inputs})
    run = subprocess.run([program, "-e", RENDER], input=told, capture_output=True, text=True, check=True)
    return list(json.loads(run.stdout))


@pytest.mark.node
@pytest.mark.parametrize("template", ["xml", "chat"])
@pytest.mark.parametrize("text", NASTY)
def test_dotprompts_own_package_renders_it(template: str, text: str, tmp_path: Path) -> None:
    """The package of Node makes the same messages as that of Python."""
    prompt = nasty(template, (text,))
    try:
        done = export(prompt, "dotprompt", Target(tmp_path), Renderer(), [])
    except ExportError as error:
        _refused(str(error))
        return
    probes = [dict(row.inputs) for row in nasty_rows(prompt) if carried(done.draft, row)]
    found = node(done.path.read_text("utf-8"), probes)
    wanted = [rendered(done, probe["text"]) for probe in probes]
    roles = {"model": "assistant"}

    assert len(probes) > len(NASTY) / 2
    assert wanted == [[m | {"role": roles.get(m["role"], m["role"])} for m in messages] for messages in found]


def carried(draft: Draft, row: Example) -> bool:
    """Whether the format promises to carry these inputs."""
    return draft.carries(dict(row.inputs))
