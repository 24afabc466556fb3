"""Transposed convolution: each pixel adds a kernel to a larger image."""

from __future__ import annotations

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
from kurve.engines.reference.convolution import positions
from kurve.plan import Op


def forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(z), z = bias + sum over h, w, i, j of x[h, w] kernel[i, j]^T, added at
    (h s + i d, w s + j d), as the backward pass of a convolution does with its dz.
    Source: Zeiler et al. 2010.

    x (B, H, W, I), kernel (KH, KW, O, I), bias (O,) -> y (B, P, Q, O)
    """
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    kernel, pixels = kernel_of(op, state), plane(x, op.in_shape)
    canvas, output = canvas_of(op, len(x), x.dtype)
    for i, j, reached in positions(op, places=op.in_shape):
        canvas[reached] += pixels @ kernel[i, j].T
    if "bias" in op.params:
        output += view(state.params, op.params["bias"])
    z = output.reshape(len(x), *op.out_shape)
    return activation(z, float(op.attrs["alpha"])), (pixels, z)


def backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dz = dy f'(z); for every kernel position, with the dz it contributed to:
    dx += dz kernel[i, j] and dkernel[i, j] = dz^T x."""
    pixels, z = cache
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    dz = dy * derivative(z, float(op.attrs["alpha"]))
    kernel = kernel_of(op, state)
    dkernel, dx = np.empty_like(kernel), np.zeros_like(pixels)
    canvas, output = canvas_of(op, len(dy), dz.dtype)
    output[...] = plane(dz, op.out_shape)
    rows_x = pixels.reshape(-1, pixels.shape[-1])
    for i, j, reached in positions(op, places=op.in_shape):
        dx += canvas[reached] @ kernel[i, j]
        dkernel[i, j] = canvas[reached].reshape(-1, dz.shape[-1]).T @ rows_x
    gradients = {"kernel": dkernel.reshape(op.params["kernel"].shape)}
    if "bias" in op.params:
        gradients["bias"] = total(dz.reshape(-1, dz.shape[-1]), axis=0)
    return dx.reshape(len(dy), *op.in_shape), gradients


def kernel_of(op: Op, state: State) -> np.ndarray:
    """The kernel as (KH, KW, O, I), for sequences too."""
    kernel = view(state.params, op.params["kernel"])
    return kernel.reshape(number(op, "kernel_h"), -1, *kernel.shape[-2:])


def canvas_of(op: Op, count: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Zeros (count, ...) for the full output, and a view of the part left after
    cropping pad_* rows and columns (negative pads enlarge it)."""
    _, (top, bottom), (left, right), _ = pads(op)
    height, width, outputs = plane_shape(op.out_shape)
    bottom, right = max(bottom, 0), max(right, 0)
    shape = (count, top + height + bottom, left + width + right, outputs)
    canvas = np.zeros(shape, dtype)
    return canvas, canvas[:, top : top + height, left : left + width]
