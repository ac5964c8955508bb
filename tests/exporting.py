"""Prompts to export: difficult ones, drawn by Hypothesis, and an ordinary one; and an export with rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from optimizer.exports import Exported, Facts, Target
from optimizer.exports import export as write_export
from optimizer.exports.proof import NASTY
from optimizer.scoring import Metric, get_metric, score
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


@dataclass(frozen=True)
class Scored:
    """A metric with a prompt that it suits, the wanted answers of a row, and completions to be scored by them."""

    metric: Metric
    prompt: Prompt
    targets: tuple[str, ...]
    said: tuple[str, ...]
    several: tuple[str, ...] = ()

    @property
    def facts(self) -> Facts:
        """Rows that say, as their text, what the model is to complete."""
        rows = [Example(f"row-{n}", (("text", said),), self.targets) for n, said in enumerate(self.said)]
        return Facts("support", "openai/m", rows=tuple(rows), split="dev", several=self.several, metric=self.metric)

    @property
    def renderer(self) -> Renderer:
        """What reads an answer: of an extraction the object in it."""
        return Renderer(slots=self.metric.name == "slot_f1")

    @property
    def scores(self) -> list[float]:
        """What the run would give."""
        return [score(self.metric, self.renderer.parse(self.prompt, row.text), row)[1] for row in self.facts.rows]


OPEN = simple(template="chat", labels=(), demos=())
TAGS = ("city", "date", "time range")
SCORED = {
    "slot_f1": Scored(
        get_metric("slot_f1"),
        OPEN,
        ('{"city": "Paris", "days": [{"n": 1}, {"n": 2}]}',),
        ('Here: ```{"city": "paris.", "days": [{"n": 2}, {"n": 1}]}```', '{"city": "Rome", "days": [{"n": 1}]}', "no"),
    ),
    "exact_match": Scored(
        get_metric("exact_match"),
        replace(OPEN, answer_format="json"),
        ("The Seine", "file://x {{text}}"),
        ('{"label": "seine!"}', '{"label": "file://x {{text}}"}', '{"label": "the Seine or the Rhine"}', "Seine"),
    ),
    "rouge_l": Scored(get_metric("rouge_l"), OPEN, ("a short answer",), ("A short answer", "a long answer", "no")),
    "jaccard": Scored(
        get_metric("jaccard", TAGS, several=True), OPEN, ("city",), ("city", "City, time range", "town"), TAGS
    ),
    "macro_f1": Scored(
        get_metric("macro_f1"), simple(template="chat", demos=()), ("glad",), ("Glad.", "not glad but sad", "sad")
    ),
    "closeness": Scored(
        get_metric("closeness", ("1", "2", "5")), replace(OPEN, labels=("1", "2", "5")), ("2",), ("2", "5", "x")
    ),
}


def row(*values: str, inputs: Sequence[str] = ("text",)) -> Example:
    return Example("row", tuple(zip(inputs, values, strict=True)), ("glad",))
