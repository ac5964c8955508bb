"""The knowledge gradient chooses the next rows where they may change which prompt seems best."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.engine.knowledge import most_telling, worth


def test_what_is_known_already_teaches_nothing() -> None:
    """A further block at a prompt without doubt moves no mean."""
    found = worth(np.array([0.0, 0.5]), np.diag([1.0, 0.0]), np.ones(2))

    assert found[0] > 0.01
    assert found[1] == pytest.approx(0.0, abs=1e-5)


def test_doubt_about_a_rival_is_worth_more_than_about_a_hopeless_prompt() -> None:
    """It may overtake; the other lies too far behind."""
    found = worth(np.array([0.5, 0.4, -4.0]), np.diag([0.01, 0.5, 0.5]), np.ones(3))

    assert found.argmax() == 1
    assert found[2] < found[1] / 10


def test_a_block_is_not_chosen_twice_where_one_tells_all() -> None:
    """The second choice knows what the first will have told, and only who may be asked is chosen."""
    mean, covariance, noise = np.zeros(3), np.diag([1.0, 0.9, 2.0]), np.full(3, 1e-6)

    assert most_telling(mean, covariance, noise, np.array([True, True, False]), 2) == [0, 1]
    assert most_telling(mean, covariance, noise, np.zeros(3, dtype=np.bool_), 2) == []
