"""What do a proposer and a teacher gain? Whole searches with the embedded model.

    python benchmarks/beside.py ../shared/data [NAME …]

Both are scripted, and have no knowledge of the world: the proposer copies terms of the rows that it is shown into an
instruction or into descriptions of labels; the teacher knows each training row's answer, and gives the row's longest
words as its reasoning. The space excludes what is counted in the training rows, which would say the same. Prints a
table for LOG.md: the best prompt's mean score on the test rows over some seeds of the search, in percent, and the
paired gain.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from proposals import DEMO, scores, without
from whole_verdicts import task

from optimizer.preparing import prepare
from optimizer.records import Completion, Request
from optimizer.task import Task, check_task, load_task
from search_spaces.instructions import STOP_WORDS

WORDS = 6  # of a label, that the proposer names
WORKED = 40
SEEDS = 12  # a search of 600 calls finds demos chosen by nearness, or does not: fewer seeds show nothing


@dataclass
class Scripted:
    """A model in this process, at no price."""

    says: Callable[[str], str]
    name: str = "scripted"
    address: str = ""
    price: tuple[float, float] | None = (0.0, 0.0)

    def complete(self, request: Request) -> Completion:
        """Answer the last message."""
        return Completion(self.says(request.messages[-1].content), 1, 1)


def fields(asked: str) -> dict[str, str]:
    """The fields of a message in DSPy's layout."""
    parts = re.split(r"^\[\[ ## (\w+) ## \]\]\n", asked.partition("\n\nRespond with")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def replied(wordings: list[str], part: str = "instruction") -> str:
    """Write a reply in that layout."""
    said = {"diagnosis": "Words are missing.", "part": part, "wordings": json.dumps(wordings), "completed": ""}
    return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in said.items())


def telling(text: str) -> list[str]:
    """The longest words of a text."""
    words = {word for word in re.findall(r"[^\W\d_]{4,}", text.casefold()) if word not in STOP_WORDS}
    return sorted(words, key=lambda word: (-len(word), word))[:3]


def proposer(part: str) -> Scripted:
    """Make one that words a part by the terms of rows; it remembers those that it was shown."""
    seen: dict[str, Counter[str]] = {}

    def says(asked: str) -> str:
        given = fields(asked)
        rows = json.loads(given.get("failures", given.get("rows", "[]")))
        for row in rows:
            label = row.get("wanted", row.get("answer"))
            text = " ".join(value for name, value in row.items() if name not in {"wanted", "answer"})
            seen.setdefault(label, Counter()).update(telling(text))
        lines = [f"{label}: {', '.join(word for word, _ in n.most_common(WORDS))}" for label, n in sorted(seen.items())]
        if part == "labels" and "parts" in given:
            return replied(["\n".join(lines)], part)
        kept = "".join(f" {{{name}}}" for name in ("inputs", "output", "labels"))
        return replied([f"Name the {{output}} of the {{inputs}} by such words ({'; '.join(lines)}).{kept}"[:800]])

    return Scripted(says)


def teacher(told: Task) -> Scripted:
    """Make one that is right about every training row."""
    rows = [row for row in prepare(told).data.train if row.targets]

    def says(asked: str) -> str:
        row = max((row for row in rows if row.text in asked), key=lambda row: len(row.text), default=None)
        return f"It speaks of {', '.join(telling(row.text))}.\nAnswer: {row.target}" if row else "Answer: nothing"

    return Scripted(says)


def asked(told: Task, **changes: Any) -> Task:  # noqa: ANN401
    """The task with other models beside it."""
    content = told.model_dump(mode="json", exclude_unset=True)
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values}
    return check_task(content, "beside").model_copy(update={"folder": told.folder})


def main() -> None:
    """Run the tasks that are named, or the bundled one."""
    data, names = Path(sys.argv[1]), sys.argv[2:] or ["support"]
    sys.stdout.write("| data | beside | score | gain, and its standard error |\n" + "|---" * 4 + "|\n")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            told = load_task(DEMO if name == "support" else task(data, name, Path(folder)))
            space, proposing, work = without(told), {"proposer": {"model": "openai/x"}}, {"worked": WORKED}
            taught = asked(told, search=work, teacher={"model": "openai/x"})
            arms: dict[str, tuple[Task, Callable[[], dict[str, Any]]]] = {
                "nobody": (told, dict),
                "proposer: instructions": (asked(told, **proposing), lambda: {"proposer": proposer("instruction")}),
                "proposer: labels as well": (asked(told, **proposing), lambda: {"proposer": proposer("labels")}),
                "worked by itself": (asked(told, search=work), dict),
                "worked by a teacher": (taught, lambda: {"teacher": teacher(taught)}),  # noqa: B023 - called at once
            }
            base: list[float] = []
            for arm, (one, beside) in arms.items():
                found = scores(one, space, Path(folder), beside, SEEDS)
                base = base or found
                gains = [a - b for a, b in zip(found, base, strict=True)]
                error = stdev(gains) / SEEDS**0.5
                sys.stdout.write(f"| {name} | {arm} | {fmean(found):.1f} | {fmean(gains):+.1f} ± {error:.1f} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
