"""Gradients of gradients through layers whose operations have no rule of their own:
against differences of first derivatives, and penalties of slopes that are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

RNG = np.random.default_rng(0)
SEQUENCE = (3, 2)
MASK = np.array([[1, 0, 1], [1, 1, 1]], np.float32)

LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "LSTM": (lambda: layers.LSTM(3, return_sequences=True), SEQUENCE),
    "LSTM backwards": (lambda: layers.LSTM(3, go_backwards=True), SEQUENCE),
    "GRU": (lambda: layers.GRU(3), SEQUENCE),
    "GRU before": (lambda: layers.GRU(3, reset_after=False), SEQUENCE),
    "SimpleRNN": (lambda: layers.SimpleRNN(3, use_bias=False), SEQUENCE),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(2)), SEQUENCE),
    "Conv3D": (lambda: layers.Conv3D(2, 2, 2, "same", activation="tanh"), (3, 3, 2, 2)),
    "max": (lambda: layers.MaxPooling2D(2, 1, "same"), (3, 4, 2)),
    "average": (lambda: layers.AveragePooling1D(2, 1, "same"), (4, 2)),
    "max everywhere": (lambda: layers.GlobalMaxPooling1D(), (4, 2)),
}


def slopes(layer: Any, values: np.ndarray, outer: Any = None) -> tuple[Any, Any]:
    """The input, and a number that its slopes give."""
    x = ops.convert_to_tensor(values)
    if outer is not None:
        outer.watch(x)
    with kurve.GradientTape() as tape:
        tape.watch(x)
        y = layer(ops.sin(x))
        total = ops.sum(ops.square(y)) + ops.sum(ops.sin(y))
    return x, ops.sum(ops.square(tape.gradient(total, x)))


@pytest.mark.parametrize("name", LAYERS)
def test_against_differences(name: str) -> None:
    make, shape = LAYERS[name]
    layer, start = make(), RNG.normal(size=(2, *shape)).astype(np.float32)
    layer.build((None, *shape))
    layer.set_weights([0.6 * RNG.normal(size=w.shape) for w in layer.weights])
    with kurve.GradientTape(persistent=True) as outer:
        x, total = slopes(layer, start, outer)
    found = np.asarray(outer.gradient(total, x))
    for seed in range(2):
        way = np.random.default_rng(seed).normal(size=start.shape).astype(np.float32)
        low, high = (float(slopes(layer, start + h * way)[1]) for h in (-3e-3, 3e-3))
        difference = (high - low) / 6e-3
        assert np.sum(found * way) == pytest.approx(difference, rel=1e-2, abs=1e-2)
    if not layer.weights:
        return
    weights = layer.trainable_variables
    gradients = outer.gradient(total, weights)
    before = layer.get_weights()
    ways = [RNG.normal(size=w.shape).astype(np.float32) for w in before]
    values = []
    for h in (-3e-3, 3e-3):
        layer.set_weights([w + h * way for w, way in zip(before, ways, strict=True)])
        values.append(float(slopes(layer, start)[1]))
    slope = sum(np.sum(np.asarray(g) * w) for g, w in zip(gradients, ways, strict=True))
    difference = (values[1] - values[0]) / 6e-3
    assert slope == pytest.approx(difference, rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "SimpleRNN"])
def test_slopes_in_a_loss(cell: str) -> None:
    """`ops.grad` through a recurrent layer with a mask, trained on both engines."""

    class Slopes(layers.Layer):
        supports_masking = True

        def __init__(self, **common: Any) -> None:
            super().__init__(**common)
            self.inner = getattr(layers, cell)(3)

        def call(self, x: Any, mask: Any = None) -> Any:
            def total(x: Any) -> Any:
                return ops.sum(ops.square(self.inner(x, mask=mask)), 1)

            return ops.grad(total)(x)

    x = RNG.normal(size=(2, *SEQUENCE)).astype(np.float32)
    found = []
    for engine in ("native", "reference"):
        given, m = kurve.Input(SEQUENCE), kurve.Input((3,))
        model = kurve.Model([given, m], Slopes()(given, mask=m > 0.5))
        rng = np.random.default_rng(1)
        model.set_weights([0.6 * rng.normal(size=w.shape) for w in model.weights])
        model.compile(kurve.optimizers.SGD(0.3), "mse", engine=engine)
        losses = [model.train_on_batch([x, MASK], x) for _ in range(3)]
        found.append([losses, model.predict([x, MASK], verbose=0)])
        y = found[-1][1]
        assert not y[0, 1].any() and np.abs(y[0, 0]).max() > 1e-4
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-6)
    assert losses[-1] < losses[0]


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2.0) / np.sqrt(2.0 * np.pi)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


SECOND: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tanh": (ops.tanh, lambda x: -2.0 * np.tanh(x) / np.cosh(x) ** 2),
    "sin": (ops.sin, lambda x: -np.sin(x)),
    "gelu": (
        lambda x: ops.gelu(x, approximate=False),
        lambda x: _normal(x) * (2.0 - x * x),
    ),
    "softplus": (ops.softplus, lambda x: _logistic(x) * _logistic(-x)),
    "a constant": (lambda x: 0.1 * x**3, lambda x: 0.6 * x),
}


@pytest.mark.parametrize("name", SECOND)
def test_twice_in_float64(name: str) -> None:
    """Every way to a second derivative of float64 numbers computes in float64."""
    f, second = SECOND[name]
    x = np.linspace(-2.3, 2.1, 7).reshape(-1, 1)
    expected = second(x)
    with kurve.GradientTape() as outer:
        outer.watch(given := ops.convert_to_tensor(x, dtype="float64"))
        with kurve.GradientTape() as inner:
            inner.watch(given)
            y = f(given)
        slope = inner.gradient(y, given)
    found = {
        "grad": ops.grad(ops.grad(f))(x),
        "hessian": ops.hessian(f)(x)[:, 0],
        "derivatives": ops.derivatives(f, x, ["00"])[0],
        "tapes": outer.gradient(slope, given),
    }
    for way, values in found.items():
        values = np.asarray(values).reshape(x.shape)
        assert values.dtype == np.float64, way
        np.testing.assert_allclose(values, expected, 1e-13, 1e-15, err_msg=way)


@pytest.mark.parametrize("activation", ["tanh", "sin", "gelu", "softplus"])
def test_models_in_float64(activation: str) -> None:
    """The Hessian of a model, and the gradient of its gradient, against differences of
    a formula in NumPy; and float32 as before for float32."""
    model = kurve.Sequential([kurve.Input((2,))])
    own = "gelu" if activation == "gelu" else getattr(ops, activation)
    model.add(layers.Dense(5, own))
    model.add(layers.Dense(1))
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()]
    model.set_weights(weights)
    kernel, bias, last = (w.astype(np.float64) for w in weights[:3])
    second = SECOND["gelu"][1] if activation == "gelu" else SECOND[activation][1]
    x = rng.normal(size=(4, 2))
    expected = np.einsum(
        "bh,ih,jh,h->bij", second(x @ kernel + bias), kernel, kernel, last[:, 0]
    )
    if activation == "gelu":
        # The model's own constants are float32 numbers.
        close = {"rtol": 1e-6, "atol": 1e-6}
    else:
        close = {"rtol": 1e-12, "atol": 1e-13}
    found = ops.hessian(model)(x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, 0], expected, **close)
    twice = ops.grad(lambda x: ops.grad(model)(x)[:, :1])(x)
    assert twice.dtype == np.float64
    np.testing.assert_allclose(twice, expected[:, 0], **close)
    layer = ops.grad(lambda x: ops.sum(model.layers[0](x)))(x)
    assert layer.dtype == np.float64
    narrow = ops.hessian(model)(x.astype(np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow[:, 0], expected, 1e-4, 1e-4)
