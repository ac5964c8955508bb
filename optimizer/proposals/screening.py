"""What a proposed wording must satisfy before it may cost anything; it is checked as a text, and never corrected.

Knows texts and rules. Which texts copy rows it asks a function, which knows the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from optimizer.engine.grid import similarity
from search_spaces.instructions import described_labels, names_in

LONGEST = 1200  # characters: more than ten times those of any built-in wording
SHORTEST = 8
LINE = 120  # further characters for each described label
LONGEST_THOUGHT = 2000  # characters of a demo's reasoning: about what its token limit allows
ALIKE = 0.85  # similarity of texts above which the pooled model could hardly tell them apart
LIKE = "is like one that is there"
NGRAM = 6  # equal words in a row that are no coincidence
WHOLE = 4  # fewest words of a short row, which may not be copied as a whole

_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")  # each CJK character is a word
# Wordings that address the search or discard the task. Only a precaution: each wording is scored on rows anyway.
_HOSTILE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\s+(?:(?:the|this|that|your|all|any|every|previous|prior|above|other)\s+)*"
    r"(?:tasks?|instructions?|prompts?|rules|questions?)\b(?!\s+(?:that|which|in|inside|within|from|contained|found))"
    r"|\bscores?\W+(?:(?:is|of|as|it|this|me|at)\W+)*(?:1\.0+\b|100\s?%)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Screen:
    """Checks proposals.

    `names` may be used in a wording's braces. `copied` returns what a text copies from rows that it must not show;
    empty if nothing. `labels` are those that may be described.
    """

    names: frozenset[str]
    copied: Callable[[str], str]
    labels: tuple[str, ...] = ()

    def refuse(self, text: str, known: Sequence[str], keep: frozenset[str] = frozenset()) -> str:
        """Return why a wording is refused; empty if it may be tried.

        Parameters
        ----------
        text
            The wording.
        known
            The existing wordings.
        keep
            Names in braces of the wording that it was made from; it must keep them.
        """
        return self._form(text, keep) or self.copied(text) or _alike(text, known)

    def refuse_labels(self, text: str, known: Sequence[str]) -> str:
        """Return why descriptions of labels, one per line, are refused; empty if they may be tried."""
        try:
            new, *old = (described_labels(each, self.labels) for each in (text, *known))
        except ValueError as error:
            return str(error)
        most = LONGEST + LINE * len(self.labels)
        # Their braces are not filled in, so any are allowed.
        return self._plain(text, SHORTEST, most) or self.copied(text) or self._like_labels(new, old)

    def refuse_thought(self, text: str) -> str:
        """Return why a demo's reasoning is refused; empty if it may be shown. Its braces are not filled in."""
        refused = self._plain(text, 0, LONGEST_THOUGHT) or self.copied(text)
        return f"with a thought that {refused}" if refused else ""

    def _like_labels(self, new: Mapping[str, str], known: Sequence[Mapping[str, str]]) -> str:
        """Return a complaint if the changed descriptions are like existing ones: usually only a few labels change."""
        for old in known:
            changed = [label for label in self.labels if new.get(label) != old.get(label)]
            before, after = ("\n".join(each.get(label, "") for label in changed) for each in (old, new))
            if not changed or _alike(after, [before]):
                return LIKE
        return ""

    def _form(self, text: str, keep: frozenset[str]) -> str:
        names = names_in(text)
        strange, lost = sorted(names - self.names), sorted(keep - names)
        complaints = (
            (strange, f"holds {{{''.join(strange[:1])}}}, which stands for nothing"),
            (lost, f"has lost {{{''.join(lost[:1])}}}"),
        )
        return self._plain(text, SHORTEST, LONGEST) or next((said for wrong, said in complaints if wrong), "")

    def _plain(self, text: str, least: int, most: int) -> str:
        found = _HOSTILE.search(text)
        complaints = (
            (not least <= len(text) <= most, f"has {len(text):,} characters, not {least} to {most:,}"),
            (not _printable(text), "holds control characters"),
            (found, f"speaks against the task, or of scores: {found.group() if found else ''!r}"),
        )
        return next((said for wrong, said in complaints if wrong), "")


def _printable(text: str) -> bool:
    return all(sign.isprintable() or sign == "\n" for sign in text)


def _alike(text: str, known: Sequence[str]) -> str:
    close = known and float(similarity([text, *known])[0, 1:].max()) > ALIKE
    return LIKE if close else ""


def copies(hidden: Sequence[str], known: Sequence[str]) -> Callable[[str], str]:
    """Return a function that says what a text has copied from rows that it must not show.

    Parameters
    ----------
    hidden
        The texts of those rows.
    known
        Texts whose words may be used even if such rows contain them, too.
    """
    rows = [_words(text) for text in hidden]
    whole = {tuple(words) for words in rows if WHOLE <= len(words) < NGRAM}
    shown, kept = _line(word for words in rows for word in (*words, "\n")), _line(_words("\n".join(known)))

    def copied(text: str) -> str:
        words = _words(text)
        runs = {tuple(words[i : i + n]) for n in range(WHOLE, NGRAM + 1) for i in range(len(words) - n + 1)}
        for run in sorted(runs):
            line = _line(run)
            if (run in whole or (len(run) == NGRAM and line in shown)) and line not in kept:
                return f"copies {len(run)} words in a row of a row that no prompt may show"
        return ""

    return copied


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.casefold())


def _line(words: Iterable[str]) -> str:
    return f" {' '.join(words)} "
