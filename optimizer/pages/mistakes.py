"""Row by row: the wanted answer, what each contender answered, and which answers are confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.contenders import BEST, RIVAL, SEED
from optimizer.pages.story import Story
from optimizer.records import Contender, Outcome
from optimizer.reports.grids import Grid
from search_spaces.prompt import Example

WIDEST = 20  # most labels for which a confusion matrix is still readable
LISTED = 1000  # rows in the page's table
LONGEST = 400  # characters of a row's text
UNREADABLE, FAILED = "(unreadable)", "(failed)"


@dataclass(frozen=True, slots=True)
class Square:
    """A confusion matrix: `counts[i][j]` rows want `labels[i]` and got `answers[j]`."""

    title: str
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def heat(self, row: int, column: int) -> int:
        """Return a cell's share of its row, in percent."""
        return round(100 * self.counts[row][column] / max(1, sum(self.counts[row])))


def _said(outcome: Outcome) -> str:
    return FAILED if outcome.score is None else outcome.answer or UNREADABLE


def squares(story: Story) -> list[Square]:
    """Count the answers of the best prompt and of the trained baseline on the test rows, if there are few labels."""
    labels = story.trials[0].prompt.labels if story.trials else ()
    if not labels or len(labels) > WIDEST or story.verdict is None:
        return []
    wanted = {row.id: row.target for row in story.rows["test"]}
    return [_square(c, labels, wanted) for c in story.verdict.contenders if c.name in {BEST, RIVAL}]


def _square(contender: Contender, labels: Sequence[str], wanted: dict[str, str]) -> Square:
    pairs = Counter((wanted[o.example_id], _said(o)) for o in contender.outcomes)
    others = tuple(sorted({said for _, said in pairs} - set(labels)))
    answers = (*labels, *others)
    counts = tuple(tuple(pairs[label, answer] for answer in answers) for label in labels)
    return Square(contender.name, tuple(labels), answers, counts)


def confusions(story: Story, most: int = 10) -> Grid:
    """List the wrong answers that the best prompt gave most often."""
    best = _of(story, BEST)
    wanted = {row.id: row.target for row in story.rows["test"]}
    wrong = Counter(
        (wanted[o.example_id], _said(o)) for o in (best.outcomes if best else ()) if o.score is not None and o.score < 1
    )
    rows = tuple((want, said, str(n)) for (want, said), n in wrong.most_common(most) if n > 1)
    return Grid("The best prompt's most frequent mistakes on the test rows", ("wanted", "answered", "rows"), rows)


def _of(story: Story, name: str) -> Contender | None:
    return next((c for c in (story.verdict.contenders if story.verdict else ()) if c.name == name), None)


def rows_grid(story: Story) -> Grid:
    """List test rows that some contender has wrong, and dev rows that the winner fixed or broke, for browsing."""
    listed = [*_changed(story, 0, "fixed"), *_changed(story, 1, "broken"), *_tested(story)]
    title = f"Rows that changed or went wrong: {len(listed):,}"
    title += f", of which {LISTED:,} are listed" if len(listed) > LISTED else ""
    columns = ("against the seed prompt", "split", "row", "text", "wanted", SEED, BEST, RIVAL)
    return Grid(title, columns, tuple(listed[:LISTED]))


def _changed(story: Story, side: int, word: str) -> list[tuple[str, ...]]:
    return [
        (word, "dev", c.example_id, _short(c.text), c.wanted, c.seed_answer, c.answer, "") for c in story.changed[side]
    ]


def _tested(story: Story) -> list[tuple[str, ...]]:
    found = [_of(story, name) for name in (SEED, BEST, RIVAL)]
    answers = [{o.example_id: o for o in c.outcomes} if c else {} for c in found]
    rows = [_tested_row(row, [by.get(row.id) for by in answers]) for row in story.rows["test"]]
    return sorted((row for row in rows if row), key=lambda row: ("fixed", "broken", "both wrong", "").index(row[0]))


def _tested_row(row: Example, said: Sequence[Outcome | None]) -> tuple[str, ...]:
    """Return a test row for the table; empty if everyone who answered it is right."""
    if all(outcome is None or outcome.score == 1 for outcome in said):
        return ()
    seed, best = (None if outcome is None else outcome.score for outcome in said[:2])
    change = ""
    if seed is not None and best is not None:
        change = "fixed" if best > seed else "broken" if best < seed else "both wrong" if best < 1 else ""
    answers = ("" if outcome is None else _said(outcome) for outcome in said)
    return (change, "test", row.id, _short(row.text), row.target, *answers)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
