"""Runs DSPy programs on rows and scores them. A door of DSPy.

Many rows are answered at once. Calls go through a ledger if phrasetune makes them; otherwise the user's own language
model is asked, and its calls are counted. Knows no space and decides nothing.
"""

from __future__ import annotations

import inspect
import logging
import math
import sysconfig
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dspy
from dspy import lm15
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError

from optimizer.calls.clerk import Clerk
from optimizer.errors import BudgetSpent, InputError
from optimizer.phrases import agreed
from optimizer.records import CUT, Completion, Kind, Outcome, Request
from search_spaces.prompt import Message, Settings

ENGINES = (str(Path(__file__).parents[1]), str(Path(dspy.__file__).parent))
LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
ROOM = 1000  # tokens of an answer, if a program does not limit them
ENDS = {
    "length": "length",
    "content_filter": "content_filter",
}  # finish reasons in DSPy's terms; others are "stop"


class MetricError(InputError):
    """The user's own metric failed, or gave no score."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a program on a row: its prediction, or why there is none.

    `trace` holds (predictor, inputs, prediction) of each step; `score` and `feedback` come from the metric.
    `bought` are the completions of its calls, and `keys` their keys.
    """

    prediction: Any = None
    trace: tuple[Any, ...] = ()
    kind: Kind = Kind.ERROR
    score: float | None = None
    feedback: str = ""
    bought: tuple[Completion, ...] = ()
    keys: tuple[str, ...] = ()
    seconds: float = 0.0

    def outcome(self, example_id: str) -> Outcome:
        """Convert it to an outcome; the metric's feedback takes the place of a completion's text."""
        cost = sum(completion.cost for completion in self.bought)
        asked = sum(completion.prompt_tokens for completion in self.bought)
        tokens = asked + sum(completion.completion_tokens for completion in self.bought)
        told = None if self.prediction is None else str(dict(self.prediction.items()))
        seconds = sum(completion.seconds for completion in self.bought) or self.seconds
        cut = any(completion.finish_reason == CUT for completion in self.bought)
        took = (tokens, cost, seconds, self.feedback, 0, asked, cut, self.keys)
        return Outcome(example_id, self.kind, self.score, told, "", *took)


class Judged:
    """The user's own metric: (example, prediction, trace) -> a number, a bool, or a Prediction with `score`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        parameters = inspect.signature(function).parameters.values()
        places = sum(p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD} for p in parameters)
        self.traced = places > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)

    def __call__(self, example: Any, prediction: Any, trace: object = None) -> tuple[float, str]:  # noqa: ANN401
        """Return the score, from 0 to 1, and the metric's feedback.

        Raises
        ------
        MetricError
            If the metric fails, or returns anything else.
        """
        try:
            given = self.function(example, prediction, *([trace] if self.traced else []))
        except Exception as error:
            raise MetricError(
                f"the metric failed ({type(error).__name__}: {error}) on {str(example)[:200]}. Mend it."
            ) from error
        score = given.get("score") if isinstance(given, dspy.Prediction | dict) else given
        feedback = given.get("feedback", "") if isinstance(given, dspy.Prediction | dict) else ""
        try:
            value = math.nan if score is None or isinstance(score, str | bytes) else float(score)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 <= value <= 1:
            raise MetricError(
                f"the metric gave {str(given)[:80]}; a score is a number from 0 to 1, a bool, or a "
                "dspy.Prediction(score=..., feedback=...) of it. Mend it."
            )
        return value, str(feedback or "")


@dataclass
class _Asked:
    """A DSPy engine for one run of a program, answered by the ledger: the i-th of equal calls gets the i-th sample."""

    clerk: Clerk
    room: int
    bought: list[tuple[str, Completion]] = field(default_factory=list)
    seen: Counter[Request] = field(default_factory=Counter)
    failed: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer as a model would; raise if there is no answer, and keep why, as the program may catch it."""
        try:
            return self._answer(request)
        except Exception as error:
            self.failed = self.failed or f"{type(error).__name__}: {error}"
            raise

    def _answer(self, request: lm15.Request) -> lm15.Response:
        asked = _as_request(request, self.room)
        with self.lock:
            asked, self.seen[asked] = replace(asked, sample=self.seen[asked]), self.seen[asked] + 1
        key, completion = self.clerk.ask(asked)
        with self.lock:
            self.bought.append((key, completion))
        if completion.error:
            raise ConnectionError(completion.error)
        usage = lm15.Usage(completion.prompt_tokens, completion.completion_tokens)
        end = ENDS.get(completion.finish_reason, "stop")
        return lm15.Response(None, request.model, lm15.Message.assistant(completion.text), end, usage)


