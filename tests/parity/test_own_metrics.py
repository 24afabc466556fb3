"""Metrics with an `update_state` of their own, in models, beside Keras."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
import pytest

import kurve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 5)).astype(np.float32)
Y = (X.sum(axis=1) > 0.3).astype(np.float32)[:, None]
WEIGHTS = RNG.uniform(0.1, 2.0, 150).astype(np.float32)


def classes(lib: Any) -> list[Any]:
    """Objects of custom metrics, written against one of the libraries."""

    class Harmonic(lib.metrics.Metric):  # type: ignore[misc]
        """F1 of two metrics among the attributes."""

        def __init__(self, name: str = "harmonic") -> None:
            super().__init__(name=name)
            self.p, self.r = lib.metrics.Precision(), lib.metrics.Recall()

        def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
            self.p.update_state(y, p, sample_weight)
            self.r.update_state(y, p, sample_weight)

        def result(self) -> Any:
            p, r = self.p.result(), self.r.result()
            return 2 * p * r / (p + r + 1e-7)

        def reset_state(self) -> None:
            self.p.reset_state()
            self.r.reset_state()

    class Positives(lib.metrics.Metric):  # type: ignore[misc]
        """A count in a weight, with functions of ops."""

        def __init__(self, name: str = "positives") -> None:
            super().__init__(name=name)
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
            found = lib.ops.cast(lib.ops.greater(p, 0.5), "float32") * y
            self.count.assign_add(lib.ops.sum(found))

        def result(self) -> Any:
            return float(self.count)

    class Rounded(lib.metrics.BinaryAccuracy):  # type: ignore[misc]
        """A metric of the library that is given other numbers."""

        def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
            super().update_state(y, lib.ops.round(p * 4.0) / 4.0, sample_weight)

    return [Harmonic(), Positives(), Rounded(name="rounded"), "mae"]


def model_of(lib: Any, weights: list[np.ndarray] | None, **options: Any) -> Any:
    x = lib.Input((5,))
    h = lib.layers.Dense(8, activation="tanh")(x)
    model = lib.Model(x, lib.layers.Dense(1, activation="sigmoid")(h))
    if weights is not None:
        model.set_weights(weights)
    model.compile(
        lib.optimizers.Adam(0.01),
        "binary_crossentropy",
        metrics=classes(lib),
        **options,
    )
    return model


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_logs(engine: str) -> None:
    utils = kurve.utils.set_random_seed
    utils(1)
    keras.utils.set_random_seed(1)
    theirs = model_of(keras, None)
    ours = model_of(kurve, theirs.get_weights(), engine=engine)
    common: Any = {"batch_size": 40, "shuffle": False, "epochs": 4, "verbose": 0}
    common |= {"validation_data": (X[:60], Y[:60]), "sample_weight": WEIGHTS}
    logs = [m.fit(X, Y, **common).history for m in (theirs, ours)]
    assert set(logs[0]) == set(logs[1])
    for name, expected in logs[0].items():
        # Keras does not weigh the losses of batches by their rows.
        tolerance = 2e-2 if name == "loss" else 1e-5
        np.testing.assert_allclose(
            logs[1][name], expected, rtol=tolerance, err_msg=name
        )
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    found = [m.evaluate(X, Y, verbose=0, return_dict=True) for m in (theirs, ours)]
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    batch = ours.train_on_batch(X[:40], Y[:40], return_dict=True)
    assert set(batch) == set(found[0])


class Sums(Protocol):
    """What both libraries' metrics have."""

    variables: list[Any]
    result: Any
    stateless_update_state: Any
    stateless_result: Any
    stateless_reset_state: Any


def sums(library: Any) -> Any:
    """A metric whose state is in variables made by hand, and in another metric."""

    class OwnSums(library.metrics.Metric):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="sums")
            self.total = library.Variable(0.0)
            self.more = {"squares": [library.Variable(0.0)]}
            self.parts = [library.metrics.Mean()]

        def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(library.ops.sum(p))
            self.more["squares"][0].assign_add(library.ops.sum(p**2))
            self.parts[0].update_state(p)

        def result(self) -> Any:
            return self.total + self.more["squares"][0] + self.parts[0].result()

    return OwnSums()


def test_variables_made_by_hand_are_reset_between_epochs() -> None:
    x, y = np.ones((8, 2), np.float32), np.zeros((8, 1), np.float32)
    found = []
    for library in (kurve, keras):
        dense = library.layers.Dense(1, kernel_initializer="ones", trainable=False)
        model = library.Sequential([library.Input((2,)), dense])
        model.compile("sgd", "mse", metrics=[sums(library)])
        logs = [model.evaluate(x, y, batch_size=4, verbose=0) for _ in range(2)]
        found.append([*logs, len(sums(library).variables)])
    assert found[0] == found[1]


METRICS: dict[str, dict[str, Any]] = {
    "MeanSquaredError": {},
    "BinaryAccuracy": {},
    "AUC": {"num_thresholds": 20},
    "Precision": {},
    "F1Score": {"threshold": 0.5},
    "R2Score": {},
}


@pytest.mark.parametrize("name", ["own", *METRICS])
def test_stateless(name: str) -> None:
    """The metric itself stays as it is."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, (3, 8, 2)).astype(np.float32)
    p = generator.uniform(0.0, 1.0, (3, 8, 2)).astype(np.float32)
    found = []
    for library in (kurve, keras):
        if name == "own":
            metric: Sums = sums(library)
        else:
            metric = getattr(library.metrics, name)(**METRICS[name])
        if library is keras and name in ("F1Score", "R2Score"):
            metric._build(y[0].shape, p[0].shape)
        values = metric.stateless_reset_state()
        for i in range(3):
            values = metric.stateless_update_state(values, y[i], p[i])
        result = metric.stateless_result(values)
        for value in (*metric.stateless_reset_state(), *metric.variables):
            assert not np.any(library.ops.convert_to_numpy(value))
        found.append(library.ops.convert_to_numpy(result))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    with pytest.raises(ValueError, match="metric_variables"):
        sums(kurve).stateless_result([1.0])
