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
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from optimizer.complaints import complaint, keys
from optimizer.errors import TaskError, one_of
from optimizer.faults import unfit_address
from optimizer.kinds import KINDS
from optimizer.metrics import METRICS
from optimizer.own_metric import is_own

Name = Annotated[str, Field(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator takes
# More rows of one file make no verdict noticeably sharper: 5,000 dev and as many test rows show gains of two points.
MAX_ROWS = 20_000
# Below this three splits are no use.
FEWEST_ROWS = 12


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,80}$")]
    kind: Literal["classification", "multilabel", "extraction", "qa", "generation"] = "classification"
    description: str = ""
    labels: Labels = []
    metric: str = ""
    responsible: Annotated[str, AfterValidator(_one_line)] = ""

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
    many are drawn with `seed`, as `sampling` says; 0 uses all.
    """

    file: Name
    inputs: Annotated[list[Name], Field(min_length=1)]
    target: Name
    answers: str = ""
    id: str = ""
    group: str = ""
    slices: list[str] = []
    ood: str = ""
    unlabelled: str = ""
    split_column: str = ""
    train: Fraction = 0.5
    dev: Fraction = 0.25
    test: Fraction = 0.25
    seed: Seed = 0
    max_rows: Annotated[int, Field(ge=0)] = MAX_ROWS

    @model_validator(mode="after")
    def _whole(self) -> Data:
        if 0 < self.max_rows < FEWEST_ROWS:
            raise ValueError(f"max_rows = {self.max_rows}; it must be at least {FEWEST_ROWS}, or 0 for all rows")
        if abs(self.train + self.dev + self.test - 1) > 1e-6:
            total = self.train + self.dev + self.test
            raise ValueError(f"train + dev + test = {total:g}; they must sum to 1")
        return self


class Price(_Section):
    """`[model.price]`: US dollars for a million tokens, where the price table is wrong or silent."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


def _fit(address: str) -> str:
    if address and (said := unfit_address(address)):
        raise ValueError(f"{said}.")
    return address


Address = Annotated[str, AfterValidator(_fit)]


class ModelSpec(_Section):
    """`[model]`: which model completes, and how it is reached. Keys come from the environment, never from here.

    `workers` caps the calls at a time; `timeout` is what one attempt may take and `patience` the longest wait between
    two, in seconds. Requests and tokens per minute are caps, too; 0 is none. `context` is how many tokens the model
    takes, prompt and answer together, where the price table is wrong or silent.
    """

    name: Name = "embedded"
    api_base: Address = ""
    price: Price | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    context: Annotated[int, Field(gt=0)] | None = None
    workers: Annotated[int, Field(gt=0, le=256)] = 8
    timeout: Annotated[float, Field(gt=0)] = 60.0
    patience: Annotated[float, Field(ge=0)] = 60.0
    requests_per_minute: Annotated[float, Field(ge=0)] = 0.0
    tokens_per_minute: Annotated[float, Field(ge=0)] = 0.0


class Bounds(_Section):
    """`[search.constraints]`: what the winner must keep; 0 is no limit. `min_recall` maps label -> least recall."""

    max_cost_per_1000: Annotated[float, Field(ge=0)] = 0.0
    max_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0
    min_recall: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}


class Search(_Section):
    """`[search]`: how long and how to look.

    `calls` is the number of answers on dev rows that the search may look at, bought or not; `trials` the most prompts
    it opens; `block` the dev rows that a prompt is asked at a time. `max_calls`, `max_usd`, `max_tokens` and
    `max_minutes` cap what is spent in all; 0 means no cap. `pruner` ends trials of the samplers other than "pooled".
    With `ablate` the dev rows are also answered with each of the winner's ingredients set back to the seed prompt's.
    With `pareto` the search looks for cheap and fast prompts as well; the best score wins, among the prompts that keep
    the `constraints`.
    """

    sampler: Literal["pooled", "tpe", "random", "gp"] = "pooled"
    pruner: Literal["halving", "racing", "none"] = "halving"
    calls: Annotated[int, Field(gt=0)] = 2000
    trials: Annotated[int, Field(gt=0, le=500)] = 300
    max_calls: Annotated[int, Field(ge=0)] = 0
    max_usd: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(ge=0)] = 0
    max_minutes: Annotated[float, Field(ge=0)] = 0.0
    block: Annotated[int, Field(gt=0)] = 5
    seed: Seed = 0
    ablate: bool = False
    pareto: bool = False
    constraints: Bounds = Bounds()


class EncoderSpec(_Section):
    """`[baseline.encoder]`: the sentence encoder, as a folder, a name on the hub, or an embedding model of LiteLLM.

    `price` is US dollars for a million tokens of an embedding model, where the price table is wrong or silent.
    """

    model: str = ""
    api_base: Address = ""
    price: Annotated[float, Field(ge=0)] | None = None


