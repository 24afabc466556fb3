"""Activations against formulas written a second time, in float64 by hand."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import Input, Sequential, activations, layers
from kurve.activations import Activation
from kurve.ops.activation_arguments import ALONG_AN_AXIS

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
    "exponential": math.exp,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hard_sigmoid": lambda x: min(max(x / 6.0 + 0.5, 0.0), 1.0),
    "hard_silu": lambda x: x * min(max(x / 6.0 + 0.5, 0.0), 1.0),
    "hard_swish": lambda x: x * min(max(x / 6.0 + 0.5, 0.0), 1.0),
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "hard_shrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "soft_shrink": lambda x: math.copysign(max(abs(x) - 0.5, 0.0), x),
    "tanh_shrink": lambda x: x - math.tanh(x),
    "celu": lambda x: x if x > 0 else math.expm1(x),
    "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
    "sparse_plus": lambda x: x if x > 1 else 0.0 if x < -1 else 0.25 * (x + 1) ** 2,
    "sparse_sigmoid": lambda x: min(max((x + 1) / 2, 0.0), 1.0),
    "squareplus": lambda x: (x + math.sqrt(x * x + 4.0)) / 2,
}
NEEDS_ARGUMENTS = {"threshold"}


def test_every_activation_has_a_formula_here() -> None:
    others = {*ALONG_AN_AXIS, *NEEDS_ARGUMENTS}
    assert FORMULAS.keys() | others == activations._TABLE.keys()


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
    most = {"exponential": 80.0, "squareplus": 1e19}.get(name, 3e38)
    ends = np.array([-most, -min(most, 1e4), min(most, 1e4), most], np.float32)
    assert np.isfinite(activations.get(name)(ends)).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_nan(name: str) -> None:
    assert np.isnan(activations.get(name)(np.array([np.nan]))).all()


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
        Activation("relu", max_value=6, threshold=np.float32(0.5)),
        Activation("gelu", approximate=True),
        Activation("threshold", threshold=1.0, default_value=-1.0),
        Activation("softmax", axis=1),
    ],
    ids=str,
)
def test_config_round_trip(activation: Activation) -> None:
    config = json.loads(json.dumps(activations.to_config(activation)))
    assert activations.get(config) == activation
    assert pickle.loads(pickle.dumps(activation)) == activation
    assert hash(copy.deepcopy(activation)) == hash(activation)
    assert eval(repr(activation), {"Activation": Activation}) == activation


def test_arguments_in_a_call() -> None:
    """By position and by name, as of Keras's functions."""
    x = np.array([-2.0, 0.5, 2.0, 9.0])
    relu, leaky = activations.relu, activations.leaky_relu
    np.testing.assert_allclose(relu(x, 0.5), [-1.0, 0.5, 2.0, 9.0])
    np.testing.assert_allclose(relu(x, max_value=6.0), [0.0, 0.5, 2.0, 6.0])
    np.testing.assert_allclose(relu(x, 0.5, 6.0, 1.0), [-1.5, -0.25, 2.0, 6.0])
    np.testing.assert_allclose(relu(x, threshold=1.0), [0.0, 0.0, 2.0, 9.0])
    np.testing.assert_allclose(leaky(x, 0.5), leaky(x, negative_slope=0.5))
    np.testing.assert_allclose(activations.threshold(x, 1.0, 7.0), [7.0, 7.0, 2.0, 9.0])
    np.testing.assert_allclose(
        activations.elu(x, alpha=2.0)[:1], [2.0 * math.expm1(-2.0)]
    )
    assert (relu(x) == activations.get("relu")(x)).all()


def test_arguments_that_make_another_activation() -> None:
    """relu with a slope is the leaky_relu that engines have fused."""
    assert Activation("relu", negative_slope=0.1) == Activation("leaky_relu", 0.1)
    assert Activation("relu", max_value=None, threshold=0) == activations.relu
    assert Activation("relu", 0.7) == activations.relu  # alpha is not used


