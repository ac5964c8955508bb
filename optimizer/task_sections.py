"""The sections of a task file with their keys: allowed values and defaults.

The `#:` comments and the docstrings of the sections appear in the reference. `task` combines the sections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from optimizer.calls.faults import unfit_address
from optimizer.errors import one_of
from optimizer.scores.metrics import METRICS
from optimizer.scores.own_metric import is_own

Name = Annotated[str, Field(min_length=1, max_length=200)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # the range that every random generator accepts
# More rows would hardly make a verdict sharper: 5,000 dev and as many test rows show gains of two points.
MAX_ROWS = 20_000
# With fewer rows, three splits are useless.
FEWEST_ROWS = 12


MODEL = "model"  # the role of the model that answers
JUDGE, PROPOSER, TEACHER = ROLES = ("judge", "proposer", "teacher")  # recorded in results.db after a model's name


class Section(BaseModel):
    """Base of all sections: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show only the keys that were given; the others have their defaults."""
        return [(name, value) for name, value in super().__repr_args__() if name in self.model_fields_set]


def _listed(value: object) -> object:
    """Turn a single name into a list."""
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


class About(Section):
    """`[task]`: what the task is.

    `labels` is the closed list of answers of a classification (by default those in the data), as names or as a table of
    names and descriptions; from lowest to highest if the metric compares by order. `metric` is one of those that suit
    the kind, or module:function for your own function. `responsible` is who is responsible for the prompt that is
    found; the prompt card shows it.
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


class Data(Section):
    """`[data]`: where the rows are and what their columns mean.

    `group` keeps rows of equal value together in one split; `slices` are columns to report scores by. `ood` is a file
    of rows from another domain with the same columns, which every contender answers after the test rows; `unlabelled`
    is a file of rows that the winner labels, for the baseline to learn from. Of a file with more than `max_rows` rows,
    so many are drawn at random with `seed`; 0 uses all. `skip_empty` leaves out rows that cannot be used, with a note
    on how many. `query` selects the rows of an SQLite file. `demos` is a file of examples to show as they are, with the
    columns of inputs and target, and optionally `reasoning`.
    """

    file: Name  #: CSV, TSV, JSONL, JSON, Parquet or an SQLite file, beside the task file
    query: str = ""  #: what an SQLite file is asked: SELECT … ORDER BY …
    inputs: Annotated[list[Name], Field(min_length=1)]  #: the columns that are shown
    target: Name  #: the column with the wanted answer
    answers: str = ""  #: a column with a list of accepted answers, or one of them
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
    skip_empty: bool = False  #: whether rows without a wanted answer, or without any input, are left out
    max_rows: Annotated[int, Field(ge=0)] = MAX_ROWS  #: rows that are drawn of a larger file; 0 uses all

    @model_validator(mode="after")
    def _whole(self) -> Data:
        if 0 < self.max_rows < FEWEST_ROWS:
            raise ValueError(f"max_rows = {self.max_rows}; it must be at least {FEWEST_ROWS}, or 0 for all rows")
        if abs(self.train + self.dev + self.test - 1) > 1e-6:
            total = self.train + self.dev + self.test
            raise ValueError(f"train + dev + test = {total:g}; they must sum to 1")
        return self


class Price(Section):
    """`[model.price]`: US dollars per million tokens, if the price table is wrong or does not have the model."""

    input: Annotated[float, Field(ge=0)]  #: of what is asked
    output: Annotated[float, Field(ge=0)]  #: of what is answered


def _fit(address: str) -> str:
    if address and (said := unfit_address(address)):
        raise ValueError(f"{said}.")
    return address


Address = Annotated[str, AfterValidator(_fit)]


