"""Prompts to export: nasty ones, drawn by Hypothesis, and an ordinary one; and an export with rows at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from optimizer.exports import Exported, Facts, Target
from optimizer.exports import export as write_export
from optimizer.exports.proof import NASTY
from search_spaces.prompt import Example, Prompt, Settings
from search_spaces.rendering import Renderer

nasty_texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text("{}[]<>`'\"\\$%#:\n\r text", max_size=30),
)


@st.composite
def prompts(draw: st.DrawFn, /, inputs: tuple[str, ...] = ("text",), **fixed: Any) -> Prompt:
    """Prompts of nasty texts; with `nearest`, of four examples that are all different to the retrieval."""
    labels = draw(st.lists(nasty_texts.filter(bool), unique=True, max_size=3))
    notes = draw(st.lists(nasty_texts, min_size=len(labels), max_size=len(labels))) if draw(st.booleans()) else []
    count = 4 if fixed.get("nearest") else draw(st.integers(0, 3))
    demos = [
        Example(
            f"demo-{number}",
            tuple((name, draw(nasty_texts) + " word" * number) for name in inputs),
            (draw(st.sampled_from(labels) if labels else nasty_texts),),
            draw(nasty_texts),
        )
        for number in range(count)
    ]
    return Prompt(
        instruction=draw(nasty_texts),
        inputs=inputs,
        output="label",
        labels=tuple(labels),
        notes=tuple(notes),
        label_place=draw(st.sampled_from(["none", "instruction", "query"])),
        demos=tuple(demos),
        nearest_last=draw(st.booleans()),
        settings=Settings(draw(st.floats(0, 2)), draw(st.integers(1, 4096))),
        **fixed,
    )


def simple(**changes: Any) -> Prompt:
    """Return an ordinary prompt with two examples."""
    demos = tuple(
        Example(f"demo-{label}", (("text", f"I am {label}"),), (label,), "It says so.") for label in ("glad", "sad")
    )
    prompt = Prompt("plain", "How does the writer feel?", ("text",), "label", ("glad", "sad"), demos=demos)
    return replace(prompt, **changes)


TEXTS = ("I am well", "", "{{ text }}")


def export(
    prompt: Prompt,
    name: str,
    target: Target,
    renderer: Renderer,
    probes: Sequence[Example],
    texts: Sequence[str] = TEXTS,
    **known: Any,
) -> Exported:
    """Export with rows at hand, which some formats are made of; `known` are further facts."""
    rows = tuple(
        Example(f"row-{number}", tuple((name, text) for name in prompt.inputs), ("glad",))
        for number, text in enumerate(texts)
    )
    seed = simple(instruction="Guess.", inputs=prompt.inputs, demos=())
    facts = replace(Facts("support", "openai/gpt-4o-mini", seed, Renderer(), rows, "test", rows), **known)
    return write_export(prompt, name, target, renderer, probes, facts)


def row(*values: str, inputs: Sequence[str] = ("text",)) -> Example:
    return Example("row", tuple(zip(inputs, values, strict=True)), ("glad",))
