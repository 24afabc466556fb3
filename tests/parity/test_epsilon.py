"""The place of epsilon in the formula matters once gradients are as small as epsilon.

Keras's Adam divides by sqrt(v) + epsilon before the correction of v's start at zero
("epsilon hat"); the algorithm box of Kingma & Ba, and torch, correct v first.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from tables import network
from torch_twin import loss_of, variables_of
from twins import (
    BATCH,
    STEPS,
    TOLERANCES,
    Case,
    Run,
    assert_equal_runs,
    call,
    data_of,
    precision,
    torch,
    train_float64,
    train_keras,
    train_kurve,
)

SMALL = 1e-6
"""Size of the sample weights: gradients are then about as small as epsilon, 1e-7."""

CASES = {
    name + (" amsgrad" if more else ""): Case(
        network(),
        optimizer=call(f"optimizers.{name}", learning_rate=0.005, **more),
        weights=SMALL,
    )
    for name, more in [
        ("Adam", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("Nadam", {}),
        ("Adamax", {}),
        ("RMSprop", {}),
        ("Adagrad", {}),
    ]
}


@functools.cache
def keras_run(name: str, dtype: str) -> Run:
    with precision(dtype):
        return train_keras(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_small_gradients(name: str, engine: str) -> None:
    ours = train_kurve(CASES[name], engine)
    assert_equal_runs(ours, keras_run(name, "float32"), TOLERANCES["float32"])


@pytest.mark.parametrize("name", CASES)
def test_small_gradients_in_float64(name: str) -> None:
    ours = train_float64(CASES[name])
    assert_equal_runs(ours, keras_run(name, "float64"), TOLERANCES["float64"])


def test_the_other_form_would_be_seen() -> None:
    """torch's Adam ends elsewhere, by a tenth of the distance that the weights
    moved."""
    case = CASES["Adam"]
    x, y, weights = data_of(case)
    start, variables = variables_of(case), variables_of(case)
    updates = torch.optim.Adam(variables, lr=0.005, eps=1e-7)
    for step in range(STEPS):
        rows = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        updates.zero_grad()
        sum(
            float(w) / BATCH * loss_of(case, "mse", variables, x[i, None], y[i, None])
            for i, w in zip(range(rows.start, rows.stop), weights[rows], strict=True)
        ).backward()
        updates.step()
    ours = train_float64(case).weights
    for mine, other, first in zip(ours, variables, start, strict=True):
        other, first = other.detach().numpy(), first.detach().numpy()
        way = np.abs(other - first).max()
        assert way > 0.01
        assert np.abs(mine - other).max() > 0.1 * way