class LoraSpec(_Section):
    """`[baseline.lora]`: the small language model that is fine-tuned here, as a folder or a name on the hub."""

    model: str = ""


class TuningSpec(_Section):
    """`[baseline.provider]`: the model that its provider fine-tunes, such as openai/gpt-4o-mini-2024-07-18.

    `epochs` are the passes over the training rows; `training_price` is US dollars for a million trained tokens, without
    which no cap on dollars can be kept; `price` is that of the tuned model's answers.
    """

    model: str = ""
    api_base: Address = ""
    epochs: Annotated[int, Field(gt=0, le=50)] = 3
    training_price: Annotated[float, Field(ge=0)] | None = None
    price: Price | None = None


Kind = Literal["auto", "linear", "encoder", "lora", "provider"]


class Baseline(_Section):
    """`[baseline]`: which kinds of rivals are trained, beside the linear one, and how long each may be searched.

    `kinds` is "auto", which takes each that a model is named for, that is installed and that costs nothing, or a list.
    `trials` and `seconds` end the search of the hyperparameters of each; `label_cost` is US dollars for a labelled row.
    """

    kinds: Annotated[list[Kind], BeforeValidator(_listed)] = ["auto"]
    trials: Annotated[int, Field(gt=0)] = 15
    seconds: Annotated[float, Field(gt=0)] = 60.0
    label_cost: Annotated[float, Field(ge=0)] = 0.0
    encoder: EncoderSpec = EncoderSpec()
    lora: LoraSpec = LoraSpec()
    provider: TuningSpec = TuningSpec()


class Extras(_Section):
    """`[verdict]`: what else it looks into, of what costs further calls; it is left out if the caps do not cover it.

    `swaps` are pairs of terms; test rows in which one stands are answered again with the other in its place. With
    `robustness` the winner answers test rows under changes that should not matter: noise, demo orders, other wordings.
    With `hint` it answers the test rows with the baseline's guess beside each, and with `picked_demos` with demos that
    the baseline picks for each. `tuned_search` is the number of answers on dev rows that a second search may look at,
    for a prompt of the model that its provider has tuned; 0 searches none.
    """

    hint: bool = False
    picked_demos: bool = False
    tuned_search: Annotated[int, Field(ge=0)] = 0
    robustness: bool = False
    swaps: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = []

    @field_validator("swaps")
    @classmethod
    def _once(cls, pairs: list[list[str]]) -> list[list[str]]:
        terms = [term.casefold() for pair in pairs for term in pair]
        twice = sorted({term for term in terms if terms.count(term) > 1 or not term.strip()})
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice; a term has one counterpart. Leave the other pair out.")
        return pairs


def _named(model: object) -> object:
    """Take the name of a model for the table of it."""
    return {"name": model} if isinstance(model, str) else model


class Judge(_Section):
    """`[judge]`: for the metric "judge", the model that scores answers, by its name or as a table as `[model]` is one.

    `rubric` says what it judges by, `scale` its lowest and highest score.
    """

    model: ModelSpec
    rubric: str = ""
    scale: Annotated[list[int], Field(min_length=2, max_length=2)] = [1, 5]

    _named = field_validator("model", mode="before")(_named)

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: list[int]) -> list[int]:
        if not scale[0] < scale[1]:
            raise ValueError(f"{scale}; the first number must be the lower one.")
        return scale


class Proposer(_Section):
    """`[proposer]`: the model that proposes wordings, by its name or as a table as `[model]` is one.

    Left out, it is the task's own model, but for the embedded one, which has no words; "none" asks nobody.
    """

    model: ModelSpec | None = None

    _named = field_validator("model", mode="before")(_named)


class Task(_Section):
    """A whole task file. Paths are relative to `folder`."""

    task: About
    data: Data
    model: ModelSpec = ModelSpec()
    search: Search = Search()
    baseline: Baseline = Baseline()
    verdict: Extras = Extras()
    judge: Judge | None = None
    proposer: Proposer = Proposer()
    space: dict[str, Any] = {}
    seed: dict[str, Any] = {}
    folder: Path = Field(default=Path(), exclude=True)

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
    def data_file(self) -> Path:
        """Where the rows are."""
        return self.folder / self.data.file

    @property
    def metric(self) -> str:
        """The objective: the one named, or the usual one of the kind."""
        return self.task.metric or KINDS[self.task.kind].usual


def load_task(path: str | Path) -> Task:
    """Read and validate a task file.

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
    return parse_task(text, path)


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
    if "folder" in content:
        raise TaskError(f"{source}: {one_of('section', 'folder', keys(Task))}")
    try:
        return Task.model_validate(content)
    except ValidationError as error:
        raise TaskError("\n".join(f"{source}: {complaint(detail, Task)}" for detail in error.errors())) from None
