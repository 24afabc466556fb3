"""A hundred steps against Keras: the same weights and batches in, the same losses and
weights out."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from tables import CASES, COMMON, OPTIMIZERS
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


FLOAT32_IN_KERAS = "optimizer: Muon scaled"
"""Keras takes the root of the size of a matrix in float32 always."""


@pytest.mark.parametrize("name", [name for name in CASES if name != FLOAT32_IN_KERAS])
def test_formula_in_float64(name: str) -> None:
    """In float64, where a wrong constant or order shows at once."""
    with precision("float64"):
        theirs = train_keras(CASES[name])
    tolerance = TOLERANCES["float64"]
    if name == "activation: hard_sigmoid":  # torch's slope is 1/6 in float32
        tolerance = 1e-8
    assert_equal_runs(train_float64(CASES[name]), theirs, tolerance)


@pytest.mark.parametrize("common", [c for c in COMMON if c])
def test_the_options_act(common: str) -> None:
    """Each kind of clipping, and weight decay, changes each run: no case above merely
    repeats the plain optimizer."""
    for name in OPTIMIZERS:
        if name.endswith(common):
            plain = keras_run(f"optimizer: {name.removesuffix(common)}").losses
            moved = keras_run(f"optimizer: {name}").losses
            # Ftrl makes its weights anew in each step, from what it has summed up.
            least = 1e-4 if "Ftrl" in name else 1e-3
            assert np.abs(moved / plain - 1.0).max() > least, name
