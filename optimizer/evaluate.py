"""A prompt on examples: render, complete, parse, score.

Joins what the other rooms do; decides nothing about which prompt or which rows. The calls of a block run as
many at a time as the ledger has workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.ledger import Ledger
from optimizer.records import Completion, Kind, Outcome, Request
from optimizer.scoring import Metric, score
from search_spaces.prompt import Example, Prompt
from search_spaces.rendering import Renderer


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores a prompt on examples; calling it twice buys nothing twice."""

    ledger: Ledger
    renderer: Renderer
    metric: Metric

    def __call__(self, prompt: Prompt, examples: Sequence[Example]) -> tuple[Outcome, ...]:
        """Score a prompt on each example, in order."""
        answered = zip(examples, self.answer(prompt, examples), strict=True)
        return tuple(self.outcome(example, *answer) for example, answer in answered)

    def answer(self, prompt: Prompt, examples: Sequence[Example]) -> list[tuple[str, Completion, str | None]]:
        """Get the key, the completion and the answer read out of it, for each example, in order."""
        requests = [Request(self.renderer.messages(prompt, example), prompt.settings) for example in examples]
        return [
            (key, completion, None if completion.error else self.renderer.parse(prompt, completion.text))
            for key, completion in self.ledger.complete(requests)
        ]

    def outcome(self, example: Example, key: str, completion: Completion, answer: str | None) -> Outcome:
        """Score what `answer` gave for an example."""
        if completion.error:
            kind, value, key, text = Kind.ERROR, None, "", completion.error
        else:
            kind, value = score(self.metric, answer, example)
            text = completion.text
        tokens = completion.prompt_tokens + completion.completion_tokens
        return Outcome(example.id, kind, value, answer, key, tokens, completion.cost, completion.seconds, text)
