"""Formulas that are too large, ask for values, or lie: one clear error each."""

from __future__ import annotations

import os
import re
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import Input, Model, Sequential, layers, ops

FILE = os.path.basename(__file__)
HUGE = 10**9
X = np.ones((3, 4), np.float32)


class Own(layers.Layer):
    def __init__(self, formula: Callable[[Any], Any]) -> None:
        super().__init__()
        self.formula = formula

    def call(self, x: Any) -> Any:
        return self.formula(x)


def as_layer(formula: Callable[[Any], Any]) -> Model:
    i = Input((4,))
    return Model(i, Own(formula)(i))


def as_loss(formula: Callable[[Any], Any]) -> Model:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred), -1) + ops.mean(formula(y_pred), -1)

    model = Sequential([Input((4,)), layers.Dense(4)])
    model.compile("sgd", loss)
    model.fit(X, X, verbose=0)
    return model


WIDE = np.ones(10**5, np.float32)
LARGE: dict[str, Callable[[Any], Any]] = {
    "outer": lambda x: x + ops.sum(ops.outer(WIDE, WIDE)),
    "outer product": lambda x: ops.sum(
        ops.outer(ops.repeat(x, 10**5, 1), ops.repeat(x, 10**5, 1)), -1
    ),
    "repeat": lambda x: ops.repeat(x, HUGE, axis=1),
    "repeat an array": lambda x: x + ops.sum(ops.repeat(WIDE, 10**5)),
    "ones": lambda x: x + ops.sum(ops.ones((HUGE,))),
    "full": lambda x: x + ops.sum(ops.full((10**5, 10**5), 2.0)),
    "eye": lambda x: x + ops.sum(ops.eye(10**5)),
    "tri": lambda x: x + ops.sum(ops.tri(10**5)),
    "arange": lambda x: x + ops.sum(ops.arange(10 * HUGE)),
    "linspace": lambda x: x + ops.sum(ops.linspace(0.0, 1.0, HUGE)),
    "meshgrid": lambda x: x + ops.sum(ops.meshgrid(WIDE, WIDE)[0]),
    "tile": lambda x: ops.tile(x, (1, HUGE)),
    "tile an array": lambda x: x + ops.sum(ops.tile(WIDE, 10**5)),
    "pad": lambda x: ops.pad(x, ((0, 0), (0, HUGE))),
    "pad an array": lambda x: x + ops.sum(ops.pad(WIDE, HUGE)),
    "one_hot": lambda x: ops.one_hot(ops.cast(x, "int32"), HUGE),
    "random": lambda x: x + ops.sum(kurve.random.normal((HUGE, 8))),
    "resize": lambda x: ops.image.resize(ops.reshape(x, (-1, 2, 2, 1)), (10**5, 10**5)),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("use", [as_layer, as_loss])
def test_what_no_memory_holds_is_refused_before_it_takes_any(
    name: str, use: Callable[..., Any]
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"at most .* line \d+ of {FILE}"):
            use(LARGE[name])
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_sizes_outside_of_formulas_are_the_users_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kurve.formulas.sizes, "MAX_CONSTANT", 10)
    assert ops.ones((20,)).shape == (20,)
    with pytest.raises(ValueError, match="at most 10 elements"):
        as_layer(lambda x: x + ops.sum(ops.ones((20,))))


def ask(x: Any) -> Any:
    return x if ops.sum(x) > 0 else -x


ASKING: dict[str, Callable[[Any], Any]] = {
    "a condition": ask,
    "item": lambda x: x * ops.max(x).item(),
    "float": lambda x: x * float(ops.max(x)),
    "numpy": lambda x: x * np.asarray(x),
    "numpy's": lambda x: np.partition(x, 1),
    "items": lambda x: next(iter(x)),
}


@pytest.mark.parametrize("name", ["numpy", "numpy's"])
def test_a_loss_without_a_gradient_gets_the_line(name: str) -> None:
    with pytest.raises(TypeError, match=rf"in line \d+ of {FILE}. Try functions of"):
        as_loss(ASKING[name])


@pytest.mark.parametrize("name", ["a condition", "item", "float", "items"])
def test_a_loss_that_asks_for_values_runs_as_it_is_written(name: str) -> None:
    kurve.utils.set_random_seed(1)
    with pytest.warns(UserWarning, match=rf"loss 'loss': .* line \d+ of {FILE}"):
        model = as_loss(ASKING[name])
    kurve.utils.set_random_seed(1)
    other = Sequential([Input((4,)), layers.Dense(4)])
    optimizer = kurve.optimizers.SGD(0.01)
    with kurve.GradientTape() as tape:
        p = other(X)
        loss = ops.mean(ops.square(X - p)) + ops.mean(ASKING[name](p))
    weights = other.trainable_weights
    optimizer.apply(tape.gradient(loss, weights), weights)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [500, 1500])
def test_a_deep_formula_is_traced_in_linear_time(count: int) -> None:
    def deep(x: Any) -> Any:
        for _ in range(count):
            x = ops.sin(x) * 1.001 + 0.1
        return x

    calls = [0]
    known = kurve.formulas.graph.Graph.append_op

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return known(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kurve.formulas.graph.Graph, "append_op", counted)
        model = as_layer(deep)
    assert calls[0] < 12 * count
    expected = X.astype(np.float64)
    for _ in range(count):
        expected = np.sin(expected) * 1.001 + 0.1
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-4)


def test_a_layer_that_lies_about_its_shape() -> None:
    class Lies(layers.Layer):
        said: Any = (None, 3)

        def call(self, x: Any) -> Any:
            return ops.concatenate([x, x], -1)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return self.said

    with pytest.raises(ValueError, match=r"Received: \(None, 3\).*returns \(None, 8\)"):
        Lies()(Input((4,)))
    for said in ((None, 8), [None, None], (7, 8)):
        Lies.said = said
        assert Lies()(Input((4,))).shape == (None, 8)


def test_a_model_that_trains_as_it_is_written_says_so_once() -> None:
    def found(run_eagerly: bool) -> list[str]:
        model = Sequential([Input((4,)), layers.Dense(4), Own(ask)])
        model.compile("sgd", "mse", run_eagerly=run_eagerly)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                model.fit(X, X, verbose=0)
        return [str(warning.message) for warning in caught]

    (message,) = found(False)
    assert re.search(rf"slower than .* line \d+ of {FILE}. .*ops.where.*run_e", message)
    assert found(True) == []


def test_dense_needs_an_axis() -> None:
    with pytest.raises(ValueError, match=r"Received: samples of shape \(\)"):
        layers.Dense(1)(Input(()))
