"""What a model's answers show about the model: whether all are empty, and whether its version has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from optimizer.errors import ProviderError
from optimizer.records import REFUSALS, Completion

MUTE = 10  # empty answers, with no other before them, that end a run, since each of them is paid for


@dataclass
class Listener:
    """Follows the answers of one model.

    A model whose first answers are all empty may be set up wrongly; `heard` is whether it has given any text.
    """

    model: str
    heard: bool = False
    empty: int = 0
    versions: list[str] = field(default_factory=list)

    def hear(self, answers: Iterable[Completion]) -> None:
        """Take note of cached answers."""
        self.heard |= any(answer.text for answer in answers)

    def mute(self, answers: Iterable[Completion]) -> ProviderError | None:
        """Return the error that ends a run if the model has given MUTE or more answers, all of them empty."""
        for answer in answers:
            self.heard |= bool(answer.text.strip())
            self.empty += answer.finish_reason not in REFUSALS
        if self.heard or self.empty < MUTE:
            return None
        return ProviderError(
            f"{self.model}: the first {self.empty} answers were all empty, and paid. Check the model, its "
            "address and max_tokens in [model]; then resume. If the model has changed under its name, start anew with "
            "another results.db (--db, db=): the empty answers stand in this one."
        )

    def another_version(self, answers: Iterable[Completion]) -> str:
        """Return a notice if the provider has changed the model's version, else an empty text."""
        said = ""
        for version in dict.fromkeys(answer.version for answer in answers if answer.version):
            if version not in self.versions:
                if self.versions:
                    before = ", ".join(self.versions)
                    said = f"the provider's model has changed: {before} answered before, {version} answers now"
                self.versions.append(version)
        return said