class ModelSpec(Section):
    """`[model]`: the model that answers, and how it is reached. Keys come from the environment, never from here.

    `workers` is the most calls at a time; `timeout` is how long one attempt may take, and `patience` the longest wait
    between two, in seconds. Requests and tokens per minute are caps, too; 0 means none. `context` is how many tokens
    the model takes, prompt and answer together, if the price table is wrong or does not have the model.
    """

    name: Name = "embedded"  #: as LiteLLM knows it, or embedded
    api_base: Address = ""  #: address of a server; left out, the provider's
    price: Price | None = None  #: what it costs
    max_tokens: Annotated[int, Field(gt=0)] | None = None  #: most tokens of an answer; else as the rows need
    context: Annotated[int, Field(gt=0)] | None = None  #: tokens that it takes, prompt and answer together
    workers: Annotated[int, Field(gt=0, le=256)] = 8  #: calls at a time
    timeout: Annotated[float, Field(gt=0)] = 60.0  #: seconds that one attempt may take
    patience: Annotated[float, Field(ge=0)] = 60.0  #: the longest wait between two attempts, in seconds
    requests_per_minute: Annotated[float, Field(ge=0)] = 0.0  #: a cap; 0 is none
    tokens_per_minute: Annotated[float, Field(ge=0)] = 0.0  #: a cap; 0 is none


OF_ONE_MODEL = ("price", "context")  # keys that do not apply to another model


class Bounds(Section):
    """`[search.constraints]`: limits for the winner; 0 means none. `min_recall` maps each label to its least recall."""

    max_cost_per_1000: Annotated[float, Field(ge=0)] = 0.0  #: US dollars that 1,000 rows may cost
    max_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0  #: mean tokens that a prompt may have
    min_recall: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}  #: the least recall of labels


class Search(Section):
    """`[search]`: how to search, and how long.

    `calls` is the number of answers on dev rows that the search may use, bought or cached; `trials` the most prompts
    that it tries; `block` the number of dev rows that a prompt answers at a time. `max_calls`, `max_usd`, `max_tokens`
    and `max_minutes` cap what is spent in total; 0 means no cap. `pruner` ends trials of the samplers other than
    "pooled". With `ablate`, the dev rows are also answered with each of the winner's ingredients reset to the seed
    prompt's. With `pareto`, the search also looks for cheap and fast prompts; the best score that keeps the
    `constraints` wins.
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


class EncoderSpec(Section):
    """`[baseline.encoder]`: the sentence encoder, as a folder, a name on the hub, or an embedding model of LiteLLM.

    `price` is US dollars per million tokens of an embedding model, if the price table is wrong or does not have it.
    """

    model: str = ""  #: a folder, owner/name on the hub, or an embedding model
    api_base: Address = ""  #: address of a server; left out, the provider's
    price: Annotated[float, Field(ge=0)] | None = None  #: US dollars for a million tokens


class LoraSpec(Section):
    """`[baseline.lora]`: the small language model that is fine-tuned here, as a folder or a name on the hub."""

    model: str = ""  #: a folder, or owner/name on the hub


class TuningSpec(Section):
    """`[baseline.provider]`: the model that its provider fine-tunes, such as openai/gpt-4o-mini-2024-07-18.

    `epochs` are the passes over the training rows; `training_price` is US dollars per million trained tokens, without
    which no cap on dollars can be kept; `price` is that of the tuned model's answers. If the tuned model is the
    baseline of the verdict, models are also tuned on each number of training rows in `curve`, for its learning curve.
    """

    model: str = ""  #: the model that is tuned
    api_base: Address = ""  #: address of a server; left out, the provider's
    epochs: Annotated[int, Field(gt=0, le=50)] = 3  #: passes over the training rows
    jobs: Annotated[int, Field(gt=0, le=20)] = 1  #: jobs that may be paid for, each with another learning rate
    curve: list[Annotated[int, Field(ge=10)]] = []  #: rows to tune on for a learning curve; each number is a paid job
    training_price: Annotated[float, Field(ge=0)] | None = None  #: US dollars for a million trained tokens
    price: Price | None = None  #: what the tuned model costs

    @field_validator("curve")
    @classmethod
    def _grows(cls, curve: list[int]) -> list[int]:
        if curve != sorted(set(curve)):
            raise ValueError(f"{curve}; numbers of rows must rise.")
        return curve


Kind = Literal["auto", "linear", "encoder", "lora", "provider"]


class Baseline(Section):
    """`[baseline]`: which kinds of rivals are trained besides the linear one, and how long each may be tuned.

    `kinds` is a list, or "auto", which takes each kind that has a model, is installed and costs nothing. `trials` and
    `seconds` limit the hyperparameter search of each; `label_cost` is US dollars per labelled row.
    """

    kinds: Annotated[list[Kind], BeforeValidator(_listed)] = ["auto"]  #: which are trained
    trials: Annotated[int, Field(gt=0)] = 15  #: sets of hyperparameters that each kind may try
    seconds: Annotated[float, Field(gt=0)] = 60.0  #: seconds that each kind may take
    label_cost: Annotated[float, Field(ge=0)] = 0.0  #: US dollars for a labelled row
    encoder: EncoderSpec = EncoderSpec()  #: for the kind encoder
    lora: LoraSpec = LoraSpec()  #: for the kind lora
    provider: TuningSpec = TuningSpec()  #: for the kind provider


class Extras(Section):
    """`[verdict]`: further analyses, which cost further calls; each is left out if the caps do not cover it.

    `swaps` are pairs of terms; test rows with one of them are answered again with the other in its place. With
    `robustness`, the winner answers test rows under changes that should not matter: noise, other orders of demos, other
    wordings. With `hint`, it answers the test rows with the baseline's guess added to each, and with `picked_demos`,
    with demos that the baseline picks for each. `tuned_search` is the number of answers on dev rows that a second
    search may use, for a prompt for the model that its provider has tuned; 0 means no such search.
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


