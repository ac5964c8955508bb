"""How many threads torch computes with, for as long as our models work. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


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
