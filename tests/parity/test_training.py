"""A hundred steps beside Keras: the same weights and batches in, the same losses and
weights out."""

from __future__ import annotations

import functools

import pytest
from tables import CASES
from twins import (
    TOLERANCES,
    Run,
    assert_equal_runs,
    precision,
    train_float64,
    train_keras,
    train_kurve,
)


@functools.cache
def keras_run(name: str) -> Run:
    return train_keras(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_float32(name: str, engine: str) -> None:
    ours = train_kurve(CASES[name], engine)
    assert_equal_runs(ours, keras_run(name), TOLERANCES["float32"])


@pytest.mark.parametrize("name", CASES)
def test_formula_in_float64(name: str) -> None:
    """No rounding left to hide behind: a wrong constant or order shows at once."""
    with precision("float64"):
        theirs = train_keras(CASES[name])
    assert_equal_runs(train_float64(CASES[name]), theirs, TOLERANCES["float64"])
