"""Reading a task file (task.toml) as a validated Task; errors name the file and the key.

Knows the rules for a task as a whole (those for each section are in `task_sections`), not what is in its data.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SkipValidation, ValidationError, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from optimizer.complaints import complaint, keys
from optimizer.errors import TaskError, kind_of, one_of
from optimizer.kinds import KINDS
from optimizer.rows.tables import Table
from optimizer.task_sections import (
    MODEL,
    OF_ONE_MODEL,
    About,
    Baseline,
    Data,
    Extras,
    Judge,
    Layout,
    ModelSpec,
    Name,
    Proposer,
    Search,
    Section,
    Teacher,
)
from search_spaces.templates import text_template


class Task(Section):
    """A whole task file.

    Paths are relative to `folder`; errors name `file`, its own path. If a program passed them, `rows` replace the data
    file, and `scorer` is the function of the metric.
    """

    task: About  #: what is wanted
    data: Data  #: where the rows are
    model: ModelSpec = ModelSpec()  #: who answers
    search: Search = Search()  #: how long and how to look
    baseline: Baseline = Baseline()  #: who else is trained
    verdict: Extras = Extras()  #: what else is asked at the end
    judge: Judge | None = None  #: who scores, for the metric judge
    proposer: Proposer = Proposer()  #: who proposes wordings
    teacher: Teacher = Teacher()  #: who reasons about rows for worked demos
    templates: dict[Name, Layout] = Field(default_factory=dict)  #: templates of one's own, beside the built-in ones
    space: dict[str, Any] = Field(default_factory=dict)  #: dimension -> what it is locked to, narrowed to, extended by
    seed: dict[str, Any] = Field(default_factory=dict)  #: dimension -> value of the seed prompt
    folder: Path = Field(default=Path(), exclude=True)
    file: SkipJsonSchema[str] = Field(default="", exclude=True, repr=False)
    rows: SkipJsonSchema[SkipValidation[Table | None]] = Field(default=None, exclude=True, repr=False)
    scorer: SkipJsonSchema[SkipValidation[Callable[..., Any] | None]] = Field(default=None, exclude=True, repr=False)

    @field_validator("templates")
    @classmethod
    def _read_back(cls, templates: dict[str, Layout]) -> dict[str, Layout]:
        for name, layout in templates.items():
            try:
                text_template(name, layout.model_dump(exclude_none=True))
            except ValueError as error:
                raise ValueError(f"[templates.{name}]: {error}.") from None
        return templates

    @model_validator(mode="after")
    def _has_judge(self) -> Task:
        if self.task.metric == "judge" and self.judge is None:
            raise ValueError(
                '`judge` is missing. Add a [judge] section with model, such as model = "openai/gpt-4o-mini".'
            )
        return self

    @model_validator(mode="after")
    def _one_set(self) -> Task:
        if self.task.kind == "multilabel" and self.data.answers:
            given = f"answers = {self.data.answers!r}"
            raise ValueError(f"{given}; a multilabel target holds all labels of its row. Leave it out of [data].")
        return self

    @property
    def proposing(self) -> ModelSpec | None:
        """The model that proposes wordings; None if none does."""
        asked = self.proposer.model or self.model
        silent = "none" if self.proposer.model else "embedded"
        return None if asked.name == silent else asked

    @property
    def proposal_tokens(self) -> int:
        """Most tokens of a proposer's reply; 0 for the default. The limit on answers to rows does not apply."""
        return (self.proposer.model.max_tokens if self.proposer.model else None) or 0

    @property
    def teaching(self) -> ModelSpec | None:
        """The model that reasons about training rows; None if it is the task's own."""
        asked = self.teacher.model
        return None if asked is None or asked.name == "none" else asked

    @property
    def data_file(self) -> Path:
        """The path of the data file."""
        return self.folder / self.data.file

    @property
    def metric(self) -> str:
        """The name of the metric: the one given, or the default of the kind."""
        return self.task.metric or KINDS[self.task.kind].usual


APART = [name for name, field in Task.model_fields.items() if field.exclude]  # fields that a task file cannot have


def load_task(path: str | Path, *, rows: object = None) -> Task:
    """Read and validate a task file.

    Parameters
    ----------
    path
        The task file.
    rows
        Rows that replace its data file: a data frame, a data set, or any list that `make_task` takes.

    Raises
    ------
    TaskError
        If the file cannot be read, is not TOML, or has a key or value that is not allowed. The message names the file
        and the line or key.
    """
    if not isinstance(path, str | Path):
        raise TaskError(
            f"{kind_of(path)} was given as a task; allowed: the path of a task file, or a task. Make one of rows with "
            "make_task(rows, inputs=..., target=...)."
        )
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe could block
        raise TaskError(f"{path}: is not a regular file. Name a task file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TaskError(f"{path}: no such task file. Make one with `phrasetune init DATA_FILE`.") from None
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 (byte {error.start}). Save the file as UTF-8.") from None
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}). Name a readable task file.") from None
    task = parse_task(text, path)
    if rows is None:
        return task
    from optimizer.rows.handed import as_table

    return task.model_copy(update={"rows": as_table(rows)})


def parse_task(text: str, path: Path) -> Task:
    """Validate the text of a task file; `path` is its path. See `load_task`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{path}: not valid TOML: {error}. Mend that line.") from None
    except ValueError:
        raise TaskError(f"{path}: holds a number of thousands of digits. Shorten it.") from None
    except RecursionError:
        raise TaskError(f"{path}: holds values nested too deeply. A task file needs three levels.") from None
    return check_task(content, str(path)).model_copy(update={"folder": path.parent, "file": str(path)})


def with_models(task: Task, named: Mapping[str, str]) -> Task:
    """Return the task with other models, given as role -> name, as if the task file named them.

    Raises
    ------
    TaskError
        If a name is not allowed.
    """
    content = task.model_dump(mode="json", exclude_unset=True)
    name_models(content, named)
    return remade(task, content, "tune")


def name_models(content: dict[str, Any], named: Mapping[str, str]) -> None:
    """Change the models in the content of a task: role -> name.

    If the name changes, price and context are dropped; if the provider changes, the address is, too.
    """
    for role, name in named.items():
        section = content.get(role) or {}
        told = section if role == MODEL else section.get("model") or {}
        before = told.get("name", name)  # without a name, the section's keys are kept for the new one
        lost = (
            *(OF_ONE_MODEL if name != before else ()),
            *(("api_base",) if _provider(name) != _provider(before) else ()),
        )
        told = {key: value for key, value in told.items() if key not in lost}
        told = {**told, "name": name}
        content[role] = told if role == MODEL else {**section, "model": told}


def _provider(name: str) -> str:
    """Name who serves a model; LiteLLM takes a bare name for OpenAI's, and has two names for Ollama."""
    provider, slash, _ = name.partition("/")
    return "ollama" if provider == "ollama_chat" else provider if slash or name == "embedded" else "openai"


def remade(task: Task, content: Mapping[str, Any], source: str) -> Task:
    """Return a task with changed content, keeping the fields that a task file cannot have; see `check_task`."""
    return check_task(content, source).model_copy(update={name: getattr(task, name) for name in APART})


def check_task(content: Mapping[str, Any], source: str) -> Task:
    """Validate the content of a task file; `source` is its name in errors.

    Raises
    ------
    TaskError
        If it has a key or value that is not allowed.
    """
    for ours in set(APART) & set(content):
        raise TaskError(f"{source}: {one_of('section', ours, keys(Task))}")
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        raise TaskError("\n".join(f"{source}: {complaint(detail, Task)}" for detail in error.errors())) from None
