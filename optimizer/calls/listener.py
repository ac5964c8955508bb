"""What the answers of a model say of the model itself: whether it says anything, and whether it is still the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from optimizer.errors import ProviderError
from optimizer.records import REFUSALS, Completion

MUTE = 10  # empty answers, without any other before them, that end a run: each of them is paid


@dataclass
class Listener:
    """Follows the answers of one model.

    A model that begins with empty answers may be set up wrongly; once it was `heard`, it is not.
    """

    model: str
    heard: bool = False
    empty: int = 0
    versions: list[str] = field(default_factory=list)

    def hear(self, answers: Iterable[Completion]) -> None:
        """Take note of answers that were bought before."""
        self.heard |= any(answer.text for answer in answers)

    def mute(self, answers: Iterable[Completion]) -> ProviderError | None:
        """Return the error that ends a run if the model has given only empty answers, and many of them."""
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
        """Say that the provider has changed the model, if a version is new and not the first."""
        said = ""
        for version in dict.fromkeys(answer.version for answer in answers if answer.version):
            if version not in self.versions:
                if self.versions:
                    before = ", ".join(self.versions)
                    said = f"the provider's model has changed: {before} answered before, {version} answers now"
                self.versions.append(version)
        return said
