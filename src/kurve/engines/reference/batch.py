"""Batch reductions and random numbers."""

from __future__ import annotations

import math

import numpy as np

from kurve.core import rng
from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, stream_of, total
from kurve.plan import Op

MAX_UNIFORM = 1.0 - 2.0**-24
"""The largest float32 below 1."""


def reduce_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y_b = the sum, mean or maximum over all samples, for each sample b."""
    if op.attrs["mode"] == "max":
        y = x.max(axis=0)
    else:
        y = total(x, axis=0)
        y = y / x.dtype.type(len(x)) if op.attrs["mode"] == "mean" else y
    return np.repeat(y[None], len(x), axis=0), x


def reduce_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx_b = the sum of dy over the samples, divided by their number for a mean; for a
    maximum, it goes to the first sample that attains it."""
    if op.attrs["mode"] != "max":
        return reduce_forward(op, dy, state, True)[0], {}
    x, dx = cache, np.zeros_like(dy)
    np.put_along_axis(dx, x.argmax(axis=0)[None], total(dy, axis=0)[None], axis=0)
    return dx, {}


def normal(op: Op, state: State, count: int) -> np.ndarray:
    """Standard normal numbers for a step, float64: elements 2k and 2k + 1 of the batch
    are sqrt(-2 log u) cos(2 pi v) and sqrt(-2 log u) sin(2 pi v), with u and v from the
    words with those indices. Source: Box & Muller 1958."""
    half = -(-count // 2)
    u, v = _uniform(op, state, 2 * half).reshape(half, 2).T
    radius, angle = np.sqrt(-2.0 * np.log(u)), 2.0 * np.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:count]


def _uniform(op: Op, state: State, count: int) -> np.ndarray:
    return rng.uniform(*stream_of(op, state), count)


def random_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """Random numbers of the step for each sample of x, or the same for all, also in
    prediction: standard normal, or uniform in (0, 1), with element e of the batch (or
    of a sample) from word e."""
    shape = (1 if op.attrs.get("shared") else len(x), *op.out_shape)
    if op.attrs["distribution"] == "normal":
        y = normal(op, state, math.prod(shape))
    else:
        y = np.minimum(_uniform(op, state, math.prod(shape)), MAX_UNIFORM)
    y = y.reshape(shape).astype(x.dtype)
    return np.repeat(y, len(x) // len(y), axis=0) if len(x) else y[:0], x.shape


def random_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = 0."""
    return np.zeros(cache, dy.dtype), {}
