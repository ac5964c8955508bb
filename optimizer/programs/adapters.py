"""DSPy's adapters as templates of the space, and a winner as a DSPy program: a door of DSPy.

The adapters render themselves, so a winner that was tuned with one sends the same messages inside DSPy. Knows
nothing of models, scores or the database. Checked against DSPy 3.4.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from search_spaces.adapter_answers import MARKS, from_last_mark
from search_spaces.answering import match_label, objects, read_answer
from search_spaces.prompt import Example, Message, Prompt, Slot, Turn
from search_spaces.templates import Template, label_lines, turn

NAMES = ("dspy-chat", "dspy-json", "dspy-xml")

# Field names, and prefixes of them, that DSPy's signatures or pydantic do not accept.
RESERVED = frozenset("fields input_fields output_fields instructions signature model_config".split())
PROTECTED = ("model_dump", "model_validate")


class AdapterTemplate:
    """A template with the layout of a DSPy adapter."""

    def __init__(self, template_id: str) -> None:
        import dspy

        self.id = template_id
        kinds = {"dspy-chat": dspy.ChatAdapter, "dspy-json": dspy.JSONAdapter, "dspy-xml": dspy.XMLAdapter}
        self.adapter = kinds[template_id]()

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        """Let the adapter format placeholders instead of the inputs, and split its last message at them."""
        shown = [_demo_fields(prompt, demo) for demo in demos]
        marks = _marks(prompt, json.dumps([prompt.instruction, prompt.notes, shown], ensure_ascii=False))
        names = field_names(prompt)
        messages = self.adapter.format(_signature(prompt), shown, {names[name]: mark for name, mark in marks.items()})
        turns = [turn(message["role"], message["content"]) for message in messages[:-1]]
        last = messages[-1]
        return (*turns, Turn(last["role"], _cut(last["content"], marks)))

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        """Write a demo's answer as the adapter shows it."""
        fields = {field_names(prompt)[prompt.output]: target}
        if prompt.reasoning:
            fields = {"reasoning": reasoning, **fields}
        return str(self.adapter.format_assistant_message_content(_signature(prompt), fields))

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read an answer with the adapter; None if the adapter refuses it."""
        from dspy.utils.exceptions import AdapterParseError

        name = field_names(prompt)[prompt.output]
        text = self._answering(text, answer_fields(prompt))
        try:
            fields = self.adapter.parse(_signature(prompt), text)
        except (AdapterParseError, ValueError, KeyError, RecursionError):
            return None
        found = str(fields[name])
        if self.id == "dspy-json":  # DSPy turns a nested object into Python's notation; we keep it as JSON
            wanted = replace(prompt, output=name, labels=(), answer_format="json")
            found = read_answer(wanted, text) or found
        return match_label(found, prompt.labels) if prompt.labels else found or None

    def _answering(self, text: str, fields: Sequence[str]) -> str:
        """Cut off what stands before the last answer."""
        if self.id == "dspy-json":
            return next((told for value, told in reversed([*objects(text)]) if fields[-1] in value), text)
        return from_last_mark(text, *MARKS[self.id], fields)


def adapter_templates() -> dict[str, Template]:
    """Return one template per adapter, by id."""
    return {name: AdapterTemplate(name) for name in NAMES}


@lru_cache(maxsize=512)
def _make_signature(inputs: tuple[str, ...], output: str, listed: str, instruction: str, reasoning: bool) -> Any:  # noqa: ANN401 - DSPy builds a class
    import dspy

    fields: dict[str, Any] = {name: (str, dspy.InputField()) for name in inputs}
    if reasoning:
        fields["reasoning"] = (str, dspy.OutputField())
    fields[output] = (str, dspy.OutputField(desc=listed) if listed else dspy.OutputField())
    return dspy.make_signature(fields, instruction)


def _signature(prompt: Prompt) -> Any:  # noqa: ANN401
    instruction, listed = signature_texts(prompt)
    names = field_names(prompt)
    inputs = tuple(names[name] for name in prompt.inputs)
    return _make_signature(inputs, names[prompt.output], listed, instruction, prompt.reasoning)


def field_names(prompt: Prompt) -> dict[str, str]:
    """Return a field name that DSPy accepts for each column: "Product category" becomes "Product_category"."""
    taken = {"reasoning"} if prompt.reasoning else set()
    names: dict[str, str] = {}
    for name in (*prompt.inputs, prompt.output):
        field = "".join(c if f"a{c}".isidentifier() else "_" for c in name)
        if not field[:1].isalpha() or field in RESERVED or field.startswith(PROTECTED):
            field = f"field_{field}"
        while field in taken:
            field += "_"
        taken.add(field)
        names[name] = field
    return names


def answer_fields(prompt: Prompt) -> tuple[str, ...]:
    """Name the fields of an answer, the wanted one last."""
    return (*["reasoning"] * prompt.reasoning, field_names(prompt)[prompt.output])


def signature_texts(prompt: Prompt) -> tuple[str, str]:
    """Return the signature's instruction and the description of its answer field.

    Labels that are listed with the instruction become part of it; labels that are listed with the query
    describe the answer field.
    """
    if not prompt.labels or prompt.label_place == "none":
        return prompt.instruction, ""
    listed = label_lines(prompt)
    if prompt.label_place == "query":
        return prompt.instruction, "one of: " + "; ".join(line.removeprefix("- ") for line in listed.split("\n"))
    gap = "\n" if "\n" in listed else " "
    return f"{prompt.instruction}\n\nOptions:{gap}{listed}", ""


def _demo_fields(prompt: Prompt, demo: Example) -> dict[str, str]:
    names = field_names(prompt)
    fields = {names[name]: value for name, value in (*demo.inputs, (prompt.output, demo.target)) if name in names}
    return {**fields, "reasoning": demo.reasoning} if prompt.reasoning and demo.reasoning else fields


def _marks(prompt: Prompt, texts: str) -> dict[str, str]:
    """Return a placeholder per input, of private-use characters that do not occur in the prompt."""
    fence = "\ue000"
    while fence in texts:
        fence += "\ue000"
    return {name: f"{fence}\ue001{position}\ue001{fence}" for position, name in enumerate(prompt.inputs)}


def _cut(content: str, marks: Mapping[str, str]) -> tuple[str | Slot, ...]:
    parts: list[str | Slot] = [content]
    for name, mark in marks.items():
        cut: list[str | Slot] = []
        for part in parts:
            if isinstance(part, str) and mark in part:
                before, after = part.split(mark)
                cut += [before, Slot(name), after]
            else:
                cut.append(part)
        parts = cut
    return tuple(part for part in parts if part != "")


# --- a winner as a program --------------------------------------------------------------------------------


def program_files(prompt: Prompt) -> dict[str, str]:
    """Write a prompt as a DSPy program: the state that `Predict.load` reads, and the module with its signature.

    Returns
    -------
    dict
        "program.json" and "program.py".

    Raises
    ------
    ValueError
        If DSPy does not accept the name of a field.
    """
    import dspy
    from dspy.utils.saving import get_dependency_versions

    if unfit := [name for name, field in field_names(prompt).items() if name != field]:
        raise ValueError(f"{unfit[0]!r} cannot name a field of a signature")
    predictor = dspy.Predict(_signature(prompt))
    predictor.demos = [_demo_fields(prompt, demo) for demo in prompt.demos]
    state = predictor.dump_state(json_mode=True)
    state["lm"] = None
    state["metadata"] = {"dependency_versions": get_dependency_versions()}
    return {
        "program.json": json.dumps(state, indent=2, ensure_ascii=False) + "\n",
        "program.py": _program_module(prompt),
    }


def to_dspy(prompt: Prompt) -> Any:  # noqa: ANN401 - DSPy has no types
    """Make a `dspy.Predict` of a prompt, with its adapter, settings and demos, including demos chosen per input.

    Prompts with one of DSPy's adapters send the same messages there. Other prompts get the layout of its chat adapter,
    and calibrated ones answer without calibration, because DSPy has none: a warning says so.
    """
    from optimizer.programs.adapted import AdaptedPredict

    exact = prompt.template in NAMES
    if not exact or prompt.calibrated:
        what = (
            "is calibrated, which DSPy is not" if exact else f"has the template {prompt.template!r}, not one of DSPy's"
        )
        warnings.warn(f"the prompt {what}: measure the program before you rely on its score", stacklevel=3)
    settings = prompt.settings
    predictor = AdaptedPredict(_signature(prompt), temperature=settings.temperature, max_tokens=settings.max_tokens)
    predictor.demos = [_demo_fields(prompt, demo) for demo in prompt.demos]
    predictor.adapter = prompt.template.removeprefix("dspy-") if exact else "chat"
    predictor.nearest, predictor.nearest_last = prompt.nearest, prompt.nearest_last
    return predictor


def _program_module(prompt: Prompt) -> str:
    instruction, listed = signature_texts(prompt)
    adapter = {"dspy-json": "JSONAdapter", "dspy-xml": "XMLAdapter"}.get(prompt.template, "ChatAdapter")
    fallback = "" if adapter == "JSONAdapter" else "use_json_adapter_fallback=False"
    fields = [f'    "{name}": (str, dspy.InputField()),' for name in prompt.inputs]
    if prompt.reasoning:
        fields.append('    "reasoning": (str, dspy.OutputField()),')
    description = f"desc={listed!r}" if listed else ""
    fields.append(f'    "{prompt.output}": (str, dspy.OutputField({description})),')
    return "\n".join(
        [
            '"""A prompt tuned by phrasetune, as a DSPy program. Use: `answer = load()(...)`."""',
            "",
            "from pathlib import Path",
            "",
            "import dspy",
            "",
            "FIELDS = {",
            *fields,
            "}",
            f"INSTRUCTION = {instruction!r}",
            f"ADAPTER = dspy.{adapter}({fallback})  # the prompt was scored without a second try",
            "",
            "",
            "def load(path=Path(__file__).with_name('program.json')):",
            '    """Return the tuned predictor; set `dspy.configure(lm=..., adapter=ADAPTER)` first."""',
            "    program = dspy.Predict(dspy.make_signature(FIELDS, INSTRUCTION))",
            "    program.load(str(path))",
            "    return program",
            "",
        ]
    )


def render_program(folder: str, inputs: Mapping[str, str]) -> tuple[Message, ...]:
    """Load an exported program as a user would, and return the messages that it would send."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("phrasetune_exported_program", f"{folder}/program.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    predictor = module.load()
    messages = module.ADAPTER.format(predictor.signature, predictor.demos, dict(inputs))
    return tuple(Message(message["role"], message["content"]) for message in messages)
