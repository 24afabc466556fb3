"""Weights of the steps of sequences, and the names of what is computed for several
outputs by steps in Python, beside Keras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.RandomState(0)
X = RNG.randn(60, 5, 3).astype(np.float32)
Y = (X.sum(axis=-1, keepdims=True) > 0).astype(np.float32)
CLASSES = (Y[..., 0] + (X[..., 0] > 1)).astype(int)
WEIGHTS = RNG.rand(60, 5).astype(np.float32)
WEIGHTS[:, 3:] *= RNG.rand(60, 2) > 0.5  # the ends of shorter sequences

CASES = {
    "binary": ("binary_crossentropy", "sigmoid", 1, Y, ["mse"]),
    "classes": ("sparse_categorical_crossentropy", "softmax", 3, CLASSES, ["accuracy"]),
    "numbers": ("mse", None, 2, np.concatenate([Y, -Y], axis=-1), ["mae"]),
}


def network(lib: Any, kind: str, optimizer: str = "adam") -> Any:
    loss, activation, units, _, metrics = CASES[kind]
    model = lib.Sequential(
        [
            lib.Input((5, 3)),
            lib.layers.LSTM(6, return_sequences=True),
            lib.layers.TimeDistributed(lib.layers.Dense(units, activation=activation)),
        ]
    )
    random = np.random.RandomState(1)
    model.set_weights([random.randn(*w.shape) * 0.4 for w in model.get_weights()])
    model.compile(optimizer, loss, metrics=["accuracy"], weighted_metrics=metrics)
    return model


def results(lib: Any, kind: str, weights: np.ndarray, **fit: Any) -> dict[str, Any]:
    model, y = network(lib, kind), CASES[kind][3]
    options = {"batch_size": 20, "shuffle": False, "verbose": 0}
    given = {"verbose": 0, "return_dict": True}
    found = {"fit": model.fit(X, y, epochs=2, sample_weight=weights, **options, **fit)}
    found = {"fit": found["fit"].history}
    found["evaluate"] = model.evaluate(X, y, sample_weight=weights, **given)
    found["without"] = model.evaluate(X, y, **given)
    batch = X[:9], y[:9], weights[:9]
    found["tested"] = model.test_on_batch(*batch, return_dict=True)
    model.reset_metrics()
    found["trained"] = model.train_on_batch(*batch, return_dict=True)
    found["again"] = model.fit(X, y, epochs=1, **options).history
    found["weights"] = [float(np.abs(w).sum()) for w in model.get_weights()]
    return found


def assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_close(found[name], expected[name])
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 5), (60, 5, 1)])
@pytest.mark.parametrize("kind", CASES)
def test_weights_of_steps(kind: str, shape: tuple[int, ...]) -> None:
    weights = WEIGHTS.reshape(shape)
    assert_close(results(kurve, kind, weights), results(keras, kind, weights))


@pytest.mark.parametrize(
    "fit",
    [
        {"validation_split": 0.25},
        {"validation_data": (X[:20], CLASSES[:20], WEIGHTS[:20])},
    ],
    ids=["split", "validation"],
)
def test_validation(fit: dict[str, Any]) -> None:
    ours = results(kurve, "classes", WEIGHTS, **fit)
    assert_close(ours, results(keras, "classes", WEIGHTS, **fit))


def test_only_validation_weighs_steps() -> None:
    def history(lib: Any) -> Any:
        return (
            network(lib, "numbers")
            .fit(
                X,
                CASES["numbers"][3],
                shuffle=False,
                verbose=0,
                validation_data=(X[:20], CASES["numbers"][3][:20], WEIGHTS[:20]),
            )
            .history
        )

    assert_close(history(kurve), history(keras))


def test_batches_with_weights_of_steps() -> None:
    def batches() -> Iterator[Any]:
        while True:
            for i in range(0, 60, 20):
                yield X[i : i + 20], CLASSES[i : i + 20], WEIGHTS[i : i + 20]

    ours = network(kurve, "classes")
    found = ours.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0).history
    expected = results(keras, "classes", WEIGHTS)["fit"]
    assert_close(found, expected)


def test_other_weights_are_refused() -> None:
    model = network(kurve, "binary")
    for weights in (np.ones((60, 4)), np.ones((60, 5, 3)), np.ones((59, 5))):
        with pytest.raises(ValueError, match="sample_weight"):
            model.fit(X, Y, sample_weight=weights, verbose=0)
    assert model.optimizer.iterations == 0


def test_names_for_several_outputs() -> None:
    """A custom metric makes the steps run in Python; the names stay those of Keras."""

    def logs(lib: Any) -> dict[str, Any]:
        class Calls(lib.metrics.Metric):  # type: ignore[misc, name-defined]
            def __init__(self, name: str = "calls") -> None:
                super().__init__(name=name)
                self.count = self.add_weight(name="count", initializer="zeros")

            def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
                self.count.assign_add(1.0)

            def result(self) -> Any:
                return self.count

        inputs = lib.Input((3,))
        heads = [lib.layers.Dense(1, name=name)(inputs) for name in ("low", "high")]
        model = lib.Model(inputs, heads)
        model.set_weights([np.full(w.shape, 0.2) for w in model.get_weights()])
        model.compile(
            "sgd",
            ["mse", "mae"],
            loss_weights=[1.0, 0.5],
            metrics=[["mae", Calls()], ["mse"]],
        )
        x = X[:, 0]
        y = [x[:, :1], x[:, 1:2]]
        found = {
            "fit": model.fit(
                x, y, epochs=2, shuffle=False, verbose=0, validation_data=(x, y)
            ).history,
            "evaluate": model.evaluate(x, y, verbose=0, return_dict=True),
        }
        found["fit"] = {name: found["fit"][name] for name in sorted(found["fit"])}
        return found

    assert_close(logs(kurve), logs(keras))
