"""A prompt as a DSPy program, loaded again as a user of DSPy would load it.

Exact for a prompt that was tuned with one of DSPy's adapters; any other is laid out differently, and marked as partial.
DSPy is imported only when a prompt is exported.
"""

from __future__ import annotations

import json
import keyword
import shutil
from collections.abc import Mapping
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path

from optimizer.errors import ExportError
from optimizer.exports.files import CACHE
from optimizer.exports.messages import fixed_turns
from optimizer.exports.proof import Draft, Exporter, Messages, Render, Winner
from search_spaces.prompt import Prompt
from search_spaces.rendering import Renderer

OWN_LAYOUT = (
    "DSPy's ChatAdapter lays the prompt out in its own way: the messages differ from those that were scored, "
    "so measure it again before you rely on the score."
)
NO_SETTINGS = "It is without temperature and max_tokens; give them to dspy.LM."


def _draft(winner: Winner) -> Draft:
    from optimizer.programs import adapters

    prompt = winner.prompt
    fixed_turns(winner)
    for name in (*prompt.inputs, prompt.output):
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ExportError(
                f"field {name!r} cannot be a field of a DSPy signature; only Python names are allowed, without a "
                "leading underscore. Rename the column, or export as messages or python. Nothing was left behind."
            )
    exact = prompt.template in adapters.NAMES
    laid_out = prompt if exact else replace(prompt, template="dspy-chat")
    try:
        files = adapters.program_files(laid_out)
    except Exception as error:
        raise _refused(error) from error
    renderer = winner.renderer if exact else Renderer(adapters.adapter_templates(), slots=winner.renderer.slots)
    return Draft(
        files,
        replace(winner, prompt=laid_out, renderer=renderer),
        "exact" if exact else "partial",
        NO_SETTINGS if exact else f"{OWN_LAYOUT} {NO_SETTINGS}",
    )


def _refused(error: Exception) -> ExportError:
    """Return the error message for any exception of DSPy."""
    return ExportError(
        f"DSPy refuses this prompt ({type(error).__name__}: {error}); its field names may clash with DSPy's own. "
        "Rename the columns, or export as messages or python. Nothing was left behind."
    )


def _read(path: Path, _: Draft) -> Render:
    from optimizer.programs import adapters

    def render(inputs: Mapping[str, str]) -> Messages:
        try:
            return [message.to_dict() for message in adapters.render_program(str(path), inputs)]
        except Exception as error:
            raise _refused(error) from error
        finally:
            shutil.rmtree(path / CACHE, ignore_errors=True)

    return render


def _check(path: Path, draft: Draft) -> str:
    return _state_fault(json.loads((path / "program.json").read_bytes()), draft.prompt)


def _state_fault(state: dict[str, object], prompt: Prompt) -> str:
    """Return what differs in the instruction or the demos; empty if nothing does.

    DSPy cleans an instruction as Python cleans a docstring, and writes its own if there is none.
    """
    from optimizer.programs.adapters import signature_texts

    signature, demos = state["signature"], state["demos"]
    assert isinstance(signature, dict)
    assert isinstance(demos, list)
    wanted = cleandoc(signature_texts(prompt)[0])
    if wanted and cleandoc(str(signature["instructions"])) != cleandoc(wanted):
        return "the instruction is another"
    shown = [({name: demo[name] for name in prompt.inputs}, demo[prompt.output]) for demo in demos]
    return "" if shown == [(dict(demo.inputs), demo.target) for demo in prompt.demos] else "the demos are others"


DSPY = Exporter(
    about="a DSPy program: a folder with program.json and program.py",
    usual_name="dspy_program",
    draft=_draft,
    read=_read,
    check=_check,
    fidelity="exact for prompts tuned with a DSPy adapter, else partial: laid out anew",
)
