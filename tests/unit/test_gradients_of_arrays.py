"""Gradients through functions of arrays, against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kurve import ops
from kurve.formulas.differentiable import DIFFERENTIABLE
from kurve.formulas.only_arrays import WATCHED

RNG = np.random.default_rng(2)
X, W = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))

FORMULAS: dict[str, Callable[[Any], Any]] = {
    "sort": lambda x: ops.sort(x) * W,
    "sort 0": lambda x: ops.sort(x, axis=0) * W,
    "median": lambda x: ops.median(x, axis=-1) ** 2,
    "median odd": lambda x: ops.median(x, axis=0, keepdims=True) * W,
    "median of all": lambda x: ops.median(x) * 2.0,
    "median of two axes": lambda x: ops.median(x, axis=(0, 1), keepdims=True) * W,
    "vstack": lambda x: ops.vstack([x, x * x]) ** 2,
    "fliplr": lambda x: ops.fliplr(x) * W,
    "flipud": lambda x: ops.flipud(x) * W,
    "nansum": lambda x: ops.nansum(x * W, axis=1) ** 2,
    "nanmean": lambda x: ops.nanmean(x * W, axis=0, keepdims=True) ** 2,
}


def test_table() -> None:
    assert set(WATCHED) == set(DIFFERENTIABLE) == {n.split()[0] for n in FORMULAS}


@pytest.mark.parametrize("name", FORMULAS)
def test_equal_differences(name: str) -> None:
    def f(x: Any) -> Any:
        return ops.sum(FORMULAS[name](x))

    expected = np.empty_like(X)
    for place in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[place] = 1e-6
        expected[place] = (float(f(X + step)) - float(f(X - step))) / 2e-6
    np.testing.assert_allclose(ops.grad(f)(X), expected, 1e-6, 1e-7)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_are_numpys(name: str) -> None:
    x = [X, W] if name == "vstack" else X
    wanted = getattr(np, name)(x)
    np.testing.assert_allclose(DIFFERENTIABLE[name](x), wanted, 1e-12)
