"""A prompt and a row in, messages out; a completion in, an answer out.

Templates are compiled once per prompt and per set of demos. Knows no model and no score.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces import templates as built_in
from search_spaces.demos import DemoPool
from search_spaces.prompt import Example, Message, Prompt, Turn, fill
from search_spaces.templates import Template


class Renderer:
    """Renders and parses with a set of templates.

    Parameters
    ----------
    templates
        Templates by id, beside the built-in ones.
    slots
        Whether an answer is a JSON object, which is read without a fence or a sentence around it.
    """

    def __init__(self, templates: Mapping[str, Template] | None = None, *, slots: bool = False) -> None:
        self.templates: dict[str, Template] = {**built_in.BUILT_IN, **(templates or {})}
        self.slots = slots
        self._turns: dict[Prompt, tuple[Turn, ...]] = {}
        # By identity: hashing a pool of thousands of rows on each call would cost more than the look-up saves. The
        # pool holds on to its rows, so an identity is never reused.
        self._pools: dict[int, DemoPool] = {}

    def turns(self, prompt: Prompt) -> tuple[Turn, ...]:
        """Compile a prompt whose demos are fixed: the form in which it is exported."""
        if prompt not in self._turns:
            self._turns[prompt] = self.templates[prompt.template].compile(prompt, prompt.demos)
        return self._turns[prompt]

    def messages(self, prompt: Prompt, example: Example) -> tuple[Message, ...]:
        """Render a prompt for a row. A row is never shown as its own demo."""
        inputs = dict(example.inputs)
        if not prompt.nearest:
            return fill(self.turns(prompt), inputs)
        demos = self.demos(prompt, example)
        return fill(self.templates[prompt.template].compile(prompt, demos), inputs)

    def demos(self, prompt: Prompt, example: Example) -> tuple[Example, ...]:
        """Return the demos that a row is shown with."""
        if not prompt.nearest:
            return prompt.demos
        near = self._pool(prompt).nearest(example, prompt.nearest)
        return near[::-1] if prompt.nearest_last else near

    def parse(self, prompt: Prompt, text: str) -> str | None:
        """Read the answer out of a completion; None if there is none."""
        found = self.templates[prompt.template].parse(prompt, text)
        return built_in.first_object(found) if self.slots and found else found

    def _pool(self, prompt: Prompt) -> DemoPool:
        key = id(prompt.demos)
        if key not in self._pools:
            self._pools[key] = DemoPool(prompt.demos)
        return self._pools[key]
