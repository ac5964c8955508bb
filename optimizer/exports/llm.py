"""A template for the command `llm`: one system text and one prompt, with $names.

It has no place for example messages: they are folded into the prompt, which makes it a different one. Knows nothing of
file names and folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template as Dollars

from optimizer.exports.messages import fixed_turns
from optimizer.exports.names import given, renamed, slot_names
from optimizer.exports.proof import Draft, Exporter, Render, Winner, sentences
from optimizer.exports.yaml import read_yaml, write_yaml
from search_spaces.prompt import Example, Prompt, Slot, Turn
from search_spaces.rendering import Renderer
from search_spaces.templates import Template, turn

FOLDED = (
    "llm takes one prompt and no turns: the examples stand in it as text, so the messages differ from those that were "
    "scored. Measure it again before you rely on the score (--rescore)."
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A template that puts all turns of another template, except the system's, into one."""

    whole: Template

    @property
    def id(self) -> str:
        """The same id as the other template, so that it replaces it."""
        return self.whole.id

    def compile(self, prompt: Prompt, demos: Sequence[Example]) -> tuple[Turn, ...]:
        """Lay out the turns as inputs and outputs, one after another; the last output is left to the model."""
        turns = self.whole.compile(prompt, demos)
        system = tuple(one for one in turns if one.role == "system")
        parts: list[str | Slot] = []
        for one in turns[len(system) :]:
            parts += ["Output: ", *one.parts, "\n\n"] if one.role == "assistant" else ["Input: ", *one.parts, "\n"]
        return (*system, turn("user", *parts, "Output:"))

    def answer(self, prompt: Prompt, target: str, reasoning: str = "") -> str:
        """Write the answer of a demo as the other template does."""
        return self.whole.answer(prompt, target, reasoning)

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read an answer as the other template does."""
        return self.whole.parse(prompt, text)


def _draft(winner: Winner) -> Draft:
    exact = [one.role for one in fixed_turns(winner)] in (["user"], ["system", "user"])
    if not exact:
        template = Folded(winner.renderer.templates[winner.prompt.template])
        winner = replace(winner, renderer=Renderer({template.id: template}, slots=winner.renderer.slots))
    names = _names(winner.prompt)
    texts = {one.role: _dollars(one, names) for one in winner.renderer.turns(winner.prompt)}
    settings = winner.prompt.settings
    data = {
        **({"system": texts["system"]} if "system" in texts else {}),
        "prompt": texts["user"],
        "options": {"temperature": settings.temperature, "max_tokens": settings.max_tokens},
    }
    several = f"Give the inputs with {' '.join(f'-p {name} …' for name in names.values())}. {renamed(names)}".strip()
    note = sentences("" if exact else FOLDED, several if len(names) > 1 else "")
    return Draft(write_yaml(data), winner, "exact" if exact else "partial", note)


def _names(prompt: Prompt) -> dict[str, str]:
    """Return names for the inputs; a single one is "input", which llm fills from its argument."""
    return {prompt.inputs[0]: "input"} if len(prompt.inputs) == 1 else slot_names(prompt.inputs)


def _dollars(one: Turn, names: Mapping[str, str]) -> str:
    return "".join("${" + names[p.name] + "}" if isinstance(p, Slot) else p.replace("$", "$$") for p in one.parts)


def _read(path: Path, draft: Draft) -> Render:
    data, names = read_yaml(path.read_bytes().decode()), _names(draft.prompt)
    roles = [("system", data["system"])] if "system" in data else []
    return lambda inputs: [
        {"role": role, "content": Dollars(text).substitute(given(inputs, names))}
        for role, text in [*roles, ("user", data["prompt"])]
    ]


LLM = Exporter(
    about="a template of the command llm",
    usual_name="prompt.llm.yaml",
    draft=_draft,
    read=_read,
    fidelity="exact for one system and one user message, else partial: examples are folded into the prompt",
)
