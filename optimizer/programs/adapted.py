"""A DSPy predictor with its own adapter, which can choose its examples anew for each input. A door of DSPy.

In DSPy, one adapter holds for a whole process, and a predictor's examples are the same for all inputs; a search needs
neither to be so. Knows no model and no score. Checked against DSPy 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from optimizer.errors import InputError, kind_of
from search_spaces.demos import DemoPool
from search_spaces.prompt import Example


class _PlainJSON(dspy.JSONAdapter):  # type: ignore[misc] # DSPy has no types
    """DSPy's JSON layout without a `response_format`, which depends on what DSPy knows of a model's name.

    With it a saved program would send other requests than those that were scored.
    """

    def _prepare_response_format(self, *_: object) -> None:
        """Add nothing to the request."""


# Without DSPy's fallback to another layout: that would be a second call, in a form that was not chosen.
ADAPTERS = {
    "chat": dspy.ChatAdapter(use_json_adapter_fallback=False),
    "json": _PlainJSON(),
    "xml": dspy.XMLAdapter(use_json_adapter_fallback=False),
}


class AdaptedPredict(dspy.Predict):  # type: ignore[misc] # DSPy has no types
    """`dspy.Predict` with its own adapter; `nearest` is the number of demos that it shows, the nearest to the inputs.

    0 shows all of them. With `nearest_last` the most similar one comes last, else first. `scored` are temperature and
    `max_tokens` that it was scored with; they hold where neither the program nor its language model sets its own.
    """

    adapter = "chat"
    nearest = 0
    nearest_last = True
    scored: Mapping[str, Any] = {}

    def forward(self, **inputs: Any) -> Any:  # noqa: ANN401 - DSPy's form
        """Predict as `dspy.Predict` does."""
        with dspy.context(adapter=ADAPTERS[self.adapter]):
            return super().forward(**self._as_scored(inputs))

    async def aforward(self, **inputs: Any) -> Any:  # noqa: ANN401
        """Predict as `dspy.Predict` does."""
        with dspy.context(adapter=ADAPTERS[self.adapter]):
            return await super().aforward(**self._as_scored(inputs))

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return all that `load_state` needs."""
        own = {"adapter": self.adapter, "nearest": self.nearest, "nearest_last": self.nearest_last}
        own |= {"scored": dict(self.scored)}
        return {**super().dump_state(json_mode=json_mode), **own}

    def _as_scored(self, inputs: dict[str, Any]) -> dict[str, Any]:
        model = inputs.get("lm") or self.lm or dspy.settings.lm
        told = {**getattr(model, "kwargs", {}), **self.config, **inputs.get("config", {})}
        set_ = {
            "max_tokens" if name == "max_completion_tokens" else name
            for name, value in told.items()
            if value is not None
        }
        missing = {name: value for name, value in self.scored.items() if name not in set_}
        return self._with_demos({**inputs, "config": {**missing, **inputs.get("config", {})}})

    def _with_demos(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if not self.nearest or "demos" in inputs:
            return inputs
        known = self.__dict__.get("_near")
        if known is None or known[0] is not self.demos:
            known = self._near = (self.demos, DemoPool(_examples(self.demos, list(self.signature.input_fields))))
        asked = {name: inputs.get(name) for name in self.signature.input_fields}
        near = known[1].nearest(_example("", asked), self.nearest)
        return {**inputs, "demos": [self.demos[int(row.id)] for row in (near[::-1] if self.nearest_last else near)]}


def adapt(program: Any) -> Any:  # noqa: ANN401 - DSPy has no types
    """Turn the plain predictors of a program into `AdaptedPredict`, in place; returns the program.

    They get the layout that DSPy is configured with, or its usual one if that is none of `ADAPTERS`. A predictor of
    another class than `dspy.Predict` is left as it is.

    Raises
    ------
    InputError
        If it is not a program.
    """
    require_program(program)
    configured = {dspy.JSONAdapter: "json", dspy.XMLAdapter: "xml"}.get(type(dspy.settings.adapter), "chat")
    for _, predictor in program.named_predictors():
        if type(predictor) is dspy.Predict:
            predictor.__class__ = AdaptedPredict  # in place: the program may refer to the object in several places
            predictor.adapter = configured
    return program


def require_program(given: object) -> None:
    """Refuse anything that is not a program."""
    if not isinstance(given, dspy.Module):
        raise InputError(
            f"{kind_of(given)} was given as a program; allowed: an object of a dspy.Module, such as "
            'dspy.Predict("text -> label"). Make one.'
        )


def _examples(demos: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Example]:
    return [_example(str(row), {name: demo.get(name) for name in names}) for row, demo in enumerate(demos)]


def _example(id_: str, inputs: Mapping[str, Any]) -> Example:
    return Example(id_, tuple((name, str(value)) for name, value in inputs.items()))
