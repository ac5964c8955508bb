"""Programs of DSPy tuned by this engine: what is chosen, what is counted, and what comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from server import ChatServer, Latency

from optimizer import PromptSearch
from optimizer.errors import BudgetSpent, InputError
from optimizer.programs.adapted import AdaptedPredict, adapt
from optimizer.programs.runs import Judged, MetricError
from optimizer.records import Completion, Kind, Request
from optimizer.report import percent

THINGS = "food wine room view staff bed pool sauna bath desk lamp sofa".split()
ROWS = [
    dspy.Example(text=f"I {verb} the {thing}", label=label).with_inputs("text")
    for thing in THINGS
    for verb, label in (("adore", "good"), ("loathe", "bad"))
]
TRAIN, VAL = ROWS[:12], ROWS[12:]


class Steps(dspy.Module):
    """Extract, then classify."""

    def __init__(self) -> None:
        super().__init__()
        self.extract = dspy.Predict(dspy.Signature("text -> topic", "Find the topic."))
        self.classify = dspy.ChainOfThought(dspy.Signature("text, topic -> label", "Tell the mood."))

    def forward(self, text: str) -> Any:
        """Return the mood of a text."""
        return self.classify(text=text, topic=self.extract(text=text).topic)


class Broken(Steps):
    """A program that fails before it asks anything."""

    def forward(self, text: str) -> Any:
        """Fail in a line of this file, below one of a library."""
        del text
        json.loads("1", object_hook=None, parse_int=_fail)


def _fail(digits: str) -> Any:
    raise ValueError("in forward")


class Reader:
    """A model in this process that is right about moods only where it is told to take words as they stand."""

    name = "reader"
    address = ""
    price = (0.0, 0.0)

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        """Answer in DSPy's chat layout; in any other the answer cannot be read."""
        self.requests.append(request)
        system, said = request.messages[0].content, request.messages[-1].content
        text = said.split("[[ ## text ## ]]\n")[-1].split("\n")[0]
        if "`topic` (str)" in system.partition("Your output fields are")[2].partition("All interactions")[0]:
            return Completion(f"[[ ## topic ## ]]\n{text.split()[-1]}\n\n[[ ## completed ## ]]")
        known = "as they stand" in system
        label = ("good" if "adore" in text else "bad") if known else "good"
        return Completion(f"[[ ## reasoning ## ]]\nSo.\n\n[[ ## label ## ]]\n{label}\n\n[[ ## completed ## ]]")


def right(example: Any, prediction: Any, trace: object = None) -> bool:
    """Compare labels."""
    return bool(example.label == prediction.label)


def explained(example: Any, prediction: Any) -> Any:
    """Compare labels, and say what would have been right."""
    return dspy.Prediction(score=float(example.label == prediction.label), feedback=f"It is {example.label}.")


def searched(metric: Any = right, **changes: Any) -> PromptSearch:
    """Make a search of a reader's programs."""
    return PromptSearch(metric, **{"model": Reader(), "budget": 500, "workers": 2} | changes)


def test_all_predictors_share_one_study() -> None:
    """The wording that makes the second predictor right is found, and the program that has it is returned."""
    student = Steps()
    search = searched(budget=800)  # ten seeds of ten find it; with 500 six do, and which depends on the processor

    best = search.compile(student, trainset=TRAIN, valset=VAL)

    params = search.found.best.params
    assert {name.rpartition(".")[0] for name in params} == {"extract", "classify.predict"}
    assert search.found.trials[0].score == 0.5
    assert search.found.best.score == 1.0
    assert params["classify.predict.instruction"] == "literal"
    assert "as they stand" in best.classify.predict.signature.instructions
    assert student.classify.predict.signature.instructions == "Tell the mood."
    assert type(student.extract) is dspy.Predict
    assert search.calls <= 800


def test_the_same_seed_finds_the_same_program() -> None:
    """Same seed, rows and answers: same trials."""
    searches = [searched(budget=120), searched(budget=120)]

    for search in searches:
        search.compile(Steps(), trainset=TRAIN, valset=VAL)

    first, second = ([(t.params, t.score) for t in search.found.trials] for search in searches)
    assert first == second


