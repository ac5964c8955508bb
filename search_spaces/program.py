"""The space of a program of several predictors: the wording, layout and demos of each, all chosen at once.

A point is a whole configuration. Its `Prompt` has that configuration as JSON for its instruction, so that equal
configurations have equal digests. Knows no DSPy: a program is a list of predictors with their fields, and demos are
mappings.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.instructions import fill_wording, task_words
from search_spaces.opening import as_dimension, changed, more, narrowed, reserve, seeded, tables_of
from search_spaces.prompt import Prompt, digest
from search_spaces.space import Dimension, Facts, Space, Value

Demo = Mapping[str, Any]
NEAREST = "_nearest"
UNSHOWN = {"none", "own"}  # demo strategies that choose nothing
WORDS = {
    "own": "the instruction that the step came with",
    "inputs": "the names of the step's input fields",
    "output": "the names of the step's output fields",
}  # the placeholders of wordings
PROGRAM = "program"  # id of the template of a configuration, which no renderer has


@dataclass(frozen=True, slots=True)
class Predictor:
    """A step of a program: its name, its original instruction, its fields, and the demos that it may be shown.

    `pools` maps "own", "labelled" and "bootstrapped" to demos; an empty pool is never chosen. `wordings` are further
    instructions that the user wrote, and `late` is how many ids are reserved for those that are added later. It came
    with `adapter` and `nearest`.
    """

    name: str
    instruction: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    pools: Mapping[str, Sequence[Demo]] = field(default_factory=dict)
    wordings: Sequence[str] = ()
    late: int = 0
    adapter: str = "chat"
    nearest: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """The configuration of a predictor; with `nearest` > 0, only so many demos are shown, the nearest to the input."""

    instruction: str
    adapter: str
    demos: tuple[Demo, ...] = ()
    nearest: int = 0


class ProgramSpace(Space):
    """The dimensions of all predictors, named "predictor.dimension".

    `changes` and `seed` are those of a task file, by these names; see `opening.load_space`.

    Raises
    ------
    DimensionError
        If a key or value of them is not allowed.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        changes: Mapping[str, Any] | None = None,
        seed: Mapping[str, Any] | None = None,
    ) -> None:
        facts = Facts("generation", predictors[0].inputs, predictors[-1].outputs[-1], ())
        told = changes or {}, seed or {}
        super().__init__([d for predictor in predictors for d in _dimensions(predictor, *told)], facts)
        self.predictors = tuple(predictors)
        self._settings: dict[str, dict[str, Setting]] = {}

    def build(self, params: Mapping[str, Value]) -> Prompt:
        """Make the configuration that the parameters describe, and keep it for `settings`."""
        chosen = {predictor.name: self._setting(predictor, params) for predictor in self.predictors}
        told = {
            name: {
                "instruction": setting.instruction,
                "adapter": setting.adapter,
                "nearest": setting.nearest,
                "demos": [dict(demo) for demo in setting.demos],
            }
            for name, setting in chosen.items()
        }
        text = json.dumps(told, indent=1, ensure_ascii=False, default=str)
        prompt = Prompt(PROGRAM, text, self.facts.inputs, self.facts.output)
        self._settings.setdefault(prompt.digest, chosen)
        return prompt

    def settings(self, prompt: Prompt) -> Mapping[str, Setting]:
        """Return the setting of each predictor, by name, in a configuration that this space built."""
        return self._settings[prompt.digest]

    def _setting(self, predictor: Predictor, params: Mapping[str, Value]) -> Setting:
        def value(name: str) -> Value:
            return params[f"{predictor.name}.{name}"]

        text = self[f"{predictor.name}.instruction"].texts[str(value("instruction"))]
        words = task_words("", predictor.inputs, " and ".join(predictor.outputs), ())
        instruction = fill_wording(text, words | {"own": predictor.instruction})
        setting, kind = Setting(instruction, str(value("adapter"))), str(value("demos"))
        pool = tuple(predictor.pools.get(kind.removesuffix(NEAREST), ()))
        if kind in UNSHOWN:
            return replace(setting, demos=pool, nearest=predictor.nearest if pool else 0)
        k = min(int(value("k")), len(pool))
        if kind.endswith(NEAREST):
            return replace(setting, demos=pool, nearest=k)
        rng = random.Random(f"{predictor.name} {kind} {value('draw')}")
        return replace(setting, demos=tuple(rng.sample(pool, k)))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that identify everything that parameters can mean in this space."""
        pools = [
            [
                p.name,
                p.instruction,
                p.inputs,
                p.outputs,
                [[kind, [dict(d) for d in pool]] for kind, pool in p.pools.items()],
            ]
            for p in self.predictors
        ]
        return digest([super().digest, json.dumps(pools, default=str)])


def by_dimension(table: Mapping[str, Any], predictors: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split a table of a task file into what it says of the predictors' dimensions, by name, and its other names.

    A name with dots may be a key of its own, as in `"label.adapter" = "xml"`, or one of a table, as TOML reads it
    without quotes.
    """
    names = [f"{predictor}.{name}" for predictor in predictors for name in tables_of("program")]
    found, others = dict[str, Any](), list[str]()

    def walk(inner: Mapping[str, Any], above: str) -> None:
        for key, value in inner.items():
            name = f"{above}{key}"
            if name in names:
                found[name] = value
            elif isinstance(value, Mapping) and any(each.startswith(f"{name}.") for each in names):
                walk(value, f"{name}.")
            else:
                others.append(name)

    walk(table, "")
    return found, others


def _dimensions(predictor: Predictor, changes: Mapping[str, Any], seed: Mapping[str, Any]) -> list[Dimension]:
    """List the dimensions of a predictor, changed as told, without the choices that it has no demos for."""
    kinds = {"none", *(kind for kind, pool in predictor.pools.items() if pool)}
    kinds |= {f"{kind}{NEAREST}" for kind in kinds - UNSHOWN}
    own = {f"own{position}": text for position, text in enumerate(predictor.wordings, start=1)}
    came = {"adapter": predictor.adapter, "demos": "own" if "own" in kinds else "none"}
    found = []
    for part, table in tables_of("program").items():
        name, dimension = f"{predictor.name}.{part}", as_dimension(part, table)
        when = {f"{predictor.name}.{other}": values for other, values in dimension.when.items()}
        dimension = replace(dimension, name=name, when=when, seed=came.get(part, dimension.seed))
        if part == "instruction":
            dimension = replace(dimension, texts={**dimension.texts, **own}, choices=(*dimension.choices, *own))
        if name in changes:
            dimension = changed(dimension, changes[name], [*WORDS])
        if name in seed:
            dimension = seeded(dimension, seed[name])
        dimension = reserve(dimension, changes.get(name), usual=0)
        if part == "instruction" and (dimension.slots or not dimension.locked):
            dimension = more(dimension, predictor.late)
        if part == "demos":
            dimension = narrowed(dimension, [kind for kind in dimension.choices if kind in kinds] or ["none"])
            kinds = {str(kind) for kind in dimension.choices}
        if part not in {"k", "draw"} or kinds - UNSHOWN:
            found.append(dimension)
    return found
