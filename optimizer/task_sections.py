"""The sections of a task file, each with its keys: what they may hold, and what they are when left out.

What `#:` says of a key stands in the reference. Knows no section but its own; `task` puts them together.
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
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every generator takes
# More rows of one file make no verdict noticeably sharper: 5,000 dev and as many test rows show gains of two points.
MAX_ROWS = 20_000
# Below this three splits are no use.
FEWEST_ROWS = 12


MODEL = "model"  # the role of the one that answers
JUDGE, PROPOSER, TEACHER = ROLES = ("judge", "proposer", "teacher")  # as results.db has them, behind a model's name


class Section(BaseModel):
    """What all have in common: no key but their own, and no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show what was given; the rest is as the reference says."""
        return [(name, value) for name, value in super().__repr_args__() if name in self.model_fields_set]


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


class About(Section):
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


class Data(Section):
    """`[data]`: where the rows are and what their columns mean.

    `group` keeps rows of equal value together in one split; `slices` are columns to report the scores by. `ood` is a
    file with the same columns, of rows from elsewhere, which every contender answers after the test rows; `unlabelled`
    is one of rows that the winner labels, for the baseline to learn from. Of a file with more than `max_rows` rows so
    many are drawn with `seed`, as `sampling` says; 0 uses all. `skip_empty` leaves rows out that cannot be used, and
    says how many. Of an SQLite file `query` says which rows are meant.
    `demos` is a file of examples to show as they are, with the columns of inputs and target, and perhaps `reasoning`.
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
    """`[model.price]`: US dollars for a million tokens, where the price table is wrong or silent."""

    input: Annotated[float, Field(ge=0)]  #: of what is asked
    output: Annotated[float, Field(ge=0)]  #: of what is answered


def _fit(address: str) -> str:
    if address and (said := unfit_address(address)):
        raise ValueError(f"{said}.")
    return address


Address = Annotated[str, AfterValidator(_fit)]


class ModelSpec(Section):
    """`[model]`: which model completes, and how it is reached. Keys come from the environment, never from here.

    `workers` caps the calls at a time; `timeout` is what one attempt may take and `patience` the longest wait between
    two, in seconds. Requests and tokens per minute are caps, too; 0 is none. `context` is how many tokens the model
    takes, prompt and answer together, where the price table is wrong or silent.
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


OF_ONE_MODEL = ("price", "context")  # keys that say nothing of another model in its place


class Bounds(Section):
    """`[search.constraints]`: what the winner must keep; 0 is no limit. `min_recall` maps label -> least recall."""

    max_cost_per_1000: Annotated[float, Field(ge=0)] = 0.0  #: US dollars that 1,000 rows may cost
    max_prompt_tokens: Annotated[float, Field(ge=0)] = 0.0  #: mean tokens that a prompt may have
    min_recall: dict[Name, Annotated[float, Field(ge=0, le=1)]] = {}  #: the least recall of labels


class Search(Section):
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


class EncoderSpec(Section):
    """`[baseline.encoder]`: the sentence encoder, as a folder, a name on the hub, or an embedding model of LiteLLM.

    `price` is US dollars for a million tokens of an embedding model, where the price table is wrong or silent.
    """

    model: str = ""  #: a folder, owner/name on the hub, or an embedding model
    api_base: Address = ""  #: address of a server; left out, the provider's
    price: Annotated[float, Field(ge=0)] | None = None  #: US dollars for a million tokens


class LoraSpec(Section):
    """`[baseline.lora]`: the small language model that is fine-tuned here, as a folder or a name on the hub."""

    model: str = ""  #: a folder, or owner/name on the hub


class TuningSpec(Section):
    """`[baseline.provider]`: the model that its provider fine-tunes, such as openai/gpt-4o-mini-2024-07-18.

    `epochs` are the passes over the training rows; `training_price` is US dollars for a million trained tokens, without
    which no cap on dollars can be kept; `price` is that of the tuned model's answers. Where the tuned model is the
    baseline of the verdict, one is also tuned on each number of training rows in `curve`, for its learning curve.
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


class Extras(Section):
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


def _named(model: object) -> object:
    """Take the name of a model for the table of it."""
    return {"name": model} if isinstance(model, str) else model


class Judge(Section):
    """`[judge]`: for the metric "judge", the model that scores answers, by its name or as a table as `[model]` is one.

    `rubric` says what it judges by, `scale` its lowest and highest score. `further` is how often it may be asked
    beside the scores, for what nobody has named: the baseline's learning curve, and its dev and training rows.
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
    """`[templates.NAME]`: a template of one's own, told by its pieces' shapes; what is left out is as in "plain"."""

    head: str | None = None  #: around the instruction, `{body}`
    section: str | None = None  #: a part with its title: `{title}`, `{gap}` (a line's end before long parts), `{body}`
    field: str | None = None  #: an input, `{value}`, with its `{name}`
    worked: str | None = None  #: the answer of an example, `{value}`, with its `{name}`
    example: str | None = None  #: around an example, `{body}`, with its `{number}`
    query: str | None = None  #: around the inputs of the row that is asked, `{body}`
    cue: str | None = None  #: the last words, which the answer follows, with its `{name}`
    tags: bool | None = None  #: whether names are written as tags are


class Proposer(Section):
    """`[proposer]`: the model that proposes wordings, by its name or as a table as `[model]` is one.

    Left out, it is the task's own model, but for the embedded one, which has no words; "none" asks nobody.
    """

    model: ModelSpec | None = None  #: who proposes

    _named = field_validator("model", mode="before")(_named)


class Teacher(Section):
    """`[teacher]`: the model that reasons about training rows for worked demos, by its name or as a table as above.

    Left out, or "none", it is the task's own model.
    """

    model: ModelSpec | None = None  #: who reasons

    _named = field_validator("model", mode="before")(_named)
