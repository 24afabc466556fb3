"""Second derivatives of formulas by their inputs, beside JAX's in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kurve
from kurve import layers, ops

jax: Any = pytest.importorskip("jax")

FORMULAS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "tanh": (ops.tanh, lambda n, x: n.tanh(x)),
    "sin": (ops.sin, lambda n, x: n.sin(x)),
    "cos": (ops.cos, lambda n, x: n.cos(x)),
    "exp": (ops.exp, lambda n, x: n.exp(x)),
    "gelu": (
        lambda x: ops.gelu(x, approximate=False),
        lambda n, x: x * 0.5 * (1.0 + jax.scipy.special.erf(x / 2.0**0.5)),
    ),
    "softplus": (ops.softplus, lambda n, x: n.logaddexp(x, 0.0)),
    "sigmoid": (ops.sigmoid, lambda n, x: 1.0 / (1.0 + n.exp(-x))),
    "silu": (ops.silu, lambda n, x: x / (1.0 + n.exp(-x))),
    "cube": (lambda x: x**3, lambda n, x: x**3),
    "ratio": (lambda x: x / (2.0 + x * x), lambda n, x: x / (2.0 + x * x)),
    "sqrt": (lambda x: ops.sqrt(3.0 + x), lambda n, x: n.sqrt(3.0 + x)),
    "log": (lambda x: ops.log(3.0 + x), lambda n, x: n.log(3.0 + x)),
    "arctan": (ops.arctan, lambda n, x: n.arctan(x)),
    "twice": (lambda x: ops.tanh(ops.sin(2.0 * x)), lambda n, x: n.tanh(n.sin(2 * x))),
    "product": (lambda x: x * ops.exp(-x * x), lambda n, x: x * n.exp(-x * x)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_equal_jax(name: str, engine: str) -> None:
    formula, theirs = FORMULAS[name]

    class Derivatives(layers.Layer):
        def call(self, x: Any) -> Any:
            found = ops.derivatives(formula, x, ["", "0", "00"])
            return ops.concatenate(found, -1)

    x = np.linspace(-2.0, 2.0, 41, dtype=np.float32)[:, None]
    inputs = kurve.Input((1,))
    found = kurve.Model(inputs, Derivatives()(inputs)).predict(x, verbose=0)
    with jax.enable_x64(True):

        def f(v: Any) -> Any:
            return theirs(jax.numpy, v)

        one, two = jax.grad(f), jax.grad(jax.grad(f))
        points = x[:, 0].astype(np.float64)
        wanted = np.stack([jax.vmap(g)(points) for g in (f, one, two)], 1)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=3e-6)
