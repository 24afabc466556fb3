"""Functions with a gradient of one's own, on tapes and in models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kurve
from kurve import GradientTape, layers, ops
from kurve.gradients.own import custom_gradient


@custom_gradient
def halved(x: Any) -> Any:
    return x * 1.0, lambda dy: -0.5 * dy


@custom_gradient
def product(x: Any, y: Any) -> Any:
    return x * y, lambda dy: (dy * y, 3.0 * dy * x)


@custom_gradient
def clipped(x: Any) -> Any:
    return x * 1.0, lambda dy: ops.clip(dy, -0.1, 0.1)


@custom_gradient
def cube(x: Any) -> Any:
    return x**3, lambda dy: dy * 3.0 * x**2


def test_on_a_tape() -> None:
    x, y = kurve.Variable([1.0, 2.0]), ops.convert_to_tensor([3.0, 5.0])
    with GradientTape(persistent=True) as tape:
        tape.watch(y)
        z = ops.sum(halved(x) ** 2)
        w = ops.sum(product(x, y))
        v = ops.sum(clipped(x * x))
    assert tape.gradient(z, x).tolist() == [-1.0, -2.0]
    dx, dy = tape.gradient(w, [x, y])
    assert dx.tolist() == [3.0, 5.0] and dy.tolist() == [3.0, 6.0]
    np.testing.assert_allclose(tape.gradient(v, x), [0.2, 0.4], rtol=1e-6)
    assert tape.gradient(z, y) is None
    assert product(2.0, 3.0) == 6.0


def test_its_formula_is_differentiated_again() -> None:
    x = kurve.Variable(2.0)
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = cube(x)
        slope = inner.gradient(y, x)
    assert (float(slope), float(outer.gradient(slope, x))) == (12.0, 12.0)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_in_a_model(engine: str) -> None:
    """The factor reaches the layers before it."""

    class Reverse(layers.Layer):
        def call(self, x: Any) -> Any:
            return halved(x)

    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    found = []
    for layer in (Reverse(), layers.Identity()):
        first = layers.Dense(2, kernel_initializer="ones")
        last = layers.Dense(1, kernel_initializer="ones")
        model = kurve.Sequential([kurve.Input((3,)), first, layer, last])
        model.compile(kurve.optimizers.SGD(0.1), "mse", engine=engine)
        model.fit(x, np.zeros((6, 1)), batch_size=6, verbose=0)
        found.append((first.kernel.numpy() - 1.0, last.kernel.numpy()))
    np.testing.assert_allclose(found[0][0], -0.5 * found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def test_a_gradient_that_is_no_factor_is_refused_in_a_model() -> None:
    class Clip(layers.Layer):
        def call(self, x: Any) -> Any:
            return clipped(x)

    with pytest.raises(NotImplementedError, match="factor for each element"):
        Clip()(kurve.Input((3,)))
    x = kurve.Variable(1.0)
    wrong = custom_gradient(lambda x, y: (x * y, lambda dy: dy))
    with GradientTape() as tape:
        y = wrong(x, 2.0)
    with pytest.raises(ValueError, match="one value for each"):
        tape.gradient(y, x)
