"""Runs recorded in a results.db as a search would record them, from patterns of each prompt's answers to each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimizer.contenders import BEST, SEED
from optimizer.records import Comparison, Completion, Contender, Dataset, Kind, Outcome, Run, State, Trial, Verdict
from optimizer.store import Store
from optimizer.task import check_task
from search_spaces.prompt import Example, Prompt, digest

LABELS = ("bug", "praise")
KINDS = {"1": Kind.RIGHT, "0": Kind.WRONG, "?": Kind.UNPARSED, "-": Kind.ERROR}


def rows(split: str, n: int) -> tuple[Example, ...]:
    """So many rows of a split; their labels take turns."""
    return tuple(Example(f"{split}{i:02}", (("text", f"{split} row {i}"),), (LABELS[i % 2],)) for i in range(n))


@dataclass(frozen=True)
class Tried:
    """A prompt of a run: what it answered to each dev row, and to each test row if it was judged.

    A sign a row: 1 right, 0 wrong, ? unreadable, - a failed call, a blank for a row that it was not asked.
    """

    dev: str
    test: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    text: str = "Sort it."


def write_run(path: Path, tried: Sequence[Tried], *, winner: int | None = 1, **given: Any) -> int:
    """Write a finished run with its verdict, if its prompts were judged, and return its number.

    `given` may hold `metric`, `size` (rows of each split), `cost` (of a call), `model`, `api_base`, `version` and
    `constraints`.
    """
    size, metric, cost = given.get("size", 20), given.get("metric", "accuracy"), given.get("cost", 0.001)
    data = Dataset(*(rows(split, size) for split in ("train", "dev", "test")))
    content = {"task": {"name": "sorting", "kind": "classification", "metric": metric}, "data": {"file": "r.csv"}}
    content["data"] |= {"inputs": ["text"], "target": "label"}
    content["model"] = {"name": given.get("model", "openai/x"), "api_base": given.get("api_base", "http://127.0.0.1:9")}
    content["search"] = {"constraints": given.get("constraints", {})}
    task = check_task(content, "recorded").model_dump(mode="json")
    model, names = given.get("model", "openai/x"), digest([row.to_dict() for row in data.dev])
    with Store(path, create=True) as store:
        store.add_examples(names, data)
        run = store.start_run(Run(0, "sorting", task, model, metric, names, "running", ""), f"config {winner} {model}")
        for number, each in enumerate(tried):
            outcomes = _outcomes(store, run, f"{number} dev", each.dev, data.dev, given)
            prompt = Prompt("plain", each.text, ("text",), "label", LABELS)
            scores = [o.score for o in outcomes if o.score is not None]
            state = State.COMPLETE if len(outcomes) == size else State.PRUNED
            score = sum(scores) / len(scores) if scores else None
            trial = Trial(number, {"template": "plain", **each.params}, prompt, state, score, (0.1, 0.9), len(outcomes))
            text = f"[user]\n{each.text}\n\nText: {{text}}"
            store.save_trial(run, Trial(*_fields(trial), outcomes=outcomes, reason="done", seconds=1.0), text)
        judged = {name: number for name, number in ((SEED, 0), (BEST, winner)) if number is not None}
        contenders = [
            _contender(store, run, name, tried[number], data.test, given)
            for name, number in judged.items()
            if tried[number].test and (name == SEED or number != 0)
        ]
        if contenders:
            store.open_test(names, run)
            pair = (Comparison(BEST, SEED, 0.1, (-0.1, 0.3), 0.2, "exact McNemar test"),)
            store.save_verdict(run, Verdict(metric, tuple(contenders), pair[: len(contenders) - 1], "A verdict."))
        priced = None if cost is None else 1.0
        store.update_run(run, status="finished", winner=winner, reason="done", cost=priced)
    return run


def _fields(trial: Trial) -> tuple[Any, ...]:
    return (trial.number, trial.params, trial.prompt, trial.state, trial.score, trial.interval, trial.n)


def _contender(
    store: Store, run: int, name: str, tried: Tried, test: Sequence[Example], given: Mapping[str, Any]
) -> Contender:
    outcomes = _outcomes(store, run, f"{name} test", tried.test, test, given)
    scores = [o.score for o in outcomes if o.score is not None]
    score, cost = sum(scores) / len(scores), given.get("cost", 0.001)
    per_1000 = None if cost is None else 1000 * cost
    return Contender(name, score, (score - 0.1, score + 0.1), len(scores), outcomes, per_1000, 500.0, 0, "")


def _outcomes(
    store: Store, run: int, whose: str, pattern: str, examples: Sequence[Example], given: Mapping[str, Any]
) -> tuple[Outcome, ...]:
    """Buy an answer for each row that was asked, and read it."""
    told = {"version": given.get("version", "x-1"), "fingerprint": "f"}
    found, bought = [], {}
    for sign, row in zip(pattern, examples, strict=False):
        if sign == " ":
            continue
        kind = KINDS[sign]
        if kind is Kind.ERROR:
            found.append(Outcome(row.id, kind, None, None, text="overloaded"))
            continue
        answer = row.target if sign == "1" else LABELS[row.target == LABELS[0]] if sign == "0" else None
        key = f"run {run}, {whose}, {row.id}"
        bought[key] = Completion(answer or "Hm.", 30, 4, given.get("cost", 0.001) or 0.0, 0.5, **told)
        found.append(Outcome(row.id, kind, float(sign == "1"), answer, key))
    store.add_completions(run, given.get("model", "openai/x"), bought)
    return tuple(found)
