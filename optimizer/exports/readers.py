"""The tools that the formats are for: each loads an export as its users do, and returns the messages.

A tool is imported only for `--verify`; if it is not installed, the error says what is needed. Knows nothing of how a
format is written, except where a file must be filled in by hand.
"""

from __future__ import annotations

import asyncio
import json
import runpy
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optimizer.exports.inspect_task import task_name
from optimizer.exports.names import given, slot_names
from optimizer.exports.proof import Draft, Messages, Render, difference
from search_spaces.prompt import Example

SECONDS = 300  # most seconds that a program may take to read an export


Load = Callable[[Path, Draft], Render]
Fault = Callable[[Path, Draft], str]


@dataclass(frozen=True, slots=True)
class Reader:
    """The tool for a format.

    `packages` are alternative distributions, of which the first that is installed is used; or it is a `program`. `load`
    turns a path into messages with that tool; if that is not possible, `look` returns what the tool finds wrong.
    """

    packages: tuple[str, ...] = ()
    program: str = ""
    load: Load | None = None
    look: Fault | None = None

    @property
    def installed(self) -> str:
        """The tool with its version; empty if it is not installed."""
        if self.program:
            return self.program if shutil.which(self.program) else ""
        for package in self.packages:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                continue
        return ""

    @property
    def needed(self) -> str:
        """What has to be installed."""
        return f"the program {self.program}" if self.program else f"the package {self.packages[0]}"

    def fault(self, path: Path, draft: Draft, probes: Sequence[Example]) -> str:
        """Return how the tool's reading of a written path differs from ours; empty if it does not."""
        found = self.look(path, draft) if self.look else ""
        return found or (difference(self.load(path, draft), draft, probes) if self.load else "")


# --- frameworks -------------------------------------------------------------------------------------------


def _jinja(path: Path, draft: Draft) -> Render:
    from jinja2 import Environment

    template = Environment(autoescape=False).from_string(path.read_text("utf-8"))  # noqa: S701 - it writes no HTML
    names = slot_names(draft.prompt.inputs)
    return lambda inputs: list(json.loads(template.render(given(inputs, names))))


def _langchain(path: Path, draft: Draft) -> Render:
    import warnings

    from langchain_core.load import loads

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns each time that it is in beta
        template = loads(path.read_text("utf-8"), allowed_objects="core")
    names, roles = slot_names(draft.prompt.inputs), {"human": "user", "ai": "assistant", "system": "system"}
    return lambda inputs: [
        {"role": roles[message.type], "content": message.content}
        for message in template.invoke(given(inputs, names)).to_messages()
    ]


def _mlflow(path: Path, draft: Draft) -> Render:
    """Make the prompt as the registry would return it, because registering it would need a registry."""
    from mlflow.entities.model_registry.prompt_version import PromptVersion

    told = json.loads(path.read_text("utf-8"))
    prompt, names = PromptVersion(version=1, **told), slot_names(draft.prompt.inputs)
    return lambda inputs: list(prompt.format(**given(inputs, names)))


def _haystack(path: Path, draft: Draft) -> Render:
    from haystack import Pipeline

    pipeline = Pipeline.loads(path.read_text("utf-8"))
    names = slot_names(draft.prompt.inputs)

    def render(inputs: Mapping[str, str]) -> Messages:
        made = pipeline.run({"prompt_builder": given(inputs, names)})["prompt_builder"]["prompt"]
        return [{"role": message.role.value, "content": message.text} for message in made]

    return render


def _llamaindex(path: Path, draft: Draft) -> Render:
    from llama_index.core.prompts import RichPromptTemplate

    template = RichPromptTemplate(path.read_text("utf-8"))
    names = slot_names(draft.prompt.inputs)
    return lambda inputs: [
        {"role": message.role.value, "content": "".join(block.text for block in message.blocks)}
        for message in template.format_messages(**given(inputs, names))
    ]


def _prompty(path: Path, draft: Draft) -> Render:
    import prompty

    agent = prompty.load(path)
    names = slot_names(draft.prompt.inputs)

    def render(inputs: Mapping[str, str]) -> Messages:
        made = prompty.prepare(agent, given(inputs, names))
        return [{"role": m.role, "content": "".join(part.value for part in m.parts)} for m in made]

    return render


def _dotprompt(path: Path, draft: Draft) -> Render:
    from dotpromptz.dotprompt import Dotprompt
    from dotpromptz.typing import DataArgument

    source, names = path.read_text("utf-8"), slot_names(draft.prompt.inputs)

    def render(inputs: Mapping[str, str]) -> Messages:
        made = asyncio.run(Dotprompt().render(source, DataArgument(input=given(inputs, names))))
        roles = {"model": "assistant"}
        return [
            {
                "role": roles.get(message.role.value, message.role.value),
                "content": "".join(part.text for part in message.content),
            }
            for message in made.messages
        ]

    return render


def _llm(path: Path, draft: Draft) -> Render:
    from llm.cli import load_template

    template = load_template(str(path))
    inputs_named = draft.prompt.inputs
    names = slot_names(inputs_named)

    def render(inputs: Mapping[str, str]) -> Messages:
        alone = len(inputs_named) == 1
        prompt, system = template.evaluate(inputs[inputs_named[0]], {} if alone else given(inputs, names))
        said = [] if template.system is None else [{"role": "system", "content": system}]
        return [*said, {"role": "user", "content": prompt}]

    return render


def _dspy(path: Path, draft: Draft) -> Render:
    from optimizer.exports.dspy import DSPY

    assert DSPY.read
    return DSPY.read(path, draft)


# --- rows -------------------------------------------------------------------------------------------------


