"""A task file: task.toml -> Task, validated, with the file and the key that is wrong.

Knows what a task may say, not what is in its data.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SkipValidation,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from optimizer.complaints import complaint, keys
from optimizer.errors import TaskError, one_of
from optimizer.kinds import KINDS
from optimizer.metrics import METRICS
from optimizer.model_tables import STRICT, Address, Judge, ModelSpec, Name, Price, Proposer, Teacher
from optimizer.own_metric import is_own
from optimizer.tables import Table
from search_spaces.templates import text_template

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator takes
# More rows of one file make no verdict noticeably sharper: 5,000 dev and as many test rows show gains of two points.
MAX_ROWS = 20_000
# Below this three splits are no use.
FEWEST_ROWS = 12


class _Section(BaseModel):
    model_config = STRICT


def _listed(value: object) -> object:
    """Take one name for a list of it."""
    return [value] if isinstance(value, str) else value


def _shape(labels: object) -> str | None:
    return "list" if isinstance(labels, list) else "table" if isinstance(labels, dict) else None


Labels = Annotated[
    Annotated[list[Name], Tag("list")] | Annotated[dict[Name, str], Tag("table")],
    Discriminator(_shape, "no_labels", "must be a list of names, or a table of names and descriptions"),
]


def _one_line(text: str) -> str:
    if "".join(text.splitlines()) != text:
        raise ValueError("must stand on one line. Name a person or a team, and how to reach them.")
    return text


class About(_Section):
    """`[task]`: what is wanted.

    `labels` is the closed list of answers of a classification (read from the data when left out), as names or as
    a table of names and descriptions; from lowest to highest where the metric compares by order. `metric` is one of
    those that suit the kind, or module:function for a function of the user's own. `responsible` is who answers for the
    prompt that is found; it stands in its card.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,80}$")]  #: what the run is called
    kind: Literal["classification", "multilabel", "extraction", "qa", "generation"] = "classification"  #: of task
    description: str = ""  #: the task in a sentence; a wording of the space uses it
    labels: Labels = []  #: the closed list of answers; left out, they are read from the data
    metric: str = ""  #: what is maximized; left out, the usual one of the kind
    responsible: Annotated[str, AfterValidator(_one_line)] = ""  #: who answers for the prompt; stands in its card

    @model_validator(mode="after")
    def _known_metric(self) -> About:
        suited = [name for name, metric in METRICS.items() if self.kind in metric.kinds]
        if self.metric and self.metric not in suited and not is_own(self.metric):
            raise ValueError(one_of("metric", self.metric, [*suited, "module:function"], f"(for {self.kind})"))
        return self


class Data(_Section):
    """`[data]`: where the rows are and what their columns mean.

    `group` keeps rows of equal value together in one split; `slices` are columns to report the scores by. `ood` is a
    file with the same columns, of rows from elsewhere, which every contender answers after the test rows; `unlabelled`
    is one of rows that the winner labels, for the baseline to learn from. Of a file with more than `max_rows` rows so
    many are drawn with `seed`, as `sampling` says; 0 uses all. Of an SQLite file `query` says which rows are meant.
    `demos` is a file of examples to show as they are, with the columns of inputs and target, and perhaps `reasoning`.
    """

    file: Name  #: CSV, TSV, JSONL, JSON, Parquet or an SQLite file, beside the task file
    query: str = ""  #: what an SQLite file is asked: SELECT … ORDER BY …
    inputs: Annotated[list[Name], Field(min_length=1)]  #: the columns that are shown
    target: Name  #: the column with the wanted answer
    answers: str = ""  #: a column with a list of accepted answers
    id: str = ""  #: a column that tells rows apart; left out, they are numbered
    group: str = ""  #: a column whose equal values stay in one split
    slices: list[str] = []  #: columns that scores are broken down by
    ood: str = ""  #: a file of rows from another domain
    unlabelled: str = ""  #: a file of rows without a target
    demos: str = ""  #: a file of examples to show as they are, where demos = "given"
    split_column: str = ""  #: a column that says train, dev or test
    train: Fraction = 0.5  #: share of the rows that demos and baselines learn from
    dev: Fraction = 0.25  #: share of the rows that the search looks at
    test: Fraction = 0.25  #: share of the rows that are sealed
    seed: Seed = 0  #: seed of splits and sample
    max_rows: Annotated[int, Field(ge=0)] = MAX_ROWS  #: rows that are drawn of a larger file; 0 uses all

    @model_validator(mode="after")
    def _whole(self) -> Data:
        if 0 < self.max_rows < FEWEST_ROWS:
            raise ValueError(f"max_rows = {self.max_rows}; it must be at least {FEWEST_ROWS}, or 0 for all rows")
        if abs(self.train + self.dev + self.test - 1) > 1e-6:
            total = self.train + self.dev + self.test
            raise ValueError(f"train + dev + test = {total:g}; they must sum to 1")
        return self


