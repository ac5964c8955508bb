"""Rendering a prompt for a row as messages, and parsing the answer out of a completion.

A prompt with fixed demos is compiled once, one with nearest demos for each row. Knows no model and no score.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces import templates as built_in
from search_spaces.answering import last_object
from search_spaces.demos import DemoPool
from search_spaces.prompt import Example, Message, Prompt, Turn, fill
from search_spaces.templates import Template


class Renderer:
    """Renders prompts and parses completions with a set of templates.

    Parameters
    ----------
    templates
        Templates by id, in addition to the built-in ones.
    slots
        Whether an answer is a JSON object, which is read without any code fence or sentence around it.
    """

    def __init__(self, templates: Mapping[str, Template] | None = None, *, slots: bool = False) -> None:
        self.templates: dict[str, Template] = {**built_in.BUILT_IN, **(templates or {})}
        self.slots = slots
        self._turns: dict[Prompt, tuple[Turn, ...]] = {}
        # By identity: hashing a pool of thousands of rows on each call would cost more than the lookup saves. The pool
        # keeps a reference to its rows, so an identity is never reused.
        self._pools: dict[int, DemoPool] = {}

    def turns(self, prompt: Prompt) -> tuple[Turn, ...]:
        """Compile a prompt with fixed demos into turns, the form in which it is exported."""
        if prompt not in self._turns:
            self._turns[prompt] = self.templates[prompt.template].compile(prompt, prompt.demos)
        return self._turns[prompt]

    def messages(self, prompt: Prompt, example: Example) -> tuple[Message, ...]:
        """Render a prompt for a row, which is never one of its own nearest demos."""
        inputs = dict(example.inputs)
        if not prompt.nearest:
            return fill(self.turns(prompt), inputs)
        demos = self.demos(prompt, example)
        return fill(self.templates[prompt.template].compile(prompt, demos), inputs)

    def demos(self, prompt: Prompt, example: Example) -> tuple[Example, ...]:
        """Return the demos that the prompt shows for a row."""
        if not prompt.nearest:
            return prompt.demos
        near = self._pool(prompt).nearest(example, prompt.nearest)
        return near[::-1] if prompt.nearest_last else near

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read the answer out of a completion; None if there is none."""
        found = self.templates[prompt.template].parse(prompt, text)
        return last_object(found)[1] if self.slots and found else found

    def _pool(self, prompt: Prompt) -> DemoPool:
        key = id(prompt.demos)
        if key not in self._pools:
            self._pools[key] = DemoPool(prompt.demos)
        return self._pools[key]
