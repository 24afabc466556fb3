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
    "quantile": lambda x: ops.quantile(x, 0.3, axis=1) ** 2,
    "quantile several": lambda x: ops.quantile(x, [0.1, 0.55], axis=0) * W[:2],
    "quantile of all": lambda x: ops.quantile(x, 0.7, keepdims=True) * 3.0,
    "quantile nearest": lambda x: ops.quantile(x, 0.3, 1, method="nearest") ** 2,
    "percentile": lambda x: ops.percentile(x, 80, axis=(0, 1)) ** 2,
    "fmax": lambda x: ops.fmax(x, W) * W,
    "fmin": lambda x: ops.fmin(W, x * x) * W,
    "fmod": lambda x: ops.fmod(x * 3.0, np.abs(W) + 0.5) * W,
    "nanmax": lambda x: ops.nanmax(x, axis=1) ** 2,
    "nanmin": lambda x: ops.nanmin(x * W, axis=0, keepdims=True) ** 2,
    "diag": lambda x: ops.diag(x[0] ** 2, -1) * np.arange(25.0).reshape(5, 5),
    "diag above": lambda x: ops.diag(x[1], 2) * np.arange(36.0).reshape(6, 6),
    "diag of a matrix": lambda x: ops.diag(x * W, 1) ** 2,
    "diagflat": lambda x: ops.diagflat(x[:2]) * np.arange(64.0).reshape(8, 8),
    "kron": lambda x: ops.kron(x[:2], x[1:]) ** 2,
    "kron of vectors": lambda x: ops.kron(x[0], W[0, :2]) ** 2,
    "rot90": lambda x: ops.rot90(x) * W.T,
    "rot90 back": lambda x: ops.rot90(x, -1, (1, 0)) * W.T,
    "trapezoid": lambda x: ops.trapezoid(x, dx=0.5, axis=0) ** 2,
    "trapezoid over places": lambda x: ops.trapezoid(x**2, x[0]) * W[:, 0],
    "det": lambda x: ops.det(x[:, :3]) ** 2,
    "det of many": lambda x: ops.det(ops.stack([x[:2, :2], x[1:, 1:3]])) * W[0, :2],
    "slogdet": lambda x: ops.slogdet(x[:, 1:])[1] ** 2,
    "logdet": lambda x: ops.logdet(ops.matmul(x, ops.transpose(x))) ** 2,
    "inv": lambda x: ops.inv(x[:, :3]) * W[:, :3],
    "solve": lambda x: ops.solve(x[:, :3], x[:, 2:]) * W[:, :2],
    "solve a vector": lambda x: ops.solve(x[:, :3], x[:, 3]) ** 2,
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


SQUARES = X[:, :3], W[:, :3]
GIVEN: dict[str, tuple[Any, ...]] = {
    "vstack": ([X, W],),
    "quantile": (X, 0.3),
    "percentile": (X, [20, 95]),
    **dict.fromkeys(("fmax", "fmin", "fmod", "kron"), (X, W)),
    **dict.fromkeys(("det", "inv", "slogdet", "logdet"), (SQUARES[0],)),
    "solve": SQUARES,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_are_those_of_arrays(name: str) -> None:
    given = GIVEN.get(name, (X,))
    wanted = getattr(ops, name)(*given)
    found = DIFFERENTIABLE[name](*given)
    for a, b in zip(np.atleast_1d(found), np.atleast_1d(wanted), strict=True):
        np.testing.assert_allclose(a, b, 1e-6, 1e-7)


def test_second_derivatives_of_algebra() -> None:
    """d^2 log det x / dx^2 of a matrix of one element is -1 / x^2, of its inverse
    2 / x^3, of its determinant 0."""
    x = np.array([[1.7]])
    for f, wanted in (
        (lambda x: ops.sum(ops.logdet(x)), -1 / 1.7**2),
        (lambda x: ops.sum(ops.inv(x)), 2 / 1.7**3),
        (lambda x: ops.sum(ops.det(x)), 0.0),
    ):
        twice = ops.grad(lambda x, f=f: ops.sum(ops.grad(f)(x)))
        np.testing.assert_allclose(twice(x), [[wanted]], 1e-6, 1e-9)


@pytest.mark.parametrize("name", ["svd", "cholesky", "nanvar"])
def test_no_derivative_is_said(name: str) -> None:
    with pytest.raises(NotImplementedError, match=r"\[\w+\] Kurve has no derivative"):
        ops.grad(lambda x: ops.sum(getattr(ops, name)(x)))(np.eye(2))


@pytest.mark.parametrize("name", ["det", "inv", "logdet"])
def test_a_singular_matrix_is_named(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"\[linalg\] .* singular one of shape \(2, 2\)"
    ):
        ops.grad(lambda x: ops.sum(getattr(ops, name)(x)))(np.ones((2, 2)))


def test_an_infinite_value_does_not_spoil_a_quantile_that_is_not_it() -> None:
    found = ops.grad(lambda x: ops.quantile(x, 0.5))(np.array([1.0, np.inf, 2.0]))
    np.testing.assert_array_equal(found, [0.0, 0.0, 1.0])