class Bounds(_Section):
    """`[search.constraints]`: what the winner must keep; 0 is no limit. `min_recall` maps label -> least recall."""

    max_cost_per_1000: Annotated[float, Field(ge=0)] = 0.0  #: US dollars that 1,000 rows may cost
    max_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0  #: mean tokens that a prompt may have
    min_recall: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}  #: the least recall of labels


class Search(_Section):
    """`[search]`: how long and how to look.

    `calls` is the number of answers on dev rows that the search may look at, bought or not; `trials` the most prompts
    it opens; `block` the dev rows that a prompt is asked at a time. `max_calls`, `max_usd`, `max_tokens` and
    `max_minutes` cap what is spent in all; 0 means no cap. `pruner` ends trials of the samplers other than "pooled".
    With `ablate` the dev rows are also answered with each of the winner's ingredients set back to the seed prompt's.
    With `pareto` cheap and fast prompts are looked for as well; the best score that keeps the `constraints` wins.
    """

    sampler: Literal["pooled", "tpe", "random", "gp"] = "pooled"  #: who proposes; all but pooled are controls
    pruner: Literal["halving", "racing", "none"] = "halving"  #: what ends the trials of a control
    calls: Annotated[int, Field(gt=0)] = 2000  #: answers on dev rows that may be looked at, bought or not
    trials: Annotated[int, Field(gt=0, le=500)] = 300  #: prompts that may be opened
    max_calls: Annotated[int, Field(ge=0)] = 0  #: cap on calls bought, the verdict included; 0 is none
    max_usd: Annotated[float, Field(ge=0)] = 0.0  #: cap on US dollars; 0 is none
    max_tokens: Annotated[int, Field(ge=0)] = 0  #: cap on tokens, asked and answered; 0 is none
    max_minutes: Annotated[float, Field(ge=0)] = 0.0  #: cap on minutes of work; 0 is none
    block: Annotated[int, Field(gt=0)] = 5  #: dev rows that a prompt is asked at a time
    seed: Seed = 0  #: seed of the search
    ablate: bool = False  #: whether the winner's ingredients are set back one by one
    pareto: bool = False  #: whether cheap and fast prompts are looked for
    worked: Annotated[int, Field(ge=0)] = 0  #: training rows answered with reasoning first, to be shown with it
    constraints: Bounds = Bounds()  #: what the winner must keep


class EncoderSpec(_Section):
    """`[baseline.encoder]`: the sentence encoder, as a folder, a name on the hub, or an embedding model of LiteLLM.

    `price` is US dollars for a million tokens of an embedding model, where the price table is wrong or silent.
    """

    model: str = ""  #: a folder, owner/name on the hub, or an embedding model
    api_base: Address = ""  #: address of a server; left out, the provider's
    price: Annotated[float, Field(ge=0)] | None = None  #: US dollars for a million tokens


class LoraSpec(_Section):
    """`[baseline.lora]`: the small language model that is fine-tuned here, as a folder or a name on the hub."""

    model: str = ""  #: a folder, or owner/name on the hub


class TuningSpec(_Section):
    """`[baseline.provider]`: the model that its provider fine-tunes, such as openai/gpt-4o-mini-2024-07-18.

    `epochs` are the passes over the training rows; `training_price` is US dollars for a million trained tokens, without
    which no cap on dollars can be kept; `price` is that of the tuned model's answers.
    """

    model: str = ""  #: the model that is tuned
    api_base: Address = ""  #: address of a server; left out, the provider's
    epochs: Annotated[int, Field(gt=0, le=50)] = 3  #: passes over the training rows
    jobs: Annotated[int, Field(gt=0, le=20)] = 1  #: jobs that may be paid for, each with another learning rate
    training_price: Annotated[float, Field(ge=0)] | None = None  #: US dollars for a million trained tokens
    price: Price | None = None  #: what the tuned model costs


Kind = Literal["auto", "linear", "encoder", "lora", "provider"]


class Baseline(_Section):
    """`[baseline]`: which kinds of rivals are trained, beside the linear one, and how long each may be searched.

    `kinds` is "auto", which takes each that a model is named for, that is installed and that costs nothing, or a list.
    `trials` and `seconds` end the search of the hyperparameters of each; `label_cost` is US dollars for a labelled row.
    """

    kinds: Annotated[list[Kind], BeforeValidator(_listed)] = ["auto"]  #: which are trained
    trials: Annotated[int, Field(gt=0)] = 15  #: sets of hyperparameters that each kind may try
    seconds: Annotated[float, Field(gt=0)] = 60.0  #: seconds that each kind may take
    label_cost: Annotated[float, Field(ge=0)] = 0.0  #: US dollars for a labelled row
    encoder: EncoderSpec = EncoderSpec()  #: for the kind encoder
    lora: LoraSpec = LoraSpec()  #: for the kind lora
    provider: TuningSpec = TuningSpec()  #: for the kind provider