def test_what_a_metric_says_is_kept_beside_its_score() -> None:
    """A metric of two arguments may return a Prediction; its feedback stands in the outcomes."""
    search = searched(explained, budget=120)
    before = repr(search)

    search.compile(Steps(), trainset=TRAIN, valset=VAL)

    assert repr(search) == f"{before[:-1]}; best on dev {percent(search.found.best.score)} after {search.calls} calls>"
    outcomes = [o for trial in search.found.trials for o in trial.outcomes if o.kind is not Kind.UNPARSED]
    assert {"It is good.", "It is bad."} == {outcome.text for outcome in outcomes}


def test_an_answer_in_another_layout_is_unparsed_and_no_error() -> None:
    """What an adapter cannot read counts as a wrong answer, of a kind of its own."""
    search = searched(budget=100)

    search.compile(Steps(), trainset=TRAIN, valset=VAL)

    read = {o.kind for t in search.found.trials if t.params["extract.adapter"] == "json" for o in t.outcomes}
    assert read == {Kind.UNPARSED}


def test_calls_are_bought_once_and_never_above_the_budget(tmp_path: Path) -> None:
    """With `db` a second search buys nothing; without room for a look at the student it says so."""
    model, db = Reader(), tmp_path / "results.db"

    for _ in range(2):
        search = searched(model=model, db=db, budget=100)
        search.compile(Steps(), trainset=TRAIN, valset=VAL)
        asked = len(model.requests)

    assert asked == len(set(model.requests)) <= 100
    with pytest.raises(BudgetSpent, match="does not cover"):
        searched(budget=5).compile(Steps(), trainset=TRAIN, valset=VAL)


def test_a_language_model_of_the_users_own_is_asked_and_counted() -> None:
    """Without `model` the program asks the one that DSPy is configured with."""
    lm = DummyLM([{"label": "good"}] * 500)
    search = PromptSearch(right, budget=100, workers=2)

    with dspy.context(lm=lm):
        search.compile(dspy.Predict("text -> label"), trainset=TRAIN, valset=VAL)

    assert search.calls == 500 - len(list(lm.answers))
    assert search.calls <= 100 + 3 * 5  # a round of three blocks


def test_examples_of_the_teacher_are_shown_only_where_it_was_right() -> None:
    """A bootstrapped demo holds all fields of its step, and none comes from a row to compare on."""
    search = searched()

    search.compile(Steps(), trainset=TRAIN, valset=VAL)

    shown = [t.prompt.instruction for t in search.found.trials if t.params["classify.predict.demos"] == "bootstrapped"]
    assert shown
    assert all("loathe" not in text.partition('"classify.predict"')[2] for text in shown)  # the student says "good"
    assert not any(row.text in text for text in shown for row in VAL)
    assert all('"topic"' in text and '"reasoning"' in text for text in shown)


def test_a_program_that_was_found_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """Its state holds adapters and nearest examples; a student that is adapted takes it."""
    program = adapt(Steps())
    program.extract.adapter, program.extract.nearest = "xml", 2
    program.extract.demos = [dspy.Example(text=row.text, topic="x") for row in TRAIN]
    program.save(str(tmp_path / "program.json"))

    loaded = adapt(Steps())
    loaded.load(str(tmp_path / "program.json"))

    assert (loaded.extract.adapter, loaded.extract.nearest, len(loaded.extract.demos)) == ("xml", 2, len(TRAIN))


def test_the_nearest_examples_stand_last() -> None:
    """Of a pool, those most like the input are shown, the most similar one last."""
    predictor = AdaptedPredict("text -> label")
    predictor.demos, predictor.nearest = [dspy.Example(text=row.text, label=row.label) for row in ROWS], 3
    lm = DummyLM([{"label": "good"}])

    with dspy.context(lm=lm):
        predictor(text="I adore the lamp very much")

    shown = re.findall(r"I (?:adore|loathe) the \w+", "\n".join(m["content"] for m in lm.history[-1]["messages"][:-1]))
    assert len(shown) == 3
    assert shown[-1] == "I adore the lamp"


