"""Showing a prompt as readable text. Knows templates; no model and no score."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.records import Trial
from search_spaces.prompt import Turn
from search_spaces.rendering import Renderer


def prompt_text(renderer: Renderer, trial: Trial) -> str:
    """Return a prompt as readable text, with {name} for inputs, and one line for demos that are chosen per input."""
    prompt = trial.prompt
    if not prompt.nearest:
        return as_text(renderer.turns(prompt))
    shown = renderer.templates[prompt.template].compile(prompt, ())
    place = f"[{prompt.nearest} examples, the most similar of {len(prompt.demos)} to each input]"
    return f"{place}\n\n{as_text(shown)}"


def as_text(turns: Sequence[Turn]) -> str:
    """Return turns as readable text, with {name} for slots."""
    return "\n\n".join(
        f"[{turn.role}]\n" + "".join(p if isinstance(p, str) else f"{{{p.name}}}" for p in turn.parts) for turn in turns
    )
