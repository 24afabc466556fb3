"""`ops.jvp`, `ops.istft` and `ops.custom_gradient`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

RNG = np.random.default_rng(0)
X, U = RNG.normal(size=(2, 3, 4)).astype(np.float32)
Y, V = RNG.normal(size=(2, 4, 2)).astype(np.float32)


def _product(x: Any, y: Any) -> Any:
    return ops.sin(x) @ ops.exp(y) * ops.sum(x)


def _slope(f: Any, step: float = 1e-6) -> np.ndarray:
    """The derivative of f(t) at 0, by differences in float64."""
    return np.asarray((f(step) - f(-step)) / (2 * step))


def test_derivative_along_a_direction() -> None:
    value, slope = ops.jvp(_product, (X, Y), (U, V))
    x, u, y, v = (a.astype(np.float64) for a in (X, U, Y, V))

    def along(t: float) -> np.ndarray:
        moved = x + t * u
        return np.sin(moved) @ np.exp(y + t * v) * moved.sum()

    np.testing.assert_allclose(value, along(0.0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope, _slope(along), rtol=1e-4, atol=1e-4)


def test_structures_and_auxiliary_results() -> None:
    def several(x: Any, y: Any) -> Any:
        return {"a": _product(x, y), "b": ops.tanh(x)}, "more"

    value, slope, more = ops.jvp(several, (X, Y), (U, V), has_aux=True)
    assert more == "more" and set(value) == {"a", "b"}
    np.testing.assert_allclose(slope["a"], ops.jvp(_product, (X, Y), (U, V))[1])
    np.testing.assert_allclose(slope["b"], (1 - np.tanh(X) ** 2) * U, rtol=1e-5)


def test_a_constant_function_has_slope_0() -> None:
    _, slope = ops.jvp(lambda x: np.ones(3, np.float32), (X,), (U,))
    np.testing.assert_array_equal(slope, np.zeros(3))


def test_in_a_model() -> None:
    class Moved(layers.Layer):
        def call(self, x: Any) -> Any:
            def f(a: Any) -> Any:
                return ops.sin(a) * ops.sum(a, -1, keepdims=True)

            y, dy = ops.jvp(f, (x,), (2.0 * x,))
            return y + dy

    inputs = kurve.Input((4,))
    model = kurve.Model(inputs, Moved()(inputs))
    x = X.astype(np.float64)

    def along(t: float) -> np.ndarray:
        moved = x + 2.0 * t * x
        return np.sin(moved) * moved.sum(-1, keepdims=True)

    expected = along(0.0) + _slope(along)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("primals", "tangents", "error", "words"),
    [
        (X, U, TypeError, "must be a list or tuple"),
        ((X,), (Y,), ValueError, "one tangent for each primal"),
        ((X, Y), (U,), ValueError, "one tangent for each primal"),
        ((np.arange(3),), (np.arange(3),), TypeError, "floating-point"),
    ],
)
def test_refused(primals: Any, tangents: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        ops.jvp(ops.sin, primals, tangents)


@pytest.mark.parametrize("window", ["hann", "hamming"])
@pytest.mark.parametrize("fft_length", [8, 16])
def test_istft_undoes_stft(window: str, fft_length: int) -> None:
    x = RNG.normal(size=(3, 40)).astype(np.float32)
    parts = ops.stft(x, 8, 2, fft_length, window)
    y = ops.istft(parts, 8, 2, fft_length, window=window)
    np.testing.assert_allclose(y, x[:, : y.shape[-1]], atol=2e-6)
    assert y.shape == (3, 40)
    assert ops.istft(parts, 8, 2, fft_length, 30, window).shape == (3, 30)
    longer = ops.istft(parts, 8, 2, fft_length, 60, window)
    np.testing.assert_array_equal(longer[:, 48:], 0.0)


def test_istft_in_a_model() -> None:
    class Same(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.istft(ops.stft(x, 8, 4, 8), 8, 4, 8)

    x = RNG.normal(size=(3, 40)).astype(np.float32)
    inputs = kurve.Input((40,))
    model = kurve.Model(inputs, Same()(inputs))
    np.testing.assert_allclose(model.predict(x, verbose=0), x, atol=2e-6)


def test_istft_needs_a_stride() -> None:
    with pytest.raises(ValueError, match="integer of at least 1"):
        ops.istft((X, X), 4, 0, 6)


def test_custom_gradient_as_keras_writes_it() -> None:
    @ops.custom_gradient
    def softplus(x: Any) -> Any:
        e = ops.exp(x)

        def grad(*args: Any, upstream: Any = None) -> Any:
            if upstream is None:
                (upstream,) = args
            return ops.multiply(upstream, 1.0 - 1.0 / ops.add(1, e))

        return ops.log(1 + e), grad

    x = ops.convert_to_tensor([1.0, -2.0])
    with kurve.GradientTape() as tape:
        tape.watch(x)
        y = softplus(x)
    expected = 1 / (1 + np.exp([-1.0, 2.0]))
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-6)
