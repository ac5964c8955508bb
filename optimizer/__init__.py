"""phrasetune: prompts as hyperparameters, and the answer to "fine-tune or prompt?".

The public names, each imported when it is first used:

    from optimizer import tune, load_task, history, export
    tuned = tune("task.toml")
    tuned.verdict.sentence
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimizer.version import __version__

if TYPE_CHECKING:
    from optimizer.archive import History, history
    from optimizer.classifier import PromptClassifier
    from optimizer.errors import PhrasetuneError
    from optimizer.making import make_task
    from optimizer.models import register_embedded
    from optimizer.outlook import plan
    from optimizer.predicting import predict
    from optimizer.programs.adapted import adapt
    from optimizer.programs.teleprompter import PromptSearch
    from optimizer.progress_lines import progress
    from optimizer.prompt_export import export
    from optimizer.proposals.wordings import add_wording
    from optimizer.rechecking import recheck
    from optimizer.task import load_task
    from optimizer.tuned import Tuned
    from optimizer.tuning import tune
    from optimizer.watch import Watch

__all__ = [
    "History",
    "PhrasetuneError",
    "PromptClassifier",
    "PromptSearch",
    "Tuned",
    "Watch",
    "__version__",
    "adapt",
    "add_wording",
    "export",
    "history",
    "load_task",
    "make_task",
    "plan",
    "predict",
    "progress",
    "recheck",
    "register_embedded",
    "tune",
]

_HOME = {
    "History": "archive",
    "PhrasetuneError": "errors",
    "PromptClassifier": "classifier",
    "PromptSearch": "programs.teleprompter",
    "Tuned": "tuned",
    "Watch": "watch",
    "adapt": "programs.adapted",
    "add_wording": "proposals.wordings",
    "export": "prompt_export",
    "history": "archive",
    "load_task": "task",
    "make_task": "making",
    "plan": "outlook",
    "predict": "predicting",
    "progress": "progress_lines",
    "recheck": "rechecking",
    "register_embedded": "models",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is asked for
    if name not in _HOME:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"optimizer.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
