"""Weights of a model itself, and what formulas take: sizes, activations, rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, activations, layers, ops


class Scaled(Model):
    """A weight of its own before a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")
        self.last = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(x * self.scale)


def test_a_model_has_a_weight() -> None:
    model = Scaled()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(16, 3))
    model.fit(x, x.sum(axis=1), epochs=3, verbose=0)
    assert [w.shape for w in model.weights] == [(3,), (3, 1), (1,)]
    assert (model.scale.numpy() != 1.0).all()
    kernel, bias = model.last.get_weights()
    expected = (x * model.scale.numpy()) @ kernel + bias
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=2e-5)
    with pytest.raises(TypeError, match=r"its own call\(\)"):
        Sequential([Input((1,)), layers.Dense(1)]).add_weight((1,))


def test_activations_of_symbolic_tensors() -> None:
    x = Input((4,))
    model = Model(x, activations.softmax(activations.relu(x)))
    values = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    expected = activations.softmax(activations.relu(values))
    np.testing.assert_allclose(model.predict(values, verbose=0), expected, rtol=1e-6)


class Positions(kurve.Layer):
    """The same rows for each sample."""

    def build(self, input_shape: Any) -> None:
        self.rows = self.add_weight(shape=input_shape[1:], initializer="ones")

    def call(self, x: Any) -> Any:
        first = ops.broadcast_to(self.rows, ops.shape(x))
        return ops.concatenate([first, x], axis=1)


def test_a_weight_is_broadcast_to_the_batch() -> None:
    model = Sequential([Input((2, 3)), Positions()])
    y = model.predict(np.zeros((5, 2, 3)), verbose=0)
    assert y.shape == (5, 4, 3) and (y[:, :2] == 1.0).all() and (y[:, 2:] == 0).all()


def test_a_last_axis_of_one_may_be_missing() -> None:
    """As in Keras."""
    model = Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()])
    x = np.random.default_rng(2).normal(size=(5, 4, 4))
    y = model.predict(x, verbose=0)
    assert (model.predict(x[..., None], verbose=0) == y).all()
    table = Sequential([Input((3,)), layers.Dense(1)])
    assert table.predict(np.zeros((2, 3, 1)), verbose=0).shape == (2, 1)


def test_sizes_may_be_arrays() -> None:
    size = np.array(4, np.int32)
    assert kurve.random.normal((size, 2), seed=1).shape == (4, 2)
