"""The user's own metric: a function in a module beside the task file, or one that a program passes.

The former runs code from a file, so it is used only if the user allows it. Knows where to look for the module and what
a score may be, but no task.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from optimizer.errors import TaskError
from optimizer.scores.metrics import Metric

# module:function or package.module:function; with a digest of its source if a program passed it.
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(?P<handed>@[0-9a-f]{8})?")
SHOWN = 80  # most characters of an answer in an error
EVERY_KIND = ("classification", "multilabel", "extraction", "qa", "generation")


def is_own(name: str) -> bool:
    """Return whether a metric's name is that of the user's function."""
    return NAME.fullmatch(name) is not None


def is_handed(name: str) -> bool:
    """Return whether a metric's name is that of a function that a program passed."""
    return bool((found := NAME.fullmatch(name)) and found["handed"])


def handed_name(function: object) -> str:
    """Return the name of a function that a program passes, module:function@digest: changed code is another metric.

    Raises
    ------
    TaskError
        If it is not a function with a name, if its source cannot be read, or if it uses variables of an enclosing
        function.
    """
    if not inspect.isfunction(function):
        raise TaskError(
            f"metric: a {type(function).__name__} was given; allowed: the name of a metric, or a function of an answer "
            "and an accepted answer. Write one with def."
        )
    name = f"{function.__module__}:{function.__name__}"
    try:
        source = inspect.getsource(function) if is_own(name) else ""
    except OSError:
        source = ""
    if not source:
        raise TaskError(
            f"metric {name!r}: has no name or no source that can be read, by which a run could be resumed. Write the "
            "function with def, in a file or a cell of a notebook."
        )
    if around := function.__code__.co_freevars:  # for a decorated function, these include the function itself
        raise TaskError(
            f"metric {name!r}: uses {', '.join(around)} of the function around it, so that its source does not tell "
            "what it does. Write it on its own."
        )
    told = f"{source}{function.__defaults__}{function.__kwdefaults__}"
    return f"{name}@{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def require_allowed(what: str, *, allowed: bool, instead: str = "leave it out") -> None:
    """Raise TaskError unless running the user's code is allowed; `what` names it, and `instead` is the alternative."""
    if not allowed:
        raise TaskError(
            f"{what} is code of your own, and is run only if that is allowed. Read it, then give --allow-code (from "
            f"Python allow_code=True), or {instead}."
        )


def load(name: str, folder: Path) -> Metric:
    """Import a module and make a metric of one of its functions; see `metric_of`.

    Parameters
    ----------
    name
        module:function; the module is a file of that name.
    folder
        The folder of the file.

    Raises
    ------
    TaskError
        If there is no such file or function, if the file cannot be run, and as in `metric_of`.
    """
    function, source = find(name, folder)
    return metric_of(name, function, hashlib.sha256(source).hexdigest()[:16])


def metric_of(name: str, function: Callable[..., Any], code: str) -> Metric:
    """Make a metric of a function.

    The function takes an answer and an accepted answer, both texts, and returns a score from 0 to 1, True or False, or
    an object or mapping with a `score` and a `feedback`. Of several accepted answers, the best score counts. If it has
    a parameter `inputs`, that gets the row's inputs, a dict of texts.

    Parameters
    ----------
    name, code
        Its name, and a digest of its source.
    function
        The function.

    Raises
    ------
    TaskError
        If it cannot be called so; later, when the metric is used, if it fails or returns no score.
    """
    takes, best = _takes_inputs(name, function), _best(name, function)
    return Metric(
        name,
        "your own",
        EVERY_KIND,
        lambda answer, targets, **inputs: best(answer, targets, **inputs)[0],
        inputs=takes,
        graded=True,
        feedback=lambda answer, targets, **inputs: best(answer, targets, **inputs)[1],
        code=code,
    )


