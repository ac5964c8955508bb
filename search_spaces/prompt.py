"""The nouns: Example, Message, Slot, Turn, Settings, Prompt.

Frozen, hashable, with a JSON round trip and a digest. They know neither how a prompt is laid out (`templates`)
nor how its parts were chosen (`space`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task: named input texts and the answers that count as right.

    `targets` holds every accepted answer, the preferred one first; it is empty for a row without a wanted
    answer. `reasoning` is a worked solution to show in a demonstration, if there is one.
    """

    id: str
    inputs: tuple[tuple[str, str], ...]
    targets: tuple[str, ...] = ()
    reasoning: str = ""

    @property
    def target(self) -> str:
        """The preferred answer, or an empty text."""
        return self.targets[0] if self.targets else ""

    @property
    def text(self) -> str:
        """All inputs as one text: what similarity is measured on."""
        return "\n".join(value for _, value in self.inputs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "id": self.id,
            "inputs": dict(self.inputs),
            "targets": list(self.targets),
            "reasoning": self.reasoning,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Example:
        """Inverse of `to_dict`."""
        return cls(data["id"], tuple(data["inputs"].items()), tuple(data["targets"]), data.get("reasoning", ""))


@dataclass(frozen=True, slots=True)
class Message:
    """One message as every chat model takes it."""

    role: str
    content: str

    def to_dict(self) -> dict[str, str]:
        """The form of the chat-completions protocol."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of an input in a message."""

    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A message before its inputs are known: literal texts and slots, in order.

    A prompt is kept as turns and never as a template string, so no text of the user's can be mistaken for a
    placeholder.
    """

    role: str
    parts: tuple[str | Slot, ...]

    def fill(self, inputs: Mapping[str, str]) -> Message:
        """Put the inputs into the slots, in one pass: an input is never looked at again."""
        return Message(self.role, "".join(inputs[p.name] if isinstance(p, Slot) else p for p in self.parts))


def fill(turns: Sequence[Turn], inputs: Mapping[str, str]) -> tuple[Message, ...]:
    """Fill every turn with the same inputs."""
    return tuple(turn.fill(inputs) for turn in turns)


ALTERNATIVES = 20  # likely tokens to be told for each place; the protocol allows no more


@dataclass(frozen=True, slots=True)
class Settings:
    """What is sent beside the messages.

    `max_tokens` bounds the completion; `logprobs` asks for the log-probabilities of the answer's first tokens, too.
    """

    temperature: float = 0.0
    max_tokens: int = 64
    logprobs: bool = False

    def to_dict(self) -> dict[str, float | int | bool]:
        """The form of the chat-completions protocol, whose `top_logprobs` is ALTERNATIVES at most."""
        asked = {"logprobs": True, "top_logprobs": ALTERNATIVES} if self.logprobs else {}
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, **asked}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole prompt: one point of the space, resolved to texts.

    Parameters
    ----------
    template
        Id of the template that lays it out.
    instruction
        The wording, complete.
    inputs, output
        Names of the input fields and of the answer field.
    labels
        The closed list of answers; empty for open answers.
    notes
        One line of description per label, or empty texts; same length as `labels`, or empty.
    label_place
        Where the labels are listed: "none", "instruction" or "query".
    answer_format
        "bare", "json" or "tagged".
    reasoning
        Whether the model is asked to think before it answers.
    demos
        The examples shown, in order; with `nearest`, the pool that they are drawn from for each input.
    nearest
        0 for fixed demos, else how many of the pool to show for each input.
    nearest_last
        Whether the most similar demo stands last.
    settings
        What is sent beside the messages. With `logprobs` the prompt is calibrated: its answer is not the one that
        the model wrote, but the label whose log-probability rises most above its usual one.
    prior
        That usual log-probability of each label, once it is fixed.
    """

    template: str
    instruction: str
    inputs: tuple[str, ...]
    output: str
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    label_place: str = "instruction"
    answer_format: str = "bare"
    reasoning: bool = False
    demos: tuple[Example, ...] = ()
    nearest: int = 0
    nearest_last: bool = True
    settings: Settings = field(default_factory=Settings)
    prior: tuple[tuple[str, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, complete in itself."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {"demos": [demo.to_dict() for demo in self.demos], "settings": asdict(self.settings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prompt:
        """Inverse of `to_dict`."""
        lists = {name: tuple(data[name]) for name in ("inputs", "labels", "notes")}
        demos = tuple(Example.from_dict(demo) for demo in data["demos"])
        prior = tuple((label, value) for label, value in data.get("prior", ()))
        return cls(**{**data, **lists, "demos": demos, "settings": Settings(**data["settings"]), "prior": prior})

    @property
    def calibrated(self) -> bool:
        """Whether its answers are chosen by calibrated log-probabilities."""
        return self.settings.logprobs

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that two prompts share exactly when they ask and read alike: all that they are."""
        return digest(self.to_dict())


def digest(value: Any) -> str:  # noqa: ANN401 - anything that JSON can write
    """16 hexadecimal digits of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
