"""Convolution as a sum over kernel positions.

A 1 x 1 kernel is a dense layer at every pixel; a larger kernel is the sum of one
such layer for each position (i, j), applied to pixels shifted by (i, j).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.activations import ACTIVATIONS
from kurve.engines.reference.common import (
    Cache,
    Gradients,
    number,
    pads,
    plane,
    plane_shape,
    total,
    view,
)
from kurve.plan import Op, Shape

Pixels = tuple[slice, slice, slice]


def forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(z), z[h, w] = bias + sum over i, j of x[h s + i d, w s + j d] kernel[i, j].

    x (B, H, W, I), kernel (KH, KW, I / groups, O), bias (O,) -> y (B, P, Q, O)
    """
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    groups, kernel = number(op, "groups"), kernel_of(op, state)
    padded = np.pad(plane(x, op.in_shape), pads(op))
    z: np.ndarray = np.zeros((), x.dtype)
    for i, j, seen in positions(op):
        z = z + grouped(padded[seen], groups) @ grouped(kernel[i, j], groups)
    z = joined(z).reshape(len(x), *op.out_shape)
    if "bias" in op.params:
        z = z + view(state.params, op.params["bias"])
    return activation(z, float(op.attrs["alpha"])), (padded, z)


def backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dz = dy f'(z); for every kernel position, with the pixels x under it:
    dkernel[i, j] = x^T dz and dx += dz kernel[i, j]^T. Source: LeCun et al. 1989."""
    padded, z = cache
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    dz = dy * derivative(z, float(op.attrs["alpha"]))
    groups, kernel = number(op, "groups"), kernel_of(op, state)
    dz_groups, dkernel = grouped(dz, groups), np.empty_like(kernel)
    dpadded = np.zeros_like(padded)
    for i, j, seen in positions(op):
        x_groups = grouped(padded[seen], groups)
        dkernel[i, j] = joined(x_groups.swapaxes(1, 2) @ dz_groups)
        dx_groups = dz_groups @ grouped(kernel[i, j], groups).swapaxes(1, 2)
        dpadded[seen] += joined(dx_groups).reshape(padded[seen].shape)
    gradients = {"kernel": dkernel.reshape(op.params["kernel"].shape)}
    if "bias" in op.params:
        gradients["bias"] = total(dz.reshape(-1, dz.shape[-1]), axis=0)
    return inside(dpadded, op).reshape(len(dy), *op.in_shape), gradients


def kernel_of(op: Op, state: State) -> np.ndarray:
    """The kernel as (KH, KW, I / groups, O), for depthwise layers too."""
    shape = (number(op, "kernel_h"), number(op, "kernel_w"), -1, op.out_shape[-1])
    return view(state.params, op.params["kernel"]).reshape(shape)


def positions(
    op: Op, size: str = "kernel", places: Shape | None = None
) -> Iterator[tuple[int, int, Pixels]]:
    """Yield each position (i, j) of a window with the pixels of a padded plane under it
    as the window moves: one for each output pixel, or for each of `places`."""
    counts = plane_shape(places or op.out_shape)[:2]
    rows, columns = (
        [
            slice(first, first + (count - 1) * stride + 1, stride)
            for first in range(0, extent * dilation, dilation)
        ]
        for extent, count, stride, dilation in (
            (
                number(op, f"{size}_{axis}"),
                count,
                number(op, f"stride_{axis}"),
                int(op.attrs.get(f"dilation_{axis}", 1)),
            )
            for axis, count in zip("hw", counts, strict=True)
        )
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            yield i, j, (slice(None), row, column)


def inside(padded: np.ndarray, op: Op) -> np.ndarray:
    """A padded plane without its padding."""
    _, (top, bottom), (left, right), _ = pads(op)
    height, width = padded.shape[1:3]
    return padded[:, top : height - bottom, left : width - right]


def grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(..., groups C) -> (groups, rows, C)."""
    return np.moveaxis(x.reshape(-1, groups, x.shape[-1] // groups), 1, 0)


def joined(x: np.ndarray) -> np.ndarray:
    """(groups, rows, C) -> (rows, groups C)."""
    return np.moveaxis(x, 0, 1).reshape(x.shape[1], -1)
