"""Reductions and cumulative sums along axes of a sample."""

from __future__ import annotations

import math

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, number, total
from kurve.plan import Op


def along(op: Op, x: np.ndarray, count: int) -> np.ndarray:
    """A batch as (outer, n, inner), where n covers `count` axes starting at "axis"."""
    axis = number(op, "axis")
    n = math.prod(op.in_shape[axis : axis + count])
    return x.reshape(-1, n, math.prod(op.in_shape[axis + count :]))


def reduce_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """x (outer, n, inner) -> y (outer, inner): sum, mean, product, maximum or minimum
    along n, index of the first maximum, or logsumexp."""
    elements = along(op, x, number(op, "count"))
    mode = str(op.attrs["mode"])
    y = REDUCTIONS[mode](elements).astype(x.dtype)
    return y.reshape(len(x), *op.out_shape), elements


def reduce_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = dy dy/dx, for every element along n."""
    x, mode = cache, str(op.attrs["mode"])
    dy = dy.reshape(len(x), 1, -1)
    if mode in ("sum", "mean"):
        dx = np.broadcast_to(dy / (x.shape[1] if mode == "mean" else 1), x.shape)
    elif mode == "prod":
        dx = dy * others(x)
    elif mode == "logsumexp":
        powers = np.exp(x - finite(x.max(axis=1, keepdims=True)))
        sums = total(powers, axis=1)[:, None]
        dx = dy * powers / np.where(sums == 0, x.dtype.type(1), sums)
    else:
        dx = np.zeros_like(x)
        if mode in ("max", "min"):
            first = x.argmax(axis=1) if mode == "max" else x.argmin(axis=1)
            np.put_along_axis(dx, first[:, None], dy, axis=1)
    return dx.astype(dy.dtype).reshape(-1, *op.in_shape), {}


def logsumexp(x: np.ndarray) -> np.ndarray:
    """m + log sum e^(x - m), with m the maximum."""
    m = finite(x.max(axis=1))
    return m + np.log(total(np.exp(x - m[:, None]), axis=1))


def finite(x: np.ndarray) -> np.ndarray:
    """x with infinities replaced by 0."""
    return np.where(np.isinf(x), x.dtype.type(0), x)


def others(x: np.ndarray) -> np.ndarray:
    """For each element along n, the product of all other elements."""
    ones = np.ones_like(x[:, :1])
    before = np.cumprod(np.concatenate([ones, x[:, :-1]], axis=1), axis=1)
    after = np.cumprod(np.concatenate([ones, x[:, :0:-1]], axis=1), axis=1)
    return before * after[:, ::-1]


REDUCTIONS = {
    "sum": lambda x: total(x, axis=1),
    "mean": lambda x: total(x, axis=1) / x.shape[1],
    "prod": lambda x: x.prod(axis=1),
    "max": lambda x: x.max(axis=1),
    "min": lambda x: x.min(axis=1),
    "argmax": lambda x: x.argmax(axis=1),
    "logsumexp": logsumexp,
}


def cumsum_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y_i = the sum of x_k over k <= i, or over k >= i."""
    return running(op, x, bool(op.attrs["reverse"])), None


def cumsum_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """A cumulative sum from the other end: x_k is in y_i for i >= k."""
    return running(op, dy, not op.attrs["reverse"]), {}


def running(op: Op, x: np.ndarray, reverse: bool) -> np.ndarray:
    elements = along(op, x, 1)[:, :: -1 if reverse else 1]
    sums = np.cumsum(elements, axis=1, dtype=np.float64).astype(x.dtype)
    return sums[:, :: -1 if reverse else 1].reshape(x.shape)
