"""What torch computes on for our models: a GPU if there is one, else some of the CPU cores. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.errors import InputError


def device() -> str:
    """Return the name of the device: the GPU that CUDA shows (`CUDA_VISIBLE_DEVICES=` shows none), or the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random generators within the block, and restore them afterwards."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device() == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def fitting() -> Iterator[None]:
    """Turn running out of GPU memory into an `InputError` that says what to do."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        said = str(error).split(".", 1)[0]
        raise InputError(f"the GPU has too little memory ({said}). CUDA_VISIBLE_DEVICES= trains on the CPU.") from None


@contextmanager
def few_threads() -> Iterator[None]:
    """Compute with at most half the cores.

    Small models do not gain from more, and on a busy machine threads lose time waiting for each other: on two cores
    with other work, a step of LoRA took 0.8 s with one thread and 2.8 s with two.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
