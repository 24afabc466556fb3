"""Ops that rearrange elements: permute, slice and place."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients
from kurve.plan import Op


def permute_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """Axis k of y is axis axes[k] of x."""
    return x.transpose(0, *(1 + axis for axis in op.attrs["axes"])), None


def permute_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """Permutes the axes back."""
    return dy.transpose(0, *(1 + np.argsort(op.attrs["axes"]))), {}


def slice_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y[i, ...] = x[start + i step, ...] along every axis."""
    return x[chosen(op)].reshape(len(x), *op.out_shape), None


def slice_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dy scattered to the selected elements, zero elsewhere."""
    dx = np.zeros((len(dy), *op.in_shape), dy.dtype)
    dx[chosen(op)] = dy.reshape(len(dy), *op.attrs["sizes"])
    return dx, {}


def place_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y[start + i step, ...] = x[i, ...] along every axis; the others are zero."""
    y = np.zeros((len(x), *op.out_shape), x.dtype)
    y[chosen(op)] = x.reshape(len(x), *op.attrs["sizes"])
    return y, None


def place_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """The slice of dy where x was placed."""
    return dy[chosen(op)].reshape(len(dy), *op.in_shape), {}


def chosen(op: Op) -> tuple[np.ndarray | slice, ...]:
    """Index of a batch that selects elements start + i step, i < size, of each axis."""
    ranges = [
        start + step * np.arange(size)
        for start, size, step in zip(
            op.attrs["starts"], op.attrs["sizes"], op.attrs["steps"], strict=True
        )
    ]
    axes = np.ix_(*ranges) if ranges else ()
    return (slice(None), *axes)
