"""A saved program in plain DSPy: the requests that it sends there are those that were scored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from server import ChatServer

from optimizer import PromptSearch
from optimizer.programs.adapted import adapt

ROWS = [
    dspy.Example(text=f"I {verb} the {thing}", label=label).with_inputs("text")
    for thing in "food wine room view staff bed".split()
    for verb, label in (("adore", "good"), ("loathe", "bad"))
]
SENT = ("messages", "temperature", "response_format")


def sent(server: ChatServer) -> list[dict[str, Any]]:
    """What was asked, by what decides an answer; DSPy has another name for max_tokens."""
    bodies = [asked.body for asked in server.log]
    bound = [body.get("max_tokens", body.get("max_completion_tokens")) for body in bodies]
    return [{n: body.get(n) for n in SENT} | {"bound": b} for body, b in zip(bodies, bound, strict=True)]


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
def test_a_saved_program_sends_what_was_scored(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """Settings included, with a model for which DSPy would ask for structured outputs; in each layout."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    name = "openai/gpt-4o-mini"
    search = PromptSearch(lambda row, said: row.label == said.label, model=name, api_base=server.url, budget=40)
    winner = search.compile(dspy.Predict("text -> label"), trainset=ROWS[:6], valset=ROWS[6:])
    for predictor in winner.predictors():
        predictor.adapter = adapter
    server.forget()
    search.evaluate(winner, ROWS[6:7])
    winner.save(tmp_path / "saved.json")
    loaded = adapt(dspy.Predict("text -> label"))
    loaded.load(tmp_path / "saved.json")
    plain = dspy.LM(name, api_base=server.url, api_key="sk-x", cache=False, num_retries=0)
    ours = dspy.context(lm=plain, adapter=dspy.TwoStepAdapter(plain))
    with ours, suppress(AdapterParseError):  # the embedded model knows no layout but the chat's
        loaded(**ROWS[6].inputs())

    scored, now = sent(server)
    assert now == scored
    assert (scored["temperature"], scored["bound"], scored["response_format"]) == (0.0, 1000, None)


def test_what_the_program_or_its_model_sets_stays(server: ChatServer) -> None:
    """A temperature of the step, of its call or of its language model is not overwritten."""
    model = dspy.LM("openai/m", api_base=server.url, api_key="sk-x", cache=False, num_retries=0, temperature=0.3)
    cold = dspy.LM("openai/m", api_base=server.url, api_key="sk-x", cache=False, num_retries=0)
    for own, lm, call in (({}, model, {}), ({"temperature": 0.3}, cold, {}), ({}, cold, {"temperature": 0.3})):
        step = adapt(dspy.Predict("text -> label", **own))
        step.scored = {"temperature": 0.0, "max_tokens": 7}
        server.forget()
        with dspy.context(lm=lm):
            step(text="I adore it", config=call)

        assert [(asked["temperature"], asked["bound"]) for asked in sent(server)] == [(0.3, 7)]
