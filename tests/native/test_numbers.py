"""Accuracy of activations in ULP, and the random words of dropout."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kurve.core import rng
from kurve.engines.native import NativeEngine
from tests.native.plans import Builder, batches_of, mse, optimizer, state_of

erf = np.vectorize(math.erf)
FORMULAS = {
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: (
        1.0507009873554805
        * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "sin": np.sin,
    "snake": lambda x: x + np.sin(x) ** 2,
}


def applied(name: str, x: np.ndarray) -> np.ndarray:
    plan = Builder(1).activation(name).plan()
    return NativeEngine().compile(plan).predict(state_of(plan), x[:, None])[:, 0]


def points() -> np.ndarray:
    random = np.random.default_rng(0)
    near = random.normal(size=100_000) * np.exp(random.uniform(-20, 1, 100_000))
    return np.concatenate([near, np.linspace(-90, 90, 50_001)]).astype(np.float32)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_activations_are_within_a_few_ulp(name):
    x = points()
    exact = FORMULAS[name](x.astype(np.float64))
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    error = np.abs(applied(name, x) - exact) / ulp
    limit = 5 if name == "snake" else 4
    assert error.max() < limit, (x[error.argmax()], error.max())


def test_sin_is_accurate_far_out():
    x = np.linspace(-1e4, 1e4, 200_001).astype(np.float32)
    assert np.abs(applied("sin", x) - np.sin(x.astype(np.float64))).max() < 2e-7
    huge = np.float32([1e5, -3e7, 1e20, 3e38])
    np.testing.assert_allclose(
        applied("sin", huge), np.sin(huge.astype(float)), atol=1e-6
    )


def test_gelu_is_accurate_to_a_few_ulp_of_its_cdf():
    x = points()
    true = 0.5 * x.astype(np.float64) * (1 + erf(x.astype(np.float64) / math.sqrt(2)))
    assert (
        np.abs(applied("gelu", x) - true) <= 3e-7 * np.maximum(np.abs(x), 1e-30)
    ).all()


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "linear", *sorted(FORMULAS)])
def test_activations_at_the_ends(name):
    y = applied(name, np.float32([np.nan, 0.0, -0.0, 1e-40]))
    assert np.isnan(y[0])
    assert np.isfinite(y[1:]).all()
    limits = {"tanh": (-1, 1), "sigmoid": (0, 1), "softplus": (0, np.inf)}
    limits |= {"elu": (-1, np.inf), "relu": (0, np.inf)}
    if name in limits:
        y = applied(name, np.float32([-np.inf, np.inf]))
        assert tuple(y) == limits[name]


def test_dropout_drops_what_philox_says():
    plan = Builder(3, 11).dropout(0.3).plan(mse(), optimizer())
    state, batches = state_of(plan), batches_of(plan, 40, 40, shuffle=False)
    state.step, state.seed = 2**32 + 5, 2**63 + 12345
    # The loss of a network with only dropout shows which elements were kept.
    words = rng.philox(state.seed, rng.DROPOUT + 0, state.step, 40 * 33)
    kept = (words >= np.uint32(0.3 * 2**32)).reshape(40, 3, 11)
    expected = np.where(kept, batches.x * np.float32(1 / 0.7), 0)
    loss, _ = NativeEngine().compile(plan).gradient(state, batches, 0)
    assert loss == pytest.approx(np.mean((expected - batches.y) ** 2), rel=1e-6)
