"""Formulas that no plan holds - they move the batch axis, write weights or ask for
values - with the numbers of Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4, 6)).astype("float32")
Y = RNG.normal(size=(12, 1)).astype("float32")


def windows(K: Any) -> Any:
    """Attention inside of windows, each a row of its own, heads before the batch."""

    class Windows(K.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.all = K.layers.Dense(12, name="all")
            self.norm = K.layers.LayerNormalization(name="norm")

        def build(self, input_shape: Any) -> None:
            self.bias = self.add_weight((2, 2), "zeros", name="bias")
            self.all.build((None, 2, 6))
            self.norm.build((None, 2, 4))

        def call(self, x: Any) -> Any:
            ops = K.ops
            parts = ops.reshape(x, (-1, 2, 6))
            q, k, v = ops.unstack(
                ops.transpose(
                    ops.reshape(self.all(parts), (-1, 2, 3, 2, 2)), (2, 0, 3, 1, 4)
                ),
                axis=0,
            )
            score = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + self.bias
            y = ops.matmul(ops.softmax(score), v)
            y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, 2, 4))
            return ops.reshape(self.norm(y), (-1, 4, 4))

    i = K.Input((4, 6))
    h = Windows()(i)
    h = K.ops.reshape(h, (-1, 4))
    h = K.layers.Dense(3, activation="tanh", name="middle")(h)
    h = K.ops.reshape(h, (-1, 12))
    return K.Model(i, K.layers.Dense(1, name="last")(h))


def averages(K: Any) -> Any:
    """A moving mean of the batches, and a count of calls."""

    class Centred(K.layers.Layer):
        def build(self, input_shape: Any) -> None:
            size = (input_shape[-1],)
            self.mean = self.add_weight(size, "zeros", trainable=False, name="mean")
            self.seen = self.add_weight((), "zeros", trainable=False, name="seen")

        def call(self, x: Any, training: Any = False) -> Any:
            if not training:
                return x - self.mean
            new = K.ops.mean(x, axis=(0, 1))
            self.mean.assign(0.9 * self.mean + 0.1 * new)
            self.seen.assign_add(1.0)
            return x - new

    return K.Sequential(
        [
            K.Input((4, 6)),
            K.layers.Dense(5, name="first"),
            Centred(),
            K.layers.Flatten(),
            K.layers.Dense(1, name="last"),
        ]
    )


def pairs(K: Any) -> Any:
    """Two views of a batch, one behind the other, and a penalty of the outputs."""

    class Pairs(K.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encode = K.layers.Dense(4, activation="relu", name="encode")
            self.last = K.layers.Dense(1, name="last")

        def call(self, x: Any) -> Any:
            flat = K.ops.reshape(x, (-1, 24))
            both = self.encode(K.ops.concatenate([flat, -0.5 * flat], axis=0))
            one, two = K.ops.split(both, 2, axis=0)
            self.add_loss(0.1 * K.ops.mean(K.ops.square(one - two)))
            return self.last(one + two)

    model = Pairs()
    model.build((None, 4, 6))
    return model


MODELS = {"windows": windows, "moving averages": averages, "pairs": pairs}


@pytest.mark.parametrize("name", MODELS)
def test_training_as_in_keras(name: str) -> None:
    theirs, ours = MODELS[name](keras), MODELS[name](kurve)
    theirs(X[:2]), ours(X[:2])
    ours.set_weights(theirs.get_weights())
    for model, K in ((theirs, keras), (ours, kurve)):
        model.compile(K.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    kwargs: dict[str, Any] = {"batch_size": 5, "epochs": 3, "shuffle": False}
    found = ours.fit(X, Y, verbose=0, **kwargs).history
    wanted = theirs.fit(X, Y, verbose=0, **kwargs).history
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], 1e-4, 1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-5)
    np.testing.assert_allclose(
        ours.predict(X, verbose=0), theirs.predict(X, verbose=0), 1e-3, 1e-5
    )
    np.testing.assert_allclose(
        ours.evaluate(X, Y, verbose=0), theirs.evaluate(X, Y, verbose=0), 1e-3
    )


def test_gradients_are_differences() -> None:
    model = windows(kurve)
    x = X[:3].astype("float64")
    found, step = model.gradient(x), 1e-2
    direction = RNG.normal(size=x.shape)
    ends = [model.predict(x + s * step * direction, verbose=0) for s in (1, -1)]
    wanted = (ends[0] - ends[1])[:, 0] / (2.0 * step)
    inner = np.sum(found.reshape(x.shape) * direction, axis=(1, 2))
    np.testing.assert_allclose(inner, wanted, 2e-2, 2e-3)


def test_what_asks_for_values() -> None:
    class Signed(kurve.layers.Layer):
        def call(self, x: Any) -> Any:
            return x if kurve.ops.sum(x) > 0 else -x

    i = kurve.Input((3,))
    model = kurve.Model(i, Signed()(i))
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(model(-x), x)
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_a_trial_changes_no_weight() -> None:
    model = averages(kurve)
    weights = model.get_weights()
    assert model.output_shape == (None, 1)
    model.predict(X, verbose=0)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_in_files(tmp_path: Any) -> None:
    one, two = windows(kurve), windows(kurve)
    one.save_weights(tmp_path / "m.weights.h5")
    two.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(one.predict(X, verbose=0), two.predict(X, verbose=0))


def test_a_formula_that_says_how_many_rows_there_are() -> None:
    class Routed(kurve.layers.Layer):
        def call(self, x: Any) -> Any:
            tokens = kurve.ops.reshape(x, [12, 6])
            share = kurve.ops.mean(tokens, axis=0)
            return kurve.ops.reshape(tokens * share, [3, 4, 6])

    i = kurve.Input((4, 6))
    model = kurve.Model(i, Routed()(i))
    found = model.predict(X, batch_size=3, verbose=0)
    wanted = X[:3] * X[:3].mean((0, 1))
    np.testing.assert_allclose(found[:3], wanted, 1e-5, 1e-6)
