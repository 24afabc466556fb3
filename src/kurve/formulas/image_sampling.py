"""Images sampled at other positions: functions of `kurve.ops.image` for arrays only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.core import rng
from kurve.core.arguments import check_choice
from kurve.formulas import nn
from kurve.formulas.images import batched
from kurve.formulas.only_arrays import of_arrays

ORDERS = {"nearest": 0, "bilinear": 1}


def _mirrored(index: np.ndarray, size: int) -> np.ndarray:
    last = size - 1
    return np.abs((index + last) % (2 * last) - last) if last else 0 * index


FILLS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "constant": lambda index, size: np.clip(index, 0, size - 1),
    "nearest": lambda index, size: np.clip(index, 0, size - 1),
    "wrap": lambda index, size: index % size,
    "mirror": _mirrored,
    "reflect": lambda i, size: (_mirrored(2 * i + 1, 2 * size + 1) - 1) // 2,
}
"""The element to read for an index outside the axis."""


def _map_coordinates(
    inputs: Any,
    coordinates: Any,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> np.ndarray:
    """The values of an array between its elements.

    Args:
        inputs: an array with R axes.
        coordinates: R arrays of one shape: the positions along each axis.
        order: 1 for linear interpolation, 0 for the nearest element.
        fill_mode: how to fill outside: "constant" (`fill_value`), "nearest", "wrap",
            "mirror" or "reflect".
        fill_value: the constant outside.

    Raises:
        ValueError: another number of coordinates, order or fill_mode.
    """
    where, x = "map_coordinates", np.asarray(inputs)
    places = [np.asarray(part, np.float64) for part in coordinates]
    check_choice(where, "order", order, (0, 1))
    fill = FILLS[check_choice(where, "fill_mode", fill_mode, FILLS)]
    if len(places) != x.ndim or not places[0].ndim:
        raise ValueError(
            f"[{where}] coordinates must have one array per axis of inputs. "
            f"Received: {len(places)} for shape {x.shape}. "
            "Try np.stack([rows, columns])."
        )
    axes = []
    for place, size in zip(places, x.shape, strict=True):
        low = np.round(place) if order == 0 else np.floor(place)
        nodes = [(low, 1.0 - (place - low) if order else np.ones_like(place))]
        if order:
            nodes.append((low + 1, place - low))
        axes.append(
            [
                (
                    fill(at.astype(np.int64), size),
                    (at >= 0) & (at < size) | (fill_mode != "constant"),
                    share,
                )
                for at, share in nodes
            ]
        )
    y = np.zeros(places[0].shape)
    for corner in itertools.product(*axes):
        inside = np.logical_and.reduce([part[1] for part in corner])
        value = np.where(inside, x[tuple(part[0] for part in corner)], fill_value)
        y += np.prod([part[2] for part in corner], axis=0) * value
    whole = np.issubdtype(x.dtype, np.integer)
    return (np.round(y) if whole else y).astype(x.dtype)


def _sampled(
    where: str,
    images: Any,
    places: Callable[[int, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    interpolation: str,
    fill_mode: str,
    fill_value: float,
) -> np.ndarray:
    """Images whose pixel (i, j) is that at places(number, i, j)."""
    order = ORDERS[check_choice(where, "interpolation", interpolation, ORDERS)]

    def sampled(x: np.ndarray) -> np.ndarray:
        grid = np.meshgrid(*map(np.arange, x.shape[1:3]), indexing="ij")
        found = np.empty_like(x)
        for number, image in enumerate(x):
            at = places(number, *grid)
            for channel in range(x.shape[3]):
                found[number, ..., channel] = _map_coordinates(
                    image[..., channel], at, order, fill_mode, fill_value
                )
        return found

    y: np.ndarray = batched(where, sampled, np.asarray(images))
    return y


def _affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> np.ndarray:
    """Images whose pixel at column x and row y is that at (a0 x + a1 y + a2,
    b0 x + b1 y + b2).

    Args:
        images: (B, H, W, C) or (H, W, C).
        transform: (a0, a1, a2, b0, b1, b2, c0, c1), or one such row per image; c0 and
            c1 have no effect.
        interpolation: "bilinear" or "nearest".
        fill_mode, fill_value: see `map_coordinates`.
        data_format: "channels_last", or None for it.
    """
    where = "affine_transform"
    nn._channels_last(where, data_format)
    rows = np.atleast_2d(np.asarray(transform, np.float64))

    def places(number: int, i: np.ndarray, j: np.ndarray) -> Any:
        a0, a1, a2, b0, b1, b2 = rows[number if len(rows) > 1 else 0][:6]
        return b0 * j + b1 * i + b2, a0 * j + a1 * i + a2

    return _sampled(where, images, places, interpolation, fill_mode, fill_value)


def _perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> np.ndarray:
    """Images under the perspective transform that moves four points.

    Args:
        images: (B, H, W, C) or (H, W, C).
        start_points, end_points: (4, 2), or (B, 4, 2): columns and rows of the points
            before and after.
        interpolation, fill_value: see `affine_transform`.
        data_format: "channels_last", or None for it.
    """
    where = "perspective_transform"
    nn._channels_last(where, data_format)
    start, end = (np.asarray(p, np.float64) for p in (start_points, end_points))
    if start.shape != end.shape or start.shape[-2:] != (4, 2) or start.ndim > 3:
        raise ValueError(
            f"[{where}] start_points and end_points must both have shape (4, 2), or "
            f"(B, 4, 2). Received: {start.shape} and {end.shape}. Try four corners."
        )
    start, end = start.reshape(-1, 4, 2), end.reshape(-1, 4, 2)
    x, y = end[..., 0], end[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    # (u, v) = (a x + b y + c, d x + e y + f) / (g x + h y + 1) for each pair of points
    u, v = start[..., 0], start[..., 1]
    across = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    down = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    system = np.concatenate([across, down], 1)
    factors = np.linalg.solve(system, np.concatenate([u, v], 1)[..., None])[..., 0]

    def places(number: int, i: np.ndarray, j: np.ndarray) -> Any:
        a, b, c, d, e, f, g, h = factors[number if len(factors) > 1 else 0]
        depth = g * j + h * i + 1.0
        return (d * j + e * i + f) / depth, (a * j + b * i + c) / depth

    return _sampled(where, images, places, interpolation, "constant", fill_value)


def _elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> np.ndarray:
    """Images deformed by random shifts that vary smoothly.

    Args:
        images: (B, H, W, C) or (H, W, C).
        alpha: factor of the shifts.
        sigma: smoothness of the shifts, in pixels.
        interpolation, fill_mode, fill_value: see `affine_transform`.
        seed: an integer, or None for the next of the stream.
        data_format: "channels_last", or None for it.
    """
    from kurve.formulas.image_filters import gaussian_blur

    where = "elastic_transform"
    nn._channels_last(where, data_format)
    shape = np.shape(images)
    number = rng.next_seed() if seed is None else int(getattr(seed, "seed", seed))
    drawn = np.random.default_rng(abs(number))
    noise = sigma * drawn.normal(
        size=(shape[0] if len(shape) == 4 else 1, 2, *shape[-3:-1])
    )
    size = int(6 * sigma) | 1
    smooth = np.asarray(
        gaussian_blur(
            np.moveaxis(noise, 1, -1).astype(np.float32), (size, size), (sigma, sigma)
        )
    )

    def places(image: int, i: np.ndarray, j: np.ndarray) -> Any:
        return i + alpha * smooth[image, ..., 0], j + alpha * smooth[image, ..., 1]

    return _sampled(where, images, places, interpolation, fill_mode, fill_value)


def _cubic(x: np.ndarray) -> np.ndarray:
    near = ((1.5 * x - 2.5) * x) * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x >= 2.0, 0.0, np.where(x >= 1.0, far, near))


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x > radius, 0.0, np.sinc(x) * np.sinc(x / radius))


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(
        ("linear", "bilinear", "trilinear", "triangle"),
        lambda x: np.maximum(0.0, 1.0 - x),
    ),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _cubic),
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}
"""Weights of an element at a distance, by method. Source of the cubic: Keys 1981."""


def _scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> np.ndarray:
    """An array resampled along some axes: place p goes to scale p + translation.

    Args:
        images: an array.
        output_shape: the shape of the result.
        scale, translation: one number for each of these axes.
        spatial_dims: the axes.
        method: "linear", "cubic", "lanczos3" or "lanczos5", or another name of these.
        antialias: whether kernels widen where the scale is below 1.
    """
    kernel = KERNELS[check_choice("scale_and_translate", "method", method, KERNELS)]
    x = np.asarray(images)
    y = x.astype(np.float64)
    scales, shifts = np.atleast_1d(scale), np.atleast_1d(translation)
    for axis, factor, shift in zip(spatial_dims, scales, shifts, strict=True):
        size, width = x.shape[axis], output_shape[axis]
        at = (np.arange(width) + 0.5 - shift) / factor - 0.5
        spread = max(1.0 / factor, 1.0) if antialias else 1.0
        weights = kernel(np.abs(at - np.arange(size)[:, None]) / spread)
        total = weights.sum(0)
        known = np.abs(total) > 1000 * np.finfo(np.float32).eps
        weights = np.where(known, weights / np.where(known, total, 1.0), 0.0)
        weights = np.where((at >= -0.5) & (at <= size - 0.5), weights, 0.0)
        y = np.moveaxis(np.tensordot(y, weights, ((axis,), (0,))), -1, axis)
    if np.issubdtype(x.dtype, np.integer):
        y = np.clip(np.round(y), x.min(), x.max())
    return y.astype(x.dtype)


PUBLIC = {
    call.__name__[1:]: of_arrays(call.__name__[1:], call)
    for call in (
        _affine_transform,
        _elastic_transform,
        _map_coordinates,
        _perspective_transform,
        _scale_and_translate,
    )
}
