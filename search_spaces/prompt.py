"""The data classes of a prompt: Example, Message, Slot, Turn, Settings, Prompt.

They are frozen and hashable; examples and prompts convert to JSON and back, and a prompt has a digest. They know
neither how a prompt is laid out (`templates`) nor how its parts were chosen (`space`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task: named input texts and the answers that count as correct.

    `targets` are all accepted answers, the preferred one first, and empty for a row without one. `reasoning` is a
    worked solution to show in a demonstration, or empty.
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
        """All inputs as one text, on which similarity is measured."""
        return "\n".join(value for _, value in self.inputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can write."""
        return {
            "id": self.id,
            "inputs": dict(self.inputs),
            "targets": list(self.targets),
            "reasoning": self.reasoning,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Example:
        """Make an example from what `to_dict` returned."""
        return cls(data["id"], tuple(data["inputs"].items()), tuple(data["targets"]), data.get("reasoning", ""))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    content: str

    def to_dict(self) -> dict[str, str]:
        """Return the form of the chat-completions protocol."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Slot:
    """The place in a message where an input goes."""

    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A message whose inputs are not filled in yet: literal texts and slots, in order.

    A prompt is kept as turns and never as a template string, so that no text of the user can be mistaken for a
    placeholder.
    """

    role: str
    parts: tuple[str | Slot, ...]

    def fill(self, inputs: Mapping[str, str]) -> Message:
        """Put the inputs into the slots, in one pass: what an input contains is never replaced."""
        return Message(self.role, "".join(inputs[p.name] if isinstance(p, Slot) else p for p in self.parts))


def fill(turns: Sequence[Turn], inputs: Mapping[str, str]) -> tuple[Message, ...]:
    """Fill every turn with the same inputs."""
    return tuple(turn.fill(inputs) for turn in turns)


ALTERNATIVES = 20  # most likely tokens to return for each position; the protocol allows no more


@dataclass(frozen=True, slots=True)
class Settings:
    """What a request contains besides the messages.

    `max_tokens` limits the completion; `logprobs` asks for the log-probabilities of its tokens, too.
    """

    temperature: float = 0.0
    max_tokens: int = 64
    logprobs: bool = False

    def to_dict(self) -> dict[str, float | int | bool]:
        """Return the form of the chat-completions protocol, with ALTERNATIVES as `top_logprobs`."""
        asked = {"logprobs": True, "top_logprobs": ALTERNATIVES} if self.logprobs else {}
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, **asked}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole prompt: one point of the space, with its ids replaced by texts.

    Parameters
    ----------
    template
        Id of the template that lays it out.
    instruction
        The complete wording, with its placeholders filled.
    inputs, output
        Names of the input fields and of the answer field.
    labels
        The closed list of answers; empty for open answers.
    notes
        A description of each label, which may be an empty text; as long as `labels`, or empty.
    label_place
        Where the labels are listed: "none", "instruction" or "query".
    answer_format
        "bare", "json" or "tagged".
    reasoning
        Whether the model is asked to think before it answers.
    demos
        The examples shown, in order; with `nearest`, the pool that they are drawn from for each input.
    nearest
        0 for fixed demos, otherwise how many demos of the pool to show for each input.
    nearest_last
        Whether the most similar demo comes last.
    settings
        What a request contains besides the messages. With `logprobs` the prompt is calibrated: its answer is not what
        the model wrote, but the label whose log-probability is highest above its usual one.
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
        """Return a form that JSON can write, from which `from_dict` restores the whole prompt."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {"demos": [demo.to_dict() for demo in self.demos], "settings": asdict(self.settings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prompt:
        """Make a prompt from what `to_dict` returned."""
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
        """16 hexadecimal digits, computed from all fields: equal prompts have equal digests."""
        return digest(self.to_dict())


def digest(value: Any) -> str:  # noqa: ANN401 - anything that JSON can write
    """Return 16 hexadecimal digits that identify a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
