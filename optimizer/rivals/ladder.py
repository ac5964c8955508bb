"""The ladder of trained rivals, from cheap to expensive: which kinds are trained, and which one enters the verdict.

Turns the kinds that a task names into rivals; the only room that knows all kinds. A kind that fails is left out with
its reason, so that an expensive one never prevents a verdict; the linear kind is always trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimizer.baseline import Lesson, Rival
from optimizer.calls.embeddings import BoughtVectors, EmbeddingModel
from optimizer.calls.prices import known_mode, known_price
from optimizer.errors import InputError, Interrupted, ModelError, PhrasetuneError
from optimizer.events import Destination
from optimizer.ledger import Ledger, require_price
from optimizer.models import Model, open_model, open_service
from optimizer.records import Rung, TrainedModel
from optimizer.reports.rungs import best_on_dev
from optimizer.rivals import encoder, linear, lora, provider_tuning
from optimizer.rivals.provider_tuning import Means
from optimizer.task import Task

KINDS = ("linear", "encoder", "lora", "provider")
NEEDS = {"encoder": ("sentence_transformers",), "lora": ("torch", "transformers", "peft")}


@dataclass(frozen=True, slots=True)
class Outside:
    """What the ladder needs from the run that it is part of.

    `stage` announces a kind and stops the run if the user asked for that; `keep` stores the result of a kind; `buy`
    makes a ledger for a model; `means` are for following a fine-tuning job.
    """

    stage: Callable[[str, str], None]
    keep: Callable[[Rung], None]
    buy: Callable[[Model], Ledger]
    means: Means


def choose(task: Task, *, labelled: bool) -> dict[str, str]:
    """Return for each kind, in order, why it is left out; empty if it is to be trained.

    Raises
    ------
    InputError
        If a kind that the task names cannot be trained, or a prompt search is wanted for a model that is not tuned.
    """
    wanted, calls = task.baseline.kinds, task.verdict.tuned_search
    if calls and "provider" not in wanted:
        raise InputError(
            f"tuned_search = {calls} in [verdict] needs a model that is tuned. "
            'Add "provider" to kinds in [baseline], or leave it out.'
        )
    found = {"linear": ""}
    for kind in KINDS[1:]:
        lacking = _lacking(kind, task, labelled=labelled)
        if kind in wanted and lacking:
            raise InputError(f"baseline kind {kind!r} cannot be trained: {lacking}. Or name other kinds in [baseline].")
        found[kind] = lacking
        if kind not in wanted:
            paid = f"it costs money; name {kind} in kinds" if bought(kind, task) else ""
            found[kind] = lacking or paid if "auto" in wanted else "not asked for"
    return found


def _lacking(kind: str, task: Task, *, labelled: bool) -> str:
    """Return what a kind lacks to be trained; empty if it lacks nothing."""
    if kind == "lora" and not labelled:
        return "it needs a closed list of labels, and answers that name one of them"
    name = named(kind, task)
    if not name:
        return f"no model is named in [baseline.{kind}]"
    if bought(kind, task):
        return ""
    missing = [package for package in NEEDS[kind] if importlib.util.find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} not installed; pip install 'phrasetune[finetune]'"
    if (name.startswith((".", "/")) or name.count("/") != 1) and not Path(name).is_dir():
        return f"{name}: no such folder; name a folder that holds a model, or one of the hub as owner/name"
    return ""


def named(kind: str, task: Task) -> str:
    """Return the model that a task names for a kind: the path from here if it is a folder, else the name as written."""
    specs = task.baseline
    name = {"encoder": specs.encoder.model, "lora": specs.lora.model, "provider": specs.provider.model}[kind]
    folder = task.folder / name
    return str(folder) if name and folder.is_dir() else name


def bought(kind: str, task: Task) -> bool:
    """Whether a kind costs money: fine-tuning at a provider, or an embedding model called through LiteLLM."""
    spec = task.baseline.encoder
    asked = bool(spec.api_base) or known_mode(spec.model) == "embedding"
    return kind == "provider" or (kind == "encoder" and asked and not Path(named(kind, task)).is_dir())


def reach(task: Task, *, labelled: bool) -> list[Destination]:
    """List where rows will be sent to train the wanted kinds; nothing is sent yet.

    Raises
    ------
    InputError
        If a kind that the task names cannot be trained, or a price that a cap on dollars needs is not known.
    """
    found = []
    for kind, left_out in choose(task, labelled=labelled).items():
        if left_out or not bought(kind, task):
            continue
        if kind == "encoder":
            model = _embedding_model(task)
            require_price(model, task.search.max_usd)
            found.append(model.destination)
        else:
            found.append(_order(task).service.destination)
            if task.search.max_usd and task.baseline.provider.training_price is None:
                raise ModelError(
                    f"the price of fine-tuning {named(kind, task)!r} is not known, so a cap of "
                    f"${task.search.max_usd:g} cannot be kept. Give it as training_price in [baseline.provider], in US "
                    "dollars per million tokens, or cap the tokens with max_tokens."
                )
    return found


def _embedding_model(task: Task) -> EmbeddingModel:
    spec = task.baseline.encoder
    return EmbeddingModel(open_service(spec.model, api_base=spec.api_base), spec.api_base, embedding_price(task))


def _embedder(task: Task, outside: Outside) -> encoder.Embedder:
    if bought("encoder", task):
        return BoughtVectors(outside.buy(_embedding_model(task)))
    return encoder.SentenceEncoder(named("encoder", task))


def _order(task: Task) -> provider_tuning.Order:
    spec = task.baseline.provider
    service = open_service(spec.model, api_base=spec.api_base)
    if service.provider != "openai":
        raise ModelError(
            f"[baseline.provider] model = {spec.model!r}: fine-tuning of {service.provider} is not reached; allowed: "
            "openai/MODEL, also with the api_base of a server that speaks OpenAI's protocol."
        )
    return provider_tuning.Order(service, task.task.description, spec.epochs, spec.training_price, spec.jobs)


def tuned_ledgers(task: Task, outside: Outside) -> Callable[[str], Ledger]:
    """Return a function from the name of a tuned model to its ledger."""
    spec, (reading, writing) = task.baseline.provider, tuning_prices(task)[1]
    price = None if reading is None or writing is None else (reading * 1e6, writing * 1e6)
    return lambda name: outside.buy(open_model(f"openai/{name}", api_base=spec.api_base, price=price))


def embedding_price(task: Task) -> float | None:
    """Return US dollars per token of the embedding model, if known."""
    spec = task.baseline.encoder
    known = known_price(spec.model)
    return spec.price / 1e6 if spec.price is not None else known and known[0]


def tuning_prices(task: Task) -> tuple[float | None, tuple[float | None, float | None]]:
    """Return US dollars per trained token, and per token that the tuned model reads and writes, as far as known."""
    spec = task.baseline.provider
    known = known_price(f"ft:{spec.model.rpartition('/')[2]}") or (None, None)
    use = (spec.price.input / 1e6, spec.price.output / 1e6) if spec.price else known
    return None if spec.training_price is None else spec.training_price / 1e6, use


def train(kind: str, lesson: Lesson, task: Task, outside: Outside) -> Rival:
    """Train one kind of rival."""
    if kind == "linear":
        return linear.train(lesson)
    if kind == "encoder":
        return encoder.train(lesson, _embedder(task, outside))
    if kind == "lora":
        return lora.train(lesson, named(kind, task))
    return provider_tuning.train(lesson, _order(task), outside.means, tuned_ledgers(task, outside))


def load(trained: TrainedModel, task: Task, outside: Outside) -> Rival:
    """Restore a trained rival."""
    if trained.kind == "linear":
        return linear.load(trained, task.search.seed)
    if trained.kind == "encoder":
        return encoder.load(trained, _embedder(task, outside), task.search.seed)
    if trained.kind == "lora":
        return lora.load(trained, named(trained.kind, task), task.search.seed)
    return provider_tuning.load(trained, _order(task), outside.means, tuned_ledgers(task, outside))


def climb(task: Task, lesson: Lesson, known: list[Rung], outside: Outside) -> Rival:
    """Train all wanted kinds, and return the one with the best dev score, the cheaper one of equals.

    `known` holds the results of kinds from before the run was resumed.
    """
    rungs = {rung.kind: rung for rung in known}
    rivals: dict[str, Rival] = {}
    for kind, left_out in choose(task, labelled=lesson.labelled).items():
        if kind in rungs:
            continue
        rung = Rung(kind, left_out=left_out)
        if not left_out:
            outside.stage("baseline", f"training the rival on the same rows: {kind}")
            try:
                rivals[kind] = train(kind, lesson, task, outside)
            except Interrupted:
                raise
            except PhrasetuneError as error:
                rung = Rung(kind, left_out=str(error))
            else:
                rung = Rung(kind, rivals[kind].trained)
        outside.keep(rung)
        rungs[kind] = rung
    best = best_on_dev(rungs.values())
    assert best is not None
    return rivals[best.kind] if best.kind in rivals else load(best, task, outside)