def find(name: str, folder: Path, what: str = "metric", kind: str = "function") -> tuple[Callable[..., Any], bytes]:
    """Import the module of a name such as module:function; return the function and the module's source.

    Raises
    ------
    TaskError
        If there is no such file, if it has nothing callable of that name, or if it cannot be run. `what` and `kind` say
        in the message what the name is for.
    """
    module_name, _, function_name = name.partition(":")
    file = folder.joinpath(*module_name.split(".")).with_suffix(".py")
    try:
        source = file.read_bytes()
    except OSError as error:
        raise TaskError(
            f"{what} {name!r}: {file.absolute()} cannot be read ({error.strerror}). Put the module "
            "there: beside the task file, or without one in the current folder."
        ) from None
    function = getattr(_module(f"{what} {name!r}", module_name, file, source), function_name, None)
    if not callable(function):
        raise TaskError(f"{what} {name!r}: {file} has no {kind} {function_name!r}. Write it, or name another.")
    return function, source


def _module(who: str, module_name: str, file: Path, source: bytes) -> ModuleType:
    """Run exactly the source whose digest is kept: no cached bytecode, and no other module of the same name."""
    module = ModuleType(f"phrasetune_own_{module_name.replace('.', '_')}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look up their module
    folder = str(file.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that its modules hide no others
    try:
        exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - what --allow-code allows
    except (Exception, SystemExit) as error:
        raise TaskError(f"{who}: {_where(error, file)}. Mend the module.") from error
    return module


def _takes_inputs(name: str, function: Callable[..., Any]) -> bool:
    with suppress(ValueError):  # some functions written in C have no signature
        parameters = inspect.signature(function).parameters
        wanted: dict[str, Any] = {"inputs": {}} if "inputs" in parameters else {}
        try:
            inspect.signature(function).bind("answer", "target", **wanted)
        except TypeError as error:
            raise TaskError(
                f"metric {name!r}: cannot be called with an answer and an accepted answer ({error}). "
                "Write def NAME(answer, target), or def NAME(answer, target, inputs)."
            ) from None
        return bool(wanted)
    return False


def _best(name: str, function: Callable[..., Any]) -> Callable[..., tuple[float, str]]:
    """Return a function that gives the best score over the accepted answers, with its feedback; scores are cached."""
    known: dict[object, tuple[float, str]] = {}

    def one(answer: str, target: str, inputs: dict[str, dict[str, str]]) -> tuple[float, str]:
        key = (answer, target, *(tuple(given.items()) for given in inputs.values()))
        if key not in known:
            known[key] = _score(name, function, answer, target, inputs)
        return known[key]

    def best(answer: str, targets: Sequence[str], **inputs: dict[str, str]) -> tuple[float, str]:
        return max((one(answer, target, inputs) for target in targets), key=lambda scored: scored[0])

    return best


def _score(
    name: str, function: Callable[..., Any], answer: str, target: str, inputs: dict[str, dict[str, str]]
) -> tuple[float, str]:
    shown = f"({answer[:SHOWN]!r}, {target[:SHOWN]!r})"
    try:
        given = function(answer, target, **{key: dict(value) for key, value in inputs.items()})
    except (Exception, SystemExit) as error:
        where = _where(error, Path(function.__code__.co_filename) if hasattr(function, "__code__") else Path())
        raise TaskError(f"metric {name!r}: {shown}: {where}. Mend the function.") from error
    names = ("score", "feedback")
    told: Mapping[str, Any] = given if isinstance(given, Mapping) else {n: getattr(given, n, None) for n in names}
    bare = told.get("score") is None
    try:
        value = math.nan if isinstance(given, str | bytes) else float(given if bare else told["score"])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise TaskError(
            f"metric {name!r}: {shown} gave {given!r:.{SHOWN}}; a score is a number from 0 to 1, or True or False. "
            "Mend the function."
        )
    return value, str((not bare and told.get("feedback")) or "")


def _where(error: BaseException, file: Path) -> str:
    """Return the error in one line, with the file and line where it happened."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    said = " ".join(str(error).split())
    return f"{file}{f', line {line}' if line else ''}: {type(error).__name__}{f': {said}' if said else ''}"
