"""Loops of one's own, beside Keras on torch and torch's derivatives."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

import kurve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 5)).astype("float32")
Y = np.sin(X[:, :2]).astype("float32")
W = np.linspace(0.5, 1.5, 48).astype("float32")


def build(library: Any, cls: Any, activation: str = "tanh") -> Any:
    layers = library.layers
    inputs = library.Input((5,))
    h = layers.Dense(7, activation, kernel_regularizer="l2")(inputs)
    h = layers.LayerNormalization()(h)
    h = layers.Dense(6, "gelu")(h)
    return cls(inputs, layers.Dense(2)(h))


class Torch(keras.Model):
    def train_step(self, data: Any) -> Any:
        x, y, weights = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weights)
        loss.backward()
        variables = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in variables], variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class Ours(kurve.Model):
    def train_step(self, data: Any) -> Any:
        x, y, weights = data
        with kurve.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=weights)
        variables = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adamw", "lion"])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh"])
def test_fit_with_a_train_step(optimizer: str, loss: str) -> None:
    theirs, ours = build(keras, Torch), build(kurve, Ours)
    ours.set_weights(theirs.get_weights())
    histories = []
    for model in (theirs, ours):
        model.compile(optimizer=optimizer, loss=loss, metrics=["mae"])
        history = model.fit(
            X,
            Y,
            sample_weight=W,
            batch_size=20,
            epochs=4,
            shuffle=False,
            verbose=0,
            validation_data=(X, Y),
        ).history
        histories.append(history)
    assert sorted(histories[1]) == sorted(histories[0])
    for name, values in histories[0].items():
        assert np.allclose(values, histories[1][name], rtol=2e-4), name
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        assert np.allclose(a, b, atol=2e-4)


@pytest.mark.parametrize("activation", ["tanh", "silu", "softplus", "elu"])
def test_gradient_penalty(activation: str) -> None:
    """The derivative by the weights of a derivative by the inputs."""
    theirs, ours = (
        build(keras, keras.Model, activation),
        build(kurve, kurve.Model, activation),
    )
    ours.set_weights(theirs.get_weights())
    points = torch.tensor(X, requires_grad=True)
    (slope,) = torch.autograd.grad(theirs(points).sum(), points, create_graph=True)
    penalty = ((slope.norm(dim=1) - 1.0) ** 2).mean()
    weights = [v.value for v in theirs.trainable_weights]
    expected = torch.autograd.grad(penalty, weights, allow_unused=True)

    x = kurve.ops.convert_to_tensor(X)
    with kurve.GradientTape() as tape:
        with kurve.GradientTape() as inner:
            inner.watch(x)
            y = ours(x)
        found = inner.gradient(y, x)
        norm = kurve.ops.sqrt(kurve.ops.sum(kurve.ops.square(found), axis=1))
        total = kurve.ops.mean((norm - 1.0) ** 2)
    assert float(total) == pytest.approx(float(penalty.detach()), rel=1e-4)
    got = tape.gradient(total, ours.trainable_weights)
    for a, b, variable in zip(expected, got, ours.trainable_weights, strict=True):
        want = np.zeros(variable.shape) if a is None else a.numpy()
        have = np.zeros(variable.shape) if b is None else b
        assert np.allclose(want, have, atol=2e-5, rtol=1e-3), variable.name
