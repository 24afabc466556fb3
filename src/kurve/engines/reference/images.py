"""Random image transformations: translation, rotation, zoom and flips."""

from __future__ import annotations

import itertools

import numpy as np

from kurve.core import rng
from kurve.engines.base import State
from kurve.engines.reference.common import Cache, Gradients, stream_of
from kurve.plan import Op

Tap = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def forward(
    op: Op, x: np.ndarray, state: State, training: bool
) -> tuple[np.ndarray, Cache]:
    """y[h, w] = x at the source position of (h, w), interpolated: a weighted sum of the
    nearest pixels. x (B, H, W, C) -> y of the same shape."""
    if not training:
        return x, None
    rows, columns = origins(op, drawn(op, state, len(x)))
    near = taps(op, rows, columns)
    fill, batch = x.dtype.type(float(op.attrs["fill_value"])), _numbers(len(x))
    y = np.zeros_like(x)
    for h, w, weight, inside in near:
        pixels = np.where(inside[..., None], x[batch, h, w], fill)
        y += weight.astype(x.dtype)[..., None] * pixels
    return y, near


def backward(
    op: Op, dy: np.ndarray, cache: Cache, state: State
) -> tuple[np.ndarray, Gradients]:
    """Each pixel receives the dy of all pixels it contributed to, with the same
    weights."""
    if cache is None:
        return dy, {}
    dx, batch = np.zeros(dy.shape), _numbers(len(dy))  # float64: sums can be long
    for h, w, weight, inside in cache:
        factor = (weight * inside).astype(dy.dtype)[..., None]
        np.add.at(dx, (batch, h, w), factor * dy)
    return dx.astype(dy.dtype), {}


def drawn(op: Op, state: State, count: int) -> np.ndarray:
    """Two numbers in (0, 1) for each image, float64 (count, 2): image b gets words 4 b
    and 4 b + 1 of the step's stream."""
    numbers = rng.uniform(*stream_of(op, state), 4 * count)
    return numbers.reshape(count, 4)[:, :2]


def origins(op: Op, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Source row and column of each output pixel (h, w): float64
    (B, H, W) each, from the two draws u and v per image.

    translation  h - dh, w - dw, with dh = H (height_low + (height_high - height_low) u)
                 and dw of the width by v
    rotation     about the centre by angle_low + (angle_high - angle_low) u
    zoom         about the centre by 1 + height_low + (height_high - height_low) u, and
                 the width by v or, together, by u
    flip         the column mirrored where u < 1/2, the row where v < 1/2
    """
    height, width, _ = op.in_shape
    h, w = np.arange(height)[:, None], np.arange(width)[None, :]
    u, v = (draws[:, i, None, None] for i in range(2))
    what = str(op.attrs["what"])
    if what == "translation":
        shift_h = height * _between(op, "height", u)
        shift_w = width * _between(op, "width", v)
        rows, columns = h - shift_h + 0 * w, w - shift_w + 0 * h
    elif what == "rotation":
        angle = _between(op, "angle", u)
        middle_h, middle_w = (height - 1) / 2, (width - 1) / 2
        rows = (
            middle_h + (h - middle_h) * np.cos(angle) + (w - middle_w) * np.sin(angle)
        )
        columns = (
            middle_w - (h - middle_h) * np.sin(angle) + (w - middle_w) * np.cos(angle)
        )
    elif what == "zoom":
        middle_h, middle_w = (height - 1) / 2, (width - 1) / 2
        zoom_h = 1 + _between(op, "height", u)
        zoom_w = zoom_h if op.attrs["together"] else 1 + _between(op, "width", v)
        rows = middle_h + (h - middle_h) * zoom_h + 0 * w
        columns = middle_w + (w - middle_w) * zoom_w + 0 * h
    else:
        mirror_w = (u < 0.5) & bool(op.attrs["horizontal"])
        mirror_h = (v < 0.5) & bool(op.attrs["vertical"])
        rows = np.where(mirror_h, height - 1.0 - h, h) + 0 * w
        columns = np.where(mirror_w, width - 1.0 - w, w) + 0 * h
    return rows, columns


def taps(op: Op, rows: np.ndarray, columns: np.ndarray) -> list[Tap]:
    """The pixels whose weighted sum is the result: row and column (B, H, W), weight,
    and whether the pixel is inside the image (for fill_mode="constant"); in the order
    (upper, left), (upper, right), (lower, left), (lower, right)."""
    sides = []
    for position, size in zip((rows, columns), op.in_shape, strict=False):
        if op.attrs["interpolation"] == "nearest":
            near = [(np.rint(position).astype(np.int64), np.ones_like(position))]
        else:
            lower = np.floor(position).astype(np.int64)
            upper_weight = position - lower
            near = [(lower, 1 - upper_weight), (lower + 1, upper_weight)]
        sides.append([(*_pixel(op, index, size), weight) for index, weight in near])
    return [
        (h, w, weight_h * weight_w, inside_h & inside_w)
        for (h, inside_h, weight_h), (w, inside_w, weight_w) in itertools.product(
            *sides
        )
    ]


def _pixel(op: Op, index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixel to read for `index`, which can lie outside, and whether to read one
    (with fill_mode="constant" there is none outside)."""
    mode, inside = str(op.attrs["fill_mode"]), np.ones(index.shape, bool)
    if mode == "wrap":
        return index % size, inside
    if mode == "reflect":
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index), inside
    if mode == "constant":
        inside = (index >= 0) & (index < size)
    return np.clip(index, 0, size - 1), inside


def _between(op: Op, name: str, u: np.ndarray) -> np.ndarray:
    low, high = float(op.attrs[f"{name}_low"]), float(op.attrs[f"{name}_high"])
    return low + (high - low) * u


def _numbers(count: int) -> np.ndarray:
    return np.arange(count)[:, None, None]