class Extras(_Section):
    """`[verdict]`: what else it looks into, of what costs further calls; it is left out if the caps do not cover it.

    `swaps` are pairs of terms; test rows in which one stands are answered again with the other in its place. With
    `robustness` the winner answers test rows under changes that should not matter: noise, demo orders, other wordings.
    With `hint` it answers the test rows with the baseline's guess beside each, and with `picked_demos` with demos that
    the baseline picks for each. `tuned_search` is the number of answers on dev rows that a second search may look at,
    for a prompt of the model that its provider has tuned; 0 searches none.
    """

    hint: bool = False  #: the winner with the baseline's guess beside each input
    picked_demos: bool = False  #: the winner with demos that the baseline picks for each input
    tuned_search: Annotated[int, Field(ge=0)] = 0  #: answers to look at for a prompt of the tuned model
    robustness: bool = False  #: the winner under changes that should not matter
    swaps: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = []  #: terms to swap

    @field_validator("swaps")
    @classmethod
    def _once(cls, pairs: list[list[str]]) -> list[list[str]]:
        terms = [term.casefold() for pair in pairs for term in pair]
        twice = sorted({term for term in terms if terms.count(term) > 1 or not term.strip()})
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice; a term has one counterpart. Leave the other pair out.")
        return pairs


class Layout(_Section):
    """`[templates.NAME]`: a template of one's own, told by its pieces' shapes; what is left out is as in "plain"."""

    head: str | None = None  #: around the instruction, `{body}`
    section: str | None = None  #: a part with its title: `{title}`, `{gap}` (a line's end before long parts), `{body}`
    field: str | None = None  #: an input, `{value}`, with its `{name}`
    worked: str | None = None  #: the answer of an example, `{value}`, with its `{name}`
    example: str | None = None  #: around an example, `{body}`, with its `{number}`
    query: str | None = None  #: around the inputs of the row that is asked, `{body}`
    cue: str | None = None  #: the last words, which the answer follows, with its `{name}`
    tags: bool | None = None  #: whether names are written as tags are


class Task(_Section):
    """A whole task file. Paths are relative to `folder`; `rows` stand for the data file, if there are any."""

    task: About  #: what is wanted
    data: Data  #: where the rows are
    model: ModelSpec = ModelSpec()  #: who answers
    search: Search = Search()  #: how long and how to look
    baseline: Baseline = Baseline()  #: who else is trained
    verdict: Extras = Extras()  #: what else is asked at the end
    judge: Judge | None = None  #: who scores, for the metric judge
    proposer: Proposer = Proposer()  #: who proposes wordings
    teacher: Teacher = Teacher()  #: who reasons about rows for worked demos
    templates: dict[Name, Layout] = {}  #: templates of one's own, beside the built-in ones
    space: dict[str, Any] = {}  #: dimension -> what it is locked to, narrowed to or extended by
    seed: dict[str, Any] = {}  #: dimension -> value of the seed prompt
    folder: Path = Field(default=Path(), exclude=True)
    rows: SkipJsonSchema[SkipValidation[Table | None]] = Field(default=None, exclude=True)

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
        """The model that proposes wordings, if one is to be asked."""
        asked = self.proposer.model or self.model
        silent = "none" if self.proposer.model else "embedded"
        return None if asked.name == silent else asked

    @property
    def teaching(self) -> ModelSpec | None:
        """The model that reasons about training rows, if it is not the task's own."""
        asked = self.teacher.model
        return None if asked is None or asked.name == "none" else asked

    @property
    def data_file(self) -> Path:
        """Where the rows are."""
        return self.folder / self.data.file

    @property
    def metric(self) -> str:
        """The objective: the one named, or the usual one of the kind."""
        return self.task.metric or KINDS[self.task.kind].usual


def load_task(path: str | Path, *, rows: object = None) -> Task:
    """Read and validate a task file.

    Parameters
    ----------
    path
        The task file.
    rows
        Rows in the place of its data file: a data frame, a data set, or any list that `make_task` takes.

    Raises
    ------
    TaskError
        If the file cannot be read, is no TOML, or holds a key or value that is not allowed. The message names
        the file and the line or key.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
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
    from optimizer.handed import as_table

    return task.model_copy(update={"rows": as_table(rows)})


def parse_task(text: str, path: Path) -> Task:
    """Validate the text of the task file at a path; see `load_task`."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{path}: not valid TOML: {error}. Mend that line.") from None
    except ValueError:
        raise TaskError(f"{path}: holds a number of thousands of digits. Shorten it.") from None
    except RecursionError:
        raise TaskError(f"{path}: holds values nested too deeply. A task file needs three levels.") from None
    return check_task(content, str(path)).model_copy(update={"folder": path.parent})


def check_task(content: Mapping[str, Any], source: str) -> Task:
    """Validate the content of a task file; `source` is what an error names.

    Raises
    ------
    TaskError
        If it holds a key or value that is not allowed.
    """
    for ours in {"folder", "rows"} & set(content):
        raise TaskError(f"{source}: {one_of('section', ours, keys(Task))}")
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        raise TaskError("\n".join(f"{source}: {complaint(detail, Task)}" for detail in error.errors())) from None
