"""Activations against formulas written a second time, in float64 by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from kurve import activations
from kurve.activations import Activation

POINTS = [-80.0, -20.0, -3.0, -1.0, -0.1, -1e-8, 0.0, 1e-8, 0.3, 1.0, 2.5, 20.0, 80.0]

SELU = 1.0507009873554805, 1.6732632423543772


def logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


FORMULAS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "relu": lambda x: x if x > 0 else 0.0,
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: SELU[0] * (x if x > 0 else SELU[1] * math.expm1(x)),
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2.0)),
    "silu": lambda x: x * logistic(x),
    "swish": lambda x: x * logistic(x),
    "sigmoid": logistic,
    "tanh": math.tanh,
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1.0 + abs(x)),
    "sin": math.sin,
    "snake": lambda x: x + math.sin(x) ** 2,
}


def test_every_activation_has_a_formula_here() -> None:
    assert FORMULAS.keys() | {"softmax"} == activations._TABLE.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name: str) -> None:
    x = np.array(POINTS)
    expected = [FORMULAS[name](point) for point in POINTS]
    result = activations.get(name)(x)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-15)
    single = activations.get(name)(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_far_from_zero_nothing_overflows(name: str) -> None:
    """Warnings are errors here, and the largest inputs give finite outputs."""
    ends = np.array([-3e38, -1e4, 1e4, 3e38], np.float32)
    assert np.isfinite(activations.get(name)(ends)).all()


def test_softmax() -> None:
    x = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]])
    e = np.exp(np.array([1.0, 2.0, 3.0]))
    expected = [e / e.sum(), [1.0, 0.0, 0.0]]
    np.testing.assert_allclose(activations.softmax(x), expected, atol=1e-15)
    np.testing.assert_allclose(activations.softmax(x + 7.0), expected, atol=1e-12)


def test_selu_keeps_unit_variance() -> None:
    """What its two numbers are for."""
    x = np.random.default_rng(1).normal(size=1_000_000)
    y = activations.selu(x)
    assert y.mean() == pytest.approx(0.0, abs=5e-3)
    assert y.var() == pytest.approx(1.0, abs=1e-2)


def test_integers_and_lists() -> None:
    np.testing.assert_array_equal(activations.relu([-1, 2]), [0.0, 2.0])
    assert activations.relu(np.array([-1, 2])).dtype == np.float32


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_alpha(alpha: float) -> None:
    x = np.array([-2.0, 2.0])
    leaky = Activation("leaky_relu", alpha)
    np.testing.assert_allclose(leaky(x), [-2.0 * alpha, 2.0])
    elu = Activation("elu", alpha)
    np.testing.assert_allclose(elu(x), [alpha * math.expm1(-2.0), 2.0])


@pytest.mark.parametrize("alpha", [1e-30, 1e-3, 0.5, 2.5, 100.0, 1e30])
def test_snake_of_any_alpha(alpha: float) -> None:
    """Finite where x is, also where alpha x is not; never falling."""
    snake = Activation("snake", alpha)
    x = np.array([-2.0, 0.0, 0.7, 3.0])
    expected = [v + math.sin(alpha * v) ** 2 / alpha for v in x]
    np.testing.assert_allclose(snake(x), expected, rtol=1e-12)
    far = np.array([-3e38, -1e20, 1e20, 1e38], np.float32)
    np.testing.assert_allclose(snake(far), far, rtol=1e-6)
    assert np.isnan(snake(np.array([np.nan]))).all()
    dense = np.linspace(-10, 10, 2001) / max(alpha, 0.1)
    assert (np.diff(snake(dense)) >= 0).all()


@pytest.mark.parametrize(
    "activation",
    [
        *activations._TABLE.values(),
        Activation("leaky_relu", 0.05),
        Activation("snake", 3.0),
    ],
    ids=str,
)
def test_config_round_trip(activation: Activation) -> None:
    assert activations.get(activations.to_config(activation)) == activation


def test_get() -> None:
    assert activations.get(None) is activations.linear
    assert activations.get("relu") is activations.relu
    assert activations.get(activations.tanh) is activations.tanh
