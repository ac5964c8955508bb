"""What torch computes on while our models work: a GPU where there is one, or some of the cores. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.errors import InputError


def device() -> str:
    """Name the device: the GPU that CUDA shows (`CUDA_VISIBLE_DEVICES=` shows none), or the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from generators with this seed, and leave those outside as they are."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device() == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def fitting() -> Iterator[None]:
    """Say what to do where a GPU is too small, or another program fills it."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        said = str(error).split(".", 1)[0]
        raise InputError(f"the GPU has too little memory ({said}). CUDA_VISIBLE_DEVICES= trains on the CPU.") from None


@contextmanager
def few_threads() -> Iterator[None]:
    """Compute with half the cores at most.

    Small models do not gain from more, and threads that wait for each other on a busy machine lose: on two cores with
    other work a step of LoRA took 0.8 s with one thread, and 2.8 s with two.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