def test_activations_along_an_axis() -> None:
    x = np.random.default_rng(1).normal(size=(3, 4, 6))
    log = activations.log_softmax(x, axis=1)
    np.testing.assert_allclose(np.exp(log).sum(axis=1), np.ones((3, 6)))
    np.testing.assert_allclose(log, np.log(activations.softmax(x, axis=1)))
    gated = activations.glu(x, axis=-1)
    np.testing.assert_allclose(gated, x[..., :3] * activations.sigmoid(x[..., 3:]))
    sparse = activations.sparsemax(5 * x)
    np.testing.assert_allclose(sparse.sum(axis=-1), np.ones((3, 4)))
    # On the support x - y is one number, and elsewhere x is below it (KKT).
    for row, y in zip(5 * x.reshape(-1, 6), sparse.reshape(-1, 6), strict=True):
        level = (row - y)[y > 0]
        np.testing.assert_allclose(level, level[0])
        assert (row[y == 0] <= level[0]).all() and (y >= 0).all()
    for name in ("log_softmax", "glu", "sparsemax"):
        with pytest.raises(NotImplementedError, match=rf"^\[{name}\] engines do not"):
            Sequential([Input((4,)), layers.Dense(4, name)])


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no threshold": (
        lambda: layers.Activation("threshold")(np.ones((1, 2))),
        ValueError,
        "[threshold] the arguments threshold and default_value must be given. Received:"
        " no threshold. Try Activation('threshold', threshold=0.0, default_value=0.0).",
    ),
    "argument": (
        lambda: Activation("relu", max_valeu=6.0),
        TypeError,
        "[relu] unknown argument. Received: 'max_valeu'. Did you mean 'max_value'?",
    ),
    "number": (
        lambda: Activation("relu", max_value="6"),
        ValueError,
        "[relu] max_value must be a finite number. Received: max_value='6'.",
    ),
    "flag": (lambda: activations.gelu([1.0], 1), TypeError, "[gelu] approximate must"),
    "celu": (lambda: Activation("celu", 0.0), ValueError, "[celu] alpha must not be 0"),
    "root": (
        lambda: Activation("squareplus", b=-1.0),
        ValueError,
        "[squareplus] b must be at least 0.",
    ),
    "many": (
        lambda: activations.tanh([1.0], 2.0),
        TypeError,
        "[tanh] there are 0 arguments besides x. Received: 1.",
    ),
    "axis": (lambda: activations.softmax([1.0], 3), ValueError, "[softmax] axis must"),
    "axis of a layer": (
        lambda: layers.Activation(Activation("softmax", axis=1))(np.ones((1, 2, 3))),
        ValueError,
        "[softmax] axis must be the last one of samples of shape (2, 3).",
    ),
    "odd": (lambda: activations.glu(np.ones((2, 3))), ValueError, "[glu] the axis"),
    "assignment": (
        lambda: setattr(activations.relu, "alpha", 2.0),
        AttributeError,
        "[relu] activations are immutable. Received: alpha=2.0.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    make, kind, text = WRONG[name]
    with pytest.raises(kind) as error:
        make()
    assert str(error.value).startswith(text)


def test_get() -> None:
    assert activations.get(None) is activations.linear
    assert activations.get("relu") is activations.relu
    assert activations.get(activations.tanh) is activations.tanh


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_over_several_axes(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    function = getattr(activations, name)
    flat = function(x.reshape(2, 12)).reshape(2, 3, 4)
    np.testing.assert_allclose(function(x, axis=(1, 2)), flat, rtol=1e-12)
    with pytest.raises(ValueError, match="an integer or a tuple of integers"):
        function(x, axis=(1, 2.5))
    for axes in ((1, 3), (1, 1), (2, -1)):
        with pytest.raises(ValueError, match="axis must be one of x"):
            function(x, axis=axes)
    with pytest.raises(ValueError, match="axis must be an integer"):
        activations.glu(x, axis=(1, 2))
