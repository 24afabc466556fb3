"""Linear algebra with derivatives, for values that a tape watches.

The results are NumPy's; to these, terms are added that are zero and have the right
derivatives, up to the third.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kurve.formulas import functions as ops


def _inverse(a: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        raise ValueError(
            "[linalg] the derivative needs the inverse of the matrix. Received: a "
            f"singular one of shape {a.shape}. Try x + 1e-6 * ops.eye({a.shape[-1]})."
        ) from None


def inv(x: Any) -> Any:
    """Two steps of Newton's method for the inverse, from NumPy's."""
    y: Any = _inverse(np.asarray(x))
    for _ in range(2):
        y = 2.0 * y - ops.matmul(ops.matmul(y, x), y)
    return y


def logarithm_of_det(x: Any) -> Any:
    """log |det x| = log |det a| + tr log(1 + d), where a is the value of x and
    d = a^-1 (x - a)."""
    a = np.asarray(x)
    d = ops.matmul(_inverse(a), x - a)
    square = ops.matmul(d, d)
    series = d - square / 2.0 + ops.matmul(square, d) / 3.0
    return np.linalg.slogdet(a)[1] + ops.sum(series * np.eye(a.shape[-1]), (-2, -1))


def det(x: Any) -> Any:
    """det a exp(log |det x| - log |det a|)."""
    a = np.asarray(x)
    return np.linalg.det(a) * ops.exp(logarithm_of_det(x) - np.linalg.slogdet(a)[1])


def slogdet(x: Any) -> Any:
    """Sign and logarithm of the determinant."""
    return np.linalg.slogdet(np.asarray(x))[0], logarithm_of_det(x)


def solve(a: Any, b: Any) -> Any:
    """x + a^-1 (b - a x), where x is NumPy's solution."""
    vector = np.ndim(b) == np.ndim(a) - 1
    right = ops.expand_dims(b, -1) if vector else b
    inverse = inv(a)
    x = np.linalg.solve(np.asarray(a), np.asarray(right))
    y = x + ops.matmul(inverse, right - ops.matmul(a, x))
    return ops.squeeze(y, -1) if vector else y