class _Strangers(BaseCallback):  # type: ignore[misc]
    """Notices language models that are asked beside the ledger."""

    def __init__(self, engine: _Asked) -> None:
        self.engine = engine
        self.names: set[str] = set()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ANN401
        """Keep the name of a model that is another one."""
        del call_id, inputs
        if getattr(instance, "engine", None) is not self.engine:
            self.names.add(str(getattr(instance, "model", type(instance).__name__)))

    def refuse(self) -> None:
        """Raise InputError if there was one."""
        if self.names:
            raise InputError(
                f"the program asks a language model of its own ({min(self.names)}): no cap holds for its calls, "
                "and they are not recorded. Let its steps ask the model that is tuned for; in Python, "
                "`PromptSearch` without `model` leaves all calls to the program."
            )


class _Tally(BaseCallback):  # type: ignore[misc] # DSPy has no types
    """Counts the calls of the user's own language model."""

    def __init__(self) -> None:
        self.calls = 0
        self.lock = threading.Lock()

    def on_lm_start(self, call_id: str, instance: object, inputs: dict[str, Any]) -> None:
        """Count one call."""
        del call_id, instance, inputs
        with self.lock:
            self.calls += 1


class _Heard(BaseCallback):  # type: ignore[misc]
    """Notes how the calls of the user's own language model ended in one run of a program."""

    answered = failed = False

    def on_lm_end(self, call_id: str, outputs: object, exception: Exception | None = None) -> None:
        """Note one call."""
        del call_id, outputs
        self.answered, self.failed = self.answered or exception is None, self.failed or exception is not None


