"""Pooling: the maximum or mean of a window, separately for each channel."""

from __future__ import annotations

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, pads, plane, total
from kurve.engines.reference.convolution import inside, positions
from kurve.plan import Op


def forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = the maximum or mean of the elements in a window; padding is never the maximum
    and does not count. Source: LeCun et al. 1990; Riesenhuber & Poggio 1999.

    x (B, H, W, C) -> y (B, P, Q, C)
    """
    largest = op.attrs["mode"] == "max"
    fill = -np.inf if largest else 0.0
    pixels = plane(x, op.in_shape)
    padded = np.pad(pixels, pads(op), constant_values=fill)
    seen = np.stack([padded[where] for _, _, where in positions(op, "pool")])
    if largest:
        y, cache = seen.max(axis=0), seen.argmax(axis=0)  # ties: the first
    else:
        ones = np.pad(np.ones_like(pixels[:1]), pads(op))
        count = sum(ones[where] for _, _, where in positions(op, "pool"))
        y, cache = total(seen, axis=0) / count, count
    return y.reshape(len(x), *op.out_shape), (cache, padded.shape)


def backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dy goes to the first maximum of each window, or in equal parts to all
    elements."""
    (saved, shape), dy_plane = cache, plane(dy, op.out_shape)
    dpadded = np.zeros(shape)  # float64: an element can be in many windows
    for number, (_, _, where) in enumerate(positions(op, "pool")):
        if op.attrs["mode"] == "max":
            dpadded[where] += dy_plane * (saved == number)
        else:
            dpadded[where] += dy_plane / saved
    dx = inside(dpadded, op).astype(dy.dtype)
    return dx.reshape(len(dy), *op.in_shape), {}


def global_forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = the maximum or mean of each channel. Source: Lin, Chen & Yan 2014."""
    pixels = x.reshape(len(x), -1, x.shape[-1])
    if op.attrs["mode"] == "max":
        y, cache = pixels.max(axis=1), pixels.argmax(axis=1)
    else:
        y, cache = total(pixels, axis=1) / pixels.shape[1], None
    return y.reshape(len(x), *op.out_shape), cache


def global_backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    channels = op.in_shape[-1]
    dy_rows = dy.reshape(len(dy), 1, channels)
    dx = np.zeros((len(dy), np.prod(op.in_shape[:-1]), channels), dy.dtype)
    if op.attrs["mode"] == "max":
        np.put_along_axis(dx, cache[:, None, :], dy_rows, axis=1)
    else:
        dx += dy_rows / dx.shape[1]
    return dx.reshape(len(dy), *op.in_shape), {}
