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
from search_spaces.opening import as_dimension, tables_of
from search_spaces.prompt import Prompt, digest
from search_spaces.space import Dimension, Facts, Space, Value

Demo = Mapping[str, Any]
NEAREST = "_nearest"
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
    """The dimensions of all predictors, named "predictor.dimension"."""

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        facts = Facts("generation", predictors[0].inputs, predictors[-1].outputs[-1], ())
        super().__init__([d for predictor in predictors for d in _dimensions(predictor)], facts)
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
        if kind in {"none", "own"}:
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


def _dimensions(predictor: Predictor) -> list[Dimension]:
    """List the dimensions of a predictor, without the choices that it has no demos for."""
    kinds = {"none", *(kind for kind, pool in predictor.pools.items() if pool)}
    kinds |= {f"{kind}{NEAREST}" for kind in kinds & {"labelled", "bootstrapped"}}
    own = {f"own{position}": text for position, text in enumerate(predictor.wordings, start=1)}
    found = []
    for name, table in tables_of("program").items():
        dimension = as_dimension(name, table)
        if name == "instruction":
            texts, late = {**dimension.texts, **own}, tuple(f"late{n}" for n in range(1, predictor.late + 1))
            dimension = replace(dimension, texts=texts, choices=(*dimension.choices, *own), slots=late)
        if name == "adapter":
            dimension = replace(dimension, seed=predictor.adapter)
        if name == "demos":
            choices = tuple(kind for kind in dimension.choices if kind in kinds)
            dimension = replace(dimension, choices=choices, seed="own" if "own" in choices else "none")
        if {"k", "draw"} & {name} and kinds <= {"none", "own"}:
            continue
        when = {f"{predictor.name}.{other}": values for other, values in dimension.when.items()}
        found.append(replace(dimension, name=f"{predictor.name}.{name}", when=when))
    return found
