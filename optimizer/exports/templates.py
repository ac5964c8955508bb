"""Formats based on Jinja: a plain template, MLflow's prompt registry, Haystack, LlamaIndex and Prompty.

All use the escapes of `jinja`; each has its own file format, and its own texts that it cannot represent. Knows nothing
of file names and folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import ExportError
from optimizer.exports.jinja import escaped, rendered, templated
from optimizer.exports.messages import NO_SETTINGS, fixed_turns, to_json
from optimizer.exports.names import renamed, slot_names
from optimizer.exports.proof import OPENAI, Draft, Exporter, Render, Winner, arriving, refuse_lost, sentences
from optimizer.exports.yaml import read_yaml, write_yaml
from search_spaces.prompt import Message, Slot, Turn

# --- Jinja alone --------------------------------------------------------------------------------------------


def _jinja_draft(winner: Winner) -> Draft:
    names = slot_names(winner.prompt.inputs)
    turns = fixed_turns(winner)
    # No input's name begins with an underscore.
    blocks = [f"{{% set _{number} %}}{templated(turn, names)}{{% endset %}}\n" for number, turn in enumerate(turns, 1)]
    listed = [
        f'  {{"role": {json.dumps(turn.role)}, "content": {{{{ _{number} | tojson }}}}}}'
        for number, turn in enumerate(turns, 1)
    ]
    text = "".join(blocks) + "[\n" + ",\n".join(listed) + "\n]\n"
    return Draft(text, winner, note=sentences("It renders to the JSON of the messages.", renamed(names), NO_SETTINGS))


def _jinja_read(path: Path, draft: Draft) -> Render:
    source, names = path.read_bytes().decode(), slot_names(draft.prompt.inputs)
    return lambda inputs: list(json.loads(rendered(source, inputs, names)))


JINJA = Exporter(
    about="a Jinja template that renders to the JSON of the messages",
    usual_name="prompt.json.j2",
    draft=_jinja_draft,
    read=_jinja_read,
)

# --- MLflow -------------------------------------------------------------------------------------------------

# MLflow treats a template as Jinja only if it has a tag; otherwise it replaces the inputs one after another.
SWITCH = "{% if true %}{% endif %}"


def _mlflow_draft(winner: Winner) -> Draft:
    names, facts = slot_names(winner.prompt.inputs), winner.facts
    turns = fixed_turns(winner)
    texts = [part for turn in turns for part in turn.parts if isinstance(part, str)]
    plain = len(names) == 1 and all(escaped(text) == text for text in texts)
    if plain:
        contents = ["".join(_slot(part, names) for part in turn.parts) for turn in turns]
    else:
        contents = [templated(turn, names) for turn in turns]
        contents[0] = SWITCH + contents[0]
    provider = facts.model.partition("/")[0] if "/" in facts.model else None
    settings = {
        "provider": provider,
        "model_name": facts.bare_model,
        **winner.prompt.settings.to_dict(),
        "extra_params": {"base_url": facts.address} if facts.address else None,
    }
    data = {
        "name": re.sub(r"[^\w.-]", "-", facts.name, flags=re.ASCII),
        "template": [{"role": turn.role, "content": content} for turn, content in zip(turns, contents, strict=True)],
        "model_config": {key: value for key, value in settings.items() if value is not None},
    }
    how = "Register it with mlflow.genai.register_prompt(**json.load(open(FILE)))."
    return Draft(to_json(data), winner, note=sentences(how, renamed(names)))


def _slot(part: str | Slot, names: Mapping[str, str]) -> str:
    return "{{ " + names[part.name] + " }}" if isinstance(part, Slot) else part


def _mlflow_read(path: Path, draft: Draft) -> Render:
    template = json.loads(path.read_bytes())["template"]
    names = slot_names(draft.prompt.inputs)
    if any("{%" in message["content"] and "%}" in message["content"] for message in template):
        return _each(template, names)
    [(name, slot)] = names.items()
    mark = re.compile(r"\{\{\s*" + slot + r"\s*\}\}")
    return lambda inputs: [
        {"role": message["role"], "content": mark.sub(lambda _: inputs[name], message["content"])}
        for message in template
    ]


def _each(template: Sequence[Mapping[str, str]], names: Mapping[str, str], *, but: str = "") -> Render:
    """Return a function that renders every message, except those of the role `but`, which stay as they are."""
    return lambda inputs: [
        {"role": role, "content": text if role == but else rendered(text, inputs, names)}
        for role, text in ((message["role"], message["content"]) for message in template)
    ]


MLFLOW = Exporter(
    about="MLflow's prompt registry: JSON with what mlflow.genai.register_prompt takes",
    usual_name="prompt.mlflow.json",
    draft=_mlflow_draft,
    read=_mlflow_read,
)

# --- Haystack -----------------------------------------------------------------------------------------------

BUILDER = "haystack.components.builders.chat_prompt_builder.ChatPromptBuilder"


def _haystack_draft(winner: Winner) -> Draft:
    names = slot_names(winner.prompt.inputs)
    turns = fixed_turns(winner)
    if any("templatize_part" in part for turn in turns for part in turn.parts if isinstance(part, str)):
        raise ExportError(
            "the prompt holds the word templatize_part, which Haystack refuses in every template. "
            "Export it as messages or python. Nothing was left behind."
        )
    # Haystack renders system and user messages, and leaves assistant messages as they are.
    template: list[dict[str, Any]] = [
        {
            "role": turn.role,
            "content": [{"text": _said(turn) if turn.role == "assistant" else templated(turn, names)}],
            "meta": {},
            "name": None,
        }
        for turn in turns
    ]
    builder = {
        "type": BUILDER,
        "init_parameters": {
            "template": template,
            "variables": list(names.values()),
            "required_variables": list(names.values()),
        },
    }
    data = {
        "components": {"prompt_builder": builder},
        "connections": [],
        "connection_type_validation": True,
        "max_runs_per_component": 100,
        "metadata": {},
    }
    return Draft(write_yaml(data), winner, note=sentences(renamed(names), NO_SETTINGS))


def _said(turn: Turn) -> str:
    assert all(isinstance(part, str) for part in turn.parts), "an assistant's turn has no slot in any template"
    return "".join(map(str, turn.parts))


def _haystack_read(path: Path, draft: Draft) -> Render:
    builder = read_yaml(path.read_bytes().decode())["components"]["prompt_builder"]
    said = [
        {"role": message["role"], "content": message["content"][0]["text"]}
        for message in builder["init_parameters"]["template"]
    ]
    return _each(said, slot_names(draft.prompt.inputs), but="assistant")


HAYSTACK = Exporter(
    about="a Haystack pipeline in YAML with one ChatPromptBuilder",
    usual_name="prompt.haystack.yaml",
    draft=_haystack_draft,
    read=_haystack_read,
)

# --- LlamaIndex ---------------------------------------------------------------------------------------------

LLAMAINDEX_LOSS = "LlamaIndex drops blanks at the edges of a message, also those of an input that stands there."
CHAT = re.compile(r'\{% chat role="(\w+)" %\}(.*?)\{% endchat %\}', re.DOTALL)


def _llamaindex_draft(winner: Winner) -> Draft:
    names, turns = slot_names(winner.prompt.inputs), fixed_turns(winner)
    refuse_lost("LlamaIndex", "it drops blanks at the edges of a message", turns, _keeps_edges)
    blocks = [f'{{% chat role="{turn.role}" %}}{templated(turn, names)}{{% endchat %}}\n' for turn in turns]
    how = "Load it with RichPromptTemplate(open(FILE).read())."
    note = sentences(how, LLAMAINDEX_LOSS, renamed(names), NO_SETTINGS)
    return Draft("".join(blocks), winner, "partial", note, arriving(turns, _keeps_edges))


def _keeps_edges(message: Message) -> bool:
    return message.content == message.content.strip() or not message.content.strip()


def _llamaindex_read(path: Path, draft: Draft) -> Render:
    found = CHAT.findall(path.read_bytes().decode())
    return _each([{"role": role, "content": text} for role, text in found], slot_names(draft.prompt.inputs))


LLAMAINDEX = Exporter(
    about="a template for LlamaIndex's RichPromptTemplate",
    usual_name="prompt.llamaindex.j2",
    draft=_llamaindex_draft,
    read=_llamaindex_read,
    fidelity="partial: blanks at the edges of an input are lost; prompts with blank edges are refused",
)

# --- Prompty ------------------------------------------------------------------------------------------------

# A line that Prompty takes for the beginning of a message, and refuses if it comes from an input.
ROLE_LINE = re.compile(r"\s*#?\s*(system|user|assistant|developer)(\[[^\]]*\])?\s*:\s*", re.IGNORECASE)
PROMPTY_WHY = 'it cuts messages into lines, drops blank ones at their edges and takes a line such as "user:" for a role'
PROMPTY_LOSS = (
    "Prompty changes an input that begins or ends a message with a line break, or breaks lines by other signs than "
    '"\\n", and refuses one with a line such as "user:".'
)
# Prompty sends no key from the environment to a server named in the file unless the user declares it as trusted.
NO_KEY = "none"
KEYLESS = (
    f'It asks {{address}} with the key "{NO_KEY}"; for a server that needs one write apiKey: ${{{{env:NAME}}}}, and '
    "name the server in PROMPTY_TRUSTED_ENDPOINTS."
)


def _prompty_draft(winner: Winner) -> Draft:
    names, facts = slot_names(winner.prompt.inputs), winner.facts
    turns, anthropic = fixed_turns(winner), facts.model.startswith("anthropic/")
    refuse_lost("Prompty", PROMPTY_WHY, turns, _arrives)
    settings = winner.prompt.settings
    address = "" if facts.server == OPENAI else facts.server or facts.address
    connection = {"connection": {"kind": "key", "endpoint": address, "apiKey": NO_KEY}} if address else {}
    elsewhere = KEYLESS.format(address=address) if address else "" if anthropic else facts.elsewhere
    head = {
        "name": facts.name,
        "model": {
            "id": facts.bare_model,
            "provider": "anthropic" if anthropic else "openai",
            "apiType": "chat",
            **connection,
            "options": {"temperature": settings.temperature, "maxOutputTokens": settings.max_tokens},
        },
        "inputs": [{"name": name, "kind": "string"} for name in names.values()],
        "template": {"format": {"kind": "jinja2"}, "parser": {"kind": "prompty"}},
    }
    body = "".join(f"{turn.role}:\n{templated(turn, names)}\n" for turn in turns)
    text = f"---\n{write_yaml(head)}---\n{body}"
    note = sentences(PROMPTY_LOSS, elsewhere, renamed(names))
    return Draft(text, winner, "partial", note, arriving(turns, _arrives))


def _arrives(message: Message) -> bool:
    lines = message.content.splitlines()
    whole = "\n".join(lines) == message.content == message.content.strip("\n")
    return whole and not any(ROLE_LINE.fullmatch(line.strip()) for line in lines)


def _prompty_read(path: Path, draft: Draft) -> Render:
    _, _, body = path.read_bytes().decode().split("---\n", 2)
    names = slot_names(draft.prompt.inputs)

    def render(inputs: Mapping[str, str]) -> list[dict[str, str]]:
        messages: list[dict[str, Any]] = []
        for line in rendered(body, inputs, names).splitlines():
            if found := ROLE_LINE.fullmatch(line.strip()):
                messages.append({"role": found[1].lower(), "content": []})
            else:
                messages[-1]["content"].append(line)
        return [{"role": m["role"], "content": "\n".join(m["content"]).strip("\n")} for m in messages]

    return render


PROMPTY = Exporter(
    about="a Prompty 2 file, for VS Code and Azure",
    usual_name="prompt.prompty",
    draft=_prompty_draft,
    read=_prompty_read,
    fidelity="partial: inputs with other line breaks or role lines are changed or refused; such prompts are refused",
)
