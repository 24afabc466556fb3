"""Matrix products of two values."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Arrays, Cache, Gradients
from kurve.plan import Op


def _matrices(op: Op, xs: Arrays) -> list[np.ndarray]:
    """a (..., M, K) and b (..., K, N)."""
    flags = op.attrs["transpose_a"], op.attrs["transpose_b"]
    return [x.swapaxes(-1, -2) if t else x for x, t in zip(xs, flags, strict=True)]


def matmul_forward(
    op: Op, xs: Arrays, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = a b, matrix by matrix; transposed matrices have their last two axes
    swapped."""
    a, b = _matrices(op, xs)
    return a @ b, xs


def matmul_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[Arrays, Gradients]:
    """da = dy b^T, db = a^T dy."""
    a, b = _matrices(op, cache)
    return _matrices(op, [dy @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ dy]), {}
