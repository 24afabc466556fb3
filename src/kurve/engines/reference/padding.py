"""Ops that enlarge a sample: zero padding and upsampling."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import (
    Cache,
    Gradients,
    number,
    pads,
    plane,
    plane_shape,
)
from kurve.engines.reference.convolution import inside
from kurve.plan import Op


def pad_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """Pad a plane with rows and columns of zeros."""
    padded = np.pad(plane(x, op.in_shape), pads(op))
    return padded.reshape(len(x), *op.out_shape), None


def pad_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    dx = inside(plane(dy, op.out_shape), op)
    return dx.reshape(len(dy), *op.in_shape), {}


def upsample_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = R x C^T for every channel, where R (P, H) and C (Q, W) are the weights of the
    input rows and columns in the output."""
    rows, columns = weights(op, x.dtype)
    y = np.einsum("ph,bhwc,qw->bpqc", rows, plane(x, op.in_shape), columns)
    return y.reshape(len(x), *op.out_shape), (rows, columns)


def upsample_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dx = R^T dy C."""
    rows, columns = cache
    dy_plane = plane(dy, op.out_shape).astype(np.float64)  # sums can be long
    dx = np.einsum("ph,bpqc,qw->bhwc", rows, dy_plane, columns).astype(dy.dtype)
    return dx.reshape(len(dy), *op.in_shape), {}


def weights(op: Op, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """R and C. "nearest": repeat each element `size` times. "bilinear": output pixel i
    lies at (i + 1/2) / size - 1/2, between two input pixels or beyond the last one."""
    both = []
    for axis, length in zip("hw", plane_shape(op.in_shape)[:2], strict=True):
        size = number(op, f"size_{axis}")
        i = np.arange(size * length)
        if op.attrs["interpolation"] == "nearest":
            weight = np.eye(length)[i // size]
        else:
            at = np.clip((i + 0.5) / size - 0.5, 0, length - 1)[:, None]
            weight = np.maximum(1 - np.abs(at - np.arange(length)), 0)
        both.append(weight.astype(dtype))
    return both[0], both[1]
