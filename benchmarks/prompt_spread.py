"""How much do prompts differ in score with the embedded model? Draws prompts at random, scores each on the same rows.

    python benchmarks/prompt_spread.py rows.jsonl more.csv --text text --label label

Prints the spread of accuracy, the mean by each ingredient, the scores of a series of fixed prompts, and the time of a
call. Knows the templates and the embedded model; selects demonstrations with its own code.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.embedded import complete_text
from search_spaces.prompt import Example, Message, Prompt, fill
from search_spaces.templates import BUILT_IN

WORDINGS = {
    "bare": "Classify the text.",
    "fit": "Read the text and decide which label fits it best.",
    "careful": "You are a careful expert. Read every word of the following text, think about what the person who "
    "wrote it wants from you, and please do your very best to give it the one label that suits it.",
    "about": "What is this text about?",
    "names": "Say whether the text is {labels}.",
    "meant": "Give the text its label. Judge by what is meant; ignore politeness, typos and small talk.",
    "words": "Look for the words and phrases that tell the possible answers apart, then name the label.",
    "compare": "Compare the text with the examples given here, and choose the label of the closest.",
    "weigh": "Some labels lie close together: weigh the runner-up before you settle.",
    "defined": "Classify the text. {defined}",
}
LISTINGS = ("none", "names", "descriptions")
PICKERS = ("none", "random", "balanced", "nearest")
MAX_TOKENS = 96  # room for a short thought and an answer in JSON
TERMS = 12  # telling words in a label's description


@dataclass(frozen=True)
class Recipe:
    """One way to put a prompt together."""

    template: str
    wording: str
    listing: str
    place: str
    picker: str
    k: int
    answer: str
    reasoning: bool


@dataclass(frozen=True)
class Bench:
    """Rows and what is known of the training ones."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    labels: tuple[str, ...]
    terms: dict[str, str]
    near: Callable[[str, int], list[Example]]


def load(paths: Sequence[Path], text: str, label: str) -> list[Example]:
    """Read JSON lines or CSV; rows without text or label are left out."""
    rows: list[dict[str, str]] = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            rows += (
                [json.loads(line) for line in file if line.strip()] if path.suffix == ".jsonl" else csv.DictReader(file)
            )
    return [
        Example(str(n), (("text", str(row[text])),), (str(row[label]),))
        for n, row in enumerate(rows)
        if row.get(text) and row.get(label)
    ]


def words(text: str) -> Counter[str]:
    """Count the words of a text."""
    return Counter(re.findall(r"[^\W\d_]+(?:['\u2019]\w+)?", text.casefold()))


def telling_terms(rows: Sequence[Example], count: int) -> dict[str, str]:
    """Find each label's words that occur more often than chance, by a smoothed z-score."""
    by_label: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        by_label[row.target].update(words(row.text).keys())
    sizes = Counter(row.target for row in rows)
    total = sum(by_label.values(), Counter())
    found = {}
    for label, seen in sorted(by_label.items()):
        expected = {word: total[word] * sizes[label] / len(rows) for word in seen}
        score = {word: (seen[word] - expected[word]) / math.sqrt(expected[word] + 1) for word in seen}
        found[label] = ", ".join(sorted(score, key=lambda word: (-score[word], word))[:count])
    return found


def nearest(rows: Sequence[Example]) -> Callable[[str, int], list[Example]]:
    """Index rows by TF-IDF cosine; the most alike comes last."""
    counts = [words(row.text) for row in rows]
    frequency = Counter(word for count in counts for word in count)

    def vector(count: Counter[str]) -> dict[str, float]:
        raw = {w: (1 + math.log(n)) * math.log(len(rows) / frequency[w]) for w, n in count.items() if frequency[w]}
        norm = math.sqrt(sum(value * value for value in raw.values())) or 1.0
        return {word: value / norm for word, value in raw.items()}

    vectors = [vector(count) for count in counts]

    def find(text: str, k: int) -> list[Example]:
        asked = vector(words(text))
        scores = [sum(value * v[w] for w, value in asked.items() if w in v) for v in vectors]
        return [rows[at] for at in sorted(range(len(rows)), key=lambda at: scores[at])[len(rows) - k :]]

    return find