def test_calls_go_to_a_server_many_at_a_time(server: ChatServer) -> None:
    """A model over the network answers through the ledger, in DSPy's layouts."""
    search = PromptSearch(right, model="openai/gpt-test", api_base=server.url, budget=60, workers=4)
    server.wait(Latency(median=0.05))

    search.compile(dspy.Predict("text -> label: Literal['good', 'bad']"), trainset=TRAIN, valset=VAL)

    kinds = {outcome.kind for trial in search.found.trials for outcome in trial.outcomes}
    assert kinds <= {Kind.RIGHT, Kind.WRONG, Kind.UNPARSED}
    assert 0 < len(server.log) <= 60
    assert max(asked.flying for asked in server.log) > 1


@pytest.mark.parametrize("given", [2, -0.5, None, "0.7", dspy.Prediction(feedback="no score")])
def test_what_is_no_score_is_refused(given: Any) -> None:
    """A score is a number from 0 to 1."""
    with pytest.raises(MetricError, match="a number from 0 to 1"):
        Judged(lambda example, prediction: given)(ROWS[0], dspy.Prediction(label="good"))


@pytest.mark.parametrize(
    ("student", "train", "changes", "said"),
    [
        (dspy.Module(), TRAIN, {}, "no dspy.Predict"),
        (Steps, TRAIN, {}, "the class Steps was given as a program; allowed: an object of a dspy.Module"),
        (right, TRAIN, {}, "a function was given as a program"),
        (Steps(), [{"text": "a", "label": "b"}] * 9, {}, "example 1: a dict was given; allowed: a dspy.Example"),
        (
            Broken(),
            TRAIN,
            {},
            r"\(test_teleprompter.py, line \d+: ValueError: in forward\)\. Check what failed",
        ),
        (Steps(), TRAIN, {"budget": 0}, "PromptSearch: `budget` = 0: must be greater than 0"),
        (Steps(), TRAIN, {"budget": -5}, "PromptSearch: `budget` = -5: must be greater than 0"),
        (Steps(), TRAIN[:3], {}, "at least 4 of each"),
        (Steps(), VAL, {}, "0 examples to learn from"),
        (Steps(), [dspy.Example(text="a", label="b")] * 9, {}, "with_inputs"),
        (Steps(), TRAIN, {"instructions": {"other": ["Go."]}}, "no predictor 'other'; allowed: extract"),
        (Steps(), TRAIN, {"metric": lambda example, prediction: 1 / 0}, "the metric failed"),
    ],
)
def test_what_cannot_be_used_is_refused(student: Any, train: Sequence[Any], changes: dict[str, Any], said: str) -> None:
    """One clear error."""
    with pytest.raises(InputError, match=said):
        searched(**changes).compile(student, trainset=train, valset=VAL)


def test_the_search_starts_from_the_program_as_it_is() -> None:
    """With the layout that DSPy is configured with; one that was tuned before keeps its own, and its nearest demos."""
    search, again = searched(budget=60), searched(budget=60)
    with dspy.context(adapter=dspy.JSONAdapter()):
        search.compile(Steps(), trainset=TRAIN, valset=VAL)
    tuned = adapt(Steps())
    tuned.extract.adapter, tuned.extract.nearest = "xml", 2
    tuned.extract.demos = [dspy.Example(text=f"I like {n}", topic=n) for n in "abcd"]

    again.compile(tuned, trainset=TRAIN, valset=VAL)

    first, second = (json.loads(each.found.trials[0].prompt.instruction) for each in (search, again))
    assert {step["adapter"] for step in first.values()} == {"json"}
    assert (second["extract"]["adapter"], second["extract"]["nearest"], len(second["extract"]["demos"])) == (
        "xml",
        2,
        4,
    )
    assert second["classify.predict"]["adapter"] == "chat"
