"""Metrics with their own `update_state` as a part of the model's steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, metrics, ops, optimizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(203, 4)).astype(np.float32)
Y = RNG.normal(size=(203, 1)).astype(np.float32)


class MeanError(metrics.Metric):
    def __init__(self, name: str = "own") -> None:
        super().__init__(name=name)
        self.total = self.add_weight(name="total")
        self.count = self.add_weight(name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.abs(y_true - y_pred)))
        self.count.assign_add(ops.cast(ops.size(y_true), "float32"))

    def result(self) -> Any:
        return self.total / self.count


class Above(metrics.Metric):
    """How many targets are above an attribute."""

    def __init__(self, name: str = "own") -> None:
        super().__init__(name=name)
        self.count = self.add_weight(name="count")
        self.limit = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.count.assign_add(ops.sum(ops.cast(y_true > self.limit, "float32")))

    def result(self) -> Any:
        return float(self.count)


class Squares(metrics.Mean):
    def __init__(self, name: str = "own") -> None:
        super().__init__(name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(ops.mean(ops.square(y_true - y_pred), axis=-1))


class Both(metrics.Metric):
    def __init__(self, name: str = "own") -> None:
        super().__init__(name=name)
        self.error = metrics.MeanAbsoluteError()
        self.mean = metrics.Mean()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.error.update_state(y_true, y_pred)
        self.mean.update_state(y_true)

    def result(self) -> Any:
        return self.error.result() + self.mean.result()


class Python(metrics.Metric):
    """What no step can do: it counts its calls in Python, and reads values."""

    def __init__(self, name: str = "own") -> None:
        super().__init__(name=name)
        self.last = self.add_weight(name="last")
        self.calls = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.calls += 1
        self.last.assign(self.last * 0.5 + np.asarray(y_true).max())

    def result(self) -> Any:
        return float(self.last)


def _compiled(metric: Any) -> Any:
    kurve.utils.set_random_seed(0)
    model = kurve.Sequential([kurve.Input((4,)), layers.Dense(8, "relu")])
    model.add(layers.Dense(1))
    model.compile(optimizers.SGD(0.01), "mse", metrics=[metric])
    return model


def _epochs(model: Any, count: int = 4) -> list[float]:
    """The metric in each of several calls of `fit`, and in `evaluate`."""
    found = []
    for _ in range(count):
        history = model.fit(X, Y, batch_size=16, shuffle=False, verbose=0).history
        found.append(float(history["own"][0]))
    logs = model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    return [*found, float(logs["own"])]


def _is_in_bulk(model: Any, name: str = "train_step") -> bool:
    traces = model._functions[name]._traces.values()
    return all(not isinstance(t, str) and t.in_bulk for t in traces)


def test_sums_become_a_part_of_the_step() -> None:
    own = _compiled(MeanError())
    expected = _epochs(_compiled(metrics.MeanAbsoluteError(name="own")))
    np.testing.assert_allclose(_epochs(own), expected, rtol=1e-5)
    assert _is_in_bulk(own) and _is_in_bulk(own, "test_step")


@pytest.mark.parametrize("other", [False, True])
def test_calls_of_other_metrics(other: bool) -> None:
    own = _compiled(Both() if other else Squares())
    name = "mean_absolute_error" if other else "mean_squared_error"
    plain = metrics.MeanAbsoluteError if other else metrics.MeanSquaredError
    expected = np.array(_epochs(_compiled(plain(name="own"))))
    expected += Y.mean() if other else 0.0
    np.testing.assert_allclose(_epochs(own), expected, rtol=1e-5, err_msg=name)
    assert _is_in_bulk(own)


def test_what_needs_values_is_called_for_each_batch() -> None:
    metric = Python()
    model = _compiled(metric)
    expected = 0.0
    for first in range(0, 203, 16):
        expected = 0.5 * expected + Y[first : first + 16].max()
    np.testing.assert_allclose(_epochs(model), expected, rtol=1e-6)
    assert metric.calls == 5 * 13
    assert not _is_in_bulk(model)


def test_a_changed_attribute_counts_from_the_next_batch() -> None:
    metric = Above()
    model = _compiled(metric)
    assert _epochs(model) == [float((Y > 0.0).sum())] * 5
    metric.limit = 1.0
    assert _epochs(model, 2) == [float((Y > 1.0).sum())] * 3


def test_a_step_is_traced_once_for_several_fits() -> None:
    model = _compiled(MeanError())
    _epochs(model, 20)
    assert model._functions["train_step"].why_not is None
    sizes = {16, 203 % 16}
    assert len(model._functions["train_step"]._traces) == len(sizes)


def test_size_in_a_step_is_that_of_the_batch() -> None:
    found = []

    @kurve.function
    def step(x: Any) -> Any:
        found.append(ops.size(x))
        return ops.sum(x) / ops.size(x)

    for _ in range(3):
        value = step(X)
    assert found == [X.size] * len(found)
    np.testing.assert_allclose(value, X.mean(), rtol=1e-4)
