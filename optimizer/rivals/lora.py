"""A small language model, fine-tuned here with LoRA. The door of torch, transformers and peft.

Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on all linear layers of an encoder or decoder and a new
classification head are trained epoch by epoch while the dev score is watched, on a GPU if there is one. Knows
nothing of prompts or of the test rows.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from optimizer.baseline import Counted, Lesson, Refit, Rival
from optimizer.errors import InputError
from optimizer.records import TrainedModel
from optimizer.rivals.torch_hardware import device, few_threads, fitting, seeded
from search_spaces.prompt import Example
from search_spaces.space import Chooser, Value

EPOCHS = 20  # most passes over the training rows
PATIENCE = 4  # epochs without a better dev score before training stops
BATCH = 8  # rows of a step: a few hundred rows then make enough steps an epoch
LONGEST = 256  # tokens of a row: attention on a CPU grows with their square
DROPOUT = 0.1  # of the adapters
WARM_UP = 10  # steps over which the learning rate rises
STEPS = 50  # fewest steps on a part of the rows, whose epochs are short
DRAWS = 2  # parts of each size: training on them takes seconds to minutes


@dataclass(frozen=True, slots=True)
class Fitted:
    """Trained weights: the adapters' and the head's, with the dev score after each epoch."""

    params: Mapping[str, Value]
    state: Mapping[str, Any]
    curve: tuple[float, ...]


@fitting()
def train(lesson: Lesson, name: str) -> Rival:
    """Fine-tune on the training rows, choosing hyperparameters and epoch on the dev rows.

    When the budget's seconds are over, the search ends, even within a trial: after the current epoch.

    Parameters
    ----------
    lesson
        What to learn from; its answers must be a closed list.
    name
        A folder, or a name on the hub.

    Raises
    ------
    InputError
        If the model cannot be loaded.
    """
    started, search = time.perf_counter(), Counted(lesson.search)
    labels = sorted({row.target for row in lesson.rows})
    tokenizer, best = _tokenizer(name), list[Fitted]()

    def objective(chooser: Chooser) -> float:
        model = _Model(name, tokenizer, labels, _choose(chooser), lesson.budget.seed)
        found = model.fit(lesson, until=started + lesson.budget.seconds)
        if not best or max(found.curve) > max(best[0].curve):
            best[:] = [found]  # kept: retraining it would take as long again
        return max(found.curve)

    search(objective, lesson.budget)
    (found,) = best
    where = "" if device() == "cpu" else " on a GPU"
    detail = f"{name}, fine-tuned with LoRA of rank {found.params['rank']}, {len(found.curve)} epochs{where}"
    params = {"model": name, **found.params}
    trained = TrainedModel(detail, params, found.curve, max(found.curve), _dump(found.state, labels), kind="lora")
    trained = replace(trained, trials=search.trials, seconds=time.perf_counter() - started)
    return load(trained, name, lesson.budget.seed)


def load(trained: TrainedModel, name: str, seed: int) -> Rival:
    """Restore a trained rival from its safetensors file, which holds numbers and no code."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load as tensors

    assert trained.blob is not None
    labels = _labels(trained.blob)
    model = _Model(name, _tokenizer(name), labels, trained.params, 0)
    set_peft_model_state_dict(model.net, tensors(trained.blob))
    known: dict[str, Any] = {}

    def likely(texts: Sequence[str]) -> Any:  # noqa: ANN401
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, model.probabilities(model.encoded(new)), strict=True))
        return np.array([known[text] for text in texts])

    return Rival(
        trained,
        answer=lambda texts: [labels[int(best)] for best in likely(texts).argmax(axis=1)] if texts else [],
        confidence=lambda texts: [float(each) for each in likely(texts).max(axis=1)] if texts else [],
        refit=partial(_refits, trained, name, seed),
        draws=DRAWS,
    )


def _refits(trained: TrainedModel, name: str, seed: int, rows: Sequence[Example], unseen: Sequence[Example]) -> Refit:
    """Return a function that trains a fresh model on parts of the rows, with the same hyperparameters."""
    tokenizer, labels = _tokenizer(name), sorted({row.target for row in rows})

    def refit(part: Sequence[int]) -> list[str]:
        model = _Model(name, tokenizer, labels, trained.params, seed)
        model.study([rows[i] for i in part])
        likely = model.probabilities(model.encoded([row.text for row in unseen]))
        return [labels[int(each.argmax())] for each in likely]

    return refit


def _choose(chooser: Chooser) -> dict[str, Value]:
    """Choose hyperparameters from ranges where adapters of small models train well on a few hundred rows."""
    return {
        "log10_rate": chooser.suggest_float("log10_rate", -3.4, -2.8),
        "rank": chooser.suggest_categorical("rank", [4, 8, 16]),
    }


