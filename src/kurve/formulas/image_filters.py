"""Colours, filters and similarity of images: more functions of `kurve.ops.image`, for
images (B, H, W, C) or (H, W, C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kurve.formulas import functions as ops
from kurve.formulas import nn
from kurve.formulas.calls import function
from kurve.formulas.images import batched


def _planes(where: str, images: Any) -> list[Any]:
    channels = ops.shape(images)[-1]
    if channels != 3:
        raise ValueError(
            f"[{where}] images must have 3 channels. Received: {channels}. "
            "Try images[..., :3]."
        )
    return [ops.get_item(images, (..., c)) for c in range(3)]


@function
def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Hue, saturation and value of colours, all from 0 to 1.

    With v the largest and d the difference of the largest and the smallest of r, g, b:
    value v; saturation d / v; hue a sixth of (g - b) / d if r is the largest, of
    2 + (b - r) / d if g is, of 4 + (r - g) / d if b is, modulo 1.
    """
    nn._channels_last("rgb_to_hsv", data_format)
    r, g, b = _planes("rgb_to_hsv", images)
    value = ops.maximum(ops.maximum(r, g), b)
    spread = value - ops.minimum(ops.minimum(r, g), b)
    grey = ops.less_equal(spread, 0.0)
    divisor = 6.0 * ops.where(grey, 1.0, spread)
    red, green = (g - b) / divisor, (b - r) / divisor + 1 / 3
    blue = (r - g) / divisor + 2 / 3
    hue = ops.where(ops.equal(value, g), green, blue)
    hue = ops.where(grey, 0.0, ops.where(ops.equal(value, r), red, hue))
    hue = ops.where(ops.less(hue, 0.0), hue + 1.0, hue)
    dark = ops.less_equal(value, 0.0)
    saturation = ops.where(dark, 0.0, spread / ops.where(dark, 1.0, value))
    return ops.stack([hue, saturation, value], -1)


@function
def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """The inverse of `rgb_to_hsv`."""
    nn._channels_last("hsv_to_rgb", data_format)
    hue, saturation, value = _planes("hsv_to_rgb", images)
    sixths = 6.0 * (hue - ops.floor(hue))
    parts = (
        ops.abs(sixths - 3.0) - 1.0,
        2.0 - ops.abs(sixths - 2.0),
        2.0 - ops.abs(sixths - 4.0),
    )
    return ops.stack(
        [
            value * (1.0 - saturation + saturation * ops.clip(part, 0.0, 1.0))
            for part in parts
        ],
        -1,
    )


def _bell(size: int, sigma: float) -> np.ndarray:
    """A Gaussian curve at `size` positions around its center, normalized to sum 1."""
    x = np.arange(size) - (size - 1) / 2
    y = np.exp(-0.5 * (x / sigma) ** 2)
    return (y / y.sum()).astype(np.float32)


def _filtered(x: Any, rows: np.ndarray, columns: np.ndarray, padding: str) -> Any:
    """Each channel convolved with the outer product of a column and a row of
    numbers."""
    channels = ops.shape(x)[-1]
    for curve, shape in ((rows, (-1, 1)), (columns, (1, -1))):
        kernel = np.tile(curve.reshape(*shape, 1, 1), (1, 1, channels, 1))
        x = nn.depthwise_conv(x, kernel, padding=padding)
    return x


@function
def gaussian_blur(
    images: Any,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:
    """Convolve images with a Gaussian curve, with zeros outside.

    Args:
        images: (B, H, W, C) or (H, W, C).
        kernel_size: height and width of the kernel, odd numbers.
        sigma: its standard deviations along width and height, in pixels.
        data_format: "channels_last", or None for it.
    """
    nn._channels_last("gaussian_blur", data_format)
    height, width = (int(size) for size in kernel_size)
    across, down = (float(one) for one in sigma)
    if not (height % 2 and width % 2 and across > 0 and down > 0):
        raise ValueError(
            "[gaussian_blur] kernel_size must be odd and sigma above 0. Received: "
            f"kernel_size={kernel_size!r}, sigma={sigma!r}. Try (3, 3) and (1.0, 1.0)."
        )
    curves = _bell(height, down), _bell(width, across)
    return batched("gaussian_blur", lambda x: _filtered(x, *curves, "same"), images)


@function
def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """The slopes down and to the right by Sobel's kernels, with zeros outside:
    (B, H, W, C) -> (B, H, W, C, 2)."""
    nn._channels_last("sobel_edges", data_format)
    slope, smooth = np.array([-1, 0, 1], "f"), np.array([1, 2, 1], "f")

    def edges(x: Any) -> Any:
        down = _filtered(x, slope, smooth, "same")
        return ops.stack([down, _filtered(x, smooth, slope, "same")], -1)

    return batched("sobel_edges", edges, images)


@function
def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """The structural similarity of images, 1 for equal ones: (B, H, W, C) -> (B,).

    The mean over windows and channels of
    (2 m n + c1) (2 cov + c2) / ((m^2 + n^2 + c1) (v + w + c2)), with the means m, n,
    the variances v, w and the covariance of both images under a Gaussian window,
    c1 = (k1 max_val)^2 and c2 = (k2 max_val)^2.
    Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861.

    Args:
        image1, image2: (B, H, W, C) or (H, W, C), at least as large as the window.
        max_val: the largest possible value of a pixel.
        filter_size, filter_sigma: size and standard deviation of the window.
        k1, k2: constants of the formula.
        data_format: "channels_last", or None for it.
    """
    nn._channels_last("ssim", data_format)
    curve = _bell(int(filter_size), float(filter_sigma))
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2

    def similarity(x: Any, y: Any) -> Any:
        def mean(z: Any) -> Any:
            return _filtered(z, curve, curve, "valid")

        m, n = mean(x), mean(y)
        variances = mean(x * x) + mean(y * y) - m * m - n * n
        covariance = mean(x * y) - m * n
        found = (2.0 * m * n + c1) * (2.0 * covariance + c2)
        found = found / ((m * m + n * n + c1) * (variances + c2))
        return ops.mean(found, (1, 2, 3))

    return batched("ssim", similarity, image1, image2)


PUBLIC: dict[str, Callable[..., Any]] = {
    "gaussian_blur": gaussian_blur,
    "hsv_to_rgb": hsv_to_rgb,
    "rgb_to_hsv": rgb_to_hsv,
    "sobel_edges": sobel_edges,
    "ssim": ssim,
}
