"""3D convolution as a sum over kernel positions, as for images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from kurve.engines.base import State
from kurve.engines.reference.activations import ACTIVATIONS
from kurve.engines.reference.common import Cache, Gradients, number, total, view
from kurve.engines.reference.convolution import grouped, joined
from kurve.plan import Op


def forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y = f(z), z[p, q, r] = bias + sum over i, j, k of x[p s + i d, q s + j d,
    r s + k d] kernel[i, j, k].

    x (B, D, H, W, I), kernel (KD, KH, KW, I / groups, O), bias (O,)
    -> y (B, P, Q, R, O)
    """
    activation, _ = ACTIVATIONS[str(op.attrs["activation"])]
    groups, kernel = number(op, "groups"), view(state.params, op.params["kernel"])
    padded = np.pad(x, _pads(op))
    z = np.zeros((len(x), *op.out_shape), x.dtype)
    for position, seen in _positions(op):
        part = grouped(padded[seen], groups) @ grouped(kernel[position], groups)
        z += joined(part).reshape(z.shape)
    if "bias" in op.params:
        z += view(state.params, op.params["bias"])
    return activation(z, float(op.attrs["alpha"])), (padded, z)


def backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """dz = dy f'(z); for every kernel position, with the elements x under it:
    dkernel[i, j, k] = x^T dz and dx += dz kernel[i, j, k]^T."""
    padded, z = cache
    _, derivative = ACTIVATIONS[str(op.attrs["activation"])]
    dz = dy * derivative(z, float(op.attrs["alpha"]))
    groups, kernel = number(op, "groups"), view(state.params, op.params["kernel"])
    dz_groups = grouped(dz, groups)
    dkernel, dpadded = np.empty_like(kernel), np.zeros_like(padded)
    for position, seen in _positions(op):
        x_groups = grouped(padded[seen], groups)
        dkernel[position] = joined(x_groups.swapaxes(1, 2) @ dz_groups)
        dx_groups = dz_groups @ grouped(kernel[position], groups).swapaxes(1, 2)
        dpadded[seen] += joined(dx_groups).reshape(padded[seen].shape)
    gradients = {"kernel": dkernel}
    if "bias" in op.params:
        gradients["bias"] = total(dz.reshape(-1, dz.shape[-1]), axis=0)
    inside = tuple(
        slice(before, length - after)
        for (before, after), length in zip(_pads(op), padded.shape, strict=True)
    )
    return dpadded[inside], gradients


def _pads(op: Op) -> list[tuple[int, int]]:
    """Zeros before and after each axis of a batch."""
    sides = (("front", "back"), ("top", "bottom"), ("left", "right"))
    inner = [(number(op, f"pad_{a}"), number(op, f"pad_{b}")) for a, b in sides]
    return [(0, 0), *inner, (0, 0)]


def _positions(op: Op) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Yield each kernel position (i, j, k) with the elements of a padded batch under it
    as the kernel moves."""
    taps, along = [], []
    for axis, count in zip("dhw", op.out_shape, strict=False):
        size, stride, dilation = (
            number(op, f"{what}_{axis}") for what in ("kernel", "stride", "dilation")
        )
        taps.append(range(size))
        along.append(
            [
                slice(i * dilation, i * dilation + (count - 1) * stride + 1, stride)
                for i in range(size)
            ]
        )
    for position in product(*taps):
        seen = (s[i] for s, i in zip(along, position, strict=True))
        yield position, (slice(None), *seen)