def pick(bench: Bench, recipe: Recipe, rng: random.Random) -> list[Example]:
    """Choose fixed demonstrations; none for `nearest`, which chooses for every row."""
    if recipe.picker == "random":
        return rng.sample(bench.train, min(recipe.k, len(bench.train)))
    if recipe.picker != "balanced":
        return []
    pools = {label: [row for row in bench.train if row.target == label] for label in bench.labels}
    for pool in pools.values():
        rng.shuffle(pool)
    order = rng.sample(bench.labels, len(bench.labels))
    chosen = [pools[order[n % len(order)]][n // len(order) :][:1] for n in range(recipe.k)]
    return rng.sample([row for rows in chosen for row in rows], len([row for rows in chosen for row in rows]))


def compose(bench: Bench, recipe: Recipe, demos: Sequence[Example]) -> Prompt:
    """Put a recipe's prompt together."""
    names = f"{', '.join(bench.labels[:-1])} or {bench.labels[-1]}"
    few = {label: " and ".join(terms.split(", ")[:3]) for label, terms in bench.terms.items()}
    defined = " ".join(f"Choose {label} where you read {terms}." for label, terms in few.items())
    noted = recipe.listing == "descriptions"
    return Prompt(
        template=recipe.template,
        instruction=WORDINGS[recipe.wording].format(labels=names, defined=defined),
        inputs=("text",),
        output="label",
        labels=bench.labels,
        notes=tuple(bench.terms[label] for label in bench.labels) if noted else (),
        label_place="none" if recipe.listing == "none" else recipe.place,
        answer_format=recipe.answer,
        reasoning=recipe.reasoning,
        demos=tuple(demos),
    )


def score(bench: Bench, recipe: Recipe, seed: int) -> tuple[float, list[float]]:
    """Accuracy on the dev rows, and the seconds of every call."""
    template = BUILT_IN[recipe.template]
    fixed = pick(bench, recipe, random.Random(seed))
    right, seconds = 0, []
    for row in bench.dev:
        demos = bench.near(row.text, recipe.k) if recipe.picker == "nearest" else fixed
        prompt = compose(bench, recipe, demos)
        messages: tuple[Message, ...] = fill(template.compile(prompt, prompt.demos), dict(row.inputs))
        start = time.perf_counter()
        text = complete_text(messages, max_tokens=MAX_TOKENS)
        seconds.append(time.perf_counter() - start)
        right += template.parse(prompt, text) == row.target
    return right / len(bench.dev), seconds


def draw(rng: random.Random, count: int, most: int) -> list[Recipe]:
    """Draw recipes at random, every value of an ingredient about as often as the others."""

    def deal(values: Sequence[Any]) -> list[Any]:
        return rng.sample(list(values) * -(-count // len(values)), count)

    columns = {
        "template": deal(sorted(BUILT_IN)),
        "wording": deal(sorted(WORDINGS)),
        "listing": deal(LISTINGS),
        "place": deal(("instruction", "query")),
        "picker": deal(PICKERS),
        "k": deal([k for k in (1, 2, 4, 8, 16) if k <= most]),
        "answer": deal(("bare", "json", "tagged")),
        "reasoning": deal((False, True)),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [Recipe(**{**row, "k": 0 if row["picker"] == "none" else row["k"]}) for row in rows]


def ladder(bench: Bench, most: int) -> None:
    """Print fixed prompts from the poorest to the richest, the mean of three draws each."""
    print("\nladder (plain, bare, wording 'bare')      none   names  descriptions")
    for picker, k in [("none", 0), ("random", most), ("balanced", most // 2), ("balanced", most), ("nearest", most)]:
        cells = []
        for listing in LISTINGS:
            recipe = Recipe("plain", "bare", listing, "instruction", picker, k, "bare", reasoning=False)
            draws = range(3 if picker in ("random", "balanced") else 1)
            cells.append(statistics.mean(score(bench, recipe, seed)[0] for seed in draws))
        print(f"  {picker + ' ' + str(k):38}" + "".join(f"{cell:8.3f}" for cell in cells))


def report(rows: Sequence[tuple[Recipe, float, list[float]]]) -> None:
    """Print the spread overall and the mean by every ingredient."""
    scores = sorted(accuracy for _, accuracy, _ in rows)
    low, middle, high = statistics.quantiles(scores, n=4)
    print(
        f"accuracy of {len(scores)} prompts: min {scores[0]:.3f}  quartiles {low:.3f} {middle:.3f} {high:.3f}", end=""
    )
    print(f"  max {scores[-1]:.3f}")
    seconds = sorted(second for _, _, spent in rows for second in spent)
    print(
        f"ms a call: median {seconds[len(seconds) // 2] * 1000:.2f}  p95 {seconds[len(seconds) * 19 // 20] * 1000:.2f}"
    )
    for name in Recipe.__dataclass_fields__:
        groups: dict[str, list[float]] = defaultdict(list)
        for recipe, accuracy, _ in rows:
            groups[str(getattr(recipe, name))].append(accuracy)
        cells = [f"{key} {statistics.mean(got):.3f} ({len(got)})" for key, got in sorted(groups.items(), key=by_number)]
        print(f"  {name:10} " + "  ".join(cells))
    ranked = sorted(rows, key=lambda row: row[1])
    for title, (recipe, accuracy, _) in (("worst", ranked[0]), ("best", ranked[-1])):
        print(f"  {title}: {accuracy:.3f} {recipe}")


def by_number(item: tuple[str, object]) -> tuple[int, str]:
    """Sort numbers as numbers and words as words."""
    return (int(item[0]), "") if item[0].isdigit() else (0, item[0])


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", nargs="+", type=Path, help="JSON lines or CSV files; rows are joined and shuffled")
    parser.add_argument("--text", default="text", help="column of the text")
    parser.add_argument("--label", default="label", help="column of the label")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--train", type=int, default=340, help="rows to draw demonstrations and terms from")
    parser.add_argument("--dev", type=int, default=150, help="rows to score on")
    parser.add_argument("--demos", type=int, default=16, help="most demonstrations")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows = load(args.data, args.text, args.label)
    rng.shuffle(rows)
    train, dev = tuple(rows[: args.train]), tuple(rows[args.train :][: args.dev])
    labels = tuple(sorted({row.target for row in train}))
    bench = Bench(train, dev, labels, telling_terms(train, TERMS), nearest(train))
    majority = Counter(row.target for row in dev).most_common(1)[0][1] / len(dev)
    print(f"{len(train)} train rows, {len(dev)} dev rows, {len(labels)} labels, most common label {majority:.3f}")
    recipes = draw(rng, args.prompts, args.demos)
    report([(recipe, *score(bench, recipe, seed)) for seed, recipe in enumerate(recipes)])
    ladder(bench, args.demos)


if __name__ == "__main__":
    main()
