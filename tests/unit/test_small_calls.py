"""Calls that programs make beside training: states, shapes, numbers out of range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers


@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (layers.GRU(4), [(3, 4)]),
        (layers.LSTM(5), [(3, 5), (3, 5)]),
        (layers.RNN([layers.GRUCell(2), layers.GRUCell(6)]), [(3, 2), (3, 6)]),
    ],
)
def test_initial_states(layer: Any, sizes: list[tuple[int, ...]]) -> None:
    from kurve.formulas.tensor import leaves

    states = layer.get_initial_state(3)
    assert [state.shape for state in leaves(states)] == sizes
    assert not any(state.any() for state in leaves(states))
    x = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(layer(x, initial_state=states), layer(x))


def test_a_shape_as_an_array() -> None:
    made = kurve.initializers.Ones()(np.array([2, 3], np.int32))
    assert made.shape == (2, 3)


@pytest.mark.parametrize("number", [-1, 5, 70])
def test_predict_refuses_a_number_that_no_row_has(number: int) -> None:
    model = kurve.Sequential([layers.Embedding(5, 2, name="words")])
    rule = rf"^\[predict\].*'words' needs numbers 0 to 4. Received: {number}\."
    x = np.array([[1, number]])
    for call in (lambda: model.predict(x, verbose=0), lambda: model(x)):
        with pytest.raises(ValueError, match=rule):
            call()
    assert np.isfinite(model.predict(np.array([[0, 4]]), verbose=0)).all()


@pytest.mark.parametrize("wrong", ["text", [1.0], None])
def test_a_loss_that_returns_no_tensor(wrong: Any) -> None:
    model = kurve.Sequential([layers.Dense(1)])
    model.compile("adam", lambda y_true, y_pred: wrong)
    with pytest.raises(TypeError, match="must be computed from y_true and y_pred"):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (layers.Discretization([0.5]), [[0.1, 0.7]]),
        (layers.CategoryEncoding(num_tokens=4), [[1, 2]]),
        (layers.Hashing(3), [["a"]]),
        (layers.HashedCrossing(3), ([1], [2])),
    ],
)
def test_encodings_are_tensors(layer: Any, x: Any) -> None:
    y = layer(x)
    assert type(y.numpy()) is np.ndarray