def _inspect_look(path: Path, draft: Draft) -> str:
    """Run the task on a mock model, and compare what it was sent for each row."""
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def silence() -> Iterator[Any]:
        while True:
            output = ModelOutput.from_content("mockllm/model", "x")
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it downloads a tokenizer
            yield output

    made = runpy.run_path(str(path / "task.py"))[task_name(draft.winner)]()
    model = get_model("mockllm/model", custom_outputs=silence())
    with tempfile.TemporaryDirectory(prefix="phrasetune-") as folder:
        [log] = evaluate(made, model=model, log_dir=folder, display="none", score_display=False)
        if log.status != "success" or not log.samples:
            return f"the task ended with {log.status}: {log.error.message if log.error else 'no sample'}"
        asked = {str(sample.id): sample.messages[:-1] for sample in log.samples}
    sent = {key: [{"role": m.role, "content": m.text} for m in messages] for key, messages in asked.items()}
    return _sent_fault(sent, draft)


def _sent_fault(sent: Mapping[str, Messages], draft: Draft, *, left_out: bool = False) -> str:
    """Compare the messages by row; with `left_out`, rows may be missing."""
    for row in draft.winner.facts.rows:
        wanted = [message.to_dict() for message in draft.renderer.messages(draft.prompt, row)]
        if not (left_out and row.id not in sent) and sent.get(row.id) != wanted:
            return f"for row {row.id!r} it sends other messages"
    return ""


def _promptfoo_look(path: Path, draft: Draft) -> str:
    """Let promptfoo call its echo provider, and compare what that returns for each row."""
    with tempfile.TemporaryDirectory(prefix="phrasetune-") as folder:
        told = Path(folder) / "told.json"
        quiet = ("PROMPTFOO_DISABLE_TELEMETRY=1", "PROMPTFOO_DISABLE_UPDATE=1", f"PROMPTFOO_CONFIG_DIR={folder}")
        asked = ("eval", "-c", path / "promptfooconfig.yaml", "-o", told, "-r", "echo")
        done = subprocess.run(  # noqa: S603 - the user's own program, on the file that we wrote
            ["/usr/bin/env", *quiet, "promptfoo", *map(str, asked), "--no-write", "--no-cache", "--no-progress-bar"],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if not told.is_file():
            return f"promptfoo refuses it: {done.stderr.decode(errors='replace')[-300:]}"
        results = json.loads(told.read_bytes())["results"]["results"]
    sent = {
        result["metadata"]["id"]: json.loads(result["prompt"]["raw"])
        for result in results
        if result["prompt"]["label"] == "winner"
    }
    return _sent_fault(sent, draft, left_out=True) if sent else "it asks nothing"


# --- requests ---------------------------------------------------------------------------------------------


def _taken(module: str, name: str, body: object) -> str:
    """Return why a client library's types refuse a body; empty if they accept it."""
    from pydantic import TypeAdapter, ValidationError

    wanted = getattr(import_module(module), name)
    try:
        list(TypeAdapter(wanted).validate_python(body)["messages"])  # messages are validated only when iterated
    except ValidationError as error:
        return str(error).split("\n", 1)[0]
    return ""


OPENAI_TYPES = "openai.types.chat.completion_create_params", "CompletionCreateParamsNonStreaming"
ANTHROPIC_TYPES = "anthropic.types.message_create_params", "MessageCreateParamsNonStreaming"


def _openai_look(path: Path, _: Draft) -> str:
    return _taken(*OPENAI_TYPES, json.loads(path.read_bytes()))


def _anthropic_look(path: Path, _: Draft) -> str:
    return _taken(*ANTHROPIC_TYPES, json.loads(path.read_bytes()))


def _batch_look(path: Path, _: Draft) -> str:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return next(filter(None, (_taken(*OPENAI_TYPES, line["body"]) for line in lines)), "")


def _finetune_look(path: Path, _: Draft) -> str:
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    bodies = ({"model": "m", "messages": line["messages"]} for line in lines)
    return next(filter(None, (_taken(*OPENAI_TYPES, body) for body in bodies)), "")


def _bash(path: Path, draft: Draft) -> Render:
    bash = shutil.which("bash") or "bash"

    def render(inputs: Mapping[str, str]) -> Messages:
        values = [inputs[name] for name in draft.prompt.inputs]
        command = ["/usr/bin/env", "PRINT=1", bash, str(path), *values]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)  # noqa: S603 - as above
        return list(json.loads(done.stdout)["messages"])

    return render


READERS: Mapping[str, Reader] = {
    "openai": Reader(("openai",), look=_openai_look),
    "anthropic": Reader(("anthropic",), look=_anthropic_look),
    "curl": Reader(program="bash", load=_bash),
    "jinja2": Reader(("jinja2",), load=_jinja),
    "dspy": Reader(("dspy",), load=_dspy),
    "langchain": Reader(("langchain-core",), load=_langchain),
    "mlflow": Reader(("mlflow", "mlflow-skinny"), load=_mlflow),
    "prompty": Reader(("prompty",), load=_prompty),
    "dotprompt": Reader(("dotpromptz",), load=_dotprompt),
    "llamaindex": Reader(("llama-index-core",), load=_llamaindex),
    "haystack": Reader(("haystack-ai",), load=_haystack),
    "llm": Reader(("llm",), load=_llm),
    "promptfoo": Reader(program="promptfoo", look=_promptfoo_look),
    "inspect": Reader(("inspect-ai",), look=_inspect_look),
    "batch": Reader(("openai",), look=_batch_look),
    "finetune": Reader(("openai",), look=_finetune_look),
}
