"""What programs write beside layers and `fit`: the same code in either library."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kurve

X = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)

LIBRARIES = [keras, kurve]


def plain(value: Any) -> Any:
    found = np.asarray(keras.ops.convert_to_numpy(value))
    return found.tolist()


def both(run: Any) -> None:
    """Run in Keras and in Kurve: the results are equal."""
    expected, found = (run(library) for library in LIBRARIES)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda s: s.ExponentialDecay(0.01, 10, 0.9),
        lambda s: s.PiecewiseConstantDecay([2, 5], [0.1, 0.05, 0.01]),
        lambda s: s.CosineDecay(0.1, 20),
    ],
)
def test_the_learning_rate_of_a_schedule_is_a_number(schedule: Any, steps: int) -> None:
    def run(library: Any) -> list[float]:
        model = library.Sequential([library.Input((4,)), library.layers.Dense(1)])
        optimizer = library.optimizers.SGD(schedule(library.optimizers.schedules))
        model.compile(optimizer, "mse")
        if steps:
            model.fit(X[: 8 * steps], Y[: 8 * steps], batch_size=8, verbose=0)
        rate = optimizer.learning_rate
        return [float(rate), 2.0 * float(rate), float(plain(rate))]

    both(run)


@pytest.mark.parametrize(
    "formula",
    [
        lambda o, x: x / o.max(x),
        lambda o, x: (x - o.mean(x)) / o.std(x),
        lambda o, x: x - o.mean(x, axis=0),
        lambda o, x: x * o.sum(x) + o.min(x),
        lambda o, x: o.max(o.abs(x)) - x,
    ],
)
def test_functions_of_a_whole_batch_in_a_graph(formula: Any) -> None:
    def run(library: Any) -> Any:
        x = library.Input((4,))
        model = library.Model(x, formula(library.ops, x))
        return model.predict(X, batch_size=16, verbose=0)

    both(run)


def test_class_weights_reach_an_own_step() -> None:
    def run(library: Any) -> Any:
        seen = []

        class Own(library.Model):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.last = library.layers.Dense(1)

            def call(self, x: Any) -> Any:
                return self.last(x)

            def train_step(self, data: Any) -> dict[str, float]:
                _, _, weights = library.utils.unpack_x_y_sample_weight(data)
                seen.append(np.ravel(plain(weights)))
                return {"loss": 0.0}

        model = Own()
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(X, Y, class_weight={0: 0.5, 1: 2.0}, shuffle=False, verbose=0)
        return np.concatenate(seen)

    both(run)


def test_a_model_that_overrides_call_itself() -> None:
    """`__call__` in place of `call`: called, differentiated and trained like it."""

    def run(library: Any) -> Any:
        class Own(library.Model):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.last = library.layers.Dense(
                    1, kernel_initializer="ones", activation="tanh"
                )

            def __call__(self, x: Any, training: Any = None, scale: float = 1.0) -> Any:
                return scale * self.last(x)

        model = Own()
        called = [np.ravel(plain(model(X))), np.ravel(plain(model(X, scale=2.0)))]
        model.compile(library.optimizers.SGD(0.1), "mse")
        history = model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
        return np.concatenate([*called, history.history["loss"]])

    both(run)


def test_losses_after_a_call() -> None:
    def run(library: Any) -> Any:
        class Sparse(library.layers.Layer):  # type: ignore[misc, name-defined]
            def call(self, x: Any) -> Any:
                self.add_loss(0.1 * library.ops.mean(library.ops.abs(x)))
                return x

        dense = library.layers.Dense(1, kernel_initializer="ones")
        stack = library.Sequential([library.Input((4,)), Sparse(), dense])
        stack(X)
        first = [float(loss) for loss in stack.losses]
        stack(X[:5])
        return [*first, *(float(loss) for loss in stack.losses)]

    both(run)