class _Model:
    """A base model with fresh adapters and a fresh head, both drawn with the seed."""

    def __init__(
        self,
        name: str,
        tokenizer: Any,  # noqa: ANN401
        labels: Sequence[str],
        params: Mapping[str, Value],
        seed: int,
    ) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForSequenceClassification

        self.tokenizer, self.labels, self.params, self.seed = tokenizer, labels, params, seed
        with _loading(name), seeded(seed):
            here = Path(name).is_dir()
            base = AutoModelForSequenceClassification.from_pretrained(
                name, num_labels=len(labels), local_files_only=here, dtype=torch.float32
            )
            base.config.pad_token_id = tokenizer.pad_token_id
            rank = int(params["rank"])
            adapters = LoraConfig(
                task_type="SEQ_CLS", r=rank, lora_alpha=2 * rank, lora_dropout=DROPOUT, target_modules="all-linear"
            )
            self.net = get_peft_model(base, adapters).to(device())

    def encoded(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """Tokenize texts; long ones are truncated."""
        found = self.tokenizer(list(texts), truncation=True, max_length=LONGEST) if texts else {}
        return [{key: values[row] for key, values in found.items()} for row in range(len(texts))]

    def fit(self, lesson: Lesson, until: float) -> Fitted:
        """Train by epochs, stop when the dev score no longer rises or the time is over, and keep the best epoch."""
        from peft import get_peft_model_state_dict

        dev = self.encoded([row.text for row in lesson.dev])
        curve, best = list[float](), dict[str, Any]()
        for _ in islice(self.epochs(lesson.rows), EPOCHS):
            answers = [self.labels[int(each.argmax())] for each in self.probabilities(dev)]
            curve.append(lesson.dev_score(answers))
            if curve[-1] > max(curve[:-1], default=-math.inf):
                best = {key: value.clone() for key, value in get_peft_model_state_dict(self.net).items()}
            if time.perf_counter() > until or len(curve) - int(np.argmax(curve)) > PATIENCE:
                break
        return Fitted(self.params, best, tuple(curve))

    def study(self, rows: Sequence[Example]) -> None:
        """Train for `EPOCHS` epochs, or for more if these make too few steps."""
        passes = max(EPOCHS, math.ceil(STEPS * BATCH / len(rows)))
        for _ in islice(self.epochs(rows), passes):
            pass

    def epochs(self, examples: Sequence[Example]) -> Iterator[None]:
        """Train without end; yield after each pass over the rows."""
        import torch

        rows = self.encoded([row.text for row in examples])
        lengths = np.array([len(row["input_ids"]) for row in rows])
        targets = torch.tensor([self.labels.index(row.target) for row in examples], device=device())
        weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        rate = 10.0 ** float(self.params["log10_rate"])
        optimizer = torch.optim.AdamW(weights, lr=rate)
        rising = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM_UP))
        rng = np.random.default_rng(self.seed)
        with few_threads(), seeded(self.seed):
            while True:
                self.net.train()
                for picked in _mixed(lengths, rng):
                    loss = self.net(**self._padded([rows[i] for i in picked]), labels=targets[picked]).loss
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    rising.step()
                yield

    def probabilities(self, rows: Sequence[Mapping[str, list[int]]]) -> list[Any]:
        """Return the probability of each label for each row [n][labels]; rows of similar length share a batch."""
        import torch

        self.net.eval()
        order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
        found: list[Any] = [None] * len(rows)
        with few_threads(), torch.inference_mode():
            for picked in _batches(order):
                logits = self.net(**self._padded([rows[i] for i in picked])).logits
                for i, each in zip(picked, torch.softmax(logits, dim=-1).cpu().numpy(), strict=True):
                    found[i] = each
        return found

    def _padded(self, rows: Sequence[Mapping[str, list[int]]]) -> Any:  # noqa: ANN401
        return self.tokenizer.pad(list(rows), return_tensors="pt").to(device())


def _batches(order: Any) -> Iterator[list[int]]:  # noqa: ANN401
    for start in range(0, len(order), BATCH):
        yield [int(i) for i in order[start : start + BATCH]]


def _mixed(lengths: Any, rng: np.random.Generator) -> list[list[int]]:  # noqa: ANN401
    """Draw the batches of an epoch, in random order; rows of similar length are together, which halves the time."""
    batches = list(_batches(np.argsort(lengths * rng.uniform(0.8, 1.25, len(lengths)))))
    return [batches[i] for i in rng.permutation(len(batches))]


def _tokenizer(name: str) -> Any:  # noqa: ANN401
    from transformers import AutoTokenizer

    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=Path(name).is_dir())
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # many decoders have no pad token
    return tokenizer


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Silence progress bars and warnings, and turn failures to load into an `InputError`."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses deprecated names of transformers
            yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        said = str(error).strip().split("\n", 1)[0]
        raise InputError(f"language model {name!r} cannot be loaded ({said}). Name a folder that holds one.") from None


def _dump(state: Mapping[str, Any], labels: Sequence[str]) -> bytes:
    """Write weights and labels as a safetensors file."""
    from safetensors.torch import save

    tensors = {key: value.contiguous() for key, value in state.items()}
    return bytes(save(tensors, metadata={"labels": json.dumps(labels)}))


def _labels(blob: bytes) -> list[str]:
    """Read the labels from the head of a safetensors file: its length in eight bytes, then JSON."""
    head = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    return [str(label) for label in json.loads(head["__metadata__"]["labels"])]