@dataclass
class Runner:
    """Runs programs on rows, several at a time, and counts the calls.

    Without a `clerk`, the programs ask the language model that DSPy is configured with or that they bring. No row is
    then started once `calls` of them have been made; 0 means no limit. `room` is the maximum number of tokens of an
    answer if a program does not set one; 0 is the default. `raised` says where programs raised after their model had
    answered, which counts as a wrong answer: another prompt may make the model say what the program can use. `silent`
    says where they raised before any call: no prompt could have changed that, and the row has no score.
    """

    metric: Judged
    clerk: Clerk | None
    workers: int
    calls: int
    room: int = 0
    tally: _Tally = field(default_factory=_Tally)
    asked: int = 0
    raised: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def spent(self) -> int:
        """Calls so far; with a ledger those that were asked for, bought or cached."""
        return self.asked if self.clerk else self.tally.calls

    @property
    def odd(self) -> str:
        """A sentence on programs that raised; empty if none did."""
        kinds = (
            (self.raised, "after an answer", "counts as a wrong answer", "count as wrong answers"),
            (self.silent, "before any call", "has no score", "have no score"),
        )
        return "; ".join(
            f"the program raised {when} in "
            f"{agreed(len(said), f'run on a row, which {one}', f'runs on a row, which {many}')}; first: {said[0]}"
            for said, when, one, many in kinds
            if said
        )

    @property
    def defaults(self) -> dict[str, Any]:
        """What a call gets that sets no temperature or `max_tokens`; nothing if DSPy makes the calls."""
        return {"temperature": 0.0, "max_tokens": self.room or ROOM} if self.clerk else {}

    @property
    def bought(self) -> int:
        """How many of these calls were bought here; without a ledger, all."""
        return self.clerk.ledger.bought if self.clerk else self.spent

    def run(self, jobs: Sequence[tuple[Any, Any]], *, recalling: bool = False) -> list[Ran]:
        """Run each (program, example), in order; while `recalling`, only on completions that were bought before.

        Raises
        ------
        BudgetSpent
            If the calls are used up, before or meanwhile.
        MetricError
            If the metric fails.
        """
        if self.clerk is None and 0 < self.calls <= self.tally.calls:
            raise BudgetSpent(f"{self.tally.calls} calls were made, of {self.calls} allowed")
        done = self._run(jobs, recalling=recalling)
        self.asked += sum(len(ran.bought) for ran in done)
        return done

    def again(self, program: Any, example: Any) -> Ran | None:  # noqa: ANN401
        """Repeat a program's run on a row from the completions bought for it; None without a ledger."""
        return self._run([(program, example)], recalling=True)[0] if self.clerk else None

    def _run(self, jobs: Sequence[tuple[Any, Any]], *, recalling: bool) -> list[Ran]:
        if self.clerk:
            self.clerk.begin(recalling=recalling)
        with _counted_here(self.clerk), ThreadPoolExecutor(self.workers) as pool:
            try:
                work: list[Future[Ran]] = [pool.submit(copy_context().run, self._one, *job) for job in jobs]
                if self.clerk:
                    self.clerk.serve(work)
                wait(work)
            except BaseException as broken:
                if self.clerk:
                    self.clerk.leave(broken)
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [future.result() for future in work]

    def _one(self, program: Any, example: Any) -> Ran:  # noqa: ANN401
        """Run a program on a row; if it raises, there is no answer."""
        started, engine = time.perf_counter(), _Asked(self.clerk, self.room) if self.clerk else None
        prediction, trace, raised = None, list[Any](), None
        strangers, heard = _Strangers(engine) if engine else None, _Heard()
        try:
            with self._model(engine, strangers or heard), dspy.context(trace=trace, disable_history=True):
                prediction = program(**example.inputs())
        except Exception as error:  # noqa: BLE001 - a program may raise anything
            raised = error
        if strangers:
            strangers.refuse()
        if engine and engine.failed:  # whatever the program has made of it
            ran = Ran(feedback=engine.failed if raised is None else _raised(raised))
        elif isinstance(raised, AdapterParseError):
            ran = Ran(kind=Kind.UNPARSED, score=0.0, feedback=str(raised))
        elif raised is not None:
            ran = self._broke_off(_raised(raised), bool(engine.bought) if engine else heard.answered, heard.failed)
        else:
            score, feedback = self.metric(example, prediction)
            kind = Kind.RIGHT if score >= 1 else Kind.WRONG
            ran = Ran(prediction, tuple(trace), kind, score, feedback)
        keys, bought = zip(*engine.bought, strict=True) if engine and engine.bought else ((), ())
        return replace(ran, bought=bought, keys=keys, seconds=time.perf_counter() - started)

    def _broke_off(self, said: str, answered: bool, failed: bool) -> Ran:
        """Return the result of a program that raised: no answer if a call of its own model failed, or it made none."""
        if failed or not answered:
            self.silent += [] if failed else [said]
            return Ran(feedback=said)
        self.raised.append(said)
        return Ran(kind=Kind.UNPARSED, score=0.0, feedback=said)

    def _model(self, engine: _Asked | None, notes: BaseCallback) -> AbstractContextManager[Any]:
        if engine is None:
            told = [*(dspy.settings.callbacks or []), self.tally, notes]
            return dspy.context(callbacks=told)  # type: ignore[no-any-return]
        assert self.clerk is not None
        model = dspy.LM(self.clerk.ledger.model.name, engine=engine, cache=False, num_retries=0)
        return dspy.context(lm=model, callbacks=[*(dspy.settings.callbacks or []), notes])  # type: ignore[no-any-return]


@contextmanager
def _counted_here(clerk: Clerk | None) -> Iterator[None]:
    """Drop DSPy's warning for each answer that was cut off, if phrasetune counts them and tells once."""
    logger = logging.getLogger("dspy.clients.lm")

    def wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("LM response was truncated")

    if clerk:
        logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def _raised(error: Exception) -> str:
    """Describe an error, with its place if that is in the program's own code and not in DSPy or a library."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(ENGINES):
            break
        if not frame.filename.startswith(LIBRARIES):
            return f"{Path(frame.filename).name}, line {frame.lineno}: {type(error).__name__}: {error}"
    return f"{type(error).__name__}: {error}"


def _as_request(request: lm15.Request, room: int) -> Request:
    """Convert a DSPy request to ours, which is text only.

    Raises
    ------
    NotImplementedError
        If it contains anything else: that is never dropped silently.
    """
    config = request.config
    plain = lm15.Config(max_tokens=config.max_tokens, temperature=config.temperature)
    if request.tools or config != plain:
        raise NotImplementedError("only texts, temperature and max_tokens go through phrasetune: leave `model` out")
    system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
    turns = [(message.role, _text(message)) for message in request.messages]
    messages = [*([("system", system)] if system else []), *turns]
    settings = Settings(config.temperature or 0.0, config.max_tokens or room or ROOM)
    return Request(tuple(Message(role, text) for role, text in messages), settings)


def _text(message: lm15.Message) -> str:
    if not all(isinstance(part, lm15.TextPart) for part in message.parts):
        raise NotImplementedError("only texts go through phrasetune: leave `model` out for a program with others")
    return "".join(part.text for part in message.parts)
