"""A prompt as a person reads it. Knows templates; no model and no score."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.records import Trial
from search_spaces.prompt import Turn
from search_spaces.rendering import Renderer


def prompt_text(renderer: Renderer, trial: Trial) -> str:
    """Write a prompt as a person reads it; inputs stand as {name}, demos chosen per input as one line."""
    prompt = trial.prompt
    if not prompt.nearest:
        return as_text(renderer.turns(prompt))
    shown = renderer.templates[prompt.template].compile(prompt, ())
    place = f"[{prompt.nearest} examples, the most similar of {len(prompt.demos)} to each input]"
    return f"{place}\n\n{as_text(shown)}"


def as_text(turns: Sequence[Turn]) -> str:
    """Write turns as a person reads them."""
    return "\n\n".join(
        f"[{turn.role}]\n" + "".join(p if isinstance(p, str) else f"{{{p.name}}}" for p in turn.parts) for turn in turns
    )