def _named(model: object) -> object:
    """Turn a model's name into a table with that name."""
    return {"name": model} if isinstance(model, str) else model


class Judge(Section):
    """`[judge]`: the model that scores answers for the metric "judge", by its name or as a table like `[model]`.

    `rubric` says what it judges by, `scale` is its lowest and highest score. `further` is how many judgements may be
    used besides the scores, for analyses that are not requested explicitly: the baseline's learning curve, and its dev
    and training rows.
    """

    model: ModelSpec  #: who scores
    rubric: str = ""  #: what it judges by
    scale: Annotated[list[int], Field(min_length=2, max_length=2)] = [1, 5]  #: lowest and highest score
    further: Annotated[int, Field(ge=0)] | None = None  #: judgements beside the scores; else half of calls

    _named = field_validator("model", mode="before")(_named)

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: list[int]) -> list[int]:
        if not scale[0] < scale[1]:
            raise ValueError(f"{scale}; the first number must be the lower one.")
        return scale


class Layout(Section):
    """`[templates.NAME]`: your own template, defined by format strings; those left out are as in "plain"."""

    head: str | None = None  #: around the instruction, `{body}`
    section: str | None = None  #: a part with its title: `{title}`, `{gap}` (a line's end before long parts), `{body}`
    field: str | None = None  #: an input, `{value}`, with its `{name}`
    worked: str | None = None  #: the answer of an example, `{value}`, with its `{name}`
    example: str | None = None  #: around an example, `{body}`, with its `{number}`
    query: str | None = None  #: around the inputs of the row that is asked, `{body}`
    cue: str | None = None  #: the last words, which the answer follows, with its `{name}`
    tags: bool | None = None  #: whether names are written as tags are


class Proposer(Section):
    """`[proposer]`: the model that proposes wordings, by its name or as a table like `[model]`.

    By default, it is the task's own model, unless that is the embedded one, which cannot write; "none" means no model.
    """

    model: ModelSpec | None = None  #: who proposes

    _named = field_validator("model", mode="before")(_named)


class Teacher(Section):
    """`[teacher]`: the model that reasons about training rows for worked demos, as a name or a table like `[model]`.

    By default, or with "none", it is the task's own model.
    """

    model: ModelSpec | None = None  #: who reasons

    _named = field_validator("model", mode="before")(_named)
