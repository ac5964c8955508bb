"""A winner as files for other tools, each read back and compared with our own rendering before it counts as written.

    proof         the interface of a format; probes; the comparison
    files         safe names, temporary folders, moving files into place
    winner        the canonical file: texts and slots, settings, provenance, scores
    messages      JSON of texts and slots
    python        a module that needs only the standard library
    text          plain text and Markdown; marks
    bodies        requests to OpenAI and Anthropic; shell, lines: as a script, a batch, a fine-tuning file
    templates     Jinja, MLflow, Haystack, LlamaIndex, Prompty; jinja, names, yaml
    handlebars    dotprompt
    langchain     ChatPromptTemplate
    llm           a template of the command llm
    promptfoo     a configuration with prompts and tests
    inspect_task  a task of Inspect AI
    dspy          a DSPy program
    readers       the tools themselves, if they are installed

Takes prompts, never opens a database and never prints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.errors import ExportError, one_of
from optimizer.exports import files
from optimizer.exports.bodies import ANTHROPIC, OPENAI
from optimizer.exports.dspy import DSPY
from optimizer.exports.files import Target, write_bytes
from optimizer.exports.handlebars import DOTPROMPT
from optimizer.exports.inspect_task import INSPECT
from optimizer.exports.langchain import LANGCHAIN
from optimizer.exports.lines import BATCH, FINETUNE
from optimizer.exports.llm import LLM
from optimizer.exports.messages import MESSAGES
from optimizer.exports.promptfoo import PROMPTFOO
from optimizer.exports.proof import NO_FACTS, Draft, Exporter, Facts, Winner
from optimizer.exports.python import PYTHON
from optimizer.exports.shell import CURL
from optimizer.exports.templates import HAYSTACK, JINJA, LLAMAINDEX, MLFLOW, PROMPTY
from optimizer.exports.text import MARKDOWN, TEXT
from optimizer.exports.winner import WINNER
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer

__all__ = ["FORMATS", "Exported", "Exporter", "Facts", "Target", "export", "write_bytes"]

FORMATS: Mapping[str, Exporter] = {
    "winner": WINNER,
    "messages": MESSAGES,
    "python": PYTHON,
    "text": TEXT,
    "markdown": MARKDOWN,
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "curl": CURL,
    "jinja2": JINJA,
    "dspy": DSPY,
    "langchain": LANGCHAIN,
    "mlflow": MLFLOW,
    "prompty": PROMPTY,
    "dotprompt": DOTPROMPT,
    "llamaindex": LLAMAINDEX,
    "haystack": HAYSTACK,
    "llm": LLM,
    "promptfoo": PROMPTFOO,
    "inspect": INSPECT,
    "batch": BATCH,
    "finetune": FINETUNE,
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    `fidelity` is "exact" if the files produce the messages that were scored, else "partial"; `note` says what is lost
    or should be known, and may be empty. `path` is the file, or the folder of the files; `draft` is what it must render
    as; `source` names the trial and run of the prompt, if known.
    """

    format: str
    files: tuple[Path, ...]
    fidelity: str
    note: str
    path: Path = field(repr=False)
    draft: Draft = field(repr=False, compare=False)
    source: str = ""


def export(
    prompt: Prompt,
    format_name: str,
    target: Target,
    renderer: Renderer,
    probes: Sequence[Example],
    facts: Facts = NO_FACTS,
) -> Exported:
    """Write a prompt in another tool's format.

    Parameters
    ----------
    prompt
        The winner.
    format_name
        A key of `FORMATS`.
    target
        Where to write.
    renderer
        The renderer with which the prompt was scored.
    probes
        Rows to compare on, in addition to a fixed set of texts that are difficult for formats.
    facts
        What else is known about the prompt; formats with rows need some.

    Raises
    ------
    ExportError
        If the format is unknown or cannot represent the prompt, or if the target cannot be written. Nothing is left
        behind.
    """
    if format_name not in FORMATS:
        raise ExportError(one_of("export format", format_name, list(FORMATS)))
    exporter = FORMATS[format_name]
    path = target.check(exporter.usual_name)
    _refuse_surrogates(prompt)
    draft = exporter.draft(Winner(prompt, renderer, facts))
    with files.bench(target.folder) as bench:
        made = bench / path.name
        files.write(made, draft.content)
        fault = exporter.fault(made, draft, probes)
        if fault:
            raise ExportError(
                f"{format_name}: the file read back is not the prompt: {fault}. Nothing was left behind. "
                f"Choose another format: {', '.join(name for name in FORMATS if name != format_name)}."
            )
        files.move(made, path, force=target.force)
    names = [] if isinstance(draft.content, str) else list(draft.content)
    written = tuple(path / name for name in names) or (path,)
    return Exported(format_name, written, draft.fidelity, draft.note, path, draft)


def _refuse_surrogates(prompt: Prompt) -> None:
    try:
        json.dumps(prompt.to_dict(), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ExportError(
            f"the prompt holds {error.object[error.start]!r}, half of a character, which no file in UTF-8 can; "
            "mend the data or the wording that it comes from. Nothing was left behind."
        ) from None
